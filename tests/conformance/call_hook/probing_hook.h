// A RecordingHook that is told of inner functions, too, and notes in the same
// Journal:
//
//   +f         f was entered                      +f!   and refused
//   -f         it returned
//   -f:trap    it was left otherwise: FunctionEndingName
//
// A function without a name is called by its index: "#3". It checks what holds
// at every entry and exit: they nest, the depth is theirs, and what is told
// fits the function's type and the ending.

#ifndef CALLGATE_TESTS_CONFORMANCE_CALL_HOOK_PROBING_HOOK_H_
#define CALLGATE_TESTS_CONFORMANCE_CALL_HOOK_PROBING_HOOK_H_

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "tests/conformance/call_hook/recording_hook.h"

namespace callgate {

class ProbingHook final : public RecordingHook {
 public:
  explicit ProbingHook(Journal& journal);

  // "f#2": refuse the second entry of f, with an error object of that name.
  void RefuseEntry(const std::string& place);

  // Called at entries and exits that were not refused.
  std::function<void(const FunctionEntry& entry)> on_enter;
  std::function<void(const FunctionExit& exit)> on_leave;

  // Of every entry that is not refused.
  absl::Duration delay;

  size_t open_functions() const { return open_.size(); }

  EntryAnswer OnFunctionEnter(const FunctionEntry& entry) override;
  void OnFunctionLeave(const FunctionExit& exit) override;

 private:
  void Violation(const ProbedFunction& function, absl::string_view what);

  Journal& journal_;
  std::map<std::string, ErrorRef> refusals_;
  std::map<std::string, int> entries_;
  std::vector<const ProbedFunction*> open_;
};

// The filter of these entries; a mistake is a violation.
HookOptions Probing(Journal& journal, const std::vector<std::string>& entries);

}  // namespace callgate

#endif  // CALLGATE_TESTS_CONFORMANCE_CALL_HOOK_PROBING_HOOK_H_
