// What a guest is joined to before it runs: the limits that policies set for
// its Store, its stubs, and whether the policies can judge its imports at all.
//
// A Session is made of these; so is a measurement (`callgate bench`), which
// wants the Store without what a Session adds to a call.
//
// Pure functions; any thread.

#ifndef CALLGATE_SERVER_GUEST_SETUP_H_
#define CALLGATE_SERVER_GUEST_SETUP_H_

#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "policy/budgets.h"
#include "policy/hook/policy_hook.h"
#include "policy/policy.h"
#include "runtime/call_hook.h"
#include "runtime/host_function_spec.h"
#include "runtime/limits.h"
#include "runtime/linker.h"
#include "runtime/module.h"

namespace callgate {

// An import defined as a function that does nothing and returns zeros.
struct StubImport {
  std::string module;
  std::string name;
};

// What all imports of a module could be linked with.
using SpecByImport =
    std::map<std::pair<std::string, std::string>, HostFunctionSpec>;

// Of WASI's functions.
SpecByImport WasiSpecs();

// A Store's limits under the policies' budgets.
Limits StoreLimitsUnder(const policy::EffectiveBudgets& budgets);

// Defines the stubs that `module` imports, and adds them to `specs`; a stub
// that it does not import is a warning. InvalidArgument BAD_ARGUMENT for what
// is defined already and for what is no function.
absl::Status AddStubs(const Module& module, absl::Span<const StubImport> stubs,
                      Linker& linker, SpecByImport& specs,
                      std::vector<std::string>& warnings);

// Whether the policies can judge the module's imports. Adds how they will treat
// some of them to `warnings`. FailedPrecondition POLICY_REFUSED.
absl::Status CheckPolicies(
    const Module& module,
    absl::Span<const std::shared_ptr<const policy::Policy>> policies,
    const SpecByImport& specs, std::vector<std::string>& warnings);

// Tells the hook what the module's functions are, and adds to `options` what it
// needs of the Store: probes, and the ring of calls. Rules that none of the
// functions fits are warnings. FailedPrecondition POLICY_REFUSED for more
// functions than can be watched, and for rules that read a parameter which a
// function lacks.
absl::Status PrepareHook(const Module& module, policy::PolicyHook& hook,
                         HookOptions& options,
                         std::vector<std::string>& warnings);

// What Linker::Instantiate says, with a reason: FailedPrecondition
// MISSING_IMPORT or IMPORT_TYPE, and everything else as it is.
absl::Status LinkStatus(const absl::Status& status);

}  // namespace callgate

#endif  // CALLGATE_SERVER_GUEST_SETUP_H_
