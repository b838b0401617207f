#include "policy/state/fingerprint.h"

#include <algorithm>
#include <cstring>
#include <random>

namespace callgate::policy {
namespace {

using expression::Value;
using expression::ValueKind;

inline uint64_t Rotate(uint64_t x, int by) {
  return (x << by) | (x >> (64 - by));
}

inline void Round(uint64_t& v0, uint64_t& v1, uint64_t& v2, uint64_t& v3) {
  v0 += v1;
  v1 = Rotate(v1, 13) ^ v0;
  v0 = Rotate(v0, 32);
  v2 += v3;
  v3 = Rotate(v3, 16) ^ v2;
  v0 += v3;
  v3 = Rotate(v3, 21) ^ v0;
  v2 += v1;
  v1 = Rotate(v1, 17) ^ v2;
  v2 = Rotate(v2, 32);
}

}  // namespace

FingerprintKey FingerprintKey::Random() {
  std::random_device device;
  const auto word = [&device] {
    return uint64_t{device()} << 32 | uint64_t{device()};
  };
  const uint64_t k0 = word();
  return {k0, word()};
}

Fingerprint::Fingerprint(const FingerprintKey& key)
    : v0_(key.k0 ^ 0x736f6d6570736575),
      v1_(key.k1 ^ 0x646f72616e646f6d),
      v2_(key.k0 ^ 0x6c7967656e657261),
      v3_(key.k1 ^ 0x7465646279746573) {}

void Fingerprint::AddWord(uint64_t word) {
  ++words_;
  v3_ ^= word;
  Round(v0_, v1_, v2_, v3_);
  Round(v0_, v1_, v2_, v3_);
  v0_ ^= word;
}

void Fingerprint::AddText(absl::string_view text) {
  AddWord(text.size());
  while (!text.empty()) {
    const size_t bytes = std::min(text.size(), sizeof(uint64_t));
    uint64_t word = 0;
    std::memcpy(&word, text.data(), bytes);
    AddWord(word);
    text.remove_prefix(bytes);
  }
}

void Fingerprint::Add(const Value& value) {
  AddWord(static_cast<uint64_t>(value.kind()));
  switch (value.kind()) {
    case ValueKind::kAbsent:
    case ValueKind::kLazy:
    case ValueKind::kError:
    case ValueKind::kNull:
      return;
    case ValueKind::kBool:
    case ValueKind::kInt:
    case ValueKind::kUint:
    case ValueKind::kDuration:
    case ValueKind::kTimestamp:
      AddWord(value.as_uint());
      return;
    case ValueKind::kDouble: {
      // The two zeros are equal, and so are all that are no numbers.
      double real = value.as_double();
      if (real == 0) real = 0;
      uint64_t word = ~uint64_t{0};
      if (real == real) std::memcpy(&word, &real, sizeof(word));
      AddWord(word);
      return;
    }
    case ValueKind::kString:
    case ValueKind::kBytes:
    case ValueKind::kIp:
      AddText(value.as_string());
      return;
    case ValueKind::kList:
      // Of scalars: facts and rules have no others here.
      AddWord(value.size());
      for (const Value& item : value.as_list()) {
        if (item.kind() == ValueKind::kList) continue;
        Add(item);
      }
      return;
  }
}

uint64_t Fingerprint::Finish() const {
  Fingerprint end = *this;
  end.AddWord(end.words_ << 59);
  end.v2_ ^= 0xff;
  for (int i = 0; i < 4; ++i) Round(end.v0_, end.v1_, end.v2_, end.v3_);
  return end.v0_ ^ end.v1_ ^ end.v2_ ^ end.v3_;
}

}  // namespace callgate::policy
