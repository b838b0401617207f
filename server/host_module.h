// Host modules beyond WASI: functions that an embedder offers to guests.
//
// An embedder implements HostModule, says for each function which arguments are
// pointers, paths or handles (its HostFunctionSpec, which policies refer to),
// and registers it before the first Session. Offering a function gives no guest
// the right to call it: the policy does that.

#ifndef CALLGATE_SERVER_HOST_MODULE_H_
#define CALLGATE_SERVER_HOST_MODULE_H_

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "runtime/linker.h"

namespace callgate {

// Which Store a host module's functions are made for.
struct HostModuleFacts {
  std::string tenant;
  std::string store_id;
  std::string module_digest;
};

class HostModule {
 public:
  virtual ~HostModule() = default;

  // What guests import it as: "net". Constant.
  virtual absl::string_view name() const = 0;

  // Its functions, made afresh for one Store: state that a body captures
  // belongs to that Store alone, lives as long as the Store, and is used on the
  // Store's thread only. Names and types must be the same every time. Called
  // from any thread, several at once.
  virtual std::vector<std::pair<std::string, HostDefinition>> Functions(
      const HostModuleFacts& facts) const = 0;
};

// One function, ready to be linked.
struct HostFunctionEntry {
  std::string module;
  std::string name;
  HostDefinition definition;
};

// The host modules of one process. Register them all, then share it: after
// that, any thread.
class HostModules {
 public:
  HostModules() = default;
  HostModules(HostModules&&) = default;
  HostModules& operator=(HostModules&&) = default;

  // AlreadyExists when the name is taken, by WASI too. InvalidArgument for a
  // function that appears twice.
  absl::Status Register(std::unique_ptr<HostModule> module);

  // Every function of every module, made for one Store.
  std::vector<HostFunctionEntry> FunctionsFor(
      const HostModuleFacts& facts) const;

  // "module.name" of each function.
  std::vector<std::string> ImportNames() const;
  bool Defines(absl::string_view module, absl::string_view name) const;

 private:
  struct Entry {
    std::unique_ptr<HostModule> module;
    std::vector<std::string> function_names;  // sorted
  };
  std::vector<Entry> entries_;
};

}  // namespace callgate

#endif  // CALLGATE_SERVER_HOST_MODULE_H_
