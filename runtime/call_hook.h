// The seam between running guests and judging them.
//
// A Store offers every transition between guest and host code to at most one
// CallHook, after Wasmtime's Store::call_hook, and follows its answer. The
// runtime never learns why: rules live elsewhere, and this header is all of the
// runtime that they can see.
//
// Order and balance (HookProfile::kWasmtime47, the default; core modules):
//   * An embedder's call into a guest:  CallingWasm … ReturningFromWasm.
//   * A guest's call of a host function, by call, call_indirect, return_call or
//     return_call_indirect:             CallingHost … ReturningFromHost.
//   * An embedder calling a host function directly gets both pairs, nested.
//   * Every enter that was not refused has exactly one leave, however the call
//     ended; an enter that was refused has none. What the hook answers that
//     cannot be done (results of another type, a delay that is interrupted)
//     ends the call, but is no refusal by the hook: the leave follows.
//   * An error at ReturningFromHost replaces the host function's result or
//     error; one at ReturningFromWasm replaces the call's results or trap.
//   * Instantiation fires events only for a real start function.
//   * Calls from guest to guest, memory.grow and table.grow are no transitions;
//     calls of chosen functions are told beside them (probe.h).
//
// The other profiles (HookOptions::profile) have the sequences of other engines
// and versions, for hooks that were written against them. They differ from the
// above in this alone:
//
//   * kWasmtime48: what the engine does for a guest inside of itself is a host
//     call, too: CallingHost, the engine's work, ReturningFromHost, with a
//     FunctionIdentity of kind kRuntimeCall named memory.grow, table.grow,
//     elem.drop or out_of_fuel. A refusal at CallingHost leaves the work undone
//     (the limiter is not asked and nothing grows); one at ReturningFromHost
//     stops the guest after it. out_of_fuel fires when a guest has come to the
//     end of its fuel: a hook that adds some at CallingHost lets it go on.
//     Runtime calls are wanted by HookOptions::transitions alone, without
//     OnLink; a hook may delay them but not answer in their place, and may not
//     call guests from them, whatever allow_reentry says. They count for
//     depth(), but neither as host calls nor towards Limits::activation_depth.
//     Not so here: instantiation fires for a real start function only, where
//     Wasmtime 46 and later may run other initialisation as guest code; there
//     are no events around an interruption or a deadline, which have no hook.
//   * kWasmi2: a host function that the embedder calls directly, or that is the
//     start function, fires nothing (guests that it calls do). A host function
//     that returned an error has no ReturningFromHost.
//   * kWasmi1: as kWasmi2, and a guest's call that did not end with values, be
//     it a trap, an error or a refusal, has no ReturningFromWasm.
//
// Every enter has its leave in the two Wasmtime profiles only.

#ifndef CALLGATE_RUNTIME_CALL_HOOK_H_
#define CALLGATE_RUNTIME_CALL_HOOK_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "runtime/call_ring.h"
#include "runtime/fuel.h"
#include "runtime/function_filter.h"
#include "runtime/host_function_spec.h"
#include "runtime/probe.h"
#include "runtime/trap.h"
#include "runtime/value.h"

namespace callgate {

enum class Transition : uint8_t {
  kCallingWasm,
  kReturningFromWasm,
  kCallingHost,
  kReturningFromHost,
};

absl::string_view TransitionName(Transition transition);
constexpr bool EntersHost(Transition t) {
  return t == Transition::kReturningFromWasm || t == Transition::kCallingHost;
}
constexpr bool LeavesHost(Transition t) {
  return t == Transition::kReturningFromHost || t == Transition::kCallingWasm;
}

// A set of transitions, as bits.
class TransitionSet {
 public:
  constexpr TransitionSet() = default;
  static constexpr TransitionSet All() { return TransitionSet(0xf); }
  static constexpr TransitionSet None() { return TransitionSet(); }
  static constexpr TransitionSet HostCalls() {
    return None()
        .With(Transition::kCallingHost)
        .With(Transition::kReturningFromHost);
  }
  constexpr TransitionSet With(Transition t) const {
    return TransitionSet(static_cast<uint8_t>(bits_ | Bit(t)));
  }
  constexpr bool Contains(Transition t) const { return (bits_ & Bit(t)) != 0; }
  constexpr bool empty() const { return bits_ == 0; }

 private:
  explicit constexpr TransitionSet(uint8_t bits) : bits_(bits) {}
  static constexpr uint8_t Bit(Transition t) {
    return static_cast<uint8_t>(1u << static_cast<uint8_t>(t));
  }
  uint8_t bits_ = 0;
};

// Whose sequence of events the hook gets: see the top.
enum class HookProfile : uint8_t {
  kWasmtime47,
  kWasmtime48,
  kWasmi1,
  kWasmi2,
};
// "wasmtime47", …
absl::string_view HookProfileName(HookProfile profile);

// Which function a transition is about. Lives as long as the Store.
struct FunctionIdentity {
  enum class Kind : uint8_t {
    kGuestExport,  // called by the embedder through an export
    kGuestStart,   // a module's start function
    kGuestOther,   // called by the embedder through a funcref
    kHostImport,   // a host function, as one import of one instance
    kHostDirect,   // a host function that the embedder holds and calls
    kRuntimeCall,  // work of the engine, in HookProfile::kWasmtime48
  };

  Kind kind = Kind::kHostImport;
  // For host functions the import's module and name; for guest functions the
  // Instance's name and the export's. Untrusted bytes. For runtime calls empty
  // and the operator's name.
  absl::string_view module;
  absl::string_view name;
  const FuncType* type = nullptr;
  // Position among the importing module's function imports.
  uint32_t import_index = kNoIndex;
  // Index in the function index space of the module.
  uint32_t func_index = kNoIndex;
  // Dense per Store, from 0, for kHostImport and kHostDirect: what a hook
  // indexes its own tables with. kNoIndex for all others.
  uint32_t binding = kNoIndex;
  // What the host's author said of the function; null for all others.
  const HostFunctionSpec* spec = nullptr;
};

// How a call ended; told on the two returning transitions.
enum class Ending : uint8_t {
  kNotYet,     // on the two calling transitions
  kValue,      // normally
  kAnswered,   // the hook answered in the host function's place
  kTrap,       // the guest trapped, or the host function returned a TrapError
  kHostError,  // the host function returned an error
  kRefusal,    // the hook refused further in, whatever error it gave
  kExit,       // the guest ended itself (GuestExit)
};
absl::string_view EndingName(Ending ending);

// What shall happen next. Made by the CallContext's functions of these names.
enum class Disposition : uint8_t { kProceed, kDelay, kAnswer, kRefuse };

// One transition, as the hook sees it. Valid until the hook returns; all views
// into it likewise.
class CallContext {
 public:
  Transition transition() const { return transition_; }
  const FunctionIdentity& function() const { return *function_; }
  // The arguments; on returning transitions too.
  absl::Span<const RawValue> args() const { return args_; }
  // On returning transitions that ended with kValue or kAnswered, else empty.
  absl::Span<const RawValue> results() const { return results_; }
  Ending ending() const { return ending_; }
  // The trap, on returning transitions that ended with one; else null. For
  // kHostError, kRefusal and kExit its cause() is the error object.
  const Trap* trap() const { return trap_; }
  // Activations (embedder into guest, guest into host) live in this Store,
  // this one included.
  uint32_t depth() const { return depth_; }

  // Who called, on host-call transitions.
  virtual CallerFrame caller() = 0;
  // caller().func_index alone, for less.
  virtual uint32_t caller_index() = 0;
  // The Wasm frames below, newest first, at most `max_frames`: of the guest
  // that made the host call, then of those further out. A guest that is being
  // entered or left has none.
  virtual std::vector<Frame> Backtrace(size_t max_frames) = 0;
  // Who called whom, in opaque words: as many of the newest Wasm frames of the
  // guest that made the host call as there are `words`; returns how many there
  // were. Equal words are equal places in equal functions, as long as the Store
  // lives; the same places have other words after code was loaded anew. Some
  // nanoseconds, and never allocates. None on other transitions.
  virtual size_t CallChain(absl::Span<uint64_t> words) {
    static_cast<void>(words);
    return 0;
  }
  // The functions that words of this transition's CallChain stand for, newest
  // first, by index; there may be fewer of them. Not allocated either, but
  // looked up.
  virtual size_t ChainFunctions(absl::Span<const uint64_t> words,
                                absl::Span<uint32_t> functions) {
    static_cast<void>(words);
    static_cast<void>(functions);
    return 0;
  }
  // Bytes of the caller's memory 0; 0 if it has none.
  virtual uint64_t MemoryBytes() = 0;
  // Bytes of all memories and tables of the Store.
  virtual uint64_t StoreBytes() = 0;
  // The Store's fuel. What is changed here counts when the hook has returned.
  Fuel& fuel() const { return *fuel_; }

  // Asks OnLink again for every host function bound into the Store, before it
  // returns: for a hook whose rules have changed. The answers count from the
  // rest of this call on, if it asks at this call's kCallingHost; host calls in
  // progress further out end as they began. A function of which a hook has
  // wanted nothing is not told of, so a hook that may have to change its mind
  // keeps wanting something.
  virtual void Relink() {}

  // Copies [address, address + length) of the caller's memory 0, once. From
  // then on, until the host function returns, the host function reads this
  // copy wherever it asks for bytes inside that range, so what was judged is
  // what is used; what it writes there itself, it reads back. Only at
  // kCallingHost. OutOfRange when the range is not inside memory;
  // ResourceExhausted when the call's copies exceed kCapturedBytesMax.
  virtual absl::StatusOr<absl::Span<const uint8_t>> Capture(
      uint64_t address, uint64_t length) = 0;
  static constexpr uint64_t kCapturedBytesMax = 64 << 20;

  // Copies [address, address + out.size()) of the caller's memory 0 as it is
  // now: what the host function has written. Only at kReturningFromHost of a
  // host function. OutOfRange when the range is not inside memory.
  virtual absl::Status ReadBack(uint64_t address, absl::Span<uint8_t> out) = 0;

  Disposition Proceed() const { return Disposition::kProceed; }
  // kCallingHost only. The host function runs when `delay` has passed.
  Disposition ProceedAfter(absl::Duration delay) {
    delay_ = delay;
    return Disposition::kDelay;
  }
  // kCallingHost only, and not for runtime calls. The host function does not
  // run; the guest gets these results, which must fit the type.
  // ReturningFromHost follows, kAnswered.
  Disposition Answer(absl::Span<const RawValue> results) {
    answer_.assign(results.begin(), results.end());
    return Disposition::kAnswer;
  }
  // Ends the activation with this error, which reaches its caller unchanged.
  // Not null.
  Disposition Refuse(ErrorRef error) {
    error_ = std::move(error);
    return Disposition::kRefuse;
  }

 protected:
  CallContext() = default;
  // Made and owned by the Store alone.
  virtual ~CallContext() = default;

  Transition transition_ = Transition::kCallingWasm;
  Ending ending_ = Ending::kNotYet;
  uint32_t depth_ = 0;
  const FunctionIdentity* function_ = nullptr;
  absl::Span<const RawValue> args_;
  absl::Span<const RawValue> results_;
  const Trap* trap_ = nullptr;
  Fuel* fuel_ = nullptr;

  // The hook's answer.
  absl::Duration delay_;
  std::vector<RawValue> answer_;
  ErrorRef error_;
};

// memory.grow or table.grow, after the Store's limiter has said its word. The
// specification's own maximum is checked before and is not reported.
struct GrowthEvent {
  enum class Kind : uint8_t { kMemory, kTable };
  Kind kind = Kind::kMemory;
  uint32_t index = 0;
  // Bytes for memories, elements for tables.
  uint64_t current = 0;
  uint64_t desired = 0;
  // What the limiter said.
  bool allowed = false;
  // Bytes of all memories and tables of the Store before the growth, and
  // elements of all its tables.
  uint64_t store_bytes = 0;
  uint64_t store_table_elements = 0;
  // Fuel::used, of the Store.
  uint64_t fuel_used = 0;

  // What the Store would have after it; no more than 2^64 - 1.
  uint64_t StoreBytesAfter() const {
    const uint64_t more = desired - current;
    if (kind == Kind::kMemory) return Sum(store_bytes, more);
    return more > ~uint64_t{0} / kTableElementBytes
               ? ~uint64_t{0}
               : Sum(store_bytes, more * kTableElementBytes);
  }
  uint64_t StoreTableElementsAfter() const {
    return kind == Kind::kMemory ? store_table_elements
                                 : Sum(store_table_elements, desired - current);
  }

  // What an element counts for in store_bytes.
  static constexpr uint64_t kTableElementBytes = 16;

 private:
  static uint64_t Sum(uint64_t a, uint64_t b) {
    return b > ~uint64_t{0} - a ? ~uint64_t{0} : a + b;
  }
};

// What the hook says of a growth. A yes or a no is an answer.
struct GrowthAnswer {
  // NOLINTNEXTLINE(google-explicit-constructor)
  GrowthAnswer(bool may_grow) : allow(may_grow) {}
  static GrowthAnswer After(absl::Duration delay) {
    GrowthAnswer answer(true);
    answer.delay = delay;
    return answer;
  }
  // The guest ends with `error`, which is not null.
  static GrowthAnswer Stop(ErrorRef error) {
    GrowthAnswer answer(false);
    answer.error = std::move(error);
    return answer;
  }

  bool allow = true;
  // How long the growth, or its refusal, waits.
  absl::Duration delay;
  ErrorRef error;
};

// Judges the transitions of one Store.
//
// Called on the thread that runs the Store, with no lock of the runtime held,
// and on the guest's time: do not block. While it runs, no other event of the
// Store fires, and calling a guest of the Store from inside it is refused
// unless HookOptions::allow_reentry is set. Must outlive its installation.
class CallHook {
 public:
  virtual ~CallHook() = default;

  // Asked once for every host function bound into the Store, at instantiation
  // (or at installation, for what is bound already) and before any event of
  // that function, and again where the hook asks for it (CallContext::Relink):
  // which of its transitions does this hook want? What is not wanted costs a
  // null check at most. This is where a hook compiles its plan for the binding.
  virtual TransitionSet OnLink(const FunctionIdentity& function) {
    static_cast<void>(function);
    return TransitionSet::All();
  }

  // Asked at installation: whether this hook can make sense of the events of
  // `profile`. If not, it is not installed.
  virtual bool Understands(HookProfile profile) const {
    static_cast<void>(profile);
    return true;
  }

  // One transition. `call` has the functions that make the answer.
  virtual Disposition OnTransition(CallContext& call) = 0;

  // A growth request, reported outside the four transitions. Answering false
  // refuses what the limiter allowed; true does not allow what it refused.
  virtual GrowthAnswer OnGrowth(const GrowthEvent& event) {
    static_cast<void>(event);
    return true;
  }

  // A function that HookOptions::probes selects is about to run, or is over:
  // probe.h. Null proceeds; an error ends the activation as a refusal does,
  // before the function has run. In both, guests of the Store cannot be called,
  // whatever HookOptions::allow_reentry says: results are on their way.
  virtual EntryAnswer OnFunctionEnter(const FunctionEntry& entry) {
    static_cast<void>(entry);
    return nullptr;
  }
  virtual void OnFunctionLeave(const FunctionExit& exit) {
    static_cast<void>(exit);
  }
};

struct HookOptions {
  // Which transitions the hook wants at all, before OnLink narrows it for host
  // functions.
  TransitionSet transitions = TransitionSet::All();
  // Whether the hook may call guests of the same Store. Such calls fire no
  // events: they run unwatched.
  bool allow_reentry = false;
  HookProfile profile = HookProfile::kWasmtime47;
  // The functions whose calls are told, in every module of the Store: what is
  // instantiated already and what will be. Names are those of the name section
  // and of the exports, any of them.
  FunctionFilter probes;
  // Notes the host calls of which the hook wants some transition: call_ring.h.
  // Null: nobody does. Outlives the installation.
  CallRing* call_ring = nullptr;
};

}  // namespace callgate

#endif  // CALLGATE_RUNTIME_CALL_HOOK_H_
