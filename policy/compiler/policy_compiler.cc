#include "policy/compiler/policy_compiler.h"

#include <algorithm>
#include <string>
#include <tuple>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "policy/compiler/compilation.h"
#include "policy/compiler/include_graph.h"
#include "policy/compiler/sections.h"

namespace callgate::policy {
namespace {

// The root's first, then each included file's, in the order of their lines.
void SortByPlace(const IncludeGraph& graph, std::vector<Problem>* problems) {
  absl::flat_hash_map<std::string, size_t> order;
  for (const LoadedPolicyFile* file : graph.parents_first) {
    order.emplace(file->filename, order.size());
  }
  std::stable_sort(problems->begin(), problems->end(),
                   [&](const Problem& a, const Problem& b) {
                     return std::make_tuple(order[a.file], a.line, a.column) <
                            std::make_tuple(order[b.file], b.line, b.column);
                   });
}

}  // namespace

CompileResult CompilePolicy(const LoadedPolicyFile& root,
                            const IncludeResolver& resolver) {
  Compilation c(root);
  const IncludeGraph graph = CollectFiles(resolver, c);
  for (const LoadedPolicyFile* file : graph.parents_first) {
    CheckForm(*file, c);
  }
  CompileHead(c);
  CompileSuppression(c);
  for (const LoadedPolicyFile* file : graph.included_first) {
    CompileLists(*file, c);
    CompileMacros(*file, c);
  }
  for (const LoadedPolicyFile* file : graph.parents_first) {
    CompileBudgets(*file, c);
    CompileHostCallPrices(*file, c);
    CompileImports(*file, c);
    CompileRules(*file, c);
    CompileRateLimits(*file, c);
    CompileAnomaly(*file, c);
    CompileTemporal(*file, c);
  }
  for (const LoadedPolicyFile* file : graph.parents_first) {
    CompileExceptions(*file, c);
  }
  CheckExpressions(c);
  if (c.problems().empty()) ShapeStates(c);
  WarnOfContradictions(c);

  CompileResult result;
  result.problems = std::move(c.problems());
  result.warnings = std::move(c.warnings());
  for (std::vector<Problem>* list : {&result.problems, &result.warnings}) {
    SortByPlace(graph, list);
    if (list->size() > kProblemsMax) list->resize(kProblemsMax);
  }
  if (result.problems.empty()) {
    c.content().version = VersionOf(graph);
    result.policy = std::make_shared<const Policy>(std::move(c.content()));
  }
  return result;
}

CompileResult CompilePolicyText(absl::string_view text,
                                absl::string_view filename,
                                const IncludeResolver& resolver) {
  LoadResult loaded = LoadPolicy(text, filename);
  if (!loaded.ok()) return {nullptr, std::move(loaded.problems), {}};
  return CompilePolicy(*loaded.file, resolver);
}

}  // namespace callgate::policy
