// The name of one compilation: what was compiled, how, and by what.
//
// Two compilations have the same key only when their answers are
// interchangeable. A plain value.

#ifndef CALLGATE_RUNTIME_NATIVE_CACHE_CACHE_KEY_H_
#define CALLGATE_RUNTIME_NATIVE_CACHE_CACHE_KEY_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>

#include "absl/strings/string_view.h"
#include "runtime/native/compile_request.h"

namespace callgate::native {

class CacheKey {
 public:
  static constexpr size_t kBytes = 32;
  using Bytes = std::array<uint8_t, kBytes>;

  CacheKey() = default;
  explicit CacheKey(const Bytes& bytes) : bytes_(bytes) {}

  // Of a module with this SHA-256, compiled as `request` says by a compiler
  // that calls itself `compiler`: a text that changes whenever its code would.
  // The ABI's version is part of it.
  static CacheKey Of(const Bytes& module_digest, const CompileRequest& request,
                     absl::string_view compiler);

  // Reads what hex() writes and nothing else.
  static std::optional<CacheKey> Parse(absl::string_view text);

  // 64 digits.
  std::string hex() const;
  const Bytes& bytes() const { return bytes_; }

  friend bool operator==(const CacheKey& a, const CacheKey& b) {
    return a.bytes_ == b.bytes_;
  }
  friend bool operator!=(const CacheKey& a, const CacheKey& b) {
    return !(a == b);
  }
  friend bool operator<(const CacheKey& a, const CacheKey& b) {
    return a.bytes_ < b.bytes_;
  }
  template <typename H>
  friend H AbslHashValue(H state, const CacheKey& key) {
    return H::combine(std::move(state), key.bytes_);
  }

 private:
  Bytes bytes_ = {};
};

}  // namespace callgate::native

#endif  // CALLGATE_RUNTIME_NATIVE_CACHE_CACHE_KEY_H_
