#include "runtime/native/source/source_map.h"

#include <algorithm>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

namespace callgate::native {
namespace {

// As SourceLines says.
constexpr int kFilesMax = 65'536;
constexpr size_t kPathBytesMax = 1'024;
constexpr int kEntriesMax = 2'000'000;

absl::Status Wrong(absl::string_view what) {
  return absl::InvalidArgumentError(absl::StrCat("source lines: ", what));
}

}  // namespace

absl::StatusOr<SourceMap> SourceMap::Make(const SourceLines& lines,
                                          uint64_t module_bytes) {
  SourceMap map;
  if (lines.files_size() > kFilesMax) return Wrong("too many files");
  const int size = lines.offset_delta_size();
  if (size > kEntriesMax) return Wrong("too many entries");
  if (lines.file_size() != size || lines.line_size() != size ||
      lines.column_size() != size) {
    return Wrong("lists of different lengths");
  }
  map.files_.reserve(static_cast<size_t>(lines.files_size()));
  for (const std::string& file : lines.files()) {
    if (file.empty() || file.size() > kPathBytesMax) {
      return Wrong("a path that is empty or too long");
    }
    map.files_.push_back(file);
  }
  map.entries_.reserve(static_cast<size_t>(size));
  map.is_cut_ = lines.is_cut();
  uint64_t begin = 0;
  for (int i = 0; i < size; ++i) {
    begin += lines.offset_delta(i);
    if (lines.offset_delta(i) == 0) return Wrong("two entries of one offset");
    if (begin >= module_bytes || begin > ~uint32_t{0}) {
      return Wrong("an offset behind the module");
    }
    if (lines.file(i) > map.files_.size()) {
      return Wrong("a file that is not there");
    }
    if ((lines.file(i) == 0) != (lines.line(i) == 0)) {
      return Wrong("a file without a line, or a line without a file");
    }
    if (lines.file(i) == 0 && lines.column(i) != 0) {
      return Wrong("a column without a file");
    }
    map.entries_.push_back({static_cast<uint32_t>(begin), lines.file(i),
                            lines.line(i), lines.column(i)});
  }
  return map;
}

std::optional<SourcePlace> SourceMap::Find(uint64_t module_offset) const {
  const auto after = std::upper_bound(
      entries_.begin(), entries_.end(), module_offset,
      [](uint64_t offset, const Entry& entry) { return offset < entry.begin; });
  if (after == entries_.begin()) return std::nullopt;
  const Entry& entry = *(after - 1);
  if (entry.file == 0) return std::nullopt;
  return SourcePlace{files_[entry.file - 1], entry.line, entry.column};
}

uint64_t SourceMap::bytes() const {
  uint64_t bytes = entries_.capacity() * sizeof(Entry) +
                   files_.capacity() * sizeof(std::string);
  for (const std::string& file : files_) bytes += file.capacity();
  return bytes;
}

}  // namespace callgate::native
