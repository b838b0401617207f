// What one rule remembers in one scope: an automaton, and what it takes.
//
// Grows with what it has to remember up to StateShape::BytesMax(); an event
// that finds its place made allocates nothing. Not thread-safe: a Store's own
// is its thread's, a shared one is under StoreStates::shared_mutex().

#ifndef CALLGATE_POLICY_STATE_RULE_STATE_H_
#define CALLGATE_POLICY_STATE_RULE_STATE_H_

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <limits>
#include <memory>
#include <string>
#include <variant>

#include "policy/state/facts_record.h"
#include "policy/state/state_shape.h"
#include "policy/temporal/keyed_states.h"
#include "policy/temporal/moment.h"
#include "policy/temporal/recent_events.h"
#include "policy/temporal/sequence.h"
#include "policy/temporal/token_bucket.h"
#include "policy/temporal/window_count.h"
#include "policy/temporal/window_distinct.h"
#include "policy/temporal/window_sum.h"

namespace callgate::policy {

// What all states of one rule take together. Any thread.
struct RuleStateUse {
  std::string policy;
  std::string rule;
  std::string digest;
  StateScope scope = StateScope::kStore;
  std::atomic<uint64_t> states{0};
  // Keys, attempts or past events that are remembered now.
  std::atomic<uint64_t> entries{0};
  std::atomic<uint64_t> bytes{0};
  // Of them, those that went for others.
  std::atomic<uint64_t> lost{0};
};

class RuleState {
 public:
  using Buckets = temporal::KeyedStates<temporal::TokenBucket>;
  using Counts = temporal::KeyedStates<temporal::WindowCount>;
  using Distincts = temporal::KeyedStates<temporal::WindowDistinct>;
  using Sums = temporal::KeyedStates<temporal::WindowSum>;
  using Sequence = temporal::Sequence<FactsRecord>;
  using Formerly = temporal::RecentEvents<FactsRecord>;

  RuleState(const StateShape& shape, std::shared_ptr<RuleStateUse> use);
  ~RuleState();
  RuleState(const RuleState&) = delete;
  RuleState& operator=(const RuleState&) = delete;

  const StateShape& shape() const { return shape_; }

  // The moment of an event: `now`, or the last one's if that was later, which
  // it may be where threads meet.
  temporal::Moment Advance(temporal::Moment now) {
    last_ = std::max(last_, now);
    return last_;
  }

  // The one that the shape's kind says.
  Buckets& buckets() { return std::get<Buckets>(automaton_); }
  Counts& counts() { return std::get<Counts>(automaton_); }
  Distincts& distincts() { return std::get<Distincts>(automaton_); }
  Sums& sums() { return std::get<Sums>(automaton_); }
  Sequence& sequence() { return std::get<Sequence>(automaton_); }
  Formerly& formerly() { return std::get<Formerly>(automaton_); }

  // One line for people: what kind of state it is, and how full.
  std::string Describe() const;

  // To be told after an event; `has_lost`: something went for it.
  void Account(bool has_lost);

 private:
  using Automaton =
      std::variant<Buckets, Counts, Distincts, Sums, Sequence, Formerly>;
  static Automaton Make(const StateShape& shape);
  // Entries there are, and entries that there is memory for.
  size_t Entries() const;
  size_t Capacity() const;
  uint64_t Bytes() const;

  const StateShape shape_;
  const std::shared_ptr<RuleStateUse> use_;
  Automaton automaton_;
  temporal::Moment last_ = std::numeric_limits<temporal::Moment>::min();
  // As use_ knows them.
  size_t entries_ = 0;
  size_t capacity_ = 0;
  uint64_t bytes_ = 0;
};

}  // namespace callgate::policy

#endif  // CALLGATE_POLICY_STATE_RULE_STATE_H_
