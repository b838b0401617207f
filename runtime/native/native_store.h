// A backend::Store whose guests are compiled code.
//
// Numbers of functions, memories, tables, globals and tags index vectors; a
// function's number is also its reference. Compiled code knows none of them: it
// has pointers to FuncRecords, MemoryDefs, TableDefs, cells and Tags, which
// stay where they are for the Store's life.
//
// Two ways out of a guest that does not return. Whoever ends an activation
// first notes why (Stopped), inside a function that is free to use C++ as it
// likes and answers false, and then, back in a frame without objects, calls
// Leave, which drops everything up to the activation's Call.
//
// Fuel is handed out in slices: compiled code counts one down in a register,
// and the Host learns what was used whenever code of ours runs that it could
// ask (host functions, the limiter), at the end of a slice and at every stop.

#ifndef CALLGATE_RUNTIME_NATIVE_NATIVE_STORE_H_
#define CALLGATE_RUNTIME_NATIVE_NATIVE_STORE_H_

#include <array>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/functional/function_ref.h"
#include "runtime/backend.h"
#include "runtime/leaf_function.h"
#include "runtime/native/abi.h"
#include "runtime/native/activation.h"
#include "runtime/native/engine_state.h"
#include "runtime/native/fiber_annotations.h"
#include "runtime/native/instance.h"
#include "runtime/native/trap_signal.h"

namespace callgate::native {

class NativeStore final : public backend::Store {
 public:
  // `engine` and `host` must outlive it.
  NativeStore(EngineState& engine, backend::Host& host,
              const admission::Features& features, const StoreOptions& options);
  ~NativeStore() override;

  uint32_t NewHostFunc(const FuncType& type, uint32_t binding) override;
  void SetLeaf(uint32_t func, const LeafFunction* leaf,
               backend::WatchedLeaf* watched) override;
  void SetStackBytes(uint64_t bytes) override { stack_bytes_ = bytes; }
  absl::StatusOr<uint32_t> NewMemory(const MemoryType& type) override;
  uint32_t NewTable(const TableType& type) override;
  uint32_t NewGlobal(const GlobalType& type, const RawValue& value) override;
  absl::Status Prepare(const backend::Code& code) override;
  absl::StatusOr<backend::Instantiated> Instantiate(
      const backend::Code& code, absl::Span<const backend::ExternId> imports,
      const backend::Probes& probes) override;
  absl::Status SetProbes(
      absl::Span<const std::pair<uint32_t, backend::Probes>> probes) override;
  std::vector<backend::ExternId> Exports(uint32_t instance) const override;
  uint32_t FuncAt(uint32_t instance, uint32_t index) const override;
  std::optional<uint32_t> DefaultMemory(uint32_t instance) const override;
  const FuncType& TypeOfFunc(uint32_t func) const override;
  std::optional<uint32_t> BindingOf(uint32_t func) const override;
  backend::RawFrame PlaceOf(uint32_t func) const override;
  std::optional<SourceLocation> SourceOf(
      const backend::RawFrame& frame) const override;
  uint64_t RefOf(uint32_t func) const override;
  std::optional<uint32_t> FuncOf(uint64_t ref) const override;
  uint64_t NewExternRef() override;
  bool IsExternRef(uint64_t ref) const override;
  backend::Completion Call(uint32_t func, absl::Span<const RawValue> args,
                           absl::Span<RawValue> results,
                           uint32_t call_depth_max) override;
  const MemoryType& TypeOfMemory(uint32_t memory) const override;
  absl::Span<uint8_t> Bytes(uint32_t memory) override;
  bool GrowMemory(uint32_t memory, uint64_t pages) override;
  const TableType& TypeOfTable(uint32_t table) const override;
  uint64_t TableSize(uint32_t table) const override;
  RawValue TableGet(uint32_t table, uint64_t index) const override;
  void TableSet(uint32_t table, uint64_t index, const RawValue& value) override;
  bool GrowTable(uint32_t table, uint64_t count,
                 const RawValue& value) override;
  const GlobalType& TypeOfGlobal(uint32_t global) const override;
  RawValue GlobalGet(uint32_t global) const override;
  void GlobalSet(uint32_t global, const RawValue& value) override;
  const FuncType& TypeOfTag(uint32_t tag) const override;
  void Interrupt() override;

 private:
  friend class Builtins;
  friend class ProbeCalls;
  class FrameList;

  // The frames of the activation that made a host call.
  class GuestView final : public backend::GuestFrames {
   public:
    GuestView(const NativeStore& store, const void* frame)
        : store_(store), frame_(frame) {}
    void LookAt(const void* frame) { frame_ = frame; }
    const void* frame() const { return frame_; }

    std::vector<backend::RawFrame> Frames(size_t max_frames) override;
    backend::CallSite Newest() override;
    size_t CallChain(absl::Span<uint64_t> words) override;
    size_t ChainFunctions(absl::Span<const uint64_t> words,
                          absl::Span<uint32_t> functions) override;

   private:
    const NativeStore& store_;
    const void* frame_;
  };
  struct InstanceConstants;

  // Compiled code has pointers to the first member.
  struct Cell {
    StoreContext context;
    NativeStore* store = nullptr;
  };

  // What a host call needs, in one place.
  struct BoundHost : HostContext {
    const FuncType* type = nullptr;
    uint32_t params = 0;
    uint32_t results = 0;
    bool has_funcrefs = false;
    // While `enter` is LeafEnter.
    LeafFunction::Body leaf = nullptr;
    const void* leaf_data = nullptr;
    // While it is WatchedLeafEnter.
    backend::WatchedLeaf* watched = nullptr;
  };

  struct Function {
    FuncRecord record;
    const FuncType* type = nullptr;
    bool has_funcrefs = false;     // among its parameters or results
    Instance* instance = nullptr;  // of a guest's function
    uint32_t index = 0;            // in its index space
    std::unique_ptr<BoundHost> host;
    TypeRegistry::Hold hold;  // of a host function's type
  };
  struct Memory {
    MemoryType type;
    MemoryPool::Slot slot;
    MemoryDef def;
  };
  struct Table {
    TableType type;
    std::vector<uint64_t> elements;
    TableDef def;
  };
  struct Global {
    GlobalType type;
    RawValue* cell = nullptr;
  };
  struct OwnTag {
    Tag tag;
    const FuncType* type = nullptr;
    TypeRegistry::Hold hold;
  };

  // A live activation.
  struct Running {
    Running* outer = nullptr;
    Activation activation;
    FaultScope faults;
    std::optional<backend::Stop> stop;
    std::vector<backend::RawFrame> backtrace;
  };

  struct CodeRange {
    uintptr_t begin = 0;
    uintptr_t end = 0;
    const LoadedCode* code = nullptr;
    Instance* instance = nullptr;
  };

  // ---- objects
  Function& NewFunction();
  // The function at an index of an instance, made now if it was not yet.
  Function& FunctionAt(Instance& instance, uint32_t index);
  Function& FunctionOf(const FuncRecord& record);
  // Both forms of a value: the runtime's, and that of compiled code.
  RawValue ToGuest(ValType type, const RawValue& value);
  RawValue FromGuest(ValType type, const RawValue& value) const;

  // ---- instantiation
  void Link(Instance& instance, absl::Span<const backend::ExternId> imports);
  // Pays for the active segments: a unit for each byte or element.
  bool PayForSegments(const ModuleImage& image);
  std::optional<TrapCode> RunSegments(Instance& instance);
  void MakeRoom(const ModuleImage& image);
  // Addresses in the code that `instance` uses, where others have them.
  void FillImport(Instance& instance, uint32_t index);
  void FillRecord(Function& function);
  void AddThunks(const Instance& instance);
  void AddRange(Instance& instance);
  const CodeRange* FindRange(uintptr_t pc) const;
  bool UsesShared(const NativeModule& module) const;
  static absl::StatusOr<std::shared_ptr<const LoadedCode>> CodeFor(
      const NativeModule& module, const CodeVersion& version,
      absl::Span<const uint32_t> probed, bool own_copy);
  // Takes newer code where there is some. No activation is live.
  void TakeNewCode();
  // After instances have got other code. No activation is live.
  void CodeChanged();

  // ---- running
  const StoreContext& context() const { return cell_.context; }
  StoreContext& context() { return cell_.context; }
  std::optional<backend::Stop> MayNotRun() const;
  // Tells the Host what was used of the slice; false when that was more than
  // there was.
  bool Settle(int64_t fuel);
  // Settles, and where that was more than there was asks the Host for more.
  // What stops the guest, if none is to be had.
  std::optional<backend::Stop> Afford(int64_t fuel, const void* frame);
  std::optional<backend::Stop> OutOfFuel(const void* frame);
  std::optional<backend::Stop> RunRuntimeCall(
      backend::RuntimeCall call, const void* frame,
      absl::Span<const RawValue> args, absl::Span<RawValue> results,
      absl::FunctionRef<std::optional<backend::Stop>()> work);
  int64_t NewSlice();
  // The rest of the slice, which host code may have left less fuel for. It gets
  // shorter by `toll`, and the fuel does not: host code takes time and costs
  // the guest no operators.
  void ResumeSlice(int64_t toll);
  // Notes why the innermost activation ends. Always false.
  bool Stopped(backend::Stop stop, const void* frame, int64_t fuel);
  bool Stopped(TrapCode code, const void* frame, int64_t fuel) {
    return Stopped(backend::Stop{code, nullptr}, frame, fuel);
  }
  [[noreturn]] void Leave();
  bool HostCalled(const BoundHost& host, const void* frame, RawValue* values);
  bool HostCalledWithMany(const BoundHost& host, const void* frame,
                          RawValue* values);
  bool CallBound(const BoundHost& host, const void* frame,
                 absl::Span<const RawValue> args, RawValue* results);
  // The end of a host call whose type has funcrefs.
  bool ConvertResults(const BoundHost& host, const void* frame,
                      absl::Span<RawValue> results);
  // What host contexts enter by.
  static void HostEnter(HostContext* host, const void* frame, RawValue* values);
  template <bool metered>
  static void LeafEnter(HostContext* host, const void* frame, RawValue* values);
  template <bool metered>
  static void WatchedLeafEnter(HostContext* host, const void* frame,
                               RawValue* values);
  // Ends the activation, for what the function's hook said.
  [[noreturn]] static void EndLeaf(HostContext* host);
  static void LeafStopped(const BoundHost& host);
  static NativeStore* OwnerOf(const HostContext* host) {
    return static_cast<NativeStore*>(host->owner);
  }
  static int64_t EnterOnFiber(void* context, int64_t fuel, const void* code,
                              const RawValue* args);
  // `frame` is a frame whose return address is the newest of them, but for
  // `newest`, which comes first if it is not null.
  std::vector<backend::RawFrame> FramesFrom(
      const void* frame, size_t max_frames,
      const backend::RawFrame* newest = nullptr) const;
  // The function of the newest frame.
  backend::CallSite SiteOf(const void* frame) const;
  // CallContext::CallChain and ChainFunctions, from such a frame.
  size_t ChainFrom(const void* frame, absl::Span<uint64_t> words) const;
  size_t FunctionsOf(absl::Span<const uint64_t> words,
                     absl::Span<uint32_t> functions) const;
  // Greater for what is further in.
  uint64_t PlaceOnStack(uint64_t address) const {
    return stack_->top() - address;
  }
  std::vector<backend::RawFrame> FramesOf(const FaultScope& faults) const;
  static bool IsCode(const void* owner, uintptr_t pc);
  static bool IsMemory(const void* owner, uintptr_t address);

  EngineState& engine_;
  backend::Host& host_;
  const bool ordered_segments_;  // as bulk-memory has it
  uint64_t stack_bytes_;
  const bool canonical_nans_;

  Cell cell_;
  Ticker::Guest ticking_{engine_.ticker, cell_.context.stack_limit};
  std::vector<RawValue> values_;
  std::vector<RawValue> tail_values_;

  // Deques: compiled code has pointers into them.
  std::deque<Function> functions_;
  std::deque<Memory> memories_;
  std::deque<Table> tables_;
  std::deque<Global> globals_;
  std::deque<RawValue> cells_;  // of globals that the embedder made
  std::deque<OwnTag> tags_;
  std::vector<std::unique_ptr<Instance>> instances_;
  absl::flat_hash_set<uint64_t> extern_refs_;
  uint64_t next_extern_ref_ = 1;

  // A host thunk for each type that some instantiated module has, and the host
  // functions whose type none has yet.
  absl::flat_hash_map<uint32_t, const void*> thunks_;
  std::vector<uint32_t> without_thunk_;

  std::vector<CodeRange> ranges_;  // by address
  mutable size_t last_range_ = 0;
  // How often code that was there has made way for other code.
  uint16_t code_generation_ = 0;
  uint64_t publications_seen_ = 0;

  // Where host calls came from lately, by return address; forgotten with the
  // code. The same call comes again and again.
  struct KnownSite {
    uintptr_t address = 0;
    backend::CallSite site;
  };
  static constexpr size_t kKnownSites = 32;
  mutable std::array<KnownSite, kKnownSites> known_sites_{};

  // Of the guest that calls a watched leaf function: there is one such call at
  // a time.
  GuestView leaf_view_{*this, nullptr};

  Running* running_ = nullptr;    // the innermost
  std::unique_ptr<Stack> stack_;  // while one is live
  FiberAnnotations fiber_;
  EntryTrampoline entry_on_fiber_ = nullptr;
  int64_t slice_ = 0;
};

}  // namespace callgate::native

#endif  // CALLGATE_RUNTIME_NATIVE_NATIVE_STORE_H_
