// Turns a policy file into a Policy, or says everything that keeps it from
// being one.
//
// All or nothing: a policy with one problem is no policy. What the format knows
// and this engine does not do yet is such a problem.

#ifndef CALLGATE_POLICY_COMPILER_POLICY_COMPILER_H_
#define CALLGATE_POLICY_COMPILER_POLICY_COMPILER_H_

#include <functional>
#include <memory>
#include <vector>

#include "absl/strings/string_view.h"
#include "policy/file/policy_file.h"
#include "policy/file/problem.h"
#include "policy/policy.h"

namespace callgate::policy {

// The file of the policy that is called `name`, or null. Must stay valid while
// CompilePolicy runs.
using IncludeResolver =
    std::function<const LoadedPolicyFile*(absl::string_view name)>;

// How many policies one may include, all levels together.
inline constexpr size_t kIncludesMax = 64;

struct CompileResult {
  // Null exactly when there are problems.
  std::shared_ptr<const Policy> policy;
  std::vector<Problem> problems;
  // It works, but not quite as its author may think.
  std::vector<Problem> warnings;

  bool ok() const { return policy != nullptr; }
};

// Policies that ship with callgate are found before `resolver` is asked; it may
// be empty.
CompileResult CompilePolicy(const LoadedPolicyFile& file,
                            const IncludeResolver& resolver = nullptr);

// Loads (by the filename's suffix) and compiles.
CompileResult CompilePolicyText(absl::string_view text,
                                absl::string_view filename,
                                const IncludeResolver& resolver = nullptr);

}  // namespace callgate::policy

#endif  // CALLGATE_POLICY_COMPILER_POLICY_COMPILER_H_
