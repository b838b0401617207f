#include "server/probing_hook.h"

#include <algorithm>

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

bool ProbingHook::Shows(const ProbedFunction& function) const {
  return std::binary_search(functions_.begin(), functions_.end(),
                            function.func_index);
}

EntryAnswer ProbingHook::OnFunctionEnter(const FunctionEntry& entry) {
  EntryAnswer answer = judge_.OnFunctionEnter(entry);
  if (answer.error == nullptr && Shows(entry.function)) {
    watcher_.OnEnter(entry);
  }
  return answer;
}

void ProbingHook::OnFunctionLeave(const FunctionExit& exit) {
  if (Shows(exit.function)) watcher_.OnLeave(exit);
  judge_.OnFunctionLeave(exit);
}

}  // namespace callgate
