#include "runtime/parking_condition.h"

namespace callgate {

void ParkingCondition::WaitUntil(std::unique_lock<std::mutex>& lock,
                                 absl::Time deadline) {
  Parker* const parker = Parker::Current();
  if (parker != nullptr) {
    const auto place = fibers_.insert(fibers_.end(), parker);
    lock.unlock();
    parker->Park(-1, Parker::SteadyTime(deadline));
    lock.lock();
    fibers_.erase(place);
  } else if (deadline == absl::InfiniteFuture()) {
    threads_.wait(lock);
  } else {
    threads_.wait_until(lock, absl::ToChronoTime(deadline));
  }
}

void ParkingCondition::NotifyAll() {
  threads_.notify_all();
  for (Parker* const parker : fibers_) parker->Wake();
}

}  // namespace callgate
