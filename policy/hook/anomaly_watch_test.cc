// Rules about anomalies, from the file to the verdict.

#include "policy/hook/anomaly_watch.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <deque>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "policy/compiler/policy_compiler.h"
#include "policy/hook/fake_call.h"
#include "policy/hook/policy_hook.h"
#include "tests/support/allocations.h"

namespace callgate::policy {
namespace {

using anomaly::ProfileBook;
using anomaly::ProfileId;
using anomaly::ProfileState;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

CompileResult CompileText(absl::string_view body) {
  return CompilePolicyText(
      absl::StrCat("api_version: callgate.policy/v1\nkind: Policy\n"
                   "metadata: {name: p}\n"
                   "imports: [{import: env.read, action: allow}, {import: "
                   "env.write, action: allow}, {import: env.sync, action: "
                   "allow}, {import: env.tick, action: allow}]\n",
                   body),
      "p.yaml");
}

std::shared_ptr<const Policy> Compile(absl::string_view body) {
  CompileResult result = CompileText(body);
  std::vector<std::string> lines;
  for (const Problem& p : result.problems) lines.push_back(p.ToString());
  EXPECT_TRUE(result.ok()) << absl::StrJoin(lines, "\n");
  return result.policy;
}

class Sink final : public DecisionSink {
 public:
  void OnDecision(const DecisionRecord& r) override {
    lines.push_back(absl::StrCat(VerdictName(r.verdict), "/",
                                 VerdictName(r.would_be_verdict), " ", r.rule));
    message = std::string(r.message);
    delay = r.delay;
  }
  void OnEngineFault(const StoreFacts&, absl::string_view) override {}
  void OnConditionFailed(const StoreFacts&, absl::string_view,
                         absl::string_view rule, absl::string_view) override {
    lines.push_back(absl::StrCat("failed ", rule));
  }
  std::vector<std::string> lines;
  std::string message;
  absl::Duration delay;
};

const FuncType kType = {{}, {ValType::kI32}};
const HostFunctionSpec kSpec = {{}, true};
const FuncType kTickType = {{}, {}};
absl::Time Wall() { return absl::FromUnixSeconds(1000); }

// One Store.
class Watched {
 public:
  Watched(std::shared_ptr<const Policy> policy, ProfileBook* book,
          std::string id = "s-1") {
    PolicyHook::Options options;
    options.profiles = book;
    options.wall_clock = Wall;
    hook_ = std::make_unique<PolicyHook>(
        std::vector<std::shared_ptr<const Policy>>{std::move(policy)},
        StoreFacts{std::move(id), "acme", "sha256:00", "guest"},
        [this] { return now_ += absl::Milliseconds(1); }, sink_, options);
    for (const char* name : {"read", "write", "sync", "tick"}) {
      functions_.emplace_back();
      FunctionIdentity& function = functions_.back();
      function.module = "env";
      function.name = name;
      function.type = name == std::string("tick") ? &kTickType : &kType;
      function.spec = &kSpec;
      function.binding = static_cast<uint32_t>(functions_.size() - 1);
      transitions = hook_->OnLink(function);
    }
    guest_.kind = FunctionIdentity::Kind::kGuestExport;
    FakeCall begin(Transition::kCallingWasm, guest_);
    hook_->OnTransition(begin);
  }

  // "r", "w", "s" or "t", each a call; what the hook answered to the last.
  Disposition Call(absl::string_view letters, uint32_t guest_errno = 0,
                   uint64_t site = 7) {
    Disposition last = Disposition::kProceed;
    for (const char letter : letters) {
      const size_t at = absl::string_view("rwst").find(letter);
      const FunctionIdentity& function = functions_[at];
      FakeCall call(Transition::kCallingHost, function);
      call.WithChain({site, 100});
      last = hook_->OnTransition(call);
      delay = call.delay();
      if (last == Disposition::kRefuse) continue;
      FakeCall returned(Transition::kReturningFromHost, function);
      if (letter != 't') returned.WithResults({RawValue::I32(guest_errno)});
      hook_->OnTransition(returned);
    }
    return last;
  }
  void Trap() {
    const callgate::Trap trap(TrapCode::kUnreachable, {});
    FakeCall end(Transition::kReturningFromWasm, guest_);
    end.WithTrap(trap);
    hook_->OnTransition(end);
  }
  std::vector<absl::Status> Finish() { return hook_->FinishLearning(); }

  Sink sink_;
  std::unique_ptr<PolicyHook> hook_;
  TransitionSet transitions;
  absl::Duration delay;

 private:
  absl::Time now_ = absl::UnixEpoch();
  std::deque<FunctionIdentity> functions_;
  FunctionIdentity guest_;
};

constexpr char kLearn[] =
    "anomaly:\n"
    "  - id: shape\n"
    "    learning: { min_calls: 10, min_runs: 2 }\n"
    "    thresholds:\n"
    "      - { when: 'score.frame >= 1', action: log }\n"
    "      - { when: 'score.frame >= 2', action: alert }\n"
    "      - { when: 'score.frame >= 4', action: throttle, throttle: { "
    "base_delay: 0.005s, factor: 2, max_delay: 1s, cool_down: 30s } }\n";

const ProfileId kId = {"acme", "sha256:00", anomaly::Shape()};

void Teach(const std::shared_ptr<const Policy>& policy, ProfileBook& book) {
  for (int i = 0; i < 4; ++i) {
    Watched store(policy, &book, absl::StrCat("s-", i));
    store.Call("rwrwrwrw");
    for (const absl::Status& status : store.Finish()) {
      EXPECT_TRUE(status.ok()) << status;
    }
  }
}

void Approve(ProfileBook& book) {
  ASSERT_TRUE(
      book.Edit(kId, [](anomaly::Profile& p) { return p.Approve(); }).ok());
}

TEST(AnomalyWatchTest, LearnsThenJudges) {
  ProfileBook book(nullptr);
  const auto policy = Compile(kLearn);
  Teach(policy, book);
  ASSERT_EQ(book.Get(kId)->state(), ProfileState::kStable);
  Approve(book);

  Watched store(policy, &book);
  EXPECT_TRUE(store.transitions.Contains(Transition::kReturningFromHost));
  EXPECT_EQ(store.Call("rwrwrwrw"), Disposition::kProceed);
  EXPECT_THAT(store.sink_.lines, IsEmpty());
  EXPECT_EQ(store.Call("s"), Disposition::kProceed);
  EXPECT_THAT(store.sink_.lines, ElementsAre("log/log shape"));
  EXPECT_THAT(store.sink_.message,
              HasSubstr("1 of the last 20 calls are in an order"));
  store.sink_.lines.clear();
  // The log speaks no more while it is true; the alert begins.
  EXPECT_EQ(store.Call("s"), Disposition::kProceed);
  EXPECT_THAT(store.sink_.lines, ElementsAre("alert/alert shape"));
  store.sink_.lines.clear();
  EXPECT_EQ(store.Call("s"), Disposition::kProceed);
  EXPECT_THAT(store.sink_.lines, IsEmpty());
  // Delay comes before the call, and grows from one to the next.
  EXPECT_EQ(store.Call("s"), Disposition::kDelay);
  EXPECT_EQ(store.delay, absl::Milliseconds(5));
  EXPECT_EQ(store.Call("s"), Disposition::kDelay);
  EXPECT_EQ(store.delay, absl::Milliseconds(10));
  EXPECT_EQ(store.sink_.delay, absl::Milliseconds(10));
  EXPECT_THAT(store.sink_.lines, ElementsAre("throttle/throttle shape",
                                             "throttle/throttle shape"));
}

TEST(AnomalyWatchTest, SaysWhatItWouldDoUntilApproved) {
  ProfileBook book(nullptr);
  const auto policy = Compile(kLearn);
  Teach(policy, book);
  Watched store(policy, &book);
  EXPECT_EQ(store.Call("rwssss"), Disposition::kProceed);
  EXPECT_THAT(store.sink_.lines,
              ElementsAre("allow/log shape", "allow/alert shape",
                          "allow/throttle shape"));
}

TEST(AnomalyWatchTest, JudgesAtOnceWithoutApprovalIfTheRuleSaysSo) {
  ProfileBook book(nullptr);
  const auto policy = Compile(
      "anomaly: [{ id: shape, learning: { min_calls: 10, min_runs: 2, "
      "require_approval: false }, thresholds: [{ when: 'score.novel', action: "
      "deny }] }]\n");
  Teach(policy, book);
  Watched store(policy, &book);
  EXPECT_EQ(store.Call("rw"), Disposition::kProceed);
  EXPECT_EQ(store.Call("s"), Disposition::kAnswer);
  // A function without an errno cannot be denied.
  EXPECT_EQ(store.Call("t"), Disposition::kRefuse);
}

TEST(AnomalyWatchTest, TellsCallSitesAndErrnosApart) {
  ProfileBook book(nullptr);
  const auto policy = Compile(kLearn);
  Teach(policy, book);
  Approve(book);
  {
    Watched store(policy, &book);
    store.Call("rw");
    store.Call("r", 0, 9);
    EXPECT_THAT(store.sink_.lines, ElementsAre("log/log shape"));
  }
  {
    Watched store(policy, &book);
    store.Call("rw");
    store.Call("r", 76);
    EXPECT_THAT(store.sink_.lines, IsEmpty());  // it has happened already
    store.Call("w");
    EXPECT_THAT(store.sink_.lines, ElementsAre("log/log shape"));
  }
}

TEST(AnomalyWatchTest, AuditStopsNothing) {
  ProfileBook book(nullptr);
  const auto policy = Compile(absl::StrCat(kLearn, "    mode: audit\n"));
  Teach(policy, book);
  Approve(book);
  Watched store(policy, &book);
  EXPECT_EQ(store.Call("rwssssss"), Disposition::kProceed);
  EXPECT_THAT(store.sink_.lines, testing::Contains("allow/throttle shape"));
}

TEST(AnomalyWatchTest, FindsABurst) {
  ProfileBook book(nullptr);
  const auto policy = Compile(
      "anomaly: [{ id: rate, alphabet: import, learning: { min_calls: 10, "
      "min_runs: 2, require_approval: false, stable_novelty: 1 }, frequency: { "
      "ewma_alpha: 0.05, z_score: 6, min_samples: 100, action: alert } }]\n");
  std::string calls;
  for (int i = 0; i < 10; ++i) calls += "srwrwrwrwrwrwrwrw";
  for (int i = 0; i < 2; ++i) {
    Watched store(policy, &book);
    store.Call(calls);
    store.Finish();
  }
  Watched store(policy, &book);
  store.Call(calls);
  EXPECT_THAT(store.sink_.lines, IsEmpty());
  store.Call("ssssssssssssss");
  EXPECT_THAT(store.sink_.lines, ElementsAre("alert/alert rate"));
  EXPECT_THAT(store.sink_.message, HasSubstr("more often than ever"));
}

// --- Who teaches
// ---------------------------------------------------------------

TEST(AnomalyTeachingTest, OnlyStoresWithNoOtherAlert) {
  struct Row {
    const char* rules;
    bool teaches;
  };
  const Row rows[] = {
      {"", true},
      {"rules: [{id: r, when: 'call.name == \"sync\"', action: log}]\n", true},
      {"rules: [{id: r, when: 'call.name == \"sync\"', action: alert}]\n",
       false},
      {"rules: [{id: r, when: 'call.name == \"sync\"', action: deny}]\n",
       false},
      {"rules: [{id: r, when: 'call.name == \"sync\"', action: alert, mode: "
       "audit}]\n",
       false},
      {"budgets: {host_calls_per_call: 3}\ndefaults: {mode: audit}\n", false},
  };
  for (const Row& row : rows) {
    ProfileBook book(nullptr);
    Watched store(Compile(absl::StrCat(kLearn, row.rules)), &book);
    store.Call("rwrws");
    store.Finish();
    EXPECT_EQ(!book.List("acme").empty(), row.teaches) << row.rules;
  }
}

TEST(AnomalyTeachingTest, NotAGuestThatTrapped) {
  ProfileBook book(nullptr);
  Watched store(Compile(kLearn), &book);
  store.Call("rw");
  store.Trap();
  store.Finish();
  EXPECT_THAT(book.List("acme"), IsEmpty());
}

TEST(AnomalyTeachingTest, OnceAndNotWithoutCalls) {
  ProfileBook book(nullptr);
  const auto policy = Compile(kLearn);
  Watched idle(policy, &book);
  EXPECT_THAT(idle.Finish(), IsEmpty());
  Watched store(policy, &book);
  store.Call("rw");
  EXPECT_EQ(store.Finish().size(), 1u);
  EXPECT_THAT(store.Finish(), IsEmpty());
  EXPECT_EQ(book.Get(kId)->runs().size(), 1u);
  EXPECT_EQ(book.Get(kId)->runs()[0].id, "s-1");
}

// --- Without a profile
// ---------------------------------------------------------

TEST(AnomalyNoProfileTest, DoesAsTheRuleSays) {
  struct Row {
    const char* what;
    Disposition disposition;
    bool learns;
  };
  for (const Row& row : {Row{"learn", Disposition::kProceed, true},
                         Row{"allow", Disposition::kProceed, false},
                         Row{"deny", Disposition::kAnswer, false}}) {
    ProfileBook book(nullptr);
    const auto policy =
        Compile(absl::StrCat(kLearn, "    when_no_profile: ", row.what, "\n"));
    Watched store(policy, &book);
    EXPECT_EQ(store.Call("r"), row.disposition) << row.what;
    store.Finish();
    EXPECT_EQ(!book.List("acme").empty(), row.learns) << row.what;
    // Nor without a book.
    Watched alone(policy, nullptr);
    EXPECT_EQ(alone.Call("r"), row.disposition) << row.what;
    EXPECT_THAT(alone.Finish(), IsEmpty());
  }
}

// --- Cost
// ----------------------------------------------------------------------

TEST(AnomalyCostTest, AllocatesNothingAtACall) {
  ProfileBook book(nullptr);
  const auto policy = Compile(kLearn);
  Teach(policy, book);
  Approve(book);
  for (const bool judges : {true, false}) {
    ProfileBook empty(nullptr);
    Watched store(policy, judges ? &book : &empty);
    const std::string calls = "rwrwrwrwrwrwrwrwrwrwrwrwrwrw";
    store.Call(calls);
    FakeCall call(
        Transition::kCallingHost, *[&] {
          static FunctionIdentity identity;
          identity.module = "env";
          identity.name = "read";
          identity.type = &kType;
          identity.spec = &kSpec;
          identity.binding = 0;
          return &identity;
        }());
    call.WithChain({7, 100});
    FakeCall returned(Transition::kReturningFromHost, call.function());
    returned.WithResults({RawValue::I32(0)});
    // r after w, as ever, but for the first.
    const auto step = [&] {
      store.hook_->OnTransition(call);
      store.hook_->OnTransition(returned);
    };
    for (int i = 0; i < 30; ++i) step();
    const uint64_t before = AllocationCount();
    for (int i = 0; i < 100 && !judges; ++i) step();
    EXPECT_EQ(AllocationCount(), before);
  }
}

// --- The file
// ------------------------------------------------------------------

TEST(AnomalyFileTest, SaysWhatIsWrong) {
  struct Row {
    const char* fields;
    const char* problem;
  };
  const Row rows[] = {
      {"alphabet: calls", "\"calls\" is none; allowed: import, "},
      {"ngram: 9", "ngram: is 9; allowed: 2 to 8"},
      {"ngram: 1", "ngram: is 1; allowed: 2 to 8"},
      {"locality_frame: 64", "locality_frame: is 64; allowed: 1 to 63"},
      {"max_ngrams: 100001", "max_ngrams: is 100001; allowed: 1 to 100000"},
      {"profile_key: tenant", "a profile is of one tenant's module"},
      {"callsite_functions: 9", "callsite_functions: is 9; allowed: 1 to 8"},
      {"callsite_functions: 0", "callsite_functions: is 0; allowed: 1 to 8"},
      {"alphabet: import, callsite_functions: 2", "has no place"},
      {"learning: { min_runs: 1025 }", "min_runs: is 1025; allowed: 1 to 1024"},
      {"learning: { stable_novelty: 1.5 }", "is 1.5; allowed: 0 to 1"},
      {"learning: { max_time: 0s }", "more than nothing"},
      {"frequency: { z_score: 6 }", "ewma_alpha: is 0; allowed"},
      {"frequency: { ewma_alpha: 0.05 }", "z_score: is 0; allowed"},
      {"frequency: { ewma_alpha: 0.05, z_score: 6, action: throttle }",
       "cannot be throttle"},
      {"when_no_profile: allow", "so it does nothing"},
      {"thresholds: [{ action: alert }]", "when is missing"},
      {"thresholds: [{ when: 'score.frame > 1' }]", "action is missing"},
      {"thresholds: [{ when: 'score.frame > 1', action: allow }]",
       "cannot be allow"},
      {"thresholds: [{ when: 'score.frame > 1', action: throttle }]",
       "throttle is missing"},
      {"thresholds: [{ when: 'score.frame > 1', action: log, throttle: { "
       "base_delay: 1s } }]",
       "throttle has no place"},
      {"thresholds: [{ when: 'score.fame > 1', action: log }]", "score.fame"},
      {"thresholds: [{ when: 'score.frame', action: log }]", "bool"},
      {"thresholds: [{ when: 'call.depth > 1', action: log }]", "call.depth"},
  };
  for (const Row& row : rows) {
    const CompileResult result =
        CompileText(absl::StrCat("anomaly: [{ id: a, ", row.fields, " }]\n"));
    ASSERT_FALSE(result.ok()) << row.fields;
    std::string all;
    for (const Problem& p : result.problems) all += p.ToString() + "\n";
    EXPECT_THAT(all, HasSubstr(row.problem)) << row.fields;
  }
  EXPECT_FALSE(CompileText("anomaly: [{ alphabet: import }]\n").ok());
}

TEST(AnomalyFileTest, TakesWhatTheManualSays) {
  const auto policy = Compile(
      "anomaly:\n"
      "  - id: call-shape\n"
      "    alphabet: import+callsite+errno\n"
      "    ngram: 6\n"
      "    locality_frame: 20\n"
      "    max_ngrams: 20000\n"
      "    profile_key: module.digest\n"
      "    when_no_profile: learn\n"
      "    learning: { state: auto, min_calls: 50000, min_runs: 20, "
      "stable_novelty: 0.0001, max_time: 86400s, freeze_on_stable: true, "
      "require_approval: true }\n"
      "    thresholds:\n"
      "      - { when: 'score.frame >= 3', action: log, severity: notice }\n"
      "      - { when: 'score.total > 40 && score.novelty > 0.01', action: "
      "alert }\n"
      "    frequency: { ewma_alpha: 0.05, z_score: 6, min_samples: 1000, "
      "action: alert }\n"
      "    mode: audit\n");
  ASSERT_EQ(policy->anomaly().size(), 1u);
  const AnomalyRule& rule = policy->anomaly()[0];
  EXPECT_EQ(rule.thresholds[0].rule.severity, Severity::kNotice);
  EXPECT_EQ(rule.thresholds[1].rule.severity, Severity::kWarning);
  EXPECT_EQ(rule.thresholds[1].rule.mode, Mode::kAudit);
  EXPECT_EQ(rule.shape.share_weight, 3277u);
  EXPECT_EQ(rule.learning.max_time, absl::Hours(24));
  EXPECT_FALSE(policy->CanEndStore());
}

TEST(ScoreConditionTest, FailsAsTrue) {
  const auto policy = Compile(
      "anomaly: [{ id: a, learning: { min_calls: 1, min_runs: 1, "
      "stable_novelty: 1, require_approval: false }, thresholds: [{ when: '1 / "
      "score.frame > 5', action: alert }] }]\n");
  ProfileBook book(nullptr);
  {
    Watched store(policy, &book);
    store.Call("rw");
    store.Finish();
  }
  Watched store(policy, &book);
  store.Call("rw");
  EXPECT_THAT(store.sink_.lines, ElementsAre("failed a", "alert/alert a"));
}

}  // namespace
}  // namespace callgate::policy
