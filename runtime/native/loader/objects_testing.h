// Objects for the tests: those made from testdata/*.s, and ELF files written
// field by field so that any field can be wrong.

#ifndef CALLGATE_RUNTIME_NATIVE_LOADER_OBJECTS_TESTING_H_
#define CALLGATE_RUNTIME_NATIVE_LOADER_OBJECTS_TESTING_H_

#include <elf.h>

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "runtime/native/loader/object_loader.h"

namespace callgate::native {

// testdata/<name>.o
std::string TestObject(absl::string_view name);

// Of the module that first.s and second.s are the objects of.
ExpectedSymbols ExpectedOfTwoObjects();
// Of from_llvm.s, and of SmallObject().
ExpectedSymbols ExpectedOfLlvmObject();
ExpectedSymbols ExpectedOfSmallObject();

// Writes a relocatable file: the header, the sections' contents in order, and
// the section headers. Sections are numbered from 1 in order of their adding;
// .symtab and .strtab (the names of symbols and sections) follow them, then the
// relocation sections.
class ElfWriter {
 public:
  struct Section {
    std::string name;
    uint32_t type = SHT_PROGBITS;
    uint64_t flags = 0;
    std::string content;
    uint64_t align = 1;
  };
  struct Symbol {
    std::string name;
    unsigned char type = STT_NOTYPE;
    unsigned char binding = STB_GLOBAL;
    uint16_t section = SHN_UNDEF;
    uint64_t value = 0;
    uint64_t size = 0;
  };
  struct Relocation {
    uint16_t section = 0;
    uint64_t offset = 0;
    uint32_t type = 0;
    uint32_t symbol = 0;
    int64_t addend = 0;
  };

  std::vector<Section> sections;
  std::vector<Symbol> symbols;  // numbered from 1
  std::vector<Relocation> relocations;

  // The last word before the file is put together.
  std::function<void(Elf64_Ehdr&)> change_header;
  std::function<void(std::vector<Elf64_Shdr>&)> change_sections;
  std::function<void(std::vector<Elf64_Sym>&)> change_symbols;

  // Where things are in `change_sections`.
  size_t symbol_table() const { return sections.size() + 1; }
  size_t strings() const { return sections.size() + 2; }
  size_t first_relocations() const { return sections.size() + 3; }

  std::string Write() const;
};

// One function that returns 5, its type's trampoline and thunk, and sixteen
// bytes of constants. kText and kRodata are its sections; the symbols are 1:
// f0, 2: e0, 3: t0.
ElfWriter SmallObject();
inline constexpr uint16_t kText = 1;
inline constexpr uint16_t kRodata = 2;
inline constexpr uint64_t kSmallTextBytes = 64;

// Many functions of one type in one .text, with calls and constants between
// them as a compiler leaves them.
std::string SyntheticObject(uint32_t functions, uint32_t bytes_each);

}  // namespace callgate::native

#endif  // CALLGATE_RUNTIME_NATIVE_LOADER_OBJECTS_TESTING_H_
