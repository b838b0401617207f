// memory.grow and table.grow: offered to the Store's limiter, reported to the
// hook, and no transitions.

#include <gtest/gtest.h>

#include <optional>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "tests/conformance/call_hook/on_every_engine.h"

namespace callgate {
namespace {

// Notes transitions in the journal, and growth apart from them.
class GrowthHook final : public CallHook {
 public:
  explicit GrowthHook(Journal& journal) : journal_(journal) {}

  bool agrees = true;
  absl::Duration delay;
  ErrorRef error;
  std::vector<std::string> reports;
  // In step with the journal: how many events there were at each report.
  std::vector<std::string> events_before;

  Disposition OnTransition(CallContext& call) override {
    journal_.Note(TransitionSign(call.transition()));
    return call.Proceed();
  }

  GrowthAnswer OnGrowth(const GrowthEvent& event) override {
    reports.push_back(absl::StrCat(
        event.kind == GrowthEvent::Kind::kMemory ? "memory " : "table ",
        event.index, ": ", event.current, " to ", event.desired, " of ",
        event.store_bytes, event.allowed ? " allowed" : " refused"));
    events_before.push_back(journal_.events());
    if (error != nullptr) return GrowthAnswer::Stop(error);
    GrowthAnswer answer(agrees);
    answer.delay = delay;
    return answer;
  }

 private:
  Journal& journal_;
};

class FixedLimiter final : public ResourceLimiter {
 public:
  bool allows = true;
  std::vector<std::string> asked;

  bool MemoryGrowing(uint64_t current, uint64_t desired) override {
    asked.push_back(absl::StrCat("memory ", current, " to ", desired));
    return allows;
  }
  bool TableGrowing(uint64_t current, uint64_t desired) override {
    asked.push_back(absl::StrCat("table ", current, " to ", desired));
    return allows;
  }
};

// One page of memory (at most 10) and 4 table elements (at most 10). The bytes
// of both together: 65536 + 4 * 16.
constexpr absl::string_view kGrows = R"((module
  (import "env" "h" (func $h))
  (memory (export "memory") 1 10)
  (table (export "table") 4 10 funcref)
  (func (export "memory_grow") (param i32) (result i32)
    (memory.grow (local.get 0)))
  (func (export "table_grow") (param i32) (result i32)
    (table.grow 0 (ref.null func) (local.get 0)))
  (func (export "memory_size") (result i32) memory.size)
  (func (export "table_size") (result i32) (table.size 0))
  (func (export "grows_between_host_calls")
    call $h
    (drop (memory.grow (i32.const 1)))
    call $h)))";

class CallHookGrowth : public testing::TestWithParam<EngineUnderTest> {
 protected:
  void Start(const Limits& limits = {}) {
    store_.emplace(*engine_, journal_, "", limits, &limiter_);
    store_->Define("h", store_->Returns());
    ASSERT_TRUE(store_->Instantiate(kGrows));
    ASSERT_TRUE(store_->store().SetCallHook(hook_).ok());
    // What the limiter was asked for the initial sizes is not at issue here.
    limiter_.asked.clear();
  }

  const std::unique_ptr<Engine> engine_ = GetParam().make();
  Journal journal_;
  GrowthHook hook_{journal_};
  FixedLimiter limiter_;
  std::optional<WatchedStore> store_;
};

std::vector<std::string> Lines(std::initializer_list<const char*> lines) {
  return std::vector<std::string>(lines.begin(), lines.end());
}

TEST_P(CallHookGrowth, IsReportedAndIsNoTransition) {
  Start();
  store_->Call("memory_grow", {Value::I32(2)});
  store_->Call("table_grow", {Value::I32(3)});
  store_->Call("memory_size");
  store_->Call("table_size");
  EXPECT_EQ(journal_.outcomes(), "ok i32:1; ok i32:4; ok i32:3; ok i32:7");
  EXPECT_EQ(journal_.events(), "cw rw cw rw cw rw cw rw");
  EXPECT_EQ(hook_.reports, Lines({"memory 0: 65536 to 196608 of 65600 allowed",
                                  "table 0: 4 to 7 of 196672 allowed"}));
  EXPECT_EQ(limiter_.asked, Lines({"memory 65536 to 196608", "table 4 to 7"}));
  EXPECT_EQ(store_->store().bytes_used(), 196608u + 7 * 16);
}

TEST_P(CallHookGrowth, IsReportedWhenItHappens) {
  Start();
  store_->Call("grows_between_host_calls");
  EXPECT_EQ(journal_.events(), "cw ch H rh ch H rh rw");
  EXPECT_EQ(hook_.events_before, Lines({"cw ch H rh"}));
}

TEST_P(CallHookGrowth, IsRefusedByTheHook) {
  Start();
  hook_.agrees = false;
  store_->Call("memory_grow", {Value::I32(2)});
  store_->Call("table_grow", {Value::I32(3)});
  store_->Call("memory_size");
  store_->Call("table_size");
  EXPECT_EQ(journal_.outcomes(),
            "ok i32:4294967295; ok i32:4294967295; ok i32:1; ok i32:4");
  EXPECT_EQ(hook_.reports, Lines({"memory 0: 65536 to 196608 of 65600 allowed",
                                  "table 0: 4 to 7 of 65600 allowed"}));
  EXPECT_EQ(store_->store().bytes_used(), 65536u + 4 * 16);
}

// The guest ends with the hook's own error, as at a transition.
TEST_P(CallHookGrowth, EndsTheGuestWhereTheHookSaysSo) {
  Start();
  hook_.error = MakeError("no more");
  for (const char* name : {"memory_grow", "table_grow"}) {
    const auto func = store_->FindFunc(name);
    ASSERT_TRUE(func.has_value());
    const auto result = func->Call({Value::I32(1)});
    ASSERT_TRUE(result.ok()) << result.status();
    ASSERT_TRUE(result->trap.has_value()) << name;
    EXPECT_EQ(result->trap->code(), TrapCode::kRefused);
    EXPECT_EQ(result->trap->cause(), hook_.error);
    ASSERT_FALSE(result->trap->backtrace().empty());
  }
  hook_.error = nullptr;
  store_->Call("memory_size");
  store_->Call("table_size");
  store_->Call("memory_grow", {Value::I32(1)});
  EXPECT_EQ(journal_.outcomes(), "ok i32:1; ok i32:4; ok i32:1");
}

TEST_P(CallHookGrowth, WaitsAsLongAsTheHookSays) {
  Start();
  hook_.delay = absl::Milliseconds(20);
  absl::Time start = absl::Now();
  store_->Call("memory_grow", {Value::I32(1)});
  EXPECT_GE(absl::Now() - start, hook_.delay);
  // A refusal waits, too: the guest asks again at once.
  hook_.agrees = false;
  start = absl::Now();
  store_->Call("memory_grow", {Value::I32(1)});
  EXPECT_GE(absl::Now() - start, hook_.delay);
  EXPECT_EQ(journal_.outcomes(), "ok i32:1; ok i32:4294967295");
  // And it ends with the call's time.
  hook_.delay = absl::Hours(1);
  CallOptions options;
  options.wall = absl::Milliseconds(10);
  const auto result =
      store_->FindFunc("memory_grow")->Call({Value::I32(1)}, options);
  ASSERT_TRUE(result.ok()) << result.status();
  ASSERT_TRUE(result->trap.has_value());
  EXPECT_EQ(result->trap->code(), TrapCode::kDeadlineExceeded);
}

TEST_P(CallHookGrowth, IsNotAllowedByTheHookWhereTheLimiterRefused) {
  Start();
  limiter_.allows = false;
  store_->Call("memory_grow", {Value::I32(2)});
  store_->Call("table_grow", {Value::I32(3)});
  store_->Call("memory_size");
  store_->Call("table_size");
  EXPECT_EQ(journal_.outcomes(),
            "ok i32:4294967295; ok i32:4294967295; ok i32:1; ok i32:4");
  EXPECT_EQ(hook_.reports, Lines({"memory 0: 65536 to 196608 of 65600 refused",
                                  "table 0: 4 to 7 of 65600 refused"}));
}

// The Store's own Limits are asked first, and the limiter not at all then.
TEST_P(CallHookGrowth, IsRefusedByTheStoresLimits) {
  Limits limits;
  limits.bytes_total = 2 * kWasmPageBytes;
  limits.table_elements_total = 5;
  Start(limits);
  store_->Call("memory_grow", {Value::I32(1)});
  store_->Call("table_grow", {Value::I32(2)});
  store_->Call("table_grow", {Value::I32(1)});
  EXPECT_EQ(journal_.outcomes(),
            "ok i32:4294967295; ok i32:4294967295; ok i32:4");
  EXPECT_EQ(hook_.reports, Lines({"memory 0: 65536 to 131072 of 65600 refused",
                                  "table 0: 4 to 6 of 65600 refused",
                                  "table 0: 4 to 5 of 65600 allowed"}));
  EXPECT_EQ(limiter_.asked, Lines({"table 4 to 5"}));
}

TEST_P(CallHookGrowth, OverTheTypesMaximumIsNotReported) {
  Start();
  store_->Call("memory_grow", {Value::I32(10)});
  store_->Call("memory_grow", {Value::I32(-1)});
  store_->Call("table_grow", {Value::I32(7)});
  store_->Call("table_grow", {Value::I32(-1)});
  EXPECT_EQ(journal_.outcomes(),
            "ok i32:4294967295; ok i32:4294967295; ok i32:4294967295; "
            "ok i32:4294967295");
  EXPECT_EQ(hook_.reports, Lines({}));
  EXPECT_EQ(limiter_.asked, Lines({}));
}

TEST_P(CallHookGrowth, TrapsWhereTheStoreAsksForIt) {
  Limits limits;
  limits.trap_on_growth_refused = true;
  Start(limits);
  limiter_.allows = false;
  store_->Call("memory_grow", {Value::I32(1)});
  store_->Call("table_grow", {Value::I32(1)});
  // The specification's own maximum still answers -1.
  store_->Call("memory_grow", {Value::I32(10)});
  EXPECT_EQ(journal_.outcomes(),
            "growth_limited; growth_limited; ok i32:4294967295");
  EXPECT_EQ(journal_.events(), "cw rw cw rw cw rw");
}

TEST_P(CallHookGrowth, GoesToTheLimiterWithoutAHook) {
  Start();
  ASSERT_TRUE(store_->store().ClearCallHook().ok());
  store_->Call("memory_grow", {Value::I32(1)});
  limiter_.allows = false;
  store_->Call("memory_grow", {Value::I32(1)});
  EXPECT_EQ(journal_.outcomes(), "ok i32:1; ok i32:4294967295");
  EXPECT_EQ(limiter_.asked,
            Lines({"memory 65536 to 131072", "memory 131072 to 196608"}));
  EXPECT_EQ(hook_.reports, Lines({}));
}

// Of a table that the guest imports, too.
TEST_P(CallHookGrowth, OfAnImportedMemoryIsReported) {
  Start();
  const std::optional<Instance> instance = store_->FindInstance();
  ASSERT_TRUE(instance.has_value());
  ASSERT_TRUE(store_->linker().DefineInstance("lib", *instance).ok());
  store_->Instantiate(R"((module
    (import "lib" "memory" (memory 1)) (import "lib" "table" (table 1 funcref))
    (func (export "go") (result i32 i32)
      (memory.grow (i32.const 1))
      (table.grow 0 (ref.null func) (i32.const 1)))))",
                      "app");
  store_->Call("go");
  EXPECT_EQ(journal_.outcomes(), "ok i32:1 i32:4");
  EXPECT_EQ(hook_.reports, Lines({"memory 0: 65536 to 131072 of 65600 allowed",
                                  "table 0: 4 to 5 of 131136 allowed"}));
}

INSTANTIATE_TEST_SUITE_P(Engines, CallHookGrowth,
                         testing::ValuesIn(EnginesUnderTest()), EngineName);

}  // namespace
}  // namespace callgate
