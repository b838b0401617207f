// Any bytes get an answer from the scan, at a bounded cost, and the answer
// holds together. With Clang's libFuzzer this is a fuzz target as it stands
// (-fsanitize=fuzzer); scan_fuzz_test.cc drives it without one.

#include <cstddef>
#include <cstdint>
#include <string>

#include "runtime/admission/scan.h"
#include "runtime/check.h"

namespace callgate::admission {
namespace {

ModuleLimits EveryLimit(uint64_t value) {
  ModuleLimits limits;
  for (const LimitName& limit : AllLimits()) limits.*limit.member = value;
  return limits;
}

Features EveryFeature() {
  Features features;
  features.tail_call = true;
  features.extended_const = true;
  features.multi_memory = true;
  features.memory64 = true;
  features.relaxed_simd = true;
  features.exceptions = true;
  features.threads = true;
  return features;
}

void CheckRefusal(const Refusal& refusal, size_t size) {
  CALLGATE_CHECK(refusal.offset <= size, "a refusal points into the module");
  CALLGATE_CHECK(!refusal.message.empty(), "a refusal says why");
  for (const char c : refusal.message) {
    CALLGATE_CHECK(c >= 0x20 && c < 0x7f,
                   "nothing of the module reaches a message unescaped");
  }
  const bool over = refusal.kind == Refusal::Kind::kOverLimit;
  CALLGATE_CHECK(over == !refusal.limit.empty(),
                 "a limit is named where one is broken");
  if (!over) return;
  CALLGATE_CHECK(FindLimit(refusal.limit) != nullptr, "the limit exists");
  CALLGATE_CHECK(refusal.value > refusal.max, "the limit is broken");
}

bool CheckScan(absl::Span<const uint8_t> bytes, const ModuleLimits& limits,
               const Features& features) {
  const ScanResult result = Scan(bytes, limits, features);
  CALLGATE_CHECK(result.summary.has_value() != result.refusal.has_value(),
                 "a module is admitted or refused");
  CALLGATE_CHECK(result.steps <= kStepsPerByte * bytes.size() + kStepsBase,
                 "the cost is proportional to the size");
  if (result.refusal.has_value()) {
    CheckRefusal(*result.refusal, bytes.size());
    return false;
  }
  const ModuleSummary& summary = *result.summary;
  CALLGATE_CHECK(summary.bytes == bytes.size(), "all bytes were read");
  CALLGATE_CHECK(summary.imports.size() <= limits.imports, "imports");
  CALLGATE_CHECK(summary.exports.size() <= limits.exports, "exports");
  CALLGATE_CHECK(
      summary.imported_functions + summary.own_functions <= limits.functions,
      "functions");
  CALLGATE_CHECK(summary.deepest_nesting <= limits.nesting_depth, "nesting");
  CALLGATE_CHECK(summary.locals_total <= limits.locals_total, "locals");
  for (const MemoryType& memory : summary.memories) {
    CALLGATE_CHECK(memory.pages.min <= limits.memory_pages_initial, "pages");
    CALLGATE_CHECK(
        !memory.pages.max.has_value() || *memory.pages.max >= memory.pages.min,
        "a memory's maximum is not below its size");
  }
  return true;
}

}  // namespace
}  // namespace callgate::admission

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using callgate::admission::CheckScan;
  using callgate::admission::EveryFeature;
  using callgate::admission::EveryLimit;
  using callgate::admission::Features;
  using callgate::admission::ModuleLimits;
  const absl::Span<const uint8_t> bytes(data, size);

  // Wide bounds admit whatever narrower ones do.
  const bool tight = CheckScan(bytes, EveryLimit(40), Features{});
  const bool usual = CheckScan(bytes, ModuleLimits{}, Features{});
  const bool wide = CheckScan(bytes, EveryLimit(~uint64_t{0}), EveryFeature());
  CALLGATE_CHECK(wide || !tight, "raising limits admits no less");
  CALLGATE_CHECK(wide || !usual, "more features admit no less");
  return 0;
}
