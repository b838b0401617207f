#include "server/probing_hook.h"

#include <utility>

namespace callgate {

TransitionSet ProbingHook::OnLink(const FunctionIdentity& function) {
  return judge_.OnLink(function);
}

bool ProbingHook::Understands(HookProfile profile) const {
  return judge_.Understands(profile);
}

Disposition ProbingHook::OnTransition(CallContext& call) {
  return judge_.OnTransition(call);
}

GrowthAnswer ProbingHook::OnGrowth(const GrowthEvent& event) {
  return judge_.OnGrowth(event);
}

ErrorRef ProbingHook::OnFunctionEnter(const FunctionEntry& entry) {
  ErrorRef refused = judge_.OnFunctionEnter(entry);
  if (refused == nullptr) watcher_.OnEnter(entry);
  return refused;
}

void ProbingHook::OnFunctionLeave(const FunctionExit& exit) {
  watcher_.OnLeave(exit);
  judge_.OnFunctionLeave(exit);
}

}  // namespace callgate
