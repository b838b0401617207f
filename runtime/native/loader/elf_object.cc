#include "runtime/native/loader/elf_object.h"

#include <elf.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

namespace callgate::native {
namespace {

// elf.h of Debian bookworm does not know it.
constexpr uint32_t kAddressSignificance = 0x6fff4c03;  // SHT_LLVM_ADDRSIG

template <typename... Parts>
absl::Status Refuse(const Parts&... parts) {
  return absl::InvalidArgumentError(absl::StrCat(parts...));
}

bool IsWithin(absl::string_view file, uint64_t offset, uint64_t size) {
  return offset <= file.size() && size <= file.size() - offset;
}

bool IsOneOf(absl::string_view name, absl::string_view family) {
  return absl::StartsWith(name, family) &&
         (name.size() == family.size() || name[family.size()] == '.');
}

absl::Status CheckHeader(absl::string_view file) {
  if (file.size() < sizeof(Elf64_Ehdr)) {
    return Refuse("is ", file.size(), " bytes long, which holds no ELF header");
  }
  const auto header = EntryAt<Elf64_Ehdr>(file, 0);
  if (std::memcmp(header.e_ident, ELFMAG, SELFMAG) != 0) {
    return Refuse("is no ELF file");
  }
  if (header.e_ident[EI_CLASS] != ELFCLASS64 ||
      header.e_ident[EI_DATA] != ELFDATA2LSB ||
      header.e_ident[EI_VERSION] != EV_CURRENT ||
      header.e_ident[EI_OSABI] != ELFOSABI_SYSV ||
      header.e_machine != EM_X86_64 || header.e_version != EV_CURRENT) {
    return Refuse("is not a 64-bit x86-64 ELF file of the System V ABI");
  }
  if (header.e_type != ET_REL) {
    return Refuse("is of ELF type ", header.e_type,
                  ", not a relocatable file (1)");
  }
  if (header.e_shentsize != sizeof(Elf64_Shdr)) {
    return Refuse("has section headers of ", header.e_shentsize,
                  " bytes instead of ", sizeof(Elf64_Shdr));
  }
  // A count of zero stands for one that is elsewhere because of its size.
  if (header.e_shnum == 0 || header.e_shnum >= SHN_LORESERVE) {
    return Refuse("has no sections, or more than ", SHN_LORESERVE - 1);
  }
  const uint64_t table_bytes = uint64_t{header.e_shnum} * sizeof(Elf64_Shdr);
  if (!IsWithin(file, header.e_shoff, table_bytes)) {
    return Refuse("has its section headers outside the file, at ",
                  header.e_shoff);
  }
  if (header.e_shstrndx >= header.e_shnum) {
    return Refuse("has its section names in section ", header.e_shstrndx,
                  " of ", header.e_shnum);
  }
  return absl::OkStatus();
}

// What a section is for, by its type, flags and name; or why it must not be.
absl::StatusOr<SectionUse> Classify(const Elf64_Shdr& section,
                                    absl::string_view name) {
  const auto refuse = [&name](const auto&... why) {
    return Refuse("section ", Quoted(name), " ", why...);
  };
  switch (section.sh_type) {
    case SHT_INIT_ARRAY:
    case SHT_FINI_ARRAY:
    case SHT_PREINIT_ARRAY:
      return refuse("lists constructors or destructors");
    case SHT_REL:
      return refuse("holds relocations without addends");
    case SHT_GROUP:
      return refuse("is a section group");
    default:
      break;
  }
  if ((section.sh_flags & SHF_TLS) != 0) {
    return refuse("is thread-local data");
  }
  if ((section.sh_flags & SHF_COMPRESSED) != 0) {
    return refuse("is compressed");
  }
  const bool is_code = (section.sh_flags & SHF_EXECINSTR) != 0;
  if (is_code && !IsOneOf(name, ".text")) {
    return refuse("is executable and not .text");
  }
  if (name == ".eh_frame" || IsOneOf(name, ".note")) {
    return SectionUse::kIgnored;
  }
  if ((section.sh_flags & SHF_ALLOC) == 0) {
    switch (section.sh_type) {
      case SHT_PROGBITS:
      case SHT_NOTE:
      case SHT_STRTAB:
      case SHT_SYMTAB:
      case SHT_RELA:
      case kAddressSignificance:
        return SectionUse::kIgnored;
      default:
        return refuse("is of the unknown type ", section.sh_type);
    }
  }
  if ((section.sh_flags & SHF_WRITE) != 0) {
    // The assembler makes an empty .data and .bss of nothing.
    if (section.sh_size == 0) return SectionUse::kIgnored;
    return refuse("is writable data");
  }
  if (!is_code && !IsOneOf(name, ".rodata")) {
    return refuse("would be loaded, and is neither .text nor .rodata");
  }
  if (section.sh_type != SHT_PROGBITS) {
    return refuse("would be loaded, and is of type ", section.sh_type);
  }
  constexpr uint64_t kKnown =
      SHF_ALLOC | SHF_EXECINSTR | SHF_MERGE | SHF_STRINGS;
  if ((section.sh_flags & ~kKnown) != 0) {
    return refuse("has the unknown flags 0x",
                  absl::Hex(section.sh_flags & ~kKnown));
  }
  const uint64_t align = section.sh_addralign;
  if (align > kSectionAlignMax || (align & (align - 1)) != 0) {
    return refuse("has the alignment ", align,
                  ", which is not a power of two up to ", kSectionAlignMax);
  }
  return is_code ? SectionUse::kCode : SectionUse::kConstants;
}

class Reader {
 public:
  explicit Reader(absl::string_view file) : file_(file) {}

  absl::StatusOr<ElfObject> Read() {
    absl::Status status = CheckHeader(file_);
    if (status.ok()) status = ReadSections();
    if (status.ok()) status = ReadTables();
    if (!status.ok()) return status;
    return std::move(object_);
  }

 private:
  absl::Status ReadSections() {
    const auto header = EntryAt<Elf64_Ehdr>(file_, 0);
    headers_.resize(header.e_shnum);
    std::memcpy(headers_.data(), file_.data() + header.e_shoff,
                headers_.size() * sizeof(Elf64_Shdr));
    absl::string_view names;
    absl::Status status =
        ReadStrings(header.e_shstrndx, "the sections' names", names);
    if (!status.ok()) return status;

    object_.sections.resize(headers_.size());
    for (size_t i = 0; i < headers_.size(); ++i) {
      const Elf64_Shdr& from = headers_[i];
      ElfSection& section = object_.sections[i];
      if (from.sh_type == SHT_NULL) continue;
      if (from.sh_name >= names.size()) {
        return Refuse("section ", i, " has its name at ", from.sh_name,
                      ", outside the table of names");
      }
      section.name = NameAt(names, from.sh_name);
      const absl::StatusOr<SectionUse> use = Classify(from, section.name);
      if (!use.ok()) return use.status();
      section.use = *use;
      if (*use == SectionUse::kIgnored) continue;
      status = TakeBytes(from, section.name, section.bytes);
      if (!status.ok()) return status;
      section.align =
          static_cast<uint32_t>(std::max<uint64_t>(from.sh_addralign, 1));
    }
    return absl::OkStatus();
  }

  absl::Status ReadTables() {
    bool has_symbols = false;
    size_t symbol_table = 0;
    for (size_t i = 0; i < headers_.size(); ++i) {
      if (headers_[i].sh_type != SHT_SYMTAB) continue;
      if (has_symbols) return Refuse("has two symbol tables");
      has_symbols = true;
      symbol_table = i;
      absl::Status status =
          TakeTable(i, sizeof(Elf64_Sym), "symbols", object_.symbols);
      if (!status.ok()) return status;
      status =
          ReadStrings(headers_[i].sh_link, "the symbols' names", object_.names);
      if (!status.ok()) return status;
    }
    for (size_t i = 0; i < headers_.size(); ++i) {
      const Elf64_Shdr& header = headers_[i];
      if (header.sh_type != SHT_RELA) continue;
      if (header.sh_info >= headers_.size()) {
        return Refuse("section ", Quoted(object_.sections[i].name),
                      " relocates section ", header.sh_info, " of ",
                      headers_.size());
      }
      if (object_.sections[header.sh_info].use == SectionUse::kIgnored) {
        continue;
      }
      if (!has_symbols || header.sh_link != symbol_table) {
        return Refuse("section ", Quoted(object_.sections[i].name),
                      " relocates by section ", header.sh_link,
                      ", which is not the symbol table");
      }
      RelocationTable table;
      table.section = header.sh_info;
      absl::Status status =
          TakeTable(i, sizeof(Elf64_Rela), "relocations", table.entries);
      if (!status.ok()) return status;
      object_.relocations.push_back(table);
    }
    return absl::OkStatus();
  }

  // A table of fixed-size entries.
  absl::Status TakeTable(size_t index, uint64_t entry_bytes,
                         absl::string_view what, absl::string_view& bytes) {
    const Elf64_Shdr& header = headers_[index];
    const absl::string_view name = object_.sections[index].name;
    if (header.sh_entsize != entry_bytes || header.sh_size % entry_bytes != 0) {
      return Refuse("section ", Quoted(name), " has ", what, " of ",
                    header.sh_entsize, " bytes in ", header.sh_size,
                    " bytes; one is ", entry_bytes);
    }
    return TakeBytes(header, name, bytes);
  }

  absl::Status TakeBytes(const Elf64_Shdr& header, absl::string_view name,
                         absl::string_view& bytes) {
    if (!IsWithin(file_, header.sh_offset, header.sh_size)) {
      return Refuse("section ", Quoted(name),
                    " is outside the file: ", header.sh_size, " bytes at ",
                    header.sh_offset);
    }
    // Cannot overflow: both are at most the file's size.
    taken_ += header.sh_size;
    if (taken_ > file_.size()) {
      return Refuse("section ", Quoted(name), " overlaps another one");
    }
    bytes = file_.substr(header.sh_offset, header.sh_size);
    return absl::OkStatus();
  }

  // Strings are read a bounded piece at a time, so they may be shared.
  absl::Status ReadStrings(uint32_t index, absl::string_view what,
                           absl::string_view& bytes) {
    if (index >= headers_.size() || headers_[index].sh_type != SHT_STRTAB) {
      return Refuse("has ", what, " in section ", index,
                    ", which is no string table");
    }
    const Elf64_Shdr& header = headers_[index];
    if (!IsWithin(file_, header.sh_offset, header.sh_size)) {
      return Refuse("has ", what, " outside the file: ", header.sh_size,
                    " bytes at ", header.sh_offset);
    }
    bytes = file_.substr(header.sh_offset, header.sh_size);
    if (bytes.empty() || bytes.back() != '\0') {
      return Refuse("has ", what, " in a table that does not end with zero");
    }
    return absl::OkStatus();
  }

  absl::string_view file_;
  std::vector<Elf64_Shdr> headers_;
  uint64_t taken_ = 0;
  ElfObject object_;
};

}  // namespace

absl::StatusOr<ElfObject> ReadElfObject(absl::string_view file) {
  return Reader(file).Read();
}

absl::string_view NameAt(absl::string_view table, uint32_t offset) {
  const absl::string_view rest = table.substr(offset, kNameBytesMax);
  return rest.substr(0, rest.find('\0'));
}

std::string Quoted(absl::string_view name) {
  return absl::StrCat("\"", absl::CHexEscape(name), "\"");
}

}  // namespace callgate::native
