// A Store is one tenant's isolated world: its instances, memories, tables,
// globals, its limits and its call hook.
//
// Threads: one at a time. Debug builds check that no two threads are inside a
// Store at once. Interrupt() alone may be called from any thread at any time.
// Ownership: the Store owns everything in it; handles (instance.h) borrow. The
// Engine, an installed CallHook and a ResourceLimiter must outlive it.

#ifndef CALLGATE_RUNTIME_STORE_H_
#define CALLGATE_RUNTIME_STORE_H_

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "runtime/call_hook.h"
#include "runtime/caller.h"
#include "runtime/engine.h"
#include "runtime/fuel.h"
#include "runtime/instance.h"
#include "runtime/limits.h"
#include "runtime/linker.h"
#include "runtime/store_options.h"

namespace callgate {

class StoreImpl;

class Store {
 public:
  Store(const Engine& engine, const StoreOptions& options);
  // The options' defaults otherwise. `limiter` may be null.
  Store(const Engine& engine, const Limits& limits,
        ResourceLimiter* limiter = nullptr);
  ~Store();
  Store(const Store&) = delete;
  Store& operator=(const Store&) = delete;

  const Engine& engine() const;
  const Limits& limits() const;
  bool canonical_nans() const;

  // Other limits than the Store was made with, wider or tighter; whatever is
  // over a tighter one stays and does not grow. FailedPrecondition while an
  // activation is live. `activation_depth` stays as it was made: an engine
  // keeps room for it.
  absl::Status SetLimits(const Limits& limits);

  // Installs `hook` in place of any other. FailedPrecondition while an
  // activation is live, which includes every call from a host function or from
  // the hook itself; InvalidArgument when the hook does not understand
  // `options.profile`. With other HookOptions::probes than before the code of
  // the Store's instances is loaded again: ResourceExhausted or Unavailable,
  // and nothing changed, when there is no room for it.
  absl::Status SetCallHook(CallHook& hook, const HookOptions& options = {});
  absl::Status ClearCallHook();

  // A host function as a value of this Store, for the embedder to call or to
  // pass on. `module` and `name` identify it to the hook.
  absl::StatusOr<Func> NewHostFunc(absl::string_view module,
                                   absl::string_view name,
                                   HostDefinition definition);
  absl::StatusOr<Memory> NewMemory(const MemoryType& type);
  absl::StatusOr<Table> NewTable(const TableType& type);
  absl::StatusOr<Global> NewGlobal(const GlobalType& type, const Value& value);

  // The function that a funcref value stands for. InvalidArgument for null, a
  // value of another type, or one that is not of this Store.
  absl::StatusOr<Func> FuncFromRef(const Value& ref);

  // An externref handle for `object`, which the Store then owns.
  // ResourceExhausted over Limits::extern_refs.
  absl::StatusOr<Value> NewExternRef(std::shared_ptr<void> object);
  // The object, or null if the handle is null or unknown here.
  std::shared_ptr<void> ExternRefObject(const Value& ref) const;

  // Ends what runs now, or whatever runs next, with TrapCode::kInterrupted, and
  // every later call until ResetInterrupt(). Any thread.
  void Interrupt();
  void ResetInterrupt();
  bool interrupted() const;

  // What all calls into this Store may use together, and how it is changed
  // between calls and during them.
  Fuel& fuel();
  const Fuel& fuel() const;

  // Bytes of all memories, and of all tables at Limits::kTableElementBytes.
  uint64_t bytes_used() const;
  uint32_t instance_count() const;
  // Activations live now.
  uint32_t depth() const;

  StoreImpl& impl() { return *impl_; }

 private:
  friend class Linker;
  friend class Func;
  friend class Memory;
  friend class Table;
  friend class Global;
  friend class Instance;
  const std::unique_ptr<StoreImpl> impl_;
};

}  // namespace callgate

#endif  // CALLGATE_RUNTIME_STORE_H_
