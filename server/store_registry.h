// The daemon's Stores by name: those that live, and for a while those that have
// ended, so that whoever asks later learns why.
//
// Any thread. A StoreEntry is shared; its Session is given back to nobody once
// the Store has ended, so that memory goes as soon as the last call returns.

#ifndef CALLGATE_SERVER_STORE_REGISTRY_H_
#define CALLGATE_SERVER_STORE_REGISTRY_H_

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "server/event_suppressor.h"
#include "server/events/event_log.h"
#include "server/metrics/metrics.h"
#include "server/module_library.h"
#include "server/policy_choice.h"
#include "server/session.h"
#include "server/store_watcher.h"

namespace callgate {

// Why a Store ended, in the words of callgate_store_terminations_total.
enum class EndReason : uint8_t {
  kNone,
  kFinished,  // its one run is over, or the guest exited
  kKilled,
  kPolicyKilled,
  kPolicyQuarantined,
  kIdle,
  kDraining,
  kFailed,  // it could not be instantiated
};
absl::string_view EndReasonName(EndReason reason);

// One Store.
class StoreEntry {
 public:
  struct Facts {
    std::string tenant;
    std::string id;
    std::string module_digest;
    std::map<std::string, std::string> labels;
    absl::Time created;
    std::vector<std::string> warnings;
    // What its policies are selected by.
    std::map<std::string, std::string> module_labels;
    PolicyChoice choice;
    // Lives for one run, then is forgotten.
    bool transient = false;
  };
  // `session` tells `watcher`, which must be the one it was made with.
  StoreEntry(Facts facts, ModuleLibrary::Use use,
             std::unique_ptr<StoreWatcher> watcher,
             std::unique_ptr<Session> session);

  const Facts& facts() const { return facts_; }
  // Null once the Store has ended.
  std::shared_ptr<Session> session() const;
  // "name@version" of those that judge it, or did last.
  std::vector<std::string> policies() const;
  // Held by whoever gives the Session other policies, from looking which.
  absl::Mutex& policies_mutex() { return policies_mutex_; }
  void PublishLifecycle(absl::string_view action, v1::EventSeverity severity,
                        absl::string_view message);
  // What the Session says, or said last.
  SessionFacts state() const;
  // FailedPrecondition STORE_ENDED, with the reason.
  absl::Status EndedStatus() const;

 private:
  friend class StoreRegistry;

  const Facts facts_;
  // The Session is destroyed by whoever lets go of it last, and tells the watcher
  // even then.
  const std::shared_ptr<StoreWatcher> watcher_;

  absl::Mutex policies_mutex_;

  mutable absl::Mutex mu_;
  std::shared_ptr<Session> session_ ABSL_GUARDED_BY(mu_);
  std::vector<std::string> last_policies_ ABSL_GUARDED_BY(mu_);
  std::unique_ptr<ModuleLibrary::Use> use_ ABSL_GUARDED_BY(mu_);
  SessionFacts last_ ABSL_GUARDED_BY(mu_);
  EndReason asked_ ABSL_GUARDED_BY(mu_) = EndReason::kNone;
};

class StoreRegistry {
 public:
  // The event log and metrics outlive it.
  StoreRegistry(size_t live_max, events::EventLog& events,
                metrics::Metrics& metrics);
  StoreRegistry(const StoreRegistry&) = delete;
  StoreRegistry& operator=(const StoreRegistry&) = delete;

  // "s-" and 16 random hexadecimal digits: no id can be guessed.
  static std::string NewId();

  // Room for one more Store, until Add or the destructor.
  class Slot {
   public:
    Slot(Slot&& other) noexcept
        : registry_(std::exchange(other.registry_, nullptr)) {}
    Slot& operator=(Slot&&) = delete;
    ~Slot();

   private:
    friend class StoreRegistry;
    explicit Slot(StoreRegistry* registry) : registry_(registry) {}
    StoreRegistry* registry_;
  };
  // ResourceExhausted TOO_MANY_STORES.
  absl::StatusOr<Slot> Reserve();

  void Add(Slot slot, const std::shared_ptr<StoreEntry>& entry);

  // NotFound STORE_NOT_FOUND: the same whether it never was or is another
  // tenant's.
  absl::StatusOr<std::shared_ptr<StoreEntry>> Find(absl::string_view tenant,
                                                   absl::string_view id) const;

  // In order of id, at most `page_size`, after the id `after`.
  std::vector<std::shared_ptr<StoreEntry>> List(absl::string_view tenant,
                                                size_t page_size,
                                                absl::string_view after) const;

  // Ends the Store; again is fine.
  void End(const std::shared_ptr<StoreEntry>& entry, EndReason reason,
           absl::string_view message);
  // To be called when a call has ended: lets go of a Session that is over.
  void Settle(const std::shared_ptr<StoreEntry>& entry);

  // Ends every Store of the module.
  void EndModule(absl::string_view tenant, absl::string_view digest,
                 EndReason reason, absl::string_view message);
  void EndAll(EndReason reason, absl::string_view message);
  // Ends Stores that nobody has called since `before`.
  void EndIdle(absl::Time before);

  // Folds the events of all its Stores; tells what it held back of each when
  // that ends.
  EventSuppressor& suppressor() { return suppressor_; }

  // Stores that have not ended.
  std::vector<std::shared_ptr<StoreEntry>> Live() const;
  // Ids of those that a policy of this name judges, in order.
  std::vector<std::string> JudgedBy(absl::string_view policy) const;
  // Stores in which a call runs.
  size_t running() const;
  // Lets go of policies that Stores have replaced.
  void CollectReplaced();
  void RefreshGauges();

  // Ended Stores that are remembered.
  static constexpr size_t kEndedMax = 1'000;

 private:
  using Key = std::pair<std::string, std::string>;  // tenant, id

  // Constant after construction; the references outlive this.
  const size_t live_max_;
  events::EventLog& events_;
  metrics::Metrics& metrics_;
  EventSuppressor suppressor_;

  mutable absl::Mutex mu_;
  std::map<Key, std::shared_ptr<StoreEntry>> entries_ ABSL_GUARDED_BY(mu_);
  size_t live_ ABSL_GUARDED_BY(mu_) = 0;        // with reserved ones
  std::deque<Key> ended_ ABSL_GUARDED_BY(mu_);  // oldest first
  // Tenants that had a gauge, to set it back to zero.
  std::map<std::string, uint64_t> memory_gauges_ ABSL_GUARDED_BY(mu_);
};

}  // namespace callgate

#endif  // CALLGATE_SERVER_STORE_REGISTRY_H_
