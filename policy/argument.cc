#include "policy/argument.h"

#include <array>
#include <cstddef>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/types/span.h"
#include "policy/guest_errno.h"
#include "policy/quote.h"

namespace callgate::policy {
namespace {

constexpr uint64_t kIovecPairBytes = 8;

bool IsInteger(ValType type) {
  return type == ValType::kI32 || type == ValType::kI64;
}

// Whether a parameter of this type can be an argument of that kind. Addresses
// and lengths may be 32 or 64 bits wide.
bool Fits(ArgKind kind, ValType type) {
  switch (kind) {
    case ArgKind::kU32:
    case ArgKind::kS32:
      return type == ValType::kI32;
    case ArgKind::kU64:
    case ArgKind::kS64:
      return type == ValType::kI64;
    case ArgKind::kF32:
      return type == ValType::kF32;
    case ArgKind::kF64:
      return type == ValType::kF64;
    case ArgKind::kBytes:
    case ArgKind::kString:
    case ArgKind::kPath:
    case ArgKind::kIovecIn:
    case ArgKind::kIovecOut:
    case ArgKind::kBytesOut:
    case ArgKind::kPointer:
    case ArgKind::kHandle:
    case ArgKind::kSockaddr:
    case ArgKind::kAddrsOut:
      return IsInteger(type);
  }
  return false;
}

// An address, length or count of either width.
uint64_t Unsigned(const FuncType& type, absl::Span<const RawValue> args,
                  uint32_t index) {
  return type.params[index] == ValType::kI64 ? args[index].u64()
                                             : args[index].u32();
}

uint32_t LittleEndian32(const uint8_t* bytes) {
  return static_cast<uint32_t>(bytes[0]) |
         static_cast<uint32_t>(bytes[1]) << 8 |
         static_cast<uint32_t>(bytes[2]) << 16 |
         static_cast<uint32_t>(bytes[3]) << 24;
}

ArgumentDenial TooLong(const ArgSpec& arg, uint64_t bytes) {
  return {kErrno2Big,
          absl::StrCat("argument ", arg.name, " is ", bytes,
                       " bytes long, and max_bytes is ", arg.max_bytes)};
}

ArgumentDenial Outside(const ArgSpec& arg, uint64_t address, uint64_t length) {
  return {kErrnoFault,
          absl::StrCat("argument ", arg.name, " (", length, " bytes at ",
                       address, ") is not inside the guest's memory")};
}

using Outcome = absl::StatusOr<std::optional<ArgumentDenial>>;

// Copies one range that the host function will read. `copy` may be null.
Outcome CaptureRange(const ArgSpec& arg, uint64_t address, uint64_t length,
                     CallContext& call, absl::Span<const uint8_t>* copy) {
  // Nothing can be read from it, wherever it is.
  if (length == 0) return std::nullopt;
  const absl::StatusOr<absl::Span<const uint8_t>> bytes =
      call.Capture(address, length);
  if (bytes.ok()) {
    if (copy != nullptr) *copy = *bytes;
    return std::nullopt;
  }
  if (absl::IsOutOfRange(bytes.status())) return Outside(arg, address, length);
  if (absl::IsResourceExhausted(bytes.status())) {
    return ArgumentDenial{kErrno2Big,
                          absl::StrCat("argument ", arg.name,
                                       " and those before it are more "
                                       "bytes than the ",
                                       CallContext::kCapturedBytesMax,
                                       " that can be copied for one call")};
  }
  return bytes.status();
}

// Holds a range that the host function will write to the memory's bounds.
Outcome CheckRange(const ArgSpec& arg, uint64_t address, uint64_t length,
                   CallContext& call) {
  if (length == 0) return std::nullopt;
  const uint64_t memory = call.MemoryBytes();
  if (address > memory || length > memory - address) {
    return Outside(arg, address, length);
  }
  return std::nullopt;
}

Outcome CaptureIovec(const ArgSpec& arg, uint64_t address, uint64_t pairs,
                     CallContext& call, CapturedArgument* captured) {
  if (pairs > kIovecPairsMax) {
    return ArgumentDenial{
        kErrno2Big,
        absl::StrCat("argument ", arg.name, " has ", pairs,
                     " pairs, and at most ", kIovecPairsMax, " are looked at")};
  }
  absl::Span<const uint8_t> raw;
  Outcome outcome =
      CaptureRange(arg, address, pairs * kIovecPairBytes, call, &raw);
  if (!outcome.ok() || outcome->has_value()) return outcome;
  // Ours: the next capture may move the copies.
  std::array<std::pair<uint32_t, uint32_t>, kIovecPairsMax> ranges;
  uint64_t total = 0;
  for (size_t i = 0; i < pairs; ++i) {
    const uint8_t* pair = raw.data() + i * kIovecPairBytes;
    ranges[i] = {LittleEndian32(pair), LittleEndian32(pair + 4)};
    total += ranges[i].second;
  }
  if (total > arg.max_bytes) return TooLong(arg, total);
  if (captured != nullptr) captured->gathered.clear();
  for (size_t i = 0; i < pairs; ++i) {
    absl::Span<const uint8_t> bytes;
    outcome =
        arg.kind == ArgKind::kIovecIn
            ? CaptureRange(arg, ranges[i].first, ranges[i].second, call, &bytes)
            : CheckRange(arg, ranges[i].first, ranges[i].second, call);
    if (!outcome.ok() || outcome->has_value()) return outcome;
    if (captured != nullptr) {
      captured->gathered.insert(captured->gathered.end(), bytes.begin(),
                                bytes.end());
    }
  }
  if (captured != nullptr) {
    captured->bytes = captured->gathered;
    captured->is_whole = true;
  }
  return std::nullopt;
}

}  // namespace

bool HasLength(ArgKind kind) {
  switch (kind) {
    case ArgKind::kBytes:
    case ArgKind::kString:
    case ArgKind::kPath:
    case ArgKind::kIovecIn:
    case ArgKind::kIovecOut:
    case ArgKind::kBytesOut:
    case ArgKind::kSockaddr:
    case ArgKind::kAddrsOut:
      return true;
    default:
      return false;
  }
}

std::optional<ArgSpec> ResolveArgument(const ArgumentRule& rule,
                                       const FuncType& type,
                                       const HostFunctionSpec* spec,
                                       std::string* why) {
  const auto no = [&](std::string reason) -> std::optional<ArgSpec> {
    if (why != nullptr) *why = std::move(reason);
    return std::nullopt;
  };
  ArgSpec arg;
  bool known = false;
  if (spec != nullptr) {
    for (const ArgSpec& host : spec->args) {
      if (host.name != rule.name) continue;
      arg = host;
      known = true;
    }
  }
  if (!known && (!rule.index || !rule.kind)) {
    std::vector<std::string> names;
    if (spec != nullptr) {
      for (const ArgSpec& host : spec->args) names.push_back(host.name);
    }
    return no(absl::StrCat(
        "the host names no argument ", Quote(rule.name),
        " of this function; give index and type",
        names.empty() ? ""
                      : absl::StrCat(", or use one that it names: ",
                                     EscapeText(absl::StrJoin(names, ", ")))));
  }
  arg.name = rule.name;
  if (rule.index) arg.index = *rule.index;
  if (rule.kind) arg.kind = *rule.kind;
  if (rule.len_index) arg.len_index = *rule.len_index;
  if (rule.dir_index) arg.dir_index = *rule.dir_index;
  if (rule.max_bytes) arg.max_bytes = *rule.max_bytes;
  arg.redact = arg.redact || rule.redact;

  const size_t params = type.params.size();
  const auto out_of_range = [&](absl::string_view field, uint32_t index) {
    return absl::StrCat(field, " is ", index, ", and the function has ", params,
                        params == 1 ? " parameter" : " parameters",
                        ", counted from 0: ", type.ToString());
  };
  if (arg.index >= params) return no(out_of_range("index", arg.index));
  if (!Fits(arg.kind, type.params[arg.index])) {
    return no(absl::StrCat("type ", ArgKindName(arg.kind),
                           " does not fit parameter ", arg.index, ", which is ",
                           ValTypeName(type.params[arg.index]), ": ",
                           type.ToString()));
  }
  if (HasLength(arg.kind)) {
    if (arg.len_index == kNoIndex) {
      return no(
          absl::StrCat("type ", ArgKindName(arg.kind), " needs len_index"));
    }
    if (arg.len_index >= params) {
      return no(out_of_range("len_index", arg.len_index));
    }
    if (!IsInteger(type.params[arg.len_index]) || arg.len_index == arg.index) {
      return no(absl::StrCat("len_index ", arg.len_index,
                             " is no length: ", type.ToString()));
    }
  } else if (rule.max_bytes || rule.len_index) {
    return no(absl::StrCat("max_bytes and len_index do not go with type ",
                           ArgKindName(arg.kind)));
  }
  if (arg.kind == ArgKind::kPath && arg.dir_index != kNoIndex) {
    if (arg.dir_index >= params) {
      return no(out_of_range("dir_index", arg.dir_index));
    }
    if (!IsInteger(type.params[arg.dir_index])) {
      return no(absl::StrCat("dir_index ", arg.dir_index,
                             " is no handle: ", type.ToString()));
    }
  }
  return arg;
}

bool ReadBackArgument(const ArgSpec& arg, const FuncType& type,
                      CallContext& call, std::vector<uint8_t>* bytes) {
  bytes->clear();
  const absl::Span<const RawValue> args = call.args();
  if (arg.index >= args.size() || arg.len_index >= args.size()) return false;
  const uint64_t length = Unsigned(type, args, arg.len_index);
  // As at the call, unless somebody changes specs on the way.
  if (length > arg.max_bytes) return false;
  bytes->resize(static_cast<size_t>(length));
  if (length == 0) return true;
  return call.ReadBack(Unsigned(type, args, arg.index), absl::MakeSpan(*bytes))
      .ok();
}

Outcome CaptureArgument(const ArgSpec& arg, const FuncType& type,
                        CallContext& call, CapturedArgument* captured) {
  if (!HasLength(arg.kind)) return std::nullopt;
  const absl::Span<const RawValue> args = call.args();
  if (args.size() != type.params.size() || arg.index >= args.size() ||
      arg.len_index >= args.size()) {
    return absl::InternalError(absl::StrCat(
        "a call with ", args.size(), " arguments for argument ", arg.name));
  }
  const uint64_t address = Unsigned(type, args, arg.index);
  const uint64_t length = Unsigned(type, args, arg.len_index);
  if (arg.kind == ArgKind::kIovecIn || arg.kind == ArgKind::kIovecOut) {
    return CaptureIovec(arg, address, length, call, captured);
  }
  if (length > arg.max_bytes) return TooLong(arg, length);
  if (arg.kind == ArgKind::kBytesOut || arg.kind == ArgKind::kAddrsOut) {
    return CheckRange(arg, address, length, call);
  }
  absl::Span<const uint8_t> bytes;
  Outcome outcome = CaptureRange(arg, address, length, call, &bytes);
  if (captured != nullptr && outcome.ok() && !outcome->has_value()) {
    captured->bytes = bytes;
    captured->is_whole = true;
  }
  return outcome;
}

}  // namespace callgate::policy
