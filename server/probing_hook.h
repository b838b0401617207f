// A call hook that lets another one judge and shows somebody else the probed
// calls (runtime/probe.h): a Store has one hook, and a profiler must not take
// the policies' place.
//
// Everything is forwarded. An entry that the judging hook refuses is not shown:
// what is shown is entered and left in pairs, as the Store promises.
//
// Threads: the Store's. Both outlive the hook.

#ifndef CALLGATE_SERVER_PROBING_HOOK_H_
#define CALLGATE_SERVER_PROBING_HOOK_H_

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
  ProbingHook(CallHook& judge, ProbeWatcher& watcher)
      : judge_(judge), watcher_(watcher) {}

  TransitionSet OnLink(const FunctionIdentity& function) override;
  bool Understands(HookProfile profile) const override;
  Disposition OnTransition(CallContext& call) override;
  GrowthAnswer OnGrowth(const GrowthEvent& event) override;
  ErrorRef OnFunctionEnter(const FunctionEntry& entry) override;
  void OnFunctionLeave(const FunctionExit& exit) override;

 private:
  CallHook& judge_;
  ProbeWatcher& watcher_;
};

}  // namespace callgate

#endif  // CALLGATE_SERVER_PROBING_HOOK_H_
