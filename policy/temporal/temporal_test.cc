// Each automaton against a model that keeps every event and looks through them
// all.

#include <algorithm>
#include <list>
#include <map>
#include <random>
#include <set>
#include <vector>

#include "gtest/gtest.h"
#include "policy/temporal/keyed_states.h"
#include "policy/temporal/recent_events.h"
#include "policy/temporal/sequence.h"
#include "policy/temporal/window_count.h"
#include "policy/temporal/window_distinct.h"
#include "policy/temporal/window_sum.h"
#include "tests/support/allocations.h"

namespace callgate::policy::temporal {
namespace {

// --- sequence ---

// An event: the steps that it can be, as bits, whether it is of `unless`, and a
// value that correlated steps compare.
struct Happened {
  Moment at;
  uint32_t steps;
  bool unless;
  int value;
};

// Whether the last event ends a sequence. Tries every way: the steps done so
// far by the event of the last of them.
bool EndsSequence(const std::vector<Happened>& events, size_t steps,
                  Span within, bool is_correlated) {
  const size_t last = events.size() - 1;
  const auto is_step = [&](size_t event, size_t step, size_t begin) {
    return (events[event].steps >> step & 1) != 0 &&
           (!is_correlated || step == 0 ||
            events[event].value == events[begin].value);
  };
  for (size_t begin = 0; begin < last; ++begin) {
    if (!is_step(begin, 0, begin) || !is_step(last, steps - 1, begin) ||
        events[last].at - events[begin].at > within) {
      continue;
    }
    size_t done = 1;
    bool ended = false;
    for (size_t i = begin + 1; i < last; ++i) {
      ended = ended || events[i].unless;
      // The earliest is as good as any: it is compared with the first alone.
      if (done + 1 < steps && is_step(i, done, begin)) ++done;
    }
    if (!ended && done == steps - 1) return true;
  }
  return false;
}

struct Seen {
  uint64_t event = 0;
  int value = 0;
};

// Offers an event to a sequence whose later steps want the first one's value if
// `is_correlated`. Whether it completes one.
bool Offer(Sequence<Seen>* sequence, const std::vector<Happened>& events,
           size_t steps, bool is_correlated, bool* lost = nullptr) {
  const uint64_t number = events.size() - 1;
  const Happened& event = events.back();
  using Attempt = Sequence<Seen>::Attempt;
  const auto matches = [&](size_t step, const Attempt* attempt) {
    return (event.steps >> step & 1) != 0 &&
           (!is_correlated || attempt == nullptr ||
            attempt->records[0].value == event.value);
  };
  const Attempt* completed = sequence->Completed(
      event.at, number,
      [&](const Attempt& attempt) { return matches(steps - 1, &attempt); });
  const bool found = completed != nullptr;
  if (found) {
    // What it names are such steps.
    EXPECT_EQ(completed->began, events[completed->records[0].event].at);
    for (size_t step = 0; step + 1 < steps; ++step) {
      const uint64_t was = completed->records[step].event;
      EXPECT_NE(events[was].steps >> step & 1, 0u);
      EXPECT_LT(was, number);
      if (step > 0) {
        EXPECT_LT(completed->records[step - 1].event, was);
      }
    }
  }
  const bool has_lost = sequence->OnEvent(
      event.at, number, matches,
      [&](Seen* seen, size_t) {
        *seen = {number, event.value};
      },
      [&](const Attempt&) { return event.unless; });
  if (lost != nullptr) *lost = *lost || has_lost;
  return found;
}

Happened RandomEvent(std::mt19937* random, size_t steps, Moment now) {
  Happened event{now, 0, (*random)() % 12 == 0,
                 static_cast<int>((*random)() % 3)};
  for (size_t step = 0; step < steps; ++step) {
    if ((*random)() % 4 == 0) event.steps |= 1u << step;
  }
  return event;
}

TEST(SequenceTest, FindsWhatLookingThroughAllEventsFinds) {
  std::mt19937 random(1);
  int found[2] = {0, 0};
  for (int run = 0; run < 6'000; ++run) {
    const bool is_correlated = run % 2 == 1;
    const size_t steps = 2 + random() % 3;
    const Span within = static_cast<Span>(random() % 30);
    // Room for every way there is.
    Sequence<Seen> sequence(std::vector<Seen>(steps - 1), within, is_correlated,
                            4'000);
    std::vector<Happened> events;
    Moment now = static_cast<Moment>(random() % 100) - 50;
    bool lost = false;
    for (int i = 0; i < 40; ++i) {
      now += static_cast<Moment>(random() % 6);
      events.push_back(RandomEvent(&random, steps, now));
      const bool wanted = EndsSequence(events, steps, within, is_correlated);
      ASSERT_EQ(Offer(&sequence, events, steps, is_correlated, &lost), wanted)
          << "run " << run << " event " << i;
      found[is_correlated ? 1 : 0] += wanted ? 1 : 0;
    }
    ASSERT_FALSE(lost);
    if (!is_correlated) {
      ASSERT_EQ(sequence.capacity(), steps - 1);
    }
  }
  EXPECT_GT(found[0], 5'000);
  EXPECT_GT(found[1], 1'000);
}

// One that has too little room finds nothing that is not there, and what it
// misses, it has said that it might.
TEST(SequenceTest, SaysWhenItForgets) {
  std::mt19937 random(7);
  int missed = 0;
  for (int run = 0; run < 2'000; ++run) {
    const size_t steps = 2 + random() % 2;
    Sequence<Seen> sequence(std::vector<Seen>(steps - 1), 40, true, 3);
    std::vector<Happened> events;
    Moment now = 0;
    bool lost = false;
    for (int i = 0; i < 40; ++i) {
      now += static_cast<Moment>(random() % 6);
      events.push_back(RandomEvent(&random, steps, now));
      const bool wanted = EndsSequence(events, steps, 40, true);
      const bool found = Offer(&sequence, events, steps, true, &lost);
      ASSERT_TRUE(wanted || !found);
      if (!found && wanted) {
        ASSERT_TRUE(lost);
        ++missed;
      }
      ASSERT_LE(sequence.capacity(), 3u);
    }
  }
  EXPECT_GT(missed, 100);
}

TEST(SequenceTest, EveryAttemptToEndItIsSeen) {
  Sequence<Seen> sequence({Seen()}, 30, false, 1);
  std::vector<Happened> events;
  const auto offer = [&](Moment at, uint32_t steps) {
    events.push_back({at, steps, false, 0});
    return Offer(&sequence, events, 2, false);
  };
  EXPECT_FALSE(offer(0, 0b01));
  EXPECT_TRUE(offer(10, 0b10));
  EXPECT_TRUE(offer(30, 0b10));
  EXPECT_FALSE(offer(31, 0b10));
}

TEST(SequenceTest, UnlessEndsWhatBeganBefore) {
  Sequence<Seen> sequence({Seen()}, 30, false, 1);
  std::vector<Happened> events;
  const auto offer = [&](Moment at, uint32_t steps, bool unless) {
    events.push_back({at, steps, unless, 0});
    return Offer(&sequence, events, 2, false);
  };
  EXPECT_FALSE(offer(0, 0b01, false));
  EXPECT_FALSE(offer(1, 0, true));
  EXPECT_FALSE(offer(2, 0b10, false));
  // One event that is both lies between nothing.
  EXPECT_FALSE(offer(3, 0b01, true));
  EXPECT_TRUE(offer(4, 0b10, true));
  EXPECT_FALSE(offer(5, 0b10, false));
  EXPECT_EQ(sequence.size(), 0u);
}

// An event may be told as it begins and as it ends.
TEST(SequenceTest, AnEventIsOneStepOfAnAttempt) {
  using Attempt = Sequence<Seen>::Attempt;
  Sequence<Seen> sequence({Seen()}, 30, false, 1);
  const auto begin = [&](Moment at, uint64_t event) {
    sequence.OnEvent(
        at, event, [](size_t, const Attempt*) { return true; },
        [](Seen*, size_t) {}, [](const Attempt&) { return false; });
  };
  const auto end = [&](Moment at, uint64_t event) {
    return sequence.Completed(at, event, [](const Attempt&) { return true; }) !=
           nullptr;
  };
  begin(1, 1);
  EXPECT_FALSE(end(2, 1));
  EXPECT_TRUE(end(2, 2));
}

// --- windows ---

TEST(WindowCountTest, IsExact) {
  std::mt19937 random(2);
  int reached = 0;
  for (int run = 0; run < 500; ++run) {
    const size_t threshold = 1 + random() % 8;
    const Span within = static_cast<Span>(random() % 40);
    WindowCount count(threshold, within);
    std::vector<Moment> all;
    Moment now = 0;
    for (int i = 0; i < 100; ++i) {
      now += static_cast<Moment>(random() % 12);
      all.push_back(now);
      const auto young = std::count_if(all.begin(), all.end(), [&](Moment at) {
        return now - at <= within;
      });
      const bool wanted = static_cast<size_t>(young) >= threshold;
      ASSERT_EQ(count.OnEvent(now), wanted);
      reached += wanted ? 1 : 0;
    }
  }
  EXPECT_GT(reached, 1'000);
}

TEST(WindowDistinctTest, IsExact) {
  std::mt19937 random(3);
  int reached = 0;
  for (int run = 0; run < 500; ++run) {
    const size_t threshold = 1 + random() % 6;
    const Span within = static_cast<Span>(random() % 60);
    WindowDistinct distinct(threshold, within);
    std::vector<std::pair<Moment, uint64_t>> all;
    Moment now = 0;
    for (int i = 0; i < 100; ++i) {
      now += static_cast<Moment>(random() % 12);
      all.emplace_back(now, random() % 9);
      std::set<uint64_t> young;
      for (const auto& [at, value] : all) {
        if (now - at <= within) young.insert(value);
      }
      const bool wanted = young.size() >= threshold;
      ASSERT_EQ(distinct.OnValue(now, all.back().second), wanted);
      reached += wanted ? 1 : 0;
    }
  }
  EXPECT_GT(reached, 1'000);
}

TEST(WindowSumTest, MissesNothingAndForgetsInTime) {
  std::mt19937 random(4);
  for (int run = 0; run < 500; ++run) {
    const Span within = static_cast<Span>(random() % 3000);
    WindowSum sum(1, within);
    std::vector<std::pair<Moment, uint64_t>> all;
    Moment now = static_cast<Moment>(random() % 1000) - 500;
    for (int i = 0; i < 100; ++i) {
      now += static_cast<Moment>(random() % (random() % 9 == 0 ? 2000 : 60));
      all.emplace_back(now, random() % 100);
      sum.OnAmount(now, all.back().second);
      uint64_t least = 0;
      uint64_t most = 0;
      for (const auto& [at, amount] : all) {
        if (now - at <= within) least += amount;
        if (now - at < sum.longest()) most += amount;
      }
      ASSERT_GE(sum.SumAt(now), least);
      ASSERT_LE(sum.SumAt(now), most);
    }
    EXPECT_LE(sum.longest(), within + within / 30 + 66);
  }
}

TEST(WindowSumTest, ReachesItsThresholdAndDoesNotWrap) {
  WindowSum sum(100, 10);
  EXPECT_FALSE(sum.OnAmount(0, 99));
  EXPECT_TRUE(sum.OnAmount(0, 1));
  EXPECT_FALSE(sum.OnAmount(1'000'000, 99));
  EXPECT_TRUE(sum.OnAmount(1'000'000, UINT64_MAX));
  EXPECT_TRUE(sum.OnAmount(1'000'000, UINT64_MAX));
  // A clock from one end to the other.
  EXPECT_FALSE(sum.OnAmount(INT64_MAX, 1));
  WindowSum far(100, WindowSum::kWithinMax);
  EXPECT_FALSE(far.OnAmount(INT64_MIN, 99));
  EXPECT_FALSE(far.OnAmount(INT64_MAX, 99));
}

TEST(MomentTest, WindowsIncludeTheirEndsAndDoNotWrap) {
  EXPECT_TRUE(IsWithin(0, 10, 10));
  EXPECT_FALSE(IsWithin(0, 11, 10));
  EXPECT_TRUE(IsWithin(5, 4, 0));
  EXPECT_FALSE(IsWithin(INT64_MIN, INT64_MAX, INT64_MAX));
}

// --- formerly ---

TEST(RecentEventsTest, AreThoseOfTheWindowUnlessOneIsLost) {
  std::mt19937 random(5);
  int lost = 0;
  for (int run = 0; run < 300; ++run) {
    const size_t capacity = 1 + random() % 6;
    const Span within = static_cast<Span>(random() % 50);
    RecentEvents<int> events(capacity, within, 0);
    std::vector<std::pair<Moment, int>> all;
    Moment now = 0;
    for (int i = 0; i < 60; ++i) {
      now += static_cast<Moment>(random() % 20);
      const int payload = static_cast<int>(random() % 5);
      const bool full = all.size() >= capacity &&
                        now - all[all.size() - capacity].first <= within;
      const auto added = events.Add(now);
      *added.payload = payload;
      ASSERT_EQ(added.lost, full);
      ASSERT_LE(events.capacity(), capacity);
      lost += full ? 1 : 0;
      all.emplace_back(now, payload);
      now += static_cast<Moment>(random() % 20);
      const int wanted = static_cast<int>(random() % 5);
      bool found = false;
      for (size_t j = 0; j < std::min(capacity, all.size()); ++j) {
        const auto& [at, was] = all[all.size() - 1 - j];
        found = found || (was == wanted && now - at <= within);
      }
      ASSERT_EQ(events.AnyWithin(now, [&](int p) { return p == wanted; }),
                found);
    }
  }
  EXPECT_GT(lost, 100);
}

// --- keys ---

struct Counter {
  int count = 0;
  void Clear() { count = 0; }
};

TEST(KeyedStatesTest, KeepsTheKeysThatWereUsedLast) {
  std::mt19937 random(6);
  for (const size_t keys_max : {1u, 2u, 5u, 16u, 17u}) {
    KeyedStates<Counter> states(keys_max, Counter());
    std::list<uint64_t> recent;  // the latest first
    std::map<uint64_t, int> counts;
    int evicted = 0;
    for (int i = 0; i < 20'000; ++i) {
      // Many fall on the same slot.
      const uint64_t key = (random() % 4) | (random() % 8) << 32;
      const auto known = std::find(recent.begin(), recent.end(), key);
      bool evicts = false;
      if (known != recent.end()) {
        recent.erase(known);
      } else if (recent.size() == keys_max) {
        counts.erase(recent.back());
        recent.pop_back();
        evicts = true;
      }
      recent.push_front(key);
      const auto found = states.Get(key);
      ASSERT_EQ(found.evicted, evicts);
      ASSERT_EQ(++found.state->count, ++counts[key]);
      ASSERT_EQ(states.size(), recent.size());
      evicted += evicts ? 1 : 0;
    }
    EXPECT_GT(evicted, 0);
  }
}

TEST(TemporalTest, AllocatesNothingOnceGrown) {
  KeyedStates<WindowCount> counts(100, WindowCount(25, 10));
  Sequence<Seen> sequence({Seen(), Seen()}, 10, true, 50);
  WindowDistinct distinct(20, 60);
  WindowSum sum(1000, 60);
  RecentEvents<uint64_t> recent(16, 60, 0);
  using Attempt = Sequence<Seen>::Attempt;
  const auto run = [&](uint64_t i) {
    const auto now = static_cast<Moment>(i);
    counts.Get(i % 150).state->OnEvent(now);
    sequence.Completed(now, i, [](const Attempt&) { return false; });
    sequence.OnEvent(
        now, i, [i](size_t step, const Attempt*) { return (i >> step & 1); },
        [i](Seen* seen, size_t) { seen->event = i; },
        [i](const Attempt&) { return i % 9 == 0; });
    distinct.OnValue(now, i % 33);
    sum.OnAmount(now, i);
    *recent.Add(now).payload = i;
    recent.AnyWithin(now, [](uint64_t) { return false; });
  };
  // Until each has the memory that it is going to have.
  for (uint64_t i = 0; i < 1'000; ++i) run(i);
  const uint64_t before = AllocationCount();
  for (uint64_t i = 1'000; i < 6'000; ++i) run(i);
  EXPECT_EQ(AllocationCount(), before);
}

}  // namespace
}  // namespace callgate::policy::temporal
