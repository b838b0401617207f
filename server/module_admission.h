// How large a module may be where several policies have a say, and compiling
// modules under it with a reason for every refusal.
//
// Pure functions; any thread.

#ifndef CALLGATE_SERVER_MODULE_ADMISSION_H_
#define CALLGATE_SERVER_MODULE_ADMISSION_H_

#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "policy/budgets.h"
#include "policy/policy.h"
#include "runtime/admission/scan.h"
#include "runtime/engine.h"
#include "runtime/module.h"

namespace callgate {

// What these policies together admit: the smallest of each limit that one of
// them sets, and the engine's default of the rest.
admission::ModuleLimits LimitsUnder(
    const Engine& engine,
    absl::Span<const std::shared_ptr<const policy::Policy>> policies);

// What at least one of these policies admits, or the engine's default where
// that is larger: the limits for modules whose policy is not known yet.
admission::ModuleLimits LoosestLimits(
    const Engine& engine,
    absl::Span<const std::shared_ptr<const policy::Policy>> policies);

// Module::Compile, with reasons: MODULE_MALFORMED, MODULE_INVALID,
// MODULE_UNSUPPORTED, MODULE_OVER_LIMIT (metadata limit, value, max, offset),
// COMPILE_BUDGET.
absl::StatusOr<std::shared_ptr<const Module>> CompileModule(
    const Engine& engine, absl::string_view bytes,
    const admission::ModuleLimits& limits, absl::string_view account = "");

// Whether a module that was compiled under other limits keeps to these.
absl::Status CheckModuleLimits(const Engine& engine, absl::string_view bytes,
                               const admission::ModuleLimits& limits);

// The bytes as the scan wants them.
absl::Span<const uint8_t> ModuleBytes(absl::string_view bytes);

}  // namespace callgate

#endif  // CALLGATE_SERVER_MODULE_ADMISSION_H_
