// What the daemon and a compile worker say to each other, over one stream
// socket per module.
//
//   daemon -> worker   order (options and limits), module
//   worker -> daemon   locked | not locked; then refused | compiled; then the
//   end
//
// Every frame is a head of kFrameHeadBytes (magic, kAbiVersion, kind, length),
// then that many bytes. "Locked" says that the worker has given up its powers:
// it is sent before the worker reads any byte of the module, so a worker that
// ends without it ended for a reason that is not the module's.
//
// The worker trusts the daemon, but checks what it is sent. The daemon trusts
// nothing that a worker says: AnswerReader bounds every length before it
// allocates, and grows only with bytes that have arrived.
//
// Functions here are pure; AnswerReader is for one thread at a time. Sizes are
// in bytes. Numbers travel in little-endian order.

#ifndef CALLGATE_RUNTIME_NATIVE_WORKER_PROTOCOL_H_
#define CALLGATE_RUNTIME_NATIVE_WORKER_PROTOCOL_H_

#include <cstddef>
#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "runtime/native/compile_request.h"

namespace callgate::native {

inline constexpr uint64_t kModuleBytesMax = 64 << 20;
// Texts: why a module was refused, or why a worker could not lock itself in.
inline constexpr uint64_t kTextBytesMax = 1000;
// No answer limit may be above this.
inline constexpr uint64_t kAnswerBytesCeiling = uint64_t{2} << 30;

// Exit code of a worker that wanted more memory than it may have.
inline constexpr int kOutOfMemoryExit = 99;

inline constexpr size_t kFrameHeadBytes = 20;
inline constexpr size_t kOrderBytes = 40;

enum class FrameKind : uint32_t {
  kOrder = 1,
  kModule,
  kLocked,     // no bytes
  kNotLocked,  // text
  kRefused,    // text
  kCompiled,   // a serialised CompiledModule
};

struct FrameHead {
  FrameKind kind;
  uint64_t bytes;
};

// What a worker is asked to do, and within which limits.
struct Order {
  CompileRequest request;
  uint64_t module_bytes = 0;
  // Address space above what the worker has before it sees the order.
  uint64_t memory_bytes = 0;
  // Of the processor, all threads together.
  uint64_t cpu_seconds = 0;
  uint64_t answer_bytes_max = 0;
};

std::string EncodeFrameHead(FrameKind kind, uint64_t bytes);
// `head` is kFrameHeadBytes long. InvalidArgument: not such a head, or another
// version's. Bounds no length: that depends on what is expected.
absl::StatusOr<FrameHead> DecodeFrameHead(absl::string_view head);

// The order's frame and the head of the module's: the module's bytes follow.
std::string EncodeRequest(const Order& order);
// `bytes` is everything that EncodeRequest makes, kRequestBytes of it.
inline constexpr size_t kRequestBytes = 2 * kFrameHeadBytes + kOrderBytes;
absl::StatusOr<Order> DecodeRequest(absl::string_view bytes);

// `text` as a worker may send it and a log may print it: bytes that are not
// printable ASCII as \xNN, and at most kTextBytesMax long.
std::string PrintableText(absl::string_view text);

// Reads what a worker sends, in pieces of any size.
class AnswerReader {
 public:
  explicit AnswerReader(uint64_t answer_bytes_max);

  // Takes the next bytes. An error says what is wrong with the answer; nothing
  // is to be fed after it.
  absl::Status Feed(absl::string_view bytes);

  // Whether the worker had locked itself in.
  bool locked() const { return locked_; }
  // Whether the last frame is complete: the next thing must be the end.
  bool complete() const { return state_ == State::kComplete; }
  // Of a complete answer: kNotLocked, kRefused or kCompiled.
  FrameKind kind() const { return head_.kind; }
  // Its bytes; texts are printable.
  std::string Take();
  // Memory that it holds for the answer.
  size_t capacity() const { return body_.capacity(); }

 private:
  enum class State { kHead, kBody, kComplete };

  absl::Status TakeHead();
  absl::Status CheckHead() const;

  const uint64_t answer_bytes_max_;
  State state_ = State::kHead;
  bool locked_ = false;
  FrameHead head_ = {FrameKind::kLocked, 0};
  std::string head_bytes_;
  std::string body_;
};

}  // namespace callgate::native

#endif  // CALLGATE_RUNTIME_NATIVE_WORKER_PROTOCOL_H_
