// SHA-256 as the daemon uses it: the name of a module's bytes and of a policy's
// text. The only place in server/ that hashes.
//
// A Digest is a plain value. A Sha256 belongs to one thread at a time.

#ifndef CALLGATE_SERVER_STORAGE_DIGEST_H_
#define CALLGATE_SERVER_STORAGE_DIGEST_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace callgate::storage {

class Digest {
 public:
  static constexpr size_t kBytes = 32;

  Digest() = default;
  explicit Digest(const std::array<uint8_t, kBytes>& bytes) : bytes_(bytes) {}

  // Reads the written form, "sha256:" and 64 lower-case hex digits; nothing
  // else is taken, so that one module has one name.
  static absl::StatusOr<Digest> Parse(absl::string_view text);

  // "sha256:9f2c…"
  std::string ToString() const;
  // "9f2c…", 64 digits.
  std::string hex() const;
  const std::array<uint8_t, kBytes>& bytes() const { return bytes_; }

  friend bool operator==(const Digest& a, const Digest& b) {
    return a.bytes_ == b.bytes_;
  }
  friend bool operator!=(const Digest& a, const Digest& b) { return !(a == b); }
  friend bool operator<(const Digest& a, const Digest& b) {
    return a.bytes_ < b.bytes_;
  }
  template <typename H>
  friend H AbslHashValue(H state, const Digest& digest) {
    return H::combine(std::move(state), digest.bytes_);
  }

 private:
  std::array<uint8_t, kBytes> bytes_ = {};
};

// Hashes bytes as they come.
class Sha256 {
 public:
  Sha256();
  ~Sha256();
  Sha256(const Sha256&) = delete;
  Sha256& operator=(const Sha256&) = delete;

  void Update(absl::string_view bytes);
  // Of everything given so far. Ends the hash: no Update afterwards.
  Digest Finish();

 private:
  struct Context;
  std::unique_ptr<Context> context_;
};

Digest DigestOf(absl::string_view bytes);

}  // namespace callgate::storage

#endif  // CALLGATE_SERVER_STORAGE_DIGEST_H_
