#include "server/surge_rollback.h"

#include <stdlib.h>

#include <memory>
#include <string>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/metrics/metrics.h"
#include "server/storage/sqlite_catalogue.h"

namespace callgate {
namespace {

using policies::PolicyCatalogue;
using testing::HasSubstr;

std::string Text(const std::string& name, int fuel, const char* more = "") {
  return absl::StrCat(
      "api_version: callgate.policy/v1\nkind: Policy\nmetadata: { name: ", name,
      " }\nbudgets: { fuel_per_call: ", fuel, " }\n", more);
}

class SurgeRollbackTest : public testing::Test {
 protected:
  void SetUp() override {
    std::string folder = testing::TempDir() + "/surgeXXXXXX";
    ASSERT_NE(mkdtemp(&folder[0]), nullptr);
    storage_ =
        *storage::SqliteCatalogue::Open(folder + "/catalogue.db", {}, nullptr);
    policies_ = *PolicyCatalogue::Open({"", nullptr,
                                        [this] {
                                          if (surge_ != nullptr)
                                            surge_->NoteSwap(now_);
                                        }},
                                       *storage_, events_, metrics_);
  }
  void Watch() {
    surge_ = std::make_unique<SurgeRollback>(DenialSurge::Options(), *policies_,
                                             events_);
  }
  void Apply(const std::string& text) {
    const auto applied = policies_->Apply({text, "p.yaml", false, "", {}});
    ASSERT_TRUE(applied.ok()) << applied.status();
    ASSERT_TRUE(applied->check.problems.empty())
        << applied->check.problems[0].ToString();
  }
  void Surge(const std::string& policy) {
    for (int i = 0; i < 90; ++i) {
      surge_->denials().NoteDenial(policy, absl::StrCat("t", i % 3),
                                   absl::StrCat("m", i % 3), now_);
    }
    surge_->Check(now_);
  }
  std::string Source(const std::string& name) {
    return policies_->Get(name)->source;
  }

  absl::Time now_ = absl::FromUnixSeconds(1'000'000);
  metrics::Metrics metrics_{metrics::MetricsOptions()};
  events::EventLog events_{events::EventLogOptions()};
  std::unique_ptr<storage::SqliteCatalogue> storage_;
  std::unique_ptr<PolicyCatalogue> policies_;
  std::unique_ptr<SurgeRollback> surge_;
};

TEST_F(SurgeRollbackTest, UndoesAChangeThatDeniesMany) {
  Apply(Text("web", 1));
  Watch();
  Apply(Text("web", 2));
  Surge("web");
  EXPECT_EQ(Source("web"), Text("web", 1));
  const auto history = policies_->History("web");
  EXPECT_EQ(history->front().record.origin, storage::PolicyOrigin::kSurge);
  EXPECT_EQ(history->front().record.author, "callgated");
  EXPECT_THAT(history->front().record.comment, HasSubstr("3 tenants"));
  EXPECT_THAT(
      metrics_.Text(),
      HasSubstr(R"(callgate_policy_rollbacks_total{reason="surge"} 1)"));
  // And leaves it there, whatever happens now.
  Surge("web");
  EXPECT_EQ(Source("web"), Text("web", 1));
}

TEST_F(SurgeRollbackTest, LeavesWhatAnOperatorWentBackTo) {
  Apply(Text("web", 1));
  Apply(Text("web", 2));
  Watch();
  PolicyCatalogue::RollbackRequest request;
  request.name = "web";
  ASSERT_TRUE(policies_->Rollback(request).ok());
  Surge("web");
  EXPECT_EQ(Source("web"), Text("web", 1));
}

TEST_F(SurgeRollbackTest, LeavesANewPolicy) {
  Watch();
  Apply(Text("web", 1));
  Surge("web");
  EXPECT_EQ(Source("web"), Text("web", 1));
}

TEST_F(SurgeRollbackTest, UndoesTheIncludedPolicyThatDidIt) {
  Apply(Text("base", 1));
  Apply(Text("web", 5, "include: [base]\n"));
  Watch();
  Apply(Text("base", 2));
  Surge("web");
  EXPECT_EQ(Source("base"), Text("base", 1));
  EXPECT_EQ(Source("web"), Text("web", 5, "include: [base]\n"));
}

}  // namespace
}  // namespace callgate
