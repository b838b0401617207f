#include "policy/mitre_report.h"

#include <algorithm>
#include <set>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

namespace callgate::policy {
namespace {

constexpr absl::string_view kTacticPrefix = "mitre.";

bool AreDigits(absl::string_view text, size_t count) {
  return text.size() == count &&
         std::all_of(text.begin(), text.end(), [](char c) {
           return absl::ascii_isdigit(static_cast<unsigned char>(c));
         });
}

// The engine's own ids begin so, and no file's can.
bool IsEngines(const Rule& rule) {
  return absl::StartsWith(rule.id, "default:") ||
         absl::StartsWith(rule.id, "budget:");
}

}  // namespace

bool IsMitreTechnique(absl::string_view tag) {
  if (tag.empty() || tag[0] != 'T') return false;
  tag.remove_prefix(1);
  const size_t dot = tag.find('.');
  if (dot == absl::string_view::npos) return AreDigits(tag, 4);
  return AreDigits(tag.substr(0, dot), 4) && AreDigits(tag.substr(dot + 1), 3);
}

absl::string_view MitreTacticOf(absl::string_view tag) {
  if (!absl::StartsWith(tag, kTacticPrefix)) return "";
  return tag.substr(kTacticPrefix.size());
}

MitreReport ReportMitre(
    absl::Span<const std::shared_ptr<const Policy>> policies) {
  std::map<std::string, std::set<std::string>> techniques;
  std::map<std::string, std::set<std::string>> tactics;
  std::set<std::string> without;
  for (const auto& policy : policies) {
    for (const Rule* rule : policy->AllRules()) {
      if (IsEngines(*rule) || rule->verdict == Verdict::kAllow) continue;
      const std::string name = absl::StrCat(policy->name(), "/", rule->id);
      bool tagged = false;
      for (const std::string& tag : rule->tags) {
        const absl::string_view tactic = MitreTacticOf(tag);
        if (IsMitreTechnique(tag)) {
          techniques[tag].insert(name);
        } else if (!tactic.empty()) {
          tactics[std::string(tactic)].insert(name);
        } else {
          continue;
        }
        tagged = true;
      }
      if (!tagged) without.insert(name);
    }
  }
  MitreReport report;
  for (const auto& [technique, rules] : techniques) {
    report.techniques[technique] = {rules.begin(), rules.end()};
  }
  for (const auto& [tactic, rules] : tactics) {
    report.tactics[tactic] = {rules.begin(), rules.end()};
  }
  report.without = {without.begin(), without.end()};
  return report;
}

}  // namespace callgate::policy
