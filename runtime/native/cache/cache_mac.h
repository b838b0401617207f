// Vouches for a cache folder's files: HMAC-SHA-256 with a key that lies in the
// folder itself, in `mac-key`, for its owner's eyes only.
//
// What it is for: bytes that this program did not write there in full (a torn
// or damaged file, one of another machine's cache, one that was renamed) are
// told from those it did. What it is not for: whoever runs as the owner can
// read the key.
//
// HMAC-SHA-256 among OpenSSL 3.0's MACs, per MB on the development machine,
// whose processor has SHA instructions: HMAC-SHA-256 0.7 ms (3 ms without the
// instructions), BLAKE2b 1.5 ms, BLAKE2s 2.7 ms. GMAC and Poly1305 would take
// 0.2-0.3 ms but are broken by a nonce used twice; next to the second or more
// that compiling a MB takes, that is not worth having to prove.
//
// A CacheMac is constant once opened: any thread.

#ifndef CALLGATE_RUNTIME_NATIVE_CACHE_CACHE_MAC_H_
#define CALLGATE_RUNTIME_NATIVE_CACHE_CACHE_MAC_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace callgate::native {

class CacheMac {
 public:
  static constexpr size_t kBytes = 32;
  using Mac = std::array<uint8_t, kBytes>;

  // Reads the folder's key, and makes it where there is none or it has not the
  // right size. To be called under the folder's lock. PermissionDenied when
  // others than this process's user may have read or written it; `folder` is
  // for messages.
  static absl::StatusOr<std::unique_ptr<const CacheMac>> Open(
      int folder_fd, const std::string& folder);
  ~CacheMac();
  CacheMac(const CacheMac&) = delete;
  CacheMac& operator=(const CacheMac&) = delete;

  // A MAC of bytes as they come. For one thread; the CacheMac outlives it.
  class Stream {
   public:
    explicit Stream(const CacheMac& mac);
    ~Stream();
    Stream(const Stream&) = delete;
    Stream& operator=(const Stream&) = delete;

    void Update(absl::string_view bytes);
    // Ends it.
    Mac Finish();

   private:
    struct Context;
    std::unique_ptr<Context> context_;
  };

  // In a time that does not depend on where they differ.
  static bool Same(const Mac& a, const Mac& b);

 private:
  struct Algorithm;

  CacheMac();

  std::array<uint8_t, 32> key_ = {};
  std::unique_ptr<Algorithm> algorithm_;
};

}  // namespace callgate::native

#endif  // CALLGATE_RUNTIME_NATIVE_CACHE_CACHE_MAC_H_
