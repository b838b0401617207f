// Splits an expression into tokens.

#ifndef CALLGATE_POLICY_EXPRESSION_LEXER_H_
#define CALLGATE_POLICY_EXPRESSION_LEXER_H_

#include <cstdint>
#include <string>

#include "absl/strings/string_view.h"

namespace callgate::policy::expression {

enum class TokenKind : uint8_t {
  kEnd,
  kBad,  // `text` says why, `feature` whether it is a part of CEL
  kWord,
  kInt,  // its digits without a sign: `number`
  kUint,
  kDouble,
  kString,  // decoded: `text`
  kBytes,
  kLeftParen,
  kRightParen,
  kLeftBracket,
  kRightBracket,
  kLeftBrace,
  kDot,
  kComma,
  kQuestion,
  kColon,
  kNot,
  kMinus,
  kPlus,
  kStar,
  kSlash,
  kPercent,
  kEqual,
  kNotEqual,
  kLess,
  kLessEqual,
  kGreater,
  kGreaterEqual,
  kAnd,
  kOr,
  kIn,
};

struct Token {
  TokenKind kind = TokenKind::kEnd;
  uint32_t at = 0;
  uint32_t end = 0;
  uint64_t number = 0;
  double real = 0;
  std::string text;
  std::string feature;
};

// `source` must be UTF-8 and outlive this.
class Lexer {
 public:
  explicit Lexer(absl::string_view source) : source_(source) {}

  // After kEnd and kBad, the same again.
  Token Next();

 private:
  bool Has(size_t ahead, absl::string_view chars) const;
  void SkipBlanks();
  Token Number();
  Token Quoted(bool raw, bool bytes);
  Token Bad(uint32_t at, std::string why) const;

  absl::string_view source_;
  size_t at_ = 0;
};

}  // namespace callgate::policy::expression

#endif  // CALLGATE_POLICY_EXPRESSION_LEXER_H_
