// One unit of a DWARF line table (.debug_line, versions 2 to 5), as rows.
//
// LLVM has a reader of these; it is not used because nothing bounds it: 64
// bytes that promise 2^62 files of an empty form make it take all the memory
// there is, and so would cost a tenant his module. Here work and memory are
// proportional to the bytes, and what cannot be read is left out: nothing
// fails.
//
// Pure; views are of the bytes given.

#ifndef CALLGATE_RUNTIME_NATIVE_COMPILER_LINE_PROGRAM_H_
#define CALLGATE_RUNTIME_NATIVE_COMPILER_LINE_PROGRAM_H_

#include <cstddef>
#include <cstdint>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "runtime/native/compiler/byte_cursor.h"

namespace callgate::native {

inline constexpr size_t kUnitFilesMax = 65'536;
// Longer names in the string sections are taken for none.
inline constexpr size_t kLineTextBytesMax = 1'024;
// Larger ones are taken for not known.
inline constexpr uint64_t kColumnMax = 65'535;

struct LineSections {
  absl::Span<const uint8_t> line;
  absl::Span<const uint8_t> line_str;
  absl::Span<const uint8_t> str;
};

// As the compiler was told: relative to the folder it ran in, or absolute.
struct LineFile {
  absl::string_view directory;  // may be empty
  absl::string_view name;
};

// From `begin` up to, not including, `end`: addresses in the DWARF's sense.
struct LineRow {
  uint64_t begin = 0;
  uint64_t end = 0;
  uint64_t file = 0;
  uint32_t line = 0;    // not 0
  uint32_t column = 0;  // 0: not known
};

class LineProgram {
 public:
  // Reads the head of the unit that `section`, of sections.line, is at, and
  // moves `section` behind the unit. Whatever is odd about it, Next() has
  // nothing to say then.
  LineProgram(const LineSections& sections, ByteCursor& section);

  // False at the end. Rows of code that the linker threw away (their sequences
  // begin at address 0) are passed over. Counts against `steps`, and ends when
  // there are none left.
  bool Next(LineRow& row, uint64_t& steps);

  // Null when there is no such file.
  const LineFile* File(uint64_t index) const;

 private:
  struct Registers {
    uint64_t address = 0;
    uint64_t file = 1;
    uint32_t line = 1;
    uint32_t column = 0;
  };

  bool ReadHead(const LineSections& sections, ByteCursor& unit);
  void ReadFiles(ByteCursor& head);
  void ReadFilesOfVersion5(const LineSections& sections, ByteCursor& head);
  bool Execute();
  void ExecuteExtended();
  void AdvanceSpecial(uint8_t opcode);
  void AddFile(uint64_t directory, absl::string_view name);

  uint16_t version_ = 0;
  bool is_64_ = false;
  uint8_t instruction_bytes_ = 1;
  int8_t line_base_ = 0;
  uint8_t line_range_ = 0;
  uint8_t opcode_base_ = 0;
  absl::Span<const uint8_t> operands_;  // of opcode 1 and up
  std::vector<absl::string_view> directories_;
  std::vector<LineFile> files_;

  ByteCursor program_;
  Registers now_;
  // The last row, whose end is not known yet.
  bool has_row_ = false;
  LineRow row_;
  bool sequence_ends_ = false;
  bool is_first_of_sequence_ = true;
  bool sequence_is_dead_ = false;
};

}  // namespace callgate::native

#endif  // CALLGATE_RUNTIME_NATIVE_COMPILER_LINE_PROGRAM_H_
