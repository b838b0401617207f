// A Store without a guest: a PolicyHook that is shown transitions as a Store
// would show them, with a clock and a memory that are made up or remembered.
//
// It has no opinion of its own: what comes of an event is what the hook says.
// Tests of policies and replays of traces are made of these.
//
// One thread. The clock and the shared state outlive it.

#ifndef CALLGATE_POLICY_TRIAL_SIMULATED_STORE_H_
#define CALLGATE_POLICY_TRIAL_SIMULATED_STORE_H_

#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "policy/anomaly/stream.h"
#include "policy/hook/decision.h"
#include "policy/hook/handle_names.h"
#include "policy/hook/policy_hook.h"
#include "policy/policy.h"
#include "policy/state/rule_states.h"
#include "policy/trial/sparse_memory.h"
#include "policy/trial/trial_decision.h"
#include "runtime/call_hook.h"
#include "runtime/function_filter.h"

namespace callgate::policy::trial {

// What rules remember, without anything of chance in it.
RuleStates::Options TrialStates();

// What the hook reads instead of the machine's clocks.
struct TrialClock {
  absl::Time monotonic = absl::UnixEpoch();
  absl::Time wall = absl::UnixEpoch();
};

// What a Store's engine counts.
struct StoreGauges {
  uint64_t store_bytes = 0;  // of all memories and tables
  uint64_t fuel_used = 0;
  // Nothing: without a bound.
  std::optional<uint64_t> fuel_left;
  bool metered = true;
};

class SimulatedStore final : private DecisionSink, private HandleNames {
 public:
  // `states`: what rules remember of all Stores together. `calls_before`: host
  // calls that the Store has made before.
  SimulatedStore(std::vector<std::shared_ptr<const Policy>> policies,
                 StoreFacts facts, const TrialClock& clock, RuleStates& states,
                 uint64_t calls_before = 0);
  ~SimulatedStore() override;
  SimulatedStore(const SimulatedStore&) = delete;
  SimulatedStore& operator=(const SimulatedStore&) = delete;

  PolicyHook& hook() { return *hook_; }

  // Binds a function under the next number. `has_spec`: the host says what its
  // arguments are.
  uint32_t Link(std::string module, std::string name, FuncType type,
                std::optional<HostFunctionSpec> spec);

  // The host calls the guest, and that call ends. `depth` is 1 unless the host
  // was called by the guest.
  void BeginCall(uint32_t depth = 1);
  TrialDecision EndCall(const Trap* trap, uint32_t depth = 1);

  // Other policies judge from the next host call on, or from now.
  void Replace(std::vector<std::shared_ptr<const Policy>> policies,
               bool at_once);

  // The guest calls a function. Views are borrowed until LeaveHost, or until
  // the next call.
  struct HostCall {
    uint32_t binding = 0;
    std::vector<RawValue> args;
    SparseMemory memory;
    // What the function writes: addresses, inside, and bytes.
    std::vector<std::pair<uint64_t, std::string>> writes;
    // What handles were opened as.
    std::vector<std::pair<uint64_t, std::string>> paths;
    uint32_t caller_index = kNoIndex;
    std::string caller_name;
    uint32_t depth = 2;
    // What rules about anomalies judge by. None: the module has no profile.
    std::optional<anomaly::Score> score;
    // The policy engine fails at it.
    bool engine_fails = false;
    // At the end that is shown. Nothing: the memory is all there is, and no
    // fuel was used.
    std::optional<StoreGauges> gauges;
  };
  TrialDecision EnterHost(const HostCall& call);
  // Whether the call of the last EnterHost goes on: the function runs, or the
  // hook has answered for it. LeaveHost must follow then.
  bool entered() const { return entered_; }
  bool answered() const { return answered_; }
  // How it ended, where the hook has not answered for it. `results` are of the
  // function's type with kValue and empty else.
  TrialDecision LeaveHost(const HostCall& call, Ending ending,
                          absl::Span<const RawValue> results, const Trap* trap);

  TrialDecision Grow(GrowthEvent event);

  // A function of the guest's own that is probed, with every name that rules
  // may know it by; under the next number. The first name is what rules see.
  uint32_t LinkProbe(std::string module, std::vector<std::string> names,
                     uint32_t func_index, FuncType type);
  // It is entered and left again.
  struct FunctionCall {
    uint32_t probe = 0;
    std::vector<RawValue> args;
    uint32_t depth = 1;
    uint32_t caller_index = kNoIndex;
    std::string caller_name;
    StoreGauges gauges;
  };
  TrialDecision EnterFunction(const FunctionCall& call);

  // The first fault of the engine that no call asked for; empty if there was
  // none.
  const std::string& fault() const { return fault_; }

 private:
  class Context;
  struct Binding {
    std::string module;
    std::string name;
    FuncType type;
    std::optional<HostFunctionSpec> spec;
    FunctionIdentity identity;
    TransitionSet wanted;
  };

  struct Probe {
    std::string module;
    std::vector<std::string> names;
    FuncType type;
    ProbedFunction function;
  };

  // The functions that `filter` means, of those that are known.
  std::vector<uint32_t> Select(const FunctionFilter& filter);

  // Shows it to the hook, and asks about functions again if that wants it.
  Disposition Offer(Context& context);
  // What was told since the last Take, as one decision.
  TrialDecision Take(Disposition disposition);

  void OnDecision(const DecisionRecord& decision) override;
  void OnEngineFault(const StoreFacts& store,
                     absl::string_view message) override;
  std::optional<absl::string_view> PathOf(const FunctionIdentity& function,
                                          uint64_t handle) override;
  void RefuseLinks(const FunctionIdentity&) override {}

  const TrialClock& clock_;
  std::unique_ptr<PolicyHook> hook_;
  std::deque<Binding> bindings_;  // identities are lent out
  std::deque<Probe> probes_;
  bool new_probes_ = false;
  // What a filter of the policies means among the first `seen` probes.
  struct Selected {
    size_t seen = 0;
    std::vector<uint32_t> indexes;  // increasing
  };
  absl::flat_hash_map<const FunctionFilter*, Selected> selected_;
  FunctionIdentity export_;
  FuncType export_type_;

  const HostCall* call_ = nullptr;
  bool entered_ = false;
  bool answered_ = false;
  std::vector<RawValue> answer_;
  TrialDecision told_;
  std::string fault_;
};

}  // namespace callgate::policy::trial

#endif  // CALLGATE_POLICY_TRIAL_SIMULATED_STORE_H_
