// Makes running guests look at their deadline, where they do not count fuel and
// would not look by themselves.
//
// One thread for any number of guests; it exists while there is one. Any
// thread.

#ifndef CALLGATE_RUNTIME_NATIVE_TICKER_H_
#define CALLGATE_RUNTIME_NATIVE_TICKER_H_

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <thread>

#include "absl/container/flat_hash_set.h"

namespace callgate::native {

class Ticker {
 public:
  explicit Ticker(
      std::chrono::milliseconds period = std::chrono::milliseconds(1))
      : period_(period) {}
  ~Ticker();
  Ticker(const Ticker&) = delete;
  Ticker& operator=(const Ticker&) = delete;

  // Until it is removed, `stack_limit` is set to all ones every period.
  void Add(std::atomic<uint64_t>& stack_limit);
  void Remove(std::atomic<uint64_t>& stack_limit);

 private:
  void Run();

  const std::chrono::milliseconds period_;
  std::mutex mu_;
  std::condition_variable changed_;
  // Guarded by mu_.
  absl::flat_hash_set<std::atomic<uint64_t>*> running_;
  bool busy_ = false;    // somebody ran since the last look
  bool asleep_ = false;  // until it is notified
  bool ending_ = false;
  std::thread thread_;  // guarded by mu_
};

}  // namespace callgate::native

#endif  // CALLGATE_RUNTIME_NATIVE_TICKER_H_
