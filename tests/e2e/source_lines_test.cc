// A C program's trap names its source lines to the client, in the events and
// after a restart, when its code comes from the cache.

#include <signal.h>
#include <stdlib.h>

#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "tests/e2e/with_daemon.h"

namespace callgate::e2e {
namespace {

using ::testing::AllOf;
using ::testing::ContainsRegex;
using ::testing::HasSubstr;
using ::testing::Not;

std::string Guest(absl::string_view name) {
  return absl::StrCat(getenv("TEST_SRCDIR"), "/", getenv("TEST_WORKSPACE"),
                      "/runtime/native/", name, ".wasm");
}

class SourceLinesTest : public testing::Test {
 protected:
  void Start() {
    DaemonSetup setup;
    setup.data = scratch_.Path("data");
    auto daemon = DaemonUnderTest::Start(setup);
    ASSERT_TRUE(daemon.ok()) << daemon.status();
    daemon_ = *std::move(daemon);
  }

  Finished Outer(const std::string& module, bool json = false) {
    std::vector<std::string> arguments = {"run",   module,     "--policy",
                                          policy_, "--invoke", "outer"};
    if (json) arguments.emplace_back("--json");
    arguments.insert(arguments.end(), {"--", "4", "5"});
    return daemon_->Client(arguments);
  }

  const ScratchDir scratch_;
  const std::string policy_ = scratch_.Write("open.yaml", kOpenPolicy);
  std::unique_ptr<DaemonUnderTest> daemon_;
};

constexpr char kLines[] =
    "callgate: trap: integer divide by zero\n"
    "  #0 func [0-9]+ \\(divide\\) in runtime/native/testdata/traps.c:13:12 "
    "at 0x[0-9a-f]+\n"
    "  #1 func [0-9]+ \\(outer\\) in runtime/native/testdata/traps.c:18:10 "
    "at 0x[0-9a-f]+\n";

TEST_F(SourceLinesTest, AreShownAndKept) {
  Start();
  ASSERT_NE(daemon_, nullptr);
  const Finished push =
      daemon_->Client({"module", "push", Guest("traps_with_lines")});
  ASSERT_THAT(push, EndsWithCode(0));
  const std::string digest(absl::StripSuffix(push.out, "\n"));
  EXPECT_THAT(daemon_->Client({"module", "show", digest}).out,
              ContainsRegex("source lines +known"));

  const Finished run = Outer(digest);
  EXPECT_THAT(run, EndsWithCode(134));
  EXPECT_THAT(run.err, ContainsRegex(kLines));
  EXPECT_THAT(Outer(digest, /*json=*/true).out,
              HasSubstr(R"("file":"runtime/native/testdata/traps.c",)"
                        R"("line":18,"column":10)"));
  EXPECT_THAT(daemon_->Client({"events", "-o", "json"}).out,
              HasSubstr(R"("source":"runtime/native/testdata/traps.c:13:12")"));

  // What runs now is read from the disk.
  daemon_->process().Signal(SIGTERM);
  ASSERT_TRUE(daemon_->process().Wait(kPatience).ok());
  Start();
  ASSERT_NE(daemon_, nullptr);
  const Finished again = Outer(digest);
  EXPECT_THAT(again, EndsWithCode(134));
  EXPECT_THAT(again.err, ContainsRegex(kLines));
  EXPECT_GE(
      daemon_->Metric(R"(callgate_code_cache_lookups_total{result="hit"})"), 1);
  EXPECT_THAT(daemon_->Client({"module", "show", digest}).out,
              ContainsRegex("source lines +known"));
}

TEST_F(SourceLinesTest, AreNotInventedForAModuleWithoutThem) {
  Start();
  ASSERT_NE(daemon_, nullptr);
  const std::string module = Guest("traps_without_lines");
  const Finished run = Outer(module);
  EXPECT_THAT(run, EndsWithCode(134));
  EXPECT_THAT(run.err,
              AllOf(HasSubstr("(divide) at 0x"), Not(HasSubstr("traps.c"))));
  const Finished push = daemon_->Client({"module", "push", module});
  const std::string digest(absl::StripSuffix(push.out, "\n"));
  EXPECT_THAT(daemon_->Client({"module", "show", digest}).out,
              ContainsRegex("source lines +not known"));
}

}  // namespace
}  // namespace callgate::e2e
