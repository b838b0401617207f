// wabt's interpreter gets two things about catching wrong, and this engine
// mends them (instrument.h): where the operand stack ends when a catch begins,
// and which calls and throws stand in a `try`.

#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "runtime/linker.h"
#include "runtime/module.h"
#include "runtime/reference/reference_engine.h"
#include "runtime/store.h"
#include "tests/support/wat.h"

namespace callgate {
namespace {

struct Row {
  std::string name;
  std::string body;  // of a function of (param i32) (result i32)
  uint32_t want = 0;
};

class CatchTest : public testing::TestWithParam<Row> {};

TEST_P(CatchTest, LeavesLocalsAndOperandsAsTheyWere) {
  EngineOptions options;
  options.features.exceptions = true;
  options.features.tail_call = true;
  const std::unique_ptr<Engine> engine = NewReferenceEngine(options);
  const auto bytes = AssembleWat(absl::StrCat(R"((module
    (tag $e (param i32)) (tag $other)
    (type $two (func (param i32 i32) (result i32)))
    (func $throws (param i32) (throw $e (local.get 0)))
    (func $throws_from_deep (param i32) (local i64 i64 i64)
      (i64.const 1) (i64.const 2)
      (call $throws (local.get 0))
      (drop) (drop))
    (func $tested (param i32) (result i32) (local i64 i32) )",
                                              GetParam().body, R"()
    (func (export "outer") (param i32) (result i32) (local i64)
      (local.set 1 (i64.const 77))
      (i32.const 1000)
      (call $tested (local.get 0))
      (i32.add)
      (i32.wrap_i64 (local.get 1))
      (i32.sub))))"));
  ASSERT_TRUE(bytes.ok()) << bytes.status();
  auto module = Module::Compile(*engine, *bytes);
  ASSERT_TRUE(module.ok()) << module.status();
  Store store(*engine, Limits());
  const auto made = Linker().Instantiate(store, *module, "guest");
  ASSERT_TRUE(made.ok()) << made.status();
  const auto func = made->instance->GetFunc("outer");
  ASSERT_TRUE(func.ok()) << func.status();
  const Value arg = Value::I32(uint32_t{9});
  for (int time = 0; time < 2; ++time) {
    const auto called = func->Call({&arg, 1});
    ASSERT_TRUE(called.ok()) << called.status();
    ASSERT_TRUE(called->returned()) << called->trap->message();
    EXPECT_EQ(called->values[0].u32() + 77 - 1000, GetParam().want);
  }
}

INSTANTIATE_TEST_SUITE_P(
    Shapes, CatchTest,
    testing::ValuesIn(std::vector<Row>{
        {"the_value_thrown",
         "(try (result i32) (do (throw $e (i32.const 5))) (catch $e))", 5},
        {"locals",
         "(local.set 1 (i64.const 40)) (local.set 2 (i32.const 2)) "
         "(try (result i32) (do (throw $e (i32.const 5))) (catch $e "
         "(i32.add (i32.add (local.get 2) (i32.wrap_i64 (local.get 1))))))",
         47},
        {"locals_set_inside",
         "(try (do (local.set 2 (i32.const 3)) (throw $e (i32.const 5))) "
         "(catch $e (drop))) (i32.add (local.get 2) (local.get 0))",
         12},
        {"operands_before_it",
         "(i32.const 100) (i32.const 20) (try (result i32) (do (i32.const 1) "
         "(i32.const 2) (throw $e (i32.const 5))) (catch $e)) (i32.add) "
         "(i32.add)",
         125},
        {"from_a_call",
         "(i32.const 100) (try (result i32) (do (i32.const 3) (call $throws "
         "(local.get 0))) (catch $e)) (i32.add)",
         109},
        {"from_deep_down",
         "(local.set 2 (i32.const 30)) (i32.const 100) (try (result i32) (do "
         "(i32.const 3) (call $throws_from_deep (local.get 0))) (catch $e)) "
         "(i32.add) (i32.add (local.get 2))",
         139},
        {"of_a_try_with_parameters",
         "(i32.const 100) (i32.const 20) (i32.const 3) (try (param i32 i32) "
         "(result i32) (do (drop) (throw $e)) (catch $e)) (i32.add)",
         120},
        {"all",
         "(local.set 2 (i32.const 30)) (i32.const 100) (try (do (call $throws "
         "(i32.const 1))) (catch_all)) (i32.add (local.get 2))",
         130},
        {"the_inner_one_of_two",
         "(try (result i32) (do (try (result i32) (do (throw $e (i32.const "
         "5))) (catch $e (i32.add (i32.const 1))))) (catch $e (i32.add "
         "(i32.const 10))))",
         6},
        {"the_outer_one_for_what_stands_before_the_inner",
         "(try (result i32) (do (call $throws (i32.const 5)) (try (result i32) "
         "(do (i32.const 0)) (catch $e (i32.add (i32.const 1))))) (catch $e "
         "(i32.add (i32.const 10))))",
         15},
        {"the_outer_one_for_what_stands_behind_the_inner",
         "(try (result i32) (do (try (do) (catch_all (unreachable))) (throw $e "
         "(i32.const 5))) (catch $e (i32.add (i32.const 10))))",
         15},
        {"the_outer_one_for_another_tag",
         "(i32.const 200) (try (result i32) (do (i32.const 7) (try (do (throw "
         "$e (i32.const 5))) (catch $other)) ) (catch $e (i32.add (i32.const "
         "10)))) (i32.add)",
         215},
        {"again_after_rethrow",
         "(local.set 2 (i32.const 30)) (try (result i32) (do (try (result i32) "
         "(do (throw $e (i32.const 5))) (catch $e (drop) (rethrow 0)))) (catch "
         "$e (i32.add (local.get 2))))",
         35},
        {"by_delegation",
         "(local.set 2 (i32.const 30)) (i32.const 200) (try (result i32) (do "
         "(try (result i32) (do (i32.const 4) (throw $e (i32.const 5))) "
         "(delegate 0))) (catch $e (i32.add (local.get 2)))) (i32.add)",
         235},
    }),
    [](const auto& row) { return row.param.name; });

}  // namespace
}  // namespace callgate
