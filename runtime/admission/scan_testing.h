// What the tests of the scan share.

#ifndef CALLGATE_RUNTIME_ADMISSION_SCAN_TESTING_H_
#define CALLGATE_RUNTIME_ADMISSION_SCAN_TESTING_H_

#include <cstdint>
#include <string>

#include "gtest/gtest.h"
#include "runtime/admission/scan.h"

namespace callgate::admission {

// Limits far beyond every module of a test.
inline ModuleLimits NoLimits() {
  ModuleLimits limits;
  for (const LimitName& limit : AllLimits()) {
    limits.*limit.member = uint64_t{1} << 50;
  }
  return limits;
}

inline Features EveryFeature() {
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

inline std::string MessageOf(const ScanResult& result) {
  return result.refusal.has_value() ? result.refusal->message : "admitted";
}

// Names a test's row by its member `name`.
struct RowName {
  template <typename Row>
  std::string operator()(const testing::TestParamInfo<Row>& row) const {
    return row.param.name;
  }
};

}  // namespace callgate::admission

#endif  // CALLGATE_RUNTIME_ADMISSION_SCAN_TESTING_H_
