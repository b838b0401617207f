#include "server/storage/blob_store.h"

#include <sys/stat.h>
#include <unistd.h>

#include <fstream>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace callgate::storage {
namespace {

using testing::HasSubstr;

class CountingObserver final : public StorageObserver {
 public:
  void OnOperation(absl::string_view engine, absl::string_view op,
                   absl::Duration took, bool failed) override {
    EXPECT_EQ(engine, kEngineFiles);
    EXPECT_GE(took, absl::ZeroDuration());
    seen.push_back(absl::StrCat(op, failed ? " failed" : ""));
  }
  std::vector<std::string> seen;
};

class BlobStoreTest : public testing::Test {
 protected:
  void SetUp() override {
    std::string folder = testing::TempDir() + "/blobsXXXXXX";
    ASSERT_NE(mkdtemp(&folder[0]), nullptr);
    folder_ = folder + "/modules";
    Open();
  }

  void Open() {
    store_ = nullptr;
    absl::StatusOr<std::unique_ptr<BlobStore>> store =
        BlobStore::Open(folder_, &observer_);
    ASSERT_TRUE(store.ok()) << store.status();
    store_ = *std::move(store);
  }

  std::string PathOf(const Digest& digest) const {
    return absl::StrCat(folder_, "/", digest.hex().substr(0, 2), "/",
                        digest.hex());
  }

  static void Write(const std::string& path, const std::string& bytes) {
    std::ofstream file(path, std::ios::binary | std::ios::trunc);
    file << bytes;
    ASSERT_TRUE(file.good()) << path;
  }

  std::string folder_;
  CountingObserver observer_;
  std::unique_ptr<BlobStore> store_;
};

TEST_F(BlobStoreTest, GivesBackWhatWasPut) {
  for (const std::string& bytes :
       {std::string(), std::string("\0asm\x01\0\0\0", 8),
        std::string(3 << 20, '\xff')}) {
    const Digest digest = DigestOf(bytes);
    ASSERT_TRUE(store_->Put(digest, bytes).ok());
    const absl::StatusOr<std::string> got = store_->Get(digest, 4 << 20);
    ASSERT_TRUE(got.ok()) << got.status();
    EXPECT_EQ(*got, bytes);
  }
  Open();
  EXPECT_TRUE(store_->Get(DigestOf(""), 0).ok());
}

TEST_F(BlobStoreTest, RefusesBytesUnderAnotherDigest) {
  const absl::Status status = store_->Put(DigestOf("one"), "two");
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(store_->Get(DigestOf("one"), 10).status().code(),
            absl::StatusCode::kNotFound);
  EXPECT_THAT(observer_.seen, testing::ElementsAre("put_blob", "get_blob"));
}

TEST_F(BlobStoreTest, RemovesForGood) {
  const Digest digest = DigestOf("bytes");
  ASSERT_TRUE(store_->Put(digest, "bytes").ok());
  EXPECT_TRUE(store_->Remove(digest).ok());
  EXPECT_EQ(store_->Get(digest, 10).status().code(),
            absl::StatusCode::kNotFound);
  EXPECT_TRUE(store_->Remove(digest).ok());
}

TEST_F(BlobStoreTest, NeverGivesChangedBytes) {
  const Digest digest = DigestOf("honest bytes");
  for (const std::string& changed :
       {std::string("honest byteS"), std::string("honest"), std::string(),
        std::string("honest bytes and more")}) {
    ASSERT_TRUE(store_->Put(digest, "honest bytes").ok());
    Write(PathOf(digest), changed);
    const absl::StatusOr<std::string> got = store_->Get(digest, 1000);
    EXPECT_EQ(got.status().code(), absl::StatusCode::kDataLoss) << changed;
    EXPECT_THAT(std::string(got.status().message()), HasSubstr(digest.hex()));
    EXPECT_EQ(observer_.seen.back(), "get_blob failed");
  }
  // Putting the right ones again is the repair that the message names.
  ASSERT_TRUE(store_->Put(digest, "honest bytes").ok());
  EXPECT_TRUE(store_->Get(digest, 1000).ok());
}

TEST_F(BlobStoreTest, DoesNotReadAFileThatGrew) {
  const Digest digest = DigestOf("12345");
  ASSERT_TRUE(store_->Put(digest, "12345").ok());
  EXPECT_TRUE(store_->Get(digest, 5).ok());
  const absl::StatusOr<std::string> got = store_->Get(digest, 4);
  EXPECT_EQ(got.status().code(), absl::StatusCode::kDataLoss);
  EXPECT_THAT(std::string(got.status().message()),
              HasSubstr("5 bytes, and a module at most 4"));
}

TEST_F(BlobStoreTest, DoesNotFollowALink) {
  const Digest digest = DigestOf("bytes");
  ASSERT_TRUE(store_->Put(digest, "bytes").ok());
  const std::string elsewhere = folder_ + "/elsewhere";
  Write(elsewhere, "bytes");
  ASSERT_EQ(unlink(PathOf(digest).c_str()), 0);
  ASSERT_EQ(symlink(elsewhere.c_str(), PathOf(digest).c_str()), 0);
  EXPECT_FALSE(store_->Get(digest, 1000).ok());
}

TEST_F(BlobStoreTest, ClearsWhatWasLeftBehind) {
  const Digest wanted = DigestOf("wanted");
  const Digest orphan = DigestOf("orphan");
  ASSERT_TRUE(store_->Put(wanted, "wanted").ok());
  ASSERT_TRUE(store_->Put(orphan, "orphan").ok());
  Write(folder_ + "/tmp/7", "unfini");
  Write(folder_ + "/README", "somebody else's");
  ASSERT_EQ(mkdir((folder_ + "/zz").c_str(), 0700), 0);
  Write(folder_ + "/zz/notes", "somebody else's");
  Open();
  std::set<std::string> asked;
  const absl::StatusOr<uint64_t> removed =
      store_->RemoveOrphans([&](const Digest& digest) {
        asked.insert(digest.hex());
        return absl::StatusOr<bool>(digest == wanted);
      });
  ASSERT_TRUE(removed.ok()) << removed.status();
  EXPECT_EQ(*removed, 2u);
  EXPECT_EQ(asked, (std::set<std::string>{wanted.hex(), orphan.hex()}));
  EXPECT_TRUE(store_->Get(wanted, 10).ok());
  EXPECT_EQ(store_->Get(orphan, 10).status().code(),
            absl::StatusCode::kNotFound);
  EXPECT_EQ(access((folder_ + "/tmp/7").c_str(), F_OK), -1);
  EXPECT_EQ(access((folder_ + "/README").c_str(), F_OK), 0);
  EXPECT_EQ(access((folder_ + "/zz/notes").c_str(), F_OK), 0);
}

TEST_F(BlobStoreTest, KeepsEverythingWhereItCannotBeAsked) {
  ASSERT_TRUE(store_->Put(DigestOf("bytes"), "bytes").ok());
  const absl::StatusOr<uint64_t> removed =
      store_->RemoveOrphans([](const Digest&) -> absl::StatusOr<bool> {
        return absl::UnavailableError("no disk");
      });
  EXPECT_EQ(removed.status().code(), absl::StatusCode::kUnavailable);
  EXPECT_TRUE(store_->Get(DigestOf("bytes"), 10).ok());
}

TEST_F(BlobStoreTest, TakesTheSameBytesFromManyThreads) {
  const std::string bytes(100'000, 'x');
  const Digest digest = DigestOf(bytes);
  absl::StatusOr<std::unique_ptr<BlobStore>> store =
      BlobStore::Open(folder_ + "2", nullptr);
  ASSERT_TRUE(store.ok()) << store.status();
  std::vector<absl::Status> statuses(8);
  std::vector<std::thread> threads;
  for (absl::Status& status : statuses) {
    threads.emplace_back([&store, &digest, &bytes, &status] {
      for (int i = 0; i < 5 && status.ok(); ++i) {
        status = (*store)->Put(digest, bytes);
        if (status.ok()) status = (*store)->Get(digest, 100'000).status();
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (const absl::Status& status : statuses)
    EXPECT_TRUE(status.ok()) << status;
}

TEST(BlobStoreOpenTest, SaysWhatIsWrongWithTheFolder) {
  const absl::StatusOr<std::unique_ptr<BlobStore>> store =
      BlobStore::Open(testing::TempDir() + "/no/such/parent", nullptr);
  EXPECT_EQ(store.status().code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(store.status().message()),
              testing::AllOf(HasSubstr("/no/such/parent"),
                             HasSubstr("make its parent directory first")));
}

}  // namespace
}  // namespace callgate::storage
