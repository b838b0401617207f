// Whether libwabt survives reading a module, found out in a forked child with
// limits on memory, time and system calls, so that a crash, an abort or a hang
// costs the module and not this process.
//
// The child is a fork, not a new program: it has the bytes already and can be
// had in a millisecond. It closes every descriptor but its answer's pipe, may
// only allocate, write and exit, and is killed at a deadline. Any thread;
// blocks for as long as the child takes, at most kGuardedReadTime.

#ifndef CALLGATE_RUNTIME_REFERENCE_GUARDED_READ_H_
#define CALLGATE_RUNTIME_REFERENCE_GUARDED_READ_H_

#include <cstdint>
#include <functional>
#include <string>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "absl/types/span.h"

namespace callgate::reference {

inline constexpr absl::Duration kGuardedReadTime = absl::Seconds(10);

// Runs `read` in the child; it returns an empty text when the bytes are fine,
// else what is wrong with them. Memory for it: 256 MiB and 256 bytes for each
// of `bytes`.
//   OK               it returned an empty text
//   InvalidArgument  it returned a text, crashed, hung or ran out of memory
//   Unavailable      there was no child to be had
absl::Status SurvivesReading(uint64_t bytes,
                             const std::function<std::string()>& read);

}  // namespace callgate::reference

#endif  // CALLGATE_RUNTIME_REFERENCE_GUARDED_READ_H_
