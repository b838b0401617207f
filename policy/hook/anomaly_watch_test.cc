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
    severity = r.severity;
    guest_errno = r.guest_errno;
    facts.clear();
    for (const FactText& fact : r.facts) {
      absl::StrAppend(&facts, fact.name, "=", fact.text, " ");
    }
  }
  void OnEngineFault(const StoreFacts&, absl::string_view) override {}
  void OnConditionFailed(const StoreFacts&, absl::string_view,
                         absl::string_view rule, absl::string_view) override {
    lines.push_back(absl::StrCat("failed ", rule));
  }
  std::vector<std::string> lines;
  std::string message;
  absl::Duration delay;
  Severity severity = Severity::kDebug;
  uint32_t guest_errno = 0;
  std::string facts;
};

const FuncType kType = {{}, {ValType::kI32}};
const HostFunctionSpec kSpec = {{}, true};
const FuncType kTickType = {{}, {}};
absl::Time Wall() { return absl::FromUnixSeconds(1000); }

// One Store.
class Watched {
 public:
  Watched(std::shared_ptr<const Policy> policy, ProfileBook* book,
          std::string id = "s-1", std::string tenant = "acme",
          std::string digest = "sha256:00")
      : Watched(
            std::move(policy), OptionsWith(book),
            {std::move(id), std::move(tenant), std::move(digest), "guest"}) {}
  Watched(std::shared_ptr<const Policy> policy,
          const PolicyHook::Options& options,
          StoreFacts facts = {"s-1", "acme", "sha256:00", "guest"}) {
    hook_ = std::make_unique<PolicyHook>(
        std::vector<std::shared_ptr<const Policy>>{std::move(policy)},
        std::move(facts), [this] { return now_ += absl::Milliseconds(1); },
        sink_, options);
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
  static PolicyHook::Options OptionsWith(ProfileBook* book) {
    PolicyHook::Options options;
    options.profiles = book;
    options.wall_clock = Wall;
    return options;
  }

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

TEST(AnomalyWatchTest, Point23LearnsThenJudges) {
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

TEST(AnomalyWatchTest, Point23SaysWhatItWouldDoUntilApproved) {
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

TEST(AnomalyWatchTest, SlowsABurstDown) {
  ProfileBook book(nullptr);
  const auto policy = Compile(
      "anomaly: [{ id: rate, alphabet: import, learning: { min_calls: 10, "
      "min_runs: 2, require_approval: false, stable_novelty: 1 }, frequency: { "
      "ewma_alpha: 0.05, z_score: 6, min_samples: 100, action: throttle, "
      "severity: error, throttle: { base_delay: 0.005s, factor: 2, max_delay: "
      "0.02s, cool_down: 30s } } }]\n");
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
  // The share has to grow first; then every call waits, longer each time, to a
  // bound.
  std::vector<absl::Duration> delays;
  for (int i = 0; i < 14; ++i) {
    if (store.Call("s") == Disposition::kDelay) delays.push_back(store.delay);
  }
  ASSERT_GE(delays.size(), 4u);
  EXPECT_LT(delays.size(), 14u);
  EXPECT_EQ(delays[0], absl::Milliseconds(5));
  EXPECT_EQ(delays[1], absl::Milliseconds(10));
  EXPECT_EQ(delays[2], absl::Milliseconds(20));
  EXPECT_EQ(delays.back(), absl::Milliseconds(20));
  EXPECT_EQ(store.sink_.severity, Severity::kError);
}

// Each of them, from a threshold and from a frequency.
TEST(AnomalyWatchTest, EveryActionIsTaken) {
  struct Row {
    const char* action;
    Disposition disposition;
    const char* line;
    bool ends;
    bool is_alert;
  };
  const Row rows[] = {
      {"log", Disposition::kProceed, "log/log a", false, false},
      {"alert", Disposition::kProceed, "alert/alert a", false, true},
      {"throttle, throttle: { base_delay: 1s, factor: 1, max_delay: 1s, "
       "cool_down: 1s }",
       Disposition::kDelay, "throttle/throttle a", false, false},
      {"deny, guest_errno: 63", Disposition::kAnswer, "deny/deny a", false,
       false},
      {"trap", Disposition::kRefuse, "trap/trap a", false, true},
      {"kill_store", Disposition::kRefuse, "kill_store/kill_store a", true,
       true},
      {"quarantine_module", Disposition::kRefuse,
       "quarantine_module/quarantine_module a", true, true},
  };
  for (const Row& row : rows) {
    for (const bool is_threshold : {true, false}) {
      SCOPED_TRACE(absl::StrCat(row.action, is_threshold));
      const auto policy = Compile(absl::StrCat(
          "anomaly: [{ id: a, ",
          is_threshold ? "thresholds: [{ when: 'score.frame >= 2', action: "
                       : "frequency: { ewma_alpha: 0.05, z_score: 6, action: ",
          row.action, is_threshold ? " }]" : " }", " }]\n"));
      Watched store(policy, nullptr);
      anomaly::Score score;
      score.frame = score.recent = 1;
      score.share_z = 5;
      store.hook_->TellScore(score);
      EXPECT_EQ(store.Call("r"), Disposition::kProceed);
      EXPECT_THAT(store.sink_.lines, IsEmpty());
      score.frame = score.recent = 2;
      score.share_z = 6;
      store.hook_->TellScore(score);
      EXPECT_EQ(store.Call("r"), row.disposition);
      EXPECT_THAT(store.sink_.lines, ElementsAre(row.line));
      EXPECT_EQ(store.sink_.guest_errno,
                row.disposition == Disposition::kAnswer ? 63u : 0u);
      EXPECT_EQ(store.hook_->latched() != nullptr, row.ends);
      EXPECT_EQ(policy->CanAlert(), store.hook_->call_ring() != nullptr);
      EXPECT_EQ(policy->CanAlert(), row.is_alert);
    }
  }
}

// --- Exceptions
// ----------------------------------------------------------------

constexpr char kExceptionRest[] =
    "reason: it is known, expires: '2027-01-31' }]\n";

TEST(AnomalyExceptionTest, LetsGoWhatItSays) {
  struct Row {
    const char* about;
    bool is_excepted;
  };
  const Row rows[] = {
      {"fields: [call.import], comps: ['=='], values: [{v: [env.sync]}], ",
       true},
      {"fields: [call.import], comps: ['=='], values: [{v: [env.read]}], ",
       false},
      {"fields: [call.name, tenant], comps: [in, '=='], values: [{v: ['read, "
       "sync', acme]}], ",
       true},
      {"fields: [call.name, tenant], comps: [in, '=='], values: [{v: ['read, "
       "sync', globex]}, {v: [sync, acme]}], ",
       true},
      {"fields: [tenant], comps: ['=='], values: [{v: [globex]}], ", false},
      {"fields: [module.digest], comps: ['=='], values: [{v: ['sha256:00']}], ",
       true},
      {"fields: [call.site], comps: ['=='], values: [{v: ['7']}], ", true},
      {"fields: [call.site], comps: ['=='], values: [{v: ['8']}], ", false},
      {"fields: [call.depth, call.module, module.name, store.id], comps: "
       "['==', "
       "'==', '==', '=='], values: [{v: ['2', env, guest, s-1]}], ",
       true},
      {"fields: [call.seq, store.calls], comps: ['==', '=='], values: [{v: "
       "['3', "
       "'2']}], ",
       true},
      {"fields: [score.frame, score.novel], comps: [in, '=='], values: [{v: ["
       "'1, 2', 'true']}], ",
       true},
      {"fields: [score.frame], comps: ['=='], values: [{v: ['2']}], ", false},
  };
  for (const Row& row : rows) {
    SCOPED_TRACE(row.about);
    ProfileBook book(nullptr);
    Teach(Compile(kLearn), book);
    Approve(book);
    const auto policy = Compile(
        absl::StrCat(kLearn, "exceptions: [{ rule: shape, name: known, ",
                     row.about, kExceptionRest));
    Watched store(policy, &book);
    store.Call("rws");
    EXPECT_EQ(store.sink_.lines.empty(), row.is_excepted);
  }
}

TEST(AnomalyExceptionTest, TellsAtTheNextCallThatItDoesNotLetGo) {
  ProfileBook book(nullptr);
  const auto policy = Compile(
      absl::StrCat(kLearn,
                   "exceptions: [{ rule: shape, fields: [call.name], comps: "
                   "['=='], values: [{v: [sync]}], ",
                   kExceptionRest));
  Teach(policy, book);
  Approve(book);
  Watched store(policy, &book);
  // The calls are part of the stream.
  EXPECT_EQ(store.Call("rwss"), Disposition::kProceed);
  EXPECT_THAT(store.sink_.lines, IsEmpty());
  store.Call("r");
  EXPECT_THAT(store.sink_.lines, ElementsAre("alert/alert shape"));
}

TEST(AnomalyExceptionTest, HoldsForAModuleWithoutAProfileToo) {
  const auto policy = Compile(
      absl::StrCat("anomaly: [{ id: shape, when_no_profile: deny }]\n",
                   "exceptions: [{ rule: shape, fields: [call.name], comps: "
                   "['=='], values: [{v: [sync]}], ",
                   kExceptionRest));
  Watched store(policy, nullptr);
  EXPECT_EQ(store.Call("s"), Disposition::kProceed);
  EXPECT_EQ(store.Call("r"), Disposition::kAnswer);
}

TEST(AnomalyExceptionTest, EndsOnItsDay) {
  ProfileBook book(nullptr);
  // The wall clock of these tests says 1970-01-01T00:16:40Z.
  for (const bool is_over : {false, true}) {
    const auto policy = Compile(absl::StrCat(
        kLearn,
        "exceptions: [{ rule: shape, fields: [tenant], comps: ['=='], values: "
        "[{v: [acme]}], reason: known, expires: '",
        is_over ? "1969-12-31" : "1970-01-01", "' }]\n"));
    if (!is_over) {
      Teach(policy, book);
      Approve(book);
    }
    Watched store(policy, &book);
    store.Call("rws");
    EXPECT_EQ(store.sink_.lines.empty(), !is_over);
  }
}

TEST(AnomalyExceptionTest, SaysWhatIsWrong) {
  struct Row {
    const char* about;
    const char* problem;
  };
  const Row rows[] = {
      {"fields: [args.path], comps: ['=='], values: [{v: [x]}], ",
       "exceptions[0].fields[0]: \"args.path\" is no fact of a rule about "
       "anomalies, which is judged before arguments are read; it has "
       "call.import, call.module, call.name, call.site, "},
      {"fields: [tenant, result.errno], comps: ['==', '=='], values: [{v: [x, "
       "'0']}], ",
       "fields[1]: \"result.errno\" is no fact"},
      {"fields: [call.denied], comps: ['=='], values: [{v: ['true']}], ",
       "\"call.denied\" is no fact"},
      {"fields: [now], comps: ['=='], values: [{v: ['1']}], ",
       "\"now\" is no fact"},
      {"fields: [score.share_z], comps: ['=='], values: [{v: ['1']}], ",
       "\"score.share_z\" is no fact"},
      {"fields: [score.frame], comps: ['=='], values: [{v: [many]}], ",
       "\"many\" is no int, which score.frame is"},
      {"fields: [score.novel], comps: ['=='], values: [{v: ['1']}], ",
       "\"1\" is no bool, which score.novel is"},
  };
  for (const Row& row : rows) {
    const CompileResult result = CompileText(absl::StrCat(
        kLearn, "exceptions: [{ rule: shape, ", row.about, kExceptionRest));
    std::string all;
    for (const Problem& p : result.problems) all += p.ToString() + "\n";
    EXPECT_THAT(all, HasSubstr(row.problem)) << row.about;
  }
}

// --- What is told to those who ask why
// -----------------------------------------

TEST(AnomalyAnswersTest, SayWhatTheRuleSaidAndWhichExceptionLetGo) {
  PolicyHook::Options options;
  options.keep_answers = true;
  options.wall_clock = Wall;
  const auto policy = Compile(
      absl::StrCat(kLearn,
                   "exceptions: [{ rule: shape, name: known, fields: "
                   "[call.name], comps: ['=='], values: [{v: [sync]}], ",
                   kExceptionRest));
  Watched store(policy, options);
  const auto kind_of = [&](const char* letter, uint32_t frame) {
    anomaly::Score score;
    score.frame = score.recent = frame;
    store.hook_->TellScore(score);
    store.Call(letter);
    const std::vector<ConditionAnswer> answers = store.hook_->TakeAnswers();
    EXPECT_EQ(answers.size(), 1u);
    EXPECT_EQ(answers[0].rule, "shape");
    EXPECT_EQ(
        answers[0].exception,
        answers[0].kind == ConditionAnswer::Kind::kExcepted ? "known" : "");
    return answers[0].kind;
  };
  EXPECT_EQ(kind_of("r", 0), ConditionAnswer::Kind::kFalse);
  EXPECT_EQ(kind_of("r", 1), ConditionAnswer::Kind::kTrue);
  EXPECT_EQ(kind_of("s", 1), ConditionAnswer::Kind::kExcepted);
  EXPECT_EQ(store.sink_.lines.size(), 1u);
  EXPECT_THAT(store.sink_.facts, HasSubstr("score.frame=1 "));
}

// --- Whose profile
// -------------------------------------------------------------

TEST(AnomalyKeyTest, OneProfileForAllModulesOfATenant) {
  ProfileBook book(nullptr);
  const auto policy = Compile(
      "anomaly: [{ id: shape, alphabet: import, profile_key: tenant, learning: "
      "{ min_calls: 10, min_runs: 2, require_approval: false }, thresholds: [{ "
      "when: 'score.novel', action: deny }] }]\n");
  for (const char* digest :
       {"sha256:01", "sha256:02", "sha256:01", "sha256:02"}) {
    Watched store(policy, &book, "s-1", "acme", digest);
    store.Call("rwrwrwrw");
    for (const absl::Status& status : store.Finish()) {
      EXPECT_TRUE(status.ok()) << status;
    }
  }
  ASSERT_EQ(book.List("acme").size(), 1u);
  EXPECT_EQ(book.List("acme")[0].module_digest, anomaly::kDigestOfAllModules);
  // A third module is judged by it; another tenant's is not.
  Watched third(policy, &book, "s-3", "acme", "sha256:03");
  EXPECT_EQ(third.Call("rwrw"), Disposition::kProceed);
  EXPECT_EQ(third.Call("s"), Disposition::kAnswer);
  Watched other(policy, &book, "s-4", "globex", "sha256:01");
  EXPECT_EQ(other.Call("rws"), Disposition::kProceed);
  EXPECT_EQ(book.List("globex").size(), 0u);
}

// --- Who teaches
// ---------------------------------------------------------------

TEST(AnomalyTeachingTest, Point23OnlyStoresWithNoOtherAlert) {
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
      {"profile_key: module.name",
       "\"module.name\" is none; allowed: module.digest (one module of one "
       "tenant), tenant (all modules of one)"},
      {"profile_key: tenant",
       "a call site is a place in one module's code; write `alphabet: "
       "import+errno`"},
      {"callsite_functions: 9", "callsite_functions: is 9; allowed: 1 to 8"},
      {"callsite_functions: 0", "callsite_functions: is 0; allowed: 1 to 8"},
      {"alphabet: import, callsite_functions: 2", "has no place"},
      {"learning: { min_runs: 1025 }", "min_runs: is 1025; allowed: 1 to 1024"},
      {"learning: { stable_novelty: 1.5 }", "is 1.5; allowed: 0 to 1"},
      {"learning: { max_time: 0s }", "more than nothing"},
      {"frequency: { z_score: 6 }", "ewma_alpha: is 0; allowed"},
      {"frequency: { ewma_alpha: 0.05 }", "z_score: is 0; allowed"},
      {"frequency: { ewma_alpha: 0.05, z_score: 6, action: throttle }",
       "frequency: throttle is missing"},
      {"frequency: { ewma_alpha: 0.05, z_score: 6, throttle: { base_delay: 1s "
       "} "
       "}",
       "frequency: throttle has no place"},
      {"frequency: { ewma_alpha: 0.05, z_score: 6, action: allow }",
       "cannot be allow"},
      {"frequency: { ewma_alpha: 0.05, z_score: 6, guest_errno: 5 }",
       "frequency.guest_errno: goes with `action: deny` only"},
      {"thresholds: [{ when: 'score.frame > 1', action: deny, guest_errno: 0 "
       "}]",
       "thresholds[0].guest_errno: is 0; allowed: 1 to 65535"},
      {"thresholds: [{ when: 'score.frame > 1', action: deny, guest_errno: "
       "65536 }]",
       "is 65536; allowed: 1 to 65535"},
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
