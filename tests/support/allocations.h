// What the process allocates, for tests of how much that is.
//
// A test that depends on this has its operators new and delete replaced: all
// forms of them, since memory of one form may be given back to any, and a
// sanitizer's own forms would fill the gaps and take ours for a mismatch. Any
// thread.

#ifndef CALLGATE_TESTS_SUPPORT_ALLOCATIONS_H_
#define CALLGATE_TESTS_SUPPORT_ALLOCATIONS_H_

#include <cstdint>

namespace callgate {

// Since the start: how often, and how many bytes were asked for, whether they
// were given back or not.
uint64_t AllocationCount();
uint64_t AllocatedBytes();

}  // namespace callgate

#endif  // CALLGATE_TESTS_SUPPORT_ALLOCATIONS_H_
