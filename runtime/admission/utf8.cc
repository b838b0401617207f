#include "runtime/admission/utf8.h"

namespace callgate::admission {
namespace {

// What may follow a lead byte. The second byte's range is what excludes
// overlong forms (e0, f0), surrogates (ed) and values past U+10FFFF (f4); any
// further byte is 80..bf.
struct Sequence {
  size_t length;  // zero: not a lead byte
  uint8_t second_min;
  uint8_t second_max;
};

Sequence SequenceOf(uint8_t lead) {
  if (lead < 0x80) return {1, 0, 0};
  if (lead < 0xc2) return {0, 0, 0};
  if (lead < 0xe0) return {2, 0x80, 0xbf};
  if (lead == 0xe0) return {3, 0xa0, 0xbf};
  if (lead == 0xed) return {3, 0x80, 0x9f};
  if (lead < 0xf0) return {3, 0x80, 0xbf};
  if (lead == 0xf0) return {4, 0x90, 0xbf};
  if (lead < 0xf4) return {4, 0x80, 0xbf};
  if (lead == 0xf4) return {4, 0x80, 0x8f};
  return {0, 0, 0};
}

}  // namespace

std::optional<size_t> FindInvalidUtf8(absl::Span<const uint8_t> bytes) {
  size_t at = 0;
  while (at < bytes.size()) {
    const Sequence sequence = SequenceOf(bytes[at]);
    if (sequence.length == 0 || sequence.length > bytes.size() - at) return at;
    for (size_t i = 1; i < sequence.length; ++i) {
      const uint8_t byte = bytes[at + i];
      const uint8_t min = i == 1 ? sequence.second_min : 0x80;
      const uint8_t max = i == 1 ? sequence.second_max : 0xbf;
      if (byte < min || byte > max) return at;
    }
    at += sequence.length;
  }
  return std::nullopt;
}

}  // namespace callgate::admission
