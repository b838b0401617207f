#include "server/storage/storage.h"

#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace callgate::storage {
namespace {

using testing::AllOf;
using testing::HasSubstr;

std::string Message(const absl::Status& status) {
  return std::string(status.message());
}

class StorageTest : public testing::Test {
 protected:
  void SetUp() override {
    std::string parent = testing::TempDir() + "/storageXXXXXX";
    ASSERT_NE(mkdtemp(&parent[0]), nullptr);
    directory_ = parent + "/data";
    Open();
  }

  void Open(const StorageOptions& options = {}) {
    storage_ = nullptr;
    absl::StatusOr<std::unique_ptr<Storage>> storage =
        Storage::Open(directory_, options);
    ASSERT_TRUE(storage.ok()) << storage.status();
    storage_ = *std::move(storage);
  }

  static ModuleRecord Module(const std::string& tenant,
                             const std::string& bytes) {
    ModuleRecord module;
    module.tenant = tenant;
    module.digest = DigestOf(bytes);
    module.size_bytes = bytes.size();
    module.created = absl::FromUnixSeconds(1'700'000'000);
    return module;
  }

  std::string PathOf(const std::string& bytes) const {
    const std::string hex = DigestOf(bytes).hex();
    return absl::StrCat(directory_, "/modules/", hex.substr(0, 2), "/", hex);
  }

  std::string directory_;
  std::unique_ptr<Storage> storage_;
};

TEST_F(StorageTest, KeepsModulesAcrossOpening) {
  const absl::StatusOr<Storage::PutResult> put =
      storage_->PutModule(Module("acme", "bytes"), "bytes");
  ASSERT_TRUE(put.ok()) << put.status();
  EXPECT_TRUE(put->created);
  Open();
  const absl::StatusOr<Storage::StoredModule> read =
      storage_->ReadModule("acme", DigestOf("bytes"));
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(read->bytes, "bytes");
  EXPECT_EQ(read->module.size_bytes, 5u);
}

TEST_F(StorageTest, AnswersASecondPutWithTheFirstRecord) {
  ASSERT_TRUE(storage_->PutModule(Module("acme", "bytes"), "bytes").ok());
  ModuleRecord later = Module("acme", "bytes");
  later.created = absl::FromUnixSeconds(1'800'000'000);
  const absl::StatusOr<Storage::PutResult> put =
      storage_->PutModule(later, "bytes");
  ASSERT_TRUE(put.ok()) << put.status();
  EXPECT_FALSE(put->created);
  EXPECT_EQ(put->module.created, absl::FromUnixSeconds(1'700'000'000));
}

TEST_F(StorageTest, KeepsBytesUntilTheLastTenantIsDone) {
  ASSERT_TRUE(storage_->PutModule(Module("acme", "bytes"), "bytes").ok());
  ASSERT_TRUE(storage_->PutModule(Module("globex", "bytes"), "bytes").ok());
  ASSERT_TRUE(storage_->DeleteModule("acme", DigestOf("bytes")).ok());
  EXPECT_TRUE(absl::IsNotFound(
      storage_->ReadModule("acme", DigestOf("bytes")).status()));
  EXPECT_TRUE(storage_->ReadModule("globex", DigestOf("bytes")).ok());
  ASSERT_TRUE(storage_->DeleteModule("globex", DigestOf("bytes")).ok());
  EXPECT_EQ(access(PathOf("bytes").c_str(), F_OK), -1);
}

TEST_F(StorageTest, SaysSameForAbsentAndForeignModules) {
  ASSERT_TRUE(storage_->PutModule(Module("acme", "bytes"), "bytes").ok());
  const absl::Status foreign =
      storage_->ReadModule("globex", DigestOf("bytes")).status();
  ASSERT_TRUE(storage_->DeleteModule("acme", DigestOf("bytes")).ok());
  EXPECT_EQ(storage_->ReadModule("globex", DigestOf("bytes")).status(),
            foreign);
}

TEST_F(StorageTest, LeavesNoBytesOfARefusedRecord) {
  StorageOptions options;
  options.limits.modules = 1;
  Open(options);
  ASSERT_TRUE(storage_->PutModule(Module("acme", "1"), "1").ok());
  EXPECT_TRUE(absl::IsResourceExhausted(
      storage_->PutModule(Module("acme", "2"), "2").status()));
  EXPECT_EQ(access(PathOf("2").c_str(), F_OK), -1);
  // Bytes that another tenant needs stay.
  EXPECT_TRUE(absl::IsResourceExhausted(
      storage_->PutModule(Module("globex", "1"), "1").status()));
  EXPECT_TRUE(storage_->ReadModule("acme", DigestOf("1")).ok());
}

TEST_F(StorageTest, RefusesModulesThatAreTooLarge) {
  StorageOptions options;
  options.module_bytes_max = 4;
  Open(options);
  EXPECT_TRUE(storage_->PutModule(Module("acme", "1234"), "1234").ok());
  EXPECT_TRUE(absl::IsInvalidArgument(
      storage_->PutModule(Module("acme", "12345"), "12345").status()));
}

TEST_F(StorageTest, SaysSoWhenBytesAreGone) {
  ASSERT_TRUE(storage_->PutModule(Module("acme", "bytes"), "bytes").ok());
  ASSERT_EQ(unlink(PathOf("bytes").c_str()), 0);
  const absl::Status status =
      storage_->ReadModule("acme", DigestOf("bytes")).status();
  EXPECT_TRUE(absl::IsDataLoss(status));
  EXPECT_THAT(Message(status), HasSubstr("push it again"));
  ASSERT_TRUE(storage_->DeleteModule("acme", DigestOf("bytes")).ok());
  ASSERT_TRUE(storage_->PutModule(Module("acme", "bytes"), "bytes").ok());
  EXPECT_TRUE(storage_->ReadModule("acme", DigestOf("bytes")).ok());
}

TEST_F(StorageTest, ClearsOrphansAtStart) {
  ASSERT_TRUE(storage_->PutModule(Module("acme", "bytes"), "bytes").ok());
  std::ofstream(directory_ + "/modules/tmp/0") << "unfini";
  ASSERT_EQ(rename((directory_ + "/modules/tmp/0").c_str(),
                   (directory_ + "/modules/tmp/99").c_str()),
            0);
  Open();
  EXPECT_EQ(access((directory_ + "/modules/tmp/99").c_str(), F_OK), -1);
  EXPECT_TRUE(storage_->ReadModule("acme", DigestOf("bytes")).ok());
}

TEST_F(StorageTest, TurnsAwayASecondDaemonAndNamesTheFirst) {
  const pid_t first = getpid();
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    const absl::Status status =
        Storage::Open(directory_, StorageOptions()).status();
    const std::string message = Message(status);
    const bool good = absl::IsFailedPrecondition(status) &&
                      absl::StrContains(message, directory_) &&
                      absl::StrContains(message, absl::StrCat("pid ", first)) &&
                      absl::StrContains(message, "--data");
    if (!good) fprintf(stderr, "%s\n", status.ToString().c_str());
    _exit(good ? 0 : 1);
  }
  int ended = 0;
  ASSERT_EQ(waitpid(child, &ended, 0), child);
  EXPECT_TRUE(WIFEXITED(ended) && WEXITSTATUS(ended) == 0) << ended;
}

TEST_F(StorageTest, IsFreeAgainOnceTheDaemonIsKilled) {
  storage_ = nullptr;
  int ready[2];
  ASSERT_EQ(pipe(ready), 0);
  const pid_t daemon = fork();
  ASSERT_GE(daemon, 0);
  if (daemon == 0) {
    const absl::StatusOr<std::unique_ptr<Storage>> held =
        Storage::Open(directory_, StorageOptions());
    // A child of the daemon, as those that parse modules, must not hold on to
    // the directory when the daemon itself is gone.
    const pid_t straggler = fork();
    if (straggler == 0) {
      pause();
      _exit(0);
    }
    const char byte = held.ok() ? 'y' : 'n';
    if (write(ready[1], &byte, 1) != 1 ||
        write(ready[1], &straggler, sizeof straggler) != sizeof straggler) {
      _exit(1);
    }
    pause();
    _exit(0);
  }
  char byte = 0;
  ASSERT_EQ(read(ready[0], &byte, 1), 1);
  pid_t straggler = 0;
  ASSERT_EQ(read(ready[0], &straggler, sizeof straggler),
            static_cast<ssize_t>(sizeof straggler));
  EXPECT_EQ(byte, 'y');
  ASSERT_EQ(kill(daemon, SIGKILL), 0);
  ASSERT_EQ(waitpid(daemon, nullptr, 0), daemon);
  const absl::StatusOr<std::unique_ptr<Storage>> next =
      Storage::Open(directory_, StorageOptions());
  EXPECT_TRUE(next.ok()) << next.status();
  kill(straggler, SIGKILL);
  close(ready[0]);
  close(ready[1]);
}

struct BadDirectoryRow {
  std::string name;
  std::string tail;  // after a directory that exists and holds the file "file"
  std::string message;
};
class BadDirectories : public testing::TestWithParam<BadDirectoryRow> {};

TEST_P(BadDirectories, AreRefusedWithTheFix) {
  std::string parent = testing::TempDir() + "/badXXXXXX";
  ASSERT_NE(mkdtemp(&parent[0]), nullptr);
  std::ofstream(parent + "/file") << "x";
  ASSERT_EQ(mkdir((parent + "/taken").c_str(), 0700), 0);
  ASSERT_EQ(mkdir((parent + "/taken/catalogue.db").c_str(), 0700), 0);
  const std::string directory = parent + GetParam().tail;
  const absl::Status status =
      Storage::Open(directory, StorageOptions()).status();
  EXPECT_FALSE(status.ok());
  EXPECT_THAT(Message(status),
              AllOf(HasSubstr(directory), HasSubstr(GetParam().message)));
}

INSTANTIATE_TEST_SUITE_P(
    Paths, BadDirectories,
    testing::ValuesIn<BadDirectoryRow>({
        {"no_parent", "/no/data", "make its parent directory first"},
        {"a_file", "/file", "name another place"},
        {"below_a_file", "/file/data", "name another place"},
        {"catalogue_is_a_folder", "/taken", "name another place"},
    }),
    [](const auto& param) { return param.param.name; });

}  // namespace
}  // namespace callgate::storage
