#include "runtime/host_function_spec.h"

namespace callgate {
namespace {

struct KindName {
  ArgKind kind;
  absl::string_view name;
};

constexpr KindName kKinds[] = {
    {ArgKind::kU32, "u32"},
    {ArgKind::kS32, "s32"},
    {ArgKind::kU64, "u64"},
    {ArgKind::kS64, "s64"},
    {ArgKind::kF32, "f32"},
    {ArgKind::kF64, "f64"},
    {ArgKind::kBytes, "bytes"},
    {ArgKind::kString, "string"},
    {ArgKind::kPath, "path"},
    {ArgKind::kIovecIn, "iovec_in"},
    {ArgKind::kIovecOut, "iovec_out"},
    {ArgKind::kBytesOut, "bytes_out"},
    {ArgKind::kPointer, "pointer"},
    {ArgKind::kHandle, "handle"},
    {ArgKind::kSockaddr, "sockaddr"},
    {ArgKind::kAddrsOut, "addrs_out"},
};

}  // namespace

absl::string_view ArgKindName(ArgKind kind) {
  for (const KindName& row : kKinds) {
    if (row.kind == kind) return row.name;
  }
  return "unknown";
}

std::optional<ArgKind> ArgKindFromName(absl::string_view name) {
  for (const KindName& row : kKinds) {
    if (row.name == name) return row.kind;
  }
  return std::nullopt;
}

}  // namespace callgate
