#include "tests/conformance/call_hook/recording_hook.h"

#include <utility>

#include "absl/strings/str_cat.h"

namespace callgate {
namespace {

bool Enters(Transition transition) {
  return transition == Transition::kCallingWasm ||
         transition == Transition::kCallingHost;
}

Transition EnterOf(Transition leave) {
  return leave == Transition::kReturningFromWasm ? Transition::kCallingWasm
                                                 : Transition::kCallingHost;
}

}  // namespace

absl::string_view TransitionSign(Transition transition) {
  switch (transition) {
    case Transition::kCallingWasm:
      return "cw";
    case Transition::kReturningFromWasm:
      return "rw";
    case Transition::kCallingHost:
      return "ch";
    case Transition::kReturningFromHost:
      return "rh";
  }
  return "unknown";
}

RecordingHook::RecordingHook(Journal& journal, std::string prefix)
    : journal_(journal), prefix_(std::move(prefix)) {}

void RecordingHook::RefuseAt(const std::string& place) {
  RefuseAt(place, journal_.NewError(absl::StrCat(prefix_, place)));
}

void RecordingHook::RefuseAt(const std::string& place, ErrorRef error) {
  places_[place] = std::move(error);
}

void RecordingHook::RefuseFromNowOn(const std::string& sign) {
  signs_.insert(sign);
}

ErrorRef RecordingHook::PlannedRefusal(Transition transition) {
  const std::string sign(TransitionSign(transition));
  const std::string place = absl::StrCat(sign, "#", count(transition));
  const auto planned = places_.find(place);
  if (planned != places_.end()) return planned->second;
  if (signs_.count(sign) != 0) {
    return journal_.NewError(absl::StrCat(prefix_, place));
  }
  return nullptr;
}

Disposition RecordingHook::OnTransition(CallContext& call) {
  const Transition transition = call.transition();
  ++counts_[static_cast<size_t>(transition)];
  const size_t noted =
      journal_.Note(absl::StrCat(prefix_, TransitionSign(transition)));
  CheckInvariants(call);
  if (check_nesting) CheckNesting(call);
  if (!Enters(transition)) journal_.NoteEnding(EndingName(call.ending()));

  ErrorRef refusal = PlannedRefusal(transition);
  Disposition disposition = Disposition::kProceed;
  if (refusal != nullptr) {
    disposition = call.Refuse(std::move(refusal));
  } else if (judge) {
    disposition = judge(call);
  }
  if (disposition == Disposition::kRefuse) journal_.Amend(noted, "!");
  if (disposition == Disposition::kAnswer) journal_.Amend(noted, "=");
  // An enter that is refused has no leave.
  if (check_nesting && Enters(transition) &&
      disposition != Disposition::kRefuse) {
    open_.push_back({transition, &call.function()});
  }
  return disposition;
}

void RecordingHook::CheckNesting(const CallContext& call) {
  const Transition transition = call.transition();
  if (Enters(transition)) {
    if (call.depth() != open_.size() + 1) Violation(call, "enter at depth");
    return;
  }
  if (call.depth() != open_.size()) Violation(call, "leave at depth");
  if (open_.empty()) {
    Violation(call, "leave without an enter");
    return;
  }
  if (open_.back().transition != EnterOf(transition)) {
    Violation(call, "leave of the other kind than the last enter");
  }
  if (open_.back().function != &call.function()) {
    Violation(call, "leave of another function than the last enter");
  }
  open_.pop_back();
}

void RecordingHook::CheckInvariants(const CallContext& call) {
  const FunctionIdentity& function = call.function();
  if (function.type == nullptr) {
    Violation(call, "no function type");
    return;
  }
  if (call.args().size() != function.type->params.size()) {
    Violation(call, "arguments do not fit the type");
  }
  const Ending ending = call.ending();
  if (Enters(call.transition()) != (ending == Ending::kNotYet)) {
    Violation(call, "the ending is not this transition's");
  }
  const bool has_results =
      ending == Ending::kValue || ending == Ending::kAnswered;
  if (call.results().size() !=
      (has_results ? function.type->results.size() : 0)) {
    Violation(call, "results do not fit the ending");
  }
  const bool has_trap = !has_results && ending != Ending::kNotYet;
  if ((call.trap() != nullptr) != has_trap) {
    Violation(call, "the trap does not fit the ending");
  }
  const bool has_cause = ending == Ending::kHostError ||
                         ending == Ending::kRefusal || ending == Ending::kExit;
  if (has_cause &&
      (call.trap() == nullptr || call.trap()->cause() == nullptr)) {
    Violation(call, "no error object for the ending");
  }
}

void RecordingHook::Violation(const CallContext& call, absl::string_view what) {
  journal_.NoteViolation(absl::StrCat(
      prefix_, TransitionSign(call.transition()), "#", count(call.transition()),
      " of \"", call.function().name, "\": ", what, " (depth ", call.depth(),
      ", open ", open_.size(), ", ending ", EndingName(call.ending()), ", ",
      call.args().size(), " arguments, ", call.results().size(), " results)"));
}

}  // namespace callgate
