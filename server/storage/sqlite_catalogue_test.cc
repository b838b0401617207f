#include "server/storage/sqlite_catalogue.h"

#include <sqlite3.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace callgate::storage {
namespace {

using testing::AllOf;
using testing::HasSubstr;

std::string Message(const absl::Status& status) {
  return std::string(status.message());
}

class CountingObserver final : public StorageObserver {
 public:
  void OnOperation(absl::string_view engine, absl::string_view op,
                   absl::Duration took, bool failed) override {
    EXPECT_EQ(engine, kEngineSqlite);
    EXPECT_GE(took, absl::ZeroDuration());
    ++seen[absl::StrCat(op, failed ? " failed" : "")];
  }
  std::map<std::string, int> seen;
};

class SqliteCatalogueTest : public testing::Test {
 protected:
  void SetUp() override {
    std::string folder = testing::TempDir() + "/catalogueXXXXXX";
    ASSERT_NE(mkdtemp(&folder[0]), nullptr);
    path_ = folder + "/catalogue.db";
    Open();
  }

  void Open(const CatalogueLimits& limits = {}) {
    catalogue_ = nullptr;
    absl::StatusOr<std::unique_ptr<SqliteCatalogue>> catalogue =
        SqliteCatalogue::Open(path_, limits, &observer_);
    ASSERT_TRUE(catalogue.ok()) << catalogue.status();
    catalogue_ = *std::move(catalogue);
  }

  static ModuleRecord Module(const std::string& tenant,
                             const std::string& bytes) {
    ModuleRecord module;
    module.tenant = tenant;
    module.digest = DigestOf(bytes);
    module.size_bytes = bytes.size();
    module.labels = {{"class", "connector"}, {"", ""}};
    module.created = absl::FromUnixNanos(1'700'000'000'123'456'789);
    return module;
  }

  static QuarantineRecord Quarantine(const std::string& tenant,
                                     const std::string& bytes) {
    QuarantineRecord quarantine;
    quarantine.tenant = tenant;
    quarantine.digest = DigestOf(bytes);
    quarantine.policy = "baseline";
    quarantine.rule = "exfil";
    quarantine.reason = "sent a secret";
    quarantine.since = absl::FromUnixNanos(1'700'000'000'000'000'001);
    return quarantine;
  }

  static PolicyRecord Policy(const std::string& name,
                             const std::string& source) {
    PolicyRecord policy;
    policy.name = name;
    policy.version = DigestOf(source).hex();
    policy.source = source;
    policy.applied = absl::FromUnixSeconds(1'700'000'000);
    return policy;
  }

  // Works on the file while no catalogue has it.
  void Edit(const std::string& sql) {
    catalogue_ = nullptr;
    sqlite3* database = nullptr;
    ASSERT_EQ(sqlite3_open(path_.c_str(), &database), SQLITE_OK);
    EXPECT_EQ(sqlite3_exec(database, sql.c_str(), nullptr, nullptr, nullptr),
              SQLITE_OK)
        << sqlite3_errmsg(database);
    sqlite3_close(database);
  }

  std::string path_;
  CountingObserver observer_;
  std::unique_ptr<SqliteCatalogue> catalogue_;
};

TEST_F(SqliteCatalogueTest, KeepsModulesAcrossOpening) {
  const ModuleRecord module = Module("acme", "bytes");
  const absl::StatusOr<bool> created = catalogue_->PutModule(module);
  ASSERT_TRUE(created.ok()) << created.status();
  EXPECT_TRUE(*created);
  Open();
  const absl::StatusOr<ModuleRecord> got =
      catalogue_->GetModule("acme", module.digest);
  ASSERT_TRUE(got.ok()) << got.status();
  EXPECT_EQ(got->tenant, "acme");
  EXPECT_EQ(got->digest, module.digest);
  EXPECT_EQ(got->size_bytes, 5u);
  EXPECT_EQ(got->labels, module.labels);
  EXPECT_EQ(got->created, module.created);
  EXPECT_EQ(*catalogue_->CountModules(), 1u);
}

TEST_F(SqliteCatalogueTest, KeepsTheFirstRecordOfAModule) {
  ModuleRecord module = Module("acme", "bytes");
  ASSERT_TRUE(*catalogue_->PutModule(module));
  module.labels = {{"class", "privileged"}};
  const absl::StatusOr<bool> again = catalogue_->PutModule(module);
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_FALSE(*again);
  EXPECT_EQ(catalogue_->GetModule("acme", module.digest)->labels["class"],
            "connector");
  EXPECT_EQ(*catalogue_->CountModules(), 1u);
}

TEST_F(SqliteCatalogueTest, KeepsTenantsApart) {
  const ModuleRecord module = Module("acme", "bytes");
  ASSERT_TRUE(catalogue_->PutModule(module).ok());
  ASSERT_TRUE(catalogue_->PutQuarantine(Quarantine("acme", "bytes")).ok());
  EXPECT_TRUE(absl::IsNotFound(
      catalogue_->GetModule("globex", module.digest).status()));
  EXPECT_TRUE(
      absl::IsNotFound(catalogue_->DeleteModule("globex", module.digest)));
  EXPECT_TRUE(catalogue_->ListModules("globex", 10, "")->modules.empty());
  EXPECT_FALSE(
      catalogue_->FindQuarantine("globex", module.digest)->has_value());
  EXPECT_TRUE(*catalogue_->AnyTenantHas(module.digest));
  EXPECT_FALSE(*catalogue_->AnyTenantHas(DigestOf("other")));
}

TEST_F(SqliteCatalogueTest, DeletesAModuleWithItsLabels) {
  const ModuleRecord module = Module("acme", "bytes");
  ASSERT_TRUE(catalogue_->PutModule(module).ok());
  ASSERT_TRUE(catalogue_->DeleteModule("acme", module.digest).ok());
  EXPECT_TRUE(
      absl::IsNotFound(catalogue_->GetModule("acme", module.digest).status()));
  EXPECT_TRUE(
      absl::IsNotFound(catalogue_->DeleteModule("acme", module.digest)));
  EXPECT_EQ(*catalogue_->CountModules(), 0u);
  ModuleRecord bare = module;
  bare.labels.clear();
  ASSERT_TRUE(*catalogue_->PutModule(bare));
  EXPECT_TRUE(catalogue_->GetModule("acme", module.digest)->labels.empty());
}

TEST_F(SqliteCatalogueTest, PagesThroughAllModulesOnce) {
  std::set<Digest> all;
  for (int i = 0; i < 25; ++i) {
    const ModuleRecord module = Module("acme", absl::StrCat("module ", i));
    all.insert(module.digest);
    ASSERT_TRUE(catalogue_->PutModule(module).ok());
  }
  for (const size_t page_size : {1u, 7u, 24u, 25u, 26u, 1000u}) {
    std::vector<Digest> seen;
    std::string after;
    do {
      const absl::StatusOr<ModulePage> page =
          catalogue_->ListModules("acme", page_size, after);
      ASSERT_TRUE(page.ok()) << page.status();
      ASSERT_LE(page->modules.size(), page_size);
      for (const ModuleRecord& module : page->modules) {
        EXPECT_EQ(module.labels.size(), 2u);
        seen.push_back(module.digest);
      }
      after = page->next;
    } while (!after.empty());
    EXPECT_EQ(seen, std::vector<Digest>(all.begin(), all.end())) << page_size;
  }
}

TEST_F(SqliteCatalogueTest, RefusesPagesThatCannotBe) {
  for (const size_t page_size : {size_t{0}, kPageSizeMax + 1}) {
    EXPECT_TRUE(absl::IsInvalidArgument(
        catalogue_->ListModules("acme", page_size, "").status()));
  }
  EXPECT_TRUE(absl::IsInvalidArgument(
      catalogue_->ListModules("acme", 1, "x' OR 1=1").status()));
}

TEST_F(SqliteCatalogueTest, KeepsTheLastPolicyOfAName) {
  ASSERT_TRUE(catalogue_->PutPolicy(Policy("b", "first")).ok());
  ASSERT_TRUE(catalogue_->PutPolicy(Policy("b", "second")).ok());
  PolicyRecord text = Policy("a", std::string("nul \0 inside", 12));
  text.encoding = PolicyRecord::Encoding::kTextproto;
  ASSERT_TRUE(catalogue_->PutPolicy(text).ok());
  Open();
  const absl::StatusOr<std::vector<PolicyRecord>> policies =
      catalogue_->ListPolicies();
  ASSERT_TRUE(policies.ok()) << policies.status();
  ASSERT_EQ(policies->size(), 2u);
  EXPECT_EQ((*policies)[0].name, "a");
  EXPECT_EQ((*policies)[0].source, text.source);
  EXPECT_EQ((*policies)[0].encoding, PolicyRecord::Encoding::kTextproto);
  EXPECT_EQ((*policies)[1].source, "second");
  EXPECT_EQ((*policies)[1].version, DigestOf("second").hex());
  EXPECT_EQ((*policies)[1].encoding, PolicyRecord::Encoding::kYaml);
  EXPECT_EQ((*policies)[1].applied, absl::FromUnixSeconds(1'700'000'000));
}

PolicyVersionRecord Version(const std::string& name, const std::string& source,
                            int64_t second = 1'700'000'000) {
  PolicyVersionRecord version;
  version.name = name;
  version.version = DigestOf(source).hex();
  version.source = source;
  version.since = absl::FromUnixSeconds(second);
  version.origin = PolicyOrigin::kRollback;
  version.file_name = "web.yaml";
  version.author = "ann";
  version.comment = "CHG-1";
  return version;
}

// "3 2 1": the numbers of a policy's versions, newest first.
std::string Numbers(Catalogue& catalogue, const std::string& name) {
  const auto versions = catalogue.ListPolicyVersions(name);
  EXPECT_TRUE(versions.ok()) << versions.status();
  std::string numbers;
  for (const PolicyVersionRecord& version : *versions) {
    absl::StrAppend(&numbers, numbers.empty() ? "" : " ", version.number);
  }
  return numbers;
}

TEST_F(SqliteCatalogueTest, KeepsTheHistoryOfPolicies) {
  PolicyCommit commit;
  commit.applied = {Policy("web", "one")};
  commit.versions = {Version("web", "one"), Version("api", "other")};
  ASSERT_TRUE(catalogue_->CommitPolicies(commit).ok());
  commit.versions = {Version("web", "two")};
  commit.versions[0].number = 17;  // of no account
  ASSERT_TRUE(catalogue_->CommitPolicies(commit).ok());
  Open();
  EXPECT_EQ(Numbers(*catalogue_, "web"), "2 1");
  EXPECT_EQ(Numbers(*catalogue_, "api"), "1");
  EXPECT_EQ(Numbers(*catalogue_, "none"), "");
  const auto versions = catalogue_->ListPolicyVersions("web");
  EXPECT_EQ((*versions)[0].source, "");
  const auto one = catalogue_->GetPolicyVersion("web", 1);
  ASSERT_TRUE(one.ok()) << one.status();
  EXPECT_EQ(one->source, "one");
  EXPECT_EQ(one->version, DigestOf("one").hex());
  EXPECT_EQ(one->since, absl::FromUnixSeconds(1'700'000'000));
  EXPECT_EQ(one->origin, PolicyOrigin::kRollback);
  EXPECT_EQ(one->file_name, "web.yaml");
  EXPECT_EQ(one->author, "ann");
  EXPECT_EQ(one->comment, "CHG-1");
  EXPECT_TRUE(
      absl::IsNotFound(catalogue_->GetPolicyVersion("web", 3).status()));
}

TEST_F(SqliteCatalogueTest, KeepsTheFilesInForceAndWhatIsHeldBack) {
  PolicyCommit commit;
  commit.files = {{{"b.yaml", "b", absl::FromUnixSeconds(1)},
                   {"a.yaml", "a", absl::FromUnixSeconds(2)}}};
  commit.holds = {{{"web", DigestOf("text"), "cafe", 7,
                    absl::FromUnixSeconds(3), "ann", "why"}}};
  ASSERT_TRUE(catalogue_->CommitPolicies(commit).ok());
  Open();
  auto files = catalogue_->ListPolicyFiles();
  ASSERT_TRUE(files.ok() && files->size() == 2u) << files.status();
  EXPECT_EQ((*files)[0].file_name, "a.yaml");
  EXPECT_EQ((*files)[0].source, "a");
  EXPECT_EQ((*files)[1].since, absl::FromUnixSeconds(1));
  const auto holds = catalogue_->ListPolicyHolds();
  ASSERT_TRUE(holds.ok() && holds->size() == 1u) << holds.status();
  EXPECT_EQ((*holds)[0].name, "web");
  EXPECT_EQ((*holds)[0].held, DigestOf("text"));
  EXPECT_EQ((*holds)[0].held_version, "cafe");
  EXPECT_EQ((*holds)[0].number, 7u);
  EXPECT_EQ((*holds)[0].author, "ann");
  EXPECT_EQ((*holds)[0].comment, "why");
  // What a commit does not speak of stays.
  ASSERT_TRUE(catalogue_->PutPolicy(Policy("c", "c")).ok());
  EXPECT_EQ(catalogue_->ListPolicyFiles()->size(), 2u);
  commit.files->clear();
  commit.holds->clear();
  ASSERT_TRUE(catalogue_->CommitPolicies(commit).ok());
  EXPECT_TRUE(catalogue_->ListPolicyFiles()->empty());
  EXPECT_TRUE(catalogue_->ListPolicyHolds()->empty());
}

TEST_F(SqliteCatalogueTest, KeepsWhatIsSaidOfPoliciesAndLetsThemGo) {
  PolicyCommit commit;
  commit.applied = {Policy("a", "text"), Policy("b", "text")};
  commit.switches = {
      {{"b", true, false, true, absl::FromUnixSeconds(5), "ann",
        std::string(2 * kReasonBytesMax, 'x')},
       {"a", false, true, false, absl::FromUnixSeconds(4), "bob", "why"}}};
  ASSERT_TRUE(catalogue_->CommitPolicies(commit).ok());
  Open();
  auto switches = catalogue_->ListPolicySwitches();
  ASSERT_TRUE(switches.ok() && switches->size() == 2u) << switches.status();
  EXPECT_EQ((*switches)[0].name, "a");
  EXPECT_FALSE((*switches)[0].inactive);
  EXPECT_TRUE((*switches)[0].loaded_in_audit);
  EXPECT_FALSE((*switches)[0].audit);
  EXPECT_EQ((*switches)[0].since, absl::FromUnixSeconds(4));
  EXPECT_EQ((*switches)[0].author, "bob");
  EXPECT_EQ((*switches)[0].comment, "why");
  EXPECT_TRUE((*switches)[1].inactive);
  EXPECT_FALSE((*switches)[1].loaded_in_audit);
  EXPECT_TRUE((*switches)[1].audit);
  EXPECT_EQ((*switches)[1].comment.size(), kReasonBytesMax);
  // One of two, and one that is not there.
  PolicyCommit gone;
  gone.deleted = {"b", "c"};
  gone.switches.emplace();
  ASSERT_TRUE(catalogue_->CommitPolicies(gone).ok());
  Open();
  const auto policies = catalogue_->ListPolicies();
  ASSERT_TRUE(policies.ok() && policies->size() == 1u) << policies.status();
  EXPECT_EQ((*policies)[0].name, "a");
  EXPECT_TRUE(catalogue_->ListPolicySwitches()->empty());
}

TEST_F(SqliteCatalogueTest, CommitsAllOfAChangeOrNothing) {
  CatalogueLimits limits;
  limits.policies = 1;
  Open(limits);
  PolicyCommit commit;
  commit.applied = {Policy("a", "1"), Policy("b", "2")};
  commit.versions = {Version("a", "1")};
  EXPECT_TRUE(absl::IsResourceExhausted(catalogue_->CommitPolicies(commit)));
  EXPECT_TRUE(catalogue_->ListPolicies()->empty());
  EXPECT_EQ(Numbers(*catalogue_, "a"), "");
  // Nor does it count.
  EXPECT_TRUE(catalogue_->PutPolicy(Policy("a", "1")).ok());
}

TEST_F(SqliteCatalogueTest, ForgetsTheOldestVersionsOfAPolicy) {
  CatalogueLimits limits;
  limits.versions_per_policy = 3;
  Open(limits);
  PolicyCommit commit;
  for (int i = 1; i <= 5; ++i) {
    commit.versions = {Version("web", absl::StrCat(i))};
    ASSERT_TRUE(catalogue_->CommitPolicies(commit).ok());
  }
  EXPECT_EQ(Numbers(*catalogue_, "web"), "5 4 3");
  // A daemon that is told to keep fewer does.
  limits.versions_per_policy = 1;
  Open(limits);
  commit.versions = {Version("web", "6")};
  ASSERT_TRUE(catalogue_->CommitPolicies(commit).ok());
  EXPECT_EQ(Numbers(*catalogue_, "web"), "6");
}

TEST_F(SqliteCatalogueTest, ForgetsTheOldestVersionsOfAllButTheNewestOfEach) {
  CatalogueLimits limits;
  limits.versions = 4;
  limits.version_bytes = 100;
  Open(limits);
  PolicyCommit commit;
  commit.versions = {Version("old", "1", 10), Version("b", "1", 20),
                     Version("b", "2", 30), Version("b", "3", 40)};
  ASSERT_TRUE(catalogue_->CommitPolicies(commit).ok());
  commit.versions = {Version("c", "1", 50)};
  ASSERT_TRUE(catalogue_->CommitPolicies(commit).ok());
  EXPECT_EQ(Numbers(*catalogue_, "old"), "1");
  EXPECT_EQ(Numbers(*catalogue_, "b"), "3 2");
  // By bytes, and when only newest ones are left, those too.
  commit.versions = {Version("d", std::string(98, 'x'), 60)};
  ASSERT_TRUE(catalogue_->CommitPolicies(commit).ok());
  EXPECT_EQ(Numbers(*catalogue_, "d"), "1");
  EXPECT_EQ(Numbers(*catalogue_, "old"), "");
  EXPECT_EQ(Numbers(*catalogue_, "b"), "3");
  EXPECT_EQ(Numbers(*catalogue_, "c"), "1");
}

TEST_F(SqliteCatalogueTest, MakesAHistoryOfWhatAnOlderReleaseKept) {
  ASSERT_TRUE(catalogue_->PutPolicy(Policy("web", "text")).ok());
  Edit(
      "DROP TABLE policy_versions; DROP TABLE policy_files; "
      "DROP TABLE policy_holds; DROP TABLE profiles; "
      "DROP TABLE policy_switches; "
      "DELETE FROM schema_version; "
      "INSERT INTO schema_version VALUES (1)");
  Open();
  EXPECT_EQ(Numbers(*catalogue_, "web"), "1");
  EXPECT_EQ(catalogue_->GetPolicyVersion("web", 1)->source, "text");
  EXPECT_EQ(catalogue_->ListPolicies()->size(), 1u);
}

TEST_F(SqliteCatalogueTest, KeepsQuarantineWhenTheModuleGoes) {
  ASSERT_TRUE(catalogue_->PutModule(Module("acme", "bytes")).ok());
  ASSERT_TRUE(*catalogue_->PutQuarantine(Quarantine("acme", "bytes")));
  ASSERT_TRUE(catalogue_->DeleteModule("acme", DigestOf("bytes")).ok());
  ASSERT_TRUE(catalogue_->PutModule(Module("acme", "bytes")).ok());
  Open();
  const absl::StatusOr<std::optional<QuarantineRecord>> found =
      catalogue_->FindQuarantine("acme", DigestOf("bytes"));
  ASSERT_TRUE(found.ok()) << found.status();
  ASSERT_TRUE(found->has_value());
  EXPECT_EQ((*found)->policy, "baseline");
  EXPECT_EQ((*found)->rule, "exfil");
  EXPECT_EQ((*found)->reason, "sent a secret");
  EXPECT_EQ((*found)->since, absl::FromUnixNanos(1'700'000'000'000'000'001));
  EXPECT_EQ(*catalogue_->CountQuarantined(), 1u);
}

TEST_F(SqliteCatalogueTest, KeepsTheFirstReasonOfAQuarantine) {
  ASSERT_TRUE(*catalogue_->PutQuarantine(Quarantine("acme", "bytes")));
  QuarantineRecord second = Quarantine("acme", "bytes");
  second.reason = "another";
  EXPECT_FALSE(*catalogue_->PutQuarantine(second));
  EXPECT_EQ((*catalogue_->FindQuarantine("acme", second.digest))->reason,
            "sent a secret");
}

TEST_F(SqliteCatalogueTest, CutsLongReasonsRatherThanLettingTheModuleGo) {
  QuarantineRecord quarantine = Quarantine("acme", "bytes");
  quarantine.reason = std::string(1 << 20, 'r');
  ASSERT_TRUE(*catalogue_->PutQuarantine(quarantine));
  EXPECT_EQ(
      (*catalogue_->FindQuarantine("acme", quarantine.digest))->reason.size(),
      kReasonBytesMax);
}

// Each bound is met exactly, then passed by one.
TEST_F(SqliteCatalogueTest, HoldsItsBounds) {
  CatalogueLimits limits;
  limits.modules = 2;
  limits.policies = 2;
  limits.policy_bytes = 8;
  limits.quarantined = 1;
  Open(limits);

  ASSERT_TRUE(catalogue_->PutModule(Module("acme", "1")).ok());
  ASSERT_TRUE(catalogue_->PutModule(Module("globex", "1")).ok());
  absl::Status status = catalogue_->PutModule(Module("acme", "2")).status();
  EXPECT_TRUE(absl::IsResourceExhausted(status));
  EXPECT_THAT(Message(status), HasSubstr("2 modules"));
  EXPECT_FALSE(*catalogue_->PutModule(Module("acme", "1")));
  ASSERT_TRUE(catalogue_->DeleteModule("acme", DigestOf("1")).ok());
  EXPECT_TRUE(catalogue_->PutModule(Module("acme", "2")).ok());

  ASSERT_TRUE(catalogue_->PutPolicy(Policy("a", "1234")).ok());
  ASSERT_TRUE(catalogue_->PutPolicy(Policy("b", "1234")).ok());
  status = catalogue_->PutPolicy(Policy("c", ""));
  EXPECT_TRUE(absl::IsResourceExhausted(status));
  EXPECT_THAT(Message(status), HasSubstr("2 policies"));
  status = catalogue_->PutPolicy(Policy("b", "12345"));
  EXPECT_TRUE(absl::IsResourceExhausted(status));
  EXPECT_THAT(Message(status), AllOf(HasSubstr("9 bytes"), HasSubstr("8")));
  EXPECT_TRUE(catalogue_->PutPolicy(Policy("a", "123")).ok());
  EXPECT_TRUE(catalogue_->PutPolicy(Policy("b", "12345")).ok());

  ASSERT_TRUE(catalogue_->PutQuarantine(Quarantine("acme", "1")).ok());
  status = catalogue_->PutQuarantine(Quarantine("acme", "2")).status();
  EXPECT_TRUE(absl::IsResourceExhausted(status));
  EXPECT_FALSE(*catalogue_->PutQuarantine(Quarantine("acme", "1")));

  // The totals are those of the file, not of this run.
  Open(limits);
  EXPECT_TRUE(absl::IsResourceExhausted(
      catalogue_->PutModule(Module("acme", "3")).status()));
  EXPECT_TRUE(
      absl::IsResourceExhausted(catalogue_->PutPolicy(Policy("b", "123456"))));
  EXPECT_TRUE(absl::IsResourceExhausted(
      catalogue_->PutQuarantine(Quarantine("acme", "2")).status()));
}

TEST_F(SqliteCatalogueTest, RefusesWhatIsTooLong) {
  ModuleRecord module = Module("acme", "bytes");
  module.labels = {
      {std::string(kLabelBytesMax, 'k'), std::string(kLabelBytesMax, 'v')}};
  EXPECT_TRUE(catalogue_->PutModule(module).ok());
  module.digest = DigestOf("2");
  module.labels = {{std::string(kLabelBytesMax + 1, 'k'), "v"}};
  EXPECT_TRUE(absl::IsInvalidArgument(catalogue_->PutModule(module).status()));
  module.labels = {{"k", std::string(kLabelBytesMax + 1, 'v')}};
  EXPECT_TRUE(absl::IsInvalidArgument(catalogue_->PutModule(module).status()));
  module.labels.clear();
  for (size_t i = 0; i <= kLabelsMax; ++i) {
    module.labels[absl::StrCat("k", i)] = "v";
  }
  EXPECT_TRUE(absl::IsInvalidArgument(catalogue_->PutModule(module).status()));
  module.labels.erase("k0");
  EXPECT_TRUE(catalogue_->PutModule(module).ok());
  module.tenant = std::string(kTenantBytesMax + 1, 't');
  EXPECT_TRUE(absl::IsInvalidArgument(catalogue_->PutModule(module).status()));

  EXPECT_TRUE(catalogue_
                  ->PutPolicy(Policy(std::string(kPolicyNameBytesMax, 'n'),
                                     std::string(kPolicySourceBytesMax, 's')))
                  .ok());
  EXPECT_TRUE(absl::IsInvalidArgument(catalogue_->PutPolicy(
      Policy("n", std::string(kPolicySourceBytesMax + 1, 's')))));
  EXPECT_TRUE(absl::IsInvalidArgument(catalogue_->PutPolicy(
      Policy(std::string(kPolicyNameBytesMax + 1, 'n'), "s"))));
}

TEST_F(SqliteCatalogueTest, TurnsAwayASecondUser) {
  // In this process,
  EXPECT_TRUE(absl::IsAborted(
      SqliteCatalogue::Open(path_, CatalogueLimits(), nullptr).status()));
  // and in another, which must not shake the first one's hold either.
  for (int i = 0; i < 2; ++i) {
    const pid_t child = fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      const bool turned_away = absl::IsAborted(
          SqliteCatalogue::Open(path_, CatalogueLimits(), nullptr).status());
      _exit(turned_away ? 0 : 1);
    }
    int ended = 0;
    ASSERT_EQ(waitpid(child, &ended, 0), child);
    EXPECT_TRUE(WIFEXITED(ended) && WEXITSTATUS(ended) == 0) << ended;
  }
  EXPECT_TRUE(catalogue_->PutModule(Module("acme", "bytes")).ok());
}

TEST_F(SqliteCatalogueTest, LeavesTheFileOfANewerReleaseAlone) {
  ASSERT_TRUE(catalogue_->PutModule(Module("acme", "bytes")).ok());
  Edit("INSERT INTO schema_version VALUES (999)");
  const absl::Status status =
      SqliteCatalogue::Open(path_, CatalogueLimits(), nullptr).status();
  EXPECT_TRUE(absl::IsFailedPrecondition(status)) << status;
  EXPECT_THAT(Message(status), AllOf(HasSubstr(path_), HasSubstr("version 999"),
                                     HasSubstr("newer callgated")));
  Edit("DELETE FROM schema_version WHERE version = 999");
  Open();
  EXPECT_TRUE(catalogue_->GetModule("acme", DigestOf("bytes")).ok());
}

TEST_F(SqliteCatalogueTest, RefusesAFileThatIsNoCatalogue) {
  catalogue_ = nullptr;
  std::ofstream(path_, std::ios::binary | std::ios::trunc)
      << std::string(8192, 'x');
  const absl::Status status =
      SqliteCatalogue::Open(path_, CatalogueLimits(), nullptr).status();
  EXPECT_TRUE(absl::IsDataLoss(status)) << status;
  EXPECT_THAT(Message(status), HasSubstr(path_));
}

TEST_F(SqliteCatalogueTest, TellsTheObserverOfAnswersAndFailures) {
  ASSERT_TRUE(catalogue_->PutModule(Module("acme", "bytes")).ok());
  EXPECT_FALSE(catalogue_->GetModule("acme", DigestOf("no")).ok());
  EXPECT_EQ(observer_.seen["put_module"], 1);
  EXPECT_EQ(observer_.seen["get_module"], 1);
  EXPECT_EQ(observer_.seen.count("get_module failed"), 0u);
  Edit("DROP TABLE policies; CREATE TABLE policies (name TEXT, source TEXT)");
  Open();
  EXPECT_FALSE(catalogue_->ListPolicies().ok());
  EXPECT_EQ(observer_.seen["list_policies failed"], 1);
}

}  // namespace
}  // namespace callgate::storage
