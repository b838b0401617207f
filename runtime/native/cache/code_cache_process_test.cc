// However a writer dies, nothing torn is ever returned; and two processes may
// use one folder.

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <iostream>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "runtime/native/cache/cache_testing.h"
#include "runtime/native/cache/code_cache.h"

namespace callgate::native {
namespace {

// Large enough to be killed inside.
constexpr size_t kEntryBytes = 600'000;
constexpr int kNumbers = 16;
// Enough kills, of writers that got something done.
constexpr int kRoundsMin = 100;
constexpr int kRoundsMax = 600;
constexpr size_t kStoredMin = 10;
constexpr int kUnfinishedMin = 10;

// Made once: it takes longer than storing them.
const std::vector<std::string>& Entries() {
  static const auto* const entries = [] {
    auto* const made = new std::vector<std::string>;
    for (int i = 0; i < kNumbers; ++i) made->push_back(BytesOf(i, kEntryBytes));
    return made;
  }();
  return *entries;
}

[[noreturn]] void StoreUntilKilled(const CodeCache::Options& options,
                                   unsigned seed, int pipe_fd,
                                   long lifetime_us) {
  // The kernel itself sends it, at whatever instruction it is due.
  sigevent event = {};
  event.sigev_notify = SIGEV_SIGNAL;
  event.sigev_signo = SIGKILL;
  timer_t timer = {};
  itimerspec when = {};
  when.it_value.tv_sec = lifetime_us / 1'000'000;
  when.it_value.tv_nsec = lifetime_us % 1'000'000 * 1000;
  if (timer_create(CLOCK_MONOTONIC, &event, &timer) != 0 ||
      timer_settime(timer, 0, &when, nullptr) != 0) {
    _exit(1);
  }
  absl::StatusOr<std::unique_ptr<CodeCache>> cache = CodeCache::Open(options);
  if (!cache.ok()) _exit(2);
  std::minstd_rand random(seed);
  for (;;) {
    const int number = static_cast<int>(random() % kNumbers);
    if (!(*cache)
             ->Store(KeyOf(number), Entries()[static_cast<size_t>(number)])
             .ok()) {
      _exit(3);
    }
    if (write(pipe_fd, &number, sizeof number) != sizeof number) _exit(4);
  }
}

TEST(CodeCacheProcessTest, SurvivesKilledWriters) {
  CodeCache::Options options;
  options.folder = NewCacheFolder();
  std::set<int> stored;
  int unfinished = 0;
  std::minstd_rand random(20'240'601);
  // Grows where the machine is slow and half of it is not enough for anything.
  long lifetime_us_max = 20'000;
  ASSERT_EQ(Entries().size(), static_cast<size_t>(kNumbers));
  int round = 0;
  for (; round < kRoundsMin || stored.size() < kStoredMin ||
         unfinished < kUnfinishedMin;
       ++round) {
    ASSERT_LT(round, kRoundsMax) << "writers are killed before they do a thing";
    int pipe_fds[2];
    ASSERT_EQ(pipe(pipe_fds), 0);
    const long lifetime_us =
        std::uniform_int_distribution<long>(200, lifetime_us_max)(random);
    const auto seed = static_cast<unsigned>(random());
    const pid_t child = fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      close(pipe_fds[0]);
      StoreUntilKilled(options, seed, pipe_fds[1], lifetime_us);
    }
    close(pipe_fds[1]);
    int number = 0;
    bool did_something = false;
    while (read(pipe_fds[0], &number, sizeof number) == sizeof number) {
      stored.insert(number);
      did_something = true;
    }
    close(pipe_fds[0]);
    int ended = 0;
    ASSERT_EQ(waitpid(child, &ended, 0), child);
    ASSERT_TRUE(WIFSIGNALED(ended) && WTERMSIG(ended) == SIGKILL) << ended;
    if (!did_something && lifetime_us > lifetime_us_max / 2) {
      lifetime_us_max = std::min(lifetime_us_max * 5 / 4, 1'000'000L);
    }
    // The first may not even have come to making the folder.
    if (access(options.folder.c_str(), F_OK) == 0) {
      for (const std::string& name : NamesIn(options.folder)) {
        if (absl::StartsWith(name, "tmp-")) ++unfinished;
      }
    }

    const auto cache = OpenCache(options);
    ASSERT_NE(cache, nullptr);
    for (int i = 0; i < kNumbers; ++i) {
      const auto found = cache->Lookup(KeyOf(i));
      ASSERT_TRUE(found.has_value() || stored.count(i) == 0) << i;
      if (found.has_value()) {
        ASSERT_TRUE(*found == Entries()[static_cast<size_t>(i)]) << i;
      }
    }
    ASSERT_EQ(cache->stats().corrupt, 0u);
    for (const std::string& name : NamesIn(options.folder)) {
      ASSERT_TRUE(name == "mac-key" || CacheKey::Parse(name).has_value())
          << name;
    }
  }
  std::cout << round << " writers killed, " << unfinished
            << " in the middle of an entry; entries stored: " << stored.size()
            << "\n";
}

// Exit code 0: every hit was right.
[[noreturn]] void UseSharedFolder(const CodeCache::Options& options,
                                  unsigned seed, int start_fd) {
  char go = 0;
  if (read(start_fd, &go, 1) != 0) _exit(1);
  absl::StatusOr<std::unique_ptr<CodeCache>> cache = CodeCache::Open(options);
  if (!cache.ok()) {
    std::cerr << cache.status() << "\n";
    _exit(2);
  }
  std::minstd_rand random(seed);
  for (int i = 0; i < 2'000; ++i) {
    const int number = static_cast<int>(random() % 60);
    const std::string bytes = BytesOf(number, 4'000);
    const auto found = (*cache)->Lookup(KeyOf(number));
    if (found.has_value()) {
      if (*found != bytes) _exit(3);
      continue;
    }
    if (!(*cache)->Store(KeyOf(number), bytes).ok()) _exit(4);
  }
  const CodeCache::Stats stats = (*cache)->stats();
  if (stats.corrupt != 0) _exit(5);
  if (stats.hits == 0 || stats.evicted == 0) _exit(6);
  _exit(0);
}

TEST(CodeCacheProcessTest, SharesAFolder) {
  constexpr int kProcesses = 3;
  CodeCache::Options options;
  options.folder = NewCacheFolder();
  options.bytes_max = 40 * 4096;
  // All begin at once, the making of the key included.
  int start[2];
  ASSERT_EQ(pipe(start), 0);
  pid_t children[kProcesses];
  for (int i = 0; i < kProcesses; ++i) {
    children[i] = fork();
    ASSERT_GE(children[i], 0);
    if (children[i] == 0) {
      close(start[1]);
      UseSharedFolder(options, static_cast<unsigned>(i + 1), start[0]);
    }
  }
  close(start[0]);
  close(start[1]);
  for (const pid_t child : children) {
    int ended = 0;
    ASSERT_EQ(waitpid(child, &ended, 0), child);
    EXPECT_TRUE(WIFEXITED(ended)) << ended;
    EXPECT_EQ(WEXITSTATUS(ended), 0);
  }
  // As code_cache.h promises, and the entries that made the eighths full.
  EXPECT_LE(EntryBytesIn(options.folder),
            options.bytes_max + 2 * options.bytes_max / 8 + 2 * 4096);
  const auto cache = OpenCache(options);
  EXPECT_LE(EntryBytesIn(options.folder), options.bytes_max);
  EXPECT_GT(cache->stats().entries, 0u);
  for (int i = 0; i < 60; ++i) {
    const auto found = cache->Lookup(KeyOf(i));
    if (found.has_value()) {
      EXPECT_EQ(*found, BytesOf(i, 4'000));
    }
  }
  EXPECT_EQ(cache->stats().corrupt, 0u);
}

}  // namespace
}  // namespace callgate::native
