// Writes WebAssembly's binary format: numbers, names, sections.

#ifndef CALLGATE_TESTS_FUZZ_CODE_WRITER_H_
#define CALLGATE_TESTS_FUZZ_CODE_WRITER_H_

#include <cstddef>
#include <cstdint>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "runtime/value.h"

namespace callgate::fuzz {

class CodeWriter {
 public:
  const std::vector<uint8_t>& bytes() const { return bytes_; }
  size_t size() const { return bytes_.size(); }

  void Byte(unsigned value) { bytes_.push_back(static_cast<uint8_t>(value)); }
  void Unsigned(uint64_t value);
  void Signed(int64_t value);
  // Little-endian.
  void Fixed(uint64_t value, size_t bytes);
  void Name(absl::string_view name);
  void Raw(absl::Span<const uint8_t> bytes) {
    bytes_.insert(bytes_.end(), bytes.begin(), bytes.end());
  }
  // With its length before it.
  void Sized(const CodeWriter& contents);
  // A section, unless it is empty of entries.
  void Section(unsigned id, uint64_t entries, const CodeWriter& contents);
  void Type(ValType type);
  void Types(const std::vector<ValType>& types);

 private:
  std::vector<uint8_t> bytes_;
};

}  // namespace callgate::fuzz

#endif  // CALLGATE_TESTS_FUZZ_CODE_WRITER_H_
