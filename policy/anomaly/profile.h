// What is known of how one module of one tenant calls its host: a set of
// n-grams, how often imports are called, and which runs taught which n-gram.
//
// A profile learns from runs until it is stable, is approved by a person, and
// may be frozen:
//
//   learning   takes in runs (Add)
//   stable     enough runs, enough calls, and hardly anything new in the last
//              of them; it judges, and until somebody approves it only says
//              what it would have done
//   expired    the time for learning was over before that; it judges nothing
//   approved   judges
//   frozen     judges, and takes nothing in any more
//
// Taking a run out (RemoveRun) is possible in every state, since it can only
// make a profile stricter.
//
// An n-gram remembers the first kWitnessesMax runs that had it. It goes when
// all of these have been taken out, although later runs may have had it too: it
// will be learned again or be noticed, and a bad run leaves nothing behind.
//
// A value; one thread at a time. Everything has a bound.

#ifndef CALLGATE_POLICY_ANOMALY_PROFILE_H_
#define CALLGATE_POLICY_ANOMALY_PROFILE_H_

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "policy/anomaly/alphabet.h"
#include "policy/anomaly/model.h"
#include "policy/anomaly/run_record.h"
#include "policy/anomaly/shape.h"
#include "policy/anomaly/share_stats.h"

namespace callgate::policy::anomaly {

inline constexpr size_t kWitnessesMax = 4;
inline constexpr uint32_t kRunsMax = 1024;
inline constexpr uint64_t kProfileNgramsMax = 100'000;
inline constexpr size_t kRunIdBytesMax = 128;

enum class ProfileState : uint8_t {
  kLearning,
  kStable,
  kExpired,
  kApproved,
  kFrozen,
};
inline constexpr size_t kProfileStates = 5;
absl::string_view ProfileStateName(ProfileState state);

// When a profile is done with learning.
struct LearningRule {
  enum class Mode : uint8_t {
    kAuto,  // by the figures below
    kOn,    // when a person says so
    kOff,   // it never begins
  };
  Mode mode = Mode::kAuto;
  uint64_t min_calls = 50'000;
  uint32_t min_runs = 20;
  // N-grams that were new in the newest runs with min_calls together, for each
  // of their calls.
  double stable_novelty = 1e-4;
  absl::Duration max_time = absl::InfiniteDuration();
  // Nothing is learned any more from then on.
  bool freeze_on_stable = true;
  bool require_approval = true;
};

struct ProfileDiff {
  // Described, sorted; at most kDiffLinesMax of each.
  std::vector<std::string> only_left;
  std::vector<std::string> only_right;
  // How many there are.
  uint64_t only_left_count = 0;
  uint64_t only_right_count = 0;
  uint64_t common = 0;
};
inline constexpr size_t kDiffLinesMax = 1000;

class Profile {
 public:
  struct Run {
    // From 1, and never used again.
    uint32_t number = 0;
    std::string id;     // of the Store
    int64_t ended = 0;  // seconds since 1970
    uint64_t calls = 0;
    // N-grams that nobody had had before.
    uint32_t added = 0;
    // By number of import, ascending.
    std::vector<std::pair<uint32_t, ShareStats>> shares;
  };
  // Run numbers, ascending; 0 behind the last.
  using Witnesses = std::array<uint32_t, kWitnessesMax>;

  // `ngrams_max` is at most kProfileNgramsMax.
  Profile(const Shape& shape, uint64_t ngrams_max);

  const Shape& shape() const { return shape_; }
  uint64_t ngrams_max() const { return ngrams_max_; }
  ProfileState state() const { return state_; }
  const Alphabet& alphabet() const { return alphabet_; }
  size_t ngram_count() const { return ngrams_.size(); }
  // By packed n-gram, in no order.
  const absl::flat_hash_map<uint64_t, Witnesses>& ngrams() const {
    return ngrams_;
  }
  // By number.
  const std::vector<Run>& runs() const { return runs_; }
  uint64_t calls() const;

  // Whether another run would be taken in.
  bool Learns(const LearningRule& rule) const;
  // Takes in a run, all of it or nothing, and looks whether learning is over.
  // The number of the run.
  //   InvalidArgument     it is of another shape, empty, or overflowed
  //   FailedPrecondition  the profile does not learn
  //   ResourceExhausted   no room for its letters, n-grams, or the run
  absl::StatusOr<uint32_t> Add(const RunRecord& record,
                               absl::string_view run_id, absl::Time ended,
                               const LearningRule& rule);
  // Ends learning where the rule says that it is over.
  void Settle(const LearningRule& rule, absl::Time now);
  // NotFound. What nobody else taught goes.
  absl::Status RemoveRun(uint32_t number);
  // FailedPrecondition: it is frozen, or has no n-grams.
  absl::Status Approve();
  // FailedPrecondition: it is not approved.
  absl::Status Freeze();
  // Takes in all that `other` has, whose runs get new numbers. What was
  // approved is stable then: somebody has to look again.
  //   InvalidArgument     it is of another shape
  //   FailedPrecondition  this one is frozen
  //   ResourceExhausted   there is no room; nothing was changed
  absl::Status Merge(const Profile& other);

  std::shared_ptr<const Model> MakeModel() const;

  // N-grams as "a.f@3:ok a.g@4:pending"; both are of one shape, else
  // InvalidArgument.
  static absl::StatusOr<ProfileDiff> Diff(const Profile& left,
                                          const Profile& right);

  // The same with everything in its canonical order, and without imports,
  // sites and letters that no n-gram has: what bytes are made of.
  Profile Sorted() const;
  std::string Describe(uint64_t ngram) const;

 private:
  friend class ProfileReader;
  friend std::string SerialiseProfile(const Profile& profile);

  // Numbers of `from`'s letters among ours; kUnknownLetter for what is not.
  std::vector<uint16_t> LettersOf(const Alphabet& from) const;
  uint64_t Translate(uint64_t ngram, const std::vector<uint16_t>& letters,
                     bool* known) const;
  bool IsStable(const LearningRule& rule) const;

  Shape shape_;
  uint64_t ngrams_max_;
  ProfileState state_ = ProfileState::kLearning;
  Alphabet alphabet_;
  absl::flat_hash_map<uint64_t, Witnesses> ngrams_;
  std::vector<Run> runs_;
  uint32_t next_run_ = 1;
  // When the first run ended; 0 before.
  int64_t began_ = 0;
};

}  // namespace callgate::policy::anomaly

#endif  // CALLGATE_POLICY_ANOMALY_PROFILE_H_
