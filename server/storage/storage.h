// The daemon's data directory, held by one daemon at a time: the catalogue in
// DIR/catalogue.db and the modules' bytes in DIR/modules.
//
// Storage keeps the two in step. Bytes are on disk before a record names them
// and outlive the last record that does, so a module that is listed can be
// read, whenever the process was killed.
//
// Any thread; calls may wait for the disk. What a method of Catalogue promises
// about durability and errors holds here too.

#ifndef CALLGATE_SERVER_STORAGE_STORAGE_H_
#define CALLGATE_SERVER_STORAGE_STORAGE_H_

#include <cstdint>
#include <map>
#include <memory>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "server/storage/blob_store.h"
#include "server/storage/catalogue.h"
#include "server/storage/digest.h"
#include "server/storage/storage_observer.h"

namespace callgate::storage {

struct StorageOptions {
  CatalogueLimits limits;
  // A module's bytes; a larger file in the directory is DataLoss, not memory.
  uint64_t module_bytes_max = 64 << 20;
  // May be null; outlives the Storage.
  StorageObserver* observer = nullptr;
};

class Storage {
 public:
  // Makes the directory where it is missing (mode 0700), takes it for this
  // process, brings an older schema up to date and clears what a killed
  // predecessor left half done.
  //
  // FailedPrecondition: another daemon has the directory, or a newer release
  // wrote it. PermissionDenied, Unavailable: it cannot be made or written.
  // Each message says what to do.
  static absl::StatusOr<std::unique_ptr<Storage>> Open(
      const std::string& directory, const StorageOptions& options);

  // What PutModule did.
  struct PutResult {
    ModuleRecord module;   // as it is stored
    bool created = false;  // false: the tenant had it already
  };
  // Keeps the bytes and the record. `module.digest` must be theirs.
  absl::StatusOr<PutResult> PutModule(const ModuleRecord& module,
                                      absl::string_view bytes);

  // The record and bytes of a module that the tenant has.
  struct StoredModule {
    ModuleRecord module;
    std::string bytes;
  };
  absl::StatusOr<StoredModule> ReadModule(absl::string_view tenant,
                                          const Digest& digest);

  // Removes the record, and the bytes where no other tenant has the module.
  // Whether Stores still use it is the caller's to check.
  absl::Status DeleteModule(absl::string_view tenant, const Digest& digest);

  // Everything else. Write modules through this class only.
  Catalogue& catalogue() { return *catalogue_; }

 private:
  Storage(const StorageOptions& options, std::unique_ptr<Catalogue> catalogue,
          std::unique_ptr<BlobStore> blobs);

  // Constant after construction.
  const StorageOptions options_;
  const std::unique_ptr<Catalogue> catalogue_;
  const std::unique_ptr<BlobStore> blobs_;

  // Held over each change of a file together with its records.
  absl::Mutex mu_;
};

}  // namespace callgate::storage

#endif  // CALLGATE_SERVER_STORAGE_STORAGE_H_
