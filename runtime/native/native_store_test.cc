// Guests as machine code, through the runtime's own interface: what the
// conformance suites do not look at, and what only this engine does.

#include "runtime/native/native_store.h"

#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "runtime/linker.h"
#include "runtime/module.h"
#include "runtime/native/compiler/compiler.h"
#include "runtime/native/native_code.h"
#include "runtime/store.h"
#include "tests/support/native_engine.h"
#include "tests/support/wat.h"

namespace callgate {
namespace {

using native::CompileRequest;
using native::Level;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

struct Variant {
  const char* name;
  Level level;
  bool fuel;
};

class NativeStoreTest : public testing::TestWithParam<Variant> {
 protected:
  NativeStoreTest() {
    EngineOptions options;
    options.features.tail_call = true;
    options.features.exceptions = true;
    options.features.multi_memory = true;
    options.features.memory64 = true;
    options.module_limits.tables = 10;
    options.module_limits.memories = 10;
    CompileRequest request;
    request.level = GetParam().level;
    request.fuel = GetParam().fuel;
    engine_ = NewInProcessNativeEngine(options, request);
    store_ = std::make_unique<Store>(*engine_, Limits());
  }

  std::shared_ptr<const Module> Compile(const std::string& wat) {
    const auto bytes = AssembleWat(wat);
    EXPECT_TRUE(bytes.ok()) << bytes.status();
    auto module = Module::Compile(*engine_, *bytes);
    EXPECT_TRUE(module.ok()) << module.status();
    return *module;
  }

  Instance Instantiate(const std::string& wat, const Linker& linker = {},
                       const std::string& name = "guest") {
    auto made = linker.Instantiate(*store_, Compile(wat), name);
    EXPECT_TRUE(made.ok()) << made.status();
    EXPECT_FALSE(made->trap.has_value()) << made->trap->message();
    return *made->instance;
  }

  CallResult Call(const Instance& instance, const std::string& name,
                  const std::vector<Value>& args = {},
                  const CallOptions& options = {}) {
    const auto func = instance.GetFunc(name);
    EXPECT_TRUE(func.ok()) << func.status();
    auto result = func->Call(args, options);
    EXPECT_TRUE(result.ok()) << result.status();
    return *std::move(result);
  }

  std::string Ending(const CallResult& result) {
    if (!result.returned()) return std::string(result.trap->message());
    std::string text;
    for (const Value& value : result.values) {
      absl::StrAppend(&text, text.empty() ? "" : " ", value.ToString());
    }
    return text;
  }
  std::string Run(const Instance& instance, const std::string& name,
                  const std::vector<Value>& args = {},
                  const CallOptions& options = {}) {
    return Ending(Call(instance, name, args, options));
  }

  void Define(Linker& linker, const std::string& name, FuncType type,
              HostFunction body) {
    HostDefinition definition;
    definition.type = std::move(type);
    definition.body = std::move(body);
    const absl::Status defined =
        linker.DefineFunc("env", name, std::move(definition));
    EXPECT_TRUE(defined.ok()) << defined;
  }

  std::unique_ptr<Engine> engine_;
  std::unique_ptr<Store> store_;
};

INSTANTIATE_TEST_SUITE_P(Levels, NativeStoreTest,
                         testing::ValuesIn<Variant>({
                             {"baseline", Level::kBaseline, true},
                             {"optimised", Level::kOptimised, true},
                             {"unmetered", Level::kBaseline, false},
                             {"optimised_unmetered", Level::kOptimised, false},
                         }),
                         [](const auto& row) {
                           return std::string(row.param.name);
                         });

constexpr ValType kI32 = ValType::kI32;
constexpr ValType kFuncRef = ValType::kFuncRef;

TEST_P(NativeStoreTest, PassesEveryKindOfValue) {
  const Instance guest = Instantiate(R"((module
    (func (export "all")
      (param i32 i64 f32 f64 funcref externref)
      (result externref funcref f64 f32 i64 i32)
      local.get 5 local.get 4 local.get 3 local.get 2 local.get 1 local.get 0)
    (func (export "self") (result funcref) ref.func 0)
    (func (export "none") (result funcref externref)
      ref.null func ref.null extern)))");
  const Value object = *store_->NewExternRef(std::make_shared<int>(5));
  const Value function = guest.GetFunc("self")->ref();
  const CallResult result =
      Call(guest, "all",
           {Value::I32(1), Value::I64(uint64_t{2}), Value::F32(3),
            Value::F64(4), function, object});
  EXPECT_THAT(result.values,
              ElementsAre(object, function, Value::F64(4), Value::F32(3),
                          Value::I64(uint64_t{2}), Value::I32(1)));
  EXPECT_EQ(Call(guest, "self").values[0], guest.GetFunc("all")->ref());
  EXPECT_THAT(Call(guest, "none").values,
              ElementsAre(Value::NullFuncRef(), Value::NullExternRef()));
}

TEST_P(NativeStoreTest, TrapsWithCodeAndBacktrace) {
  const Instance guest = Instantiate(R"((module
    (memory 1)
    (func $down (param i32) (result i32)
      (i32.load (local.get 0)))
    (func (export "load") (param i32) (result i32)
      (i32.add (i32.const 1) (call $down (local.get 0))))
    (func (export "divide") (param i32) (result i32)
      (i32.div_s (i32.const 1) (local.get 0)))
    (func (export "never") unreachable)))");
  EXPECT_EQ(Run(guest, "load", {Value::I32(8)}), "i32:1");
  const CallResult result = Call(guest, "load", {Value::I32(65'533)});
  ASSERT_FALSE(result.returned());
  EXPECT_EQ(result.trap->code(), TrapCode::kMemoryOutOfBounds);
  ASSERT_EQ(result.trap->backtrace().size(), 2u);
  EXPECT_EQ(result.trap->backtrace()[0].func_index, 0u);
  EXPECT_EQ(result.trap->backtrace()[0].func_name, "down");
  EXPECT_EQ(result.trap->backtrace()[0].module_name, "guest");
  EXPECT_EQ(result.trap->backtrace()[1].func_index, 1u);
  ASSERT_TRUE(result.trap->backtrace()[0].module_offset.has_value());
  ASSERT_TRUE(result.trap->backtrace()[1].module_offset.has_value());
  EXPECT_LT(*result.trap->backtrace()[0].module_offset,
            *result.trap->backtrace()[1].module_offset);
  EXPECT_EQ(Run(guest, "divide", {Value::I32(0)}), "integer divide by zero");
  EXPECT_EQ(Run(guest, "never"), "unreachable");
  EXPECT_EQ(Run(guest, "load", {Value::I32(8)}), "i32:1");
}

TEST_P(NativeStoreTest, CallsHostFunctionsOfAnyShape) {
  Linker linker;
  // Ten parameters and three results, which do not fit into registers.
  FuncType wide;
  wide.params.assign(10, ValType::kI64);
  wide.results = {ValType::kI64, kI32, ValType::kF64};
  Define(linker, "wide", wide,
         [](Caller&, absl::Span<const RawValue> args,
            absl::Span<RawValue> results) -> ErrorRef {
           uint64_t sum = 0;
           for (size_t i = 0; i < args.size(); ++i) {
             sum += args[i].u64() * (i + 1);
             if (i < 3) results[i] = RawValue();  // args do not change by it
           }
           results[0] = RawValue::I64(sum);
           results[1] = RawValue::I32(args[0].u32());
           results[2] = RawValue::F64(0.5);
           return nullptr;
         });
  const Instance guest = Instantiate(R"((module
    (import "env" "wide" (func $wide
      (param i64 i64 i64 i64 i64 i64 i64 i64 i64 i64)
      (result i64 i32 f64)))
    (func (export "go") (result i64 i32 f64)
      (call $wide (i64.const 1) (i64.const 2) (i64.const 3) (i64.const 4)
        (i64.const 5) (i64.const 6) (i64.const 7) (i64.const 8) (i64.const 9)
        (i64.const 10)))))",
                                     linker);
  EXPECT_EQ(Run(guest, "go"), "i64:385 i32:1 f64:0.5");
}

TEST_P(NativeStoreTest, NestsCallsAndStops) {
  Linker linker;
  std::vector<std::string> inner;
  const Instance* self = nullptr;
  Define(linker, "again", FuncType{{kI32}, {kI32}},
         [&](Caller& caller, absl::Span<const RawValue> args,
             absl::Span<RawValue> results) -> ErrorRef {
           EXPECT_EQ(caller.MemoryBytes(), 65'536u);
           const auto frames = caller.Backtrace(10);
           inner.push_back(absl::StrCat(frames.size()));
           const CallResult result =
               Call(*self, "down", {Value::I32(args[0].u32() - 1)});
           if (!result.returned()) {
             inner.push_back(std::string(result.trap->message()));
             if (args[0].u32() == 2) {
               results[0] = RawValue::I32(77);
               return nullptr;
             }
             return ErrorFromTrap(*result.trap);
           }
           results[0] = RawValue::I32(result.values[0].u32() + 1);
           return nullptr;
         });
  const Instance guest = Instantiate(R"((module
    (import "env" "again" (func $again (param i32) (result i32)))
    (memory 1)
    (func (export "down") (param i32) (result i32)
      (if (i32.eqz (local.get 0)) (then unreachable))
      (i32.add (i32.const 100) (call $again (local.get 0))))))",
                                     linker);
  self = &guest;
  // Depth 0 traps, depth 1's host function passes it on, depth 2's does not.
  EXPECT_EQ(Run(guest, "down", {Value::I32(4)}), "i32:379");
  EXPECT_THAT(inner,
              ElementsAre("1", "2", "3", "4", "unreachable", "unreachable"));
}

TEST_P(NativeStoreTest, StopsAtAHostFunctionsError) {
  Linker linker;
  const ErrorRef mine = MakeError("mine");
  Define(linker, "fail", FuncType{},
         [&](Caller&, absl::Span<const RawValue>,
             absl::Span<RawValue>) -> ErrorRef { return mine; });
  const Instance guest = Instantiate(R"((module
    (import "env" "fail" (func $fail))
    (global $after (export "after") (mut i32) (i32.const 0))
    (func $in call $fail (global.set $after (i32.const 1)))
    (func (export "go") call $in)))",
                                     linker);
  const CallResult result = Call(guest, "go");
  ASSERT_FALSE(result.returned());
  EXPECT_EQ(result.trap->cause(), mine);
  EXPECT_EQ(result.trap->backtrace().size(), 2u);
  EXPECT_EQ(guest.GetGlobal("after")->Get(), Value::I32(0));
}

TEST_P(NativeStoreTest, ExhaustsTheStackAndGoesOn) {
  const Instance guest = Instantiate(R"((module
    (func $deep (export "deep") (param i64) (result i64)
      (i64.add (i64.const 1) (call $deep (i64.add (local.get 0) (i64.const 1)))))
    (func (export "fine") (result i32) (i32.const 5))))");
  for (int i = 0; i < 3; ++i) {
    const CallResult result = Call(guest, "deep", {Value::I64(uint64_t{0})});
    ASSERT_FALSE(result.returned());
    EXPECT_EQ(result.trap->code(), TrapCode::kCallStackExhausted);
    EXPECT_EQ(result.trap->backtrace().size(), kBacktraceFramesMax);
    EXPECT_EQ(Run(guest, "fine"), "i32:5");
  }
}

TEST_P(NativeStoreTest, LetsHostFunctionsRunAtTheStacksEnd) {
  Linker linker;
  uint64_t calls = 0;
  Define(linker, "deepest", FuncType{},
         [&](Caller& caller, absl::Span<const RawValue>,
             absl::Span<RawValue>) -> ErrorRef {
           volatile char room[100 << 10];
           for (size_t i = 0; i < sizeof(room); i += 1'024) room[i] = 1;
           calls += caller.Backtrace(3).size() > 2 ? 1u : 0u;
           return nullptr;
         });
  const Instance guest = Instantiate(R"((module
    (import "env" "deepest" (func $host))
    (func $deep (export "deep") call $host call $deep call $host)))",
                                     linker);
  EXPECT_EQ(Run(guest, "deep"), "call stack exhausted");
  EXPECT_GT(calls, 1'000u);
}

TEST_P(NativeStoreTest, InterruptsALoop) {
  const Instance guest = Instantiate(R"((module
    (func (export "spin") (loop $again (br $again)))))");
  std::atomic<bool> ended{false};
  std::thread other([this, &ended] {
    while (!ended.load()) {
      store_->Interrupt();
      std::this_thread::yield();
    }
  });
  const CallResult result = Call(guest, "spin");
  ended.store(true);
  other.join();
  ASSERT_FALSE(result.returned());
  EXPECT_EQ(result.trap->code(), TrapCode::kInterrupted);
  EXPECT_EQ(result.trap->backtrace().size(), 1u);
  EXPECT_EQ(Run(guest, "spin"), "interrupted");
}

TEST_P(NativeStoreTest, KeepsADeadline) {
  const Instance guest = Instantiate(R"((module
    (func (export "spin") (loop $again (br $again)))
    (func $f (result i32) (i32.const 1))
    (func (export "calls") (loop $again (br_if $again (call $f))))))");
  CallOptions options;
  options.wall = absl::Milliseconds(30);
  for (const char* name : {"spin", "calls"}) {
    const absl::Time start = absl::Now();
    const CallResult result = Call(guest, name, {}, options);
    ASSERT_FALSE(result.returned());
    EXPECT_EQ(result.trap->code(), TrapCode::kDeadlineExceeded);
    EXPECT_LT(absl::Now() - start, absl::Seconds(5));
  }
}

TEST_P(NativeStoreTest, RefusesFuelThatNobodyCounts) {
  const Instance guest = Instantiate("(module (func (export \"nop\")))");
  EXPECT_EQ(store_->fuel().metered(), GetParam().fuel);
  CallOptions options;
  options.fuel = 100;
  const auto called = guest.GetFunc("nop")->Call({}, options);
  EXPECT_EQ(called.ok(), GetParam().fuel);
  if (!called.ok()) {
    EXPECT_EQ(called.status().code(), absl::StatusCode::kFailedPrecondition);
  }
  EXPECT_EQ(store_->fuel().Set(100).ok(), GetParam().fuel);
}

TEST_P(NativeStoreTest, CountsFuelExactly) {
  if (!GetParam().fuel) return;
  Linker linker;
  std::vector<uint64_t> seen;
  const Instance* self = nullptr;
  Define(linker, "host", FuncType{},
         [&](Caller&, absl::Span<const RawValue>,
             absl::Span<RawValue>) -> ErrorRef {
           if (self != nullptr) {
             seen.push_back(Call(*self, "loop", {Value::I32(10)}).usage.fuel);
           }
           return nullptr;
         });
  const Instance guest = Instantiate(R"((module
    (import "env" "host" (func $host))
    (func $loop (export "loop") (param i32)
      (loop $again
        (br_if $again
          (local.tee 0 (i32.sub (local.get 0) (i32.const 1))))))
    (func (export "around") (param i32)
      (call $loop (local.get 0)) (call $host) (call $loop (local.get 0)))
    (func (export "traps") (param i32)
      (call $loop (local.get 0)) unreachable)))",
                                     linker);
  const auto fuel = [&](const char* name, uint32_t turns) {
    return Call(guest, name, {Value::I32(turns)}).usage.fuel;
  };
  // Entry and five operators a turn; over many slices too.
  const uint64_t one = fuel("loop", 1);
  const uint64_t two = fuel("loop", 2);
  EXPECT_EQ(two - one, 5u);
  EXPECT_EQ(fuel("loop", 1'000'000), one + 999'999 * 5);
  const uint64_t around = fuel("around", 100'000);
  EXPECT_EQ(fuel("around", 300'000) - around, 200'000u * 5 * 2);
  EXPECT_EQ(fuel("traps", 100'001) - fuel("traps", 1), 100'000u * 5);

  // Nested calls count for the outer one as well.
  self = &guest;
  const uint64_t nested = fuel("around", 100'000);
  EXPECT_THAT(seen, ElementsAre(one + 9 * 5));
  EXPECT_EQ(nested, around + seen[0]);

  // One unit less than it takes is not enough, and is all that is used.
  CallOptions options;
  options.fuel = around;
  self = nullptr;
  EXPECT_TRUE(Call(guest, "around", {Value::I32(100'000)}, options).returned());
  options.fuel = around - 1;
  const CallResult starved =
      Call(guest, "around", {Value::I32(100'000)}, options);
  ASSERT_FALSE(starved.returned());
  EXPECT_EQ(starved.trap->code(), TrapCode::kOutOfFuel);
  EXPECT_EQ(starved.usage.fuel, around - 1);
  options.fuel = 0;
  EXPECT_EQ(Run(guest, "loop", {Value::I32(1)}, options), "out of fuel");
}

TEST_P(NativeStoreTest, GrowsMemoriesWithinLimits) {
  const Instance guest = Instantiate(R"((module
    (memory (export "m") 1 10)
    (func (export "grow") (param i32) (result i32)
      (memory.grow (local.get 0)))
    (func (export "store") (param i32) (result i32)
      (i32.store (local.get 0) (i32.const 7)) (i32.load (local.get 0)))
    (func (export "size") (result i32) memory.size)))");
  EXPECT_EQ(Run(guest, "grow", {Value::I32(2)}), "i32:1");
  EXPECT_EQ(Run(guest, "size"), "i32:3");
  EXPECT_EQ(Run(guest, "store", {Value::I32(3 * 65'536 - 4)}), "i32:7");
  EXPECT_EQ(Run(guest, "store", {Value::I32(3 * 65'536 - 3)}),
            "out of bounds memory access");
  EXPECT_EQ(Run(guest, "store", {Value::I32(0xffffffffu)}),
            "out of bounds memory access");
  EXPECT_EQ(Run(guest, "grow", {Value::I32(8)}),
            absl::StrCat("i32:", ~uint32_t{0}));
  EXPECT_EQ(Run(guest, "grow", {Value::I32(0)}), "i32:3");
  EXPECT_EQ(store_->bytes_used(), 3 * 65'536u);
  ASSERT_TRUE(guest.GetMemory("m")->Grow(1).ok());
  EXPECT_EQ(Run(guest, "size"), "i32:4");
}

TEST_P(NativeStoreTest, WorksInBulk) {
  const Instance guest = Instantiate(R"((module
    (memory (export "m") 64)
    (data $d "hello, world")
    (func (export "fill") (param i32 i32 i32)
      (memory.fill (local.get 0) (local.get 1) (local.get 2)))
    (func (export "copy") (param i32 i32 i32)
      (memory.copy (local.get 0) (local.get 1) (local.get 2)))
    (func (export "init") (param i32 i32 i32)
      (memory.init $d (local.get 0) (local.get 1) (local.get 2)))
    (func (export "drop") (data.drop $d))
    (func (export "get") (param i32) (result i32)
      (i32.load8_u (local.get 0)))))");
  const auto run = [&](const char* name, uint32_t a, uint32_t b, uint32_t c) {
    return Run(guest, name, {Value::I32(a), Value::I32(b), Value::I32(c)});
  };
  const auto get = [&](uint32_t at) {
    return Call(guest, "get", {Value::I32(at)}).values[0].u32();
  };
  const uint32_t size = 64 * 65'536;
  EXPECT_EQ(run("fill", 0, 0x1ff, size), "");
  EXPECT_EQ(get(size - 1), 0xffu);
  EXPECT_EQ(run("fill", 1, 0, size), "out of bounds memory access");
  EXPECT_EQ(run("fill", 0xffffffff, 0, 2), "out of bounds memory access");
  EXPECT_EQ(run("fill", size, 0, 0), "");
  EXPECT_EQ(run("fill", size + 1, 0, 0), "out of bounds memory access");
  // Overlapping by more than a piece, in both directions.
  const Memory memory = *guest.GetMemory("m");
  std::vector<uint8_t> pattern(3 << 20);
  for (size_t i = 0; i < pattern.size(); ++i) {
    pattern[i] = static_cast<uint8_t>(i * 7 + i / 251);
  }
  std::vector<uint8_t> seen(pattern.size());
  for (const auto& [to, from] :
       std::vector<std::pair<uint32_t, uint32_t>>{{100, 0}, {0, 100}}) {
    ASSERT_TRUE(memory.Write(from, pattern).ok());
    EXPECT_EQ(run("copy", to, from, static_cast<uint32_t>(pattern.size())), "");
    ASSERT_TRUE(memory.Read(to, absl::MakeSpan(seen)).ok());
    EXPECT_TRUE(seen == pattern) << to;
  }
  EXPECT_EQ(run("copy", size - 1, 0, 2), "out of bounds memory access");
  EXPECT_EQ(run("copy", 0, size - 1, 2), "out of bounds memory access");
  EXPECT_EQ(run("init", 10, 7, 5), "");
  EXPECT_EQ(get(10), 'w');
  EXPECT_EQ(run("init", 10, 8, 5), "out of bounds memory access");
  EXPECT_EQ(run("init", size - 1, 0, 2), "out of bounds memory access");
  EXPECT_EQ(Run(guest, "drop"), "");
  EXPECT_EQ(run("init", 10, 0, 1), "out of bounds memory access");
  EXPECT_EQ(run("init", 10, 0, 0), "");
}

TEST_P(NativeStoreTest, ChargesForBulkBySize) {
  if (!GetParam().fuel) return;
  const Instance guest = Instantiate(R"((module
    (memory 64)
    (func (export "fill") (param i32)
      (memory.fill (i32.const 0) (i32.const 1) (local.get 0)))))");
  const auto fuel = [&](uint32_t length) {
    return Call(guest, "fill", {Value::I32(length)}).usage.fuel;
  };
  const uint64_t least = fuel(0);
  EXPECT_EQ(fuel(1), least + 1);
  EXPECT_EQ(fuel(4 << 20), least + (4 << 20));
  EXPECT_EQ(fuel(0xffffffff), least) << "out of bounds by its length alone";
  CallOptions options;
  options.fuel = least + 100;
  EXPECT_EQ(Run(guest, "fill", {Value::I32(100)}, options), "");
  EXPECT_EQ(Run(guest, "fill", {Value::I32(101)}, options), "out of fuel");
}

TEST_P(NativeStoreTest, KeepsTables) {
  const Instance guest = Instantiate(R"((module
    (type $f (func (result i32)))
    (table $t (export "t") 4 8 funcref)
    (table $x (export "x") 2 externref)
    (elem $e func $one $two)
    (elem (table $t) (i32.const 1) func $two)
    (func $one (result i32) (i32.const 1))
    (func $two (result i32) (i32.const 2))
    (func (export "call") (param i32) (result i32)
      (call_indirect $t (type $f) (local.get 0)))
    (func (export "init") (param i32 i32 i32)
      (table.init $t $e (local.get 0) (local.get 1) (local.get 2)))
    (func (export "copy") (param i32 i32 i32)
      (table.copy $t $t (local.get 0) (local.get 1) (local.get 2)))
    (func (export "fill") (param i32 i32)
      (table.fill $t (local.get 0) (ref.func $one) (local.get 1)))
    (func (export "grow") (param i32) (result i32)
      (table.grow $t (ref.func $two) (local.get 0)))
    (func (export "drop") (elem.drop $e))
    (func (export "xget") (param i32) (result externref)
      (table.get $x (local.get 0)))
    (func (export "type_mismatch") (result i32 i32)
      (call_indirect $t (type 1) (i32.const 1)))
    (type (func (result i32 i32)))))");
  const auto run = [&](const char* name, std::vector<uint32_t> numbers) {
    std::vector<Value> args;
    for (const uint32_t number : numbers) args.push_back(Value::I32(number));
    return Run(guest, name, args);
  };
  EXPECT_EQ(run("call", {1}), "i32:2");
  EXPECT_EQ(run("call", {0}), "uninitialized element");
  EXPECT_EQ(run("call", {4}), "undefined element");
  EXPECT_EQ(run("type_mismatch", {}), "indirect call type mismatch");
  EXPECT_EQ(run("init", {2, 0, 2}), "");
  EXPECT_EQ(run("call", {2}), "i32:1");
  EXPECT_EQ(run("init", {3, 0, 2}), "out of bounds table access");
  EXPECT_EQ(run("init", {0, 1, 2}), "out of bounds table access");
  EXPECT_EQ(run("copy", {0, 2, 2}), "");
  EXPECT_EQ(run("call", {0}), "i32:1");
  EXPECT_EQ(run("call", {1}), "i32:2");
  EXPECT_EQ(run("copy", {3, 0, 2}), "out of bounds table access");
  EXPECT_EQ(run("grow", {4}), "i32:4");
  EXPECT_EQ(run("call", {7}), "i32:2");
  EXPECT_EQ(run("grow", {1}), absl::StrCat("i32:", ~uint32_t{0}));
  EXPECT_EQ(run("fill", {6, 2}), "");
  EXPECT_EQ(run("call", {7}), "i32:1");
  EXPECT_EQ(run("fill", {7, 2}), "out of bounds table access");
  EXPECT_EQ(run("drop", {}), "");
  EXPECT_EQ(run("init", {0, 0, 1}), "out of bounds table access");
  EXPECT_EQ(Call(guest, "xget", {Value::I32(1)}).values[0],
            Value::NullExternRef());
  const Value object = *store_->NewExternRef(std::make_shared<int>(5));
  ASSERT_TRUE(guest.GetTable("x")->Set(1, object).ok());
  EXPECT_EQ(Call(guest, "xget", {Value::I32(1)}).values[0], object);
  ASSERT_TRUE(guest.GetTable("t")->Set(0, Value::NullFuncRef()).ok());
  EXPECT_EQ(run("call", {0}), "uninitialized element");
}

TEST_P(NativeStoreTest, CallsHostFunctionsThroughTables) {
  HostDefinition definition;
  definition.type = FuncType{{kI32}, {kI32}};
  definition.body = [](Caller&, absl::Span<const RawValue> args,
                       absl::Span<RawValue> results) -> ErrorRef {
    results[0] = RawValue::I32(args[0].u32() * 2);
    return nullptr;
  };
  // Before any module: nobody has a thunk for its type yet.
  const Func host = *store_->NewHostFunc("env", "twice", definition);
  const Instance guest = Instantiate(R"((module
    (table (export "t") 1 funcref)
    (type $f (func (param i32) (result i32)))
    (func (export "go") (param i32) (result i32)
      (call_indirect (type $f) (local.get 0) (i32.const 0)))))");
  ASSERT_TRUE(guest.GetTable("t")->Set(0, host.ref()).ok());
  EXPECT_EQ(Run(guest, "go", {Value::I32(21)}), "i32:42");
}

TEST_P(NativeStoreTest, RefusesForgedReferences) {
  Linker linker;
  uint64_t ref = 0;
  Define(linker, "give", FuncType{{}, {kFuncRef}},
         [&](Caller&, absl::Span<const RawValue>,
             absl::Span<RawValue> results) -> ErrorRef {
           results[0] = RawValue::Ref(ref);
           return nullptr;
         });
  const Instance guest = Instantiate(R"((module
    (import "env" "give" (func $give (result funcref)))
    (func (export "go") (result i32) (ref.is_null (call $give)))))",
                                     linker);
  EXPECT_EQ(Run(guest, "go"), "i32:0");
  ref = kNullRef;
  EXPECT_EQ(Run(guest, "go"), "i32:1");
  ref = 1'000'000;
  EXPECT_THAT(Run(guest, "go"), HasSubstr("no function of this Store"));
  ref = ~uint64_t{0} - 1;
  EXPECT_THAT(Run(guest, "go"), HasSubstr("no function of this Store"));
  EXPECT_EQ(store_->FuncFromRef(Value(kFuncRef, RawValue::Ref(1'000'000)))
                .status()
                .code(),
            absl::StatusCode::kInvalidArgument);
}

TEST_P(NativeStoreTest, LinksInstances) {
  const Instance a = Instantiate(R"((module
    (memory (export "m") 1)
    (global $g (export "g") (mut i32) (i32.const 10))
    (table (export "t") 2 funcref)
    (func $boom (export "boom") unreachable)
    (func (export "bump") (result i32)
      (global.set $g (i32.add (global.get $g) (i32.const 1)))
      (global.get $g))))",
                                 {}, "a");
  Linker linker;
  ASSERT_TRUE(linker.DefineInstance("a", a).ok());
  const Instance b = Instantiate(R"((module
    (import "a" "bump" (func $bump (result i32)))
    (import "a" "boom" (func $boom))
    (import "a" "m" (memory 1))
    (import "a" "g" (global $g (mut i32)))
    (import "a" "t" (table 2 funcref))
    (elem (i32.const 0) func $bump $boom)
    (data (i32.const 5) "x")
    (func (export "bump") (result i32)
      (drop (call $bump)) (global.get $g))
    (func (export "load") (result i32) (i32.load8_u (i32.const 5)))
    (func (export "boom") (call_indirect (i32.const 1)))))",
                                 linker, "b");
  EXPECT_EQ(Run(b, "bump"), "i32:11");
  EXPECT_EQ(Run(a, "bump"), "i32:12");
  EXPECT_EQ(Run(b, "load"), "i32:120");
  const CallResult result = Call(b, "boom");
  ASSERT_FALSE(result.returned());
  ASSERT_EQ(result.trap->backtrace().size(), 2u);
  EXPECT_EQ(result.trap->backtrace()[0].module_name, "a");
  EXPECT_EQ(result.trap->backtrace()[1].module_name, "b");
}

TEST_P(NativeStoreTest, TellsTwoInstancesOfAModuleApart) {
  Linker linker;
  std::string caller;
  Define(linker, "who", FuncType{},
         [&](Caller& c, absl::Span<const RawValue>,
             absl::Span<RawValue>) -> ErrorRef {
           caller = std::string(c.instance()->name());
           return nullptr;
         });
  const auto module = Compile(R"((module
    (import "env" "who" (func $who))
    (global $g (mut i32) (i32.const 0))
    (func (export "who") call $who)
    (func (export "count") (result i32)
      (global.set $g (i32.add (global.get $g) (i32.const 1)))
      (global.get $g))))");
  const auto one = linker.Instantiate(*store_, module, "one");
  const auto two = linker.Instantiate(*store_, module, "two");
  const auto three = linker.Instantiate(*store_, module, "three");
  ASSERT_TRUE(one.ok() && two.ok() && three.ok());
  for (const auto* made : {&one, &two, &three}) {
    EXPECT_EQ(Run(*(*made)->instance, "who"), "");
    EXPECT_EQ(caller, (*made)->instance->name());
    EXPECT_EQ(Run(*(*made)->instance, "count"), "i32:1");
  }
}

TEST_P(NativeStoreTest, LeavesWhatAnUnfinishedInstanceWrote) {
  const Instance a = Instantiate(R"((module
    (table (export "t") 2 funcref)
    (memory (export "m") 1)
    (func (export "call") (result i32)
      (call_indirect (result i32) (i32.const 0)))
    (func (export "load") (result i32) (i32.load8_u (i32.const 0)))))");
  Linker linker;
  ASSERT_TRUE(linker.DefineInstance("a", a).ok());
  const auto made = linker.Instantiate(*store_, Compile(R"((module
    (import "a" "t" (table 2 funcref))
    (import "a" "m" (memory 1))
    (memory $own 1)
    (elem (i32.const 0) func $f)
    (data (i32.const 0) "a")
    (data (i32.const 65536) "b")
    (data (i32.const 0) "c")
    (func $f (result i32) (i32.load8_u (i32.const 0)))))"),
                                       "unfinished");
  ASSERT_TRUE(made.ok()) << made.status();
  ASSERT_TRUE(made->trap.has_value());
  EXPECT_EQ(made->trap->code(), TrapCode::kMemoryOutOfBounds);
  EXPECT_EQ(Run(a, "call"), "i32:97");
  EXPECT_EQ(Run(a, "load"), "i32:97");
}

TEST_P(NativeStoreTest, BeginsWithTheSegmentsContents) {
  // Large enough for an image, and then something that is not in it.
  const std::string contents(20'000, 'q');
  const std::string wat = absl::StrCat(
      R"((module (import "env" "at" (global i32)) (memory (export "m") 1)
        (data (i32.const 100) ")",
      contents, R"(") (data (global.get 0) "z")
        (func (export "get") (param i32) (result i32)
          (i32.load8_u (local.get 0)))
        (func (export "set") (param i32)
          (i32.store8 (local.get 0) (i32.const 1)))))");
  Linker linker;
  Extern at;
  at.global = *store_->NewGlobal(GlobalType{kI32, false}, Value::I32(101));
  ASSERT_TRUE(linker.Define("env", "at", at).ok());
  const auto module = Compile(wat);
  for (int i = 0; i < 3; ++i) {
    const auto made = linker.Instantiate(*store_, module, "guest");
    ASSERT_TRUE(made.ok()) << made.status();
    const Instance& guest = *made->instance;
    const auto get = [&](uint32_t address) {
      return Call(guest, "get", {Value::I32(address)}).values[0].u32();
    };
    EXPECT_EQ(get(99), 0u);
    EXPECT_EQ(get(100), 'q');
    EXPECT_EQ(get(101), 'z');
    EXPECT_EQ(get(20'099), 'q');
    EXPECT_EQ(get(20'100), 0u);
    EXPECT_EQ(Run(guest, "set", {Value::I32(100)}), "");
    EXPECT_EQ(get(100), 1u);
  }
}

TEST_P(NativeStoreTest, RunsTailCallsInConstantSpace) {
  const Instance guest = Instantiate(R"((module
    (func $even (export "even") (param i32) (result i32)
      (if (result i32) (i32.eqz (local.get 0)) (then (i32.const 1))
        (else (return_call $odd (i32.sub (local.get 0) (i32.const 1))))))
    (func $odd (param i32) (result i32)
      (if (result i32) (i32.eqz (local.get 0)) (then unreachable)
        (else (return_call $even (i32.sub (local.get 0) (i32.const 1))))))
    (func (export "outer") (param i32) (result i32)
      (i32.add (i32.const 1) (call $even (local.get 0))))))");
  EXPECT_EQ(Run(guest, "even", {Value::I32(1'000'000)}), "i32:1");
  const CallResult result = Call(guest, "outer", {Value::I32(5)});
  ASSERT_FALSE(result.returned());
  // Those in between have made way for each other.
  ASSERT_EQ(result.trap->backtrace().size(), 2u);
  EXPECT_EQ(result.trap->backtrace()[0].func_index, 1u);
  EXPECT_EQ(result.trap->backtrace()[1].func_index, 2u);
}

TEST_P(NativeStoreTest, ThrowsAndCatches) {
  const Instance lib = Instantiate(R"((module
    (tag $t (export "t") (param i32 i64))
    (func (export "throw") (param i32)
      (throw $t (local.get 0) (i64.const 7)))))",
                                   {}, "lib");
  Linker linker;
  ASSERT_TRUE(linker.DefineInstance("lib", lib).ok());
  const Instance guest = Instantiate(R"((module
    (import "lib" "t" (tag $t (param i32 i64)))
    (import "lib" "throw" (func $throw (param i32)))
    (tag $other)
    (func (export "catch") (param i32) (result i32)
      (local i64)
      (try (result i32)
        (do (call $throw (local.get 0)) (i32.const 0))
        (catch $other (i32.const 1))
        (catch $t (local.set 1) (i32.add (i32.const 100)))))
    (func (export "miss") (param i32) (result i32)
      (try (result i32)
        (do (call $throw (local.get 0)) (i32.const 0))
        (catch $other (i32.const 1))))))",
                                     linker);
  EXPECT_EQ(Run(guest, "catch", {Value::I32(5)}), "i32:105");
  EXPECT_EQ(Run(guest, "miss", {Value::I32(5)}), "uncaught exception");
  const auto wrong = linker.Instantiate(
      *store_, Compile(R"((module (import "lib" "t" (tag (param i32)))))"),
      "wrong");
  EXPECT_EQ(wrong.status().code(), absl::StatusCode::kFailedPrecondition);
}

TEST_P(NativeStoreTest, HasSixtyFourBitMemories) {
  const Instance guest = Instantiate(R"((module
    (memory i64 1)
    (func (export "load") (param i64) (result i32)
      (i32.load (local.get 0)))
    (func (export "grow") (param i64) (result i64)
      (memory.grow (local.get 0)))
    (func (export "fill") (param i64 i64)
      (memory.fill (local.get 0) (i32.const 1) (local.get 1)))))");
  const uint64_t all = ~uint64_t{0};
  EXPECT_EQ(Run(guest, "load", {Value::I64(uint64_t{0})}), "i32:0");
  EXPECT_EQ(Run(guest, "load", {Value::I64(all)}),
            "out of bounds memory access");
  EXPECT_EQ(Run(guest, "fill", {Value::I64(all), Value::I64(uint64_t{2})}),
            "out of bounds memory access");
  EXPECT_EQ(Run(guest, "fill", {Value::I64(uint64_t{1}), Value::I64(all)}),
            "out of bounds memory access");
  EXPECT_EQ(Run(guest, "grow", {Value::I64(all)}), absl::StrCat("i64:", all));
  EXPECT_EQ(Run(guest, "grow", {Value::I64(uint64_t{1})}), "i64:1");
}

TEST_P(NativeStoreTest, TellsCallsOfOneFunctionApart) {
  const Instance guest = Instantiate(R"((module
    (func $stop (result i32) unreachable)
    (func (export "either") (param i32) (result i32)
      (if (result i32) (local.get 0)
        (then (call $stop))
        (else (call $stop))))))");
  std::vector<uint64_t> places;
  for (const uint32_t arg : {1u, 0u}) {
    const CallResult result = Call(guest, "either", {Value::I32(arg)});
    ASSERT_TRUE(result.trap.has_value());
    ASSERT_EQ(result.trap->backtrace().size(), 2u);
    places.push_back(result.trap->backtrace()[1].module_offset.value_or(0));
  }
  // A call is two bytes, and an else is one.
  EXPECT_EQ(places[1], places[0] + 3);
}

TEST_P(NativeStoreTest, CopiesFromTheSecondMemoryNamedToTheFirst) {
  const Instance guest = Instantiate(R"((module
    (memory $a 1) (memory $b 1)
    (data (memory $a) (i32.const 0) "\01\02")
    (data (memory $b) (i32.const 0) "\03\04")
    (func (export "copy") (result i32)
      (memory.copy $a $b (i32.const 0) (i32.const 1) (i32.const 1))
      (i32.or (i32.load16_u $a (i32.const 0))
              (i32.shl (i32.load16_u $b (i32.const 0)) (i32.const 16))))))");
  EXPECT_EQ(Run(guest, "copy"), absl::StrCat("i32:", 0x04030204));
}

TEST_P(NativeStoreTest, CopiesWithinAndBetweenMemoriesOfDifferentSizes) {
  const Instance guest = Instantiate(R"((module
    (memory $a (export "a") 1) (memory $b (export "b") 2)
    (func (export "aa") (param i32 i32 i32)
      (memory.copy $a $a (local.get 0) (local.get 1) (local.get 2)))
    (func (export "ab") (param i32 i32 i32)
      (memory.copy $a $b (local.get 0) (local.get 1) (local.get 2)))
    (func (export "ba") (param i32 i32 i32)
      (memory.copy $b $a (local.get 0) (local.get 1) (local.get 2)))
    (func (export "bb") (param i32 i32 i32)
      (memory.copy $b $b (local.get 0) (local.get 1) (local.get 2)))))");
  struct Bytes {
    Memory memory;
    std::vector<uint8_t> expected;
  };
  std::vector<Bytes> all;
  for (const char* const name : {"a", "b"}) {
    Bytes& one = all.emplace_back(Bytes{*guest.GetMemory(name), {}});
    const auto salt = static_cast<size_t>(name[0]);
    for (size_t i = 0; i < one.memory.bytes(); ++i) {
      one.expected.push_back(static_cast<uint8_t>(i * salt + i / 251));
    }
    ASSERT_TRUE(one.memory.Write(0, one.expected).ok());
  }
  // Where one range begins inside of the other, and where a range just fits or
  // just does not: into and out of each memory, at either's end.
  for (const char* const name : {"aa", "ab", "ba", "bb"}) {
    Bytes& target = all[name[0] == 'a' ? 0 : 1];
    Bytes& source = all[name[1] == 'a' ? 0 : 1];
    const auto target_end = static_cast<uint32_t>(target.expected.size());
    const auto source_end = static_cast<uint32_t>(source.expected.size());
    const uint32_t rows[][3] = {
        {10, 3, 20},
        {3, 10, 20},
        {100, 100, 50},
        {target_end - 5, 0, 5},
        {target_end - 5, 0, 6},
        {0, source_end - 5, 5},
        {0, source_end - 5, 6},
        {target_end, source_end, 0},
        {target_end + 1, 0, 0},
        {0, source_end + 1, 0},
        // As long as the larger one.
        {0, 0, 2 * 65'536},
    };
    for (const auto& [to, from, length] : rows) {
      SCOPED_TRACE(absl::StrCat(name, " ", to, " ", from, " ", length));
      const bool inside = uint64_t{to} + length <= target_end &&
                          uint64_t{from} + length <= source_end;
      if (inside) {
        const auto begin = source.expected.begin() + from;
        const std::vector<uint8_t> moved(begin, begin + length);
        std::copy(moved.begin(), moved.end(), target.expected.begin() + to);
      }
      EXPECT_EQ(Run(guest, name,
                    {Value::I32(to), Value::I32(from), Value::I32(length)}),
                inside ? "" : "out of bounds memory access");
      for (const Bytes& one : all) {
        std::vector<uint8_t> seen(one.expected.size());
        ASSERT_TRUE(one.memory.Read(0, absl::MakeSpan(seen)).ok());
        EXPECT_TRUE(seen == one.expected);
      }
    }
  }
}

TEST_P(NativeStoreTest, TakesBetterCodeBetweenCalls) {
  if (GetParam().level != Level::kBaseline) return;
  Linker linker;
  std::function<void()> during;
  std::string caller;
  Define(linker, "host", FuncType{{kI32}, {kI32}},
         [&](Caller& c, absl::Span<const RawValue> args,
             absl::Span<RawValue> results) -> ErrorRef {
           if (during) std::exchange(during, nullptr)();
           caller =
               absl::StrCat(c.instance()->name(), " ", c.Backtrace(9).size());
           results[0] = args[0];
           return nullptr;
         });
  const char wat[] = R"((module
    (import "env" "host" (func $host (param i32) (result i32)))
    (table (export "t") 1 funcref)
    (elem (i32.const 0) $in)
    (func $in (param i32) (result i32) (call $host (local.get 0)))
    (func (export "go") (param i32) (result i32)
      (call_indirect (param i32) (result i32)
        (local.get 0) (i32.const 0)))))";
  const auto module = Compile(wat);
  const auto one = linker.Instantiate(*store_, module, "one");
  const auto two = linker.Instantiate(*store_, module, "two");
  ASSERT_TRUE(one.ok() && two.ok());
  CompileRequest request;
  request.level = Level::kOptimised;
  request.fuel = GetParam().fuel;
  request.features = engine_->options().features;
  const auto better = native::LlvmCompiler::Compile(request, *AssembleWat(wat));
  ASSERT_TRUE(better.ok()) << better.status();
  const auto& code = static_cast<const native::NativeCode&>(module->code());
  // In the middle of a call: it goes on with what it began with.
  during = [&] { EXPECT_TRUE(code.Publish(*better, Level::kOptimised).ok()); };
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(Run(*one->instance, "go", {Value::I32(5)}), "i32:5");
    EXPECT_EQ(caller, "one 2");
    EXPECT_EQ(Run(*two->instance, "go", {Value::I32(6)}), "i32:6");
    EXPECT_EQ(caller, "two 2");
  }
  EXPECT_EQ(code.module()->current()->level(), Level::kOptimised);
  const auto three = linker.Instantiate(*store_, module, "three");
  ASSERT_TRUE(three.ok()) << three.status();
  EXPECT_EQ(Run(*three->instance, "go", {Value::I32(6)}), "i32:6");
  EXPECT_EQ(caller, "three 2");
  EXPECT_EQ(code.Publish("nonsense", Level::kOptimised).code(),
            absl::StatusCode::kInvalidArgument);
}

// --- Probes -----------------------------------------------------------------

class CountingHook final : public CallHook {
 public:
  Disposition OnTransition(CallContext& call) override {
    return call.Proceed();
  }
  EntryAnswer OnFunctionEnter(const FunctionEntry&) override {
    ++entries;
    if (on_enter) on_enter();
    return nullptr;
  }
  void OnFunctionLeave(const FunctionExit&) override { ++exits; }

  std::function<void()> on_enter;
  uint64_t entries = 0;
  uint64_t exits = 0;
};

HookOptions Probing(absl::string_view pattern) {
  HookOptions options;
  const absl::Status added = options.probes.AddPattern(pattern);
  EXPECT_TRUE(added.ok()) << added;
  return options;
}

constexpr char kProbed[] = R"((module
  (table (export "t") 1 funcref)
  (elem (i32.const 0) $f)
  (func $f (param i32) (result i32)
    (i32.add (local.get 0) (i32.const 1)))
  (func $tail (param i32) (result i32) (return_call $f (local.get 0)))
  (func (export "go") (param i32) (result i32)
    (call_indirect (param i32) (result i32)
      (call $tail (call $f (local.get 0))) (i32.const 0)))))";

TEST_P(NativeStoreTest, ProbesOneStoreAndNoOther) {
  const auto module = Compile(kProbed);
  Store other(*engine_, Limits());
  CountingHook hook;
  CountingHook others_hook;
  ASSERT_TRUE(store_->SetCallHook(hook, Probing("f")).ok());
  ASSERT_TRUE(other.SetCallHook(others_hook, Probing("tail")).ok());
  const auto mine = Linker().Instantiate(*store_, module, "guest");
  const auto theirs = Linker().Instantiate(other, module, "guest");
  ASSERT_TRUE(mine.ok() && theirs.ok());
  EXPECT_EQ(Run(*mine->instance, "go", {Value::I32(1)}), "i32:4");
  EXPECT_EQ(hook.entries, 3u);
  EXPECT_EQ(others_hook.entries, 0u);
  EXPECT_EQ(Run(*theirs->instance, "go", {Value::I32(1)}), "i32:4");
  EXPECT_EQ(hook.entries, 3u);
  EXPECT_EQ(others_hook.entries, 1u);
  ASSERT_TRUE(store_->ClearCallHook().ok());
  EXPECT_EQ(Run(*mine->instance, "go", {Value::I32(1)}), "i32:4");
  EXPECT_EQ(Run(*theirs->instance, "go", {Value::I32(1)}), "i32:4");
  EXPECT_EQ(hook.entries, 3u);
  EXPECT_EQ(hook.exits, 3u);
  EXPECT_EQ(others_hook.entries, 2u);
  EXPECT_EQ(others_hook.exits, 2u);
}

TEST_P(NativeStoreTest, SharesProbedCodeBySelection) {
  const auto compiled = Compile(kProbed);
  const std::shared_ptr<native::NativeModule>& module =
      static_cast<const native::NativeCode&>(compiled->code()).module();
  const auto version = module->current();
  const std::vector<uint32_t> one = {0};
  const std::vector<uint32_t> both = {0, 1};
  auto first = module->LoadShared(*version, one);
  auto second = module->LoadShared(*version, one);
  const auto third = module->LoadShared(*version, both);
  const auto none = module->LoadShared(*version, {});
  ASSERT_TRUE(first.ok() && second.ok() && third.ok() && none.ok());
  EXPECT_EQ(first->get(), second->get());
  EXPECT_NE(first->get(), third->get());
  // Who selects nothing has the code without a trace of probes.
  EXPECT_EQ(none->get(), version->loaded().get());
  EXPECT_EQ((*none)->Redirected(0), nullptr);
  EXPECT_NE((*first)->Redirected(0), nullptr);
  EXPECT_EQ((*first)->Redirected(1), nullptr);
  EXPECT_NE((*third)->Redirected(1), nullptr);
  // It goes with the last who uses it.
  const std::weak_ptr<const native::LoadedCode> gone = *first;
  *first = nullptr;
  EXPECT_FALSE(gone.expired());
  *second = nullptr;
  EXPECT_TRUE(gone.expired());
}

TEST_P(NativeStoreTest, ProbesBetterCodeToo) {
  if (GetParam().level != Level::kBaseline) return;
  CountingHook hook;
  ASSERT_TRUE(store_->SetCallHook(hook, Probing("*")).ok());
  const auto module = Compile(kProbed);
  const auto one = Linker().Instantiate(*store_, module, "one");
  const auto two = Linker().Instantiate(*store_, module, "two");
  ASSERT_TRUE(one.ok() && two.ok());
  CompileRequest request;
  request.level = Level::kOptimised;
  request.fuel = GetParam().fuel;
  request.features = engine_->options().features;
  const auto better =
      native::LlvmCompiler::Compile(request, *AssembleWat(kProbed));
  ASSERT_TRUE(better.ok()) << better.status();
  const auto& code = static_cast<const native::NativeCode&>(module->code());
  for (int i = 0; i < 2; ++i) {
    hook.entries = hook.exits = 0;
    EXPECT_EQ(Run(*one->instance, "go", {Value::I32(1)}), "i32:4");
    EXPECT_EQ(Run(*two->instance, "go", {Value::I32(1)}), "i32:4");
    EXPECT_EQ(hook.entries, 10u);
    EXPECT_EQ(hook.exits, 10u);
    if (i == 0) {
      ASSERT_TRUE(code.Publish(*better, Level::kOptimised).ok());
    }
  }
}

TEST_P(NativeStoreTest, LetsHooksRunAtTheStacksEnd) {
  CountingHook hook;
  hook.on_enter = [] {
    volatile uint8_t room[64 << 10];
    for (size_t i = 0; i < sizeof(room); i += 512) room[i] = 1;
  };
  ASSERT_TRUE(store_->SetCallHook(hook, Probing("*")).ok());
  const Instance guest = Instantiate(R"((module
    (func $down (export "down") (param i64 i64 i64 i64 i64 i64 i64 i64)
      (call $down (local.get 7) (local.get 0) (local.get 1) (local.get 2)
        (local.get 3) (local.get 4) (local.get 5) (local.get 6)))
    (func (export "go")
      (call $down (i64.const 0) (i64.const 1) (i64.const 2) (i64.const 3)
        (i64.const 4) (i64.const 5) (i64.const 6) (i64.const 7)))))");
  EXPECT_EQ(Run(guest, "go"), "call stack exhausted");
  EXPECT_GT(hook.entries, 1'000u);
  EXPECT_EQ(hook.exits, hook.entries);
}

// A guest that does nothing but call what is probed comes to its end.
TEST_P(NativeStoreTest, InterruptsALoopOfProbedCalls) {
  CountingHook hook;
  uint64_t at_interrupt = 0;
  hook.on_enter = [&] {
    if (hook.entries != 10'000) return;
    at_interrupt = hook.entries;
    store_->Interrupt();
  };
  ASSERT_TRUE(store_->SetCallHook(hook, Probing("f")).ok());
  const Instance guest = Instantiate(R"((module (func $f)
    (func (export "spin") (loop (call $f) (br 0)))))");
  EXPECT_EQ(Run(guest, "spin"), "interrupted");
  // Within a slice, which each call shortens by its toll.
  EXPECT_LE(hook.entries, at_interrupt + 1'001);
  EXPECT_EQ(hook.exits, hook.entries);
}

TEST_P(NativeStoreTest, RunsStoresOnManyThreads) {
  const auto module = Compile(R"((module
    (memory 1)
    (func (export "count") (param i32) (result i32)
      (loop $again
        (i32.store (i32.const 0)
          (i32.add (i32.load (i32.const 0)) (i32.const 1)))
        (br_if $again
          (local.tee 0 (i32.sub (local.get 0) (i32.const 1)))))
      (i32.load (i32.const 0)))))");
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 25; ++i) {
        Store store(*engine_, Limits());
        const auto made = Linker().Instantiate(store, module, "guest");
        ASSERT_TRUE(made.ok()) << made.status();
        EXPECT_EQ(Run(*made->instance, "count", {Value::I32(1'000)}),
                  "i32:1000");
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
}

}  // namespace
}  // namespace callgate
