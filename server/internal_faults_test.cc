// Fail closed, in the daemon: whatever goes wrong between a decision and its
// effect, nothing opens, it is counted each time, and it is told once. With
// real files and a real catalogue on a disk that is full, and a case for each
// place that can report such a fault: one without a case is found.

#include "server/internal_faults.h"

#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "policy/anomaly/profile_book.h"
#include "policy/anomaly/stream.h"
#include "policy/compiler/policy_compiler.h"
#include "policy/hook/policy_hook.h"
#include "policy/state/rule_states.h"
#include "re2/re2.h"
#include "runtime/reference/reference_engine.h"
#include "server/error_reason.h"
#include "server/event_suppressor.h"
#include "server/events/event_log.h"
#include "server/full_disk.h"
#include "server/metrics/metrics.h"
#include "server/metrics/names.h"
#include "server/metrics/observers.h"
#include "server/policies/policy_catalogue.h"
#include "server/profiles/stored_profiles.h"
#include "server/quarantine_book.h"
#include "server/session.h"
#include "server/storage/storage.h"
#include "server/store_watcher.h"
#include "tests/support/wat.h"

namespace callgate {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;

const Engine& TheEngine() {
  static const Engine* const engine = NewReferenceEngine().release();
  return *engine;
}

std::shared_ptr<const policy::Policy> PolicyWith(absl::string_view body) {
  const policy::CompileResult compiled = policy::CompilePolicyText(
      absl::StrCat("api_version: callgate.policy/v1\nkind: Policy\n"
                   "metadata: { name: test }\n",
                   body),
      "test.yaml");
  for (const policy::Problem& problem : compiled.problems) {
    ADD_FAILURE() << problem.ToString();
  }
  return compiled.policy;
}

// What the daemon has of it all, on a directory of the test's own.
class InternalFaultsTest : public testing::Test {
 protected:
  InternalFaultsTest() {
    std::string path =
        std::string(std::getenv("TEST_TMPDIR")) + "/faults.XXXXXX";
    scratch_ = mkdtemp(&path[0]);
    events_ = std::make_unique<events::EventLog>(EventOptions());
    faults_ = std::make_unique<InternalFaults>(*events_, metrics_);
    suppressor_ = std::make_unique<EventSuppressor>(*events_);
    storage::StorageOptions options;
    options.observer = &storage_counter_;
    auto storage = storage::Storage::Open(scratch_ + "/data", options);
    EXPECT_TRUE(storage.ok()) << storage.status();
    storage_ = *std::move(storage);
  }

  events::EventLogOptions EventOptions() {
    events::EventLogOptions options;
    options.observer = &event_counter_;
    return options;
  }

  // Events of this action that have been told.
  int Told(absl::string_view action) {
    events::EventLog::Start start;
    start.include_kept = true;
    auto reader =
        events_->Subscribe(events::EventFilter(), start, events::kSinkWatch);
    EXPECT_TRUE(reader.ok());
    int count = 0;
    while (const auto item = (*reader)->Next(absl::InfinitePast())) {
      if (item->event != nullptr && item->event->action() == action) ++count;
    }
    return count;
  }
  // How often the fault was counted.
  int Counted(InternalFault fault) {
    const std::string line =
        absl::StrCat("callgate_internal_faults_total{fault=\"",
                     InternalFaultName(fault), "\"} ");
    const std::string page = metrics_.Text();
    const size_t at = page.find(line);
    EXPECT_NE(at, std::string::npos) << InternalFaultName(fault);
    return std::atoi(page.c_str() + at + line.size());
  }

  std::unique_ptr<Session> NewSession(
      absl::string_view wat, std::shared_ptr<const policy::Policy> policy) {
    const absl::StatusOr<std::vector<uint8_t>> bytes = AssembleWat(wat);
    EXPECT_TRUE(bytes.ok()) << bytes.status();
    SessionConfig config;
    config.store_id = "s-test";
    config.module_digest = "sha256:test";
    config.module = *Module::Compile(TheEngine(), *bytes);
    config.policies = {std::move(policy)};
    watcher_ = std::make_unique<StoreWatcher>(
        StoreWatcher::Facts{"default", "s-test", "sha256:test"}, *events_,
        *suppressor_, metrics_, [](const policy::PolicyViolation&) {},
        *faults_);
    config.observer = watcher_.get();
    auto session =
        Session::Create(TheEngine(), HostModules(), std::move(config));
    EXPECT_TRUE(session.ok()) << session.status();
    EXPECT_TRUE((*session)->Instantiate().ok());
    return *std::move(session);
  }
  static absl::StatusOr<Outcome> Call(Session& session,
                                      absl::string_view name) {
    CallRequest request;
    request.export_name = std::string(name);
    return session.Call(request);
  }

  std::string scratch_;
  metrics::Metrics metrics_{metrics::MetricsOptions()};
  metrics::StorageCounter storage_counter_{metrics_};
  metrics::EventCounter event_counter_{metrics_};
  std::unique_ptr<events::EventLog> events_;
  std::unique_ptr<InternalFaults> faults_;
  std::unique_ptr<EventSuppressor> suppressor_;
  std::unique_ptr<storage::Storage> storage_;
  std::unique_ptr<StoreWatcher> watcher_;
};

constexpr char kRandom[] = R"((module
  (import "wasi_snapshot_preview1" "random_get"
    (func $random (param i32 i32) (result i32)))
  (memory (export "memory") 1)
  (func (export "random") (result i32)
    (call $random (i32.const 0) (i32.const 8)))
  (func (export "nothing"))))";

// --- A case for each fault ---------------------------------------------------

// Conditions that cannot be compiled for a Store's module.
TEST_F(InternalFaultsTest, EngineStopsTheCall) {
  const auto session =
      NewSession(kRandom, PolicyWith("defaults: { unlisted_import: allow }\n"));
  EXPECT_EQ(Call(*session, "random")->kind, OutcomeKind::kReturned);
  EXPECT_FALSE(session
                   ->ReplacePolicies({PolicyWith(
                       "defaults: { unlisted_import: allow }\n"
                       "rules: [{ id: r, when: 'args.nothing == 1', action: "
                       "log }]\n")})
                   .empty());
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(Call(*session, "random")->kind, OutcomeKind::kPolicyTrapped);
  }
  EXPECT_EQ(Counted(InternalFault::kEngine), 3);
  EXPECT_EQ(Told("policy_engine_fault"), 1);
}

storage::QuarantineRecord SomeQuarantine(char digit) {
  storage::QuarantineRecord record;
  record.tenant = "default";
  record.digest =
      *storage::Digest::Parse(absl::StrCat("sha256:", std::string(64, digit)));
  record.policy = "web";
  record.rule = "bad";
  record.reason = "it did wrong";
  record.since = absl::Now();
  return record;
}

TEST_F(InternalFaultsTest, AQuarantineThatIsNotStoredHolds) {
  const storage::QuarantineRecord record = SomeQuarantine('a');
  auto book = std::make_unique<QuarantineBook>(storage_->catalogue(), *faults_,
                                               *events_);
  {
    const FullDisk full;
    book->Put(record, v1::Event());
    book->RetryUnstored();
    book->RetryUnstored();
  }
  ASSERT_TRUE(book->Find("default", record.digest)->has_value());
  EXPECT_FALSE(storage_->catalogue()
                   .FindQuarantine("default", record.digest)
                   ->has_value());
  EXPECT_EQ(book->unstored(), 1u);
  EXPECT_EQ(Counted(InternalFault::kQuarantineNotStored), 3);
  EXPECT_EQ(Told("module_quarantine_not_stored"), 1);
  EXPECT_EQ(Told("module_quarantined"), 0);

  // There is room again.
  book->RetryUnstored();
  EXPECT_EQ(book->unstored(), 0u);
  EXPECT_EQ(Told("module_quarantine_stored"), 1);
  EXPECT_TRUE(storage_->catalogue()
                  .FindQuarantine("default", record.digest)
                  ->has_value());
  EXPECT_TRUE(book->Find("default", record.digest)->has_value());
  // Only once, however often it is given.
  book->Put(record, v1::Event());
  EXPECT_EQ(Told("module_quarantined"), 0);
}

// A bound that is reached is no way out either.
TEST_F(InternalFaultsTest, AQuarantineOverTheBoundHolds) {
  storage::StorageOptions options;
  options.limits.quarantined = 1;
  auto storage = storage::Storage::Open(scratch_ + "/small", options);
  ASSERT_TRUE(storage.ok());
  QuarantineBook book((*storage)->catalogue(), *faults_, *events_);
  book.Put(SomeQuarantine('a'), v1::Event());
  book.Put(SomeQuarantine('b'), v1::Event());
  EXPECT_EQ(Told("module_quarantined"), 1);
  EXPECT_EQ(Told("module_quarantine_not_stored"), 1);
  EXPECT_TRUE(book.Find("default", SomeQuarantine('b').digest)->has_value());
  EXPECT_FALSE(book.Find("default", SomeQuarantine('c').digest)->has_value());
}

// Whatever is over what can be remembered closes everything.
TEST_F(InternalFaultsTest, MoreQuarantinesThanCanBeHeldCloseEverything) {
  storage::StorageOptions options;
  options.limits.quarantined = 0;
  auto storage = storage::Storage::Open(scratch_ + "/none", options);
  ASSERT_TRUE(storage.ok());
  QuarantineBook book((*storage)->catalogue(), *faults_, *events_);
  storage::QuarantineRecord record = SomeQuarantine('a');
  const storage::Digest stranger = SomeQuarantine('c').digest;
  for (size_t i = 0; i < QuarantineBook::kUnstoredMax; ++i) {
    record.tenant = absl::StrCat("t", i);
    book.Put(record, v1::Event());
  }
  EXPECT_TRUE(book.Find("default", stranger).ok());
  record.tenant = "one more";
  book.Put(record, v1::Event());
  EXPECT_EQ(book.Find("default", stranger).status().code(),
            absl::StatusCode::kUnavailable);
  EXPECT_EQ(book.unstored(), QuarantineBook::kUnstoredMax);
  // Each was counted, and no more told than there are subjects.
  EXPECT_EQ(Counted(InternalFault::kQuarantineNotStored),
            static_cast<int>(QuarantineBook::kUnstoredMax) + 1);
  EXPECT_LE(Told("module_quarantine_not_stored"),
            static_cast<int>(InternalFaults::kSubjectsMax));
}

// The real catalogue, behind a disk whose sectors go bad when a test wants it.
class BadSectors final : public storage::Catalogue {
 public:
  explicit BadSectors(storage::Catalogue& real) : real_(real) {}

  bool bad = false;

  absl::StatusOr<bool> PutModule(const storage::ModuleRecord& m) override {
    return Or(&storage::Catalogue::PutModule, m);
  }
  absl::StatusOr<storage::ModuleRecord> GetModule(
      absl::string_view t, const storage::Digest& d) override {
    return Or(&storage::Catalogue::GetModule, t, d);
  }
  absl::StatusOr<storage::ModulePage> ListModules(
      absl::string_view t, size_t n, absl::string_view a) override {
    return Or(&storage::Catalogue::ListModules, t, n, a);
  }
  absl::Status DeleteModule(absl::string_view t,
                            const storage::Digest& d) override {
    return bad ? Broken() : real_.DeleteModule(t, d);
  }
  absl::StatusOr<bool> AnyTenantHas(const storage::Digest& d) override {
    return Or(&storage::Catalogue::AnyTenantHas, d);
  }
  absl::StatusOr<uint64_t> CountModules() override {
    return Or(&storage::Catalogue::CountModules);
  }
  absl::Status PutPolicy(const storage::PolicyRecord& p) override {
    return bad ? Broken() : real_.PutPolicy(p);
  }
  absl::StatusOr<std::vector<storage::PolicyRecord>> ListPolicies() override {
    return Or(&storage::Catalogue::ListPolicies);
  }
  absl::Status CommitPolicies(const storage::PolicyCommit& c) override {
    return bad ? Broken() : real_.CommitPolicies(c);
  }
  absl::StatusOr<std::vector<storage::PolicyFileRecord>> ListPolicyFiles()
      override {
    return bad_files ? absl::StatusOr<std::vector<storage::PolicyFileRecord>>(
                           Broken())
                     : Or(&storage::Catalogue::ListPolicyFiles);
  }
  bool bad_files = false;
  absl::StatusOr<std::vector<storage::PolicyHoldRecord>> ListPolicyHolds()
      override {
    return Or(&storage::Catalogue::ListPolicyHolds);
  }
  absl::StatusOr<std::vector<storage::PolicySwitchRecord>> ListPolicySwitches()
      override {
    return Or(&storage::Catalogue::ListPolicySwitches);
  }
  absl::StatusOr<std::vector<storage::PolicyVersionRecord>> ListPolicyVersions(
      absl::string_view n) override {
    return Or(&storage::Catalogue::ListPolicyVersions, n);
  }
  absl::StatusOr<storage::PolicyVersionRecord> GetPolicyVersion(
      absl::string_view n, uint64_t v) override {
    return Or(&storage::Catalogue::GetPolicyVersion, n, v);
  }
  absl::StatusOr<bool> PutQuarantine(
      const storage::QuarantineRecord& q) override {
    return Or(&storage::Catalogue::PutQuarantine, q);
  }
  absl::StatusOr<std::optional<storage::QuarantineRecord>> FindQuarantine(
      absl::string_view t, const storage::Digest& d) override {
    return Or(&storage::Catalogue::FindQuarantine, t, d);
  }
  absl::StatusOr<uint64_t> CountQuarantined() override {
    return Or(&storage::Catalogue::CountQuarantined);
  }
  absl::Status PutProfile(const storage::ProfileRecord& p) override {
    return bad ? Broken() : real_.PutProfile(p);
  }
  absl::Status DeleteProfile(absl::string_view t, const storage::Digest& d,
                             absl::string_view s) override {
    return bad ? Broken() : real_.DeleteProfile(t, d, s);
  }
  absl::StatusOr<std::vector<storage::ProfileRecord>> ListProfiles() override {
    return Or(&storage::Catalogue::ListProfiles);
  }

 private:
  static absl::Status Broken() {
    return absl::DataLossError("the catalogue failed: disk image is malformed");
  }
  template <typename Result, typename... Takes, typename... Args>
  Result Or(Result (storage::Catalogue::*call)(Takes...), Args&&... args) {
    if (bad) return Broken();
    return (real_.*call)(std::forward<Args>(args)...);
  }
  storage::Catalogue& real_;
};

TEST_F(InternalFaultsTest, AQuarantineThatIsNotKnownKeepsModulesOut) {
  BadSectors disk(storage_->catalogue());
  QuarantineBook book(disk, *faults_, *events_);
  const storage::Digest digest = SomeQuarantine('a').digest;
  EXPECT_TRUE(book.Find("default", digest).ok());
  disk.bad = true;
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(book.Find("default", digest).status().code(),
              absl::StatusCode::kDataLoss);
  }
  EXPECT_EQ(Counted(InternalFault::kQuarantineNotRead), 3);
  EXPECT_EQ(Told("module_quarantine_not_read"), 1);
  // It works again, and then fails once more: that is news.
  disk.bad = false;
  EXPECT_TRUE(book.Find("default", digest).ok());
  disk.bad = true;
  EXPECT_FALSE(book.Find("default", digest).ok());
  EXPECT_EQ(Told("module_quarantine_not_read"), 2);
}

std::string PolicyText(absl::string_view name, absl::string_view action) {
  return absl::StrCat(
      "api_version: callgate.policy/v1\nkind: Policy\n"
      "metadata: { name: ",
      name, " }\nimports: [{ import: a.b, action: ", action, " }]\n");
}

void WriteFile(const std::string& path, absl::string_view text) {
  std::ofstream(path) << text;
}

TEST_F(InternalFaultsTest, PoliciesThatCannotBeReadStayAsTheyWere) {
  const std::string directory = scratch_ + "/policies";
  ASSERT_EQ(mkdir(directory.c_str(), 0700), 0);
  WriteFile(directory + "/web.yaml", PolicyText("web", "deny"));
  policies::PolicyCatalogue::Options options;
  options.directory = directory;
  auto catalogue = policies::PolicyCatalogue::Open(
      options, storage_->catalogue(), *events_, metrics_);
  ASSERT_TRUE(catalogue.ok()) << catalogue.status();
  const auto before = (*catalogue)->current();
  std::filesystem::remove_all(directory);
  for (int i = 0; i < 3; ++i) EXPECT_FALSE((*catalogue)->Reload().ok());
  EXPECT_EQ((*catalogue)->current(), before);
  EXPECT_EQ(Counted(InternalFault::kPoliciesNotRead), 3);
  EXPECT_EQ(Told("policy_load_failed"), 1);
  EXPECT_THAT(metrics_.Text(),
              HasSubstr("callgate_policy_last_reload_success 0"));
}

// A daemon that cannot know what was in force does not make do with less.
TEST_F(InternalFaultsTest, AStartThatCannotReadWhatWasInForceHasNoPolicies) {
  const std::string directory = scratch_ + "/policies";
  ASSERT_EQ(mkdir(directory.c_str(), 0700), 0);
  WriteFile(directory + "/strict.yaml", PolicyText("strict", "deny"));
  WriteFile(directory + "/lax.yaml", PolicyText("lax", "allow"));
  policies::PolicyCatalogue::Options options;
  options.directory = directory;
  ASSERT_TRUE(policies::PolicyCatalogue::Open(options, storage_->catalogue(),
                                              *events_, metrics_)
                  .ok());
  WriteFile(directory + "/strict.yaml", "nonsense");
  BadSectors disk(storage_->catalogue());
  disk.bad_files = true;
  auto blind =
      policies::PolicyCatalogue::Open(options, disk, *events_, metrics_);
  ASSERT_TRUE(blind.ok()) << blind.status();
  EXPECT_THAT((*blind)->current()->policies(), IsEmpty());
  EXPECT_EQ(Counted(InternalFault::kPoliciesNotRead), 1);
  EXPECT_EQ(Told("policy_load_failed"), 1);
  // With what it knows it has both.
  disk.bad_files = false;
  EXPECT_FALSE((*blind)->Reload().ok());
  EXPECT_NE((*blind)->current()->Find("strict"), nullptr);
  EXPECT_NE((*blind)->current()->Find("lax"), nullptr);
}

// What a file says counts although nobody can write that down, and is written
// down later.
TEST_F(InternalFaultsTest, AHistoryThatIsNotStoredIsMadeUpFor) {
  const std::string directory = scratch_ + "/policies";
  ASSERT_EQ(mkdir(directory.c_str(), 0700), 0);
  WriteFile(directory + "/web.yaml", PolicyText("web", "allow"));
  policies::PolicyCatalogue::Options options;
  options.directory = directory;
  auto catalogue = policies::PolicyCatalogue::Open(
      options, storage_->catalogue(), *events_, metrics_);
  ASSERT_TRUE(catalogue.ok()) << catalogue.status();
  const std::string first = (*catalogue)->current()->Find("web")->version();
  std::vector<std::string> versions;
  for (const char* action : {"log", "deny"}) {
    WriteFile(directory + "/web.yaml", PolicyText("web", action));
    const FullDisk full;
    (*catalogue)->Reload().IgnoreError();
    versions.push_back((*catalogue)->current()->Find("web")->version());
  }
  EXPECT_NE(versions[0], first);
  EXPECT_NE(versions[1], versions[0]);
  EXPECT_EQ((*catalogue)->History("web")->size(), 1u);
  {
    const FullDisk full;
    (*catalogue)->RetryUnstored();
  }
  EXPECT_EQ(Counted(InternalFault::kPolicyHistoryNotStored), 3);
  EXPECT_EQ(Told("policy_history_not_stored"), 1);
  (*catalogue)->RetryUnstored();
  const auto history = (*catalogue)->History("web");
  ASSERT_TRUE(history.ok());
  ASSERT_EQ(history->size(), 3u);
  EXPECT_EQ((*history)[0].record.version, versions[1]);
  EXPECT_TRUE((*history)[0].in_force);
  EXPECT_EQ((*history)[1].record.version, versions[0]);
  (*catalogue)->RetryUnstored();
  EXPECT_EQ((*catalogue)->History("web")->size(), 3u);
}

// Nothing that somebody asks for is in force unless it is stored.
TEST_F(InternalFaultsTest, ChangesThatAreNotStoredDoNotHappen) {
  auto catalogue = policies::PolicyCatalogue::Open({}, storage_->catalogue(),
                                                   *events_, metrics_);
  ASSERT_TRUE(catalogue.ok()) << catalogue.status();
  policies::PolicyCatalogue::ApplyRequest strict;
  strict.source = PolicyText("web", "deny");
  ASSERT_TRUE((*catalogue)->Apply(strict).ok());
  const auto before = (*catalogue)->current();
  policies::PolicyCatalogue::ApplyRequest lax;
  lax.source = PolicyText("web", "allow");
  policies::PolicyCatalogue::SwitchRequest web;
  web.name = "web";
  std::vector<absl::Status> said;
  {
    const FullDisk full;
    said.push_back((*catalogue)->Apply(lax).status());
    said.push_back((*catalogue)->Delete(web).status());
    said.push_back((*catalogue)->SetActive(web, false).status());
    said.push_back((*catalogue)->SetMode(web, policy::Mode::kAudit).status());
  }
  for (const absl::Status& status : said) EXPECT_FALSE(status.ok());
  EXPECT_EQ((*catalogue)->current(), before);
  EXPECT_EQ((*catalogue)->Get("web")->mode, "enforce");
  EXPECT_THAT(metrics_.Text(),
              HasSubstr("callgate_storage_errors_total{engine=\"sqlite\",op="
                        "\"commit_policies\"} 4"));
}

// A policy swap that fails half-way: the Store that cannot follow takes no
// calls, and takes them again when it can.
TEST_F(InternalFaultsTest, AStoreThatCannotWatchTakesNoCalls) {
  const std::string open = "defaults: { unlisted_import: allow }\n";
  const auto session = NewSession(kRandom, PolicyWith(open));
  EXPECT_EQ(Call(*session, "random")->kind, OutcomeKind::kReturned);
  std::string rules = absl::StrCat(open, "rules:\n");
  for (size_t i = 0; i <= FunctionFilter::kEntriesMax; ++i) {
    absl::StrAppend(&rules, "  - { id: r", i, ", event: function, function: f",
                    i, ", when: 'true', action: log }\n");
  }
  session->ReplacePolicies({PolicyWith(rules)});
  for (int i = 0; i < 3; ++i) {
    const absl::StatusOr<Outcome> refused = Call(*session, "nothing");
    EXPECT_EQ(ReasonOf(refused.status()), reason::kPolicyRefused);
  }
  EXPECT_EQ(Counted(InternalFault::kProbesNotPlaced), 3);
  EXPECT_EQ(Told("store_not_watched"), 1);
  session->ReplacePolicies({PolicyWith(open)});
  EXPECT_EQ(Call(*session, "random")->kind, OutcomeKind::kReturned);
}

// What a run teaches stays in memory, where it makes the profile stricter and
// never laxer; that the disk has it not is counted and told once.
TEST_F(InternalFaultsTest, AProfileThatIsNotStoredIsTold) {
  StoredProfiles keeper(storage_->catalogue(), [this](const absl::Status&) {
    v1::Event event;
    event.set_action("profile_not_kept");
    faults_->Report(InternalFault::kProfileNotStored, "", std::move(event));
  });
  policy::anomaly::ProfileBook book(&keeper);
  const policy::anomaly::ProfileId id = {
      "default", absl::StrCat("sha256:", std::string(64, 'a')),
      policy::anomaly::Shape()};
  policy::anomaly::Stream::Options wanted;
  wanted.record_ngrams_max = 100;
  policy::anomaly::Stream stream(wanted);
  const uint32_t site = stream.AddSite("env", "f", {1, 2});
  for (int i = 0; i < 9; ++i) {
    stream.Calling(site);
    stream.Returned(policy::anomaly::ErrnoClass::kOk);
  }
  for (int i = 0; i < 3; ++i) {
    const FullDisk full;
    book.Submit(id, stream.record(), absl::StrCat("s-", i),
                absl::FromUnixSeconds(9), policy::anomaly::LearningRule(), 100)
        .IgnoreError();
    keeper.Flush();
  }
  EXPECT_EQ(Counted(InternalFault::kProfileNotStored), 3);
  EXPECT_EQ(Told("profile_not_kept"), 1);
  EXPECT_THAT(metrics_.Text(),
              HasSubstr("callgate_storage_errors_total{engine=\"sqlite\",op="
                        "\"put_profile\"} 3"));
  EXPECT_THAT(*storage_->catalogue().ListProfiles(), IsEmpty());
}

TEST_F(InternalFaultsTest, ARunThatCannotBeLearnedIsTold) {
  const auto session =
      NewSession(kRandom, PolicyWith("defaults: { unlisted_import: allow }\n"));
  for (int i = 0; i < 3; ++i) {
    watcher_->OnNotLearned(absl::UnavailableError("the disk is full"));
  }
  EXPECT_EQ(Counted(InternalFault::kProfileNotStored), 3);
  EXPECT_EQ(Told("profile_not_learned"), 1);
  // It works again, and then does not.
  watcher_->OnLearned();
  watcher_->OnNotLearned(absl::UnavailableError("the disk is full"));
  EXPECT_EQ(Told("profile_not_learned"), 2);
  // A bound is no fault.
  watcher_->OnNotLearned(absl::ResourceExhaustedError("256 wait already"));
  EXPECT_EQ(Counted(InternalFault::kProfileNotStored), 4);
  EXPECT_EQ(Told("profile_not_learned"), 3);
}

// What is stored of a profile and cannot be read is no empty profile, which
// would be learned anew from whoever comes first.
TEST_F(InternalFaultsTest, AProfileThatCannotBeReadIsNotForgotten) {
  storage::ProfileRecord record;
  record.tenant = "default";
  record.digest = SomeQuarantine('a').digest;
  record.shape = "6-4-e-0";
  record.bytes = "nonsense";
  ASSERT_TRUE(storage_->catalogue().PutProfile(record).ok());
  StoredProfiles keeper(storage_->catalogue());
  policy::anomaly::ProfileBook book(&keeper);
  // With this the daemon does not start.
  EXPECT_EQ(keeper.LoadInto(book).code(), absl::StatusCode::kDataLoss);
}

// --- Events that nobody can take ---------------------------------------------

TEST_F(InternalFaultsTest, AFullEventLogLosesNoDecision) {
  events::EventLogOptions small = EventOptions();
  small.events_max = 2;
  small.critical_events_max = 2;
  small.store_budget = {3, 0};
  small.store_critical_budget = {3, 0};
  events_ = std::make_unique<events::EventLog>(small);
  faults_ = std::make_unique<InternalFaults>(*events_, metrics_);
  suppressor_ = std::make_unique<EventSuppressor>(*events_);
  events::EventLog::Start start;
  start.include_kept = true;
  auto slow =
      events_->Subscribe(events::EventFilter(), start, events::kSinkWatch);
  ASSERT_TRUE(slow.ok());
  {
    const auto session = NewSession(
        kRandom, PolicyWith("imports: [{ import: "
                            "wasi_snapshot_preview1.random_get, action: deny, "
                            "guest_errno: 63, severity: error, id: r }]\n"));
    for (int i = 0; i < 20; ++i) {
      EXPECT_EQ(Call(*session, "random")->results[0].i32(), 63);
    }
    events_->ForgetStore("s-test");
  }
  const std::string page = metrics_.Text();
  EXPECT_THAT(page, HasSubstr("verdict=\"deny\",mode=\"enforce\"} 20"));
  // 3 of 20 were logged; the other 17 are one gap there.
  EXPECT_THAT(page, HasSubstr("callgate_events_dropped_total{sink=\"log\","
                              "reason=\"store_budget\"} 17"));
  EXPECT_THAT(page, HasSubstr("callgate_events_dropped_total{sink=\"watch\","
                              "reason=\"queue_full\"} 1"));
  uint64_t missing = 0;
  int got = 0;
  while (const auto item = (*slow)->Next(absl::InfinitePast())) {
    if (item->gap.has_value()) missing += item->gap->count();
    if (item->event == nullptr) continue;
    if (item->event->has_gap()) {
      missing += item->event->gap().count();
    } else {
      ++got;
    }
  }
  // Every one that is not there is marked.
  EXPECT_EQ(missing + static_cast<uint64_t>(got), 20u);
}

// --- Memory ------------------------------------------------------------------

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
// Binds states until there is no memory for another, as on a guest's stack,
// which no exception leaves. Ends the process well if a rule is without one.
void BindForEver(const policy::Policy& policy) noexcept {
  // A little more than there is in use.
  uint64_t pages = 0;
  std::ifstream("/proc/self/statm") >> pages;
  const rlim_t bytes =
      pages * static_cast<uint64_t>(sysconf(_SC_PAGESIZE)) + (8 << 20);
  const rlimit little = {bytes, bytes};
  setrlimit(RLIMIT_AS, &little);
  std::vector<std::unique_ptr<policy::RuleStates>> all;
  std::vector<std::unique_ptr<policy::StoreStates>> stores;
  std::vector<std::shared_ptr<policy::RuleState>> states;
  while (true) {
    all.push_back(std::make_unique<policy::RuleStates>());
    stores.push_back(all.back()->ForStore("t", "d"));
    const auto bound = stores.back()->Bind(policy.StateShapes());
    if (bound.empty() || bound[0] == nullptr) std::exit(0);
    states.push_back(bound[0]);
  }
}

// A rule whose state cannot be had is no rule that lets everything through: the
// process ends, and what it had acknowledged is on disk.
TEST(InternalFaultsDeathTest, NoMemoryForARulesStateEndsTheProcess) {
  testing::GTEST_FLAG(death_test_style) = "threadsafe";
  const auto policy = PolicyWith(
      "rate_limits: [{ id: r, import: a.b, key: [store], refill_per_second: 1, "
      "burst: 1, action: deny, max_keys: 65536 }]\n");
  EXPECT_EXIT(BindForEver(*policy), testing::KilledBySignal(SIGABRT), "");
}
#endif

// --- No place without a case -------------------------------------------------

struct Case {
  std::string file;
  std::string fault;  // "kEngine"
  std::string test;   // in this file, or in services/faults_test.cc
};

const std::vector<Case>& Cases() {
  static const auto* const cases = new std::vector<Case>({
      {"server/store_watcher.cc", "kEngine", "EngineStopsTheCall"},
      {"server/store_watcher.cc", "kProfileNotStored",
       "ARunThatCannotBeLearnedIsTold"},
      {"server/daemon.cc", "kProfileNotStored",
       "AProfileThatIsNotStoredIsTold"},
      {"server/store_watcher.cc", "kProbesNotPlaced",
       "AStoreThatCannotWatchTakesNoCalls"},
      {"server/quarantine_book.cc", "kQuarantineNotStored",
       "AQuarantineThatIsNotStoredHolds"},
      {"server/quarantine_book.cc", "kQuarantineNotRead",
       "AQuarantineThatIsNotKnownKeepsModulesOut"},
      {"server/policies/policy_catalogue_reload.cc", "kPoliciesNotRead",
       "PoliciesThatCannotBeReadStayAsTheyWere"},
      {"server/policies/policy_catalogue_reload.cc", "kPolicyHistoryNotStored",
       "AHistoryThatIsNotStoredIsMadeUpFor"},
      {"server/daemon.cc", "kTraceNotWritten", "ATraceThatIsNotWrittenIsTold"},
      {"server/daemon.cc", "kAlertsNotWritten",
       "AlertsThatAreNotWrittenAreCountedAndMarked"},
  });
  return *cases;
}

// Statuses that nobody looks at, with the reason why that opens nothing.
const std::map<std::string, std::string>& Ignored() {
  static const auto* const ignored = new std::map<std::string, std::string>({
      {"server/traces/trace_library.cc: End().IgnoreError();",
       "on_failed has been told"},
      {"server/traces/trace_library.cc: if (file_ != nullptr && file_->name() "
       "== name) file_->Flush().IgnoreError();",
       "what is there can be read; the end of the trace tells of the rest"},
      {"server/traces/trace_library.cc: if (file_ != nullptr && file_->name() "
       "== name) End().IgnoreError();",
       "it is removed anyway"},
      {"server/policies/policy_catalogue.cc: static_cast<void>(loaded);",
       "what is wrong with single policies has been told by Reload"},
      {"server/daemon.cc: policies_->Reload().IgnoreError();",
       "the same, by the watcher"},
      {"server/storage/storage.cc: static_cast<void>(written);",
       "a pid that is only shown"},
      {"server/storage/storage.cc: static_cast<void>(removed);",
       "an orphan, which the next start removes"},
      {"server/storage/sqlite.cc: static_cast<void>(rolled_back);",
       "SQLite has rolled back before, or has nothing to"},
  });
  return *ignored;
}

// The tree, which this file is a link into.
const std::filesystem::path& Tree() {
  static const auto* const tree = new std::filesystem::path(
      std::filesystem::canonical("server/internal_faults_test.cc")
          .parent_path()
          .parent_path());
  return *tree;
}

std::string ReadAll(const std::string& path) {
  std::stringstream text;
  text << std::ifstream(Tree() / path).rdbuf();
  return text.str();
}

// Sources of the daemon, without tests and without the client.
std::vector<std::string> Sources() {
  std::vector<std::string> sources;
  for (const auto& entry :
       std::filesystem::recursive_directory_iterator(Tree() / "server")) {
    const std::string path =
        std::filesystem::relative(entry.path(), Tree()).string();
    if (entry.path().extension() != ".cc" || absl::EndsWith(path, "_test.cc") ||
        absl::StartsWith(path, "server/cli/")) {
      continue;
    }
    sources.push_back(path);
  }
  return sources;
}

TEST(InternalFaultsPlaces, EveryPlaceThatReportsOneHasACase) {
  const std::string tests = ReadAll("server/internal_faults_test.cc") +
                            ReadAll("server/services/faults_test.cc");
  std::set<std::pair<std::string, std::string>> with_case;
  std::set<std::string> faults_with_case;
  for (const Case& one : Cases()) {
    with_case.emplace(one.file, one.fault);
    faults_with_case.insert(one.fault);
    EXPECT_THAT(tests, HasSubstr(absl::StrCat(", ", one.test, ") {")));
  }
  EXPECT_EQ(faults_with_case.size(), kInternalFaults);

  const std::vector<std::string> sources = Sources();
  EXPECT_GT(sources.size(), 40u);
  const RE2 use("InternalFault::(k[A-Za-z]+)");
  std::set<std::pair<std::string, std::string>> places;
  for (const std::string& path : sources) {
    // Where they have their names.
    if (path == "server/internal_faults.cc") continue;
    const std::string source = ReadAll(path);
    re2::StringPiece rest(source);
    std::string name;
    while (RE2::FindAndConsume(&rest, use, &name)) places.emplace(path, name);
  }
  EXPECT_EQ(places, with_case);
}

TEST(InternalFaultsPlaces, EveryStatusThatIsIgnoredHasAReason) {
  std::set<std::string> found;
  for (const std::string& path : Sources()) {
    std::ifstream source(Tree() / path);
    for (std::string line; std::getline(source, line);) {
      const size_t begin = line.find_first_not_of(' ');
      if (begin == std::string::npos || line.compare(begin, 2, "//") == 0) {
        continue;
      }
      if (!absl::StrContains(line, "IgnoreError()") &&
          !absl::StrContains(line, "static_cast<void>(")) {
        continue;
      }
      found.insert(absl::StrCat(path, ": ", line.substr(begin)));
    }
  }
  std::set<std::string> known;
  for (const auto& [place, why] : Ignored()) known.insert(place);
  EXPECT_EQ(found, known);
}

TEST(InternalFaultsPlaces, HaveTheWordsOfTheMetric) {
  std::set<std::string> words;
  for (size_t i = 0; i < kInternalFaults; ++i) {
    words.insert(std::string(InternalFaultName(static_cast<InternalFault>(i))));
  }
  const metrics::Family& family = metrics::AllFamilies().internal_faults_total;
  EXPECT_EQ(words, std::set<std::string>(family.labels[0].values.begin(),
                                         family.labels[0].values.end()));
}

}  // namespace
}  // namespace callgate
