// Globs over paths, and over names that have no slash.
//
//   *       any bytes but '/', also none
//   **      any bytes; "/**/" also stands for one slash
//   ?       one byte, not '/'
//   \x      x itself, whatever it is
//
// "/config/**" matches what lies below /config, and not /config. Case matters.
// Unescaped [ ] { } are refused: other globs give them a meaning, and a list
// that quietly takes them for themselves would not protect what it seems to.
//
// Matching takes one pass over the text whatever the pattern is: a pattern is a
// row of bits, one for each byte it wants, and each byte of the text moves all
// of them at once. It allocates nothing.

#ifndef CALLGATE_POLICY_EXPRESSION_GLOB_LIST_H_
#define CALLGATE_POLICY_EXPRESSION_GLOB_LIST_H_

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace callgate::policy::expression {

class Glob {
 public:
  static constexpr size_t kBytesMax = 1024;

  // InvalidArgument says what is wrong with the pattern, not which it is.
  static absl::StatusOr<Glob> Create(absl::string_view pattern);

  bool Matches(absl::string_view text) const;

  // Words that each byte of a text moves, for the cost of an expression.
  size_t words() const { return words_; }

 private:
  Glob() = default;

  bool Run(absl::string_view text) const;

  // The bytes before the first wildcard, compared at once.
  std::string literal_;
  enum class Rest : uint8_t { kNothing, kAnything, kPattern };
  Rest rest_ = Rest::kNothing;

  // Bit i of a row: i of the wanted bytes have been seen. Rows of words_ words.
  static constexpr size_t kWordsMax = kBytesMax / 64 + 1;
  size_t words_ = 0;
  size_t wanted_ = 0;
  std::array<uint16_t, 256> row_of_byte_{};
  std::vector<uint64_t> enter_;     // rows of bits that a byte may turn on
  std::vector<uint64_t> stay_;      // bits that any byte but '/' keeps
  std::vector<uint64_t> stay_all_;  // bits that any byte keeps
  std::vector<uint64_t> skip_;      // bits that, entered, pass "**/" by
};

// Immutable; any thread.
class GlobList {
 public:
  static constexpr size_t kItemsMax = 4096;

  // InvalidArgument names the item.
  static absl::StatusOr<std::shared_ptr<const GlobList>> Create(
      const std::vector<std::string>& items);

  bool Matches(absl::string_view text) const;

  size_t size() const { return globs_.size(); }
  // Of all globs together.
  size_t words() const { return words_; }

 private:
  std::vector<Glob> globs_;
  size_t words_ = 0;
};

}  // namespace callgate::policy::expression

#endif  // CALLGATE_POLICY_EXPRESSION_GLOB_LIST_H_
