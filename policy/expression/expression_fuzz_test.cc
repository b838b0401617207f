// Drives the fuzz entry over mutated expressions, a fixed number of times with
// a fixed seed: what libFuzzer does without end where there is one.

#include "policy/expression/expression_fuzz.h"

#include <iterator>
#include <random>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "policy/expression/random_expression.h"

namespace callgate::policy::expression {
namespace {

void Feed(const std::string& input) {
  // SAFETY: characters may be looked at as bytes.
  LLVMFuzzerTestOneInput(reinterpret_cast<const uint8_t*>(input.data()),
                         input.size());
}

// Words that a random byte would not hit upon.
const char* const kWords[] = {
    "args.path",
    "args.flags",
    "args.ports",
    "call.import",
    "now",
    "true",
    "null",
    "1u",
    "0x7fffffffffffffff",
    "1e308",
    "-",
    "!",
    "(",
    ")",
    "[",
    "]",
    "{",
    "}",
    " in ",
    " ? ",
    " : ",
    " && ",
    " || ",
    " == ",
    " < ",
    ".exists(x, ",
    ".all(x, ",
    ".exists_one(x, ",
    "x",
    ".size()",
    ".segments()",
    ".matches('",
    "list('paths')",
    "has(",
    "dyn(",
    "duration('1s')",
    "ip('::1')",
    "math.bitAnd(",
    ",",
    "'",
    "\"\"\"",
    "r'",
    "b'",
    "\\x",
    "\\u{",
    "\\U0010ffff",
    "//",
    "\n",
    "\xff",
    "\xe2\x80\xae",
    "`",
    ".?",
    "[0]",
    "9223372036854775808",
};

class Mutator {
 public:
  explicit Mutator(uint32_t seed) : random_(seed) {}

  std::mt19937* random() { return &random_; }

  std::string Mutate(std::string text, const std::string& other) {
    const size_t times = 1 + Below(3);
    for (size_t i = 0; i < times; ++i) Once(&text, other);
    return text;
  }

 private:
  size_t Below(size_t n) { return n == 0 ? 0 : random_() % n; }

  void Once(std::string* text, const std::string& other) {
    const size_t at = Below(text->size() + 1);
    switch (Below(6)) {
      case 0:
        if (at < text->size()) (*text)[at] = static_cast<char>(Below(256));
        return;
      case 1:
        text->insert(at, kWords[Below(std::size(kWords))]);
        return;
      case 2:
        text->erase(at, 1 + Below(12));
        return;
      case 3: {
        const size_t from = Below(text->size() + 1);
        text->insert(at, text->substr(from, 1 + Below(60)));
        return;
      }
      case 4: {
        const size_t from = Below(other.size() + 1);
        text->insert(at, other.substr(from, 1 + Below(60)));
        return;
      }
      default:
        text->resize(at);
        return;
    }
  }

  std::mt19937 random_;
};

TEST(ExpressionFuzz, MutatedExpressionsPass) {
  Mutator mutator(20260228);
  std::string other = "args.path in list('paths')";
  for (int i = 0; i < 15'000; ++i) {
    const std::string source =
        RandomExpression(TypeKind::kBool, 1 + i % 4, mutator.random());
    Feed(source);
    Feed(mutator.Mutate(source, other));
    other = source;
  }
}

TEST(ExpressionFuzz, WordsInAnyOrderPass) {
  std::mt19937 random(20260301);
  for (int i = 0; i < 20'000; ++i) {
    std::string source;
    const size_t count = 1 + random() % 12;
    for (size_t j = 0; j < count; ++j) {
      source += kWords[random() % std::size(kWords)];
    }
    Feed(source);
  }
}

TEST(ExpressionFuzz, RandomBytesPass) {
  std::mt19937 random(20260302);
  for (int i = 0; i < 5'000; ++i) {
    std::string input(random() % 100, '\0');
    for (char& c : input) c = static_cast<char>(random() % 256);
    Feed(input);
  }
}

TEST(ExpressionFuzz, RepeatedPiecesPass) {
  for (const char* const word : kWords) {
    for (const char* const next : {"", "1", "x", ")", "]"}) {
      std::string source;
      for (int i = 0; i < 400; ++i) source += std::string(word) + next;
      Feed(source);
      Feed("1 in [" + source);
    }
  }
}

}  // namespace
}  // namespace callgate::policy::expression
