// The loader's and compiler's fuzz entry, as libFuzzer wants it; the test
// beside it drives the same entry over mutated files.

#ifndef CALLGATE_POLICY_COMPILER_POLICY_FILE_FUZZ_H_
#define CALLGATE_POLICY_COMPILER_POLICY_FILE_FUZZ_H_

#include <cstddef>
#include <cstdint>

// Any bytes give a policy or problems that name a place; a policy denies what
// it does not name, unless it says otherwise; and calls of a host that it may
// know are judged the same way each time, counted once each, whatever their
// arguments and its conditions are.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

#endif  // CALLGATE_POLICY_COMPILER_POLICY_FILE_FUZZ_H_
