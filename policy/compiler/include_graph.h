// A policy file and everything that it includes, each once, in two orders.

#ifndef CALLGATE_POLICY_COMPILER_INCLUDE_GRAPH_H_
#define CALLGATE_POLICY_COMPILER_INCLUDE_GRAPH_H_

#include <string>
#include <vector>

#include "policy/compiler/compilation.h"
#include "policy/compiler/policy_compiler.h"
#include "policy/file/policy_file.h"

namespace callgate::policy {

struct IncludeGraph {
  // The root first.
  std::vector<const LoadedPolicyFile*> parents_first;
  // The root last.
  std::vector<const LoadedPolicyFile*> included_first;
};

// Reports includes that are not there, form a circle, or are too many.
IncludeGraph CollectFiles(const IncludeResolver& resolver, Compilation& c);

// SHA-256 over every file: the length of its canonical bytes, then those.
std::string VersionOf(const IncludeGraph& graph);

}  // namespace callgate::policy

#endif  // CALLGATE_POLICY_COMPILER_INCLUDE_GRAPH_H_
