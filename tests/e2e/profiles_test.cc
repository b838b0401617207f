// What is usual of a module: learned from runs, shown, approved, and still
// there when the daemon was killed.

#include <signal.h>

#include <memory>
#include <string>

#include "absl/strings/match.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"
#include "absl/time/clock.h"
#include "tests/e2e/with_daemon.h"

namespace callgate::e2e {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

constexpr char kPolicy[] = R"yaml(
api_version: callgate.policy/v1
kind: Policy
metadata: { name: watched }
include: [wasi-preview1-base]
anomaly:
  - id: call-shape
    learning: { min_calls: 2, min_runs: 2 }
    thresholds:
      - { when: 'score.strange >= 1', action: alert }
)yaml";

class ProfilesTest : public testing::Test {
 protected:
  std::unique_ptr<DaemonUnderTest> Start() {
    DaemonSetup setup;
    setup.data = scratch_.Path("data");
    auto daemon = DaemonUnderTest::Start(setup);
    EXPECT_TRUE(daemon.ok()) << daemon.status();
    return daemon.ok() ? *std::move(daemon) : nullptr;
  }
  // A Store teaches when it is gone, which is a little after its run.
  static bool ComesToSay(DaemonUnderTest& daemon, absl::string_view text) {
    const absl::Time end = absl::Now() + absl::Seconds(30);
    while (absl::Now() < end) {
      if (absl::StrContains(daemon.Client({"profile", "ls"}).out, text)) {
        return true;
      }
    }
    return false;
  }

  const ScratchDir scratch_;
};

TEST_F(ProfilesTest, AreLearnedApprovedAndKept) {
  const std::string hello = scratch_.Write("hello.wasm", Says("hello\n"));
  const std::string policy = scratch_.Write("policy.yaml", kPolicy);
  auto daemon = Start();
  ASSERT_NE(daemon, nullptr);
  const Finished push = daemon->Client({"module", "push", hello});
  ASSERT_THAT(push, EndsWithCode(0));
  const std::string digest(absl::StripSuffix(push.out, "\n"));
  ASSERT_THAT(daemon->Client({"policy", "apply", policy}), EndsWithCode(0));
  EXPECT_THAT(daemon->Client({"profile", "show", digest}).err,
              HasSubstr("has no profile"));

  for (int i = 0; i < 4; ++i) {
    ASSERT_THAT(daemon->Client({"run", hello, "--policy", "watched"}),
                EndsWithCode(0));
  }
  ASSERT_TRUE(ComesToSay(*daemon, "stable"));

  const Finished show = daemon->Client({"profile", "show", digest, "--ngrams"});
  ASSERT_THAT(show, EndsWithCode(0));
  EXPECT_THAT(show.out, HasSubstr("  wasi_snapshot_preview1.fd_write\n"));
  EXPECT_THAT(show.out, HasSubstr("begin begin begin begin begin "
                                  "wasi_snapshot_preview1.fd_write@"));

  const std::string learned = scratch_.Path("learned.yaml");
  ASSERT_THAT(daemon->Client({"policy", "learn", digest, "-o", learned}),
              EndsWithCode(0));
  const Finished printed = daemon->Client({"policy", "learn", digest});
  EXPECT_THAT(printed.out,
              HasSubstr("  - { import: \"wasi_snapshot_preview1.fd_write\", "
                        "action: allow }\n"));
  // It brings tests, and they pass.
  EXPECT_THAT(printed.out, HasSubstr("tests:\n"));
  EXPECT_THAT(daemon->Client({"policy", "check", learned}), EndsWithCode(0));
  EXPECT_THAT(daemon->Client({"policy", "test", learned}), EndsWithCode(0));

  EXPECT_THAT(daemon->Client({"profile", "diff", digest, digest}).out,
              HasSubstr("0 only in the first, 0 only in the second, "));
  EXPECT_THAT(daemon->Client({"profile", "rm-run", digest, "99"}),
              Not(EndsWithCode(0)));
  EXPECT_THAT(
      daemon->Client({"profile", "approve", digest, "--version", "none"}).err,
      HasSubstr("look at it again"));
  const Finished approved = daemon->Client({"profile", "approve", digest});
  ASSERT_THAT(approved, EndsWithCode(0));
  EXPECT_THAT(approved.out, HasSubstr("approved, "));

  // The last acknowledged write is one instruction before the signal.
  daemon->process().Signal(SIGKILL);
  ASSERT_TRUE(daemon->process().Wait(kPatience).ok());
  daemon = Start();
  ASSERT_NE(daemon, nullptr);
  EXPECT_THAT(daemon->Client({"profile", "ls"}).out, HasSubstr("approved"));
  // It judges, and finds nothing in what it knows.
  ASSERT_THAT(daemon->Client({"run", hello, "--policy", "watched"}),
              EndsWithCode(0));
  EXPECT_THAT(daemon->Client({"events", "--min-severity", "warning"}).out,
              Not(HasSubstr("call-shape")));
  ASSERT_THAT(daemon->Client({"profile", "freeze", digest}), EndsWithCode(0));
  ASSERT_THAT(daemon->Client({"profile", "rm", digest}), EndsWithCode(0));
  EXPECT_THAT(daemon->Client({"profile", "ls"}).out, Not(HasSubstr("sha256")));
}

}  // namespace
}  // namespace callgate::e2e
