#include "server/outcome.h"

#include <iterator>

#include "server/error_reason.h"

namespace callgate {

absl::string_view OutcomeKindName(OutcomeKind kind) {
  switch (kind) {
    case OutcomeKind::kReturned:
      return "returned";
    case OutcomeKind::kExited:
      return "exited";
    case OutcomeKind::kTrapped:
      return "trapped";
    case OutcomeKind::kPolicyTrapped:
      return "policy_trapped";
    case OutcomeKind::kPolicyKilled:
      return "policy_killed";
    case OutcomeKind::kPolicyQuarantined:
      return "policy_quarantined";
    case OutcomeKind::kBudgetExceeded:
      return "budget_exceeded";
    case OutcomeKind::kKilled:
      return "killed";
  }
  return "unknown";
}

int ExitCodeOfStatus(const absl::Status& status) {
  struct Row {
    // Not a string_view: with UBSan, GCC takes none of one for a constant.
    const char* reason;
    int exit_code;
  };
  static constexpr Row kRows[] = {
      {reason::kModuleMalformed, kExitCodeModuleRefused},
      {reason::kModuleInvalid, kExitCodeModuleRefused},
      {reason::kModuleUnsupported, kExitCodeModuleRefused},
      {reason::kModuleOverLimit, kExitCodeModuleRefused},
      {reason::kModuleQuarantined, kExitCodeModuleRefused},
      {reason::kMissingImport, kExitCodeModuleRefused},
      {reason::kImportType, kExitCodeModuleRefused},
      {reason::kNoStart, kExitCodeModuleRefused},
      {reason::kInstantiationTrapped, kExitCodeTrapped},
      {reason::kNoPolicy, kExitCodePolicyRefused},
      {reason::kPolicyNotFound, kExitCodePolicyRefused},
      {reason::kPolicyInvalid, kExitCodePolicyRefused},
      {reason::kPolicyRefused, kExitCodePolicyRefused},
      {reason::kPolicyFromDirectory, kExitCodePolicyRefused},
      {reason::kPolicyInUse, kExitCodePolicyRefused},
      {reason::kReplayRefused, kExitCodePolicyRefused},
      {reason::kReplayTooLong, kExitCodePolicyRefused},
      {reason::kDirNotAllowed, kExitCodePolicyRefused},
      {reason::kBadArgument, kExitCodeUsage},
      {reason::kExportNotFound, kExitCodeUsage},
  };
  if (status.ok()) return 0;
  const std::string found = ReasonOf(status);
  for (const Row& row : kRows) {
    if (row.reason == found) return row.exit_code;
  }
  return kExitCodeFailure;
}

}  // namespace callgate
