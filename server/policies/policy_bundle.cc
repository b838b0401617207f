#include "server/policies/policy_bundle.h"

#include <algorithm>
#include <deque>
#include <iterator>
#include <set>
#include <utility>

#include "runtime/check.h"

namespace callgate::policies {
namespace {

// A policy on its way into the bundle.
struct Candidate {
  std::shared_ptr<const LoadedPolicy> loaded;
  // Null: not compiled yet, or not any more.
  std::shared_ptr<const policy::Policy> policy;
  // What to fall back to; null if there is nothing, or if it is in use.
  std::shared_ptr<const LoadedPolicy> earlier;
};

using Candidates = std::map<std::string, Candidate, std::less<>>;

// Names in `policies` that include `name`, through however many others.
// `loaded_of` gives the LoadedPolicy of a value of the map.
template <typename Map, typename LoadedOf>
std::set<std::string> NamesThatInclude(absl::string_view name,
                                       const Map& policies,
                                       LoadedOf loaded_of) {
  std::set<std::string> names;
  std::deque<std::string> to_do = {std::string(name)};
  while (!to_do.empty()) {
    const std::string included = std::move(to_do.front());
    to_do.pop_front();
    for (const auto& [other, value] : policies) {
      const auto& includes = loaded_of(value).file.proto.include();
      if (other == name || std::find(includes.begin(), includes.end(),
                                     included) == includes.end()) {
        continue;
      }
      if (names.insert(other).second) to_do.push_back(other);
    }
  }
  return names;
}

// What was in force in the place of `loaded`: of a file, what the same file
// said; otherwise what had the same name.
std::shared_ptr<const LoadedPolicy> EarlierOf(const LoadedPolicy& loaded,
                                              const PolicyMap& before) {
  const auto found = before.find(loaded.name());
  if (found == before.end()) return nullptr;
  const std::shared_ptr<const LoadedPolicy>& earlier = found->second.loaded;
  if (earlier->origin != loaded.origin ||
      earlier->file_name != loaded.file_name ||
      earlier->source == loaded.source) {
    return nullptr;
  }
  return earlier;
}

std::string SubjectOf(const LoadedPolicy& loaded) {
  return loaded.origin == Origin::kDirectory ? loaded.file_name : loaded.name();
}

}  // namespace

std::vector<policy::Problem> AskGate(
    const PolicyGate& gate, const policy::LoadedPolicyFile& file,
    const std::shared_ptr<const policy::Policy>& policy,
    const PolicyMap& before) {
  if (!gate) return {};
  const auto found = before.find(policy->name());
  if (found != before.end() && found->second.policy != nullptr &&
      found->second.policy->version() == policy->version()) {
    return {};
  }
  return gate(file, policy);
}

Bundle BuildBundle(std::vector<std::shared_ptr<const LoadedPolicy>> given,
                   const PolicyMap& before, const PolicyGate& gate) {
  Bundle bundle;
  Candidates candidates;
  std::set<std::string> to_compile;
  for (std::shared_ptr<const LoadedPolicy>& loaded : given) {
    to_compile.insert(loaded->name());
    Candidate& candidate = candidates[loaded->name()];
    candidate.earlier = EarlierOf(*loaded, before);
    candidate.loaded = std::move(loaded);
  }
  const policy::IncludeResolver resolver =
      [&candidates](absl::string_view name) -> const policy::LoadedPolicyFile* {
    const auto found = candidates.find(name);
    return found == candidates.end() ? nullptr : &found->second.loaded->file;
  };

  // Rounds. Each ends with at least one policy that falls back or goes, which
  // every policy does once at most.
  while (true) {
    std::map<std::string, std::vector<policy::Problem>> wrong;
    for (const std::string& name : to_compile) {
      Candidate& candidate = candidates.find(name)->second;
      policy::CompileResult result =
          policy::CompilePolicy(candidate.loaded->file, resolver);
      if (result.ok()) {
        result.problems =
            AskGate(gate, candidate.loaded->file, result.policy, before);
        if (!result.problems.empty()) result.policy = nullptr;
      }
      candidate.policy = std::move(result.policy);
      if (candidate.policy == nullptr) wrong[name] = std::move(result.problems);
    }
    if (wrong.empty()) break;

    // A policy may be wrong only because one that it includes is. That one has
    // to give way first; of those that include each other, all.
    std::map<std::string, std::set<std::string>> dependents;
    for (const auto& [name, problems] : wrong) {
      dependents[name] = NamesThatInclude(
          name, candidates, [](const Candidate& value) -> const LoadedPolicy& {
            return *value.loaded;
          });
    }
    const auto may_be_innocent = [&dependents](const std::string& name) {
      for (const auto& [included, including] : dependents) {
        if (including.count(name) != 0 &&
            dependents.at(name).count(included) == 0) {
          return true;
        }
      }
      return false;
    };
    to_compile.clear();
    for (auto& [name, problems] : wrong) {
      // In any case it has to be compiled again, if it stays.
      to_compile.insert(name);
      if (may_be_innocent(name)) continue;
      Candidate& candidate = candidates.find(name)->second;
      bundle.refusals.push_back({SubjectOf(*candidate.loaded),
                                 candidate.loaded->origin, std::move(problems),
                                 candidate.earlier != nullptr});
      to_compile.insert(dependents[name].begin(), dependents[name].end());
      if (candidate.earlier != nullptr) {
        candidate.loaded = std::move(candidate.earlier);
        candidate.earlier = nullptr;
      } else {
        candidates.erase(name);
      }
    }
    for (auto name = to_compile.begin(); name != to_compile.end();) {
      name = candidates.count(*name) != 0 ? std::next(name)
                                          : to_compile.erase(name);
    }
  }
  for (auto& [name, candidate] : candidates) {
    CompiledPolicy compiled;
    compiled.loaded = std::move(candidate.loaded);
    compiled.policy = std::move(candidate.policy);
    bundle.policies.emplace(name, std::move(compiled));
  }
  return bundle;
}

std::shared_ptr<const policy::PolicySet> SetOf(
    const PolicyMap& policies, const std::set<std::string>& audit_tenants) {
  std::vector<std::shared_ptr<const policy::Policy>> compiled;
  for (const auto& [name, policy] : policies) {
    if (policy.policy == nullptr) continue;
    compiled.push_back(policy::CappedAt(policy.policy, policy.mode()));
  }
  absl::StatusOr<std::shared_ptr<const policy::PolicySet>> set =
      policy::PolicySet::Make(std::move(compiled), audit_tenants);
  CALLGATE_CHECK(set.ok(), "policies with different names are a set");
  return *std::move(set);
}

absl::StatusOr<ReplayFindings> AskReplay(
    const ReplayGate& gate, const PolicyMap& before, const PolicyMap& after,
    const ReplayDemand& demand, const std::set<std::string>& audit_tenants) {
  if (!gate) {
    return absl::FailedPreconditionError("nothing here replays what happened");
  }
  return gate(*SetOf(before, audit_tenants), *SetOf(after, audit_tenants),
              demand);
}

std::vector<std::string> DependentsOf(absl::string_view name,
                                      const PolicyMap& policies) {
  const std::set<std::string> names = NamesThatInclude(
      name, policies, [](const CompiledPolicy& value) -> const LoadedPolicy& {
        return *value.loaded;
      });
  return {names.begin(), names.end()};
}

policy::IncludeResolver ResolverOf(
    const PolicyMap& policies, const policy::LoadedPolicyFile* replacement) {
  return [&policies, replacement](
             absl::string_view name) -> const policy::LoadedPolicyFile* {
    if (replacement != nullptr &&
        replacement->proto.metadata().name() == name) {
      return replacement;
    }
    const auto found = policies.find(name);
    return found == policies.end() ? nullptr : &found->second.loaded->file;
  };
}

}  // namespace callgate::policies
