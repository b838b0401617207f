#include "server/job_runner.h"

#include <mutex>

#include "absl/time/time.h"
#include "runtime/parker.h"
#include "runtime/parking_condition.h"

namespace callgate {

void RunAside(JobRunner& runner, const std::function<void()>& work) {
  if (Parker::Current() == nullptr) return work();
  std::mutex mu;
  ParkingCondition changed;
  bool done = false;  // guarded by mu
  const bool taken = runner.TryRun([&] {
    work();
    const std::lock_guard<std::mutex> lock(mu);
    done = true;
    changed.NotifyAll();
  });
  if (!taken) return work();
  std::unique_lock<std::mutex> lock(mu);
  while (!done) changed.WaitUntil(lock, absl::InfiniteFuture());
}

}  // namespace callgate
