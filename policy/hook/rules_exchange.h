// Where new rules for a Store wait for the Store's thread to take them, and old
// ones for another thread to destroy them, so that neither making nor
// destroying a thousand rules is on the guest's time.
//
// Offer and Collect: any thread. offered, Take and Retire: the Store's thread
// alone. No locks: what the Store's thread does is an exchange of one pointer.

#ifndef CALLGATE_POLICY_HOOK_RULES_EXCHANGE_H_
#define CALLGATE_POLICY_HOOK_RULES_EXCHANGE_H_

#include <atomic>
#include <memory>
#include <utility>

#include "policy/hook/rules_version.h"

namespace callgate::policy {

class RulesExchange {
 public:
  RulesExchange() = default;
  ~RulesExchange() {
    delete next_.load();
    Collect();
  }
  RulesExchange(const RulesExchange&) = delete;
  RulesExchange& operator=(const RulesExchange&) = delete;

  // In place of what was offered before and not taken.
  void Offer(std::unique_ptr<RulesVersion> next) {
    delete next_.exchange(next.release(), std::memory_order_acq_rel);
  }

  // A plain load, for the way of every call.
  bool offered() const {
    return next_.load(std::memory_order_relaxed) != nullptr;
  }
  // Null if there is nothing.
  std::unique_ptr<RulesVersion> Take() {
    return std::unique_ptr<RulesVersion>(
        next_.exchange(nullptr, std::memory_order_acquire));
  }

  void Retire(std::unique_ptr<RulesVersion> old) {
    RulesVersion* const version = old.release();
    version->next_replaced = replaced_.load(std::memory_order_relaxed);
    while (!replaced_.compare_exchange_weak(version->next_replaced, version,
                                            std::memory_order_release,
                                            std::memory_order_relaxed)) {
    }
  }
  // Destroys what was retired. How many there were.
  int Collect() {
    RulesVersion* version =
        replaced_.exchange(nullptr, std::memory_order_acquire);
    int count = 0;
    for (; version != nullptr; ++count) {
      delete std::exchange(version, version->next_replaced);
    }
    return count;
  }

 private:
  std::atomic<RulesVersion*> next_{nullptr};
  std::atomic<RulesVersion*> replaced_{nullptr};
};

}  // namespace callgate::policy

#endif  // CALLGATE_POLICY_HOOK_RULES_EXCHANGE_H_
