// The daemon's side of a talk with one compile worker: sends it a module, reads
// its answer, and says how a worker ended that gave none.
//
// Blocks the calling thread until the deadline at most, whatever the worker
// does. Any thread; one talk per socket.

#ifndef CALLGATE_RUNTIME_NATIVE_WORKER_CONVERSATION_H_
#define CALLGATE_RUNTIME_NATIVE_WORKER_CONVERSATION_H_

#include <chrono>
#include <cstdint>
#include <string>

#include "absl/types/span.h"
#include "runtime/native/worker/protocol.h"

namespace callgate::native {

struct Conversation {
  enum class End {
    kAnswered,   // `kind` and `text` are the answer
    kClosed,     // the worker's end of the socket was closed before an answer
    kMalformed,  // `text` says what is wrong with the answer
    kTimedOut,
    kCancelled,
  };
  End end = End::kClosed;
  // Whether the worker had locked itself in. What happened before is not the
  // module's doing.
  bool locked = false;
  FrameKind kind = FrameKind::kRefused;
  std::string text;
};

// `socket` is lent. `cancel_fd`, unless negative, ends the talk as soon as it
// can be read.
Conversation Converse(int socket, const Order& order,
                      absl::Span<const uint8_t> module,
                      std::chrono::steady_clock::time_point deadline,
                      int cancel_fd);

// How a worker ended that had locked itself in and gave no answer.
struct Death {
  enum class Cause { kCrash, kOverTime, kOverMemory, kNoAnswer };
  Cause cause;
  // "was ended by SIGSEGV (Segmentation fault)"
  std::string text;
};
// `wait_status` is waitpid's.
Death DescribeDeath(int wait_status, const Order& order);

// "went over its time of 1.5 s"
std::string OverTimeText(std::chrono::milliseconds time);

}  // namespace callgate::native

#endif  // CALLGATE_RUNTIME_NATIVE_WORKER_CONVERSATION_H_
