#include "server/profiles/stored_profiles.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "policy/anomaly/profile_bytes.h"
#include "policy/anomaly/stream.h"
#include "server/storage/storage.h"

namespace callgate {
namespace {

using policy::anomaly::LearningRule;
using policy::anomaly::Profile;
using policy::anomaly::ProfileBook;
using policy::anomaly::ProfileId;
using policy::anomaly::RunRecord;
using policy::anomaly::Shape;
using policy::anomaly::Stream;

RunRecord SomeRun() {
  Stream::Options options;
  options.record_ngrams_max = 100;
  Stream stream(options);
  const uint32_t site = stream.AddSite("env", "f", {1, 2});
  for (int i = 0; i < 5; ++i) {
    stream.Calling(site);
    stream.Returned(policy::anomaly::ErrnoClass::kOk);
  }
  return stream.record();
}

class StoredProfilesTest : public testing::Test {
 protected:
  std::unique_ptr<storage::Storage> Open() {
    auto storage = storage::Storage::Open(folder_, {});
    EXPECT_TRUE(storage.ok()) << storage.status();
    return *std::move(storage);
  }

  const std::string folder_ = absl::StrCat(
      testing::TempDir(), "/profiles-",
      testing::UnitTest::GetInstance()->current_test_info()->name());
  const ProfileId id_ = {"acme", absl::StrCat("sha256:", std::string(64, 'a')),
                         Shape()};
};

TEST_F(StoredProfilesTest, SurviveARestart) {
  std::string bytes;
  {
    const auto storage = Open();
    StoredProfiles keeper(storage->catalogue());
    ProfileBook book(&keeper);
    ASSERT_TRUE(keeper.LoadInto(book).ok());
    ASSERT_TRUE(book.Submit(id_, SomeRun(), "s-1", absl::FromUnixSeconds(9),
                            LearningRule(), 100)
                    .ok());
    ASSERT_TRUE(book.Edit(id_, [](Profile& p) { return p.Approve(); }).ok());
    bytes = policy::anomaly::SerialiseProfile(*book.Get(id_));
  }
  {
    const auto storage = Open();
    StoredProfiles keeper(storage->catalogue());
    ProfileBook book(&keeper);
    ASSERT_TRUE(keeper.LoadInto(book).ok());
    const auto profile = book.Get(id_);
    ASSERT_TRUE(profile.ok()) << profile.status();
    EXPECT_EQ(policy::anomaly::SerialiseProfile(*profile), bytes);
    ASSERT_TRUE(book.Remove(id_).ok());
  }
  const auto storage = Open();
  EXPECT_THAT(*storage->catalogue().ListProfiles(), testing::IsEmpty());
  EXPECT_TRUE(absl::IsNotFound(storage->catalogue().DeleteProfile(
      "acme", *storage::Digest::Parse(id_.module_digest), "6-4-e-0")));
}

// A catalogue whose writes of profiles wait until they are let go, or fail.
class SlowCatalogue final : public storage::Catalogue {
 public:
  absl::Status PutProfile(const storage::ProfileRecord& profile) override {
    std::unique_lock<std::mutex> lock(mu);
    ++begun;
    changed.notify_all();
    changed.wait(lock, [this] { return lets_go; });
    if (fails) return absl::UnavailableError("the disk is full");
    written.push_back(profile);
    return absl::OkStatus();
  }
  absl::Status DeleteProfile(absl::string_view tenant, const storage::Digest&,
                             absl::string_view) override {
    const std::lock_guard<std::mutex> lock(mu);
    deleted.push_back(std::string(tenant));
    return absl::NotFoundError("it is not there");
  }
  void WaitUntilBegun(int number) {
    std::unique_lock<std::mutex> lock(mu);
    changed.wait(lock, [&] { return begun >= number; });
  }
  void LetGo(bool failing = false) {
    {
      const std::lock_guard<std::mutex> lock(mu);
      lets_go = true;
      fails = failing;
    }
    changed.notify_all();
  }

  // Nobody asks for the rest.
  absl::StatusOr<bool> PutModule(const storage::ModuleRecord&) override {
    return Unasked();
  }
  absl::StatusOr<storage::ModuleRecord> GetModule(
      absl::string_view, const storage::Digest&) override {
    return Unasked();
  }
  absl::StatusOr<storage::ModulePage> ListModules(absl::string_view, size_t,
                                                  absl::string_view) override {
    return Unasked();
  }
  absl::Status DeleteModule(absl::string_view,
                            const storage::Digest&) override {
    return Unasked();
  }
  absl::StatusOr<bool> AnyTenantHas(const storage::Digest&) override {
    return Unasked();
  }
  absl::StatusOr<uint64_t> CountModules() override { return Unasked(); }
  absl::Status PutPolicy(const storage::PolicyRecord&) override {
    return Unasked();
  }
  absl::StatusOr<std::vector<storage::PolicyRecord>> ListPolicies() override {
    return Unasked();
  }
  absl::Status CommitPolicies(const storage::PolicyCommit&) override {
    return Unasked();
  }
  absl::StatusOr<std::vector<storage::PolicyFileRecord>> ListPolicyFiles()
      override {
    return Unasked();
  }
  absl::StatusOr<std::vector<storage::PolicyHoldRecord>> ListPolicyHolds()
      override {
    return Unasked();
  }
  absl::StatusOr<std::vector<storage::PolicySwitchRecord>> ListPolicySwitches()
      override {
    return Unasked();
  }
  absl::StatusOr<std::vector<storage::PolicyVersionRecord>> ListPolicyVersions(
      absl::string_view) override {
    return Unasked();
  }
  absl::StatusOr<storage::PolicyVersionRecord> GetPolicyVersion(
      absl::string_view, uint64_t) override {
    return Unasked();
  }
  absl::StatusOr<bool> PutQuarantine(
      const storage::QuarantineRecord&) override {
    return Unasked();
  }
  absl::StatusOr<std::optional<storage::QuarantineRecord>> FindQuarantine(
      absl::string_view, const storage::Digest&) override {
    return Unasked();
  }
  absl::StatusOr<uint64_t> CountQuarantined() override { return Unasked(); }
  absl::StatusOr<std::vector<storage::ProfileRecord>> ListProfiles() override {
    return Unasked();
  }
  static absl::Status Unasked() { return absl::UnimplementedError("unasked"); }

  std::mutex mu;
  std::condition_variable changed;
  int begun = 0;
  bool lets_go = false;
  bool fails = false;
  std::vector<storage::ProfileRecord> written;
  std::vector<std::string> deleted;
};

TEST_F(StoredProfilesTest, WhoSubmitsARunDoesNotWaitForTheDisk) {
  SlowCatalogue disk;
  {
    StoredProfiles keeper(disk);
    ProfileBook book(&keeper);
    const auto submit = [&] {
      return book
          .Submit(id_, SomeRun(), "s-1", absl::FromUnixSeconds(9),
                  LearningRule(), 100)
          .status();
    };
    // The disk does not go on before this has returned.
    ASSERT_TRUE(submit().ok());
    disk.WaitUntilBegun(1);
    for (int i = 0; i < 5; ++i) ASSERT_TRUE(submit().ok());
    EXPECT_EQ(book.Get(id_)->runs().size(), 6u);
    EXPECT_EQ(disk.begun, 1);
    disk.LetGo();
    keeper.Flush();
    // Those that came meanwhile are one write, of all of them.
    ASSERT_EQ(disk.written.size(), 2u);
    EXPECT_EQ(
        policy::anomaly::ParseProfile(disk.written[0].bytes)->runs().size(),
        1u);
    EXPECT_EQ(
        policy::anomaly::ParseProfile(disk.written[1].bytes)->runs().size(),
        6u);
    ASSERT_TRUE(submit().ok());
  }
  // What waited is there when the keeper is gone.
  ASSERT_EQ(disk.written.size(), 3u);
  EXPECT_EQ(policy::anomaly::ParseProfile(disk.written[2].bytes)->runs().size(),
            7u);
}

TEST_F(StoredProfilesTest, WhatAPersonChangesIsKeptBeforeItIsAnswered) {
  SlowCatalogue disk;
  StoredProfiles keeper(disk);
  ProfileBook book(&keeper);
  ASSERT_TRUE(book.Submit(id_, SomeRun(), "s-1", absl::FromUnixSeconds(9),
                          LearningRule(), 100)
                  .ok());
  disk.WaitUntilBegun(1);
  // Waits for the write that is under way, then for its own.
  std::atomic<bool> answered{false};
  std::thread person([&] {
    EXPECT_TRUE(book.Edit(id_, [](Profile& p) { return p.Approve(); }).ok());
    answered = true;
  });
  EXPECT_FALSE(answered);
  disk.LetGo();
  person.join();
  ASSERT_EQ(disk.written.size(), 2u);
  EXPECT_EQ(policy::anomaly::ParseProfile(disk.written[1].bytes)->state(),
            policy::anomaly::ProfileState::kApproved);
  // And one that cannot be kept is not done.
  disk.LetGo(/*failing=*/true);
  EXPECT_TRUE(absl::IsUnavailable(
      book.Edit(id_, [](Profile& p) { return p.Freeze(); })));
  EXPECT_EQ(book.Get(id_)->state(), policy::anomaly::ProfileState::kApproved);
}

TEST_F(StoredProfilesTest, TellsWhatItCouldNotKeepAndKeepsItWithTheNextRun) {
  SlowCatalogue disk;
  disk.LetGo(/*failing=*/true);
  std::mutex mu;
  std::vector<std::string> told;
  StoredProfiles keeper(disk, [&](const absl::Status& why) {
    const std::lock_guard<std::mutex> lock(mu);
    told.push_back(std::string(why.message()));
  });
  ProfileBook book(&keeper);
  LearningRule rule;
  ASSERT_TRUE(
      book.Submit(id_, SomeRun(), "s", absl::FromUnixSeconds(9), rule, 100)
          .ok());
  keeper.Flush();
  EXPECT_THAT(told, testing::ElementsAre("the disk is full"));
  EXPECT_EQ(disk.written.size(), 0u);
  disk.LetGo();
  ASSERT_TRUE(
      book.Submit(id_, SomeRun(), "s", absl::FromUnixSeconds(9), rule, 100)
          .ok());
  keeper.Flush();
  ASSERT_EQ(disk.written.size(), 1u);
  EXPECT_EQ(policy::anomaly::ParseProfile(disk.written[0].bytes)->runs().size(),
            2u);
}

TEST_F(StoredProfilesTest, HasSoManyWaitAndNoMore) {
  SlowCatalogue disk;
  StoredProfiles keeper(disk);
  const auto profile = std::make_shared<const Profile>(Shape(), 100);
  const auto soon = [&](size_t number) {
    ProfileId id = id_;
    id.tenant = absl::StrCat("t", number);
    return keeper.KeepSoon(id, profile);
  };
  ASSERT_TRUE(soon(0).ok());
  disk.WaitUntilBegun(1);
  for (size_t i = 1; i <= StoredProfiles::kWaitingMax; ++i) {
    ASSERT_TRUE(soon(i).ok()) << i;
  }
  EXPECT_TRUE(absl::IsResourceExhausted(soon(StoredProfiles::kWaitingMax + 1)));
  // In place of one that waits.
  EXPECT_TRUE(soon(1).ok());
  disk.LetGo();
  keeper.Flush();
  EXPECT_EQ(disk.written.size(), StoredProfiles::kWaitingMax + 1);
}

TEST_F(StoredProfilesTest, WhatIsForgottenIsNotWrittenLater) {
  SlowCatalogue disk;
  ProfileId other = id_;
  other.tenant = "globex";
  {
    StoredProfiles keeper(disk);
    const auto profile = std::make_shared<const Profile>(Shape(), 100);
    ASSERT_TRUE(keeper.KeepSoon(other, profile).ok());
    disk.WaitUntilBegun(1);
    ASSERT_TRUE(keeper.KeepSoon(id_, profile).ok());
    // It was never on disk.
    EXPECT_TRUE(keeper.Forget(id_).ok());
    disk.LetGo();
  }
  ASSERT_EQ(disk.written.size(), 1u);
  EXPECT_EQ(disk.written[0].tenant, "globex");
}

TEST_F(StoredProfilesTest, SaysWhatCannotBeRead) {
  const auto storage = Open();
  storage::ProfileRecord record;
  record.tenant = "acme";
  record.digest = *storage::Digest::Parse(id_.module_digest);
  record.shape = "6-4-e-0";
  record.bytes = "nonsense";
  ASSERT_TRUE(storage->catalogue().PutProfile(record).ok());
  StoredProfiles keeper(storage->catalogue());
  ProfileBook book(&keeper);
  const absl::Status status = keeper.LoadInto(book);
  EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss);
  EXPECT_THAT(std::string(status.message()),
              testing::HasSubstr("profile 6-4-e-0 of module sha256:aaaa"));
}

TEST_F(StoredProfilesTest, KeepsToItsBounds) {
  storage::StorageOptions options;
  options.limits.profiles = 1;
  options.limits.profile_bytes = 10;
  auto storage = storage::Storage::Open(folder_, options);
  ASSERT_TRUE(storage.ok());
  storage::ProfileRecord record;
  record.tenant = "acme";
  record.shape = "a";
  record.bytes = std::string(11, 'x');
  storage::Catalogue& catalogue = (*storage)->catalogue();
  EXPECT_TRUE(absl::IsResourceExhausted(catalogue.PutProfile(record)));
  record.bytes = std::string(10, 'x');
  EXPECT_TRUE(catalogue.PutProfile(record).ok());
  // In place of the first.
  record.bytes = std::string(9, 'y');
  EXPECT_TRUE(catalogue.PutProfile(record).ok());
  record.shape = "b";
  record.bytes = "z";
  EXPECT_TRUE(absl::IsResourceExhausted(catalogue.PutProfile(record)));
  ASSERT_TRUE(catalogue.DeleteProfile("acme", record.digest, "a").ok());
  EXPECT_TRUE(catalogue.PutProfile(record).ok());
}

}  // namespace
}  // namespace callgate
