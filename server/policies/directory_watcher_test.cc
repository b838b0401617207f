#include "server/policies/directory_watcher.h"

#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <condition_variable>
#include <cstdio>
#include <fstream>
#include <mutex>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "gtest/gtest.h"

namespace callgate::policies {
namespace {

// How long a test waits for what has to come.
constexpr auto kPatience = std::chrono::seconds(30);

class DirectoryWatcherTest : public testing::Test {
 protected:
  void SetUp() override {
    root_ = testing::TempDir() + "/watchedXXXXXX";
    ASSERT_NE(mkdtemp(&root_[0]), nullptr);
    directory_ = root_ + "/policies";
  }

  void Start(absl::Duration look_every = absl::Hours(1)) {
    DirectoryWatcher::Options options;
    options.directory = directory_;
    options.quiet = absl::Milliseconds(20);
    options.pause = absl::ZeroDuration();
    options.look_every = look_every;
    auto watcher = DirectoryWatcher::Start(options, [this] {
      const std::lock_guard<std::mutex> lock(mu_);
      ++told_;
      changed_.notify_all();
    });
    ASSERT_TRUE(watcher.ok()) << watcher.status();
    watcher_ = *std::move(watcher);
  }

  // Whether a change is told that was not before.
  bool IsTold() {
    std::unique_lock<std::mutex> lock(mu_);
    const bool told =
        changed_.wait_for(lock, kPatience, [this] { return told_ > seen_; });
    seen_ = told_;
    return told;
  }
  int told() {
    const std::lock_guard<std::mutex> lock(mu_);
    return told_;
  }

  void MakeDir(const std::string& name) {
    ASSERT_EQ(mkdir((root_ + "/" + name).c_str(), 0700), 0);
  }
  void Write(const std::string& name, const std::string& text) {
    std::ofstream(root_ + "/" + name) << text;
  }
  void Link(const std::string& to, const std::string& name) {
    ASSERT_EQ(symlink(to.c_str(), (root_ + "/" + name).c_str()), 0);
  }
  void Rename(const std::string& from, const std::string& to) {
    ASSERT_EQ(rename((root_ + "/" + from).c_str(), (root_ + "/" + to).c_str()),
              0);
  }

  std::string root_;
  std::string directory_;
  std::mutex mu_;
  std::condition_variable changed_;
  int told_ = 0;
  int seen_ = 0;
  std::unique_ptr<DirectoryWatcher> watcher_;
};

TEST_F(DirectoryWatcherTest, TellsOfFilesThatComeChangeAndGo) {
  MakeDir("policies");
  Start();
  Write("policies/a.yaml", "1");
  EXPECT_TRUE(IsTold());
  Write("policies/a.yaml", "22");
  EXPECT_TRUE(IsTold());
  Write("policies/.a.yaml.swp", "333");
  Rename("policies/.a.yaml.swp", "policies/a.yaml");
  EXPECT_TRUE(IsTold());
  ASSERT_EQ(unlink((directory_ + "/a.yaml").c_str()), 0);
  EXPECT_TRUE(IsTold());
}

TEST_F(DirectoryWatcherTest, TellsNothingOfOtherFiles) {
  MakeDir("policies");
  Write("policies/a.yaml", "1");
  Start();
  Write("policies/README.md", "no");
  Write("policies/.hidden.yaml", "no");
  Write("beside.yaml", "no");
  // What comes first is what is told first.
  Write("policies/b.yaml", "1");
  EXPECT_TRUE(IsTold());
  EXPECT_EQ(told(), 1);
}

// As Kubernetes changes a ConfigMap: a new folder, and one link renamed.
TEST_F(DirectoryWatcherTest, TellsOnceOfAConfigMap) {
  MakeDir("policies");
  MakeDir("policies/..1");
  Write("policies/..1/a.yaml", "1");
  Write("policies/..1/b.yaml", "1");
  Link("..1", "policies/..data");
  Link("..data/a.yaml", "policies/a.yaml");
  Link("..data/b.yaml", "policies/b.yaml");
  Start();
  MakeDir("policies/..2");
  Write("policies/..2/a.yaml", "2");
  Write("policies/..2/b.yaml", "2");
  Link("..2", "policies/..data_tmp");
  Rename("policies/..data_tmp", "policies/..data");
  EXPECT_TRUE(IsTold());
  // And again, through the new link.
  MakeDir("policies/..3");
  Write("policies/..3/a.yaml", "3");
  Link("..3", "policies/..data_tmp");
  Rename("policies/..data_tmp", "policies/..data");
  EXPECT_TRUE(IsTold());
  EXPECT_LE(told(), 3);
}

TEST_F(DirectoryWatcherTest, FollowsALinkThatIsTheDirectory) {
  MakeDir("v1");
  MakeDir("v2");
  Write("v1/a.yaml", "1");
  Write("v2/a.yaml", "2");
  Link("v1", "policies");
  Start();
  Link("v2", "policies.new");
  Rename("policies.new", "policies");
  EXPECT_TRUE(IsTold());
  // From now on it is the other's files that count.
  Write("v2/a.yaml", "22");
  EXPECT_TRUE(IsTold());
}

TEST_F(DirectoryWatcherTest, TellsWhenTheDirectoryGoesAndComesBack) {
  MakeDir("policies");
  Write("policies/a.yaml", "1");
  Start();
  Rename("policies", "elsewhere");
  EXPECT_TRUE(IsTold());
  MakeDir("policies");
  EXPECT_TRUE(IsTold());
  Write("policies/a.yaml", "1");
  EXPECT_TRUE(IsTold());
}

// The kernel does not tell of it.
TEST_F(DirectoryWatcherTest, LooksWhereNothingIsTold) {
  MakeDir("policies");
  MakeDir("elsewhere");
  Write("elsewhere/a.yaml", "1");
  Link("../elsewhere/a.yaml", "policies/a.yaml");
  Start(absl::Milliseconds(20));
  Write("elsewhere/a.yaml", "22");
  EXPECT_TRUE(IsTold());
}

TEST_F(DirectoryWatcherTest, IsBoundedWhereTheDirectoryNeverRests) {
  MakeDir("policies");
  DirectoryWatcher::Options options;
  options.directory = directory_;
  options.quiet = absl::Seconds(10);
  options.patience = absl::Milliseconds(50);
  options.pause = absl::Milliseconds(50);
  auto watcher = DirectoryWatcher::Start(options, [this] {
    const std::lock_guard<std::mutex> lock(mu_);
    ++told_;
    changed_.notify_all();
  });
  ASSERT_TRUE(watcher.ok()) << watcher.status();
  watcher_ = *std::move(watcher);
  const absl::Time begin = absl::Now();
  int written = 0;
  while (told() < 3 && absl::Now() - begin < absl::Seconds(60)) {
    Write("policies/a.yaml", absl::StrCat(++written));
  }
  // Though it was never quiet; and not for every change.
  EXPECT_GE(told(), 3);
  EXPECT_LE(told(), (absl::Now() - begin) / options.patience);
  EXPECT_GT(written, told());
}

TEST_F(DirectoryWatcherTest, EndsWhileItWaits) {
  MakeDir("policies");
  Start();
  watcher_ = nullptr;
  Start();
  Write("policies/a.yaml", "1");
  watcher_ = nullptr;
}

TEST_F(DirectoryWatcherTest, TellsOfWhatHappenedBeforeIt) {
  MakeDir("policies");
  const std::string look = LookOf(directory_);
  Write("policies/a.yaml", "1");
  DirectoryWatcher::Options options;
  options.directory = directory_;
  options.look = look;
  auto watcher = DirectoryWatcher::Start(options, [this] {
    const std::lock_guard<std::mutex> lock(mu_);
    ++told_;
    changed_.notify_all();
  });
  ASSERT_TRUE(watcher.ok()) << watcher.status();
  watcher_ = *std::move(watcher);
  EXPECT_TRUE(IsTold());
}

TEST(LookOfTest, TellsOneDirectoryFromAnother) {
  std::string folder = testing::TempDir() + "/lookXXXXXX";
  ASSERT_NE(mkdtemp(&folder[0]), nullptr);
  const std::string empty = LookOf(folder);
  std::ofstream(folder + "/a.yaml") << "1";
  const std::string one = LookOf(folder);
  EXPECT_NE(one, empty);
  EXPECT_EQ(LookOf(folder), one);
  std::ofstream(folder + "/README") << "1";
  EXPECT_EQ(LookOf(folder), one);
  EXPECT_NE(LookOf(folder + "/none"), empty);
}

}  // namespace
}  // namespace callgate::policies
