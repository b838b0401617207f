// Which techniques of MITRE ATT&CK policies look for, by the tags of their
// rules.
//
// `T1041` and `T1552.001` are techniques, `mitre.exfiltration` is a tactic; all
// other tags are the author's own.

#ifndef CALLGATE_POLICY_MITRE_REPORT_H_
#define CALLGATE_POLICY_MITRE_REPORT_H_

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "policy/policy.h"

namespace callgate::policy {

bool IsMitreTechnique(absl::string_view tag);
// The tactic; empty if the tag names none.
absl::string_view MitreTacticOf(absl::string_view tag);

struct MitreReport {
  // Rules as "policy/rule", sorted, each once.
  std::map<std::string, std::vector<std::string>> techniques;
  std::map<std::string, std::vector<std::string>> tactics;
  // Rules that do something, and say neither.
  std::vector<std::string> without;
};

// Of rules that do more than allow, the engine's own left out. A rule that
// several policies include is each one's.
MitreReport ReportMitre(
    absl::Span<const std::shared_ptr<const Policy>> policies);

}  // namespace callgate::policy

#endif  // CALLGATE_POLICY_MITRE_REPORT_H_
