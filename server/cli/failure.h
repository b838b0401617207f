// Why a command cannot go on, with the exit code that says so.
//
// Values; any thread.

#ifndef CALLGATE_SERVER_CLI_FAILURE_H_
#define CALLGATE_SERVER_CLI_FAILURE_H_

#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace callgate::cli {

struct Failure {
  int exit_code = 0;
  // A sentence, and what goes on from there on lines of their own. Not escaped.
  std::string message;
  // One of server/error_reason.h, "MODULE_OVER_LIMIT". Empty if there is none.
  std::string reason;
  // Further lines, such as "policy.yaml:3:5: unknown field …".
  std::vector<std::string> details;
};

// Says the message, each detail on a line of its own, and returns the exit
// code.
int Report(const Failure& failure);

// A usage failure.
Failure WrongUsage(absl::string_view message);

// `status` must not be OK. The exit code follows from its reason.
Failure FailureOf(const absl::Status& status);
// The same with an exit code of the caller's choice.
Failure FailureOf(int exit_code, const absl::Status& status);

// A T, or why there is none.
template <typename T>
class OrFailure {
 public:
  OrFailure(T value) : value_(std::move(value)) {}            // NOLINT
  OrFailure(Failure failure) : value_(std::move(failure)) {}  // NOLINT

  bool ok() const { return std::holds_alternative<T>(value_); }
  const T& operator*() const& { return std::get<T>(value_); }
  T& operator*() & { return std::get<T>(value_); }
  T&& operator*() && { return std::get<T>(std::move(value_)); }
  const T* operator->() const { return &std::get<T>(value_); }
  T* operator->() { return &std::get<T>(value_); }
  const Failure& failure() const { return std::get<Failure>(value_); }

 private:
  std::variant<T, Failure> value_;
};

}  // namespace callgate::cli

#endif  // CALLGATE_SERVER_CLI_FAILURE_H_
