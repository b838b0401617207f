// What a call hook asked to see of guest memory during one host call: copies,
// which stand for the live bytes from then on, so that what was judged is what
// the host function reads.
//
// One serves many calls, one after another: Clear() keeps room for the next, of
// a bounded size, so that a call whose arguments are judged allocates nothing.
//
// Threads: the Store's, one at a time.

#ifndef CALLGATE_RUNTIME_CAPTURED_ARGUMENTS_H_
#define CALLGATE_RUNTIME_CAPTURED_ARGUMENTS_H_

#include <cstddef>
#include <cstdint>
#include <vector>

#include "absl/types/span.h"

namespace callgate {

class CapturedArguments {
 public:
  // How much room is kept for the next call, all ranges together.
  static constexpr size_t kKeptBytesMax = 256 << 10;

  // Copies `live`, the bytes at `address`, except where an earlier copy has
  // them: those keep the value they were judged with. The copy stays where it
  // is until Clear().
  absl::Span<const uint8_t> Add(uint64_t address,
                                absl::Span<const uint8_t> live);

  // Of all copies.
  uint64_t bytes() const { return bytes_; }

  // Puts what was copied of [address, address + out.size()) into `out`.
  void CopyTo(uint64_t address, absl::Span<uint8_t> out) const;

  // The host itself has written `bytes` at `address`, and reads them back.
  void Overwrite(uint64_t address, absl::Span<const uint8_t> bytes);

  void Clear();

 private:
  struct Range {
    uint64_t address = 0;
    std::vector<uint8_t> bytes;
  };

  // The first count_ are in use. Growing moves no bytes.
  std::vector<Range> ranges_;
  size_t count_ = 0;
  uint64_t bytes_ = 0;
};

}  // namespace callgate

#endif  // CALLGATE_RUNTIME_CAPTURED_ARGUMENTS_H_
