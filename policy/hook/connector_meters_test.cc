// The rate limits and temporal rules of the format's full example, word for
// word, with hosts `net` and `vault`: that they load, that they mean what they
// say, what they cost, and that a trace gives the same verdicts every time.

#include <fstream>
#include <iterator>
#include <random>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "policy/hook/meters_fixture.h"
#include "tests/support/allocations.h"

namespace callgate::policy {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::IsEmpty;

class ConnectorMetersTest : public MetersTest {
 protected:
  void SetUp() override {
    MetersTest::SetUp();
    std::ifstream file("policy/hook/testdata/connector_meters.yaml");
    const std::string text((std::istreambuf_iterator<char>(file)), {});
    const CompileResult result =
        CompilePolicyText(text, "connector_meters.yaml");
    ASSERT_TRUE(result.ok()) << ProblemsOf(result);
    EXPECT_THAT(result.warnings, IsEmpty());
    policy_ = result.policy;
    store_ = Make();
  }
};

TEST_F(ConnectorMetersTest, SendAfterSecret) {
  EXPECT_EQ(store_->Open("config/secrets/db", 0, /*rights=*/4), "ok");
  EXPECT_EQ(store_->Send("hello"), "ok");
  EXPECT_EQ(store_->Open("config/secrets/db", 0, /*rights=*/2), "ok");
  Pass(absl::Seconds(5));
  EXPECT_EQ(store_->Send("hello"), "trap");
  EXPECT_EQ(store_->lines.back(), "trap send-after-secret");
  EXPECT_EQ(store_->messages.back(),
            "\"net.send\" after reading \"/config/secrets/db\" 5s ago");
}

TEST_F(ConnectorMetersTest, TheExchangeClearsIt) {
  store_->Open("config/secrets/db");
  Pass(absl::Seconds(1));
  EXPECT_EQ(store_->Exchange(), "ok");
  Pass(absl::Seconds(1));
  EXPECT_EQ(store_->Send("hello"), "ok");
  EXPECT_THAT(store_->lines, IsEmpty());
}

TEST_F(ConnectorMetersTest, AfterTheWindow) {
  store_->Open("config/secrets/db");
  Pass(absl::Seconds(31));
  EXPECT_EQ(store_->Send("hello"), "ok");
}

TEST_F(ConnectorMetersTest, ConnectNeedsLookup) {
  EXPECT_EQ(store_->Connect("10.0.9.9:443"), "errno 76");
  store_->Resolve("api.acme.example", "10.0.9.9");
  EXPECT_EQ(store_->Connect("10.0.9.9:443"), "ok");
}

TEST_F(ConnectorMetersTest, PathScan) {
  for (int i = 0; i < 24; ++i) {
    EXPECT_EQ(store_->Open("a", 44), "failed 44");
    Pass(absl::Milliseconds(100));
  }
  EXPECT_EQ(store_->Open("a", 44), "failed 44, trap");
  EXPECT_THAT(store_->lines, ElementsAre("quarantine_module path-scan"));
}

TEST_F(ConnectorMetersTest, FanOut) {
  for (int i = 0; i < 20; ++i) {
    const std::string address = absl::StrCat("192.0.2.", i);
    store_->Resolve("x", address);
    EXPECT_EQ(store_->Connect(address + ":443"), "ok");
  }
  EXPECT_THAT(store_->lines, ElementsAre("alert fan-out"));
}

TEST_F(ConnectorMetersTest, EgressRateWaitsForItsToken) {
  for (int i = 0; i < 100; ++i) {
    ASSERT_EQ(store_->SendFor("").delay, absl::ZeroDuration());
  }
  EXPECT_EQ(store_->SendFor("").delay, absl::Milliseconds(50));
  // One module's rate for every Store of it, and each import's own.
  EXPECT_EQ(Make({"acme", "sha256:00", "s2"})->SendFor("").delay,
            absl::Milliseconds(100));
  EXPECT_EQ(Make({"acme", "sha256:01", "s3"})->SendFor("").delay,
            absl::ZeroDuration());
  store_->Resolve("x", "192.0.2.1");
  EXPECT_EQ(store_->Connect("192.0.2.1:1"), "ok");
  EXPECT_EQ(store_->lines.back(), "throttle egress-rate");
}

TEST_F(ConnectorMetersTest, OpenRateIsTheStores) {
  for (int i = 0; i < 200; ++i) ASSERT_EQ(store_->Open("a"), "ok");
  EXPECT_EQ(store_->Open("a"), "errno 6");
  EXPECT_EQ(store_->lines.back(), "deny open-rate");
  EXPECT_EQ(Make({"acme", "sha256:00", "s2"})->Open("a"), "ok");
}

TEST_F(ConnectorMetersTest, EgressBytesAndVolumeAreTheTenants) {
  // 8 MiB at once, a MiB a second; 32 MiB in a minute are too much. Each call
  // has 64 KiB at most, and this guest's memory less.
  store_->memory().resize(70'000);
  const std::string data(65'536, 'd');
  auto other = Make({"acme", "sha256:01", "s2"});
  other->memory().resize(70'000);
  for (int i = 0; i < 128; ++i) {
    ASSERT_EQ((i % 2 == 0 ? store_ : other)->Send(data), "ok") << i;
    Pass(absl::Milliseconds(1));
  }
  EXPECT_EQ(store_->Send(data), "ok");  // 129 ms are 132 KiB
  EXPECT_EQ(store_->Send(data), "ok");
  EXPECT_EQ(store_->Send(data), "errno 6");
  EXPECT_EQ(store_->lines.back(), "deny egress-bytes");
  // Denied calls are attempts, too.
  for (int i = 131; i < 512; ++i) store_->Send(data);
  EXPECT_NE(store_->journal.find("[exfil-volume throttle"), std::string::npos);
}

// --- replays and costs ---

// A random run of two Stores; everything that was told.
std::string RandomRun(const std::shared_ptr<const Policy>& policy,
                      uint64_t hash_key) {
  WallTime() = absl::UnixEpoch();
  absl::Time now = absl::UnixEpoch();
  RuleStates states(RuleStates::Options{{hash_key, ~hash_key}, 100});
  MeteredStore a({policy}, &now, &states, {"acme", "sha256:00", "a"});
  MeteredStore b({policy}, &now, &states, {"acme", "sha256:00", "b"});
  std::mt19937 random(11);
  std::string came;
  for (int i = 0; i < 3'000; ++i) {
    MeteredStore& store = random() % 2 == 0 ? a : b;
    switch (random() % 6) {
      case 0:
        absl::StrAppend(&came,
                        store.Open(random() % 9 == 0 ? "config/secrets/x" : "b",
                                   random() % 40 == 0 ? 44 : 0));
        break;
      case 1:
        absl::StrAppend(&came, store.Send(std::string(random() % 900, 'x')));
        break;
      case 2:
        absl::StrAppend(&came, store.Connect(absl::StrCat(
                                   "192.0.2.", random() % 30, ":443")));
        break;
      case 3:
        absl::StrAppend(
            &came, store.Resolve("x", absl::StrCat("192.0.2.", random() % 30)));
        break;
      case 4:
        absl::StrAppend(&came, store.Exchange(random() % 2));
        break;
      default:
        absl::StrAppend(&came, store.Tick());
    }
    absl::StrAppend(&came, "\n");
    // Now at leisure, now in a hurry.
    const absl::Duration pass =
        absl::Milliseconds(random() % (i / 1'500 % 2 == 0 ? 400 : 4));
    now += pass;
    WallTime() += pass;
  }
  return absl::StrCat(came, a.journal, b.journal);
}

TEST_F(ConnectorMetersTest,
       Point18TheSameTraceGivesTheSameVerdictsByteForByte) {
  const std::string first = RandomRun(policy_, 1);
  EXPECT_NE(first.find("send-after-secret"), std::string::npos);
  EXPECT_NE(first.find("connect-needs-lookup"), std::string::npos);
  EXPECT_NE(first.find("fan-out"), std::string::npos);
  EXPECT_NE(first.find("egress-rate"), std::string::npos);
  EXPECT_TRUE(RandomRun(policy_, 1) == first);
  // What hashes are made with is of no matter.
  EXPECT_TRUE(RandomRun(policy_, 99) == first);
}

// Calls and their ends, of functions that all these rules are about, with texts
// and bytes as arguments: nothing matches, everything is remembered.
TEST_F(ConnectorMetersTest, DecidingAllocatesNothing) {
  store_->Put("config/secrets/db", 512);
  store_->Put("10.0.9.9:443", 600);
  store_->Put("api.acme.example", 700);
  store_->Put(std::string("10.0.9.9\0", 9), 2048);
  const auto numbers = [](std::vector<uint32_t> values) {
    std::vector<RawValue> out;
    for (const uint32_t v : values) out.push_back(RawValue::I32(v));
    return out;
  };
  std::vector<RawValue> open = numbers({3, 512, 17});
  open.push_back(RawValue::I64(2));
  struct Step {
    const char* import;
    std::vector<RawValue> args;
    uint32_t result;
  };
  const std::vector<Step> steps = {
      {"wasi_snapshot_preview1.path_open", open, 0},
      {"wasi_snapshot_preview1.path_open", open, 44},
      {"net.resolve", numbers({700, 16, 2048, 1024}), 0},
      {"vault.exchange", {}, 0},
      {"net.connect", numbers({600, 12}), 0},
      {"net.send", numbers({7, 512, 100}), 0},
  };
  const auto run = [&](bool count) {
    uint64_t allocations = 0;
    for (const Step& step : steps) {
      Pass(absl::Seconds(1));
      const FunctionIdentity& function = store_->function(step.import);
      FakeCall enter(Transition::kCallingHost, function, step.args);
      enter.WithMemory(&store_->memory()).InPlace();
      FakeCall leave(Transition::kReturningFromHost, function, step.args);
      leave.WithMemory(&store_->memory())
          .WithResults({RawValue::I32(step.result)});
      const uint64_t before = AllocationCount();
      const Disposition entered = store_->hook().OnTransition(enter);
      const Disposition left = store_->hook().OnTransition(leave);
      const uint64_t here = AllocationCount() - before;
      allocations += here;
      if (count) {
        EXPECT_EQ(here, 0u) << step.import << " " << step.result;
      }
      EXPECT_EQ(entered, Disposition::kProceed) << step.import;
      EXPECT_EQ(left, Disposition::kProceed) << step.import;
    }
    return allocations;
  };
  // Until buffers and states have the memory that they are going to have.
  for (int i = 0; i < 100; ++i) run(/*count=*/false);
  for (int i = 0; i < 500; ++i) ASSERT_EQ(run(/*count=*/true), 0u) << i;
  EXPECT_THAT(store_->lines, IsEmpty());
}

TEST_F(ConnectorMetersTest, TellsWhatItRemembers) {
  store_->Open("config/secrets/db");
  store_->Exchange();
  store_->Resolve("a", "192.0.2.1");
  std::vector<std::string> rules;
  uint64_t bytes = 0;
  for (const RuleStates::Use& use : states_.Uses()) {
    rules.push_back(absl::StrCat(use.policy, "/", use.rule));
    EXPECT_GT(use.bytes, 0u) << use.rule;
    bytes += use.bytes;
  }
  EXPECT_EQ(rules.size(), 8u);
  EXPECT_THAT(rules, Contains("connector-baseline/exfil-volume"));
  // A Store is not dear.
  EXPECT_LT(bytes, 20'000u);
  for (const StateShape* shape : policy_->StateShapes()) {
    EXPECT_LT(shape->BytesMax(), 400'000u) << shape->rule;
  }
}

}  // namespace
}  // namespace callgate::policy
