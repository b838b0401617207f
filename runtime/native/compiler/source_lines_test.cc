#include "runtime/native/compiler/source_lines.h"

#include <dirent.h>
#include <stdlib.h>

#include <algorithm>
#include <cstdint>
#include <fstream>
#include <functional>
#include <iostream>
#include <iterator>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "llvm/DebugInfo/DWARF/DWARFContext.h"
#include "runtime/native/source/source_map.h"

// Aborts the test when a promise is broken.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

namespace callgate::native {
namespace {

using testing::IsSupersetOf;

using Bytes = std::vector<uint8_t>;
// What is known of an offset: "file:line:column", without a column that is not
// known, or nothing.
using Lines = std::map<uint64_t, std::string>;

constexpr uint64_t kModuleHeadBytes = 8;

Bytes ReadFile(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  EXPECT_TRUE(file.good()) << path;
  return Bytes(std::istreambuf_iterator<char>(file), {});
}

uint64_t ReadLeb(const Bytes& bytes, size_t& at) {
  uint64_t value = 0;
  for (unsigned shift = 0;; shift += 7) {
    const uint8_t byte = bytes.at(at++);
    value |= uint64_t{byte & 0x7fu} << shift;
    if (byte < 0x80) return value;
  }
}

struct Section {
  uint8_t id;
  std::string name;  // of a custom one
  uint64_t begin;    // of the contents, behind the name
  uint64_t end;
};

std::vector<Section> SectionsOf(const Bytes& module) {
  std::vector<Section> sections;
  for (size_t at = kModuleHeadBytes; at < module.size();) {
    Section section = {};
    section.id = module.at(at++);
    const uint64_t size = ReadLeb(module, at);
    section.end = at + size;
    if (section.id == 0) {
      const uint64_t length = ReadLeb(module, at);
      section.name.assign(
          module.begin() + static_cast<std::ptrdiff_t>(at),
          module.begin() + static_cast<std::ptrdiff_t>(at + length));
      at += length;
    }
    section.begin = at;
    at = section.end;
    sections.push_back(section);
  }
  return sections;
}

Section CodeOf(const Bytes& module) {
  for (const Section& section : SectionsOf(module)) {
    if (section.id == 10) return section;
  }
  return {};
}

std::string TextOf(absl::string_view file, uint32_t line, uint32_t column) {
  return column == 0 ? absl::StrCat(file, ":", line)
                     : absl::StrCat(file, ":", line, ":", column);
}

Lines LinesOf(const Bytes& module, const std::vector<uint64_t>& offsets) {
  CompiledModule answer;
  AddSourceLines(module, offsets, answer);
  const auto map = SourceMap::Make(answer.source_lines(), module.size());
  EXPECT_TRUE(map.ok()) << map.status();
  Lines lines;
  if (!map.ok()) return lines;
  for (const uint64_t offset : offsets) {
    const auto place = map->Find(offset);
    if (place.has_value()) {
      lines[offset] = TextOf(place->file, place->line, place->column);
    }
  }
  return lines;
}

std::vector<uint64_t> OffsetsOf(const Section& code, uint64_t step = 1) {
  std::vector<uint64_t> offsets;
  for (uint64_t offset = code.begin; offset < code.end; offset += step) {
    offsets.push_back(offset);
  }
  return offsets;
}

// What LLVM makes of the same tables.
Lines LinesByLlvm(const Bytes& module, const std::vector<uint64_t>& offsets) {
  llvm::StringMap<std::unique_ptr<llvm::MemoryBuffer>> sections;
  uint64_t code_begin = 0;
  for (const Section& section : SectionsOf(module)) {
    if (section.id == 10) code_begin = section.begin;
    if (!absl::StartsWith(section.name, ".debug_")) continue;
    sections[section.name.substr(1)] =
        llvm::MemoryBuffer::getMemBufferCopy(llvm::StringRef(
            reinterpret_cast<const char*>(module.data()) + section.begin,
            section.end - section.begin));
  }
  const auto ignore = [](llvm::Error error) {
    llvm::consumeError(std::move(error));
  };
  const auto context = llvm::DWARFContext::create(
      sections, /*AddrSize=*/4, /*isLittleEndian=*/true, ignore, ignore);
  Lines lines;
  for (const auto& unit : context->compile_units()) {
    const auto* const table = context->getLineTableForUnit(unit.get());
    if (table == nullptr) continue;
    for (const uint64_t offset : offsets) {
      llvm::DILineInfo info;
      if (table->getFileLineInfoForAddress(
              {offset - code_begin,
               llvm::object::SectionedAddress::UndefSection},
              "", llvm::DILineInfoSpecifier::FileLineInfoKind::RelativeFilePath,
              info) &&
          info.Line != 0) {
        lines.emplace(offset, TextOf(info.FileName, info.Line, info.Column));
      }
    }
  }
  return lines;
}

class CompiledBy : public testing::TestWithParam<int> {
 protected:
  const Bytes module_ = ReadFile(absl::StrCat(
      "runtime/native/compiler/lines_dwarf_", GetParam(), ".wasm"));
};

TEST_P(CompiledBy, ClangHasTheLinesOfItsSources) {
  const Section code = CodeOf(module_);
  const Lines lines = LinesOf(module_, OffsetsOf(code));
  std::set<std::string> seen;
  for (const auto& [offset, line] : lines) {
    // Without the column.
    const std::vector<std::string> parts = absl::StrSplit(line, ':');
    seen.insert(
        absl::StrCat(parts[0].substr(parts[0].rfind('/') + 1), ":", parts[1]));
  }
  EXPECT_THAT(seen, IsSupersetOf({"lines_main.c:13", "lines_main.c:15",
                                  "lines_inline.h:2", "lines_divide.c:5"}));
  for (const std::string& line : seen) {
    EXPECT_NE(line, "lines_main.c:8") << "the linker threw that away";
  }
  // The one division there is.
  const auto division = std::find(
      module_.begin() + static_cast<std::ptrdiff_t>(code.begin),
      module_.begin() + static_cast<std::ptrdiff_t>(code.end), uint8_t{0x6d});
  EXPECT_EQ(lines.at(static_cast<uint64_t>(division - module_.begin())),
            "runtime/native/compiler/testdata/lines_divide.c:5:12");
}

TEST_P(CompiledBy, ClangIsReadAsLlvmReadsIt) {
  const std::vector<uint64_t> offsets = OffsetsOf(CodeOf(module_));
  const Lines lines = LinesOf(module_, offsets);
  EXPECT_EQ(lines, LinesByLlvm(module_, offsets));
  EXPECT_GT(lines.size(), offsets.size() / 2);
}

TEST_P(CompiledBy, ClangAndDamagedIsNoHarm) {
  LLVMFuzzerTestOneInput(module_.data(), module_.size());
  std::mt19937_64 random(20'240'601);
  std::vector<Section> sections = SectionsOf(module_);
  sections.erase(std::remove_if(sections.begin(), sections.end(),
                                [](const Section& section) {
                                  return !absl::StartsWith(section.name,
                                                           ".debug_");
                                }),
                 sections.end());
  ASSERT_GE(sections.size(), 4u);
  // Every bit of the line table by itself.
  for (const Section& section : sections) {
    if (section.name != ".debug_line") continue;
    for (uint64_t bit = 8 * section.begin; bit < 8 * section.end; ++bit) {
      Bytes damaged = module_;
      damaged[bit / 8] = static_cast<uint8_t>(damaged[bit / 8] ^ 1u << bit % 8);
      LLVMFuzzerTestOneInput(damaged.data(), damaged.size());
    }
  }
  // Several bytes at once, of values that numbers like.
  constexpr uint8_t kValues[] = {0x00, 0x01, 0x7f, 0x80, 0xfe, 0xff};
  for (int round = 0; round < 5'000; ++round) {
    Bytes damaged = module_;
    const uint64_t count = 1 + random() % 6;
    for (uint64_t i = 0; i < count; ++i) {
      const Section& section = sections[random() % sections.size()];
      uint8_t& byte =
          damaged[section.begin + random() % (section.end - section.begin)];
      byte = random() % 2 == 0 ? static_cast<uint8_t>(random() & 0xff)
                               : kValues[random() % sizeof kValues];
    }
    if (random() % 8 == 0) damaged.resize(random() % damaged.size());
    LLVMFuzzerTestOneInput(damaged.data(), damaged.size());
  }
}

INSTANTIATE_TEST_SUITE_P(Dwarf, CompiledBy, testing::Values(4, 5),
                         [](const auto& row) {
                           return absl::StrCat("Version", row.param);
                         });

// --- Tables by hand
// -----------------------------------------------------------

std::string Uleb(uint64_t value) {
  std::string bytes;
  do {
    const auto low = static_cast<char>(value & 0x7f);
    value >>= 7;
    bytes.push_back(static_cast<char>(low | (value != 0 ? '\x80' : 0)));
  } while (value != 0);
  return bytes;
}

std::string Fixed(uint64_t value, int size) {
  std::string bytes;
  for (int i = 0; i < size; ++i) {
    bytes.push_back(static_cast<char>(value >> (8 * i) & 0xff));
  }
  return bytes;
}

std::string Text(const std::string& text) { return text + '\0'; }

std::string CustomSection(const std::string& name, const std::string& bytes) {
  const std::string contents = Uleb(name.size()) + name + bytes;
  return absl::StrCat(std::string(1, '\0'), Uleb(contents.size()), contents);
}

constexpr uint64_t kCodeBytes = 100;
constexpr uint64_t kCodeBegin = kModuleHeadBytes + 2;

Bytes ModuleOf(const std::string& custom_sections) {
  const std::string module = absl::StrCat(
      absl::string_view("\0asm\1\0\0\0", 8), "\x0a", Uleb(kCodeBytes),
      std::string(kCodeBytes, '\x5c'), custom_sections);
  return Bytes(module.begin(), module.end());
}

// What the parts of a unit's head that differ are, to begin with.
struct Head {
  int version = 4;
  bool is_64 = false;
  uint8_t instruction_bytes = 1;
  uint8_t operations = 1;
  uint8_t line_range = 14;
  uint8_t opcode_base = 13;
  std::string operands = std::string("\0\1\1\1\1\0\0\0\1\0\0\1", 12);
  std::string files = Text("") + Text("a.c") + std::string(3, '\0') + '\0';
};

std::string UnitOf(const Head& head, const std::string& program) {
  std::string tail = Fixed(head.instruction_bytes, 1);
  if (head.version >= 4) tail += Fixed(head.operations, 1);
  tail += '\1';    // default_is_stmt
  tail += '\xfb';  // line_base: -5
  tail += Fixed(head.line_range, 1) + Fixed(head.opcode_base, 1);
  tail += head.operands + head.files;
  const int offset_bytes = head.is_64 ? 8 : 4;
  std::string unit = Fixed(static_cast<uint64_t>(head.version), 2);
  if (head.version >= 5) unit += std::string("\4\0", 2);
  unit += Fixed(tail.size(), offset_bytes) + tail + program;
  return absl::StrCat(head.is_64 ? "\xff\xff\xff\xff" : "",
                      Fixed(unit.size(), offset_bytes), unit);
}

// Operations.
std::string At(uint64_t address) {
  return std::string("\0\5\2", 3) + Fixed(address, 4);
}
std::string Advance(uint64_t by) { return "\2" + Uleb(by); }
std::string Line(int by) {
  return std::string("\3") + static_cast<char>(by & 0x7f);
}
std::string File(uint64_t file) { return "\4" + Uleb(file); }
std::string Column(uint64_t column) { return "\5" + Uleb(column); }
const std::string kRow = "\1";
const std::string kEnd("\0\1\1", 3);

// Line 5 from address 10, line 6 from 20 up to 30.
const std::string kProgram =
    At(10) + Line(4) + kRow + Advance(10) + Line(1) + kRow + Advance(10) + kEnd;

// As "10-20 a.c:5", joined, in addresses.
std::string Show(const Bytes& module) {
  std::vector<uint64_t> offsets;
  for (uint64_t i = 0; i < kCodeBytes; ++i) offsets.push_back(kCodeBegin + i);
  const Lines lines = LinesOf(module, offsets);
  std::string text;
  for (uint64_t i = 0; i < kCodeBytes;) {
    uint64_t end = i;
    const auto line_at = [&](uint64_t address) -> std::string {
      const auto found = lines.find(kCodeBegin + address);
      return found == lines.end() ? "" : found->second;
    };
    while (end < kCodeBytes && line_at(end) == line_at(i)) ++end;
    if (!line_at(i).empty()) {
      absl::StrAppend(&text, text.empty() ? "" : ", ", i, "-", end, " ",
                      line_at(i));
    }
    i = end;
  }
  return text;
}

std::string ShowTable(const std::string& table) {
  return Show(ModuleOf(CustomSection(".debug_line", table)));
}

struct Row {
  std::string name;
  // A function for each, or the compiler takes minutes for all of them.
  std::string (*table)();
  std::string lines;
};

class LineTable : public testing::TestWithParam<Row> {};

TEST_P(LineTable, GivesTheseLines) {
  EXPECT_EQ(ShowTable(GetParam().table()), GetParam().lines);
}

Head With(const std::function<void(Head&)>& change) {
  Head head;
  change(head);
  return head;
}

// A unit's files, in the form of version 5: `formats` and entries of each.
std::string Files5(const std::string& directories, const std::string& files) {
  return directories + files;
}
// One field: a path of form string.
const std::string kNoDirectories("\1\1\x08\0", 4);

constexpr char kBoth[] = "10-20 a.c:5, 20-30 a.c:6";

INSTANTIATE_TEST_SUITE_P(
    ByHand, LineTable,
    testing::ValuesIn<Row>({
        {"version_4", [] { return UnitOf(Head(), kProgram); }, kBoth},
        {"version_3",
         [] { return UnitOf(With([](Head& h) { h.version = 3; }), kProgram); },
         kBoth},
        {"version_2",
         [] { return UnitOf(With([](Head& h) { h.version = 2; }), kProgram); },
         kBoth},
        {"columns",
         [] {
           return UnitOf(Head(), At(10) + Column(3) + kRow + Advance(5) +
                                     Column(65'535) + kRow + Advance(5) +
                                     Column(65'536) + kRow + Advance(5) +
                                     Column(~uint64_t{0}) + kRow + Advance(5) +
                                     Column(1) + kEnd);
         },
         "10-15 a.c:1:3, 15-20 a.c:1:65535, 20-30 a.c:1"},
        {"version_1",
         [] { return UnitOf(With([](Head& h) { h.version = 1; }), kProgram); },
         ""},
        {"version_6",
         [] { return UnitOf(With([](Head& h) { h.version = 6; }), kProgram); },
         ""},
        {"a_bad_unit_before",
         [] {
           return UnitOf(With([](Head& h) { h.version = 6; }), kProgram) +
                  UnitOf(Head(), kProgram);
         },
         kBoth},
        {"dwarf_64",
         [] { return UnitOf(With([](Head& h) { h.is_64 = true; }), kProgram); },
         kBoth},
        {"special_opcodes",
         // Address by 2, line by 3; then by 17 alone; then 1 and 1.
         [] {
           return UnitOf(
               Head(),
               At(10) + std::string(1, static_cast<char>(13 + 2 * 14 + 8)) +
                   "\x08" + std::string(1, static_cast<char>(13 + 14 + 6)) +
                   kEnd);
         },
         "12-30 a.c:4"},
        {"wide_instructions",
         [] {
           return UnitOf(With([](Head& h) { h.instruction_bytes = 2; }),
                         kProgram);
         },
         "10-30 a.c:5, 30-50 a.c:6"},
        {"fixed_advance",
         [] {
           return UnitOf(Head(), At(10) + kRow + "\x09" + Fixed(300, 2) + kEnd);
         },
         "10-100 a.c:1"},
        {"operations_that_do_nothing",
         // Column 0, negate_stmt, basic_block, prologue_end, epilogue_begin,
         // isa, an extended discriminator and an unknown one.
         [] {
           return UnitOf(
               Head(),
               std::string("\5\x80\0\6\7\x0a\x0b\x0c\4\0\2\4\7\0\3\x90xx", 18) +
                   kProgram);
         },
         kBoth},
        {"unknown_standard_opcode",
         [] {
           return UnitOf(With([](Head& h) {
                           h.opcode_base = 14;
                           h.operands += '\2';
                         }),
                         std::string("\x0d\x81\1\5", 4) + kProgram);
         },
         kBoth},
        {"few_standard_opcodes",
         // Three of which there are no more, and which it does not use.
         [] {
           return UnitOf(With([](Head& h) {
                           h.opcode_base = 10;
                           h.operands.resize(9);
                         }),
                         kProgram);
         },
         kBoth},
        {"extended_of_no_bytes",
         [] { return UnitOf(Head(), std::string("\0\0", 2) + kProgram); },
         kBoth},
        {"two_sequences",
         [] {
           return UnitOf(Head(), At(50) + kRow + Advance(5) + kEnd + kProgram);
         },
         "10-20 a.c:5, 20-30 a.c:6, 50-55 a.c:1"},
        {"rows_of_one_address",
         [] {
           return UnitOf(Head(),
                         At(10) + kRow + Line(2) + kRow + Advance(5) + kEnd);
         },
         "10-15 a.c:3"},
        {"line_0",
         [] {
           return UnitOf(Head(), At(10) + Line(-1) + kRow + Advance(5) +
                                     Line(9) + kRow + Advance(5) + kEnd);
         },
         "15-20 a.c:9"},
        {"backwards",
         [] {
           return UnitOf(
               {}, At(40) + kRow + At(10) + Line(1) + kRow + Advance(5) + kEnd);
         },
         "10-15 a.c:2"},
        {"thrown_away",
         [] {
           return UnitOf(Head(), At(0) + kRow + Advance(50) + kRow +
                                     Advance(50) + kEnd + kProgram);
         },
         kBoth},
        {"thrown_away_by_minus_1",
         [] {
           return UnitOf(Head(),
                         At(0xffffffff) + kRow + Advance(50) + kEnd + kProgram);
         },
         kBoth},
        {"the_first_that_covers",
         [] {
           return UnitOf(Head(), kProgram + At(1) + kRow + Advance(98) + kEnd);
         },
         "1-10 a.c:1, 10-20 a.c:5, 20-30 a.c:6, 30-99 a.c:1"},
        {"beyond_the_code",
         [] {
           return UnitOf(Head(), At(90) + kRow + Advance(1'000'000) + kEnd);
         },
         "90-100 a.c:1"},
        {"largest_addresses",
         [] {
           return UnitOf(Head(), At(90) + kRow + Advance(~uint64_t{0} - 95) +
                                     kRow + Advance(~uint64_t{0}) + kEnd);
         },
         "90-100 a.c:1"},
        {"address_of_8_bytes",
         [] {
           return UnitOf(Head(), std::string("\0\x09\2", 3) + Fixed(10, 8) +
                                     kRow + Advance(5) + kEnd);
         },
         "10-15 a.c:1"},
        {"no_end_of_sequence",
         [] {
           return UnitOf(Head(),
                         At(10) + kRow + Advance(5) + kRow + Advance(5));
         },
         "10-15 a.c:1"},
        {"no_such_file",
         [] {
           return UnitOf(Head(), At(10) + File(2) + kRow + Advance(5) +
                                     File(0) + kRow + Advance(5) +
                                     File(~uint64_t{0}) + kRow + Advance(5) +
                                     File(1) + kRow + Advance(5) + kEnd);
         },
         "25-30 a.c:1"},
        {"directories",
         [] {
           return UnitOf(With([](Head& h) {
                           h.files = Text("src") + Text("/abs/") + Text("") +
                                     Text("a.c") + std::string("\1\0\0", 3) +
                                     Text("b.c") + std::string("\2\0\0", 3) +
                                     Text("/c.c") + std::string("\1\0\0", 3) +
                                     Text("d.c") + std::string("\x09\0\0", 3) +
                                     std::string(1, '\0');
                         }),
                         At(10) + kRow + Advance(1) + File(2) + kRow +
                             Advance(1) + File(3) + kRow + Advance(1) +
                             File(4) + kRow + Advance(1) + kEnd);
         },
         "10-11 src/a.c:1, 11-12 /abs/b.c:1, 12-13 /c.c:1, 13-14 d.c:1"},
        {"defined_file",
         [] {
           return UnitOf(Head(), std::string("\0\x08\3b.c\0\0\0\0", 10) +
                                     At(10) + File(2) + kRow + Advance(5) +
                                     kEnd);
         },
         "10-15 b.c:1"},
        {"version_5",
         [] {
           return UnitOf(
               With([](Head& h) {
                 h.version = 5;
                 // Paths in place, directory as udata, an MD5 of 16 bytes.
                 h.files = Files5(
                     std::string("\1\1\x08\2", 4) + Text("/home") + Text("src"),
                     std::string("\3\1\x08\2\x0f\5\x1e\2", 8) + Text("a.c") +
                         '\0' + std::string(16, 'm') + Text("b.c") + '\1' +
                         std::string(16, 'm'));
               }),
               At(10) + File(0) + kRow + Advance(5) + File(1) + kRow +
                   Advance(5) + kEnd);
         },
         "10-15 a.c:1, 15-20 src/b.c:1"},
        {"version_5_all_forms",
         [] {
           return UnitOf(
               With([](Head& h) {
                 h.version = 5;
                 h.files =
                     Files5(kNoDirectories,
                            std::string("\x0b\1\x08\x99\1\x03\6\x04\6\x05\6\x06"
                                        "\6\x07\6\x09\6\x0a\6\x0b\6\x17\6\x1e",
                                        24) +
                                "\1" + Text("a.c") + std::string("\2\0xx", 4) +
                                std::string("\1\0\0\0x", 5) + "22" + "4444" +
                                "88888888" + "\1x" + "\1x" + "1" + "oooo" +
                                std::string(16, 'd'));
               }),
               At(10) + File(0) + kRow + Advance(5) + kEnd);
         },
         "10-15 a.c:1"},
        {"version_5_form_of_no_bytes",
         // flag_present, 2^62 times: what LLVM's reader loops on.
         [] {
           return UnitOf(With([](Head& h) {
                           h.version = 5;
                           h.files = Files5(kNoDirectories,
                                            std::string("\1\1\x19", 3) +
                                                Uleb(uint64_t{1} << 62));
                         }),
                         kProgram);
         },
         ""},
        {"version_5_no_fields",
         [] {
           return UnitOf(With([](Head& h) {
                           h.version = 5;
                           h.files = Files5(
                               std::string(1, '\0') + Uleb(~uint64_t{0}),
                               std::string(1, '\0') + Uleb(~uint64_t{0}));
                         }),
                         kProgram);
         },
         ""},
        {"version_5_fewer_files_than_promised",
         [] {
           return UnitOf(With([](Head& h) {
                           h.version = 5;
                           h.files =
                               Files5(kNoDirectories,
                                      std::string("\1\1\x08", 3) + Uleb(9) +
                                          Text("z.c") + Text("a.c"));
                         }),
                         kProgram);
         },
         kBoth},
        {"no_line_range",
         [] {
           return UnitOf(With([](Head& h) { h.line_range = 0; }), kProgram);
         },
         ""},
        {"no_opcode_base",
         [] {
           return UnitOf(With([](Head& h) {
                           h.opcode_base = 0;
                           h.operands.clear();
                         }),
                         kProgram);
         },
         ""},
        {"two_operations_at_once",
         [] {
           return UnitOf(With([](Head& h) { h.operations = 2; }), kProgram);
         },
         ""},
        {"cut_off_in_the_head",
         [] { return UnitOf(Head(), kProgram).substr(0, 20); }, ""},
        {"cut_off_in_the_length", [] { return std::string("\x10\0", 2); }, ""},
        {"longest_unit",
         [] {
           return Fixed(0xfffffffe, 4) + UnitOf(Head(), kProgram).substr(4);
         },
         ""},
        {"length_of_64_bits",
         [] {
           return "\xff\xff\xff\xff" + Fixed(~uint64_t{0}, 8) +
                  UnitOf(Head(), kProgram).substr(4);
         },
         ""},
        {"longest_head",
         [] {
           return UnitOf(Head(), kProgram).replace(6, 4, Fixed(0xffffffff, 4));
         },
         ""},
        {"endless_number",
         [] {
           return UnitOf(Head(), kProgram + At(40) + kRow + "\2" +
                                     std::string(500, '\xff'));
         },
         kBoth},
        {"longest_extended",
         [] {
           return UnitOf(Head(),
                         kProgram + std::string(1, '\0') + Uleb(~uint64_t{0}));
         },
         kBoth},
    }),
    [](const auto& row) { return row.param.name; });

TEST(SourceLinesTest, ReadsNamesFromTheStringSections) {
  const Head head = With([](Head& h) {
    h.version = 5;
    h.files = Files5(std::string("\1\1\x1f\2", 4) + Fixed(0, 4) + Fixed(6, 4),
                     std::string("\2\1\x0e\2\x0b\3", 6) + Fixed(0, 4) + '\0' +
                         Fixed(4, 4) + '\1' + Fixed(9'999, 4) + '\1');
  });
  const std::string table = CustomSection(
      ".debug_line",
      UnitOf(head, At(10) + File(0) + kRow + Advance(5) + File(1) + kRow +
                       Advance(5) + File(2) + kRow + Advance(5) + kEnd));
  const std::string strings =
      CustomSection(".debug_line_str", Text("/home") + Text("src")) +
      CustomSection(".debug_str", Text("a.c") + Text("b.c"));
  EXPECT_EQ(Show(ModuleOf(table + strings)), "10-15 a.c:1, 15-20 src/b.c:1");
  // In front of the table, and a second one of a name, which does not count.
  EXPECT_EQ(Show(ModuleOf(strings + table +
                          CustomSection(".debug_str", Text("x.c")))),
            "10-15 a.c:1, 15-20 src/b.c:1");
  EXPECT_EQ(Show(ModuleOf(table)), "");
}

TEST(SourceLinesTest, AddsNothingWhereThereIsNothing) {
  const std::vector<uint64_t> offsets = {12, 20, 30};
  for (const std::string& sections :
       {std::string(), CustomSection(".debug_line", ""),
        CustomSection(".debug_lin", UnitOf(Head(), kProgram)),
        CustomSection(".debug_line", UnitOf(Head(), ""))}) {
    CompiledModule answer;
    AddSourceLines(ModuleOf(sections), offsets, answer);
    EXPECT_FALSE(answer.has_source_lines());
  }
  CompiledModule answer;
  AddSourceLines(
      ModuleOf(CustomSection(".debug_line", UnitOf(Head(), kProgram))), {},
      answer);
  EXPECT_FALSE(answer.has_source_lines());
  AddSourceLines({}, offsets, answer);
  EXPECT_FALSE(answer.has_source_lines());
}

TEST(SourceLinesTest, WritesRunsOnce) {
  CompiledModule answer;
  std::vector<uint64_t> offsets;
  for (uint64_t i = 0; i < kCodeBytes; ++i) offsets.push_back(kCodeBegin + i);
  AddSourceLines(
      ModuleOf(CustomSection(".debug_line", UnitOf(Head(), kProgram))), offsets,
      answer);
  const SourceLines& lines = answer.source_lines();
  EXPECT_THAT(lines.files(), testing::ElementsAre("a.c"));
  EXPECT_THAT(lines.offset_delta(),
              testing::ElementsAre(kCodeBegin + 10, 10, 10));
  EXPECT_THAT(lines.file(), testing::ElementsAre(1, 1, 0));
  EXPECT_THAT(lines.line(), testing::ElementsAre(5, 6, 0));
  EXPECT_FALSE(lines.is_cut());
}

// One file, by name.
std::string ShowFile(const std::string& directory, const std::string& name) {
  return ShowTable(UnitOf(
      With([&](Head& h) {
        h.files = (directory.empty() ? std::string() : Text(directory)) +
                  Text("") + Text(name) + (directory.empty() ? '\0' : '\1') +
                  std::string(2, '\0') + '\0';
      }),
      At(10) + kRow + Advance(5) + kEnd));
}

TEST(SourceLinesTest, BoundsAndCleansPaths) {
  const std::string longest(1'024, 'x');
  EXPECT_EQ(ShowFile("", longest), "10-15 " + longest + ":1");
  EXPECT_EQ(ShowFile("", longest + "x"), "");
  const std::string name(1'000, 'n');
  const std::string directory(23, 'd');
  EXPECT_EQ(ShowFile(directory, name),
            "10-15 " + directory + "/" + name + ":1");
  EXPECT_EQ(ShowFile(directory + "d", name), "10-15 " + name + ":1");

  EXPECT_EQ(ShowFile("", "caf\xc3\xa9.c"), "10-15 caf\xc3\xa9.c:1");
  EXPECT_EQ(ShowFile("", "caf\xc3\xa9\x1b[2J\x7f.c"),
            "10-15 caf\xc3\xa9?[2J?.c:1");
  EXPECT_EQ(ShowFile("", "caf\xe9.c"), "10-15 caf?.c:1");
}

TEST(SourceLinesTest, KeepsOnlyFilesThatAreUsed) {
  Head head;
  head.files = Text("");
  std::string program;
  for (uint64_t i = 1; i <= 1'000; ++i) {
    head.files += Text(absl::StrCat(i, ".c")) + std::string(3, '\0');
    program += File(i) + At(50) + kRow + At(51) + kEnd;
  }
  head.files += '\0';
  CompiledModule answer;
  AddSourceLines(ModuleOf(CustomSection(".debug_line", UnitOf(head, program))),
                 {kCodeBegin + 50}, answer);
  EXPECT_THAT(answer.source_lines().files(), testing::ElementsAre("1.c"));
}

// Each byte of the code has a file of its own.
struct Wide {
  Bytes module;
  std::vector<uint64_t> offsets;
};
Wide WideModule(int units, int files, size_t name_bytes) {
  const uint64_t code_bytes =
      static_cast<uint64_t>(units) * static_cast<uint64_t>(files) + 1;
  std::string table;
  uint64_t address = 1;
  for (int unit = 0; unit < units; ++unit) {
    Head head;
    head.files = Text("");
    std::string program = At(address);
    for (int i = 0; i < files; ++i) {
      std::string name = absl::StrCat(unit, "_", i, "_");
      name.resize(std::max(name.size(), name_bytes), 'f');
      head.files += Text(name) + std::string(3, '\0');
      program += File(static_cast<uint64_t>(i) + 1) + kRow + Advance(1);
    }
    address += static_cast<uint64_t>(files);
    head.files += '\0';
    table += UnitOf(head, program + kEnd);
  }
  const std::string front = absl::StrCat(absl::string_view("\0asm\1\0\0\0", 8),
                                         "\x0a", Uleb(code_bytes));
  const std::string module = absl::StrCat(front, std::string(code_bytes, 'c'),
                                          CustomSection(".debug_line", table));
  Wide wide;
  wide.module.assign(module.begin(), module.end());
  for (uint64_t i = 1; i < code_bytes; ++i) {
    wide.offsets.push_back(front.size() + i);
  }
  return wide;
}

TEST(SourceLinesTest, BoundsTheFiles) {
  // 2 * 32,768 are 65,536: all. 2 * 32,769 are two more.
  for (const int files : {32'768, 32'769}) {
    const Wide wide = WideModule(2, files, 1);
    EXPECT_EQ(LinesOf(wide.module, wide.offsets).size(), 65'536u);
  }
  // In one unit, one of which is the number 0 that does not exist.
  const Wide wide = WideModule(1, 70'000, 1);
  EXPECT_EQ(LinesOf(wide.module, wide.offsets).size(), 65'535u);
}

TEST(SourceLinesTest, BoundsTheBytesOfAllPaths) {
  const Wide wide = WideModule(1, 5'000, 1'024);
  CompiledModule answer;
  AddSourceLines(wide.module, wide.offsets, answer);
  EXPECT_TRUE(answer.source_lines().is_cut());
  EXPECT_EQ(LinesOf(wide.module, wide.offsets).size(),
            kSourcePathBytesTotalMax / 1'024);
}

// Entries that differ from their neighbours by the column alone.
TEST(SourceLinesTest, BoundsTheEntries) {
  const auto columns = static_cast<uint64_t>(kSourceEntriesMax) + 1;
  Head head;
  std::string program = At(1);
  for (uint64_t i = 0; i < columns; ++i) {
    program += Column(1 + i % 2) + kRow + Advance(1);
  }
  const std::string module =
      absl::StrCat(absl::string_view("\0asm\1\0\0\0", 8), "\x0a",
                   Uleb(columns + 1), std::string(columns + 1, 'c'),
                   CustomSection(".debug_line", UnitOf(head, program + kEnd)));
  const Bytes bytes(module.begin(), module.end());
  const uint64_t begin = CodeOf(bytes).begin + 1;
  std::vector<uint64_t> offsets;
  for (uint64_t i = 0; i < columns; ++i) offsets.push_back(begin + i);
  CompiledModule answer;
  AddSourceLines(bytes, offsets, answer);
  EXPECT_EQ(answer.source_lines().offset_delta_size(), kSourceEntriesMax);
  EXPECT_TRUE(answer.source_lines().is_cut());
  const auto map = SourceMap::Make(answer.source_lines(), bytes.size());
  ASSERT_TRUE(map.ok()) << map.status();
  EXPECT_TRUE(map->Find(offsets[offsets.size() - 3]).has_value());
  // Not the line of what came before the bound.
  EXPECT_FALSE(map->Find(offsets.back()).has_value());
}

TEST(SourceLinesTest, EndsAfterSoManySteps) {
  const std::string last = At(95) + kRow + Advance(2) + kEnd;  // four steps
  // Operations that say nothing of lines; what all units take counts together.
  const std::string all(kLineStepsMax - 4, '\x06');
  EXPECT_EQ(ShowTable(UnitOf(Head(), all) + UnitOf(Head(), last)),
            "95-97 a.c:1");
  EXPECT_EQ(ShowTable(UnitOf(Head(), all + "\x06") + UnitOf(Head(), last)), "");
}

// The applications of the corpus, of which some have lines.
TEST(SourceLinesTest, ReadsTheCorpusAsLlvmDoes) {
  const char* const corpus = getenv("CALLGATE_CORPUS");
  if (corpus == nullptr) GTEST_SKIP() << "CALLGATE_CORPUS is not set";
  const std::string folder = absl::StrCat(corpus, "/apps");
  DIR* const open = opendir(folder.c_str());
  ASSERT_NE(open, nullptr) << folder;
  int with_lines = 0;
  while (const dirent* const entry = readdir(open)) {
    const std::string name = entry->d_name;
    if (!absl::EndsWith(name, ".wasm")) continue;
    const Bytes module = ReadFile(absl::StrCat(folder, "/", name));
    const std::vector<uint64_t> offsets = OffsetsOf(CodeOf(module), 13);
    const Lines ours = LinesOf(module, offsets);
    const Lines theirs = LinesByLlvm(module, offsets);
    if (theirs.empty() && ours.empty()) continue;
    ++with_lines;
    // Where units overlap, which of them a line is taken from is not fixed.
    size_t same = 0;
    for (const auto& [offset, line] : ours) {
      const auto found = theirs.find(offset);
      if (found != theirs.end() && found->second == line) {
        ++same;
        continue;
      }
      std::cout << "  " << offset << ": " << line << " here, "
                << (found == theirs.end() ? "none" : found->second)
                << " by LLVM\n";
    }
    std::cout << name << ": of " << offsets.size() << " offsets " << ours.size()
              << " have a line, with LLVM " << theirs.size() << ", " << same
              << " the same\n";
    EXPECT_EQ(ours.size(), theirs.size()) << name;
    EXPECT_GE(same + 2, ours.size()) << name;
  }
  closedir(open);
  EXPECT_GT(with_lines, 0);
}

}  // namespace
}  // namespace callgate::native
