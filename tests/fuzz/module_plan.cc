#include "tests/fuzz/module_plan.h"

#include <cstring>

namespace callgate::fuzz {
namespace {

constexpr uint64_t kIntegers[] = {
    0,
    1,
    ~uint64_t{0},
    2,
    3,
    7,
    8,
    15,
    16,
    31,
    32,
    33,
    63,
    64,
    65,
    127,
    128,
    255,
    256,
    0x7fff,
    0x8000,
    0xffff,
    0x10000,
    0x7fffffff,
    0x80000000,
    0xffffffff,
    0x100000000,
    0x7fffffffffffffff,
    0x8000000000000000,
    0xffffffff80000000,
    0x5555555555555555,
    0x123456789abcdef0,
};

constexpr uint32_t kFloats[] = {
    0x00000000, 0x80000000, 0x3f800000, 0xbf800000,  // 0, -0, 1, -1
    0x3f000000, 0xbf000000, 0x3fc00000, 0x40200000,  // 0.5, -0.5, 1.5, 2.5
    0x7f800000, 0xff800000, 0x7fc00000, 0xffc00000,  // infinities, NaNs
    0x7fa00000, 0xffbfffff, 0x00000001, 0x807fffff,  // signalling, subnormal
    0x4f000000, 0xcf000000, 0x4f800000, 0x4effffff,  // 2^31, -2^31, 2^32
    0x5f000000, 0xdf000000, 0x5f800000, 0x5effffff,  // 2^63, -2^63, 2^64
    0x7f7fffff, 0x00800000, 0x4b000001, 0xbf7fffff,  // largest, 2^23 + 1
};

constexpr uint64_t kDoubles[] = {
    0x0000000000000000, 0x8000000000000000, 0x3ff0000000000000,
    0xbff0000000000000, 0x3fe0000000000000, 0xbfe0000000000000,
    0x3ff8000000000000, 0x4004000000000000, 0x7ff0000000000000,
    0xfff0000000000000, 0x7ff8000000000000, 0xfff8000000000000,
    0x7ff4000000000000, 0xfff7ffffffffffff, 0x0000000000000001,
    0x800fffffffffffff, 0x41e0000000000000, 0xc1e0000000000000,
    0x41f0000000000000, 0x41dfffffffc00000, 0x43e0000000000000,
    0xc3e0000000000000, 0x43f0000000000000, 0x43dfffffffffffff,
    0xc1e0000000200000, 0x7fefffffffffffff, 0x0010000000000000,
    0x4330000000000001, 0xbfefffffffffffff, 0x47efffffe0000000,
    0x47efffffefffffff, 0x36a0000000000000,  // about an f32's ends
};

RawValue Number(ValType type, uint64_t bits) {
  switch (type) {
    case ValType::kI32:
    case ValType::kF32:
      return RawValue::I32(static_cast<uint32_t>(bits));
    default:
      return RawValue::I64(bits);
  }
}

}  // namespace

RawValue InterestingValue(ValType type, ByteSource& source) {
  const uint32_t kind = source.Below(4);
  switch (type) {
    case ValType::kI32:
    case ValType::kI64:
      if (kind == 0) return Number(type, source.Below(16));
      if (kind == 1) return Number(type, source.Bits(8));
      return Number(type, kIntegers[source.Below(std::size(kIntegers))]);
    case ValType::kF32:
      if (kind == 3) return Number(type, source.Bits(4));
      return Number(type, kFloats[source.Below(std::size(kFloats))]);
    case ValType::kF64:
      if (kind == 3) return Number(type, source.Bits(8));
      return Number(type, kDoubles[source.Below(std::size(kDoubles))]);
    case ValType::kV128: {
      V128 value;
      if (kind == 0) {
        for (uint8_t& byte : value.bytes) byte = source.Byte();
      } else if (kind == 1) {
        const RawValue one = InterestingValue(ValType::kF32, source);
        const RawValue other = InterestingValue(ValType::kI32, source);
        for (size_t i = 0; i < 16; i += 4) {
          const uint32_t bits = i < 8 ? one.u32() : other.u32();
          std::memcpy(&value.bytes[i], &bits, 4);
        }
      } else {
        for (size_t i = 0; i < 16; i += 8) {
          const uint64_t bits =
              InterestingValue(kind == 2 ? ValType::kF64 : ValType::kI64,
                               source)
                  .u64();
          std::memcpy(&value.bytes[i], &bits, 8);
        }
      }
      return RawValue::Vector(value);
    }
    default:
      return RawValue::Ref(kNullRef);
  }
}

void WriteConst(CodeWriter& code, ValType type, const RawValue& value) {
  switch (type) {
    case ValType::kI32:
      code.Byte(0x41);
      code.Signed(value.i32());
      return;
    case ValType::kI64:
      code.Byte(0x42);
      code.Signed(value.i64());
      return;
    case ValType::kF32:
      code.Byte(0x43);
      code.Fixed(value.u32(), 4);
      return;
    case ValType::kF64:
      code.Byte(0x44);
      code.Fixed(value.u64(), 8);
      return;
    case ValType::kV128: {
      code.Byte(0xfd);
      code.Unsigned(12);
      const V128 bytes = value.v128();
      code.Raw(bytes.bytes);
      return;
    }
    default:
      code.Byte(0xd0);
      code.Type(type);
      return;
  }
}

}  // namespace callgate::fuzz
