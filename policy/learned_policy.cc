#include "policy/learned_policy.h"

#include <algorithm>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "policy/import_name.h"

namespace callgate::policy {
namespace {

// In a YAML string of double quotes.
std::string Quoted(const ImportName& import) {
  return absl::StrCat(
      "\"",
      absl::StrReplaceAll(FormatImportName(import.module, import.name),
                          {{"\\", "\\\\"}, {"\"", "\\\""}}),
      "\"");
}

}  // namespace

std::string LearnedPolicyYaml(const anomaly::Profile& profile,
                              absl::string_view name,
                              absl::string_view module_digest) {
  const anomaly::Profile sorted = profile.Sorted();
  const std::vector<ImportName>& imports = sorted.alphabet().imports();
  std::string yaml = absl::StrCat(
      "# Learned from ", profile.runs().size(), " runs with ", profile.calls(),
      " host calls. It allows the imports that they\n"
      "# called, with any arguments: narrow it with `when`.\n"
      "api_version: callgate.policy/v1\n"
      "kind: Policy\n"
      "metadata:\n"
      "  name: ",
      name, "\n  description: What ", module_digest,
      " was seen to call, and nothing else.\n"
      "defaults: { mode: enforce, unlisted_import: deny }\n");
  absl::StrAppend(&yaml, imports.empty() ? "imports: []\n" : "imports:\n");
  for (const ImportName& import : imports) {
    absl::StrAppend(&yaml, "  - { import: ", Quoted(import),
                    ", action: allow }\n");
  }
  // One test with a call of each, and one of what is not there.
  if (!imports.empty()) {
    std::string events;
    std::string expect;
    for (size_t i = 0; i < imports.size(); ++i) {
      absl::StrAppend(&events, "      - { import: ", Quoted(imports[i]),
                      " }\n");
      absl::StrAppend(&expect, "      - { event: ", i,
                      ", verdict: allow, no_rules: true }\n");
    }
    absl::StrAppend(&yaml, "tests:\n  - name: everything that was seen\n",
                    "    events:\n", events, "    expect:\n", expect);
  } else {
    absl::StrAppend(&yaml, "tests:\n");
  }
  ImportName other = {"callgate_test", "never_seen"};
  while (std::find(imports.begin(), imports.end(), other) != imports.end()) {
    other.name += "_";
  }
  absl::StrAppend(&yaml,
                  "  - name: nothing else\n"
                  "    events:\n"
                  "      - { import: ",
                  Quoted(other),
                  " }\n"
                  "    expect:\n"
                  "      - { event: 0, verdict: deny, rules: "
                  "[\"default:unlisted_import\"] }\n");
  return yaml;
}

}  // namespace callgate::policy
