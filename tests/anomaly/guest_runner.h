// Runs jobs of one program on the native engine, optimised, with a call hook.
//
// One thread. Each run has a fresh Store and a fresh directory, which is gone
// afterwards. What cannot be run ends the process: nothing that failed may be
// counted.

#ifndef CALLGATE_TESTS_ANOMALY_GUEST_RUNNER_H_
#define CALLGATE_TESTS_ANOMALY_GUEST_RUNNER_H_

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "policy/anomaly/shape.h"
#include "policy/anomaly/stream.h"
#include "runtime/call_hook.h"
#include "runtime/engine.h"
#include "runtime/module.h"
#include "tests/anomaly/workload.h"

namespace callgate::anomaly_test {

// The calls of one run, whole: what an attack is made from.
struct Trace {
  struct Site {
    std::string module;
    std::string name;
    // The caller first, kSiteFunctionsMax of them at most.
    std::vector<uint32_t> functions;
  };
  struct Call {
    uint32_t site = 0;  // into sites
    policy::anomaly::ErrnoClass errno_class = policy::anomaly::ErrnoClass::kOk;
  };
  std::vector<Site> sites;
  std::vector<Call> calls;

  uint32_t AddSite(const Site& site);
};

// Is told the score of every call.
class ScoreWatcher {
 public:
  virtual ~ScoreWatcher() = default;
  virtual void OnScore(const policy::anomaly::Score& score) = 0;
};

class GuestRunner {
 public:
  // `corpus` is the corpus's folder, `scratch` one to make directories in.
  GuestRunner(const Program& program, const std::string& corpus,
              std::string scratch);
  ~GuestRunner();

  const Program& program() const { return program_; }

  // Feeds the stream; `watcher` may be null. The number of calls.
  uint64_t Run(const Job& job, policy::anomaly::Stream& stream,
               ScoreWatcher* watcher);
  // The first `calls_max` calls.
  Trace Record(const Job& job, size_t calls_max);
  // What the guest writes to its standard output; under no hook if it is null.
  // `files`, if not null, are those of its directory when it has ended.
  std::string OutputOf(const Job& job, CallHook* hook = nullptr,
                       std::map<std::string, std::string>* files = nullptr);

 private:
  void RunUnder(const Job& job, CallHook& hook);
  std::string RunOnce(const Job& job, const std::string& stdin_bytes,
                      const std::vector<std::string>& args, CallHook* hook,
                      bool keeps_output,
                      std::map<std::string, std::string>* files = nullptr);

  const Program& program_;
  const std::string scratch_;
  // Name and text of Program::library.
  std::string library_name_;
  std::string library_;
  std::unique_ptr<Engine> engine_;
  std::shared_ptr<const Module> module_;
  uint64_t runs_ = 0;
};

// As a run would: the highest share_z and frame score from each call on.
std::vector<policy::anomaly::Score> ScoresOf(const Trace& trace,
                                             policy::anomaly::Stream& stream);

}  // namespace callgate::anomaly_test

#endif  // CALLGATE_TESTS_ANOMALY_GUEST_RUNNER_H_
