// Reads little-endian bytes forward. Past the end, and for ever after, there
// are zeros and ok() is false, so that callers look once, at the end.

#ifndef CALLGATE_RUNTIME_NATIVE_COMPILER_BYTE_CURSOR_H_
#define CALLGATE_RUNTIME_NATIVE_COMPILER_BYTE_CURSOR_H_

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"

namespace callgate::native {

class ByteCursor {
 public:
  ByteCursor() = default;
  explicit ByteCursor(absl::Span<const uint8_t> bytes) : rest_(bytes) {}

  bool ok() const { return ok_; }
  // Whether there is anything left to read.
  bool more() const { return !rest_.empty(); }
  size_t left() const { return rest_.size(); }

  absl::Span<const uint8_t> Take(uint64_t size) {
    if (size > rest_.size()) {
      ok_ = false;
      rest_ = {};
      return {};
    }
    const absl::Span<const uint8_t> bytes =
        rest_.first(static_cast<size_t>(size));
    rest_.remove_prefix(static_cast<size_t>(size));
    return bytes;
  }

  uint8_t U8() { return static_cast<uint8_t>(Fixed(1)); }

  uint64_t Fixed(unsigned size) {
    const absl::Span<const uint8_t> bytes = Take(size);
    uint64_t value = 0;
    for (size_t i = 0; i < bytes.size() && i < 8; ++i) {
      value |= uint64_t{bytes[i]} << (8 * i);
    }
    return value;
  }

  // What does not fit into 64 bits is cut off.
  uint64_t Uleb() { return Leb(/*is_signed=*/false); }
  int64_t Sleb() { return static_cast<int64_t>(Leb(/*is_signed=*/true)); }

  // Up to a zero byte, which is taken as well.
  absl::string_view Text() {
    const void* const end =
        rest_.empty() ? nullptr : std::memchr(rest_.data(), 0, rest_.size());
    if (end == nullptr) {
      Take(uint64_t{rest_.size()} + 1);
      return {};
    }
    const auto size =
        static_cast<size_t>(static_cast<const uint8_t*>(end) - rest_.data());
    // SAFETY: bytes are viewed as char; the caller's span outlives the view.
    const absl::string_view text(reinterpret_cast<const char*>(rest_.data()),
                                 size);
    rest_.remove_prefix(size + 1);
    return text;
  }

 private:
  uint64_t Leb(bool is_signed) {
    uint64_t value = 0;
    unsigned shift = 0;
    for (size_t i = 0; i < rest_.size(); ++i) {
      const uint8_t byte = rest_[i];
      if (shift < 64) value |= uint64_t{byte & 0x7fu} << shift;
      shift += 7;
      if ((byte & 0x80u) != 0) continue;
      if (is_signed && (byte & 0x40u) != 0 && shift < 64) {
        value |= ~uint64_t{0} << shift;
      }
      rest_.remove_prefix(i + 1);
      return value;
    }
    Take(uint64_t{rest_.size()} + 1);
    return 0;
  }

  absl::Span<const uint8_t> rest_;
  bool ok_ = true;
};

}  // namespace callgate::native

#endif  // CALLGATE_RUNTIME_NATIVE_COMPILER_BYTE_CURSOR_H_
