// Compiles modules in other processes, so that a module which crashes, hangs or
// takes over the compiler costs its tenant a refusal and the daemon nothing.
//
// Each module gets a process of its own: one of the spare workers that
// `callgate-compile --zygote` forks ahead of need. It has given up its powers
// before it sees the module's first byte (confine.h), answers once and ends.
// Nothing it says is trusted: lengths are bounded, waiting has a deadline, and
// what is compiled is still to be checked by the loader, as any stranger's
// bytes.
//
// Compilations are counted against the account that they are for, a tenant's
// name: how many wait (compile_queue.h), the memory of those in progress, and
// the time of all (compile_budget.h).
//
// Any thread may call Compile and stats. Compile blocks the calling thread: for
// its turn, then for the wall time of its level at most. The destructor may run
// while others are in Compile, which then returns Cancelled at once; it waits
// for them to leave, ends and reaps its own processes, and touches no other
// child of this process. Sizes are in bytes. Needs Linux 5.9.

#ifndef CALLGATE_RUNTIME_NATIVE_WORKER_COMPILE_SERVICE_H_
#define CALLGATE_RUNTIME_NATIVE_WORKER_COMPILE_SERVICE_H_

#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "runtime/native/compile_request.h"
#include "runtime/native/worker/compile_budget.h"
#include "runtime/native/worker/compile_queue.h"
#include "runtime/native/worker/limits.h"

namespace callgate::native {

class WorkerPool;

// `callgate-compile` in the folder of the running executable.
std::string DefaultWorkerPath();

class CompileService {
 public:
  struct Options {
    // Empty: DefaultWorkerPath().
    std::string worker_path;
    // Modules compiled at once; 0: one per processor. Background ones leave
    // one place free where there are two or more.
    size_t workers = 0;
    // Workers kept waiting for a module.
    size_t spares = 2;
    // Calls of each priority that may wait for their turn.
    size_t queue_max = 1024;
    // Of these, of one account.
    size_t account_queue_max = 64;
    // What the limits give all workers of one account together; one alone may
    // always have its own.
    uint64_t account_memory_bytes = uint64_t{8} << 30;
    CompileBudget::Options account_budget;
    CompileLimits limits;
  };

  // Since the start, unless "now" is said.
  struct Stats {
    uint64_t compiles = 0;  // ended with machine code
    uint64_t refused = 0;   // by the compiler, with a reason
    uint64_t crashed = 0;   // by a signal or an exit code
    uint64_t timed_out = 0;
    uint64_t over_memory = 0;
    uint64_t bad_answers = 0;  // malformed, or none
    uint64_t unavailable = 0;  // no fault of the module's; without queue_full
    uint64_t queue_full = 0;
    uint64_t account_queue_full = 0;
    uint64_t over_account_time = 0;
    uint64_t zygote_restarts = 0;
    // What workers took that had a module, whatever came of it.
    std::chrono::nanoseconds baseline_time{0};
    std::chrono::nanoseconds optimised_time{0};
    uint64_t in_flight = 0;  // now, with a worker or about to have one
    uint64_t waiting = 0;    // now, for their turn
    uint64_t spares = 0;     // now
    int64_t zygote_pid = 0;  // now; 0: none
  };

  // Unavailable: the worker program cannot be started; names its path and what
  // to do. Blocks until the program is ready.
  static absl::StatusOr<std::unique_ptr<CompileService>> Start(Options options);
  ~CompileService();
  CompileService(const CompileService&) = delete;
  CompileService& operator=(const CompileService&) = delete;

  // A serialised CompiledModule, not yet checked.
  //   InvalidArgument  the module's fault: the compiler's text, in printable
  //                    ASCII; or "module rejected: the compiler ..." when it
  //                    crashed, went over its time or memory, or gave no
  //                    proper answer. The same again is of no use.
  //   ResourceExhausted  the account's: it has too many calls waiting, or has
  //                    used up its time
  //   Unavailable      ours: no worker to be had, or too many calls wait
  //   Cancelled        the service is being destroyed
  absl::StatusOr<std::string> Compile(const CompileRequest& request,
                                      absl::Span<const uint8_t> module,
                                      Priority priority,
                                      absl::string_view account = "");

  Stats stats() const;

 private:
  struct Attempt;

  CompileService(Options options, std::unique_ptr<WorkerPool> pool);

  absl::StatusOr<std::string> Queue(const CompileRequest& request,
                                    absl::Span<const uint8_t> module,
                                    Priority priority,
                                    absl::string_view account);
  absl::StatusOr<std::string> CompileInTurn(const Order& order,
                                            absl::Span<const uint8_t> module,
                                            absl::string_view account);
  Attempt Try(const Order& order, absl::Span<const uint8_t> module);
  void Count(uint64_t Stats::*counter);

  const Options options_;
  CompileQueue queue_;
  CompileBudget budget_;
  std::unique_ptr<WorkerPool> pool_;

  mutable std::mutex mu_;
  std::condition_variable left_;
  // Guarded by mu_. Of `stats_` only what is counted here.
  Stats stats_;
  uint64_t callers_ = 0;
  bool ending_ = false;
};

}  // namespace callgate::native

#endif  // CALLGATE_RUNTIME_NATIVE_WORKER_COMPILE_SERVICE_H_
