#include "policy/expression/pattern_list.h"

#include <re2/re2.h>

#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "policy/quote.h"

namespace callgate::policy::expression {
namespace {

// Of one pattern's automaton, which grows while it is used up to this.
constexpr int64_t kMemoryMax = 4 << 20;

absl::StatusOr<std::unique_ptr<re2::RE2>> CreateOne(absl::string_view pattern,
                                                    bool of_bytes) {
  if (pattern.size() > PatternList::kBytesMax) {
    return absl::InvalidArgumentError(
        absl::StrCat("is longer than ", PatternList::kBytesMax, " bytes"));
  }
  re2::RE2::Options options;
  options.set_encoding(of_bytes ? re2::RE2::Options::EncodingLatin1
                                : re2::RE2::Options::EncodingUTF8);
  options.set_log_errors(false);
  options.set_never_capture(true);
  options.set_max_mem(kMemoryMax);
  auto compiled = std::make_unique<re2::RE2>(
      re2::StringPiece(pattern.data(), pattern.size()), options);
  if (!compiled->ok()) {
    return absl::InvalidArgumentError(absl::StrCat(
        "is not a pattern of RE2: ", EscapeText(compiled->error())));
  }
  if (compiled->ProgramSize() > PatternList::kProgramSizeMax) {
    return absl::InvalidArgumentError(absl::StrCat(
        "compiles to ", compiled->ProgramSize(), " instructions; at most ",
        PatternList::kProgramSizeMax, " are allowed, so repeat less"));
  }
  return compiled;
}

// Patterns of bytes are read byte by byte: a character beyond ASCII is the
// bytes of its UTF-8 form, and `.` is one byte.
constexpr bool kOfBytes = true;

}  // namespace

PatternList::PatternList() = default;
PatternList::~PatternList() = default;

absl::StatusOr<std::shared_ptr<const PatternList>> PatternList::Create(
    const std::vector<std::string>& items) {
  if (items.size() > kItemsMax) {
    return absl::InvalidArgumentError(absl::StrCat(
        items.size(), " patterns; at most ", kItemsMax, " are allowed"));
  }
  std::shared_ptr<PatternList> list(new PatternList);
  for (const std::string& item : items) {
    auto of_strings = CreateOne(item, !kOfBytes);
    auto of_bytes = CreateOne(item, kOfBytes);
    for (const auto* one : {&of_strings, &of_bytes}) {
      if (!one->ok()) {
        return absl::InvalidArgumentError(
            absl::StrCat(Quote(item), " ", one->status().message()));
      }
    }
    list->of_strings_.push_back(*std::move(of_strings));
    list->of_bytes_.push_back(*std::move(of_bytes));
  }
  return std::shared_ptr<const PatternList>(std::move(list));
}

bool PatternList::FoundIn(absl::string_view text, bool text_is_bytes) const {
  const re2::StringPiece piece(text.data(), text.size());
  for (const auto& pattern : text_is_bytes ? of_bytes_ : of_strings_) {
    if (pattern->Match(piece, 0, text.size(), re2::RE2::UNANCHORED, nullptr,
                       0)) {
      return true;
    }
  }
  return false;
}

}  // namespace callgate::policy::expression
