// Attacks of six kinds.
//
// Most are made from the trace of a real run, at the host's side: as if
// somebody had taken the program over at some call and had it make other ones,
// with code that is in the module. Such a call comes either from where the
// program was taken over (the function called is another, the functions that
// led there are the same), or from a call site that the program itself uses for
// it (the harder to find: only the order is wrong).
//
// The others are scripts for Lua, and nothing about their runs is made up.

#ifndef CALLGATE_TESTS_ANOMALY_ATTACKS_H_
#define CALLGATE_TESTS_ANOMALY_ATTACKS_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "tests/anomaly/guest_runner.h"
#include "tests/anomaly/made_text.h"
#include "tests/anomaly/workload.h"

namespace callgate::anomaly_test {

enum class AttackKind : uint8_t {
  kExfiltration,  // opens and reads something, then writes it elsewhere
  kPathScan,      // tries names, most of which are not there
  kOrder,         // the program's own calls in another order
  kCallSite,      // a corrupted table index: another function where one was due
  kBurst,         // one call again and again
  kDrip,          // one call now and then, over a long time
};
inline constexpr size_t kAttackKinds = 6;
absl::string_view AttackKindName(AttackKind kind);

struct Attack {
  AttackKind kind = AttackKind::kExfiltration;
  // For people: "burst: 80 x fd_write, its own site".
  std::string what;
  Trace trace;
  // The first and last call that are not the program's own.
  size_t first = 0;
  size_t last = 0;
};

// How programs call what: from traces of clean runs.
class Donors {
 public:
  void Learn(const Trace& trace);
  // Some call site of the import; one that no program uses if there is none.
  Trace::Site SiteOf(absl::string_view import, Random& random) const;
  // Some import that is called.
  Trace::Site Any(Random& random) const;

 private:
  std::vector<Trace::Site> sites_;
};

// `base` has at least kBaseCallsMin calls.
inline constexpr size_t kBaseCallsMin = 12;
Attack MakeAttack(AttackKind kind, const Trace& base, const Donors& donors,
                  Random& random);

// A job for Lua that does what `kind` says after some honest work; none for
// kCallSite.
struct ScriptAttack {
  AttackKind kind = AttackKind::kExfiltration;
  std::string what;
  Job job;
};
std::vector<ScriptAttack> ScriptAttacks(uint64_t seed);

}  // namespace callgate::anomaly_test

#endif  // CALLGATE_TESTS_ANOMALY_ATTACKS_H_
