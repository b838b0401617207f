// The first look at bytes from a tenant, and the only code of the daemon that
// touches them unguarded: whatever parses, validates or compiles a module sees
// only what this scan let through.
//
// One forward pass without recursion. Time is proportional to the bytes, and
// memory to the limits: nothing is allocated because the module says so before
// a limit has allowed it. It holds a module to the binary format, to the index
// spaces and to the limits, and types constant expressions, the start function
// and element segments. Operand types inside function bodies are the
// validator's work, so an admitted module can still be invalid.
//
// Scan is a pure function: any thread, no state. The result owns its data.

#ifndef CALLGATE_RUNTIME_ADMISSION_SCAN_H_
#define CALLGATE_RUNTIME_ADMISSION_SCAN_H_

#include <cstdint>
#include <optional>

#include "absl/types/span.h"
#include "runtime/admission/features.h"
#include "runtime/admission/module_limits.h"
#include "runtime/admission/module_summary.h"
#include "runtime/admission/refusal.h"

namespace callgate::admission {

// Exactly one of the two is set.
struct ScanResult {
  std::optional<ModuleSummary> summary;
  std::optional<Refusal> refusal;

  // Primitive reads made, and bytes looked at beyond those: the scan's cost in
  // a unit that does not depend on the machine. At most kStepsPerByte * bytes +
  // kStepsBase. Copying the type of each import and export is not in it: that
  // is bounded by the limits on their number and on parameters and results.
  uint64_t steps = 0;

  bool admitted() const { return summary.has_value(); }
};

inline constexpr uint64_t kStepsPerByte = 4;
inline constexpr uint64_t kStepsBase = 64;

ScanResult Scan(absl::Span<const uint8_t> bytes, const ModuleLimits& limits,
                const Features& features);

}  // namespace callgate::admission

#endif  // CALLGATE_RUNTIME_ADMISSION_SCAN_H_
