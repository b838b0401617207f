#include "runtime/name_section.h"

#include <algorithm>
#include <optional>

#include "absl/strings/string_view.h"

namespace callgate {
namespace {

constexpr uint8_t kCustomSection = 0;
constexpr uint8_t kFunctionNames = 1;
constexpr size_t kHeaderBytes = 8;

// Reads forward; every read says whether there was something to read.
class Cursor {
 public:
  explicit Cursor(absl::Span<const uint8_t> bytes) : rest_(bytes) {}

  bool empty() const { return rest_.empty(); }

  std::optional<uint8_t> Byte() {
    if (rest_.empty()) return std::nullopt;
    const uint8_t byte = rest_.front();
    rest_.remove_prefix(1);
    return byte;
  }

  std::optional<uint32_t> U32() {
    uint64_t value = 0;
    for (unsigned shift = 0; shift < 35; shift += 7) {
      const std::optional<uint8_t> byte = Byte();
      if (!byte.has_value()) return std::nullopt;
      value |= uint64_t{*byte & 0x7fu} << shift;
      if ((*byte & 0x80u) == 0) {
        if (value > ~uint32_t{0}) return std::nullopt;
        return static_cast<uint32_t>(value);
      }
    }
    return std::nullopt;
  }

  // The next bytes, as many as a length in front of them says.
  std::optional<absl::Span<const uint8_t>> Sized() {
    const std::optional<uint32_t> size = U32();
    if (!size.has_value() || *size > rest_.size()) return std::nullopt;
    const absl::Span<const uint8_t> bytes = rest_.first(*size);
    rest_.remove_prefix(*size);
    return bytes;
  }

 private:
  absl::Span<const uint8_t> rest_;
};

std::string Text(absl::Span<const uint8_t> bytes) {
  return std::string(bytes.begin(),
                     bytes.begin() + static_cast<std::ptrdiff_t>(std::min(
                                         bytes.size(), kFunctionNameBytesMax)));
}

void ReadSubsection(absl::Span<const uint8_t> bytes,
                    std::vector<std::string>& names) {
  Cursor cursor(bytes);
  const std::optional<uint32_t> count = cursor.U32();
  if (!count.has_value()) return;
  for (uint32_t i = 0; i < *count; ++i) {
    const std::optional<uint32_t> index = cursor.U32();
    if (!index.has_value()) return;
    const auto name = cursor.Sized();
    if (!name.has_value()) return;
    if (*index < names.size() && names[*index].empty()) {
      names[*index] = Text(*name);
    }
  }
}

}  // namespace

void ReadFunctionNames(absl::Span<const uint8_t> bytes,
                       std::vector<std::string>& names) {
  if (bytes.size() < kHeaderBytes) return;
  Cursor module(bytes.subspan(kHeaderBytes));
  while (!module.empty()) {
    const std::optional<uint8_t> id = module.Byte();
    const auto section = module.Sized();
    if (!id.has_value() || !section.has_value()) return;
    if (*id != kCustomSection) continue;
    Cursor custom(*section);
    const auto title = custom.Sized();
    if (!title.has_value() || Text(*title) != "name") continue;
    while (!custom.empty()) {
      const std::optional<uint8_t> kind = custom.Byte();
      const auto subsection = custom.Sized();
      if (!kind.has_value() || !subsection.has_value()) break;
      if (*kind == kFunctionNames) ReadSubsection(*subsection, names);
    }
  }
}

}  // namespace callgate
