#include "server/tested_policies.h"

#include <utility>

#include "policy/trial/known_function_fit.h"
#include "policy/trial/policy_tests.h"
#include "server/known_functions.h"

namespace callgate {

std::vector<policy::Problem> TryPolicy(
    const policy::LoadedPolicyFile& file,
    const std::shared_ptr<const policy::Policy>& policy) {
  policy::LinkFindings fit =
      policy::trial::FitToKnownFunctions(*policy, WasiCatalogue());
  if (!fit.problems.empty()) return std::move(fit.problems);
  policy::trial::PolicyTestReport report =
      policy::trial::RunPolicyTests(file, policy, WasiCatalogue());
  if (!report.problems.empty()) return std::move(report.problems);
  return report.Failures(file.filename);
}

std::vector<policy::Problem> TestedPolicies::Test(
    const policy::LoadedPolicyFile& file,
    const std::shared_ptr<const policy::Policy>& policy) {
  {
    const absl::MutexLock lock(&mu_);
    if (passed_.contains(policy->version())) return {};
    ++runs_;
  }
  std::vector<policy::Problem> problems = TryPolicy(file, policy);
  if (!problems.empty()) return problems;
  const absl::MutexLock lock(&mu_);
  if (!passed_.insert(policy->version()).second) return {};
  in_order_.push_back(policy->version());
  while (in_order_.size() > versions_max_) {
    passed_.erase(in_order_.front());
    in_order_.pop_front();
  }
  return {};
}

}  // namespace callgate
