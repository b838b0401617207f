// wabt's interpreter does not find a tail-called function that stands behind
// the caller, where the module imports functions.

#include <memory>
#include <string>

#include "gtest/gtest.h"
#include "runtime/linker.h"
#include "runtime/module.h"
#include "runtime/reference/reference_engine.h"
#include "runtime/store.h"
#include "tests/support/wat.h"

namespace callgate {
namespace {

TEST(TailCallTest, FindsFunctionsOnBothSidesOfTheCaller) {
  EngineOptions options;
  options.features.tail_call = true;
  const std::unique_ptr<Engine> engine = NewReferenceEngine(options);
  const auto bytes = AssembleWat(R"((module
    (import "env" "f" (func $host (param i32) (result i32)))
    (func $before (param i32) (result i32) (i32.const 1))
    (func (export "forwards") (param i32) (result i32)
      (return_call $behind (local.get 0)))
    (func (export "backwards") (param i32) (result i32)
      (return_call $before (local.get 0)))
    (func (export "out") (param i32) (result i32)
      (return_call $host (local.get 0)))
    (func $between (param i32) (result i32) (i32.const 2))
    (func $behind (param i32) (result i32) (i32.const 3))))");
  ASSERT_TRUE(bytes.ok()) << bytes.status();
  auto module = Module::Compile(*engine, *bytes);
  ASSERT_TRUE(module.ok()) << module.status();
  Linker linker;
  ASSERT_TRUE(linker
                  .DefineFunc("env", "f",
                              {{{ValType::kI32}, {ValType::kI32}},
                               {},
                               [](Caller&, absl::Span<const RawValue>,
                                  absl::Span<RawValue> results) -> ErrorRef {
                                 results[0] = RawValue::I32(4);
                                 return nullptr;
                               }})
                  .ok());
  Store store(*engine, Limits());
  const auto made = linker.Instantiate(store, *module, "guest");
  ASSERT_TRUE(made.ok()) << made.status();
  const struct {
    const char* name;
    uint32_t result;
  } kRows[] = {{"forwards", 3}, {"backwards", 1}, {"out", 4}};
  for (const auto& row : kRows) {
    SCOPED_TRACE(row.name);
    const auto func = made->instance->GetFunc(row.name);
    ASSERT_TRUE(func.ok()) << func.status();
    const Value arg = Value::I32(uint32_t{9});
    const auto called = func->Call({&arg, 1});
    ASSERT_TRUE(called.ok()) << called.status();
    ASSERT_TRUE(called->returned()) << called->trap->message();
    EXPECT_EQ(called->values[0].u32(), row.result);
  }
}

}  // namespace
}  // namespace callgate
