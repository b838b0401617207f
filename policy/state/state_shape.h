// What a rule remembers: of which kind its state is, how large it may become,
// and whose it is.
//
// Made by the compiler from the rule, and all that a state needs to know of it.

#ifndef CALLGATE_POLICY_STATE_STATE_SHAPE_H_
#define CALLGATE_POLICY_STATE_STATE_SHAPE_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "policy/state/facts_record.h"
#include "policy/temporal/moment.h"
#include "policy/temporal/token_bucket.h"

namespace callgate::policy {

// Who looks at one state together.
enum class StateScope : uint8_t {
  kStore,
  kModule,  // all Stores of a tenant with a module of one digest
  kTenant,  // all Stores of a tenant
};
absl::string_view StateScopeName(StateScope scope);

struct StateShape {
  enum class Kind : uint8_t {
    kBuckets,
    kCount,
    kDistinct,
    kSum,
    kSequence,
    kFormerly,
  };

  Kind kind = Kind::kBuckets;
  StateScope scope = StateScope::kStore;
  // Of everything in the policy that says what the state means: the same in
  // another version of the policy if that version can go on with it. Unlike
  // that of any other rule.
  std::string digest;
  // For people.
  std::string policy;
  std::string rule;

  // Keys with a state of their own, within the scope. 1 where there is no key,
  // or none that can differ.
  size_t keys_max = 1;
  temporal::BucketShape bucket;
  temporal::Span within = 0;
  uint64_t threshold = 1;
  // Of a sequence, what is kept of each step but the last; of a past event,
  // one.
  std::vector<FactsShape> records;
  bool is_correlated = false;
  // Attempts of a correlated sequence; past events.
  size_t records_max = 1;

  // The memory of one state at most.
  uint64_t BytesMax() const;
};

}  // namespace callgate::policy

#endif  // CALLGATE_POLICY_STATE_STATE_SHAPE_H_
