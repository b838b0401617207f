// What one policy says of one import, made ready to judge its calls.
//
// The policy's conditions are compiled for the import: comparisons with its
// name are folded, and a condition that cannot hold for it is gone. What
// remains is programs over an array of facts, and a list of the arguments that
// they read.

#ifndef CALLGATE_POLICY_SPECIALISED_IMPORT_H_
#define CALLGATE_POLICY_SPECIALISED_IMPORT_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "policy/argument.h"
#include "policy/call_facts.h"
#include "policy/condition.h"
#include "policy/expression/expression.h"
#include "policy/file/problem.h"
#include "policy/policy.h"
#include "runtime/host_function_spec.h"

namespace callgate::policy {

struct SpecialisedMessage {
  struct Part {
    std::string text;
    std::optional<expression::Program> value;
    bool raw = false;
  };
  std::vector<Part> parts;  // none: the rule's own sentence
};

struct SpecialisedException {
  const RuleException* exception = nullptr;
  expression::Program holds;
};

// A rule that may have a say in a call of the import.
struct SpecialisedRule {
  uint32_t rule = 0;                        // into Policy::rules()
  std::optional<expression::Program> when;  // none: always
  std::vector<SpecialisedException> exceptions;
  SpecialisedMessage message;

  // The same for all calls.
  bool is_static() const {
    return !when.has_value() && exceptions.empty() && message.parts.empty();
  }
};

// Where the value of an argument's fact comes from.
struct ArgumentFact {
  uint32_t slot = 0;
  uint32_t argument = 0;  // into SpecialisedImport::arguments
  ArgumentPart part = ArgumentPart::kValue;
};

// What the host writes to an argument.
struct ResultFact {
  uint32_t slot = 0;
  ArgSpec argument;
};

// Facts that tell states apart.
struct SpecialisedKey {
  std::vector<uint32_t> slots;
  // They are the same for every call of the import in one scope.
  bool is_fixed = false;
};

struct SpecialisedLimit {
  uint32_t limit = 0;  // into Policy::rate_limits()
  SpecialisedRule says;
  std::optional<expression::Program> cost;
  SpecialisedKey key;
};

// A step of a temporal rule that a call of the import may be.
struct SpecialisedStep {
  uint32_t step = 0;                        // into its list
  std::optional<expression::Program> when;  // none: always
};

// Where a fact of a step comes from.
struct PastSlot {
  uint32_t slot = 0;  // where programs and messages read it
  uint32_t step = 0;
  uint32_t from = kNoIndex;  // the slot of a call of this import; may have none
  bool is_redacted = false;
};

struct SpecialisedTemporal {
  uint32_t rule = 0;  // into Policy::temporal()
  // A call of the import can be what the rule is about: the last step, or what
  // `when` says.
  bool can_fire = false;
  SpecialisedRule says;
  std::vector<SpecialisedStep> steps;
  std::vector<SpecialisedStep> unless;
  std::vector<PastSlot> past;  // as TemporalRule::past
  std::optional<SpecialisedStep> formerly;
  // As TemporalRule::late_past and late_current; kNoIndex: there is none.
  std::vector<uint32_t> late_past;
  std::vector<uint32_t> late_current;
  std::optional<expression::Program> value;
  SpecialisedKey key;
};

struct SpecialisedImport {
  // Rules that restrict each call, whatever it is like; then those that have to
  // be asked, and entries that allow on a condition.
  std::vector<SpecialisedRule> always;
  std::vector<SpecialisedRule> restrictions;
  std::vector<SpecialisedRule> allows;
  // Some entry names it; one allows it always.
  bool listed = false;
  bool allowed = false;

  std::vector<SpecialisedLimit> limits;
  std::vector<SpecialisedTemporal> temporal;

  ImportNames names;
  std::vector<ArgSpec> arguments;  // those that programs read
  std::vector<ArgumentFact> argument_facts;
  std::vector<ResultFact> result_facts;
  // Facts that have to be kept while the host function runs.
  std::vector<uint32_t> kept_slots;
  // Facts of the import, then room for those of past events.
  size_t own_fact_count = 0;
  size_t fact_count = 0;
  // Something is judged when the host function has returned.
  bool runs_after = false;
};

// Reports what does not fit the import to `problems`, with place and caret; the
// result is then incomplete. It is the policy's, which outlives it.
// Policy::SpecialisedFor keeps the results.
SpecialisedImport Specialise(const Policy& policy, const LinkedImport& import,
                             std::vector<Problem>* problems);

}  // namespace callgate::policy

#endif  // CALLGATE_POLICY_SPECIALISED_IMPORT_H_
