// Whether policies fit the functions of WASI and pass the tests that they
// bring, as every policy has to before it judges anybody.
//
// A policy that passed is remembered by its version, which covers its tests, so
// that of many Stores that bring the same policy one pays. At most
// `versions_max` are; the oldest goes. One that fails makes no Store, and is
// tested anew when it comes again. What testing costs is bounded
// (policy/trial/test_plan.h); two that come at once may both pay.
//
// Any thread.

#ifndef CALLGATE_SERVER_TESTED_POLICIES_H_
#define CALLGATE_SERVER_TESTED_POLICIES_H_

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_set.h"
#include "absl/synchronization/mutex.h"
#include "policy/file/policy_file.h"
#include "policy/file/problem.h"
#include "policy/policy.h"

namespace callgate {

// What keeps a policy out although it compiles: rules that read what functions
// of WASI do not have (policy/trial/known_function_fit.h), tests of `file` that
// are wrong, or what they found. `policy` is what `file` compiled to.
std::vector<policy::Problem> TryPolicy(
    const policy::LoadedPolicyFile& file,
    const std::shared_ptr<const policy::Policy>& policy);

class TestedPolicies {
 public:
  explicit TestedPolicies(size_t versions_max = 1024)
      : versions_max_(versions_max) {}
  TestedPolicies(const TestedPolicies&) = delete;
  TestedPolicies& operator=(const TestedPolicies&) = delete;

  // As TryPolicy, unless this version has passed before.
  std::vector<policy::Problem> Test(
      const policy::LoadedPolicyFile& file,
      const std::shared_ptr<const policy::Policy>& policy);

  // How often one was tried.
  uint64_t runs() const {
    const absl::MutexLock lock(&mu_);
    return runs_;
  }

 private:
  const size_t versions_max_;

  mutable absl::Mutex mu_;
  absl::flat_hash_set<std::string> passed_ ABSL_GUARDED_BY(mu_);
  std::deque<std::string> in_order_ ABSL_GUARDED_BY(mu_);
  uint64_t runs_ ABSL_GUARDED_BY(mu_) = 0;
};

}  // namespace callgate

#endif  // CALLGATE_SERVER_TESTED_POLICIES_H_
