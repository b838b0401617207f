// Stores that live across calls: create, call, memory, kill.

#include <signal.h>

#include <string>

#include "absl/strings/match.h"
#include "absl/strings/strip.h"
#include "tests/e2e/with_daemon.h"

namespace callgate::e2e {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

class StoresTest : public WithDaemon {
 protected:
  static std::string Create(const std::string& file) {
    const Finished create =
        Client({"store", "create", file, "--policy", "open"});
    EXPECT_THAT(create, EndsWithCode(0));
    return std::string(absl::StripSuffix(create.out, "\n"));
  }
};

TEST_F(StoresTest, CallsKeepTheirMemory) {
  const std::string id = Create(ModuleFile(Library()));
  EXPECT_EQ(Client({"store", "call", id, "add", "40", "2"}).out, "42\n");
  EXPECT_EQ(Client({"store", "call", id, "add", "i32:-1", "0"}).out, "-1\n");
  EXPECT_EQ(Client({"store", "call", id, "echo64", "9223372036854775807"}).out,
            "9223372036854775807\n");
  EXPECT_EQ(Client({"store", "call", id, "echof", "0.1"}).out, "0.1\n");

  EXPECT_EQ(Client({"store", "read", id, "64", "8"}).out, "63616c6c67617465\n");
  ASSERT_THAT(Client({"store", "write", id, "65", "ff00"}), EndsWithCode(0));
  EXPECT_EQ(Client({"store", "call", id, "peek", "65"}).out, "255\n");
  EXPECT_EQ(Client({"store", "read", id, "64", "4"}).out, "63ff006c\n");

  EXPECT_THAT(Client({"store", "ls"}).out, HasSubstr(id));
  EXPECT_THAT(Client({"store", "kill", id}), EndsWithCode(0));
}

TEST_F(StoresTest, RefusesMemoryOutside) {
  const std::string id = Create(ModuleFile(Library()));
  EXPECT_THAT(Client({"store", "read", id, "65536", "0"}), EndsWithCode(0));
  for (const char* address :
       {"65536", "65535", "4294967295", "18446744073709551615"}) {
    const Finished read = Client({"store", "read", id, address, "2"});
    EXPECT_THAT(read, Not(EndsWithCode(0))) << address;
    EXPECT_THAT(read.err, HasSubstr("65536")) << address;
    EXPECT_THAT(Client({"store", "write", id, address, "0102"}),
                Not(EndsWithCode(0)))
        << address;
  }
  // Nothing of a refused write was written.
  EXPECT_EQ(Client({"store", "read", id, "65535", "1"}).out, "00\n");
}

TEST_F(StoresTest, ATrapLeavesTheStoreUsable) {
  const std::string id = Create(ModuleFile(Library()));
  const Finished trap = Client({"store", "call", id, "divide", "1", "0"});
  EXPECT_THAT(trap, EndsWithCode(134));
  EXPECT_EQ(Client({"store", "call", id, "divide", "6", "3"}).out, "2\n");
}

TEST_F(StoresTest, AnotherClientKillsWhatSpins) {
  const std::string id = Create(ModuleFile(Library()));
  auto spins = daemon().StartClient({"store", "call", id, "spin"});
  ASSERT_TRUE(spins.ok()) << spins.status();
  EXPECT_TRUE(Eventually(kPatience, [&] {
    return absl::StrContains(Client({"store", "ls"}).out, "running");
  }));
  ASSERT_THAT(Client({"store", "kill", id}), EndsWithCode(0));
  const auto ended = (*spins)->Wait(kPatience);
  ASSERT_TRUE(ended.ok()) << ended.status();
  EXPECT_EQ(ended->code, 134) << (*spins)->err();
  EXPECT_THAT((*spins)->err(), HasSubstr("kill"));

  // For good.
  const Finished later = Client({"store", "call", id, "add", "1", "1"});
  EXPECT_THAT(later, Not(EndsWithCode(0)));
  EXPECT_THAT(later.err, HasSubstr("kill"));
  EXPECT_TRUE(daemon().Healthy());
}

TEST_F(StoresTest, AClientThatGoesAwayTakesItsRunAlong) {
  const std::string file = ModuleFile(Spins());
  auto run = daemon().StartClient({"run", file, "--policy", "open"});
  ASSERT_TRUE(run.ok()) << run.status();
  const auto spinning = (*run)->WaitForOutput("spinning", kPatience);
  ASSERT_TRUE(spinning.ok()) << spinning.status();
  const std::string running = R"(callgate_stores{state="running"})";
  EXPECT_TRUE(
      Eventually(kPatience, [&] { return daemon().Metric(running) > 0; }));
  (*run)->Signal(SIGKILL);
  EXPECT_TRUE(
      Eventually(kPatience, [&] { return daemon().Metric(running) == 0; }));
}

TEST_F(StoresTest, InterruptedByItsUserARunEnds130) {
  const std::string file = ModuleFile(Spins());
  auto run = daemon().StartClient({"run", file, "--policy", "open"});
  ASSERT_TRUE(run.ok()) << run.status();
  const auto spinning = (*run)->WaitForOutput("spinning", kPatience);
  ASSERT_TRUE(spinning.ok()) << spinning.status();
  (*run)->Signal(SIGINT);
  const auto ended = (*run)->Wait(kPatience);
  ASSERT_TRUE(ended.ok()) << ended.status();
  EXPECT_EQ(ended->code, 130);
}

TEST_F(StoresTest, WhatThePolicyKillsStaysKilled) {
  const std::string policy = scratch().Write("kills.yaml", R"(
api_version: callgate.policy/v1
kind: Policy
metadata: { name: kills }
imports:
  - { id: last-call, import: net.send, action: kill_store }
)");
  const std::string file = ModuleFile(Assemble(R"((module
    (import "net" "send" (func $send (param i32) (result i32)))
    (func (export "send") (result i32) (call $send (i32.const 1)))
    (func (export "add") (result i32) (i32.const 1)))
)"));
  const Finished create = Client(
      {"store", "create", file, "--policy", policy, "--stub", "net.send"});
  ASSERT_THAT(create, EndsWithCode(0));
  const std::string id(absl::StripSuffix(create.out, "\n"));
  const Finished killed = Client({"store", "call", id, "send"});
  EXPECT_THAT(killed, EndsWithCode(134));
  EXPECT_THAT(killed.err, AllOf(HasSubstr("last-call"), HasSubstr("kills")));
  EXPECT_THAT(Client({"store", "call", id, "add"}), Not(EndsWithCode(0)));
}

}  // namespace
}  // namespace callgate::e2e
