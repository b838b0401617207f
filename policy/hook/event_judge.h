// Judges growths and entries of functions by the rules that one policy has
// about them: the counterpart of ImportJudge, for what happens inside the
// guest.
//
// A judge is made for one kind of event; that of a function also for the
// function, whose type says what its parameters are. Judging allocates nothing
// but messages. One thread, the Store's.

#ifndef CALLGATE_POLICY_HOOK_EVENT_JUDGE_H_
#define CALLGATE_POLICY_HOOK_EVENT_JUDGE_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "absl/types/span.h"
#include "policy/event_facts.h"
#include "policy/expression/expression.h"
#include "policy/expression/scratch.h"
#include "policy/file/problem.h"
#include "policy/hook/decision.h"
#include "policy/policy.h"
#include "policy/specialised_import.h"
#include "runtime/call_hook.h"

namespace callgate::policy {

// One event, as a hook shows it to its judges. One of the two is set; both
// outlive it.
class EventMoment final : public expression::LazyFacts {
 public:
  struct Numbers {
    uint64_t calls = 0;  // host calls of the Store so far
    uint64_t memory_bytes = 0;
    uint64_t fuel_used = 0;
  };
  EventMoment(const GrowthEvent* growth, const FunctionEntry* entry,
              const StoreFacts& store, Numbers numbers,
              absl::Time (*wall_clock)())
      : growth_(growth),
        entry_(entry),
        store_(store),
        numbers_(numbers),
        wall_clock_(wall_clock) {}

  expression::Value Compute(uint32_t slot) override;
  // One reading for the event.
  absl::Time Now();

  const GrowthEvent* growth() const { return growth_; }
  const FunctionEntry* entry() const { return entry_; }
  const StoreFacts& store() const { return store_; }
  const Numbers& numbers() const { return numbers_; }

 private:
  const GrowthEvent* const growth_;
  const FunctionEntry* const entry_;
  const StoreFacts& store_;
  const Numbers numbers_;
  absl::Time (*const wall_clock_)();
  std::optional<absl::Time> now_;
};

class EventJudge {
 public:
  // Compiles `rules` (into Policy::rules()). `function` and its type are null
  // for growths. Reports what does not fit the function to `problems`; the
  // judge is then incomplete.
  EventJudge(const Policy& policy, InnerEvent event,
             absl::Span<const uint32_t> rules, const ProbedFunction* function,
             std::vector<Problem>* problems);

  // Those that can hold.
  const std::vector<SpecialisedRule>& rules() const { return rules_; }

  void Begin(const EventMoment& moment);

  enum class Answer : uint8_t { kNo, kYes, kFailed };
  struct Outcome {
    Answer answer = Answer::kNo;
    // Of kFailed, until the scratch is used again.
    expression::Value error;
    // Of kNo, if the condition holds and this lets the event go.
    const RuleException* exception = nullptr;
  };
  Outcome Judge(const SpecialisedRule& rule, EventMoment& moment,
                expression::Scratch* scratch) const;
  std::string MessageOf(const SpecialisedRule& rule, EventMoment& moment,
                        expression::Scratch* scratch) const;
  // Adds the parameters that conditions name to `facts`, but for names that are
  // there.
  void DescribeParameters(std::vector<FactText>* facts) const;

 private:
  const InnerEvent event_;
  std::vector<SpecialisedRule> rules_;
  std::vector<ParameterFact> parameters_;
  std::vector<expression::Value> facts_;
};

// Adds what every rule about such an event may name, but for parameters.
void DescribeEvent(EventMoment& moment, std::vector<FactText>* facts);

}  // namespace callgate::policy

#endif  // CALLGATE_POLICY_HOOK_EVENT_JUDGE_H_
