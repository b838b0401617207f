// Two rings hold the kept events, lesser and critical ones, each in order of
// seq; a reader sees them merged. As numbers are consecutive, what a reader at
// `position` has missed is what was evicted with a higher number. That is noted
// for each reader at the moment of eviction, when the filter can still be
// asked, so counts are exact. It costs each eviction a look at each reader that
// is behind; there are few readers, and one that keeps up costs nothing.

#include "server/events/event_log.h"

#include <time.h>

#include <algorithm>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "google/protobuf/message.h"
#include "runtime/check.h"
#include "server/events/escape.h"

namespace callgate::events {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::Reflection;

// What an event may hold at most.
constexpr size_t kMessageBytesMax = 1'024;
constexpr size_t kStringBytesMax = 256;
constexpr int kElementsMax = 16;
// The calls before an alert.
constexpr int kRecentCallsMax = 64;
// Of a name in those: they are many.
constexpr size_t kRecentNameBytesMax = 64;

// How long a Store's missing events may go unsaid while it is silent.
constexpr int64_t kStoreGapDelayNs = 1'000'000'000;
constexpr absl::Duration kStoreGapDelay = absl::Nanoseconds(kStoreGapDelayNs);

class RealClock final : public Clock {
 public:
  absl::Time Now() override { return absl::Now(); }
  int64_t MonotonicNanos() override {
    timespec now = {};
    clock_gettime(CLOCK_MONOTONIC, &now);
    return int64_t{now.tv_sec} * 1'000'000'000 + now.tv_nsec;
  }
};

bool IsCritical(const v1::Event& event) {
  return event.severity() >= v1::EVENT_SEVERITY_ERROR;
}

// Cuts and escapes every string of `message`, and cuts its lists. The nesting
// is the schema's.
void Tame(Message& message) {
  const Reflection& at = *message.GetReflection();
  std::vector<const FieldDescriptor*> fields;
  at.ListFields(message, &fields);
  for (const FieldDescriptor* const field : fields) {
    const bool is_of_event =
        field->containing_type() == v1::Event::descriptor();
    if (field->is_repeated()) {
      const int elements_max =
          is_of_event && field->number() == v1::Event::kRecentCallsFieldNumber
              ? kRecentCallsMax
              : kElementsMax;
      while (at.FieldSize(message, field) > elements_max) {
        at.RemoveLast(&message, field);
      }
    }
    const size_t bytes_max =
        is_of_event && field->number() == v1::Event::kMessageFieldNumber
            ? kMessageBytesMax
        : field->containing_type() == v1::Event::PastCall::descriptor()
            ? kRecentNameBytesMax
            : kStringBytesMax;
    const int size = field->is_repeated() ? at.FieldSize(message, field) : 1;
    for (int i = 0; i < size; ++i) {
      if (field->cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE) {
        Tame(field->is_repeated()
                 ? *at.MutableRepeatedMessage(&message, field, i)
                 : *at.MutableMessage(&message, field));
      } else if (field->cpp_type() == FieldDescriptor::CPPTYPE_STRING) {
        std::string unused;
        const std::string& text =
            field->is_repeated()
                ? at.GetRepeatedStringReference(message, field, i, &unused)
                : at.GetStringReference(message, field, &unused);
        if (text.size() <= bytes_max && IsPlainText(text)) continue;
        std::string tamed = EscapeText(text, bytes_max);
        if (field->is_repeated()) {
          at.SetRepeatedString(&message, field, i, std::move(tamed));
        } else {
          at.SetString(&message, field, std::move(tamed));
        }
      }
    }
  }
}

}  // namespace

Clock& Clock::Real() {
  static RealClock* const clock = new RealClock;
  return *clock;
}

// What the log knows of one reader. Guarded by the log's mu_ after
// construction, except what is const.
struct Subscription::State {
  State(const EventFilter& wanted, const char* its_sink)
      : filter(wanted), sink(its_sink) {}

  const EventFilter filter;
  const char* const sink;

  // All events up to here are behind.
  uint64_t position = 0;
  // Told first.
  std::optional<v1::Gap> before_start;
  // Events after position that were evicted, in stretches that no kept event
  // interrupts, by the first number of each. At most one more than there are
  // kept events.
  std::map<uint64_t, v1::Gap> gaps;
  // Set by Close: nothing after it is given.
  std::optional<uint64_t> end;
  // Next gave an event that it has not heard of since.
  bool unconfirmed = false;
  Books books;
};

Subscription::Subscription(EventLog& log, std::shared_ptr<State> state)
    : log_(log), state_(std::move(state)) {}

Subscription::~Subscription() {
  absl::MutexLock lock(&log_.mu_);
  log_.Confirm(*state_);
  log_.subscriptions_.erase(state_);
}

std::optional<Subscription::Item> Subscription::Next(absl::Time deadline) {
  absl::MutexLock lock(&log_.mu_);
  log_.Confirm(*state_);
  while (true) {
    log_.AppendDueStoreGaps();
    std::optional<Item> item = log_.TakeNext(*state_);
    if (item.has_value() || state_->end.has_value()) return item;
    // A Store in debt makes an event by the mere passing of time.
    const absl::Time wake =
        log_.indebted_stores_.empty()
            ? deadline
            : std::min(deadline, absl::Now() + kStoreGapDelay);
    if (log_.changed_.WaitWithDeadline(&log_.mu_, wake) && wake == deadline) {
      // One last look: an event may have come with the deadline.
      return log_.TakeNext(*state_);
    }
  }
}

Position Subscription::position() const {
  absl::MutexLock lock(&log_.mu_);
  return {log_.epoch_, state_->position};
}

void Subscription::Close() {
  absl::MutexLock lock(&log_.mu_);
  if (state_->end.has_value()) return;
  state_->end = log_.next_seq_ - 1;
  log_.changed_.SignalAll();
}

bool Subscription::closed() const {
  absl::MutexLock lock(&log_.mu_);
  return state_->end.has_value();
}

void Subscription::CountUndelivered(const char* reason) {
  absl::MutexLock lock(&log_.mu_);
  CALLGATE_CHECK(state_->unconfirmed,
                 "the reader has an event, and has not come back since");
  state_->unconfirmed = false;
  ++state_->books.dropped;
  if (log_.options_.observer != nullptr) {
    log_.options_.observer->OnDropped(state_->sink, reason, 1);
  }
}

Subscription::Books Subscription::books() const {
  absl::MutexLock lock(&log_.mu_);
  return state_->books;
}

EventLog::EventLog(const EventLogOptions& options)
    : options_(options),
      clock_(options.clock == nullptr ? Clock::Real() : *options.clock),
      // Microseconds, so that a number of JSON can hold it.
      epoch_(static_cast<uint64_t>(
          std::max<int64_t>(absl::ToUnixMicros(clock_.Now()), 1))) {
  CALLGATE_CHECK(options.events_max > 0 && options.critical_events_max > 0,
                 "an event log has room for events");
  CALLGATE_CHECK(options.stores_max > 0, "an event log knows a Store");
  lesser_.events_max = options.events_max;
  lesser_.bytes_max = options.bytes_max;
  critical_.events_max = options.critical_events_max;
  critical_.bytes_max = options.critical_bytes_max;
}

EventLog::~EventLog() {
  absl::MutexLock lock(&mu_);
  CALLGATE_CHECK(subscriptions_.empty(), "the log outlives its readers");
}

void EventLog::Publish(v1::Event event) {
  {
    absl::MutexLock lock(&mu_);
    if (options_.observer != nullptr)
      options_.observer->OnEmitted(event.kind());
    // First of all, so that a flood costs little.
    if (!Admit(event)) return;
  }
  // Not under the lock: it may take microseconds.
  Tame(event);
  absl::MutexLock lock(&mu_);
  Append(std::move(event));
}

bool EventLog::Admit(const v1::Event& event) {
  if (event.store().empty()) return true;
  const int64_t now_ns = clock_.MonotonicNanos();
  StoreEntry& entry = StoreOf(event, now_ns);
  const bool critical = IsCritical(event);
  if (Take(critical ? options_.store_critical_budget : options_.store_budget,
           now_ns, critical ? entry.critical : entry.lesser)) {
    if (entry.dropped > 0) AppendStoreGap(event.store(), entry);
    return true;
  }
  if (entry.dropped == 0) {
    entry.dropped_since_ns = now_ns;
    indebted_stores_.insert(event.store());
    // Whoever waits has to wake up by itself from now on.
    changed_.SignalAll();
  }
  ++entry.dropped;
  if (options_.observer != nullptr) {
    options_.observer->OnDropped(kSinkLog, kDropStoreBudget, 1);
  }
  return false;
}

bool EventLog::Take(const EventBudget& budget, int64_t now_ns, Bucket& bucket) {
  const double seconds = static_cast<double>(now_ns - bucket.at_ns) * 1e-9;
  bucket.at_ns = now_ns;
  bucket.tokens = std::min(static_cast<double>(budget.burst),
                           bucket.tokens + seconds * budget.per_second);
  if (bucket.tokens < 1) return false;
  bucket.tokens -= 1;
  return true;
}

EventLog::StoreEntry& EventLog::StoreOf(const v1::Event& event,
                                        int64_t now_ns) {
  const auto found = stores_.find(event.store());
  if (found != stores_.end()) {
    store_ages_.splice(store_ages_.end(), store_ages_, found->second.age);
    return found->second;
  }
  if (stores_.size() >= options_.stores_max) {
    const auto oldest = stores_.find(store_ages_.front());
    if (oldest->second.dropped > 0) {
      AppendStoreGap(oldest->first, oldest->second);
    }
    store_ages_.pop_front();
    stores_.erase(oldest);
  }
  StoreEntry& entry = stores_[event.store()];
  entry.tenant = event.tenant();
  entry.lesser = {static_cast<double>(options_.store_budget.burst), now_ns};
  entry.critical = {static_cast<double>(options_.store_critical_budget.burst),
                    now_ns};
  entry.age = store_ages_.insert(store_ages_.end(), event.store());
  return entry;
}

void EventLog::ForgetStore(absl::string_view store) {
  absl::MutexLock lock(&mu_);
  const auto found = stores_.find(store);
  if (found == stores_.end()) return;
  if (found->second.dropped > 0) AppendStoreGap(found->first, found->second);
  store_ages_.erase(found->second.age);
  stores_.erase(found);
}

void EventLog::AppendStoreGap(const std::string& store, StoreEntry& entry) {
  v1::Event event;
  event.set_kind(v1::EVENT_KIND_GAP);
  event.set_severity(v1::EVENT_SEVERITY_WARNING);
  event.set_tenant(entry.tenant);
  event.set_store(store);
  event.set_message(
      absl::StrCat(entry.dropped, entry.dropped == 1 ? " event" : " events",
                   " of this Store left out: it makes more than it may"));
  event.mutable_gap()->set_reason(kDropStoreBudget);
  event.mutable_gap()->set_count(entry.dropped);
  entry.dropped = 0;
  indebted_stores_.erase(store);
  Tame(event);
  if (options_.observer != nullptr) options_.observer->OnEmitted(event.kind());
  Append(std::move(event));
}

void EventLog::AppendDueStoreGaps() {
  if (indebted_stores_.empty()) return;
  const int64_t now_ns = clock_.MonotonicNanos();
  // AppendStoreGap changes the set.
  const std::vector<std::string> indebted(indebted_stores_.begin(),
                                          indebted_stores_.end());
  for (const std::string& store : indebted) {
    const auto found = stores_.find(store);
    CALLGATE_CHECK(found != stores_.end(), "a Store in debt is known");
    if (now_ns - found->second.dropped_since_ns < kStoreGapDelayNs) continue;
    AppendStoreGap(found->first, found->second);
  }
}

void EventLog::Append(v1::Event event) {
  event.set_epoch(epoch_);
  event.set_seq(next_seq_++);
  const int64_t now_ns = absl::ToUnixNanos(clock_.Now());
  event.mutable_time()->set_seconds(now_ns / 1'000'000'000);
  event.mutable_time()->set_nanos(static_cast<int32_t>(now_ns % 1'000'000'000));
  event.set_monotonic_ns(clock_.MonotonicNanos());

  Ring& ring = IsCritical(event) ? critical_ : lesser_;
  Entry entry;
  entry.bytes = event.SpaceUsedLong();
  entry.event = std::make_shared<const v1::Event>(std::move(event));
  ring.bytes += entry.bytes;
  ring.entries.push_back(std::move(entry));
  // The event that just came stays, however small the room.
  while (ring.entries.size() > 1 && (ring.entries.size() > ring.events_max ||
                                     ring.bytes > ring.bytes_max)) {
    EvictOldest(ring);
  }
  if (!subscriptions_.empty()) changed_.SignalAll();
}

void EventLog::EvictOldest(Ring& ring) {
  const Entry gone = std::move(ring.entries.front());
  ring.entries.pop_front();
  ring.bytes -= gone.bytes;
  ++evicted_;
  const uint64_t seq = gone.event->seq();
  newest_evicted_seq_ = std::max(newest_evicted_seq_, seq);
  for (const std::shared_ptr<Subscription::State>& reader : subscriptions_) {
    Subscription::State& state = *reader;
    if (state.position >= seq) continue;
    if (state.end.has_value() && *state.end < seq) continue;
    if (!state.filter.Matches(*gone.event)) {
      ++state.books.not_wanted;
      continue;
    }
    NoteLost(state, seq);
    ++state.books.dropped;
    if (options_.observer != nullptr) {
      options_.observer->OnDropped(state.sink, kDropQueueFull, 1);
    }
  }
}

void EventLog::NoteLost(Subscription::State& state, uint64_t seq) {
  // Whether a kept event lies between two numbers that are not kept.
  const auto apart = [this](uint64_t from, uint64_t to)
                         ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
                           const auto kept = FirstAfter(from);
                           return kept != nullptr && kept->seq() < to;
                         };
  v1::Gap gap;
  gap.set_from_seq(seq);
  gap.set_to_seq(seq);
  gap.set_reason(kDropQueueFull);
  gap.set_count(1);
  auto after = state.gaps.upper_bound(seq);
  if (after != state.gaps.begin()) {
    const auto before = std::prev(after);
    if (!apart(before->second.to_seq(), seq)) {
      gap.set_from_seq(before->second.from_seq());
      gap.set_count(gap.count() + before->second.count());
      state.gaps.erase(before);
    }
  }
  if (after != state.gaps.end() && !apart(seq, after->second.from_seq())) {
    gap.set_to_seq(after->second.to_seq());
    gap.set_count(gap.count() + after->second.count());
    state.gaps.erase(after);
  }
  state.gaps.emplace(gap.from_seq(), std::move(gap));
}

std::shared_ptr<const v1::Event> EventLog::FirstAfter(uint64_t seq) const {
  const auto first_in = [seq](const Ring& ring) {
    const auto found =
        std::upper_bound(ring.entries.begin(), ring.entries.end(), seq,
                         [](uint64_t wanted, const Entry& entry) {
                           return wanted < entry.event->seq();
                         });
    return found == ring.entries.end() ? nullptr : found->event;
  };
  const std::shared_ptr<const v1::Event> lesser = first_in(lesser_);
  const std::shared_ptr<const v1::Event> critical = first_in(critical_);
  if (lesser == nullptr) return critical;
  if (critical == nullptr) return lesser;
  return lesser->seq() < critical->seq() ? lesser : critical;
}

std::optional<Subscription::Item> EventLog::TakeNext(
    Subscription::State& state) {
  if (state.before_start.has_value()) {
    Subscription::Item item;
    item.gap = std::exchange(state.before_start, std::nullopt);
    item.position = {epoch_, state.position};
    return item;
  }
  while (true) {
    std::shared_ptr<const v1::Event> event = FirstAfter(state.position);
    if (event != nullptr && state.end.has_value() &&
        event->seq() > *state.end) {
      event = nullptr;
    }
    if (!state.gaps.empty()) {
      const auto first = state.gaps.begin();
      if (event == nullptr || first->second.from_seq() < event->seq()) {
        Subscription::Item item;
        item.gap = std::move(first->second);
        state.gaps.erase(first);
        state.position = item.gap->to_seq();
        item.position = {epoch_, state.position};
        return item;
      }
    }
    if (event == nullptr) return std::nullopt;
    state.position = event->seq();
    if (!state.filter.Matches(*event)) {
      ++state.books.not_wanted;
      continue;
    }
    state.unconfirmed = true;
    Subscription::Item item;
    item.event = std::move(event);
    item.position = {epoch_, state.position};
    return item;
  }
}

void EventLog::Confirm(Subscription::State& state) {
  if (!state.unconfirmed) return;
  state.unconfirmed = false;
  ++state.books.delivered;
  if (options_.observer != nullptr) {
    options_.observer->OnDelivered(state.sink, 1);
  }
}

absl::StatusOr<std::unique_ptr<Subscription>> EventLog::Subscribe(
    const EventFilter& filter, const Start& start, const char* sink) {
  absl::MutexLock lock(&mu_);
  if (subscriptions_.size() >= options_.subscriptions_max) {
    return absl::ResourceExhaustedError(
        absl::StrCat("there are ", options_.subscriptions_max,
                     " readers of events already; end one of them"));
  }
  auto state = std::make_shared<Subscription::State>(filter, sink);
  if (start.after.has_value()) {
    if (start.after->epoch == epoch_ && start.after->seq >= next_seq_) {
      return absl::InvalidArgumentError(
          absl::StrCat("the place to go on from is event ", start.after->seq,
                       ", and the newest is ", next_seq_ - 1));
    }
    if (start.after->epoch != epoch_) {
      return absl::OutOfRangeError(
          "the place to go on from is from another run of the daemon, whose "
          "events are gone; begin with the events that are kept");
    }
    if (start.after->seq < newest_evicted_seq_) {
      return absl::OutOfRangeError(absl::StrCat(
          "events after ", start.after->seq, " up to ", newest_evicted_seq_,
          " are no longer kept; begin with the events that are"));
    }
    state->position = start.after->seq;
  } else if (start.include_kept) {
    if (evicted_ > 0) {
      v1::Gap& gap = state->before_start.emplace();
      gap.set_from_seq(1);
      gap.set_to_seq(newest_evicted_seq_);
      gap.set_reason(kGapBeforeStart);
      gap.set_count(evicted_);
    }
  } else {
    state->position = next_seq_ - 1;
  }
  if (shut_down_) state->end = next_seq_ - 1;
  subscriptions_.insert(state);
  return std::unique_ptr<Subscription>(
      new Subscription(*this, std::move(state)));
}

void EventLog::Shutdown() {
  absl::MutexLock lock(&mu_);
  shut_down_ = true;
  for (const std::shared_ptr<Subscription::State>& state : subscriptions_) {
    if (!state->end.has_value()) state->end = next_seq_ - 1;
  }
  changed_.SignalAll();
}

Position EventLog::oldest() const {
  absl::MutexLock lock(&mu_);
  return {epoch_, newest_evicted_seq_};
}

Position EventLog::newest() const {
  absl::MutexLock lock(&mu_);
  return {epoch_, next_seq_ - 1};
}

size_t EventLog::CountAfter(const Ring& ring, uint64_t seq) {
  const auto first =
      std::upper_bound(ring.entries.begin(), ring.entries.end(), seq,
                       [](uint64_t wanted, const Entry& entry) {
                         return wanted < entry.event->seq();
                       });
  return static_cast<size_t>(ring.entries.end() - first);
}

EventLog::SinkState EventLog::StateOf(absl::string_view sink) const {
  absl::MutexLock lock(&mu_);
  SinkState now;
  now.capacity = options_.events_max + options_.critical_events_max;
  const int64_t now_ns = clock_.MonotonicNanos();
  for (const std::shared_ptr<Subscription::State>& state : subscriptions_) {
    if (sink != state->sink) continue;
    ++now.subscribers;
    const uint64_t depth = CountAfter(lesser_, state->position) +
                           CountAfter(critical_, state->position);
    now.depth = std::max(now.depth, depth);
    const std::shared_ptr<const v1::Event> event = FirstAfter(state->position);
    if (event != nullptr) {
      now.lag =
          std::max(now.lag, absl::Nanoseconds(now_ns - event->monotonic_ns()));
    }
  }
  return now;
}

}  // namespace callgate::events
