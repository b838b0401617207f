// The trace reader's and the replay's fuzz entry, as libFuzzer wants it; the
// test beside it drives the same entry over mutated traces.

#ifndef CALLGATE_POLICY_TRIAL_TRACE_FUZZ_H_
#define CALLGATE_POLICY_TRIAL_TRACE_FUZZ_H_

#include <cstddef>
#include <cstdint>

// Any bytes give records, which any policy can be shown, or an error. The first
// byte chooses whether checksums are made good before, so that what is inside
// of records is seen.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

#endif  // CALLGATE_POLICY_TRIAL_TRACE_FUZZ_H_
