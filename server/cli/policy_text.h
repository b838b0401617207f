// What the commands about policies share: reading files, showing problems and
// names.

#ifndef CALLGATE_SERVER_CLI_POLICY_TEXT_H_
#define CALLGATE_SERVER_CLI_POLICY_TEXT_H_

#include <string>

#include "absl/strings/string_view.h"
#include "policy/file/problem.h"
#include "proto/callgate/v1/policy_service.pb.h"
#include "server/cli/failure.h"

namespace callgate::cli {

OrFailure<std::string> ReadPolicyText(const std::string& path);

// On stderr, as compilers print them, so that editors find the place. Where a
// message has several lines, they show a condition and where it is wrong.
void PrintProblem(const policy::Problem& problem, absl::string_view kind);
policy::Problem ProblemOf(const v1::PolicyProblem& message);

// "audit" or "enforce".
OrFailure<v1::PolicyMode> ParsePolicyMode(const std::string& text);

// "policies/web" is "web"; escaped.
std::string PlainName(absl::string_view resource_name);

// "ann@host": who runs the client, as the system has it.
std::string LocalAuthor();

}  // namespace callgate::cli

#endif  // CALLGATE_SERVER_CLI_POLICY_TEXT_H_
