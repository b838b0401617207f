// What the commands that run a guest in this process share: `callgate run
// --local` and `callgate bench`.

#ifndef CALLGATE_SERVER_CLI_LOCAL_GUEST_H_
#define CALLGATE_SERVER_CLI_LOCAL_GUEST_H_

#include <memory>
#include <string>
#include <vector>

#include "policy/policy.h"
#include "runtime/module.h"
#include "runtime/value.h"
#include "server/cli/failure.h"
#include "server/cli/run_options.h"
#include "server/guest_setup.h"

namespace callgate::cli {

// As a linker wants them.
std::vector<StubImport> StubsOf(const std::vector<StubOption>& options);

// Compiles a policy, or says every problem that it has. Its warnings go to
// stderr.
OrFailure<std::shared_ptr<const policy::Policy>> CompilePolicyOf(
    const PolicyText& text);

// `texts` as arguments of an exported function.
OrFailure<std::vector<Value>> ArgumentsOf(
    const Module& module, const std::string& export_name,
    const std::vector<std::string>& texts);

}  // namespace callgate::cli

#endif  // CALLGATE_SERVER_CLI_LOCAL_GUEST_H_
