// Policies that change while the daemon runs: files that change by themselves,
// guests that run meanwhile, versions that are kept, and the way back.

#include <signal.h>
#include <unistd.h>

#include <cstdio>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "tests/e2e/with_daemon.h"

namespace callgate::e2e {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

// `random`: what is said of random_get.
std::string Policy(absl::string_view random) {
  return absl::StrCat(
      "api_version: callgate.policy/v1\nkind: Policy\n"
      "metadata: { name: changing }\ninclude: [wasi-preview1-base]\n"
      "imports:\n"
      "  - { id: random, import: wasi_snapshot_preview1.random_get, ",
      random, " }\n");
}
std::string Denying(int guest_errno) {
  return Policy(absl::StrCat("action: deny, guest_errno: ", guest_errno));
}
std::string Allowing() { return Policy("action: allow"); }

class PolicyVersionsTest : public testing::Test {
 protected:
  void SetUp() override {
    scratch_.MakeDir("policies");
    setup_.data = scratch_.Path("data");
    setup_.policy_dir = scratch_.Path("policies");
  }

  void Start() {
    daemon_ = nullptr;
    auto daemon = DaemonUnderTest::Start(setup_);
    ASSERT_TRUE(daemon.ok()) << daemon.status();
    daemon_ = *std::move(daemon);
  }
  void Kill() {
    daemon_->process().Signal(SIGKILL);
    ASSERT_TRUE(daemon_->process().Wait(kPatience).ok());
  }
  // As editors do it: all of the text at once.
  void WriteFile(const std::string& name, const std::string& text) {
    const std::string beside = scratch_.Write(absl::StrCat("new-", name), text);
    ASSERT_EQ(rename(beside.c_str(),
                     scratch_.Path(absl::StrCat("policies/", name)).c_str()),
              0);
  }
  bool EventuallyReloaded(double success) {
    return Eventually(kPatience, [&] {
      return daemon_->Metric("callgate_policy_last_reload_success") == success;
    });
  }
  // A guest that runs until what it does is denied.
  std::unique_ptr<Process> StartGuest() {
    auto run = daemon_->StartClient(
        {"run", scratch_.Write("asks.wasm", AsksForRandomUntilDenied()),
         "--policy", "changing"});
    EXPECT_TRUE(run.ok()) << run.status();
    EXPECT_TRUE((*run)->WaitForOutput("begun", kPatience).ok())
        << (*run)->err();
    return *std::move(run);
  }

  const ScratchDir scratch_;
  DaemonSetup setup_;
  std::unique_ptr<DaemonUnderTest> daemon_;
};

TEST_F(PolicyVersionsTest, AFileThatChangesStopsAGuestThatRuns) {
  WriteFile("changing.yaml", Allowing());
  Start();
  const std::unique_ptr<Process> guest = StartGuest();
  WriteFile("changing.yaml", Denying(63));
  const auto ended = guest->Wait(kPatience);
  ASSERT_TRUE(ended.ok()) << ended.status();
  EXPECT_EQ(ended->code, 63) << guest->err();
  EXPECT_THAT(guest->err(), HasSubstr("random"));
  EXPECT_EQ(daemon_->Metric(
                "callgate_policy_store_updates_total{result=\"replaced\"}"),
            1);
  EXPECT_THAT(daemon_->Client({"policy", "history", "changing"}).out,
              AllOf(HasSubstr("2*"), HasSubstr("changing.yaml")));
}

// As Kubernetes changes a ConfigMap.
TEST_F(PolicyVersionsTest, SoDoesALinkThatIsSwapped) {
  scratch_.Write("policies/..1/changing.yaml", Allowing());
  scratch_.Write("policies/..2/changing.yaml", Denying(64));
  const auto link = [this](const char* to, const char* name) {
    EXPECT_EQ(symlink(to, scratch_.Path(name).c_str()), 0);
  };
  link("..1", "policies/..data");
  link("..data/changing.yaml", "policies/changing.yaml");
  Start();
  const std::unique_ptr<Process> guest = StartGuest();
  link("..2", "policies/..data_tmp");
  ASSERT_EQ(rename(scratch_.Path("policies/..data_tmp").c_str(),
                   scratch_.Path("policies/..data").c_str()),
            0);
  const auto ended = guest->Wait(kPatience);
  ASSERT_TRUE(ended.ok()) << ended.status();
  EXPECT_EQ(ended->code, 64) << guest->err();
}

TEST_F(PolicyVersionsTest, SoDoesAnAppliedPolicy) {
  Start();
  const std::string file = scratch_.Write("mine.yaml", Allowing());
  ASSERT_THAT(daemon_->Client({"policy", "apply", file}), EndsWithCode(0));
  const std::unique_ptr<Process> guest = StartGuest();
  scratch_.Write("mine.yaml", Denying(65));
  ASSERT_THAT(daemon_->Client({"policy", "apply", file}), EndsWithCode(0));
  const auto ended = guest->Wait(kPatience);
  ASSERT_TRUE(ended.ok()) << ended.status();
  EXPECT_EQ(ended->code, 65) << guest->err();
}

TEST_F(PolicyVersionsTest, AFileThatIsWrongChangesNothing) {
  WriteFile("changing.yaml", Allowing());
  Start();
  WriteFile("changing.yaml", Policy("action: alow"));
  ASSERT_TRUE(EventuallyReloaded(0));
  const std::string module =
      scratch_.Write("m.wasm", ExitsWithErrnoOfRandomGet());
  const std::vector<std::string> run = {"run", module, "--policy", "changing"};
  EXPECT_THAT(daemon_->Client(run), EndsWithCode(0));
  EXPECT_THAT(
      daemon_->Client({"events"}).out,
      AllOf(HasSubstr("policy_file_refused"), HasSubstr("changing.yaml:6")));
  const Finished reload = daemon_->Client({"policy", "reload"});
  EXPECT_THAT(reload, EndsWithCode(78));
  EXPECT_THAT(reload.err, HasSubstr("changing.yaml:6"));
  // Nor when the daemon is killed meanwhile.
  Kill();
  Start();
  EXPECT_THAT(daemon_->Client(run), EndsWithCode(0));
  WriteFile("changing.yaml", Denying(63));
  ASSERT_TRUE(EventuallyReloaded(1));
  EXPECT_THAT(daemon_->Client(run), EndsWithCode(63));
  EXPECT_THAT(daemon_->Client({"policy", "reload"}), EndsWithCode(0));
}

TEST_F(PolicyVersionsTest, AStoreWithoutAPolicyRefusesCalls) {
  WriteFile("changing.yaml", Allowing());
  Start();
  const Finished made =
      daemon_->Client({"store", "create", scratch_.Write("l.wasm", Library()),
                       "--policy", "changing"});
  ASSERT_THAT(made, EndsWithCode(0));
  const std::string id(absl::StripSuffix(made.out, "\n"));
  const std::vector<std::string> call = {"store", "call", id, "add", "1", "2"};
  EXPECT_EQ(daemon_->Client(call).out, "3\n");
  ASSERT_EQ(unlink(scratch_.Path("policies/changing.yaml").c_str()), 0);
  EXPECT_TRUE(Eventually(kPatience,
                         [&] { return daemon_->Client(call).exit_code != 0; }));
  EXPECT_THAT(daemon_->Client(call).err, HasSubstr("\"changing\""));
  EXPECT_THAT(daemon_->Client({"events"}).out,
              HasSubstr("store_without_policy"));
  WriteFile("changing.yaml", Allowing());
  EXPECT_TRUE(Eventually(kPatience,
                         [&] { return daemon_->Client(call).exit_code == 0; }));
}

TEST_F(PolicyVersionsTest, HistoryAndRollbackSurviveKill) {
  Start();
  const std::string first = scratch_.Write("first.yaml", Denying(61));
  const std::string second = scratch_.Write("second.yaml", Denying(62));
  ASSERT_THAT(daemon_->Client({"policy", "apply", first, "--comment", "CHG-1"}),
              EndsWithCode(0));
  ASSERT_THAT(
      daemon_->Client({"policy", "apply", second, "--comment", "CHG-2"}),
      EndsWithCode(0));
  Kill();
  Start();
  EXPECT_THAT(daemon_->Client({"policy", "history", "changing"}).out,
              AllOf(HasSubstr("2*"), HasSubstr("CHG-1"), HasSubstr("CHG-2")));
  EXPECT_EQ(daemon_->Client({"policy", "show", "changing@1"}).out, Denying(61));
  const Finished diff =
      daemon_->Client({"policy", "diff", "changing@1", "changing"});
  EXPECT_THAT(diff, EndsWithCode(1));
  EXPECT_EQ(diff.out, "~ imports[random].guest_errno: 61 -> 62\n");
  EXPECT_THAT(daemon_->Client({"policy", "diff", "changing@2", second}),
              EndsWithCode(0));

  const std::string module =
      scratch_.Write("m.wasm", ExitsWithErrnoOfRandomGet());
  const std::vector<std::string> run = {"run", module, "--policy", "changing"};
  EXPECT_THAT(daemon_->Client(run), EndsWithCode(62));
  ASSERT_THAT(daemon_->Client({"policy", "rollback", "changing", "--comment",
                               "too strict"}),
              EndsWithCode(0));
  Kill();
  Start();
  EXPECT_THAT(daemon_->Client(run), EndsWithCode(61));
  EXPECT_THAT(daemon_->Client({"policy", "history", "changing"}).out,
              AllOf(HasSubstr("3*"), HasSubstr("rollback"),
                    HasSubstr("back to version 1: too strict")));
  const Finished nothing =
      daemon_->Client({"policy", "rollback", "changing", "99"});
  EXPECT_THAT(nothing, Not(EndsWithCode(0)));
  EXPECT_THAT(nothing.err, HasSubstr("its history has 3"));
}

// By the client: what is enforced, and whether it is there at all.
TEST_F(PolicyVersionsTest, ModesAndRemovalSurviveKill) {
  Start();
  const std::string file = scratch_.Write("mine.yaml", Denying(61));
  ASSERT_THAT(daemon_->Client({"policy", "apply", file, "--mode", "audit"}),
              EndsWithCode(0));
  EXPECT_THAT(daemon_->Client({"policy", "apply", file, "--mode", "maybe"}),
              EndsWithCode(64));
  const std::string module =
      scratch_.Write("m.wasm", ExitsWithErrnoOfRandomGet());
  const std::vector<std::string> run = {"run", module, "--policy", "changing"};
  EXPECT_THAT(daemon_->Client(run), EndsWithCode(0));
  EXPECT_THAT(daemon_->Client({"policy", "mode", "changing", "enforce"}).out,
              HasSubstr("audit: it was loaded with that option"));
  ASSERT_THAT(daemon_->Client({"policy", "apply", file}), EndsWithCode(0));
  EXPECT_THAT(daemon_->Client(run), EndsWithCode(61));
  EXPECT_THAT(daemon_->Client({"policy", "mode", "changing", "audit",
                               "--comment", "CHG-9"}),
              EndsWithCode(0));
  EXPECT_THAT(daemon_->Client({"policy", "mode", "changing", "off"}),
              EndsWithCode(64));
  Kill();
  Start();
  EXPECT_THAT(daemon_->Client(run), EndsWithCode(0));
  EXPECT_THAT(daemon_->Client({"policy", "ls"}).out, HasSubstr("audit"));
  EXPECT_THAT(daemon_->Client({"policy", "mode", "changing", "enforce"}),
              EndsWithCode(0));
  EXPECT_THAT(daemon_->Client(run), EndsWithCode(61));

  const Finished made =
      daemon_->Client({"store", "create", scratch_.Write("l.wasm", Library()),
                       "--policy", "changing"});
  ASSERT_THAT(made, EndsWithCode(0));
  const std::string id(absl::StripSuffix(made.out, "\n"));
  for (const char* verb : {"deactivate", "rm"}) {
    const Finished used = daemon_->Client({"policy", verb, "changing"});
    EXPECT_THAT(used, EndsWithCode(78));
    EXPECT_THAT(used.err, HasSubstr(id));
  }
  const Finished out =
      daemon_->Client({"policy", "deactivate", "changing", "--force"});
  EXPECT_THAT(out, EndsWithCode(0));
  EXPECT_THAT(out.out, HasSubstr(absl::StrCat("taken from ", id)));
  Kill();
  Start();
  EXPECT_THAT(daemon_->Client({"policy", "ls"}).out, HasSubstr("inactive"));
  EXPECT_THAT(daemon_->Client(run), EndsWithCode(78));
  EXPECT_THAT(daemon_->Client({"policy", "activate", "changing"}),
              EndsWithCode(0));
  EXPECT_THAT(daemon_->Client(run), EndsWithCode(61));
  EXPECT_THAT(daemon_->Client({"policy", "rm", "changing"}), EndsWithCode(0));
  Kill();
  Start();
  EXPECT_THAT(daemon_->Client({"policy", "ls"}).out,
              Not(HasSubstr("changing")));
  EXPECT_THAT(daemon_->Client({"policy", "rollback", "changing", "1"}),
              EndsWithCode(0));
  EXPECT_THAT(daemon_->Client(run), EndsWithCode(61));
}

TEST_F(PolicyVersionsTest, AFileIsHeldBackAcrossKill) {
  WriteFile("changing.yaml", Denying(61));
  Start();
  const std::string module =
      scratch_.Write("m.wasm", ExitsWithErrnoOfRandomGet());
  const std::vector<std::string> run = {"run", module, "--policy", "changing"};
  WriteFile("changing.yaml", Denying(62));
  EXPECT_TRUE(Eventually(kPatience,
                         [&] { return daemon_->Client(run).exit_code == 62; }));
  const Finished back = daemon_->Client({"policy", "rollback", "changing"});
  EXPECT_THAT(back, EndsWithCode(0));
  EXPECT_THAT(back.out, HasSubstr("held back"));
  EXPECT_THAT(daemon_->Client({"policy", "ls"}).out, HasSubstr("held back"));
  EXPECT_THAT(daemon_->Client(run), EndsWithCode(61));
  Kill();
  Start();
  EXPECT_THAT(daemon_->Client(run), EndsWithCode(61));
  EXPECT_EQ(daemon_->Metric("callgate_policy_last_reload_success"), 0);
  WriteFile("changing.yaml", Denying(63));
  ASSERT_TRUE(EventuallyReloaded(1));
  EXPECT_THAT(daemon_->Client(run), EndsWithCode(63));
}

}  // namespace
}  // namespace callgate::e2e
