// What the stream of one Store showed, for a profile to learn.

#ifndef CALLGATE_POLICY_ANOMALY_RUN_RECORD_H_
#define CALLGATE_POLICY_ANOMALY_RUN_RECORD_H_

#include <cstdint>
#include <string>
#include <vector>

#include "policy/anomaly/alphabet.h"
#include "policy/anomaly/ngram_set.h"
#include "policy/anomaly/shape.h"
#include "policy/anomaly/share_stats.h"

namespace callgate::policy::anomaly {

struct RunRecord {
  RunRecord(const Shape& of, size_t ngrams_max)
      : shape(of), alphabet(of), ngrams(ngrams_max) {}

  Shape shape;
  // Of `alphabet`'s letters.
  Alphabet alphabet;
  NgramSet ngrams;
  // By number of import; there may be fewer of them.
  std::vector<ShareStats> shares;
  uint64_t calls = 0;
  // It saw more letters, sites or n-grams than there was room for; nothing can
  // be learned from it.
  bool overflowed = false;
};

}  // namespace callgate::policy::anomaly

#endif  // CALLGATE_POLICY_ANOMALY_RUN_RECORD_H_
