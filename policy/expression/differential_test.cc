// The fast evaluator against the slow one, over random expressions and facts.

#include <map>
#include <random>
#include <string>

#include "gtest/gtest.h"
#include "policy/expression/expression.h"
#include "policy/expression/parser.h"
#include "policy/expression/random_expression.h"
#include "policy/expression/reference_evaluator.h"

namespace callgate::policy::expression {
namespace {

constexpr int kExpressions = 12'000;
constexpr int kFactsPerExpression = 3;

Type RandomType(std::mt19937* random) {
  const Type types[] = {TypeKind::kBool,
                        TypeKind::kBool,
                        TypeKind::kBool,
                        TypeKind::kInt,
                        TypeKind::kUint,
                        TypeKind::kDouble,
                        TypeKind::kString,
                        TypeKind::kBytes,
                        TypeKind::kDuration,
                        TypeKind::kTimestamp,
                        Type::List(TypeKind::kInt),
                        Type::List(TypeKind::kString)};
  return types[(*random)() % std::size(types)];
}

std::string Show(const ReferenceValue& value) {
  return value.is_error() ? "an error" : "a value";
}

TEST(DifferentialTest, EvaluatorsAgreeAndStepsAreBounded) {
  std::mt19937 random(20260227);
  TestWorld world(1);
  const Schema schema = world.MakeSchema(false);
  Scratch scratch(1 << 20);
  int values = 0;
  int errors = 0;
  int too_large = 0;
  for (int i = 0; i < kExpressions; ++i) {
    const Type type = RandomType(&random);
    const int depth = 1 + static_cast<int>(random() % 5);
    const std::string source = RandomExpression(type, depth, &random);
    const CompileResult compiled = Compile(source, schema);
    if (!compiled.ok()) {
      // Only for its size is one refused: it is well-typed.
      const std::string& message = compiled.problems[0].message;
      ASSERT_TRUE(message.find("steps") != std::string::npos ||
                  message.find("too large") != std::string::npos)
          << compiled.problems[0].ToString(source);
      ++too_large;
      continue;
    }
    Limits limits;
    ProblemList problems(source, 1);
    const std::optional<Ast> ast = Parse(source, limits, &problems);
    ASSERT_TRUE(ast.has_value());
    for (int j = 0; j < kFactsPerExpression; ++j) {
      world.Shuffle();
      const Evaluation fast =
          compiled.program->Evaluate(world.values(), &scratch);
      ASSERT_LE(fast.steps, compiled.program->cost()) << source;
      const ReferenceValue slow = EvaluateSlowly(*ast, world.reference());
      ASSERT_TRUE(SameOutcome(slow, fast.value))
          << source << "\nfast: " << fast.value.ToString()
          << "\nslow: " << Show(slow);
      (fast.ok() ? values : errors)++;

      // With what is known of the facts folded in, it is the same again.
      const Schema known = world.MakeSchema(true);
      const CompileResult special = Compile(source, known);
      if (!special.ok()) continue;  // for its size
      const Evaluation folded =
          special.program->Evaluate(world.values(), &scratch);
      ASSERT_LE(folded.steps, special.program->cost()) << source;
      ASSERT_TRUE(SameOutcome(slow, folded.value))
          << source << "\nfolded: " << folded.value.ToString();
    }
  }
  // The comparison is of both kinds, and of nearly all.
  EXPECT_GT(values, kExpressions);
  EXPECT_GT(errors, kExpressions / 4);
  EXPECT_LT(too_large, kExpressions / 50);
}

std::string RandomGlob(std::mt19937* random) {
  static const char* const kParts[] = {"a",   "b", "/",   "*",  "**/",
                                       "/**", "?", "\\*", "ab", "/**/"};
  std::string glob;
  const size_t count = 1 + (*random)() % 6;
  for (size_t i = 0; i < count; ++i) {
    glob += kParts[(*random)() % std::size(kParts)];
  }
  return glob;
}

TEST(DifferentialTest, GlobsMatchAsEveryDivisionOfTheText) {
  std::mt19937 random(7);
  int matched = 0;
  int made = 0;
  for (int i = 0; i < 20'000; ++i) {
    const std::string pattern = RandomGlob(&random);
    const absl::StatusOr<Glob> glob = Glob::Create(pattern);
    if (!glob.ok()) continue;  // three stars in a row
    ++made;
    for (int j = 0; j < 4; ++j) {
      std::string text;
      const size_t size = random() % 9;
      for (size_t k = 0; k < size; ++k) text.push_back("ab/*"[random() % 4]);
      const bool slow = GlobMatchesSlowly(pattern, text);
      ASSERT_EQ(glob->Matches(text), slow) << pattern << " on " << text;
      matched += slow ? 1 : 0;
    }
  }
  EXPECT_GT(made, 10'000);
  EXPECT_GT(matched, 2'000);
}

TEST(DifferentialTest, LongGlobsCrossTheirWords) {
  std::mt19937 random(8);
  int matched = 0;
  for (int i = 0; i < 2'000; ++i) {
    std::string pattern;
    std::string text;
    for (int j = 0; j < 150; ++j) {
      char c = "ab/"[random() % 3];
      switch (random() % 12) {
        case 0:
          pattern += "?";
          c = 'a';
          break;
        case 1:
          if (pattern.empty() || pattern.back() != '*') pattern += "**";
          continue;
        case 2:
          pattern += "*";
          if (pattern.size() > 1 && pattern[pattern.size() - 2] == '*') {
            pattern.pop_back();
          }
          c = 'b';
          break;
        default:
          pattern += c;
          break;
      }
      if (random() % 400 != 0) text += c;
    }
    const absl::StatusOr<Glob> glob = Glob::Create(pattern);
    ASSERT_TRUE(glob.ok()) << pattern;
    const bool slow = GlobMatchesSlowly(pattern, text);
    ASSERT_EQ(glob->Matches(text), slow) << pattern << " on " << text;
    matched += slow ? 1 : 0;
  }
  EXPECT_GT(matched, 100);
}

TEST(DifferentialTest, NetworksContainBitByBit) {
  std::mt19937 random(9);
  const std::vector<std::string> networks = {
      "10.0.0.0/8",     "10.1.0.0/16",        "192.168.4.0/22",
      "0.0.0.0/32",     "fc00::/7",           "::1",
      "2001:db8::/33",  "::ffff:1.2.3.0/120", "128.0.0.0/1",
      "255.255.255.255"};
  const auto list = CidrList::Create(networks);
  ASSERT_TRUE(list.ok()) << list.status();
  int inside = 0;
  for (int i = 0; i < 50'000; ++i) {
    std::string address(random() % 2 == 0 ? 4 : 16, '\0');
    for (char& c : address) {
      static const unsigned char kBytes[] = {
          0, 1, 2, 3, 10, 192, 168, 4, 7, 0xfc, 255, 0x20, 0x0d, 0xb8, 0xff};
      c = static_cast<char>(kBytes[random() % std::size(kBytes)]);
    }
    if (address.size() == 16 && random() % 2 == 0) {
      address.replace(0, 12, std::string(10, '\0') + "\xff\xff");
    }
    bool slow = false;
    for (const std::string& network : networks) {
      slow = slow || InNetworkSlowly(network, address);
    }
    const auto key = IpKeyFromBytes(address);
    ASSERT_TRUE(key.has_value());
    ASSERT_EQ((*list)->Contains(*key), slow) << IpText(address);
    inside += slow ? 1 : 0;
  }
  EXPECT_GT(inside, 2'000);
  EXPECT_LT(inside, 48'000);
}

}  // namespace
}  // namespace callgate::policy::expression
