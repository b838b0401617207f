// The host calls of one Store, as they come: scores them against a model,
// records them to be learned, or both.
//
// Call sites are made known once (AddSite), which allocates; from then on a
// call is two steps that do not, but where a letter is recorded for the first
// time: Calling() before its effect, Returned() when it has ended. A call that
// has no Returned() before the next Calling() (it was refused, or the next call
// came from inside of it) goes into the past as kPending, and a Returned()
// without its Calling() before it means nothing.
//
// One thread. Memory: at most kSitesMax sites of about 50 bytes, and with
// recording eleven bytes for each n-gram that a profile may have.

#ifndef CALLGATE_POLICY_ANOMALY_STREAM_H_
#define CALLGATE_POLICY_ANOMALY_STREAM_H_

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "policy/anomaly/model.h"
#include "policy/anomaly/run_record.h"
#include "policy/anomaly/shape.h"

namespace callgate::policy::anomaly {

// How unusual a stream is, its present call included. All are 0 without a
// model.
struct Score {
  // N-grams of the locality frame, the last so many calls, that the profile
  // does not know; the present one among them.
  uint32_t frame = 0;
  // Whether the present one is of those.
  bool novel = false;
  // Calls of the frame whose import and call site the profile has never seen
  // together, in whatever order.
  uint32_t strange = 0;
  // As `frame`, of the last kRecentCalls calls.
  uint32_t recent = 0;
  // Of all calls of the Store, and how many calls those are.
  uint64_t total = 0;
  uint64_t calls = 0;
  // By how many deviations the share of the present call's import is above its
  // mean; 0 unless it is above everything that was learned of it.
  double share_z = 0;

  // Nothing about the last calls is unusual.
  bool is_usual() const {
    return recent == 0 && frame == 0 && strange == 0 && share_z == 0;
  }
  double novelty() const {
    return calls == 0 ? 0
                      : static_cast<double>(total) / static_cast<double>(calls);
  }
};

class Stream {
 public:
  struct Options {
    Shape shape;
    // 1 to kFrameMax.
    uint32_t frame = 20;
    // Of the same shape. Null: nothing is scored.
    std::shared_ptr<const Model> model;
    // Of a profile; 0: nothing is recorded.
    size_t record_ngrams_max = 0;
    // Calls were made before this, which nobody told of: n-grams are not judged
    // until they are whole, and nothing may be recorded.
    bool begins_late = false;
  };
  explicit Stream(const Options& options);

  // The number of a call site; `functions`, the caller first, may be more than
  // the shape asks for. The same site has the same number.
  uint32_t AddSite(absl::string_view module, absl::string_view name,
                   absl::Span<const uint32_t> functions);

  Score Calling(uint32_t site);
  void Returned(ErrnoClass errno_class) {
    if (pending_ == kNone) return;
    Shift(shape_.errnos ? errno_class : ErrnoClass::kOk);
  }

  const Shape& shape() const { return shape_; }
  bool records() const { return record_.has_value(); }
  // What was recorded so far; only if it records.
  const RunRecord& record() const { return *record_; }

 private:
  struct Site {
    uint32_t import = kNone;  // into shares_
    uint32_t recorded_import = kNone;
    uint32_t recorded_site = kNone;
    // By errno class. Of the model, and of the record: kUnknownLetter there is
    // one that has not been seen yet.
    std::array<uint16_t, kErrnoClasses> known{};
    std::array<uint16_t, kErrnoClasses> recorded{};
  };
  struct Share {
    double value = 0;
    uint64_t last_call = 0;
    Model::Usual usual;
  };

  uint64_t RecordedLetter(Site& site, ErrnoClass errno_class);
  // The pending call goes into the past.
  void Shift(ErrnoClass errno_class);
  double ShareOf(Share& share) const;
  double Decay(uint64_t calls) const;

  const Shape shape_;
  const uint32_t letter_bits_;
  const uint64_t key_mask_;
  const uint64_t frame_mask_;
  const std::shared_ptr<const Model> model_;
  std::optional<RunRecord> record_;

  // Names, to find sites again.
  Alphabet names_;
  absl::flat_hash_map<uint64_t, uint32_t> site_of_;
  std::vector<Site> sites_;
  std::vector<Share> shares_;  // by names_'s import
  std::vector<double> decays_;

  uint32_t unjudged_ = 0;     // calls until n-grams are whole
  uint32_t pending_ = kNone;  // into sites_
  uint64_t calls_ = 0;
  // The letters of the past, the newest lowest.
  uint64_t known_past_ = 0;
  uint64_t recorded_past_ = 0;
  // A bit for each call, the newest lowest.
  uint64_t frame_ = 0;    // it was novel
  uint64_t strange_ = 0;  // its letter was not known
  // Likewise, in a ring of all of kRecentCalls: novel.
  std::array<uint64_t, kRecentCalls / 64> recent_{};
  uint32_t recent_count_ = 0;
  uint64_t total_ = 0;
};

}  // namespace callgate::policy::anomaly

#endif  // CALLGATE_POLICY_ANOMALY_STREAM_H_
