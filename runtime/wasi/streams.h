// The guest's standard input, output and error output.

#ifndef CALLGATE_RUNTIME_WASI_STREAMS_H_
#define CALLGATE_RUNTIME_WASI_STREAMS_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <utility>

#include "absl/types/span.h"
#include "runtime/wasi/abi.h"
#include "runtime/wasi/outcome.h"

namespace callgate {
namespace wasi {

// Standard input: bytes given beforehand, or a borrowed descriptor.
class Input {
 public:
  explicit Input(std::string bytes) : bytes_(std::move(bytes)) {}
  // `fd` must stay open as long as this.
  explicit Input(int fd) : fd_(fd) {}

  // Whether reading may have to wait for somebody.
  bool may_block() const { return fd_ >= 0; }
  int fd() const { return fd_; }
  // Whether Read would answer at once.
  bool Ready() const;
  // How many bytes a read would surely get; 0 at the end.
  uint64_t BytesReady() const;
  // Whether the other side is gone or everything has been read.
  bool AtEnd() const;
  // At most `out.size()` bytes; 0 at the end.
  OutcomeOr<size_t> Read(absl::Span<uint8_t> out);

 private:
  std::string bytes_;
  size_t position_ = 0;
  int fd_ = -1;
};

// Takes a stream's bytes; false when nobody wants them any more.
using OutputSink = std::function<bool(absl::Span<const uint8_t> bytes)>;

// Standard output or error output: kept, or handed to a sink, up to a number
// of bytes. What does not fit is refused with kNoSpc and counted.
class Output {
 public:
  // `sink` may be null: then bytes are kept for Take().
  Output(OutputSink sink, uint64_t bytes_max)
      : sink_(std::move(sink)), bytes_max_(bytes_max) {}

  // How many of the bytes were taken: all or the first few that fit.
  // kNoSpc when none fit, kPipe when the sink wants no more.
  OutcomeOr<size_t> Write(absl::Span<const uint8_t> bytes);

  // What was kept. The count towards the maximum starts again.
  std::string Take();
  // Bytes taken since the start or the last Take().
  uint64_t bytes_written() const { return written_; }
  // Bytes refused over the maximum, ever.
  uint64_t bytes_refused() const { return refused_; }

 private:
  const OutputSink sink_;
  const uint64_t bytes_max_;
  std::string kept_;
  uint64_t written_ = 0;
  uint64_t refused_ = 0;
};

}  // namespace wasi
}  // namespace callgate

#endif  // CALLGATE_RUNTIME_WASI_STREAMS_H_
