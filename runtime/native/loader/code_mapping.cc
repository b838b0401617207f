#include "runtime/native/loader/code_mapping.h"

#include <sys/mman.h>

#include <cerrno>
#include <utility>

#include "absl/strings/str_cat.h"
#include "runtime/check.h"

namespace callgate::native {
namespace {

absl::Status SystemError(const char* what, uint64_t bytes, int error) {
  return absl::UnavailableError(absl::StrCat("cannot ", what, " ", bytes,
                                             " bytes for code: errno ", error));
}

}  // namespace

absl::StatusOr<CodeMapping> CodeMapping::Create(uint64_t constant_bytes,
                                                uint64_t code_bytes) {
  const uint64_t bytes = constant_bytes + code_bytes;
  CALLGATE_CHECK(bytes > 0 && constant_bytes % kPageBytes == 0 &&
                     code_bytes % kPageBytes == 0,
                 "code is mapped in whole pages");
  void* const reserved = mmap(nullptr, bytes + 2 * kPageBytes, PROT_NONE,
                              MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (reserved == MAP_FAILED) return SystemError("reserve", bytes, errno);
  CodeMapping mapping(static_cast<uint8_t*>(reserved) + kPageBytes,
                      constant_bytes, code_bytes);
  // In one go, for a fault per page costs more than the copy into it.
  if (mmap(mapping.data_, bytes, PROT_READ | PROT_WRITE,
           MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_POPULATE, -1,
           0) == MAP_FAILED) {
    return SystemError("map", bytes, errno);
  }
  return mapping;
}

CodeMapping::CodeMapping(CodeMapping&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)),
      constant_bytes_(other.constant_bytes_),
      code_bytes_(other.code_bytes_) {}

CodeMapping::~CodeMapping() {
  if (data_ == nullptr) return;
  // The system may refuse; then the pages stay, sealed, and nothing uses them.
  (void)munmap(data_ - kPageBytes,
               constant_bytes_ + code_bytes_ + 2 * kPageBytes);
}

absl::Status CodeMapping::Seal() {
  if (constant_bytes_ > 0 && mprotect(data_, constant_bytes_, PROT_READ) != 0) {
    return SystemError("protect", constant_bytes_, errno);
  }
  if (mprotect(data_ + constant_bytes_, code_bytes_, PROT_READ | PROT_EXEC) !=
      0) {
    return SystemError("protect", code_bytes_, errno);
  }
  return absl::OkStatus();
}

}  // namespace callgate::native
