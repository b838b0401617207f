#include "policy/trial/sparse_memory.h"

#include <algorithm>
#include <utility>

#include "runtime/check.h"

namespace callgate::policy::trial {

void SparseMemory::Reset(uint64_t size) {
  size_ = size;
  held_ = 0;
  ranges_.clear();
}

void SparseMemory::Add(uint64_t address, std::string bytes, bool hidden) {
  CALLGATE_CHECK(address <= size_ && bytes.size() <= size_ - address,
                 "a range is inside the memory");
  held_ += bytes.size();
  if (!bytes.empty()) ranges_.push_back({address, std::move(bytes), hidden});
}

SparseMemory::Known SparseMemory::Read(uint64_t address, uint64_t length,
                                       std::vector<uint8_t>* out) const {
  CALLGATE_CHECK(address <= size_ && length <= size_ - address,
                 "what is read is inside the memory");
  out->assign(static_cast<size_t>(length), 0);
  bool hidden = false;
  // What is known, as sections of what is read.
  std::vector<std::pair<uint64_t, uint64_t>> sections;
  for (const Range& range : ranges_) {
    const uint64_t begin = std::max(address, range.address);
    const uint64_t end =
        std::min(address + length, range.address + range.bytes.size());
    if (begin >= end) continue;
    std::copy_n(range.bytes.begin() +
                    static_cast<std::ptrdiff_t>(begin - range.address),
                end - begin,
                out->begin() + static_cast<std::ptrdiff_t>(begin - address));
    hidden = hidden || range.hidden;
    sections.emplace_back(begin, end);
  }
  std::sort(sections.begin(), sections.end());
  uint64_t known = address;
  for (const auto& [begin, end] : sections) {
    if (begin > known) break;
    known = std::max(known, end);
  }
  if (known < address + length) return Known::kNotAll;
  return hidden ? Known::kHidden : Known::kAll;
}

}  // namespace callgate::policy::trial
