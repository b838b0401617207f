#include "runtime/native/memory_image.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "runtime/check.h"

namespace callgate::native {
namespace {

constexpr uint64_t kPage = 4096;

absl::Status Failed(const char* what, int error) {
  return absl::UnavailableError(
      absl::StrCat("a memory image: ", what, ": ", std::strerror(error)));
}

bool WriteAll(int fd, absl::Span<const uint8_t> bytes, uint64_t at) {
  while (!bytes.empty()) {
    const ssize_t written =
        pwrite(fd, bytes.data(), bytes.size(), static_cast<off_t>(at));
    if (written < 0) {
      if (errno == EINTR) continue;
      return false;
    }
    bytes.remove_prefix(static_cast<size_t>(written));
    at += static_cast<uint64_t>(written);
  }
  return true;
}

}  // namespace

absl::StatusOr<std::shared_ptr<const MemoryImage>> MemoryImage::Make(
    absl::Span<const Piece> pieces, uint64_t memory_bytes) {
  uint64_t begin = memory_bytes;
  uint64_t end = 0;
  for (const Piece& piece : pieces) {
    if (piece.bytes.empty()) continue;
    CALLGATE_CHECK(piece.bytes.size() <= memory_bytes &&
                       piece.address <= memory_bytes - piece.bytes.size(),
                   "an image holds what lies inside the memory");
    begin = std::min(begin, piece.address);
    end = std::max(end, piece.address + piece.bytes.size());
  }
  if (end == 0) begin = 0;
  begin = begin / kPage * kPage;
  end = (end + kPage - 1) / kPage * kPage;

  const int fd =
      memfd_create("callgate-memory-image", MFD_CLOEXEC | MFD_ALLOW_SEALING);
  if (fd < 0) return Failed("memfd_create", errno);
  std::shared_ptr<const MemoryImage> image(
      new MemoryImage(fd, begin, end - begin));
  if (ftruncate(fd, static_cast<off_t>(image->bytes_)) != 0) {
    return Failed("ftruncate", errno);
  }
  for (const Piece& piece : pieces) {
    if (piece.bytes.empty()) continue;
    if (!WriteAll(fd, piece.bytes, piece.address - begin)) {
      return Failed("write", errno);
    }
  }
  if (fcntl(fd, F_ADD_SEALS,
            F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE) != 0) {
    return Failed("sealing", errno);
  }
  return image;
}

MemoryImage::~MemoryImage() { close(fd_); }

}  // namespace callgate::native
