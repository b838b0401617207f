#include "policy/expression/glob_list.h"

#include <algorithm>
#include <map>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "policy/quote.h"

namespace callgate::policy::expression {
namespace {

// What a pattern is before it becomes bits.
struct Wanted {
  enum Kind { kByte, kAnyInSegment };
  Kind kind = kByte;
  unsigned char byte = 0;
};
struct Star {
  size_t at = 0;  // before the byte of this number
  bool crosses_slashes = false;
  bool skips_slash = false;
};

void SetBit(std::vector<uint64_t>* row, size_t offset, size_t bit) {
  (*row)[offset + bit / 64] |= uint64_t{1} << (bit % 64);
}

}  // namespace

absl::StatusOr<Glob> Glob::Create(absl::string_view pattern) {
  if (pattern.empty()) return absl::InvalidArgumentError("is empty");
  if (pattern.size() > kBytesMax) {
    return absl::InvalidArgumentError(
        absl::StrCat("is longer than ", kBytesMax, " bytes"));
  }
  std::vector<Wanted> wanted;
  std::vector<Star> stars;
  Glob glob;
  for (size_t i = 0; i < pattern.size(); ++i) {
    const char c = pattern[i];
    if (c == '*') {
      const bool two = i + 1 < pattern.size() && pattern[i + 1] == '*';
      if (two && i + 2 < pattern.size() && pattern[i + 2] == '*') {
        return absl::InvalidArgumentError("has more than two stars in a row");
      }
      const bool opens_segment = i == 0 || pattern[i - 1] == '/';
      const bool closes_segment =
          two && i + 2 < pattern.size() && pattern[i + 2] == '/';
      const bool skips = opens_segment && closes_segment;
      if (two) ++i;
      if (skips && !stars.empty() && stars.back().skips_slash &&
          stars.back().at + 1 == wanted.size()) {
        // "**/**/" is "**/", and only one of them can be passed by at a time.
        ++i;
        continue;
      }
      stars.push_back({wanted.size(), two, skips});
      continue;
    }
    Wanted want;
    if (c == '?') {
      want.kind = Wanted::kAnyInSegment;
    } else if (c == '[' || c == ']' || c == '{' || c == '}') {
      return absl::InvalidArgumentError(
          absl::StrCat("has an unescaped '", std::string(1, c),
                       "'; sets and alternatives are not supported, for the "
                       "character itself write \\",
                       std::string(1, c)));
    } else if (c == '\\') {
      if (i + 1 == pattern.size()) {
        return absl::InvalidArgumentError("ends with a backslash");
      }
      want.byte = static_cast<unsigned char>(pattern[++i]);
    } else {
      want.byte = static_cast<unsigned char>(c);
    }
    if (stars.empty() && want.kind == Wanted::kByte &&
        wanted.size() == glob.literal_.size()) {
      glob.literal_.push_back(static_cast<char>(want.byte));
    }
    wanted.push_back(want);
  }

  if (stars.empty() && glob.literal_.size() == wanted.size()) return glob;
  if (stars.size() == 1 && stars[0].crosses_slashes &&
      stars[0].at == wanted.size() && glob.literal_.size() == wanted.size()) {
    glob.rest_ = Rest::kAnything;
    return glob;
  }

  // Bits count from the end of the literal, but a star there may want to know
  // that a slash came before; it was looked at above.
  glob.rest_ = Rest::kPattern;
  const size_t skip = glob.literal_.size();
  glob.wanted_ = wanted.size() - skip;
  glob.words_ = glob.wanted_ / 64 + 1;
  glob.stay_.assign(glob.words_, 0);
  glob.stay_all_.assign(glob.words_, 0);
  glob.skip_.assign(glob.words_, 0);
  for (const Star& star : stars) {
    const size_t bit = star.at - skip;
    SetBit(star.crosses_slashes ? &glob.stay_all_ : &glob.stay_, 0, bit);
    if (star.skips_slash) SetBit(&glob.skip_, 0, bit);
  }
  // Row 0 is of bytes that the pattern does not name, row 1 of the slash.
  glob.row_of_byte_['/'] = 1;
  uint16_t rows = 2;
  for (size_t i = skip; i < wanted.size(); ++i) {
    uint16_t& row = glob.row_of_byte_[wanted[i].byte];
    if (wanted[i].kind == Wanted::kByte && row == 0) row = rows++;
  }
  glob.enter_.assign(glob.words_ * rows, 0);
  for (size_t i = skip; i < wanted.size(); ++i) {
    const size_t bit = i - skip + 1;
    if (wanted[i].kind == Wanted::kByte) {
      SetBit(&glob.enter_, glob.row_of_byte_[wanted[i].byte] * glob.words_,
             bit);
      continue;
    }
    for (size_t row = 0; row < rows; ++row) {
      if (row != 1) SetBit(&glob.enter_, row * glob.words_, bit);
    }
  }
  return glob;
}

bool Glob::Matches(absl::string_view text) const {
  if (!absl::StartsWith(text, literal_)) return false;
  switch (rest_) {
    case Rest::kNothing:
      return text.size() == literal_.size();
    case Rest::kAnything:
      return true;
    case Rest::kPattern:
      break;
  }
  return Run(text.substr(literal_.size()));
}

bool Glob::Run(absl::string_view text) const {
  uint64_t seen[kWordsMax];
  std::fill_n(seen, words_, uint64_t{0});
  seen[0] = 1;
  // Only what was just entered may pass a "**/" by; the star itself, which
  // stays, has taken bytes of a segment that must end with a slash.
  if ((skip_[0] & 1) != 0) seen[0] |= 2;
  for (const char c : text) {
    const uint64_t* const enter =
        &enter_[row_of_byte_[static_cast<unsigned char>(c)] * words_];
    uint64_t from_below = 0;
    uint64_t skip_below = 0;
    uint64_t any = 0;
    for (size_t w = 0; w < words_; ++w) {
      const uint64_t entered = (seen[w] << 1 | from_below) & enter[w];
      const uint64_t stayed =
          seen[w] & (stay_all_[w] | (c == '/' ? 0 : stay_[w]));
      const uint64_t skipping = entered & skip_[w];
      from_below = seen[w] >> 63;
      seen[w] = entered | stayed | skipping << 1 | skip_below;
      skip_below = skipping >> 63;
      any |= seen[w];
    }
    if (any == 0) return false;
  }
  return (seen[wanted_ / 64] >> (wanted_ % 64) & 1) != 0;
}

absl::StatusOr<std::shared_ptr<const GlobList>> GlobList::Create(
    const std::vector<std::string>& items) {
  if (items.size() > kItemsMax) {
    return absl::InvalidArgumentError(absl::StrCat(
        items.size(), " globs; at most ", kItemsMax, " are allowed"));
  }
  auto list = std::make_shared<GlobList>();
  for (const std::string& item : items) {
    absl::StatusOr<Glob> glob = Glob::Create(item);
    if (!glob.ok()) {
      return absl::InvalidArgumentError(
          absl::StrCat(Quote(item), " ", glob.status().message()));
    }
    list->words_ += glob->words();
    list->globs_.push_back(*std::move(glob));
  }
  return std::shared_ptr<const GlobList>(std::move(list));
}

bool GlobList::Matches(absl::string_view text) const {
  for (const Glob& glob : globs_) {
    if (glob.Matches(text)) return true;
  }
  return false;
}

}  // namespace callgate::policy::expression
