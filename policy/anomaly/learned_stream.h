// Streams of made-up calls, for tests.

#ifndef CALLGATE_POLICY_ANOMALY_LEARNED_STREAM_H_
#define CALLGATE_POLICY_ANOMALY_LEARNED_STREAM_H_

#include <cstdint>
#include <string>
#include <vector>

#include "policy/anomaly/profile.h"
#include "policy/anomaly/stream.h"

namespace callgate::policy::anomaly {

// A call of env.<name> by function `site`.
struct MadeCall {
  const char* name;
  uint32_t site = 1;
  ErrnoClass errno_class = ErrnoClass::kOk;
};

inline Score Make(const MadeCall& call, Stream* stream) {
  const uint32_t functions[] = {call.site, 100};
  const Score score =
      stream->Calling(stream->AddSite("env", call.name, functions));
  stream->Returned(call.errno_class);
  return score;
}

inline RunRecord Recorded(const Shape& shape,
                          const std::vector<MadeCall>& calls,
                          size_t ngrams_max = 1000) {
  Stream::Options options;
  options.shape = shape;
  options.record_ngrams_max = ngrams_max;
  Stream stream(options);
  for (const MadeCall& call : calls) Make(call, &stream);
  return stream.record();
}

inline absl::Time At(int64_t seconds) { return absl::FromUnixSeconds(seconds); }

// Learns for ever.
inline LearningRule Always() {
  LearningRule rule;
  rule.mode = LearningRule::Mode::kOn;
  return rule;
}

inline Profile Learned(const Shape& shape,
                       const std::vector<std::vector<MadeCall>>& runs) {
  Profile profile(shape, 1000);
  for (const std::vector<MadeCall>& run : runs) {
    profile.Add(Recorded(shape, run), "s", At(1000), Always())
        .status()
        .IgnoreError();
  }
  return profile;
}

inline Stream Judged(const Profile& profile, uint32_t frame = 20) {
  Stream::Options options;
  options.shape = profile.shape();
  options.frame = frame;
  options.model = profile.MakeModel();
  return Stream(options);
}

}  // namespace callgate::policy::anomaly

#endif  // CALLGATE_POLICY_ANOMALY_LEARNED_STREAM_H_
