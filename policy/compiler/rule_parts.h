// The parts of rules that are read alone: lists, messages, throttles and
// exceptions of a policy file, as the compiler wants them.

#ifndef CALLGATE_POLICY_COMPILER_RULE_PARTS_H_
#define CALLGATE_POLICY_COMPILER_RULE_PARTS_H_

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "policy/condition.h"
#include "policy/file/policy_file.h"
#include "proto/callgate/v1/policy.pb.h"

namespace callgate::policy {

// Told of a problem: the path of the field, and what is wrong.
using ReportAt =
    std::function<void(const std::string& path, const std::string& message)>;

// Letters, digits and _, not beginning with a digit.
bool IsPlainWord(absl::string_view name);

// The condition that stands at `path`.
Condition ConditionAt(const LoadedPolicyFile& file, const std::string& path,
                      const std::string& source);

std::optional<NamedList> ReadList(const v1::NamedList& list,
                                  const std::string& path,
                                  const ReportAt& report);

// `connect to ${args.addr} by ${module.name:raw}`. No parts if there is no ${.
std::vector<MessagePart> ReadMessage(const LoadedPolicyFile& file,
                                     const std::string& message,
                                     const std::string& path,
                                     const ReportAt& report);

ThrottleSpec ReadThrottle(const v1::Throttle& throttle, const std::string& path,
                          const ReportAt& report);

std::optional<RuleException> ReadException(const LoadedPolicyFile& file,
                                           const v1::RuleException& exception,
                                           const std::string& path,
                                           const ReportAt& report);

}  // namespace callgate::policy

#endif  // CALLGATE_POLICY_COMPILER_RULE_PARTS_H_
