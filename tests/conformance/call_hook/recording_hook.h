// A CallHook that writes every transition into a Journal, refuses where a test
// asks it to, and checks what holds at every transition: enters and leaves
// nest, the depth is theirs, and the views fit the function's type.

#ifndef CALLGATE_TESTS_CONFORMANCE_CALL_HOOK_RECORDING_HOOK_H_
#define CALLGATE_TESTS_CONFORMANCE_CALL_HOOK_RECORDING_HOOK_H_

#include <array>
#include <functional>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "runtime/call_hook.h"
#include "tests/conformance/call_hook/journal.h"

namespace callgate {

// "cw", "rw", "ch", "rh".
absl::string_view TransitionSign(Transition transition);

class RecordingHook : public CallHook {
 public:
  // `prefix` stands before each of this hook's events. `journal` must outlive
  // the hook.
  explicit RecordingHook(Journal& journal, std::string prefix = "");

  // "ch#2": refuse at the second CallingHost, with an error object of that
  // name, or with `error`.
  void RefuseAt(const std::string& place);
  void RefuseAt(const std::string& place, ErrorRef error);
  // "ch": refuse at every CallingHost from now on, each with its own error.
  void RefuseFromNowOn(const std::string& sign);

  // Asked wherever no refusal is planned. Null proceeds.
  std::function<Disposition(CallContext& call)> judge;
  // Off for a hook that does not see both sides of each call.
  bool check_nesting = true;

  // Enters that have had no leave.
  size_t open() const { return open_.size(); }
  uint32_t count(Transition transition) const {
    return counts_[static_cast<size_t>(transition)];
  }

  Disposition OnTransition(CallContext& call) final;

 private:
  // Null where the test does not ask to refuse.
  ErrorRef PlannedRefusal(Transition transition);
  void CheckInvariants(const CallContext& call);
  void CheckNesting(const CallContext& call);
  void Violation(const CallContext& call, absl::string_view what);

  Journal& journal_;
  const std::string prefix_;
  std::array<uint32_t, 4> counts_{};
  std::map<std::string, ErrorRef> places_;
  std::set<std::string> signs_;
  // The transition that entered, and the function, outermost first.
  struct Enter {
    Transition transition;
    const FunctionIdentity* function;
  };
  std::vector<Enter> open_;
};

}  // namespace callgate

#endif  // CALLGATE_TESTS_CONFORMANCE_CALL_HOOK_RECORDING_HOOK_H_
