#include "runtime/store_impl.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "absl/container/inlined_vector.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "runtime/check.h"
#include "runtime/extern_type.h"
#include "runtime/hook_call.h"
#include "runtime/module.h"
#include "runtime/watched_leaf.h"

namespace callgate {
namespace {

constexpr uint64_t kNoLimit = ~uint64_t{0};
// Calls with more arguments or results than this allocate.
constexpr size_t kInlineValues = 8;

// Whether [address, address + length) lies in `size` bytes; no sum wraps.
bool Inside(uint64_t address, uint64_t length, uint64_t size) {
  return length <= size && address <= size - length;
}

bool RangeFits(const SizeRange& wanted, const SizeRange& actual,
               uint64_t size_now) {
  if (size_now < wanted.min) return false;
  if (!wanted.max.has_value()) return true;
  return actual.max.has_value() && *actual.max <= *wanted.max;
}

// What a call's stop was, to the hook. Asked of the stop and not of the Trap
// made from it, since an error object may give the Trap another code: a refusal
// is one whatever trap it asks for.
Ending EndingOf(const backend::Stop& stop) {
  if (dynamic_cast<const GuestExit*>(stop.cause.get()) != nullptr) {
    return Ending::kExit;
  }
  if (stop.code == TrapCode::kRefused) return Ending::kRefusal;
  if (stop.code == TrapCode::kHostError &&
      dynamic_cast<const TrapError*>(stop.cause.get()) == nullptr) {
    return Ending::kHostError;
  }
  return Ending::kTrap;
}

Trap ToTrap(const backend::Stop& stop, std::vector<Frame> backtrace) {
  return stop.cause == nullptr
             ? Trap(stop.code, std::move(backtrace))
             : Trap::FromError(stop.code, stop.cause, std::move(backtrace));
}

}  // namespace

// Debug builds find two threads inside one Store. A Store that is parked is
// still its fiber's, whatever thread that goes on on.
class ThreadCheck {
 public:
  explicit ThreadCheck(StoreImpl& store) : store_(store) {
#ifndef NDEBUG
    static thread_local const char t_thread = 0;  // its address is the name
    const Parker* const fiber = Parker::Current();
    const void* const me = fiber != nullptr
                               ? static_cast<const void*>(fiber)
                               : static_cast<const void*>(&t_thread);
    const void* none = nullptr;
    if (!store_.owner_.compare_exchange_strong(none, me)) {
      CALLGATE_CHECK(none == me, "a Store runs on one thread at a time");
    }
    ++store_.owner_depth_;
#endif
  }
  ~ThreadCheck() {
#ifndef NDEBUG
    if (--store_.owner_depth_ == 0) store_.owner_.store(nullptr);
#endif
  }
  ThreadCheck(const ThreadCheck&) = delete;
  ThreadCheck& operator=(const ThreadCheck&) = delete;

 private:
  [[maybe_unused]] StoreImpl& store_;
};

// The host function's view of the guest.
class HostCaller final : public Caller {
 public:
  HostCaller(StoreImpl& store, StoreImpl::HostCallState& call)
      : store_(store), call_(call) {}

  Store& store() override { return store_.self_; }
  const FunctionIdentity& function() const override {
    return call_.binding->identity;
  }

  std::optional<Instance> instance() override {
    const std::optional<uint32_t> id = store_.CallerInstance(call_);
    if (!id.has_value()) return std::nullopt;
    const auto found = store_.instance_of_backend_.find(*id);
    if (found == store_.instance_of_backend_.end()) return std::nullopt;
    return Instance(&store_.self_, static_cast<uint32_t>(found->second));
  }

  uint64_t MemoryBytes() override { return store_.CallerMemory(call_).size(); }

  bool InBounds(uint64_t address, uint64_t length) override {
    return Inside(address, length, MemoryBytes());
  }

  Access Read(uint64_t address, absl::Span<uint8_t> out) override {
    const absl::Span<uint8_t> memory = store_.CallerMemory(call_);
    if (!Inside(address, out.size(), memory.size())) {
      return Access::kOutOfBounds;
    }
    if (!Charge(out.size())) return Access::kOverBudget;
    std::copy_n(memory.begin() + static_cast<std::ptrdiff_t>(address),
                out.size(), out.begin());
    if (call_.captured != nullptr) call_.captured->CopyTo(address, out);
    return Access::kOk;
  }

  Access Write(uint64_t address, absl::Span<const uint8_t> bytes) override {
    const absl::Span<uint8_t> memory = store_.CallerMemory(call_);
    if (!Inside(address, bytes.size(), memory.size())) {
      return Access::kOutOfBounds;
    }
    if (!Charge(bytes.size())) return Access::kOverBudget;
    std::copy(bytes.begin(), bytes.end(),
              memory.begin() + static_cast<std::ptrdiff_t>(address));
    if (call_.captured != nullptr) call_.captured->Overwrite(address, bytes);
    return Access::kOk;
  }

  WakeReason WaitUntil(absl::Time when) override {
    return store_.Wait(-1, when);
  }
  WakeReason WaitReadable(int fd, absl::Time when) override {
    return store_.Wait(fd, when);
  }
  ErrorRef Interrupted() override {
    return std::make_shared<TrapError>(store_.InterruptCode());
  }

  std::vector<Frame> Backtrace(size_t max_frames) override {
    return store_.FramesBelow(store_.host_call_, max_frames);
  }
  Fuel& fuel() override { return store_.fuel_; }

 private:
  bool Charge(uint64_t bytes) {
    const uint64_t left = store_.host_bytes_limit_ - store_.host_bytes_;
    if (store_.host_bytes_ > store_.host_bytes_limit_ || bytes > left) {
      return false;
    }
    store_.host_bytes_ += bytes;
    return true;
  }

  StoreImpl& store_;
  StoreImpl::HostCallState& call_;
};

ErrorRef Caller::OverBudget() {
  return std::make_shared<TrapError>(TrapCode::kHostBytesExceeded);
}

absl::Status Complete(HostDefinition& definition) {
  const LeafFunction& leaf = definition.leaf;
  if (leaf.body == nullptr) {
    if (definition.body != nullptr) return absl::OkStatus();
    return absl::InvalidArgumentError("has no body");
  }
  if (definition.body != nullptr) {
    return absl::InvalidArgumentError("has two bodies");
  }
  definition.body = [leaf](Caller&, absl::Span<const RawValue> args,
                           absl::Span<RawValue> results) -> ErrorRef {
    absl::InlinedVector<RawValue, kInlineValues> values(args.begin(),
                                                        args.end());
    values.resize(std::max({args.size(), results.size(), size_t{1}}));
    leaf.body(leaf.data.get(), values.data());
    std::copy_n(values.begin(), results.size(), results.begin());
    return nullptr;
  };
  return absl::OkStatus();
}

StoreImpl::StoreImpl(Store& self, const Engine& engine,
                     const StoreOptions& options)
    : backend::Host(engine.execution().metered(),
                    options.limits.activation_depth),
      self_(self),
      engine_(engine),
      limits_(options.limits),
      limiter_(options.limiter),
      canonical_nans_(options.canonical_nans),
      backend_(engine.execution().NewStore(*this, engine.options().features,
                                           options)) {}

StoreImpl::~StoreImpl() {
  CALLGATE_CHECK(depth_ == 0, "a Store outlives the calls into it");
  if (wake_fd_ >= 0) close(wake_fd_);
}

// ---------------------------------------------------------------- the hook

Disposition StoreImpl::Offer(HookCall& event) {
  in_hook_ = true;
  const Disposition said = hook_->OnTransition(event);
  in_hook_ = false;
  return said;
}

StoreImpl::Reply StoreImpl::Follow(Disposition said, HookCall& event,
                                   absl::Span<RawValue> results,
                                   std::optional<backend::Stop>& stop) {
  const auto fails = [&stop](std::string message) {
    stop = backend::Stop{TrapCode::kRefused, MakeError(std::move(message))};
    return Reply::kFailed;
  };
  const FunctionIdentity& function = event.function();
  if (said == Disposition::kProceed) return Reply::kProceed;
  if (said == Disposition::kRefuse) {
    ErrorRef error = event.TakeError();
    if (error == nullptr) error = MakeError("refused without a reason");
    stop = backend::Stop{TrapCode::kRefused, std::move(error)};
    return Reply::kRefused;
  }
  // The other two make sense before a host function only; a hook that answers
  // them elsewhere is wrong, and what cannot be understood does not proceed.
  if (event.transition() != Transition::kCallingHost) {
    return fails(absl::StrCat(
        "the call hook may delay or answer at calling_host only, not at ",
        TransitionName(event.transition())));
  }
  if (said == Disposition::kDelay) {
    if (Wait(-1, absl::Now() + event.TakeDelay()) == WakeReason::kInterrupted) {
      stop = backend::Stop{InterruptCode(), nullptr};
      return Reply::kFailed;
    }
    return Reply::kProceed;
  }
  if (function.kind == FunctionIdentity::Kind::kRuntimeCall) {
    return fails(absl::StrCat("the call hook may not answer in place of ",
                              function.name));
  }
  const absl::Status answered =
      TakeAnswer(*function.type, event.answer(), results);
  event.ForgetAnswer();
  if (!answered.ok()) return fails(std::string(answered.message()));
  return Reply::kAnswered;
}

absl::Status StoreImpl::TakeAnswer(const FuncType& type,
                                   absl::Span<const RawValue> answer,
                                   absl::Span<RawValue> results) const {
  if (answer.size() != type.results.size()) {
    return absl::InvalidArgumentError(
        absl::StrCat("the call hook answered with ", answer.size(),
                     " results for a ", type.ToString()));
  }
  for (size_t i = 0; i < type.results.size(); ++i) {
    const absl::Status fits = CheckValue(Value(type.results[i], answer[i]));
    if (!fits.ok()) {
      return absl::InvalidArgumentError(absl::StrCat(
          "the call hook's answer: ", std::string(fits.message())));
    }
    results[i] = answer[i];
  }
  return absl::OkStatus();
}

// The arguments come along since just now they are in registers: reading both
// halves of a span back at once waits for the two writes.
inline ErrorRef StoreImpl::RunBody(const Binding& binding, HostCallState& state,
                                   absl::Span<const RawValue> args,
                                   RawValue* results) {
  HostCaller caller(*this, state);
  return binding.definition->body(caller, args,
                                  absl::MakeSpan(results, binding.results));
}

// Inlined into CallHost, for the same reason as its results are a pointer.
__attribute__((always_inline)) inline std::optional<backend::Stop>
StoreImpl::RunHost(const Binding& binding, TransitionSet wanted,
                   backend::GuestFrames* frames,
                   absl::Span<const RawValue> args, RawValue* results) {
  if (depth_ >= depth_max_) {
    return backend::Stop{TrapCode::kActivationDepthExceeded, nullptr};
  }
  ++depth_;
  ++host_calls_;
  HostCallState state;
  state.outer = host_call_;
  state.binding = &binding;
  state.frames = frames;
  state.args = args;
  host_call_ = &state;
  std::optional<backend::Stop> stop;
  // What the hook itself runs is not its business.
  if (IsWatched(wanted) && HasHook() && !in_hook_) {
    stop = RunWatched(binding, wanted, state, args, results);
  } else {
    ErrorRef error = RunBody(binding, state, args, results);
    if (error != nullptr) {
      stop = backend::Stop{TrapCode::kHostError, std::move(error)};
    }
  }
  host_call_ = state.outer;
  --depth_;
  return stop;
}

std::optional<backend::Stop> StoreImpl::CallHost(
    uint32_t binding, backend::GuestFrames& frames,
    absl::Span<const RawValue> args, RawValue* results) {
  CALLGATE_CHECK(binding < binding_by_number_.size(),
                 "a backend calls known bindings");
  const Binding& bound = *binding_by_number_[binding];
  return RunHost(bound, bound.wanted, &frames, args, results);
}

__attribute__((always_inline)) inline std::optional<backend::Stop>
StoreImpl::RunRest(Disposition said, HookCall& event, const Binding& binding,
                   TransitionSet wanted, HostCallState& state,
                   absl::Span<const RawValue> args, RawValue* results,
                   CallRing* ring, uint64_t noted) {
  std::optional<backend::Stop> stop;
  bool answered = false;
  if (said != Disposition::kProceed) {
    const Reply reply =
        Follow(said, event, absl::MakeSpan(results, binding.results), stop);
    if (reply == Reply::kRefused) {
      if (ring != nullptr) ring->End(noted, CallRing::Outcome::kRefused, 0);
      GiveBack(state);
      return stop;
    }
    answered = reply == Reply::kAnswered;
  }
  if (!answered && !stop.has_value()) {
    ErrorRef error = RunBody(binding, state, args, results);
    if (error != nullptr) {
      stop = backend::Stop{TrapCode::kHostError, std::move(error)};
    }
  }
  if (ring != nullptr) {
    if (stop.has_value()) {
      ring->End(noted, CallRing::Outcome::kStopped, 0);
    } else {
      ring->End(noted,
                answered ? CallRing::Outcome::kAnswered
                         : CallRing::Outcome::kReturned,
                binding.gives_i32 ? results[0].u32() : 0);
    }
  }
  if (wanted.Contains(Transition::kReturningFromHost)) {
    if (stop.has_value()) {
      if (!IsWasmi()) LeaveHostStopped(binding.identity, state, args, &stop);
    } else {
      event_->ReturningFromHost(binding.identity, state, depth_, args,
                                answered ? Ending::kAnswered : Ending::kValue,
                                results, binding.results);
      said = Offer(*event_);
      if (said != Disposition::kProceed) Follow(said, *event_, {}, stop);
    }
  }
  // The hook may have looked at them to the end.
  GiveBack(state);
  return stop;
}

std::optional<backend::Stop> StoreImpl::RunWatched(
    const Binding& binding, TransitionSet wanted, HostCallState& state,
    absl::Span<const RawValue> args, RawValue* results) {
  CallRing* const ring = hook_options_.call_ring;
  uint64_t noted = 0;
  if (ring != nullptr) {
    noted = ring->Begin(
        binding.identity,
        state.frames == nullptr ? kNoIndex : state.frames->Newest().func_index);
  }
  Disposition said = Disposition::kProceed;
  if (wanted.Contains(Transition::kCallingHost)) {
    event_->CallingHost(binding.identity, state, depth_, args);
    said = Offer(*event_);
    // The hook may have changed its mind about this very call; later calls
    // inside of it must not.
    wanted = binding.wanted;
  }
  return RunRest(said, *event_, binding, wanted, state, args, results, ring,
                 noted);
}

std::optional<backend::Stop> StoreImpl::RunRestOfLeaf(
    Disposition said, HookCall& event, const Binding& binding,
    HostCallState& state, absl::Span<const RawValue> args, RawValue* results) {
  return RunRest(said, event, binding, binding.wanted, state, args, results,
                 nullptr, 0);
}

CapturedArguments& StoreImpl::CapturesOf(HostCallState& state) {
  if (state.captured == nullptr) {
    if (captures_.empty()) {
      state.captured = std::make_unique<CapturedArguments>().release();
    } else {
      state.captured = captures_.back().release();
      captures_.pop_back();
    }
  }
  return *state.captured;
}

void StoreImpl::GiveBackCopies(HostCallState& state) {
  state.captured->Clear();
  captures_.emplace_back(state.captured);
  state.captured = nullptr;
}

void StoreImpl::LeaveHostStopped(const FunctionIdentity& function,
                                 HostCallState& state,
                                 absl::Span<const RawValue> args,
                                 std::optional<backend::Stop>* stop) {
  const Trap trap = ToTrap(**stop, {});
  event_->ReturningFromHost(function, state, depth_, args, EndingOf(**stop),
                            nullptr, 0);
  event_->SetTrap(&trap);
  std::optional<backend::Stop> replacement;
  Follow(Offer(*event_), *event_, {}, replacement);
  if (replacement.has_value()) *stop = std::move(replacement);
}

namespace {

// The identities of runtime calls are the same in every Store.
const FunctionIdentity& IdentityOf(backend::RuntimeCall call) {
  using Call = backend::RuntimeCall;
  const auto make = [](absl::string_view name, FuncType type) {
    FunctionIdentity identity;
    identity.kind = FunctionIdentity::Kind::kRuntimeCall;
    identity.name = name;
    identity.type = new FuncType(std::move(type));
    return identity;
  };
  constexpr ValType i32 = ValType::kI32;
  constexpr ValType i64 = ValType::kI64;
  static const auto* const identities = new std::vector<FunctionIdentity>{
      make("memory.grow", {{i32}, {i32}}),
      make("memory.grow", {{i64}, {i64}}),
      make("table.grow", {{ValType::kFuncRef, i32}, {i32}}),
      make("table.grow", {{ValType::kExternRef, i32}, {i32}}),
      make("elem.drop", {}),
      make("out_of_fuel", {}),
  };
  static_assert(static_cast<size_t>(Call::kOutOfFuel) == 5,
                "one identity for each of RuntimeCall, in its order");
  return (*identities)[static_cast<size_t>(call)];
}

}  // namespace

std::optional<backend::Stop> StoreImpl::RunRuntimeCall(
    backend::RuntimeCall call, backend::GuestFrames& frames,
    absl::Span<const RawValue> args, absl::Span<RawValue> results,
    absl::FunctionRef<std::optional<backend::Stop>()> work) {
  if (hook_options_.profile != HookProfile::kWasmtime48) return work();
  const TransitionSet wanted = hook_options_.transitions;
  ++depth_;
  HostCallState state;
  state.outer = host_call_;
  state.frames = &frames;
  state.args = args;
  host_call_ = &state;
  const FunctionIdentity& function = callgate::IdentityOf(call);

  std::optional<backend::Stop> stop;
  bool refused = false;
  if (Wants(wanted, Transition::kCallingHost)) {
    event_->CallingHost(function, state, depth_, args);
    refused = Follow(Offer(*event_), *event_, results, stop) == Reply::kRefused;
  }
  if (!stop.has_value()) stop = work();
  if (!refused && Wants(wanted, Transition::kReturningFromHost)) {
    if (stop.has_value()) {
      LeaveHostStopped(function, state, args, &stop);
    } else {
      event_->ReturningFromHost(function, state, depth_, args, Ending::kValue,
                                results.data(), results.size());
      Follow(Offer(*event_), *event_, {}, stop);
    }
  }
  GiveBack(state);
  host_call_ = state.outer;
  --depth_;
  return stop;
}

std::optional<Trap> StoreImpl::RunGuest(uint32_t func,
                                        const FunctionIdentity& identity,
                                        absl::Span<const RawValue> args,
                                        absl::Span<RawValue> results) {
  if (depth_ >= limits_.activation_depth) {
    return Trap(TrapCode::kActivationDepthExceeded, {});
  }
  ++depth_;
  const size_t open_before = open_functions_.size();
  std::optional<backend::Stop> stop;
  const std::optional<uint32_t> binding = backend_->BindingOf(func);
  // Wasmi's embedder reaches host functions past the hook.
  const bool unwatched = binding.has_value() && IsWasmi();
  const TransitionSet wanted =
      unwatched ? TransitionSet::None() : hook_options_.transitions;
  if (Wants(wanted, Transition::kCallingWasm)) {
    event_->CallingWasm(identity, depth_, args);
    const Reply reply = Follow(Offer(*event_), *event_, {}, stop);
    if (reply == Reply::kRefused) {
      --depth_;
      return ToTrap(*stop, {});
    }
  }

  std::vector<Frame> backtrace;
  if (stop.has_value()) {
    // The guest does not run.
  } else if (binding.has_value()) {
    const Binding& bound = bindings_[*binding];
    stop = RunHost(bound, unwatched ? TransitionSet::None() : bound.wanted,
                   nullptr, args, results.data());
  } else {
    const size_t outer_base = std::exchange(open_base_, open_before);
    backend::Completion completion =
        backend_->Call(func, args, results, limits_.call_depth);
    open_base_ = outer_base;
    stop = std::move(completion.stop);
    backtrace = Name(completion.backtrace);
  }
  std::optional<Trap> trap;
  if (stop.has_value()) {
    trap = ToTrap(*stop, std::move(backtrace));
    LeaveStopped(open_before, EndingOf(*stop), *trap);
  }

  if (Wants(wanted, Transition::kReturningFromWasm) &&
      (!stop.has_value() || hook_options_.profile != HookProfile::kWasmi1)) {
    if (stop.has_value()) {
      event_->ReturningFromWasm(identity, depth_, args, EndingOf(*stop), {});
      event_->SetTrap(&*trap);
    } else {
      event_->ReturningFromWasm(identity, depth_, args, Ending::kValue,
                                results);
    }
    std::optional<backend::Stop> replacement;
    Follow(Offer(*event_), *event_, {}, replacement);
    if (replacement.has_value()) trap = ToTrap(*replacement, {});
  }
  --depth_;
  return trap;
}

void StoreImpl::LinkToHook(Binding& binding) {
  binding.wanted = TransitionSet::None();
  if (HasHook()) {
    const TransitionSet asked = hook_->OnLink(binding.identity);
    for (const Transition t :
         {Transition::kCallingHost, Transition::kReturningFromHost}) {
      if (asked.Contains(t) && hook_options_.transitions.Contains(t)) {
        binding.wanted = binding.wanted.With(t);
      }
    }
  }
  const LeafFunction& leaf = binding.definition->leaf;
  if (leaf.body == nullptr) return;
  if (binding.watched != nullptr) binding.watched->SetWanted(binding.wanted);
  if (!IsWatched(binding.wanted)) {
    backend_->SetLeaf(binding.func, &leaf, nullptr);
    return;
  }
  // A ring wants to know who called; and where the hook may call guests, a host
  // call is as others are while it is judged.
  if (hook_options_.call_ring != nullptr || hook_options_.allow_reentry) {
    backend_->SetLeaf(binding.func, nullptr, nullptr);
    return;
  }
  if (binding.watched == nullptr) {
    binding.watched = std::make_unique<WatchedLeaf>(*this, binding);
    binding.watched->SetWanted(binding.wanted);
  }
  backend_->SetLeaf(binding.func, nullptr, binding.watched.get());
}

void StoreImpl::Relink() {
  for (Binding& binding : bindings_) LinkToHook(binding);
}

// ---------------------------------------------------------------- growth

static_assert(GrowthEvent::kTableElementBytes == Limits::kTableElementBytes,
              "a hook counts a table's bytes as the Store does");

bool StoreImpl::LimitsAllow(GrowthEvent::Kind kind, uint64_t current,
                            uint64_t desired) const {
  uint64_t more = desired - current;
  if (kind == GrowthEvent::Kind::kTable) {
    if (more > limits_.table_elements_total ||
        table_elements_ > limits_.table_elements_total - more) {
      return false;
    }
    more *= Limits::kTableElementBytes;
  }
  return more <= limits_.bytes_total &&
         bytes_used_ <= limits_.bytes_total - more;
}

backend::Growth StoreImpl::Growing(GrowthEvent::Kind kind, uint32_t index,
                                   uint64_t current, uint64_t desired) {
  bool allowed = LimitsAllow(kind, current, desired);
  if (allowed && limiter_ != nullptr) {
    allowed = kind == GrowthEvent::Kind::kMemory
                  ? limiter_->MemoryGrowing(current, desired)
                  : limiter_->TableGrowing(current, desired);
  }
  if (HasHook() && !in_hook_) {
    GrowthEvent event;
    event.kind = kind;
    event.index = index;
    event.current = current;
    event.desired = desired;
    event.allowed = allowed;
    event.store_bytes = bytes_used_;
    event.store_table_elements = table_elements_;
    event.fuel_used = fuel_.used();
    in_hook_ = true;
    GrowthAnswer answer = hook_->OnGrowth(event);
    in_hook_ = false;
    if (answer.error != nullptr) {
      growth_stop_ = backend::Stop{TrapCode::kRefused, std::move(answer.error)};
      return backend::Growth::kTrap;
    }
    if (answer.delay > absl::ZeroDuration() &&
        Wait(-1, absl::Now() + answer.delay) == WakeReason::kInterrupted) {
      growth_stop_ = backend::Stop{InterruptCode(), nullptr};
      return backend::Growth::kTrap;
    }
    allowed = allowed && answer.allow;
  }
  if (allowed) return backend::Growth::kAllow;
  return limits_.trap_on_growth_refused ? backend::Growth::kTrap
                                        : backend::Growth::kRefuse;
}

backend::Growth StoreImpl::MemoryGrowing(uint32_t index, uint64_t current_bytes,
                                         uint64_t desired_bytes) {
  return Growing(GrowthEvent::Kind::kMemory, index, current_bytes,
                 desired_bytes);
}

backend::Growth StoreImpl::TableGrowing(uint32_t index, uint64_t current,
                                        uint64_t desired) {
  return Growing(GrowthEvent::Kind::kTable, index, current, desired);
}

backend::Stop StoreImpl::TakeGrowthStop() {
  std::optional<backend::Stop> stop = std::exchange(growth_stop_, std::nullopt);
  if (stop.has_value()) return *std::move(stop);
  return backend::Stop{TrapCode::kGrowthLimited, nullptr};
}

void StoreImpl::Grown(ExternKind kind, uint64_t units) {
  if (kind == ExternKind::kMemory) {
    bytes_used_ += units;
  } else {
    table_elements_ += units;
    bytes_used_ += units * Limits::kTableElementBytes;
  }
}

// ---------------------------------------------------------------- budgets

std::optional<TrapCode> StoreImpl::TimeUp() {
  if (DeadlinePassed()) return TrapCode::kDeadlineExceeded;
  if (processor_.Spent()) return TrapCode::kProcessorTimeExceeded;
  return std::nullopt;
}

TrapCode StoreImpl::InterruptCode() {
  if (Interrupted()) return TrapCode::kInterrupted;
  return TimeUp().value_or(TrapCode::kDeadlineExceeded);
}

template <typename Body>
CallUsage StoreImpl::WithBudget(const CallOptions& options, const Body& body) {
  const bool outermost = depth_ == 0;
  const std::optional<Clock::time_point> deadline_before = deadline_;
  const uint64_t fuel_before = fuel_.used();
  const uint64_t host_calls_before = host_calls_;
  const uint64_t host_bytes_before = host_bytes_;
  const Clock::time_point start = Clock::now();

  if (outermost) {
    deadline_.reset();
    host_bytes_limit_ = limits_.host_bytes_per_call > kNoLimit - host_bytes_
                            ? kNoLimit
                            : host_bytes_ + limits_.host_bytes_per_call;
  }
  const uint64_t outer_budget = fuel_.Tighten(options.fuel);
  const ProcessorBudget::Outer outer_processor =
      processor_.Tighten(options.cpu);
  // Further away than anybody waits for: no deadline, and no sum that wraps.
  if (options.wall.has_value() && *options.wall < absl::Hours(24 * 366)) {
    const Clock::time_point deadline =
        start + std::chrono::duration_cast<Clock::duration>(
                    absl::ToChronoNanoseconds(*options.wall));
    deadline_ =
        deadline_.has_value() ? std::min(*deadline_, deadline) : deadline;
  }

  body();

  CallUsage usage;
  usage.fuel = fuel_.used() - fuel_before;
  usage.host_calls = host_calls_ - host_calls_before;
  usage.host_bytes = host_bytes_ - host_bytes_before;
  usage.wall = absl::FromChrono(Clock::now() - start);
  deadline_ = deadline_before;
  fuel_.Release(outer_budget);
  usage.cpu = processor_.Release(outer_processor);
  return usage;
}

void StoreImpl::LetOthersRun() {
  if (Parker* const parker = Parker::Current()) parker->YieldIfDue();
}

void StoreImpl::InterruptChanged(bool interrupted) {
  const std::lock_guard<std::mutex> lock(wait_mu_);
  if (parked_ != nullptr) parked_->Wake();
  if (wake_fd_ < 0) return;
  uint64_t count = 1;
  // A full counter is as awake as any other, and an empty one as quiet.
  if (interrupted) {
    static_cast<void>(!write(wake_fd_, &count, sizeof(count)));
  } else {
    static_cast<void>(!read(wake_fd_, &count, sizeof(count)));
  }
}

WakeReason StoreImpl::Wait(int fd, absl::Time when) {
  Parker* const parker = Parker::Current();
  if (parker == nullptr) return BlockUntil(fd, when);
  // Host functions at work for long ask like this whether to go on.
  parker->YieldIfDue();
  {
    const std::lock_guard<std::mutex> lock(wait_mu_);
    parked_ = parker;
  }
  const WakeReason reason = ParkUntil(*parker, fd, when);
  // Whoever wakes the fiber has the lock, so after this nobody does.
  const std::lock_guard<std::mutex> lock(wait_mu_);
  parked_ = nullptr;
  return reason;
}

WakeReason StoreImpl::ParkUntil(Parker& parker, int fd, absl::Time when) {
  while (true) {
    if (Interrupted() || TimeUp().has_value()) {
      return WakeReason::kInterrupted;
    }
    if (when <= absl::Now()) return WakeReason::kTimeReached;
    if (fd >= 0) {
      pollfd now{fd, POLLIN, 0};
      // A descriptor that cannot be polled is ready, too: reading it says what
      // is wrong.
      if (poll(&now, 1, 0) != 0) return WakeReason::kTimeReached;
    }
    Clock::time_point until = Parker::SteadyTime(when);
    if (deadline_.has_value()) until = std::min(until, *deadline_);
    parker.Park(fd, until);
  }
}

WakeReason StoreImpl::BlockUntil(int fd, absl::Time when) {
  int wake_fd;
  {
    const std::lock_guard<std::mutex> lock(wait_mu_);
    if (wake_fd_ < 0) wake_fd_ = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    wake_fd = wake_fd_;
  }
  while (true) {
    if (Interrupted() || TimeUp().has_value()) {
      return WakeReason::kInterrupted;
    }
    absl::Duration left = when - absl::Now();
    if (left <= absl::ZeroDuration()) return WakeReason::kTimeReached;
    if (deadline_.has_value()) {
      left = std::min(left, absl::FromChrono(*deadline_ - Clock::now()));
    }
    // Without an eventfd (no descriptor was free) look at the flag often.
    left = std::min(left,
                    wake_fd >= 0 ? absl::Seconds(3600) : absl::Milliseconds(5));
    const timespec timeout =
        absl::ToTimespec(std::max(left, absl::ZeroDuration()));
    pollfd fds[2] = {{wake_fd, POLLIN, 0}, {fd, POLLIN, 0}};
    const int ready = ppoll(fds, 2, &timeout, nullptr);
    if (ready < 0 && errno != EINTR) return WakeReason::kInterrupted;
    if (ready > 0 && fds[1].revents != 0 && !Interrupted()) {
      return WakeReason::kTimeReached;
    }
  }
}

// ---------------------------------------------------------------- calls

absl::Status StoreImpl::CheckMayCall(const CallOptions& options) const {
  if (in_probe_) {
    return absl::FailedPreconditionError(
        "a call hook may not call guests while it is told of an inner "
        "function");
  }
  if (in_hook_ && !hook_options_.allow_reentry) {
    return absl::FailedPreconditionError(
        "a call hook may call guests only when it was installed with "
        "allow_reentry");
  }
  if (in_hook_ && host_call_ != nullptr && host_call_->binding == nullptr) {
    return absl::FailedPreconditionError(
        "a call hook may not call guests from a runtime call: the engine is in "
        "the middle of something");
  }
  if (options.fuel.has_value() && !fuel_.metered()) {
    return absl::FailedPreconditionError(
        "this Engine's code does not count fuel: a call cannot have a budget "
        "of it");
  }
  return absl::OkStatus();
}

absl::Status StoreImpl::CheckValue(const Value& value) const {
  const uint64_t ref = value.raw().ref();
  if (value.type() == ValType::kFuncRef) {
    if (ref != kNullRef && !backend_->FuncOf(ref).has_value()) {
      return absl::InvalidArgumentError(
          absl::StrCat("funcref ", ref, " is no function of this Store"));
    }
  } else if (value.type() == ValType::kExternRef) {
    if (ref != kNullRef && !backend_->IsExternRef(ref)) {
      return absl::InvalidArgumentError(
          absl::StrCat("externref ", ref, " is no handle of this Store"));
    }
  }
  return absl::OkStatus();
}

absl::Status StoreImpl::CheckArguments(const FuncType& type,
                                       absl::Span<const Value> args) const {
  if (args.size() != type.params.size()) {
    return absl::InvalidArgumentError(
        absl::StrCat("a function of type ", type.ToString(), " takes ",
                     type.params.size(), " arguments, not ", args.size()));
  }
  for (size_t i = 0; i < args.size(); ++i) {
    if (args[i].type() != type.params[i]) {
      return absl::InvalidArgumentError(
          absl::StrCat("argument ", i, " must be ", ValTypeName(type.params[i]),
                       ", not ", ValTypeName(args[i].type())));
    }
    const absl::Status fits = CheckValue(args[i]);
    if (!fits.ok()) {
      return absl::InvalidArgumentError(
          absl::StrCat("argument ", i, ": ", std::string(fits.message())));
    }
  }
  return absl::OkStatus();
}

const FunctionIdentity& StoreImpl::IdentityOf(uint32_t func,
                                              FunctionIdentity::Kind kind) {
  const auto asked = std::make_pair(func, kind);
  if (asked == last_asked_) return *last_identity_;
  if (const std::optional<uint32_t> binding = backend_->BindingOf(func)) {
    last_identity_ = &bindings_[*binding].identity;
  } else {
    std::unique_ptr<const FunctionIdentity>& kept = guest_identities_[asked];
    if (kept == nullptr) {
      kept =
          std::make_unique<const FunctionIdentity>(GuestIdentity(func, kind));
    }
    last_identity_ = kept.get();
  }
  last_asked_ = asked;
  return *last_identity_;
}

FunctionIdentity StoreImpl::GuestIdentity(uint32_t func,
                                          FunctionIdentity::Kind kind) const {
  FunctionIdentity identity;
  identity.kind = kind;
  identity.type = &backend_->TypeOfFunc(func);
  const backend::RawFrame place = backend_->PlaceOf(func);
  identity.func_index = place.func_index;
  if (const InstanceState* instance = FindInstance(place.instance)) {
    identity.module = instance->name;
    for (const ExportType& e : instance->module->exports()) {
      if (e.type.kind == ExternKind::kFunc && e.index == place.func_index) {
        identity.name = e.name;
        return identity;
      }
    }
    identity.name = instance->module->FunctionName(place.func_index);
  }
  if (kind == FunctionIdentity::Kind::kGuestExport) {
    identity.kind = FunctionIdentity::Kind::kGuestOther;
  }
  return identity;
}

absl::StatusOr<CallResult> StoreImpl::Call(uint32_t func,
                                           absl::Span<const Value> args,
                                           const CallOptions& options,
                                           FunctionIdentity::Kind kind) {
  const ThreadCheck check(*this);
  if (absl::Status may = CheckMayCall(options); !may.ok()) return may;
  const FuncType& type = backend_->TypeOfFunc(func);
  if (absl::Status fit = CheckArguments(type, args); !fit.ok()) return fit;

  absl::InlinedVector<RawValue, kInlineValues> raw_args;
  for (const Value& value : args) raw_args.push_back(value.raw());
  absl::InlinedVector<RawValue, kInlineValues> raw_results(type.results.size());

  CallResult result;
  const FunctionIdentity& identity = IdentityOf(func, kind);
  result.usage = WithBudget(options, [&] {
    result.trap =
        RunGuest(func, identity, raw_args, absl::MakeSpan(raw_results));
  });
  if (!result.trap.has_value()) {
    result.values.reserve(raw_results.size());
    for (size_t i = 0; i < raw_results.size(); ++i) {
      result.values.emplace_back(type.results[i], raw_results[i]);
    }
  }
  return result;
}

// ---------------------------------------------------------------- linking

uint32_t StoreImpl::NewBinding(std::shared_ptr<const HostDefinition> definition,
                               absl::string_view module, absl::string_view name,
                               FunctionIdentity::Kind kind,
                               uint32_t import_index, uint32_t func_index) {
  Binding& binding = bindings_.emplace_back();
  binding_by_number_.push_back(&binding);
  binding.definition = std::move(definition);
  binding.module = std::string(module);
  binding.name = std::string(name);
  FunctionIdentity& identity = binding.identity;
  binding.results =
      static_cast<uint32_t>(binding.definition->type.results.size());
  binding.gives_i32 = binding.results == 1 &&
                      binding.definition->type.results[0] == ValType::kI32;
  identity.kind = kind;
  identity.module = binding.module;
  identity.name = binding.name;
  identity.type = &binding.definition->type;
  identity.import_index = import_index;
  identity.func_index = func_index;
  identity.binding = static_cast<uint32_t>(bindings_.size() - 1);
  identity.spec = &binding.definition->spec;
  binding.func =
      backend_->NewHostFunc(binding.definition->type, identity.binding);
  LinkToHook(binding);
  return identity.binding;
}

absl::StatusOr<StoreImpl::ResolvedImport> StoreImpl::ResolveImport(
    const ImportType& import, const Linker& linker) const {
  const auto wrong_type = [&](absl::string_view actual) {
    return absl::FailedPreconditionError(absl::StrCat(
        "incompatible import type: ", ImportText(import.module, import.name),
        " is wanted as ", import.type.ToString(), " and defined as ", actual));
  };
  const auto found =
      linker.entries_.find(std::make_pair(import.module, import.name));
  if (found == linker.entries_.end()) {
    return absl::NotFoundError(absl::StrCat(
        "unknown import: ", ImportText(import.module, import.name), ", a ",
        import.type.ToString(), ", is defined by nothing on this host"));
  }
  const Linker::Entry& entry = found->second;
  if (entry.host != nullptr) {
    if (import.type.kind != ExternKind::kFunc ||
        import.type.func != entry.host->type) {
      return wrong_type(absl::StrCat("func ", entry.host->type.ToString()));
    }
    return ResolvedImport{{}, entry.host};
  }
  const Extern& value = *entry.value;
  const auto foreign = [&](const Store* store) { return store != &self_; };
  const auto foreign_error = [&] {
    return absl::InvalidArgumentError(absl::StrCat(
        "the definition of ", ImportText(import.module, import.name),
        " belongs to another Store"));
  };
  if (value.func.has_value()) {
    if (foreign(value.func->store_)) return foreign_error();
    const uint32_t func = value.func->id_;
    const FuncType& type = backend_->TypeOfFunc(func);
    if (import.type.kind != ExternKind::kFunc || import.type.func != type) {
      return wrong_type(absl::StrCat("func ", type.ToString()));
    }
    // A host function gets its own identity for every import of it.
    if (const std::optional<uint32_t> old = backend_->BindingOf(func)) {
      return ResolvedImport{{}, bindings_[*old].definition};
    }
    return ResolvedImport{{ExternKind::kFunc, func}, nullptr};
  }
  ExternType actual;
  if (value.memory.has_value()) {
    if (foreign(value.memory->store_)) return foreign_error();
    actual.kind = ExternKind::kMemory;
    actual.memory = backend_->TypeOfMemory(value.memory->id_);
    const uint64_t pages =
        backend_->Bytes(value.memory->id_).size() / kWasmPageBytes;
    actual.memory.pages.min = pages;
    if (import.type.kind != ExternKind::kMemory ||
        import.type.memory.is64 != actual.memory.is64 ||
        import.type.memory.shared != actual.memory.shared ||
        !RangeFits(import.type.memory.pages, actual.memory.pages, pages)) {
      return wrong_type(actual.ToString());
    }
    return ResolvedImport{{ExternKind::kMemory, value.memory->id_}, nullptr};
  }
  if (value.table.has_value()) {
    if (foreign(value.table->store_)) return foreign_error();
    actual.kind = ExternKind::kTable;
    actual.table = backend_->TypeOfTable(value.table->id_);
    actual.table.size.min = backend_->TableSize(value.table->id_);
    if (import.type.kind != ExternKind::kTable ||
        import.type.table.element != actual.table.element ||
        !RangeFits(import.type.table.size, actual.table.size,
                   actual.table.size.min)) {
      return wrong_type(actual.ToString());
    }
    return ResolvedImport{{ExternKind::kTable, value.table->id_}, nullptr};
  }
  if (value.global.has_value()) {
    if (foreign(value.global->store_)) return foreign_error();
    actual.kind = ExternKind::kGlobal;
    actual.global = backend_->TypeOfGlobal(value.global->id_);
    if (import.type.kind != ExternKind::kGlobal ||
        import.type.global.type != actual.global.type ||
        import.type.global.is_mutable != actual.global.is_mutable) {
      return wrong_type(actual.ToString());
    }
    return ResolvedImport{{ExternKind::kGlobal, value.global->id_}, nullptr};
  }
  if (value.tag.has_value()) {
    if (foreign(value.tag->store_)) return foreign_error();
    actual.kind = ExternKind::kTag;
    actual.func = backend_->TypeOfTag(value.tag->id_);
    if (import.type.kind != ExternKind::kTag ||
        import.type.func != actual.func) {
      return wrong_type(actual.ToString());
    }
    return ResolvedImport{{ExternKind::kTag, value.tag->id_}, nullptr};
  }
  return wrong_type("nothing");
}

absl::Status StoreImpl::ReserveMemory(uint64_t bytes) {
  if (!LimitsAllow(GrowthEvent::Kind::kMemory, 0, bytes) ||
      (limiter_ != nullptr && !limiter_->MemoryGrowing(0, bytes))) {
    return absl::ResourceExhaustedError(absl::StrCat(
        "a memory of ", bytes,
        " bytes does not fit into the Store: ", bytes_used_,
        " of `memory_bytes_total` ", limits_.bytes_total, " are used"));
  }
  Grown(ExternKind::kMemory, bytes);
  return absl::OkStatus();
}

absl::Status StoreImpl::ReserveTable(uint64_t elements) {
  if (!LimitsAllow(GrowthEvent::Kind::kTable, 0, elements) ||
      (limiter_ != nullptr && !limiter_->TableGrowing(0, elements))) {
    return absl::ResourceExhaustedError(absl::StrCat(
        "a table of ", elements, " elements does not fit into the Store: ",
        table_elements_, " of `table_elements_total` ",
        limits_.table_elements_total, " and ", bytes_used_,
        " of `memory_bytes_total` ", limits_.bytes_total, " are used"));
  }
  Grown(ExternKind::kTable, elements);
  return absl::OkStatus();
}

absl::Status StoreImpl::Reserve(const Module& module) {
  if (instances_.size() >= limits_.instances) {
    return absl::ResourceExhaustedError(
        absl::StrCat("the Store has ", instances_.size(),
                     " instances, its limit `instances`"));
  }
  const uint64_t bytes_before = bytes_used_;
  const uint64_t elements_before = table_elements_;
  // The summary's index spaces begin with what is imported.
  const admission::ModuleSummary& summary = module.summary();
  absl::Status reserved;
  for (size_t i = summary.imported_memories;
       i < summary.memories.size() && reserved.ok(); ++i) {
    reserved = ReserveMemory(summary.memories[i].pages.min * kWasmPageBytes);
  }
  for (size_t i = summary.imported_tables;
       i < summary.tables.size() && reserved.ok(); ++i) {
    reserved = ReserveTable(summary.tables[i].size.min);
  }
  if (!reserved.ok()) {
    bytes_used_ = bytes_before;
    table_elements_ = elements_before;
  }
  return reserved;
}

absl::StatusOr<Instantiation> StoreImpl::Instantiate(
    const Linker& linker, std::shared_ptr<const Module> module,
    absl::string_view name, const CallOptions& options) {
  const ThreadCheck check(*this);
  if (absl::Status may = CheckMayCall(options); !may.ok()) return may;
  if (&module->engine() != &engine_) {
    return absl::InvalidArgumentError(
        "the module was compiled by another Engine than the Store's");
  }
  std::vector<ResolvedImport> resolved;
  for (const ImportType& import : module->imports()) {
    absl::StatusOr<ResolvedImport> one = ResolveImport(import, linker);
    if (!one.ok()) return one.status();
    resolved.push_back(*std::move(one));
  }
  if (absl::Status ready = backend_->Prepare(module->code()); !ready.ok()) {
    return ready;
  }
  if (absl::Status fits = Reserve(*module); !fits.ok()) return fits;
  // A module that could not be linked has left nothing behind so far.
  std::vector<backend::ExternId> imports;
  uint32_t func_imports = 0;
  for (size_t i = 0; i < resolved.size(); ++i) {
    const ImportType& import = module->imports()[i];
    if (resolved[i].host != nullptr) {
      const uint32_t binding = NewBinding(
          resolved[i].host, import.module, import.name,
          FunctionIdentity::Kind::kHostImport, func_imports, func_imports);
      resolved[i].id =
          backend::ExternId{ExternKind::kFunc, bindings_[binding].func};
    }
    imports.push_back(resolved[i].id);
    if (import.type.kind == ExternKind::kFunc) ++func_imports;
  }

  Instantiation result;
  absl::Status failure;
  result.usage = WithBudget(options, [&] {
    backend::Probes probes;
    probes.functions = module->FunctionsOf(hook_options_.probes);
    probes.first = static_cast<uint32_t>(probes_.size());
    absl::StatusOr<backend::Instantiated> made =
        backend_->Instantiate(module->code(), imports, probes);
    if (!made.ok()) {
      failure = made.status();
      return;
    }
    if (!made->instance.has_value()) {
      result.trap = Trap(made->stop->code, {});
      return;
    }
    const uint32_t backend_id = *made->instance;
    InstanceState& state = instances_.emplace_back();
    state.name = std::string(name);
    state.module = module;
    state.backend_id = backend_id;
    const uint32_t id = static_cast<uint32_t>(instances_.size() - 1);
    instance_of_backend_.emplace(backend_id, id);
    AddProbes(state, probes);
    if (made->stop.has_value()) {
      // What is left of it can still be called where a table has got hold of
      // its functions.
      result.trap = Trap(made->stop->code, {});
      return;
    }
    state.exports = backend_->Exports(backend_id);
    for (size_t i = 0; i < module->exports().size(); ++i) {
      state.export_index.emplace(module->exports()[i].name, i);
    }
    if (module->summary().start_function.has_value()) {
      const uint32_t start =
          backend_->FuncAt(backend_id, *module->summary().start_function);
      const FunctionIdentity& identity =
          IdentityOf(start, FunctionIdentity::Kind::kGuestStart);
      result.trap = RunGuest(start, identity, {}, {});
      if (result.trap.has_value()) return;
    }
    result.instance = Instance(&self_, id);
  });
  if (!failure.ok()) return failure;
  return result;
}

// ---------------------------------------------------------------- names

const StoreImpl::InstanceState* StoreImpl::FindInstance(
    uint32_t backend_id) const {
  const auto found = instance_of_backend_.find(backend_id);
  return found == instance_of_backend_.end() ? nullptr
                                             : &instances_[found->second];
}

CallerFrame StoreImpl::CallerAt(backend::CallSite site) const {
  CallerFrame caller;
  caller.func_index = site.func_index;
  if (const InstanceState* instance = FindInstance(site.instance)) {
    caller.func_name = instance->module->FunctionName(site.func_index);
    caller.module_name = instance->name;
  }
  return caller;
}

Frame StoreImpl::NameOne(const backend::RawFrame& raw) const {
  Frame frame;
  frame.func_index = raw.func_index;
  frame.module_offset = raw.module_offset;
  if (const InstanceState* instance = FindInstance(raw.instance)) {
    frame.module_name = instance->name;
    frame.func_name =
        std::string(instance->module->FunctionName(raw.func_index));
  }
  frame.source = backend_->SourceOf(raw);
  return frame;
}

std::vector<Frame> StoreImpl::Name(
    const std::vector<backend::RawFrame>& raw) const {
  std::vector<Frame> frames;
  frames.reserve(raw.size());
  for (const backend::RawFrame& frame : raw) frames.push_back(NameOne(frame));
  return frames;
}

std::vector<Frame> StoreImpl::FramesBelow(const HostCallState* innermost,
                                          size_t max_frames) const {
  std::vector<Frame> frames;
  for (const HostCallState* call = innermost;
       call != nullptr && frames.size() < max_frames; call = call->outer) {
    if (call->frames == nullptr) continue;
    for (const backend::RawFrame& frame :
         call->frames->Frames(max_frames - frames.size())) {
      frames.push_back(NameOne(frame));
    }
  }
  return frames;
}

std::optional<uint32_t> StoreImpl::CallerInstance(const HostCallState& call) {
  if (call.frames == nullptr) return std::nullopt;
  const uint32_t instance = call.frames->Newest().instance;
  if (instance == kNoIndex) return std::nullopt;
  return instance;
}

absl::Span<uint8_t> StoreImpl::CallerMemory(const HostCallState& call) {
  const std::optional<uint32_t> instance = CallerInstance(call);
  if (!instance.has_value()) return {};
  const std::optional<uint32_t> memory = backend_->DefaultMemory(*instance);
  if (!memory.has_value()) return {};
  return backend_->Bytes(*memory);
}

}  // namespace callgate
