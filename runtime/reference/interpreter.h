// wabt's interpreter as a backend::Store.
//
// Ids and references are wabt's own object numbers. Objects are rooted for the
// Store's life; what the interpreter makes on the way (traps) is collected
// between calls.

#ifndef CALLGATE_RUNTIME_REFERENCE_INTERPRETER_H_
#define CALLGATE_RUNTIME_REFERENCE_INTERPRETER_H_

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "runtime/backend.h"
#include "runtime/reference/instrument.h"
#include "wabt/interp/interp.h"

namespace callgate::reference {

// A module as this engine keeps it.
class ReferenceCode final : public backend::Code {
 public:
  ReferenceCode(wabt::interp::ModuleDesc desc, Instrumentation instrumentation)
      : desc_(std::move(desc)), instrumentation_(std::move(instrumentation)) {}
  const wabt::interp::ModuleDesc& desc() const { return desc_; }
  const Instrumentation& instrumentation() const { return instrumentation_; }

 private:
  const wabt::interp::ModuleDesc desc_;  // without its start function
  const Instrumentation instrumentation_;
};

wabt::Features ToWabt(const admission::Features& features);
wabt::Type ToWabt(ValType type);
ValType FromWabt(wabt::Type type);

class Interpreter final : public backend::Store {
 public:
  Interpreter(backend::Host& host, const admission::Features& features);
  ~Interpreter() override;

  uint32_t NewHostFunc(const FuncType& type, uint32_t binding) override;
  absl::StatusOr<uint32_t> NewMemory(const MemoryType& type) override;
  uint32_t NewTable(const TableType& type) override;
  uint32_t NewGlobal(const GlobalType& type, const RawValue& value) override;
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
  // Looks between any two slices anyway.
  void Interrupt() override {}

 private:
  class ThreadView;

  // Looks an object up by its number; it must be there and of this class.
  template <typename T>
  T* Object(uint32_t id) const;
  uint32_t Root(wabt::interp::Ref ref);

  // Runs what was pushed onto `thread` to its end or to a stop.
  std::optional<backend::Stop> Run(wabt::interp::Thread& thread,
                                   uint32_t call_depth_max,
                                   std::vector<backend::RawFrame>& backtrace);
  // One instruction, with what it means for probes.
  wabt::interp::RunResult StepProbed(wabt::interp::Thread& thread,
                                     wabt::interp::Trap::Ptr* trap);
  // The newest frame's function has just been called. `pending_` is set where
  // it may not run.
  void Entered(wabt::interp::Thread& thread);
  void Probe(const wabt::interp::Instance& instance,
             const backend::Probes& probes);
  std::vector<backend::RawFrame> FramesOf(
      const std::vector<wabt::interp::Frame>& frames, size_t max_frames) const;

  wabt::Result HostCalled(uint32_t binding, wabt::interp::Thread& thread,
                          const wabt::interp::FuncType& type,
                          const wabt::interp::Values& params,
                          wabt::interp::Values& results);
  // A watched operation; false when it stopped the guest (`pending_` is set).
  bool Watched(const WatchedOp& op, wabt::interp::Instance& instance,
               wabt::interp::Thread& thread, const wabt::interp::Values& params,
               wabt::interp::Values& results);
  // Those that some hooks may look at from both sides.
  bool WatchedRuntimeCall(const WatchedOp& op, wabt::interp::Instance& instance,
                          backend::GuestFrames& frames,
                          const wabt::interp::Values& params,
                          wabt::interp::Values& results);
  bool WatchedMemoryGrow(const WatchedOp& op, wabt::interp::Instance& instance,
                         backend::GuestFrames& frames,
                         const wabt::interp::Values& params,
                         wabt::interp::Values& results);
  bool WatchedTableGrow(const WatchedOp& op, wabt::interp::Instance& instance,
                        backend::GuestFrames& frames,
                        const wabt::interp::Values& params,
                        wabt::interp::Values& results);
  // Before a tail call: leaves its function's `keep` newest values where the
  // function's own arguments were.
  void FitStack(uint32_t keep, wabt::interp::Thread& thread);
  // Pays for an operation over `units` bytes or elements.
  bool Charge(uint64_t units, backend::GuestFrames& frames);
  // Before code that may look at the fuel or change it: tells the Host what was
  // executed, and lets Run ask again how much there is.
  void SettleFuel();
  // Pays for the module's active segments.
  bool PayForSegments(const wabt::interp::ModuleDesc& desc);
  // Gives an instance what its rewritten operations use.
  void AddWatched(const ReferenceCode& code, wabt::interp::Instance& instance);
  // The instance that a failed instantiation left behind.
  wabt::interp::Instance* UnfinishedInstance(wabt::interp::Ref module);

  backend::Host& host_;
  // wabt's lookups are not const, though they change nothing that shows.
  mutable wabt::interp::Store store_;

  // What made the guest stop, set inside a host function and taken by Run.
  std::optional<backend::Stop> pending_;
  // Instructions of the running slice that the Host does not know of, and those
  // that may follow.
  uint64_t unsettled_ = 0;
  uint64_t slice_left_ = 0;
  absl::flat_hash_map<uint32_t, uint32_t> probe_of_func_;
  // The instruction is a tail call, out of a probed function that it has not
  // left yet.
  bool leaves_by_tail_call_ = false;
  uint32_t running_ = 0;
  uint32_t traps_since_collection_ = 0;

  absl::flat_hash_map<uint32_t, uint32_t> binding_of_func_;
  absl::flat_hash_map<uint32_t, uint32_t> index_of_func_;  // module functions
  absl::flat_hash_set<uint64_t> extern_refs_;
  // Types in the runtime's form, where they stay put.
  mutable std::map<uint32_t, FuncType> func_types_;
  mutable std::map<uint32_t, FuncType> tag_types_;
  mutable std::map<uint32_t, MemoryType> memory_types_;
  mutable std::map<uint32_t, TableType> table_types_;
  mutable std::map<uint32_t, GlobalType> global_types_;
};

}  // namespace callgate::reference

#endif  // CALLGATE_RUNTIME_REFERENCE_INTERPRETER_H_
