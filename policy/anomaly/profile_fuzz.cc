#include "policy/anomaly/profile_fuzz.h"

#include "absl/strings/string_view.h"
#include "policy/anomaly/profile.h"
#include "policy/anomaly/profile_bytes.h"
#include "policy/anomaly/stream.h"
#include "runtime/check.h"

namespace callgate::policy::anomaly {
namespace {

void Use(Profile profile, absl::string_view bytes) {
  CALLGATE_CHECK(SerialiseProfile(profile) == bytes,
                 "a profile has one form in bytes");
  const auto diff = Profile::Diff(profile, profile);
  CALLGATE_CHECK(diff.ok() && diff->only_left_count == 0 &&
                     diff->common == profile.ngram_count(),
                 "a profile is as itself");
  Stream::Options options;
  options.shape = profile.shape();
  options.model = profile.MakeModel();
  Stream stream(options);
  for (const ImportName& import : profile.alphabet().imports()) {
    for (const SiteKey& site : profile.alphabet().sites()) {
      stream.Calling(stream.AddSite(import.module, import.name, site));
      stream.Returned(ErrnoClass::kOk);
    }
  }
  Profile merged = profile;
  if (merged.Merge(profile).ok()) {
    CALLGATE_CHECK(merged.ngram_count() == profile.ngram_count(),
                   "a profile merged with itself knows the same");
  }
  if (!profile.runs().empty()) {
    CALLGATE_CHECK(profile.RemoveRun(profile.runs().front().number).ok(),
                   "a run that is there can be removed");
  }
  CALLGATE_CHECK(ParseProfile(SerialiseProfile(profile)).ok(),
                 "what is written can be read");
}

}  // namespace
}  // namespace callgate::policy::anomaly

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  // SAFETY: bytes may be looked at as characters.
  const absl::string_view bytes(reinterpret_cast<const char*>(data), size);
  auto profile = callgate::policy::anomaly::ParseProfile(bytes);
  if (profile.ok()) {
    callgate::policy::anomaly::Use(*std::move(profile), bytes);
  }
  return 0;
}
