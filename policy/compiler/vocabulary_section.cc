// Lists and macros: what expressions may name.

#include <algorithm>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "policy/compiler/rule_parts.h"
#include "policy/compiler/sections.h"
#include "policy/quote.h"

namespace callgate::policy {

void CompileLists(const LoadedPolicyFile& file, Compilation& c) {
  for (int i = 0; i < file.proto.lists_size(); ++i) {
    const std::string path = absl::StrCat("lists[", i, "]");
    std::optional<NamedList> list =
        ReadList(file.proto.lists(i), path, c.ReporterFor(file));
    if (!list) continue;
    std::vector<NamedList>& lists = c.content().vocabulary.lists;
    if (std::any_of(lists.begin(), lists.end(), [&](const NamedList& other) {
          return other.name == list->name;
        })) {
      c.Report(file, absl::StrCat(path, ".name"),
               absl::StrCat(Quote(list->name),
                            " is a list already; names are unique in a policy "
                            "and what it includes"));
      continue;
    }
    lists.push_back(*std::move(list));
  }
}

void CompileMacros(const LoadedPolicyFile& file, Compilation& c) {
  for (int i = 0; i < file.proto.macros_size(); ++i) {
    const v1::Macro& macro = file.proto.macros(i);
    const std::string path = absl::StrCat("macros[", i, "]");
    if (macro.when().empty()) {
      c.Report(file, path, "when is missing; a macro stands for a condition");
      continue;
    }
    c.content().vocabulary.macros.push_back(
        {macro.name(),
         ConditionAt(file, absl::StrCat(path, ".when"), macro.when())});
  }
}
}  // namespace callgate::policy
