#include "server/cli/outcome_message.h"

#include <utility>

#include "server/cli/duration_message.h"
#include "server/services/messages.h"

namespace callgate::cli {
namespace {

std::optional<OutcomeKind> KindOf(v1::OutcomeKind kind) {
  switch (kind) {
    case v1::OUTCOME_KIND_RETURNED:
      return OutcomeKind::kReturned;
    case v1::OUTCOME_KIND_EXITED:
      return OutcomeKind::kExited;
    case v1::OUTCOME_KIND_TRAPPED:
      return OutcomeKind::kTrapped;
    case v1::OUTCOME_KIND_POLICY_TRAPPED:
      return OutcomeKind::kPolicyTrapped;
    case v1::OUTCOME_KIND_POLICY_KILLED:
      return OutcomeKind::kPolicyKilled;
    case v1::OUTCOME_KIND_POLICY_QUARANTINED:
      return OutcomeKind::kPolicyQuarantined;
    case v1::OUTCOME_KIND_BUDGET_EXCEEDED:
      return OutcomeKind::kBudgetExceeded;
    case v1::OUTCOME_KIND_KILLED:
      return OutcomeKind::kKilled;
    default:
      return std::nullopt;
  }
}

TrapFacts TrapOf(const v1::TrapInfo& message) {
  TrapFacts trap;
  trap.code = message.code();
  trap.message = message.message();
  for (const v1::TrapFrame& from : message.frames()) {
    Frame& frame = trap.frames.emplace_back();
    frame.func_index = from.func_index();
    frame.func_name = from.func_name();
    if (from.has_module_offset()) frame.module_offset = from.module_offset();
    if (!from.file().empty()) {
      frame.source = SourceLocation{from.file(), from.line(), from.column()};
    }
  }
  return trap;
}

VerdictCount VerdictOf(const v1::VerdictCount& message) {
  VerdictCount verdict;
  verdict.policy = message.policy();
  verdict.rule = message.rule();
  verdict.verdict = message.verdict();
  verdict.would_be_verdict = message.would_be_verdict();
  verdict.import_module = message.import_module();
  verdict.import_name = message.import_name();
  verdict.message = message.message();
  verdict.guest_errno = message.guest_errno();
  verdict.count = message.count();
  return verdict;
}

}  // namespace

std::optional<Outcome> OutcomeOf(const v1::Outcome& message) {
  Outcome outcome;
  const std::optional<OutcomeKind> kind = KindOf(message.kind());
  if (!kind.has_value()) return std::nullopt;
  outcome.kind = *kind;
  outcome.exit_code = message.exit_code();
  absl::StatusOr<std::vector<Value>> results =
      ValuesFromProto(message.results());
  if (!results.ok()) return std::nullopt;
  outcome.results = *std::move(results);
  if (message.has_trap()) outcome.trap = TrapOf(message.trap());
  outcome.usage.fuel = message.usage().fuel();
  outcome.usage.host_calls = message.usage().host_calls();
  outcome.usage.host_bytes = message.usage().host_bytes();
  outcome.usage.wall = DurationOf(message.usage().wall());
  outcome.memory_bytes = message.usage().memory_bytes();
  for (const v1::VerdictCount& verdict : message.verdicts()) {
    outcome.verdicts.push_back(VerdictOf(verdict));
  }
  outcome.verdicts_omitted = message.verdicts_omitted();
  outcome.budget = message.budget();
  outcome.store_usable = message.store_usable();
  outcome.stdout_bytes = message.stdout_bytes();
  outcome.stderr_bytes = message.stderr_bytes();
  outcome.output_omitted_bytes = message.output_omitted_bytes();
  return outcome;
}

}  // namespace callgate::cli
