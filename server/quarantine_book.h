// Which modules are in quarantine.
//
// A quarantine holds from the moment it is given, whatever the disk says: one
// that could not be stored is kept here, told of, and stored again and again
// until that works (RetryUnstored). While it is not known whether a module is
// in quarantine, because the disk cannot be read, nothing is made of it.
//
// Any thread; calls wait for the disk. The catalogue, the faults and the event
// log outlive it.

#ifndef CALLGATE_SERVER_QUARANTINE_BOOK_H_
#define CALLGATE_SERVER_QUARANTINE_BOOK_H_

#include <cstddef>
#include <map>
#include <optional>
#include <string>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/synchronization/mutex.h"
#include "proto/callgate/v1/event_service.pb.h"
#include "server/events/event_log.h"
#include "server/internal_faults.h"
#include "server/storage/catalogue.h"
#include "server/storage/digest.h"

namespace callgate {

class QuarantineBook {
 public:
  QuarantineBook(storage::Catalogue& catalogue, InternalFaults& faults,
                 events::EventLog& events)
      : catalogue_(catalogue), faults_(faults), events_(events) {}
  QuarantineBook(const QuarantineBook&) = delete;
  QuarantineBook& operator=(const QuarantineBook&) = delete;

  // When it returns, Find finds the module, and always will. Publishes `event`,
  // whose action and message are set here, unless the module was in quarantine
  // before.
  void Put(const storage::QuarantineRecord& record, v1::Event event);

  // Unavailable, or what storage says, where that is not known.
  absl::StatusOr<std::optional<storage::QuarantineRecord>> Find(
      absl::string_view tenant, const storage::Digest& digest);

  // Tries once more to store what is not.
  void RetryUnstored();
  size_t unstored() const;

  // Quarantines that are held without being stored. Beyond it no module can be
  // told from one in quarantine, so Find fails for all until the daemon starts
  // anew.
  static constexpr size_t kUnstoredMax = 10'000;

 private:
  using Key = std::pair<std::string, storage::Digest>;

  storage::Catalogue& catalogue_;
  InternalFaults& faults_;
  events::EventLog& events_;

  // Held by whoever writes to the catalogue; before mu_.
  absl::Mutex storing_;
  mutable absl::Mutex mu_;
  std::map<Key, storage::QuarantineRecord> unstored_ ABSL_GUARDED_BY(mu_);
  bool lost_some_ ABSL_GUARDED_BY(mu_) = false;
};

}  // namespace callgate

#endif  // CALLGATE_SERVER_QUARANTINE_BOOK_H_
