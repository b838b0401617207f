// What a Store does that the conformance suites do not look at: links, limits,
// budgets, interruption, handles. On the reference engine.

#include "runtime/store.h"

#include <chrono>
#include <memory>
#include <string>
#include <thread>
#include <tuple>
#include <utility>
#include <vector>

#include "absl/time/clock.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "runtime/extern_type.h"
#include "runtime/module.h"
#include "runtime/reference/reference_engine.h"
#include "tests/support/wat.h"

namespace callgate {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

class StoreTest : public testing::Test {
 protected:
  std::shared_ptr<const Module> Compile(const std::string& wat) {
    const auto bytes = AssembleWat(wat);
    EXPECT_TRUE(bytes.ok()) << bytes.status();
    auto module = Module::Compile(*engine_, *bytes);
    EXPECT_TRUE(module.ok()) << module.status();
    return *module;
  }

  Instance Instantiate(Store& store, const std::string& wat,
                       const Linker& linker = {}) {
    auto made = linker.Instantiate(store, Compile(wat), "guest");
    EXPECT_TRUE(made.ok()) << made.status();
    EXPECT_FALSE(made->trap.has_value()) << made->trap->message();
    return *made->instance;
  }

  CallResult Call(const Instance& instance, const std::string& name,
                  std::vector<Value> args = {},
                  const CallOptions& options = {}) {
    const auto func = instance.GetFunc(name);
    EXPECT_TRUE(func.ok()) << func.status();
    auto result = func->Call(args, options);
    EXPECT_TRUE(result.ok()) << result.status();
    return *std::move(result);
  }

  const std::unique_ptr<Engine> engine_ = NewReferenceEngine();
};

TEST_F(StoreTest, CallsTypedAndUntyped) {
  Store store(*engine_, Limits());
  const Instance instance = Instantiate(store, R"((module
    (func (export "add") (param i32 i32) (result i32)
      (i32.add (local.get 0) (local.get 1)))))");
  EXPECT_THAT(Call(instance, "add", {Value::I32(40), Value::I32(2)}).values,
              ElementsAre(Value::I32(42)));
  const auto func = instance.GetFunc("add");
  const auto typed =
      func->Typed<std::tuple<int32_t, int32_t>, std::tuple<int32_t>>();
  ASSERT_TRUE(typed.ok()) << typed.status();
  const auto result = typed->Call(-1, 3);
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(std::get<0>(*result->values), 2);
  const auto wrong = func->Typed<std::tuple<int64_t>, std::tuple<>>();
  EXPECT_EQ(wrong.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(wrong.status().message()),
              HasSubstr("(i32, i32) -> (i32), not (i64) -> ()"));
}

TEST_F(StoreTest, RefusesWrongArguments) {
  Store store(*engine_, Limits());
  const Instance instance = Instantiate(
      store, R"((module (func (export "f") (param i32 externref))))");
  const auto func = instance.GetFunc("f");
  const std::vector<std::vector<Value>> rows = {
      {},
      {Value::I32(1)},
      {Value::I64(uint64_t{1}), Value::NullExternRef()},
      {Value::I32(1), Value::NullFuncRef()},
      {Value::I32(1), Value::ExternRef(1)},
      {Value::I32(1), Value::ExternRef(1'000'000)},
  };
  for (const std::vector<Value>& args : rows) {
    EXPECT_EQ(func->Call(args).status().code(),
              absl::StatusCode::kInvalidArgument);
  }
}

TEST_F(StoreTest, NamesTheFirstMissingImport) {
  Store store(*engine_, Limits());
  Linker linker;
  ASSERT_TRUE(linker
                  .DefineFunc("env", "a",
                              {FuncType{},
                               {},
                               [](Caller&, absl::Span<const RawValue>,
                                  absl::Span<RawValue>) -> ErrorRef {
                                 return nullptr;
                               }})
                  .ok());
  const auto module = Compile(R"((module
    (import "env" "a" (func)) (import "env" "b\0a" (func (param i32)))
    (import "env" "c" (func))))");
  const auto made = linker.Instantiate(store, module, "guest");
  EXPECT_EQ(made.status().code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(made.status().message()),
              HasSubstr("\"env\".\"b\\n\", a func (i32) -> ()"));
}

TEST(ImportTextTest, QuotesOnlyWhatMisleads) {
  EXPECT_EQ(ImportText("net", "connect"), "net.connect");
  EXPECT_EQ(ImportText("net", "v1.send"), "net.v1.send");
  EXPECT_EQ(ImportText("net.v1", "send"), R"("net.v1"."send")");
  EXPECT_EQ(ImportText("", "send"), R"(""."send")");
  EXPECT_EQ(ImportText("net", "*"), R"("net"."*")");
  EXPECT_EQ(ImportText("a\"", "b c"), R"("a\""."b c")");
  EXPECT_EQ(ImportText("\x1b[2J", "\xff"), R"("\x1b[2J"."\xff")");
}

TEST_F(StoreTest, RefusesAnImportOfAnotherType) {
  Store store(*engine_, Limits());
  Linker linker;
  const auto memory =
      store.NewMemory(MemoryType{SizeRange{1, 2}, false, false});
  ASSERT_TRUE(memory.ok()) << memory.status();
  Extern value;
  value.memory = *memory;
  ASSERT_TRUE(linker.Define("env", "m", value).ok());
  const auto made = linker.Instantiate(
      store, Compile(R"((module (import "env" "m" (memory 2))))"), "guest");
  EXPECT_EQ(made.status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(made.status().message()),
              HasSubstr("wanted as memory 2.. pages and defined as memory "
                        "1..2 pages"));
}

TEST_F(StoreTest, RefusesADefinitionOfAnotherStore) {
  Store one(*engine_, Limits());
  Store two(*engine_, Limits());
  Linker linker;
  Extern value;
  value.memory = *one.NewMemory(MemoryType{SizeRange{1, {}}, false, false});
  ASSERT_TRUE(linker.Define("env", "m", value).ok());
  const auto made = linker.Instantiate(
      two, Compile(R"((module (import "env" "m" (memory 1))))"), "guest");
  EXPECT_EQ(made.status().code(), absl::StatusCode::kInvalidArgument);
}

TEST_F(StoreTest, TrapsCarryCodeMessageAndBacktrace) {
  Store store(*engine_, Limits());
  const Instance instance = Instantiate(store, R"((module
    (func $inner (drop (i32.div_s (i32.const 1) (i32.const 0))))
    (func $outer (export "go") (call $inner))))");
  const CallResult result = Call(instance, "go");
  ASSERT_TRUE(result.trap.has_value());
  EXPECT_EQ(result.trap->code(), TrapCode::kIntegerDivideByZero);
  EXPECT_EQ(result.trap->message(), "integer divide by zero");
  ASSERT_EQ(result.trap->backtrace().size(), 2u);
  EXPECT_EQ(result.trap->backtrace()[0].func_index, 0u);
  EXPECT_EQ(result.trap->backtrace()[1].func_index, 1u);
  EXPECT_EQ(result.trap->backtrace()[1].func_name, "outer");
  EXPECT_EQ(result.trap->backtrace()[1].module_name, "guest");
}

struct TrapRow {
  std::string name;
  std::string body;
  TrapCode want;
};
class StoreTrapTest : public StoreTest,
                      public testing::WithParamInterface<TrapRow> {};

TEST_P(StoreTrapTest, HasItsCode) {
  Store store(*engine_, Limits());
  const Instance instance =
      Instantiate(store,
                  "(module (memory 1) (table 2 funcref) (type $t (func)) "
                  "(elem (i32.const 0) $other) (data \"ab\") "
                  "(func $other (param i32)) (func $go (export \"go\") " +
                      GetParam().body + "))");
  const CallResult result = Call(instance, "go");
  ASSERT_TRUE(result.trap.has_value());
  EXPECT_EQ(result.trap->code(), GetParam().want) << result.trap->message();
}

INSTANTIATE_TEST_SUITE_P(
    Codes, StoreTrapTest,
    testing::ValuesIn<TrapRow>({
        {"unreachable", "unreachable", TrapCode::kUnreachable},
        {"load", "(drop (i32.load (i32.const 65533)))",
         TrapCode::kMemoryOutOfBounds},
        {"fill", "(memory.fill (i32.const 65535) (i32.const 0) (i32.const 2))",
         TrapCode::kMemoryOutOfBounds},
        {"copy", "(memory.copy (i32.const 0) (i32.const 65535) (i32.const 2))",
         TrapCode::kMemoryOutOfBounds},
        {"init", "(memory.init 0 (i32.const 0) (i32.const 1) (i32.const 2))",
         TrapCode::kMemoryOutOfBounds},
        {"table_get", "(drop (table.get 0 (i32.const 2)))",
         TrapCode::kTableOutOfBounds},
        {"table_fill",
         "(table.fill 0 (i32.const 1) (ref.null func) (i32.const 2))",
         TrapCode::kTableOutOfBounds},
        {"undefined", "(call_indirect (type $t) (i32.const 2))",
         TrapCode::kUndefinedElement},
        {"uninitialized", "(call_indirect (type $t) (i32.const 1))",
         TrapCode::kUninitializedElement},
        {"mismatch", "(call_indirect (type $t) (i32.const 0))",
         TrapCode::kIndirectCallTypeMismatch},
        {"overflow", "(drop (i32.div_s (i32.const 0x80000000) (i32.const -1)))",
         TrapCode::kIntegerOverflow},
        {"conversion", "(drop (i32.trunc_f32_s (f32.const nan)))",
         TrapCode::kInvalidConversionToInteger},
        {"recursion", "(call $go)", TrapCode::kCallStackExhausted},
    }),
    [](const auto& row) { return row.param.name; });

// wabt's interpreter forgets an overflow that happens in an indirect call and
// goes on behind it.
TEST_F(StoreTest, ExhaustionThroughATableIsNotSwallowed) {
  Store store(*engine_, Limits());
  const Instance instance = Instantiate(store, R"((module
    (global $after (export "after") (mut i32) (i32.const 0))
    (table funcref (elem $go)) (type $t (func))
    (func $go (export "go")
      (call_indirect (type $t) (i32.const 0))
      (global.set $after (i32.const 1)))))");
  const CallResult result = Call(instance, "go");
  ASSERT_TRUE(result.trap.has_value());
  EXPECT_EQ(result.trap->code(), TrapCode::kCallStackExhausted);
  EXPECT_EQ(instance.GetGlobal("after")->Get(), Value::I32(0));
}

TEST_F(StoreTest, FuelEndsALoopAndCountsExactly) {
  Store store(*engine_, Limits());
  const Instance instance =
      Instantiate(store, R"((module (func (export "spin") (loop (br 0)))
                (func (export "nop"))))");
  CallOptions options;
  options.fuel = 12'345;
  const CallResult result = Call(instance, "spin", {}, options);
  ASSERT_TRUE(result.trap.has_value());
  EXPECT_EQ(result.trap->code(), TrapCode::kOutOfFuel);
  EXPECT_EQ(result.usage.fuel, 12'345u);
  EXPECT_TRUE(Call(instance, "nop").returned());
}

TEST_F(StoreTest, FuelIsChargedForBulkSizes) {
  Store store(*engine_, Limits());
  const Instance instance = Instantiate(store, R"((module (memory 100)
    (func (export "fill") (param i32)
      (memory.fill (i32.const 0) (i32.const 1) (local.get 0)))))");
  const uint64_t small = Call(instance, "fill", {Value::I32(0)}).usage.fuel;
  const uint64_t large =
      Call(instance, "fill", {Value::I32(6'400'000)}).usage.fuel;
  EXPECT_EQ(large - small, 100'000u);
  CallOptions options;
  options.fuel = 99'999;
  const CallResult result =
      Call(instance, "fill", {Value::I32(6'400'000)}, options);
  ASSERT_TRUE(result.trap.has_value());
  EXPECT_EQ(result.trap->code(), TrapCode::kOutOfFuel);
}

TEST_F(StoreTest, ADeadlineEndsALoop) {
  Store store(*engine_, Limits());
  const Instance instance =
      Instantiate(store, R"((module (memory 100) (func (export "spin") (loop
        (memory.fill (i32.const 0) (i32.const 1) (i32.const 6000000))
        (br 0)))))");
  CallOptions options;
  options.wall = absl::Milliseconds(20);
  const CallResult result = Call(instance, "spin", {}, options);
  ASSERT_TRUE(result.trap.has_value());
  EXPECT_EQ(result.trap->code(), TrapCode::kDeadlineExceeded);
  EXPECT_GE(result.usage.wall, absl::Milliseconds(20));
}

TEST_F(StoreTest, AnotherThreadInterrupts) {
  Store store(*engine_, Limits());
  const Instance instance =
      Instantiate(store, R"((module (func (export "spin") (loop (br 0)))))");
  std::thread other([&] { store.Interrupt(); });
  const CallResult result = Call(instance, "spin");
  other.join();
  ASSERT_TRUE(result.trap.has_value());
  EXPECT_EQ(result.trap->code(), TrapCode::kInterrupted);
  // It stays so until somebody resets it.
  EXPECT_EQ(Call(instance, "spin").trap->code(), TrapCode::kInterrupted);
  store.ResetInterrupt();
  CallOptions options;
  options.fuel = 10;
  EXPECT_EQ(Call(instance, "spin", {}, options).trap->code(),
            TrapCode::kOutOfFuel);
}

TEST_F(StoreTest, AWaitingHostFunctionIsWoken) {
  Store store(*engine_, Limits());
  Linker linker;
  ASSERT_TRUE(linker
                  .DefineFunc("env", "sleep",
                              {FuncType{},
                               {},
                               [](Caller& caller, absl::Span<const RawValue>,
                                  absl::Span<RawValue>) -> ErrorRef {
                                 return caller.WaitUntil(
                                            absl::InfiniteFuture()) ==
                                                WakeReason::kInterrupted
                                            ? caller.Interrupted()
                                            : nullptr;
                               }})
                  .ok());
  const Instance instance = Instantiate(store, R"((module
    (import "env" "sleep" (func $sleep))
    (func (export "go") (call $sleep))))",
                                        linker);
  CallOptions options;
  options.wall = absl::Milliseconds(10);
  EXPECT_EQ(Call(instance, "go", {}, options).trap->code(),
            TrapCode::kDeadlineExceeded);
  std::thread other([&] { store.Interrupt(); });
  EXPECT_EQ(Call(instance, "go").trap->code(), TrapCode::kInterrupted);
  other.join();
}

TEST_F(StoreTest, MemoryIsATotalOfTheStore) {
  Limits limits;
  limits.bytes_total = 3 * kWasmPageBytes;
  Store store(*engine_, limits);
  const std::string wat = R"((module (memory 1)
    (func (export "grow") (result i32) (memory.grow (i32.const 1)))))";
  const Instance one = Instantiate(store, wat);
  const Instance two = Instantiate(store, wat);
  EXPECT_EQ(store.bytes_used(), 2 * kWasmPageBytes);
  EXPECT_THAT(Call(one, "grow").values, ElementsAre(Value::I32(1)));
  EXPECT_THAT(Call(two, "grow").values, ElementsAre(Value::I32(-1)));
  EXPECT_EQ(store.bytes_used(), 3 * kWasmPageBytes);
  const auto third = Linker().Instantiate(store, Compile(wat), "third");
  EXPECT_EQ(third.status().code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(std::string(third.status().message()),
              HasSubstr("196608 of `memory_bytes_total` 196608"));
}

TEST_F(StoreTest, AGrowthMayTrapInstead) {
  Limits limits;
  limits.bytes_total = kWasmPageBytes;
  limits.trap_on_growth_refused = true;
  Store store(*engine_, limits);
  const Instance instance = Instantiate(store, R"((module (memory 1)
    (func (export "grow") (drop (memory.grow (i32.const 1))))))");
  EXPECT_EQ(Call(instance, "grow").trap->code(), TrapCode::kGrowthLimited);
}

TEST_F(StoreTest, TablesAreLimited) {
  Limits limits;
  limits.table_elements_total = 10;
  Store store(*engine_, limits);
  const Instance instance = Instantiate(store, R"((module (table 5 funcref)
    (func (export "grow") (param i32) (result i32)
      (table.grow 0 (ref.null func) (local.get 0)))))");
  EXPECT_THAT(Call(instance, "grow", {Value::I32(6)}).values,
              ElementsAre(Value::I32(-1)));
  EXPECT_THAT(Call(instance, "grow", {Value::I32(5)}).values,
              ElementsAre(Value::I32(5)));
  EXPECT_THAT(Call(instance, "grow", {Value::I32(1)}).values,
              ElementsAre(Value::I32(-1)));
}

TEST_F(StoreTest, InstancesAndExternRefsAreLimited) {
  Limits limits;
  limits.instances = 1;
  limits.extern_refs = 1;
  Store store(*engine_, limits);
  const auto module = Compile("(module)");
  ASSERT_TRUE(Linker().Instantiate(store, module, "").ok());
  EXPECT_EQ(Linker().Instantiate(store, module, "").status().code(),
            absl::StatusCode::kResourceExhausted);
  const auto object = std::make_shared<int>(7);
  const auto ref = store.NewExternRef(object);
  ASSERT_TRUE(ref.ok()) << ref.status();
  EXPECT_EQ(store.ExternRefObject(*ref), object);
  EXPECT_EQ(store.ExternRefObject(Value::NullExternRef()), nullptr);
  EXPECT_EQ(store.NewExternRef(object).status().code(),
            absl::StatusCode::kResourceExhausted);
}

class CountingLimiter final : public ResourceLimiter {
 public:
  bool MemoryGrowing(uint64_t current, uint64_t desired) override {
    seen.emplace_back(current, desired);
    return desired <= 2 * kWasmPageBytes;
  }
  bool TableGrowing(uint64_t current, uint64_t desired) override {
    seen.emplace_back(current, desired);
    return desired <= 2;
  }
  std::vector<std::pair<uint64_t, uint64_t>> seen;
};

TEST_F(StoreTest, TheLimiterIsAskedOfEveryMemoryAndTable) {
  CountingLimiter limiter;
  Store store(*engine_, Limits(), &limiter);
  ASSERT_TRUE(store.NewMemory(MemoryType{SizeRange{1, {}}, false, false}).ok());
  EXPECT_EQ(store.NewMemory(MemoryType{SizeRange{3, {}}, false, false})
                .status()
                .code(),
            absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(store.NewTable(TableType{ValType::kFuncRef, SizeRange{3, {}}})
                .status()
                .code(),
            absl::StatusCode::kResourceExhausted);
  const Instance instance = Instantiate(store, R"((module (memory 1)
    (func (export "grow") (result i32) (memory.grow (i32.const 2)))))");
  EXPECT_THAT(Call(instance, "grow").values, ElementsAre(Value::I32(-1)));
  EXPECT_THAT(
      limiter.seen,
      ElementsAre(std::make_pair(0, kWasmPageBytes),
                  std::make_pair(0, 3 * kWasmPageBytes), std::make_pair(0, 3),
                  std::make_pair(0, kWasmPageBytes),
                  std::make_pair(kWasmPageBytes, 3 * kWasmPageBytes)));
}

TEST_F(StoreTest, AnInstantiationThatFailsLeavesNothingCounted) {
  CountingLimiter limiter;
  Store store(*engine_, Limits(), &limiter);
  const auto made = Linker().Instantiate(
      store, Compile("(module (memory 2) (table 3 funcref))"), "guest");
  EXPECT_EQ(made.status().code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(store.bytes_used(), 0u);
}

TEST_F(StoreTest, AFailedActiveSegmentIsATrap) {
  Store store(*engine_, Limits());
  const auto made = Linker().Instantiate(
      store, Compile(R"((module (memory 1) (data (i32.const 65535) "ab")))"),
      "guest");
  ASSERT_TRUE(made.ok()) << made.status();
  EXPECT_FALSE(made->instance.has_value());
  EXPECT_EQ(made->trap->code(), TrapCode::kMemoryOutOfBounds);
}

// The instance is gone, but its functions are in a table that others see.
TEST_F(StoreTest, FunctionsOfAFailedInstanceStillWork) {
  Store store(*engine_, Limits());
  const Instance owner = Instantiate(store, R"((module
    (table (export "t") 1 funcref) (type $t (func (result i32)))
    (func (export "call") (result i32)
      (call_indirect (type $t) (i32.const 0)))))");
  Linker linker;
  ASSERT_TRUE(linker.DefineInstance("owner", owner).ok());
  const auto made = linker.Instantiate(store, Compile(R"((module
    (import "owner" "t" (table 1 funcref)) (memory 1 3)
    (func $f (result i32)
      (memory.fill (i32.const 0) (i32.const 7) (i32.const 4))
      (drop (memory.grow (i32.const 1)))
      (i32.load (i32.const 0)))
    (elem (i32.const 0) $f) (data (i32.const 65536) "x")))"),
                                       "broken");
  ASSERT_TRUE(made.ok()) << made.status();
  EXPECT_EQ(made->trap->code(), TrapCode::kMemoryOutOfBounds);
  EXPECT_THAT(Call(owner, "call").values, ElementsAre(Value::I32(0x07070707)));
}

TEST_F(StoreTest, HostBytesAreLimitedPerCall) {
  Limits limits;
  limits.host_bytes_per_call = 100;
  Store store(*engine_, limits);
  Linker linker;
  ASSERT_TRUE(
      linker
          .DefineFunc("env", "read",
                      {FuncType{{ValType::kI32}, {}},
                       {},
                       [](Caller& caller, absl::Span<const RawValue> args,
                          absl::Span<RawValue>) -> ErrorRef {
                         std::vector<uint8_t> bytes(args[0].u32());
                         return caller.Read(0, absl::MakeSpan(bytes)) ==
                                        Caller::Access::kOk
                                    ? nullptr
                                    : Caller::OverBudget();
                       }})
          .ok());
  const Instance instance = Instantiate(store, R"((module
    (import "env" "read" (func $read (param i32))) (memory 1)
    (func (export "go") (param i32 i32)
      (call $read (local.get 0)) (call $read (local.get 1)))))",
                                        linker);
  const CallResult fits =
      Call(instance, "go", {Value::I32(60), Value::I32(40)});
  EXPECT_TRUE(fits.returned());
  EXPECT_EQ(fits.usage.host_bytes, 100u);
  EXPECT_EQ(fits.usage.host_calls, 2u);
  const CallResult over =
      Call(instance, "go", {Value::I32(60), Value::I32(41)});
  EXPECT_EQ(over.trap->code(), TrapCode::kHostBytesExceeded);
}

TEST_F(StoreTest, ActivationsNestOnlySoDeep) {
  Limits limits;
  limits.activation_depth = 10;
  Store store(*engine_, limits);
  Linker linker;
  int deepest = 0;
  ASSERT_TRUE(
      linker
          .DefineFunc("env", "again",
                      {FuncType{},
                       {},
                       [&](Caller& caller, absl::Span<const RawValue>,
                           absl::Span<RawValue>) -> ErrorRef {
                         deepest = std::max(
                             deepest, static_cast<int>(caller.store().depth()));
                         const auto func = caller.instance()->GetFunc("go");
                         const auto result = func->Call({});
                         return result->returned()
                                    ? nullptr
                                    : ErrorFromTrap(*result->trap);
                       }})
          .ok());
  const Instance instance = Instantiate(store, R"((module
    (import "env" "again" (func $again))
    (func (export "go") (call $again))))",
                                        linker);
  EXPECT_EQ(Call(instance, "go").trap->code(),
            TrapCode::kActivationDepthExceeded);
  EXPECT_EQ(deepest, 10);
  EXPECT_EQ(store.depth(), 0u);
}

TEST_F(StoreTest, GuestCallDepthIsALimit) {
  Limits limits;
  limits.call_depth = 5;
  Store store(*engine_, limits);
  const Instance instance = Instantiate(store, R"((module
    (func $down (export "down") (param i32)
      (if (local.get 0)
        (then (call $down (i32.sub (local.get 0) (i32.const 1))))))))");
  EXPECT_TRUE(Call(instance, "down", {Value::I32(4)}).returned());
  EXPECT_EQ(Call(instance, "down", {Value::I32(5)}).trap->code(),
            TrapCode::kCallStackExhausted);
}

TEST_F(StoreTest, MemoryTableAndGlobalHandles) {
  Store store(*engine_, Limits());
  const Instance instance = Instantiate(store, R"((module
    (memory (export "m") 1 2) (table (export "t") 2 3 funcref)
    (global (export "g") (mut v128) (v128.const i32x4 1 2 3 4))
    (global (export "c") f64 (f64.const 0.5))
    (func $f (export "f") (result i32) (i32.const 9))))");
  const auto memory = instance.GetMemory("m");
  ASSERT_TRUE(memory.ok());
  const std::vector<uint8_t> bytes = {1, 2, 3};
  EXPECT_TRUE(memory->Write(65533, bytes).ok());
  EXPECT_EQ(memory->Write(65534, bytes).code(), absl::StatusCode::kOutOfRange);
  EXPECT_EQ(memory->Write(~uint64_t{0}, bytes).code(),
            absl::StatusCode::kOutOfRange);
  std::vector<uint8_t> out(3);
  EXPECT_TRUE(memory->Read(65533, absl::MakeSpan(out)).ok());
  EXPECT_EQ(out, bytes);
  EXPECT_EQ(*memory->Grow(1), 1u);
  EXPECT_EQ(memory->Grow(1).status().code(),
            absl::StatusCode::kResourceExhausted);

  const auto table = instance.GetTable("t");
  ASSERT_TRUE(table.ok());
  EXPECT_EQ(*table->Get(0), Value::NullFuncRef());
  const Func func = *instance.GetFunc("f");
  EXPECT_TRUE(table->Set(1, func.ref()).ok());
  EXPECT_EQ(store.FuncFromRef(*table->Get(1))->Call({})->values[0],
            Value::I32(9));
  EXPECT_EQ(table->Get(2).status().code(), absl::StatusCode::kOutOfRange);
  EXPECT_EQ(table->Set(0, Value::I32(1)).code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(*table->Grow(1, Value::NullFuncRef()), 2u);
  EXPECT_EQ(table->Grow(1, Value::NullFuncRef()).status().code(),
            absl::StatusCode::kResourceExhausted);

  const auto global = instance.GetGlobal("g");
  ASSERT_TRUE(global.ok());
  EXPECT_EQ(global->Get().ToString(),
            "v128:0x00000004000000030000000200000001");
  EXPECT_TRUE(global->Set(Value::Vector(V128())).ok());
  EXPECT_EQ(global->Get(), Value::Vector(V128()));
  EXPECT_EQ(instance.GetGlobal("c")->Set(Value::F64(1)).code(),
            absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(instance.GetFunc("m").status().code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(instance.GetFunc("none").status().code(),
            absl::StatusCode::kNotFound);
}

TEST_F(StoreTest, ManyTrapsLeaveNothingBehind) {
  Store store(*engine_, Limits());
  const Instance instance =
      Instantiate(store, R"((module (func $go (export "go") (call $go))
                            (func (export "seven") (result i32)
                              (i32.const 7))))");
  const Func func = *instance.GetFunc("go");
  for (int i = 0; i < 200; ++i) {
    EXPECT_EQ(func.Call({})->trap->code(), TrapCode::kCallStackExhausted);
  }
  EXPECT_THAT(Call(instance, "seven").values, ElementsAre(Value::I32(7)));
}

// One interpreter, whatever is chosen.
TEST_F(StoreTest, NansAreTheSameWithEitherOption) {
  std::vector<Value> sums;
  for (const bool canonical : {true, false}) {
    StoreOptions options;
    options.canonical_nans = canonical;
    Store store(*engine_, options);
    EXPECT_EQ(store.canonical_nans(), canonical);
    const Instance instance = Instantiate(store, R"((module
      (func (export "add") (result i32)
        (i32.reinterpret_f32
          (f32.add (f32.const nan:0x123) (f32.const 1))))))");
    sums.push_back(Call(instance, "add").values[0]);
  }
  EXPECT_EQ(sums[0], sums[1]);
  EXPECT_EQ(sums[0].u32() & 0x7fc00000, 0x7fc00000u);
}

#ifndef NDEBUG
TEST_F(StoreTest, TwoThreadsInOneStoreAreFound) {
  testing::GTEST_FLAG(death_test_style) = "threadsafe";
  Store store(*engine_, Limits());
  Linker linker;
  ASSERT_TRUE(linker
                  .DefineFunc("env", "elsewhere",
                              {FuncType{},
                               {},
                               [](Caller& caller, absl::Span<const RawValue>,
                                  absl::Span<RawValue>) -> ErrorRef {
                                 const Func func =
                                     *caller.instance()->GetFunc("nop");
                                 std::thread([&] {
                                   static_cast<void>(func.Call({}));
                                 }).join();
                                 return nullptr;
                               }})
                  .ok());
  const Instance instance = Instantiate(store, R"((module
    (import "env" "elsewhere" (func $elsewhere))
    (func (export "nop")) (func (export "go") (call $elsewhere))))",
                                        linker);
  const Func go = *instance.GetFunc("go");
  EXPECT_DEATH(static_cast<void>(go.Call({})), "one thread at a time");
}
#endif

}  // namespace
}  // namespace callgate
