// How guests of a NativeStore run: calls in both directions, fuel, stops and
// backtraces.
//
// The frames of an activation, newest first, are a chain of frame pointers on
// the guest's stack that ends at 0. It holds compiled functions, but also
// thunks, trampolines, callgate_try_call and, in sanitizer builds, a function
// of ours; what is no function of an instance is passed over.

#include <algorithm>
#include <array>
#include <memory>
#include <new>
#include <utility>

#include "absl/strings/str_cat.h"
#include "runtime/check.h"
#include "runtime/native/native_store.h"

namespace callgate::native {
namespace {

// Between two looks at the interrupt: about a tenth of a millisecond.
constexpr uint64_t kSlice = 200'000;
// How much a host call shortens the slice, so that a guest which does nothing
// but call the host comes to its end, too.
constexpr int64_t kHostCallToll = 500;

// What addresses of user space have on x86-64 with four levels of page tables,
// and all that the kernel gives out unless asked for more.
constexpr int kAddressBits = 48;

}  // namespace

// ---------------------------------------------------------------- frames

// Makes RawFrames of addresses in code.
class NativeStore::FrameList {
 public:
  FrameList(const NativeStore& store, size_t max_frames,
            const backend::RawFrame* newest = nullptr)
      : store_(store), max_frames_(max_frames) {
    if (newest == nullptr) return;
    frames_.push_back(*newest);
    newest_ = false;
  }

  bool full() const { return frames_.size() >= max_frames_; }
  std::vector<backend::RawFrame> Take() { return std::move(frames_); }

  // An address behind a call, or the one of an instruction that faulted.
  void AddReturn(uintptr_t address) { Add(address - 1); }
  void AddFault(uintptr_t address) { Add(address); }

 private:
  void Add(uintptr_t pc) {
    const CodeRange* range = store_.FindRange(pc);
    if (range == nullptr) return;
    const std::optional<CodePlace> place =
        range->code->Find(reinterpret_cast<const void*>(pc));
    if (!place.has_value()) return;
    const bool is_newest = newest_;
    newest_ = false;
    // A function that ends with tail calls has two frames: its body's, and that
    // of the loop that runs what the body ended with. While the body runs it
    // is enough of them; after it the function has made way for another one.
    // Only where the loop itself is at work does it stand for the function.
    const bool has_body = range->code->Body(place->function) != nullptr;
    if (has_body && !place->body && !is_newest) return;
    backend::RawFrame frame;
    frame.instance = range->instance->id();
    frame.func_index = place->function;
    frame.module_offset = range->instance->version().map().ModuleOffset(
        place->function, place->body, place->offset_in_symbol);
    frames_.push_back(frame);
  }

  const NativeStore& store_;
  const size_t max_frames_;
  bool newest_ = true;
  std::vector<backend::RawFrame> frames_;
};

std::vector<backend::RawFrame> NativeStore::FramesFrom(
    const void* frame, size_t max_frames,
    const backend::RawFrame* newest) const {
  FrameList list(*this, max_frames, newest);
  if (frame == nullptr) return list.Take();
  // SAFETY: every frame of an activation is on the guest's stack, so nothing
  // else is read, whatever the chain says; and it is read upwards only.
  uintptr_t at = reinterpret_cast<uintptr_t>(frame);
  uintptr_t floor = stack_->low();
  while (!list.full() && at >= floor && at % 8 == 0 &&
         at <= stack_->top() - 16) {
    const auto* words = reinterpret_cast<const uintptr_t*>(at);
    list.AddReturn(words[1]);
    floor = at + 16;
    at = words[0];
  }
  return list.Take();
}

backend::CallSite NativeStore::SiteOf(const void* frame) const {
  if (frame == nullptr) return {};
  // SAFETY: as in FramesFrom; this is its first frame.
  const uintptr_t address = static_cast<const uintptr_t*>(frame)[1];
  KnownSite& known = known_sites_[(address >> 2) % kKnownSites];
  if (known.address == address) return known.site;
  const std::vector<backend::RawFrame> newest = FramesFrom(frame, 1);
  if (newest.empty()) return {};
  const backend::CallSite site = {newest[0].instance, newest[0].func_index};
  // Where the address is passed over, the next frame's counts, which is
  // another one each time.
  FrameList alone(*this, 1);
  alone.AddReturn(address);
  if (alone.full()) known = {address, site};
  return site;
}

// A word is a return address, and above it the number of the code that it
// points into: code that was loaded later may lie where this was. (The number
// is told apart from one 65,536 changes later by nobody.)
size_t NativeStore::ChainFrom(const void* frame,
                              absl::Span<uint64_t> words) const {
  if (frame == nullptr) return 0;
  const uint64_t generation = uint64_t{code_generation_} << kAddressBits;
  size_t count = 0;
  // SAFETY: as in FramesFrom.
  uintptr_t at = reinterpret_cast<uintptr_t>(frame);
  uintptr_t floor = stack_->low();
  const uintptr_t last = stack_->top() - 16;
  while (count < words.size() && at >= floor && at % 8 == 0 && at <= last) {
    const auto* saved = reinterpret_cast<const uintptr_t*>(at);
    if (FindRange(saved[1] - 1) != nullptr) {
      words[count++] = saved[1] | generation;
    }
    floor = at + 16;
    at = saved[0];
  }
  return count;
}

size_t NativeStore::FunctionsOf(absl::Span<const uint64_t> words,
                                absl::Span<uint32_t> functions) const {
  size_t count = 0;
  bool newest = true;
  for (const uint64_t word : words) {
    if (count == functions.size()) break;
    if (word >> kAddressBits != code_generation_) continue;
    const auto pc = static_cast<uintptr_t>(
        (word & ((uint64_t{1} << kAddressBits) - 1)) - 1);
    const CodeRange* range = FindRange(pc);
    if (range == nullptr) continue;
    const std::optional<CodePlace> place =
        range->code->Find(reinterpret_cast<const void*>(pc));
    if (!place.has_value()) continue;
    // As FrameList::Add.
    const bool has_body = range->code->Body(place->function) != nullptr;
    if (has_body && !place->body && !std::exchange(newest, false)) continue;
    newest = false;
    functions[count++] = place->function;
  }
  return count;
}

std::vector<backend::RawFrame> NativeStore::FramesOf(
    const FaultScope& faults) const {
  FrameList list(*this, kBacktraceFramesMax);
  list.AddFault(faults.fault.pc);
  for (size_t i = 0; i < faults.returns && !list.full(); ++i) {
    list.AddReturn(faults.return_addresses[i]);
  }
  return list.Take();
}

std::vector<backend::RawFrame> NativeStore::GuestView::Frames(
    size_t max_frames) {
  return store_.FramesFrom(frame_, max_frames);
}

backend::CallSite NativeStore::GuestView::Newest() {
  return store_.SiteOf(frame_);
}

size_t NativeStore::GuestView::CallChain(absl::Span<uint64_t> words) {
  return store_.ChainFrom(frame_, words);
}

size_t NativeStore::GuestView::ChainFunctions(absl::Span<const uint64_t> words,
                                              absl::Span<uint32_t> functions) {
  return store_.FunctionsOf(words, functions);
}

// Both are called by the signal handler, in the middle of compiled code.
bool NativeStore::IsCode(const void* owner, uintptr_t pc) {
  return static_cast<const NativeStore*>(owner)->FindRange(pc) != nullptr;
}

bool NativeStore::IsMemory(const void* owner, uintptr_t address) {
  for (const Memory& memory :
       static_cast<const NativeStore*>(owner)->memories_) {
    const auto base = reinterpret_cast<uintptr_t>(memory.def.base);
    if (address >= base && address - base < kMemoryReserve) return true;
  }
  return false;
}

// ---------------------------------------------------------------- fuel

bool NativeStore::Settle(int64_t fuel) {
  if (!engine_.metered) return true;
  const auto used = static_cast<uint64_t>(slice_ - fuel);
  slice_ = fuel;
  const uint64_t left = host_.FuelLeft();
  host_.ConsumeFuel(std::min(used, left));
  return used <= left;
}

std::optional<backend::Stop> NativeStore::Afford(int64_t fuel,
                                                 const void* frame) {
  if (Settle(fuel)) return std::nullopt;
  return OutOfFuel(frame);
}

std::optional<backend::Stop> NativeStore::OutOfFuel(const void* frame) {
  GuestView view(*this, frame);
  return host_.OutOfFuel(view);
}

std::optional<backend::Stop> NativeStore::RunRuntimeCall(
    backend::RuntimeCall call, const void* frame,
    absl::Span<const RawValue> args, absl::Span<RawValue> results,
    absl::FunctionRef<std::optional<backend::Stop>()> work) {
  GuestView view(*this, frame);
  return host_.RunRuntimeCall(call, view, args, results, work);
}

void NativeStore::ResumeSlice(int64_t toll) {
  const int64_t rest = std::max<int64_t>(slice_ - toll, 0);
  slice_ = static_cast<int64_t>(
      std::min(host_.FuelLeft(), static_cast<uint64_t>(rest)));
  context().fuel = slice_;
}

int64_t NativeStore::NewSlice() {
  slice_ = static_cast<int64_t>(std::min(host_.FuelLeft(), kSlice));
  context().fuel = slice_;
  return slice_;
}

std::optional<backend::Stop> NativeStore::MayNotRun() const {
  if (host_.Interrupted()) {
    return backend::Stop{TrapCode::kInterrupted, nullptr};
  }
  if (const std::optional<TrapCode> up = host_.TimeUp()) {
    return backend::Stop{*up, nullptr};
  }
  return std::nullopt;
}

// ---------------------------------------------------------------- stops

bool NativeStore::Stopped(backend::Stop stop, const void* frame, int64_t fuel) {
  if (std::optional<backend::Stop> spent = Afford(fuel, frame)) {
    // It would not have come so far.
    stop = *std::move(spent);
  }
  running_->stop = std::move(stop);
  running_->backtrace = FramesFrom(frame, kBacktraceFramesMax);
  return false;
}

void NativeStore::Leave() {
  AboutToDropFrames();
  if (running_->outer == nullptr) fiber_.Returning();
  callgate_unwind(&running_->activation);
}

void NativeStore::Interrupt() {
  cell_.context.stack_limit.store(~uint64_t{0}, std::memory_order_seq_cst);
}

// ---------------------------------------------------------------- calls

#if defined(__SANITIZE_ADDRESS__)
#define CALLGATE_BEFORE_ARRIVAL __attribute__((no_sanitize("address")))
#else
#define CALLGATE_BEFORE_ARRIVAL
#endif

// What compiled code is entered through where a sanitizer must know of the
// stack.
CALLGATE_BEFORE_ARRIVAL int64_t NativeStore::EnterOnFiber(
    void* context, int64_t fuel, const void* code, const RawValue* args) {
  NativeStore* const store =
      reinterpret_cast<Cell*>(static_cast<ContextHeader*>(context)->store)
          ->store;
  store->fiber_.Arrived();
  const int64_t left = store->entry_on_fiber_(context, fuel, code, args);
  store->fiber_.Returning();
  return left;
}

backend::Completion NativeStore::Call(uint32_t func,
                                      absl::Span<const RawValue> args,
                                      absl::Span<RawValue> results,
                                      uint32_t /*call_depth_max*/) {
  const bool outermost = running_ == nullptr;
  if (outermost) TakeNewCode();
  Function& function = functions_[func];
  CALLGATE_CHECK(function.instance != nullptr,
                 "the runtime calls host functions itself");
  const FuncType& type = *function.type;

  backend::Completion completion;
  const auto not_run = [&](backend::Stop stop) {
    completion.stop = std::move(stop);
    completion.backtrace = {PlaceOf(func)};
    return completion;
  };
  if (outermost) {
    absl::StatusOr<std::unique_ptr<Stack>> stack =
        engine_.stacks.Acquire(stack_bytes_);
    if (!stack.ok()) {
      return not_run(
          backend::Stop{TrapCode::kHostError,
                        MakeError(std::string(stack.status().message()))});
    }
    if (!PrepareThreadForFaults()) {
      engine_.stacks.Release(*std::move(stack));
      return not_run(
          backend::Stop{TrapCode::kHostError,
                        MakeError("no stack for signals is to be had")});
    }
    stack_ = *std::move(stack);
    // Before the look at the interrupt: see kCheckStack.
    context().stack_limit.exchange(stack_->limit(), std::memory_order_seq_cst);
    if (!engine_.metered) ticking_.Begin();
  }

  // Without fuel it ends where the function begins.
  std::optional<backend::Stop> may_not = MayNotRun();
  bool overrun = false;
  if (!may_not.has_value()) {
    const RawValue* guest_args = args.data();
    std::vector<RawValue> converted;
    if (function.has_funcrefs) {
      for (size_t i = 0; i < args.size(); ++i) {
        converted.push_back(ToGuest(type.params[i], args[i]));
      }
      guest_args = converted.data();
    }
    const uint32_t type_index =
        function.instance->image().functions()[function.index];
    EntryTrampoline entry =
        reinterpret_cast<EntryTrampoline>(reinterpret_cast<uintptr_t>(
            function.instance->code().EntryTrampoline(type_index)));

    // What belongs to the activation that this one is nested in.
    StoreContext& shared = context();
    ExceptionHandler* const handler = std::exchange(shared.handler, nullptr);
    const void* const tail_code = std::exchange(shared.tail_code, nullptr);
    void* const tail_context = shared.tail_context;
    const void* const tail_entry = shared.tail_entry;

    Running running;
    running.outer = running_;
    running.faults.activation = &running.activation;
    running.faults.owner = this;
    running.faults.is_code = &IsCode;
    running.faults.is_memory = &IsMemory;
    running.faults.guard_begin = stack_->guard_begin();
    running.faults.guard_end = stack_->low();
    running.faults.stack_low = stack_->low();
    running.faults.stack_top = stack_->top();
    running_ = &running;
    PushFaultScope(running.faults);
    const int64_t slice = NewSlice();
    if (outermost && FiberAnnotations::kNeedsArrival) {
      entry_on_fiber_ = std::exchange(entry, &EnterOnFiber);
      fiber_.Leaving(stack_->low(), stack_->top());
    }
    EnterResult result;
    {
      ThreadAnnotations thread;
      thread.Enter();
      result = callgate_enter(
          &running.activation, entry, function.record.context, slice,
          function.record.code, guest_args,
          outermost ? reinterpret_cast<void*>(stack_->top()) : nullptr);
      thread.Leave();
    }
    if (outermost && FiberAnnotations::kNeedsArrival) {
      // A fault leaves the stack without a word.
      if (running.faults.fault.happened) fiber_.Returning();
      fiber_.Returned();
    }
    PopFaultScope(running.faults);
    running_ = running.outer;

    shared.handler = handler;
    shared.tail_code = tail_code;
    shared.tail_context = tail_context;
    shared.tail_entry = tail_entry;

    if (running.faults.fault.happened) {
      // The count was in a register. At most a slice, then.
      Settle(0);
      completion.stop = backend::Stop{running.faults.fault.code, nullptr};
      completion.backtrace = FramesOf(running.faults);
    } else if (result.stopped != 0) {
      completion.stop = std::move(running.stop);
      completion.backtrace = std::move(running.backtrace);
    } else {
      overrun = !Settle(result.fuel);
      for (size_t i = 0; i < results.size(); ++i) {
        results[i] = FromGuest(type.results[i], shared.values[i]);
      }
    }
  }

  if (outermost) {
    if (!engine_.metered) ticking_.End();
    engine_.stacks.Release(std::move(stack_));
  }
  if (overrun) {
    // It returned, and would not have come so far. Its frames are gone.
    GuestView view(*this, nullptr);
    if (std::optional<backend::Stop> spent = host_.OutOfFuel(view)) {
      completion.stop = *std::move(spent);
      completion.backtrace = {PlaceOf(func)};
    }
  }
  return may_not.has_value() ? not_run(*std::move(may_not)) : completion;
}

// ---------------------------------------------------------------- host calls

void NativeStore::SetLeaf(uint32_t func, const LeafFunction* leaf,
                          backend::WatchedLeaf* watched) {
  BoundHost& host = *functions_[func].host;
  host.enter = &HostEnter;
  // Funcrefs are converted on the long way.
  if (host.has_funcrefs) return;
  if (leaf != nullptr) {
    host.leaf = leaf->body;
    host.leaf_data = leaf->data.get();
    host.enter = engine_.metered ? &LeafEnter<true> : &LeafEnter<false>;
  } else if (watched != nullptr) {
    host.watched = watched;
    host.enter =
        engine_.metered ? &WatchedLeafEnter<true> : &WatchedLeafEnter<false>;
  }
}

template <bool metered>
void NativeStore::LeafEnter(HostContext* host, const void* frame,
                            RawValue* values) {
  const auto* const bound = static_cast<const BoundHost*>(host);
  auto* const store = static_cast<NativeStore*>(host->owner);
  if constexpr (metered) {
    // The toll comes off the slice and off what is left of it, so what the
    // guest has used stays what it is. At the slice's end, and where more was
    // used than there was, the long way knows what to do.
    int64_t& fuel = store->context().fuel;
    if (fuel < kHostCallToll) return HostEnter(host, frame, values);
    if (!store->host_.CountLeafCall()) return HostEnter(host, frame, values);
    store->slice_ -= kHostCallToll;
    fuel -= kHostCallToll;
  } else {
    if (!store->host_.CountLeafCall()) return HostEnter(host, frame, values);
  }
  bound->leaf(bound->leaf_data, values);
}

template void NativeStore::LeafEnter<true>(HostContext* host, const void* frame,
                                           RawValue* values);
template void NativeStore::LeafEnter<false>(HostContext* host,
                                            const void* frame,
                                            RawValue* values);

// The hook may look at the fuel, and change it: what was used is settled
// before, and a new slice begins after it.
template <bool metered>
void NativeStore::WatchedLeafEnter(HostContext* host, const void* frame,
                                   RawValue* values) {
  auto* const store = static_cast<NativeStore*>(host->owner);
  // What there is none of, or too much, is said on the long way, which settles
  // nothing twice.
  if constexpr (metered) {
    const int64_t fuel = store->context().fuel;
    const auto used = static_cast<uint64_t>(store->slice_ - fuel);
    if (used > store->host_.FuelLeft()) return HostEnter(host, frame, values);
    store->slice_ = fuel;
    store->host_.ConsumeFuel(used);
  }
  if (!store->host_.CountLeafCall()) return HostEnter(host, frame, values);
  store->leaf_view_.LookAt(frame);
  const bool goes_on = static_cast<const BoundHost*>(host)->watched->Call(
      store->leaf_view_, values);
  if constexpr (metered) OwnerOf(host)->ResumeSlice(kHostCallToll);
  if (!goes_on) EndLeaf(host);
}

template void NativeStore::WatchedLeafEnter<true>(HostContext* host,
                                                  const void* frame,
                                                  RawValue* values);
template void NativeStore::WatchedLeafEnter<false>(HostContext* host,
                                                   const void* frame,
                                                   RawValue* values);

__attribute__((noinline)) void NativeStore::EndLeaf(HostContext* host) {
  LeafStopped(static_cast<const BoundHost&>(*host));
  OwnerOf(host)->Leave();
}

__attribute__((noinline)) void NativeStore::LeafStopped(const BoundHost& host) {
  NativeStore& store = *OwnerOf(&host);
  store.Stopped(host.watched->TakeStop(), store.leaf_view_.frame(),
                store.context().fuel);
}

void NativeStore::HostEnter(HostContext* host, const void* frame,
                            RawValue* values) {
  auto* const store = static_cast<NativeStore*>(host->owner);
  if (!store->HostCalled(*static_cast<const BoundHost*>(host), frame, values)) {
    store->Leave();
  }
}

inline bool NativeStore::CallBound(const BoundHost& host, const void* frame,
                                   absl::Span<const RawValue> args,
                                   RawValue* results) {
  for (uint32_t i = 0; i < host.results; ++i) results[i] = RawValue();
  GuestView view(*this, frame);
  std::optional<backend::Stop> stop =
      host_.CallHost(host.binding, view, args, results);
  ResumeSlice(kHostCallToll);
  if (!stop.has_value()) return true;
  return Stopped(*std::move(stop), frame, context().fuel);
}

__attribute__((noinline)) bool NativeStore::HostCalled(const BoundHost& host,
                                                       const void* frame,
                                                       RawValue* values) {
  // Host code may ask for the counters, and use some itself.
  if (!Settle(context().fuel)) {
    if (std::optional<backend::Stop> spent = OutOfFuel(frame)) {
      return Stopped(*std::move(spent), frame, context().fuel);
    }
  }
  // The results go where the arguments came from, but the hook sees both: the
  // arguments move away where there are results, or where they change.
  constexpr uint32_t kFew = 8;
  if (host.has_funcrefs || host.params > kFew) {
    return HostCalledWithMany(host, frame, values);
  }
  // Not initialised, and no array of bytes, which compilers guard.
  std::array<uint64_t, kFew * sizeof(RawValue) / sizeof(uint64_t)> few;
  static_assert(alignof(RawValue) <= alignof(uint64_t));
  const RawValue* args = values;
  if (host.params > 0 && host.results > 0) {
    auto* const moved = reinterpret_cast<RawValue*>(few.data());
    for (uint32_t i = 0; i < host.params; ++i) {
      (new (moved + i) RawValue)->CopyHalves(values[i]);
    }
    args = moved;
  }
  return CallBound(host, frame, absl::MakeConstSpan(args, host.params), values);
}

// Also those whose arguments and results have another form outside.
__attribute__((noinline)) bool NativeStore::HostCalledWithMany(
    const BoundHost& host, const void* frame, RawValue* values) {
  std::vector<RawValue> args(values, values + host.params);
  if (host.has_funcrefs) {
    for (uint32_t i = 0; i < host.params; ++i) {
      args[i] = FromGuest(host.type->params[i], values[i]);
    }
  }
  return CallBound(host, frame, args, values) &&
         (!host.has_funcrefs ||
          ConvertResults(host, frame, absl::MakeSpan(values, host.results)));
}

bool NativeStore::ConvertResults(const BoundHost& host, const void* frame,
                                 absl::Span<RawValue> results) {
  for (size_t i = 0; i < results.size(); ++i) {
    if (host.type->results[i] != ValType::kFuncRef) continue;
    const uint64_t ref = results[i].ref();
    if (ref != kNullRef && !FuncOf(ref).has_value()) {
      return Stopped(
          backend::Stop{TrapCode::kHostError,
                        MakeError(absl::StrCat("the host function returned "
                                               "funcref ",
                                               ref,
                                               ", which is no function of "
                                               "this Store"))},
          frame, context().fuel);
    }
    results[i] = ToGuest(ValType::kFuncRef, results[i]);
  }
  return true;
}

}  // namespace callgate::native
