// Profiles of what is usual, on disk.

#ifndef CALLGATE_SERVER_PROFILES_STORED_PROFILES_H_
#define CALLGATE_SERVER_PROFILES_STORED_PROFILES_H_

#include <condition_variable>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>

#include "absl/status/status.h"
#include "policy/anomaly/profile_book.h"
#include "server/storage/catalogue.h"

namespace callgate {

// Keeps a book's profiles in the catalogue, which outlives it. Any thread, but
// one at a time for each profile, as the book sees to.
//
// What may be kept soon waits for a thread of this object's own, which writes
// profiles in the order in which they came to wait, and each as it is by then:
// many runs of one module are one write. What waits is written before this
// object is gone. kill -9 loses of each profile what it learned since its last
// write began; what was kept with Keep is never lost.
class StoredProfiles final : public policy::anomaly::ProfileKeeper {
 public:
  // Profiles that may wait at a time.
  static constexpr size_t kWaitingMax = 256;

  // `on_not_kept` is told, from any thread, of a profile that could not be
  // written while nobody waited for it. It stays as it is in the book, and goes
  // to disk with its next change.
  explicit StoredProfiles(
      storage::Catalogue& catalogue,
      std::function<void(const absl::Status&)> on_not_kept =
          [](const absl::Status&) {});
  ~StoredProfiles() override;

  absl::Status Keep(const policy::anomaly::ProfileId& id,
                    const policy::anomaly::Profile& profile) override;
  absl::Status KeepSoon(
      const policy::anomaly::ProfileId& id,
      std::shared_ptr<const policy::anomaly::Profile> profile) override;
  absl::Status Forget(const policy::anomaly::ProfileId& id) override;

  // Returns when nothing waits any more.
  void Flush();

  // Puts everything that is stored into `book`, before anybody uses it.
  // DataLoss where something stored is no profile; the message names it.
  absl::Status LoadInto(policy::anomaly::ProfileBook& book);

 private:
  using Waiting = std::shared_ptr<const policy::anomaly::Profile>;

  absl::Status Write(const policy::anomaly::ProfileId& id,
                     const policy::anomaly::Profile& profile);
  // What waited, if anything did; whoever asks now writes instead, and nobody
  // else is in the middle of it.
  Waiting TakeOver(const policy::anomaly::ProfileId& id);
  // It waits again, since nothing came of that.
  void PutBack(const policy::anomaly::ProfileId& id, Waiting profile);
  void Run();

  storage::Catalogue& catalogue_;
  const std::function<void(const absl::Status&)> on_not_kept_;
  std::mutex mu_;
  std::condition_variable changed_;
  // Guarded by mu_.
  std::map<policy::anomaly::ProfileId, Waiting> waiting_;
  // Of waiting_'s, and perhaps some that are there no more.
  std::deque<policy::anomaly::ProfileId> order_;
  std::optional<policy::anomaly::ProfileId> writing_;
  bool ends_ = false;
  // Last, so that it finds the rest.
  std::thread thread_;
};

}  // namespace callgate

#endif  // CALLGATE_SERVER_PROFILES_STORED_PROFILES_H_
