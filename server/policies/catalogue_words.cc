#include "server/policies/catalogue_words.h"

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "policy/verdict.h"
#include "server/events/escape.h"

namespace callgate::policies {

std::string Quoted(absl::string_view text) {
  return absl::StrCat("\"", events::EscapeText(text, 100), "\"");
}

policy::Problem ProblemOf(absl::string_view file, absl::string_view message) {
  policy::Problem problem;
  problem.file = events::EscapeText(file);
  problem.message = std::string(message);
  return problem;
}

PolicyView ViewOf(const CompiledPolicy& compiled, bool with_source) {
  const LoadedPolicy& loaded = *compiled.loaded;
  PolicyView view;
  view.name = compiled.policy->name();
  view.version = compiled.policy->version();
  view.origin = loaded.origin;
  if (with_source) view.source = loaded.source;
  view.mode = std::string(policy::ModeName(compiled.mode()));
  view.file_mode = std::string(policy::ModeName(compiled.policy->mode()));
  view.load_mode = std::string(policy::ModeName(compiled.load_mode));
  view.runtime_mode = std::string(policy::ModeName(compiled.runtime_mode));
  view.description = compiled.policy->description();
  view.since = loaded.since;
  view.held_back = loaded.held_back;
  return view;
}

storage::PolicyRecord::Encoding EncodingOf(absl::string_view file_name) {
  return absl::EndsWith(file_name, ".textproto") ||
                 absl::EndsWith(file_name, ".txtpb")
             ? storage::PolicyRecord::Encoding::kTextproto
             : storage::PolicyRecord::Encoding::kYaml;
}

absl::string_view SuffixOf(storage::PolicyRecord::Encoding encoding) {
  return encoding == storage::PolicyRecord::Encoding::kTextproto ? ".textproto"
                                                                 : ".yaml";
}

}  // namespace callgate::policies
