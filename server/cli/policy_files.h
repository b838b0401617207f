// Policy files that are named together on the command line, and what is wrong
// with them.

#ifndef CALLGATE_SERVER_CLI_POLICY_FILES_H_
#define CALLGATE_SERVER_CLI_POLICY_FILES_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "policy/policy_compiler.h"
#include "policy/policy_file.h"
#include "policy/problem.h"
#include "server/cli/failure.h"

namespace callgate::cli {

// The text of a policy file, or of as much of one as tells that it is too
// large.
OrFailure<std::string> ReadPolicyText(const std::string& path);

// As compilers print them, so that editors find the place. Where a message has
// several lines, they show a condition and where it is wrong. To stderr.
void PrintProblem(const policy::Problem& problem, absl::string_view kind);

struct PolicyFile {
  std::string path;
  // Absent, or null, if there are problems.
  std::shared_ptr<const policy::LoadedPolicyFile> file;
  policy::CompileResult compiled;

  bool ok() const { return compiled.ok(); }
};

// Reads and compiles all of them. They may include one another.
OrFailure<std::vector<PolicyFile>> ReadPolicyFiles(
    const std::vector<std::string>& paths);

// Prints what is wrong, and the warnings, of each. False if one is wrong.
bool PrintProblemsOf(const std::vector<PolicyFile>& files);

}  // namespace callgate::cli

#endif  // CALLGATE_SERVER_CLI_POLICY_FILES_H_
