// One x86-64 ELF relocatable file, read as hostile bytes.
//
// Reading checks everything that is true of a file by itself: the header, every
// section's place, kind, flags and alignment, and the shape of the symbol and
// relocation tables. The entries of those tables are checked by whoever walks
// them (object_loader.cc). What a file made by our compiler never contains is
// refused by name; nothing that could matter at run time is skipped silently.
//
// Everything here is views into the caller's bytes, which must outlive it, and
// plain data: use it from one thread at a time. An error is InvalidArgument,
// and no byte of the file reaches its message unescaped.

#ifndef CALLGATE_RUNTIME_NATIVE_LOADER_ELF_OBJECT_H_
#define CALLGATE_RUNTIME_NATIVE_LOADER_ELF_OBJECT_H_

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "runtime/check.h"

namespace callgate::native {

enum class SectionUse : uint8_t {
  kIgnored,    // debug information, unwind tables, notes, empty data
  kCode,       // .text and .text.*
  kConstants,  // .rodata and .rodata.*
};

struct ElfSection {
  SectionUse use = SectionUse::kIgnored;
  absl::string_view name;  // its beginning, see NameAt
  // The next two are of used sections only.
  absl::string_view bytes;
  uint32_t align = 1;  // a power of two, at most kSectionAlignMax
  // Where the loader puts it; the file says nothing about it.
  uint32_t place = 0;
};

inline constexpr uint32_t kSectionAlignMax = 4096;

// The relocations of one used section: whole Elf64_Rela entries.
struct RelocationTable {
  uint32_t section = 0;
  absl::string_view entries;
};

struct ElfObject {
  std::vector<ElfSection> sections;  // by the file's section index
  std::vector<RelocationTable> relocations;
  absl::string_view symbols;  // whole Elf64_Sym entries
  // The symbols' names. Ends with a zero byte unless there are no symbols.
  absl::string_view names;
};

// The bytes read through sections, symbols and relocations are together at most
// the file's, so that work on them is linear in its size: files whose tables
// overlap are refused.
absl::StatusOr<ElfObject> ReadElfObject(absl::string_view file);

// Entry number `index` of a table, which may lie at any address. `index` is
// within the table.
template <typename Entry>
Entry EntryAt(absl::string_view table, size_t index) {
  CALLGATE_DCHECK(index < table.size() / sizeof(Entry), "read in bounds");
  Entry entry;
  std::memcpy(&entry, table.data() + index * sizeof(Entry), sizeof(Entry));
  return entry;
}

// The string at `offset` in a string table that ends with a zero byte; at most
// kNameBytesMax of it, which no name that means anything to us reaches.
// `offset` is within the table.
absl::string_view NameAt(absl::string_view table, uint32_t offset);
inline constexpr uint32_t kNameBytesMax = 64;

// In quotes, for a message.
std::string Quoted(absl::string_view name);

}  // namespace callgate::native

#endif  // CALLGATE_RUNTIME_NATIVE_LOADER_ELF_OBJECT_H_
