// Policies with one mistake in them: what tests of a policy are worth is how
// many of these they tell from it.

#ifndef CALLGATE_POLICY_TRIAL_MUTATIONS_H_
#define CALLGATE_POLICY_TRIAL_MUTATIONS_H_

#include <string>
#include <vector>

#include "policy/file/policy_file.h"

namespace callgate::policy::trial {

struct Mutation {
  // "imports[3].when: == became !=".
  std::string description;
  SourcePosition position;
  LoadedPolicyFile file;
};

// The file with each comparison in an expression turned into its opposite, and
// with each action replaced by one next to it, one at a time. Its tests are
// left alone.
std::vector<Mutation> MutationsOf(const LoadedPolicyFile& file);

}  // namespace callgate::policy::trial

#endif  // CALLGATE_POLICY_TRIAL_MUTATIONS_H_
