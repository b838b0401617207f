// The numbers are those of the DWARF 5 specification, sections 6.2 and 7.

#include "runtime/native/compiler/line_program.h"

#include <optional>

namespace callgate::native {
namespace {

enum StandardOpcode : uint8_t {
  kExtended = 0,
  kCopy = 1,
  kAdvancePc = 2,
  kAdvanceLine = 3,
  kSetFile = 4,
  kSetColumn = 5,
  kConstAddPc = 8,
  kFixedAdvancePc = 9,
};

enum ExtendedOpcode : uint8_t {
  kEndSequence = 1,
  kSetAddress = 2,
  kDefineFile = 3,
};

enum ContentType : uint64_t { kPath = 1, kDirectoryIndex = 2 };

enum Form : uint64_t {
  kBlock2 = 0x03,
  kBlock4 = 0x04,
  kData2 = 0x05,
  kData4 = 0x06,
  kData8 = 0x07,
  kString = 0x08,
  kBlock = 0x09,
  kBlock1 = 0x0a,
  kData1 = 0x0b,
  kStrp = 0x0e,
  kUdata = 0x0f,
  kSecOffset = 0x17,
  kData16 = 0x1e,
  kLineStrp = 0x1f,
};

// One of the two, by the form.
struct FormValue {
  uint64_t number = 0;
  absl::string_view text;
};

// Many may ask for the same one, so how long it may be is bounded.
absl::string_view TextAt(absl::Span<const uint8_t> section, uint64_t offset) {
  if (offset >= section.size()) return {};
  ByteCursor cursor(
      section.subspan(static_cast<size_t>(offset), kLineTextBytesMax + 1));
  return cursor.Text();
}

// Nothing for a form that cannot be here, or that takes no bytes.
std::optional<FormValue> ReadForm(uint64_t form, bool is_64,
                                  const LineSections& sections,
                                  ByteCursor& cursor) {
  const unsigned offset_bytes = is_64 ? 8 : 4;
  FormValue value;
  switch (form) {
    case kString:
      value.text = cursor.Text();
      break;
    case kLineStrp:
      value.text = TextAt(sections.line_str, cursor.Fixed(offset_bytes));
      break;
    case kStrp:
      value.text = TextAt(sections.str, cursor.Fixed(offset_bytes));
      break;
    case kData1:
      value.number = cursor.Fixed(1);
      break;
    case kData2:
      value.number = cursor.Fixed(2);
      break;
    case kData4:
      value.number = cursor.Fixed(4);
      break;
    case kData8:
      value.number = cursor.Fixed(8);
      break;
    case kUdata:
      value.number = cursor.Uleb();
      break;
    case kData16:
      cursor.Take(16);
      break;
    case kSecOffset:
      cursor.Take(offset_bytes);
      break;
    case kBlock:
      cursor.Take(cursor.Uleb());
      break;
    case kBlock1:
      cursor.Take(cursor.Fixed(1));
      break;
    case kBlock2:
      cursor.Take(cursor.Fixed(2));
      break;
    case kBlock4:
      cursor.Take(cursor.Fixed(4));
      break;
    default:
      return std::nullopt;
  }
  if (!cursor.ok()) return std::nullopt;
  return value;
}

struct EntryField {
  uint64_t content;
  uint64_t form;
};

std::vector<EntryField> ReadEntryFormat(ByteCursor& head) {
  std::vector<EntryField> fields(head.U8());
  for (EntryField& field : fields) {
    field.content = head.Uleb();
    field.form = head.Uleb();
  }
  return fields;
}

}  // namespace

LineProgram::LineProgram(const LineSections& sections, ByteCursor& section) {
  uint64_t size = section.Fixed(4);
  if (size == 0xffffffff) {
    is_64_ = true;
    size = section.Fixed(8);
  }
  ByteCursor unit(section.Take(size));
  if (ReadHead(sections, unit)) program_ = unit;
}

// Leaves `unit` at the program.
bool LineProgram::ReadHead(const LineSections& sections, ByteCursor& unit) {
  version_ = static_cast<uint16_t>(unit.Fixed(2));
  if (version_ < 2 || version_ > 5) return false;
  if (version_ == 5) unit.Take(2);  // sizes of addresses and segments
  ByteCursor head(unit.Take(unit.Fixed(is_64_ ? 8 : 4)));
  instruction_bytes_ = head.U8();
  // More than one operation in an instruction is nothing of WebAssembly's.
  if (version_ >= 4 && head.U8() != 1) return false;
  head.U8();  // default_is_stmt
  line_base_ = static_cast<int8_t>(head.U8());
  line_range_ = head.U8();
  opcode_base_ = head.U8();
  if (line_range_ == 0 || opcode_base_ == 0) return false;
  operands_ = head.Take(opcode_base_ - 1u);
  if (!head.ok() || !unit.ok()) return false;
  if (version_ == 5) {
    ReadFilesOfVersion5(sections, head);
  } else {
    ReadFiles(head);
  }
  return true;
}

void LineProgram::ReadFiles(ByteCursor& head) {
  // Directory 0 is where the compiler ran.
  directories_.emplace_back();
  // File 0 does not exist.
  files_.emplace_back();
  while (head.more()) {
    const absl::string_view directory = head.Text();
    if (directory.empty()) break;
    if (directories_.size() < kUnitFilesMax) directories_.push_back(directory);
  }
  while (head.more()) {
    const absl::string_view name = head.Text();
    if (name.empty()) break;
    const uint64_t directory = head.Uleb();
    head.Uleb();  // time
    head.Uleb();  // size
    if (head.ok()) AddFile(directory, name);
  }
}

void LineProgram::ReadFilesOfVersion5(const LineSections& sections,
                                      ByteCursor& head) {
  for (const bool is_file : {false, true}) {
    const std::vector<EntryField> fields = ReadEntryFormat(head);
    const uint64_t count = head.Uleb();
    for (uint64_t i = 0; i < count; ++i) {
      absl::string_view path;
      uint64_t directory = 0;
      const size_t left = head.left();
      for (const EntryField& field : fields) {
        const std::optional<FormValue> value =
            ReadForm(field.form, is_64_, sections, head);
        if (!value.has_value()) return;
        if (field.content == kPath) path = value->text;
        if (field.content == kDirectoryIndex) directory = value->number;
      }
      // An entry of no bytes could be there any number of times.
      if (head.left() == left) return;
      if (is_file) {
        AddFile(directory, path);
      } else if (directories_.size() < kUnitFilesMax) {
        // The first is where the compiler ran.
        directories_.push_back(i == 0 ? absl::string_view() : path);
      }
    }
  }
}

void LineProgram::AddFile(uint64_t directory, absl::string_view name) {
  if (files_.size() >= kUnitFilesMax) return;
  LineFile file;
  file.name = name;
  if (directory < directories_.size()) {
    file.directory = directories_[static_cast<size_t>(directory)];
  }
  files_.push_back(file);
}

const LineFile* LineProgram::File(uint64_t index) const {
  if (index >= files_.size()) return nullptr;
  const LineFile& file = files_[static_cast<size_t>(index)];
  return file.name.empty() ? nullptr : &file;
}

bool LineProgram::Next(LineRow& row, uint64_t& steps) {
  while (program_.more() && steps > 0) {
    --steps;
    if (!Execute()) continue;
    // now_ is a row, and the one before ends where it begins.
    const bool known = has_row_ && !sequence_is_dead_ && row_.line != 0 &&
                       row_.begin < now_.address;
    if (known) {
      row = row_;
      row.end = now_.address;
    }
    if (is_first_of_sequence_) sequence_is_dead_ = now_.address == 0;
    is_first_of_sequence_ = false;
    has_row_ = true;
    row_.begin = now_.address;
    row_.file = now_.file;
    row_.line = now_.line;
    row_.column = now_.column;
    if (sequence_ends_) {
      now_ = Registers();
      has_row_ = false;
      sequence_ends_ = false;
      is_first_of_sequence_ = true;
    }
    if (known) return true;
  }
  return false;
}

// One operation. True if it makes a row.
bool LineProgram::Execute() {
  const uint8_t opcode = program_.U8();
  if (opcode >= opcode_base_) {
    AdvanceSpecial(opcode);
    now_.line += static_cast<uint32_t>(line_base_ +
                                       (opcode - opcode_base_) % line_range_);
    return true;
  }
  switch (opcode) {
    case kExtended:
      ExecuteExtended();
      return sequence_ends_;
    case kCopy:
      return true;
    case kAdvancePc:
      now_.address += program_.Uleb() * instruction_bytes_;
      return false;
    case kAdvanceLine:
      now_.line += static_cast<uint32_t>(program_.Sleb());
      return false;
    case kSetFile:
      now_.file = program_.Uleb();
      return false;
    case kSetColumn: {
      const uint64_t column = program_.Uleb();
      now_.column =
          column <= kColumnMax ? static_cast<uint32_t>(column) : uint32_t{0};
      return false;
    }
    case kConstAddPc:
      AdvanceSpecial(255);
      return false;
    case kFixedAdvancePc:
      now_.address += program_.Fixed(2);
      return false;
    default:
      // What it does is no matter here, or not known; how many operands it has
      // is.
      for (uint8_t i = 0; i < operands_[opcode - 1u]; ++i) program_.Uleb();
      return false;
  }
}

void LineProgram::ExecuteExtended() {
  ByteCursor operation(program_.Take(program_.Uleb()));
  switch (operation.U8()) {
    case kEndSequence:
      sequence_ends_ = true;
      break;
    case kSetAddress:
      now_.address = operation.Fixed(operation.left() == 8 ? 8 : 4);
      break;
    case kDefineFile:
      if (version_ < 5) {
        const absl::string_view name = operation.Text();
        AddFile(operation.Uleb(), name);
      }
      break;
    default:
      break;
  }
}

void LineProgram::AdvanceSpecial(uint8_t opcode) {
  now_.address += uint64_t{static_cast<uint8_t>(opcode - opcode_base_)} /
                  line_range_ * instruction_bytes_;
}

}  // namespace callgate::native
