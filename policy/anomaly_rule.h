// A rule about what is usual, as a policy has it: which profile it judges by,
// how that is learned, and what follows from a score.

#ifndef CALLGATE_POLICY_ANOMALY_RULE_H_
#define CALLGATE_POLICY_ANOMALY_RULE_H_

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "policy/anomaly/profile.h"
#include "policy/anomaly/shape.h"
#include "policy/anomaly/stream.h"
#include "policy/expression/expression.h"
#include "policy/expression/schema.h"
#include "policy/rule.h"

namespace callgate::policy {

// The facts of a threshold's condition, by slot:
//
//   score.frame     int     n-grams of the locality frame that are not in the
//                           profile, the present one among them
//   score.novel     bool    whether the present one is not
//   score.strange   int     calls of the frame whose import and call site are
//                           not together in the profile, in whatever order
//   score.recent    int     as score.frame, of the last 1024 calls
//   score.total     int     how many of the Store's were not
//   score.calls     int     host calls of the Store, this one included
//   score.novelty   double  score.total / score.calls
//   score.share_z   double  by how many deviations the import's share of recent
//                           calls is above its mean; 0 unless it is above
//                           everything learned, or without `frequency`
enum class ScoreFact : uint32_t {
  kFrame,
  kNovel,
  kStrange,
  kRecent,
  kTotal,
  kCalls,
  kNovelty,
  kShareZ,
};
inline constexpr size_t kScoreFactCount = 8;
using ScoreFacts = std::array<expression::Value, kScoreFactCount>;

expression::Schema ScoreSchema();
ScoreFacts FactsOf(const anomaly::Score& score);

// What an exception from a rule about anomalies may name: the facts of a call
// at their own slots (call_facts.h), of which it has those that are there
// before its arguments are read, then the score's.
expression::Schema AnomalyExceptionSchema();
bool IsAnomalyExceptionFact(absl::string_view name);
// "call.import, call.module, …".
std::string AnomalyExceptionFactNames();

// A compiled condition over a score. Nearly every call is usual, so it is
// worked out beforehand what is to be said of those, and costs a comparison at
// a call; only where a condition reads what grows with every call (total,
// calls, novelty) is it evaluated at each.
class ScoreCondition {
 public:
  // Bool, over ScoreSchema().
  explicit ScoreCondition(std::shared_ptr<const expression::Program> program);

  enum class Answer : uint8_t { kNo, kYes, kFailed };
  // Whether it can be anything but kNo. Then ask Judge.
  bool MayHold(const anomaly::Score& score) const {
    return !is_no_if_usual_ || !score.is_usual();
  }
  // What failed counts as true, as rules that restrict do.
  Answer Judge(const anomaly::Score& score, expression::Scratch* scratch,
               std::string* why) const;

 private:
  std::shared_ptr<const expression::Program> program_;
  bool is_no_if_usual_ = false;
};

struct AnomalyRule {
  enum class NoProfile : uint8_t { kLearn, kAllow, kDeny };
  struct Threshold {
    Rule rule;  // of the same id as the rule itself
    ScoreCondition when;
  };
  struct Frequency {
    Rule rule;  // of the same id, likewise
    double z_score = 0;
    // That the profile has learned from.
    uint64_t min_calls = 0;
  };
  struct Exception {
    size_t number = 0;  // into rule.exceptions
    // Bool, over AnomalyExceptionSchema().
    std::shared_ptr<const expression::Program> holds;
  };

  // Its id, mode and exceptions, which are those of all that it says; its
  // verdict is for a module without a profile, where that is denied.
  Rule rule;
  std::vector<Exception> exceptions;
  anomaly::Shape shape;
  uint32_t frame = 20;
  uint64_t ngrams_max = 20'000;
  // One profile for all modules of a tenant.
  bool is_of_tenant = false;
  NoProfile no_profile = NoProfile::kLearn;
  anomaly::LearningRule learning;
  std::vector<Threshold> thresholds;
  std::optional<Frequency> frequency;
};

}  // namespace callgate::policy

#endif  // CALLGATE_POLICY_ANOMALY_RULE_H_
