// Policies that are compiled together because they may include each other.
//
// Build takes what there is and leaves out what is wrong, as little of it as
// possible: a policy that does not compile falls back to the one that was in
// force in its place before, and goes if there is none; those that include it
// are tried again with what is left. Pure: it reads no files and changes
// nothing. Any thread.

#ifndef CALLGATE_SERVER_POLICIES_POLICY_BUNDLE_H_
#define CALLGATE_SERVER_POLICIES_POLICY_BUNDLE_H_

#include <algorithm>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "policy/compiler/policy_compiler.h"
#include "policy/file/policy_file.h"
#include "policy/file/problem.h"
#include "policy/policy.h"
#include "policy/policy_set.h"
#include "policy/verdict.h"
#include "server/policies/policy_gate.h"

namespace callgate::policies {

enum class Origin { kApplied, kDirectory, kBuiltIn };

// A policy file of the right form, and where it is from.
struct LoadedPolicy {
  Origin origin = Origin::kApplied;
  // Of kDirectory: the file's name there.
  std::string file_name;
  std::string source;
  absl::Time since;
  policy::LoadedPolicyFile file;
  // The file says something else, which somebody went back from.
  bool held_back = false;

  const std::string& name() const { return file.proto.metadata().name(); }
};

// One that compiled. Immutable.
struct CompiledPolicy {
  std::shared_ptr<const LoadedPolicy> loaded;
  // In the mode of its file.
  std::shared_ptr<const policy::Policy> policy;
  // What lowers that: an option of its loading, and somebody at run time.
  policy::Mode load_mode = policy::Mode::kEnforce;
  policy::Mode runtime_mode = policy::Mode::kEnforce;

  policy::Mode mode() const {
    return std::min({policy->mode(), load_mode, runtime_mode});
  }
};

// By name.
using PolicyMap = std::map<std::string, CompiledPolicy, std::less<>>;

// What a Refusal of the whole directory is about.
inline constexpr char kWholeDirectory[] = "";

// What kept a policy, in the form it was given, from being in force.
struct Refusal {
  // "web.yaml" for a file, otherwise the policy's name.
  std::string subject;
  Origin origin = Origin::kApplied;
  std::vector<policy::Problem> problems;
  // Its earlier form is still in force.
  bool earlier_stays = false;
};

struct Bundle {
  PolicyMap policies;
  std::vector<Refusal> refusals;
};

// `given` have different names. `before` is what was in force, to fall back to;
// of what comes from elsewhere the compiled form may be missing. `gate`, which
// may be empty, is asked about every policy that is not in `before` in the same
// version.
Bundle BuildBundle(std::vector<std::shared_ptr<const LoadedPolicy>> given,
                   const PolicyMap& before, const PolicyGate& gate = nullptr);

// What `gate` has against the policy; nothing if it is in `before`.
std::vector<policy::Problem> AskGate(
    const PolicyGate& gate, const policy::LoadedPolicyFile& file,
    const std::shared_ptr<const policy::Policy>& policy,
    const PolicyMap& before);

// All that compiled, each in its mode, with `audit_tenants` as PolicySet has
// it.
std::shared_ptr<const policy::PolicySet> SetOf(
    const PolicyMap& policies, const std::set<std::string>& audit_tenants = {});

// What `gate` says of the change from one to the other. FailedPrecondition
// where it is empty.
absl::StatusOr<ReplayFindings> AskReplay(
    const ReplayGate& gate, const PolicyMap& before, const PolicyMap& after,
    const ReplayDemand& demand,
    const std::set<std::string>& audit_tenants = {});

// Names of the policies in `policies` that include `name`, themselves or
// through others, in order.
std::vector<std::string> DependentsOf(absl::string_view name,
                                      const PolicyMap& policies);

// The file of `name`: `replacement` if that is its name, otherwise the one in
// `policies`, or null.
policy::IncludeResolver ResolverOf(const PolicyMap& policies,
                                   const policy::LoadedPolicyFile* replacement);

}  // namespace callgate::policies

#endif  // CALLGATE_SERVER_POLICIES_POLICY_BUNDLE_H_
