#include "server/cli/run_request.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "server/cli/exit_codes.h"
#include "server/cli/quoted.h"
#include "server/error_reason.h"

namespace callgate::cli {

RunResult RunResult::Failed(Failure failure, RunFacts facts) {
  RunResult result;
  result.facts = std::move(facts);
  result.failure = std::move(failure);
  return result;
}

std::optional<Failure> EndedFromHere(const Interrupts& interrupts,
                                     const GuestOutput& output) {
  Failure failure;
  if (interrupts.signal_number() != 0) {
    failure.exit_code = interrupts.exit_code();
    failure.message = "interrupted; the guest was ended";
    return failure;
  }
  if (!output.status().ok()) {
    failure.exit_code = output.broken_exit_code();
    failure.message =
        absl::StrCat(output.status().message(), "; the guest was ended");
    return failure;
  }
  return std::nullopt;
}

Failure NoSuchExport(const std::string& wanted,
                     const std::vector<std::string>& functions) {
  std::string message =
      absl::StrCat("the module exports no function ", Quoted(wanted));
  constexpr size_t kShown = 10;
  if (functions.empty()) absl::StrAppend(&message, ", nor any other");
  for (size_t i = 0; i < functions.size() && i < kShown; ++i) {
    absl::StrAppend(&message, i == 0 ? "; it has " : ", ",
                    Quoted(functions[i]));
  }
  if (functions.size() > kShown) {
    absl::StrAppend(&message, " and ", functions.size() - kShown, " more");
  }
  return FailureOf(ErrorWithReason(absl::StatusCode::kNotFound,
                                   reason::kExportNotFound, message));
}

}  // namespace callgate::cli
