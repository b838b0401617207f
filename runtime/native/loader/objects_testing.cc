#include "runtime/native/loader/objects_testing.h"

#include <cstring>
#include <fstream>
#include <iterator>
#include <map>
#include <sstream>

#include "absl/strings/str_cat.h"
#include "runtime/check.h"

namespace callgate::native {
namespace {

template <typename T>
void Append(std::string& to, const T& value) {
  char bytes[sizeof(T)];
  std::memcpy(bytes, &value, sizeof(T));
  to.append(bytes, sizeof(T));
}

uint32_t AddName(std::string& names, const std::string& name) {
  const auto at = static_cast<uint32_t>(names.size());
  names.append(name);
  names.push_back('\0');
  return at;
}

// The writer's sections with their contents, before they have places.
struct Piece {
  Elf64_Shdr header{};
  std::string content;
};

Piece MakePiece(uint32_t name, uint32_t type, std::string content) {
  Piece piece;
  piece.header.sh_name = name;
  piece.header.sh_type = type;
  piece.header.sh_size = content.size();
  piece.header.sh_addralign = 1;
  piece.content = std::move(content);
  return piece;
}

constexpr uint32_t kTypesOfTwoObjects[] = {0, 0, 0, 1, 1, 1, 0, 1, 1, 0, 0};
constexpr uint32_t kTypeZero[] = {0, 0};

}  // namespace

std::string TestObject(absl::string_view name) {
  std::ifstream file(
      absl::StrCat("runtime/native/loader/testdata/", name, ".o"),
      std::ios::binary);
  CALLGATE_CHECK(file.good(), "the object is among the test's files");
  std::ostringstream bytes;
  bytes << file.rdbuf();
  return bytes.str();
}

ExpectedSymbols ExpectedOfTwoObjects() {
  ExpectedSymbols expected;
  expected.imported_functions = 1;
  expected.functions = 11;
  expected.types = 2;
  expected.function_types = kTypesOfTwoObjects;
  return expected;
}

ExpectedSymbols ExpectedOfLlvmObject() {
  ExpectedSymbols expected;
  expected.functions = 2;
  expected.types = 1;
  expected.function_types = kTypeZero;
  return expected;
}

ExpectedSymbols ExpectedOfSmallObject() {
  ExpectedSymbols expected;
  expected.functions = 1;
  expected.types = 1;
  expected.function_types = absl::MakeConstSpan(kTypeZero).first(1);
  return expected;
}

std::string ElfWriter::Write() const {
  std::string names(1, '\0');
  std::vector<Piece> pieces(1);  // the first is none
  for (const Section& section : sections) {
    Piece piece =
        MakePiece(AddName(names, section.name), section.type, section.content);
    piece.header.sh_flags = section.flags;
    piece.header.sh_addralign = section.align;
    pieces.push_back(std::move(piece));
  }

  std::vector<Elf64_Sym> table(1);
  for (const Symbol& symbol : symbols) {
    Elf64_Sym entry{};
    entry.st_name = AddName(names, symbol.name);
    entry.st_info =
        static_cast<unsigned char>((symbol.binding << 4) | symbol.type);
    entry.st_other = STV_HIDDEN;
    entry.st_shndx = symbol.section;
    entry.st_value = symbol.value;
    entry.st_size = symbol.size;
    table.push_back(entry);
  }
  if (change_symbols) change_symbols(table);
  std::string symbol_bytes;
  for (const Elf64_Sym& entry : table) Append(symbol_bytes, entry);
  Piece symbol_piece =
      MakePiece(AddName(names, ".symtab"), SHT_SYMTAB, symbol_bytes);
  symbol_piece.header.sh_entsize = sizeof(Elf64_Sym);
  symbol_piece.header.sh_link = static_cast<uint32_t>(strings());

  std::map<uint16_t, std::string> relocation_bytes;
  for (const Relocation& relocation : relocations) {
    Elf64_Rela entry{};
    entry.r_offset = relocation.offset;
    entry.r_info = (uint64_t{relocation.symbol} << 32) | relocation.type;
    entry.r_addend = relocation.addend;
    Append(relocation_bytes[relocation.section], entry);
  }
  std::vector<Piece> relocation_pieces;
  for (const auto& [section, bytes] : relocation_bytes) {
    Piece piece = MakePiece(AddName(names, ".rela"), SHT_RELA, bytes);
    piece.header.sh_entsize = sizeof(Elf64_Rela);
    piece.header.sh_link = static_cast<uint32_t>(symbol_table());
    piece.header.sh_info = section;
    relocation_pieces.push_back(std::move(piece));
  }

  const uint32_t strings_name = AddName(names, ".strtab");
  pieces.push_back(std::move(symbol_piece));
  pieces.push_back(MakePiece(strings_name, SHT_STRTAB, names));
  pieces.insert(pieces.end(),
                std::make_move_iterator(relocation_pieces.begin()),
                std::make_move_iterator(relocation_pieces.end()));

  std::string body;
  std::vector<Elf64_Shdr> headers;
  for (Piece& piece : pieces) {
    body.resize((body.size() + 7) / 8 * 8);
    if (piece.header.sh_type != SHT_NULL) {
      piece.header.sh_offset = sizeof(Elf64_Ehdr) + body.size();
    }
    body.append(piece.content);
    headers.push_back(piece.header);
  }
  body.resize((body.size() + 7) / 8 * 8);
  if (change_sections) change_sections(headers);

  Elf64_Ehdr header{};
  std::memcpy(header.e_ident, ELFMAG, SELFMAG);
  header.e_ident[EI_CLASS] = ELFCLASS64;
  header.e_ident[EI_DATA] = ELFDATA2LSB;
  header.e_ident[EI_VERSION] = EV_CURRENT;
  header.e_type = ET_REL;
  header.e_machine = EM_X86_64;
  header.e_version = EV_CURRENT;
  header.e_ehsize = sizeof(Elf64_Ehdr);
  header.e_shentsize = sizeof(Elf64_Shdr);
  header.e_shnum = static_cast<uint16_t>(headers.size());
  header.e_shstrndx = static_cast<uint16_t>(strings());
  header.e_shoff = sizeof(Elf64_Ehdr) + body.size();
  if (change_header) change_header(header);

  std::string file;
  Append(file, header);
  file.append(body);
  for (const Elf64_Shdr& section : headers) Append(file, section);
  return file;
}

ElfWriter SmallObject() {
  std::string text = "\xb8\x05";  // mov eax, 5; ret
  text.append({'\0', '\0', '\0', '\xc3'});
  text.resize(kSmallTextBytes, '\xc3');
  ElfWriter writer;
  writer.sections = {
      {".text", SHT_PROGBITS, SHF_ALLOC | SHF_EXECINSTR, text, 16},
      {".rodata", SHT_PROGBITS, SHF_ALLOC, std::string(16, 'r'), 16},
  };
  writer.symbols = {
      {"f0", STT_FUNC, STB_GLOBAL, kText, 0, 16},
      {"e0", STT_FUNC, STB_GLOBAL, kText, 16, 16},
      {"t0", STT_FUNC, STB_GLOBAL, kText, 32, 16},
  };
  return writer;
}

std::string SyntheticObject(uint32_t functions, uint32_t bytes_each) {
  // What LLVM leaves in a function of this size: about one relocation for every
  // forty bytes.
  constexpr uint32_t kBytesPerRelocation = 40;
  const uint64_t text_bytes = uint64_t{functions + 2} * bytes_each;
  ElfWriter writer;
  writer.sections = {
      {".text", SHT_PROGBITS, SHF_ALLOC | SHF_EXECINSTR,
       std::string(text_bytes, '\xc3'), 16},
      {".rodata", SHT_PROGBITS, SHF_ALLOC, std::string(64 << 10, 'r'), 16},
  };
  writer.symbols.push_back({"", STT_SECTION, STB_LOCAL, kRodata, 0, 0});
  writer.symbols.push_back({"memcpy"});
  constexpr uint32_t kFirst = 3;  // the number of f0
  for (uint32_t i = 0; i < functions; ++i) {
    const uint64_t begin = uint64_t{i} * bytes_each;
    writer.symbols.push_back(
        {absl::StrCat("f", i), STT_FUNC, STB_GLOBAL, kText, begin, bytes_each});
    for (uint32_t at = 16; at + 4 <= bytes_each; at += kBytesPerRelocation) {
      const uint32_t number = at / kBytesPerRelocation;
      if (number % 4 == 3) {
        writer.relocations.push_back({kText, begin + at, R_X86_64_PC32, 1,
                                      static_cast<int64_t>(i % 4096)});
      } else {
        const uint32_t callee = (i * 7919 + number * 104729) % functions;
        writer.relocations.push_back(
            {kText, begin + at, R_X86_64_PLT32, kFirst + callee, -4});
      }
    }
  }
  const uint64_t end = uint64_t{functions} * bytes_each;
  writer.symbols.push_back(
      {"e0", STT_FUNC, STB_GLOBAL, kText, end, bytes_each});
  writer.symbols.push_back(
      {"t0", STT_FUNC, STB_GLOBAL, kText, end + bytes_each, bytes_each});
  return writer.Write();
}

}  // namespace callgate::native
