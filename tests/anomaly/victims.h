// Programs of our own (guests/) with a bug that input can trigger, their usual
// work, and input that takes them over.
//
// The attacks here are bytes of a job's input and nothing else: the guest reads
// them under the hook as it reads any others. Where something is needed that is
// not in the source, the index of a function in the program's table, it is
// found out as an attacker would find it, by trying every index on a copy.
//
// Every exploit has a twin, the same job without what is evil in it. An alert
// on the twin is a false one, and what is found then is not the attack.

#ifndef CALLGATE_TESTS_ANOMALY_VICTIMS_H_
#define CALLGATE_TESTS_ANOMALY_VICTIMS_H_

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "tests/anomaly/attacks.h"
#include "tests/anomaly/guest_runner.h"
#include "tests/anomaly/workload.h"

namespace callgate::anomaly_test {

// Their `file` is below the folder of this package.
const std::vector<Program>& Victims();

// Indices in the program's function table, by the word that a function says
// when it is called: "purged", "told".
using TableIndices = std::map<std::string, uint32_t>;
// Of those that no input of the program's is meant to reach.
TableIndices FindHiddenFunctions(GuestRunner& runner);

struct Exploit {
  AttackKind kind = AttackKind::kCallSite;
  std::string what;
  // Some function is called through an index that the input has overwritten;
  // otherwise the input is what any client may send, but not as clients do.
  bool takes_over = false;
  Job job;
  Job twin;
};
// `of_each` of each kind. The same seed makes the same ones.
std::vector<Exploit> MakeExploits(const Program& victim,
                                  const TableIndices& hidden, uint64_t seed,
                                  uint64_t of_each);

}  // namespace callgate::anomaly_test

#endif  // CALLGATE_TESTS_ANOMALY_VICTIMS_H_
