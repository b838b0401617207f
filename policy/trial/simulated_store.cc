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

PolicyHook::Options OptionsWith(HandleNames* handles, RuleStates& states,
                                uint64_t calls_before) {
  PolicyHook::Options options;
  options.handles = handles;
  options.states = &states;
  options.keep_answers = true;
  options.wall_clock = WallOfThread;
  options.calls_before = calls_before;
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
      : own_fuel_(call == nullptr || !call->gauges || call->gauges->metered),
        call_(call),
        told_(*told) {
    transition_ = transition;
    function_ = &function;
    depth_ = depth;
    fuel_ = &own_fuel_;
    if (call == nullptr) return;
    args_ = call->args;
    if (!call->gauges || !call->gauges->metered) return;
    // Both are within a tank's bound, so neither can fail.
    own_fuel_.Consume(call->gauges->fuel_used).IgnoreError();
    own_fuel_.Set(call->gauges->fuel_left).IgnoreError();
  }

  void EndsWith(Ending ending, absl::Span<const RawValue> results,
                const Trap* trap) {
    ending_ = ending;
    results_ = results;
    trap_ = trap;
  }
  const std::vector<RawValue>& answer() const { return answer_; }
  void Relink() override { relinks_ = true; }
  bool relinks() const { return relinks_; }

  CallerFrame caller() override {
    if (call_ == nullptr) return {};
    return {call_->caller_index, call_->caller_name, ""};
  }
  uint32_t caller_index() override { return caller().func_index; }
  uint64_t StoreBytes() override {
    return call_ != nullptr && call_->gauges ? call_->gauges->store_bytes
                                             : MemoryBytes();
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
  Fuel own_fuel_;
  const HostCall* const call_;
  TrialDecision& told_;
  std::deque<std::vector<uint8_t>> copies_;
  uint64_t captured_bytes_ = 0;
  bool relinks_ = false;
};

// --- The Store ---------------------------------------------------------------

SimulatedStore::SimulatedStore(
    std::vector<std::shared_ptr<const Policy>> policies, StoreFacts facts,
    const TrialClock& clock, RuleStates& states, uint64_t calls_before)
    : clock_(clock) {
  const ClockScope scope(clock_);
  hook_ = std::make_unique<PolicyHook>(
      std::move(policies), std::move(facts),
      [this] { return clock_.monotonic; }, static_cast<DecisionSink&>(*this),
      OptionsWith(this, states, calls_before));
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

Disposition SimulatedStore::Offer(Context& context) {
  const Disposition disposition = hook_->OnTransition(context);
  if (context.relinks()) {
    for (Binding& binding : bindings_) {
      binding.wanted = hook_->OnLink(binding.identity);
    }
  }
  return disposition;
}

void SimulatedStore::Replace(
    std::vector<std::shared_ptr<const Policy>> policies, bool at_once) {
  const ClockScope scope(clock_);
  selected_.clear();  // filters belong to policies
  hook_->Replace(std::move(policies));
  if (at_once) hook_->TakeOver();
}

void SimulatedStore::BeginCall(uint32_t depth) {
  const ClockScope scope(clock_);
  Context context(Transition::kCallingWasm, export_, depth, nullptr, &told_);
  Offer(context);
  told_ = {};
}

TrialDecision SimulatedStore::EndCall(const Trap* trap, uint32_t depth) {
  const ClockScope scope(clock_);
  Context context(Transition::kReturningFromWasm, export_, depth, nullptr,
                  &told_);
  context.EndsWith(trap == nullptr ? Ending::kValue : Ending::kTrap, {}, trap);
  return Take(Offer(context));
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
  const Disposition disposition = Offer(context);
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
  return Take(Offer(context));
}

TrialDecision SimulatedStore::Grow(GrowthEvent event) {
  const ClockScope scope(clock_);
  const bool ended = hook_->latched() != nullptr;
  hook_->OnGrowth(event);
  return Take(ended ? Disposition::kRefuse : Disposition::kProceed);
}

uint32_t SimulatedStore::LinkProbe(std::string module,
                                   std::vector<std::string> names,
                                   uint32_t func_index, FuncType type) {
  const auto number = static_cast<uint32_t>(probes_.size());
  Probe& probe = probes_.emplace_back();
  probe.module = std::move(module);
  probe.names = std::move(names);
  probe.type = std::move(type);
  ProbedFunction& function = probe.function;
  function.module = probe.module;
  if (!probe.names.empty()) function.name = probe.names[0];
  function.func_index = func_index;
  function.type = &probe.type;
  function.probe = number;
  new_probes_ = true;
  return number;
}

std::vector<uint32_t> SimulatedStore::Select(const FunctionFilter& filter) {
  Selected& selected = selected_[&filter];
  std::vector<uint32_t>& indexes = selected.indexes;
  for (; selected.seen < probes_.size(); ++selected.seen) {
    const Probe& probe = probes_[selected.seen];
    const bool fits = filter.HasIndex(probe.function.func_index) ||
                      std::any_of(probe.names.begin(), probe.names.end(),
                                  [&](const std::string& name) {
                                    return filter.HasName(name);
                                  });
    if (fits) indexes.push_back(probe.function.func_index);
  }
  std::sort(indexes.begin(), indexes.end());
  return indexes;
}

TrialDecision SimulatedStore::EnterFunction(const FunctionCall& call) {
  CALLGATE_CHECK(call.probe < probes_.size(), "it is linked");
  const ClockScope scope(clock_);
  // Which functions a rule is about is asked once for all that are known.
  if (std::exchange(new_probes_, false)) {
    hook_->SelectFunctions(
        [this](const FunctionFilter& filter) { return Select(filter); });
  }
  const ProbedFunction& function = probes_[call.probe].function;
  CALLGATE_CHECK(call.args.size() == function.type->params.size(),
                 "a call has its function's parameters");
  const auto caller = [&] {
    return CallerFrame{call.caller_index, call.caller_name, ""};
  };
  const FunctionEntry entry{function,
                            call.args,
                            call.depth,
                            caller,
                            call.gauges.fuel_used,
                            call.gauges.store_bytes};
  const EntryAnswer answer = hook_->OnFunctionEnter(entry);
  if (answer.error != nullptr) return Take(Disposition::kRefuse);
  FunctionExit exit{function};
  exit.depth = call.depth;
  hook_->OnFunctionLeave(exit);
  return Take(Disposition::kProceed);
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
  // Standard input, output and error have none.
  if (handle <= 2) return absl::string_view();
  return std::nullopt;
}

}  // namespace callgate::policy::trial
