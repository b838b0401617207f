#include "tests/fuzz/byte_source.h"

#include <algorithm>
#include <random>

namespace callgate::fuzz {

uint64_t ByteSource::Bits(size_t bytes) {
  uint64_t value = 0;
  for (size_t i = 0; i < bytes; ++i) value |= uint64_t{Byte()} << (8 * i);
  return value;
}

uint32_t ByteSource::Below(uint32_t count) {
  if (count <= 1) return 0;
  const uint64_t drawn = count <= 256 ? Byte() : Bits(4);
  return static_cast<uint32_t>(drawn % count);
}

ByteSource ByteSource::Take(size_t parts) {
  const size_t rest = bytes_.size() - std::min(at_, bytes_.size());
  const size_t share = parts == 0 ? rest : rest / parts;
  ByteSource taken(bytes_.subspan(bytes_.size() - rest, share));
  at_ += share;
  return taken;
}

std::vector<uint8_t> BytesOfSeed(uint64_t seed, size_t size) {
  std::mt19937_64 random(seed);
  std::vector<uint8_t> bytes;
  bytes.reserve(size + 8);
  while (bytes.size() < size) {
    const uint64_t word = random();
    for (size_t i = 0; i < 8; ++i) {
      bytes.push_back(static_cast<uint8_t>(word >> (8 * i)));
    }
  }
  bytes.resize(size);
  return bytes;
}

}  // namespace callgate::fuzz
