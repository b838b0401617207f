// The Store's inside: everything about running guests that does not depend on
// the execution engine. Seen only by the runtime's own sources.
//
// The heart is two pairs of functions. Enter/Leave wrap an embedder's call into
// a guest; CallHost wraps a guest's call of a host function. They alone fire
// the hook, so the order of events in call_hook.h is decided here and nowhere
// else.

#ifndef CALLGATE_RUNTIME_STORE_IMPL_H_
#define CALLGATE_RUNTIME_STORE_IMPL_H_

#include <atomic>
#include <chrono>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "runtime/backend.h"
#include "runtime/call_hook.h"
#include "runtime/caller.h"
#include "runtime/captured_arguments.h"
#include "runtime/fuel.h"
#include "runtime/instance.h"
#include "runtime/limits.h"
#include "runtime/linker.h"
#include "runtime/parker.h"
#include "runtime/processor_budget.h"
#include "runtime/store.h"
#include "runtime/store_options.h"

namespace callgate {

// Gives a leaf function the body of any other, for when it is called as one.
// The message of its error goes on after the function's name.
absl::Status Complete(HostDefinition& definition);

// False in the one build that shows what the hook costs while there is none
// (tests/bench/hook_cost): no code asks for it then, and none can be installed.
#ifdef CALLGATE_WITHOUT_CALL_HOOK
inline constexpr bool kCallHookIsCompiledIn = false;
#else
inline constexpr bool kCallHookIsCompiledIn = true;
#endif

class HookCall;
class WatchedLeaf;

class StoreImpl final : public backend::Host {
 public:
  StoreImpl(Store& self, const Engine& engine, const StoreOptions& options);
  ~StoreImpl();

  // backend::Host
  std::optional<backend::Stop> CallHost(uint32_t binding,
                                        backend::GuestFrames& frames,
                                        absl::Span<const RawValue> args,
                                        RawValue* results) override;
  backend::Growth MemoryGrowing(uint32_t index, uint64_t current_bytes,
                                uint64_t desired_bytes) override;
  backend::Growth TableGrowing(uint32_t index, uint64_t current,
                               uint64_t desired) override;
  backend::Stop TakeGrowthStop() override;
  void Grown(ExternKind kind, uint64_t units) override;
  std::optional<backend::Stop> RunRuntimeCall(
      backend::RuntimeCall call, backend::GuestFrames& frames,
      absl::Span<const RawValue> args, absl::Span<RawValue> results,
      absl::FunctionRef<std::optional<backend::Stop>()> work) override;
  std::optional<backend::Stop> EnterFunction(
      uint32_t probe, uint64_t place, backend::GuestFrames& callers,
      absl::Span<const RawValue> args) override;
  void LeaveFunction(bool tail_call) override;
  void LeaveThrown(uint64_t place) override;
  std::optional<TrapCode> TimeUp() override;
  void LetOthersRun() override;

 private:
  friend class Store;
  friend class Linker;
  friend class Func;
  friend class Memory;
  friend class Table;
  friend class Global;
  friend class Tag;
  friend class Instance;
  friend class HookCall;
  friend class HostCaller;
  friend class WatchedLeaf;
  friend class ThreadCheck;

  using Clock = std::chrono::steady_clock;

  // A host function bound into this Store.
  struct Binding {
    std::shared_ptr<const HostDefinition> definition;
    std::string module;
    std::string name;
    FunctionIdentity identity;
    // What the hook wants of it; empty without a hook.
    TransitionSet wanted;
    uint32_t func = 0;
    uint32_t results = 0;    // of its type
    bool gives_i32 = false;  // and nothing else
    // Of a leaf function: how it is called while the hook wants events of it.
    // Made when it first does; stays, since the hook may change its mind during
    // such a call.
    std::unique_ptr<WatchedLeaf> watched;
  };

  struct InstanceState {
    std::string name;
    std::shared_ptr<const Module> module;
    // Of the module's exports, in its order.
    std::vector<backend::ExternId> exports;
    absl::flat_hash_map<std::string, size_t> export_index;
    uint32_t backend_id = 0;
  };

  // A host call in progress: what HookCall and HostCaller look at.
  struct HostCallState {
    HostCallState* outer = nullptr;          // the one this one is nested in
    const Binding* binding = nullptr;        // null: a runtime call
    backend::GuestFrames* frames = nullptr;  // null: the embedder called
    absl::Span<const RawValue> args;
    // What the hook asked to see; null: nothing. Given back by GiveBack().
    CapturedArguments* captured = nullptr;
  };

  // A probed function, and how to find its type when it is first called.
  struct Probe {
    ProbedFunction function;
    uint32_t backend_instance = 0;
  };
  // A probed function that was entered and not left.
  struct OpenFunction {
    uint32_t probe = 0;
    uint64_t place = 0;  // see backend::Host::EnterFunction
  };

  uint32_t NewBinding(std::shared_ptr<const HostDefinition> definition,
                      absl::string_view module, absl::string_view name,
                      FunctionIdentity::Kind kind, uint32_t import_index,
                      uint32_t func_index);
  void LinkToHook(Binding& binding);
  void Relink();

  absl::StatusOr<CallResult> Call(uint32_t func, absl::Span<const Value> args,
                                  const CallOptions& options,
                                  FunctionIdentity::Kind kind);
  absl::Status CheckArguments(const FuncType& type,
                              absl::Span<const Value> args) const;
  absl::Status CheckValue(const Value& value) const;
  absl::Status CheckMayCall(const CallOptions& options) const;
  absl::StatusOr<Instantiation> Instantiate(
      const Linker& linker, std::shared_ptr<const Module> module,
      absl::string_view name, const CallOptions& options);
  // What an import is linked to: something of the Store, or a host function
  // that is bound once nothing can fail any more.
  struct ResolvedImport {
    backend::ExternId id;
    std::shared_ptr<const HostDefinition> host;
  };
  absl::StatusOr<ResolvedImport> ResolveImport(const ImportType& import,
                                               const Linker& linker) const;
  // Allocations that the module asks for, against the Limits and the limiter:
  // all of them or none.
  absl::Status Reserve(const Module& module);
  absl::Status ReserveMemory(uint64_t bytes);
  absl::Status ReserveTable(uint64_t elements);

  // Runs `body` as the outermost or a nested use of the Store: arms and
  // restores the budget, counts the usage.
  template <typename Body>
  CallUsage WithBudget(const CallOptions& options, const Body& body);

  // The guest call proper, with its two events.
  std::optional<Trap> RunGuest(uint32_t func, const FunctionIdentity& identity,
                               absl::Span<const RawValue> args,
                               absl::Span<RawValue> results);
  // A host call; `frames` is null when the embedder called. `wanted` are the
  // transitions that fire.
  std::optional<backend::Stop> RunHost(const Binding& binding,
                                       TransitionSet wanted,
                                       backend::GuestFrames* frames,
                                       absl::Span<const RawValue> args,
                                       RawValue* results);

  // Its two events and the body between them.
  std::optional<backend::Stop> RunWatched(const Binding& binding,
                                          TransitionSet wanted,
                                          HostCallState& state,
                                          absl::Span<const RawValue> args,
                                          RawValue* results);
  // All but the first event, to which the hook has said `said`; `event` has
  // what goes with that. Neither hook nor ring: none is told.
  std::optional<backend::Stop> RunRest(Disposition said, HookCall& event,
                                       const Binding& binding,
                                       TransitionSet wanted,
                                       HostCallState& state,
                                       absl::Span<const RawValue> args,
                                       RawValue* results, CallRing* ring,
                                       uint64_t noted);
  // The same of a leaf function.
  std::optional<backend::Stop> RunRestOfLeaf(Disposition said, HookCall& event,
                                             const Binding& binding,
                                             HostCallState& state,
                                             absl::Span<const RawValue> args,
                                             RawValue* results);
  // Null, or what stopped it.
  ErrorRef RunBody(const Binding& binding, HostCallState& state,
                   absl::Span<const RawValue> args, RawValue* results);
  // The event after a host function or a runtime call that was stopped, which
  // may put another stop in place of that.
  void LeaveHostStopped(const FunctionIdentity& function, HostCallState& state,
                        absl::Span<const RawValue> args,
                        std::optional<backend::Stop>* stop);
  bool IsWasmi() const {
    return hook_options_.profile == HookProfile::kWasmi1 ||
           hook_options_.profile == HookProfile::kWasmi2;
  }

  enum class Reply : uint8_t {
    kProceed,
    kAnswered,
    kRefused,
    // The hook said something else, which could not be done. The call does not
    // go on, but since the hook did not refuse it, its leave fires.
    kFailed,
  };
  bool HasHook() const { return kCallHookIsCompiledIn && hook_ != nullptr; }
  // Whether a hook is there that wants it.
  bool Wants(TransitionSet wanted, Transition transition) const {
    return HasHook() && !in_hook_ && wanted.Contains(transition);
  }
  // Whether any transition of the host function may be wanted.
  static bool IsWatched(TransitionSet wanted) {
    return kCallHookIsCompiledIn && !wanted.empty();
  }
  // Where the hook's copies of a host call's arguments go, and where they are
  // left for the next call.
  CapturedArguments& CapturesOf(HostCallState& state);
  void GiveBack(HostCallState& state) {
    if (state.captured != nullptr) GiveBackCopies(state);
  }
  void GiveBackCopies(HostCallState& state);
  // Asks the hook, which must be there and not be asked already.
  Disposition Offer(HookCall& event);
  // Does what the hook has said of `event`; an answer goes to `results`. Sets
  // `stop` where it is kRefused or kFailed.
  Reply Follow(Disposition said, HookCall& event, absl::Span<RawValue> results,
               std::optional<backend::Stop>& stop);
  absl::Status TakeAnswer(const FuncType& type,
                          absl::Span<const RawValue> answer,
                          absl::Span<RawValue> results) const;

  // ---- probes: store_probes.cc
  absl::Status InstallHook(CallHook* hook, const HookOptions& options);
  void AddProbes(const InstanceState& instance, const backend::Probes& probes);
  // Leaves the newest of the open functions until there are `open`.
  void LeaveDownTo(size_t open, FunctionEnding ending, const Trap* trap);
  void LeaveStopped(size_t open, Ending ending, const Trap& trap);
  // Not while the hook itself runs a guest.
  bool TellsProbes() const { return HasHook() && !in_hook_; }

  // Stays where it is for as long as the Store.
  const FunctionIdentity& IdentityOf(uint32_t func,
                                     FunctionIdentity::Kind kind);
  FunctionIdentity GuestIdentity(uint32_t func,
                                 FunctionIdentity::Kind kind) const;
  // Of a host call, which may be null, and of those it is nested in.
  std::vector<Frame> FramesBelow(const HostCallState* innermost,
                                 size_t max_frames) const;
  std::vector<Frame> Name(const std::vector<backend::RawFrame>& raw) const;
  CallerFrame CallerAt(backend::CallSite site) const;
  Frame NameOne(const backend::RawFrame& raw) const;
  const InstanceState* FindInstance(uint32_t backend_id) const;
  // The memory 0 of the code that made the host call; empty without one.
  absl::Span<uint8_t> CallerMemory(const HostCallState& call);
  std::optional<uint32_t> CallerInstance(const HostCallState& call);
  // Blocks the thread, or parks the fiber that the Store runs on.
  WakeReason Wait(int fd, absl::Time when);
  WakeReason BlockUntil(int fd, absl::Time when);
  WakeReason ParkUntil(Parker& parker, int fd, absl::Time when);
  // After `interrupted_` has changed, for those who wait.
  void InterruptChanged(bool interrupted);
  bool DeadlinePassed() const {
    return deadline_.has_value() && Clock::now() >= *deadline_;
  }
  TrapCode InterruptCode();

  backend::Growth Growing(GrowthEvent::Kind kind, uint32_t index,
                          uint64_t current, uint64_t desired);
  bool LimitsAllow(GrowthEvent::Kind kind, uint64_t current,
                   uint64_t desired) const;

  Store& self_;
  const Engine& engine_;
  Limits limits_;
  ResourceLimiter* const limiter_;  // may be null; outlives this
  const bool canonical_nans_;

  CallHook* hook_ = nullptr;
  HookOptions hook_options_;
  bool in_hook_ = false;
  // The event that is offered to it; made with the first hook.
  std::unique_ptr<HookCall> event_;
  // Those of calls that have ended; as many as calls were nested.
  std::vector<std::unique_ptr<CapturedArguments>> captures_;
  bool in_probe_ = false;  // then in_hook_, too

  std::deque<Probe> probes_;  // by number; they have the hook's life
  bool has_probed_code_ = false;
  // Of all live activations, newest last; those of the innermost one begin at
  // open_base_. At most as many as the guest's stack has frames.
  std::vector<OpenFunction> open_functions_;
  size_t open_base_ = 0;

  // Deques, so that identities and their strings stay where they are.
  std::deque<Binding> bindings_;
  std::vector<const Binding*> binding_by_number_;
  std::deque<InstanceState> instances_;
  absl::flat_hash_map<uint32_t, size_t> instance_of_backend_;
  // Of the guest functions that the embedder has called.
  absl::flat_hash_map<std::pair<uint32_t, FunctionIdentity::Kind>,
                      std::unique_ptr<const FunctionIdentity>>
      guest_identities_;
  // The one that was asked for last; embedders call the same one often.
  std::pair<uint32_t, FunctionIdentity::Kind> last_asked_ = {
      kNoIndex, FunctionIdentity::Kind::kGuestExport};
  const FunctionIdentity* last_identity_ = nullptr;
  absl::flat_hash_map<uint64_t, std::shared_ptr<void>> extern_refs_;

  HostCallState* host_call_ = nullptr;  // the innermost; null outside of any
  std::optional<backend::Stop> growth_stop_;  // see backend::Growth::kTrap
  uint64_t bytes_used_ = 0;
  uint64_t table_elements_ = 0;

  // The rest of the running call's budget.
  std::optional<Clock::time_point> deadline_;
  ProcessorBudget processor_;
  uint64_t host_bytes_limit_ = ~uint64_t{0};
  uint64_t host_bytes_ = 0;  // since the Store was made

  std::mutex wait_mu_;
  // Guarded by wait_mu_.
  int wake_fd_ = -1;          // made by the first wait that blocks
  Parker* parked_ = nullptr;  // who waits on a fiber

  // The fiber or the thread inside the Store, for the check in debug builds.
  std::atomic<const void*> owner_{nullptr};
  uint32_t owner_depth_ = 0;

  // Last, so that it goes first: its functions call back into this.
  std::unique_ptr<backend::Store> backend_;
};

}  // namespace callgate

#endif  // CALLGATE_RUNTIME_STORE_IMPL_H_
