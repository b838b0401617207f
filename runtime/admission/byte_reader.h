// Reading the binary format forward, inside bounds that cannot be left.
//
// The first refusal wins and sticks: after it every read of every reader of
// the same scan answers zero, AtEnd() is true, and nothing further is
// recorded. So callers read on without looking at each answer, and look at
// ok() where they would loop, allocate or index by what they read.
//
// Readers are cheap views; the module's bytes and the ScanState outlive them.

#ifndef CALLGATE_RUNTIME_ADMISSION_BYTE_READER_H_
#define CALLGATE_RUNTIME_ADMISSION_BYTE_READER_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "runtime/admission/features.h"
#include "runtime/admission/module_limits.h"
#include "runtime/admission/refusal.h"
#include "runtime/value.h"

namespace callgate::admission {

// What one scan shares between its readers.
struct ScanState {
  const ModuleLimits& limits;
  const Features& features;
  std::optional<Refusal> refusal;
  uint64_t steps = 0;
};

class ByteReader {
 public:
  // Reads all of `module`; offsets count from its first byte.
  ByteReader(absl::Span<const uint8_t> module, ScanState& state)
      : module_(module), end_(module.size()), state_(&state) {}

  bool ok() const { return !state_->refusal.has_value(); }
  bool AtEnd() const { return position_ == end_ || !ok(); }
  uint64_t offset() const { return position_; }
  uint64_t remaining() const { return ok() ? end_ - position_ : 0; }

  // What refusals are about from here on: "import" and 3, or "the type
  // section" alone. `what` must live for ever.
  void SetSubject(absl::string_view what,
                  std::optional<uint64_t> index = std::nullopt) {
    subject_ = what;
    subject_index_ = index;
  }

  // `what` says in a refusal what was expected here: "a type index".
  uint8_t Byte(absl::string_view what);
  uint32_t U32(absl::string_view what);
  uint64_t U64(absl::string_view what);
  int32_t S32(absl::string_view what);
  int64_t S33(absl::string_view what);
  int64_t S64(absl::string_view what);

  absl::Span<const uint8_t> Bytes(uint64_t size, absl::string_view what);
  void Skip(uint64_t size, absl::string_view what) { Bytes(size, what); }
  // A reader of the next `size` bytes, which this one then stands behind.
  ByteReader Window(uint64_t size, absl::string_view what);

  // The length of a vector whose items take `item_bytes_min` or more each: a
  // length that the remaining bytes cannot hold is refused before anyone
  // counts on it.
  uint32_t Count(absl::string_view what, uint64_t item_bytes_min = 1);
  // A name: within name_bytes, and UTF-8.
  absl::string_view Name(absl::string_view what);
  // A type that the features allow values to have.
  ValType ValueType(absl::string_view what);
  // A type that the features allow table elements to have.
  ValType ReferenceType(absl::string_view what);

  // Refuses if there are bytes left.
  void ExpectEnd();

  // The checks below refuse and return false when they fail. `text` completes
  // "function 3: …".
  bool Malformed(uint64_t offset, absl::string_view text);
  // `index` must be below `count`; `what` is "function", "data segment".
  bool CheckIndex(uint64_t index, uint64_t count, absl::string_view what,
                  uint64_t offset);
  // `sentence` has $0 where the value goes and $1 where the subject goes: "$1
  // has $0 locals".
  bool CheckLimit(uint64_t ModuleLimits::*limit, uint64_t value,
                  uint64_t offset, absl::string_view sentence);
  // `what` belongs to `proposal`: "opcode 0x12".
  bool Require(Proposal proposal, uint64_t offset, absl::string_view what);

  const Features& features() const { return state_->features; }
  // Adds work that no read has counted.
  void CountSteps(uint64_t steps) { state_->steps += steps; }

 private:
  uint64_t Unsigned(int bits, absl::string_view what);
  int64_t Signed(int bits, absl::string_view what);
  ValType TypeByte(uint8_t byte, uint64_t offset, absl::string_view what);
  void Truncated(absl::string_view what);
  std::string Subject() const;

  absl::Span<const uint8_t> module_;
  size_t position_ = 0;
  size_t end_;
  ScanState* state_;
  absl::string_view subject_ = "the module";
  std::optional<uint64_t> subject_index_;
};

// "0xfd".
std::string HexByte(uint64_t byte);

}  // namespace callgate::admission

#endif  // CALLGATE_RUNTIME_ADMISSION_BYTE_READER_H_
