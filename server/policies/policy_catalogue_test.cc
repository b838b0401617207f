#include "server/policies/policy_catalogue.h"

#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <fstream>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/storage/sqlite_catalogue.h"

namespace callgate::policies {
namespace {

using testing::AllOf;
using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

constexpr char kBuiltInName[] = "wasi-preview1-base";

std::string Text(const std::string& name, const std::string& more = "") {
  return absl::StrCat(
      "api_version: callgate.policy/v1\nkind: Policy\nmetadata:\n  name: ",
      name, "\nimports:\n  - { id: rule-of-", name,
      ", import: env.log, action: allow }\n", more);
}

std::string Including(const std::string& name, const std::string& included) {
  return Text(name, absl::StrCat("include: [", included, "]\n"));
}

class PolicyCatalogueTest : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = testing::TempDir() + "/catalogueXXXXXX";
    ASSERT_NE(mkdtemp(&folder_[0]), nullptr);
    directory_ = folder_ + "/policies";
    ASSERT_EQ(mkdir(directory_.c_str(), 0700), 0);
    OpenStorage({});
    Open();
  }

  void OpenStorage(const storage::CatalogueLimits& limits) {
    policies_ = nullptr;
    storage_ = nullptr;
    auto storage = storage::SqliteCatalogue::Open(folder_ + "/catalogue.db",
                                                  limits, nullptr);
    ASSERT_TRUE(storage.ok()) << storage.status();
    storage_ = *std::move(storage);
  }

  // As a daemon that starts.
  void Open() {
    policies_ = nullptr;
    auto policies = PolicyCatalogue::Open({directory_, nullptr, nullptr},
                                          *storage_, events_, metrics_);
    ASSERT_TRUE(policies.ok()) << policies.status();
    policies_ = *std::move(policies);
  }

  void Write(const std::string& name, const std::string& text) {
    std::ofstream(directory_ + "/" + name) << text;
  }
  void Remove(const std::string& name) {
    ASSERT_EQ(unlink((directory_ + "/" + name).c_str()), 0);
  }

  // "" for success, otherwise the status or the first problem.
  std::string Apply(const std::string& source, const std::string& etag = "",
                    bool validate_only = false,
                    const std::string& file_name = "given.yaml") {
    last_ = policies_->Apply({source, file_name, validate_only, etag, {}});
    if (!last_.ok()) return last_.status().ToString();
    return last_->check.problems.empty()
               ? ""
               : last_->check.problems.front().ToString();
  }

  std::vector<std::string> InForce() const {
    std::vector<std::string> names;
    for (const auto& policy : policies_->current()->policies()) {
      names.push_back(policy->name());
    }
    return names;
  }

  std::string VersionOf(const std::string& name) const {
    const auto policy = policies_->current()->Find(name);
    return policy == nullptr ? "" : policy->version();
  }

  // "action policy: message" of the events since the last look.
  std::vector<std::string> Events() {
    std::vector<std::string> shown;
    events::EventLog::Start start;
    start.after = seen_;
    const auto reader = events_.Subscribe({}, start, events::kSinkWatch);
    EXPECT_TRUE(reader.ok()) << reader.status();
    while (const auto item = (*reader)->Next(absl::InfinitePast())) {
      shown.push_back(absl::StrCat(item->event->action(), " ",
                                   item->event->policy(), ": ",
                                   item->event->message()));
      EXPECT_EQ(item->event->kind(), v1::EVENT_KIND_POLICY);
    }
    seen_ = events_.newest();
    return shown;
  }

  std::string folder_;
  std::string directory_;
  metrics::Metrics metrics_{metrics::MetricsOptions()};
  events::EventLog events_{events::EventLogOptions()};
  events::Position seen_ = events_.newest();
  std::unique_ptr<storage::SqliteCatalogue> storage_;
  std::unique_ptr<PolicyCatalogue> policies_;
  absl::StatusOr<PolicyCatalogue::ApplyResult> last_{
      PolicyCatalogue::ApplyResult()};
};

TEST_F(PolicyCatalogueTest, BeginsWithNothingInForce) {
  EXPECT_THAT(InForce(), IsEmpty());
  const std::vector<PolicyView> list = policies_->List(10, "");
  ASSERT_EQ(list.size(), 1u);
  EXPECT_EQ(list[0].name, kBuiltInName);
  EXPECT_EQ(list[0].origin, Origin::kBuiltIn);
  EXPECT_THAT(metrics_.Text(),
              HasSubstr("callgate_policy_last_reload_success 1\n"));
}

TEST_F(PolicyCatalogueTest, PutsAnAppliedPolicyInForceAndKeepsIt) {
  EXPECT_EQ(Apply(Text("a")), "");
  EXPECT_FALSE(last_->unchanged);
  EXPECT_EQ(last_->policy.version, VersionOf("a"));
  EXPECT_EQ(last_->check.version, VersionOf("a"));
  EXPECT_THAT(InForce(), ElementsAre("a"));
  EXPECT_THAT(Events(), ElementsAre("policy_applied a: in force now"));
  EXPECT_THAT(
      metrics_.Text(),
      HasSubstr(absl::StrCat("callgate_policy_info{policy=\"a\",version=\"",
                             VersionOf("a").substr(0, 12))));
  const std::string version = VersionOf("a");
  Open();
  EXPECT_EQ(VersionOf("a"), version);
  const auto policy = policies_->Get("a");
  ASSERT_TRUE(policy.ok()) << policy.status();
  EXPECT_EQ(policy->source, Text("a"));
  EXPECT_EQ(policy->origin, Origin::kApplied);
  EXPECT_EQ(policy->mode, "enforce");
}

TEST_F(PolicyCatalogueTest, KeepsTheFormatOfAnAppliedPolicy) {
  EXPECT_EQ(Apply(R"(api_version: "callgate.policy/v1" kind: "Policy"
                     metadata { name: "t" }
                     imports { import: "env.log" action: ACTION_ALLOW })",
                  "", false, "t.textproto"),
            "");
  Open();
  EXPECT_THAT(InForce(), ElementsAre("t"));
}

TEST_F(PolicyCatalogueTest, ReplacesAPolicyWhole) {
  ASSERT_EQ(Apply(Text("a")), "");
  const std::string first = VersionOf("a");
  const auto held = policies_->current();
  ASSERT_EQ(Apply(Text("a", "budgets: { fuel_per_call: 5 }\n")), "");
  EXPECT_NE(VersionOf("a"), first);
  // Who began with the old one goes on with it.
  EXPECT_EQ(held->Find("a")->version(), first);
  EXPECT_THAT(Events(),
              Contains("policy_applied a: in force in a new version"));
}

TEST_F(PolicyCatalogueTest, LeavesTheSameVersionAlone) {
  ASSERT_EQ(Apply(Text("a")), "");
  Events();
  ASSERT_EQ(Apply("# a comment\n" + Text("a")), "");
  EXPECT_TRUE(last_->unchanged);
  EXPECT_THAT(Events(), IsEmpty());
  EXPECT_EQ(policies_->Get("a")->source, Text("a"));
}

TEST_F(PolicyCatalogueTest, ChangesNothingForAPolicyThatIsWrong) {
  ASSERT_EQ(Apply(Text("a")), "");
  const std::string version = VersionOf("a");
  Events();
  EXPECT_EQ(Apply(Text("a", "budget: {}\n")).substr(0, 14), "given.yaml:7:1");
  EXPECT_EQ(VersionOf("a"), version);
  EXPECT_THAT(Events(), IsEmpty());
  EXPECT_EQ(storage_->ListPolicies()->size(), 1u);
  EXPECT_THAT(metrics_.Text(),
              HasSubstr("callgate_policy_last_reload_success 1\n"));
}

TEST_F(PolicyCatalogueTest, ChangesNothingWhenOnlyValidating) {
  EXPECT_EQ(Apply(Text("a"), "", /*validate_only=*/true), "");
  EXPECT_EQ(last_->policy.name, "a");
  EXPECT_THAT(InForce(), IsEmpty());
  EXPECT_THAT(*storage_->ListPolicies(), IsEmpty());
}

TEST_F(PolicyCatalogueTest, ChecksEtags) {
  EXPECT_THAT(Apply(Text("a"), "abc"),
              AllOf(HasSubstr("ABORTED"), HasSubstr("none of that name")));
  EXPECT_EQ(Apply(Text("a"), "-"), "");
  const std::string etag = PolicyCatalogue::EtagOf(*policies_->Get("a"));
  EXPECT_THAT(Apply(Text("a"), "-"),
              AllOf(HasSubstr("ABORTED"), HasSubstr(etag)));
  EXPECT_EQ(Apply(Text("a", "budgets: { fuel_per_call: 5 }\n"), etag), "");
  EXPECT_THAT(Apply(Text("a"), etag), HasSubstr("ABORTED"));
}

TEST_F(PolicyCatalogueTest, LoadsTheDirectory) {
  Write("b.yaml", Text("b"));
  Write("c.yml", Including("c", "b"));
  Open();
  EXPECT_THAT(InForce(), ElementsAre("b", "c"));
  EXPECT_EQ(policies_->Get("b")->origin, Origin::kDirectory);
  EXPECT_EQ(policies_->Get("b")->source, Text("b"));
  Write("d.yaml", Text("d"));
  Remove("c.yml");
  EXPECT_THAT(InForce(), ElementsAre("b", "c"));  // until it is asked to
  Events();
  EXPECT_TRUE(policies_->Reload().ok());
  EXPECT_THAT(InForce(), ElementsAre("b", "d"));
  EXPECT_THAT(Events(), ElementsAre("policy_loaded d: in force now",
                                    "policy_removed c: no longer in force"));
}

TEST_F(PolicyCatalogueTest, KeepsNamesOfTheDirectoryForIt) {
  Write("b.yaml", Text("b"));
  Open();
  EXPECT_THAT(Apply(Text("b")),
              AllOf(HasSubstr("FAILED_PRECONDITION"), HasSubstr("b.yaml")));
  const PolicyCheck check = policies_->Validate(Text("b"), "mine.yaml");
  ASSERT_EQ(check.problems.size(), 1u);
  EXPECT_THAT(check.problems[0].ToString(),
              AllOf(HasSubstr("mine.yaml"), HasSubstr("b.yaml")));
  EXPECT_EQ(check.name, "");
  EXPECT_THAT(*storage_->ListPolicies(), IsEmpty());
}

TEST_F(PolicyCatalogueTest, KeepsNamesOfTheDaemonForIt) {
  EXPECT_THAT(Apply(Text(kBuiltInName)), HasSubstr(kBuiltInName));
  EXPECT_THAT(InForce(), IsEmpty());
}

TEST_F(PolicyCatalogueTest, LetsAFileTakeAnAppliedPolicysName) {
  ASSERT_EQ(Apply(Text("a")), "");
  Write("a.yaml", Text("a", "budgets: { fuel_per_call: 5 }\n"));
  Events();
  EXPECT_TRUE(policies_->Reload().ok());
  EXPECT_EQ(policies_->Get("a")->origin, Origin::kDirectory);
  EXPECT_THAT(Events(), Contains(HasSubstr("policy_waits a")));
  Remove("a.yaml");
  EXPECT_TRUE(policies_->Reload().ok());
  EXPECT_EQ(policies_->Get("a")->origin, Origin::kApplied);
}

TEST_F(PolicyCatalogueTest, KeepsABadFileOutAndNothingElse) {
  Write("bad.yaml", Text("bad", "budget: {}\n"));
  Write("good.yaml", Text("good"));
  Open();
  EXPECT_THAT(InForce(), ElementsAre("good"));
  EXPECT_THAT(Events(),
              Contains(AllOf(HasSubstr("policy_file_refused"),
                             HasSubstr(directory_ + "/bad.yaml:7:1: "),
                             HasSubstr("not in force"))));
  EXPECT_THAT(
      metrics_.Text(),
      AllOf(HasSubstr("callgate_policy_last_reload_success 0\n"),
            HasSubstr(R"(callgate_policy_reloads_total{result="failure"} 1)")));

  // Applying another does not hide it.
  ASSERT_EQ(Apply(Text("a")), "");
  EXPECT_THAT(metrics_.Text(),
              HasSubstr("callgate_policy_last_reload_success 0\n"));
  Write("bad.yaml", Text("bad"));
  EXPECT_TRUE(policies_->Reload().ok());
  EXPECT_THAT(InForce(), ElementsAre("a", "bad", "good"));
  EXPECT_THAT(metrics_.Text(),
              HasSubstr("callgate_policy_last_reload_success 1\n"));
}

struct BreakRow {
  std::string name;
  std::string text;
};
class Breaking : public PolicyCatalogueTest,
                 public testing::WithParamInterface<BreakRow> {};

TEST_P(Breaking, LeavesWhatTheFileSaidBeforeInForce) {
  Write("web.yaml", Text("web"));
  Write("uses.yaml", Including("uses", "web"));
  Open();
  const std::string version = VersionOf("web");
  const std::string uses_version = VersionOf("uses");
  Events();
  Write("web.yaml", GetParam().text);
  const absl::Status status = policies_->Reload();
  EXPECT_TRUE(absl::IsInvalidArgument(status));
  EXPECT_THAT(std::string(status.message()), HasSubstr("web.yaml"));
  EXPECT_EQ(VersionOf("web"), version);
  EXPECT_EQ(VersionOf("uses"), uses_version);
  EXPECT_THAT(Events(), Contains(AllOf(HasSubstr("web.yaml"),
                                       HasSubstr("said before stays"))));
  // Nor is it lost when the daemon ends meanwhile.
  Open();
  EXPECT_EQ(VersionOf("web"), version);
  EXPECT_EQ(VersionOf("uses"), uses_version);
  EXPECT_THAT(metrics_.Text(),
              HasSubstr("callgate_policy_last_reload_success 0\n"));
}

INSTANTIATE_TEST_SUITE_P(Files, Breaking,
                         testing::ValuesIn<BreakRow>({
                             {"no_yaml", "{"},
                             {"empty", ""},
                             {"unknown_field", Text("web", "budget: {}\n")},
                             {"not_supported_yet",
                              Text("web", "budgets: { stack_bytes: 5 }\n")},
                             {"unknown_include", Including("web", "no-such")},
                             {"includes_itself", Including("web", "web")},
                             {"too_large", "# " + std::string(1 << 20, 'x')},
                         }),
                         [](const auto& param) { return param.param.name; });

TEST_F(PolicyCatalogueTest, TakesAllThatChangedInTheDirectoryOrNothing) {
  Write("a.yaml", Text("a"));
  Write("b.yaml", Text("b"));
  Open();
  const std::string a = VersionOf("a");
  Events();
  Write("a.yaml", Text("a", "budgets: { fuel_per_call: 5 }\n"));
  Write("b.yaml", Text("b", "budget: {}\n"));
  Write("c.yaml", Text("c"));
  const PolicyCatalogue::ReloadResult refused = policies_->ReloadAndTell();
  EXPECT_TRUE(refused.refused);
  ASSERT_EQ(refused.problems.size(), 1u);
  EXPECT_THAT(refused.problems[0].ToString(), HasSubstr("b.yaml:7:1"));
  EXPECT_THAT(std::string(refused.status.message()),
              HasSubstr("nothing has changed"));
  EXPECT_THAT(InForce(), ElementsAre("a", "b"));
  EXPECT_EQ(VersionOf("a"), a);
  EXPECT_THAT(Events(), ElementsAre(AllOf(HasSubstr("policy_file_refused"),
                                          HasSubstr("nothing else changes"))));
  Write("b.yaml", Text("b"));
  EXPECT_TRUE(policies_->Reload().ok());
  EXPECT_THAT(InForce(), ElementsAre("a", "b", "c"));
  EXPECT_NE(VersionOf("a"), a);
}

TEST_F(PolicyCatalogueTest, IsNotHeldUpByAFileThatWasWrongAtTheStart) {
  Write("a.yaml", Text("a"));
  Write("bad.yaml", "{");
  Open();
  EXPECT_THAT(InForce(), ElementsAre("a"));
  Write("b.yaml", Text("b"));
  EXPECT_FALSE(policies_->Reload().ok());
  EXPECT_THAT(InForce(), ElementsAre("a", "b"));
  // Once somebody touches it, it has to be right.
  Write("bad.yaml", "{ ");
  Write("c.yaml", Text("c"));
  EXPECT_FALSE(policies_->Reload().ok());
  EXPECT_THAT(InForce(), ElementsAre("a", "b"));
  Remove("bad.yaml");
  EXPECT_TRUE(policies_->Reload().ok());
  EXPECT_THAT(InForce(), ElementsAre("a", "b", "c"));
}

TEST_F(PolicyCatalogueTest, LetsNoFileTakeAnAppliedPolicyDown) {
  Write("base.yaml", Text("base"));
  Open();
  ASSERT_EQ(Apply(Including("a", "base")), "");
  Remove("base.yaml");
  EXPECT_FALSE(policies_->Reload().ok());
  EXPECT_THAT(InForce(), ElementsAre("a", "base"));
}

// "3 file, 2 rollback*, 1 applied" with a star at the one in force.
std::string HistoryText(const PolicyCatalogue& policies,
                        const std::string& name) {
  const auto history = policies.History(name);
  if (!history.ok()) return history.status().ToString();
  constexpr const char* kOrigins[] = {"applied", "file", "included", "rollback",
                                      "surge"};
  std::string text;
  for (const auto& entry : *history) {
    absl::StrAppend(&text, text.empty() ? "" : ", ", entry.record.number, " ",
                    kOrigins[static_cast<int>(entry.record.origin)],
                    entry.in_force ? "*" : "");
  }
  return text;
}

std::string Fuel(int fuel) {
  return absl::StrCat("budgets: { fuel_per_call: ", fuel, " }\n");
}

TEST_F(PolicyCatalogueTest, KeepsTheHistoryOfAPolicy) {
  PolicyCatalogue::ApplyRequest request{Text("a"), "a.yaml", false, "", {}};
  request.author = {"ann", "the first"};
  ASSERT_TRUE(policies_->Apply(request).ok());
  ASSERT_EQ(Apply(Text("a", Fuel(2))), "");
  ASSERT_EQ(Apply(Text("a", Fuel(2))), "");  // unchanged
  EXPECT_EQ(HistoryText(*policies_, "a"), "2 applied*, 1 applied");
  EXPECT_EQ(policies_->History("a")->back().record.author, "ann");
  EXPECT_EQ(policies_->History("a")->back().record.comment, "the first");
  EXPECT_EQ(policies_->GetVersion("a", "1")->source, Text("a"));
  EXPECT_EQ(policies_->GetVersion("a", VersionOf("a").substr(0, 12))->source,
            Text("a", Fuel(2)));
  EXPECT_TRUE(absl::IsNotFound(policies_->GetVersion("a", "9").status()));
  EXPECT_TRUE(absl::IsNotFound(policies_->GetVersion("b", "1").status()));
  EXPECT_TRUE(absl::IsNotFound(policies_->History("b").status()));
  // A start is no change.
  Open();
  EXPECT_EQ(HistoryText(*policies_, "a"), "2 applied*, 1 applied");
}

TEST_F(PolicyCatalogueTest, KeepsTheHistoryOfAFileAndOfWhatIncludesIt) {
  Write("base.yaml", Text("base"));
  Write("a.yaml", Including("a", "base"));
  Open();
  Write("base.yaml", Text("base", Fuel(2)));
  ASSERT_TRUE(policies_->Reload().ok());
  EXPECT_EQ(HistoryText(*policies_, "base"), "2 file*, 1 file");
  EXPECT_EQ(HistoryText(*policies_, "a"), "2 included*, 1 file");
  EXPECT_EQ(policies_->History("base")->front().record.file_name, "base.yaml");
  // A change that was made while no daemon ran is one.
  Write("base.yaml", Text("base", Fuel(3)));
  Open();
  EXPECT_EQ(HistoryText(*policies_, "base"), "3 file*, 2 file, 1 file");
}

TEST_F(PolicyCatalogueTest, GoesBackToAnEarlierVersion) {
  ASSERT_EQ(Apply(Text("a")), "");
  const std::string first = VersionOf("a");
  ASSERT_EQ(Apply(Text("a", Fuel(2))), "");
  ASSERT_EQ(Apply(Text("a", Fuel(3))), "");
  Events();
  PolicyCatalogue::RollbackRequest request;
  request.name = "a";
  request.author = {"ann", "too slow"};
  request.validate_only = true;
  ASSERT_TRUE(policies_->Rollback(request).ok());
  EXPECT_EQ(HistoryText(*policies_, "a"), "3 applied*, 2 applied, 1 applied");
  request.validate_only = false;
  const auto back = policies_->Rollback(request);
  ASSERT_TRUE(back.ok()) << back.status();
  EXPECT_EQ(back->policy.source, Text("a", Fuel(2)));
  EXPECT_EQ(policies_->Get("a")->source, Text("a", Fuel(2)));
  EXPECT_EQ(HistoryText(*policies_, "a"),
            "4 rollback*, 3 applied, 2 applied, 1 applied");
  EXPECT_EQ(policies_->History("a")->front().record.comment,
            "back to version 2: too slow");
  EXPECT_THAT(Events(), ElementsAre("policy_applied a: in force in a new "
                                    "version"));
  EXPECT_THAT(
      metrics_.Text(),
      HasSubstr(R"(callgate_policy_rollbacks_total{reason="operator"} 1)"));
  // To one by name; and it lasts.
  request.version = first.substr(0, 7);
  ASSERT_TRUE(policies_->Rollback(request).ok());
  EXPECT_EQ(VersionOf("a"), first);
  Open();
  EXPECT_EQ(VersionOf("a"), first);
  EXPECT_TRUE(policies_->Rollback(request)->unchanged);
  request.etag = "other";
  EXPECT_TRUE(absl::IsAborted(policies_->Rollback(request).status()));
  request.etag = "";
  request.version = "77";
  EXPECT_TRUE(absl::IsNotFound(policies_->Rollback(request).status()));
  request.version = "";
  request.name = "b";
  EXPECT_TRUE(absl::IsNotFound(policies_->Rollback(request).status()));
  request.name = kBuiltInName;
  EXPECT_TRUE(absl::IsNotFound(policies_->Rollback(request).status()));
}

TEST_F(PolicyCatalogueTest, DoesNotGoBackToWhatIsWrongNow) {
  ASSERT_EQ(Apply(Text("base")), "");
  ASSERT_EQ(Apply(Including("a", "base")), "");
  ASSERT_EQ(Apply(Text("a")), "");
  // "a" could not include it any more.
  std::string clash = Text("base");
  clash.replace(clash.find("rule-of-base"), 12, "rule-of-a");
  ASSERT_EQ(Apply(clash), "");
  PolicyCatalogue::RollbackRequest request;
  request.name = "a";
  const auto back = policies_->Rollback(request);
  ASSERT_TRUE(back.ok()) << back.status();
  ASSERT_FALSE(back->check.problems.empty());
  EXPECT_EQ(HistoryText(*policies_, "a"), "2 applied*, 1 applied");
  request.name = "base";
  request.version = "2";
  EXPECT_TRUE(policies_->Rollback(request)->unchanged);
}

TEST_F(PolicyCatalogueTest, HoldsAFileBackUntilItChanges) {
  Write("web.yaml", Text("web"));
  Open();
  const std::string good = VersionOf("web");
  Write("web.yaml", Text("web", Fuel(2)));
  ASSERT_TRUE(policies_->Reload().ok());
  Events();
  PolicyCatalogue::RollbackRequest request;
  request.name = "web";
  request.author.who = "ann";
  const auto back = policies_->Rollback(request);
  ASSERT_TRUE(back.ok()) << back.status();
  EXPECT_TRUE(back->policy.held_back);
  EXPECT_EQ(VersionOf("web"), good);
  EXPECT_TRUE(
      PolicyCatalogue::ToProto(*policies_->Get("web"), false).held_back());
  EXPECT_THAT(Events(), Contains(HasSubstr("policy_file_held_back web")));
  const auto says_older = [this] {
    return absl::StrContains(metrics_.Text(),
                             "callgate_policy_last_reload_success 0\n");
  };
  EXPECT_TRUE(says_older());
  // Not by reading it again, nor by a start.
  EXPECT_FALSE(policies_->Reload().ok());
  EXPECT_EQ(VersionOf("web"), good);
  Open();
  EXPECT_EQ(VersionOf("web"), good);
  EXPECT_TRUE(says_older());
  EXPECT_THAT(Events(), Contains(HasSubstr("policy_file_held_back web")));
  // Others come and go meanwhile.
  Write("b.yaml", Text("b"));
  EXPECT_FALSE(policies_->Reload().ok());
  EXPECT_THAT(InForce(), ElementsAre("b", "web"));
  EXPECT_EQ(VersionOf("web"), good);
  // A wrong change does not lift it.
  Write("web.yaml", "{");
  EXPECT_FALSE(policies_->Reload().ok());
  EXPECT_EQ(VersionOf("web"), good);
  Write("web.yaml", Text("web", Fuel(3)));
  EXPECT_TRUE(policies_->Reload().ok());
  EXPECT_EQ(policies_->Get("web")->source, Text("web", Fuel(3)));
  EXPECT_FALSE(policies_->Get("web")->held_back);
  EXPECT_FALSE(says_older());
  EXPECT_TRUE(storage_->ListPolicyHolds()->empty());
  EXPECT_EQ(HistoryText(*policies_, "web"),
            "4 file*, 3 rollback, 2 file, 1 file");
}

TEST_F(PolicyCatalogueTest, LiftsAHoldByGoingBackToTheFile) {
  Write("web.yaml", Text("web"));
  Open();
  Write("web.yaml", Text("web", Fuel(2)));
  ASSERT_TRUE(policies_->Reload().ok());
  PolicyCatalogue::RollbackRequest request;
  request.name = "web";
  ASSERT_TRUE(policies_->Rollback(request)->policy.held_back);
  EXPECT_FALSE(policies_->Rollback(request)->policy.held_back);
  EXPECT_EQ(policies_->Get("web")->source, Text("web", Fuel(2)));
  EXPECT_TRUE(policies_->Reload().ok());
  EXPECT_THAT(metrics_.Text(),
              HasSubstr("callgate_policy_last_reload_success 1\n"));
}

TEST_F(PolicyCatalogueTest, AsksTheGateAboutWhatIsNew) {
  std::vector<std::string> asked;
  const auto gate = [&asked](const policy::LoadedPolicyFile& file,
                             const std::shared_ptr<const policy::Policy>& p) {
    asked.push_back(p->name());
    std::vector<policy::Problem> problems;
    if (absl::StrContains(p->description(), "fails")) {
      problems.push_back({file.filename, 1, 1, "test \"reads\" failed"});
    }
    return problems;
  };
  Write("base.yaml", Text("base"));
  Write("a.yaml", Including("a", "base"));
  policies_ = *PolicyCatalogue::Open({directory_, gate, nullptr}, *storage_,
                                     events_, metrics_);
  EXPECT_THAT(asked, ElementsAre("a", "base"));
  asked.clear();
  ASSERT_TRUE(policies_->Reload().ok());
  EXPECT_THAT(asked, IsEmpty());
  Write("base.yaml", Text("base", Fuel(2)));
  ASSERT_TRUE(policies_->Reload().ok());
  EXPECT_THAT(asked, ElementsAre("a", "base"));
  const std::string version = VersionOf("base");

  std::string failing = Text("base", Fuel(3));
  failing.replace(failing.find("  name: base"), 12,
                  "  name: base\n  description: fails");
  Write("base.yaml", failing);
  Events();
  EXPECT_THAT(std::string(policies_->Reload().message()),
              HasSubstr("test \"reads\" failed"));
  EXPECT_EQ(VersionOf("base"), version);
  EXPECT_THAT(Events(), ElementsAre(AllOf(HasSubstr("base.yaml"),
                                          HasSubstr("test \"reads\" failed"),
                                          HasSubstr("stays in force"))));
  failing.replace(failing.find("name: base"), 10, "name: mine");
  EXPECT_THAT(Apply(failing), HasSubstr("test \"reads\" failed"));
  EXPECT_THAT(InForce(), ElementsAre("a", "base"));
  EXPECT_FALSE(policies_->Validate(failing, "mine.yaml").problems.empty());
}

TEST_F(PolicyCatalogueTest, TellsOfEachSwap) {
  int swaps = 0;
  policies_ =
      *PolicyCatalogue::Open({directory_, nullptr, [&swaps] { ++swaps; }},
                             *storage_, events_, metrics_);
  EXPECT_EQ(swaps, 1);
  ASSERT_EQ(Apply(Text("a")), "");
  EXPECT_EQ(swaps, 2);
  EXPECT_NE(Apply(Text("a", "budget: {}\n")), "");
  EXPECT_EQ(swaps, 2);
}

TEST_F(PolicyCatalogueTest, RefusesASecondFileOfTheSameName) {
  Write("1.yaml", Text("a"));
  Write("2.yaml", Text("a", "budgets: { fuel_per_call: 5 }\n"));
  Open();
  EXPECT_EQ(policies_->Get("a")->source, Text("a"));
  EXPECT_THAT(Events(),
              Contains(AllOf(HasSubstr("2.yaml:4:"), HasSubstr("\"a\""),
                             HasSubstr("\"1.yaml\""))));
}

TEST_F(PolicyCatalogueTest, FollowsAnIncludedPolicy) {
  ASSERT_EQ(Apply(Text("base")), "");
  ASSERT_EQ(Apply(Including("a", "base")), "");
  const std::string version = VersionOf("a");
  ASSERT_EQ(Apply(Text("base", "budgets: { fuel_per_call: 5 }\n")), "");
  EXPECT_NE(VersionOf("a"), version);
  EXPECT_THAT(Events(),
              Contains("policy_applied a: in force in a new version"));
}

TEST_F(PolicyCatalogueTest, RefusesAChangeThatBreaksAnotherPolicy) {
  ASSERT_EQ(Apply(Text("base")), "");
  ASSERT_EQ(Apply(Including("a", "base")), "");
  const std::string version = VersionOf("base");
  // Its rule would have the name of one of a's.
  std::string clash = Text("base");
  clash.replace(clash.find("rule-of-base"), 12, "rule-of-a");
  EXPECT_THAT(Apply(clash), AllOf(HasSubstr("\"a\", which includes this one"),
                                  HasSubstr("rule-of-a")));
  EXPECT_EQ(VersionOf("base"), version);
  // And one that includes what includes it.
  EXPECT_THAT(Apply(Including("base", "a")), HasSubstr("circle"));
}

TEST_F(PolicyCatalogueTest, ReportsAnAppliedPolicyThatIsWrongNow) {
  storage::PolicyRecord old;
  old.name = "old";
  old.version = "0";
  old.source = Text("old", "field_of_old: 1\n");
  ASSERT_TRUE(storage_->PutPolicy(old).ok());
  storage::PolicyRecord mixed_up;
  mixed_up.name = "mixed-up";
  mixed_up.version = "0";
  mixed_up.source = Text("other");
  ASSERT_TRUE(storage_->PutPolicy(mixed_up).ok());
  ASSERT_EQ(Apply(Text("a")), "");
  Events();
  Open();
  EXPECT_THAT(InForce(), ElementsAre("a"));
  EXPECT_THAT(Events(),
              AllOf(Contains(HasSubstr("policy_refused old: old.yaml:7:1")),
                    Contains(HasSubstr("policy_refused mixed-up"))));
  EXPECT_THAT(metrics_.Text(),
              HasSubstr("callgate_policy_last_reload_success 0\n"));
  // Applying right ones mends it.
  ASSERT_EQ(Apply(Text("old")), "");
  ASSERT_EQ(Apply(Text("mixed-up")), "");
  EXPECT_THAT(metrics_.Text(),
              HasSubstr("callgate_policy_last_reload_success 1\n"));
}

TEST_F(PolicyCatalogueTest, ChangesNothingThatItCannotStore) {
  storage::CatalogueLimits limits;
  limits.policies = 1;
  OpenStorage(limits);
  Open();
  ASSERT_EQ(Apply(Text("a")), "");
  EXPECT_THAT(Apply(Text("b")), HasSubstr("RESOURCE_EXHAUSTED"));
  EXPECT_THAT(InForce(), ElementsAre("a"));
}

TEST_F(PolicyCatalogueTest, LeavesAllAsItWasWhenTheDirectoryIsGone) {
  Write("b.yaml", Text("b"));
  Open();
  Events();
  ASSERT_EQ(rename(directory_.c_str(), (directory_ + "2").c_str()), 0);
  EXPECT_FALSE(policies_->Reload().ok());
  EXPECT_THAT(InForce(), ElementsAre("b"));
  EXPECT_THAT(Events(), ElementsAre(AllOf(HasSubstr("policy_load_failed"),
                                          HasSubstr(directory_))));
  EXPECT_THAT(metrics_.Text(),
              HasSubstr("callgate_policy_last_reload_success 0\n"));
  // But a daemon does not start without a directory it was told of.
  EXPECT_FALSE(PolicyCatalogue::Open({directory_, nullptr, nullptr}, *storage_,
                                     events_, metrics_)
                   .ok());
  EXPECT_TRUE(PolicyCatalogue::Open({"", nullptr, nullptr}, *storage_, events_,
                                    metrics_)
                  .ok());
}

TEST_F(PolicyCatalogueTest, ListsByName) {
  for (const char* name : {"a", "b", "x", "y"}) {
    ASSERT_EQ(Apply(Text(name)), "");
  }
  for (const size_t page_size : {1u, 2u, 3u, 5u, 100u}) {
    std::vector<std::string> names;
    std::string after;
    while (true) {
      const std::vector<PolicyView> page = policies_->List(page_size, after);
      ASSERT_LE(page.size(), page_size);
      if (page.empty()) break;
      for (const PolicyView& policy : page) {
        EXPECT_EQ(policy.source, "");
        names.push_back(policy.name);
      }
      after = names.back();
    }
    EXPECT_THAT(names, ElementsAre("a", "b", kBuiltInName, "x", "y"));
  }
}

TEST_F(PolicyCatalogueTest, NamesWhatThereIsWhenAPolicyIsNot) {
  ASSERT_EQ(Apply(Text("a")), "");
  const absl::Status status = policies_->Get("b\n").status();
  EXPECT_TRUE(absl::IsNotFound(status));
  EXPECT_THAT(std::string(status.message()),
              AllOf(HasSubstr(R"("b\x0a")"), HasSubstr(R"("a")"),
                    HasSubstr(kBuiltInName)));
}

TEST_F(PolicyCatalogueTest, ShowsPoliciesAsTheApiDoes) {
  ASSERT_EQ(Apply(Text("a", "defaults: { mode: audit }\n")), "");
  const PolicyView view = *policies_->Get("a");
  const v1::Policy policy = PolicyCatalogue::ToProto(view, true);
  EXPECT_EQ(policy.name(), "policies/a");
  EXPECT_EQ(policy.version(), VersionOf("a"));
  EXPECT_EQ(policy.origin(), v1::POLICY_ORIGIN_APPLIED);
  EXPECT_EQ(policy.mode(), "audit");
  EXPECT_EQ(policy.source(), view.source);
  EXPECT_EQ(policy.etag(), PolicyCatalogue::EtagOf(view));
  EXPECT_EQ(absl::FromUnixSeconds(policy.apply_time().seconds()) +
                absl::Nanoseconds(policy.apply_time().nanos()),
            view.since);
  EXPECT_EQ(PolicyCatalogue::ToProto(view, false).source(), "");
}

// Every set that a reader sees is one that was applied, whole.
TEST_F(PolicyCatalogueTest, SwapsPoliciesWholeUnderReaders) {
  ASSERT_EQ(Apply(Text("base")), "");
  ASSERT_EQ(Apply(Including("a", "base")), "");
  std::vector<std::string> base_versions = {VersionOf("base")};
  std::vector<std::string> a_versions = {VersionOf("a")};
  std::atomic<bool> done{false};
  struct Seen {
    std::string base;
    std::string a;
  };
  std::vector<Seen> seen;
  std::thread reader([&] {
    while (!done) {
      const auto set = policies_->current();
      const Seen now = {set->Find("base")->version(),
                        set->Find("a")->version()};
      if (seen.empty() || seen.back().base != now.base ||
          seen.back().a != now.a) {
        seen.push_back(now);
      }
    }
  });
  for (int i = 1; i <= 50; ++i) {
    ASSERT_EQ(Apply(Text("base", absl::StrCat("budgets: { fuel_per_call: ", i,
                                              " }\n"))),
              "");
    base_versions.push_back(VersionOf("base"));
    a_versions.push_back(VersionOf("a"));
  }
  done = true;
  reader.join();
  for (const Seen& now : seen) {
    const auto at =
        std::find(base_versions.begin(), base_versions.end(), now.base);
    ASSERT_NE(at, base_versions.end());
    EXPECT_EQ(a_versions[static_cast<size_t>(at - base_versions.begin())],
              now.a);
  }
}

// --- Replays -----------------------------------------------------------------

// A replay that is what a test says it is, and notes what it was asked.
class ReplayedCatalogueTest : public PolicyCatalogueTest {
 protected:
  void OpenReplayed() {
    policies_ = nullptr;
    ReplayDemand demand;
    demand.since = absl::Hours(1);
    demand.changed_max = 2;
    demand.may_be_empty = true;
    auto policies = PolicyCatalogue::Open(
        {directory_, nullptr, nullptr,
         [this](const policy::PolicySet& before, const policy::PolicySet& after,
                const ReplayDemand& asked) -> absl::StatusOr<ReplayFindings> {
           const auto names = [](const policy::PolicySet& set) {
             std::string text;
             for (const auto& policy : set.policies()) {
               absl::StrAppend(&text, text.empty() ? "" : " ", policy->name());
             }
             return text;
           };
           asked_.push_back(absl::StrCat(names(before), " -> ", names(after),
                                         " max ", asked.changed_max));
           if (!error_.ok()) return error_;
           ReplayFindings findings;
           findings.events = 7;
           findings.refusal = refusal_;
           if (!refusal_.empty()) findings.changes = {"event 3: was allow"};
           return findings;
         },
         demand},
        *storage_, events_, metrics_);
    ASSERT_TRUE(policies.ok()) << policies.status();
    policies_ = *std::move(policies);
  }
  absl::StatusOr<PolicyCatalogue::ApplyResult> ApplyReplayed(
      const std::string& source, bool validate_only = false) {
    ReplayDemand demand;
    demand.trace = "t";
    demand.changed_max = 5;
    return policies_->Apply(
        {source, "given.yaml", validate_only, "", {}, demand});
  }

  std::string refusal_;
  absl::Status error_;
  std::vector<std::string> asked_;
};

constexpr char kMore[] = "budgets: { fuel_per_call: 5 }\n";

TEST_F(ReplayedCatalogueTest, WhoAppliesMayAskForOne) {
  OpenReplayed();
  ASSERT_EQ(Apply(Text("base")), "");
  ASSERT_EQ(Apply(Including("a", "base")), "");
  EXPECT_THAT(asked_, IsEmpty());
  const std::string base = VersionOf("base");
  const std::string a = VersionOf("a");
  refusal_ = "6 of 7 events would be judged otherwise";
  auto applied = ApplyReplayed(Text("base", kMore));
  ASSERT_TRUE(applied.ok()) << applied.status();
  ASSERT_TRUE(applied->replay.has_value());
  EXPECT_EQ(applied->replay->refusal, refusal_);
  EXPECT_EQ(applied->policy.name, "");
  EXPECT_EQ(VersionOf("base"), base);
  EXPECT_EQ(VersionOf("a"), a);
  error_ = absl::NotFoundError("no trace t");
  EXPECT_EQ(ApplyReplayed(Text("base", kMore)).status(), error_);
  EXPECT_EQ(VersionOf("base"), base);
  error_ = absl::OkStatus();
  refusal_ = "";
  // Looking changes nothing.
  applied = ApplyReplayed(Text("base", kMore), /*validate_only=*/true);
  ASSERT_TRUE(applied.ok()) << applied.status();
  EXPECT_EQ(applied->replay->events, 7u);
  EXPECT_EQ(VersionOf("base"), base);
  Events();
  applied = ApplyReplayed(Text("base", kMore));
  ASSERT_TRUE(applied.ok()) << applied.status();
  // With what includes it.
  EXPECT_NE(VersionOf("base"), base);
  EXPECT_NE(VersionOf("a"), a);
  EXPECT_THAT(Events(),
              Contains(HasSubstr("policy_change_replayed : 7 recorded "
                                 "events")));
  EXPECT_EQ(asked_, std::vector<std::string>(4, "a base -> a base max 5"));
  // What is in force already is no change.
  applied = ApplyReplayed(Text("base", kMore));
  ASSERT_TRUE(applied.ok()) << applied.status();
  EXPECT_TRUE(applied->unchanged);
  EXPECT_FALSE(applied->replay.has_value());
  EXPECT_EQ(asked_.size(), 4u);
}

TEST_F(ReplayedCatalogueTest, TheDirectoryIsTakenWholeOrNotAtAll) {
  Write("a.yaml", Text("a"));
  OpenReplayed();
  EXPECT_THAT(asked_, ElementsAre(" -> a max 2"));
  EXPECT_THAT(InForce(), ElementsAre("a"));
  const std::string a = VersionOf("a");
  EXPECT_TRUE(policies_->Reload().ok());
  EXPECT_EQ(asked_.size(), 1u);  // nothing has changed

  refusal_ = "3 of 7 events would be judged otherwise";
  Write("a.yaml", Text("a", kMore));
  Write("b.yaml", Text("b"));
  Events();
  const PolicyCatalogue::ReloadResult refused = policies_->ReloadAndTell();
  EXPECT_TRUE(refused.refused);
  EXPECT_THAT(std::string(refused.status.message()),
              AllOf(HasSubstr("nothing has changed"), HasSubstr(refusal_)));
  ASSERT_EQ(refused.problems.size(), 2u);
  EXPECT_THAT(refused.problems[1].ToString(), HasSubstr("event 3: was allow"));
  EXPECT_THAT(InForce(), ElementsAre("a"));
  EXPECT_EQ(VersionOf("a"), a);
  EXPECT_THAT(Events(), ElementsAre(AllOf(HasSubstr("policy_directory_refused"),
                                          HasSubstr(refusal_))));
  EXPECT_THAT(metrics_.Text(),
              HasSubstr("callgate_policy_last_reload_success 0\n"));
  // One that cannot be done is no pass.
  refusal_ = "";
  error_ = absl::ResourceExhaustedError("too long");
  EXPECT_FALSE(policies_->Reload().ok());
  EXPECT_THAT(InForce(), ElementsAre("a"));
  // The way back is always open.
  error_ = absl::OkStatus();
  EXPECT_TRUE(policies_->Reload().ok());
  EXPECT_THAT(InForce(), ElementsAre("a", "b"));
  EXPECT_THAT(asked_.back(), "a -> a b max 2");
  EXPECT_NE(VersionOf("a"), a);
  const size_t asked = asked_.size();
  refusal_ = "never";
  PolicyCatalogue::RollbackRequest back;
  back.name = "a";
  EXPECT_TRUE(policies_->Rollback(back).ok());
  EXPECT_EQ(VersionOf("a"), a);
  EXPECT_EQ(asked_.size(), asked);
}

TEST_F(ReplayedCatalogueTest, ARestartIsNoWayAround) {
  Write("a.yaml", Text("a"));
  OpenReplayed();
  ASSERT_EQ(Apply(Text("z")), "");
  const std::string a = VersionOf("a");
  policies_ = nullptr;
  Write("a.yaml", Text("a", kMore));
  Write("b.yaml", Text("b"));
  Write("z.yaml", Text("z", kMore));
  refusal_ = "3 of 7 events would be judged otherwise";
  asked_.clear();
  OpenReplayed();
  EXPECT_THAT(asked_, ElementsAre("a z -> a b z max 2"));
  EXPECT_THAT(InForce(), ElementsAre("a", "z"));
  EXPECT_EQ(VersionOf("a"), a);
  EXPECT_EQ(policies_->Get("z")->origin, Origin::kApplied);
  EXPECT_THAT(metrics_.Text(),
              HasSubstr("callgate_policy_last_reload_success 0\n"));
  // And again, and then it passes.
  OpenReplayed();
  EXPECT_EQ(VersionOf("a"), a);
  refusal_ = "";
  EXPECT_TRUE(policies_->Reload().ok());
  EXPECT_THAT(InForce(), ElementsAre("a", "b", "z"));
  EXPECT_NE(VersionOf("a"), a);
  // A restart with nothing new asks nobody.
  asked_.clear();
  OpenReplayed();
  EXPECT_THAT(asked_, IsEmpty());
  EXPECT_THAT(InForce(), ElementsAre("a", "b", "z"));
}

}  // namespace
}  // namespace callgate::policies
