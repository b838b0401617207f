// A set of n-grams, packed as shape.h says: open addressing over an array that
// is made once. Looking up is two or three loads, adding never allocates, and
// nothing is ever taken out. One thread adds; any may look up what nobody adds
// to any more.

#ifndef CALLGATE_POLICY_ANOMALY_NGRAM_SET_H_
#define CALLGATE_POLICY_ANOMALY_NGRAM_SET_H_

#include <cstdint>
#include <vector>

namespace callgate::policy::anomaly {

class NgramSet {
 public:
  // Room for `max` n-grams, at eleven bytes each.
  explicit NgramSet(size_t max) : max_(max), slots_(max + max / 3 + 8) {}

  bool Contains(uint64_t key) const {
    for (size_t at = Place(key);;) {
      const uint64_t there = slots_[at];
      if (there == key) return key != 0;
      if (there == 0) return false;
      if (++at == slots_.size()) at = 0;
    }
  }

  enum class Added : uint8_t { kNew, kKnown, kFull };
  // `key` is not 0, which is no n-gram: the newest letter of one is a letter.
  Added Add(uint64_t key) {
    for (size_t at = Place(key);;) {
      if (slots_[at] == key) return Added::kKnown;
      if (slots_[at] == 0) {
        if (size_ >= max_) return Added::kFull;
        slots_[at] = key;
        ++size_;
        return Added::kNew;
      }
      if (++at == slots_.size()) at = 0;
    }
  }

  size_t size() const { return size_; }
  size_t bytes() const { return slots_.size() * sizeof(slots_[0]); }

  template <typename Visit>
  void ForEach(Visit visit) const {
    for (const uint64_t key : slots_) {
      if (key != 0) visit(key);
    }
  }

 private:
  // The letters of an n-gram are small numbers, so the high bits say little
  // until they are mixed.
  size_t Place(uint64_t key) const {
    const uint64_t mixed = (key ^ (key >> 29)) * 0x9e3779b97f4a7c15;
    return static_cast<size_t>(((mixed >> 32) * slots_.size()) >> 32);
  }

  size_t max_;
  size_t size_ = 0;
  std::vector<uint64_t> slots_;  // 0: free
};

}  // namespace callgate::policy::anomaly

#endif  // CALLGATE_POLICY_ANOMALY_NGRAM_SET_H_
