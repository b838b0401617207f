// A call hook that lets another one judge and shows somebody else the probed
// calls (runtime/probe.h): a Store has one hook, and a profiler must not take
// the policies' place.
//
// Everything is forwarded. Shown are the functions that the watcher asked for,
// and not those that only the judging hook wants to see. An entry that it
// refuses is not shown: what is shown is entered and left in pairs, as the
// Store promises.
//
// Threads: the Store's. Both outlive the hook.

#ifndef CALLGATE_SERVER_PROBING_HOOK_H_
#define CALLGATE_SERVER_PROBING_HOOK_H_

#include <cstdint>
#include <utility>
#include <vector>

#include "runtime/call_hook.h"

namespace callgate {

// On the guest's time, and must not call guests of the Store.
class ProbeWatcher {
 public:
  virtual ~ProbeWatcher() = default;
  virtual void OnEnter(const FunctionEntry& entry) = 0;
  virtual void OnLeave(const FunctionExit& exit) = 0;
};

class ProbingHook final : public CallHook {
 public:
  // `functions` are those to show, by their indexes, increasing.
  ProbingHook(CallHook& judge, ProbeWatcher& watcher,
              std::vector<uint32_t> functions)
      : judge_(judge), watcher_(watcher), functions_(std::move(functions)) {}

  TransitionSet OnLink(const FunctionIdentity& function) override;
  bool Understands(HookProfile profile) const override;
  Disposition OnTransition(CallContext& call) override;
  GrowthAnswer OnGrowth(const GrowthEvent& event) override;
  EntryAnswer OnFunctionEnter(const FunctionEntry& entry) override;
  void OnFunctionLeave(const FunctionExit& exit) override;

 private:
  bool Shows(const ProbedFunction& function) const;

  CallHook& judge_;
  ProbeWatcher& watcher_;
  const std::vector<uint32_t> functions_;
};

}  // namespace callgate

#endif  // CALLGATE_SERVER_PROBING_HOOK_H_
