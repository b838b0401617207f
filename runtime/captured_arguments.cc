#include "runtime/captured_arguments.h"

#include <algorithm>

namespace callgate {
namespace {

// Copies what `from`, bytes at `from_address`, has of those that `to` holds.
// Neither range passes the end of the address space.
void CopyOverlap(uint64_t from_address, absl::Span<const uint8_t> from,
                 uint64_t to_address, absl::Span<uint8_t> to) {
  const uint64_t begin = std::max(from_address, to_address);
  const uint64_t end =
      std::min(from_address + from.size(), to_address + to.size());
  if (begin >= end) return;
  std::copy_n(from.begin() + static_cast<std::ptrdiff_t>(begin - from_address),
              end - begin,
              to.begin() + static_cast<std::ptrdiff_t>(begin - to_address));
}

}  // namespace

absl::Span<const uint8_t> CapturedArguments::Add(
    uint64_t address, absl::Span<const uint8_t> live) {
  if (count_ == ranges_.size()) ranges_.emplace_back();
  Range& range = ranges_[count_];
  range.address = address;
  range.bytes.assign(live.begin(), live.end());
  CopyTo(address, absl::MakeSpan(range.bytes));
  ++count_;
  bytes_ += live.size();
  return range.bytes;
}

void CapturedArguments::CopyTo(uint64_t address,
                               absl::Span<uint8_t> out) const {
  for (size_t i = 0; i < count_; ++i) {
    CopyOverlap(ranges_[i].address, ranges_[i].bytes, address, out);
  }
}

void CapturedArguments::Overwrite(uint64_t address,
                                  absl::Span<const uint8_t> bytes) {
  for (size_t i = 0; i < count_; ++i) {
    CopyOverlap(address, bytes, ranges_[i].address,
                absl::MakeSpan(ranges_[i].bytes));
  }
}

void CapturedArguments::Clear() {
  count_ = 0;
  bytes_ = 0;
  size_t kept = 0;
  for (const Range& range : ranges_) kept += range.bytes.capacity();
  if (kept > kKeptBytesMax) ranges_.clear();
}

}  // namespace callgate
