// Compiles modules again at the optimised level while their baseline code runs
// already, one at a time, on a thread of its own, and publishes what comes out.
// The accounts that the modules were compiled for take turns.
//
// A module that its users have dropped before its turn comes is not compiled. A
// module that the compiler refuses or gives up stays at the baseline: that is
// counted, and nothing else happens. At most kWaitingBytesMax of modules wait,
// and of one account a quarter; beyond that a module stays at the baseline,
// which is counted too.
//
// Any thread. The destructor gives up what waits and waits for what runs.

#ifndef CALLGATE_RUNTIME_NATIVE_OPTIMISER_H_
#define CALLGATE_RUNTIME_NATIVE_OPTIMISER_H_

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <list>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace callgate::native {

class Optimiser {
 public:
  static constexpr uint64_t kWaitingBytesMax = 256 << 20;
  static constexpr uint64_t kAccountBytesMax = kWaitingBytesMax / 4;

  struct Stats {
    uint64_t done = 0;
    uint64_t failed = 0;
    uint64_t dropped = 0;   // nobody used the module any more
    uint64_t overflow = 0;  // too much waited
    uint64_t waiting = 0;   // now
  };

  Optimiser();
  ~Optimiser();
  Optimiser(const Optimiser&) = delete;
  Optimiser& operator=(const Optimiser&) = delete;

  // `compile` compiles and publishes, unless `wanted` is false by then. `bytes`
  // is the module's size, for the bound.
  void Add(absl::string_view account, uint64_t bytes,
           std::function<bool()> wanted, std::function<absl::Status()> compile);
  // Until nothing waits or runs. For tests and benchmarks.
  void Drain();
  Stats stats() const;

 private:
  struct Job {
    uint64_t bytes = 0;
    std::function<bool()> wanted;
    std::function<absl::Status()> compile;
  };
  // Of one account that has jobs.
  struct Line {
    std::string account;
    uint64_t bytes = 0;
    std::deque<Job> jobs;
  };
  void Run();
  Job TakeNext();

  mutable std::mutex mu_;
  std::condition_variable changed_;
  // Guarded by mu_.
  std::list<Line> lines_;  // the next one first
  uint64_t waiting_ = 0;
  uint64_t waiting_bytes_ = 0;
  bool running_ = false;
  bool ending_ = false;
  Stats stats_;
  // Last: it uses the rest.
  std::thread thread_;
};

}  // namespace callgate::native

#endif  // CALLGATE_RUNTIME_NATIVE_OPTIMISER_H_
