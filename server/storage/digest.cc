#include "server/storage/digest.h"

#include <openssl/evp.h>

#include "absl/status/status.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "runtime/check.h"

namespace callgate::storage {
namespace {

constexpr absl::string_view kPrefix = "sha256:";
constexpr size_t kHexDigits = 2 * Digest::kBytes;

// -1 for anything but a lower-case hex digit.
int HexDigitValue(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  return -1;
}

// Says what is wrong without showing what may be a caller's odd bytes.
absl::Status BadDigest(absl::string_view what) {
  return absl::InvalidArgumentError(
      absl::StrCat("not a digest: ", what,
                   "; a digest is \"sha256:\" and 64 lower-case hex digits"));
}

}  // namespace

absl::StatusOr<Digest> Digest::Parse(absl::string_view text) {
  if (text.substr(0, kPrefix.size()) != kPrefix) {
    return BadDigest("it does not begin with \"sha256:\"");
  }
  text.remove_prefix(kPrefix.size());
  if (text.size() != kHexDigits) {
    return BadDigest(absl::StrCat("it has ", text.size(), " digits"));
  }
  std::array<uint8_t, kBytes> bytes = {};
  for (size_t i = 0; i < kHexDigits; ++i) {
    const int value = HexDigitValue(text[i]);
    if (value < 0) {
      return BadDigest(absl::StrCat("character ", i + 1,
                                    " after the colon is no such digit"));
    }
    bytes[i / 2] = static_cast<uint8_t>(bytes[i / 2] << 4 | value);
  }
  return Digest(bytes);
}

std::string Digest::ToString() const { return absl::StrCat(kPrefix, hex()); }

std::string Digest::hex() const {
  // SAFETY: the array's bytes are viewed as char for the call's duration.
  return absl::BytesToHexString(absl::string_view(
      reinterpret_cast<const char*>(bytes_.data()), bytes_.size()));
}

struct Sha256::Context {
  EVP_MD_CTX* md = nullptr;
  bool finished = false;
};

// OpenSSL's SHA-256 fails only when it has no memory or its default provider
// is missing; neither leaves anything sensible to do.
Sha256::Sha256() : context_(std::make_unique<Context>()) {
  context_->md = EVP_MD_CTX_new();
  CALLGATE_CHECK(context_->md != nullptr, "OpenSSL makes a hash context");
  CALLGATE_CHECK(EVP_DigestInit_ex(context_->md, EVP_sha256(), nullptr) == 1,
                 "OpenSSL has SHA-256");
}

Sha256::~Sha256() { EVP_MD_CTX_free(context_->md); }

void Sha256::Update(absl::string_view bytes) {
  CALLGATE_CHECK(!context_->finished, "no bytes after Finish");
  CALLGATE_CHECK(
      EVP_DigestUpdate(context_->md, bytes.data(), bytes.size()) == 1,
      "OpenSSL hashes");
}

Digest Sha256::Finish() {
  CALLGATE_CHECK(!context_->finished, "Finish once");
  context_->finished = true;
  std::array<uint8_t, Digest::kBytes> bytes = {};
  unsigned int size = 0;
  CALLGATE_CHECK(EVP_DigestFinal_ex(context_->md, bytes.data(), &size) == 1,
                 "OpenSSL finishes a hash");
  CALLGATE_CHECK(size == Digest::kBytes, "SHA-256 has 32 bytes");
  return Digest(bytes);
}

Digest DigestOf(absl::string_view bytes) {
  Sha256 hash;
  hash.Update(bytes);
  return hash.Finish();
}

}  // namespace callgate::storage
