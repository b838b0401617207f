// The modules' bytes: one file for each digest, DIR/ab/ab12…, which either
// holds all of them or does not exist.
//
// Put writes a file beside, syncs it, renames it and syncs the folder, so that
// bytes whose Put returned OK survive kill -9 and loss of power, and a torn
// file is never seen under a digest's name. Get hashes what it read: other
// bytes than were put are DataLoss, never returned.
//
// Any thread; every call may wait for the disk. The folder must belong to one
// BlobStore: what makes sure of that is the catalogue's lock (storage.h).

#ifndef CALLGATE_SERVER_STORAGE_BLOB_STORE_H_
#define CALLGATE_SERVER_STORAGE_BLOB_STORE_H_

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "server/storage/digest.h"
#include "server/storage/storage_observer.h"

namespace callgate::storage {

class BlobStore {
 public:
  // Makes the folder where it is missing. `observer` may be null and outlives
  // the store.
  static absl::StatusOr<std::unique_ptr<BlobStore>> Open(
      const std::string& folder, StorageObserver* observer);

  ~BlobStore();
  BlobStore(const BlobStore&) = delete;
  BlobStore& operator=(const BlobStore&) = delete;

  // Keeps `bytes` under `digest`, which must be theirs. Putting them twice is
  // fine, from two threads as well.
  absl::Status Put(const Digest& digest, absl::string_view bytes);

  // The bytes of at most `bytes_max`: a file that grew is not read into memory.
  absl::StatusOr<std::string> Get(const Digest& digest,
                                  uint64_t bytes_max) const;

  // Removes the file; one that is not there is fine.
  absl::Status Remove(const Digest& digest);

  // Removes what an interrupted Put or Remove left behind: unfinished files,
  // and files that `is_wanted` denies. Only before the store is in use. Returns
  // how many.
  absl::StatusOr<uint64_t> RemoveOrphans(
      const std::function<absl::StatusOr<bool>(const Digest&)>& is_wanted);

 private:
  BlobStore(std::string folder, int folder_fd, StorageObserver* observer);

  // Constant after construction.
  const std::string folder_;
  const int folder_fd_;
  StorageObserver* const observer_;

  std::atomic<uint64_t> next_temporary_{0};
};

}  // namespace callgate::storage

#endif  // CALLGATE_SERVER_STORAGE_BLOB_STORE_H_
