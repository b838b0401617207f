// What happened lately, in order, for everyone who watches.
//
// Publish never waits for a reader. Events get consecutive numbers and stay in
// one bounded log that all readers share, each at its own place; the log is
// every reader's queue. When it is full the oldest event goes, and each reader
// that had not come so far finds a Gap with the count in its place. Critical
// events (severity error and above) have room of their own, which no flood of
// lesser ones can take, and each Store has an event budget of both kinds, so
// that one Store cannot push out what others did; what is over it is counted
// and leaves a gap event in the log.
//
// The books balance. Events offered = logged + dropped{log}; and for each
// reader, events logged since it began = delivered + not wanted + dropped +
// still to be read.
//
// Memory is bounded by EventLogOptions: events are cut to a few KiB at most and
// the log is bounded in bytes as well as in number. Nothing here survives the
// process; the epoch tells one run of the daemon from the next.
//
// Any thread. A Subscription is used by one thread at a time, but Close may
// come from another. The log outlives its subscriptions.

#ifndef CALLGATE_SERVER_EVENTS_EVENT_LOG_H_
#define CALLGATE_SERVER_EVENTS_EVENT_LOG_H_

#include <cstddef>
#include <cstdint>
#include <deque>
#include <list>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "proto/callgate/v1/event_service.pb.h"
#include "server/events/event_filter.h"
#include "server/events/event_observer.h"

namespace callgate::events {

// Time as the log sees it; tests bring their own.
class Clock {
 public:
  virtual ~Clock() = default;
  virtual absl::Time Now() = 0;
  // Never goes back.
  virtual int64_t MonotonicNanos() = 0;

  // The machine's, for the process's life.
  static Clock& Real();
};

// A token bucket: `burst` at once, then `per_second`.
struct EventBudget {
  uint32_t burst = 0;
  uint32_t per_second = 0;
};

struct EventLogOptions {
  // What is kept, each of lesser and of critical events.
  size_t events_max = 16'384;
  size_t bytes_max = 16 << 20;
  size_t critical_events_max = 4'096;
  size_t critical_bytes_max = 4 << 20;

  // What each Store may put into the log. Events without a Store have no
  // budget: the daemon itself makes them, and not in a guest's time.
  EventBudget store_budget = {2'000, 500};
  EventBudget store_critical_budget = {200, 20};
  // Stores whose budget is remembered; beyond it the one silent for longest is
  // forgotten, and would begin with a full budget.
  size_t stores_max = 4'096;

  size_t subscriptions_max = 64;

  // Both may be null; they outlive the log. Null is the machine's clock.
  Clock* clock = nullptr;
  EventObserver* observer = nullptr;
};

// A place between two events: all up to and including `seq` are behind it.
struct Position {
  uint64_t epoch = 0;
  uint64_t seq = 0;
};

class EventLog;

// One reader.
class Subscription {
 public:
  ~Subscription();
  Subscription(const Subscription&) = delete;
  Subscription& operator=(const Subscription&) = delete;

  // One of the two is set.
  struct Item {
    std::shared_ptr<const v1::Event> event;
    std::optional<v1::Gap> gap;
    // To go on after this item.
    Position position;
  };

  // The next item, waiting for one until `deadline` at most (by the machine's
  // clock). Nothing: the deadline passed, or the subscription is closed. With
  // absl::InfinitePast() it does not wait.
  std::optional<Item> Next(absl::Time deadline);

  // Where this reader is: what a heartbeat carries.
  Position position() const;

  // From now on Next gives what was logged before, without waiting, and then
  // nothing. Any thread.
  void Close();
  bool closed() const;

  // The event that Next gave last could not be passed on: counts it as dropped
  // for `reason`. An event counts as delivered once the reader comes back for
  // the next item, or goes.
  void CountUndelivered(const char* reason);

  // The books of this reader: every event that was logged since it began is in
  // one of these, or still kept and to be read.
  struct Books {
    uint64_t delivered = 0;
    uint64_t not_wanted = 0;
    uint64_t dropped = 0;
  };
  Books books() const;

 private:
  friend class EventLog;
  struct State;
  Subscription(EventLog& log, std::shared_ptr<State> state);

  EventLog& log_;  // outlives this
  const std::shared_ptr<State> state_;
};

class EventLog {
 public:
  explicit EventLog(const EventLogOptions& options);
  ~EventLog();
  EventLog(const EventLog&) = delete;
  EventLog& operator=(const EventLog&) = delete;

  // Logs the event under the next number and stamps epoch, seq, time and
  // monotonic_ns; other fields are the caller's, strings cut and escaped here.
  // An event over its Store's budget is counted and gone.
  void Publish(v1::Event event);

  // The Store is no more: its budget can be forgotten.
  void ForgetStore(absl::string_view store);

  struct Start {
    // Go on after this place. OutOfRange if events since are no longer kept,
    // or if it is another epoch's; the message names the oldest place that can
    // be given. InvalidArgument for a place in the future.
    std::optional<Position> after;
    // Without `after`: begin with what is kept, a Gap "before_start" first if
    // something older has gone. Otherwise begin with the next event.
    bool include_kept = false;
  };
  // `sink` is kSinkWatch or kSinkAlertFile. ResourceExhausted beyond
  // subscriptions_max.
  absl::StatusOr<std::unique_ptr<Subscription>> Subscribe(
      const EventFilter& filter, const Start& start, const char* sink);

  // Closes every subscription, and those that are made later from the start:
  // the daemon is going.
  void Shutdown();

  uint64_t epoch() const { return epoch_; }
  // The oldest place that Start::after can be.
  Position oldest() const;
  // After the newest event.
  Position newest() const;

  // How it is with one sink now.
  struct SinkState {
    uint64_t subscribers = 0;
    uint64_t depth = 0;     // events not yet read, of the slowest reader
    uint64_t capacity = 0;  // events the log keeps
    absl::Duration lag;     // age of the oldest event not yet read
  };
  SinkState StateOf(absl::string_view sink) const;

 private:
  friend class Subscription;

  // One kept event.
  struct Entry {
    std::shared_ptr<const v1::Event> event;
    size_t bytes = 0;
  };
  // Kept events of one class, oldest first, bounded in number and bytes.
  struct Ring {
    std::deque<Entry> entries;
    size_t bytes = 0;
    size_t events_max = 0;
    size_t bytes_max = 0;
  };
  // One budget's level.
  struct Bucket {
    double tokens = 0;
    int64_t at_ns = 0;
  };
  // What the log remembers of a Store.
  struct StoreEntry {
    std::string tenant;
    Bucket lesser;
    Bucket critical;
    // Over budget since the last gap event of this Store.
    uint64_t dropped = 0;
    int64_t dropped_since_ns = 0;
    std::list<std::string>::iterator age;  // in store_ages_
  };

  static bool Take(const EventBudget& budget, int64_t now_ns, Bucket& bucket);
  static size_t CountAfter(const Ring& ring, uint64_t seq);

  // Whether the event's Store may have it logged.
  bool Admit(const v1::Event& event) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void Append(v1::Event event) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void EvictOldest(Ring& ring) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // Notes in the reader's gaps that event `seq`, which is no longer kept, would
  // have been one for it.
  void NoteLost(Subscription::State& state, uint64_t seq)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  StoreEntry& StoreOf(const v1::Event& event, int64_t now_ns)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // Logs that a Store's events are missing.
  void AppendStoreGap(const std::string& store, StoreEntry& entry)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // The same for every Store that has waited for a second.
  void AppendDueStoreGaps() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // The oldest kept event after `seq`, or null.
  std::shared_ptr<const v1::Event> FirstAfter(uint64_t seq) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // What the reader gets next, if it is there.
  std::optional<Subscription::Item> TakeNext(Subscription::State& state)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void Confirm(Subscription::State& state) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  // Constant after construction.
  const EventLogOptions options_;
  Clock& clock_;
  const uint64_t epoch_;

  mutable absl::Mutex mu_;
  absl::CondVar changed_;
  uint64_t next_seq_ ABSL_GUARDED_BY(mu_) = 1;
  Ring lesser_ ABSL_GUARDED_BY(mu_);
  Ring critical_ ABSL_GUARDED_BY(mu_);
  uint64_t evicted_ ABSL_GUARDED_BY(mu_) = 0;
  uint64_t newest_evicted_seq_ ABSL_GUARDED_BY(mu_) = 0;
  bool shut_down_ ABSL_GUARDED_BY(mu_) = false;
  absl::flat_hash_set<std::shared_ptr<Subscription::State>> subscriptions_
      ABSL_GUARDED_BY(mu_);
  absl::flat_hash_map<std::string, StoreEntry> stores_ ABSL_GUARDED_BY(mu_);
  // Keys of stores_, the one silent for longest first.
  std::list<std::string> store_ages_ ABSL_GUARDED_BY(mu_);
  // Stores with dropped > 0.
  absl::flat_hash_set<std::string> indebted_stores_ ABSL_GUARDED_BY(mu_);
};

}  // namespace callgate::events

#endif  // CALLGATE_SERVER_EVENTS_EVENT_LOG_H_
