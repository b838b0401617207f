// How a call into a guest ended, as people and programs outside the runtime are
// told: the runtime's trap, the policies' verdicts and the guest's own exit
// joined into one answer with one exit code.
//
// Plain values; any thread.

#ifndef CALLGATE_SERVER_OUTCOME_H_
#define CALLGATE_SERVER_OUTCOME_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "proto/callgate/v1/outcome.pb.h"
#include "runtime/limits.h"
#include "runtime/trap.h"
#include "runtime/value.h"

namespace callgate {

enum class OutcomeKind : uint8_t {
  kReturned,
  kExited,             // the guest ended itself
  kTrapped,            // the guest trapped
  kPolicyTrapped,      // a verdict ended the call
  kPolicyKilled,       // a verdict ended the Store
  kPolicyQuarantined,  // and put its module into quarantine
  kBudgetExceeded,
  kKilled,  // ended from outside
};

// "returned", "exited", "trapped", …: for metrics, events and JSON.
absl::string_view OutcomeKindName(OutcomeKind kind);

// Equal verdicts of one call, counted. Import names and messages are escaped.
struct VerdictCount {
  std::string policy;
  std::string rule;
  v1::Verdict verdict = v1::VERDICT_UNSPECIFIED;
  // Of a rule in audit mode; else unspecified.
  v1::Verdict would_be_verdict = v1::VERDICT_UNSPECIFIED;
  std::string import_module;
  std::string import_name;
  std::string message;
  uint32_t guest_errno = 0;
  uint64_t count = 0;
};

inline constexpr size_t kVerdictCountsMax = 64;

// The trap as it is shown; absent for returned and exited calls.
struct TrapFacts {
  std::string code;           // TrapCodeName
  std::string message;        // escaped
  std::vector<Frame> frames;  // names are the guest's bytes, not escaped
};

struct Outcome {
  OutcomeKind kind = OutcomeKind::kReturned;
  // The guest's own for kExited, 0 for kReturned, kExitCodeTrapped otherwise.
  int exit_code = 0;
  std::vector<Value> results;
  std::optional<TrapFacts> trap;
  CallUsage usage;
  // Bytes of the Store's memories and tables at the end.
  uint64_t memory_bytes = 0;
  // In the order of their first appearance, at most kVerdictCountsMax.
  std::vector<VerdictCount> verdicts;
  // Verdicts that found no place there.
  uint64_t verdicts_omitted = 0;
  // For kBudgetExceeded: its name in the policy file, "fuel_per_call".
  std::string budget;
  // Whether the Store takes further calls.
  bool store_usable = true;
  // What the guest wrote where no sink was given, and how much more it wrote.
  std::string stdout_bytes;
  std::string stderr_bytes;
  uint64_t output_omitted_bytes = 0;
};

// A trap, or an end by policy or budget, as a shell reports SIGABRT.
inline constexpr int kExitCodeTrapped = 134;
// The module was refused, has a missing import or no _start (EX_DATAERR).
inline constexpr int kExitCodeModuleRefused = 65;
// The policy was refused, or none applies (EX_CONFIG).
inline constexpr int kExitCodePolicyRefused = 78;
// The request was wrong (EX_USAGE).
inline constexpr int kExitCodeUsage = 64;
// Anything else that is nobody's verdict.
inline constexpr int kExitCodeFailure = 1;

// What a command should exit with that failed with `status`, by its reason
// (error_reason.h).
int ExitCodeOfStatus(const absl::Status& status);

}  // namespace callgate

#endif  // CALLGATE_SERVER_OUTCOME_H_
