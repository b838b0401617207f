// The C program and the policy that ./deploy/quickstart shows, without the
// building around them.

#include <stdlib.h>

#include <string>

#include "absl/strings/str_cat.h"
#include "tests/e2e/with_daemon.h"

namespace callgate::e2e {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::StartsWith;

std::string Runfile(absl::string_view path) {
  return absl::StrCat(getenv("TEST_SRCDIR"), "/", getenv("TEST_WORKSPACE"), "/",
                      path);
}

class QuickstartGuestTest : public WithDaemon {
 protected:
  // A fresh copy of the log in a directory that the daemon gives away.
  static std::string LogDirectory(const std::string& name) {
    scratch().Copy(Runfile("deploy/quickstart.d/access.log"),
                   absl::StrCat("allowed/", name, "/access.log"));
    return scratch().Path(absl::StrCat("allowed/", name));
  }

  static Finished RunIn(const std::string& directory,
                        const std::string& policy) {
    return Client({"run", Runfile("tests/e2e/log_report.wasm"), "--policy",
                   policy, "--dir", absl::StrCat(directory, "::/logs"), "--",
                   "/logs/access.log"});
  }
};

TEST_F(QuickstartGuestTest, DoesItsJobAndIsRefusedTheRest) {
  const std::string directory = LogDirectory("guarded");
  const Finished run =
      RunIn(directory, Runfile("deploy/quickstart.d/log_report.policy.yaml"));
  EXPECT_THAT(run, EndsWithCode(0));
  EXPECT_EQ(run.out,
            "10 requests, 4 failed, 24277 bytes\n"
            "busiest: /login (4)\n"
            "could not delete /logs/access.log: Operation not permitted\n");
  EXPECT_THAT(run.err, AllOf(StartsWith("callgate: denied "),
                             HasSubstr("path_unlink_file"),
                             HasSubstr("log-report/keep-the-evidence")));
  EXPECT_TRUE(ReadWholeFile(absl::StrCat(directory, "/access.log")).ok());
  EXPECT_EQ(
      daemon().Metric("callgate_rule_matches_total{policy=\"log-report\","
                      "rule=\"keep-the-evidence\",severity=\"error\","
                      "verdict=\"deny\",mode=\"enforce\",tenant=\"default\"}"),
      1);
}

// The same program under a policy that does not mind: the refusal above was the
// policy's work.
TEST_F(QuickstartGuestTest, WouldDeleteTheLog) {
  const std::string directory = LogDirectory("open");
  const Finished run = RunIn(directory, "open");
  EXPECT_THAT(run, EndsWithCode(0));
  EXPECT_THAT(run.out, HasSubstr("/logs/access.log is gone"));
  EXPECT_FALSE(ReadWholeFile(absl::StrCat(directory, "/access.log")).ok());
}

}  // namespace
}  // namespace callgate::e2e
