// Every function of WASI, called where the guest's stack is almost at its end:
// it works, or the guest traps for want of stack, and nothing else.

#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/time/time.h"
#include "gtest/gtest.h"
#include "runtime/linker.h"
#include "runtime/module.h"
#include "runtime/store.h"
#include "runtime/wasi/function_info.h"
#include "runtime/wasi/wasi.h"
#include "tests/isolation/native_guest.h"
#include "tests/support/wat.h"

namespace callgate {
namespace {

using wasi::AllFunctions;
using wasi::FunctionInfo;

// How many frames before the end of the stack calls are made.
constexpr uint32_t kEdge = 24;

// "down" calls itself `frames` deep, and then the import `which`. How deep it
// came is in "reached".
std::string Guest() {
  std::string imports;
  std::string calls;
  std::string labels;
  const size_t count = AllFunctions().size();
  for (size_t i = 0; i < count; ++i) {
    const FunctionInfo& info = AllFunctions()[i];
    std::string type;
    std::string args;
    for (const ValType param : info.type.params) {
      absl::StrAppend(&type, " ", ValTypeName(param));
      absl::StrAppend(&args, "(", ValTypeName(param), ".const 0)");
    }
    std::string result;
    if (!info.type.results.empty()) {
      result = absl::StrCat("(result ", ValTypeName(info.type.results[0]), ")");
    }
    absl::StrAppend(&imports, "(import \"", wasi::kModuleName, "\" \"",
                    info.name, "\" (func $i", i, " (param", type, ")", result,
                    "))\n");
    const std::string call = absl::StrCat("(call $i", i, " ", args, ")");
    absl::StrAppend(
        &calls, "(if (i32.eq (local.get 1) (i32.const ", i, ")) (then ",
        result.empty() ? call : absl::StrCat("(drop ", call, ")"), "))\n");
  }
  return absl::StrCat("(module ", imports, R"(
    (memory (export "memory") 1)
    (global $reached (export "reached") (mut i32) (i32.const 0))
    (func $call (param i32 i32)
)",
                      calls, R"()
    (func $down (export "down") (param i32 i32)
      (global.set $reached (i32.add (global.get $reached) (i32.const 1)))
      (if (i32.eqz (local.get 0))
        (then (call $call (i32.const 0) (local.get 1)))
        (else (call $down (i32.sub (local.get 0) (i32.const 1))
                          (local.get 1))))))
)");
}

class StackEdgeTest : public testing::TestWithParam<native::Level> {};

TEST_P(StackEdgeTest, EveryImportWorksOrTraps) {
  const std::unique_ptr<Engine> engine =
      NewGuestEngine(GetParam(), Checks::kAll);
  const auto bytes = AssembleWat(Guest());
  ASSERT_TRUE(bytes.ok()) << bytes.status();
  const auto module = Module::Compile(*engine, *bytes);
  ASSERT_TRUE(module.ok()) << module.status();
  for (size_t i = 0; i < AllFunctions().size(); ++i) {
    SCOPED_TRACE(AllFunctions()[i].name);
    auto context = wasi::Context::Create({});
    ASSERT_TRUE(context.ok()) << context.status();
    Linker linker;
    ASSERT_TRUE(wasi::AddToLinker(linker, *context).ok());
    Limits limits;
    limits.stack_bytes = 128 << 10;
    Store store(*engine, limits);
    const auto made = linker.Instantiate(store, *module, "guest");
    ASSERT_TRUE(made.ok()) << made.status();
    const auto down = made->instance->GetFunc("down");
    const auto reached = made->instance->GetGlobal("reached");
    ASSERT_TRUE(down.ok() && reached.ok());
    CallOptions options;
    options.wall = absl::Seconds(30);
    const auto call = [&](uint32_t frames) {
      EXPECT_TRUE(reached->Set(Value::I32(uint32_t{0})).ok());
      const Value args[] = {Value::I32(frames),
                            Value::I32(static_cast<uint32_t>(i))};
      auto result = down->Call(args, options);
      EXPECT_TRUE(result.ok()) << result.status();
      return *std::move(result);
    };
    const CallResult endless = call(1u << 30);
    ASSERT_TRUE(endless.trap.has_value());
    ASSERT_EQ(endless.trap->code(), TrapCode::kCallStackExhausted);
    const uint32_t deepest = reached->Get().u32();
    ASSERT_GT(deepest, kEdge + 10);
    bool ran = false;
    for (uint32_t frames = deepest - kEdge; frames <= deepest + 2; ++frames) {
      const CallResult result = call(frames);
      const bool exhausted =
          result.trap.has_value() &&
          result.trap->code() == TrapCode::kCallStackExhausted;
      const bool exited =
          result.trap.has_value() && result.trap->exit_code().has_value();
      EXPECT_TRUE(result.returned() || exhausted || exited)
          << frames << " of " << deepest << ": " << result.trap->message();
      // Never again, once there was no room.
      if (!exhausted) {
        EXPECT_TRUE(frames == deepest - kEdge || ran) << frames;
      }
      ran = !exhausted;
      if (frames == deepest - kEdge) {
        EXPECT_TRUE(ran);
      }
      if (frames > deepest) {
        EXPECT_TRUE(exhausted);
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Levels, StackEdgeTest,
                         testing::Values(native::Level::kBaseline,
                                         native::Level::kOptimised),
                         [](const auto& level) {
                           return level.param == native::Level::kBaseline
                                      ? "baseline"
                                      : "optimised";
                         });

}  // namespace
}  // namespace callgate
