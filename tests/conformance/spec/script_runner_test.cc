// The runner itself: what it counts, and that a wrong expectation fails.

#include "tests/conformance/spec/script_runner.h"

#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "runtime/reference/reference_engine.h"

namespace callgate {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

ScriptResult RunText(const std::string& script) {
  return RunScript("test.wast", script, admission::Features(),
                   [](EngineOptions options) {
                     return NewReferenceEngine(std::move(options));
                   });
}

struct Row {
  std::string name;
  std::string script;
  int passed;
  int failed;
};
class ScriptRunnerTest : public testing::TestWithParam<Row> {};

TEST_P(ScriptRunnerTest, Counts) {
  const ScriptResult result = RunText(GetParam().script);
  EXPECT_EQ(result.passed, GetParam().passed)
      << testing::PrintToString(result.failures);
  EXPECT_EQ(result.failed, GetParam().failed)
      << testing::PrintToString(result.failures);
}

constexpr char kModule[] = R"(
  (module $m
    (memory 1)
    (table (export "t") 1 funcref)
    (global (export "g") i32 (i32.const 3))
    (func (export "id") (param f32) (result f32) (local.get 0))
    (func (export "ext") (param externref) (result externref) (local.get 0))
    (func (export "two") (result i32 i64) (i32.const 1) (i64.const 2))
    (func (export "oob") (drop (i32.load (i32.const 65536))))
    (func $deep (export "deep") (call $deep))
    (func (export "lanes") (result v128) (v128.const f32x4 nan 1 2 3)))
)";

INSTANTIATE_TEST_SUITE_P(Scripts, ScriptRunnerTest,
                         testing::ValuesIn<Row>({
                             {"holds", std::string(kModule) + R"(
           (assert_return (get "g") (i32.const 3))
           (assert_return (invoke "id" (f32.const 0.5)) (f32.const 0.5))
           (assert_return (invoke "id" (f32.const nan)) (f32.const nan:canonical))
           (assert_return (invoke "id" (f32.const nan:0x600000)) (f32.const nan:arithmetic))
           (assert_return (invoke "ext" (ref.extern 7)) (ref.extern 7))
           (assert_return (invoke "ext" (ref.null extern)) (ref.null extern))
           (assert_return (invoke "two") (i32.const 1) (i64.const 2))
           (assert_return (invoke "lanes") (v128.const f32x4 nan:canonical 1 2 3))
           (assert_trap (invoke "oob") "out of bounds memory access")
           (assert_exhaustion (invoke "deep") "call stack exhausted")
           (register "m" $m)
           (module (import "m" "t" (table 1 funcref)))
           (assert_unlinkable (module (import "m" "g" (global i64))) "incompatible import type")
           (assert_unlinkable (module (import "m" "none" (func))) "unknown import")
           (assert_trap (module (memory 1) (data (i32.const 65536) "x")) "out of bounds memory access")
           (assert_malformed (module quote "(func (") "unexpected end")
           (assert_malformed (module binary "\00asm\02\00\00\00") "unknown binary version")
           (assert_invalid (module (func (result i32))) "type mismatch"))",
                              18, 0},
                             {"wrong_values", std::string(kModule) + R"(
           (assert_return (get "g") (i32.const 4))
           (assert_return (invoke "id" (f32.const 0.0)) (f32.const -0.0))
           (assert_return (invoke "id" (f32.const nan:0x200000)) (f32.const nan:arithmetic))
           (assert_return (invoke "id" (f32.const nan:0x600000)) (f32.const nan:canonical))
           (assert_return (invoke "ext" (ref.extern 7)) (ref.extern 8))
           (assert_return (invoke "two") (i32.const 1) (i64.const 3))
           (assert_return (invoke "lanes") (v128.const f32x4 nan:canonical 1 2 4))
           (assert_return (invoke "oob")))",
                              1, 8},
                             {"wrong_endings", std::string(kModule) + R"(
           (assert_trap (invoke "two") "unreachable")
           (assert_trap (invoke "oob") "integer overflow")
           (assert_invalid (module) "type mismatch")
           (assert_malformed (module quote "(func) ") "anything")
           (assert_unlinkable (module) "unknown import")
           (assert_return (invoke "none")))",
                              1, 6},
                             {"does_not_parse", "(module", 0, 1},
                         }),
                         [](const auto& row) { return row.param.name; });

TEST(ScriptRunnerTest, SaysWhereItFailed) {
  const ScriptResult result =
      RunText("(module (func (export \"f\") (result i32) (i32.const 1)))\n"
          "(assert_return (invoke \"f\") (i32.const 2))\n");
  EXPECT_THAT(result.failures,
              ElementsAre(HasSubstr("line 2: assert_return: result 0 is "
                                    "i32:1")));
}

}  // namespace
}  // namespace callgate
