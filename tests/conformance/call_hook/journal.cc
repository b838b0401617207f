#include "tests/conformance/call_hook/journal.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace callgate {

size_t Journal::Note(absl::string_view event) {
  events_.emplace_back(event);
  return events_.size() - 1;
}

void Journal::Amend(size_t position, absl::string_view suffix) {
  absl::StrAppend(&events_[position], suffix);
}

void Journal::NoteEnding(absl::string_view ending) {
  endings_.emplace_back(ending);
}

void Journal::NoteOutcome(std::string outcome) {
  outcomes_.push_back(std::move(outcome));
}

void Journal::NoteViolation(std::string violation) {
  violations_.push_back(std::move(violation));
}

void Journal::Step() { events_.emplace_back("|"); }

std::string Journal::events() const { return absl::StrJoin(events_, " "); }
std::string Journal::endings() const { return absl::StrJoin(endings_, " "); }
std::string Journal::outcomes() const { return absl::StrJoin(outcomes_, "; "); }
std::string Journal::violations() const {
  return absl::StrJoin(violations_, "\n");
}

ErrorRef Journal::NewError(const std::string& name) {
  return NameError(name, MakeError(name));
}

ErrorRef Journal::NameError(const std::string& name, ErrorRef error) {
  errors_.emplace_back(name, error);
  return error;
}

std::string Journal::NameOf(const ErrorRef& error) const {
  if (error == nullptr) return "no error object";
  for (const auto& [name, known] : errors_) {
    if (known.get() == error.get()) return name;
  }
  return absl::StrCat("unknown error object \"", error->message(), "\"");
}

std::string Journal::Describe(const Trap& trap) const {
  std::string text(TrapCodeName(trap.code()));
  if (trap.cause() != nullptr) {
    absl::StrAppend(&text, " ", NameOf(trap.cause()));
  }
  return text;
}

std::string Journal::Describe(const CallResult& result) const {
  if (!result.returned()) return Describe(*result.trap);
  std::string text = "ok";
  for (const Value& value : result.values) {
    absl::StrAppend(&text, " ", value.ToString());
  }
  return text;
}

std::string Journal::Describe(const absl::StatusOr<CallResult>& result) const {
  return result.ok() ? Describe(*result) : Describe(result.status());
}

std::string Journal::Describe(const absl::Status& status) {
  return absl::StrCat("status ", absl::StatusCodeToString(status.code()));
}

}  // namespace callgate
