// Nothing acknowledged is lost: modules, applied policies and quarantine
// outlive the daemon, whether it was asked to stop or killed.

#include <signal.h>

#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "tests/e2e/with_daemon.h"

namespace callgate::e2e {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

struct Row {
  const char* name;
  int signal;
};

class RestartTest : public testing::TestWithParam<Row> {
 protected:
  std::unique_ptr<DaemonUnderTest> Start() {
    DaemonSetup setup;
    setup.data = scratch_.Path("data");
    auto daemon = DaemonUnderTest::Start(setup);
    EXPECT_TRUE(daemon.ok()) << daemon.status();
    return daemon.ok() ? *std::move(daemon) : nullptr;
  }

  const ScratchDir scratch_;
};

TEST_P(RestartTest, KeepsWhatWasAcknowledged) {
  const std::string hello = scratch_.Write("hello.wasm", Says("hello\n"));
  const std::string sends = scratch_.Write("sends.wasm", SendsOnce());
  const std::string policy = scratch_.Write("policy.yaml", kQuarantinePolicy);

  auto daemon = Start();
  ASSERT_NE(daemon, nullptr);
  const Finished push =
      daemon->Client({"module", "push", hello, "--label", "kept=yes"});
  ASSERT_THAT(push, EndsWithCode(0));
  const std::string digest(absl::StripSuffix(push.out, "\n"));
  ASSERT_THAT(daemon->Client({"policy", "apply", policy}), EndsWithCode(0));
  const Finished caught = daemon->Client(
      {"run", sends, "--stub", "net.send", "--policy", "no-sending"});
  ASSERT_THAT(caught, EndsWithCode(134));
  EXPECT_THAT(caught.err, HasSubstr("caught"));

  // The last acknowledged write is one instruction before the signal.
  daemon->process().Signal(GetParam().signal);
  const auto exit = daemon->process().Wait(kPatience);
  ASSERT_TRUE(exit.ok()) << exit.status();
  if (GetParam().signal == SIGTERM) {
    EXPECT_EQ(exit->code, 0);
  }

  daemon = Start();
  ASSERT_NE(daemon, nullptr);
  EXPECT_THAT(daemon->Client({"module", "show", digest}).out,
              AllOf(HasSubstr("kept"), HasSubstr("yes")));
  EXPECT_THAT(daemon->Client({"policy", "ls"}).out, HasSubstr("no-sending"));
  const Finished says =
      daemon->Client({"run", digest, "--policy", "no-sending"});
  EXPECT_THAT(says, EndsWithCode(0));
  EXPECT_EQ(says.out, "hello\n");
  // Quarantine is about the module, under whatever policy it comes again.
  const Finished again = daemon->Client({"run", sends, "--stub", "net.send"});
  EXPECT_THAT(again, EndsWithCode(65));
  EXPECT_THAT(again.err, HasSubstr("quarantine"));
}

INSTANTIATE_TEST_SUITE_P(Signals, RestartTest,
                         testing::ValuesIn<Row>({{"Term", SIGTERM},
                                                 {"Kill", SIGKILL}}),
                         [](const auto& row) { return row.param.name; });

// Killed in the middle of uploads, again and again: every digest that a client
// was told of is there afterwards and whole.
TEST(RestartUnderLoad, LosesNoAcknowledgedModule) {
  const ScratchDir scratch;
  DaemonSetup setup;
  setup.data = scratch.Path("data");
  std::vector<std::string> acknowledged;
  for (int round = 0; round < 3; ++round) {
    auto daemon = DaemonUnderTest::Start(setup);
    ASSERT_TRUE(daemon.ok()) << daemon.status();
    std::vector<std::unique_ptr<Process>> clients;
    for (int i = 0; i < 6; ++i) {
      const std::string file =
          scratch.Write(absl::StrCat(round, "-", i, ".wasm"),
                        Says(absl::StrCat("module ", round, " ", i, "\n")));
      auto client = (*daemon)->StartClient({"module", "push", file});
      ASSERT_TRUE(client.ok()) << client.status();
      clients.push_back(*std::move(client));
    }
    // As soon as one is acknowledged, while others are under way.
    ASSERT_TRUE(clients[0]->WaitForOutput("sha256:", kPatience).ok());
    (*daemon)->process().Signal(SIGKILL);
    ASSERT_TRUE((*daemon)->process().Wait(kPatience).ok());
    for (const auto& client : clients) {
      ASSERT_TRUE(client->Wait(kPatience).ok());
      if (!client->out().empty()) {
        acknowledged.emplace_back(absl::StripSuffix(client->out(), "\n"));
      }
    }
  }
  ASSERT_FALSE(acknowledged.empty());
  auto daemon = DaemonUnderTest::Start(setup);
  ASSERT_TRUE(daemon.ok()) << daemon.status();
  const std::string policy = scratch.Write("open.yaml", kOpenPolicy);
  for (const std::string& digest : acknowledged) {
    const Finished run = (*daemon)->Client({"run", digest, "--policy", policy});
    EXPECT_THAT(run, EndsWithCode(0)) << digest;
    EXPECT_THAT(run.out, HasSubstr("module "));
  }
}

}  // namespace
}  // namespace callgate::e2e
