// What the host says of one of its own functions beyond the Wasm type: which
// arguments are pointers, paths or handles, and how it reports errors.
//
// The host's author writes it once, beside the function. The call hook reads it
// to know which guest bytes an argument stands for.

#ifndef CALLGATE_RUNTIME_HOST_FUNCTION_SPEC_H_
#define CALLGATE_RUNTIME_HOST_FUNCTION_SPEC_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"

namespace callgate {

inline constexpr uint32_t kNoIndex = ~uint32_t{0};

enum class ArgKind : uint8_t {
  kU32,
  kS32,
  kU64,
  kS64,
  kF32,
  kF64,
  kBytes,    // address at `index`, byte length at `len_index`; read by the host
  kString,   // the same, UTF-8
  kPath,     // the same, a path relative to the handle at `dir_index`
  kIovecIn,  // array of (address, length) pairs that the host reads from
  kIovecOut,  // array of (address, length) pairs that the host writes to
  kBytesOut,  // address and length of a buffer that the host writes
  kPointer,   // address of fixed-size data
  kHandle,    // a descriptor or socket number
  kSockaddr,  // address and length of a textual "host:port"
  // Address and length of a buffer to which the host writes textual IP
  // addresses, with a comma or white space between. A call that succeeds has
  // written a NUL after the last, unless they fill the buffer.
  kAddrsOut,
};

// "u32", "bytes", "iovec_in", …
absl::string_view ArgKindName(ArgKind kind);
std::optional<ArgKind> ArgKindFromName(absl::string_view name);

struct ArgSpec {
  std::string name;
  // Which Wasm parameter.
  uint32_t index = 0;
  ArgKind kind = ArgKind::kU32;
  // The parameter with the byte length (kBytes, kString, kPath, kBytesOut,
  // kSockaddr, kAddrsOut) or the number of pairs (kIovecIn, kIovecOut).
  uint32_t len_index = kNoIndex;
  // The parameter with the directory handle of a kPath.
  uint32_t dir_index = kNoIndex;
  // More bytes than this deny the call with E2BIG: nothing is ever truncated.
  uint64_t max_bytes = 65536;
  // Never shown in events, logs or traces.
  bool redact = false;
};

struct HostFunctionSpec {
  std::vector<ArgSpec> args;
  // Whether result 0 is a WASI errno, so that a refusal can be an answer that
  // the guest understands instead of a trap.
  bool errno_result = false;
};

}  // namespace callgate

#endif  // CALLGATE_RUNTIME_HOST_FUNCTION_SPEC_H_
