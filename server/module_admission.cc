#include "server/module_admission.h"

#include <algorithm>
#include <map>
#include <string>

#include "absl/strings/str_cat.h"
#include "server/error_reason.h"

namespace callgate {
namespace {

// A bad module like any other: Unimplemented, on the wire, is a daemon that
// does not know the call.
absl::Status Unsupported(const absl::Status& status,
                         const std::map<std::string, std::string>& about = {}) {
  return WithReason(absl::InvalidArgumentError(status.message()),
                    reason::kModuleUnsupported, about);
}

absl::Status StatusOf(const admission::Refusal& refusal) {
  using Kind = admission::Refusal::Kind;
  std::map<std::string, std::string> about = {
      {"offset", absl::StrCat(refusal.offset)}};
  switch (refusal.kind) {
    case Kind::kMalformed:
      return WithReason(RefusalToStatus(refusal), reason::kModuleMalformed,
                        about);
    case Kind::kUnsupportedFeature:
      return Unsupported(RefusalToStatus(refusal), about);
    case Kind::kOverLimit:
      break;
  }
  about["limit"] = refusal.limit;
  about["value"] = absl::StrCat(refusal.value);
  about["max"] = absl::StrCat(refusal.max);
  return WithReason(RefusalToStatus(refusal), reason::kModuleOverLimit, about);
}

}  // namespace

admission::ModuleLimits LimitsUnder(
    const Engine& engine,
    absl::Span<const std::shared_ptr<const policy::Policy>> policies) {
  admission::ModuleLimits limits = engine.options().module_limits;
  const policy::EffectiveBudgets budgets =
      policy::ComputeEffectiveBudgets(policies);
  for (const auto& entry : budgets.module) {
    const admission::LimitName* limit = admission::FindLimit(entry.name);
    if (limit != nullptr) limits.*(limit->member) = entry.max;
  }
  return limits;
}

admission::ModuleLimits LoosestLimits(
    const Engine& engine,
    absl::Span<const std::shared_ptr<const policy::Policy>> policies) {
  admission::ModuleLimits limits = engine.options().module_limits;
  for (const auto& policy : policies) {
    for (const policy::ModuleLimit& entry : policy->budgets().module) {
      const admission::LimitName* limit = admission::FindLimit(entry.name);
      if (limit == nullptr) continue;
      uint64_t& value = limits.*(limit->member);
      value = std::max(value, entry.max);
    }
  }
  return limits;
}

absl::Span<const uint8_t> ModuleBytes(absl::string_view bytes) {
  // SAFETY: char and uint8_t have the same size and alignment, and any object
  // may be read as unsigned char.
  return absl::MakeConstSpan(reinterpret_cast<const uint8_t*>(bytes.data()),
                             bytes.size());
}

absl::Status CheckModuleLimits(const Engine& engine, absl::string_view bytes,
                               const admission::ModuleLimits& limits) {
  const admission::ScanResult scan =
      admission::Scan(ModuleBytes(bytes), limits, engine.options().features);
  return scan.admitted() ? absl::OkStatus() : StatusOf(*scan.refusal);
}

absl::StatusOr<std::shared_ptr<const Module>> CompileModule(
    const Engine& engine, absl::string_view bytes,
    const admission::ModuleLimits& limits, absl::string_view account) {
  absl::StatusOr<std::shared_ptr<const Module>> module =
      Module::Compile(engine, ModuleBytes(bytes), limits, account);
  if (module.ok()) return module;
  // Compile's status has lost what the scan knew. A refused module is scanned
  // again for it: that costs the time of one more bounded pass.
  const absl::Status scanned = CheckModuleLimits(engine, bytes, limits);
  if (!scanned.ok()) return scanned;
  switch (module.status().code()) {
    case absl::StatusCode::kInvalidArgument:
      return WithReason(module.status(), reason::kModuleInvalid);
    case absl::StatusCode::kFailedPrecondition:
      return WithReason(module.status(), reason::kModuleOverLimit);
    case absl::StatusCode::kUnimplemented:
      return Unsupported(module.status());
    case absl::StatusCode::kResourceExhausted:
      return WithReason(module.status(), reason::kCompileBudget);
    default:
      return module.status();
  }
}

}  // namespace callgate
