// What operators cost, the same at both levels of the code, and how far a guest
// can run beyond its fuel: limits.h states both.

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "runtime/linker.h"
#include "runtime/module.h"
#include "runtime/native/abi.h"
#include "runtime/store.h"
#include "tests/support/native_engine.h"
#include "tests/support/wat.h"

namespace callgate {
namespace {

using native::CompileRequest;
using native::Level;

constexpr Level kLevels[] = {Level::kBaseline, Level::kOptimised};

const Engine& EngineOf(Level level) {
  static const auto make = [](Level of) {
    EngineOptions options;
    options.features.tail_call = true;
    options.features.exceptions = true;
    CompileRequest request;
    request.level = of;
    return NewInProcessNativeEngine(options, request).release();
  };
  static const Engine* const baseline = make(Level::kBaseline);
  static const Engine* const optimised = make(Level::kOptimised);
  return level == Level::kBaseline ? *baseline : *optimised;
}

// One guest in a Store of its own.
class Guest {
 public:
  Guest(Level level, const std::string& wat, const CallOptions& options = {})
      : store_(EngineOf(level), Limits()) {
    const auto bytes = AssembleWat(wat);
    EXPECT_TRUE(bytes.ok()) << bytes.status() << wat;
    if (!bytes.ok()) return;
    auto module = Module::Compile(store_.engine(), *bytes);
    EXPECT_TRUE(module.ok()) << module.status();
    if (!module.ok()) return;
    auto made =
        Linker().Instantiate(store_, *std::move(module), "guest", options);
    EXPECT_TRUE(made.ok()) << made.status();
    if (made.ok()) instantiation_ = *std::move(made);
  }

  const Instantiation& instantiation() const { return instantiation_; }

  CallResult Call(const std::string& name, std::optional<uint64_t> fuel = {},
                  const std::vector<Value>& args = {}) {
    CallOptions options;
    options.fuel = fuel;
    if (!instantiation_.instance.has_value()) {
      ADD_FAILURE() << "no instance";
      return CallResult();
    }
    const auto func = instantiation_.instance->GetFunc(name);
    EXPECT_TRUE(func.ok()) << func.status();
    auto called = func->Call(args, options);
    EXPECT_TRUE(called.ok()) << called.status();
    return *std::move(called);
  }

 private:
  Store store_;
  Instantiation instantiation_;
};

// ------------------------------------------------------------------- costs

struct Cost {
  const char* name;
  const char* body;  // of a function without parameters and results
  uint64_t fuel;     // 1 of it for the function
};

void PrintTo(const Cost& cost, std::ostream* out) { *out << cost.name; }

// Everything that a body may name.
std::string Around(const char* body) {
  return absl::StrCat(R"((module
    (type $void (func))
    (memory 1 3)
    (data "passive")
    (table $t 8 64 funcref)
    (elem (table $t) (i32.const 0) func $empty)
    (elem func $empty $empty $empty)
    (global $g (mut i32) (i32.const 0))
    (tag $tag (param i32))
    (func $empty)
    (func $two (result i32 i32) i32.const 1 i32.const 2)
    (func (export "go") (local $i i32) (local $v v128) )",
                      body, "))");
}

class OperatorCost : public testing::TestWithParam<Cost> {};

TEST_P(OperatorCost, IsAsStatedAtBothLevels) {
  const std::string wat = Around(GetParam().body);
  for (const Level level : kLevels) {
    Guest guest(level, wat);
    EXPECT_EQ(guest.Call("go").usage.fuel, GetParam().fuel);
    // Exactly that much is enough, and one less is not.
    Guest enough(level, wat);
    const CallResult exact = enough.Call("go", GetParam().fuel);
    EXPECT_EQ(exact.usage.fuel, GetParam().fuel);
    EXPECT_TRUE(exact.returned() || exact.trap->code() != TrapCode::kOutOfFuel);
    Guest less(level, wat);
    const CallResult short_by_one = less.Call("go", GetParam().fuel - 1);
    ASSERT_FALSE(short_by_one.returned());
    EXPECT_EQ(short_by_one.trap->code(), TrapCode::kOutOfFuel);
    EXPECT_EQ(short_by_one.usage.fuel, GetParam().fuel - 1);
  }
}

INSTANTIATE_TEST_SUITE_P(
    Operators, OperatorCost,
    testing::ValuesIn<Cost>({
        {"function", "", 1},
        // Free.
        {"nop", "nop nop", 1},
        {"drop", "i32.const 1 drop", 2},
        {"block", "(block (block))", 1},
        {"loop", "(loop)", 1},
        {"unreachable", "unreachable", 1},
        {"return_", "return", 1},
        {"what_is_never_reached", "return i32.const 1 drop nop", 1},
        {"else_and_end", "(if (i32.const 0) (then) (else))", 3},
        // One each.
        {"numeric", "(drop (i32.add (i32.const 1) (i32.const 2)))", 4},
        {"locals", "(local.set $i (local.tee $i (local.get $i)))", 4},
        {"globals", "(global.set $g (global.get $g))", 3},
        {"select", "(drop (select (i32.const 1) (i32.const 2) (i32.const 0)))",
         5},
        {"if_taken", "(if (i32.const 1) (then i32.const 5 drop))", 4},
        {"if_not_taken", "(if (i32.const 0) (then i32.const 5 drop))", 3},
        {"br", "(block (br 0))", 2},
        {"br_if_taken", "(block (br_if 0 (i32.const 1)) i32.const 5 drop)", 3},
        {"br_if_not_taken", "(block (br_if 0 (i32.const 0)) i32.const 5 drop)",
         4},
        {"br_table", "(block (block (br_table 0 1 (i32.const 1))))", 3},
        {"load", "(drop (i32.load (i32.const 8)))", 3},
        {"store", "(i32.store (i32.const 8) (i32.const 1))", 4},
        {"memory_size", "(drop (memory.size))", 2},
        {"call", "(call $empty)", 3},
        {"call_of_many_results", "(call $two) drop drop", 5},
        {"call_indirect", "(call_indirect (type $void) (i32.const 0))", 4},
        {"return_call", "(return_call $empty)", 3},
        {"return_call_indirect",
         "(return_call_indirect (type $void) (i32.const 0))", 4},
        {"ref_null", "(drop (ref.null func))", 2},
        {"ref_func", "(drop (ref.func $empty))", 2},
        {"ref_is_null", "(drop (ref.is_null (ref.null func)))", 3},
        {"table_get", "(drop (table.get $t (i32.const 0)))", 3},
        {"table_set", "(table.set $t (i32.const 1) (ref.null func))", 4},
        {"table_size", "(drop (table.size $t))", 2},
        {"vector", "(drop (i32x4.add (local.get $v) (local.get $v)))", 4},
        {"data_drop", "(data.drop 0)", 2},
        {"elem_drop", "(elem.drop 1)", 2},
        {"throw_and_catch",
         "(try (do (throw $tag (i32.const 1))) (catch $tag drop))", 4},
        {"loop_of_three_rounds",
         "(loop (local.set $i (i32.add (local.get $i) (i32.const 1)))"
         " (br_if 0 (i32.lt_u (local.get $i) (i32.const 3))))",
         25},
        // By size.
        {"memory_fill_nothing",
         "(memory.fill (i32.const 0) (i32.const 1) (i32.const 0))", 5},
        {"memory_fill",
         "(memory.fill (i32.const 0) (i32.const 1) (i32.const 1000))", 1005},
        {"memory_copy",
         "(memory.copy (i32.const 10) (i32.const 0) (i32.const 60000))", 60005},
        {"memory_init",
         "(memory.init 0 (i32.const 0) (i32.const 0) (i32.const 7))", 12},
        {"memory_grow", "(drop (memory.grow (i32.const 2)))", 3},
        {"memory_grow_too_far", "(drop (memory.grow (i32.const 9)))", 3},
        {"table_fill",
         "(table.fill $t (i32.const 0) (ref.null func) (i32.const 8))", 13},
        {"table_copy",
         "(table.copy $t $t (i32.const 1) (i32.const 0) (i32.const 7))", 12},
        {"table_init",
         "(table.init $t 1 (i32.const 0) (i32.const 0) (i32.const 3))", 8},
        {"table_grow", "(drop (table.grow $t (ref.null func) (i32.const 40)))",
         44},
        {"table_grow_too_far",
         "(drop (table.grow $t (ref.null func) (i32.const 100)))", 4},
        // Longer than the whole memory: a trap, and no charge by size.
        {"memory_fill_out_of_bounds",
         "(memory.fill (i32.const 0) (i32.const 1) (i32.const 65537))", 5},
    }),
    [](const auto& row) { return std::string(row.param.name); });

// A bulk operation that is not paid for does nothing.
TEST(FuelCostTest, BulkWorkIsPaidForFirst) {
  for (const Level level : kLevels) {
    Guest guest(level, R"((module (memory 80)
      (func (export "fill") (param i32)
        (memory.fill (i32.const 0) (i32.const 7) (local.get 0)))
      (func (export "first") (result i32) (i32.load8_u (i32.const 0)))))");
    // In one slice, and over many.
    for (const uint32_t bytes : {1'000u, 5'000'000u}) {
      const CallResult short_by_one =
          guest.Call("fill", bytes + 4, {Value::I32(bytes)});
      ASSERT_FALSE(short_by_one.returned());
      EXPECT_EQ(short_by_one.trap->code(), TrapCode::kOutOfFuel);
      EXPECT_EQ(guest.Call("first").values[0].raw().u32(), 0u);
    }
    EXPECT_TRUE(
        guest.Call("fill", 5'000'005, {Value::I32(5'000'000)}).returned());
    EXPECT_EQ(guest.Call("first").values[0].raw().u32(), 7u);
  }
}

constexpr char kSegments[] = R"((module
  (memory 1) (table 10 funcref)
  (data (i32.const 0) "twelve bytes") (data "passive")
  (elem (i32.const 0) $f $f $f) (elem func $f)
  (func $f)
  (func $start (local i32) (local.set 0 (i32.const 1)))
  (start $start)))";

TEST(FuelCostTest, InstantiationPaysForSegmentsAndStart) {
  for (const Level level : kLevels) {
    // Twelve bytes, three elements, a function and two operators.
    constexpr uint64_t kCost = 12 + 3 + 3;
    CallOptions options;
    for (const uint64_t fuel : {kCost, kCost - 1, uint64_t{14}, uint64_t{0}}) {
      options.fuel = fuel;
      const Guest guest(level, kSegments, options);
      EXPECT_EQ(guest.instantiation().usage.fuel, fuel);
      if (fuel == kCost) {
        EXPECT_TRUE(guest.instantiation().instance.has_value());
      } else {
        ASSERT_TRUE(guest.instantiation().trap.has_value());
        EXPECT_EQ(guest.instantiation().trap->code(), TrapCode::kOutOfFuel);
      }
    }
  }
}

// ----------------------------------------------------------------- overrun

// Counts its own work: a round is four operators and adds one to "done".
std::string Rounds(int count) {
  std::string text;
  for (int i = 0; i < count; ++i) {
    absl::StrAppend(&text,
                    "(global.set $done (i32.add (global.get $done)"
                    " (i32.const 1)))");
  }
  return text;
}

std::string Counting(const std::string& functions) {
  return absl::StrCat(R"((module (global $done (mut i32) (i32.const 0))
    (func (export "done") (result i32) global.get $done) )",
                      functions, ")");
}

uint64_t OperatorsDone(Guest& guest) {
  return uint64_t{4} * guest.Call("done").values[0].raw().u32();
}

// Without a loop or a call on the way, in code of every shape.
TEST(FuelOverrunTest, OfOneFrameIsBounded) {
  const std::string straight = Rounds(2'000);
  // Each arm alone is shorter than the distance between two looks.
  std::string arms;
  std::string nested;
  for (int i = 0; i < 100; ++i) {
    absl::StrAppend(&arms, "(if (local.get 0) (then ", Rounds(20), ") (else ",
                    Rounds(20), "))");
    absl::StrAppend(&nested, "(block (br_if 0 (i32.eqz (local.get 0))) ",
                    Rounds(20), ")");
  }
  for (const Level level : kLevels) {
    for (const std::string& body : {straight, arms, nested}) {
      const std::string wat = Counting(
          absl::StrCat("(func (export \"go\") (param i32) ", body, ")"));
      for (const uint64_t fuel : {0u, 1u, 100u, 1'000u, 5'000u}) {
        Guest guest(level, wat);
        const CallResult result = guest.Call("go", fuel, {Value::I32(1)});
        ASSERT_FALSE(result.returned());
        EXPECT_EQ(result.trap->code(), TrapCode::kOutOfFuel);
        EXPECT_EQ(result.usage.fuel, fuel);
        EXPECT_LE(OperatorsDone(guest), fuel + native::kOperatorsBetweenLooks);
      }
    }
  }
}

// Frames that return one after another, each with work left to do.
TEST(FuelOverrunTest, OfManyFramesIsBoundedByTheirNumber) {
  constexpr uint64_t kFrames = 1'000;
  const std::string wat = Counting(
      absl::StrCat("(func $f (export \"go\") (param i32)"
                   " (if (local.get 0)"
                   "  (then (call $f (i32.sub (local.get 0) (i32.const 1)))))",
                   Rounds(1'000), ")"));
  for (const Level level : kLevels) {
    // To the bottom and no further: 7 operators and a function for each frame
    // that calls on.
    const uint64_t fuel = kFrames * 7 + 3;
    Guest guest(level, wat);
    const CallResult result =
        guest.Call("go", fuel, {Value::I32(static_cast<uint32_t>(kFrames))});
    ASSERT_FALSE(result.returned());
    EXPECT_EQ(result.trap->code(), TrapCode::kOutOfFuel);
    EXPECT_LE(OperatorsDone(guest),
              (kFrames + 1) * native::kOperatorsBetweenLooks);
  }
}

}  // namespace
}  // namespace callgate
