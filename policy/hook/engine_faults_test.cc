// Fail closed: whatever goes wrong inside the engine while it judges a call,
// the call does not happen, it is counted, and it is told once. Every place
// that can report such a fault has a case here, and a place without one is
// found.

#include <array>
#include <cstdlib>
#include <deque>
#include <filesystem>
#include <fstream>
#include <functional>
#include <limits>
#include <memory>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "policy/compiler/policy_compiler.h"
#include "policy/hook/engine_fault.h"
#include "policy/hook/fake_call.h"
#include "policy/hook/policy_hook.h"

namespace callgate::policy {
namespace {

using testing::IsEmpty;

class FaultSink final : public DecisionSink {
 public:
  void OnDecision(const DecisionRecord& d) override {
    ++decisions;
    rule = std::string(d.rule);
    verdict = d.verdict;
    would_be = d.would_be_verdict;
    severity = d.severity;
  }
  void OnEngineFault(const StoreFacts& store,
                     absl::string_view message) override {
    EXPECT_EQ(store.store_id, "s1");
    faults.emplace_back(message);
  }
  void OnConditionFailed(const StoreFacts&, absl::string_view,
                         absl::string_view, absl::string_view why) override {
    failures.emplace_back(why);
  }

  int decisions = 0;
  std::string rule;
  Verdict verdict = Verdict::kAllow;
  Verdict would_be = Verdict::kAllow;
  Severity severity = Severity::kDebug;
  std::vector<std::string> faults, failures;
};

// Gives no names, one that is too long, or none that can be true.
class BrokenNames final : public HandleNames {
 public:
  std::optional<absl::string_view> PathOf(const FunctionIdentity&,
                                          uint64_t) override {
    return path;
  }
  void RefuseLinks(const FunctionIdentity&) override {}
  std::optional<absl::string_view> path;
};

const FuncType kSendType = {{ValType::kI32, ValType::kI32}, {ValType::kI32}};
const HostFunctionSpec kSendSpec = {
    {{"data", 0, ArgKind::kBytes, 1, kNoIndex, 1000}}, true};
// Cannot answer an errno.
const FuncType kTickType = {{ValType::kI32, ValType::kI32}, {}};
const HostFunctionSpec kTickSpec = {
    {{"data", 0, ArgKind::kBytes, 1, kNoIndex, 1000}}, false};

// One way to a fault: what the policy says of net.send and env.tick, and what
// is wrong with a call of either.
struct FaultRow {
  std::string name;
  EngineFault fault;
  // The place in the sources that it takes, where a fault has several.
  std::string place;
  std::string policy;
  bool linked = true;
  std::function<void(FakeCall&)> breaks = nullptr;
};

// `%` is "net.send" and "env.tick" in turn.
std::string ForBoth(const std::string& entry) {
  std::string both;
  for (const char* name : {"net.send", "env.tick"}) {
    for (const char c : entry) {
      c == '%' ? both.append(name) : both.append(1, c);
    }
  }
  return both;
}

void CannotCopy(FakeCall& call) {
  call.WithCaptureError(absl::InternalError("the memory is gone"));
}

const std::vector<FaultRow>& Rows() {
  static const auto* const rows = new std::vector<FaultRow>({
      {"not_linked", EngineFault::kFunctionNotLinked, "EnterHost",
       "imports: [" + ForBoth("{import: %, action: allow},") + "]\n", false},
      {"argument_that_is_not_there", EngineFault::kImportNotJudged,
       "JudgeHostCall",
       "imports: [" +
           ForBoth("{import: %, action: allow, args: [{name: x, index: 9, "
                   "type: u32}]},") +
           "]\n"},
      {"argument_of_another_type", EngineFault::kImportNotJudged,
       "JudgeHostCall",
       "imports: [" +
           ForBoth("{import: %, action: allow, args: [{name: x, index: 0, "
                   "type: u64}]},") +
           "]\n"},
      {"condition_on_what_is_not_there", EngineFault::kImportNotJudged,
       "JudgeHostCall",
       "imports: [" + ForBoth("{import: %, action: allow},") +
           "]\nrules: [{id: r, when: 'args.x == 1', action: log}]\n"},
      {"rule_that_does_not_fit", EngineFault::kImportNotJudged, "JudgeHostCall",
       "imports: [" + ForBoth("{import: %, action: allow},") +
           "]\nrules: [{id: r, when: 'args.data == 1', action: log}]\n"},
      {"priced_argument_is_not_copied", EngineFault::kCallNotPaid, "Charge",
       "imports: [" +
           ForBoth("{import: %, action: allow, args: [{name: v, index: 0, "
                   "type: iovec_in, len_index: 1}]},") +
           "]\nbudgets: {host_call_price: [{import: '*', per_byte: 1}]}\n",
       true, CannotCopy},
      {"listed_argument_is_not_copied", EngineFault::kArgumentNotCopied,
       "AddArguments",
       "imports: [" +
           ForBoth("{import: %, action: allow, args: [{name: data}]},") + "]\n",
       true, CannotCopy},
      {"judged_argument_is_not_copied", EngineFault::kArgumentNotCopied,
       "AddJudged",
       "imports: [" + ForBoth("{import: %, action: allow},") +
           "]\nrules: [{id: r, when: 'size(args.data) > 99', action: log}]\n",
       true, CannotCopy},
  });
  return *rows;
}

struct Harness {
  Harness(const FaultRow& row, const std::string& defaults,
          Mode cap = Mode::kEnforce) {
    CompileResult compiled = CompilePolicyText(
        absl::StrCat("api_version: callgate.policy/v1\nkind: Policy\n"
                     "metadata: {name: web}\ndefaults: {",
                     defaults, "}\n", row.policy),
        "web.yaml");
    for (const Problem& p : compiled.problems) ADD_FAILURE() << p.ToString();
    PolicyHook::Options options;
    options.mode_cap = cap;
    hook = std::make_unique<PolicyHook>(
        std::vector<std::shared_ptr<const Policy>>{compiled.policy},
        StoreFacts{"s1", "acme", "sha256:00", "guest"},
        [] { return absl::UnixEpoch(); }, sink, options);
    Add("net", "send", kSendType, kSendSpec, row.linked);
    Add("env", "tick", kTickType, kTickSpec, row.linked);
    guest.kind = FunctionIdentity::Kind::kGuestExport;
    FakeCall begin(Transition::kCallingWasm, guest);
    hook->OnTransition(begin);
  }

  void Add(absl::string_view module, absl::string_view name,
           const FuncType& type, const HostFunctionSpec& spec, bool linked) {
    FunctionIdentity& f = functions.emplace_back();
    f.module = module;
    f.name = name;
    f.type = &type;
    f.spec = &spec;
    f.binding = static_cast<uint32_t>(functions.size() - 1);
    if (linked) hook->OnLink(f);
  }

  Disposition Call(const FaultRow& row, size_t function) {
    std::vector<uint8_t> memory(64);
    FakeCall call(Transition::kCallingHost, functions[function],
                  {RawValue::I32(0), RawValue::I32(8)});
    call.WithMemory(&memory);
    if (row.breaks) row.breaks(call);
    const Disposition d = hook->OnTransition(call);
    answer = call.answer();
    error = call.error();
    return d;
  }

  FaultSink sink;
  std::unique_ptr<PolicyHook> hook;
  std::deque<FunctionIdentity> functions;
  FunctionIdentity guest;
  std::vector<RawValue> answer;
  ErrorRef error;
};

constexpr size_t kSend = 0;
constexpr size_t kTick = 1;

class EngineFaults : public testing::TestWithParam<FaultRow> {};

TEST_P(EngineFaults, StopTheCallAreCountedAndToldOnce) {
  const FaultRow& row = GetParam();
  const struct {
    const char* action;
    Verdict verdict;
  } kActions[] = {
      {"", Verdict::kTrap},
      {"on_engine_error: deny", Verdict::kDeny},
      {"on_engine_error: trap", Verdict::kTrap},
      {"on_engine_error: kill_store", Verdict::kKillStore},
      {"on_engine_error: quarantine_module", Verdict::kQuarantineModule}};
  for (const auto& action : kActions) {
    for (const size_t function : {kSend, kTick}) {
      SCOPED_TRACE(absl::StrCat(action.action, " of function ", function));
      Harness h(row, action.action);
      // A function that cannot answer an errno traps instead, and so does one
      // of which nothing is known.
      const bool answers =
          action.verdict == Verdict::kDeny && function == kSend && row.linked;
      const Verdict verdict = action.verdict == Verdict::kDeny && !answers
                                  ? Verdict::kTrap
                                  : action.verdict;
      const bool ends = EndsStore(verdict);
      for (int i = 0; i < 3; ++i) {
        const Disposition d = h.Call(row, function);
        EXPECT_EQ(d, answers ? Disposition::kAnswer : Disposition::kRefuse);
        EXPECT_EQ(h.error != nullptr, !answers);
      }
      EXPECT_EQ(h.sink.verdict, verdict);
      EXPECT_EQ(h.sink.rule, "default:on_engine_error");
      EXPECT_EQ(h.sink.severity, Severity::kCritical);
      EXPECT_EQ(h.hook->latched() != nullptr, ends);
      // After the end of the Store nothing is judged any more.
      EXPECT_EQ(h.sink.decisions, ends ? 1 : 3);
      ASSERT_EQ(h.sink.faults.size(), 1u);
      EXPECT_TRUE(
          absl::StartsWith(h.sink.faults[0], "fault of the policy engine: "));
      const PolicyHook::Counts counts = h.hook->DrainCounts();
      EXPECT_EQ(counts.engine_faults, ends ? 1u : 3u);
      EXPECT_EQ(counts.refused_after_end, ends ? 2u : 0u);
      if (row.linked) {
        ASSERT_EQ(counts.imports.size(), 1u);
        EXPECT_EQ(counts.imports[0].allowed, 0u);
        EXPECT_EQ(counts.imports[0].allowed_with_record, 0u);
        EXPECT_EQ(counts.imports[0].stopped, ends ? 1u : 3u);
      }
    }
  }
}

TEST_P(EngineFaults, UnderAuditAreToldAndChangeNothing) {
  const FaultRow& row = GetParam();
  Harness h(row, "", Mode::kAudit);
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(h.Call(row, kSend), Disposition::kProceed);
  }
  EXPECT_EQ(h.sink.would_be, Verdict::kTrap);
  EXPECT_EQ(h.sink.decisions, 3);
  EXPECT_EQ(h.sink.faults.size(), 1u);
  EXPECT_EQ(h.hook->DrainCounts().engine_faults, 3u);
}

INSTANTIATE_TEST_SUITE_P(Rows, EngineFaults, testing::ValuesIn(Rows()),
                         [](const auto& row) { return row.param.name; });

// What is done about one fault does not hide another kind.
TEST(EngineFaultsTest, AreToldOncePerKind) {
  FaultRow row = Rows().back();
  Harness h(row, "on_engine_error: deny");
  FunctionIdentity stranger = h.functions[0];
  stranger.binding = 99;
  h.functions.push_back(stranger);
  for (int i = 0; i < 2; ++i) {
    EXPECT_EQ(h.Call(row, kSend), Disposition::kAnswer);
    EXPECT_EQ(h.Call(row, 2), Disposition::kRefuse);
  }
  EXPECT_EQ(h.sink.faults.size(), 2u);
  EXPECT_EQ(h.hook->DrainCounts().engine_faults, 4u);
}

// Of functions of the guest's own: nobody can answer an errno for one, so a
// denial is a trap. Of growths all is known when the policy is loaded.
TEST(InnerEventFaults, StopTheGuestAreCountedAndToldOnce) {
  const struct {
    const char* action;
    Verdict verdict;
  } kActions[] = {{"", Verdict::kTrap},
                  {"on_engine_error: deny", Verdict::kTrap},
                  {"on_engine_error: kill_store", Verdict::kKillStore}};
  FaultRow row;
  row.policy =
      "rules: [{id: f, event: function, function: '*', action: log, when: "
      "'args.p3 == 1'}]\n";
  for (const auto& action : kActions) {
    SCOPED_TRACE(action.action);
    Harness h(row, action.action);
    const bool ends = EndsStore(action.verdict);
    const FuncType type{{ValType::kI32}, {}};
    ProbedFunction function;
    function.type = &type;
    const std::vector<RawValue> args = {RawValue::I32(1)};
    const auto caller = [] { return CallerFrame(); };
    for (int i = 0; i < 3; ++i) {
      EXPECT_NE(
          h.hook
              ->OnFunctionEnter(FunctionEntry{function, args, 1, caller, 0, 0})
              .error,
          nullptr);
    }
    EXPECT_EQ(h.sink.verdict, action.verdict);
    EXPECT_EQ(h.sink.decisions, ends ? 1 : 3);
    EXPECT_EQ(h.sink.faults.size(), 1u);
    EXPECT_EQ(h.hook->DrainCounts().engine_faults, ends ? 1u : 3u);
  }
}

// --- No place without a case -------------------------------------------------

// The name of the function that the text at `at` stands in: the last
// "PolicyHook::Name(" at the beginning of a line's definition before it.
std::string FunctionAround(const std::string& source, size_t at) {
  const std::string scope = "PolicyHook::";
  size_t found = source.rfind(scope, at);
  while (found != std::string::npos) {
    const size_t line = source.rfind('\n', found) + 1;
    const size_t name = found + scope.size();
    const size_t end = source.find_first_not_of(
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz", name);
    // A definition begins at the line's first column.
    if (source[line] != ' ' && source[line] != '/' && source[end] == '(') {
      return source.substr(name, end - name);
    }
    if (found == 0) break;
    found = source.rfind(scope, found - 1);
  }
  return "";
}

TEST(EngineFaultsTest, EveryPlaceThatReportsOneHasACase) {
  std::vector<std::pair<EngineFault, std::string>> cases;
  std::array<int, kEngineFaults> of_fault{};
  for (const FaultRow& row : Rows()) {
    cases.emplace_back(row.fault, row.place);
    ++of_fault[static_cast<size_t>(row.fault)];
  }
  // InnerEventFaults.
  cases.emplace_back(EngineFault::kEventNotJudged, "AddInner");
  ++of_fault[static_cast<size_t>(EngineFault::kEventNotJudged)];
  for (size_t i = 0; i < kEngineFaults; ++i) {
    EXPECT_GT(of_fault[i], 0) << "the fault numbered " << i << " has no case";
  }

  const std::vector<std::pair<std::string, EngineFault>> names = {
      {"kFunctionNotLinked", EngineFault::kFunctionNotLinked},
      {"kImportNotJudged", EngineFault::kImportNotJudged},
      {"kArgumentNotCopied", EngineFault::kArgumentNotCopied},
      {"kCallNotPaid", EngineFault::kCallNotPaid},
      {"kEventNotJudged", EngineFault::kEventNotJudged},
  };
  ASSERT_EQ(names.size(), kEngineFaults) << "name the new fault here";
  const std::string kUse = "EngineFault::";
  size_t places = 0;
  std::vector<std::string> without_case;
  for (const auto& file : std::filesystem::directory_iterator("policy/hook")) {
    const std::string path = file.path();
    if (file.path().extension() != ".cc" || absl::EndsWith(path, "_test.cc")) {
      continue;
    }
    std::stringstream text;
    text << std::ifstream(path).rdbuf();
    const std::string source = text.str();
    for (size_t at = source.find(kUse); at != std::string::npos;
         at = source.find(kUse, at + 1)) {
      ++places;
      const std::string function = FunctionAround(source, at);
      bool has_case = false;
      for (const auto& [name, fault] : names) {
        if (source.compare(at + kUse.size(), name.size(), name) != 0) continue;
        for (const auto& one : cases) {
          has_case = has_case || (one.first == fault && one.second == function);
        }
      }
      if (!has_case) {
        without_case.push_back(
            absl::StrCat(path, ": ", function, ": ", source.substr(at, 40)));
      }
    }
  }
  EXPECT_GE(places, kEngineFaults);
  EXPECT_THAT(without_case, IsEmpty());
}

// --- What is no fault of ours, and fails closed all the same -----------------

struct UnsureRow {
  std::string name;
  std::string restriction;  // of net.send
  bool fails = true;        // and is told
};

class UnsureConditions : public testing::TestWithParam<UnsureRow> {};

// A restriction that cannot be evaluated counts as true, a permission as false,
// every time; each is told once.
TEST_P(UnsureConditions, RestrictAndDoNotAllow) {
  const UnsureRow& row = GetParam();
  for (const bool restricts : {true, false}) {
    FaultRow policy;
    policy.policy = restricts
                        ? absl::StrCat(
                              "imports: [{import: net.send, action: allow}]"
                              "\nrules: [{id: r, action: deny, when: '",
                              row.restriction, "'}]\n")
                        : absl::StrCat(
                              "imports: [{import: net.send, action: allow, "
                              "when: '",
                              row.restriction, "'}]\n");
    policy.linked = true;
    Harness h(policy, "");
    for (int i = 0; i < 3; ++i) {
      EXPECT_EQ(h.Call(policy, kSend), Disposition::kAnswer) << restricts;
    }
    EXPECT_EQ(h.sink.failures.size(), 1u);
    EXPECT_THAT(h.sink.faults, IsEmpty());
    const PolicyHook::Counts counts = h.hook->DrainCounts();
    EXPECT_EQ(counts.conditions_failed, 3u);
    ASSERT_EQ(counts.imports.size(), 1u);
    EXPECT_EQ(counts.imports[0].stopped, 3u);
  }
}

INSTANTIATE_TEST_SUITE_P(Rows, UnsureConditions,
                         testing::ValuesIn(std::vector<UnsureRow>({
                             {"overflow", "call.seq + 9223372036854775807 > 0"},
                             {"division", "1 / (call.seq - call.seq) == 0"},
                             {"remainder", "1 % (call.seq - call.seq) == 0"},
                             {"index", "[1, 2][call.seq + 5] == 1"},
                         })),
                         [](const auto& row) { return row.param.name; });

TEST(FailClosedTest, AHandleThatNobodyCanPlaceIsInEveryRestrictedPlace) {
  static const FuncType kOpenType = {
      {ValType::kI32, ValType::kI32, ValType::kI32}, {ValType::kI32}};
  static const HostFunctionSpec kOpenSpec = {
      {{"fd", 0, ArgKind::kHandle}, {"path", 1, ArgKind::kPath, 2, 0}}, true};
  CompileResult compiled = CompilePolicyText(
      "api_version: callgate.policy/v1\nkind: Policy\nmetadata: {name: web}\n"
      "imports: [{import: fs.open, action: allow}]\n"
      "rules: [{id: r, action: deny, when: "
      "'args.path.startsWith(\"/secret\")'}]\n",
      "web.yaml");
  ASSERT_TRUE(compiled.ok());
  const std::string too_long(2 * kPathFactBytesMax, 'x');
  const std::optional<absl::string_view> kPaths[] = {std::nullopt, too_long};
  for (const bool has_names : {false, true}) {
    for (const auto& path : kPaths) {
      FaultSink sink;
      BrokenNames names;
      names.path = path;
      PolicyHook::Options options;
      if (has_names) options.handles = &names;
      PolicyHook hook(
          {compiled.policy}, {"s1", "acme", "", ""},
          [] { return absl::UnixEpoch(); }, sink, options);
      FunctionIdentity open;
      open.module = "fs";
      open.name = "open";
      open.type = &kOpenType;
      open.spec = &kOpenSpec;
      open.binding = 0;
      hook.OnLink(open);
      std::vector<uint8_t> memory(8, 'a');
      FakeCall call(Transition::kCallingHost, open,
                    {RawValue::I32(3), RawValue::I32(0), RawValue::I32(4)});
      call.WithMemory(&memory);
      EXPECT_EQ(hook.OnTransition(call), Disposition::kAnswer);
      EXPECT_EQ(sink.failures.size(), 1u);
    }
  }
}

// However often a clock that runs back and forth passes the same hour.
TEST(FailClosedTest, AClockThatIsWrongFillsNoBucketTwice) {
  CompileResult compiled = CompilePolicyText(
      "api_version: callgate.policy/v1\nkind: Policy\nmetadata: {name: web}\n"
      "imports: [{import: net.send, action: allow}]\n"
      "rate_limits: [{import: net.send, refill_per_second: 1, burst: 2, "
      "action: deny}]\n",
      "web.yaml");
  ASSERT_TRUE(compiled.ok()) << compiled.problems.front().ToString();
  const std::vector<absl::Time> kReadings[] = {
      {absl::UnixEpoch()},
      {absl::UnixEpoch(), absl::UnixEpoch() - absl::Hours(1)},
      {absl::UnixEpoch(), absl::InfinitePast()},
      {absl::InfinitePast()},
  };
  for (const std::vector<absl::Time>& readings : kReadings) {
    FaultSink sink;
    size_t at = 0;
    PolicyHook hook(
        {compiled.policy}, {"s1", "acme", "", ""},
        [&] { return readings[at++ % readings.size()]; }, sink);
    FunctionIdentity send;
    send.module = "net";
    send.name = "send";
    send.type = &kSendType;
    send.spec = &kSendSpec;
    send.binding = 0;
    hook.OnLink(send);
    int proceeded = 0;
    for (int i = 0; i < 20; ++i) {
      FakeCall call(Transition::kCallingHost, send,
                    {RawValue::I32(0), RawValue::I32(0)});
      if (hook.OnTransition(call) == Disposition::kProceed) ++proceeded;
    }
    // The latest reading that there has been counts, so there is one refill.
    EXPECT_GE(proceeded, 2);
    EXPECT_LE(proceeded, 4);
  }
}

}  // namespace
}  // namespace callgate::policy
