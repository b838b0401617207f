// Sees when a changed policy suddenly denies calls of many, so that the daemon
// may go back to the version before.
//
// A policy is watched for a while after a new version of it came into force. It
// surges when within a minute it stopped calls of enough tenants, each of them
// often, and much more often than before the change. Modules count, too: what a
// single module does, however many tenants run it, is no surge, so nobody can
// have a policy taken back by provoking it.
//
// Time is given, from any origin, never backwards: the daemon's is Now(), so
// that setting the machine's clock neither makes a surge nor hides one. Any
// thread. Bounded: of the
// pairs of a policy and a tenant that were seen first kPairsMax are counted,
// and of each pair's modules kModulesMax.

#ifndef CALLGATE_SERVER_DENIAL_SURGE_H_
#define CALLGATE_SERVER_DENIAL_SURGE_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/strings/string_view.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"

namespace callgate {

class DenialSurge {
 public:
  struct Options {
    // At least this many, each of which surges. At least 2.
    size_t tenants_min = 3;
    // Among them different modules.
    size_t modules_min = 2;
    // Of a tenant in the last minute.
    uint64_t denials_min = 20;
    // Times as many as in an average minute before the change.
    double factor = 10;
    // How long a policy is watched after a change.
    absl::Duration watch = absl::Minutes(10);
  };
  // By a clock that nobody sets.
  static absl::Time Now();
  static constexpr size_t kPairsMax = 10'000;
  static constexpr size_t kModulesMax = 16;

  explicit DenialSurge(const Options& options) : options_(options) {}
  DenialSurge(const DenialSurge&) = delete;
  DenialSurge& operator=(const DenialSurge&) = delete;

  // A rule of `policy` stopped a call. Takes a lock.
  void NoteDenial(absl::string_view policy, absl::string_view tenant,
                  absl::string_view module, absl::Time now);

  // A new version of `policy` came into force. What it does is put down to
  // `cause`, which is the policy itself or one that it includes; `before` is
  // the version of `cause` to go back to.
  void NoteChange(absl::string_view policy, absl::string_view cause,
                  absl::string_view before, absl::Time now);
  // It changed in a way that is not to be undone, by a rollback: it is watched
  // no longer.
  void Forget(absl::string_view policy);

  struct Surge {
    std::string policy;
    std::string cause;
    std::string before;
    size_t tenants = 0;
    uint64_t denials = 0;  // in the last minute
  };
  // What surges now; each is told once and watched no longer.
  std::vector<Surge> Check(absl::Time now);

 private:
  static constexpr absl::Duration kSlot = absl::Seconds(10);
  static constexpr size_t kSlotsOfMinute = 6;
  // An hour, for what was usual.
  static constexpr size_t kSlots = 360;

  struct Pair {
    // By slot modulo kSlots; the slot before which all are old is newest + 1 -
    // kSlots.
    std::array<uint32_t, kSlots> denials{};
    int64_t newest = 0;
    int64_t first = 0;
    // With when they were denied something last.
    std::map<std::string, int64_t> modules;
  };
  struct Watched {
    std::string cause;
    std::string before;
    int64_t since = 0;  // slot
    absl::Time until;
  };
  static int64_t SlotOf(absl::Time now) {
    return (now - absl::UnixEpoch()) / kSlot;
  }
  // Denials in the slots [from, to).
  static uint64_t Sum(const Pair& pair, int64_t from, int64_t to);
  static void MoveTo(Pair& pair, int64_t slot);

  const Options options_;
  absl::Mutex mu_;
  std::map<std::pair<std::string, std::string>, Pair> pairs_
      ABSL_GUARDED_BY(mu_);  // policy, tenant
  std::map<std::string, Watched, std::less<>> watched_ ABSL_GUARDED_BY(mu_);
};

}  // namespace callgate

#endif  // CALLGATE_SERVER_DENIAL_SURGE_H_
