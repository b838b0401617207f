#include "server/profiles/stored_profiles.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

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
