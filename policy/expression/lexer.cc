#include "policy/expression/lexer.h"

#include <cmath>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "policy/quote.h"

namespace callgate::policy::expression {
namespace {

bool IsDigit(char c) { return c >= '0' && c <= '9'; }
bool IsWordStart(char c) {
  return absl::ascii_isalpha(static_cast<unsigned char>(c)) || c == '_';
}
bool IsWord(char c) { return IsWordStart(c) || IsDigit(c); }

int HexDigit(char c) {
  if (IsDigit(c)) return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

void AppendUtf8(uint32_t code, std::string* out) {
  const auto put = [out](uint32_t byte) {
    out->push_back(static_cast<char>(static_cast<unsigned char>(byte)));
  };
  if (code < 0x80) {
    put(code);
  } else if (code < 0x800) {
    put(0xc0 | code >> 6);
    put(0x80 | (code & 0x3f));
  } else if (code < 0x10000) {
    put(0xe0 | code >> 12);
    put(0x80 | (code >> 6 & 0x3f));
    put(0x80 | (code & 0x3f));
  } else {
    put(0xf0 | code >> 18);
    put(0x80 | (code >> 12 & 0x3f));
    put(0x80 | (code >> 6 & 0x3f));
    put(0x80 | (code & 0x3f));
  }
}

// Decodes the escape that begins after the backslash at the front of `rest`.
// Returns how many bytes it took, without the backslash, or 0 with `why`.
size_t DecodeEscape(absl::string_view rest, bool bytes, std::string* out,
                    std::string* why) {
  const char c = rest[0];
  constexpr absl::string_view kNames = "abfnrtv\\?\"'`";
  constexpr absl::string_view kMeanings = "\a\b\f\n\r\t\v\\?\"'`";
  const size_t simple = kNames.find(c);
  if (simple != absl::string_view::npos) {
    out->push_back(kMeanings[simple]);
    return 1;
  }
  size_t skip = 1;
  size_t digits = 0;
  uint32_t base = 16;
  switch (c) {
    case 'x':
    case 'X':
      digits = 2;
      break;
    case 'u':
      digits = 4;
      break;
    case 'U':
      digits = 8;
      break;
    case '0':
    case '1':
    case '2':
    case '3':
      digits = 3;
      skip = 0;
      base = 8;
      break;
    default:
      *why = absl::StrCat("unknown escape \\", EscapeText(rest.substr(0, 1)),
                          "; a backslash is written \\\\");
      return 0;
  }
  if (bytes && digits > 3) {
    *why = "bytes have no \\u; write the bytes as \\x";
    return 0;
  }
  uint64_t code = 0;
  for (size_t i = 0; i < digits; ++i) {
    const int digit = skip + i < rest.size() ? HexDigit(rest[skip + i]) : -1;
    if (digit < 0 || digit >= static_cast<int>(base)) {
      *why = absl::StrCat("an escape here takes ", digits,
                          base == 8 ? " octal" : " hexadecimal", " digits");
      return 0;
    }
    code = code * base + static_cast<uint64_t>(digit);
  }
  if (bytes) {
    out->push_back(static_cast<char>(static_cast<unsigned char>(code)));
  } else if (code > 0x10ffff || (code >= 0xd800 && code <= 0xdfff)) {
    *why = "this escape is no Unicode character";
    return 0;
  } else {
    AppendUtf8(static_cast<uint32_t>(code), out);
  }
  return skip + digits;
}

}  // namespace

bool Lexer::Has(size_t ahead, absl::string_view chars) const {
  return at_ + ahead < source_.size() &&
         chars.find(source_[at_ + ahead]) != absl::string_view::npos;
}

void Lexer::SkipBlanks() {
  while (at_ < source_.size()) {
    if (Has(0, " \t\n\f\r")) {
      ++at_;
    } else if (Has(0, "/") && Has(1, "/")) {
      at_ = std::min(source_.find('\n', at_), source_.size());
    } else {
      return;
    }
  }
}

Token Lexer::Bad(uint32_t at, std::string why) const {
  Token token;
  token.kind = TokenKind::kBad;
  token.at = token.end = at;
  token.text = std::move(why);
  return token;
}

Token Lexer::Number() {
  Token token;
  token.at = static_cast<uint32_t>(at_);
  size_t end = at_;
  const auto digits = [&] {
    const size_t from = end;
    while (end < source_.size() && IsDigit(source_[end])) ++end;
    return end > from;
  };
  bool real = false;
  bool overflow = false;
  if (Has(0, "0") && Has(1, "xX")) {
    end += 2;
    const size_t from = end;
    while (end < source_.size() && HexDigit(source_[end]) >= 0) {
      overflow = overflow || token.number >> 60 != 0;
      token.number =
          token.number << 4 | static_cast<uint64_t>(HexDigit(source_[end]));
      ++end;
    }
    if (end == from) return Bad(token.at, "0x without digits");
  } else {
    digits();
    if (end + 1 < source_.size() && source_[end] == '.' &&
        IsDigit(source_[end + 1])) {
      ++end;
      real = digits();
    }
    if (end < source_.size() && (source_[end] == 'e' || source_[end] == 'E')) {
      ++end;
      if (end < source_.size() && (source_[end] == '+' || source_[end] == '-'))
        ++end;
      if (!digits()) return Bad(token.at, "an exponent without digits");
      real = true;
    }
    const absl::string_view text = source_.substr(at_, end - at_);
    if (real) {
      if (!absl::SimpleAtod(text, &token.real) || std::isinf(token.real)) {
        return Bad(token.at, "this number does not fit a double");
      }
    } else {
      overflow = !absl::SimpleAtoi(text, &token.number);
    }
  }
  token.kind = real ? TokenKind::kDouble : TokenKind::kInt;
  if (!real && end < source_.size() &&
      (source_[end] == 'u' || source_[end] == 'U')) {
    token.kind = TokenKind::kUint;
    ++end;
  }
  if (overflow) return Bad(token.at, "this number does not fit 64 bits");
  if (end < source_.size() && IsWord(source_[end])) {
    return Bad(static_cast<uint32_t>(end), "a letter right after a number");
  }
  token.end = static_cast<uint32_t>(end);
  at_ = end;
  return token;
}

Token Lexer::Quoted(bool raw, bool bytes) {
  Token token;
  token.kind = bytes ? TokenKind::kBytes : TokenKind::kString;
  const auto start = static_cast<uint32_t>(at_);
  token.at = start;
  size_t at = at_ + (raw ? 1 : 0) + (bytes ? 1 : 0);
  const char quote = source_[at];
  const std::string three(3, quote);
  const bool triple = source_.substr(at, 3) == three;
  at += triple ? 3 : 1;
  while (true) {
    if (at >= source_.size()) {
      return Bad(start, "this literal has no closing quote");
    }
    const char c = source_[at];
    if (c == quote && (!triple || source_.substr(at, 3) == three)) break;
    if (!triple && (c == '\n' || c == '\r')) {
      return Bad(start,
                 "this literal does not end on its line; longer ones take "
                 "three quotes");
    }
    if (c != '\\' || raw) {
      token.text.push_back(c);
      ++at;
      continue;
    }
    if (at + 1 >= source_.size()) {
      return Bad(start, "this literal has no closing quote");
    }
    std::string why;
    const size_t taken =
        DecodeEscape(source_.substr(at + 1), bytes, &token.text, &why);
    if (taken == 0) return Bad(static_cast<uint32_t>(at), std::move(why));
    at += 1 + taken;
  }
  at_ = at + (triple ? 3 : 1);
  token.end = static_cast<uint32_t>(at_);
  return token;
}

Token Lexer::Next() {
  SkipBlanks();
  Token token;
  token.at = static_cast<uint32_t>(at_);
  token.end = token.at;
  if (at_ >= source_.size()) return token;
  const char c = source_[at_];
  if (IsDigit(c) ||
      (c == '.' && at_ + 1 < source_.size() && IsDigit(source_[at_ + 1]))) {
    return Number();
  }
  constexpr absl::string_view kQuotes = "'\"";
  if (Has(0, kQuotes)) return Quoted(false, false);
  if (Has(0, "rR") && Has(1, kQuotes)) return Quoted(true, false);
  if (Has(0, "bB") && Has(1, kQuotes)) return Quoted(false, true);
  if (Has(0, "bB") && Has(1, "rR") && Has(2, kQuotes)) {
    return Quoted(true, true);
  }
  if (IsWordStart(c)) {
    while (at_ < source_.size() && IsWord(source_[at_])) ++at_;
    token.end = static_cast<uint32_t>(at_);
    token.text = std::string(source_.substr(token.at, token.end - token.at));
    token.kind = token.text == "in" ? TokenKind::kIn : TokenKind::kWord;
    return token;
  }
  struct Sign {
    absl::string_view text;
    TokenKind kind;
  };
  // Longer ones first.
  static constexpr Sign kSigns[] = {
      {"==", TokenKind::kEqual},      {"!=", TokenKind::kNotEqual},
      {"<=", TokenKind::kLessEqual},  {">=", TokenKind::kGreaterEqual},
      {"&&", TokenKind::kAnd},        {"||", TokenKind::kOr},
      {"(", TokenKind::kLeftParen},   {")", TokenKind::kRightParen},
      {"[", TokenKind::kLeftBracket}, {"]", TokenKind::kRightBracket},
      {"{", TokenKind::kLeftBrace},   {".", TokenKind::kDot},
      {",", TokenKind::kComma},       {"?", TokenKind::kQuestion},
      {":", TokenKind::kColon},       {"!", TokenKind::kNot},
      {"-", TokenKind::kMinus},       {"+", TokenKind::kPlus},
      {"*", TokenKind::kStar},        {"/", TokenKind::kSlash},
      {"%", TokenKind::kPercent},     {"<", TokenKind::kLess},
      {">", TokenKind::kGreater},
  };
  for (const Sign& sign : kSigns) {
    if (source_.substr(at_, sign.text.size()) == sign.text) {
      token.kind = sign.kind;
      at_ += sign.text.size();
      token.end = static_cast<uint32_t>(at_);
      return token;
    }
  }
  if (c == '`') {
    token = Bad(token.at, "quoted field name");
    token.feature = "quoted field name";
    return token;
  }
  const auto character = FirstUtf8Character(source_.substr(at_));
  std::string why = absl::StrCat(
      "unexpected character ",
      Quote(source_.substr(at_, character ? character->bytes : 1)));
  if (c == '=') why += "; equality is ==";
  if (c == '&') why += "; and is &&, of bits math.bitAnd";
  if (c == '|') why += "; or is ||, of bits math.bitOr";
  return Bad(token.at, std::move(why));
}

}  // namespace callgate::policy::expression
