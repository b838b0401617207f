// args_* and environ_*: both are a list of strings, handed over as an array of
// addresses and a buffer with the strings one after another, each with a NUL.

#include <cstdint>
#include <string>
#include <vector>

#include "runtime/wasi/functions.h"

namespace callgate {
namespace wasi {
namespace {

uint64_t BytesOf(const std::vector<std::string>& strings) {
  uint64_t bytes = 0;
  for (const std::string& string : strings) bytes += string.size() + 1;
  return bytes;
}

// Arguments: where the addresses go, where the strings go.
Outcome WriteStrings(HostCall& call, const std::vector<std::string>& strings) {
  const uint32_t addresses = call.U32(0);
  const uint32_t buffer = call.U32(1);
  const uint64_t bytes = BytesOf(strings);
  Outcome inside = call.InBounds(addresses, strings.size() * 4);
  if (!inside.ok()) return inside;
  inside = call.InBounds(buffer, bytes);
  if (!inside.ok()) return inside;

  // Context::Create bounds the strings, so these two are small.
  std::vector<uint8_t> array;
  std::vector<uint8_t> flat;
  array.reserve(strings.size() * 4);
  flat.reserve(bytes);
  for (const std::string& string : strings) {
    // In bounds, so the sum is a 32-bit address.
    std::array<uint8_t, 4> address{};
    Put(address, 0, static_cast<uint32_t>(buffer + flat.size()));
    array.insert(array.end(), address.begin(), address.end());
    flat.insert(flat.end(), string.begin(), string.end());
    flat.push_back(0);
  }
  const Outcome written = call.Write(addresses, array);
  if (!written.ok()) return written;
  return call.Write(buffer, flat);
}

// Arguments: where the number of strings goes, where their bytes go.
Outcome WriteSizes(HostCall& call, const std::vector<std::string>& strings) {
  for (const size_t out : {size_t{0}, size_t{1}}) {
    const Outcome inside = call.InBounds(call.U32(out), 4);
    if (!inside.ok()) return inside;
  }
  const Outcome written =
      call.WriteU32(call.U32(0), static_cast<uint32_t>(strings.size()));
  if (!written.ok()) return written;
  return call.WriteU32(call.U32(1), static_cast<uint32_t>(BytesOf(strings)));
}

}  // namespace

Outcome ArgsGet(HostCall& call) {
  return WriteStrings(call, call.state().args);
}
Outcome ArgsSizesGet(HostCall& call) {
  return WriteSizes(call, call.state().args);
}
Outcome EnvironGet(HostCall& call) {
  return WriteStrings(call, call.state().env);
}
Outcome EnvironSizesGet(HostCall& call) {
  return WriteSizes(call, call.state().env);
}

}  // namespace wasi
}  // namespace callgate
