// The memory of a guest that does not exist: the ranges that are known of it,
// and nothing else.
//
// One thread.

#ifndef CALLGATE_POLICY_TRIAL_SPARSE_MEMORY_H_
#define CALLGATE_POLICY_TRIAL_SPARSE_MEMORY_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"

namespace callgate::policy::trial {

class SparseMemory {
 public:
  // What a guest's memory is at most.
  static constexpr uint64_t kBytesMax = uint64_t{1} << 32;

  // Forgets all ranges.
  void Reset(uint64_t size);
  uint64_t size() const { return size_; }
  // Bytes of all ranges.
  uint64_t held() const { return held_; }

  // Later ranges win where they overlap. `hidden`: the bytes are not the
  // guest's, which are secret.
  void Add(uint64_t address, std::string bytes, bool hidden = false);

  enum class Known : uint8_t { kAll, kHidden, kNotAll };
  // Copies [address, address + length), which is inside, into `out`. What is
  // not known is 0.
  Known Read(uint64_t address, uint64_t length,
             std::vector<uint8_t>* out) const;

  struct Range {
    uint64_t address;
    std::string bytes;
    bool hidden;
  };
  const std::vector<Range>& ranges() const { return ranges_; }

 private:
  uint64_t size_ = 0;
  uint64_t held_ = 0;
  std::vector<Range> ranges_;
};

}  // namespace callgate::policy::trial

#endif  // CALLGATE_POLICY_TRIAL_SPARSE_MEMORY_H_
