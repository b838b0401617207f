// What a policy file says of an import's arguments, and which bytes of the
// guest that means.
//
// The host's author describes a function's arguments once (HostFunctionSpec); a
// policy may add to that or replace parts of it. What results is checked
// against the function's type when the import is linked, and against the
// guest's memory when it is called.

#ifndef CALLGATE_POLICY_ARGUMENT_H_
#define CALLGATE_POLICY_ARGUMENT_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "runtime/call_hook.h"
#include "runtime/host_function_spec.h"
#include "runtime/value.h"

namespace callgate::policy {

// Pairs of an iovec, at most: what WASI implementations take.
inline constexpr uint64_t kIovecPairsMax = 1024;

// An argument as the file describes it. What is absent comes from the host's
// own description of an argument of this name.
struct ArgumentRule {
  std::string name;
  std::optional<uint32_t> index;
  std::optional<ArgKind> kind;
  std::optional<uint32_t> len_index;
  std::optional<uint32_t> dir_index;
  std::optional<uint64_t> max_bytes;
  bool redact = false;
  // The rule that listed it; names the verdict when it is out of bounds.
  uint32_t rule = 0;
};

// Whether arguments of this kind have a length in another parameter.
bool HasLength(ArgKind kind);

// The argument that `rule` means on a function of this type and description.
// Nothing, and `*why` says why, if there is no such argument. `why` may be
// null.
std::optional<ArgSpec> ResolveArgument(const ArgumentRule& rule,
                                       const FuncType& type,
                                       const HostFunctionSpec* spec,
                                       std::string* why);

// Why a call must be denied for one of its arguments.
struct ArgumentDenial {
  uint32_t guest_errno = 0;
  // "argument data is 70000 bytes long, and max_bytes is 65536".
  std::string reason;
};

// The bytes of one argument of a call, as they were copied.
struct CapturedArgument {
  // All of it was copied. False where it is denied.
  bool is_whole = false;
  // The copy, until the hook returns; of an iovec, `gathered`.
  absl::Span<const uint8_t> bytes;
  // Kept for its capacity.
  std::vector<uint8_t> gathered;
};

// Holds one argument of a call that is about to happen to its bounds, and has
// the bytes it stands for copied, so that the host function uses what was
// checked. Nothing: it is fine. A bad status is a fault of ours: `arg` must
// come from ResolveArgument for the function's own type.
absl::StatusOr<std::optional<ArgumentDenial>> CaptureArgument(
    const ArgSpec& arg, const FuncType& type, CallContext& call,
    CapturedArgument* captured = nullptr);

// What the host function has written to a kBytesOut or kAddrsOut, at
// kReturningFromHost: the whole buffer, as it is in the guest's memory. False
// if it cannot be read.
bool ReadBackArgument(const ArgSpec& arg, const FuncType& type,
                      CallContext& call, std::vector<uint8_t>* bytes);

}  // namespace callgate::policy

#endif  // CALLGATE_POLICY_ARGUMENT_H_
