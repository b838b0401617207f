// What the loader refuses, and in which words. Every row changes one thing of
// an object that is loaded as it is.

#include <cstdint>
#include <functional>
#include <limits>
#include <memory>
#include <ostream>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "gtest/gtest.h"
#include "runtime/native/loader/object_loader.h"
#include "runtime/native/loader/objects_testing.h"

namespace callgate::native {
namespace {

absl::Status LoadStatus(const std::vector<std::string>& objects,
                        const ExpectedSymbols& expected,
                        const LoadOptions& options = {}) {
  const std::vector<absl::string_view> views(objects.begin(), objects.end());
  return LoadObjects(views, expected, options).status();
}

struct Row {
  std::string name;
  std::function<void(ElfWriter&)> change;
  std::string message;  // "" when it is loaded
};

// What GoogleTest prints of a row.
void PrintTo(const Row& row, std::ostream* out) { *out << row.name; }

class Refusal : public testing::TestWithParam<Row> {};

TEST_P(Refusal, NamesTheThing) {
  ElfWriter writer = SmallObject();
  GetParam().change(writer);
  const absl::Status status =
      LoadStatus({writer.Write()}, ExpectedOfSmallObject());
  EXPECT_EQ(status.message(), GetParam().message);
  EXPECT_EQ(status.code(), GetParam().message.empty()
                               ? absl::StatusCode::kOk
                               : absl::StatusCode::kInvalidArgument);
}

std::string RowName(const testing::TestParamInfo<Row>& info) {
  return info.param.name;
}

// --- The header
// ---------------------------------------------------------------

Row Header(std::string name, std::function<void(Elf64_Ehdr&)> change,
           std::string message) {
  return {std::move(name),
          [change](ElfWriter& writer) { writer.change_header = change; },
          std::move(message)};
}

constexpr char kOtherMachine[] =
    "object 0: is not a 64-bit x86-64 ELF file of the System V ABI";

INSTANTIATE_TEST_SUITE_P(
    Headers, Refusal,
    testing::ValuesIn<Row>({
        {"as_it_is", [](ElfWriter&) {}, ""},
        Header(
            "magic", [](auto& h) { h.e_ident[3] = 'f'; },
            "object 0: is no ELF file"),
        Header(
            "class_32", [](auto& h) { h.e_ident[EI_CLASS] = ELFCLASS32; },
            kOtherMachine),
        Header(
            "big_endian", [](auto& h) { h.e_ident[EI_DATA] = ELFDATA2MSB; },
            kOtherMachine),
        Header(
            "ident_version", [](auto& h) { h.e_ident[EI_VERSION] = 2; },
            kOtherMachine),
        Header(
            "system", [](auto& h) { h.e_ident[EI_OSABI] = ELFOSABI_GNU; },
            kOtherMachine),
        Header(
            "machine", [](auto& h) { h.e_machine = EM_AARCH64; },
            kOtherMachine),
        Header(
            "version", [](auto& h) { h.e_version = 0; }, kOtherMachine),
        Header(
            "executable", [](auto& h) { h.e_type = ET_EXEC; },
            "object 0: is of ELF type 2, not a relocatable file (1)"),
        Header(
            "shared_library", [](auto& h) { h.e_type = ET_DYN; },
            "object 0: is of ELF type 3, not a relocatable file (1)"),
        Header(
            "section_header_size", [](auto& h) { h.e_shentsize = 63; },
            "object 0: has section headers of 63 bytes instead of 64"),
        Header(
            "no_sections", [](auto& h) { h.e_shnum = 0; },
            "object 0: has no sections, or more than 65279"),
        Header(
            "extended_count", [](auto& h) { h.e_shnum = SHN_LORESERVE; },
            "object 0: has no sections, or more than 65279"),
        Header(
            "headers_beyond_the_end", [](auto& h) { h.e_shoff += 1; },
            "object 0: has its section headers outside the file, at 281"),
        Header(
            "headers_overflow", [](auto& h) { h.e_shoff = ~uint64_t{0} - 8; },
            "object 0: has its section headers outside the file, at "
            "18446744073709551607"),
        Header(
            "one_header_too_many", [](auto& h) { h.e_shnum += 1; },
            "object 0: has its section headers outside the file, at 280"),
        Header(
            "names_section_beyond", [](auto& h) { h.e_shstrndx = 5; },
            "object 0: has its section names in section 5 of 5"),
        Header(
            "names_extended", [](auto& h) { h.e_shstrndx = SHN_XINDEX; },
            "object 0: has its section names in section 65535 of 5"),
        Header(
            "names_in_code", [](auto& h) { h.e_shstrndx = kText; },
            "object 0: has the sections' names in section 1, which is no "
            "string table"),
    }),
    RowName);

TEST(RefusalTest, NeedsAWholeHeader) {
  EXPECT_EQ(LoadStatus({""}, ExpectedSymbols{}).message(),
            "object 0: is 0 bytes long, which holds no ELF header");
  EXPECT_EQ(LoadStatus({SmallObject().Write().substr(0, 63)}, {}).message(),
            "object 0: is 63 bytes long, which holds no ELF header");
}

// --- Sections
// -----------------------------------------------------------------

Row Added(std::string name, ElfWriter::Section section, std::string message) {
  return {std::move(name),
          [section](ElfWriter& writer) { writer.sections.push_back(section); },
          std::move(message)};
}

Row Headers(std::string name,
            std::function<void(std::vector<Elf64_Shdr>&)> change,
            std::string message) {
  return {std::move(name),
          [change](ElfWriter& writer) { writer.change_sections = change; },
          std::move(message)};
}

constexpr uint64_t kRead = SHF_ALLOC;
constexpr uint64_t kWrite = SHF_ALLOC | SHF_WRITE;
constexpr uint64_t kExecute = SHF_ALLOC | SHF_EXECINSTR;
// In SmallObject.
constexpr size_t kSymbols = 3;
constexpr size_t kStrings = 4;

INSTANTIATE_TEST_SUITE_P(
    Sections, Refusal,
    testing::ValuesIn<Row>({
        Added("data", {".data", SHT_PROGBITS, kWrite, "1"},
              "object 0: section \".data\" is writable data"),
        Added("relro", {".data.rel.ro", SHT_PROGBITS, kWrite, "1"},
              "object 0: section \".data.rel.ro\" is writable data"),
        Added("empty_data", {".data", SHT_PROGBITS, kWrite, ""}, ""),
        Added("empty_bss", {".bss", SHT_NOBITS, kWrite, ""}, ""),
        Headers("bss",
                [](auto& s) {
                  s[kRodata].sh_type = SHT_NOBITS;
                  s[kRodata].sh_flags = kWrite;
                },
                "object 0: section \".rodata\" is writable data"),
        Headers("zeros_to_read",
                [](auto& s) { s[kRodata].sh_type = SHT_NOBITS; },
                "object 0: section \".rodata\" would be loaded, and is of "
                "type 8"),
        Added("thread_data", {".tdata", SHT_PROGBITS, kWrite | SHF_TLS, "1"},
              "object 0: section \".tdata\" is thread-local data"),
        Added("empty_thread_data",
              {".tbss", SHT_NOBITS, kWrite | SHF_TLS, ""},
              "object 0: section \".tbss\" is thread-local data"),
        Added("init_array", {".init_array", SHT_INIT_ARRAY, kWrite, ""},
              "object 0: section \".init_array\" lists constructors or "
              "destructors"),
        Added("fini_array", {".fini_array", SHT_FINI_ARRAY, kWrite, "12345678"},
              "object 0: section \".fini_array\" lists constructors or "
              "destructors"),
        Added("preinit_array", {".x", SHT_PREINIT_ARRAY, kWrite, "12345678"},
              "object 0: section \".x\" lists constructors or destructors"),
        Added("init", {".init", SHT_PROGBITS, kExecute, "\xc3"},
              "object 0: section \".init\" is executable and not .text"),
        Added("ctors", {".ctors", SHT_PROGBITS, kRead, "12345678"},
              "object 0: section \".ctors\" would be loaded, and is neither "
              ".text nor .rodata"),
        Added("large_code", {".ltext", SHT_PROGBITS, kExecute, "\xc3"},
              "object 0: section \".ltext\" is executable and not .text"),
        Added("like_text", {".textual", SHT_PROGBITS, kExecute, "\xc3"},
              "object 0: section \".textual\" is executable and not .text"),
        Added("executable_constants", {".rodata", SHT_PROGBITS, kExecute, "1"},
              "object 0: section \".rodata\" is executable and not .text"),
        Added("executable_note",
              {".note.GNU-stack", SHT_PROGBITS, SHF_EXECINSTR, ""},
              "object 0: section \".note.GNU-stack\" is executable and not "
              ".text"),
        Added("writable_code", {".text", SHT_PROGBITS, kExecute | SHF_WRITE,
                                "\xc3"},
              "object 0: section \".text\" is writable data"),
        Added("text_that_is_none", {".text", SHT_PROGBITS, kRead, "1"},
              "object 0: section \".text\" would be loaded, and is neither "
              ".text nor .rodata"),
        Added("compressed",
              {".debug_info", SHT_PROGBITS, SHF_COMPRESSED, "123456789012"},
              "object 0: section \".debug_info\" is compressed"),
        Added("group", {".group", SHT_GROUP, 0, "1234"},
              "object 0: section \".group\" is a section group"),
        Added("group_member",
              {".text.f9", SHT_PROGBITS, kExecute | SHF_GROUP, "\xc3"},
              "object 0: section \".text.f9\" has the unknown flags 0x200"),
        Added("large_constants",
              {".rodata", SHT_PROGBITS, kRead | 0x10000000, "1"},
              "object 0: section \".rodata\" has the unknown flags "
              "0x10000000"),
        Added("relocations_without_addends", {".rel.text", SHT_REL, 0, ""},
              "object 0: section \".rel.text\" holds relocations without "
              "addends"),
        Added("dynamic", {".dynamic", SHT_DYNAMIC, 0, ""},
              "object 0: section \".dynamic\" is of the unknown type 6"),
        Added("extended_symbol_indices", {".x", SHT_SYMTAB_SHNDX, 0, ""},
              "object 0: section \".x\" is of the unknown type 18"),
        Added("escaped",
              {"a\n\"\xff", SHT_PROGBITS, kRead, "1"},
              "object 0: section \"a\\n\\\"\\xff\" would be loaded, and is "
              "neither .text nor .rodata"),
        Added("long_name",
              {std::string(1000, 'n'), SHT_PROGBITS, kRead, "1"},
              absl::StrCat("object 0: section \"", std::string(64, 'n'),
                           "\" would be loaded, and is neither .text nor "
                           ".rodata")),
        Added("unwind_tables", {".eh_frame", 0x70000001, kRead, "1"}, ""),
        Added("writable_unwind_tables",
              {".eh_frame", SHT_PROGBITS, kWrite, "1"}, ""),
        Added("allocated_note", {".note.gnu.property", SHT_NOTE, kRead, "1"},
              ""),
        Added("comment",
              {".comment", SHT_PROGBITS, SHF_MERGE | SHF_STRINGS, "x"}, ""),
        Added("address_significance",
              {".llvm_addrsig", 0x6fff4c03, SHF_EXCLUDE, "1"}, ""),
        Added("stack_sizes",
              {".stack_sizes", SHT_PROGBITS, SHF_LINK_ORDER, "1"}, ""),
        Added("mergeable_strings",
              {".rodata.str1.1", SHT_PROGBITS, kRead | SHF_MERGE | SHF_STRINGS,
               "x"},
              ""),
        Added("align_0", {".rodata.x", SHT_PROGBITS, kRead, "1", 0}, ""),
        Added("align_page", {".rodata.x", SHT_PROGBITS, kRead, "1", 4096}, ""),
        Added("align_more_than_a_page",
              {".rodata.x", SHT_PROGBITS, kRead, "1", 8192},
              "object 0: section \".rodata.x\" has the alignment 8192, which "
              "is not a power of two up to 4096"),
        Added("align_3", {".text.x", SHT_PROGBITS, kExecute, "1", 3},
              "object 0: section \".text.x\" has the alignment 3, which is "
              "not a power of two up to 4096"),
        Added("align_most",
              {".text.x", SHT_PROGBITS, kExecute, "1", uint64_t{1} << 63},
              "object 0: section \".text.x\" has the alignment "
              "9223372036854775808, which is not a power of two up to 4096"),
        Headers("name_beyond",
                [](auto& s) {
                  s[kText].sh_name =
                      static_cast<uint32_t>(s[kStrings].sh_size);
                },
                "object 0: section 1 has its name at 40, outside the table of "
                "names"),
        Headers("content_beyond", [](auto& s) { s[kText].sh_size = 1000; },
                "object 0: section \".text\" is outside the file: 1000 bytes "
                "at 64"),
        Headers("content_overflows",
                [](auto& s) {
                  s[kText].sh_offset = ~uint64_t{0};
                  s[kText].sh_size = 2;
                },
                "object 0: section \".text\" is outside the file: 2 bytes at "
                "18446744073709551615"),
        Headers("contents_overlap",
                [](auto& s) {
                  s[kText].sh_offset = 0;
                  s[kRodata].sh_offset = 0;
                  s[kText].sh_size = 600;
                  s[kRodata].sh_size = 600;
                },
                "object 0: section \".rodata\" overlaps another one"),
    }),
    RowName);

// --- Tables
// -------------------------------------------------------------------

Row Relocated(std::string name,
              std::function<void(std::vector<Elf64_Shdr>&)> change,
              std::string message) {
  return {std::move(name),
          [change](ElfWriter& writer) {
            writer.relocations = {{kText, 0, R_X86_64_PC32, 1, 0}};
            writer.change_sections = change;
          },
          std::move(message)};
}

constexpr size_t kRelocations = 5;

INSTANTIATE_TEST_SUITE_P(
    Tables, Refusal,
    testing::ValuesIn<Row>({
        Relocated(
            "as_it_is", [](auto&) {}, ""),
        Headers(
            "strings_beyond", [](auto& s) { s[kStrings].sh_offset = 10000; },
            "object 0: has the sections' names outside the file: 40 bytes "
            "at 10000"),
        Headers(
            "strings_without_end", [](auto& s) { s[kStrings].sh_size -= 1; },
            "object 0: has the sections' names in a table that does not "
            "end with zero"),
        Headers(
            "no_strings", [](auto& s) { s[kStrings].sh_size = 0; },
            "object 0: has the sections' names in a table that does not "
            "end with zero"),
        Headers(
            "symbols_without_names",
            [](auto& s) { s[kSymbols].sh_link = kText; },
            "object 0: has the symbols' names in section 1, which is no "
            "string table"),
        Headers(
            "symbols_names_beyond", [](auto& s) { s[kSymbols].sh_link = 5; },
            "object 0: has the symbols' names in section 5, which is no "
            "string table"),
        Headers(
            "symbol_size", [](auto& s) { s[kSymbols].sh_entsize = 16; },
            "object 0: section \".symtab\" has symbols of 16 bytes in 96 "
            "bytes; one is 24"),
        Headers(
            "half_a_symbol", [](auto& s) { s[kSymbols].sh_size -= 12; },
            "object 0: section \".symtab\" has symbols of 24 bytes in 84 "
            "bytes; one is 24"),
        Headers(
            "symbols_beyond", [](auto& s) { s[kSymbols].sh_size = 2400; },
            "object 0: section \".symtab\" is outside the file: 2400 bytes "
            "at 144"),
        Headers(
            "two_symbol_tables",
            [](auto& s) {
              s[kSymbols].sh_size = 0;
              s[kRodata] = s[kSymbols];
            },
            "object 0: has two symbol tables"),
        Headers(
            "no_symbol_table",
            [](auto& s) { s[kSymbols].sh_type = SHT_PROGBITS; },
            "f0 is defined in no object"),
        Relocated(
            "of_a_section_beyond", [](auto& s) { s[kRelocations].sh_info = 6; },
            "object 0: section \".rela\" relocates section 6 of 6"),
        Relocated(
            "by_other_symbols",
            [](auto& s) { s[kRelocations].sh_link = kStrings; },
            "object 0: section \".rela\" relocates by section 4, which "
            "is not the symbol table"),
        Relocated(
            "by_no_symbols",
            [](auto& s) { s[kSymbols].sh_type = SHT_PROGBITS; },
            "object 0: section \".rela\" relocates by section 3, which "
            "is not the symbol table"),
        Relocated(
            "of_nothing_loaded",
            [](auto& s) {
              s[kRelocations].sh_info = kStrings;
              s[kRelocations].sh_size = 5;
            },
            ""),
        Relocated(
            "entry_size", [](auto& s) { s[kRelocations].sh_entsize = 0; },
            "object 0: section \".rela\" has relocations of 0 bytes in "
            "24 bytes; one is 24"),
        Relocated(
            "half_an_entry", [](auto& s) { s[kRelocations].sh_size = 36; },
            "object 0: section \".rela\" has relocations of 24 bytes in "
            "36 bytes; one is 24"),
        Relocated(
            "entries_beyond", [](auto& s) { s[kRelocations].sh_size = 24000; },
            "object 0: section \".rela\" is outside the file: 24000 "
            "bytes at 288"),
    }),
    RowName);

// --- Symbols
// ------------------------------------------------------------------

Row Symbol(std::string name, ElfWriter::Symbol symbol, std::string message) {
  return {std::move(name),
          [symbol](ElfWriter& writer) { writer.symbols.push_back(symbol); },
          std::move(message)};
}

Row Entries(std::string name,
            std::function<void(std::vector<Elf64_Sym>&)> change,
            std::string message) {
  return {std::move(name),
          [change](ElfWriter& writer) { writer.change_symbols = change; },
          std::move(message)};
}

// A row per name that no object defines.
Row Foreign(std::string name, const std::string& symbol) {
  return Symbol(std::move(name), {symbol, STT_FUNC, STB_GLOBAL, kText, 48, 8},
                absl::StrCat("object 0: symbol \"", symbol,
                             "\" is defined, and none of a module's"));
}

Row Needed(std::string name, const std::string& symbol) {
  return Symbol(std::move(name), {symbol},
                absl::StrCat("object 0: needs \"", symbol,
                             "\", which no code of a module may need"));
}

INSTANTIATE_TEST_SUITE_P(
    Symbols, Refusal,
    testing::ValuesIn<Row>({
        Symbol("common", {"x", STT_OBJECT, STB_GLOBAL, SHN_COMMON, 8, 8},
               "object 0: symbol \"x\" is common data"),
        Symbol("common_type", {"x", STT_COMMON, STB_GLOBAL, kText, 8, 8},
               "object 0: symbol \"x\" is common data"),
        Symbol("thread_local", {"x", STT_TLS, STB_GLOBAL, kRodata, 0, 8},
               "object 0: symbol \"x\" is thread-local data"),
        Symbol("thread_local_needed", {"f0", STT_TLS},
               "object 0: symbol \"f0\" is thread-local data"),
        Symbol("indirect",
               {"b0", STT_GNU_IFUNC, STB_GLOBAL, kText, 48, 8},
               "object 0: symbol \"b0\" is an indirect function"),
        Symbol("indirect_local",
               {"x", STT_GNU_IFUNC, STB_LOCAL, kText, 48, 8},
               "object 0: symbol \"x\" is an indirect function"),
        Symbol("unknown_type", {"x", 9, STB_LOCAL, kText, 48, 8},
               "object 0: symbol \"x\" is of the unknown type 9"),
        Symbol("weak", {"b0", STT_FUNC, STB_WEAK, kText, 48, 8},
               "object 0: symbol \"b0\" is weak, or of the unknown binding 2"),
        Symbol("weak_needed", {"memcpy", STT_NOTYPE, STB_WEAK},
               "object 0: symbol \"memcpy\" is weak, or of the unknown "
               "binding 2"),
        Symbol("unique", {"b0", STT_FUNC, STB_GNU_UNIQUE, kText, 48, 8},
               "object 0: symbol \"b0\" is weak, or of the unknown binding "
               "10"),
        Symbol("local_needed", {"f0", STT_NOTYPE, STB_LOCAL},
               "object 0: symbol \"f0\" is local and not defined"),
        Symbol("absolute", {"b0", STT_FUNC, STB_GLOBAL, SHN_ABS, 48, 8},
               "object 0: symbol \"b0\" is in section 65521 of 5"),
        Symbol("file", {"module", STT_FILE, STB_LOCAL, SHN_ABS}, ""),
        Symbol("section_beyond", {"x", STT_FUNC, STB_LOCAL, 5, 0, 0},
               "object 0: symbol \"x\" is in section 5 of 5"),
        Symbol("section_extended",
               {"x", STT_FUNC, STB_LOCAL, SHN_XINDEX, 0, 0},
               "object 0: symbol \"x\" is in section 65535 of 5"),
        Symbol("value_beyond", {"x", STT_NOTYPE, STB_LOCAL, kText, 65, 0},
               "object 0: symbol \"x\" is outside section \".text\": 0 bytes "
               "at 65"),
        Symbol("value_at_end", {"x", STT_NOTYPE, STB_LOCAL, kText, 64, 0}, ""),
        Symbol("value_most",
               {"x", STT_NOTYPE, STB_LOCAL, kRodata, ~uint64_t{0}, 1},
               "object 0: symbol \"x\" is outside section \".rodata\": 1 bytes "
               "at 18446744073709551615"),
        Symbol("size_beyond", {"b0", STT_FUNC, STB_GLOBAL, kText, 48, 17},
               "object 0: symbol \"b0\" is outside section \".text\": 17 bytes "
               "at 48"),
        Symbol("size_most",
               {"b0", STT_FUNC, STB_GLOBAL, kText, 48, ~uint64_t{0}},
               "object 0: symbol \"b0\" is outside section \".text\": "
               "18446744073709551615 bytes at 48"),
        Symbol("body", {"b0", STT_FUNC, STB_GLOBAL, kText, 48, 16}, ""),
        Symbol("empty", {"b0", STT_FUNC, STB_GLOBAL, kText, 48, 0},
               "object 0: symbol \"b0\" is not a function in .text, or it is "
               "empty"),
        Symbol("in_constants", {"b0", STT_FUNC, STB_GLOBAL, kRodata, 0, 8},
               "object 0: symbol \"b0\" is not a function in .text, or it is "
               "empty"),
        Symbol("in_nothing_loaded",
               {"b0", STT_FUNC, STB_GLOBAL, kStrings, 0, 8},
               "object 0: symbol \"b0\" is not a function in .text, or it is "
               "empty"),
        Symbol("data", {"b0", STT_OBJECT, STB_GLOBAL, kText, 48, 8},
               "object 0: symbol \"b0\" is not a function in .text, or it is "
               "empty"),
        Foreign("main", "main"),
        Foreign("memcpy", "memcpy"),
        Foreign("nameless", ""),
        Foreign("letter_alone", "f"),
        Foreign("leading_zero", "f00"),
        Foreign("leading_zero_1", "f01"),
        Foreign("sign", "f+1"),
        Foreign("negative", "f-1"),
        Foreign("suffix", "f0x"),
        Foreign("space", "f 0"),
        Foreign("upper_case", "F0"),
        Foreign("beyond_32_bits", "f4294967296"),
        Foreign("long_number", "f00000000000"),
        Foreign("longer_number", "f99999999999999999999"),
        Symbol("escaped", {"\x1b[0m", STT_FUNC, STB_GLOBAL, kText, 48, 8},
               "object 0: symbol \"\\x1b[0m\" is defined, and none of a "
               "module's"),
        Symbol("function_beyond", {"f1", STT_FUNC, STB_GLOBAL, kText, 48, 8},
               "object 0: defines f1 of 1 functions"),
        Symbol("function_most",
               {"f4294967295", STT_FUNC, STB_GLOBAL, kText, 48, 8},
               "object 0: defines f4294967295 of 1 functions"),
        Symbol("body_beyond", {"b1", STT_FUNC, STB_GLOBAL, kText, 48, 8},
               "object 0: defines b1 of 1 functions"),
        Symbol("trampoline_beyond", {"e1", STT_FUNC, STB_GLOBAL, kText, 48, 8},
               "object 0: defines e1 of 1 types"),
        Symbol("thunk_beyond", {"t1", STT_FUNC, STB_GLOBAL, kText, 48, 8},
               "object 0: defines t1 of 1 types"),
        Symbol("wrapper_beyond", {"p1", STT_FUNC, STB_GLOBAL, kText, 48, 8},
               "object 0: defines p1 of 1 types"),
        Symbol("function_twice", {"f0", STT_FUNC, STB_GLOBAL, kText, 48, 8},
               "object 0: defines f0, which is already defined"),
        Symbol("trampoline_twice", {"e0", STT_FUNC, STB_GLOBAL, kText, 48, 8},
               "object 0: defines e0, which is already defined"),
        Symbol("thunk_twice", {"t0", STT_FUNC, STB_GLOBAL, kText, 48, 8},
               "object 0: defines t0, which is already defined"),
        Symbol("overlap", {"b0", STT_FUNC, STB_GLOBAL, kText, 15, 8},
               "the code of functions 0 and 0 overlaps"),
        Symbol("same_place", {"b0", STT_FUNC, STB_GLOBAL, kText, 0, 8},
               "the code of functions 0 and 0 overlaps"),
        Symbol("local_function_of_any_name",
               {"main", STT_FUNC, STB_LOCAL, kText, 48, 8}, ""),
        Needed("abort", "abort"),
        Needed("memcmp", "memcmp"),
        Needed("memcpy_like", "memcpyx"),
        Needed("global_offset_table", "_GLOBAL_OFFSET_TABLE_"),
        Needed("wrapper", "p0"),
        Needed("zero_padded", "f00"),
        Needed("empty_name", ""),
        Symbol("needs_function_beyond", {"f1"},
               "object 0: needs f1, which is defined in no object"),
        Symbol("needs_body", {"b0"},
               "object 0: needs b0, which is defined in no object"),
        Symbol("needs_trampoline_beyond", {"e7"},
               "object 0: needs e7, which is defined in no object"),
        Symbol("needs_thunk_beyond", {"t4294967295"},
               "object 0: needs t4294967295, which is defined in no object"),
        Symbol("needs_its_own", {"f0"}, ""),
        Entries("name_beyond",
                [](auto& s) { s[1].st_name = 40; },
                "object 0: has the name of symbol 1 at 40, outside the table "
                "of names"),
        Entries("name_most",
                [](auto& s) { s[3].st_name = 0xffffffff; },
                "object 0: has the name of symbol 3 at 4294967295, outside the "
                "table of names"),
        Entries("first_entry_is_skipped",
                [](auto& s) { s[0].st_info = 0xff; }, ""),
        Entries("function_missing",
                [](auto& s) { s[1] = Elf64_Sym{}; s[1].st_shndx = SHN_ABS; },
                "f0 is defined in no object"),
        Entries("trampoline_missing",
                [](auto& s) { s[2] = Elf64_Sym{}; s[2].st_shndx = SHN_ABS; },
                "e0 is defined in no object"),
        Entries("thunk_missing",
                [](auto& s) { s[3] = Elf64_Sym{}; s[3].st_shndx = SHN_ABS; },
                "t0 is defined in no object"),
    }),
    RowName);

// --- Relocations
// --------------------------------------------------------------

// Symbols 4 and 5 are the section of constants and a file's name.
Row Relocation(std::string name, ElfWriter::Relocation relocation,
               const std::string& message) {
  return {
      std::move(name),
      [relocation](ElfWriter& writer) {
        writer.symbols.push_back({"", STT_SECTION, STB_LOCAL, kRodata, 0, 0});
        writer.symbols.push_back({"x", STT_FILE, STB_LOCAL, SHN_ABS, 0, 0});
        writer.relocations = {relocation};
      },
      message.empty()
          ? message
          : absl::StrCat("object 0: section \"",
                         relocation.section == kText ? ".text" : ".rodata",
                         "\", relocation 0 at ", relocation.offset, ": ",
                         message)};
}

Row Unsupported(std::string name, uint32_t type, absl::string_view type_name) {
  return Relocation(
      std::move(name), {kText, 8, type, 1, 0},
      absl::StrCat("type ", type, " (", type_name, ") is not supported"));
}

constexpr int64_t kMost = std::numeric_limits<int64_t>::max();
constexpr int64_t kLeast = std::numeric_limits<int64_t>::min();
constexpr int64_t kMost32 = std::numeric_limits<int32_t>::max();
constexpr int64_t kLeast32 = std::numeric_limits<int32_t>::min();

// f0 is one page after the constants, at 4096 in a mapping of 8192 bytes.
INSTANTIATE_TEST_SUITE_P(
    Relocations, Refusal,
    testing::ValuesIn<Row>({
        Relocation("pc32", {kText, 60, R_X86_64_PC32, 4, 0}, ""),
        Relocation("plt32", {kRodata, 12, R_X86_64_PLT32, 1, 0}, ""),
        Relocation("r64", {kRodata, 8, R_X86_64_64, 1, 0}, ""),
        Relocation("pc64", {kText, 56, R_X86_64_PC64, 1, kMost32 * 2}, ""),
        Unsupported("none", R_X86_64_NONE, "unknown"),
        Unsupported("r32", R_X86_64_32, "R_X86_64_32"),
        Unsupported("r32s", R_X86_64_32S, "R_X86_64_32S"),
        Unsupported("gotpcrel", R_X86_64_GOTPCREL, "R_X86_64_GOTPCREL"),
        Unsupported("gotpcrelx", R_X86_64_GOTPCRELX, "R_X86_64_GOTPCRELX"),
        Unsupported("rex_gotpcrelx", R_X86_64_REX_GOTPCRELX,
                    "R_X86_64_REX_GOTPCRELX"),
        Unsupported("tls", R_X86_64_TLSGD, "unknown"),
        Unsupported("most", 0xffffffff, "unknown"),
        Relocation("place_beyond_32", {kText, 61, R_X86_64_PC32, 1, 0},
                   "is outside the section's 64 bytes"),
        Relocation("place_beyond_64", {kText, 57, R_X86_64_64, 1, 0},
                   "is outside the section's 64 bytes"),
        Relocation("place_at_end", {kRodata, 16, R_X86_64_PC32, 1, 0},
                   "is outside the section's 16 bytes"),
        Relocation("place_most", {kText, ~uint64_t{0}, R_X86_64_PC32, 1, 0},
                   "is outside the section's 64 bytes"),
        Relocation("place_overflows",
                   {kText, ~uint64_t{0} - 3, R_X86_64_PC32, 1, 0},
                   "is outside the section's 64 bytes"),
        Relocation("symbol_beyond", {kText, 0, R_X86_64_PC32, 6, 0},
                   "symbol 6 of 6"),
        Relocation("symbol_most", {kText, 0, R_X86_64_PC32, 0xffffffff, 0},
                   "symbol 4294967295 of 6"),
        Relocation("no_symbol", {kText, 0, R_X86_64_PC32, 0, 0},
                   "symbol 0 is nothing that is loaded"),
        Relocation("absolute", {kText, 0, R_X86_64_64, 5, 0},
                   "symbol 5 is nothing that is loaded"),
        Relocation("most_that_fits", {kText, 0, R_X86_64_PC32, 1, kMost32}, ""),
        Relocation("one_more", {kText, 0, R_X86_64_PC32, 1, kMost32 + 1},
                   "the value 2147483648 does not fit 32 bits"),
        Relocation("least_that_fits", {kText, 0, R_X86_64_PLT32, 1, kLeast32},
                   ""),
        Relocation("one_less", {kText, 0, R_X86_64_PLT32, 1, kLeast32 - 1},
                   "the value -2147483649 does not fit 32 bits"),
        Relocation("addend_overflows", {kRodata, 0, R_X86_64_PC32, 1, kMost},
                   "the addend 9223372036854775807 overflows"),
        Relocation("addend_underflows", {kText, 4, R_X86_64_PC64, 1, kLeast},
                   "the addend -9223372036854775808 overflows"),
        Relocation("address_overflows", {kText, 0, R_X86_64_64, 1, kMost},
                   "the addend 9223372036854775807 overflows"),
        Relocation("address_at_end", {kText, 0, R_X86_64_64, 1, 4096}, ""),
        Relocation("address_beyond", {kText, 0, R_X86_64_64, 1, 4097},
                   "the addend 4097 leads out of the mapping"),
        Relocation("address_at_begin", {kText, 0, R_X86_64_64, 1, -4096}, ""),
        Relocation("address_before", {kText, 0, R_X86_64_64, 1, -4097},
                   "the addend -4097 leads out of the mapping"),
    }),
    RowName);

// --- Several objects, and the request
// -----------------------------------------

TEST(RefusalTest, NamesTheObject) {
  const std::string object = SmallObject().Write();
  EXPECT_EQ(LoadStatus({object, object}, ExpectedOfSmallObject()).message(),
            "object 1: defines f0, which is already defined");
  EXPECT_EQ(LoadStatus({object, "x"}, ExpectedOfSmallObject()).message(),
            "object 1: is 1 bytes long, which holds no ELF header");
}

TEST(RefusalTest, DefinesNoImport) {
  ExpectedSymbols expected = ExpectedOfSmallObject();
  expected.imported_functions = 1;
  EXPECT_EQ(LoadStatus({SmallObject().Write()}, expected).message(),
            "object 0: defines f0, which is imported");
  ElfWriter writer = SmallObject();
  writer.symbols[0] = {"f0"};
  EXPECT_EQ(LoadStatus({writer.Write()}, expected).message(),
            "object 0: needs f0, which is defined in no object");
}

TEST(RefusalTest, WantsEveryFunction) {
  EXPECT_EQ(LoadStatus({}, ExpectedOfSmallObject()).message(),
            "f0 is defined in no object");
  EXPECT_EQ(
      LoadStatus({SmallObject().Write()}, ExpectedOfLlvmObject()).message(),
      "f1 is defined in no object");
  EXPECT_EQ(LoadStatus({TestObject("first")}, ExpectedOfTwoObjects()).message(),
            "f2 is defined in no object");
}

TEST(RefusalTest, WantsConsistentExpectations) {
  ExpectedSymbols expected = ExpectedOfSmallObject();
  expected.imported_functions = 2;
  EXPECT_EQ(LoadStatus({}, expected).message(),
            "the expected symbols are 1 functions, 2 of them imported, with 1 "
            "types");
  expected = ExpectedOfSmallObject();
  expected.function_types = {};
  EXPECT_EQ(LoadStatus({}, expected).message(),
            "the expected symbols are 1 functions, 0 of them imported, with 0 "
            "types");
}

struct RedirectRow {
  std::string name;
  std::vector<Redirect> redirects;
  std::string message;
};

class RedirectRefusal : public testing::TestWithParam<RedirectRow> {};

TEST_P(RedirectRefusal, NamesTheFunction) {
  LoadOptions options;
  options.redirects = GetParam().redirects;
  const absl::Status status =
      LoadStatus({TestObject("first"), TestObject("second")},
                 ExpectedOfTwoObjects(), options);
  EXPECT_EQ(status.message(), GetParam().message);
}

INSTANTIATE_TEST_SUITE_P(
    Redirects, RedirectRefusal,
    testing::ValuesIn<RedirectRow>({
        {"all_of_a_type", {{1, 1}, {2, 2}, {6, 3}, {9, 4}, {10, 5}}, ""},
        {"imported",
         {{0, 1}},
         "function 0 cannot be redirected: it is not one of the module's own"},
        {"beyond",
         {{1, 1}, {11, 1}},
         "function 11 cannot be redirected: it is not one of the module's own"},
        {"out_of_order",
         {{2, 1}, {1, 1}},
         "the redirect of function 1 is out of order"},
        {"twice",
         {{2, 1}, {2, 1}},
         "the redirect of function 2 is out of order"},
        {"without_wrapper",
         {{2, 1}, {3, 1}},
         "function 3 cannot be redirected: p1 is defined in no object"},
    }),
    [](const auto& row) { return row.param.name; });

TEST(RefusalTest, WantsTheTypeOfARedirectedFunction) {
  const uint32_t types[] = {1};
  ExpectedSymbols expected = ExpectedOfSmallObject();
  expected.function_types = types;
  const Redirect redirects[] = {{0, 1}};
  LoadOptions options;
  options.redirects = redirects;
  EXPECT_EQ(LoadStatus({SmallObject().Write()}, expected, options).message(),
            "function 0 is of type 1 of 1");
}

}  // namespace
}  // namespace callgate::native
