#include "tests/conformance/call_hook/probing_hook.h"

#include "absl/strings/str_cat.h"

namespace callgate {
namespace {

std::string NameOf(const ProbedFunction& function) {
  return function.name.empty() ? absl::StrCat("#", function.func_index)
                               : std::string(function.name);
}

bool IsStop(FunctionEnding ending) {
  return ending != FunctionEnding::kReturn &&
         ending != FunctionEnding::kTailCall &&
         ending != FunctionEnding::kException;
}

}  // namespace

ProbingHook::ProbingHook(Journal& journal)
    : RecordingHook(journal), journal_(journal) {}

void ProbingHook::RefuseEntry(const std::string& place) {
  refusals_[place] = journal_.NewError(place);
}

EntryAnswer ProbingHook::OnFunctionEnter(const FunctionEntry& entry) {
  const std::string name = NameOf(entry.function);
  const size_t noted = journal_.Note(absl::StrCat("+", name));
  if (entry.depth != open_.size() + 1) Violation(entry.function, "depth");
  if (entry.function.type == nullptr ||
      entry.function.type->params.size() != entry.args.size()) {
    Violation(entry.function, "arguments do not fit the type");
  }
  const std::string place = absl::StrCat(name, "#", ++entries_[name]);
  if (const auto planned = refusals_.find(place); planned != refusals_.end()) {
    journal_.Amend(noted, "!");
    return planned->second;
  }
  open_.push_back(&entry.function);
  if (on_enter) on_enter(entry);
  EntryAnswer answer = nullptr;
  answer.delay = delay;
  return answer;
}

void ProbingHook::OnFunctionLeave(const FunctionExit& exit) {
  const bool returned = exit.ending == FunctionEnding::kReturn;
  journal_.Note(absl::StrCat("-", NameOf(exit.function), returned ? "" : ":",
                             returned ? "" : FunctionEndingName(exit.ending)));
  if (exit.depth != open_.size()) Violation(exit.function, "depth at exit");
  if ((exit.trap != nullptr) != IsStop(exit.ending)) {
    Violation(exit.function, "the trap does not fit the ending");
  }
  if (open_.empty() || open_.back() != &exit.function) {
    Violation(exit.function, "exit of another function than the last entry");
  } else {
    open_.pop_back();
  }
  if (on_leave) on_leave(exit);
}

void ProbingHook::Violation(const ProbedFunction& function,
                            absl::string_view what) {
  journal_.NoteViolation(absl::StrCat("probe of \"", NameOf(function), "\": ",
                                      what, " (open ", open_.size(), ")"));
}

HookOptions Probing(Journal& journal, const std::vector<std::string>& entries) {
  HookOptions options;
  for (const std::string& entry : entries) {
    const absl::Status added = options.probes.Add(entry);
    if (!added.ok()) journal.NoteViolation(added.ToString());
  }
  return options;
}

}  // namespace callgate
