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

struct Happened {
  Moment at;
  uint32_t steps;
  bool unless;
};

// Whether the last event ends a sequence: for each beginning, the earliest next
// step is as good as any.
bool EndsSequence(const std::vector<Happened>& events, size_t steps,
                  Span within) {
  const size_t last = events.size() - 1;
  if ((events[last].steps >> (steps - 1) & 1) == 0) return false;
  if (steps == 1) return true;
  for (size_t begin = 0; begin < last; ++begin) {
    if ((events[begin].steps & 1) == 0) continue;
    if (events[last].at - events[begin].at > within) continue;
    size_t done = 1;
    bool ended = false;
    for (size_t i = begin + 1; i < last; ++i) {
      ended = ended || events[i].unless;
      if (done + 1 < steps && (events[i].steps >> done & 1) != 0) ++done;
    }
    if (!ended && done == steps - 1) return true;
  }
  return false;
}

TEST(SequenceTest, FindsWhatLookingThroughAllEventsFinds) {
  std::mt19937 random(1);
  int found = 0;
  for (int run = 0; run < 4'000; ++run) {
    const size_t steps = 1 + random() % 4;
    const Span within = static_cast<Span>(random() % 30);
    Sequence sequence(steps, within);
    std::vector<Happened> events;
    Moment now = static_cast<Moment>(random() % 100) - 50;
    for (uint64_t i = 0; i < 40; ++i) {
      now += static_cast<Moment>(random() % 6);
      Happened event{now, 0, random() % 12 == 0};
      for (size_t step = 0; step < steps; ++step) {
        if (random() % 4 == 0) event.steps |= 1u << step;
      }
      events.push_back(event);
      const auto completed =
          sequence.OnEvent(now, event.steps, event.unless, i);
      ASSERT_EQ(completed.has_value(), EndsSequence(events, steps, within))
          << "run " << run << " event " << i;
      if (!completed.has_value()) continue;
      ++found;
      // What it names are such steps.
      for (size_t step = 0; step < steps; ++step) {
        const uint64_t number = completed->events[step];
        ASSERT_NE(events[number].steps >> step & 1, 0u);
        if (step > 0) {
          ASSERT_LT(completed->events[step - 1], number);
        }
      }
      ASSERT_EQ(completed->began, events[completed->events[0]].at);
      ASSERT_EQ(completed->events[steps - 1], i);
    }
  }
  EXPECT_GT(found, 5'000);
}

TEST(SequenceTest, EveryAttemptToEndItIsSeen) {
  Sequence sequence(2, 30);
  EXPECT_FALSE(sequence.OnEvent(0, 0b01, false, 1).has_value());
  EXPECT_TRUE(sequence.OnEvent(10, 0b10, false, 2).has_value());
  EXPECT_TRUE(sequence.OnEvent(30, 0b10, false, 3).has_value());
  EXPECT_FALSE(sequence.OnEvent(31, 0b10, false, 4).has_value());
}

TEST(SequenceTest, UnlessEndsWhatBeganBefore) {
  Sequence sequence(2, 30);
  EXPECT_FALSE(sequence.OnEvent(0, 0b01, false, 1).has_value());
  EXPECT_FALSE(sequence.OnEvent(1, 0, true, 2).has_value());
  EXPECT_FALSE(sequence.OnEvent(2, 0b10, false, 3).has_value());
  // One event that is both lies between nothing.
  EXPECT_FALSE(sequence.OnEvent(3, 0b01, true, 4).has_value());
  EXPECT_TRUE(sequence.OnEvent(4, 0b10, true, 5).has_value());
  EXPECT_FALSE(sequence.OnEvent(5, 0b10, false, 6).has_value());
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
    RecentEvents<int> events(capacity, within);
    std::vector<std::pair<Moment, int>> all;
    Moment now = 0;
    for (int i = 0; i < 60; ++i) {
      now += static_cast<Moment>(random() % 20);
      const int payload = static_cast<int>(random() % 5);
      const bool full = all.size() >= capacity &&
                        now - all[all.size() - capacity].first <= within;
      ASSERT_EQ(events.Add(now, payload), full);
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

TEST(TemporalTest, AllocatesNothingOnceMade) {
  KeyedStates<WindowCount> counts(100, WindowCount(25, 10));
  KeyedStates<Sequence> sequences(100, Sequence(3, 10));
  WindowDistinct distinct(20, 60);
  WindowSum sum(1000, 60);
  RecentEvents<uint64_t> recent(16, 60);
  const uint64_t before = AllocationCount();
  for (uint64_t i = 0; i < 5'000; ++i) {
    const auto now = static_cast<Moment>(i);
    counts.Get(i % 150).state->OnEvent(now);
    sequences.Get(i % 150).state->OnEvent(now, i & 7, i % 5 == 0, i);
    distinct.OnValue(now, i % 33);
    sum.OnAmount(now, i);
    recent.Add(now, i);
    recent.AnyWithin(now, [](uint64_t) { return false; });
  }
  EXPECT_EQ(AllocationCount(), before);
}

}  // namespace
}  // namespace callgate::policy::temporal
