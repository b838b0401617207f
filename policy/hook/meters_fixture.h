// Stores under policies whose rules remember, with a clock that the test turns
// and hosts `net`, `vault` and a little of WASI, as the tests of such rules
// have them.

#ifndef CALLGATE_POLICY_HOOK_METERS_FIXTURE_H_
#define CALLGATE_POLICY_HOOK_METERS_FIXTURE_H_

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/time/time.h"
#include "gtest/gtest.h"
#include "policy/compiler/policy_compiler.h"
#include "policy/hook/fake_call.h"
#include "policy/hook/policy_hook.h"
#include "policy/state/rule_states.h"

namespace callgate::policy {

inline CompileResult CompileText(absl::string_view body,
                                 absl::string_view name = "p") {
  return CompilePolicyText(
      absl::StrCat("api_version: callgate.policy/v1\nkind: Policy\n"
                   "metadata: {name: ",
                   name, "}\n", body),
      "p.yaml");
}

inline std::string ProblemsOf(const CompileResult& result) {
  std::vector<std::string> lines;
  for (const Problem& p : result.problems) lines.push_back(p.ToString());
  return absl::StrJoin(lines, "\n");
}

inline std::shared_ptr<const Policy> CompileGood(absl::string_view body,
                                                 absl::string_view name = "p") {
  CompileResult result = CompileText(body, name);
  EXPECT_TRUE(result.ok()) << ProblemsOf(result);
  return result.policy;
}

constexpr char kImports[] = R"(imports:
  - { import: net.send, action: allow }
  - { import: net.connect, action: allow }
  - { import: net.resolve, action: allow }
  - { import: vault.exchange, action: allow }
  - { import: env.tick, action: allow }
  - { import: wasi_snapshot_preview1.path_open, action: allow }
)";

inline absl::Time& WallTime() {
  static absl::Time time;
  return time;
}
inline absl::Time ReadWallTime() { return WallTime(); }

struct MeteredStoreOptions {
  std::string tenant = "acme";
  std::string digest = "sha256:00";
  std::string id = "s1";
};

// One Store: its hook, its memory, its host functions and what was decided.
class MeteredStore final : public DecisionSink, public HandleNames {
 public:
  MeteredStore(std::vector<std::shared_ptr<const Policy>> policies,
               absl::Time* clock, RuleStates* states,
               MeteredStoreOptions store = {})
      : memory_(4096) {
    PolicyHook::Options options;
    options.handles = this;
    options.wall_clock = ReadWallTime;
    options.states = states;
    hook_ = std::make_unique<PolicyHook>(
        std::move(policies),
        StoreFacts{store.id, store.tenant, store.digest, "guest"},
        [clock] { return *clock; }, *this, options);
    const ValType i = ValType::kI32;
    // sock, data, len
    Link("net", "send", {i, i, i},
         {{"sock", 0, ArgKind::kHandle},
          {"data", 1, ArgKind::kBytes, 2, kNoIndex, 65536}});
    Link("net", "connect", {i, i},
         {{"addr", 0, ArgKind::kSockaddr, 1, kNoIndex, 128}});
    // host, len, addresses, len
    Link("net", "resolve", {i, i, i, i},
         {{"host", 0, ArgKind::kString, 1, kNoIndex, 255},
          {"addrs", 2, ArgKind::kAddrsOut, 3, kNoIndex, 1024}});
    Link("vault", "exchange", {}, {});
    Link("wasi_snapshot_preview1", "path_open", {i, i, i, ValType::kI64},
         {{"fd", 0, ArgKind::kHandle},
          {"path", 1, ArgKind::kPath, 2, 0},
          {"rights", 3, ArgKind::kS64}});
    FunctionIdentity& tick = functions_["env.tick"];
    tick.module = "env";
    tick.name = "tick";
    tick.type = &kTick;
    tick.spec = &kNoSpec;
    tick.binding = next_binding_++;
    wants_["env.tick"] = hook_->OnLink(tick);
    guest_.kind = FunctionIdentity::Kind::kGuestExport;
    Begin();
  }

  void Begin() {
    FakeCall begin(Transition::kCallingWasm, guest_);
    hook_->OnTransition(begin);
  }

  // What a call came to: "ok", "errno 76", "trap", and after its end again.
  struct Came {
    std::string to;
    absl::Duration delay;
  };

  // A host call from its beginning to its end. `body` runs if it is allowed to.
  Came Call(const std::string& import, std::vector<RawValue> args,
            uint32_t result = 0, const std::function<void()>& body = nullptr,
            Ending ending = Ending::kValue) {
    const FunctionIdentity& function = functions_.at(import);
    Came came;
    FakeCall enter(Transition::kCallingHost, function, args);
    enter.WithMemory(&memory_).WithDepth(2 + depth_);
    const Disposition before = hook_->OnTransition(enter);
    came.delay = enter.delay();
    if (before == Disposition::kRefuse) {
      came.to = "trap";
      return came;
    }
    const bool answered = before == Disposition::kAnswer;
    came.to = answered ? absl::StrCat("errno ", enter.answer()[0].u32())
              : result == 0 || function.type->results.empty()
                  ? "ok"
                  : absl::StrCat("failed ", result);
    if (!answered && body) {
      ++depth_;
      body();
      --depth_;
    }
    if (!tells_all &&
        !wants_[import].Contains(Transition::kReturningFromHost)) {
      return came;
    }
    FakeCall leave(Transition::kReturningFromHost, function, args);
    leave.WithMemory(&memory_).WithDepth(2 + depth_);
    std::vector<RawValue> results;
    if (!function.type->results.empty() && ending == Ending::kValue) {
      results.push_back(answered ? enter.answer()[0] : RawValue::I32(result));
    }
    leave.WithResults(results, answered ? Ending::kAnswered : ending);
    if (hook_->OnTransition(leave) == Disposition::kRefuse) {
      absl::StrAppend(&came.to, ", trap");
    }
    return came;
  }

  std::string Tick() { return Call("env.tick", {}).to; }
  std::string Open(const std::string& path, uint32_t result = 0,
                   int64_t rights = 2) {
    const uint32_t at = Put(path, 512);
    return Call("wasi_snapshot_preview1.path_open",
                {RawValue::I32(3), RawValue::I32(at),
                 RawValue::I32(static_cast<uint32_t>(path.size())),
                 RawValue::I64(static_cast<uint64_t>(rights))},
                result)
        .to;
  }
  Came SendFor(const std::string& data, uint32_t sock = 7) {
    const uint32_t at = Put(data, 1024);
    return Call("net.send",
                {RawValue::I32(sock), RawValue::I32(at),
                 RawValue::I32(static_cast<uint32_t>(data.size()))});
  }
  std::string Send(const std::string& data = "x", uint32_t sock = 7) {
    return SendFor(data, sock).to;
  }
  std::string Connect(const std::string& address) {
    const uint32_t at = Put(address, 512);
    return Call("net.connect",
                {RawValue::I32(at),
                 RawValue::I32(static_cast<uint32_t>(address.size()))})
        .to;
  }
  // The host writes `addresses`, and a NUL.
  std::string Resolve(const std::string& host, const std::string& addresses,
                      uint32_t result = 0) {
    const uint32_t at = Put(host, 512);
    return Call("net.resolve",
                {RawValue::I32(at),
                 RawValue::I32(static_cast<uint32_t>(host.size())),
                 RawValue::I32(2048), RawValue::I32(1024)},
                result,
                [&] {
                  std::string text = addresses;
                  text += '\0';
                  std::copy(text.begin(), text.end(), memory_.begin() + 2048);
                })
        .to;
  }
  std::string Exchange(uint32_t result = 0) {
    return Call("vault.exchange", {}, result).to;
  }

  PolicyHook& hook() { return *hook_; }
  std::vector<uint8_t>& memory() { return memory_; }
  FunctionIdentity& function(const std::string& name) {
    return functions_.at(name);
  }
  // "trap send-after-secret", one for each decision.
  std::vector<std::string> lines;
  std::vector<std::string> messages;
  std::vector<std::string> failures;
  std::vector<std::string> forgot;
  std::vector<Verdict> would_be;
  // Rules that matched, whatever came of it.
  std::set<std::string> matched;
  // Everything that is told, for comparing runs byte for byte.
  std::string journal;
  bool keeps_journal = true;
  // The hook is told of every end, also where it did not ask for it when the
  // function was linked.
  bool tells_all = false;

  void OnDecision(const DecisionRecord& r) override {
    if (!keeps_journal) return;
    lines.push_back(absl::StrCat(VerdictName(r.verdict), " ", r.rule));
    messages.emplace_back(r.message);
    would_be.push_back(r.would_be_verdict);
    absl::StrAppend(&journal, r.decision_id, " ", lines.back(), " ", r.message,
                    " ", absl::FormatDuration(r.delay),
                    r.after ? " after" : "");
    for (const RuleMatch& m : r.matches) {
      matched.emplace(m.rule);
      absl::StrAppend(&journal, " [", m.rule, " ", VerdictName(m.verdict), " ",
                      m.message, "]");
    }
    absl::StrAppend(&journal, "\n");
  }
  void OnEngineFault(const StoreFacts&, absl::string_view text) override {
    ADD_FAILURE() << text;
  }
  void OnConditionFailed(const StoreFacts&, absl::string_view,
                         absl::string_view rule,
                         absl::string_view text) override {
    failures.push_back(absl::StrCat(rule, " ", text));
  }
  void OnRuleForgot(const StoreFacts&, absl::string_view,
                    absl::string_view rule) override {
    forgot.emplace_back(rule);
  }

  std::optional<absl::string_view> PathOf(const FunctionIdentity&,
                                          uint64_t handle) override {
    if (handle == 3) return "/";
    return std::nullopt;
  }
  void RefuseLinks(const FunctionIdentity&) override {}

  uint32_t Put(const std::string& text, uint32_t at) {
    std::copy(text.begin(), text.end(),
              memory_.begin() + static_cast<ptrdiff_t>(at));
    return at;
  }

 private:
  inline static const FuncType kTick = {{}, {}};
  inline static const HostFunctionSpec kNoSpec = {{}, false};

  void Link(absl::string_view module, absl::string_view name,
            std::vector<ValType> params, std::vector<ArgSpec> args) {
    FuncType& type = types_.emplace_back();
    type.params = std::move(params);
    type.results = {ValType::kI32};
    HostFunctionSpec& spec = specs_.emplace_back();
    spec.args = std::move(args);
    spec.errno_result = true;
    const std::string key = absl::StrCat(module, ".", name);
    FunctionIdentity& function = functions_[key];
    function.module = module;
    function.name = name;
    function.type = &type;
    function.spec = &spec;
    function.binding = next_binding_++;
    wants_[key] = hook_->OnLink(function);
  }

  std::vector<uint8_t> memory_;
  std::deque<FuncType> types_;
  std::deque<HostFunctionSpec> specs_;
  std::map<std::string, FunctionIdentity> functions_;
  std::map<std::string, TransitionSet> wants_;
  FunctionIdentity guest_;
  uint32_t next_binding_ = 0;
  uint32_t depth_ = 0;
  std::unique_ptr<PolicyHook> hook_;
};

// A clock, states, and Stores of one policy.
class MetersTest : public testing::Test {
 protected:
  void Load(const std::string& rules) {
    policy_ = CompileGood(absl::StrCat(kImports, rules));
    store_ = Make();
  }
  std::unique_ptr<MeteredStore> Make(MeteredStoreOptions options = {}) {
    if (policy_ == nullptr) return nullptr;
    return std::make_unique<MeteredStore>(
        std::vector<std::shared_ptr<const Policy>>{policy_}, &now_, &states_,
        std::move(options));
  }
  void Pass(absl::Duration time) {
    now_ += time;
    WallTime() += time;
  }
  void SetUp() override { WallTime() = absl::UnixEpoch(); }

  absl::Time now_ = absl::UnixEpoch();
  RuleStates states_{RuleStates::Options{{1, 2}, 100}};
  std::shared_ptr<const Policy> policy_;
  std::unique_ptr<MeteredStore> store_;
};

}  // namespace callgate::policy

#endif  // CALLGATE_POLICY_HOOK_METERS_FIXTURE_H_
