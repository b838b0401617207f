#include "policy/trial/simulated_store.h"

#include <algorithm>

#include "runtime/check.h"

namespace callgate::policy::trial {
namespace {

// The hook reads the wall clock through a plain function. This is what it
// finds, on the thread that shows it an event.
thread_local const TrialClock* clock_of_thread = nullptr;

absl::Time WallOfThread() { return clock_of_thread->wall; }

class ClockScope {
 public:
  explicit ClockScope(const TrialClock& clock) : before_(clock_of_thread) {
    clock_of_thread = &clock;
  }
  ~ClockScope() { clock_of_thread = before_; }
  ClockScope(const ClockScope&) = delete;
  ClockScope& operator=(const ClockScope&) = delete;

 private:
  const TrialClock* const before_;
};

PolicyHook::Options OptionsWith(HandleNames* handles, RuleStates& states) {
  PolicyHook::Options options;
  options.handles = handles;
  options.states = &states;
  options.keep_answers = true;
  options.wall_clock = WallOfThread;
  return options;
}

}  // namespace

RuleStates::Options TrialStates() {
  RuleStates::Options options;
  options.key = {0x63616c6c67617465, 0x747269616c};
  return options;
}

// --- What the hook sees ------------------------------------------------------

class SimulatedStore::Context final : public CallContext {
 public:
  Context(Transition transition, const FunctionIdentity& function,
          uint32_t depth, const HostCall* call, TrialDecision* told)
      : call_(call), told_(*told) {
    transition_ = transition;
    function_ = &function;
    depth_ = depth;
    fuel_ = &own_fuel_;
    if (call != nullptr) args_ = call->args;
  }

  void EndsWith(Ending ending, absl::Span<const RawValue> results,
                const Trap* trap) {
    ending_ = ending;
    results_ = results;
    trap_ = trap;
  }
  const std::vector<RawValue>& answer() const { return answer_; }

  CallerFrame caller() override {
    if (call_ == nullptr) return {};
    return {call_->caller_index, call_->caller_name, ""};
  }
  uint32_t caller_index() override { return caller().func_index; }
  // Not recorded; the memory of the caller is the most of it.
  uint64_t StoreBytes() override {
    told_.read_store_bytes = true;
    return MemoryBytes();
  }
  std::vector<Frame> Backtrace(size_t) override { return {}; }
  uint64_t MemoryBytes() override {
    return call_ == nullptr ? 0 : call_->memory.size();
  }
  absl::StatusOr<absl::Span<const uint8_t>> Capture(uint64_t address,
                                                    uint64_t length) override {
    if (transition_ != Transition::kCallingHost) {
      return absl::FailedPreconditionError("not at calling_host");
    }
    if (address > MemoryBytes() || length > MemoryBytes() - address) {
      return absl::OutOfRangeError("not in memory");
    }
    if (length > kCapturedBytesMax - captured_bytes_) {
      return absl::ResourceExhaustedError("too much for one call");
    }
    captured_bytes_ += length;
    copies_.emplace_back();
    switch (call_->memory.Read(address, length, &copies_.back())) {
      case SparseMemory::Known::kAll:
        break;
      case SparseMemory::Known::kHidden:
        told_.read_hidden = true;
        break;
      case SparseMemory::Known::kNotAll:
        told_.read_unknown = true;
        break;
    }
    return absl::MakeConstSpan(copies_.back());
  }
  absl::Status ReadBack(uint64_t address, absl::Span<uint8_t> out) override {
    if (transition_ != Transition::kReturningFromHost) {
      return absl::FailedPreconditionError("not at returning_from_host");
    }
    if (address > MemoryBytes() || out.size() > MemoryBytes() - address) {
      return absl::OutOfRangeError("not in memory");
    }
    SparseMemory memory = call_->memory;
    for (const auto& [at, bytes] : call_->writes) memory.Add(at, bytes);
    std::vector<uint8_t> copy;
    if (memory.Read(address, out.size(), &copy) != SparseMemory::Known::kAll) {
      told_.read_unknown = true;
    }
    std::copy(copy.begin(), copy.end(), out.begin());
    return absl::OkStatus();
  }

 private:
  Fuel own_fuel_{/*metered=*/true};
  const HostCall* const call_;
  TrialDecision& told_;
  std::deque<std::vector<uint8_t>> copies_;
  uint64_t captured_bytes_ = 0;
};

// --- The Store ---------------------------------------------------------------

SimulatedStore::SimulatedStore(
    std::vector<std::shared_ptr<const Policy>> policies, StoreFacts facts,
    const TrialClock& clock, RuleStates& states)
    : clock_(clock) {
  const ClockScope scope(clock_);
  hook_ = std::make_unique<PolicyHook>(
      std::move(policies), std::move(facts),
      [this] { return clock_.monotonic; }, static_cast<DecisionSink&>(*this),
      OptionsWith(this, states));
  export_.kind = FunctionIdentity::Kind::kGuestExport;
  export_.name = "_start";
  export_.type = &export_type_;
}

SimulatedStore::~SimulatedStore() = default;

uint32_t SimulatedStore::Link(std::string module, std::string name,
                              FuncType type,
                              std::optional<HostFunctionSpec> spec) {
  const ClockScope scope(clock_);
  const auto number = static_cast<uint32_t>(bindings_.size());
  bindings_.emplace_back();
  Binding& binding = bindings_.back();
  binding.module = std::move(module);
  binding.name = std::move(name);
  binding.type = std::move(type);
  binding.spec = std::move(spec);
  FunctionIdentity& identity = binding.identity;
  identity.kind = FunctionIdentity::Kind::kHostImport;
  identity.module = binding.module;
  identity.name = binding.name;
  identity.type = &binding.type;
  identity.import_index = number;
  identity.func_index = number;
  identity.binding = number;
  if (binding.spec) identity.spec = &*binding.spec;
  binding.wanted = hook_->OnLink(identity);
  return number;
}

void SimulatedStore::BeginCall() {
  const ClockScope scope(clock_);
  Context context(Transition::kCallingWasm, export_, 1, nullptr, &told_);
  hook_->OnTransition(context);
  told_ = {};
}

TrialDecision SimulatedStore::EndCall(const Trap* trap) {
  const ClockScope scope(clock_);
  Context context(Transition::kReturningFromWasm, export_, 1, nullptr, &told_);
  context.EndsWith(trap == nullptr ? Ending::kValue : Ending::kTrap, {}, trap);
  return Take(hook_->OnTransition(context));
}

TrialDecision SimulatedStore::EnterHost(const HostCall& call) {
  CALLGATE_CHECK(call.binding < bindings_.size(), "it is linked");
  const ClockScope scope(clock_);
  const Binding& binding = bindings_[call.binding];
  call_ = &call;
  answered_ = false;
  answer_.clear();
  if (!binding.wanted.Contains(Transition::kCallingHost)) {
    entered_ = true;
    return Take(Disposition::kProceed);
  }
  if (call.score) hook_->TellScore(*call.score);
  if (call.engine_fails) hook_->FailNextCall();
  Context context(Transition::kCallingHost, binding.identity, call.depth, &call,
                  &told_);
  const Disposition disposition = hook_->OnTransition(context);
  entered_ = disposition != Disposition::kRefuse;
  if (disposition == Disposition::kAnswer) {
    answered_ = true;
    answer_ = context.answer();
  }
  return Take(disposition);
}

TrialDecision SimulatedStore::LeaveHost(const HostCall& call, Ending ending,
                                        absl::Span<const RawValue> results,
                                        const Trap* trap) {
  CALLGATE_CHECK(entered_, "what leaves has entered");
  entered_ = false;
  const ClockScope scope(clock_);
  const Binding& binding = bindings_[call.binding];
  if (!binding.wanted.Contains(Transition::kReturningFromHost)) {
    return Take(Disposition::kProceed);
  }
  Context context(Transition::kReturningFromHost, binding.identity, call.depth,
                  &call, &told_);
  if (answered_) {
    context.EndsWith(Ending::kAnswered, answer_, nullptr);
  } else {
    context.EndsWith(ending, results, trap);
  }
  return Take(hook_->OnTransition(context));
}

TrialDecision SimulatedStore::Grow(GrowthEvent event) {
  const ClockScope scope(clock_);
  const bool ended = hook_->latched() != nullptr;
  hook_->OnGrowth(event);
  return Take(ended ? Disposition::kRefuse : Disposition::kProceed);
}

TrialDecision SimulatedStore::EnterFunction(absl::string_view name,
                                            uint32_t caller_index,
                                            absl::string_view caller_name) {
  const ClockScope scope(clock_);
  auto known = std::find_if(
      probed_.begin(), probed_.end(),
      [&](const ProbedFunction& function) { return function.name == name; });
  if (known == probed_.end()) {
    const auto number = static_cast<uint32_t>(probed_.size());
    ProbedFunction& function = probed_.emplace_back();
    function.name = probed_names_.emplace_back(name);
    function.func_index = number;
    function.type = &export_type_;
    function.probe = number;
    known = std::prev(probed_.end());
  }
  const auto caller = [&] {
    return CallerFrame{caller_index, caller_name, ""};
  };
  const FunctionEntry entry{*known, {}, 1, caller, 0, 0};
  const EntryAnswer answer = hook_->OnFunctionEnter(entry);
  if (answer.error == nullptr) {
    FunctionExit exit{*known};
    exit.depth = 1;
    hook_->OnFunctionLeave(exit);
    return Take(Disposition::kProceed);
  }
  return Take(Disposition::kRefuse);
}

TrialDecision SimulatedStore::Take(Disposition disposition) {
  TrialDecision decision = std::exchange(told_, {});
  decision.answers = hook_->TakeAnswers();
  decision.Finish(disposition, hook_->latched().get());
  return decision;
}

void SimulatedStore::OnDecision(const DecisionRecord& record) {
  told_.Add(record);
}

void SimulatedStore::OnEngineFault(const StoreFacts&,
                                   absl::string_view message) {
  if (call_ != nullptr && call_->engine_fails) return;
  if (fault_.empty()) fault_ = std::string(message);
}

std::optional<absl::string_view> SimulatedStore::PathOf(const FunctionIdentity&,
                                                        uint64_t handle) {
  if (call_ == nullptr) return std::nullopt;
  for (const auto& [number, path] : call_->paths) {
    if (number == handle) return absl::string_view(path);
  }
  return std::nullopt;
}

}  // namespace callgate::policy::trial
