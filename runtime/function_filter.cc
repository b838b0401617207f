#include "runtime/function_filter.h"

#include <algorithm>

#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"

namespace callgate {
namespace {

// Whether the pattern's byte at `at`, which is no `*`, stands for `byte`; then
// `at` is moved behind it.
bool Takes(absl::string_view pattern, size_t& at, char byte) {
  const bool any = pattern[at] == '?';
  const size_t literal = pattern[at] == '\\' ? at + 1 : at;
  if (!any && pattern[literal] != byte) return false;
  at = literal + 1;
  return true;
}

// Leftmost is best: whatever a later `*` could match, it can match after the
// earliest place where what stands before it fits. So only the last `*` ever
// takes another byte.
bool Matches(absl::string_view pattern, absl::string_view name) {
  size_t at = 0;
  size_t in_name = 0;
  size_t after_star = absl::string_view::npos;
  size_t star_end = 0;  // of what the last `*` has taken
  while (in_name < name.size()) {
    if (at < pattern.size() && pattern[at] == '*') {
      after_star = ++at;
      star_end = in_name;
    } else if (at < pattern.size() && Takes(pattern, at, name[in_name])) {
      ++in_name;
    } else if (after_star != absl::string_view::npos) {
      at = after_star;
      in_name = ++star_end;
    } else {
      return false;
    }
  }
  while (at < pattern.size() && pattern[at] == '*') ++at;
  return at == pattern.size();
}

}  // namespace

absl::Status FunctionFilter::CheckRoom() const {
  if (entries() < kEntriesMax) return absl::OkStatus();
  return absl::ResourceExhaustedError(absl::StrCat(
      "a selection of functions has at most ", kEntriesMax, " entries"));
}

absl::Status FunctionFilter::AddIndex(uint32_t index) {
  if (absl::Status room = CheckRoom(); !room.ok()) return room;
  indexes_.push_back(index);
  return absl::OkStatus();
}

absl::Status FunctionFilter::AddName(absl::string_view name) {
  if (absl::Status room = CheckRoom(); !room.ok()) return room;
  if (name.empty()) {
    return absl::InvalidArgumentError("a function's name cannot be empty");
  }
  if (name.size() > kNameBytesMax) {
    return absl::ResourceExhaustedError(
        absl::StrCat("a function's name has at most ", kNameBytesMax,
                     " bytes here, not ", name.size()));
  }
  names_.emplace_back(name);
  return absl::OkStatus();
}

absl::Status FunctionFilter::AddPattern(absl::string_view pattern) {
  if (absl::Status room = CheckRoom(); !room.ok()) return room;
  if (pattern.empty()) {
    return absl::InvalidArgumentError("a pattern of names cannot be empty");
  }
  if (pattern.size() > kPatternBytesMax) {
    return absl::ResourceExhaustedError(
        absl::StrCat("a pattern of names has at most ", kPatternBytesMax,
                     " bytes, not ", pattern.size()));
  }
  for (size_t i = 0; i < pattern.size(); ++i) {
    if (pattern[i] == '\\' && ++i == pattern.size()) {
      return absl::InvalidArgumentError(
          absl::StrCat("the pattern \"", absl::CHexEscape(pattern),
                       "\" ends in a \\ that takes nothing"));
    }
  }
  patterns_.emplace_back(pattern);
  return absl::OkStatus();
}

absl::Status FunctionFilter::Add(absl::string_view text) {
  if (!absl::StartsWith(text, "#")) return AddPattern(text);
  uint32_t index = 0;
  if (text.size() < 2 || text[1] < '0' || text[1] > '9' ||
      !absl::SimpleAtoi(text.substr(1), &index)) {
    return absl::InvalidArgumentError(
        absl::StrCat("\"", absl::CHexEscape(text),
                     "\" is no function index; a name that begins with # is "
                     "written \\#"));
  }
  return AddIndex(index);
}

bool FunctionFilter::HasIndex(uint32_t index) const {
  return std::find(indexes_.begin(), indexes_.end(), index) != indexes_.end();
}

bool FunctionFilter::HasName(absl::string_view name) const {
  name = name.substr(0, kNameBytesMax);
  return std::find(names_.begin(), names_.end(), name) != names_.end() ||
         std::any_of(patterns_.begin(), patterns_.end(),
                     [&](const std::string& pattern) {
                       return Matches(pattern, name);
                     });
}

}  // namespace callgate
