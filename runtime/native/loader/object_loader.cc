// Two walks over the objects and one copy. The first walk reads the sections
// and gives each a place, so that the size of the mapping and every offset in
// it are known before there is one; the second walks the symbols, which become
// offsets. Then sections are copied and relocations applied, and the pages are
// sealed. All places are 32-bit offsets from the mapping's first byte: with the
// mapping bounded by kCodeBytesMost, the distance between two of them always
// fits a displacement, and only addends can make it overflow.
//
//   guard | .rodata of every object | .text of every object, stubs | guard
//
// The stubs: one per function of the C library that code may need, since the
// library may be out of a displacement's reach, then one per redirect.

#include "runtime/native/loader/object_loader.h"

#include <elf.h>

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <iterator>
#include <limits>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "runtime/check.h"
#include "runtime/native/loader/elf_object.h"

namespace callgate::native {
namespace {

constexpr uint8_t kTrapByte = 0xcc;  // int3
constexpr uint32_t kStubBytes = 16;

struct LibraryFunction {
  absl::string_view name;
  const void* address;
};

constexpr size_t kLibraryFunctions = 3;

const LibraryFunction* Library() {
  static const LibraryFunction kAll[kLibraryFunctions] = {
      {"memcpy",
       reinterpret_cast<const void*>(
           static_cast<void* (*)(void*, const void*, size_t)>(std::memcpy))},
      {"memmove",
       reinterpret_cast<const void*>(
           static_cast<void* (*)(void*, const void*, size_t)>(std::memmove))},
      {"memset", reinterpret_cast<const void*>(
                     static_cast<void* (*)(void*, int, size_t)>(std::memset))},
  };
  return kAll;
}

enum class SymbolKind : uint8_t {
  kFunction,
  kBody,
  kEntry,
  kThunk,
  kProbeWrapper,
};

struct IndexedName {
  SymbolKind kind;
  uint32_t index;
};

// A letter and a number without leading zeros; nothing for any other name.
std::optional<IndexedName> ParseName(absl::string_view name) {
  constexpr size_t kDigitsMax = 10;
  if (name.size() < 2 || name.size() > 1 + kDigitsMax) return std::nullopt;
  IndexedName parsed{};
  switch (name[0]) {
    case 'f':
      parsed.kind = SymbolKind::kFunction;
      break;
    case 'b':
      parsed.kind = SymbolKind::kBody;
      break;
    case 'e':
      parsed.kind = SymbolKind::kEntry;
      break;
    case 't':
      parsed.kind = SymbolKind::kThunk;
      break;
    case 'p':
      parsed.kind = SymbolKind::kProbeWrapper;
      break;
    default:
      return std::nullopt;
  }
  if (name[1] == '0' && name.size() > 2) return std::nullopt;
  uint64_t index = 0;
  for (const char c : name.substr(1)) {
    if (c < '0' || c > '9') return std::nullopt;
    index = index * 10 + static_cast<uint64_t>(c - '0');
  }
  if (index > std::numeric_limits<uint32_t>::max()) return std::nullopt;
  parsed.index = static_cast<uint32_t>(index);
  return parsed;
}

// The halves of the two bytes and of the word that elf.h packs.
uint32_t Binding(const Elf64_Sym& symbol) { return symbol.st_info >> 4; }
uint32_t Type(const Elf64_Sym& symbol) { return symbol.st_info & 0xf; }

absl::string_view RelocationName(uint32_t type) {
  switch (type) {
    case R_X86_64_32:
      return "R_X86_64_32";
    case R_X86_64_32S:
      return "R_X86_64_32S";
    case R_X86_64_GOTPCREL:
      return "R_X86_64_GOTPCREL";
    case R_X86_64_GOTPCRELX:
      return "R_X86_64_GOTPCRELX";
    case R_X86_64_REX_GOTPCRELX:
      return "R_X86_64_REX_GOTPCRELX";
    default:
      return "unknown";
  }
}

void Store32(uint8_t* at, uint32_t value) {
  std::memcpy(at, &value, sizeof(value));
}

void Store64(uint8_t* at, uint64_t value) {
  std::memcpy(at, &value, sizeof(value));
}

}  // namespace

// One use of LoadObjects.
class ObjectLinker {
 public:
  ObjectLinker(absl::Span<const absl::string_view> files,
               const ExpectedSymbols& expected, const LoadOptions& options)
      : files_(files),
        expected_(expected),
        redirects_(options.redirects),
        bytes_max_(options.code_bytes_max) {}

  absl::StatusOr<std::unique_ptr<const LoadedCode>> Link() {
    absl::Status status = CheckRequest();
    if (status.ok()) status = ReadFiles();
    if (status.ok()) status = LayOut();
    if (status.ok()) status = WalkSymbols();
    if (status.ok()) status = CheckDefined();
    if (status.ok()) status = ResolveUndefined();
    if (status.ok()) status = SortRanges();
    if (!status.ok()) return status;

    absl::StatusOr<CodeMapping> mapping =
        CodeMapping::Create(constant_bytes_, code_bytes_);
    if (!mapping.ok()) return mapping.status();
    base_ = mapping->data();
    Copy();
    WriteStubs();
    status = Relocate();
    if (status.ok()) status = mapping->Seal();
    if (!status.ok()) return status;
    return Finish(*std::move(mapping));
  }

 private:
  static constexpr uint32_t kNowhere = LoadedCode::kNowhere;

  struct Object {
    ElfObject elf;
    std::vector<uint32_t> targets;  // by symbol: what relocations refer to
  };

  // A symbol of one object that another one defines.
  struct Undefined {
    uint32_t object;
    uint32_t symbol;
    IndexedName name;
  };

  template <typename... Parts>
  static absl::Status Refuse(size_t object, const Parts&... parts) {
    return absl::InvalidArgumentError(
        absl::StrCat("object ", object, ": ", parts...));
  }

  absl::Status CheckRequest() {
    if (expected_.imported_functions > expected_.functions ||
        expected_.function_types.size() != expected_.functions) {
      return absl::InvalidArgumentError(absl::StrCat(
          "the expected symbols are ", expected_.functions, " functions, ",
          expected_.imported_functions, " of them imported, with ",
          expected_.function_types.size(), " types"));
    }
    for (size_t i = 0; i < redirects_.size(); ++i) {
      const uint32_t function = redirects_[i].function;
      if (function < expected_.imported_functions ||
          function >= expected_.functions) {
        return absl::InvalidArgumentError(absl::StrCat(
            "function ", function,
            " cannot be redirected: it is not one of the module's own"));
      }
      if (i > 0 && redirects_[i - 1].function >= function) {
        return absl::InvalidArgumentError(absl::StrCat(
            "the redirect of function ", function, " is out of order"));
      }
      if (expected_.function_types[function] >= expected_.types) {
        return absl::InvalidArgumentError(absl::StrCat(
            "function ", function, " is of type ",
            expected_.function_types[function], " of ", expected_.types));
      }
    }
    return absl::OkStatus();
  }

  absl::Status ReadFiles() {
    objects_.reserve(files_.size());
    for (size_t i = 0; i < files_.size(); ++i) {
      absl::StatusOr<ElfObject> elf = ReadElfObject(files_[i]);
      if (!elf.ok()) return Refuse(i, elf.status().message());
      objects_.push_back({*std::move(elf), {}});
    }
    return absl::OkStatus();
  }

  absl::Status LayOut() {
    uint64_t at = 0;
    if (!PlaceSections(SectionUse::kConstants, at)) return TooLarge();
    at = RoundUp(at, kPageBytes);
    constant_bytes_ = at;
    if (!PlaceSections(SectionUse::kCode, at)) return TooLarge();
    at = RoundUp(at, kStubBytes);
    library_stubs_ = static_cast<uint32_t>(at);
    redirect_stubs_ = library_stubs_ + kLibraryFunctions * kStubBytes;
    // There are fewer redirects than 32-bit numbers.
    at = redirect_stubs_ + uint64_t{kStubBytes} * redirects_.size();
    at = RoundUp(at, kPageBytes);
    if (at > BytesMax()) return TooLarge();
    code_bytes_ = at - constant_bytes_;
    return absl::OkStatus();
  }

  // False when they do not fit. `at` stays below twice the limit plus a file's
  // size, so nothing overflows.
  bool PlaceSections(SectionUse use, uint64_t& at) {
    for (Object& object : objects_) {
      for (ElfSection& section : object.elf.sections) {
        if (section.use != use) continue;
        at = RoundUp(at, section.align);
        if (at > BytesMax() || section.bytes.size() > BytesMax() - at) {
          return false;
        }
        section.place = static_cast<uint32_t>(at);
        at += section.bytes.size();
      }
    }
    return true;
  }

  uint64_t BytesMax() const { return std::min(bytes_max_, kCodeBytesMost); }

  absl::Status TooLarge() const {
    return absl::ResourceExhaustedError(
        absl::StrCat("the module's code and constants are larger than ",
                     BytesMax(), " bytes (LoadOptions::code_bytes_max)"));
  }

  absl::Status WalkSymbols() {
    functions_.assign(expected_.functions, kNowhere);
    entries_.assign(expected_.types, kNowhere);
    thunks_.assign(expected_.types, kNowhere);
    probe_wrappers_.assign(expected_.types, kNowhere);
    if (!redirects_.empty()) {
      redirected_.assign(expected_.functions, kNowhere);
      redirects_body_.assign(expected_.functions, false);
    }
    for (size_t i = 0; i < redirects_.size(); ++i) {
      redirects_body_[redirects_[i].function] = redirects_[i].body;
      redirected_[redirects_[i].function] =
          redirect_stubs_ + static_cast<uint32_t>(i) * kStubBytes;
    }
    ranges_.reserve(expected_.functions - expected_.imported_functions);

    for (uint32_t i = 0; i < objects_.size(); ++i) {
      Object& object = objects_[i];
      const size_t count = object.elf.symbols.size() / sizeof(Elf64_Sym);
      object.targets.assign(count, kNowhere);
      // The first is none: "no symbol".
      for (size_t s = 1; s < count; ++s) {
        const absl::Status status = WalkSymbol(i, static_cast<uint32_t>(s));
        if (!status.ok()) return status;
      }
    }
    return absl::OkStatus();
  }

  absl::Status WalkSymbol(uint32_t object, uint32_t index) {
    const ElfObject& elf = objects_[object].elf;
    const auto symbol = EntryAt<Elf64_Sym>(elf.symbols, index);
    if (symbol.st_name >= elf.names.size()) {
      return Refuse(object, "has the name of symbol ", index, " at ",
                    symbol.st_name, ", outside the table of names");
    }
    const auto refuse = [&](const auto&... why) {
      return Refuse(object, "symbol ",
                    Quoted(NameAt(elf.names, symbol.st_name)), " ", why...);
    };
    switch (Type(symbol)) {
      case STT_NOTYPE:
      case STT_OBJECT:
      case STT_FUNC:
      case STT_SECTION:
      case STT_FILE:
        break;
      case STT_COMMON:
        return refuse("is common data");
      case STT_TLS:
        return refuse("is thread-local data");
      case STT_GNU_IFUNC:
        return refuse("is an indirect function");
      default:
        return refuse("is of the unknown type ", Type(symbol));
    }
    const bool is_global = Binding(symbol) == STB_GLOBAL;
    if (!is_global && Binding(symbol) != STB_LOCAL) {
      return refuse("is weak, or of the unknown binding ", Binding(symbol));
    }
    if (symbol.st_shndx == SHN_UNDEF) {
      if (!is_global) return refuse("is local and not defined");
      return WalkUndefined(object, index, NameAt(elf.names, symbol.st_name));
    }
    if (symbol.st_shndx == SHN_COMMON) return refuse("is common data");
    if (symbol.st_shndx == SHN_ABS && !is_global) {
      return absl::OkStatus();  // a file's name, or a number; has no place
    }
    if (symbol.st_shndx >= elf.sections.size()) {
      return refuse("is in section ", symbol.st_shndx, " of ",
                    elf.sections.size());
    }
    const ElfSection& section = elf.sections[symbol.st_shndx];
    uint32_t place = kNowhere;
    if (section.use != SectionUse::kIgnored) {
      if (symbol.st_value > section.bytes.size() ||
          symbol.st_size > section.bytes.size() - symbol.st_value) {
        return refuse("is outside section ", Quoted(section.name), ": ",
                      symbol.st_size, " bytes at ", symbol.st_value);
      }
      place = section.place + static_cast<uint32_t>(symbol.st_value);
    }
    objects_[object].targets[index] = place;
    if (!is_global) return absl::OkStatus();

    const std::optional<IndexedName> name =
        ParseName(NameAt(elf.names, symbol.st_name));
    if (!name.has_value()) return refuse("is defined, and none of a module's");
    if (Type(symbol) != STT_FUNC || section.use != SectionUse::kCode ||
        symbol.st_size == 0) {
      return refuse("is not a function in .text, or it is empty");
    }
    absl::Status status = Define(object, *name, place);
    if (!status.ok()) return status;
    if (name->kind == SymbolKind::kFunction ||
        name->kind == SymbolKind::kBody) {
      ranges_.push_back({place, static_cast<uint32_t>(symbol.st_size),
                         name->index, name->kind == SymbolKind::kBody});
    }
    if (IsRedirected(*name)) {
      objects_[object].targets[index] = redirected_[name->index];
    }
    return absl::OkStatus();
  }

  // Whether relocations against the symbol lead to a stub.
  bool IsRedirected(IndexedName name) const {
    const bool body = name.kind == SymbolKind::kBody;
    return (body || name.kind == SymbolKind::kFunction) &&
           !redirected_.empty() && redirected_[name.index] != kNowhere &&
           redirects_body_[name.index] == body;
  }

  std::vector<uint32_t>& PlacesOf(SymbolKind kind) {
    switch (kind) {
      case SymbolKind::kFunction:
        return functions_;
      case SymbolKind::kBody:
        if (bodies_.empty()) bodies_.assign(expected_.functions, kNowhere);
        return bodies_;
      case SymbolKind::kEntry:
        return entries_;
      case SymbolKind::kThunk:
        return thunks_;
      case SymbolKind::kProbeWrapper:
        return probe_wrappers_;
    }
    CALLGATE_CHECK(false, "every kind of symbol is listed");
  }

  static std::string NameOf(IndexedName name) {
    constexpr char kLetters[] = "fbetp";
    return absl::StrCat(
        absl::string_view(&kLetters[static_cast<size_t>(name.kind)], 1),
        name.index);
  }

  absl::Status Define(size_t object, IndexedName name, uint32_t place) {
    const bool of_function =
        name.kind == SymbolKind::kFunction || name.kind == SymbolKind::kBody;
    const uint32_t count = of_function ? expected_.functions : expected_.types;
    if (name.index >= count) {
      return Refuse(object, "defines ", NameOf(name), " of ", count,
                    of_function ? " functions" : " types");
    }
    if (of_function && name.index < expected_.imported_functions) {
      return Refuse(object, "defines ", NameOf(name), ", which is imported");
    }
    uint32_t& defined = PlacesOf(name.kind)[name.index];
    if (defined != kNowhere) {
      return Refuse(object, "defines ", NameOf(name),
                    ", which is already defined");
    }
    defined = place;
    return absl::OkStatus();
  }

  absl::Status WalkUndefined(uint32_t object, uint32_t index,
                             absl::string_view name) {
    for (uint32_t i = 0; i < kLibraryFunctions; ++i) {
      if (name == Library()[i].name) {
        objects_[object].targets[index] = library_stubs_ + i * kStubBytes;
        return absl::OkStatus();
      }
    }
    const std::optional<IndexedName> parsed = ParseName(name);
    // Wrappers are reached through redirects alone.
    if (!parsed.has_value() || parsed->kind == SymbolKind::kProbeWrapper) {
      return Refuse(object, "needs ", Quoted(name),
                    ", which no code of a module may need");
    }
    undefined_.push_back({object, index, *parsed});
    return absl::OkStatus();
  }

  absl::Status CheckDefined() const {
    const auto check = [](const std::vector<uint32_t>& places, uint32_t from,
                          SymbolKind kind) {
      for (uint32_t i = from; i < places.size(); ++i) {
        if (places[i] == kNowhere) {
          return absl::InvalidArgumentError(
              absl::StrCat(NameOf({kind, i}), " is defined in no object"));
        }
      }
      return absl::OkStatus();
    };
    absl::Status status =
        check(functions_, expected_.imported_functions, SymbolKind::kFunction);
    if (status.ok()) status = check(entries_, 0, SymbolKind::kEntry);
    if (status.ok()) status = check(thunks_, 0, SymbolKind::kThunk);
    if (!status.ok()) return status;
    for (const Redirect& redirect : redirects_) {
      if (redirect.body &&
          (bodies_.empty() || bodies_[redirect.function] == kNowhere)) {
        return absl::InvalidArgumentError(
            absl::StrCat("function ", redirect.function,
                         " cannot be redirected: it has no body of its own"));
      }
      const uint32_t type = expected_.function_types[redirect.function];
      if (probe_wrappers_[type] == kNowhere) {
        return absl::InvalidArgumentError(absl::StrCat(
            "function ", redirect.function, " cannot be redirected: p", type,
            " is defined in no object"));
      }
    }
    return absl::OkStatus();
  }

  absl::Status ResolveUndefined() {
    for (const Undefined& undefined : undefined_) {
      const std::vector<uint32_t>& places = PlacesOf(undefined.name.kind);
      const uint32_t index = undefined.name.index;
      if (index >= places.size() || places[index] == kNowhere) {
        return Refuse(undefined.object, "needs ", NameOf(undefined.name),
                      ", which is defined in no object");
      }
      objects_[undefined.object].targets[undefined.symbol] =
          IsRedirected(undefined.name) ? redirected_[index] : places[index];
    }
    return absl::OkStatus();
  }

  absl::Status SortRanges() {
    const auto before = [](const Range& a, const Range& b) {
      return a.begin < b.begin;
    };
    // The compiler leaves them in order most of the time.
    if (!std::is_sorted(ranges_.begin(), ranges_.end(), before)) {
      std::sort(ranges_.begin(), ranges_.end(), before);
    }
    for (size_t i = 1; i < ranges_.size(); ++i) {
      const Range& last = ranges_[i - 1];
      if (ranges_[i].begin - last.begin < last.size) {
        return absl::InvalidArgumentError(
            absl::StrCat("the code of functions ", last.function, " and ",
                         ranges_[i].function, " overlaps"));
      }
    }
    return absl::OkStatus();
  }

  // SAFETY: LayOut gave every used section and stub its own bytes of the
  // mapping, and Create got one of that size. The next two write nowhere else,
  // and RelocateSection checks each place against its section.
  void Copy() {
    uint64_t filled = constant_bytes_;
    for (const Object& object : objects_) {
      for (const ElfSection& section : object.elf.sections) {
        if (section.use == SectionUse::kIgnored || section.bytes.empty()) {
          continue;
        }
        std::memcpy(base_ + section.place, section.bytes.data(),
                    section.bytes.size());
        if (section.use != SectionUse::kCode) continue;
        FillUnused(filled, section.place);
        filled = section.place + section.bytes.size();
      }
    }
    FillUnused(filled, constant_bytes_ + code_bytes_);
  }

  void FillUnused(uint64_t from, uint64_t to) {
    std::memset(base_ + from, kTrapByte, to - from);
  }

  void WriteStubs() {
    for (uint32_t i = 0; i < kLibraryFunctions; ++i) {
      // movabs rax, address; jmp rax
      uint8_t* const stub = base_ + library_stubs_ + i * kStubBytes;
      constexpr uint8_t kLoadRax[] = {0x48, 0xb8};
      constexpr uint8_t kJumpRax[] = {0xff, 0xe0};
      std::memcpy(stub, kLoadRax, sizeof(kLoadRax));
      Store64(stub + 2, reinterpret_cast<uint64_t>(Library()[i].address));
      std::memcpy(stub + 10, kJumpRax, sizeof(kJumpRax));
    }
    for (size_t i = 0; i < redirects_.size(); ++i) {
      // movabs r10, probe_context; jmp p<type>
      const uint32_t place = redirected_[redirects_[i].function];
      const uint32_t wrapper =
          probe_wrappers_[expected_.function_types[redirects_[i].function]];
      uint8_t* const stub = base_ + place;
      constexpr uint8_t kLoadR10[] = {0x49, 0xba};
      std::memcpy(stub, kLoadR10, sizeof(kLoadR10));
      Store64(stub + 2, redirects_[i].probe_context);
      constexpr uint32_t kJumpEnd = 15;
      stub[10] = 0xe9;
      Store32(stub + 11, wrapper - (place + kJumpEnd));
    }
  }

  absl::Status Relocate() {
    for (size_t i = 0; i < objects_.size(); ++i) {
      for (const RelocationTable& table : objects_[i].elf.relocations) {
        const absl::Status status = RelocateSection(i, table);
        if (!status.ok()) return status;
      }
    }
    return absl::OkStatus();
  }

  // Apart from the loop, with its arguments by value, so that the loop keeps
  // its variables in registers.
  template <typename... Parts>
  absl::Status RefuseRelocation(size_t object, const RelocationTable& table,
                                size_t i, Parts... why) const {
    const auto entry = EntryAt<Elf64_Rela>(table.entries, i);
    const absl::string_view section =
        objects_[object].elf.sections[table.section].name;
    return Refuse(object, "section ", Quoted(section), ", relocation ", i,
                  " at ", entry.r_offset, ": ", why...);
  }

  absl::Status RelocateSection(size_t index, const RelocationTable& table) {
    const ElfSection& section = objects_[index].elf.sections[table.section];
    const absl::Span<const uint32_t> targets = objects_[index].targets;
    const uint64_t section_bytes = section.bytes.size();
    const uint32_t section_place = section.place;
    uint8_t* const base = base_;
    const size_t count = table.entries.size() / sizeof(Elf64_Rela);
    for (size_t i = 0; i < count; ++i) {
      const auto entry = EntryAt<Elf64_Rela>(table.entries, i);
      const auto type = static_cast<uint32_t>(entry.r_info);
      const auto symbol = static_cast<uint32_t>(entry.r_info >> 32);
      const auto refuse = [this, index, &table, i](auto... why) {
        return RefuseRelocation(index, table, i, why...);
      };

      uint64_t width = 0;
      switch (type) {
        case R_X86_64_PC32:
        case R_X86_64_PLT32:
          width = 4;
          break;
        case R_X86_64_64:
        case R_X86_64_PC64:
          width = 8;
          break;
        default:
          return refuse("type ", type, " (", RelocationName(type),
                        ") is not supported");
      }
      if (entry.r_offset > section_bytes ||
          width > section_bytes - entry.r_offset) {
        return refuse("is outside the section's ", section_bytes, " bytes");
      }
      if (symbol >= targets.size()) {
        return refuse("symbol ", symbol, " of ", targets.size());
      }
      const uint32_t target = targets[symbol];
      if (target == kNowhere) {
        return refuse("symbol ", symbol, " is nothing that is loaded");
      }

      const auto place = section_place + static_cast<uint32_t>(entry.r_offset);
      int64_t value = target;
      if (type != R_X86_64_64) value -= place;
      if (__builtin_add_overflow(value, entry.r_addend, &value)) {
        return refuse("the addend ", entry.r_addend, " overflows");
      }
      uint8_t* const at = base + place;
      if (width == 4) {
        if (value < std::numeric_limits<int32_t>::min() ||
            value > std::numeric_limits<int32_t>::max()) {
          return refuse("the value ", value, " does not fit 32 bits");
        }
        Store32(at, static_cast<uint32_t>(value));
      } else if (type == R_X86_64_PC64) {
        Store64(at, static_cast<uint64_t>(value));
      } else {
        if (value < 0 ||
            static_cast<uint64_t>(value) > constant_bytes_ + code_bytes_) {
          return refuse("the addend ", entry.r_addend,
                        " leads out of the mapping");
        }
        Store64(at, reinterpret_cast<uint64_t>(base) +
                        static_cast<uint64_t>(value));
      }
    }
    return absl::OkStatus();
  }

  std::unique_ptr<const LoadedCode> Finish(CodeMapping mapping) {
    // The constructor is private.
    std::unique_ptr<LoadedCode> code(new LoadedCode(std::move(mapping)));
    code->functions_ = std::move(functions_);
    code->bodies_ = std::move(bodies_);
    code->redirected_ = std::move(redirected_);
    code->entries_ = std::move(entries_);
    code->thunks_ = std::move(thunks_);
    code->ranges_ = std::move(ranges_);
    return code;
  }

  using Range = LoadedCode::FunctionRange;

  const absl::Span<const absl::string_view> files_;
  const ExpectedSymbols& expected_;
  const absl::Span<const Redirect> redirects_;
  const uint64_t bytes_max_;

  std::vector<Object> objects_;
  std::vector<Undefined> undefined_;

  uint64_t constant_bytes_ = 0;
  uint64_t code_bytes_ = 0;
  uint32_t library_stubs_ = 0;
  uint32_t redirect_stubs_ = 0;
  uint8_t* base_ = nullptr;

  // By index; kNowhere where nothing is.
  std::vector<uint32_t> functions_;
  std::vector<uint32_t> bodies_;
  std::vector<uint32_t> redirected_;
  std::vector<bool> redirects_body_;
  std::vector<uint32_t> entries_;
  std::vector<uint32_t> thunks_;
  std::vector<uint32_t> probe_wrappers_;
  std::vector<Range> ranges_;
};

const void* LoadedCode::At(const std::vector<uint32_t>& places,
                           uint32_t index) const {
  CALLGATE_CHECK(index < places.size(), "an index of the module");
  return places[index] == kNowhere ? nullptr : mapping_.data() + places[index];
}

const void* LoadedCode::Function(uint32_t index) const {
  return At(functions_, index);
}

const void* LoadedCode::Body(uint32_t index) const {
  CALLGATE_CHECK(index < functions_.size(), "an index of the module");
  return bodies_.empty() ? nullptr : At(bodies_, index);
}

const void* LoadedCode::Redirected(uint32_t index) const {
  CALLGATE_CHECK(index < functions_.size(), "an index of the module");
  return redirected_.empty() ? nullptr : At(redirected_, index);
}

const void* LoadedCode::EntryTrampoline(uint32_t type) const {
  return At(entries_, type);
}

const void* LoadedCode::HostThunk(uint32_t type) const {
  return At(thunks_, type);
}

std::optional<CodePlace> LoadedCode::Find(const void* pc) const {
  const auto address = reinterpret_cast<uintptr_t>(pc);
  if (address < begin() || address >= end()) return std::nullopt;
  const uint64_t place = address - reinterpret_cast<uintptr_t>(mapping_.data());
  auto after = std::upper_bound(
      ranges_.begin(), ranges_.end(), place,
      [](uint64_t at, const FunctionRange& range) { return at < range.begin; });
  if (after == ranges_.begin()) return std::nullopt;
  const FunctionRange& range = *std::prev(after);
  const uint64_t offset = place - range.begin;
  if (offset >= range.size) return std::nullopt;
  return CodePlace{range.function, offset, range.body};
}

uintptr_t LoadedCode::begin() const {
  return reinterpret_cast<uintptr_t>(mapping_.data()) +
         mapping_.constant_bytes();
}

uintptr_t LoadedCode::end() const { return begin() + mapping_.code_bytes(); }

uint64_t LoadedCode::code_bytes() const {
  return mapping_.constant_bytes() + mapping_.code_bytes();
}

absl::StatusOr<std::unique_ptr<const LoadedCode>> LoadObjects(
    absl::Span<const absl::string_view> objects,
    const ExpectedSymbols& expected, const LoadOptions& options) {
  return ObjectLinker(objects, expected, options).Link();
}

}  // namespace callgate::native
