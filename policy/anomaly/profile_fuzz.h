// The profile parser's fuzz entry, as libFuzzer wants it; the test beside it
// drives the same entry over mutated profiles.

#ifndef CALLGATE_POLICY_ANOMALY_PROFILE_FUZZ_H_
#define CALLGATE_POLICY_ANOMALY_PROFILE_FUZZ_H_

#include <cstddef>
#include <cstdint>

// Any bytes give a profile or a refusal; a profile is written as those very
// bytes, and can be merged, judged by, changed and written again.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

#endif  // CALLGATE_POLICY_ANOMALY_PROFILE_FUZZ_H_
