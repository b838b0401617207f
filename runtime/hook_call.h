// The hook's view of one transition, and what the Store makes of it.
//
// One of them serves all events of a Store, one after another, since there is
// one event at a time: while a hook is asked nothing else is offered to it. So
// an event is some stores into what is there already, and what costs more (who
// called, memory, backtraces) is found when the hook asks for it. A leaf
// function has one of its own (watched_leaf.h), most of which never changes.
//
// Seen by the runtime's own sources alone. The Store's thread.

#ifndef CALLGATE_RUNTIME_HOOK_CALL_H_
#define CALLGATE_RUNTIME_HOOK_CALL_H_

#include <cstdint>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "runtime/call_hook.h"
#include "runtime/store_impl.h"

namespace callgate {

class HookCall final : public CallContext {
 public:
  explicit HookCall(StoreImpl& store) : store_(store) { fuel_ = &store.fuel_; }
  ~HookCall() override = default;
  HookCall(const HookCall&) = delete;
  HookCall& operator=(const HookCall&) = delete;

  // These make it the event of that name. What they get outlives the event.
  void CallingWasm(const FunctionIdentity& function, uint32_t depth,
                   absl::Span<const RawValue> args) {
    Begin(Transition::kCallingWasm, Ending::kNotYet, function, nullptr, depth,
          args);
    results_ = {};
  }
  void ReturningFromWasm(const FunctionIdentity& function, uint32_t depth,
                         absl::Span<const RawValue> args, Ending ending,
                         absl::Span<const RawValue> results) {
    Begin(Transition::kReturningFromWasm, ending, function, nullptr, depth,
          args);
    results_ = results;
  }
  void CallingHost(const FunctionIdentity& function,
                   StoreImpl::HostCallState& state, uint32_t depth,
                   absl::Span<const RawValue> args) {
    Begin(Transition::kCallingHost, Ending::kNotYet, function, &state, depth,
          args);
    results_ = {};
  }
  void ReturningFromHost(const FunctionIdentity& function,
                         StoreImpl::HostCallState& state, uint32_t depth,
                         absl::Span<const RawValue> args, Ending ending,
                         const RawValue* results, size_t count) {
    Begin(Transition::kReturningFromHost, ending, function, &state, depth,
          args);
    results_ = absl::MakeConstSpan(results, count);
  }
  // Of a returning event that ended with one, which outlives the event.
  void SetTrap(const Trap* trap) { trap_ = trap; }

  // What is the same for all events of a leaf function, and both of them.
  void ForLeaf(const FunctionIdentity& function,
               StoreImpl::HostCallState& state,
               absl::Span<const RawValue> args) {
    Begin(Transition::kCallingHost, Ending::kNotYet, function, &state, 0, args);
  }
  void AtDepth(uint32_t depth) { depth_ = depth; }
  void CallingLeaf() {
    transition_ = Transition::kCallingHost;
    ending_ = Ending::kNotYet;
    results_ = {};
  }
  void ReturningFromLeaf(const RawValue* results, size_t count) {
    transition_ = Transition::kReturningFromHost;
    ending_ = Ending::kValue;
    results_ = absl::MakeConstSpan(results, count);
  }

  CallerFrame caller() override;
  uint32_t caller_index() override;
  std::vector<Frame> Backtrace(size_t max_frames) override;
  size_t CallChain(absl::Span<uint64_t> words) override;
  size_t ChainFunctions(absl::Span<const uint64_t> words,
                        absl::Span<uint32_t> functions) override;
  void Relink() override;
  uint64_t MemoryBytes() override;
  uint64_t StoreBytes() override;
  absl::StatusOr<absl::Span<const uint8_t>> Capture(uint64_t address,
                                                    uint64_t length) override;
  absl::Status ReadBack(uint64_t address, absl::Span<uint8_t> out) override;

  // The hook's answer, for the Store. What is taken is forgotten.
  absl::Duration TakeDelay() {
    return std::exchange(delay_, absl::ZeroDuration());
  }
  const std::vector<RawValue>& answer() const { return answer_; }
  void ForgetAnswer() { answer_.clear(); }
  ErrorRef TakeError() { return std::move(error_); }

 private:
  void Begin(Transition transition, Ending ending,
             const FunctionIdentity& function,
             StoreImpl::HostCallState* host_call, uint32_t depth,
             absl::Span<const RawValue> args) {
    transition_ = transition;
    ending_ = ending;
    depth_ = depth;
    function_ = &function;
    args_ = args;
    trap_ = nullptr;
    host_call_ = host_call;
  }

  StoreImpl& store_;
  StoreImpl::HostCallState* host_call_ = nullptr;
};

}  // namespace callgate

#endif  // CALLGATE_RUNTIME_HOOK_CALL_H_
