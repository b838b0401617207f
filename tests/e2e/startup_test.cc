// How the daemon starts, refuses to start, and stops.

#include <signal.h>

#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "absl/time/clock.h"
#include "tests/e2e/taken_port.h"
#include "tests/e2e/with_daemon.h"

namespace callgate::e2e {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

// Runs the daemon where it should refuse to start.
Finished RunDaemon(const std::vector<std::string>& flags) {
  Command command;
  command.argv = {DaemonBinary()};
  command.argv.insert(command.argv.end(), flags.begin(), flags.end());
  return RunToEnd(command, kPatience);
}

// What is said on refusal: exit code not 0, the words on stderr, and never so
// much as a line of a crash.
void ExpectRefusal(const Finished& finished,
                   const std::vector<std::string>& words) {
  EXPECT_FALSE(finished.timed_out) << finished.err;
  EXPECT_GT(finished.exit_code, 0);
  EXPECT_LT(finished.exit_code, 128) << finished.err;
  for (const std::string& word : words) {
    EXPECT_THAT(finished.err, HasSubstr(word));
  }
}

TEST(StartupTest, RefusesAddressesThatAreNotLoopback) {
  const ScratchDir scratch;
  const std::string data = absl::StrCat("--data=", scratch.Path("data"));
  for (const char* address :
       {"0.0.0.0:0", "[::]:0", "192.0.2.1:0", "example.com:0"}) {
    ExpectRefusal(RunDaemon({absl::StrCat("--listen=", address),
                             "--metrics=127.0.0.1:0", data}),
                  {"without TLS", "127.0.0.1"});
    ExpectRefusal(RunDaemon({"--listen=127.0.0.1:0",
                             absl::StrCat("--metrics=", address), data}),
                  {"without TLS", "127.0.0.1"});
  }
}

TEST(StartupTest, NamesThePortInUse) {
  const ScratchDir scratch;
  const TakenPort taken;
  const std::string data = absl::StrCat("--data=", scratch.Path("data"));
  ExpectRefusal(RunDaemon({absl::StrCat("--listen=", taken.address()),
                           "--metrics=127.0.0.1:0", data}),
                {taken.address(), "in use", "--listen"});
  ExpectRefusal(RunDaemon({absl::StrCat("--metrics=", taken.address()),
                           "--listen=127.0.0.1:0", data}),
                {taken.address(), "in use", "--metrics"});
}

TEST(StartupTest, OneDataDirectoryHasOneDaemon) {
  const ScratchDir scratch;
  DaemonSetup setup;
  setup.data = scratch.Path("data");
  const auto first = DaemonUnderTest::Start(setup);
  ASSERT_TRUE(first.ok()) << first.status();
  ExpectRefusal(RunToEnd({DaemonArguments(setup), {}, "", false}, kPatience),
                {setup.data});
  EXPECT_TRUE((*first)->Healthy());
}

TEST(StartupTest, NamesADataDirectoryItCannotUse) {
  const ScratchDir scratch;
  const std::string file = scratch.Write("file", "not a directory");
  ExpectRefusal(RunDaemon({"--listen=127.0.0.1:0", "--metrics=127.0.0.1:0",
                           absl::StrCat("--data=", file, "/data")}),
                {file});
}

TEST(StartupTest, RefusesUnknownFlagsAndKeys) {
  ExpectRefusal(RunDaemon({"--lisen=127.0.0.1:0"}), {"lisen"});
  const ScratchDir scratch;
  const std::string config =
      scratch.Write("callgated.yaml", "listen: 127.0.0.1:0\nmetrcs: x\n");
  ExpectRefusal(RunDaemon({absl::StrCat("--config=", config)}),
                {"metrcs", "2"});
}

TEST(StartupTest, HelpNamesEveryFlag) {
  const Finished help = RunDaemon({"--help"});
  EXPECT_THAT(help, EndsWithCode(0));
  for (const char* flag : {"--listen", "--metrics", "--data", "--policy-dir",
                           "--allow-dir", "--alerts", "--config"}) {
    EXPECT_THAT(help.out, HasSubstr(flag));
  }
}

TEST(StartupTest, FlagsWinOverTheConfigurationFile) {
  const ScratchDir scratch;
  const TakenPort taken;
  DaemonSetup setup;
  setup.data = scratch.Path("data");
  setup.more_flags = {absl::StrCat(
      "--config=",
      scratch.Write("callgated.yaml",
                    absl::StrCat("listen: \"", taken.address(), "\"\n")))};
  const auto daemon = DaemonUnderTest::Start(setup);
  ASSERT_TRUE(daemon.ok()) << daemon.status();
  EXPECT_TRUE((*daemon)->Healthy());
}

TEST(StartupTest, OneBadPolicyFileStopsNothingElse) {
  const ScratchDir scratch;
  scratch.Write("policies/good.yaml", kOpenPolicy);
  scratch.Write("policies/bad.yaml",
                "api_version: callgate.policy/v1\nkind: Policy\n"
                "metadata: { name: bad }\nimprots: []\n");
  DaemonSetup setup;
  setup.data = scratch.Path("data");
  setup.policy_dir = scratch.Path("policies");
  const auto daemon = DaemonUnderTest::Start(setup);
  ASSERT_TRUE(daemon.ok()) << daemon.status();
  EXPECT_EQ((*daemon)->Metric("callgate_policy_last_reload_success"), 0);
  const auto page = (*daemon)->MetricsPage();
  ASSERT_TRUE(page.ok());
  EXPECT_THAT(*page, HasSubstr("callgate_policy_last_reload_success 0"));
  EXPECT_THAT((*daemon)->Client({"events"}).out,
              AllOf(HasSubstr("bad.yaml:4"), HasSubstr("improts")));
  const std::string listed = (*daemon)->Client({"policy", "ls"}).out;
  EXPECT_THAT(listed, HasSubstr("open"));
  EXPECT_THAT(listed, Not(HasSubstr("bad")));
  EXPECT_THAT(
      (*daemon)->Client({"run", scratch.Write("m.wasm", Says("still here\n")),
                         "--policy", "open"}),
      EndsWithCode(0));

  // Mended and asked to look again, it is whole.
  scratch.Write("policies/bad.yaml",
                "api_version: callgate.policy/v1\nkind: Policy\n"
                "metadata: { name: mended }\ninclude: [wasi-preview1-base]\n");
  (*daemon)->process().Signal(SIGHUP);
  EXPECT_TRUE(Eventually(kPatience, [&] {
    return (*daemon)->Metric("callgate_policy_last_reload_success") == 1;
  }));
  EXPECT_THAT((*daemon)->Client({"policy", "ls"}).out, HasSubstr("mended"));
}

TEST(StartupTest, TermLetsRunsEndAndTakesNoNewOnes) {
  const ScratchDir scratch;
  scratch.Write("policies/open.yaml", kOpenPolicy);
  DaemonSetup setup;
  setup.data = scratch.Path("data");
  setup.policy_dir = scratch.Path("policies");
  setup.more_flags = {"--drain-timeout=60s"};
  const auto daemon = DaemonUnderTest::Start(setup);
  ASSERT_TRUE(daemon.ok()) << daemon.status();

  // A run that ends when its input does: it has begun once a byte came back.
  const std::string file = scratch.Write("copies.wasm", CopiesStdin());
  auto run = (*daemon)->StartInteractive({"run", file, "--policy", "open"});
  ASSERT_TRUE(run.ok()) << run.status();
  ASSERT_TRUE((*run)->Send("before\n").ok());
  ASSERT_TRUE((*run)->WaitForOutput("before", kPatience).ok());

  (*daemon)->process().Signal(SIGTERM);
  // New work is refused from some moment on, while the run goes on.
  EXPECT_TRUE(Eventually(kPatience, [&] {
    const Finished other = (*daemon)->Client({"run", file, "--policy", "open"});
    EXPECT_FALSE(other.timed_out) << "stdout:\n"
                                  << other.out << "\nstderr:\n"
                                  << other.err << "\ndaemon:\n"
                                  << (*daemon)->process().err();
    return other.exit_code != 0;
  }));
  ASSERT_TRUE((*run)->Send("after\n").ok());
  EXPECT_TRUE((*run)->WaitForOutput("after", kPatience).ok());
  (*run)->CloseInput();
  const auto ended = (*run)->Wait(kPatience);
  ASSERT_TRUE(ended.ok()) << ended.status();
  EXPECT_EQ(ended->code, 0) << (*run)->err();
  EXPECT_EQ((*run)->out(), "before\nafter\n");

  const auto exit = (*daemon)->process().Wait(kPatience);
  ASSERT_TRUE(exit.ok()) << exit.status();
  EXPECT_EQ(exit->code, 0) << (*daemon)->process().err();
}

TEST(StartupTest, TermEndsWhatDoesNotEndItself) {
  const ScratchDir scratch;
  scratch.Write("policies/open.yaml", kOpenPolicy);
  DaemonSetup setup;
  setup.data = scratch.Path("data");
  setup.policy_dir = scratch.Path("policies");
  setup.more_flags = {"--drain-timeout=200ms"};
  const auto daemon = DaemonUnderTest::Start(setup);
  ASSERT_TRUE(daemon.ok()) << daemon.status();
  auto run = (*daemon)->StartClient(
      {"run", scratch.Write("spins.wasm", Spins()), "--policy", "open"});
  ASSERT_TRUE(run.ok()) << run.status();
  ASSERT_TRUE((*run)->WaitForOutput("spinning", kPatience).ok());

  (*daemon)->process().Signal(SIGTERM);
  const auto exit = (*daemon)->process().Wait(kPatience);
  ASSERT_TRUE(exit.ok()) << exit.status();
  EXPECT_EQ(exit->code, 0) << (*daemon)->process().err();
  const auto ended = (*run)->Wait(kPatience);
  ASSERT_TRUE(ended.ok()) << ended.status();
  EXPECT_NE(ended->code, 0);
}

}  // namespace
}  // namespace callgate::e2e
