#include "server/services/resume_token.h"

#include <sys/random.h>

#include <cstring>

#include "absl/strings/str_cat.h"
#include "runtime/check.h"
#include "server/error_reason.h"
#include "server/storage/digest.h"

namespace callgate {
namespace {

constexpr size_t kKeyBytes = 32;
constexpr size_t kPlainBytes = 16;  // epoch, seq

std::string NewKey() {
  std::string key(kKeyBytes, '\0');
  CALLGATE_CHECK(getrandom(&key[0], key.size(), 0) == kKeyBytes,
                 "the kernel gives 32 random bytes at once");
  return key;
}

void PutNumber(uint64_t number, std::string* out) {
  for (int shift = 56; shift >= 0; shift -= 8) {
    out->push_back(static_cast<char>(number >> shift & 0xff));
  }
}

uint64_t NumberAt(absl::string_view bytes) {
  uint64_t number = 0;
  for (size_t i = 0; i < 8; ++i) {
    number = number << 8 | static_cast<unsigned char>(bytes[i]);
  }
  return number;
}

std::string Hash(absl::string_view bytes) {
  const storage::Digest digest = storage::DigestOf(bytes);
  return std::string(digest.bytes().begin(), digest.bytes().end());
}

// Equal for equal filters, whatever else the request says.
std::string FilterBytes(const v1::WatchEventsRequest& request) {
  v1::WatchEventsRequest filter;
  filter.set_tenant(request.tenant());
  filter.set_store(request.store());
  *filter.mutable_kinds() = request.kinds();
  filter.set_min_severity(request.min_severity());
  return filter.SerializeAsString();
}

absl::Status Bad(absl::string_view why) {
  return ErrorWithReason(
      absl::StatusCode::kInvalidArgument, reason::kBadResumeToken,
      absl::StrCat("the resume token ", why,
                   "; give back the last one you got, with the same filter"));
}

}  // namespace

ResumeTokens::ResumeTokens(uint64_t epoch) : epoch_(epoch), key_(NewKey()) {}

// Hashed twice under the key, as HMAC does, so that nothing can be appended.
std::string ResumeTokens::Seal(absl::string_view plain,
                               const v1::WatchEventsRequest& filter) const {
  const std::string inner =
      Hash(absl::StrCat(key_, "inner", plain, FilterBytes(filter)));
  return Hash(absl::StrCat(key_, "outer", inner)).substr(0, 16);
}

std::string ResumeTokens::Make(const events::Position& position,
                               const v1::WatchEventsRequest& filter) const {
  std::string plain;
  PutNumber(position.epoch, &plain);
  PutNumber(position.seq, &plain);
  return absl::StrCat(plain, Seal(plain, filter));
}

absl::StatusOr<events::Position> ResumeTokens::Read(
    absl::string_view token, const v1::WatchEventsRequest& filter) const {
  if (token.size() != kPlainBytes + 16) {
    return Bad(absl::StrCat("has ", token.size(), " bytes"));
  }
  const absl::string_view plain = token.substr(0, kPlainBytes);
  const events::Position position{NumberAt(plain), NumberAt(plain.substr(8))};
  if (position.epoch == epoch_ &&
      token.substr(kPlainBytes) != Seal(plain, filter)) {
    return Bad("is of another filter, or was not made here");
  }
  return position;
}

}  // namespace callgate
