// Stores of one engine that differ in StoreOptions::canonical_nans.

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "runtime/executor/executor.h"
#include "runtime/linker.h"
#include "runtime/module.h"
#include "runtime/native/native_code.h"
#include "runtime/native/native_engine.h"
#include "runtime/store.h"
#include "tests/support/native_engine.h"
#include "tests/support/wat.h"

namespace callgate {
namespace {

using native::CompileRequest;
using native::Level;
using ::testing::HasSubstr;
using ::testing::UnorderedElementsAre;

// The other operands are not constants: of x op constant the compiler makes
// canonical NaNs in both.
constexpr char kGuest[] = R"((module
  (global $one (mut f32) (f32.const 1))
  (global $three (mut f64) (f64.const 3))
  (func $add (param f32) (result f32)
    (f32.add (local.get 0) (global.get $one)))
  (func (export "add") (param i32) (result i32)
    (i32.reinterpret_f32 (call $add (f32.reinterpret_i32 (local.get 0)))))
  (func (export "mul64") (param i64) (result i64)
    (i64.reinterpret_f64
      (f64.mul (f64.reinterpret_i64 (local.get 0)) (global.get $three))))
  (func (export "lane") (param i32) (result i32)
    (i32x4.extract_lane 2
      (f32x4.sub (i32x4.splat (local.get 0)) (f32x4.splat (global.get $one)))))
  (func (export "negate") (param i32) (result i32)
    (i32.reinterpret_f32 (f32.neg (f32.reinterpret_i32 (local.get 0)))))))";

constexpr uint32_t kPayload = 0x7fc00123;
constexpr uint32_t kCanonical = 0x7fc00000;

// Compiles in this process, writes down for whom, and fails when told to.
class WatchedCompiler final : public native::CodeSource {
 public:
  absl::StatusOr<std::string> Compile(const CompileRequest& request,
                                      absl::Span<const uint8_t> module,
                                      absl::string_view account) override {
    {
      const std::lock_guard<std::mutex> lock(mu_);
      jobs_.push_back(absl::StrCat(
          request.level == Level::kOptimised ? "optimised" : "baseline",
          request.canonical_nans ? " canonical" : " any", " for ", account));
      if (!request.canonical_nans && !any_nans_status_.ok()) {
        return any_nans_status_;
      }
      if (!request.canonical_nans && !other_module_.empty()) {
        return InProcessCompiler().Compile(request, other_module_, account);
      }
    }
    if (!request.canonical_nans && before_any_nans) before_any_nans();
    return InProcessCompiler().Compile(request, module, account);
  }

  void FailAnyNans(absl::Status status) {
    const std::lock_guard<std::mutex> lock(mu_);
    any_nans_status_ = std::move(status);
  }
  void CompileInstead(std::vector<uint8_t> module) {
    const std::lock_guard<std::mutex> lock(mu_);
    other_module_ = std::move(module);
  }
  std::vector<std::string> jobs() {
    const std::lock_guard<std::mutex> lock(mu_);
    return jobs_;
  }

  // Called on the compiling thread. Set it before anything is compiled.
  std::function<void()> before_any_nans;

 private:
  std::mutex mu_;
  // Guarded by mu_.
  std::vector<std::string> jobs_;
  absl::Status any_nans_status_;
  std::vector<uint8_t> other_module_;
};

StoreOptions AnyNans() {
  StoreOptions options;
  options.canonical_nans = false;
  return options;
}

class AnyNansTest : public testing::TestWithParam<Level> {
 protected:
  AnyNansTest() { Start(false); }

  void Start(bool optimise_in_background) {
    NativeOptions native;
    native.request.level = GetParam();
    native.source = &compiler_;
    native.optimise_in_background = optimise_in_background;
    native.on_optimised = [this](const absl::Status& status) {
      const std::lock_guard<std::mutex> lock(mu_);
      EXPECT_TRUE(status.ok()) << status;
      ++optimised_;
      changed_.notify_all();
    };
    engine_ = NewNativeEngine(EngineOptions(), native);
  }
  void AwaitOptimised(int count) {
    std::unique_lock<std::mutex> lock(mu_);
    changed_.wait(lock, [&] { return optimised_ >= count; });
  }

  std::shared_ptr<const Module> Compile(const std::string& wat = kGuest) {
    auto module =
        Module::Compile(*engine_, *AssembleWat(wat),
                        engine_->options().module_limits, "the tenant");
    EXPECT_TRUE(module.ok()) << module.status();
    return *module;
  }
  static Instance Instantiate(Store& store,
                              const std::shared_ptr<const Module>& module,
                              const std::string& name = "guest") {
    const auto made = Linker().Instantiate(store, module, name);
    EXPECT_TRUE(made.ok()) << made.status();
    return *made->instance;
  }
  static uint64_t Bits(const Instance& instance, const std::string& name,
                       const Value& arg) {
    const auto result = instance.GetFunc(name)->Call({arg}, {});
    EXPECT_TRUE(result.ok()) << result.status();
    EXPECT_TRUE(result->returned());
    const Value& value = result->values[0];
    return value.type() == ValType::kI64 ? value.raw().u64()
                                         : value.raw().u32();
  }
  static uint64_t Add(const Instance& instance) {
    return Bits(instance, "add", Value::I32(kPayload));
  }
  std::string JobFor(absl::string_view nans) const {
    return absl::StrCat(
        GetParam() == Level::kOptimised ? "optimised " : "baseline ", nans,
        " for the tenant");
  }

  WatchedCompiler compiler_;
  std::mutex mu_;
  std::condition_variable changed_;
  int optimised_ = 0;  // guarded by mu_
  std::unique_ptr<Engine> engine_;
};

INSTANTIATE_TEST_SUITE_P(Levels, AnyNansTest,
                         testing::Values(Level::kBaseline, Level::kOptimised),
                         [](const auto& row) {
                           return row.param == Level::kBaseline
                                      ? std::string("baseline")
                                      : std::string("optimised");
                         });

TEST_P(AnyNansTest, StoresOfOneModuleDiffer) {
  const auto module = Compile();
  Store canonical(*engine_, StoreOptions());
  Store any(*engine_, AnyNans());
  EXPECT_TRUE(canonical.canonical_nans());
  EXPECT_FALSE(any.canonical_nans());
  EXPECT_TRUE(Store(*engine_, Limits()).canonical_nans());
  const Instance one = Instantiate(canonical, module);
  const Instance other = Instantiate(any, module);
  // One after the other and back: neither takes the other's code.
  for (int i = 0; i < 2; ++i) {
    EXPECT_EQ(Add(one), kCanonical);
    EXPECT_EQ(Add(other), kPayload);
  }
  const Value payload = Value::I32(kPayload);
  EXPECT_EQ(Bits(one, "lane", payload), kCanonical);
  EXPECT_EQ(Bits(other, "lane", payload), kPayload);
  const Value payload64 = Value::I64(uint64_t{0x7ff8000000000123});
  EXPECT_EQ(Bits(one, "mul64", payload64), 0x7ff8000000000000);
  EXPECT_EQ(Bits(other, "mul64", payload64), 0x7ff8000000000123);
  // What is only moved keeps its bits in both.
  EXPECT_EQ(Bits(one, "negate", payload), kPayload | 0x80000000);
  EXPECT_EQ(Bits(other, "negate", payload), kPayload | 0x80000000);
  // A signalling NaN is quiet afterwards in both.
  const Value signalling = Value::I32(uint32_t{0x7f800123});
  EXPECT_EQ(Bits(one, "add", signalling), kCanonical);
  EXPECT_EQ(Bits(other, "add", signalling), kPayload);
}

TEST_P(AnyNansTest, CompilesForTheFirstStoreThatWantsIt) {
  const auto module = Compile();
  for (int i = 0; i < 2; ++i) {
    Store store(*engine_, StoreOptions());
    EXPECT_EQ(Add(Instantiate(store, module)), kCanonical);
  }
  EXPECT_THAT(compiler_.jobs(), UnorderedElementsAre(JobFor("canonical")));
  // Kept when its last Store is gone.
  for (int i = 0; i < 2; ++i) {
    Store store(*engine_, AnyNans());
    // The second instance has a copy of its own.
    EXPECT_EQ(Add(Instantiate(store, module, "one")), kPayload);
    EXPECT_EQ(Add(Instantiate(store, module, "two")), kPayload);
  }
  EXPECT_THAT(compiler_.jobs(),
              UnorderedElementsAre(JobFor("canonical"), JobFor("any")));
}

TEST_P(AnyNansTest, StoresOnManyThreadsCompileOnce) {
  const auto module = Compile();
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      const bool canonical = t == 0;
      StoreOptions options;
      options.canonical_nans = canonical;
      Store store(*engine_, options);
      EXPECT_EQ(Add(Instantiate(store, module)),
                canonical ? kCanonical : kPayload);
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_THAT(compiler_.jobs(),
              UnorderedElementsAre(JobFor("canonical"), JobFor("any")));
}

TEST_P(AnyNansTest, FibersThatWaitForItHoldNoThread) {
  // Compiling takes until somebody else has had the executor's only thread.
  std::mutex mu;
  std::condition_variable changed;
  bool others_ran = false;
  compiler_.before_any_nans = [&] {
    std::unique_lock<std::mutex> lock(mu);
    EXPECT_TRUE(changed.wait_for(lock, std::chrono::minutes(1),
                                 [&] { return others_ran; }));
  };
  const std::shared_ptr<const Module> module = Compile();
  Executor::Options options;
  options.threads = 1;
  auto executor = Executor::Start(options);
  ASSERT_TRUE(executor.ok()) << executor.status();
  std::atomic<int> right{0};
  for (int i = 0; i < 3; ++i) {
    ASSERT_TRUE((*executor)->TryRun([&] {
      Store store(*engine_, AnyNans());
      const Instance guest = Instantiate(store, module);
      if (Add(guest) == kPayload) ++right;
    }));
  }
  ASSERT_TRUE((*executor)->TryRun([&] {
    const std::lock_guard<std::mutex> lock(mu);
    others_ran = true;
    changed.notify_all();
  }));
  ASSERT_TRUE((*executor)->WaitUntilIdle(absl::InfiniteFuture()));
  EXPECT_EQ(right, 3);
  EXPECT_EQ(compiler_.jobs().size(), 2u);  // one of each kind
}

TEST_P(AnyNansTest, AFailureIsTheInstantiationsAndNobodyElses) {
  const auto module = Compile();
  Store canonical(*engine_, StoreOptions());
  Store any(*engine_, AnyNans());
  const auto refused = [&](absl::StatusCode code, absl::string_view text) {
    const auto made = Linker().Instantiate(any, module, "guest");
    EXPECT_EQ(made.status().code(), code);
    EXPECT_THAT(std::string(made.status().message()),
                HasSubstr(absl::StrCat(
                    "code for Stores without canonical NaNs could not be "
                    "made: ",
                    text)));
    EXPECT_EQ(any.instance_count(), 0u);
  };
  compiler_.FailAnyNans(absl::ResourceExhaustedError("no compile time left"));
  refused(absl::StatusCode::kResourceExhausted, "no compile time left");
  EXPECT_EQ(Add(Instantiate(canonical, module)), kCanonical);
  compiler_.FailAnyNans(absl::OkStatus());
  // An answer that is of another module is not run.
  compiler_.CompileInstead(*AssembleWat("(module (func) (func) (func))"));
  refused(absl::StatusCode::kInvalidArgument, "the compiler's second answer");
  compiler_.CompileInstead({});
  EXPECT_EQ(Add(Instantiate(any, module)), kPayload);
}

class CountingHook final : public CallHook {
 public:
  Disposition OnTransition(CallContext& call) override {
    return call.Proceed();
  }
  ErrorRef OnFunctionEnter(const FunctionEntry&) override {
    ++entries;
    return nullptr;
  }
  void OnFunctionLeave(const FunctionExit&) override { ++exits; }

  int entries = 0;
  int exits = 0;
};

TEST_P(AnyNansTest, HasProbes) {
  const auto module = Compile();
  Store canonical(*engine_, StoreOptions());
  Store any(*engine_, AnyNans());
  Store unprobed(*engine_, AnyNans());
  HookOptions options;
  // By their names in the name section and in the exports: both functions.
  ASSERT_TRUE(options.probes.AddPattern("add").ok());
  CountingHook canonical_hook;
  CountingHook any_hook;
  ASSERT_TRUE(canonical.SetCallHook(canonical_hook, options).ok());
  ASSERT_TRUE(any.SetCallHook(any_hook, options).ok());
  const Instance one = Instantiate(canonical, module);
  const Instance other = Instantiate(any, module);
  const Instance third = Instantiate(unprobed, module);
  EXPECT_EQ(Add(one), kCanonical);
  EXPECT_EQ(canonical_hook.entries, 2);
  EXPECT_EQ(Add(other), kPayload);
  EXPECT_EQ(Add(third), kPayload);
  EXPECT_EQ(any_hook.entries, 2);
  EXPECT_EQ(any_hook.exits, 2);
  // Loaded again without them.
  ASSERT_TRUE(any.ClearCallHook().ok());
  EXPECT_EQ(Add(other), kPayload);
  EXPECT_EQ(any_hook.entries, 2);
}

TEST_P(AnyNansTest, TakesBetterCodeBetweenCalls) {
  if (GetParam() != Level::kBaseline) return;
  Start(/*optimise_in_background=*/true);
  const auto module = Compile();
  const native::NativeModule& native =
      *static_cast<const native::NativeCode&>(module->code()).module();
  Store canonical(*engine_, StoreOptions());
  Store any(*engine_, AnyNans());
  const Instance one = Instantiate(canonical, module);
  EXPECT_EQ(native.current(/*canonical_nans=*/false), nullptr);
  const Instance other = Instantiate(any, module);
  AwaitOptimised(2);
  EXPECT_THAT(compiler_.jobs(),
              UnorderedElementsAre("baseline canonical for the tenant",
                                   "baseline any for the tenant",
                                   "optimised canonical for the tenant",
                                   "optimised any for the tenant"));
  for (const bool way : {true, false}) {
    EXPECT_EQ(native.current(way)->level(), Level::kOptimised);
  }
  EXPECT_EQ(Add(one), kCanonical);
  EXPECT_EQ(Add(other), kPayload);
  // An idle Store takes what is published later, and gives up what it had.
  const std::weak_ptr<const native::CodeVersion> old = native.current(false);
  CompileRequest request;
  request.level = Level::kOptimised;
  request.canonical_nans = false;
  request.features = engine_->options().features;
  const auto again =
      InProcessCompiler().Compile(request, *AssembleWat(kGuest), "");
  ASSERT_TRUE(again.ok()) << again.status();
  const auto& code = static_cast<const native::NativeCode&>(module->code());
  ASSERT_TRUE(code.Publish(*again, Level::kOptimised, false).ok());
  EXPECT_EQ(Add(one), kCanonical);
  EXPECT_FALSE(old.expired());
  EXPECT_EQ(Add(other), kPayload);
  EXPECT_TRUE(old.expired());
}

}  // namespace
}  // namespace callgate
