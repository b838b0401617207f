// Guests as machine code on an executor: what is only true of Stores that wait
// without a thread and go on on another one.

#include <fcntl.h>
#include <unistd.h>

#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "runtime/executor/executor.h"
#include "runtime/linker.h"
#include "runtime/module.h"
#include "runtime/native/compile_request.h"
#include "runtime/parker.h"
#include "runtime/parking_condition.h"
#include "runtime/store.h"
#include "tests/support/native_engine.h"
#include "tests/support/wat.h"

namespace callgate {
namespace {

using native::CompileRequest;
using native::Level;
using ::testing::Each;

constexpr ValType kI32 = ValType::kI32;

// Delays every call of "work" and counts what it sees of it.
class DelayingHook final : public CallHook {
 public:
  explicit DelayingHook(absl::Duration delay) : delay_(delay) {}
  TransitionSet OnLink(const FunctionIdentity& function) override {
    return function.name == "work" ? TransitionSet::All()
                                   : TransitionSet::None();
  }
  Disposition OnTransition(CallContext& call) override {
    if (call.transition() == Transition::kCallingHost) {
      ++enters;
      return call.ProceedAfter(delay_);
    }
    if (call.transition() == Transition::kReturningFromHost) ++leaves;
    return call.Proceed();
  }

  std::atomic<int> enters{0};
  std::atomic<int> leaves{0};

 private:
  const absl::Duration delay_;
};

struct Guest {
  std::unique_ptr<Store> store;
  std::optional<Instance> instance;
};

struct CodeRow {
  const char* name;
  Level level;
  bool fuel;
};

class ParkedStoreTest : public testing::TestWithParam<CodeRow> {
 protected:
  ParkedStoreTest() {
    CompileRequest request;
    request.level = GetParam().level;
    request.fuel = GetParam().fuel;
    EngineOptions options;
    options.module_limits.locals_per_function = 50'000;
    engine_ = NewInProcessNativeEngine(options, request);
  }

  static std::unique_ptr<Executor> StartExecutor(size_t threads,
                                                 size_t jobs_max = 64) {
    Executor::Options options;
    options.threads = threads;
    options.jobs_max = jobs_max;
    options.turn = std::chrono::milliseconds(1);
    auto started = Executor::Start(options);
    EXPECT_TRUE(started.ok()) << started.status();
    return *std::move(started);
  }

  std::shared_ptr<const Module> Compile(const std::string& wat) {
    const auto bytes = AssembleWat(wat);
    EXPECT_TRUE(bytes.ok()) << bytes.status();
    auto module = Module::Compile(*engine_, *bytes);
    EXPECT_TRUE(module.ok()) << module.status();
    return *module;
  }

  Guest NewGuest(const std::shared_ptr<const Module>& module,
                 CallHook* hook = nullptr, const Limits& limits = Limits()) {
    Guest guest;
    guest.store = std::make_unique<Store>(*engine_, limits);
    if (hook != nullptr) {
      EXPECT_TRUE(guest.store->SetCallHook(*hook).ok());
    }
    auto made = linker_.Instantiate(*guest.store, module, "guest");
    EXPECT_TRUE(made.ok()) << made.status();
    guest.instance = made->instance;
    return guest;
  }

  void Define(const std::string& name, FuncType type, HostFunction body) {
    HostDefinition definition;
    definition.type = std::move(type);
    definition.body = std::move(body);
    EXPECT_TRUE(linker_.DefineFunc("env", name, std::move(definition)).ok());
  }

  // A host function that returns when it is on another thread than it began on.
  void DefineMove() {
    Define("move", FuncType{},
           [this](Caller& caller, absl::Span<const RawValue>,
                  absl::Span<RawValue>) -> ErrorRef {
             // Not std::this_thread::get_id, which compilers ask but once.
             const pid_t before = gettid();
             while (gettid() == before) {
               if (caller.WaitUntil(absl::Now() + absl::Microseconds(50)) ==
                   WakeReason::kInterrupted) {
                 return caller.Interrupted();
               }
             }
             ++moves_;
             return nullptr;
           });
  }

  static std::string Call(Guest& guest, const std::string& name,
                          const std::vector<Value>& args = {},
                          const CallOptions& options = {}) {
    const auto func = guest.instance->GetFunc(name);
    EXPECT_TRUE(func.ok()) << func.status();
    const auto result = func->Call(args, options);
    EXPECT_TRUE(result.ok()) << result.status();
    if (!result->returned()) return std::string(result->trap->message());
    std::string text;
    for (const Value& value : result->values) {
      absl::StrAppend(&text, text.empty() ? "" : " ", value.ToString());
    }
    return text;
  }

  // The same on the executor, as one of two such jobs, so that threads change.
  static std::string CallOn(Executor& executor, Guest& guest,
                            const std::string& name,
                            const std::vector<Value>& args = {},
                            const CallOptions& options = {}) {
    std::string result;
    std::atomic<bool> ended{false};
    EXPECT_TRUE(executor.TryRun([&] {
      while (!ended) {
        Parker::Current()->Park(
            -1, Parker::Clock::now() + std::chrono::microseconds(70));
      }
    }));
    EXPECT_TRUE(executor.TryRun([&] {
      result = Call(guest, name, args, options);
      ended = true;
    }));
    EXPECT_TRUE(executor.WaitUntilIdle(absl::InfiniteFuture()));
    return result;
  }

  template <typename Condition>
  static void Until(const Condition& condition) {
    while (!condition()) std::this_thread::yield();
  }

  std::unique_ptr<Engine> engine_;
  Linker linker_;
  std::atomic<int> moves_{0};
};

INSTANTIATE_TEST_SUITE_P(
    Code, ParkedStoreTest,
    testing::Values(CodeRow{"baseline_metered", Level::kBaseline, true},
                    CodeRow{"baseline_unmetered", Level::kBaseline, false},
                    CodeRow{"optimised_metered", Level::kOptimised, true},
                    CodeRow{"optimised_unmetered", Level::kOptimised, false}),
    [](const auto& row) { return std::string(row.param.name); });

TEST_P(ParkedStoreTest, FiveHundredDelaysOfTheHookPassOnTwoThreads) {
  constexpr size_t kGuests = 500;
  constexpr absl::Duration kDelay = absl::Milliseconds(100);
  std::mutex mu;
  ParkingCondition opened;
  bool open = false;  // guarded by mu
  Define("gate", FuncType{},
         [&](Caller&, absl::Span<const RawValue>,
             absl::Span<RawValue>) -> ErrorRef {
           std::unique_lock<std::mutex> lock(mu);
           while (!open) opened.WaitUntil(lock, absl::InfiniteFuture());
           return nullptr;
         });
  Define("work", FuncType{{kI32}, {kI32}},
         [](Caller&, absl::Span<const RawValue> args,
            absl::Span<RawValue> results) -> ErrorRef {
           results[0] = RawValue::I32(args[0].u32() * 2);
           return nullptr;
         });
  const auto module = Compile(R"((module
    (import "env" "gate" (func $gate))
    (import "env" "work" (func $work (param i32) (result i32)))
    (func (export "go") (param i32) (result i32)
      call $gate
      (i32.add (local.get 0) (call $work (local.get 0))))))");
  DelayingHook hook(kDelay);
  std::vector<Guest> guests;
  std::vector<std::string> results(kGuests);
  for (size_t i = 0; i < kGuests; ++i)
    guests.push_back(NewGuest(module, &hook));

  const std::unique_ptr<Executor> executor = StartExecutor(2, kGuests);
  for (size_t i = 0; i < kGuests; ++i) {
    ASSERT_TRUE(executor->TryRun([&, i] {
      results[i] =
          Call(guests[i], "go", {Value::I32(static_cast<uint32_t>(i))});
    }));
  }
  Until([&] { return executor->counts().parked == kGuests; });
  const absl::Time start = absl::Now();
  {
    const std::lock_guard<std::mutex> lock(mu);
    open = true;
    opened.NotifyAll();
  }
  EXPECT_TRUE(executor->WaitUntilIdle(absl::InfiniteFuture()));
  const absl::Duration took = absl::Now() - start;
  for (size_t i = 0; i < kGuests; ++i) {
    EXPECT_EQ(results[i], absl::StrCat("i32:", i * 3));
  }
  EXPECT_EQ(hook.enters, static_cast<int>(kGuests));
  EXPECT_EQ(hook.leaves, static_cast<int>(kGuests));
  EXPECT_GE(took, kDelay);
  // Threads that waited would need half of all the delays together.
  EXPECT_LT(took, kDelay * (kGuests / 2) / 2);
}

TEST_P(ParkedStoreTest, AnInterruptAndADeadlineEndADelayAtOnce) {
  Define("work", FuncType{},
         [](Caller&, absl::Span<const RawValue>,
            absl::Span<RawValue>) -> ErrorRef { return MakeError("it ran"); });
  const auto module = Compile(R"((module
    (import "env" "work" (func $work))
    (func (export "go") call $work)))");
  DelayingHook hook(absl::Hours(1));
  Guest guest = NewGuest(module, &hook);
  const std::unique_ptr<Executor> executor = StartExecutor(2);
  std::string result;
  ASSERT_TRUE(executor->TryRun([&] { result = Call(guest, "go"); }));
  Until([&] { return executor->counts().parked == 1; });
  guest.store->Interrupt();
  EXPECT_TRUE(executor->WaitUntilIdle(absl::InfiniteFuture()));
  EXPECT_EQ(result, "interrupted");
  EXPECT_EQ(executor->poller().size(), 0u);

  // It stays interrupted until that is taken back.
  EXPECT_EQ(CallOn(*executor, guest, "go"), "interrupted");
  guest.store->ResetInterrupt();
  CallOptions options;
  options.wall = absl::Milliseconds(5);
  EXPECT_EQ(CallOn(*executor, guest, "go", {}, options), "deadline exceeded");
  EXPECT_EQ(hook.enters, hook.leaves);
}

// While the guest waits, its thread works for others; it is not charged for
// them, nor for the waiting.
TEST_P(ParkedStoreTest, WaitingUsesNoProcessorTime) {
  Define("wait", FuncType{},
         [](Caller& caller, absl::Span<const RawValue>,
            absl::Span<RawValue>) -> ErrorRef {
           return caller.WaitUntil(absl::Now() + absl::Milliseconds(60)) ==
                          WakeReason::kInterrupted
                      ? caller.Interrupted()
                      : nullptr;
         });
  const auto module = Compile(R"((module
    (import "env" "wait" (func $wait))
    (func (export "waits") call $wait)
    (func (export "spins") (loop $l (br $l)))
    (func (export "waits_and_spins") call $wait (loop $l (br $l)))))");
  Guest guest = NewGuest(module);
  const std::unique_ptr<Executor> executor = StartExecutor(1);
  const auto run = [&](const std::string& name, absl::Duration cpu,
                       bool with_others) {
    std::atomic<bool> ended{false};
    absl::StatusOr<CallResult> result = absl::UnknownError("not run");
    CallOptions options;
    options.cpu = cpu;
    EXPECT_TRUE(executor->TryRun([&] {
      result = guest.instance->GetFunc(name)->Call({}, options);
      ended = true;
    }));
    if (with_others) {
      EXPECT_TRUE(executor->TryRun([&] {
        while (!ended) Parker::Current()->YieldIfDue();
      }));
    }
    EXPECT_TRUE(executor->WaitUntilIdle(absl::InfiniteFuture()));
    EXPECT_TRUE(result.ok()) << result.status();
    return *std::move(result);
  };

  // Others have all of the thread while it waits.
  CallResult result = run("waits", absl::Milliseconds(30), true);
  EXPECT_FALSE(result.trap.has_value()) << result.trap->message();
  EXPECT_LT(result.usage.cpu, absl::Milliseconds(30));
  EXPECT_GE(result.usage.wall, absl::Milliseconds(60));

  for (const char* name : {"spins", "waits_and_spins"}) {
    result = run(name, absl::Milliseconds(30), true);
    ASSERT_TRUE(result.trap.has_value()) << name;
    EXPECT_EQ(result.trap->code(), TrapCode::kProcessorTimeExceeded) << name;
    EXPECT_GE(result.usage.cpu, absl::Milliseconds(30)) << name;
    // It shared the thread, or waited.
    EXPECT_GT(result.usage.wall, result.usage.cpu) << name;
  }
}

// On an ordinary thread the clock is the thread's; budgets of nested calls are
// ceilings, and infinity measures.
TEST_P(ParkedStoreTest, ProcessorTimeIsBudgetedOnAnyThread) {
  Guest guest;
  CallOptions inner;
  std::string said;
  Define("again", FuncType{},
         [&](Caller&, absl::Span<const RawValue>,
             absl::Span<RawValue>) -> ErrorRef {
           said = Call(guest, "spins", {}, inner);
           return nullptr;
         });
  const auto module = Compile(R"((module
    (import "env" "again" (func $again))
    (func (export "again") call $again)
    (func (export "none"))
    (func (export "spins") (loop $l (br $l)))))");
  guest = NewGuest(module);
  CallOptions options;
  options.cpu = absl::Milliseconds(10);
  EXPECT_EQ(Call(guest, "spins", {}, options), "processor time used up");
  // The inner call's own, and the outer one goes on.
  inner.cpu = absl::Milliseconds(5);
  options.cpu = absl::Seconds(60);
  EXPECT_EQ(Call(guest, "again", {}, options), "");
  EXPECT_EQ(said, "processor time used up");
  // The outer one's, which the inner one cannot widen.
  inner.cpu = absl::Seconds(60);
  options.cpu = absl::Milliseconds(5);
  EXPECT_EQ(Call(guest, "again", {}, options), "");
  EXPECT_EQ(said, "processor time used up");
  // What was used up is no longer in force.
  EXPECT_EQ(Call(guest, "none", {}, options), "");

  options.cpu = absl::InfiniteDuration();
  options.wall = absl::Milliseconds(20);
  const auto result = guest.instance->GetFunc("spins")->Call({}, options);
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(result->trap->code(), TrapCode::kDeadlineExceeded);
  EXPECT_GT(result->usage.cpu, absl::ZeroDuration());
  // Two clocks, read one after the other.
  EXPECT_LE(result->usage.cpu, result->usage.wall + absl::Milliseconds(1));
}

TEST_P(ParkedStoreTest, InterruptsThatRaceWithTheParkingAreNotLost) {
  Define("work", FuncType{},
         [](Caller& caller, absl::Span<const RawValue>,
            absl::Span<RawValue>) -> ErrorRef {
           return caller.WaitUntil(absl::InfiniteFuture()) ==
                          WakeReason::kInterrupted
                      ? caller.Interrupted()
                      : nullptr;
         });
  const auto module = Compile(R"((module
    (import "env" "work" (func $work))
    (func (export "go") call $work)))");
  Guest guest = NewGuest(module);
  const std::unique_ptr<Executor> executor = StartExecutor(2);
  for (int i = 0; i < 300; ++i) {
    std::string result;
    ASSERT_TRUE(executor->TryRun([&] { result = Call(guest, "go"); }));
    for (int spin = 0; spin < i * 20; ++spin)
      std::atomic_signal_fence(std::memory_order_seq_cst);
    guest.store->Interrupt();
    EXPECT_TRUE(executor->WaitUntilIdle(absl::InfiniteFuture()));
    ASSERT_EQ(result, "interrupted");
    guest.store->ResetInterrupt();
  }
}

TEST_P(ParkedStoreTest, WaitsForADescriptor) {
  int ends[2];
  ASSERT_EQ(pipe2(ends, O_CLOEXEC | O_NONBLOCK), 0);
  Define("read", FuncType{{}, {kI32}},
         [&](Caller& caller, absl::Span<const RawValue>,
             absl::Span<RawValue> results) -> ErrorRef {
           if (caller.WaitReadable(ends[0], absl::InfiniteFuture()) ==
               WakeReason::kInterrupted) {
             return caller.Interrupted();
           }
           char byte = 0;
           EXPECT_EQ(read(ends[0], &byte, 1), 1);
           results[0] = RawValue::I32(static_cast<uint32_t>(byte));
           return nullptr;
         });
  const auto module = Compile(R"((module
    (import "env" "read" (func $read (result i32)))
    (func (export "go") (result i32) call $read)))");
  Guest guest = NewGuest(module);
  const std::unique_ptr<Executor> executor = StartExecutor(1);
  std::string result;
  ASSERT_TRUE(executor->TryRun([&] { result = Call(guest, "go"); }));
  Until([&] { return executor->counts().parked == 1; });
  ASSERT_EQ(write(ends[1], "*", 1), 1);
  EXPECT_TRUE(executor->WaitUntilIdle(absl::InfiniteFuture()));
  EXPECT_EQ(result, "i32:42");
  // What is there already is not waited for.
  ASSERT_EQ(write(ends[1], "+", 1), 1);
  EXPECT_EQ(CallOn(*executor, guest, "go"), "i32:43");
  close(ends[0]);
  close(ends[1]);
}

TEST_P(ParkedStoreTest, TrapsOnTheThreadWhereItWentOn) {
  DefineMove();
  const auto module = Compile(R"((module
    (import "env" "move" (func $move))
    (memory 1)
    (func (export "unreachable") call $move unreachable)
    (func (export "out") (result i32)
      call $move (i32.load (i32.const 65533)))
    (func (export "divide") (param i32) (result i32)
      call $move (i32.div_u (i32.const 1) (local.get 0)))
    (func $deep (result i32) (i32.add (i32.const 1) (call $deep)))
    (func (export "deep") (result i32) call $move call $deep)))");
  Guest guest = NewGuest(module);
  const std::unique_ptr<Executor> executor = StartExecutor(2);
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(CallOn(*executor, guest, "unreachable"), "unreachable");
    EXPECT_EQ(CallOn(*executor, guest, "out"), "out of bounds memory access");
    EXPECT_EQ(CallOn(*executor, guest, "divide", {Value::I32(0)}),
              "integer divide by zero");
    EXPECT_EQ(CallOn(*executor, guest, "divide", {Value::I32(1)}), "i32:1");
    EXPECT_EQ(CallOn(*executor, guest, "deep"), "call stack exhausted");
  }
  EXPECT_EQ(moves_, 15);
}

TEST_P(ParkedStoreTest, ParksInACallThatAHostFunctionMade) {
  DefineMove();
  Guest guest;
  std::vector<std::string> inner;
  Define("again", FuncType{{kI32}, {kI32}},
         [&](Caller& caller, absl::Span<const RawValue> args,
             absl::Span<RawValue> results) -> ErrorRef {
           const size_t frames = caller.Backtrace(100).size();
           const std::string said =
               Call(guest, "down", {Value::I32(args[0].u32() - 1)});
           // The frames below are where they were.
           EXPECT_EQ(caller.Backtrace(100).size(), frames);
           inner.push_back(said);
           results[0] = RawValue::I32(args[0].u32());
           return nullptr;
         });
  const auto module = Compile(R"((module
    (import "env" "move" (func $move))
    (import "env" "again" (func $again (param i32) (result i32)))
    (memory 1)
    (func (export "down") (param i32) (result i32) (local i32)
      call $move
      (if (i32.eqz (local.get 0)) (then unreachable))
      (local.set 1 (call $again (local.get 0)))
      call $move
      (i32.add (i32.const 100) (local.get 1)))))");
  guest = NewGuest(module);
  const std::unique_ptr<Executor> executor = StartExecutor(2);
  EXPECT_EQ(CallOn(*executor, guest, "down", {Value::I32(4)}), "i32:104");
  EXPECT_EQ(inner, (std::vector<std::string>{"unreachable", "i32:101",
                                             "i32:102", "i32:103"}));
  EXPECT_EQ(moves_, 9);
}

TEST_P(ParkedStoreTest, HostsThatCallGuestsAgainEndInATrap) {
  Guest guest;
  std::string innermost;
  Define("again", FuncType{},
         [&](Caller&, absl::Span<const RawValue>,
             absl::Span<RawValue>) -> ErrorRef {
           const std::string said = Call(guest, "go");
           if (innermost.empty()) innermost = said;
           return MakeError(said);
         });
  const auto module = Compile(R"((module
    (import "env" "again" (func $again))
    (func (export "go") call $again)))");
  const std::unique_ptr<Executor> executor = StartExecutor(2);
  guest = NewGuest(module);
  EXPECT_NE(CallOn(*executor, guest, "go"), "");
  EXPECT_EQ(innermost, "calls between guest and host nested too deeply");

  // Where the limit is none, the stack is.
  Limits deep;
  deep.activation_depth = 1'000'000;
  guest = NewGuest(module, nullptr, deep);
  innermost.clear();
  EXPECT_NE(CallOn(*executor, guest, "go"), "");
  EXPECT_EQ(innermost, "call stack exhausted");
}

TEST_P(ParkedStoreTest, HostsThatCallOnlyHostsEndInATrap) {
  Guest guest;
  std::string innermost;
  Define("again", FuncType{},
         [&](Caller&, absl::Span<const RawValue>,
             absl::Span<RawValue>) -> ErrorRef {
           const std::string said = Call(guest, "host");
           if (innermost.empty()) innermost = said;
           return MakeError(said);
         });
  const auto module = Compile(R"((module
    (import "env" "again" (func $again))
    (export "host" (func $again))
    (func $deep (param i32)
      (if (local.get 0)
        (then (call $deep (i32.sub (local.get 0) (i32.const 1)))))
      call $again)
    (func (export "go") (call $deep (i32.const 1000)))))");
  guest = NewGuest(module);
  const std::unique_ptr<Executor> executor = StartExecutor(2);
  EXPECT_NE(CallOn(*executor, guest, "go"), "");
  EXPECT_EQ(innermost, "calls between guest and host nested too deeply");
}

TEST_P(ParkedStoreTest, HugeFramesEndInATrap) {
  // Each of 160 KB, in a function of its own to be found by the compiler.
  std::string wat = "(module (func $huge (export \"go\") (param i64) (local";
  for (int i = 0; i < 20'000; ++i) wat += " i64";
  wat += R"()
    (local.set 20000 (local.get 0))
    (call $huge (i64.add (local.get 20000) (local.get 1)))
    (local.set 1 (local.get 20000)))))";
  const auto module = Compile(wat);
  Guest guest = NewGuest(module);
  const std::unique_ptr<Executor> executor = StartExecutor(2);
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(CallOn(*executor, guest, "go", {Value::I64(uint64_t{1})}),
              "call stack exhausted");
  }
}

TEST_P(ParkedStoreTest, GuestsThatSpinShareTheThreads) {
  const auto module = Compile(R"((module
    (memory 1)
    (func (export "spin") (loop $again (br $again)))
    (func (export "fill")
      (loop $again
        (memory.fill (i32.const 0) (i32.const 1) (i32.const 65536))
        (br $again)))))");
  std::vector<Guest> guests;
  for (int i = 0; i < 4; ++i) guests.push_back(NewGuest(module));
  std::vector<std::string> results(guests.size());
  const std::unique_ptr<Executor> executor = StartExecutor(1);
  for (size_t i = 0; i < guests.size(); ++i) {
    ASSERT_TRUE(executor->TryRun([&, i] {
      results[i] = Call(guests[i], i % 2 == 0 ? "spin" : "fill");
    }));
  }
  // Behind four that never end by themselves, and it is for it to end them.
  ASSERT_TRUE(executor->TryRun([&] {
    for (const Guest& guest : guests) guest.store->Interrupt();
  }));
  EXPECT_TRUE(executor->WaitUntilIdle(absl::InfiniteFuture()));
  EXPECT_THAT(results, Each("interrupted"));
}

}  // namespace
}  // namespace callgate
