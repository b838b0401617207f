// The numbered points of the policies' semantics that are about conditions.

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
#include "policy/hook/policy_hook.h"
#include "tests/support/allocations.h"

namespace callgate::policy {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

CompileResult CompileText(absl::string_view body) {
  return CompilePolicyText(
      absl::StrCat("api_version: callgate.policy/v1\nkind: Policy\n"
                   "metadata: {name: p}\n",
                   body),
      "p.yaml");
}

std::string Problems(const std::vector<Problem>& problems) {
  std::vector<std::string> lines;
  for (const Problem& p : problems) lines.push_back(p.ToString());
  return absl::StrJoin(lines, "\n");
}

std::shared_ptr<const Policy> Compile(absl::string_view body) {
  CompileResult result = CompileText(body);
  EXPECT_TRUE(result.ok()) << Problems(result.problems);
  return result.policy;
}

class Sink final : public DecisionSink {
 public:
  void OnDecision(const DecisionRecord& r) override {
    lines.push_back(absl::StrCat(VerdictName(r.verdict), " ", r.rule));
    message = std::string(r.message);
    guest_errno = r.guest_errno;
    would_be = r.would_be_verdict;
  }
  void OnEngineFault(const StoreFacts&, absl::string_view text) override {
    faults.emplace_back(text);
  }
  void OnConditionFailed(const StoreFacts&, absl::string_view policy,
                         absl::string_view rule,
                         absl::string_view text) override {
    failures.push_back(absl::StrCat(policy, "/", rule, " ", text));
  }
  std::vector<std::string> lines, faults, failures;
  std::string message;
  uint32_t guest_errno = 0;
  Verdict would_be = Verdict::kAllow;
};

class Names final : public HandleNames {
 public:
  std::optional<absl::string_view> PathOf(const FunctionIdentity&,
                                          uint64_t handle) override {
    if (handle == 1) return "";
    if (handle == 3) return "/config";
    if (handle == 4) return "/scratch/x/..";
    return std::nullopt;
  }
  void RefuseLinks(const FunctionIdentity& function) override {
    refused.push_back(std::string(function.name));
  }
  std::vector<std::string> refused;
};

absl::Time g_wall = absl::UnixEpoch();
absl::Time Wall() { return g_wall; }

const FuncType kSendType = {{ValType::kI32, ValType::kI32}, {ValType::kI32}};
const HostFunctionSpec kSendSpec = {
    {{"data", 0, ArgKind::kBytes, 1, kNoIndex, 1000},
     {"len", 1, ArgKind::kU32},
     {"text", 0, ArgKind::kString, 1, kNoIndex, 1000},
     {"addr", 0, ArgKind::kSockaddr, 1, kNoIndex, 128}},
    true};
const FuncType kOpenType = {{ValType::kI32, ValType::kI32, ValType::kI32},
                            {ValType::kI32}};
const HostFunctionSpec kOpenSpec = {
    {{"fd", 0, ArgKind::kHandle}, {"path", 1, ArgKind::kPath, 2, 0}}, true};
const FuncType kTickType = {{}, {}};
const HostFunctionSpec kNoSpec = {{}, false};

constexpr char kAllowAll[] =
    "imports: [{import: net.send, action: allow}, {import: fs.open, action: "
    "allow}, {import: env.tick, action: allow}]\n";

class ConditionsTest : public testing::Test {
 protected:
  void Load(std::vector<std::string> bodies, Mode cap = Mode::kEnforce) {
    std::vector<std::shared_ptr<const Policy>> policies;
    for (const std::string& body : bodies) policies.push_back(Compile(body));
    PolicyHook::Options options;
    options.mode_cap = cap;
    options.handles = &names_;
    options.wall_clock = Wall;
    hook_ = std::make_unique<PolicyHook>(
        std::move(policies), StoreFacts{"s1", "acme", "sha256:00", "gu\nest"},
        [this] { return now_; }, sink_, options);
    send_ = Link("net", "send", kSendType, &kSendSpec);
    open_ = Link("fs", "open", kOpenType, &kOpenSpec);
    tick_ = Link("env", "tick", kTickType, &kNoSpec);
    guest_.kind = FunctionIdentity::Kind::kGuestExport;
    FakeCall begin(Transition::kCallingWasm, guest_);
    hook_->OnTransition(begin);
  }

  FunctionIdentity* Link(absl::string_view module, absl::string_view name,
                         const FuncType& type, const HostFunctionSpec* spec) {
    FunctionIdentity& f = functions_.emplace_back();
    f.module = module;
    f.name = name;
    f.type = &type;
    f.spec = spec;
    f.binding = static_cast<uint32_t>(functions_.size() - 1);
    hook_->OnLink(f);
    return &f;
  }

  Disposition Call(const FunctionIdentity& f, std::vector<uint32_t> numbers) {
    std::vector<RawValue> args;
    for (const uint32_t n : numbers) args.push_back(RawValue::I32(n));
    FakeCall call(Transition::kCallingHost, f, std::move(args));
    call.WithMemory(&memory_);
    const Disposition d = hook_->OnTransition(call);
    delay_ = call.delay();
    captured_ = call.captured();
    return d;
  }
  Disposition Send(absl::string_view bytes) {
    std::copy(bytes.begin(), bytes.end(), memory_.begin() + 16);
    return Call(*send_, {16, static_cast<uint32_t>(bytes.size())});
  }
  Disposition Open(uint32_t fd, absl::string_view path) {
    std::copy(path.begin(), path.end(), memory_.begin() + 16);
    return Call(*open_, {fd, 16, static_cast<uint32_t>(path.size())});
  }
  Disposition Tick() { return Call(*tick_, {}); }

  absl::Time now_ = absl::UnixEpoch();
  Sink sink_;
  Names names_;
  std::deque<FunctionIdentity> functions_;
  FunctionIdentity guest_;
  std::unique_ptr<PolicyHook> hook_;
  const FunctionIdentity* send_ = nullptr;
  const FunctionIdentity* open_ = nullptr;
  const FunctionIdentity* tick_ = nullptr;
  std::vector<uint8_t> memory_ = std::vector<uint8_t>(65536);
  absl::Duration delay_;
  std::vector<std::pair<uint64_t, uint64_t>> captured_;
};

constexpr Disposition kProceed = Disposition::kProceed;
constexpr Disposition kAnswer = Disposition::kAnswer;
constexpr Disposition kRefuse = Disposition::kRefuse;

TEST_F(ConditionsTest, Point1MacrosAreInlinedAndCannotFormCircles) {
  Load({absl::StrCat(kAllowAll,
                     "macros:\n- {name: long, when: 'args.len > 3'}\n"
                     "- {name: both, when: 'call.name == \"send\" && long'}\n"
                     "rules: [{id: r, when: both, action: deny}]\n")});
  EXPECT_EQ(Send("abc"), kProceed);
  EXPECT_EQ(Send("abcd"), kAnswer);
  EXPECT_EQ(Tick(), kProceed);
  EXPECT_THAT(Problems(CompileText("macros: [{name: a, when: 'b'}, {name: b, "
                                   "when: 'a'}]\n")
                           .problems),
              HasSubstr("macros[0].when: 1:1: \"b\" is this macro or one "
                        "below it"));
}

// However small the facts turn out to be.
TEST_F(ConditionsTest, Point1CostIsBoundedWhenThePolicyIsLoaded) {
  std::string when = "a + b + c + d + e + f + g == call.depth";
  for (const char name : {'g', 'f', 'e', 'd', 'c', 'b', 'a'}) {
    when = absl::StrCat("[0, 1, 2, 3, 4, 5, 6, 7].exists(",
                        std::string(1, name), ", ", when, ")");
  }
  const auto problems = [&](const std::string& rule) {
    return Problems(
        CompileText(absl::StrCat("rules: [{id: r, action: log, ", rule, "}]\n"))
            .problems);
  };
  const char kWant[] = " steps; at most 1000000 are allowed";
  EXPECT_THAT(problems(absl::StrCat("when: '", when, "'")), HasSubstr(kWant));
  EXPECT_THAT(problems(absl::StrCat("event: function, function: \"x\", when: '",
                                    "args.p0 == 1 && ", when, "'")),
              HasSubstr(kWant));
  // With the smallest facts it is cheap; what the real ones cost is known when
  // a module brings its imports.
  EXPECT_EQ(problems("when: '[1, 2, 3].exists(x, size(args.text) == x)'"), "");
}

TEST_F(ConditionsTest, Point1MistakesHaveLineColumnAndCaret) {
  EXPECT_EQ(
      Problems(CompileText("rules:\n- id: r\n  action: deny\n"
                           "  when: call.nmae == \"x\"\n")
                   .problems),
      "p.yaml:7:3: rules[0].when: 1:1: there is no fact "
      "\"call.nmae\"; did you mean call.name? Allowed here: "
      "call.caller, call.denied, call.depth, call.edge, call.import, "
      "call.module, "
      "call.name, "
      "call.seq, call.site, module.digest, module.name, now, "
      "result.errno, result.value, "
      "store.calls, store.fuel_used, store.id, store.memory_bytes, tenant\n"
      "  call.nmae == \"x\"\n"
      "  ^");
  EXPECT_THAT(Problems(CompileText("rules: [{id: r, action: deny, when: "
                                   "'call.depth'}]\n")
                           .problems),
              HasSubstr("rules[0].when: "));
}

TEST_F(ConditionsTest, Point2FactsOfTheCallAndTheStore) {
  Load({absl::StrCat(
      kAllowAll,
      "rules: [{id: r, action: log, when: 'call.import == \"net.send\" && "
      "call.module == \"net\" && call.site == 7 && call.caller == "
      "\"guest_code\" && call.depth == 2 && store.calls == 1 && call.seq == 2 "
      "&& store.id == \"s1\" && tenant == \"acme\" && module.digest == "
      "\"sha256:00\" && args.len == 2 && args.data == b\"hi\" && args.text == "
      "\"hi\"'}]\n")});
  EXPECT_EQ(Send("hi"), kProceed);
  EXPECT_THAT(sink_.lines, IsEmpty());
  EXPECT_EQ(Send("hi"), kProceed);
  EXPECT_THAT(sink_.lines, ElementsAre("log r"));
}

TEST_F(ConditionsTest, Point2TheEdgeOfACall) {
  Load({absl::StrCat(
      kAllowAll,
      "rules: [{id: c, action: log, when: 'call.edge == \"calling\" && "
      "call.name == \"send\"'}, {id: r, action: alert, when: 'call.edge == "
      "\"returning\" && result.errno == 0', message: '${call.edge}'}]\n")});
  EXPECT_EQ(Send("hi"), kProceed);
  EXPECT_THAT(sink_.lines, ElementsAre("log c"));
  FakeCall leave(Transition::kReturningFromHost, *send_,
                 {RawValue::I32(16), RawValue::I32(2)});
  leave.WithMemory(&memory_).WithResults({RawValue::I32(0)});
  EXPECT_EQ(hook_->OnTransition(leave), kProceed);
  EXPECT_THAT(sink_.lines, ElementsAre("log c", "alert r"));
  EXPECT_EQ(sink_.message, "\"returning\"");
}

TEST_F(ConditionsTest, Point2MessagesQuoteUnlessTheySayRaw) {
  Load({absl::StrCat(
      kAllowAll,
      "rules: [{id: r, action: log, when: 'call.name == \"send\"', message: "
      "'sent ${args.text} (${args.len}) by ${module.name:raw} of "
      "${module.name}'}]\n")});
  Send("a\n\"b");
  EXPECT_EQ(sink_.message,
            "sent \"a\\n\\\"b\" (4) by gu\\nest of \"gu\\nest\"");
}

TEST_F(ConditionsTest, Point2MessagesNeverShowWhatIsRedacted) {
  Load(
      {"imports:\n- {import: net.send, action: allow, args: [{name: text, "
       "redact: true}]}\n"
       "- {import: net.send, action: log, message: 'x ${args.text}'}\n"});
  Send("secret");
  EXPECT_EQ(sink_.message, "x <redacted>");
}

TEST_F(ConditionsTest, Point3ARuleAboutOtherImportsCostsNothing) {
  Load({absl::StrCat(kAllowAll,
                     "rules: [{id: r, when: 'call.import == \"net.send\" && "
                     "args.len > 3', action: trap}]\n")});
  EXPECT_EQ(Tick(), kProceed);
  EXPECT_EQ(Send("x"), kProceed);
  // No copy for a number alone.
  EXPECT_THAT(captured_, IsEmpty());
  EXPECT_THAT(sink_.faults, IsEmpty());
}

TEST_F(ConditionsTest, Point3ReadingAnArgumentThatIsNotThereIsAnError) {
  const auto policy = Compile(absl::StrCat(
      kAllowAll, "rules: [{id: r, when: 'args.len > 3', action: trap}]\n"));
  const LinkedImport tick = {"env", "tick", &kTickType, &kNoSpec};
  EXPECT_THAT(
      Problems(policy->CheckAgainst({tick}).problems),
      HasSubstr("rules[0].when: for env.tick(): 1:1: there is no args.len; "));
  const auto guarded = Compile(
      absl::StrCat(kAllowAll,
                   "rules: [{id: r, when: 'has(args.len) && args.len > 3', "
                   "action: trap}]\n"));
  EXPECT_THAT(guarded->CheckAgainst({tick}).problems, IsEmpty());
}

TEST_F(ConditionsTest, Point4ARestrictingRuleThatFailsCountsAsTrue) {
  Load({absl::StrCat(kAllowAll,
                     "rules: [{id: r, when: 'call.name == \"send\" && "
                     "10 / args.len > 3', action: deny, guest_errno: 5}]\n")});
  EXPECT_EQ(Send("xxxxx"), kProceed);
  EXPECT_EQ(Send(""), kAnswer);
  EXPECT_EQ(Send(""), kAnswer);
  EXPECT_THAT(sink_.lines, ElementsAre("deny r", "deny r"));
  EXPECT_EQ(sink_.guest_errno, 5u);
  // Counted each time, told once.
  EXPECT_THAT(sink_.failures,
              ElementsAre(HasSubstr("p/r 1:27: division by zero")));
  EXPECT_EQ(hook_->DrainCounts().conditions_failed, 2u);
}

TEST_F(ConditionsTest, Point4AnAllowingRuleThatFailsCountsAsFalse) {
  Load(
      {"imports: [{import: net.send, action: allow, when: '10 / args.len > "
       "1'}]\n"});
  EXPECT_EQ(Send("xx"), kProceed);
  EXPECT_EQ(Send(""), kAnswer);
  EXPECT_THAT(sink_.lines, ElementsAre("deny default:no_allow"));
  EXPECT_EQ(sink_.failures.size(), 1u);
}

TEST_F(ConditionsTest, Point7AnArgumentThatCannotBeCopiedDeniesTheCall) {
  Load({absl::StrCat(kAllowAll,
                     "rules: [{id: r, when: 'call.name == \"send\" && "
                     "args.text == \"x\"', action: kill_store}]\n")});
  EXPECT_EQ(Call(*send_, {16, 1001}), kAnswer);
  EXPECT_THAT(sink_.lines, ElementsAre("deny default:argument"));
  EXPECT_EQ(sink_.guest_errno, 1u);
  EXPECT_EQ(Call(*send_, {65530, 7}), kAnswer);
  EXPECT_EQ(sink_.guest_errno, 21u);
  EXPECT_EQ(hook_->latched(), nullptr);
  EXPECT_EQ(Send("x"), kRefuse);
}

TEST_F(ConditionsTest, Point8PathsAreThoseOfTheGuest) {
  Load({absl::StrCat(
      kAllowAll,
      "lists: [{name: secret, kind: glob, items: ['/config/secrets/**']}]\n"
      "rules: [{id: r, when: 'call.name == \"open\" && args.path in "
      "list(\"secret\")', action: deny}]\n")});
  // In the calls that are judged by them, and in no others.
  EXPECT_THAT(names_.refused, ElementsAre("open"));
  EXPECT_EQ(Open(3, "secrets/db"), kAnswer);
  EXPECT_EQ(Open(3, "./x/..//secrets/db"), kAnswer);
  EXPECT_EQ(Open(3, "public"), kProceed);
  EXPECT_EQ(Open(4, "secrets/db"), kProceed);
  EXPECT_THAT(sink_.failures, IsEmpty());
  // A handle of which nothing is known: it cannot be shown to be elsewhere.
  EXPECT_EQ(Open(9, "public"), kAnswer);
  EXPECT_EQ(sink_.failures.size(), 1u);
}

TEST_F(ConditionsTest, Point8HandlesCarryTheirPath) {
  const auto answers = [this](const std::string& when) {
    Load({absl::StrCat(kAllowAll,
                       "rules: [{id: r, when: 'call.name == \"open\" && ", when,
                       "', action: deny}]\n")});
    sink_.failures.clear();
    std::string text;
    for (const uint32_t handle : {1u, 3u, 9u}) {
      text += Call(*open_, {handle, 16, 1}) == kAnswer ? "no " : "yes ";
    }
    return absl::StrCat(text, sink_.failures.size());
  };
  // Standard output is nowhere. What nobody knows may be anywhere, and asking
  // for it does not clear it.
  EXPECT_EQ(answers("args.fd.path == \"/config\""), "yes no no 1");
  EXPECT_EQ(answers("has(args.fd.path) && args.fd.path == \"/config\""),
            "yes no no 1");
  EXPECT_EQ(answers("args.fd.path == \"/x\""), "yes yes no 1");
  EXPECT_EQ(answers("!args.fd.path.startsWith(\"/x\")"), "no no no 1");
  // What decides without it decides.
  EXPECT_EQ(answers("args.fd < 9 && args.fd.path == \"/config\""),
            "yes no yes 0");
  EXPECT_EQ(answers("args.fd.path == \"/config\" && args.fd < 9"),
            "yes no yes 0");
  EXPECT_EQ(answers("(args.fd.path == \"/x\" || args.fd == 9)"),
            "yes yes no 0");
  EXPECT_EQ(answers("(args.fd == 9 ? false : args.fd.path == \"/config\")"),
            "yes no yes 0");
  // Beneath what is no directory there is nothing that is known.
  EXPECT_EQ(answers("args.path == \"/x\""), "no yes no 1");
}

TEST_F(ConditionsTest, Point8WithoutPathRulesLinksAreNobodysBusiness) {
  Load({absl::StrCat(kAllowAll,
                     "rules: [{id: r, when: 'call.depth > 99', "
                     "action: deny}]\n")});
  EXPECT_THAT(names_.refused, IsEmpty());
}

TEST_F(ConditionsTest, Point10TheMostSevereVerdictWinsInAnyOrder) {
  for (const bool turned : {false, true}) {
    sink_.lines.clear();
    const std::string a =
        "- {id: a, when: 'call.name == \"send\" && args.len "
        "> 1', action: deny}\n";
    const std::string b =
        "- {id: b, when: 'call.name == \"send\" && args.len "
        "> 2', action: trap}\n";
    Load({absl::StrCat(kAllowAll, "rules:\n", turned ? b : a, turned ? a : b)});
    EXPECT_EQ(Send("x"), kProceed);
    EXPECT_EQ(Send("xx"), kAnswer);
    EXPECT_EQ(Send("xxx"), kRefuse);
    EXPECT_THAT(sink_.lines, ElementsAre("deny a", "trap b"));
  }
}

TEST_F(ConditionsTest, Point10OfSeveralDelaysTheLongest) {
  Load({absl::StrCat(
      kAllowAll,
      "rules:\n"
      "- {id: a, when: 'call.name == \"send\"', action: throttle, throttle: "
      "{base_delay: 10ms, factor: 2, max_delay: 35ms, cool_down: 1s}}\n"
      "- {id: b, when: 'call.name == \"send\"', action: throttle, throttle: "
      "{base_delay: 15ms}}\n"
      "- {id: c, when: 'true', action: throttle, mode: audit, throttle: "
      "{base_delay: 1s}}\n")});
  std::vector<absl::Duration> delays;
  for (int i = 0; i < 4; ++i) {
    EXPECT_EQ(Send("x"), Disposition::kDelay);
    delays.push_back(delay_);
  }
  EXPECT_THAT(delays,
              ElementsAre(absl::Milliseconds(15), absl::Milliseconds(20),
                          absl::Milliseconds(35), absl::Milliseconds(35)));
  now_ += absl::Seconds(2);
  Send("x");
  EXPECT_EQ(delay_, absl::Milliseconds(15));
  EXPECT_THAT(sink_.lines.back(), "throttle a");
  EXPECT_EQ(Tick(), kProceed);  // audit alone delays nothing
}

TEST_F(ConditionsTest, Point11AnyTrueAllowOpensAndAnyRestrictionCloses) {
  Load(
      {"imports:\n"
       "- {import: net.send, action: allow, when: 'args.len == 1'}\n"
       "- {import: net.send, action: allow, when: 'args.len < 3'}\n"
       "- {import: net.send, action: trap, when: 'args.len == 2', id: two}\n"});
  EXPECT_EQ(Send("1"), kProceed);
  EXPECT_EQ(Send(""), kProceed);
  EXPECT_EQ(Send("22"), kRefuse);
  EXPECT_EQ(Send("333"), kAnswer);
  EXPECT_THAT(sink_.lines, ElementsAre("trap two", "deny default:no_allow"));
  EXPECT_EQ(sink_.message, "net.send is listed, but no entry allows this call");
}

TEST_F(ConditionsTest, Point11RulesGiveNoPower) {
  Load({"rules: [{id: r, when: 'call.name == \"send\"', action: log}]\n"});
  EXPECT_EQ(Send("x"), kAnswer);
  EXPECT_THAT(sink_.lines, ElementsAre("deny default:unlisted_import"));
}

TEST_F(ConditionsTest, Point12DenyIsATrapWhereThereIsNoErrno) {
  Load({absl::StrCat(kAllowAll,
                     "rules: [{id: r, when: 'call.name == "
                     "\"tick\"', action: deny}]\n")});
  EXPECT_EQ(Tick(), kRefuse);
  EXPECT_THAT(sink_.lines, ElementsAre("trap r"));
}

TEST_F(ConditionsTest, Point13KillStoreLatches) {
  Load({absl::StrCat(kAllowAll,
                     "rules: [{id: r, when: 'call.name == "
                     "\"send\"', action: kill_store}]\n")});
  EXPECT_EQ(Send("x"), kRefuse);
  EXPECT_EQ(Tick(), kRefuse);
  EXPECT_THAT(sink_.lines, ElementsAre("kill_store r"));
}

TEST_F(ConditionsTest, Point16AllPoliciesJudge) {
  Load({absl::StrCat(kAllowAll,
                     "rules: [{id: a, when: 'call.name == \"send\" "
                     "&& args.len > 1', action: deny}]\n"),
        absl::StrCat(kAllowAll,
                     "rules: [{id: b, when: 'call.name == \"send\" "
                     "&& args.len > 1', action: trap}]\n")});
  EXPECT_EQ(Send("x"), kProceed);
  EXPECT_EQ(Send("xx"), kRefuse);
  EXPECT_THAT(sink_.lines, ElementsAre("trap b"));
}

TEST_F(ConditionsTest, Point17TheLowestModeWins) {
  const std::string rule =
      "rules: [{id: r, when: 'call.name == \"send\"', action: trap";
  for (const std::string& tail :
       {std::string(", mode: audit}]\n"),
        std::string("}]\ndefaults: {mode: audit}\n"), std::string("}]\n")}) {
    Load({absl::StrCat(kAllowAll, rule, tail)},
         tail == "}]\n" ? Mode::kAudit : Mode::kEnforce);
    EXPECT_EQ(Send("x"), kProceed) << tail;
    EXPECT_EQ(sink_.would_be, Verdict::kTrap) << tail;
  }
}

TEST_F(ConditionsTest, Point20ExceptionsEndWithTheirLastDay) {
  g_wall = absl::FromCivil(absl::CivilSecond(2099, 1, 31, 23, 59, 59),
                           absl::UTCTimeZone());
  Load({absl::StrCat(
      kAllowAll,
      "rules: [{id: r, when: 'call.name == \"send\"', action: deny}]\n"
      "exceptions:\n- rule: r\n  name: e\n  fields: [tenant, args.text, "
      "args.len]\n  comps: ['==', in, '==']\n  values: [{v: [acme, \"ab, cd\", "
      "'2']}]\n  reason: because\n  expires: \"2099-01-31\"\n")});
  EXPECT_EQ(Send("ab"), kProceed);
  EXPECT_EQ(Send("cd"), kProceed);
  EXPECT_EQ(Send("ef"), kAnswer);
  g_wall += absl::Seconds(1);
  EXPECT_EQ(Send("ab"), kAnswer);
}

// Values are written as text, whatever their fact's type is.
TEST_F(ConditionsTest, Point20ExceptionsCompareFactsOfEveryType) {
  g_wall = absl::UnixEpoch();
  const auto excepted = [this](const std::string& type,
                               const std::string& value) {
    Load({absl::StrCat(
        "imports:\n- {import: net.send, action: allow, args: [{name: a, index: "
        "0, type: ",
        type,
        "}]}\nrules: [{id: r, when: 'call.name == \"send\"', action: deny}]\n"
        "exceptions: [{rule: r, fields: [args.a], comps: [in], values: [{v: "
        "[\"",
        value, "\"]}], reason: x, expires: \"2027-01-31\"}]\n")});
    return Send("hi") == kProceed && sink_.faults.empty();
  };
  EXPECT_TRUE(excepted("u32", "15,16"));
  EXPECT_FALSE(excepted("u32", "15,17"));
  EXPECT_TRUE(excepted("handle", "16"));
  EXPECT_TRUE(excepted("bytes, len_index: 1", "ho,hi"));
  EXPECT_FALSE(excepted("bytes, len_index: 1", "ho,h"));
  EXPECT_TRUE(excepted("string, len_index: 1", "hi"));
}

TEST_F(ConditionsTest, Point20AnExpiredExceptionIsAWarning) {
  const CompileResult result = CompileText(
      "rules: [{id: r, when: 'true', action: deny}]\n"
      "exceptions: [{rule: r, fields: [tenant], comps: ['=='], values: [{v: "
      "[acme]}], reason: because, expires: \"2020-01-31\"}]\n");
  EXPECT_TRUE(result.ok()) << Problems(result.problems);
  EXPECT_THAT(Problems(result.warnings), HasSubstr("is over"));
}

TEST_F(ConditionsTest, AddressesHaveParts) {
  Load({absl::StrCat(
      kAllowAll,
      "lists: [{name: inner, kind: cidr, items: ['10.0.0.0/8', '::1']}]\n"
      "rules: [{id: r, when: 'call.name == \"send\" && has(args.addr.ip) && "
      "args.addr.ip in list(\"inner\") && args.addr.port == 443 && "
      "size(args.addr.host) > 1', action: deny}]\n")});
  EXPECT_EQ(Send("10.1.2.3:443"), kAnswer);
  EXPECT_EQ(Send("[::1]:443"), kAnswer);
  EXPECT_EQ(Send("10.1.2.3:80"), kProceed);
  EXPECT_EQ(Send("11.1.2.3:443"), kProceed);
  EXPECT_EQ(Send("api.example:443"), kProceed);
  EXPECT_THAT(sink_.failures, IsEmpty());
}

// IPv6 without brackets is an address, and not a host ":" that no rule about
// networks sees.
TEST_F(ConditionsTest, AddressesWithoutBracketsHaveParts) {
  Load({absl::StrCat(
      kAllowAll,
      "lists: [{name: inner, kind: cidr, items: ['fe80::/16', '::1']}]\n"
      "rules: [{id: r, when: 'call.name == \"send\" && has(args.addr.ip) && "
      "args.addr.ip in list(\"inner\")', action: deny, message: "
      "'${args.addr.host} ${has(args.addr.port)}'}]\n")});
  EXPECT_EQ(Send("::1"), kAnswer);
  EXPECT_EQ(sink_.message, "\"::1\" false");
  EXPECT_EQ(Send("fe80::1:443"), kAnswer);
  EXPECT_EQ(sink_.message, "\"fe80::1\" true");
  EXPECT_EQ(Send("::2"), kProceed);
  EXPECT_EQ(Send("a::1"), kProceed);
  EXPECT_EQ(Send("10.1.2.3"), kProceed);
}

TEST_F(ConditionsTest, JudgingAllocatesNothing) {
  Load({absl::StrCat(
      kAllowAll,
      "lists: [{name: t, kind: exact, items: ['a*b', other]}]\n"
      "rules:\n- {id: a, when: 'call.name == \"send\" && args.len > 9 && "
      "args.len < 11', action: trap}\n"
      "- {id: b, when: 'tenant in list(\"t\")', action: trap}\n"
      "- {id: c, when: 'call.name == \"send\" && store.calls < 0', action: "
      "deny}\n")});
  FakeCall call(Transition::kCallingHost, *send_,
                {RawValue::I32(16), RawValue::I32(3)});
  call.WithMemory(&memory_);
  hook_->OnTransition(call);
  const uint64_t before = AllocationCount();
  for (int i = 0; i < 1000; ++i) {
    ASSERT_EQ(hook_->OnTransition(call), kProceed);
  }
  EXPECT_EQ(AllocationCount(), before);
}

}  // namespace
}  // namespace callgate::policy
