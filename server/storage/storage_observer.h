// Facts about storage for whoever counts them. No answers are expected.

#ifndef CALLGATE_SERVER_STORAGE_STORAGE_OBSERVER_H_
#define CALLGATE_SERVER_STORAGE_STORAGE_OBSERVER_H_

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"

namespace callgate::storage {

class StorageObserver {
 public:
  virtual ~StorageObserver() = default;

  // One operation ended. `engine` is "sqlite" or "files", `op` one of
  // kStorageOperations. Called on the operation's thread, with its lock held:
  // do not call storage from here. NotFound and the like are answers, not
  // errors of storage; `failed` is what the disk or its contents did.
  virtual void OnOperation(absl::string_view engine, absl::string_view op,
                           absl::Duration took, bool failed) = 0;
};

}  // namespace callgate::storage

#endif  // CALLGATE_SERVER_STORAGE_STORAGE_OBSERVER_H_
