#include "runtime/native/module_image.h"

#include <algorithm>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "runtime/native/abi.h"

namespace callgate::native {
namespace {

std::optional<ValType> ValTypeOf(uint32_t code) {
  switch (code) {
    case 0x7f:
      return ValType::kI32;
    case 0x7e:
      return ValType::kI64;
    case 0x7d:
      return ValType::kF32;
    case 0x7c:
      return ValType::kF64;
    case 0x7b:
      return ValType::kV128;
    case 0x70:
      return ValType::kFuncRef;
    case 0x6f:
      return ValType::kExternRef;
    default:
      return std::nullopt;
  }
}

bool ReadTypes(const std::string& codes, std::vector<ValType>& out) {
  out.reserve(codes.size());
  for (const char c : codes) {
    const std::optional<ValType> type = ValTypeOf(static_cast<uint8_t>(c));
    if (!type.has_value()) return false;
    out.push_back(*type);
  }
  return true;
}

// Two readers that saw different modules in the same bytes: one of them is
// being fooled, and what was judged would not be what runs.
absl::Status Differs(absl::string_view what) {
  return absl::InvalidArgumentError(
      absl::StrCat("the module's ", what,
                   " read differently by the admission scan and by the "
                   "compiler: it is refused"));
}

// An answer that makes no sense, whatever the module is.
absl::Status Broken(absl::string_view what) {
  return absl::InvalidArgumentError(
      absl::StrCat("the compiler's answer has ", what));
}

bool Same(const GlobalType& a, const GlobalType& b) {
  return a.type == b.type && a.is_mutable == b.is_mutable;
}

}  // namespace

// Goes through the answer in the order of the members.
class ModuleImageReader {
 public:
  ModuleImageReader(const CompiledModule& compiled,
                    const admission::ModuleSummary& summary,
                    absl::Span<const uint8_t> bytes)
      : compiled_(compiled), summary_(summary), bytes_(bytes) {}

  absl::StatusOr<std::unique_ptr<const ModuleImage>> Read() {
    image_.module_bytes_ = bytes_.size();
    for (const auto step :
         {&ModuleImageReader::ReadHead, &ModuleImageReader::ReadFuncTypes,
          &ModuleImageReader::ReadImports, &ModuleImageReader::ReadFunctions,
          &ModuleImageReader::ReadTags, &ModuleImageReader::ReadGlobals,
          &ModuleImageReader::ReadExports, &ModuleImageReader::ReadElements,
          &ModuleImageReader::ReadData}) {
      if (absl::Status read = (this->*step)(); !read.ok()) return read;
    }
    image_.MakeMemoryImage();
    return std::unique_ptr<const ModuleImage>(std::move(owned_));
  }

 private:
  absl::Status ReadHead() {
    if (compiled_.abi_version() != kAbiVersion) {
      return Broken(absl::StrCat("the version ", compiled_.abi_version(),
                                 ", where this program is of version ",
                                 kAbiVersion));
    }
    if (bytes_.size() != summary_.bytes) return Differs("size");
    if (compiled_.tables() != summary_.tables.size()) return Differs("tables");
    if (compiled_.memories() != summary_.memories.size()) {
      return Differs("memories");
    }
    image_.tables_ = summary_.tables;
    image_.memories_ = summary_.memories;
    image_.imported_tables_ = static_cast<uint32_t>(summary_.imported_tables);
    image_.imported_memories_ =
        static_cast<uint32_t>(summary_.imported_memories);
    return absl::OkStatus();
  }

  absl::Status ReadFuncTypes() {
    if (static_cast<uint64_t>(compiled_.types_size()) != summary_.types) {
      return Differs("types");
    }
    image_.types_.resize(static_cast<size_t>(compiled_.types_size()));
    for (int i = 0; i < compiled_.types_size(); ++i) {
      FuncType& type = image_.types_[static_cast<size_t>(i)];
      if (!ReadTypes(compiled_.types(i).params(), type.params) ||
          !ReadTypes(compiled_.types(i).results(), type.results)) {
        return Broken(absl::StrCat("an unknown value type in type ", i));
      }
    }
    return absl::OkStatus();
  }

  absl::Status ReadImports() {
    uint32_t next[5] = {};
    for (const ImportType& import : summary_.imports) {
      const auto kind = static_cast<size_t>(import.type.kind);
      image_.imports_.push_back(
          ModuleImage::Item{import.type.kind, next[kind]++});
      if (import.type.kind == ExternKind::kGlobal) {
        imported_globals_.push_back(import.type.global);
      }
    }
    const auto count = [&](ExternKind kind) {
      return next[static_cast<size_t>(kind)];
    };
    if (compiled_.imported_functions() != count(ExternKind::kFunc) ||
        compiled_.imported_globals() != count(ExternKind::kGlobal) ||
        compiled_.imported_tags() != count(ExternKind::kTag) ||
        summary_.imported_tables != count(ExternKind::kTable) ||
        summary_.imported_memories != count(ExternKind::kMemory)) {
      return Differs("imports");
    }
    image_.imported_functions_ = count(ExternKind::kFunc);
    image_.imported_globals_ = count(ExternKind::kGlobal);
    image_.imported_tags_ = count(ExternKind::kTag);
    return absl::OkStatus();
  }

  absl::Status ReadFunctions() {
    if (static_cast<uint64_t>(compiled_.functions_size()) !=
        summary_.imported_functions + summary_.own_functions) {
      return Differs("functions");
    }
    for (const uint32_t type : compiled_.functions()) {
      if (type >= image_.types_.size()) {
        return Broken(absl::StrCat("a function of the unknown type ", type));
      }
      image_.functions_.push_back(type);
    }
    size_t function = 0;
    for (const ImportType& import : summary_.imports) {
      if (import.type.kind != ExternKind::kFunc) continue;
      if (image_.TypeOfFunction(static_cast<uint32_t>(function++)) !=
          import.type.func) {
        return Differs("imports");
      }
    }
    if (summary_.start_function.has_value() &&
        *summary_.start_function >= image_.functions_.size()) {
      return Differs("start function");
    }
    return absl::OkStatus();
  }

  absl::Status ReadTags() {
    if (static_cast<uint64_t>(compiled_.tags_size()) !=
        summary_.imported_tags + summary_.own_tags) {
      return Differs("tags");
    }
    for (const uint32_t type : compiled_.tags()) {
      if (type >= image_.types_.size()) {
        return Broken(absl::StrCat("a tag of the unknown type ", type));
      }
      if (image_.types_[type].params.size() > kTagParamsMax ||
          !image_.types_[type].results.empty()) {
        return Broken(absl::StrCat("a tag of the type ",
                                   image_.types_[type].ToString(), ", where ",
                                   kTagParamsMax, " parameters are the most"));
      }
      image_.tags_.push_back(type);
    }
    size_t tag = 0;
    for (const ImportType& import : summary_.imports) {
      if (import.type.kind != ExternKind::kTag) continue;
      if (image_.types_[image_.tags_[tag++]] != import.type.func) {
        return Differs("imports");
      }
    }
    return absl::OkStatus();
  }

  absl::Status ReadGlobals() {
    if (static_cast<uint64_t>(compiled_.globals_size()) !=
        summary_.own_globals) {
      return Differs("globals");
    }
    for (const GlobalMessage& from : compiled_.globals()) {
      const std::optional<ValType> type = ValTypeOf(from.type());
      if (!type.has_value()) return Broken("a global of an unknown type");
      std::optional<Constant> init =
          Constant::Check(from.init(), *type, Scope());
      if (!init.has_value()) return Broken("a global with a wrong value");
      image_.own_globals_.push_back(ModuleImage::OwnGlobal{
          GlobalType{*type, from.is_mutable()}, *std::move(init)});
    }
    return absl::OkStatus();
  }

  absl::Status ReadExports() {
    for (const ExportType& from : summary_.exports) {
      const uint32_t index = from.index;
      bool same = false;
      switch (from.type.kind) {
        case ExternKind::kFunc:
          same = index < image_.functions_.size() &&
                 image_.TypeOfFunction(index) == from.type.func;
          break;
        case ExternKind::kTable:
          same = index < image_.tables_.size();
          break;
        case ExternKind::kMemory:
          same = index < image_.memories_.size();
          break;
        case ExternKind::kGlobal:
          if (index < imported_globals_.size()) {
            same = Same(imported_globals_[index], from.type.global);
          } else if (index < image_.globals()) {
            same =
                Same(image_.own_globals_[index - imported_globals_.size()].type,
                     from.type.global);
          }
          break;
        case ExternKind::kTag:
          same = index < image_.tags_.size() &&
                 image_.types_[image_.tags_[index]] == from.type.func;
          break;
      }
      if (!same) return Differs("exports");
      image_.exports_.push_back(ModuleImage::Item{from.type.kind, index});
    }
    return absl::OkStatus();
  }

  absl::Status ReadElements() {
    if (static_cast<uint64_t>(compiled_.element_segments_size()) !=
        summary_.element_segments) {
      return Differs("segments");
    }
    uint64_t items = 0;
    for (const ElementSegment& from : compiled_.element_segments()) {
      ModuleImage::Elements to;
      const std::optional<ValType> type = ValTypeOf(from.type());
      if (!type.has_value() || !IsReference(*type)) {
        return Broken("an element segment of no reference type");
      }
      to.type = *type;
      to.mode = from.mode();
      switch (from.mode()) {
        case ElementSegment::ACTIVE:
          if (from.table() >= image_.tables_.size() ||
              image_.tables_[from.table()].element != to.type) {
            return Broken("an element segment for a table that cannot hold it");
          }
          to.table = from.table();
          to.offset = Constant::Check(from.offset(), ValType::kI32, Scope());
          if (!to.offset.has_value()) {
            return Broken("an element segment with a wrong offset");
          }
          break;
        case ElementSegment::PASSIVE:
        case ElementSegment::DECLARED:
          break;
        default:
          return Broken("an element segment of an unknown mode");
      }
      items += static_cast<uint64_t>(from.items_size());
      to.items.assign(from.items().begin(), from.items().end());
      for (const uint32_t item : to.items) {
        const bool fits = to.type == ValType::kFuncRef
                              ? item <= image_.functions_.size()
                              : item == 0;
        if (!fits) return Broken("an element segment with an unknown item");
      }
      image_.elements_.push_back(std::move(to));
    }
    if (items != summary_.element_segment_items) return Differs("segments");
    return absl::OkStatus();
  }

  absl::Status ReadData() {
    if (static_cast<uint64_t>(compiled_.data_segments_size()) !=
        summary_.data_segments) {
      return Differs("segments");
    }
    uint64_t total = 0;
    for (const DataSegment& from : compiled_.data_segments()) {
      if (from.size() > bytes_.size() ||
          from.begin() > bytes_.size() - from.size()) {
        return Broken("a data segment outside of the module");
      }
      // No sum of sizes wraps: there are at most 2^32 of at most 2^32 bytes.
      total += from.size();
    }
    // Before anything is copied: overlapping segments could multiply a module.
    if (total != summary_.data_bytes) return Differs("segments");
    image_.data_bytes_.reserve(static_cast<size_t>(total));
    for (const DataSegment& from : compiled_.data_segments()) {
      const auto piece = bytes_.subspan(static_cast<size_t>(from.begin()),
                                        static_cast<size_t>(from.size()));
      image_.data_bytes_.insert(image_.data_bytes_.end(), piece.begin(),
                                piece.end());
    }
    size_t at = 0;
    for (const DataSegment& from : compiled_.data_segments()) {
      ModuleImage::Data to;
      to.active = from.active();
      to.bytes = absl::MakeConstSpan(image_.data_bytes_)
                     .subspan(at, static_cast<size_t>(from.size()));
      at += static_cast<size_t>(from.size());
      if (to.active) {
        if (from.memory() >= image_.memories_.size()) {
          return Broken("a data segment for an unknown memory");
        }
        to.memory = from.memory();
        to.offset = Constant::Check(
            from.offset(),
            image_.memories_[to.memory].is64 ? ValType::kI64 : ValType::kI32,
            Scope());
        if (!to.offset.has_value()) {
          return Broken("a data segment with a wrong offset");
        }
      }
      image_.data_.push_back(std::move(to));
    }
    return absl::OkStatus();
  }

  ConstScope Scope() const {
    return ConstScope{imported_globals_, image_.functions_.size()};
  }

  const CompiledModule& compiled_;
  const admission::ModuleSummary& summary_;
  const absl::Span<const uint8_t> bytes_;
  std::vector<GlobalType> imported_globals_;
  std::unique_ptr<ModuleImage> owned_{new ModuleImage()};
  ModuleImage& image_ = *owned_;
};

absl::StatusOr<std::unique_ptr<const ModuleImage>> ModuleImage::Make(
    const CompiledModule& compiled, const admission::ModuleSummary& summary,
    absl::Span<const uint8_t> bytes) {
  return ModuleImageReader(compiled, summary, bytes).Read();
}

void ModuleImage::MakeMemoryImage() {
  std::vector<MemoryImage::Piece> pieces;
  uint64_t begin = ~uint64_t{0};
  uint64_t end = 0;
  uint64_t contents = 0;
  for (; sure_data_ < data_.size(); ++sure_data_) {
    const Data& data = data_[sure_data_];
    if (!data.active) continue;
    // An imported memory may be of any size by then.
    if (data.memory < imported_memories_) break;
    const std::optional<RawValue> offset = data.offset->Known();
    if (!offset.has_value()) break;
    const MemoryType& memory = memories_[data.memory];
    const uint64_t address = memory.is64 ? offset->u64() : offset->u32();
    if (memory.pages.min > kMemoryReserve / kWasmPageBytes) break;
    const uint64_t bytes = memory.pages.min * kWasmPageBytes;
    if (data.bytes.size() > bytes || address > bytes - data.bytes.size()) {
      break;
    }
    if (data.memory != 0 || data.bytes.empty()) continue;
    pieces.push_back(MemoryImage::Piece{address, data.bytes});
    begin = std::min(begin, address);
    end = std::max(end, address + data.bytes.size());
    contents += data.bytes.size();
  }
  // A few kilobytes are copied as fast as they are mapped. And the file's
  // pages, touched once, stay as long as the module: a file that is mostly
  // holes would let a small module take a lot of memory that nobody counts.
  constexpr uint64_t kWorthIt = 4 << 10;
  if (contents < kWorthIt || end - begin > 2 * contents + (64 << 10)) return;
  absl::StatusOr<std::shared_ptr<const MemoryImage>> made =
      MemoryImage::Make(pieces, memories_[0].pages.min * kWasmPageBytes);
  // Without one the segments are copied.
  if (made.ok()) memory_image_ = *std::move(made);
}

}  // namespace callgate::native
