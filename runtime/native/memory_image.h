// The first contents of a memory, shared by everything that begins with them.
//
// A sealed memfd: it can be mapped privately, and nobody can change it any
// more. Immutable; any thread.

#ifndef CALLGATE_RUNTIME_NATIVE_MEMORY_IMAGE_H_
#define CALLGATE_RUNTIME_NATIVE_MEMORY_IMAGE_H_

#include <cstdint>
#include <memory>

#include "absl/status/statusor.h"
#include "absl/types/span.h"

namespace callgate::native {

class MemoryImage {
 public:
  struct Piece {
    uint64_t address = 0;
    absl::Span<const uint8_t> bytes;
  };

  // What a memory holds after `pieces` were written into it in order. Each
  // must end at or before `memory_bytes`, a multiple of the page size.
  // Unavailable when the system gives no memfd.
  static absl::StatusOr<std::shared_ptr<const MemoryImage>> Make(
      absl::Span<const Piece> pieces, uint64_t memory_bytes);

  ~MemoryImage();
  MemoryImage(const MemoryImage&) = delete;
  MemoryImage& operator=(const MemoryImage&) = delete;

  int fd() const { return fd_; }
  // Where in the memory the file's first byte is, and how long it is: whole
  // pages. Outside of it the memory begins with zeros.
  uint64_t begin() const { return begin_; }
  uint64_t bytes() const { return bytes_; }

 private:
  MemoryImage(int fd, uint64_t begin, uint64_t bytes)
      : fd_(fd), begin_(begin), bytes_(bytes) {}

  const int fd_;
  const uint64_t begin_;
  const uint64_t bytes_;
};

}  // namespace callgate::native

#endif  // CALLGATE_RUNTIME_NATIVE_MEMORY_IMAGE_H_
