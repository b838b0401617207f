// The way of a newcomer: write a policy, push a module, run it, see it refused,
// see that on the metrics page and among the events.

#include <signal.h>

#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "tests/e2e/with_daemon.h"

namespace callgate::e2e {
namespace {

using ::testing::AllOf;
using ::testing::ContainsRegex;
using ::testing::Gt;
using ::testing::HasSubstr;
using ::testing::MatchesRegex;
using ::testing::Not;

class WalkTest : public WithDaemon {};

TEST_F(WalkTest, PushesPrintsTheDigestAlone) {
  const std::string bytes = Says("pushed\n");
  const std::string file = ModuleFile(bytes);
  const Finished push = Client({"module", "push", file, "--label", "team=web"});
  ASSERT_THAT(push, EndsWithCode(0));
  EXPECT_EQ(push.out, absl::StrCat("sha256:", Sha256Hex(bytes), "\n"));

  // Again: nothing new, same answer.
  EXPECT_EQ(Client({"module", "push", file}).out, push.out);

  const std::string digest(absl::StripSuffix(push.out, "\n"));
  EXPECT_THAT(Client({"module", "ls"}).out, HasSubstr(digest.substr(0, 19)));
  const Finished show = Client({"module", "show", digest});
  ASSERT_THAT(show, EndsWithCode(0));
  EXPECT_THAT(show.out, AllOf(HasSubstr("fd_write"), HasSubstr("_start"),
                              HasSubstr("team"), HasSubstr("web")));

  ASSERT_THAT(Client({"module", "rm", digest}), EndsWithCode(0));
  EXPECT_THAT(Client({"module", "show", digest}), Not(EndsWithCode(0)));
}

TEST_F(WalkTest, RunsWithTheGuestsOwnStreamsAndCode) {
  const Finished says =
      Client({"run", ModuleFile(Says("hello\n")), "--policy", "open"});
  ASSERT_THAT(says, EndsWithCode(0));
  EXPECT_EQ(says.out, "hello\n");
  EXPECT_EQ(says.err, "");

  EXPECT_THAT(Client({"run", ModuleFile(ExitsWith(7)), "--policy", "open"}),
              EndsWithCode(7));

  std::string input;
  for (int i = 0; i < 100'000; ++i) absl::StrAppend(&input, i, "\n");
  const Finished copies =
      Client({"run", ModuleFile(CopiesStdin()), "--policy", "open"}, input);
  ASSERT_THAT(copies, EndsWithCode(0));
  EXPECT_EQ(Sha256Hex(copies.out), Sha256Hex(input));
}

TEST_F(WalkTest, ADenialIsSeenEverywhere) {
  const std::string series =
      R"(callgate_decisions_total{tenant="default",verdict="deny",mode="enforce"})";
  const double before = daemon().Metric(series);

  const std::string file = ModuleFile(ExitsWithErrnoOfRandomGet());
  // The open policy lets it.
  ASSERT_THAT(Client({"run", file, "--policy", "open"}), EndsWithCode(0));
  // The other gives it EPERM, and it lives on to say so.
  const Finished denied = Client({"run", file, "--policy", "no-random"});
  ASSERT_THAT(denied, EndsWithCode(63));
  EXPECT_THAT(denied.err, AllOf(HasSubstr("random_get"), HasSubstr("no-random"),
                                HasSubstr("dice-are-out"), HasSubstr("63")));

  EXPECT_EQ(daemon().Metric(series), before + 1);
  const auto page = daemon().MetricsPage();
  ASSERT_TRUE(page.ok()) << page.status();
  EXPECT_THAT(*page, HasSubstr("rule=\"dice-are-out\""));
  // It ran the first time and was answered for the second.
  for (const char* outcome : {"ran", "answered"}) {
    EXPECT_GE(
        daemon().Metric(absl::StrCat(
            R"(callgate_host_calls_total{import="wasi_snapshot_preview1.)",
            R"(random_get",outcome=")", outcome, "\"}")),
        1)
        << outcome;
  }
  EXPECT_THAT(
      *page,
      Not(ContainsRegex("callgate_host_calls_total[{].*outcome=\"other\"")));
  EXPECT_EQ(Client({"metrics"}).exit_code, 0);

  const Finished events = Client({"events", "-o", "json"});
  ASSERT_THAT(events, EndsWithCode(0));
  EXPECT_THAT(events.out,
              AllOf(HasSubstr("dice-are-out"), HasSubstr("random_get")));
  EXPECT_THAT(Client({"events"}).out, HasSubstr("dice-are-out"));

  // At "warning", the severity of a denial, it is an alert too.
  std::string alerts;
  EXPECT_TRUE(Eventually(kPatience, [&] {
    const auto read = ReadWholeFile(scratch().Path("alerts.jsonl"));
    if (read.ok()) alerts = *read;
    return absl::StrContains(alerts, "dice-are-out");
  })) << alerts;
}

TEST_F(WalkTest, APolicyFileOfTheSubmitterJudgesOneRun) {
  const std::string policy = scratch().Write("own.yaml", kNoRandomPolicy);
  const std::string file = ModuleFile(ExitsWithErrnoOfRandomGet());
  EXPECT_THAT(Client({"run", file, "--policy", policy}), EndsWithCode(63));
}

TEST_F(WalkTest, AppliesAndListsPolicies) {
  const std::string policy = scratch().Write(
      "applied.yaml",
      "api_version: callgate.policy/v1\nkind: Policy\n"
      "metadata: { name: applied-here }\ninclude: [wasi-preview1-base]\n");
  ASSERT_THAT(Client({"policy", "check", policy}), EndsWithCode(0));
  ASSERT_THAT(Client({"policy", "apply", policy}), EndsWithCode(0));
  EXPECT_THAT(Client({"policy", "ls"}).out,
              AllOf(HasSubstr("applied-here"), HasSubstr("no-random")));
  EXPECT_THAT(
      Client({"run", ModuleFile(ExitsWith(3)), "--policy", "applied-here"}),
      EndsWithCode(3));

  // A name that belongs to --policy-dir cannot be applied over.
  const std::string stolen = scratch().Write("stolen.yaml", kNoRandomPolicy);
  const Finished refused = Client({"policy", "apply", stolen});
  EXPECT_THAT(refused, EndsWithCode(78));
  EXPECT_THAT(refused.err, HasSubstr("no-random"));
}

TEST_F(WalkTest, AnImportThatNoPolicyListsIsDenied) {
  // net.send is stubbed, and `no-random` does not list it: the denial comes as
  // a trap, since net.send returns no errno.
  const Finished run = Client({"run", ModuleFile(SendsOnce()), "--stub",
                               "net.send", "--policy", "no-random"});
  EXPECT_THAT(run, EndsWithCode(134));
  EXPECT_THAT(run.err, HasSubstr("net.send"));
  // Listed and stubbed, it returns zeros.
  EXPECT_THAT(Client({"run", ModuleFile(SendsOnce()), "--stub", "net.send",
                      "--policy", "open"}),
              EndsWithCode(0));
}

TEST_F(WalkTest, CallsAnExportAndPrintsItsResults) {
  const Finished add = Client({"run", ModuleFile(Library()), "--policy", "open",
                               "--invoke", "add", "--", "40", "i32:2"});
  ASSERT_THAT(add, EndsWithCode(0));
  EXPECT_EQ(add.out, "42\n");
}

TEST_F(WalkTest, FollowsEventsWhileTheyHappen) {
  auto follow = daemon().StartClient({"events", "--follow", "-o", "json"});
  ASSERT_TRUE(follow.ok()) << follow.status();
  // Whether it follows yet cannot be seen, so runs go on until one is seen.
  const std::string file = ModuleFile(ExitsWithErrnoOfRandomGet());
  EXPECT_TRUE(
      Eventually(kPatience,
                 [&] {
                   EXPECT_THAT(Client({"run", file, "--policy", "no-random"}),
                               EndsWithCode(63));
                   return (*follow)
                       ->WaitForOutput("dice-are-out", absl::ZeroDuration())
                       .ok();
                 }))
      << (*follow)->out() << (*follow)->err();
  (*follow)->Signal(SIGTERM);
  EXPECT_TRUE((*follow)->Wait(kPatience).ok());
}

TEST_F(WalkTest, EverySeriesHasItsPlaceOnThePage) {
  ASSERT_THAT(Client({"run", ModuleFile(Says("x")), "--policy", "open"}),
              EndsWithCode(0));
  EXPECT_GT(
      daemon().Metric(
          R"(callgate_invocations_total{tenant="default",outcome="returned"})"),
      0);
  EXPECT_GT(
      daemon().Metric(
          R"(callgate_fuel_consumed_total{tenant="default",kind="guest"})"),
      0);
  EXPECT_GT(
      daemon().Metric(
          R"(callgate_module_admissions_total{result="admitted",reason="none"})"),
      0);
  EXPECT_TRUE(daemon().Healthy());
}

}  // namespace
}  // namespace callgate::e2e
