// A Linker names what modules may import, and instantiates modules against it.
//
// A name that nothing defines is a link error at instantiation, which names the
// first missing import; the linker never invents anything. Not thread-safe;
// may be reused for many Stores, except that definitions taken from a Store
// work only there.

#ifndef CALLGATE_RUNTIME_LINKER_H_
#define CALLGATE_RUNTIME_LINKER_H_

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "runtime/caller.h"
#include "runtime/host_function_spec.h"
#include "runtime/instance.h"
#include "runtime/leaf_function.h"
#include "runtime/module.h"

namespace callgate {

// A host function that is not yet in any Store.
struct HostDefinition {
  FuncType type;
  HostFunctionSpec spec;
  // One of the two, not both.
  HostFunction body;
  LeafFunction leaf = {};
};

// How an instantiation ended: with an instance, or with the trap of an active
// segment or of the start function.
struct Instantiation {
  std::optional<Instance> instance;
  std::optional<Trap> trap;
  CallUsage usage;
};

class Linker {
 public:
  // AlreadyExists when (module, name) is defined.
  absl::Status DefineFunc(absl::string_view module, absl::string_view name,
                          HostDefinition definition);
  absl::Status Define(absl::string_view module, absl::string_view name,
                      Extern value);
  // Every export of `instance` under `module`.
  absl::Status DefineInstance(absl::string_view module,
                              const Instance& instance);
  bool Defines(absl::string_view module, absl::string_view name) const;

  // Links, allocates, runs active segments and the start function.
  //   NotFound            nothing defines the first missing import, named
  //   FailedPrecondition  an import is defined with another type; or called
  //                       from inside a hook without allow_reentry
  //   InvalidArgument     a definition comes from another Store
  //   ResourceExhausted   a Limit of the Store
  // and, in a Store without canonical NaNs, what the compiler says where it has
  // to make the module's code for it (StoreOptions).
  // The instance's name appears in backtraces and events; it may be empty.
  absl::StatusOr<Instantiation> Instantiate(
      Store& store, std::shared_ptr<const Module> module,
      absl::string_view name, const CallOptions& options = {}) const;

 private:
  friend class StoreImpl;
  struct Entry {
    std::shared_ptr<const HostDefinition> host;
    std::optional<Extern> value;
  };
  std::map<std::pair<std::string, std::string>, Entry> entries_;
};

}  // namespace callgate

#endif  // CALLGATE_RUNTIME_LINKER_H_
