// How the policies of a Store that lives are replaced.

#include <atomic>
#include <deque>
#include <memory>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "policy/compiler/policy_compiler.h"
#include "policy/hook/fake_call.h"
#include "policy/hook/policy_hook.h"
#include "tests/support/allocations.h"

namespace callgate::policy {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using Policies = std::vector<std::shared_ptr<const Policy>>;

std::shared_ptr<const Policy> Compile(absl::string_view body) {
  CompileResult result = CompilePolicyText(
      absl::StrCat("api_version: callgate.policy/v1\nkind: Policy\n"
                   "metadata: { name: web }\n",
                   body),
      "web.yaml");
  EXPECT_TRUE(result.ok()) << (result.problems.empty()
                                   ? ""
                                   : result.problems[0].ToString());
  return result.policy;
}

constexpr char kAllowAll[] =
    "imports:\n"
    "  - { import: net.send, action: allow }\n"
    "  - { import: env.tick, action: allow }\n";

// What was decided, other than a plain allow.
class RecordingSink final : public DecisionSink {
 public:
  void OnDecision(const DecisionRecord& r) override {
    rules.emplace_back(r.rule);
    versions.emplace_back(r.policy_version);
    messages.emplace_back(r.message);
    delays.push_back(r.delay);
  }
  void OnEngineFault(const StoreFacts&, absl::string_view message) override {
    faults.emplace_back(message);
  }
  std::vector<std::string> rules, versions, messages, faults;
  std::vector<absl::Duration> delays;
};

class ReloadTest : public testing::Test {
 protected:
  void Make(absl::string_view body) { Make(Policies{Compile(body)}); }
  void Make(Policies policies) {
    hook_ = std::make_unique<PolicyHook>(
        std::move(policies), StoreFacts{"s1", "acme", "sha256:00", "guest"},
        [this] { return now_; }, sink_);
    guest_.kind = FunctionIdentity::Kind::kGuestExport;
    send_ = &Link("net", "send");
    tick_ = &Link("env", "tick");
    Enter();
  }
  const FunctionIdentity& Link(absl::string_view module,
                               absl::string_view name) {
    FunctionIdentity& f = functions_.emplace_back();
    f.module = module;
    f.name = name;
    f.type = &type_;
    f.spec = &spec_;
    f.binding = static_cast<uint32_t>(functions_.size() - 1);
    wanted_ = hook_->OnLink(f);
    return f;
  }
  std::vector<Problem> Replace(absl::string_view body) {
    return hook_->Replace({Compile(body)});
  }
  void Enter() {
    FakeCall call(Transition::kCallingWasm, guest_);
    EXPECT_EQ(hook_->OnTransition(call), Disposition::kProceed);
    relinks_ += call.relinks();
  }
  Disposition Call(const FunctionIdentity& function, uint32_t depth = 2) {
    FakeCall call(Transition::kCallingHost, function, {RawValue::I32(0)});
    call.WithDepth(depth);
    const Disposition answer = hook_->OnTransition(call);
    relinks_ += call.relinks();
    return answer;
  }
  Disposition Send() { return Call(*send_); }

  const FuncType type_ = {{ValType::kI32}, {ValType::kI32}};
  const HostFunctionSpec spec_ = {
      {{"len", 0, ArgKind::kU32, kNoIndex, kNoIndex, 0}}, true};
  absl::Time now_ = absl::UnixEpoch();
  RecordingSink sink_;
  std::deque<FunctionIdentity> functions_;
  FunctionIdentity guest_;
  std::unique_ptr<PolicyHook> hook_;
  const FunctionIdentity* send_ = nullptr;
  const FunctionIdentity* tick_ = nullptr;
  TransitionSet wanted_;
  int relinks_ = 0;
};

TEST_F(ReloadTest, JudgesTheNextHostCallByTheNewPolicies) {
  Make(kAllowAll);
  EXPECT_EQ(Send(), Disposition::kProceed);
  EXPECT_THAT(
      Replace("imports: [ { id: no, import: net.send, action: trap } ]"),
      IsEmpty());
  EXPECT_EQ(Send(), Disposition::kRefuse);
  EXPECT_EQ(Call(*tick_), Disposition::kAnswer);
  EXPECT_THAT(sink_.rules, ElementsAre("no", "default:unlisted_import"));
  Replace(kAllowAll);
  EXPECT_EQ(Send(), Disposition::kProceed);
  EXPECT_EQ(Call(*tick_), Disposition::kProceed);
}

TEST_F(ReloadTest, TakesTheLastOfSeveral) {
  Make(kAllowAll);
  for (const char* action : {"deny", "trap", "allow"}) {
    Replace(absl::StrCat("imports: [ { import: net.send, action: ", action,
                         " } ]"));
  }
  EXPECT_EQ(Send(), Disposition::kProceed);
  EXPECT_THAT(sink_.rules, IsEmpty());
}

TEST_F(ReloadTest, TakesMoreAndFewerPolicies) {
  Make(kAllowAll);
  const auto all = Compile(kAllowAll);
  CompileResult strict = CompilePolicyText(
      "api_version: callgate.policy/v1\nkind: Policy\n"
      "metadata: { name: strict }\n"
      "imports: [ { import: net.send, action: allow } ]\n",
      "strict.yaml");
  ASSERT_TRUE(strict.ok());
  hook_->Replace({all, strict.policy});
  EXPECT_EQ(Send(), Disposition::kProceed);
  EXPECT_EQ(Call(*tick_), Disposition::kAnswer);
  hook_->Replace({all});
  EXPECT_EQ(Call(*tick_), Disposition::kProceed);
}

TEST_F(ReloadTest, CountsOnWhereARateLimitStaysTheSame) {
  const auto limited = [](int burst, const char* more) {
    return absl::StrCat(kAllowAll,
                        "rate_limits:\n  - { id: r, import: net.send, "
                        "refill_per_second: 0.001, burst: ",
                        burst, ", action: deny }\n", more);
  };
  Make(limited(3, ""));
  EXPECT_EQ(Send(), Disposition::kProceed);
  EXPECT_EQ(Send(), Disposition::kProceed);
  // Something else changes.
  Replace(limited(3, "budgets: { fuel_per_call: 1000 }"));
  EXPECT_EQ(Send(), Disposition::kProceed);
  EXPECT_EQ(Send(), Disposition::kAnswer);
  Replace(limited(3, ""));
  EXPECT_EQ(Send(), Disposition::kAnswer);
  // It changes.
  Replace(limited(1, ""));
  EXPECT_EQ(Send(), Disposition::kProceed);
  EXPECT_EQ(Send(), Disposition::kAnswer);
}

TEST_F(ReloadTest, SlowsOnWhereAThrottleStaysTheSame) {
  const auto throttled = [](const char* when, int fuel) {
    return absl::StrCat(
        kAllowAll, "rules:\n  - { id: slow, when: '", when,
        "', action: throttle, throttle: { base_delay: 1ms, factor: 2, "
        "max_delay: 1s, cool_down: 10s } }\nbudgets: { fuel_per_call: ",
        fuel, " }\n");
  };
  constexpr char kWhen[] = "call.import == \"net.send\"";
  Make(throttled(kWhen, 1));
  EXPECT_EQ(Send(), Disposition::kDelay);
  EXPECT_EQ(Send(), Disposition::kDelay);
  Replace(throttled(kWhen, 2));
  EXPECT_EQ(Send(), Disposition::kDelay);
  Replace(throttled("call.import == \"net.send\" && true", 2));
  EXPECT_EQ(Send(), Disposition::kDelay);
  EXPECT_THAT(sink_.delays,
              ElementsAre(absl::Milliseconds(1), absl::Milliseconds(2),
                          absl::Milliseconds(4), absl::Milliseconds(1)));
}

TEST_F(ReloadTest, AsksAgainWhatIsWanted) {
  Make(kAllowAll);
  EXPECT_FALSE(wanted_.Contains(Transition::kReturningFromHost));
  Replace(absl::StrCat(kAllowAll, "budgets: { fuel_per_call: 5 }"));
  EXPECT_EQ(Send(), Disposition::kProceed);
  EXPECT_EQ(relinks_, 0);
  Replace(absl::StrCat(kAllowAll,
                       "  - { id: k, import: net.connect, action: "
                       "kill_store }"));
  EXPECT_EQ(Send(), Disposition::kProceed);
  EXPECT_EQ(relinks_, 1);
  EXPECT_TRUE(hook_->OnLink(*send_).Contains(Transition::kReturningFromHost));
  // Where it takes over between calls it asks at the next one.
  Replace(kAllowAll);
  hook_->TakeOver();
  EXPECT_EQ(relinks_, 1);
  Enter();
  EXPECT_EQ(relinks_, 2);
  EXPECT_FALSE(hook_->OnLink(*send_).Contains(Transition::kReturningFromHost));
}

TEST_F(ReloadTest, LinksLaterFunctionsUnderTheNewOnes) {
  Make(kAllowAll);
  Replace("imports: [ { import: env.late, action: allow } ]");
  // Before the new ones have been taken over, and after.
  const FunctionIdentity& late = Link("env", "late");
  EXPECT_EQ(Call(late), Disposition::kProceed);
  EXPECT_EQ(Call(Link("env", "later")), Disposition::kAnswer);
  Replace("imports: [ { import: env.later, action: allow } ]");
  EXPECT_EQ(Call(late), Disposition::kAnswer);
  EXPECT_EQ(Call(functions_.back()), Disposition::kProceed);
}

TEST_F(ReloadTest, StaysEnded) {
  Make("imports: [ { id: k, import: net.send, action: kill_store } ]");
  EXPECT_EQ(Send(), Disposition::kRefuse);
  Replace(kAllowAll);
  EXPECT_EQ(Send(), Disposition::kRefuse);
  EXPECT_NE(hook_->latched(), nullptr);
}

TEST_F(ReloadTest, HoldsTheCallsSoFarAgainstTheNewBudget) {
  Make(kAllowAll);
  for (int i = 0; i < 5; ++i) EXPECT_EQ(Send(), Disposition::kProceed);
  Replace(absl::StrCat(kAllowAll, "budgets: { host_calls_per_call: 6 }"));
  EXPECT_EQ(Send(), Disposition::kProceed);
  EXPECT_EQ(Send(), Disposition::kRefuse);
  EXPECT_THAT(sink_.rules, ElementsAre("budget:host_calls_per_call"));
  Enter();
  EXPECT_EQ(Send(), Disposition::kProceed);
}

TEST_F(ReloadTest, HasTheNewBudgetsBetweenCalls) {
  Make(kAllowAll);
  Replace(absl::StrCat(kAllowAll, "budgets: { fuel_per_call: 6 }"));
  EXPECT_EQ(hook_->budgets().Max(Budget::kFuelPerCall), std::nullopt);
  hook_->TakeOver();
  EXPECT_EQ(hook_->budgets().Max(Budget::kFuelPerCall), 6u);
}

// Functions of the guest's own have to be probed first, which is done between
// calls.
TEST_F(ReloadTest, AsksForTheProbesOfTheNewOnes) {
  Make(kAllowAll);
  hook_->SelectFunctions([](const FunctionFilter& filter) {
    return filter.HasName("parse_x") ? std::vector<uint32_t>{5}
                                     : std::vector<uint32_t>();
  });
  EXPECT_FALSE(hook_->TakeReinstallDue());
  Replace(absl::StrCat(kAllowAll, "budgets: { fuel_per_call: 5 }"));
  hook_->TakeOver();
  EXPECT_FALSE(hook_->TakeReinstallDue());
  const std::string rules = absl::StrCat(
      kAllowAll,
      "rules:\n"
      "  - { id: f, event: function, function: 'parse_*', when: 'true', "
      "action: "
      "trap }\n"
      "  - { id: g, event: function, function: 'gone_*', when: 'true', action: "
      "log }\n");
  Replace(rules);
  hook_->TakeOver();
  EXPECT_TRUE(hook_->TakeReinstallDue());
  EXPECT_FALSE(hook_->TakeReinstallDue());
  ASSERT_EQ(hook_->pending_rules().size(), 1u);
  EXPECT_EQ(hook_->pending_rules()[0].rule->id, "g");
  FunctionFilter probes;
  ASSERT_TRUE(hook_->AddProbes(&probes).ok());
  EXPECT_TRUE(probes.HasName("parse_y"));
  // An alert has calls to show now.
  EXPECT_NE(hook_->call_ring(), nullptr);

  const FuncType type;
  ProbedFunction function;
  function.func_index = 5;
  function.name = "parse_x";
  function.type = &type;
  const auto caller = [] { return CallerFrame(); };
  EXPECT_NE(hook_->OnFunctionEnter(FunctionEntry{function, {}, 1, caller, 0, 0})
                .error,
            nullptr);
  // The same functions with another rule about them need nothing new.
  Replace(absl::StrCat(rules, "budgets: { fuel_per_call: 5 }"));
  hook_->TakeOver();
  EXPECT_FALSE(hook_->TakeReinstallDue());
}

TEST_F(ReloadTest, HoldsGrowthToTheNewBudget) {
  Make(kAllowAll);
  GrowthEvent growth;
  growth.current = 0;
  growth.desired = 65536;
  growth.store_bytes = 65536;
  growth.allowed = true;
  EXPECT_TRUE(hook_->OnGrowth(growth).allow);
  Replace(absl::StrCat(kAllowAll, "budgets: { memory_bytes_total: 131072 }"));
  hook_->TakeOver();
  EXPECT_TRUE(hook_->OnGrowth(growth).allow);
  Replace(absl::StrCat(kAllowAll, "budgets: { memory_bytes_total: 131071 }"));
  hook_->TakeOver();
  EXPECT_FALSE(hook_->OnGrowth(growth).allow);
  EXPECT_FALSE(hook_->OnGrowth(growth).allow);
  EXPECT_THAT(sink_.rules, ElementsAre("budget:memory_bytes_total"));
}

// Without a host call in between.
TEST_F(ReloadTest, AGrowthSeesTheNewBudgetAtOnce) {
  Make(kAllowAll);
  GrowthEvent growth;
  growth.desired = 65536;
  growth.allowed = true;
  EXPECT_TRUE(hook_->OnGrowth(growth).allow);
  Replace(absl::StrCat(kAllowAll, "budgets: { memory_bytes_total: 65535 }"));
  EXPECT_FALSE(hook_->OnGrowth(growth).allow);
  EXPECT_FALSE(hook_->has_offer());
  Replace(absl::StrCat(kAllowAll, "budgets: { memory_bytes_total: 65536 }"));
  EXPECT_TRUE(hook_->OnGrowth(growth).allow);
}

TEST_F(ReloadTest, SaysWhatDoesNotFitAndStopsIt) {
  Make(kAllowAll);
  const std::vector<Problem> problems =
      Replace(absl::StrCat(kAllowAll,
                           "rules:\n  - { id: r, when: 'args.nothing == 1', "
                           "action: alert }\n"));
  ASSERT_FALSE(problems.empty());
  EXPECT_THAT(problems[0].ToString(), HasSubstr("nothing"));
  EXPECT_EQ(Send(), Disposition::kRefuse);
  EXPECT_THAT(sink_.rules, ElementsAre("default:on_engine_error"));
  EXPECT_EQ(sink_.faults.size(), 1u);
}

// Destroying many rules takes a while, and is not done on the guest's time.
TEST_F(ReloadTest, LeavesTheOldOnesToOthers) {
  auto first = Compile(kAllowAll);
  const std::weak_ptr<const Policy> old = first;
  Make(Policies{std::move(first)});
  Replace(absl::StrCat(kAllowAll, "budgets: { fuel_per_call: 6 }"));
  EXPECT_EQ(Send(), Disposition::kProceed);
  EXPECT_FALSE(old.expired());
  hook_->CollectReplaced();
  EXPECT_TRUE(old.expired());
}

TEST_F(ReloadTest, TakesOverWithoutAllocating) {
  Make(kAllowAll);
  // Room for what is kept from one version to the next.
  Replace(absl::StrCat(kAllowAll, "budgets: { host_calls_per_call: 100 }"));
  EXPECT_EQ(Send(), Disposition::kProceed);
  std::string body = kAllowAll;
  absl::StrAppend(&body, "budgets: { host_calls_per_call: 101 }\nrules:\n");
  for (int i = 0; i < 1000; ++i) {
    absl::StrAppend(&body, "  - { id: r", i, ", when: 'args.len == ", i + 1,
                    "', action: alert }\n");
  }
  Replace(body);
  const uint64_t before = AllocationCount();
  EXPECT_EQ(Send(), Disposition::kProceed);
  const uint64_t taking_over = AllocationCount() - before;
  EXPECT_EQ(Send(), Disposition::kProceed);
  // No more than the fake call itself.
  EXPECT_EQ(taking_over, AllocationCount() - before - taking_over);
}

// Each decision is of one version, whole, whenever the versions change.
TEST_F(ReloadTest, MixesNoVersions) {
  const auto version = [](const char* name) {
    return Compile(absl::StrCat(
        "imports:\n"
        "  - { import: net.send, action: allow }\n"
        "  - { id: ",
        name, "-1, import: net.send, action: log }\n  - { id: ", name,
        "-2, import: net.send, action: alert, when: 'args.len == 0' }\n"));
  };
  const auto a = version("a");
  const auto b = version("b");
  class Sink final : public DecisionSink {
   public:
    void OnDecision(const DecisionRecord& r) override {
      std::set<char> letters;
      for (const RuleMatch& m : r.matches) {
        letters.insert(m.rule[0]);
        versions.insert(
            absl::StrCat(m.rule.substr(0, 1), " ", m.policy_version));
      }
      whole = whole && letters.size() == 1 && r.matches.size() == 2;
    }
    void OnEngineFault(const StoreFacts&, absl::string_view) override {
      whole = false;
    }
    bool whole = true;
    std::set<std::string> versions;
  } sink;
  PolicyHook hook(
      {a}, {"s1", "acme", "sha256:00", "guest"}, [this] { return now_; }, sink);
  FunctionIdentity send;
  send.module = "net";
  send.name = "send";
  send.type = &type_;
  send.spec = &spec_;
  send.binding = 0;
  hook.OnLink(send);
  std::atomic<bool> done{false};
  std::thread replacer([&] {
    for (int i = 0; i < 2000; ++i) hook.Replace({i % 2 == 0 ? b : a});
    done = true;
  });
  uint64_t calls = 0;
  while (!done || calls < 1000) {
    FakeCall call(Transition::kCallingHost, send, {RawValue::I32(0)});
    // Some of them inside of others.
    call.WithDepth(calls % 3 == 2 ? 4 : 2);
    EXPECT_EQ(hook.OnTransition(call), Disposition::kProceed);
    ++calls;
  }
  replacer.join();
  EXPECT_TRUE(sink.whole);
  EXPECT_LE(sink.versions.size(), 2u);
  const PolicyHook::Counts counts = hook.DrainCounts();
  ASSERT_EQ(counts.imports.size(), 1u);
  EXPECT_EQ(counts.imports[0].allowed_with_record, calls);
}

}  // namespace
}  // namespace callgate::policy
