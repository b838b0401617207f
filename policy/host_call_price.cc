#include "policy/host_call_price.h"

#include <algorithm>
#include <cmath>

namespace callgate::policy {
namespace {

constexpr uint64_t kIovecPairBytes = 8;

uint64_t Sum(uint64_t a, uint64_t b) {
  return a > kPriceMax - std::min(b, kPriceMax) ? kPriceMax : a + b;
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

absl::StatusOr<uint64_t> BytesOfIovec(uint64_t address, uint64_t pairs,
                                      CallContext& call) {
  const uint64_t memory = call.MemoryBytes();
  if (pairs > kIovecPairsMax) {
    return memory != 0 && pairs > kPriceMax / memory ? kPriceMax
                                                     : pairs * memory;
  }
  if (pairs == 0) return uint64_t{0};
  const absl::StatusOr<absl::Span<const uint8_t>> raw =
      call.Capture(address, pairs * kIovecPairBytes);
  if (!raw.ok()) {
    // The host function cannot read them either.
    if (absl::IsOutOfRange(raw.status()) ||
        absl::IsResourceExhausted(raw.status())) {
      return uint64_t{0};
    }
    return raw.status();
  }
  uint64_t total = 0;
  for (size_t i = 0; i < pairs; ++i) {
    total += std::min<uint64_t>(
        LittleEndian32(raw->data() + i * kIovecPairBytes + 4), memory);
  }
  return total;
}

}  // namespace

uint64_t FuelOf(const HostCallPrice& price, uint64_t bytes) {
  if (price.per_byte == 0) return std::min(price.base, kPriceMax);
  const double of_bytes =
      std::ceil(price.per_byte * static_cast<double>(bytes));
  if (of_bytes >= static_cast<double>(kPriceMax)) return kPriceMax;
  return Sum(std::min(price.base, kPriceMax), static_cast<uint64_t>(of_bytes));
}

std::vector<ArgSpec> SizedArguments(const FuncType& type,
                                    const HostFunctionSpec* spec,
                                    absl::Span<const ArgumentRule> rules) {
  std::vector<ArgSpec> sized;
  const auto add = [&](const ArgumentRule& rule) {
    const std::optional<ArgSpec> arg =
        ResolveArgument(rule, type, spec, nullptr);
    if (!arg || !HasLength(arg->kind)) return;
    if (std::any_of(sized.begin(), sized.end(), [&](const ArgSpec& known) {
          return known.index == arg->index;
        })) {
      return;
    }
    sized.push_back(*arg);
  };
  if (spec != nullptr) {
    for (const ArgSpec& host : spec->args) {
      ArgumentRule rule;
      rule.name = host.name;
      add(rule);
    }
  }
  for (const ArgumentRule& rule : rules) add(rule);
  return sized;
}

absl::StatusOr<uint64_t> BytesOfArguments(absl::Span<const ArgSpec> args,
                                          const FuncType& type,
                                          CallContext& call) {
  uint64_t total = 0;
  for (const ArgSpec& arg : args) {
    const uint64_t length = Unsigned(type, call.args(), arg.len_index);
    if (arg.kind == ArgKind::kIovecIn || arg.kind == ArgKind::kIovecOut) {
      const absl::StatusOr<uint64_t> bytes =
          BytesOfIovec(Unsigned(type, call.args(), arg.index), length, call);
      if (!bytes.ok()) return bytes;
      total = Sum(total, *bytes);
    } else {
      total = Sum(total, std::min(length, call.MemoryBytes()));
    }
  }
  return total;
}

}  // namespace callgate::policy
