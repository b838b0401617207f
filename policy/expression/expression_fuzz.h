// The language's fuzz entry, as libFuzzer wants it; the test beside it drives
// the same entry over mutated expressions.

#ifndef CALLGATE_POLICY_EXPRESSION_EXPRESSION_FUZZ_H_
#define CALLGATE_POLICY_EXPRESSION_EXPRESSION_FUZZ_H_

#include <cstddef>
#include <cstdint>

// Any bytes give a program or problems that name a place in them. A program
// takes no more steps than its bound, and gives what the slow evaluator gives.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

#endif  // CALLGATE_POLICY_EXPRESSION_EXPRESSION_FUZZ_H_
