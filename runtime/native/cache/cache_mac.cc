#include "runtime/native/cache/cache_mac.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include <optional>

#include "absl/cleanup/cleanup.h"
#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "runtime/check.h"
#include "runtime/native/cache/folder.h"

namespace callgate::native {
namespace {

constexpr char kKeyFile[] = "mac-key";
constexpr char kUnfinishedKeyFile[] = "mac-key.new";

using Key = std::array<uint8_t, 32>;

// SAFETY (both): a view of the array's own bytes as char.
char* Chars(Key& key) { return reinterpret_cast<char*>(key.data()); }
absl::string_view View(const Key& key) {
  return {reinterpret_cast<const char*>(key.data()), key.size()};
}

// None when there is no usable one.
absl::StatusOr<std::optional<Key>> ReadKey(int folder_fd,
                                           const std::string& folder) {
  const std::string shown = absl::StrCat(folder, "/", kKeyFile);
  const int fd = openat(folder_fd, kKeyFile,
                        O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
  if (fd < 0) {
    if (errno == ENOENT) return std::optional<Key>();
    if (errno == ELOOP || errno == ENXIO) {
      return absl::FailedPreconditionError(
          absl::StrCat(shown, " is not a regular file; remove it"));
    }
    return absl::ErrnoToStatus(errno, absl::StrCat("cannot open ", shown));
  }
  const auto close_fd = absl::MakeCleanup([fd] { close(fd); });
  struct stat file = {};
  if (fstat(fd, &file) != 0) {
    return absl::ErrnoToStatus(errno, absl::StrCat("cannot read ", shown));
  }
  if (!S_ISREG(file.st_mode)) {
    return absl::FailedPreconditionError(
        absl::StrCat(shown, " is not a regular file; remove it"));
  }
  if (file.st_uid != geteuid() || (file.st_mode & 077) != 0) {
    return absl::PermissionDeniedError(absl::StrCat(
        shown, " is or was open to others (owner ", file.st_uid, ", mode 0",
        absl::Hex((file.st_mode >> 6) & 7), absl::Hex((file.st_mode >> 3) & 7),
        absl::Hex(file.st_mode & 7),
        "); remove the folder's files, and a new key is made"));
  }
  if (file.st_size != static_cast<off_t>(sizeof(Key))) {
    return std::optional<Key>();
  }
  Key key = {};
  if (!ReadAll(fd, Chars(key), key.size())) {
    return absl::ErrnoToStatus(EIO, absl::StrCat("cannot read ", shown));
  }
  return std::optional<Key>(key);
}

// Unlike entries it is synced: losing it loses them all.
absl::Status MakeKey(int folder_fd, const std::string& folder) {
  Key key = {};
  const auto forget =
      absl::MakeCleanup([&key] { OPENSSL_cleanse(key.data(), key.size()); });
  if (getrandom(key.data(), key.size(), 0) !=
      static_cast<ssize_t>(key.size())) {
    return absl::ErrnoToStatus(errno, "cannot get random bytes");
  }
  // Of somebody who was killed here; the lock is ours.
  unlinkat(folder_fd, kUnfinishedKeyFile, 0);
  const std::string shown = absl::StrCat(folder, "/", kUnfinishedKeyFile);
  const int fd =
      openat(folder_fd, kUnfinishedKeyFile,
             O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
  if (fd < 0) {
    return absl::ErrnoToStatus(errno, absl::StrCat("cannot make ", shown));
  }
  bool written = WriteAll(fd, View(key)) && fsync(fd) == 0;
  int error = errno;
  if (close(fd) != 0 && written) {
    written = false;
    error = errno;
  }
  if (written) {
    if (renameat(folder_fd, kUnfinishedKeyFile, folder_fd, kKeyFile) == 0 &&
        fsync(folder_fd) == 0) {
      return absl::OkStatus();
    }
    error = errno;
  }
  unlinkat(folder_fd, kUnfinishedKeyFile, 0);
  return absl::ErrnoToStatus(
      error, absl::StrCat("cannot write ", folder, "/", kKeyFile));
}

}  // namespace

struct CacheMac::Algorithm {
  EVP_MAC* mac = nullptr;
};

// OpenSSL's HMAC fails only when it has no memory or its default provider is
// missing; neither leaves anything sensible to do.
CacheMac::CacheMac() : algorithm_(std::make_unique<Algorithm>()) {
  algorithm_->mac = EVP_MAC_fetch(nullptr, "HMAC", nullptr);
  CALLGATE_CHECK(algorithm_->mac != nullptr, "OpenSSL has HMAC");
}

CacheMac::~CacheMac() {
  EVP_MAC_free(algorithm_->mac);
  OPENSSL_cleanse(key_.data(), key_.size());
}

absl::StatusOr<std::unique_ptr<const CacheMac>> CacheMac::Open(
    int folder_fd, const std::string& folder) {
  absl::StatusOr<std::optional<Key>> key = ReadKey(folder_fd, folder);
  if (key.ok() && !key->has_value()) {
    const absl::Status made = MakeKey(folder_fd, folder);
    if (!made.ok()) return made;
    // What is used is what the next process will read.
    key = ReadKey(folder_fd, folder);
  }
  if (!key.ok()) return key.status();
  if (!key->has_value()) {
    return absl::AbortedError(absl::StrCat(
        folder, "/", kKeyFile, " was changed while it was being made"));
  }
  std::unique_ptr<CacheMac> mac(new CacheMac());
  mac->key_ = **key;
  OPENSSL_cleanse((*key)->data(), (*key)->size());
  return std::unique_ptr<const CacheMac>(std::move(mac));
}

struct CacheMac::Stream::Context {
  EVP_MAC_CTX* mac = nullptr;
};

CacheMac::Stream::Stream(const CacheMac& mac)
    : context_(std::make_unique<Context>()) {
  context_->mac = EVP_MAC_CTX_new(mac.algorithm_->mac);
  CALLGATE_CHECK(context_->mac != nullptr, "OpenSSL makes a MAC context");
  char digest[] = "SHA256";
  const OSSL_PARAM params[] = {
      OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0),
      OSSL_PARAM_construct_end()};
  CALLGATE_CHECK(EVP_MAC_init(context_->mac, mac.key_.data(), mac.key_.size(),
                              params) == 1,
                 "OpenSSL has HMAC-SHA-256");
}

CacheMac::Stream::~Stream() { EVP_MAC_CTX_free(context_->mac); }

void CacheMac::Stream::Update(absl::string_view bytes) {
  // SAFETY: chars are viewed as unsigned ones for the call's duration.
  CALLGATE_CHECK(
      EVP_MAC_update(context_->mac,
                     reinterpret_cast<const unsigned char*>(bytes.data()),
                     bytes.size()) == 1,
      "OpenSSL takes bytes");
}

CacheMac::Mac CacheMac::Stream::Finish() {
  Mac mac = {};
  size_t size = 0;
  CALLGATE_CHECK(
      EVP_MAC_final(context_->mac, mac.data(), &size, mac.size()) == 1 &&
          size == kBytes,
      "OpenSSL finishes a MAC");
  return mac;
}

bool CacheMac::Same(const Mac& a, const Mac& b) {
  return CRYPTO_memcmp(a.data(), b.data(), a.size()) == 0;
}

}  // namespace callgate::native
