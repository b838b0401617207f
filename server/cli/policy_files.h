// Policy files that are named together on the command line, and what is wrong
// with them.

#ifndef CALLGATE_SERVER_CLI_POLICY_FILES_H_
#define CALLGATE_SERVER_CLI_POLICY_FILES_H_

#include <memory>
#include <string>
#include <vector>

#include "policy/compiler/policy_compiler.h"
#include "policy/file/policy_file.h"
#include "server/cli/failure.h"

namespace callgate::cli {

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
