#include "runtime/native/cache/code_cache.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <functional>
#include <iostream>
#include <iterator>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "runtime/native/cache/cache_testing.h"

namespace callgate::native {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

constexpr size_t kHeadBytes = 48;
// One entry of it takes two blocks of the disk.
constexpr size_t kTwoBlocks = 8192 - kHeadBytes;

std::string ReadFile(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return std::string(std::istreambuf_iterator<char>(file), {});
}

void WriteFile(const std::string& path, const std::string& bytes) {
  std::ofstream file(path, std::ios::binary | std::ios::trunc);
  file << bytes;
  ASSERT_TRUE(file.good()) << path;
}

bool Exists(const std::string& path) {
  struct stat file = {};
  return lstat(path.c_str(), &file) == 0;
}

class CodeCacheTest : public testing::Test {
 protected:
  CodeCacheTest() {
    options_.folder = NewCacheFolder();
    Open();
  }

  void Open() {
    cache_ = nullptr;
    cache_ = OpenCache(options_);
  }

  std::string PathOf(int number) const {
    return absl::StrCat(options_.folder, "/", KeyOf(number).hex());
  }

  void Store(int number, size_t size = kTwoBlocks) {
    const absl::Status stored =
        cache_->Store(KeyOf(number), BytesOf(number, size));
    ASSERT_TRUE(stored.ok()) << stored;
  }

  // Numbers below `end` that are there. Does not count as a use.
  std::vector<int> Kept(int end) const {
    std::vector<int> kept;
    for (int i = 0; i < end; ++i) {
      if (Exists(PathOf(i))) kept.push_back(i);
    }
    return kept;
  }

  CodeCache::Options options_;
  std::unique_ptr<CodeCache> cache_;
};

TEST_F(CodeCacheTest, ReturnsWhatWasStored) {
  EXPECT_FALSE(cache_->Lookup(KeyOf(1)).has_value());
  int number = 0;
  for (const size_t size :
       {0u, 1u, 4047u, 4048u, 4049u, 131'072u, 131'073u, 3'000'000u}) {
    Store(number, size);
    EXPECT_EQ(cache_->Lookup(KeyOf(number)), BytesOf(number, size)) << size;
    ++number;
  }
  EXPECT_EQ(cache_->stats().hits, 8u);
  EXPECT_EQ(cache_->stats().misses, 1u);
  EXPECT_EQ(cache_->stats().stored, 8u);
  EXPECT_EQ(cache_->stats().entries, 8u);
  EXPECT_EQ(cache_->stats().bytes, EntryBytesIn(options_.folder));
  const uint64_t bytes = cache_->stats().bytes;

  Open();
  EXPECT_EQ(cache_->stats().entries, 8u);
  EXPECT_EQ(cache_->stats().bytes, bytes);
  EXPECT_EQ(cache_->Lookup(KeyOf(7)), BytesOf(7, 3'000'000));
  EXPECT_EQ(cache_->stats().hits, 1u);
  EXPECT_EQ(cache_->stats().corrupt, 0u);
}

TEST_F(CodeCacheTest, ReplacesAnEntry) {
  Store(1, 100'000);
  ASSERT_TRUE(cache_->Store(KeyOf(1), "shorter").ok());
  EXPECT_EQ(cache_->Lookup(KeyOf(1)), "shorter");
  EXPECT_EQ(cache_->stats().entries, 1u);
  EXPECT_EQ(cache_->stats().bytes, 4096u);
}

TEST_F(CodeCacheTest, RemovesAnEntry) {
  Store(1);
  cache_->Remove(KeyOf(1));
  cache_->Remove(KeyOf(2));
  EXPECT_FALSE(cache_->Lookup(KeyOf(1)).has_value());
  EXPECT_EQ(cache_->stats().entries, 0u);
  EXPECT_EQ(cache_->stats().corrupt, 0u);
}

TEST_F(CodeCacheTest, IsForItsOwnerAlone) {
  cache_ = nullptr;
  options_.folder += "2";
  const mode_t before = umask(0);
  Open();
  Store(1);
  umask(before);
  const auto mode = [](const std::string& path) {
    struct stat file = {};
    EXPECT_EQ(stat(path.c_str(), &file), 0) << path;
    return file.st_mode & 07777;
  };
  EXPECT_EQ(mode(options_.folder), 0700u);
  EXPECT_EQ(mode(options_.folder + "/mac-key"), 0600u);
  EXPECT_EQ(mode(PathOf(1)), 0600u);
  EXPECT_EQ(ReadFile(options_.folder + "/mac-key").size(), 32u);
}

// --- Files that are not what they should be ----------------------------------

struct Corruption {
  std::string name;
  // What is done to an entry of 10,000 bytes at `path`.
  std::function<void(const std::string& path)> apply;
  bool stays = false;  // in the way of everything
};

std::function<void(const std::string&)> Rewritten(
    std::function<std::string(std::string)> change) {
  return [change](const std::string& path) {
    WriteFile(path, change(ReadFile(path)));
  };
}

std::function<void(const std::string&)> InsteadOfIt(
    std::function<int(const std::string&)> make) {
  return [make](const std::string& path) {
    ASSERT_EQ(unlink(path.c_str()), 0);
    ASSERT_EQ(make(path), 0) << strerror(errno);
  };
}

class CorruptEntry : public CodeCacheTest,
                     public testing::WithParamInterface<Corruption> {};

TEST_P(CorruptEntry, IsAbsentAndGoes) {
  Store(1, 10'000);
  GetParam().apply(PathOf(1));
  EXPECT_FALSE(cache_->Lookup(KeyOf(1)).has_value());
  EXPECT_EQ(cache_->stats().corrupt, 1u);
  EXPECT_EQ(cache_->stats().misses, 1u);
  EXPECT_EQ(cache_->stats().entries, 0u);
  EXPECT_EQ(cache_->stats().bytes, 0u);
  EXPECT_EQ(Exists(PathOf(1)), GetParam().stays);
  if (GetParam().stays) {
    EXPECT_FALSE(cache_->Store(KeyOf(1), "again").ok());
    EXPECT_EQ(cache_->stats().store_errors, 1u);
    EXPECT_THAT(NamesIn(options_.folder),
                ElementsAre(KeyOf(1).hex(), "mac-key"));
    return;
  }
  EXPECT_FALSE(cache_->Lookup(KeyOf(1)).has_value());
  EXPECT_EQ(cache_->stats().corrupt, 1u);
  ASSERT_TRUE(cache_->Store(KeyOf(1), "again").ok());
  EXPECT_EQ(cache_->Lookup(KeyOf(1)), "again");
}

TEST_P(CorruptEntry, IsFoundOutAfterARestartAsWell) {
  Store(1, 10'000);
  cache_ = nullptr;
  GetParam().apply(PathOf(1));
  Open();
  EXPECT_FALSE(cache_->Lookup(KeyOf(1)).has_value());
  EXPECT_EQ(cache_->stats().corrupt, 1u);
  EXPECT_EQ(cache_->stats().entries, 0u);
}

TEST_P(CorruptEntry, CanBeReplacedUnseen) {
  Store(1, 10'000);
  GetParam().apply(PathOf(1));
  const bool stored = cache_->Store(KeyOf(1), "again").ok();
  if (!stored) {
    // A folder is nothing that a file can be renamed to.
    EXPECT_FALSE(cache_->Lookup(KeyOf(1)).has_value());
    EXPECT_EQ(cache_->stats().store_errors, 1u);
    return;
  }
  EXPECT_EQ(cache_->Lookup(KeyOf(1)), "again");
  EXPECT_EQ(cache_->stats().corrupt, 0u);
}

INSTANTIATE_TEST_SUITE_P(
    Files, CorruptEntry,
    testing::ValuesIn<Corruption>({
        {"empty", Rewritten([](std::string) { return ""; })},
        {"part_of_the_head",
         Rewritten([](std::string s) { return s.substr(0, 47); })},
        {"head_only", Rewritten([](std::string s) { return s.substr(0, 48); })},
        {"torn_in_the_middle",
         Rewritten([](std::string s) { return s.substr(0, 4096); })},
        {"one_byte_less",
         Rewritten([](std::string s) { return s.substr(0, s.size() - 1); })},
        {"one_byte_more", Rewritten([](std::string s) { return s + '\0'; })},
        {"all_zeros",
         Rewritten([](std::string s) { return std::string(s.size(), '\0'); })},
        // As a loss of power leaves a block that was not written.
        {"last_block_zeros", Rewritten([](std::string s) {
           std::fill(s.begin() + 8192, s.end(), '\0');
           return s;
         })},
        {"other_magic", Rewritten([](std::string s) {
           s[6] = '2';
           return s;
         })},
        {"length_one_less", Rewritten([](std::string s) {
           --s[8];
           return s;
         })},
        {"shortened_with_its_length", Rewritten([](std::string s) {
           --s[8];
           return s.substr(0, s.size() - 1);
         })},
        {"length_huge", Rewritten([](std::string s) {
           return s.replace(8, 8, std::string(8, '\xff'));
         })},
        {"mac_zero", Rewritten([](std::string s) {
           return s.replace(16, 32, std::string(32, '\0'));
         })},
        {"two_bytes_swapped", Rewritten([](std::string s) {
           std::swap(s[100], s[101]);
           return s;
         })},
        {"sparse_and_large",
         [](const std::string& path) {
           ASSERT_EQ(truncate(path.c_str(), off_t{1} << 40), 0);
         }},
        {"symbolic_link", InsteadOfIt([](const std::string& path) {
           return symlink("mac-key", path.c_str());
         })},
        {"dangling_link", InsteadOfIt([](const std::string& path) {
           return symlink("/nowhere", path.c_str());
         })},
        {"pipe", InsteadOfIt([](const std::string& path) {
           return mkfifo(path.c_str(), 0600);
         })},
        {"socket", InsteadOfIt([](const std::string& path) {
           // Its address is too short for the path.
           const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
           sockaddr_un address = {};
           address.sun_family = AF_UNIX;
           const std::string name = absl::StrCat("/tmp/cg-", getpid());
           name.copy(address.sun_path, sizeof address.sun_path - 1);
           unlink(name.c_str());
           int result =
               bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof address);
           if (result == 0) result = rename(name.c_str(), path.c_str());
           const bool other_disk = result != 0 && errno == EXDEV;
           unlink(name.c_str());
           close(fd);
           // Any other special file will do.
           return other_disk ? mkfifo(path.c_str(), 0600) : result;
         })},
        {"folder", InsteadOfIt([](const std::string& path) {
           return mkdir(path.c_str(), 0700);
         })},
        {"full_folder", InsteadOfIt([](const std::string& path) {
           return mkdir(path.c_str(), 0700) +
                  mkdir((path + "/x").c_str(), 0700);
         }),
         true},
    }),
    [](const auto& row) { return row.param.name; });

TEST_F(CodeCacheTest, FindsEveryFlippedBit) {
  constexpr size_t kSize = 20;
  uint64_t corrupt = 0;
  for (size_t bit = 0; bit < 8 * (kHeadBytes + kSize); ++bit) {
    Store(1, kSize);
    std::string file = ReadFile(PathOf(1));
    ASSERT_EQ(file.size(), kHeadBytes + kSize);
    file[bit / 8] = static_cast<char>(file[bit / 8] ^ (1 << bit % 8));
    WriteFile(PathOf(1), file);
    ASSERT_FALSE(cache_->Lookup(KeyOf(1)).has_value()) << bit;
    ASSERT_EQ(cache_->stats().corrupt, ++corrupt);
  }
}

TEST_F(CodeCacheTest, FindsEveryTornEnd) {
  Store(1, 500);
  const std::string file = ReadFile(PathOf(1));
  for (size_t size = 0; size < file.size(); ++size) {
    WriteFile(PathOf(1), file.substr(0, size));
    ASSERT_FALSE(cache_->Lookup(KeyOf(1)).has_value()) << size;
    WriteFile(PathOf(1),
              file.substr(0, size) + std::string(file.size() - size, '\0'));
    const auto found = cache_->Lookup(KeyOf(1));
    // The last byte may have been 0 by itself.
    ASSERT_TRUE(!found.has_value() || *found == BytesOf(1, 500)) << size;
  }
}

TEST_F(CodeCacheTest, DoesNotTakeAnEntryForAnother) {
  Store(1);
  Store(2);
  ASSERT_EQ(rename(PathOf(1).c_str(), PathOf(2).c_str()), 0);
  EXPECT_FALSE(cache_->Lookup(KeyOf(2)).has_value());
  EXPECT_FALSE(cache_->Lookup(KeyOf(1)).has_value());
  EXPECT_EQ(cache_->stats().corrupt, 1u);
}

TEST_F(CodeCacheTest, DoesNotTakeAnotherFoldersEntries) {
  CodeCache::Options others;
  others.folder = NewCacheFolder();
  const auto other = OpenCache(others);
  ASSERT_TRUE(other->Store(KeyOf(1), BytesOf(1, kTwoBlocks)).ok());
  WriteFile(PathOf(1), ReadFile(others.folder + "/" + KeyOf(1).hex()));
  EXPECT_FALSE(cache_->Lookup(KeyOf(1)).has_value());
  EXPECT_EQ(cache_->stats().corrupt, 1u);

  // Nor its own, once the key is another folder's.
  Store(2);
  cache_ = nullptr;
  WriteFile(options_.folder + "/mac-key", ReadFile(others.folder + "/mac-key"));
  Open();
  EXPECT_FALSE(cache_->Lookup(KeyOf(2)).has_value());
  EXPECT_EQ(cache_->stats().corrupt, 1u);
  Store(2);
  EXPECT_TRUE(cache_->Lookup(KeyOf(2)).has_value());
}

TEST_F(CodeCacheTest, MakesANewKeyInPlaceOfOneOfAnotherSize) {
  for (const size_t size : {0u, 31u, 33u}) {
    Store(1);
    cache_ = nullptr;
    WriteFile(options_.folder + "/mac-key", std::string(size, 'k'));
    Open();
    ASSERT_NE(cache_, nullptr);
    EXPECT_EQ(ReadFile(options_.folder + "/mac-key").size(), 32u);
    EXPECT_FALSE(cache_->Lookup(KeyOf(1)).has_value());
    EXPECT_EQ(cache_->stats().corrupt, 1u);
  }
}

TEST_F(CodeCacheTest, LeavesFilesThatAreNotItsOwn) {
  const std::string readme = options_.folder + "/README";
  const std::string almost = PathOf(1) + ".bak";
  WriteFile(readme, "mine");
  WriteFile(almost, "mine");
  options_.bytes_max = 4096;
  Open();
  Store(1, 10);
  Store(2, 10);
  Open();
  EXPECT_EQ(ReadFile(readme), "mine");
  EXPECT_EQ(ReadFile(almost), "mine");
}

TEST_F(CodeCacheTest, RemovesWhatKilledWritersLeft) {
  const std::string left = options_.folder + "/tmp-0123456789abcdef";
  WriteFile(left, "half an ent");
  const std::string link = options_.folder + "/tmp-link";
  ASSERT_EQ(symlink("mac-key", link.c_str()), 0);
  Store(1);
  Open();
  EXPECT_FALSE(Exists(left));
  EXPECT_TRUE(cache_->Lookup(KeyOf(1)).has_value());
  EXPECT_EQ(ReadFile(options_.folder + "/mac-key").size(), 32u);
}

// --- Who may touch it
// ---------------------------------------------------------

struct Refusal {
  std::string name;
  std::function<int(const std::string& folder)> apply;
  absl::StatusCode code;
  std::string message;
};

class RefusedFolder : public CodeCacheTest,
                      public testing::WithParamInterface<Refusal> {};

TEST_P(RefusedFolder, IsNotOpened) {
  cache_ = nullptr;
  if (GetParam().apply(options_.folder) != 0) {
    GTEST_SKIP() << "needs a right that this user has not: " << strerror(errno);
  }
  const auto opened = CodeCache::Open(options_);
  EXPECT_EQ(opened.status().code(), GetParam().code) << opened.status();
  EXPECT_THAT(std::string(opened.status().message()),
              HasSubstr(GetParam().message));
}

INSTANTIATE_TEST_SUITE_P(
    Reasons, RefusedFolder,
    testing::ValuesIn<Refusal>({
        {"group_may_write",
         [](const std::string& f) { return chmod(f.c_str(), 0720); },
         absl::StatusCode::kPermissionDenied, "others may write"},
        {"others_may_write",
         [](const std::string& f) { return chmod(f.c_str(), 0702); },
         absl::StatusCode::kPermissionDenied, "others may write"},
        {"sticky_and_open",
         [](const std::string& f) { return chmod(f.c_str(), 01777); },
         absl::StatusCode::kPermissionDenied, "others may write"},
        {"somebody_elses",
         [](const std::string& f) { return chown(f.c_str(), 12'345, 12'345); },
         absl::StatusCode::kPermissionDenied, "belongs to user 12345"},
        {"link_to_a_folder",
         [](const std::string& f) {
           return rename(f.c_str(), (f + "2").c_str()) +
                  symlink((f + "2").c_str(), f.c_str());
         },
         absl::StatusCode::kFailedPrecondition, "symbolic link"},
        {"file",
         [](const std::string& f) {
           return rename(f.c_str(), (f + "2").c_str()) +
                  rename((f + "2/mac-key").c_str(), f.c_str());
         },
         absl::StatusCode::kFailedPrecondition, "is a file"},
        {"no_parent",
         [](const std::string& f) {
           const std::string parent = f.substr(0, f.rfind('/'));
           return rename(parent.c_str(), (parent + "2").c_str());
         },
         absl::StatusCode::kNotFound, "cannot make the folder"},
        {"key_others_may_read",
         [](const std::string& f) {
           return chmod((f + "/mac-key").c_str(), 0604);
         },
         absl::StatusCode::kPermissionDenied, "mode 0604"},
        {"key_group_may_write",
         [](const std::string& f) {
           return chmod((f + "/mac-key").c_str(), 0620);
         },
         absl::StatusCode::kPermissionDenied, "mode 0620"},
        {"somebody_elses_key",
         [](const std::string& f) {
           return chown((f + "/mac-key").c_str(), 12'345, 12'345);
         },
         absl::StatusCode::kPermissionDenied, "owner 12345"},
        {"key_is_a_link",
         [](const std::string& f) {
           return rename((f + "/mac-key").c_str(), (f + "/k").c_str()) +
                  symlink("k", (f + "/mac-key").c_str());
         },
         absl::StatusCode::kFailedPrecondition, "not a regular file"},
        {"key_is_a_folder",
         [](const std::string& f) {
           return unlink((f + "/mac-key").c_str()) +
                  mkdir((f + "/mac-key").c_str(), 0700);
         },
         absl::StatusCode::kFailedPrecondition, "not a regular file"},
        {"key_is_a_pipe",
         [](const std::string& f) {
           return unlink((f + "/mac-key").c_str()) +
                  mkfifo((f + "/mac-key").c_str(), 0600);
         },
         absl::StatusCode::kFailedPrecondition, "not a regular file"},
    }),
    [](const auto& row) { return row.param.name; });

// --- Room
// ---------------------------------------------------------------------

TEST_F(CodeCacheTest, ThrowsAwayTheLongestUnused) {
  options_.bytes_max = 4 * 8192;
  Open();
  for (int i = 0; i < 4; ++i) Store(i);
  EXPECT_THAT(Kept(9), ElementsAre(0, 1, 2, 3));
  EXPECT_EQ(cache_->stats().bytes, options_.bytes_max);
  EXPECT_TRUE(cache_->Lookup(KeyOf(0)).has_value());
  Store(4);
  EXPECT_THAT(Kept(9), ElementsAre(0, 2, 3, 4));
  // Both need room for a while; the old one is the longest unused.
  Store(2);
  EXPECT_THAT(Kept(9), ElementsAre(0, 2, 3, 4));
  Store(5, 2 * 8192 - kHeadBytes);
  EXPECT_THAT(Kept(9), ElementsAre(2, 4, 5));
  EXPECT_EQ(cache_->stats().evicted, 4u);
  EXPECT_EQ(cache_->stats().bytes, options_.bytes_max);
  Store(6, options_.bytes_max - kHeadBytes);
  EXPECT_THAT(Kept(9), ElementsAre(6));
  EXPECT_EQ(cache_->stats().entries, 1u);
}

TEST_F(CodeCacheTest, BoundsTheNumberOfEntries) {
  options_.entries_max = 3;
  Open();
  for (int i = 0; i < 5; ++i) Store(i, 1);
  EXPECT_THAT(Kept(9), ElementsAre(2, 3, 4));
  EXPECT_EQ(cache_->stats().evicted, 2u);
}

TEST_F(CodeCacheTest, RefusesAnEntryThatIsTooLarge) {
  options_.entry_bytes_max = 10'000;
  options_.bytes_max = 20'480;
  Open();
  Store(1, 10'000);
  const absl::Status refused = cache_->Store(KeyOf(2), BytesOf(2, 10'001));
  EXPECT_EQ(refused.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(std::string(refused.message()), HasSubstr("at most 10000"));
  EXPECT_EQ(cache_->stats().store_errors, 1u);
  EXPECT_EQ(cache_->stats().evicted, 0u);
  EXPECT_THAT(Kept(9), ElementsAre(1));

  options_.entry_bytes_max = 1 << 30;
  Open();
  EXPECT_FALSE(
      cache_->Store(KeyOf(2), BytesOf(2, 20'480 - kHeadBytes + 1)).ok());
  EXPECT_THAT(Kept(9), ElementsAre(1));
  Store(2, 20'480 - kHeadBytes);
  EXPECT_THAT(Kept(9), ElementsAre(2));

  options_.bytes_max = 0;
  Open();
  EXPECT_FALSE(cache_->Store(KeyOf(1), "").ok());
}

void SetUsed(const std::string& path, time_t seconds) {
  const timespec times[2] = {{seconds, 0}, {seconds, 0}};
  ASSERT_EQ(utimensat(AT_FDCWD, path.c_str(), times, 0), 0);
}

TEST_F(CodeCacheTest, KnowsTheOrderOfUseAfterARestart) {
  for (int i = 0; i < 6; ++i) Store(i);
  for (int i = 0; i < 6; ++i) SetUsed(PathOf(i), 1'000 - 10 * i);
  EXPECT_TRUE(cache_->Lookup(KeyOf(4)).has_value());
  options_.bytes_max = 4 * 8192;
  Open();
  EXPECT_THAT(Kept(9), ElementsAre(0, 1, 2, 4));
  EXPECT_EQ(cache_->stats().evicted, 2u);
  Store(7);
  EXPECT_THAT(Kept(9), ElementsAre(0, 1, 4, 7));
}

TEST_F(CodeCacheTest, DoesNotKeepAFileOfTheFutureForEver) {
  options_.bytes_max = 2 * 8192;
  Open();
  Store(1);
  SetUsed(PathOf(1), 4'102'444'800);
  Open();
  Store(2);
  Store(3);
  EXPECT_THAT(Kept(9), ElementsAre(2, 3));
}

TEST_F(CodeCacheTest, SurvivesAFullDisk) {
  Store(1);
  struct rlimit before = {};
  ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &before), 0);
  const auto handler = signal(SIGXFSZ, SIG_IGN);
  struct rlimit small = before;
  small.rlim_cur = 20'000;
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &small), 0);
  const absl::Status at_the_limit =
      cache_->Store(KeyOf(2), BytesOf(2, 20'000 - kHeadBytes));
  const absl::Status beyond =
      cache_->Store(KeyOf(3), BytesOf(3, 20'000 - kHeadBytes + 1));
  const absl::Status replacing = cache_->Store(KeyOf(1), BytesOf(3, 30'000));
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &before), 0);
  signal(SIGXFSZ, handler);

  EXPECT_TRUE(at_the_limit.ok()) << at_the_limit;
  EXPECT_FALSE(beyond.ok());
  EXPECT_THAT(std::string(beyond.message()), HasSubstr("cannot write "));
  EXPECT_FALSE(replacing.ok());
  EXPECT_EQ(cache_->stats().store_errors, 2u);
  EXPECT_EQ(cache_->stats().entries, 2u);
  EXPECT_EQ(cache_->stats().bytes, EntryBytesIn(options_.folder));
  EXPECT_EQ(cache_->Lookup(KeyOf(1)), BytesOf(1, kTwoBlocks));
  EXPECT_FALSE(cache_->Lookup(KeyOf(3)).has_value());
  EXPECT_EQ(cache_->stats().corrupt, 0u);
  EXPECT_EQ(NamesIn(options_.folder).size(), 3u);
}

// In a child with mounts of its own.
TEST_F(CodeCacheTest, SurvivesAFullFileSystem) {
  enum : int { kFine = 0, kNoMount = 1, kWrong = 2 };
  cache_ = nullptr;
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    if (unshare(CLONE_NEWNS) != 0 ||
        mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0 ||
        mount("none", options_.folder.c_str(), "tmpfs", 0,
              "size=256k,mode=700") != 0) {
      _exit(kNoMount);
    }
    const auto cache = OpenCache(options_);
    int stored = 0;
    while (stored < 100 &&
           cache->Store(KeyOf(stored), BytesOf(stored, 20'000)).ok()) {
      ++stored;
    }
    bool fine =
        stored > 5 && stored < 13 && cache->stats().store_errors == 1 &&
        NamesIn(options_.folder).size() == static_cast<size_t>(stored) + 1;
    for (int i = 0; i < stored; ++i) {
      fine = fine && cache->Lookup(KeyOf(i)) == BytesOf(i, 20'000);
    }
    fine = fine && cache->stats().corrupt == 0;
    // Room again.
    cache->Remove(KeyOf(0));
    fine = fine && cache->Store(KeyOf(50), BytesOf(50, 20'000)).ok();
    _exit(fine ? kFine : kWrong);
  }
  int ended = 0;
  ASSERT_EQ(waitpid(child, &ended, 0), child);
  ASSERT_TRUE(WIFEXITED(ended)) << ended;
  if (WEXITSTATUS(ended) == kNoMount) {
    GTEST_SKIP() << "mounting needs a right that this user has not";
  }
  EXPECT_EQ(WEXITSTATUS(ended), kFine);
}

// --- Several at once
// ----------------------------------------------------------

TEST_F(CodeCacheTest, ServesManyThreads) {
  // So small that they evict each other's entries all the time.
  options_.bytes_max = 20 * 8192;
  Open();
  const auto work = [this](unsigned seed) {
    std::minstd_rand random(seed);
    for (int i = 0; i < 400; ++i) {
      const int number = static_cast<int>(random() % 40);
      switch (random() % 8) {
        case 0:
          cache_->Remove(KeyOf(number));
          break;
        case 1:
          EXPECT_LE(cache_->stats().bytes, options_.bytes_max);
          break;
        case 2:
        case 3:
        case 4:
          Store(number);
          break;
        default: {
          const auto found = cache_->Lookup(KeyOf(number));
          if (found.has_value()) {
            EXPECT_EQ(*found, BytesOf(number, kTwoBlocks));
          }
        }
      }
    }
  };
  std::vector<std::thread> threads;
  for (unsigned i = 0; i < 4; ++i) threads.emplace_back(work, i + 1);
  for (std::thread& thread : threads) thread.join();
  const CodeCache::Stats stats = cache_->stats();
  EXPECT_EQ(stats.corrupt, 0u);
  EXPECT_EQ(stats.store_errors, 0u);
  EXPECT_GT(stats.hits, 0u);
  EXPECT_GT(stats.evicted, 0u);
  EXPECT_LE(EntryBytesIn(options_.folder), options_.bytes_max);
  for (const std::string& name : NamesIn(options_.folder)) {
    EXPECT_TRUE(name == "mac-key" || CacheKey::Parse(name).has_value()) << name;
  }
}

TEST_F(CodeCacheTest, SeesWhatAnotherStores) {
  const auto other = OpenCache(options_);
  Store(1);
  EXPECT_EQ(other->stats().entries, 0u);
  EXPECT_EQ(other->Lookup(KeyOf(1)), BytesOf(1, kTwoBlocks));
  EXPECT_EQ(other->stats().entries, 1u);
  cache_->Remove(KeyOf(1));
  EXPECT_FALSE(other->Lookup(KeyOf(1)).has_value());
  EXPECT_EQ(other->stats().entries, 0u);
  EXPECT_EQ(other->stats().corrupt, 0u);
}

TEST_F(CodeCacheTest, StaysNearTheLimitWithAnother) {
  options_.bytes_max = 32 * 8192;
  Open();
  const auto other = OpenCache(options_);
  for (int i = 0; i < 200; ++i) {
    Store(i);
    ASSERT_TRUE(other->Store(KeyOf(1'000 + i), BytesOf(i, kTwoBlocks)).ok());
    // And an eighth, and the one that makes the eighth full.
    EXPECT_LE(EntryBytesIn(options_.folder),
              options_.bytes_max + options_.bytes_max / 8 + 2 * 8192);
  }
  EXPECT_EQ(cache_->stats().corrupt, 0u);
}

}  // namespace
}  // namespace callgate::native
