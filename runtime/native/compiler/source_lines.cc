// Rows of the line tables cover ranges of addresses; each offset that was asked
// for takes the first row that covers it. Offsets that have one are skipped
// over (NextFree), so that tables which cover the same code again and again
// cost no more than reading them.

#include "runtime/native/compiler/source_lines.h"

#include <algorithm>
#include <numeric>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "runtime/admission/utf8.h"
#include "runtime/native/compiler/byte_cursor.h"
#include "runtime/native/compiler/line_program.h"

namespace callgate::native {
namespace {

constexpr uint8_t kCustomSection = 0;
constexpr uint8_t kCodeSection = 10;
constexpr size_t kModuleHeadBytes = 8;

struct ModuleSections {
  LineSections dwarf;
  // What addresses are relative to.
  uint64_t code_begin = 0;
  uint64_t code_end = 0;
};

ModuleSections FindSections(absl::Span<const uint8_t> module) {
  ModuleSections found;
  ByteCursor cursor(module);
  cursor.Take(kModuleHeadBytes);
  while (cursor.more()) {
    const uint8_t id = cursor.U8();
    const absl::Span<const uint8_t> section = cursor.Take(cursor.Uleb());
    if (!cursor.ok()) break;
    if (id == kCodeSection) {
      found.code_end = module.size() - cursor.left();
      found.code_begin = found.code_end - section.size();
    }
    if (id != kCustomSection) continue;
    ByteCursor custom(section);
    const absl::Span<const uint8_t> title = custom.Take(custom.Uleb());
    // SAFETY: bytes are viewed as char, while the module is there.
    const absl::string_view name(reinterpret_cast<const char*>(title.data()),
                                 title.size());
    const auto keep = [&](absl::Span<const uint8_t>& place) {
      if (place.empty()) place = custom.Take(custom.left());
    };
    if (name == ".debug_line") keep(found.dwarf.line);
    if (name == ".debug_line_str") keep(found.dwarf.line_str);
    if (name == ".debug_str") keep(found.dwarf.str);
  }
  return found;
}

bool IsAbsolute(absl::string_view path) {
  return !path.empty() && path.front() == '/';
}

std::string Printable(std::string path) {
  // SAFETY: chars are viewed as bytes for the call's duration.
  const bool is_utf8 =
      !admission::FindInvalidUtf8(
           absl::MakeConstSpan(reinterpret_cast<const uint8_t*>(path.data()),
                               path.size()))
           .has_value();
  for (char& c : path) {
    const auto byte = static_cast<uint8_t>(c);
    if (byte < 0x20 || byte == 0x7f || (byte >= 0x80 && !is_utf8)) c = '?';
  }
  return path;
}

// The paths of all units, each once.
class Files {
 public:
  // The file's index plus one; 0 where it has no place here.
  uint32_t IndexOf(const LineFile& file) {
    if (file.name.size() > kSourcePathBytesMax ||
        lookups_ == kSourceFileLookupsMax) {
      is_cut_ = true;
      return 0;
    }
    ++lookups_;
    std::string path;
    if (file.directory.empty() || IsAbsolute(file.name) ||
        file.directory.size() + 1 + file.name.size() > kSourcePathBytesMax) {
      path = std::string(file.name);
    } else {
      path = absl::StrCat(file.directory,
                          file.directory.back() == '/' ? "" : "/", file.name);
    }
    path = Printable(std::move(path));
    const auto known = indices_.find(path);
    if (known != indices_.end()) return known->second;
    if (paths_.size() >= kSourceFilesMax ||
        bytes_ + path.size() > kSourcePathBytesTotalMax) {
      is_cut_ = true;
      return 0;
    }
    bytes_ += path.size();
    paths_.push_back(path);
    const auto index = static_cast<uint32_t>(paths_.size());
    indices_.emplace(std::move(path), index);
    return index;
  }

  const std::vector<std::string>& paths() const { return paths_; }
  // Whether one has no place because of the bounds.
  bool is_cut() const { return is_cut_; }

 private:
  std::unordered_map<std::string, uint32_t> indices_;
  std::vector<std::string> paths_;
  uint64_t bytes_ = 0;
  uint64_t lookups_ = 0;
  bool is_cut_ = false;
};

struct Place {
  uint32_t file = 0;  // index plus one
  uint32_t line = 0;
  uint32_t column = 0;

  friend bool operator==(const Place& a, const Place& b) {
    return a.file == b.file && a.line == b.line && a.column == b.column;
  }
};

class Places {
 public:
  explicit Places(absl::Span<const uint64_t> offsets)
      : offsets_(offsets), places_(offsets.size()), next_(offsets.size() + 1) {
    std::iota(next_.begin(), next_.end(), size_t{0});
  }

  // The first offset in the range that has no place yet, or offsets().size().
  size_t FirstFree(uint64_t begin, uint64_t end) {
    const size_t first = static_cast<size_t>(
        std::lower_bound(offsets_.begin(), offsets_.end(), begin) -
        offsets_.begin());
    const size_t free = NextFree(first);
    return free < offsets_.size() && offsets_[free] < end ? free
                                                          : offsets_.size();
  }

  void Fill(size_t first, uint64_t end, Place place) {
    for (size_t i = first; i < offsets_.size() && offsets_[i] < end;
         i = NextFree(i)) {
      places_[i] = place;
      next_[i] = i + 1;
    }
  }

  const std::vector<Place>& places() const { return places_; }
  size_t size() const { return places_.size(); }

 private:
  size_t NextFree(size_t i) {
    while (next_[i] != i) {
      next_[i] = next_[next_[i]];
      i = next_[i];
    }
    return i;
  }

  const absl::Span<const uint64_t> offsets_;
  std::vector<Place> places_;
  std::vector<size_t> next_;  // itself where there is no place yet
};

void Write(absl::Span<const uint64_t> offsets, const Places& places,
           const Files& files, SourceLines& lines) {
  Place last;
  uint64_t last_offset = 0;
  for (size_t i = 0; i < offsets.size(); ++i) {
    const Place& place = places.places()[i];
    if (place == last) continue;
    if (offsets[i] > ~uint32_t{0}) break;
    if (lines.offset_delta_size() == kSourceEntriesMax) {
      lines.set_is_cut(true);
      // The entry before this one must not go on to the end.
      if (last.file == 0) break;
      lines.set_file(kSourceEntriesMax - 1, 0);
      lines.set_line(kSourceEntriesMax - 1, 0);
      lines.set_column(kSourceEntriesMax - 1, 0);
      break;
    }
    lines.add_offset_delta(static_cast<uint32_t>(offsets[i] - last_offset));
    lines.add_file(place.file);
    lines.add_line(place.line);
    lines.add_column(place.column);
    last = place;
    last_offset = offsets[i];
  }
  if (lines.offset_delta_size() == 0) return;
  for (const std::string& path : files.paths()) lines.add_files(path);
}

}  // namespace

void AddSourceLines(absl::Span<const uint8_t> module,
                    absl::Span<const uint64_t> offsets,
                    CompiledModule& answer) {
  const ModuleSections sections = FindSections(module);
  const LineSections& dwarf = sections.dwarf;
  if (offsets.empty() || dwarf.line.empty()) return;
  if (dwarf.line.size() + dwarf.line_str.size() + dwarf.str.size() >
      kDebugBytesMax) {
    answer.mutable_source_lines()->set_is_cut(true);
    return;
  }
  Places places(offsets);
  Files files;
  uint64_t steps = kLineStepsMax;
  ByteCursor line(dwarf.line);
  while (line.more() && steps > 0) {
    LineProgram program(dwarf, line);
    // Of the unit's files.
    std::unordered_map<uint64_t, uint32_t> indices;
    for (LineRow row; program.Next(row, steps);) {
      const uint64_t code_bytes = sections.code_end - sections.code_begin;
      if (row.begin >= code_bytes) continue;
      const uint64_t begin = sections.code_begin + row.begin;
      const uint64_t end = sections.code_begin + std::min(row.end, code_bytes);
      const size_t first = places.FirstFree(begin, end);
      if (first == places.size()) continue;
      const auto known = indices.find(row.file);
      uint32_t index = 0;
      if (known != indices.end()) {
        index = known->second;
      } else if (const LineFile* const file = program.File(row.file)) {
        index = files.IndexOf(*file);
        indices.emplace(row.file, index);
      }
      if (index != 0) {
        places.Fill(first, end, {index, row.line, row.column});
      }
    }
  }
  SourceLines lines;
  Write(offsets, places, files, lines);
  if (steps == 0 || files.is_cut()) lines.set_is_cut(true);
  if (lines.offset_delta_size() > 0 || lines.is_cut()) {
    *answer.mutable_source_lines() = std::move(lines);
  }
}

}  // namespace callgate::native
