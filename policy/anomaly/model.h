// A profile made ready to judge streams by. Immutable, and shared by every
// Store that it judges; any thread.

#ifndef CALLGATE_POLICY_ANOMALY_MODEL_H_
#define CALLGATE_POLICY_ANOMALY_MODEL_H_

#include <cstdint>
#include <utility>
#include <vector>

#include "policy/anomaly/alphabet.h"
#include "policy/anomaly/ngram_set.h"
#include "policy/anomaly/shape.h"
#include "policy/anomaly/share_stats.h"

namespace callgate::policy::anomaly {

class Model {
 public:
  // What is usual of an import's share.
  struct Usual {
    double mean = 0;
    double max = 0;
    double per_deviation = 0;  // 1 / deviation; 0: nothing is known
  };

  Model(const Shape& shape, Alphabet alphabet, NgramSet ngrams,
        const std::vector<ShareStats>& shares, uint64_t calls)
      : shape_(shape),
        alphabet_(std::move(alphabet)),
        ngrams_(std::move(ngrams)),
        calls_(calls) {
    for (const ShareStats& share : shares) {
      Usual usual;
      usual.mean = share.mean;
      usual.max = share.max;
      if (share.samples > 0) {
        usual.per_deviation =
            1 / std::max(share.deviation(), kShareDeviationMin);
      }
      usual_.push_back(usual);
    }
  }

  const Shape& shape() const { return shape_; }
  const Alphabet& alphabet() const { return alphabet_; }
  const NgramSet& ngrams() const { return ngrams_; }
  // By number of import; there may be fewer of them.
  const std::vector<Usual>& usual() const { return usual_; }
  // That were learned from.
  uint64_t calls() const { return calls_; }

 private:
  Shape shape_;
  Alphabet alphabet_;
  NgramSet ngrams_;
  std::vector<Usual> usual_;
  uint64_t calls_;
};

}  // namespace callgate::policy::anomaly

#endif  // CALLGATE_POLICY_ANOMALY_MODEL_H_
