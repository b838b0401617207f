// Profiles of what is usual, on disk.

#ifndef CALLGATE_SERVER_PROFILES_STORED_PROFILES_H_
#define CALLGATE_SERVER_PROFILES_STORED_PROFILES_H_

#include "absl/status/status.h"
#include "policy/anomaly/profile_book.h"
#include "server/storage/catalogue.h"

namespace callgate {

// Keeps a book's profiles in the catalogue, which outlives it. Any thread.
class StoredProfiles final : public policy::anomaly::ProfileKeeper {
 public:
  explicit StoredProfiles(storage::Catalogue& catalogue)
      : catalogue_(catalogue) {}

  absl::Status Keep(const policy::anomaly::ProfileId& id,
                    const policy::anomaly::Profile& profile) override;
  absl::Status Forget(const policy::anomaly::ProfileId& id) override;

  // Puts everything that is stored into `book`, before anybody uses it.
  // DataLoss where something stored is no profile; the message names it.
  absl::Status LoadInto(policy::anomaly::ProfileBook& book);

 private:
  storage::Catalogue& catalogue_;
};

}  // namespace callgate

#endif  // CALLGATE_SERVER_PROFILES_STORED_PROFILES_H_
