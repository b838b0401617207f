#include "policy/expression/problem.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "policy/quote.h"

namespace callgate::policy::expression {
namespace {

constexpr size_t kShownBefore = 60;
constexpr size_t kShownAfter = 40;

// The line that holds the position; the offset of the caret in it is
// column - 1.
absl::string_view LineOf(absl::string_view source, int line) {
  size_t begin = 0;
  for (int i = 1; i < line; ++i) {
    const size_t end = source.find('\n', begin);
    if (end == absl::string_view::npos) return "";
    begin = end + 1;
  }
  return source.substr(begin, source.find('\n', begin) - begin);
}

bool IsContinuation(char c) {
  return (static_cast<unsigned char>(c) & 0xc0) == 0x80;
}

// Escaped, but for backslashes and quotes, which only matter inside of quotes.
std::string Show(absl::string_view text) {
  const std::string escaped = EscapeText(text);
  std::string shown;
  for (size_t i = 0; i < escaped.size(); ++i) {
    const bool pair = escaped[i] == '\\' && i + 1 < escaped.size() &&
                      (escaped[i + 1] == '\\' || escaped[i + 1] == '"');
    if (pair) ++i;
    shown.push_back(escaped[i]);
  }
  return shown;
}

size_t Width(absl::string_view text) {
  return static_cast<size_t>(std::count_if(
      text.begin(), text.end(), [](char c) { return !IsContinuation(c); }));
}

}  // namespace

Position PositionAt(absl::string_view source, size_t offset) {
  const absl::string_view before = source.substr(0, offset);
  Position position;
  position.line =
      1 + static_cast<int>(std::count(before.begin(), before.end(), '\n'));
  const size_t line_begin = before.rfind('\n') + 1;  // npos + 1 is 0
  position.column = 1 + static_cast<int>(before.size() - line_begin);
  return position;
}

std::string Problem::ToString(absl::string_view source) const {
  const absl::string_view whole = LineOf(source, line);
  const size_t at =
      std::min(static_cast<size_t>(std::max(column - 1, 0)), whole.size());
  size_t begin = at > kShownBefore ? at - kShownBefore : 0;
  while (begin < at && IsContinuation(whole[begin])) ++begin;
  size_t end = std::min(whole.size(), at + kShownAfter);
  while (end < whole.size() && IsContinuation(whole[end])) ++end;
  const std::string before = Show(whole.substr(begin, at - begin));
  const std::string after = Show(whole.substr(at, end - at));
  const absl::string_view cut_before = begin > 0 ? "…" : "";
  const absl::string_view cut_after = end < whole.size() ? "…" : "";
  return absl::StrCat(line, ":", column, ": ", message, "\n  ", cut_before,
                      before, after, cut_after, "\n  ",
                      std::string(Width(cut_before) + Width(before), ' '), "^");
}

void ProblemList::Add(uint32_t offset, std::string message) {
  if (problems_.size() >= problems_max_) return;
  Problem problem;
  const Position position =
      PositionAt(source_, std::min<size_t>(offset, source_.size()));
  problem.line = position.line;
  problem.column = position.column;
  problem.message = std::move(message);
  problems_.push_back(std::move(problem));
}

void ProblemList::AddFeature(uint32_t offset, absl::string_view feature,
                             absl::string_view hint) {
  if (problems_.size() >= problems_max_) return;
  Add(offset, absl::StrCat(feature, ": not in the subset of CEL that policies",
                           " use", hint.empty() ? "" : "; ", hint));
  problems_.back().feature = std::string(feature);
}

void ProblemList::AddValueError(uint32_t offset, std::string message) {
  if (problems_.size() >= problems_max_) return;
  Add(offset, std::move(message));
  problems_.back().is_value_error = true;
}

std::vector<Problem> ProblemList::Take() {
  std::stable_sort(problems_.begin(), problems_.end(),
                   [](const Problem& a, const Problem& b) {
                     return a.line != b.line ? a.line < b.line
                                             : a.column < b.column;
                   });
  return std::move(problems_);
}

}  // namespace callgate::policy::expression
