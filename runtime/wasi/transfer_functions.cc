// Bytes between guest memory and files or streams, and positions in files.
//
// Everything passes through State::buffer, so that no system call ever gets an
// address of guest memory and no guest decides how much the host allocates.

#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <limits>
#include <optional>
#include <vector>

#include "runtime/wasi/functions.h"
#include "runtime/wasi/host_errno.h"

namespace callgate {
namespace wasi {
namespace {

constexpr uint64_t kOffsetMax =
    static_cast<uint64_t>(std::numeric_limits<off_t>::max());

// Walks along a guest's iovecs.
class RangeCursor {
 public:
  explicit RangeCursor(std::vector<GuestRange> ranges)
      : ranges_(std::move(ranges)) {}

  bool done() const { return next_ == ranges_.size(); }
  // The next piece, at most `bytes_max` long. Not when done().
  GuestRange Take(uint64_t bytes_max) {
    GuestRange& range = ranges_[next_];
    const GuestRange piece{
        range.address,
        static_cast<uint32_t>(std::min<uint64_t>(range.length, bytes_max))};
    range.address += piece.length;
    range.length -= piece.length;
    if (range.length == 0) ++next_;
    return piece;
  }
  uint64_t BytesLeft() const {
    uint64_t left = 0;
    for (size_t i = next_; i < ranges_.size(); ++i) left += ranges_[i].length;
    return left;
  }

 private:
  std::vector<GuestRange> ranges_;
  size_t next_ = 0;
};

// Puts bytes from the host into the next of the guest's ranges.
Outcome Scatter(HostCall& call, RangeCursor& cursor,
                absl::Span<const uint8_t> bytes) {
  while (!bytes.empty()) {
    const GuestRange piece = cursor.Take(bytes.size());
    const Outcome written =
        call.Write(piece.address, bytes.subspan(0, piece.length));
    if (!written.ok()) return written;
    bytes.remove_prefix(piece.length);
  }
  return Errno::kSuccess;
}

// Fills State::buffer from the next of the guest's ranges.
OutcomeOr<absl::Span<const uint8_t>> Gather(HostCall& call,
                                            RangeCursor& cursor) {
  const absl::Span<uint8_t> buffer = absl::MakeSpan(call.state().buffer);
  size_t used = 0;
  while (used < buffer.size() && !cursor.done()) {
    const GuestRange piece = cursor.Take(buffer.size() - used);
    const Outcome read =
        call.Read(piece.address, buffer.subspan(used, piece.length));
    if (!read.ok()) return read;
    used += piece.length;
  }
  return absl::Span<const uint8_t>(buffer.subspan(0, used));
}

// The bytes read, at `offset` or where the file is.
OutcomeOr<uint64_t> ReadFile(HostCall& call, const Handle& handle,
                             RangeCursor cursor,
                             std::optional<uint64_t> offset) {
  uint64_t done = 0;
  while (!cursor.done()) {
    const absl::Span<uint8_t> chunk =
        absl::MakeSpan(call.state().buffer)
            .subspan(0, static_cast<size_t>(std::min<uint64_t>(
                            cursor.BytesLeft(), kBufferBytes)));
    const ssize_t got = RetryOnSignal([&] {
      return offset.has_value()
                 ? pread(handle.fd.get(), chunk.data(), chunk.size(),
                         static_cast<off_t>(*offset + done))
                 : read(handle.fd.get(), chunk.data(), chunk.size());
    });
    if (got < 0) {
      if (done > 0) break;
      return FromHostErrno(errno);
    }
    const auto count = static_cast<size_t>(got);
    const Outcome written = Scatter(call, cursor, chunk.subspan(0, count));
    if (!written.ok()) return written;
    done += count;
    if (count < chunk.size()) break;
  }
  return done;
}

OutcomeOr<uint64_t> WriteFile(HostCall& call, const Handle& handle,
                              RangeCursor cursor,
                              std::optional<uint64_t> offset) {
  uint64_t done = 0;
  while (!cursor.done()) {
    const OutcomeOr<absl::Span<const uint8_t>> chunk = Gather(call, cursor);
    if (!chunk.ok()) return chunk.failure();
    const ssize_t put = RetryOnSignal([&] {
      return offset.has_value()
                 ? pwrite(handle.fd.get(), chunk->data(), chunk->size(),
                          static_cast<off_t>(*offset + done))
                 : write(handle.fd.get(), chunk->data(), chunk->size());
    });
    if (put < 0) {
      if (done > 0) break;
      return FromHostErrno(errno);
    }
    done += static_cast<size_t>(put);
    if (static_cast<size_t>(put) < chunk->size()) break;
  }
  return done;
}

// One read, as soon as there is anything.
OutcomeOr<uint64_t> ReadInput(HostCall& call, const Handle& handle,
                              RangeCursor cursor) {
  Input& input = call.state().input;
  if (cursor.done()) return uint64_t{0};
  const bool waits = (handle.flags & fdflags::kNonblock) == 0;
  const absl::Span<uint8_t> chunk =
      absl::MakeSpan(call.state().buffer)
          .subspan(0, static_cast<size_t>(std::min<uint64_t>(cursor.BytesLeft(),
                                                             kBufferBytes)));
  for (;;) {
    if (!input.Ready()) {
      if (!waits) return Errno::kAgain;
      if (call.caller().WaitReadable(input.fd(), absl::InfiniteFuture()) ==
          WakeReason::kInterrupted) {
        return Outcome(call.caller().Interrupted());
      }
      continue;
    }
    const OutcomeOr<size_t> got = input.Read(chunk);
    // Another reader of the same pipe was faster.
    if (!got.ok() && got.failure().number() == Errno::kAgain && waits) continue;
    if (!got.ok()) return got.failure();
    const Outcome written = Scatter(call, cursor, chunk.subspan(0, *got));
    if (!written.ok()) return written;
    return uint64_t{*got};
  }
}

OutcomeOr<uint64_t> WriteOutput(HostCall& call, Output& output,
                                RangeCursor cursor) {
  uint64_t done = 0;
  while (!cursor.done()) {
    const OutcomeOr<absl::Span<const uint8_t>> chunk = Gather(call, cursor);
    if (!chunk.ok()) return chunk.failure();
    const OutcomeOr<size_t> put = output.Write(*chunk);
    if (!put.ok()) {
      if (done > 0) break;
      return put.failure();
    }
    done += *put;
    if (*put < chunk->size()) break;
  }
  return done;
}

// What the four transfers have in common: (descriptor, iovecs, how many, …,
// where the count of bytes goes).
enum class Direction : uint8_t { kToGuest, kFromGuest };

Outcome Transfer(HostCall& call, Direction direction, bool at_offset) {
  const uint32_t count_out = call.U32(at_offset ? 4 : 3);
  std::optional<uint64_t> offset;
  uint64_t needed =
      direction == Direction::kToGuest ? rights::kFdRead : rights::kFdWrite;
  Handle* const any = call.state().handles.Find(call.U32(0));
  if (any == nullptr) return Errno::kBadf;
  if (any->kind == Handle::Kind::kDirectory) return Errno::kIsDir;
  if (at_offset) {
    if (any->is_stream()) return Errno::kSpipe;
    needed |= rights::kFdSeek;
    offset = call.U64(3);
    if (*offset > kOffsetMax - kTransferBytesMax) return Errno::kInval;
  }
  const OutcomeOr<Handle*> handle = call.Find(call.U32(0), needed);
  if (!handle.ok()) return handle.failure();
  const Outcome inside = call.InBounds(count_out, 4);
  if (!inside.ok()) return inside;
  OutcomeOr<std::vector<GuestRange>> ranges =
      call.ReadIovecs(call.U32(1), call.U32(2));
  if (!ranges.ok()) return ranges.failure();
  RangeCursor cursor(std::move(*ranges));

  OutcomeOr<uint64_t> moved = Errno::kBadf;
  switch ((*handle)->kind) {
    case Handle::Kind::kStdin:
      moved = ReadInput(call, **handle, std::move(cursor));
      break;
    case Handle::Kind::kStdout:
      moved = WriteOutput(call, call.state().output, std::move(cursor));
      break;
    case Handle::Kind::kStderr:
      moved = WriteOutput(call, call.state().error_output, std::move(cursor));
      break;
    case Handle::Kind::kFile:
      moved = direction == Direction::kToGuest
                  ? ReadFile(call, **handle, std::move(cursor), offset)
                  : WriteFile(call, **handle, std::move(cursor), offset);
      break;
    case Handle::Kind::kDirectory:
      break;
  }
  if (!moved.ok()) return moved.failure();
  return call.WriteU32(count_out, static_cast<uint32_t>(*moved));
}

// Moves the file's position and writes the new one at `out`. Asking where it is
// takes either of two rights, moving it takes kFdSeek.
Outcome Seek(HostCall& call, off_t offset, int origin, uint32_t out) {
  Handle* const any = call.state().handles.Find(call.U32(0));
  if (any == nullptr) return Errno::kBadf;
  if (any->kind == Handle::Kind::kDirectory) return Errno::kIsDir;
  if (any->is_stream()) return Errno::kSpipe;
  const bool only_asks = offset == 0 && origin == SEEK_CUR;
  const uint64_t accepted =
      rights::kFdSeek | (only_asks ? rights::kFdTell : uint64_t{0});
  if ((any->rights_base & accepted) == 0) return Errno::kNotCapable;
  const Outcome inside = call.InBounds(out, 8);
  if (!inside.ok()) return inside;
  const off_t position = lseek(any->fd.get(), offset, origin);
  if (position < 0) return FromHostErrno(errno);
  return call.WriteU64(out, static_cast<uint64_t>(position));
}

}  // namespace

// (descriptor, iovecs, how many, offset, where the count goes)
Outcome FdPread(HostCall& call) {
  return Transfer(call, Direction::kToGuest, /*at_offset=*/true);
}
Outcome FdPwrite(HostCall& call) {
  return Transfer(call, Direction::kFromGuest, /*at_offset=*/true);
}

// (descriptor, iovecs, how many, where the count goes)
Outcome FdRead(HostCall& call) {
  return Transfer(call, Direction::kToGuest, /*at_offset=*/false);
}
Outcome FdWrite(HostCall& call) {
  return Transfer(call, Direction::kFromGuest, /*at_offset=*/false);
}

// (descriptor, offset, whence, where the position goes)
Outcome FdSeek(HostCall& call) {
  const auto offset = static_cast<off_t>(call.U64(1));
  int origin = SEEK_SET;
  switch (call.U32(2)) {
    case whence::kSet:
      break;
    case whence::kCur:
      origin = SEEK_CUR;
      break;
    case whence::kEnd:
      origin = SEEK_END;
      break;
    default:
      return Errno::kInval;
  }
  return Seek(call, offset, origin, call.U32(3));
}

// (descriptor, where the position goes)
Outcome FdTell(HostCall& call) { return Seek(call, 0, SEEK_CUR, call.U32(1)); }

}  // namespace wasi
}  // namespace callgate
