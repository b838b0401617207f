// What a guest's handles were opened as, for rules about paths.
//
// Told by whoever gives out the handles. On the Store's thread.

#ifndef CALLGATE_POLICY_HOOK_HANDLE_NAMES_H_
#define CALLGATE_POLICY_HOOK_HANDLE_NAMES_H_

#include <cstdint>
#include <optional>

#include "absl/strings/string_view.h"
#include "runtime/call_hook.h"

namespace callgate::policy {

class HandleNames {
 public:
  virtual ~HandleNames() = default;

  // The guest's path of what `handle` is to `function`: a directory's is where
  // it is now, by whatever name or link it was opened. Empty for what no path
  // leads to, such as standard output; nothing if it is not open or nobody
  // knows. Valid until the hook returns.
  virtual std::optional<absl::string_view> PathOf(
      const FunctionIdentity& function, uint64_t handle) = 0;

  // Calls of `function` are judged by their paths, so from now on none of their
  // paths may follow a symbolic link to somewhere else. Calls of others may,
  // and open directories through them: PathOf says where these are in truth.
  virtual void RefuseLinks(const FunctionIdentity& function) = 0;
};

}  // namespace callgate::policy

#endif  // CALLGATE_POLICY_HOOK_HANDLE_NAMES_H_
