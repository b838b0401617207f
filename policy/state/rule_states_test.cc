#include "policy/state/rule_states.h"

#include <thread>

#include "gtest/gtest.h"

namespace callgate::policy {
namespace {

using Kind = StateShape::Kind;

StateShape Shape(std::string digest, StateScope scope,
                 Kind kind = Kind::kBuckets) {
  StateShape shape;
  shape.kind = kind;
  shape.scope = scope;
  shape.digest = std::move(digest);
  shape.policy = "p";
  shape.rule = "r-" + shape.digest;
  shape.keys_max = 100;
  shape.bucket = {1, 10};
  shape.within = 1000;
  shape.threshold = 5;
  if (kind == Kind::kSequence || kind == Kind::kFormerly) {
    shape.records = {{2, 100, 0}};
    shape.records_max = 20;
    shape.is_correlated = true;
  }
  return shape;
}

std::shared_ptr<RuleState> BindOne(StoreStates& states,
                                   const StateShape& shape) {
  return states.Bind({&shape})[0];
}

TEST(RuleStatesTest, ScopesSayWhoSharesAState) {
  RuleStates states;
  auto a1 = states.ForStore("a", "m1");
  auto a1_too = states.ForStore("a", "m1");
  auto a2 = states.ForStore("a", "m2");
  auto b1 = states.ForStore("b", "m1");
  const StateShape store = Shape("1", StateScope::kStore);
  const auto held = BindOne(*a1, store);
  EXPECT_NE(BindOne(*a1_too, store), held);
  EXPECT_EQ(BindOne(*a1, store), held);
  const StateShape module = Shape("2", StateScope::kModule);
  const auto of_m1 = BindOne(*a1, module);
  EXPECT_EQ(of_m1, BindOne(*a1_too, module));
  EXPECT_NE(of_m1, BindOne(*a2, module));
  EXPECT_NE(of_m1, BindOne(*b1, module));
  const StateShape tenant = Shape("3", StateScope::kTenant);
  const auto of_a = BindOne(*a1, tenant);
  EXPECT_EQ(of_a, BindOne(*a2, tenant));
  EXPECT_NE(of_a, BindOne(*b1, tenant));
  EXPECT_EQ(&a1->shared_mutex(), &a2->shared_mutex());
  EXPECT_NE(&a1->shared_mutex(), &b1->shared_mutex());
}

TEST(RuleStatesTest, AStateOutlivesItsPolicyIfTheDigestDoes) {
  RuleStates states;
  auto store = states.ForStore("a", "m");
  const StateShape kept = Shape("1", StateScope::kStore);
  const StateShape gone = Shape("2", StateScope::kStore);
  const auto first = store->Bind({&kept, &gone});
  EXPECT_TRUE(first[0]->buckets().Get(7).state->Take(kept.bucket, 0, 10));
  first[0]->Account(false);
  // Of another version: the rule in another place, with another name.
  StateShape renamed = kept;
  renamed.rule = "other";
  const StateShape added = Shape("3", StateScope::kStore);
  const auto second = store->Bind({&added, &renamed});
  EXPECT_EQ(second[1], first[0]);
  EXPECT_FALSE(second[1]->buckets().Get(7).state->Take(kept.bucket, 0, 1));
  EXPECT_EQ(states.Uses().size(), 3u);
}

// Or a tenant would only have to make a new Store.
TEST(RuleStatesTest, ASharedStateOutlivesItsStores) {
  RuleStates states;
  const StateShape tenant = Shape("1", StateScope::kTenant);
  const RuleState* was = BindOne(*states.ForStore("a", "m"), tenant).get();
  EXPECT_EQ(BindOne(*states.ForStore("a", "m"), tenant).get(), was);
  states.KeepOnly({"1"});
  EXPECT_EQ(states.Uses().size(), 1u);
  {
    auto store = states.ForStore("a", "m");
    const auto held = BindOne(*store, tenant);
    states.KeepOnly({});
    EXPECT_EQ(states.Uses().size(), 1u);
  }
  states.KeepOnly({});
  EXPECT_TRUE(states.Uses().empty());
}

TEST(RuleStatesTest, SharedStatesAreBounded) {
  RuleStates::Options options;
  options.shared_states_max = 3;
  RuleStates states(options);
  auto live = states.ForStore("a", "m0");
  const StateShape module = Shape("1", StateScope::kModule);
  const auto used = BindOne(*live, module);
  used->buckets().Get(1).state->Take(module.bucket, 0, 10);
  for (int i = 1; i < 20; ++i) {
    BindOne(*states.ForStore("a", "m" + std::to_string(i)), module);
    EXPECT_LE(states.Uses()[0].states, 3u);
  }
  EXPECT_EQ(states.shared_states_lost(), 17u);
  // Never one that somebody has.
  EXPECT_EQ(BindOne(*states.ForStore("a", "m0"), module), used);
}

TEST(RuleStatesTest, ATenantThatTakesAllPushesOutItsOwn) {
  RuleStates::Options options;
  options.shared_states_max = 10;
  RuleStates states(options);
  const StateShape module = Shape("1", StateScope::kModule);
  const RuleState* const first =
      BindOne(*states.ForStore("quiet", "m"), module).get();
  for (int i = 0; i < 100; ++i) {
    BindOne(*states.ForStore("loud", "m" + std::to_string(i)), module);
  }
  EXPECT_EQ(BindOne(*states.ForStore("quiet", "m"), module).get(), first);
}

TEST(RuleStatesTest, RulesThatAreGoneTakeNothing) {
  RuleStates states;
  auto store = states.ForStore("a", "m");
  for (int i = 0; i < 5'000; ++i) {
    const auto state =
        BindOne(*store, Shape(std::to_string(i), StateScope::kStore));
    state->Account(/*has_lost=*/true);
  }
  EXPECT_LT(states.Uses().size(), 1'100u);
}

TEST(RuleStatesTest, TellsWhatStatesTake) {
  for (const Kind kind : {Kind::kBuckets, Kind::kCount, Kind::kDistinct,
                          Kind::kSum, Kind::kSequence, Kind::kFormerly}) {
    RuleStates states;
    auto store = states.ForStore("a", "m");
    const StateShape shape = Shape("1", StateScope::kStore, kind);
    auto state = BindOne(*store, shape);
    const auto bytes = [&states] { return states.Uses()[0].bytes; };
    const uint64_t empty = bytes();
    EXPECT_GT(empty, 0u);
    for (uint64_t i = 0; i < 200; ++i) {
      bool lost = false;
      switch (kind) {
        case Kind::kBuckets:
          lost = state->buckets().Get(i).evicted;
          break;
        case Kind::kCount:
          lost = state->counts().Get(i).evicted;
          break;
        case Kind::kDistinct:
          lost = state->distincts().Get(i).evicted;
          break;
        case Kind::kSum:
          lost = state->sums().Get(i).evicted;
          break;
        case Kind::kSequence:
          lost = state->sequence().OnEvent(
              1, i, [](size_t, const auto*) { return true; },
              [](FactsRecord*, size_t) {}, [](const auto&) { return false; });
          break;
        case Kind::kFormerly:
          lost = state->formerly().Add(1).lost;
          break;
      }
      state->Account(lost);
      EXPECT_LE(bytes(), shape.BytesMax());
    }
    EXPECT_GT(bytes(), empty);
    const uint64_t all = bytes();
    const size_t room =
        kind == Kind::kSequence || kind == Kind::kFormerly ? 20 : 100;
    EXPECT_EQ(states.Uses()[0].entries, room);
    EXPECT_EQ(states.Uses()[0].lost, 200 - room);
    EXPECT_EQ(all, shape.BytesMax());
    state.reset();
    EXPECT_EQ(states.Uses()[0].bytes, 0u);
    EXPECT_EQ(states.Uses()[0].entries, 0u);
  }
}

TEST(RuleStatesTest, EventsAreNumberedOncePerStoreAndInOrderPerTenant) {
  RuleStates states;
  auto a = states.ForStore("a", "m");
  auto b = states.ForStore("a", "n");
  EXPECT_NE(a->NextEvent(), b->NextEvent());
  EXPECT_EQ(a->NextSharedEvent(), 1u);
  EXPECT_EQ(b->NextSharedEvent(), 2u);
}

TEST(RuleStatesTest, ThreadsShareABucketExactly) {
  RuleStates states;
  StateShape shape = Shape("1", StateScope::kTenant);
  shape.bucket = {0, 1000};
  std::vector<std::thread> threads;
  std::atomic<int> taken{0};
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      auto store = states.ForStore("a", "m");
      auto state = BindOne(*store, shape);
      for (int i = 0; i < 1'000; ++i) {
        const std::lock_guard<std::mutex> lock(store->shared_mutex());
        if (state->buckets().Get(1).state->Take(shape.bucket, i, 1)) ++taken;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(taken, 1000);
}

}  // namespace
}  // namespace callgate::policy
