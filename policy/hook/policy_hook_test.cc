#include "policy/hook/policy_hook.h"

#include <deque>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "policy/compiler/policy_compiler.h"
#include "policy/hook/fake_call.h"
#include "tests/support/allocations.h"

namespace callgate::policy {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

// A DecisionRecord that outlives the call.
struct Decision {
  std::string id, policy, rule, message, budget, import, caller;
  Verdict verdict, would_be;
  Mode mode;
  Severity severity;
  bool report;
  uint32_t guest_errno;
  uint32_t depth;
  DecisionRecord::Subject subject;
  std::vector<std::string> matches;  // "policy/rule verdict mode"
  std::vector<std::string> tags;     // of all matches
};

class RecordingSink final : public DecisionSink {
 public:
  void OnDecision(const DecisionRecord& r) override {
    Decision d;
    d.id = std::string(r.decision_id);
    d.policy = std::string(r.policy);
    d.rule = std::string(r.rule);
    d.message = std::string(r.message);
    d.budget = std::string(r.budget);
    d.import = absl::StrCat(r.import_module, ".", r.import_name);
    d.caller = absl::StrCat(r.caller_func_index, " ", r.caller_func_name);
    d.verdict = r.verdict;
    d.would_be = r.would_be_verdict;
    d.mode = r.mode;
    d.severity = r.severity;
    d.report = r.report;
    d.guest_errno = r.guest_errno;
    d.depth = r.depth;
    d.subject = r.subject;
    for (const RuleMatch& m : r.matches) {
      d.matches.push_back(absl::StrCat(m.policy, "/", m.rule, " ",
                                       VerdictName(m.verdict), " ",
                                       ModeName(m.mode)));
      d.tags.insert(d.tags.end(), m.tags.begin(), m.tags.end());
    }
    decisions.push_back(std::move(d));
  }
  void OnDecisionDuration(absl::Duration duration) override {
    durations.push_back(duration);
  }
  void OnEngineFault(const StoreFacts&, absl::string_view message) override {
    faults.emplace_back(message);
  }

  std::vector<Decision> decisions;
  std::vector<absl::Duration> durations;
  std::vector<std::string> faults;
};

std::shared_ptr<const Policy> Compile(absl::string_view name,
                                      absl::string_view body) {
  CompileResult result = CompilePolicyText(
      absl::StrCat("api_version: callgate.policy/v1\nkind: Policy\nmetadata: "
                   "{name: ",
                   name, "}\n", body),
      absl::StrCat(name, ".yaml"));
  std::string problems;
  for (const Problem& p : result.problems) {
    absl::StrAppend(&problems, p.ToString(), "\n");
  }
  EXPECT_TRUE(result.ok()) << problems;
  return result.policy;
}

const FuncType kErrnoType = {{ValType::kI32, ValType::kI32}, {ValType::kI32}};
const FuncType kVoidType = {{ValType::kI32, ValType::kI32}, {}};
const HostFunctionSpec kErrnoSpec = {
    {{"data", 0, ArgKind::kBytes, 1, kNoIndex, 1000}}, true};
const HostFunctionSpec kPlainSpec = {{}, false};

// A Store's worth of functions and one hook over them.
class Harness {
 public:
  explicit Harness(std::vector<std::shared_ptr<const Policy>> policies,
                   Mode cap = Mode::kEnforce)
      : hook_(std::move(policies), {"s1", "acme", "sha256:00", "guest"},
              [this] { return now_; }, sink_, {cap}) {
    guest_.kind = FunctionIdentity::Kind::kGuestExport;
    guest_.name = "run";
    send_ = &Link("net", "send", kErrnoType, &kErrnoSpec);
    tick_ = &Link("env", "tick", kVoidType, &kPlainSpec);
    Begin();
  }

  const FunctionIdentity& Link(absl::string_view module, absl::string_view name,
                               const FuncType& type,
                               const HostFunctionSpec* spec) {
    FunctionIdentity& f = functions_.emplace_back();
    f.module = module;
    f.name = name;
    f.type = &type;
    f.spec = spec;
    f.binding = static_cast<uint32_t>(functions_.size() - 1);
    wanted_.push_back(hook_.OnLink(f));
    return f;
  }

  // A call from outside begins.
  Disposition Begin() {
    FakeCall call(Transition::kCallingWasm, guest_);
    return hook_.OnTransition(call);
  }
  // It ends with `code`.
  Disposition End(TrapCode code, uint32_t depth = 1) {
    const Trap trap(code, {});
    FakeCall call(Transition::kReturningFromWasm, guest_);
    call.WithTrap(trap).WithDepth(depth);
    const Disposition d = hook_.OnTransition(call);
    error_ = call.error();
    return d;
  }
  Disposition Call(const FunctionIdentity& function, uint32_t address = 0,
                   uint32_t length = 0) {
    FakeCall call(Transition::kCallingHost, function,
                  {RawValue::I32(address), RawValue::I32(length)});
    call.WithMemory(&memory_);
    const Disposition d = hook_.OnTransition(call);
    answer_ = call.answer();
    error_ = call.error();
    captured_ = call.captured();
    return d;
  }
  Disposition Send(uint32_t address = 0, uint32_t length = 0) {
    return Call(*send_, address, length);
  }
  Disposition Tick() { return Call(*tick_); }
  Disposition Transit(Transition t) {
    FakeCall call(t, t == Transition::kReturningFromHost ? *send_ : guest_);
    const Disposition d = hook_.OnTransition(call);
    error_ = call.error();
    return d;
  }

  const PolicyViolation* violation() const {
    return dynamic_cast<const PolicyViolation*>(error_.get());
  }
  uint32_t answered_errno() const {
    return answer_.empty() ? 0 : answer_[0].u32();
  }
  const Decision& last() const { return sink_.decisions.back(); }

  absl::Time now_ = absl::UnixEpoch();
  RecordingSink sink_;
  std::deque<FunctionIdentity> functions_;
  FunctionIdentity guest_;
  PolicyHook hook_;
  const FunctionIdentity* send_ = nullptr;
  const FunctionIdentity* tick_ = nullptr;
  std::vector<TransitionSet> wanted_;
  std::vector<uint8_t> memory_ = std::vector<uint8_t>(65536);
  std::vector<RawValue> answer_;
  ErrorRef error_;
  std::vector<std::pair<uint64_t, uint64_t>> captured_;
};

// --- One policy, one call of net.send ----------------------------------------

struct Row {
  std::string name;
  std::string body;
  Disposition want;
  // Of a recorded call.
  Verdict verdict = Verdict::kAllow;
  Verdict would_be = Verdict::kAllow;
  std::string rule = "";
  uint32_t guest_errno = 0;
  std::string message = "";
};

class VerdictTest : public testing::TestWithParam<Row> {};

TEST_P(VerdictTest, IsAsThePolicySays) {
  const Row& row = GetParam();
  Harness h({Compile("web", row.body)});
  EXPECT_EQ(h.Send(), row.want);
  if (row.rule.empty()) {
    EXPECT_THAT(h.sink_.decisions, IsEmpty());
    return;
  }
  ASSERT_EQ(h.sink_.decisions.size(), 1u);
  const Decision& d = h.last();
  EXPECT_EQ(VerdictName(d.verdict), VerdictName(row.verdict));
  EXPECT_EQ(VerdictName(d.would_be), VerdictName(row.would_be));
  EXPECT_EQ(d.rule, row.rule);
  EXPECT_EQ(d.policy, "web");
  EXPECT_EQ(d.message, row.message);
  EXPECT_EQ(d.guest_errno, row.guest_errno);
  EXPECT_EQ(h.answered_errno(), row.guest_errno);
  EXPECT_EQ(d.import, "net.send");
  EXPECT_EQ(d.caller, "7 guest_code");
  EXPECT_EQ(d.depth, 2u);
  EXPECT_EQ(d.id, "s1-1");
  if (row.want == Disposition::kRefuse) {
    ASSERT_NE(h.violation(), nullptr);
    EXPECT_EQ(h.violation()->verdict(), row.verdict);
    EXPECT_EQ(h.violation()->facts().rule, row.rule);
    EXPECT_EQ(h.violation()->facts().import_module, "net");
    EXPECT_EQ(h.violation()->facts().import_name, "send");
    EXPECT_EQ(h.violation()->facts().decision_id, "s1-1");
    EXPECT_EQ(h.violation()->message(),
              absl::StrCat("policy web, rule ", row.rule, ": ", row.message,
                           " (", VerdictName(row.verdict), ")"));
  }
  EXPECT_EQ(h.hook_.latched() != nullptr, EndsStore(row.verdict));
}

INSTANTIATE_TEST_SUITE_P(
    Enforced, VerdictTest,
    testing::ValuesIn<Row>({
        {"allowed", "imports: [{import: net.send, action: allow}]\n",
         Disposition::kProceed},
        {"unlisted", "", Disposition::kAnswer, Verdict::kDeny, Verdict::kDeny,
         "default:unlisted_import", 76, "net.send is not listed by the policy"},
        {"name_is_no_prefix", "imports: [{import: net.sen, action: allow}]\n",
         Disposition::kAnswer, Verdict::kDeny, Verdict::kDeny,
         "default:unlisted_import", 76, "net.send is not listed by the policy"},
        {"split_elsewhere",
         "imports: [{import: '\"net.send\".\"\"', action: allow}]\n",
         Disposition::kAnswer, Verdict::kDeny, Verdict::kDeny,
         "default:unlisted_import", 76, "net.send is not listed by the policy"},
        {"unlisted_allow", "defaults: {unlisted_import: allow}\n",
         Disposition::kProceed},
        {"unlisted_log", "defaults: {unlisted_import: log}\n",
         Disposition::kProceed, Verdict::kLog, Verdict::kLog,
         "default:unlisted_import", 0, "net.send is not listed by the policy"},
        {"unlisted_trap", "defaults: {unlisted_import: trap}\n",
         Disposition::kRefuse, Verdict::kTrap, Verdict::kTrap,
         "default:unlisted_import", 0, "net.send is not listed by the policy"},
        {"unlisted_kill", "defaults: {unlisted_import: kill_store}\n",
         Disposition::kRefuse, Verdict::kKillStore, Verdict::kKillStore,
         "default:unlisted_import", 0, "net.send is not listed by the policy"},
        {"deny", "imports: [{import: net.send, action: deny}]\n",
         Disposition::kAnswer, Verdict::kDeny, Verdict::kDeny,
         "import:net.send", 76, "net.send is not allowed"},
        {"deny_with_errno",
         "imports: [{import: net.send, action: deny, guest_errno: 2}]\n",
         Disposition::kAnswer, Verdict::kDeny, Verdict::kDeny,
         "import:net.send", 2, "net.send is not allowed"},
        {"deny_with_words",
         "imports: [{import: net.send, action: deny, id: no-net, message: no "
         "network here}]\n",
         Disposition::kAnswer, Verdict::kDeny, Verdict::kDeny, "no-net", 76,
         "no network here"},
        {"trap", "imports: [{import: net.send, action: trap}]\n",
         Disposition::kRefuse, Verdict::kTrap, Verdict::kTrap,
         "import:net.send", 0, "net.send is not allowed"},
        {"kill", "imports: [{import: net.send, action: kill_store}]\n",
         Disposition::kRefuse, Verdict::kKillStore, Verdict::kKillStore,
         "import:net.send", 0, "net.send is not allowed"},
        {"quarantine",
         "imports: [{import: net.send, action: quarantine_module}]\n",
         Disposition::kRefuse, Verdict::kQuarantineModule,
         Verdict::kQuarantineModule, "import:net.send", 0,
         "net.send is not allowed"},
        {"log",
         "imports: [{import: net.send, action: allow}, {import: net.send, "
         "action: log}]\n",
         Disposition::kProceed, Verdict::kLog, Verdict::kLog, "import:net.send",
         0, "net.send is watched"},
        {"alert",
         "imports: [{import: net.send, action: allow}, {import: net.send, "
         "action: alert}]\n",
         Disposition::kProceed, Verdict::kAlert, Verdict::kAlert,
         "import:net.send", 0, "net.send is watched"},
        {"log_alone_does_not_allow",
         "imports: [{import: net.send, action: log}]\n", Disposition::kAnswer,
         Verdict::kDeny, Verdict::kDeny, "default:no_allow", 76,
         "net.send is listed, but no entry allows it"},
        {"log_alone_does_not_allow_where_unlisted_is",
         "defaults: {unlisted_import: allow}\nimports: [{import: net.send, "
         "action: log}]\n",
         Disposition::kAnswer, Verdict::kDeny, Verdict::kDeny,
         "default:no_allow", 76, "net.send is listed, but no entry allows it"},
        {"restriction_closes",
         "imports: [{import: net.send, action: deny}, {import: net.send, "
         "action: allow}]\n",
         Disposition::kAnswer, Verdict::kDeny, Verdict::kDeny,
         "import:net.send", 76, "net.send is not allowed"},
        {"most_severe_whatever_the_order",
         "imports:\n- {import: net.send, action: trap, id: t}\n"
         "- {import: net.send, action: deny, id: d}\n"
         "- {import: net.send, action: log, id: l}\n",
         Disposition::kRefuse, Verdict::kTrap, Verdict::kTrap, "t", 0,
         "net.send is not allowed"},
        {"tie_goes_to_the_smaller_id",
         "imports:\n- {import: net.send, action: deny, id: b, guest_errno: 2}\n"
         "- {import: net.send, action: deny, id: a, guest_errno: 3}\n",
         Disposition::kAnswer, Verdict::kDeny, Verdict::kDeny, "a", 3,
         "net.send is not allowed"},
        {"rate_limit_does_not_list_the_import",
         "rate_limits: [{import: net.send, refill_per_second: 1, burst: 9}]\n",
         Disposition::kAnswer, Verdict::kDeny, Verdict::kDeny,
         "default:unlisted_import", 76, "net.send is not listed by the policy"},
    }),
    [](const auto& test) { return test.param.name; });

INSTANTIATE_TEST_SUITE_P(
    Audited, VerdictTest,
    testing::ValuesIn<Row>({
        {"unlisted", "defaults: {mode: audit}\n", Disposition::kProceed,
         Verdict::kAllow, Verdict::kDeny, "default:unlisted_import", 0,
         "net.send is not listed by the policy"},
        {"kill",
         "defaults: {mode: audit}\nimports: [{import: net.send, action: "
         "kill_store}]\n",
         Disposition::kProceed, Verdict::kAllow, Verdict::kKillStore,
         "import:net.send", 0, "net.send is not allowed"},
        {"one_rule",
         "imports: [{import: net.send, action: allow}, {import: net.send, "
         "action: trap, mode: audit}]\n",
         Disposition::kProceed, Verdict::kAllow, Verdict::kTrap,
         "import:net.send", 0, "net.send is not allowed"},
        {"a_rule_cannot_raise_the_file_s_mode",
         "defaults: {mode: audit}\nimports: [{import: net.send, action: trap, "
         "mode: enforce}]\n",
         Disposition::kProceed, Verdict::kAllow, Verdict::kTrap,
         "import:net.send", 0, "net.send is not allowed"},
        {"beside_an_enforced_one",
         "imports:\n- {import: net.send, action: deny, id: e}\n"
         "- {import: net.send, action: kill_store, id: a, mode: audit}\n",
         Disposition::kAnswer, Verdict::kDeny, Verdict::kKillStore, "e", 76,
         "net.send is not allowed"},
        // The trial restriction does not stand in for the missing allow.
        {"not_an_allow",
         "imports: [{import: net.send, action: deny, mode: audit}]\n",
         Disposition::kAnswer, Verdict::kDeny, Verdict::kDeny,
         "default:no_allow", 76, "net.send is listed, but no entry allows it"},
    }),
    [](const auto& test) { return test.param.name; });

TEST(PolicyHookTest, DenyIsATrapWhereNoErrnoCanBeAnswered) {
  Harness h({Compile("web", "imports: [{import: env.tick, action: deny}]\n")});
  EXPECT_EQ(h.Tick(), Disposition::kRefuse);
  EXPECT_EQ(h.last().verdict, Verdict::kTrap);
  EXPECT_EQ(h.violation()->verdict(), Verdict::kTrap);
  EXPECT_EQ(h.violation()->message(),
            "policy web, rule import:env.tick: env.tick is not allowed (trap)");
}

TEST(PolicyHookTest, AnswersEveryResult) {
  const FuncType type = {{}, {ValType::kI32, ValType::kI64, ValType::kFuncRef}};
  Harness h({Compile("web", "")});
  const FunctionIdentity& f = h.Link("a", "b", type, &kErrnoSpec);
  FakeCall call(Transition::kCallingHost, f);
  EXPECT_EQ(h.hook_.OnTransition(call), Disposition::kAnswer);
  EXPECT_THAT(call.answer(), ElementsAre(RawValue::I32(76), RawValue::I64(0),
                                         RawValue::Ref(kNullRef)));
}

TEST(PolicyHookTest, EscapesNamesOfModules) {
  Harness h({Compile("web", "")});
  const FunctionIdentity& f =
      h.Link("e\x1b[2Jvil", "x\n", kVoidType, &kPlainSpec);
  EXPECT_EQ(h.Call(f), Disposition::kRefuse);
  EXPECT_EQ(h.violation()->message(),
            "policy web, rule default:unlisted_import: \"e\\u{1b}[2Jvil\"."
            "\"x\\n\" is not listed by the policy (trap)");
}

// --- Several policies --------------------------------------------------------

TEST(SeveralPoliciesTest, EachMustAllow) {
  const auto open =
      Compile("open", "imports: [{import: net.send, action: allow}]\n");
  EXPECT_EQ(Harness({open, open}).Send(), Disposition::kProceed);
  Harness h({open, Compile("closed", "")});
  EXPECT_EQ(h.Send(), Disposition::kAnswer);
  EXPECT_EQ(h.last().policy, "closed");
}

TEST(SeveralPoliciesTest, TheMostSevereCountsAndAllAreTold) {
  Harness h({Compile("a", "imports: [{import: net.send, action: deny}]\n"),
             Compile("b",
                     "imports: [{import: net.send, action: trap, tags: [T1, "
                     "T2]}]\n"),
             Compile("c",
                     "defaults: {mode: audit}\nimports: [{import: net.send, "
                     "action: kill_store}]\n")});
  EXPECT_EQ(h.Send(), Disposition::kRefuse);
  EXPECT_EQ(h.last().policy, "b");
  EXPECT_EQ(h.last().verdict, Verdict::kTrap);
  EXPECT_EQ(h.last().would_be, Verdict::kKillStore);
  EXPECT_EQ(h.last().mode, Mode::kEnforce);
  EXPECT_THAT(h.last().matches,
              ElementsAre("a/import:net.send deny enforce",
                          "b/import:net.send trap enforce",
                          "c/import:net.send kill_store audit"));
  EXPECT_THAT(h.last().tags, ElementsAre("T1", "T2"));
  EXPECT_EQ(h.hook_.latched(), nullptr);
}

TEST(SeveralPoliciesTest, ATieGoesToTheSmallerPolicyName) {
  Harness h({Compile("b", ""), Compile("a", "")});
  h.Send();
  EXPECT_EQ(h.last().policy, "a");
}

TEST(SeveralPoliciesTest, TheCapMakesAllOfThemTrials) {
  Harness h({Compile("a", "defaults: {unlisted_import: kill_store}\n")},
            Mode::kAudit);
  EXPECT_EQ(h.Send(), Disposition::kProceed);
  EXPECT_EQ(h.last().verdict, Verdict::kAllow);
  EXPECT_EQ(h.last().would_be, Verdict::kKillStore);
  EXPECT_EQ(h.last().mode, Mode::kAudit);
  EXPECT_EQ(h.hook_.mode(), Mode::kAudit);
}

TEST(PolicyHookTest, ReportsFromMinSeverityOn) {
  const auto severity = [](absl::string_view min, absl::string_view rule) {
    Harness h({Compile(
        "web", absl::StrCat("defaults: {min_severity: ", min,
                            "}\nimports: [{import: net.send, action: deny, "
                            "severity: ",
                            rule, "}]\n"))});
    h.Send();
    return h.last().report;
  };
  EXPECT_TRUE(severity("notice", "notice"));
  EXPECT_TRUE(severity("notice", "critical"));
  EXPECT_FALSE(severity("warning", "notice"));
}

// --- What ends a Store -------------------------------------------------------

TEST(LatchTest, EveryLaterTransitionRefusesWithTheSameObject) {
  Harness h({Compile("web",
                     "imports: [{import: net.send, action: kill_store}, "
                     "{import: env.tick, action: allow}]\n")});
  EXPECT_EQ(h.Tick(), Disposition::kProceed);
  EXPECT_EQ(h.Send(), Disposition::kRefuse);
  const ErrorRef first = h.error_;
  for (const Transition t :
       {Transition::kReturningFromHost, Transition::kReturningFromWasm,
        Transition::kCallingWasm}) {
    EXPECT_EQ(h.Transit(t), Disposition::kRefuse) << TransitionName(t);
    EXPECT_EQ(h.error_, first);
  }
  EXPECT_EQ(h.Tick(), Disposition::kRefuse);
  EXPECT_EQ(h.error_, first);
  GrowthEvent growth;
  growth.allowed = true;
  EXPECT_EQ(h.hook_.OnGrowth(growth).error, first);
  EXPECT_EQ(h.hook_.latched(), first);
  EXPECT_EQ(h.sink_.decisions.size(), 1u);
  EXPECT_EQ(h.hook_.DrainCounts().refused_after_end, 5u);
}

TEST(LatchTest, ATrapDoesNotLatch) {
  Harness h({Compile("web",
                     "imports: [{import: net.send, action: trap}, {import: "
                     "env.tick, action: allow}]\n")});
  EXPECT_EQ(h.Send(), Disposition::kRefuse);
  EXPECT_EQ(h.Transit(Transition::kReturningFromWasm), Disposition::kProceed);
  EXPECT_EQ(h.Begin(), Disposition::kProceed);
  EXPECT_EQ(h.Tick(), Disposition::kProceed);
  EXPECT_EQ(h.hook_.latched(), nullptr);
}

TEST(LinkTest, WantsReturnsOnlyWhereAStoreCanBeEnded) {
  Harness h({Compile("web", "imports: [{import: net.send, action: allow}]\n")});
  for (const TransitionSet wanted : h.wanted_) {
    EXPECT_TRUE(wanted.Contains(Transition::kCallingHost));
    EXPECT_FALSE(wanted.Contains(Transition::kReturningFromHost));
  }
  Harness k({Compile("web", "imports: [{import: a.b, action: kill_store}]\n")});
  for (const TransitionSet wanted : k.wanted_) {
    EXPECT_TRUE(wanted.Contains(Transition::kCallingHost));
    EXPECT_TRUE(wanted.Contains(Transition::kReturningFromHost));
  }
}

// --- Budgets -----------------------------------------------------------------

constexpr char kOpen[] = "defaults: {unlisted_import: allow}\n";

TEST(HostCallBudgetTest, CountsOneCallFromOutside) {
  Harness h({Compile(
      "web", absl::StrCat(kOpen, "budgets: {host_calls_per_call: 3}\n"))});
  for (int round = 0; round < 2; ++round) {
    h.Begin();
    for (int i = 0; i < 3; ++i) {
      EXPECT_EQ(i % 2 == 0 ? h.Send() : h.Tick(), Disposition::kProceed);
    }
    // Refused again if a host function swallows it.
    for (int i = 0; i < 2; ++i) {
      EXPECT_EQ(h.Send(), Disposition::kRefuse);
      EXPECT_EQ(h.violation()->facts().budget, "host_calls_per_call");
      EXPECT_EQ(h.violation()->message(),
                "policy web, rule budget:host_calls_per_call: more host calls "
                "in one call than host_calls_per_call, 3 (trap)");
    }
  }
  EXPECT_EQ(h.sink_.decisions.size(), 4u);
  EXPECT_EQ(h.last().budget, "host_calls_per_call");
}

TEST(HostCallBudgetTest, NestedCallsShareIt) {
  Harness h({Compile(
      "web", absl::StrCat(kOpen, "budgets: {host_calls_per_call: 2}\n"))});
  h.Send();
  FakeCall nested(Transition::kCallingWasm, h.guest_);
  nested.WithDepth(3);
  EXPECT_EQ(h.hook_.OnTransition(nested), Disposition::kProceed);
  EXPECT_EQ(h.Send(), Disposition::kProceed);
  EXPECT_EQ(h.Send(), Disposition::kRefuse);
}

TEST(HostCallBudgetTest, CountsRefusedCalls) {
  Harness h({Compile("web", "budgets: {host_calls_per_call: 1}\n")});
  EXPECT_EQ(h.Send(), Disposition::kAnswer);
  EXPECT_EQ(h.Send(), Disposition::kRefuse);
}

TEST(HostCallBudgetTest, ZeroAllowsNone) {
  Harness h({Compile(
      "web", absl::StrCat(kOpen, "budgets: {host_calls_per_call: 0}\n"))});
  EXPECT_EQ(h.Send(), Disposition::kRefuse);
}

TEST(HostCallBudgetTest, OnExceedCanEndTheStore) {
  Harness h({Compile(
      "web", absl::StrCat(kOpen,
                          "budgets: {host_calls_per_call: 0, on_exceed: "
                          "quarantine_module}\n"))});
  EXPECT_EQ(h.Send(), Disposition::kRefuse);
  ASSERT_NE(h.hook_.latched(), nullptr);
  EXPECT_EQ(h.hook_.latched()->verdict(), Verdict::kQuarantineModule);
}

TEST(HostCallBudgetTest, AuditTellsOncePerCallAndGoesOn) {
  Harness h(
      {Compile("trial", absl::StrCat("defaults: {mode: audit, unlisted_import: "
                                     "allow}\nbudgets: {host_calls_per_call: "
                                     "1}\n")),
       Compile("web",
               absl::StrCat(kOpen, "budgets: {host_calls_per_call: 3}\n"))});
  for (int round = 0; round < 2; ++round) {
    h.sink_.decisions.clear();
    h.Begin();
    for (int i = 0; i < 3; ++i) EXPECT_EQ(h.Send(), Disposition::kProceed);
    ASSERT_EQ(h.sink_.decisions.size(), 1u);
    EXPECT_EQ(h.last().policy, "trial");
    EXPECT_EQ(h.last().verdict, Verdict::kAllow);
    EXPECT_EQ(h.last().would_be, Verdict::kTrap);
    EXPECT_EQ(h.last().mode, Mode::kAudit);
    EXPECT_EQ(h.Send(), Disposition::kRefuse);
    EXPECT_EQ(h.last().policy, "web");
  }
}

struct TrapRow {
  std::string name;
  TrapCode code;
  std::string budget;  // empty: none of ours
  std::string message;
};

class CallEndTest : public testing::TestWithParam<TrapRow> {};

constexpr char kAllBudgets[] =
    "budgets: {fuel_per_call: 10, fuel_per_store: 20, wall_per_call: 1500ms, "
    "call_depth: 7, host_bytes_per_call: 9, memory_bytes_total: 100";

TEST_P(CallEndTest, IsPutDownToItsBudget) {
  Harness h({Compile("web", absl::StrCat(kAllBudgets, "}\n"))});
  EXPECT_EQ(h.End(GetParam().code, 3), Disposition::kProceed);
  if (GetParam().budget.empty()) {
    EXPECT_THAT(h.sink_.decisions, IsEmpty());
    return;
  }
  ASSERT_EQ(h.sink_.decisions.size(), 1u);
  EXPECT_EQ(h.last().budget, GetParam().budget);
  EXPECT_EQ(h.last().rule, absl::StrCat("budget:", GetParam().budget));
  EXPECT_EQ(h.last().message, GetParam().message);
  EXPECT_EQ(h.last().verdict, Verdict::kTrap);
  EXPECT_EQ(h.last().subject, DecisionRecord::Subject::kCallEnd);
  // The trap passes through the outer activations; told once.
  EXPECT_EQ(h.End(GetParam().code, 1), Disposition::kProceed);
  EXPECT_EQ(h.sink_.decisions.size(), 1u);
  h.Begin();
  h.End(GetParam().code);
  EXPECT_EQ(h.sink_.decisions.size(), 2u);
}

INSTANTIATE_TEST_SUITE_P(
    Traps, CallEndTest,
    testing::ValuesIn<TrapRow>({
        {"fuel", TrapCode::kOutOfFuel, "fuel_per_call",
         "the call used up fuel_per_call, 10"},
        {"wall", TrapCode::kDeadlineExceeded, "wall_per_call",
         "the call used up wall_per_call, 1.5s"},
        {"depth", TrapCode::kCallStackExhausted, "call_depth",
         "the call used up call_depth, 7"},
        {"bytes", TrapCode::kHostBytesExceeded, "host_bytes_per_call",
         "the call used up host_bytes_per_call, 9"},
        {"unreachable", TrapCode::kUnreachable, "", ""},
        {"interrupted", TrapCode::kInterrupted, "", ""},
        {"refused", TrapCode::kRefused, "", ""},
    }),
    [](const auto& test) { return test.param.name; });

TEST(CallEndTest, SaysNothingOfBudgetsThatNoPolicyGives) {
  Harness h({Compile("web", "")});
  for (const TrapCode code :
       {TrapCode::kOutOfFuel, TrapCode::kDeadlineExceeded,
        TrapCode::kCallStackExhausted, TrapCode::kHostBytesExceeded}) {
    EXPECT_EQ(h.End(code), Disposition::kProceed);
  }
  EXPECT_THAT(h.sink_.decisions, IsEmpty());
}

TEST(CallEndTest, KnowsWhoseLimitItWas) {
  Harness h({Compile("web", absl::StrCat(kAllBudgets, "}\n"))});
  PolicyHook::Arming arming;
  arming.fuel = PolicyHook::Arming::Fuel::kPerStoreBudget;
  arming.wall_is_budget = false;
  h.hook_.ArmCall(arming);
  h.Begin();
  h.End(TrapCode::kDeadlineExceeded);
  EXPECT_THAT(h.sink_.decisions, IsEmpty());
  h.End(TrapCode::kOutOfFuel);
  EXPECT_EQ(h.last().budget, "fuel_per_store");
  arming.fuel = PolicyHook::Arming::Fuel::kOther;
  h.hook_.ArmCall(arming);
  h.Begin();
  h.End(TrapCode::kOutOfFuel);
  EXPECT_EQ(h.sink_.decisions.size(), 1u);
}

TEST(CallEndTest, OnExceedCanEndTheStore) {
  Harness h({Compile("web",
                     absl::StrCat(kAllBudgets, ", on_exceed: kill_store}\n"))});
  EXPECT_EQ(h.End(TrapCode::kOutOfFuel), Disposition::kRefuse);
  ASSERT_NE(h.violation(), nullptr);
  EXPECT_EQ(h.violation()->facts().budget, "fuel_per_call");
  EXPECT_EQ(h.hook_.latched(), h.error_);
  EXPECT_EQ(h.Begin(), Disposition::kRefuse);
}

GrowthEvent Growth(GrowthEvent::Kind kind, uint64_t current, uint64_t desired,
                   bool allowed, uint64_t store_bytes) {
  GrowthEvent event;
  event.kind = kind;
  event.current = current;
  event.desired = desired;
  event.allowed = allowed;
  event.store_bytes = store_bytes;
  if (kind == GrowthEvent::Kind::kTable) event.store_table_elements = current;
  return event;
}

TEST(GrowthTest, RecordsWhatABudgetRefusedOncePerCall) {
  Harness h({Compile("web",
                     "budgets: {memory_bytes_total: 100, "
                     "table_elements_total: 5}\n")});
  const auto memory = [&](bool allowed) {
    return h.hook_
        .OnGrowth(Growth(GrowthEvent::Kind::kMemory, 60, 90, allowed, 80))
        .allow;
  };
  EXPECT_TRUE(
      h.hook_.OnGrowth(Growth(GrowthEvent::Kind::kMemory, 60, 90, true, 70))
          .allow);
  EXPECT_THAT(h.sink_.decisions, IsEmpty());
  memory(false);
  memory(false);
  ASSERT_EQ(h.sink_.decisions.size(), 1u);
  EXPECT_EQ(h.last().budget, "memory_bytes_total");
  EXPECT_EQ(h.last().verdict, Verdict::kDeny);
  EXPECT_EQ(h.last().subject, DecisionRecord::Subject::kMemoryGrow);
  EXPECT_EQ(h.last().message,
            "a memory may not grow from 60 to 90 bytes: memory_bytes_total is "
            "100");
  h.hook_.OnGrowth(Growth(GrowthEvent::Kind::kTable, 3, 9, false, 0));
  EXPECT_EQ(h.last().budget, "table_elements_total");
  EXPECT_EQ(h.last().message,
            "a table may not grow from 3 to 9 elements: table_elements_total "
            "is 5");
  h.Begin();
  memory(false);
  EXPECT_EQ(h.sink_.decisions.size(), 3u);
}

// All tables of the Store together, and their bytes beside the memories'.
TEST(GrowthTest, OfATableCountsForTheStore) {
  Harness h({Compile("web",
                     "budgets: {memory_bytes_total: 1000, "
                     "table_elements_total: 20}\n")});
  GrowthEvent growth = Growth(GrowthEvent::Kind::kTable, 3, 9, true, 100);
  growth.store_table_elements = 14;
  EXPECT_TRUE(h.hook_.OnGrowth(growth).allow);
  growth.store_table_elements = 15;
  EXPECT_FALSE(h.hook_.OnGrowth(growth).allow);
  EXPECT_EQ(h.last().budget, "table_elements_total");
  growth.store_table_elements = 0;
  growth.store_bytes = 1000 - 6 * 16;
  EXPECT_TRUE(h.hook_.OnGrowth(growth).allow);
  ++growth.store_bytes;
  EXPECT_FALSE(h.hook_.OnGrowth(growth).allow);
  EXPECT_EQ(h.last().budget, "memory_bytes_total");
  growth.desired = ~uint64_t{0};
  EXPECT_FALSE(h.hook_.OnGrowth(growth).allow);
}

TEST(GrowthTest, LeavesOthersLimitsToThem) {
  Harness h({Compile("web", "budgets: {memory_bytes_total: 1000}\n")});
  h.hook_.OnGrowth(Growth(GrowthEvent::Kind::kMemory, 60, 90, false, 80));
  EXPECT_THAT(h.sink_.decisions, IsEmpty());
}

TEST(GrowthTest, OnExceedCanEndTheStore) {
  Harness h({Compile("web",
                     "budgets: {memory_bytes_total: 100, on_exceed: "
                     "kill_store}\n")});
  const GrowthAnswer answer =
      h.hook_.OnGrowth(Growth(GrowthEvent::Kind::kMemory, 60, 90, false, 80));
  EXPECT_NE(h.hook_.latched(), nullptr);
  EXPECT_EQ(answer.error, h.hook_.latched());
  EXPECT_EQ(h.Send(), Disposition::kRefuse);
}

TEST(GrowthTest, AuditTellsOncePerCall) {
  Harness h({Compile("trial",
                     "defaults: {mode: audit}\nbudgets: {memory_bytes_total: "
                     "100, table_elements_total: 5}\n")});
  const auto grow = [&](GrowthEvent::Kind kind, uint64_t desired) {
    const uint64_t bytes = kind == GrowthEvent::Kind::kMemory ? 80 : 0;
    EXPECT_TRUE(h.hook_.OnGrowth(Growth(kind, 4, desired, true, bytes)).allow);
  };
  grow(GrowthEvent::Kind::kMemory, 24);
  grow(GrowthEvent::Kind::kTable, 5);
  EXPECT_THAT(h.sink_.decisions, IsEmpty());
  grow(GrowthEvent::Kind::kMemory, 25);
  grow(GrowthEvent::Kind::kMemory, 26);
  ASSERT_EQ(h.sink_.decisions.size(), 1u);
  EXPECT_EQ(h.last().verdict, Verdict::kAllow);
  EXPECT_EQ(h.last().would_be, Verdict::kDeny);
  EXPECT_EQ(h.last().message, "used 101, and memory_bytes_total is 100");
  grow(GrowthEvent::Kind::kTable, 6);
  EXPECT_EQ(h.last().budget, "table_elements_total");
}

TEST(UsageTest, AuditTellsWhatWouldHaveEndedTheCall) {
  Harness h({Compile("trial",
                     "defaults: {mode: audit}\nbudgets: {fuel_per_call: 10, "
                     "fuel_per_store: 100, wall_per_call: 1s, "
                     "host_bytes_per_call: 5}\n"),
             Compile("web", "budgets: {fuel_per_call: 1}\n")});
  PolicyHook::Usage usage;
  usage.fuel = 10;
  usage.fuel_of_store = 100;
  usage.wall = absl::Seconds(1);
  usage.host_bytes = 5;
  h.hook_.ReportUsage(usage);
  EXPECT_THAT(h.sink_.decisions, IsEmpty());
  usage.fuel = 11;
  usage.fuel_of_store = 101;
  usage.wall = absl::Milliseconds(1500);
  usage.host_bytes = 6;
  h.hook_.ReportUsage(usage);
  std::vector<std::string> messages;
  for (const Decision& d : h.sink_.decisions) {
    EXPECT_EQ(d.verdict, Verdict::kAllow);
    EXPECT_EQ(d.would_be, Verdict::kTrap);
    EXPECT_EQ(d.mode, Mode::kAudit);
    messages.push_back(absl::StrCat(d.budget, ": ", d.message));
  }
  EXPECT_THAT(
      messages,
      ElementsAre("fuel_per_call: used 11, and fuel_per_call is 10",
                  "fuel_per_store: used 101, and fuel_per_store is 100",
                  "host_bytes_per_call: used 6, and host_bytes_per_call is 5",
                  "wall_per_call: used 1.5s, and wall_per_call is 1s"));
}

// --- Rate limits -------------------------------------------------------------

TEST(RateLimitTest, DeniesWithEagainUntilThereAreTokens) {
  Harness h({Compile("web",
                     "imports: [{import: net.send, action: allow}]\n"
                     "rate_limits: [{import: net.send, refill_per_second: 10, "
                     "burst: 2}]\n")});
  EXPECT_EQ(h.Send(), Disposition::kProceed);
  EXPECT_EQ(h.Send(), Disposition::kProceed);
  EXPECT_EQ(h.Send(), Disposition::kAnswer);
  EXPECT_EQ(h.answered_errno(), kErrnoAgain);
  EXPECT_EQ(h.last().rule, "rate:net.send");
  EXPECT_EQ(h.last().message, "too many calls of net.send");
  h.now_ += absl::Milliseconds(101);
  EXPECT_EQ(h.Send(), Disposition::kProceed);
  EXPECT_EQ(h.Send(), Disposition::kAnswer);
}

TEST(RateLimitTest, OutlivesCallsFromOutside) {
  Harness h({Compile("web",
                     "imports: [{import: net.send, action: allow}]\n"
                     "rate_limits: [{import: net.send, refill_per_second: 0, "
                     "burst: 1, action: trap}]\n")});
  EXPECT_EQ(h.Send(), Disposition::kProceed);
  h.Begin();
  EXPECT_EQ(h.Send(), Disposition::kRefuse);
  EXPECT_EQ(h.last().verdict, Verdict::kTrap);
}

TEST(RateLimitTest, EachImportHasItsOwn) {
  Harness h({Compile("web",
                     "imports: [{import: net.send, action: allow}, {import: "
                     "env.tick, action: allow}]\n"
                     "rate_limits: [{import: net.send, refill_per_second: 0, "
                     "burst: 1}]\n")});
  EXPECT_EQ(h.Send(), Disposition::kProceed);
  EXPECT_EQ(h.Send(), Disposition::kAnswer);
  EXPECT_EQ(h.Tick(), Disposition::kProceed);
}

TEST(RateLimitTest, DeniedCallsTakeTokens) {
  // The first limit denies from its second call on; the second limit goes on
  // counting, and traps the fourth.
  Harness h({Compile("web",
                     "imports: [{import: net.send, action: allow}]\n"
                     "rate_limits:\n"
                     "- {import: net.send, refill_per_second: 0, burst: 1}\n"
                     "- {import: net.send, refill_per_second: 0, burst: 3, "
                     "action: trap}\n")});
  EXPECT_EQ(h.Send(), Disposition::kProceed);
  EXPECT_EQ(h.Send(), Disposition::kAnswer);
  EXPECT_EQ(h.Send(), Disposition::kAnswer);
  EXPECT_EQ(h.Send(), Disposition::kRefuse);
}

TEST(RateLimitTest, LogsWithoutStopping) {
  Harness h({Compile("web",
                     "imports: [{import: net.send, action: allow}]\n"
                     "rate_limits: [{import: net.send, refill_per_second: 0, "
                     "burst: 1, action: alert, severity: critical}]\n")});
  h.Send();
  EXPECT_EQ(h.Send(), Disposition::kProceed);
  EXPECT_EQ(h.last().verdict, Verdict::kAlert);
  EXPECT_EQ(h.last().severity, Severity::kCritical);
}

TEST(RateLimitTest, EachStoreHasItsOwn) {
  const auto policy = Compile("web",
                              "imports: [{import: net.send, action: allow}]\n"
                              "rate_limits: [{import: net.send, "
                              "refill_per_second: 0, burst: 1}]\n");
  Harness a({policy});
  Harness b({policy});
  EXPECT_EQ(a.Send(), Disposition::kProceed);
  EXPECT_EQ(b.Send(), Disposition::kProceed);
  EXPECT_EQ(a.Send(), Disposition::kAnswer);
}

TEST(RateLimitTest, ReadsTheClockOnlyWhereThereIsALimit) {
  RecordingSink sink;
  int readings = 0;
  PolicyHook hook(
      {Compile("web",
               "imports: [{import: a.a, action: allow}, {import: "
               "a.b, action: allow}]\n"
               "rate_limits:\n"
               "- {import: a.b, refill_per_second: 1, burst: 1}\n"
               "- {import: a.b, refill_per_second: 1, burst: "
               "2}\n")},
      {"s", "t", "", ""},
      [&] {
        ++readings;
        return absl::UnixEpoch();
      },
      sink);
  FunctionIdentity functions[2];
  for (uint32_t i = 0; i < 2; ++i) {
    functions[i].module = "a";
    functions[i].name = i == 0 ? "a" : "b";
    functions[i].type = &kVoidType;
    functions[i].binding = i;
    hook.OnLink(functions[i]);
  }
  FakeCall first(Transition::kCallingHost, functions[0]);
  hook.OnTransition(first);
  EXPECT_EQ(readings, 2);  // the first decision is timed
  FakeCall second(Transition::kCallingHost, functions[0]);
  hook.OnTransition(second);
  EXPECT_EQ(readings, 2);
  FakeCall third(Transition::kCallingHost, functions[1]);
  hook.OnTransition(third);
  EXPECT_EQ(readings, 3);
}

// --- Arguments ---------------------------------------------------------------

constexpr char kDataArg[] =
    "imports: [{import: net.send, action: allow, args: [{name: data, "
    "max_bytes: 100}]}]\n";

TEST(ArgumentTest, IsCopiedBeforeTheCall) {
  Harness h({Compile("web", kDataArg)});
  EXPECT_EQ(h.Send(64, 10), Disposition::kProceed);
  EXPECT_THAT(h.captured_, ElementsAre(testing::Pair(64, 10)));
  EXPECT_THAT(h.sink_.decisions, IsEmpty());
}

TEST(ArgumentTest, IsNotCopiedWhereNobodyListsIt) {
  Harness h({Compile("web", "imports: [{import: net.send, action: allow}]\n")});
  EXPECT_EQ(h.Send(64, 1000000), Disposition::kProceed);
  EXPECT_THAT(h.captured_, IsEmpty());
}

TEST(ArgumentTest, TooLongIsE2Big) {
  Harness h({Compile("web", kDataArg)});
  EXPECT_EQ(h.Send(64, 101), Disposition::kAnswer);
  EXPECT_EQ(h.answered_errno(), kErrno2Big);
  EXPECT_EQ(h.last().rule, "args:net.send");
  EXPECT_EQ(h.last().verdict, Verdict::kDeny);
  EXPECT_EQ(h.last().severity, Severity::kWarning);
  EXPECT_EQ(h.last().message,
            "argument data is 101 bytes long, and max_bytes is 100");
}

TEST(ArgumentTest, OutsideIsEfault) {
  Harness h({Compile("web", kDataArg)});
  EXPECT_EQ(h.Send(65530, 10), Disposition::kAnswer);
  EXPECT_EQ(h.answered_errno(), kErrnoFault);
}

TEST(ArgumentTest, TrapsWhereNoErrnoCanBeAnswered) {
  Harness h({Compile("web",
                     "imports: [{import: env.tick, action: allow, args: "
                     "[{name: x, index: 0, type: bytes, len_index: 1}]}]\n")});
  EXPECT_EQ(h.Call(*h.tick_, 65530, 10), Disposition::kRefuse);
  EXPECT_EQ(h.last().verdict, Verdict::kTrap);
}

TEST(ArgumentTest, AuditTellsAndGoesOn) {
  Harness h(
      {Compile("web", absl::StrCat("defaults: {mode: audit}\n", kDataArg))});
  EXPECT_EQ(h.Send(65530, 10), Disposition::kProceed);
  EXPECT_EQ(h.last().would_be, Verdict::kDeny);
  EXPECT_EQ(h.last().mode, Mode::kAudit);
}

TEST(ArgumentTest, IsNotCopiedForACallThatIsDeniedAnyway) {
  Harness h({Compile("web",
                     "imports: [{import: net.send, action: deny, args: [{name: "
                     "data}]}]\n")});
  EXPECT_EQ(h.Send(0, 10), Disposition::kAnswer);
  EXPECT_THAT(h.captured_, IsEmpty());
}

// --- Faults of the engine ----------------------------------------------------

// An argument that the function does not have cannot be judged.
constexpr char kBrokenArg[] =
    "imports: [{import: net.send, action: allow, args: [{name: x, index: 9, "
    "type: u32}]}]\n";

TEST(EngineFaultTest, Point21TrapsUnlessThePolicySaysOtherwise) {
  Harness h({Compile("web", kBrokenArg)});
  for (int i = 0; i < 3; ++i) EXPECT_EQ(h.Send(), Disposition::kRefuse);
  EXPECT_EQ(h.last().rule, "default:on_engine_error");
  EXPECT_EQ(h.last().severity, Severity::kCritical);
  EXPECT_EQ(h.last().message,
            "fault of the policy engine: argument x of net.send cannot be "
            "judged: index is 9, and the function has 2 parameters, counted "
            "from 0: (i32, i32) -> (i32)");
  EXPECT_EQ(h.sink_.faults.size(), 1u);
  EXPECT_EQ(h.hook_.DrainCounts().engine_faults, 3u);
}

TEST(EngineFaultTest, Point21MayDenyOrKill) {
  Harness deny({Compile(
      "web", absl::StrCat("defaults: {on_engine_error: deny}\n", kBrokenArg))});
  EXPECT_EQ(deny.Send(), Disposition::kAnswer);
  EXPECT_EQ(deny.answered_errno(), kErrnoNotCapable);
  Harness kill(
      {Compile("web", absl::StrCat("defaults: {on_engine_error: kill_store}\n",
                                   kBrokenArg))});
  EXPECT_EQ(kill.Send(), Disposition::kRefuse);
  EXPECT_NE(kill.hook_.latched(), nullptr);
}

TEST(EngineFaultTest, DoesNotHideAMoreSevereRule) {
  Harness h({Compile("web",
                     "imports: [{import: net.send, action: kill_store, args: "
                     "[{name: x, index: 9, type: u32}]}]\n")});
  EXPECT_EQ(h.Send(), Disposition::kRefuse);
  EXPECT_EQ(h.last().rule, "import:net.send");
  EXPECT_EQ(h.last().verdict, Verdict::kKillStore);
}

TEST(EngineFaultTest, AuditGoesOn) {
  Harness h(
      {Compile("web", absl::StrCat("defaults: {mode: audit}\n", kBrokenArg))});
  EXPECT_EQ(h.Send(), Disposition::kProceed);
  EXPECT_EQ(h.last().would_be, Verdict::kTrap);
}

TEST(EngineFaultTest, AFunctionThatWasNeverLinkedIsOne) {
  Harness h({Compile("web", kOpen)});
  FunctionIdentity stranger;
  stranger.module = "a";
  stranger.name = "b";
  stranger.type = &kVoidType;
  for (const uint32_t binding : {kNoIndex, 99u}) {
    stranger.binding = binding;
    EXPECT_EQ(h.Call(stranger), Disposition::kRefuse);
    EXPECT_EQ(h.last().rule, "default:on_engine_error");
    EXPECT_EQ(h.last().import, "a.b");
  }
  Harness deny({Compile("web", "defaults: {on_engine_error: deny}\n")});
  EXPECT_EQ(deny.Call(stranger), Disposition::kRefuse);
}

TEST(EngineFaultTest, AStoreThatCannotCopyIsOne) {
  Harness h({Compile("web", kDataArg)});
  FakeCall call(Transition::kCallingHost, *h.send_,
                {RawValue::I32(0), RawValue::I32(1)});
  call.WithCaptureError(absl::InternalError("bug"));
  EXPECT_EQ(h.hook_.OnTransition(call), Disposition::kRefuse);
  EXPECT_EQ(h.last().message, "fault of the policy engine: bug");
}

// Point 21, where nothing is enforced: what an earlier call's arguments were
// says nothing of this one.
TEST(EngineFaultTest, Point21WhatWasNotCopiedIsNoFact) {
  Harness h({Compile(
      "web",
      "defaults: {mode: audit}\n"
      "imports: [{import: net.send, action: allow}]\n"
      "temporal: [{id: c, action: log, message: '${args.data}', count: {when: "
      "'args.data == b\"x\"', within: 9s, gte: 1}}]\n")});
  h.memory_[0] = 'x';
  h.Send(0, 1);
  EXPECT_EQ(h.last().message, "b\"x\"");
  FakeCall call(Transition::kCallingHost, *h.send_,
                {RawValue::I32(0), RawValue::I32(1)});
  call.WithCaptureError(absl::InternalError("bug"));
  EXPECT_EQ(h.hook_.OnTransition(call), Disposition::kProceed);
  EXPECT_THAT(
      h.last().matches,
      ElementsAre("web/default:on_engine_error trap audit", "web/c log audit"));
  EXPECT_EQ(h.sink_.faults.size(), 1u);
  EXPECT_EQ(h.hook_.DrainCounts().conditions_failed, 1u);
}

// --- Cost and counts ---------------------------------------------------------

TEST(PolicyHookTest, AllowingAllocatesNothing) {
  Harness h({Compile("web",
                     "imports: [{import: net.send, action: allow}, {import: "
                     "env.tick, action: allow}]\n"
                     "budgets: {host_calls_per_call: 1000000}\n"
                     "rate_limits: [{import: env.tick, refill_per_second: 1, "
                     "burst: 1000000}]\n")});
  FakeCall send(Transition::kCallingHost, *h.send_,
                {RawValue::I32(0), RawValue::I32(0)});
  FakeCall tick(Transition::kCallingHost, *h.tick_,
                {RawValue::I32(0), RawValue::I32(0)});
  h.hook_.OnTransition(send);  // the first is timed, and the sink allocates
  const uint64_t before = AllocationCount();
  for (int i = 0; i < 1000; ++i) {
    ASSERT_EQ(h.hook_.OnTransition(send), Disposition::kProceed);
  }
  EXPECT_EQ(AllocationCount(), before);
  for (int i = 0; i < 20; ++i) {
    ASSERT_EQ(h.hook_.OnTransition(tick), Disposition::kProceed);
  }
  EXPECT_EQ(AllocationCount(), before);
}

TEST(PolicyHookTest, TimesTheFirstDecisionAndThenOneInMany) {
  Harness h({Compile("web", kOpen)});
  for (uint64_t i = 0; i < 2 * kDecisionSampleEvery; ++i) h.Send();
  EXPECT_EQ(h.sink_.durations.size(), 2u);
  h.Send();
  EXPECT_EQ(h.sink_.durations.size(), 3u);
}

// Its rules are about host functions, and a latched verdict needs every leave.
TEST(PolicyHookTest, UnderstandsTheDefaultProfileAlone) {
  const Harness h({Compile("web", kOpen)});
  EXPECT_TRUE(h.hook_.Understands(HookProfile::kWasmtime47));
  EXPECT_FALSE(h.hook_.Understands(HookProfile::kWasmtime48));
  EXPECT_FALSE(h.hook_.Understands(HookProfile::kWasmi1));
  EXPECT_FALSE(h.hook_.Understands(HookProfile::kWasmi2));
}

TEST(PolicyHookTest, CountsCallsOfEachImport) {
  Harness h({Compile("web",
                     "imports:\n- {import: net.send, action: allow}\n"
                     "- {import: env.tick, action: allow}\n"
                     "- {import: env.tick, action: log}\n"
                     "rate_limits: [{import: net.send, refill_per_second: 0, "
                     "burst: 3}]\n")});
  for (int i = 0; i < 5; ++i) h.Send();
  for (int i = 0; i < 2; ++i) h.Tick();
  PolicyHook::Counts counts = h.hook_.DrainCounts();
  ASSERT_EQ(counts.imports.size(), 2u);
  EXPECT_EQ(counts.imports[0].function, h.send_);
  EXPECT_EQ(counts.imports[0].allowed, 3u);
  EXPECT_EQ(counts.imports[0].stopped, 2u);
  EXPECT_EQ(counts.imports[1].function, h.tick_);
  EXPECT_EQ(counts.imports[1].allowed, 0u);
  EXPECT_EQ(counts.imports[1].allowed_with_record, 2u);
  EXPECT_THAT(h.hook_.DrainCounts().imports, IsEmpty());
}

TEST(PolicyHookTest, DecisionIdsCountUp) {
  Harness h({Compile("web", "")});
  h.Send();
  h.Tick();
  EXPECT_EQ(h.sink_.decisions[0].id, "s1-1");
  EXPECT_EQ(h.sink_.decisions[1].id, "s1-2");
}

}  // namespace
}  // namespace callgate::policy
