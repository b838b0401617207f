// Real programs of the corpus at their usual work, over inputs that a seed
// makes: what a profile learns from, and what must not raise an alert.
//
// The same program and seed are the same job, byte for byte. Seeds are never
// shared between learning, choosing thresholds and testing.

#ifndef CALLGATE_TESTS_ANOMALY_WORKLOAD_H_
#define CALLGATE_TESTS_ANOMALY_WORKLOAD_H_

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace callgate::anomaly_test {

// One run of a program.
struct Job {
  std::vector<std::string> args;
  std::vector<std::string> env;
  std::string stdin_bytes;
  // When not empty, the program is run with these arguments first, and what it
  // makes of stdin_bytes is the job's standard input.
  std::vector<std::string> args_before;
  // Files of the one directory that the guest sees, by name.
  std::map<std::string, std::string> files;
  bool is_terminal = false;
  // A run that traps is a run, too.
  bool may_trap = false;
};

// How much one run should do, about.
enum class JobSize : uint8_t {
  kUsual,
  // Many calls, for the length of the test: the same work over more data.
  kLong,
};

struct Program {
  std::string name;
  std::string file;       // in the corpus
  std::string directory;  // what the guest calls its directory
  Job (*make_job)(uint64_t seed, JobSize size) = nullptr;
  // How many of each hundred calls of the test are its; the rest of its work is
  // usual runs.
  uint64_t percent = 0;
  // A file of the corpus that lies in the directory, too; empty: none.
  std::string library = "";
};

// Eight of them.
const std::vector<Program>& Programs();

}  // namespace callgate::anomaly_test

#endif  // CALLGATE_TESTS_ANOMALY_WORKLOAD_H_
