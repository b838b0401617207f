#include "server/events/event_log.h"

#include <algorithm>
#include <atomic>
#include <map>
#include <set>
#include <string>
#include <thread>
#include <tuple>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace callgate::events {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

// Stands still unless told.
class FakeClock final : public Clock {
 public:
  absl::Time Now() override {
    return absl::FromUnixSeconds(1'700'000'000) + absl::Nanoseconds(ns_.load());
  }
  int64_t MonotonicNanos() override { return ns_; }
  void Advance(absl::Duration duration) {
    ns_ += absl::ToInt64Nanoseconds(duration);
  }

 private:
  std::atomic<int64_t> ns_{1};
};

class CountingObserver final : public EventObserver {
 public:
  void OnEmitted(v1::EventKind kind) override { ++emitted[kind]; }
  void OnDelivered(absl::string_view sink, uint64_t count) override {
    delivered[std::string(sink)] += count;
  }
  void OnDropped(absl::string_view sink, absl::string_view reason,
                 uint64_t count) override {
    dropped[absl::StrCat(sink, "/", reason)] += count;
  }

  std::map<v1::EventKind, uint64_t> emitted;
  std::map<std::string, uint64_t> delivered;
  std::map<std::string, uint64_t> dropped;
};

v1::Event Lesser(const std::string& message) {
  v1::Event event;
  event.set_kind(v1::EVENT_KIND_LIFECYCLE);
  event.set_severity(v1::EVENT_SEVERITY_INFO);
  event.set_message(message);
  return event;
}

v1::Event Critical(const std::string& message) {
  v1::Event event = Lesser(message);
  event.set_kind(v1::EVENT_KIND_DECISION);
  event.set_severity(v1::EVENT_SEVERITY_CRITICAL);
  return event;
}

v1::Event OfStore(v1::Event event, const std::string& store) {
  event.set_store(store);
  event.set_tenant(absl::StrCat("tenant of ", store));
  return event;
}

// "seq:message", or "gap from-to reason count".
std::string Shown(const Subscription::Item& item) {
  if (item.gap.has_value()) {
    return absl::StrCat("gap ", item.gap->from_seq(), "-", item.gap->to_seq(),
                        " ", item.gap->reason(), " ", item.gap->count());
  }
  return absl::StrCat(item.event->seq(), ":", item.event->message());
}

class EventLogTest : public testing::Test {
 protected:
  EventLogTest() { Make({}); }

  void Make(EventLogOptions options) {
    options.clock = &clock_;
    options.observer = &observer_;
    log_ = std::make_unique<EventLog>(options);
  }

  // Small enough for numbers to be counted by hand.
  static EventLogOptions Small() {
    EventLogOptions options;
    options.events_max = 3;
    options.critical_events_max = 2;
    return options;
  }

  std::unique_ptr<Subscription> Watch(const EventLog::Start& start = {},
                                      const EventFilter& filter = {}) {
    absl::StatusOr<std::unique_ptr<Subscription>> subscription =
        log_->Subscribe(filter, start, kSinkWatch);
    EXPECT_TRUE(subscription.ok()) << subscription.status();
    return *std::move(subscription);
  }

  static EventLog::Start Kept() {
    EventLog::Start start;
    start.include_kept = true;
    return start;
  }

  // All that is there.
  static std::vector<std::string> Read(Subscription& subscription) {
    std::vector<std::string> shown;
    while (const auto item = subscription.Next(absl::InfinitePast())) {
      shown.push_back(Shown(*item));
    }
    return shown;
  }

  void PublishLesser(int first, int last) {
    for (int i = first; i <= last; ++i) {
      log_->Publish(Lesser(absl::StrCat("e", i)));
    }
  }

  FakeClock clock_;
  CountingObserver observer_;
  std::unique_ptr<EventLog> log_;
};

TEST_F(EventLogTest, GivesEventsInOrderWithTheirPlaceAndTime) {
  const auto reader = Watch();
  log_->Publish(Lesser("a"));
  clock_.Advance(absl::Nanoseconds(7));
  log_->Publish(Critical("b"));
  auto item = reader->Next(absl::InfinitePast());
  ASSERT_TRUE(item.has_value());
  EXPECT_EQ(item->event->message(), "a");
  EXPECT_EQ(item->event->seq(), 1u);
  EXPECT_EQ(item->event->epoch(), log_->epoch());
  EXPECT_EQ(item->event->time().seconds(), 1'700'000'000);
  EXPECT_EQ(item->event->monotonic_ns(), 1);
  EXPECT_EQ(item->position.seq, 1u);
  item = reader->Next(absl::InfinitePast());
  ASSERT_TRUE(item.has_value());
  EXPECT_EQ(item->event->message(), "b");
  EXPECT_EQ(item->event->time().nanos(), 8);
  EXPECT_FALSE(reader->Next(absl::InfinitePast()).has_value());
  EXPECT_EQ(reader->position().seq, 2u);
}

TEST_F(EventLogTest, BeginsWhereAsked) {
  PublishLesser(1, 3);
  EXPECT_THAT(Read(*Watch()), ElementsAre());
  EXPECT_THAT(Read(*Watch(Kept())), ElementsAre("1:e1", "2:e2", "3:e3"));
  EventLog::Start start;
  start.after = Position{log_->epoch(), 1};
  EXPECT_THAT(Read(*Watch(start)), ElementsAre("2:e2", "3:e3"));
  start.after = log_->newest();
  EXPECT_THAT(Read(*Watch(start)), ElementsAre());
  start.after = log_->oldest();
  EXPECT_THAT(Read(*Watch(start)), ElementsAre("1:e1", "2:e2", "3:e3"));
}

TEST_F(EventLogTest, RefusesPlacesItCannotGoOnFrom) {
  Make(Small());
  PublishLesser(1, 5);  // 1 and 2 are gone
  const auto refusal = [this](uint64_t epoch, uint64_t seq) {
    EventLog::Start start;
    start.after = Position{epoch, seq};
    return log_->Subscribe({}, start, kSinkWatch).status();
  };
  EXPECT_EQ(log_->oldest().seq, 2u);
  EXPECT_TRUE(refusal(log_->epoch(), 2).ok());
  EXPECT_TRUE(absl::IsOutOfRange(refusal(log_->epoch(), 1)));
  EXPECT_TRUE(absl::IsOutOfRange(refusal(log_->epoch() - 1, 4)));
  EXPECT_TRUE(absl::IsInvalidArgument(refusal(log_->epoch(), 6)));
  EXPECT_THAT(std::string(refusal(log_->epoch(), 1).message()),
              HasSubstr("after 1 up to 2"));
}

TEST_F(EventLogTest, LeavesAGapForWhatASlowReaderMissed) {
  Make(Small());
  const auto slow = Watch();
  PublishLesser(1, 5);
  EXPECT_THAT(Read(*slow),
              ElementsAre("gap 1-2 queue_full 2", "3:e3", "4:e4", "5:e5"));
  EXPECT_EQ(observer_.dropped["watch/queue_full"], 2u);
  EXPECT_EQ(slow->books().dropped, 2u);
  PublishLesser(6, 6);
  EXPECT_THAT(Read(*slow), ElementsAre("6:e6"));
}

TEST_F(EventLogTest, KeepsCriticalEventsThroughAFloodOfLesserOnes) {
  Make(Small());
  const auto slow = Watch();
  PublishLesser(1, 2);
  log_->Publish(Critical("break-in"));  // 3
  PublishLesser(4, 100);
  EXPECT_THAT(Read(*slow), ElementsAre("gap 1-2 queue_full 2", "3:break-in",
                                       "gap 4-97 queue_full 94", "98:e98",
                                       "99:e99", "100:e100"));
}

TEST_F(EventLogTest, JoinsGapsWhenWhatStoodBetweenGoesToo) {
  Make(Small());
  const auto slow = Watch();
  PublishLesser(1, 2);
  log_->Publish(Critical("c3"));
  PublishLesser(4, 10);  // lesser 8 9 10 left; gaps 1-2 and 4-7
  log_->Publish(Critical("c11"));
  log_->Publish(Critical("c12"));  // c3 goes
  EXPECT_THAT(Read(*slow), ElementsAre("gap 1-7 queue_full 7", "8:e8", "9:e9",
                                       "10:e10", "11:c11", "12:c12"));
}

TEST_F(EventLogTest, TellsOfCriticalEventsThatWentBeforeLesserOnes) {
  Make(Small());
  const auto slow = Watch();
  PublishLesser(1, 1);
  for (int i = 2; i <= 5; ++i) log_->Publish(Critical(absl::StrCat("c", i)));
  EXPECT_THAT(Read(*slow),
              ElementsAre("1:e1", "gap 2-3 queue_full 2", "4:c4", "5:c5"));
}

TEST_F(EventLogTest, SaysWhatWentBeforeTheReaderCame) {
  Make(Small());
  PublishLesser(1, 1);
  log_->Publish(Critical("c2"));
  PublishLesser(3, 6);
  EXPECT_THAT(
      Read(*Watch(Kept())),
      ElementsAre("gap 1-3 before_start 2", "2:c2", "4:e4", "5:e5", "6:e6"));
  EXPECT_EQ(observer_.dropped["watch/queue_full"], 0u);
}

TEST_F(EventLogTest, BoundsItsBytes) {
  EventLogOptions options;
  options.bytes_max = 20'000;
  Make(options);
  for (int i = 0; i < 1'000; ++i) log_->Publish(Lesser(std::string(900, 'x')));
  const auto reader = Watch(Kept());
  const size_t kept = Read(*reader).size();
  EXPECT_GT(kept, 5u);
  EXPECT_LT(kept, 25u);
}

TEST_F(EventLogTest, KeepsTheNewestEventHoweverSmallTheRoom) {
  EventLogOptions options;
  options.bytes_max = 1;
  Make(options);
  PublishLesser(1, 3);
  EXPECT_THAT(Read(*Watch(Kept())),
              ElementsAre("gap 1-2 before_start 2", "3:e3"));
}

TEST_F(EventLogTest, CutsAndEscapesWhatEventsHold) {
  const auto reader = Watch();
  v1::Event event = Lesser(std::string(5'000, 'm'));
  event.mutable_call()->set_import_name("evil\x1b[2J\xff\xe2\x80\xae");
  event.mutable_call()->set_import_module(std::string(5'000, 'i'));
  for (int i = 0; i < 100; ++i) {
    v1::Event::Rule& rule = *event.add_rules();
    rule.set_id(std::string(1'000, 'r'));
    for (int j = 0; j < 100; ++j) rule.add_tags(std::string(1'000, 't'));
  }
  log_->Publish(event);
  const auto item = reader->Next(absl::InfinitePast());
  ASSERT_TRUE(item.has_value());
  EXPECT_EQ(item->event->message().size(), 1'024u);
  EXPECT_EQ(item->event->call().import_name(), R"(evil\x1b[2J\xff\u{202e})");
  EXPECT_EQ(item->event->call().import_module().size(), 256u);
  ASSERT_EQ(item->event->rules_size(), 16);
  EXPECT_EQ(item->event->rules(0).id().size(), 256u);
  EXPECT_EQ(item->event->rules(0).tags_size(), 16);
  EXPECT_EQ(item->event->rules(0).tags(0).size(), 256u);
}

struct FilterRow {
  std::string name;
  EventFilter filter;
  std::vector<std::string> seen;
};
class Filters : public testing::TestWithParam<FilterRow> {};

TEST_P(Filters, ChooseEvents) {
  EventLog log({});
  v1::Event a = Lesser("a");
  a.set_tenant("acme");
  a.set_store("s1");
  v1::Event b = Critical("b");
  b.set_tenant("acme");
  b.set_store("s2");
  v1::Event c = Lesser("c");
  c.set_tenant("globex");
  v1::Event gap;
  gap.set_kind(v1::EVENT_KIND_GAP);
  gap.set_message("gap");
  gap.set_tenant("acme");
  for (const v1::Event& event : {a, b, c, gap}) log.Publish(event);
  EventLog::Start start;
  start.include_kept = true;
  const auto reader = log.Subscribe(GetParam().filter, start, kSinkWatch);
  ASSERT_TRUE(reader.ok());
  std::vector<std::string> seen;
  while (const auto item = (*reader)->Next(absl::InfinitePast())) {
    seen.push_back(item->event->message());
  }
  EXPECT_EQ(seen, GetParam().seen);
  const Subscription::Books books = (*reader)->books();
  EXPECT_EQ(books.delivered, GetParam().seen.size());
  EXPECT_EQ(books.not_wanted, 4 - GetParam().seen.size());
}

EventFilter Filter(const std::string& tenant, const std::string& store,
                   const std::set<v1::EventKind>& kinds,
                   v1::EventSeverity min_severity) {
  EventFilter filter;
  filter.tenant = tenant;
  filter.store = store;
  filter.kinds = kinds;
  filter.min_severity = min_severity;
  return filter;
}

INSTANTIATE_TEST_SUITE_P(
    Rows, Filters,
    testing::ValuesIn<FilterRow>({
        {"all", {}, {"a", "b", "c", "gap"}},
        {"tenant",
         Filter("acme", "", {}, v1::EVENT_SEVERITY_UNSPECIFIED),
         {"a", "b", "gap"}},
        {"other_tenant",
         Filter("globex", "", {}, v1::EVENT_SEVERITY_UNSPECIFIED),
         {"c"}},
        {"store",
         Filter("", "s1", {}, v1::EVENT_SEVERITY_UNSPECIFIED),
         {"a", "gap"}},
        {"kind",
         Filter("", "", {v1::EVENT_KIND_DECISION},
                v1::EVENT_SEVERITY_UNSPECIFIED),
         {"b", "gap"}},
        {"severity",
         Filter("", "", {}, v1::EVENT_SEVERITY_WARNING),
         {"b", "gap"}},
        {"severity_met",
         Filter("", "", {}, v1::EVENT_SEVERITY_INFO),
         {"a", "b", "c", "gap"}},
        {"nothing",
         Filter("nobody", "", {}, v1::EVENT_SEVERITY_UNSPECIFIED),
         {}},
    }),
    [](const auto& param) { return param.param.name; });

TEST_F(EventLogTest, CountsOnlyWantedEventsAsLost) {
  Make(Small());
  const auto slow = Watch({}, Filter("", "", {v1::EVENT_KIND_POLICY},
                                     v1::EVENT_SEVERITY_UNSPECIFIED));
  PublishLesser(1, 2);
  v1::Event wanted = Lesser("wanted");
  wanted.set_kind(v1::EVENT_KIND_POLICY);
  log_->Publish(wanted);  // 3
  PublishLesser(4, 20);
  EXPECT_THAT(Read(*slow), ElementsAre("gap 3-3 queue_full 1"));
  EXPECT_EQ(slow->books().dropped, 1u);
  EXPECT_EQ(slow->books().not_wanted, 19u);
}

TEST_F(EventLogTest, HoldsAStoreToItsBudget) {
  EventLogOptions options;
  options.store_budget = {3, 2};
  options.store_critical_budget = {1, 1};
  Make(options);
  const auto reader = Watch();
  for (int i = 1; i <= 10; ++i) log_->Publish(OfStore(Lesser("noise"), "s1"));
  log_->Publish(OfStore(Critical("break-in"), "s1"));
  log_->Publish(OfStore(Lesser("other"), "s2"));
  log_->Publish(Lesser("daemon"));
  EXPECT_THAT(Read(*reader),
              ElementsAre("1:noise", "2:noise", "3:noise",
                          "4:7 events of this Store left out: it makes more "
                          "than it may",
                          "5:break-in", "6:other", "7:daemon"));
  EXPECT_EQ(observer_.dropped["log/store_budget"], 7u);

  // Half a second later it may have one more.
  clock_.Advance(absl::Milliseconds(500));
  for (int i = 1; i <= 3; ++i) log_->Publish(OfStore(Lesser("late"), "s1"));
  EXPECT_THAT(Read(*reader), ElementsAre("8:late"));
  // The two that are missing are told of when a second has passed, though the
  // Store is silent.
  clock_.Advance(absl::Milliseconds(999));
  EXPECT_THAT(Read(*reader), ElementsAre());
  clock_.Advance(absl::Milliseconds(1));
  const auto gap = reader->Next(absl::InfinitePast());
  ASSERT_TRUE(gap.has_value());
  ASSERT_NE(gap->event, nullptr);
  EXPECT_EQ(gap->event->kind(), v1::EVENT_KIND_GAP);
  EXPECT_EQ(gap->event->store(), "s1");
  EXPECT_EQ(gap->event->tenant(), "tenant of s1");
  EXPECT_EQ(gap->event->gap().count(), 2u);
  EXPECT_EQ(gap->event->gap().reason(), "store_budget");
}

TEST_F(EventLogTest, SettlesWithAStoreThatGoes) {
  EventLogOptions options;
  options.store_budget = {1, 0};
  Make(options);
  const auto reader = Watch();
  for (int i = 0; i < 3; ++i) log_->Publish(OfStore(Lesser("x"), "s1"));
  log_->ForgetStore("s1");
  log_->ForgetStore("s1");
  log_->ForgetStore("never seen");
  EXPECT_THAT(Read(*reader), ElementsAre("1:x", HasSubstr("2:2 events")));
  // One of the same name begins anew.
  log_->Publish(OfStore(Lesser("y"), "s1"));
  EXPECT_THAT(Read(*reader), ElementsAre("3:y"));
}

TEST_F(EventLogTest, RemembersABoundedNumberOfStores) {
  EventLogOptions options;
  options.store_budget = {1, 0};
  options.stores_max = 2;
  Make(options);
  const auto reader = Watch();
  for (const char* store : {"s1", "s1", "s2", "s2", "s1"}) {
    log_->Publish(OfStore(Lesser(store), store));
  }
  EXPECT_THAT(Read(*reader), ElementsAre("1:s1", "2:s2"));
  // s2 has been silent for longest: it goes, and its debt is told of.
  log_->Publish(OfStore(Lesser("s3"), "s3"));
  EXPECT_THAT(Read(*reader), ElementsAre(HasSubstr("3:1 event of"), "4:s3"));
  log_->Publish(OfStore(Lesser("s1"), "s1"));
  EXPECT_THAT(Read(*reader), ElementsAre());
}

TEST_F(EventLogTest, WakesAReaderThatWaits) {
  const auto reader = Watch();
  std::thread writer([this] { log_->Publish(Lesser("a")); });
  const auto item = reader->Next(absl::InfiniteFuture());
  writer.join();
  ASSERT_TRUE(item.has_value());
  EXPECT_EQ(item->event->message(), "a");
  EXPECT_FALSE(reader->Next(absl::Now() + absl::Milliseconds(1)).has_value());
}

TEST_F(EventLogTest, GivesAClosedReaderWhatWasThereAndNoMore) {
  const auto reader = Watch();
  PublishLesser(1, 2);
  std::thread closer([&reader] { reader->Close(); });
  closer.join();
  EXPECT_TRUE(reader->closed());
  PublishLesser(3, 3);
  EXPECT_EQ(Shown(*reader->Next(absl::InfiniteFuture())), "1:e1");
  EXPECT_EQ(Shown(*reader->Next(absl::InfiniteFuture())), "2:e2");
  EXPECT_FALSE(reader->Next(absl::InfiniteFuture()).has_value());
}

TEST_F(EventLogTest, ClosesAllReadersAtShutdown) {
  const auto reader = Watch();
  std::thread waiter([&reader] {
    while (reader->Next(absl::InfiniteFuture()).has_value()) {
    }
  });
  PublishLesser(1, 1);
  log_->Shutdown();
  waiter.join();
  EXPECT_EQ(reader->books().delivered, 1u);
  const auto late = Watch(Kept());
  EXPECT_EQ(Shown(*late->Next(absl::InfiniteFuture())), "1:e1");
  EXPECT_FALSE(late->Next(absl::InfiniteFuture()).has_value());
}

TEST_F(EventLogTest, BoundsItsReaders) {
  EventLogOptions options;
  options.subscriptions_max = 2;
  Make(options);
  auto first = Watch();
  const auto second = Watch();
  const absl::Status third = log_->Subscribe({}, {}, kSinkWatch).status();
  EXPECT_TRUE(absl::IsResourceExhausted(third));
  EXPECT_THAT(std::string(third.message()), HasSubstr("2 readers"));
  first = nullptr;
  EXPECT_TRUE(log_->Subscribe({}, {}, kSinkWatch).ok());
}

TEST_F(EventLogTest, CountsWhatAReaderCouldNotPassOnAsDropped) {
  const auto reader = Watch();
  PublishLesser(1, 2);
  reader->Next(absl::InfinitePast());
  reader->CountUndelivered(kDropWriteError);
  reader->Next(absl::InfinitePast());
  reader->Next(absl::InfinitePast());
  EXPECT_EQ(reader->books().delivered, 1u);
  EXPECT_EQ(reader->books().dropped, 1u);
  EXPECT_EQ(observer_.delivered["watch"], 1u);
  EXPECT_EQ(observer_.dropped["watch/write_error"], 1u);
}

TEST_F(EventLogTest, ShowsHowFarBehindASinkIs) {
  const auto quick = Watch();
  const auto slow = Watch();
  PublishLesser(1, 2);
  clock_.Advance(absl::Seconds(3));
  log_->Publish(Critical("c"));
  Read(*quick);
  slow->Next(absl::InfinitePast());
  const EventLog::SinkState state = log_->StateOf(kSinkWatch);
  EXPECT_EQ(state.subscribers, 2u);
  EXPECT_EQ(state.depth, 2u);
  EXPECT_EQ(state.capacity, 16'384u + 4'096u);
  EXPECT_EQ(state.lag, absl::Seconds(3));
  EXPECT_EQ(log_->StateOf(kSinkAlertFile).subscribers, 0u);
}

// A million events of noise in ten seconds around one that matters, and a
// reader that sleeps meanwhile.
TEST_F(EventLogTest, DeliversTheOneThatMattersAndBalancesItsBooks) {
  constexpr uint64_t kNoise = 1'000'000;
  EventLogOptions options;
  options.events_max = 1'000;
  Make(options);
  const auto reader = Watch();
  const v1::Event noise = OfStore(Lesser("noise"), "s1");
  for (uint64_t i = 0; i < kNoise; ++i) {
    clock_.Advance(absl::Microseconds(10));
    if (i == kNoise / 2) log_->Publish(OfStore(Critical("break-in"), "s1"));
    log_->Publish(noise);
  }
  log_->ForgetStore("s1");
  uint64_t delivered = 0;
  uint64_t lost = 0;
  bool found = false;
  while (const auto item = reader->Next(absl::InfinitePast())) {
    if (item->gap.has_value()) {
      lost += item->gap->count();
    } else {
      ++delivered;
      found = found || item->event->message() == "break-in";
    }
  }
  EXPECT_TRUE(found);
  EXPECT_GT(lost, 1'000u);
  const uint64_t left_out = observer_.dropped["log/store_budget"];
  EXPECT_GT(left_out, kNoise / 2);
  EXPECT_EQ(observer_.emitted[v1::EVENT_KIND_LIFECYCLE], kNoise);
  EXPECT_EQ(observer_.emitted[v1::EVENT_KIND_DECISION], 1u);
  EXPECT_EQ(kNoise + 1 + observer_.emitted[v1::EVENT_KIND_GAP],
            delivered + lost + left_out);
  EXPECT_EQ(observer_.delivered["watch"], delivered);
  EXPECT_EQ(observer_.dropped["watch/queue_full"], lost);
  EXPECT_EQ(reader->books().delivered, delivered);
  EXPECT_EQ(reader->books().dropped, lost);
}

// Writers and readers of all kinds at once; every reader's books balance.
TEST_F(EventLogTest, BalancesUnderManyThreads) {
  EventLogOptions options;
  options.events_max = 50;
  options.critical_events_max = 20;
  Make(options);
  constexpr int kWriters = 4;
  constexpr int kEvents = 5'000;
  std::vector<std::unique_ptr<Subscription>> readers;
  for (int i = 0; i < 3; ++i) readers.push_back(Watch());
  struct Tally {
    uint64_t events = 0;
    uint64_t lost = 0;
    uint64_t last_seq = 0;
    bool ordered = true;
  };
  std::vector<Tally> tallies(readers.size());
  std::vector<std::thread> threads;
  for (size_t i = 0; i < readers.size(); ++i) {
    threads.emplace_back([reader = readers[i].get(), &tally = tallies[i]] {
      while (const auto item = reader->Next(absl::InfiniteFuture())) {
        if (item->gap.has_value()) {
          tally.lost += item->gap->count();
          tally.ordered =
              tally.ordered && item->gap->from_seq() > tally.last_seq;
          tally.last_seq = item->gap->to_seq();
        } else {
          ++tally.events;
          tally.ordered = tally.ordered && item->event->seq() > tally.last_seq;
          tally.last_seq = item->event->seq();
        }
      }
    });
  }
  std::vector<std::thread> writers;
  for (int i = 0; i < kWriters; ++i) {
    writers.emplace_back([this, i] {
      for (int n = 0; n < kEvents; ++n) {
        log_->Publish(n % 7 == i ? Critical("c") : Lesser("e"));
      }
    });
  }
  for (std::thread& writer : writers) writer.join();
  log_->Shutdown();
  for (std::thread& thread : threads) thread.join();
  for (size_t i = 0; i < readers.size(); ++i) {
    EXPECT_EQ(tallies[i].events + tallies[i].lost,
              uint64_t{kWriters} * kEvents);
    EXPECT_EQ(readers[i]->books().delivered, tallies[i].events);
    EXPECT_EQ(readers[i]->books().dropped, tallies[i].lost);
    EXPECT_TRUE(tallies[i].ordered);
  }
}

}  // namespace
}  // namespace callgate::events
