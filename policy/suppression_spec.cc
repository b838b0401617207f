#include "policy/suppression_spec.h"

namespace callgate::policy {

absl::string_view SuppressionKeyName(SuppressionKey key) {
  switch (key) {
    case SuppressionKey::kRule:
      return "rule";
    case SuppressionKey::kVerdict:
      return "verdict";
    case SuppressionKey::kSeverity:
      return "severity";
    case SuppressionKey::kBudget:
      return "budget";
    case SuppressionKey::kTenant:
      return "tenant";
    case SuppressionKey::kStore:
      return "store";
    case SuppressionKey::kModuleDigest:
      return "module.digest";
    case SuppressionKey::kModuleName:
      return "module.name";
    case SuppressionKey::kCallImport:
      return "call.import";
    case SuppressionKey::kCallSite:
      return "call.site";
  }
  return "unknown";
}

std::optional<SuppressionKey> SuppressionKeyFromName(absl::string_view name) {
  for (int i = 0; i < kSuppressionKeyCount; ++i) {
    const auto key = static_cast<SuppressionKey>(i);
    if (SuppressionKeyName(key) == name) return key;
  }
  return std::nullopt;
}

}  // namespace callgate::policy
