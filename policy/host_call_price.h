// What a call of a host function costs in fuel, beyond what the guest burns.
//
// A price has a base and a part for each byte that the call's arguments stand
// for: the lengths of what the host will read, and of the room for what it will
// write, as the specs of the arguments say. What does not lie in the guest's
// memory cannot be moved and is not paid for.
//
// Pure but for Capture, by which the pairs of an iovec are read: so what was
// priced is what is used.

#ifndef CALLGATE_POLICY_HOST_CALL_PRICE_H_
#define CALLGATE_POLICY_HOST_CALL_PRICE_H_

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "policy/argument.h"
#include "runtime/call_hook.h"
#include "runtime/host_function_spec.h"
#include "runtime/value.h"

namespace callgate::policy {

struct HostCallPrice {
  uint64_t base = 0;
  double per_byte = 0;
};

// More than any budget.
inline constexpr uint64_t kPriceMax = uint64_t{1} << 62;

// Rounded up, and at most kPriceMax.
uint64_t FuelOf(const HostCallPrice& price, uint64_t bytes);

// The arguments of a function that have a length: those that the host
// describes, and those of `rules` that it does not. Of several for the same
// parameter the first.
std::vector<ArgSpec> SizedArguments(const FuncType& type,
                                    const HostFunctionSpec* spec,
                                    absl::Span<const ArgumentRule> rules);

// `args` must come from SizedArguments for the function's own type. An iovec
// with more pairs than are looked at counts as if each were all of memory. A
// bad status is a fault of ours.
absl::StatusOr<uint64_t> BytesOfArguments(absl::Span<const ArgSpec> args,
                                          const FuncType& type,
                                          CallContext& call);

}  // namespace callgate::policy

#endif  // CALLGATE_POLICY_HOST_CALL_PRICE_H_
