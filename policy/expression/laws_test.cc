// Laws that hold for all values: arithmetic is exact or an error, operands of
// && and || may change places, quantifiers are && and || over a list.

#include <algorithm>
#include <limits>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "policy/expression/expression.h"

namespace callgate::policy::expression {
namespace {

// Not of ISO C++, as the warning would say.
__extension__ typedef __int128 Int128;

Schema MakeSchema(const std::vector<std::string>& names, Type type) {
  Schema schema;
  for (const std::string& name : names) {
    Fact fact;
    fact.name = name;
    fact.type = type;
    EXPECT_TRUE(schema.Declare(std::move(fact)).ok());
  }
  return schema;
}

Value EvaluateOrDie(const std::string& source, const Schema& schema,
                    const std::vector<Value>& facts, Scratch* scratch) {
  const CompileResult compiled = Compile(source, schema);
  EXPECT_TRUE(compiled.ok()) << source;
  const Evaluation evaluation = compiled.program->Evaluate(facts, scratch);
  EXPECT_LE(evaluation.steps, compiled.program->cost());
  return evaluation.value;
}

// The result of an operator, exactly; nothing for division by zero.
std::optional<Int128> Exactly(char sign, Int128 a, Int128 b) {
  switch (sign) {
    case '+':
      return a + b;
    case '-':
      return a - b;
    case '*':
      return a * b;
    case '/':
      if (b == 0) return std::nullopt;
      return a / b;
    default:
      if (b == 0) return std::nullopt;
      return a % b;
  }
}

constexpr char kSigns[] = {'+', '-', '*', '/', '%'};

TEST(Laws, IntsAreExactOrAnError) {
  constexpr int64_t kMin = std::numeric_limits<int64_t>::min();
  constexpr int64_t kMax = std::numeric_limits<int64_t>::max();
  const std::vector<int64_t> values = {
      kMin,       kMin + 1,   kMin / 2,   -3037000500, -3037000499, -4294967296,
      -2,         -1,         0,          1,           2,           3,
      4294967296, 3037000499, 3037000500, kMax / 2,    kMax - 1,    kMax};
  const Schema schema = MakeSchema({"a", "b"}, TypeKind::kInt);
  Scratch scratch;
  int errors = 0;
  for (const char sign : kSigns) {
    const CompileResult compiled =
        Compile(absl::StrCat("a ", std::string(1, sign), " b"), schema);
    ASSERT_TRUE(compiled.ok());
    for (const int64_t a : values) {
      for (const int64_t b : values) {
        const std::optional<Int128> exact = Exactly(sign, a, b);
        // A remainder overflows with the division that it belongs to.
        const bool fits = exact.has_value() && *exact >= kMin &&
                          *exact <= kMax &&
                          !(sign == '%' && a == kMin && b == -1);
        const Value value =
            compiled.program->Evaluate({Value::Int(a), Value::Int(b)}, &scratch)
                .value;
        ASSERT_EQ(!value.is_error(), fits) << a << sign << b;
        if (fits) {
          ASSERT_EQ(value.as_int(), static_cast<int64_t>(*exact))
              << a << sign << b;
        }
        errors += fits ? 0 : 1;
      }
    }
  }
  EXPECT_GT(errors, 100);
}

TEST(Laws, UintsAreExactOrAnError) {
  constexpr uint64_t kMax = std::numeric_limits<uint64_t>::max();
  const std::vector<uint64_t> values = {
      0, 1, 2, 3, 4294967295, 4294967296, kMax / 2, kMax / 3, kMax - 1, kMax};
  const Schema schema = MakeSchema({"a", "b"}, TypeKind::kUint);
  Scratch scratch;
  for (const char sign : kSigns) {
    const CompileResult compiled =
        Compile(absl::StrCat("a ", std::string(1, sign), " b"), schema);
    ASSERT_TRUE(compiled.ok());
    for (const uint64_t a : values) {
      for (const uint64_t b : values) {
        // Products are looked at by dividing: they may need 128 bits unsigned.
        const bool product_fits = a == 0 || b <= kMax / a;
        std::optional<Int128> exact;
        if (sign != '*' || product_fits) {
          exact = Exactly(sign, static_cast<Int128>(a), static_cast<Int128>(b));
        }
        const bool fits = exact.has_value() && *exact >= 0 &&
                          *exact <= static_cast<Int128>(kMax);
        const Value value =
            compiled.program
                ->Evaluate({Value::Uint(a), Value::Uint(b)}, &scratch)
                .value;
        ASSERT_EQ(!value.is_error(), fits) << a << sign << b;
        if (fits) {
          ASSERT_EQ(value.as_uint(), static_cast<uint64_t>(*exact))
              << a << sign << b;
        }
      }
    }
  }
}

// What an operand of && and || may turn out to be.
enum Outcome { kFalse, kTrue, kError };

Outcome OutcomeOf(const Value& value) {
  if (value.is_error()) return kError;
  return value.as_bool() ? kTrue : kFalse;
}

// An operand with that outcome, which the compiler cannot know: d is 0.
std::string Operand(Outcome outcome) {
  switch (outcome) {
    case kFalse:
      return "d == 1";
    case kTrue:
      return "d == 0";
    case kError:
      return "1 / d == 1";
  }
  return "";
}

Outcome Decided(const std::vector<Outcome>& operands, Outcome deciding) {
  bool error = false;
  for (const Outcome operand : operands) {
    if (operand == deciding) return deciding;
    error = error || operand == kError;
  }
  if (error) return kError;
  return deciding == kTrue ? kFalse : kTrue;
}

// All rows of `count` outcomes.
std::vector<std::vector<Outcome>> AllRows(size_t count) {
  std::vector<std::vector<Outcome>> rows = {{}};
  for (size_t i = 0; i < count; ++i) {
    std::vector<std::vector<Outcome>> longer;
    for (const std::vector<Outcome>& row : rows) {
      for (const Outcome outcome : {kFalse, kTrue, kError}) {
        longer.push_back(row);
        longer.back().push_back(outcome);
      }
    }
    rows = std::move(longer);
  }
  return rows;
}

TEST(Laws, OperandsThatDecideAbsorbErrorsInAnyOrder) {
  const Schema schema = MakeSchema({"d"}, TypeKind::kInt);
  Scratch scratch;
  for (const size_t count : {2u, 3u, 4u}) {
    for (const std::vector<Outcome>& row : AllRows(count)) {
      for (const bool is_or : {false, true}) {
        std::string source;
        for (const Outcome operand : row) {
          absl::StrAppend(&source,
                          source.empty() ? ""
                          : is_or        ? " || "
                                         : " && ",
                          Operand(operand));
        }
        const Outcome wanted = Decided(row, is_or ? kTrue : kFalse);
        ASSERT_EQ(
            OutcomeOf(EvaluateOrDie(source, schema, {Value::Int(0)}, &scratch)),
            wanted)
            << source;
        // Known operands are cut off, and change nothing.
        const std::string known =
            absl::StrCat("true && (", source, ") || false");
        ASSERT_EQ(
            OutcomeOf(EvaluateOrDie(known, schema, {Value::Int(0)}, &scratch)),
            wanted)
            << known;
      }
    }
  }
}

TEST(Laws, NestedOperandsAbsorbOnTheirOwn) {
  const Schema schema = MakeSchema({"d"}, TypeKind::kInt);
  Scratch scratch;
  for (const std::vector<Outcome>& row : AllRows(4)) {
    const std::string source =
        absl::StrCat("(", Operand(row[0]), " && ", Operand(row[1]), ") || !(",
                     Operand(row[2]), " || ", Operand(row[3]), ")");
    const Outcome left = Decided({row[0], row[1]}, kFalse);
    const Outcome inner = Decided({row[2], row[3]}, kTrue);
    const Outcome right = inner == kError  ? kError
                          : inner == kTrue ? kFalse
                                           : kTrue;
    ASSERT_EQ(
        OutcomeOf(EvaluateOrDie(source, schema, {Value::Int(0)}, &scratch)),
        Decided({left, right}, kTrue))
        << source;
  }
}

TEST(Laws, QuantifiersAreLogicOverTheElements) {
  const Schema schema = MakeSchema({"list"}, Type::List(TypeKind::kInt));
  Scratch scratch;
  for (const size_t count : {0u, 1u, 2u, 3u, 4u}) {
    for (const std::vector<Outcome>& row : AllRows(count)) {
      // 1 / (x - 1) is 1 for 2, -1 for 0 and an error for 1.
      std::vector<Value> items;
      for (const Outcome outcome : row) {
        items.push_back(Value::Int(outcome == kTrue    ? 2
                                   : outcome == kFalse ? 0
                                                       : 1));
      }
      const std::vector<Value> facts = {Value::List(items)};
      const auto outcome = [&](const char* quantifier) {
        return OutcomeOf(EvaluateOrDie(
            absl::StrCat("list.", quantifier, "(x, 1 / (x - 1) == 1)"), schema,
            facts, &scratch));
      };
      ASSERT_EQ(outcome("exists"), Decided(row, kTrue));
      ASSERT_EQ(outcome("all"), Decided(row, kFalse));
      // Of exactly one, every error counts.
      const bool error = std::count(row.begin(), row.end(), kError) > 0;
      const bool one = std::count(row.begin(), row.end(), kTrue) == 1;
      ASSERT_EQ(outcome("exists_one"), error ? kError : one ? kTrue : kFalse);
    }
  }
}

}  // namespace
}  // namespace callgate::policy::expression
