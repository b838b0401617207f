// The module's sections, in their order, each in a window of its stated size
// that it must fill exactly.
//
// Refusals stick (byte_reader.h), so the code here and in the sections' files
// is straight: it asks ok() only where it would go on with a number that was
// not there.

#include "runtime/admission/scan.h"

#include <algorithm>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "runtime/admission/body_scan.h"
#include "runtime/admission/byte_reader.h"
#include "runtime/admission/declarations.h"
#include "runtime/admission/index_spaces.h"
#include "runtime/admission/segments.h"

namespace callgate::admission {
namespace {

enum SectionId : uint8_t {
  kCustom = 0,
  kType = 1,
  kImport = 2,
  kFunction = 3,
  kTable = 4,
  kMemory = 5,
  kGlobal = 6,
  kExport = 7,
  kStart = 8,
  kElement = 9,
  kCode = 10,
  kData = 11,
  kDataCount = 12,
  kTag = 13,
  kStringRefs = 14,
};

struct SectionRow {
  absl::string_view subject;
  // Where it may stand: each rank once, ascending. The ids are not in order,
  // because two sections came later and had to go in between.
  int rank;
  Proposal proposal;
};

// By id. Custom sections may stand anywhere.
constexpr SectionRow kSections[] = {
    {"a custom section", 0, Proposal::kMvp},
    {"the type section", 1, Proposal::kMvp},
    {"the import section", 2, Proposal::kMvp},
    {"the function section", 3, Proposal::kMvp},
    {"the table section", 4, Proposal::kMvp},
    {"the memory section", 5, Proposal::kMvp},
    {"the global section", 7, Proposal::kMvp},
    {"the export section", 8, Proposal::kMvp},
    {"the start section", 9, Proposal::kMvp},
    {"the element section", 10, Proposal::kMvp},
    {"the code section", 12, Proposal::kMvp},
    {"the data section", 13, Proposal::kMvp},
    {"the data count section", 11, Proposal::kBulkMemory},
    {"the tag section", 6, Proposal::kLegacyExceptions},
    {"the strings section", 3, Proposal::kStringReferences},
};

class ModuleScan {
 public:
  ModuleScan(absl::Span<const uint8_t> bytes, ScanState& state)
      : in_(bytes, state) {
    summary_.bytes = bytes.size();
  }

  // What it finds is of use only if the state has no refusal afterwards.
  ModuleSummary Run();

 private:
  void ReadHeader();
  void ReadSection();
  void ReadSectionContents(uint8_t id, ByteReader& section);

  void ReadCustom(ByteReader& in);
  void ReadCode(ByteReader& in);
  void CheckSectionsAgree();

  ByteReader in_;
  ModuleSummary summary_;
  IndexSpaces spaces_;
  int last_rank_ = 0;
  uint64_t bodies_ = 0;
};

ModuleSummary ModuleScan::Run() {
  ReadHeader();
  while (!in_.AtEnd()) ReadSection();
  CheckSectionsAgree();

  summary_.tables = std::move(spaces_.tables);
  summary_.memories = std::move(spaces_.memories);
  summary_.types = spaces_.types.size();
  summary_.imported_functions = spaces_.imported_functions;
  summary_.own_functions = spaces_.own_functions();
  summary_.imported_tables = spaces_.imported_tables;
  summary_.imported_memories = spaces_.imported_memories;
  summary_.imported_globals = spaces_.imported_globals;
  summary_.own_globals = spaces_.globals.size() - spaces_.imported_globals;
  summary_.imported_tags = spaces_.imported_tags;
  summary_.own_tags = spaces_.tags.size() - spaces_.imported_tags;
  summary_.element_segments = spaces_.element_segments;
  summary_.function_types = std::move(spaces_.types);
  summary_.functions = std::move(spaces_.functions);
  return std::move(summary_);
}

void ModuleScan::ReadHeader() {
  if (!in_.CheckLimit(&ModuleLimits::bytes, summary_.bytes, 0,
                      "$1 has $0 bytes")) {
    return;
  }
  constexpr absl::string_view kMagic("\0asm", 4);
  constexpr absl::string_view kVersion("\1\0\0\0", 4);
  constexpr absl::string_view kComponent("\x0d\0\1\0", 4);
  const auto next_four = [this] {
    const absl::Span<const uint8_t> four =
        in_.Bytes(std::min<uint64_t>(4, in_.remaining()), "the header");
    // Copied, for bytes are not chars.
    return std::string(four.begin(), four.end());
  };
  const std::string magic = next_four();
  if (magic != kMagic) {
    const bool text = !magic.empty() && (magic[0] == '(' || magic[0] == ';');
    in_.Malformed(0, absl::StrCat("does not begin with the bytes 00 61 73 6d "
                                  "of a WebAssembly binary",
                                  text ? ": it looks like the text format, "
                                         "which must be compiled first"
                                       : ""));
    return;
  }
  const std::string version = next_four();
  if (version == kComponent) {
    in_.Require(Proposal::kComponentModel, 4, "the version in the header");
    return;
  }
  if (version != kVersion) {
    in_.Malformed(4, "is not of version 1 of the binary format");
  }
}

void ModuleScan::ReadSection() {
  in_.SetSubject("the module");
  const uint64_t offset = in_.offset();
  const uint8_t id = in_.Byte("a section");
  if (!in_.ok()) return;
  if (id >= sizeof(kSections) / sizeof(kSections[0])) {
    in_.Malformed(offset, absl::StrCat("there is no section with the id ", id));
    return;
  }
  const SectionRow& row = kSections[id];
  in_.SetSubject(row.subject);
  if (!in_.Require(row.proposal, offset, "the section")) return;
  if (row.rank != 0) {
    if (row.rank <= last_rank_) {
      in_.Malformed(offset, row.rank == last_rank_
                                ? "appears a second time"
                                : "stands after a section that it must "
                                  "precede");
      return;
    }
    last_rank_ = row.rank;
  }
  const uint32_t size = in_.U32("its size");
  ByteReader section = in_.Window(size, "the contents");
  if (!section.ok()) return;
  ReadSectionContents(id, section);
  // What items were about last says nothing about the bytes behind them.
  section.SetSubject(row.subject);
  section.ExpectEnd();
}

void ModuleScan::ReadSectionContents(uint8_t id, ByteReader& section) {
  switch (id) {
    case kCustom:
      return ReadCustom(section);
    case kType:
      return ReadTypes(section, spaces_);
    case kImport:
      return ReadImports(section, spaces_, summary_);
    case kFunction:
      return ReadFunctions(section, spaces_);
    case kTable:
      return ReadTables(section, spaces_);
    case kMemory:
      return ReadMemories(section, spaces_);
    case kTag:
      return ReadTags(section, spaces_);
    case kGlobal:
      return ReadGlobals(section, spaces_);
    case kExport:
      return ReadExports(section, spaces_, summary_);
    case kStart:
      return ReadStart(section, spaces_, summary_);
    case kElement:
      return ReadElements(section, spaces_, summary_);
    case kDataCount:
      return ReadDataCount(section, spaces_);
    case kCode:
      return ReadCode(section);
    case kData:
      return ReadData(section, spaces_, summary_);
    default:
      return;
  }
}

// Only the section's own name is held to the format. What follows is for
// tools, and a module is valid whatever it says.
void ModuleScan::ReadCustom(ByteReader& in) {
  summary_.custom_section_bytes += in.remaining();
  if (!in.CheckLimit(&ModuleLimits::custom_section_bytes,
                     summary_.custom_section_bytes, in.offset(),
                     "the module has $0 bytes of custom sections")) {
    return;
  }
  const absl::string_view name = in.Name("its name");
  summary_.longest_name_bytes =
      std::max(summary_.longest_name_bytes, uint64_t{name.size()});
  in.Skip(in.remaining(), "its contents");
}

void ModuleScan::ReadCode(ByteReader& in) {
  const uint64_t start = in.offset();
  const uint32_t bodies = in.Count("the number of function bodies");
  const uint64_t own = spaces_.own_functions();
  if (in.ok() && bodies != own) {
    in.Malformed(
        start, absl::StrCat("there are ", bodies, " function bodies for ", own,
                            " functions"));
    return;
  }
  BodyScan scan(spaces_, summary_);
  for (uint32_t i = 0; i < bodies && in.ok(); ++i) {
    const uint64_t index = spaces_.imported_functions + i;
    in.SetSubject("function", index);
    const uint64_t offset = in.offset();
    const uint32_t size = in.U32("the size of its body");
    if (!in.ok()) return;
    // What cannot be there at all is no matter of limits.
    ByteReader body = in.Window(size, "its body");
    if (!in.CheckLimit(&ModuleLimits::function_body_bytes, size, offset,
                       "$1 has a body of $0 bytes")) {
      return;
    }
    summary_.code_bytes += size;
    summary_.largest_body_bytes =
        std::max(summary_.largest_body_bytes, uint64_t{size});
    scan.Scan(body, index);
  }
  bodies_ = bodies;
}

// What two sections say about the same number; an absent section says zero.
void ModuleScan::CheckSectionsAgree() {
  in_.SetSubject("the module");
  const uint64_t own = spaces_.own_functions();
  if (bodies_ != own) {
    in_.Malformed(in_.offset(),
                  absl::StrCat("there are ", bodies_, " function bodies for ",
                               own, " functions"));
  }
  if (spaces_.announced_data_segments.has_value() &&
      *spaces_.announced_data_segments != summary_.data_segments) {
    in_.Malformed(
        in_.offset(),
        absl::StrCat("the data count section announces ",
                     *spaces_.announced_data_segments,
                     " data segments, there are ", summary_.data_segments));
  }
}

}  // namespace

ScanResult Scan(absl::Span<const uint8_t> bytes, const ModuleLimits& limits,
                const Features& features) {
  ScanState state{limits, features, std::nullopt, 0};
  ModuleScan scan(bytes, state);
  ModuleSummary summary = scan.Run();
  ScanResult result;
  result.steps = state.steps;
  if (state.refusal.has_value()) {
    result.refusal = std::move(state.refusal);
  } else {
    result.summary = std::move(summary);
  }
  return result;
}

}  // namespace callgate::admission
