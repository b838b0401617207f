#include "tests/fuzz/code_writer.h"

namespace callgate::fuzz {

void CodeWriter::Unsigned(uint64_t value) {
  do {
    const uint64_t low = value & 0x7f;
    value >>= 7;
    Byte(static_cast<unsigned>(low | (value != 0 ? 0x80 : 0)));
  } while (value != 0);
}

void CodeWriter::Signed(int64_t value) {
  for (;;) {
    const auto low = static_cast<unsigned>(value & 0x7f);
    value >>= 7;
    const bool last =
        (value == 0 && (low & 0x40) == 0) || (value == -1 && (low & 0x40) != 0);
    Byte(low | (last ? 0 : 0x80));
    if (last) return;
  }
}

void CodeWriter::Fixed(uint64_t value, size_t bytes) {
  for (size_t i = 0; i < bytes; ++i) {
    Byte(static_cast<unsigned>(value >> (8 * i) & 0xff));
  }
}

void CodeWriter::Name(absl::string_view name) {
  Unsigned(name.size());
  for (const char c : name) Byte(static_cast<uint8_t>(c));
}

void CodeWriter::Sized(const CodeWriter& contents) {
  Unsigned(contents.size());
  Raw(contents.bytes());
}

void CodeWriter::Section(unsigned id, uint64_t entries,
                         const CodeWriter& contents) {
  if (entries == 0) return;
  CodeWriter body;
  body.Unsigned(entries);
  body.Raw(contents.bytes());
  Byte(id);
  Sized(body);
}

void CodeWriter::Type(ValType type) { Byte(static_cast<uint8_t>(type)); }

void CodeWriter::Types(const std::vector<ValType>& types) {
  Unsigned(types.size());
  for (const ValType type : types) Type(type);
}

}  // namespace callgate::fuzz
