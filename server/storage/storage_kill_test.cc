// Nothing acknowledged is lost, and nothing torn is ever seen, however the
// daemon dies.
//
// A child works on a data directory and says on a pipe what it got an OK for,
// after it got it. A timer with the signal's default action ends the child at
// some microsecond, as abruptly as kill -9 does. The parent then opens the
// directory and compares it with what it was told. The rounds share one
// directory, so each also starts from what a killed predecessor left.

#include <dirent.h>
#include <signal.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <map>
#include <random>
#include <set>
#include <string>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "server/storage/storage.h"

namespace callgate::storage {
namespace {

constexpr char kTenant[] = "acme";
// Enough kills, of writers that got something done.
constexpr int kRoundsMin = 60;
constexpr int kRoundsMax = 600;
constexpr size_t kStoredMin = 20;
constexpr size_t kDeletedMin = 5;

// What the child did, fixed in size so that a write to the pipe is whole.
struct Acknowledged {
  enum Kind : int { kStored, kDeleted, kPolicy, kQuarantine } kind;
  int number;
};

// Larger than a page of the disk, so that a torn one could show.
std::string BytesOf(int number) {
  return absl::StrCat("module ", number, " ", std::string(20'000, 'm'));
}

std::string PolicyNameOf(int number) {
  return absl::StrCat("policy", number % 5);
}

[[noreturn]] void WorkUntilKilled(const std::string& directory, int first,
                                  int pipe_fd, long lifetime_us) {
  signal(SIGALRM, SIG_DFL);
  itimerval timer = {};
  timer.it_value.tv_sec = lifetime_us / 1'000'000;
  timer.it_value.tv_usec = lifetime_us % 1'000'000;
  setitimer(ITIMER_REAL, &timer, nullptr);

  const absl::StatusOr<std::unique_ptr<Storage>> storage =
      Storage::Open(directory, StorageOptions());
  if (!storage.ok()) {
    fprintf(stderr, "%s\n", storage.status().ToString().c_str());
    _exit(1);
  }
  const auto acknowledge = [pipe_fd](Acknowledged::Kind kind, int number) {
    const Acknowledged done = {kind, number};
    if (write(pipe_fd, &done, sizeof done) != sizeof done) _exit(1);
  };
  for (int number = first;; ++number) {
    ModuleRecord module;
    module.tenant = kTenant;
    module.digest = DigestOf(BytesOf(number));
    module.size_bytes = BytesOf(number).size();
    module.labels = {{"number", absl::StrCat(number)}};
    if (!(*storage)->PutModule(module, BytesOf(number)).ok()) _exit(1);
    acknowledge(Acknowledged::kStored, number);

    PolicyRecord policy;
    policy.name = PolicyNameOf(number);
    policy.version = absl::StrCat(number);
    policy.source = absl::StrCat(number, std::string(10'000, 'p'), number);
    if (!(*storage)->catalogue().PutPolicy(policy).ok()) _exit(1);
    acknowledge(Acknowledged::kPolicy, number);

    QuarantineRecord quarantine;
    quarantine.tenant = kTenant;
    quarantine.digest = module.digest;
    if (!(*storage)->catalogue().PutQuarantine(quarantine).ok()) _exit(1);
    acknowledge(Acknowledged::kQuarantine, number);

    if (number % 3 == 0) {
      if (!(*storage)->DeleteModule(kTenant, module.digest).ok()) _exit(1);
      acknowledge(Acknowledged::kDeleted, number);
    }
  }
}

TEST(StorageKillTest, LosesNothingAcknowledged) {
  std::string directory = testing::TempDir() + "/killXXXXXX";
  ASSERT_NE(mkdtemp(&directory[0]), nullptr);

  std::set<int> stored;
  std::set<int> deleted;
  std::set<int> quarantined;
  std::map<std::string, int> policies;  // name to the last acknowledged number
  int next = 0;
  std::minstd_rand random(20'240'601);
  // Grows where the disk is slow and half of it is not enough for anything.
  long lifetime_us_max = 40'000;

  for (int round = 0; round < kRoundsMin || stored.size() < kStoredMin ||
                      deleted.size() < kDeletedMin;
       ++round) {
    ASSERT_LT(round, kRoundsMax) << "writers are killed before they do a thing";
    int pipe_fds[2];
    ASSERT_EQ(pipe(pipe_fds), 0);
    const long lifetime_us =
        std::uniform_int_distribution<long>(500, lifetime_us_max)(random);
    const int next_before = next;
    const pid_t child = fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      close(pipe_fds[0]);
      WorkUntilKilled(directory, next, pipe_fds[1], lifetime_us);
    }
    close(pipe_fds[1]);
    Acknowledged done = {};
    while (read(pipe_fds[0], &done, sizeof done) == sizeof done) {
      next = done.number + 1;
      switch (done.kind) {
        case Acknowledged::kStored:
          stored.insert(done.number);
          break;
        case Acknowledged::kDeleted:
          deleted.insert(done.number);
          break;
        case Acknowledged::kPolicy:
          policies[PolicyNameOf(done.number)] = done.number;
          break;
        case Acknowledged::kQuarantine:
          quarantined.insert(done.number);
          break;
      }
    }
    close(pipe_fds[0]);
    int ended = 0;
    ASSERT_EQ(waitpid(child, &ended, 0), child);
    ASSERT_TRUE(WIFSIGNALED(ended) && WTERMSIG(ended) == SIGALRM) << ended;
    if (next == next_before && lifetime_us > lifetime_us_max / 2) {
      lifetime_us_max = std::min(lifetime_us_max * 5 / 4, 2'000'000L);
    }
    // The number that was being worked on may be there or not; a new one keeps
    // the books simple.
    ++next;

    absl::StatusOr<std::unique_ptr<Storage>> storage =
        Storage::Open(directory, StorageOptions());
    ASSERT_TRUE(storage.ok()) << storage.status();
    for (const int number : stored) {
      const absl::StatusOr<Storage::StoredModule> read =
          (*storage)->ReadModule(kTenant, DigestOf(BytesOf(number)));
      if (deleted.count(number) != 0) {
        ASSERT_TRUE(absl::IsNotFound(read.status())) << number;
      } else if (number % 3 == 0 && absl::IsNotFound(read.status())) {
        // Deleted, and killed before it could say so.
        deleted.insert(number);
      } else {
        ASSERT_TRUE(read.ok()) << number << ": " << read.status();
        ASSERT_EQ(read->bytes, BytesOf(number));
        ASSERT_EQ(read->module.labels.at("number"), absl::StrCat(number));
      }
    }
    for (const int number : quarantined) {
      const auto found = (*storage)->catalogue().FindQuarantine(
          kTenant, DigestOf(BytesOf(number)));
      ASSERT_TRUE(found.ok() && found->has_value()) << number;
    }
    const auto kept = (*storage)->catalogue().ListPolicies();
    ASSERT_TRUE(kept.ok()) << kept.status();
    std::map<std::string, int> kept_numbers;
    for (const PolicyRecord& policy : *kept) {
      const int number = std::stoi(policy.version);
      kept_numbers[policy.name] = number;
      ASSERT_EQ(policy.source,
                absl::StrCat(number, std::string(10'000, 'p'), number));
    }
    for (const auto& [name, number] : policies) {
      ASSERT_GE(kept_numbers[name], number) << name;
    }
    // Whatever is listed can be read, acknowledged or not.
    std::string after;
    do {
      const auto page =
          (*storage)->catalogue().ListModules(kTenant, kPageSizeMax, after);
      ASSERT_TRUE(page.ok()) << page.status();
      for (const ModuleRecord& module : page->modules) {
        ASSERT_TRUE((*storage)->ReadModule(kTenant, module.digest).ok());
      }
      after = page->next;
    } while (!after.empty());
    // Nothing unfinished stays behind.
    DIR* const unfinished = opendir((directory + "/modules/tmp").c_str());
    ASSERT_NE(unfinished, nullptr);
    int entries = 0;
    while (readdir(unfinished) != nullptr) ++entries;
    closedir(unfinished);
    ASSERT_EQ(entries, 2);
  }
}

}  // namespace
}  // namespace callgate::storage
