// A test suite that shares one daemon and one scratch directory.

#ifndef CALLGATE_TESTS_E2E_WITH_DAEMON_H_
#define CALLGATE_TESTS_E2E_WITH_DAEMON_H_

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "tests/e2e/daemon_under_test.h"
#include "tests/e2e/guests.h"
#include "tests/e2e/scratch_dir.h"

namespace callgate::e2e {

// The suite's daemon starts with the policies of guests.h in --policy-dir and
// the scratch directory's "allowed" as its only --allow-dir.
class WithDaemon : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    scratch_ = new ScratchDir;
    scratch_->Write("policies/open.yaml", kOpenPolicy);
    scratch_->Write("policies/no-random.yaml", kNoRandomPolicy);
    scratch_->Write("policies/no-sending.yaml", kQuarantinePolicy);
    DaemonSetup setup;
    setup.data = scratch_->Path("data");
    setup.policy_dir = scratch_->Path("policies");
    setup.allow_dirs = {scratch_->MakeDir("allowed")};
    setup.alerts = scratch_->Path("alerts.jsonl");
    auto daemon = DaemonUnderTest::Start(setup);
    ASSERT_TRUE(daemon.ok()) << daemon.status();
    daemon_ = daemon->release();
  }

  static void TearDownTestSuite() {
    delete daemon_;
    daemon_ = nullptr;
    delete scratch_;
    scratch_ = nullptr;
  }

  void SetUp() override { ASSERT_NE(daemon_, nullptr); }

  static DaemonUnderTest& daemon() { return *daemon_; }
  static const ScratchDir& scratch() { return *scratch_; }

  // Writes a module to a file of its own; returns the path.
  static std::string ModuleFile(absl::string_view bytes) {
    static int count = 0;
    return scratch_->Write(absl::StrCat("modules/", ++count, ".wasm"), bytes);
  }

  static Finished Client(std::vector<std::string> arguments,
                         std::string stdin_bytes = "") {
    return daemon_->Client(std::move(arguments), kPatience,
                           std::move(stdin_bytes));
  }

 private:
  static inline DaemonUnderTest* daemon_ = nullptr;
  static inline ScratchDir* scratch_ = nullptr;
};

// For messages of failed expectations.
inline void PrintTo(const Finished& finished, std::ostream* out) {
  *out << "exit code " << finished.exit_code
       << (finished.timed_out ? " (timed out)" : "") << "\nstdout:\n"
       << finished.out << "\nstderr:\n"
       << finished.err;
}

// EXPECT_THAT(Client({…}), EndsWithCode(0));
MATCHER_P(EndsWithCode, code, "") { return arg.exit_code == code; }

}  // namespace callgate::e2e

#endif  // CALLGATE_TESTS_E2E_WITH_DAEMON_H_
