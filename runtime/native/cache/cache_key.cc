#include "runtime/native/cache/cache_key.h"

#include <openssl/evp.h>

#include "absl/strings/escaping.h"
#include "runtime/check.h"
#include "runtime/native/abi.h"

namespace callgate::native {
namespace {

// Everything that is hashed, each piece of a fixed size or after its length, so
// that no two lists of fields read the same.
class Fields {
 public:
  void Add(uint64_t value) {
    for (int shift = 0; shift < 64; shift += 8) {
      text_.push_back(static_cast<char>(value >> shift & 0xff));
    }
  }
  void Add(absl::string_view text) {
    Add(uint64_t{text.size()});
    text_.append(text.data(), text.size());
  }
  const std::string& text() const { return text_; }

 private:
  std::string text_;
};

void AddFeatures(const admission::Features& features, Fields& fields) {
  // Names every field: one that is added later fails to compile here.
  const auto& [mutable_globals, saturating_float, sign_extension, multi_value,
               bulk_memory, reference_types, simd, tail_call, extended_const,
               multi_memory, memory64, relaxed_simd, exceptions, threads] =
      features;
  for (const bool feature :
       {mutable_globals, saturating_float, sign_extension, multi_value,
        bulk_memory, reference_types, simd, tail_call, extended_const,
        multi_memory, memory64, relaxed_simd, exceptions, threads}) {
    fields.Add(uint64_t{feature});
  }
}

void AddRequest(const CompileRequest& request, Fields& fields) {
  // As above.
  const auto& [level, cpu, fuel, canonical_nans, features] = request;
  fields.Add(static_cast<uint64_t>(level));
  fields.Add(static_cast<uint64_t>(cpu));
  fields.Add(uint64_t{fuel});
  fields.Add(uint64_t{canonical_nans});
  AddFeatures(features, fields);
}

}  // namespace

CacheKey CacheKey::Of(const Bytes& module_digest, const CompileRequest& request,
                      absl::string_view compiler) {
  Fields fields;
  fields.Add("callgate code cache key 1");
  // SAFETY: the array's bytes are viewed as char for the call's duration.
  fields.Add(
      absl::string_view(reinterpret_cast<const char*>(module_digest.data()),
                        module_digest.size()));
  AddRequest(request, fields);
  fields.Add(uint64_t{kAbiVersion});
  fields.Add(compiler);

  Bytes bytes = {};
  unsigned int size = 0;
  CALLGATE_CHECK(EVP_Digest(fields.text().data(), fields.text().size(),
                            bytes.data(), &size, EVP_sha256(), nullptr) == 1 &&
                     size == kBytes,
                 "OpenSSL hashes");
  return CacheKey(bytes);
}

std::optional<CacheKey> CacheKey::Parse(absl::string_view text) {
  if (text.size() != 2 * kBytes) return std::nullopt;
  Bytes bytes = {};
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    int value = 0;
    if (c >= '0' && c <= '9') {
      value = c - '0';
    } else if (c >= 'a' && c <= 'f') {
      value = c - 'a' + 10;
    } else {
      return std::nullopt;
    }
    bytes[i / 2] = static_cast<uint8_t>(bytes[i / 2] << 4 | value);
  }
  return CacheKey(bytes);
}

std::string CacheKey::hex() const {
  // SAFETY: as in Of.
  return absl::BytesToHexString(absl::string_view(
      reinterpret_cast<const char*>(bytes_.data()), bytes_.size()));
}

}  // namespace callgate::native
