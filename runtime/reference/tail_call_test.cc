// wabt's interpreter gets three things about tail calls wrong, and this engine
// mends them (instrument.h): it does not find a tail-called function that
// stands behind the caller where the module imports functions; it forgets
// operands beneath the arguments; and it makes a call and a return of a tail
// call of an import.

#include <memory>
#include <string>
#include <vector>

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

// Each body is a function of its own, which "outer" calls with values of its
// own around the call: what the tail call leaves behind would displace them.
class TailCallTest : public testing::TestWithParam<Row> {
 protected:
  static std::string Module(const std::string& body) {
    return R"((module
      (type $unary (func (param i32) (result i32)))
      (type $three (func (param i32 i32 i32) (result i32)))
      (type $none (func (result i32)))
      (import "env" "f" (func $host (param i32) (result i32)))
      (import "env" "g" (func $host_of_three (type $three)))
      (import "env" "h" (func $host_of_none (type $none)))
      (table funcref (elem $first $digits $seven $host $host_of_three))
      (global $g (mut i64) (i64.const 0))
      (func $first (param i32) (result i32) (i32.const 1))
      (func $tested (param i32) (result i32)
        (local $x i64) )" +
           body + R"()
      (func (export "outer") (param i32) (result i32)
        (local i64 i64)
        (local.set 1 (i64.const 1000000))
        (local.set 2 (i64.const 2000000))
        (i32.const 70000)
        (i64.const 3000000)
        (call $tested (local.get 0))
        ;; The result, then what must still be beneath it and in the locals.
        (local.set 0)
        (global.set $g)
        (i32.const 70000)
        (i32.ne)
        (if (then unreachable))
        (if (i64.ne (global.get $g) (i64.const 3000000)) (then unreachable))
        (if (i64.ne (local.get 1) (i64.const 1000000)) (then unreachable))
        (if (i64.ne (local.get 2) (i64.const 2000000)) (then unreachable))
        (local.get 0))
      ;; Their locals are found from the top of the stack.
      (func $digits (param i32 i32 i32) (result i32)
        (local $y i64)
        (i32.add
          (i32.add (i32.mul (local.get 0) (i32.const 100))
                   (i32.mul (local.get 1) (i32.const 10)))
          (i32.add (local.get 2) (i32.wrap_i64 (local.get $y)))))
      (func $seven (result i32) (local i32)
        (i32.add (local.get 0) (i32.const 7)))
      (func $count (param i32 i64) (result i32)
        (if (i32.eqz (local.get 0))
          (then (return (i32.wrap_i64 (local.get 1)))))
        (i64.const 11)
        (i64.const 12)
        (block (result i32)
          (i64.const 13)
          (i32.sub (local.get 0) (i32.const 1))
          (i64.add (local.get 1) (i64.const 2))
          (return_call $count))
        (unreachable))))";
  }
};

TEST_P(TailCallTest, LeavesItsCallersAsTheyWere) {
  EngineOptions options;
  options.features.tail_call = true;
  const std::unique_ptr<Engine> engine = NewReferenceEngine(options);
  const auto bytes = AssembleWat(Module(GetParam().body));
  ASSERT_TRUE(bytes.ok()) << bytes.status();
  auto module = callgate::Module::Compile(*engine, *bytes);
  ASSERT_TRUE(module.ok()) << module.status();
  Linker linker;
  const ValType i32 = ValType::kI32;
  const auto define = [&](const char* name, std::vector<ValType> params) {
    const absl::Status defined =
        linker.DefineFunc("env", name,
                          {{std::move(params), {i32}},
                           {},
                           [](Caller&, absl::Span<const RawValue> args,
                              absl::Span<RawValue> results) -> ErrorRef {
                             uint32_t number = 4;
                             for (const RawValue& arg : args)
                               number = number * 10 + arg.u32();
                             results[0] = RawValue::I32(number);
                             return nullptr;
                           }});
    ASSERT_TRUE(defined.ok()) << defined;
  };
  define("f", {i32});
  define("g", {i32, i32, i32});
  define("h", {});
  Store store(*engine, Limits());
  const auto made = linker.Instantiate(store, *module, "guest");
  ASSERT_TRUE(made.ok()) << made.status();
  const auto func = made->instance->GetFunc("outer");
  ASSERT_TRUE(func.ok()) << func.status();
  const Value arg = Value::I32(uint32_t{9});
  for (int time = 0; time < 2; ++time) {
    const auto called = func->Call({&arg, 1});
    ASSERT_TRUE(called.ok()) << called.status();
    ASSERT_TRUE(called->returned()) << called->trap->message();
    EXPECT_EQ(called->values[0].u32(), GetParam().want);
  }
}

INSTANTIATE_TEST_SUITE_P(
    Shapes, TailCallTest,
    testing::ValuesIn(std::vector<Row>{
        {"backwards", "(return_call $first (local.get 0))", 1},
        {"forwards", "(return_call $seven)", 7},
        {"import", "(return_call $host (local.get 0))", 49},
        {"operand_beneath", "(i64.const 5) (return_call $first (local.get 0))",
         1},
        {"operands_beneath_more_arguments",
         "(i64.const 5) (i32.const 6) (return_call $digits (local.get 0) "
         "(i32.const 8) (i32.const 7))",
         987},
        {"operand_outside_of_the_block",
         "(i64.const 5) (block (result i32) (return_call $seven)) (drop) "
         "(drop) (i32.const 0)",
         7},
        {"operands_in_and_outside_of_the_block",
         "(i64.const 5) (block (result i32) (i64.const 6) (return_call "
         "$digits (i32.const 1) (local.get 0) (i32.const 3))) (drop) (drop) "
         "(i32.const 0)",
         193},
        {"in_a_loop_in_an_if",
         "(i64.const 5) (loop (result i32) (i32.const 1) (if (result i32) "
         "(local.get 0) (then (i64.const 8) (return_call $first (i32.const "
         "2))) (else (i32.const 3))) (i32.add)) (drop) (drop) (i32.const 0)",
         1},
        {"import_operand_beneath",
         "(i64.const 5) (return_call $host (local.get 0))", 49},
        {"import_of_three",
         "(i64.const 5) (block (result i32) (i64.const 6) (return_call "
         "$host_of_three (i32.const 1) (local.get 0) (i32.const 3))) (drop) "
         "(drop) (i32.const 0)",
         4193},
        {"import_of_none", "(i64.const 5) (return_call $host_of_none)", 4},
        {"indirect_operand_beneath",
         "(i64.const 5) (return_call_indirect (type $unary) (local.get 0) "
         "(i32.const 0))",
         1},
        {"indirect_operands_in_and_outside_of_the_block",
         "(i64.const 5) (block (result i32) (i64.const 6) "
         "(return_call_indirect (type $three) (i32.const 1) (local.get 0) "
         "(i32.const 3) (i32.const 1))) (drop) (drop) (i32.const 0)",
         193},
        {"indirect_of_none",
         "(i64.const 5) (return_call_indirect (type $none) (i32.const 2))", 7},
        {"indirect_of_an_import",
         "(i64.const 5) (block (result i32) (i64.const 6) "
         "(return_call_indirect (type $three) (i32.const 1) (local.get 0) "
         "(i32.const 3) (i32.const 4))) (drop) (drop) (i32.const 0)",
         4193},
        {"many_in_a_row",
         "(i64.const 5) (return_call $count (i32.const 1000) (i64.const 1))",
         2001},
        {"not_a_tail_call", "(call $host (local.get 0)) (return)", 49},
    }),
    [](const auto& row) { return row.param.name; });

}  // namespace
}  // namespace callgate
