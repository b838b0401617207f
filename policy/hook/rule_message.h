// The sentence of a rule about what has just been judged.

#ifndef CALLGATE_POLICY_HOOK_RULE_MESSAGE_H_
#define CALLGATE_POLICY_HOOK_RULE_MESSAGE_H_

#include <string>

#include "absl/types/span.h"
#include "policy/expression/expression.h"
#include "policy/expression/scratch.h"
#include "policy/expression/value.h"
#include "policy/specialised_import.h"

namespace callgate::policy {

// `message` with its values, which are quoted or, where the file says so,
// escaped and cut; "<none>" where there is none. `facts` are those that it was
// specialised for, `lazy` what computes some of them.
std::string RuleMessage(const SpecialisedMessage& message,
                        absl::Span<const expression::Value> facts,
                        expression::Scratch* scratch,
                        expression::LazyFacts* lazy);

}  // namespace callgate::policy

#endif  // CALLGATE_POLICY_HOOK_RULE_MESSAGE_H_
