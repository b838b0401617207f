#include "policy/compiler/policy_file_fuzz.h"

#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/string_view.h"
#include "policy/compiler/policy_compiler.h"
#include "policy/file/policy_file.h"
#include "policy/hook/fake_call.h"
#include "policy/hook/policy_hook.h"
#include "runtime/check.h"

namespace callgate::policy {
namespace {

// Holds what it is told to what may be told.
class WarySink final : public DecisionSink {
 public:
  void OnDecision(const DecisionRecord& decision) override {
    CALLGATE_CHECK(!decision.matches.empty(), "a decision has a reason");
    CALLGATE_CHECK(decision.would_be_verdict >= decision.verdict,
                   "audit adds and takes nothing away");
    CALLGATE_CHECK(decision.delay >= absl::ZeroDuration() &&
                       (decision.verdict == Verdict::kThrottle) ==
                           (decision.delay > absl::ZeroDuration()),
                   "a throttled call waits, and no other does");
    CheckLine(decision.message);
    for (const RuleMatch& match : decision.matches) CheckLine(match.message);
  }
  void OnEngineFault(const StoreFacts&, absl::string_view message) override {
    // Of an import that a policy's conditions or arguments do not fit.
    CheckLine(message);
    ++faults;
  }
  void OnConditionFailed(const StoreFacts&, absl::string_view,
                         absl::string_view rule,
                         absl::string_view why) override {
    CALLGATE_CHECK(!rule.empty() && !why.empty(), "it says what and why");
  }

  static void CheckLine(absl::string_view message) {
    for (const char c : message) {
      CALLGATE_CHECK(c == '\n' || static_cast<unsigned char>(c) >= 0x20,
                     "what is shown is escaped");
    }
  }

  int faults = 0;
};

class SomeNames final : public HandleNames {
 public:
  std::optional<absl::string_view> PathOf(const FunctionIdentity&,
                                          uint64_t handle) override {
    switch (handle % 4) {
      case 0:
        return "/config";
      case 1:
        return "/scratch/a/../..";
      case 2:
        return "";
      default:
        return std::nullopt;
    }
  }
  void RefuseLinks(const FunctionIdentity&) override {}
};

void CheckProblems(const std::vector<Problem>& problems) {
  CALLGATE_CHECK(problems.size() <= kProblemsMax, "problems are bounded");
  for (const Problem& problem : problems) {
    CALLGATE_CHECK(!problem.message.empty(), "a problem says what it is");
    CALLGATE_CHECK(problem.line >= 0 && problem.column >= 0,
                   "places are counted from 1");
    for (const char c : problem.message) {
      CALLGATE_CHECK(c == '\n' || static_cast<unsigned char>(c) >= 0x20,
                     "what is shown is escaped");
    }
  }
}

void CheckPolicy(const std::shared_ptr<const Policy>& policy) {
  WarySink sink;
  PolicyHook hook(
      {policy}, {"s", "t", "", ""}, [] { return absl::UnixEpoch(); }, sink);
  const FuncType type;
  FunctionIdentity stranger;
  // Longer than any name that the mutations come up with.
  stranger.module = "a module that nobody names";
  stranger.name = "a function that nobody names";
  stranger.type = &type;
  stranger.binding = 0;
  hook.OnLink(stranger);
  FakeCall call(Transition::kCallingHost, stranger);
  const bool open = policy->mode() == Mode::kAudit ||
                    !StopsCall(policy->unlisted_import().verdict);
  const bool over_budget =
      policy->mode() == Mode::kEnforce &&
      policy->budgets()[Budget::kHostCallsPerCall] == uint64_t{0};
  const bool proceeds = hook.OnTransition(call) == Disposition::kProceed;
  // Conditions may forbid even what is open, or not fit the stranger.
  const bool faulty = policy->mode() == Mode::kEnforce && sink.faults > 0;
  CALLGATE_CHECK(!proceeds || (open && !over_budget && !faulty),
                 "a policy denies what it does not name");
}

// A host as policies' authors think of it. The names are those of the seeds.
struct HostRow {
  const char* module;
  const char* name;
  FuncType type;
  HostFunctionSpec spec;
};

const std::vector<HostRow>& Host() {
  constexpr ValType kI32 = ValType::kI32;
  constexpr ValType kI64 = ValType::kI64;
  static const auto* const host = new std::vector<HostRow>({
      {"net",
       "send",
       {{kI32, kI32, kI32, kI32, kI32}, {kI32}},
       {{{"sock", 0, ArgKind::kHandle},
         {"data", 1, ArgKind::kBytes, 2, kNoIndex, 1000}},
        true}},
      {"net",
       "connect",
       {{kI32, kI32}, {kI32}},
       {{{"addr", 0, ArgKind::kSockaddr, 1, kNoIndex, 128}}, true}},
      {"net", "recv", {{kI64, kI64}, {}}, {{}, false}},
      {"a",
       "b",
       {{kI32, ValType::kF64}, {}},
       {{{"x", 0, ArgKind::kS32}, {"y", 1, ArgKind::kF64}}, false}},
      {"wasi_snapshot_preview1",
       "random_get",
       {{kI32, kI32}, {kI32}},
       {{{"buf", 0, ArgKind::kBytesOut, 1, kNoIndex, 1 << 20},
         {"len", 1, ArgKind::kU32}},
        true}},
      {"wasi_snapshot_preview1",
       "path_open",
       {{kI32, kI32, kI32, kI32, kI64, kI32}, {kI32}},
       {{{"fd", 0, ArgKind::kHandle},
         {"path", 2, ArgKind::kPath, 3, 0, 4096},
         {"rights", 4, ArgKind::kU64},
         {"oflags", 5, ArgKind::kU32}},
        true}},
      {"wasi_snapshot_preview1",
       "fd_write",
       {{kI32, kI32, kI32, kI32}, {kI32}},
       {{{"fd", 0, ArgKind::kHandle},
         {"iovs", 1, ArgKind::kIovecIn, 2, kNoIndex, 1 << 16}},
        true}},
  });
  return *host;
}

// What a row of calls came to.
std::vector<Disposition> Judge(const std::shared_ptr<const Policy>& policy,
                               absl::string_view choices) {
  WarySink sink;
  SomeNames names;
  absl::Time now = absl::UnixEpoch();
  PolicyHook::Options options;
  options.handles = &names;
  options.wall_clock = [] { return absl::FromUnixSeconds(1'800'000'000); };
  PolicyHook hook(
      {policy}, {"s", "acme", "sha256:00", "m\x1b"}, [&now] { return now; },
      sink, options);
  std::deque<FunctionIdentity> functions;
  std::vector<TransitionSet> wanted;
  for (const HostRow& row : Host()) {
    FunctionIdentity& function = functions.emplace_back();
    function.module = row.module;
    function.name = row.name;
    function.type = &row.type;
    function.spec = &row.spec;
    function.binding = static_cast<uint32_t>(functions.size() - 1);
    wanted.push_back(hook.OnLink(function));
  }
  FunctionIdentity guest;
  guest.kind = FunctionIdentity::Kind::kGuestExport;
  FakeCall begin(Transition::kCallingWasm, guest);
  hook.OnTransition(begin);

  std::vector<uint8_t> memory(256);
  for (size_t i = 0; i < memory.size(); ++i) {
    memory[i] =
        choices.empty() ? 0 : static_cast<uint8_t>(choices[i % choices.size()]);
  }
  std::vector<Disposition> answers;
  constexpr size_t kCalls = 24;
  for (size_t i = 0; i < kCalls; ++i) {
    const auto choice = [&](size_t at) {
      return choices.empty()
                 ? uint8_t{0}
                 : static_cast<uint8_t>(choices[(i * 7 + at) % choices.size()]);
    };
    const FunctionIdentity& function = functions[i % functions.size()];
    std::vector<RawValue> args;
    for (size_t a = 0; a < function.type->params.size(); ++a) {
      // Mostly inside of the memory.
      const uint8_t byte = choice(a);
      const uint32_t number = byte % 8 == 7 ? ~uint32_t{0} - byte : byte % 128;
      args.push_back(function.type->params[a] == ValType::kI64
                         ? RawValue::I64(number)
                         : RawValue::I32(number));
    }
    FakeCall call(Transition::kCallingHost, function, args);
    call.WithMemory(&memory);
    answers.push_back(hook.OnTransition(call));
    CALLGATE_CHECK(
        answers.back() != Disposition::kRefuse || call.error() != nullptr,
        "a refusal says why");
    now += absl::Milliseconds(choice(9));
    if (answers.back() == Disposition::kRefuse ||
        !wanted[i % functions.size()].Contains(
            Transition::kReturningFromHost)) {
      continue;
    }
    FakeCall leave(Transition::kReturningFromHost, function, args);
    leave.WithMemory(&memory);
    const bool answered = answers.back() == Disposition::kAnswer;
    const bool fails = !answered && choice(10) % 8 == 0;
    std::vector<RawValue> results;
    if (!function.type->results.empty() && !fails) {
      results.push_back(answered ? call.answer()[0]
                                 : RawValue::I32(choice(11) % 4));
    }
    leave.WithResults(results, answered ? Ending::kAnswered
                               : fails  ? Ending::kTrap
                                        : Ending::kValue);
    answers.push_back(hook.OnTransition(leave));
    CALLGATE_CHECK(answers.back() != Disposition::kAnswer &&
                       answers.back() != Disposition::kDelay,
                   "what has happened is not answered");
  }
  const PolicyHook::Counts counts = hook.DrainCounts();
  uint64_t counted = counts.refused_after_end;
  for (const PolicyHook::ImportCount& one : counts.imports) {
    counted += one.allowed + one.allowed_with_record + one.stopped;
  }
  CALLGATE_CHECK(counted == kCalls, "every call is counted once");
  CALLGATE_CHECK((counts.engine_faults > 0) == (sink.faults > 0),
                 "a fault is told");
  return answers;
}

}  // namespace
}  // namespace callgate::policy

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace callgate::policy;  // NOLINT: this is a function of C
  if (size == 0) return 0;
  // The first bit chooses the encoding.
  // SAFETY: bytes may be looked at as characters.
  const absl::string_view text(reinterpret_cast<const char*>(data) + 1,
                               size - 1);
  const LoadResult loaded = (data[0] & 1) != 0 ? LoadPolicyTextproto(text, "f")
                                               : LoadPolicyYaml(text, "f");
  CheckProblems(loaded.problems);
  CALLGATE_CHECK(loaded.ok() == loaded.problems.empty(),
                 "a file or problems, not both");
  if (!loaded.ok()) return 0;
  const CompileResult compiled = CompilePolicy(*loaded.file);
  CheckProblems(compiled.problems);
  CheckProblems(compiled.warnings);
  CALLGATE_CHECK(compiled.ok() == compiled.problems.empty(),
                 "a policy or problems, not both");
  if (!compiled.ok()) return 0;
  CheckPolicy(compiled.policy);
  CALLGATE_CHECK(Judge(compiled.policy, text) == Judge(compiled.policy, text),
                 "the same calls come to the same");
  return 0;
}
