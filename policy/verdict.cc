#include "policy/verdict.h"

namespace callgate::policy {

absl::string_view VerdictName(Verdict verdict) {
  switch (verdict) {
    case Verdict::kAllow:
      return "allow";
    case Verdict::kLog:
      return "log";
    case Verdict::kAlert:
      return "alert";
    case Verdict::kThrottle:
      return "throttle";
    case Verdict::kDeny:
      return "deny";
    case Verdict::kTrap:
      return "trap";
    case Verdict::kKillStore:
      return "kill_store";
    case Verdict::kQuarantineModule:
      return "quarantine_module";
  }
  return "unknown";
}

absl::string_view ModeName(Mode mode) {
  return mode == Mode::kEnforce ? "enforce" : "audit";
}

absl::string_view SeverityName(Severity severity) {
  switch (severity) {
    case Severity::kDebug:
      return "debug";
    case Severity::kInfo:
      return "info";
    case Severity::kNotice:
      return "notice";
    case Severity::kWarning:
      return "warning";
    case Severity::kError:
      return "error";
    case Severity::kCritical:
      return "critical";
  }
  return "unknown";
}

Severity DefaultSeverity(Verdict verdict) {
  switch (verdict) {
    case Verdict::kAllow:
      return Severity::kDebug;
    case Verdict::kLog:
      return Severity::kInfo;
    case Verdict::kAlert:
    case Verdict::kThrottle:
    case Verdict::kDeny:
      return Severity::kWarning;
    case Verdict::kTrap:
      return Severity::kError;
    case Verdict::kKillStore:
    case Verdict::kQuarantineModule:
      return Severity::kCritical;
  }
  return Severity::kCritical;
}

}  // namespace callgate::policy
