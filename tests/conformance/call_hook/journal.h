// What happened, in the order in which it happened, as one line of text that a
// row can state:
//
//   cw ch rh rw   the four transitions
//   ch!           the hook refused there
//   ch=           the hook answered there
//   H             a host function's body ran and returned
//   Herr          it ran and returned an error
//   H( … )H:ok    it called back into a guest, which returned
//   H( … )H:err   it called back into a guest, which did not
//   |             between two steps of the embedder
//
// Beside it: how each of the embedder's calls ended, what each returning
// transition was told, and the error objects that are about, so that an error
// is recognised by its identity and never by its words.
//
// Errors of the test's own making and broken invariants are kept as
// violations; every row asserts that there are none.

#ifndef CALLGATE_TESTS_CONFORMANCE_CALL_HOOK_JOURNAL_H_
#define CALLGATE_TESTS_CONFORMANCE_CALL_HOOK_JOURNAL_H_

#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "runtime/instance.h"
#include "runtime/trap.h"

namespace callgate {

class Journal {
 public:
  // The position of what was noted, for Amend.
  size_t Note(absl::string_view event);
  void Amend(size_t position, absl::string_view suffix);
  void NoteEnding(absl::string_view ending);
  void NoteOutcome(std::string outcome);
  void NoteViolation(std::string violation);
  // The embedder's next step begins.
  void Step();

  std::string events() const;
  std::string endings() const;
  std::string outcomes() const;
  std::string violations() const;

  // An error object that outcomes call `name`.
  ErrorRef NewError(const std::string& name);
  ErrorRef NameError(const std::string& name, ErrorRef error);
  // "no error object", or for one that nobody named "unknown error object".
  std::string NameOf(const ErrorRef& error) const;

  // "ok", "ok i32:7", "unreachable", "refused ch#2" (the code, then the name
  // of the error object), "status FAILED_PRECONDITION".
  std::string Describe(const Trap& trap) const;
  std::string Describe(const CallResult& result) const;
  std::string Describe(const absl::StatusOr<CallResult>& result) const;
  static std::string Describe(const absl::Status& status);

 private:
  std::vector<std::string> events_;
  std::vector<std::string> endings_;
  std::vector<std::string> outcomes_;
  std::vector<std::string> violations_;
  std::vector<std::pair<std::string, ErrorRef>> errors_;
};

}  // namespace callgate

#endif  // CALLGATE_TESTS_CONFORMANCE_CALL_HOOK_JOURNAL_H_
