// What an execution engine provides to the runtime, and what it may ask of it.
//
// The runtime owns everything that must be the same for every engine: linking,
// limits, the call hook's order of events, identities, captured arguments. A
// backend runs code and keeps memories, tables, globals and functions, which it
// names by numbers (dense or not) that are unique per kind within one backend
// store. Nothing above runtime/ includes this header.
//
// Threads: backend::Engine and Code from any thread; backend::Store on the
// Store's thread, Store::Interrupt from any.

#ifndef CALLGATE_RUNTIME_BACKEND_H_
#define CALLGATE_RUNTIME_BACKEND_H_

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "runtime/admission/scan.h"
#include "runtime/extern_type.h"
#include "runtime/fuel.h"
#include "runtime/host_function_spec.h"
#include "runtime/leaf_function.h"
#include "runtime/limits.h"
#include "runtime/store_options.h"
#include "runtime/trap.h"
#include "runtime/value.h"

namespace callgate::backend {

// Whether a module's frames can have a SourceLocation; kSome where bounds left
// out a part.
enum class SourceLines : uint8_t { kNone, kSome, kAll };

// How a module runs.
struct CodeFacts {
  // "baseline", "optimised"; empty where nothing is compiled.
  absl::string_view level;
  uint64_t code_bytes = 0;
  SourceLines source_lines = SourceLines::kNone;
};

// A compiled module, immutable but for better code that comes later.
class Code {
 public:
  virtual ~Code() = default;
  // What runs when a call begins now. Any thread.
  virtual CodeFacts facts() const { return CodeFacts(); }
};

// Something that lives in a backend store.
struct ExternId {
  ExternKind kind = ExternKind::kFunc;
  uint32_t id = 0;
};

// One Wasm frame, before names are put to it.
struct RawFrame {
  uint32_t instance = 0;
  uint32_t func_index = 0;
  std::optional<uint64_t> module_offset;
};

// The function that made a host call.
struct CallSite {
  uint32_t instance = kNoIndex;
  uint32_t func_index = kNoIndex;
};

// The guest's side of a host call in progress.
class GuestFrames {
 public:
  // The newest frame's function; kNoIndex twice if there is none. Cheaper than
  // Frames, and allocates nothing.
  virtual CallSite Newest() = 0;
  // The frames of this activation, newest first, at most `max_frames`.
  virtual std::vector<RawFrame> Frames(size_t max_frames) = 0;

  // As CallContext's functions of these names. By default a word is an
  // instance's number and a function's index.
  virtual size_t CallChain(absl::Span<uint64_t> words) {
    const std::vector<RawFrame> frames = Frames(words.size());
    for (size_t i = 0; i < frames.size(); ++i) {
      words[i] = uint64_t{frames[i].instance} << 32 | frames[i].func_index;
    }
    return frames.size();
  }
  virtual size_t ChainFunctions(absl::Span<const uint64_t> words,
                                absl::Span<uint32_t> functions) {
    const size_t count = std::min(words.size(), functions.size());
    for (size_t i = 0; i < count; ++i) {
      functions[i] = static_cast<uint32_t>(words[i]);
    }
    return count;
  }

 protected:
  ~GuestFrames() = default;
};

// Why code stopped before it returned: a trap code, or an error object and the
// code it counts as.
struct Stop {
  TrapCode code = TrapCode::kUnreachable;
  ErrorRef cause;
};

// kTrap: Host::TakeGrowthStop says with what.
enum class Growth : uint8_t { kAllow, kRefuse, kTrap };

// Work that an engine does for a guest inside of itself, and that some hook
// profiles know as a host call.
enum class RuntimeCall : uint8_t {
  kMemoryGrow,       // (i32) -> (i32)
  kMemoryGrow64,     // (i64) -> (i64)
  kTableGrowFunc,    // (funcref, i32) -> (i32)
  kTableGrowExtern,  // (externref, i32) -> (i32)
  kElemDrop,         // () -> ()
  kOutOfFuel,        // () -> ()
};

// The runtime, as a backend store sees it. What engines ask at every crossing
// is no virtual function: the counters are here.
class Host {
 public:
  // A guest calls the host function bound as `binding`. Fires the hook. There
  // are as many results as its type has; a pointer, and not a span, since what
  // does not fit into registers costs as much as all the rest of a call.
  virtual std::optional<Stop> CallHost(uint32_t binding, GuestFrames& frames,
                                       absl::Span<const RawValue> args,
                                       RawValue* results) = 0;
  // A guest asks to grow; the type's own maximum has been checked.
  virtual Growth MemoryGrowing(uint32_t index, uint64_t current_bytes,
                               uint64_t desired_bytes) = 0;
  virtual Growth TableGrowing(uint32_t index, uint64_t current,
                              uint64_t desired) = 0;
  // Why the last growth was answered with kTrap. Once for each.
  virtual Stop TakeGrowthStop() = 0;
  // After a growth that happened.
  virtual void Grown(ExternKind kind, uint64_t units) = 0;

  // Runs `work`, between its two transitions where the Store's hook has such.
  // Arguments and results are of the types above; `work` sets the results
  // unless it stops. What is told back is how the guest goes on.
  virtual std::optional<Stop> RunRuntimeCall(
      RuntimeCall call, GuestFrames& frames, absl::Span<const RawValue> args,
      absl::Span<RawValue> results,
      absl::FunctionRef<std::optional<Stop>()> work) = 0;
  // A guest has come to the end of its fuel. Nothing: there is some now.
  std::optional<Stop> OutOfFuel(GuestFrames& frames) {
    return RunRuntimeCall(RuntimeCall::kOutOfFuel, frames, {}, {},
                          [this]() -> std::optional<Stop> {
                            if (FuelLeft() > 0) return std::nullopt;
                            return Stop{TrapCode::kOutOfFuel, nullptr};
                          });
  }
  // A probed function is about to run; a stop says that it may not. `place`
  // is where its call is in the running activation: greater is further in.
  // `callers` are the frames that it will be on top of.
  virtual std::optional<Stop> EnterFunction(
      uint32_t probe, uint64_t place, GuestFrames& callers,
      absl::Span<const RawValue> args) = 0;
  // The newest of those that were entered and not left is over, and returns or
  // makes a tail call. Those of an activation that stops are not left here.
  virtual void LeaveFunction(bool tail_call) = 0;
  // An exception was caught: the running activation's probed calls further in
  // than `place` are over.
  virtual void LeaveThrown(uint64_t place) = 0;

  // Counts a host call that the engine makes by itself (Store::SetLeaf). False,
  // and nothing is counted, where an activation more is too many: CallHost says
  // so then.
  bool CountLeafCall() {
    if (depth_ >= depth_max_) return false;
    ++host_calls_;
    return true;
  }

  // Units of fuel the running call may still use.
  uint64_t FuelLeft() const { return fuel_.Left(); }
  void ConsumeFuel(uint64_t units) { fuel_.Burn(units); }
  // Cheap: one relaxed load.
  bool Interrupted() const {
    return interrupted_.load(std::memory_order_relaxed);
  }
  // Reads a clock. What the call ends with, if one of its times is up.
  virtual std::optional<TrapCode> TimeUp() = 0;
  // Lets others have the thread, if they wait for one; to be called when the
  // guest has run for a while, about as often as the two above. The Store may
  // be on another thread afterwards (parker.h).
  virtual void LetOthersRun() = 0;

 protected:
  Host(bool metered, uint32_t depth_max)
      : fuel_(metered), depth_max_(depth_max) {}
  ~Host() = default;

  Fuel fuel_;
  const uint32_t depth_max_;
  uint32_t depth_ = 0;       // live activations
  uint64_t host_calls_ = 0;  // since the Store was made
  std::atomic<bool> interrupted_{false};
};

// How a backend call ended.
struct Completion {
  std::optional<Stop> stop;
  // Of the stop, newest first, at most kBacktraceFramesMax.
  std::vector<RawFrame> backtrace;
};

struct Instantiated {
  // Nothing where it was stopped before there was one, for want of fuel.
  std::optional<uint32_t> instance;
  // An active segment trapped. Functions of the instance may be in a table that
  // it imports, all the same.
  std::optional<Stop> stop;
};

// Functions of one instance that are probed.
struct Probes {
  // Of its own functions, not of its imports; increasing.
  std::vector<uint32_t> functions;
  // The probe of functions[i] is first + i.
  uint32_t first = 0;
};

// A leaf function of which the Store's hook wants events; the runtime's.
class WatchedLeaf {
 public:
  // The call with its events: `values` are as LeafFunction::Body has them. It
  // has been counted (Host::CountLeafCall), and the guest's fuel is settled.
  // False: the guest stops, and TakeStop says why.
  virtual bool Call(GuestFrames& frames, RawValue* values) = 0;
  virtual Stop TakeStop() = 0;

 protected:
  ~WatchedLeaf() = default;
};

class Store {
 public:
  virtual ~Store() = default;

  virtual uint32_t NewHostFunc(const FuncType& type, uint32_t binding) = 0;
  // Until it is told otherwise the engine may call `leaf` or `watched` where a
  // guest calls the host function, in place of Host::CallHost, if
  // Host::CountLeafCall agrees: `leaf` where no event of it is wanted,
  // `watched` where some is. Both null: it may not. Calls in progress go on as
  // they began. What is given outlives the store.
  virtual void SetLeaf(uint32_t /*func*/, const LeafFunction* /*leaf*/,
                       WatchedLeaf* /*watched*/) {}
  // From the next outermost call on; no activation is live. For an engine that
  // bounds the bytes of its stack.
  virtual void SetStackBytes(uint64_t /*bytes*/) {}
  // ResourceExhausted when the host has no room for it.
  virtual absl::StatusOr<uint32_t> NewMemory(const MemoryType& type) = 0;
  virtual uint32_t NewTable(const TableType& type) = 0;
  virtual uint32_t NewGlobal(const GlobalType& type, const RawValue& value) = 0;

  // Makes what instances of `code` need here and no other Store has needed yet;
  // may take as long as compiling it did. Comes before Instantiate.
  virtual absl::Status Prepare(const Code& /*code*/) {
    return absl::OkStatus();
  }
  // `imports` fit the module's imports in number, kind and type: checked by
  // the runtime. Allocates and runs active segments; not the start function.
  // Init expressions run here, silently.
  virtual absl::StatusOr<Instantiated> Instantiate(
      const Code& code, absl::Span<const ExternId> imports,
      const Probes& probes) = 0;
  // Probes these functions of these instances from now on and no others of
  // them; each instance at most once. No activation is live. An error leaves
  // all of them as they were.
  virtual absl::Status SetProbes(
      absl::Span<const std::pair<uint32_t, Probes>> probes) = 0;
  // In the order of the module's exports.
  virtual std::vector<ExternId> Exports(uint32_t instance) const = 0;
  // The function at an index of the instance's function index space.
  virtual uint32_t FuncAt(uint32_t instance, uint32_t index) const = 0;
  // The instance's memory 0.
  virtual std::optional<uint32_t> DefaultMemory(uint32_t instance) const = 0;

  virtual const FuncType& TypeOfFunc(uint32_t func) const = 0;
  // For host functions.
  virtual std::optional<uint32_t> BindingOf(uint32_t func) const = 0;
  // For guest functions.
  virtual RawFrame PlaceOf(uint32_t func) const = 0;
  // Of a frame of the running or the last outermost call, as the module's debug
  // information has it.
  virtual std::optional<SourceLocation> SourceOf(
      const RawFrame& /*frame*/) const {
    return std::nullopt;
  }
  virtual uint64_t RefOf(uint32_t func) const = 0;
  // Nothing for null and for numbers that are no function of this store.
  virtual std::optional<uint32_t> FuncOf(uint64_t ref) const = 0;
  virtual uint64_t NewExternRef() = 0;
  virtual bool IsExternRef(uint64_t ref) const = 0;

  // Runs a guest function. `args` and `results` fit its type.
  virtual Completion Call(uint32_t func, absl::Span<const RawValue> args,
                          absl::Span<RawValue> results,
                          uint32_t call_depth_max) = 0;

  virtual const MemoryType& TypeOfMemory(uint32_t memory) const = 0;
  // Valid until the memory grows or a guest runs.
  virtual absl::Span<uint8_t> Bytes(uint32_t memory) = 0;
  // False when over the type's maximum or out of host memory.
  virtual bool GrowMemory(uint32_t memory, uint64_t pages) = 0;

  virtual const TableType& TypeOfTable(uint32_t table) const = 0;
  virtual uint64_t TableSize(uint32_t table) const = 0;
  virtual RawValue TableGet(uint32_t table, uint64_t index) const = 0;
  virtual void TableSet(uint32_t table, uint64_t index,
                        const RawValue& value) = 0;
  virtual bool GrowTable(uint32_t table, uint64_t count,
                         const RawValue& value) = 0;

  virtual const GlobalType& TypeOfGlobal(uint32_t global) const = 0;
  virtual RawValue GlobalGet(uint32_t global) const = 0;
  virtual void GlobalSet(uint32_t global, const RawValue& value) = 0;

  // What an exception with this tag carries: a type without results.
  virtual const FuncType& TypeOfTag(uint32_t tag) const = 0;

  // From any thread, after Host::Interrupted() has become true: a running guest
  // looks at it soon.
  virtual void Interrupt() = 0;
};

class Engine {
 public:
  virtual ~Engine() = default;
  virtual absl::string_view name() const = 0;
  // Whether its code counts fuel.
  virtual bool metered() const { return true; }
  // `bytes` passed admission with `summary`. InvalidArgument when they are not
  // a valid module; Unavailable when we could not tell. `account` is that of
  // Module::Compile.
  virtual absl::StatusOr<std::unique_ptr<const Code>> Compile(
      absl::Span<const uint8_t> bytes, const admission::ModuleSummary& summary,
      const admission::Features& features, absl::string_view account) const = 0;
  // `host` must outlive the store. Of the limits the engine keeps those that
  // only it can keep: call_depth or stack_bytes.
  virtual std::unique_ptr<Store> NewStore(
      Host& host, const admission::Features& features,
      const StoreOptions& options) const = 0;
};

}  // namespace callgate::backend

#endif  // CALLGATE_RUNTIME_BACKEND_H_
