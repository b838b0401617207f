// WebAssembly values and function types.
//
// Two forms, after Wasmtime's Val and ValRaw: a RawValue is sixteen untyped
// bytes and travels between guest, hook and host functions, where the function
// type says what they are; a Value knows its type and is what embedders pass
// to and get from calls.
//
// References are numbers that mean something only inside the Store that made
// them, never pointers: a forged or foreign one is refused, not followed.

#ifndef CALLGATE_RUNTIME_VALUE_H_
#define CALLGATE_RUNTIME_VALUE_H_

#include <array>
#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"

namespace callgate {

// The binary format's own codes.
enum class ValType : uint8_t {
  kI32 = 0x7f,
  kI64 = 0x7e,
  kF32 = 0x7d,
  kF64 = 0x7c,
  kV128 = 0x7b,
  kFuncRef = 0x70,
  kExternRef = 0x6f,
};

// The text format's name: "i32", "funcref", …
absl::string_view ValTypeName(ValType type);

constexpr bool IsReference(ValType type) {
  return type == ValType::kFuncRef || type == ValType::kExternRef;
}

struct V128 {
  std::array<uint8_t, 16> bytes{};
  friend bool operator==(const V128& a, const V128& b) {
    return a.bytes == b.bytes;
  }
};

// The null reference, of either type.
inline constexpr uint64_t kNullRef = ~uint64_t{0};

// Sixteen bytes whose meaning the function type gives. Narrow values occupy the
// low bytes and the rest is zero, so that two equal values compare equal.
class RawValue {
 public:
  RawValue() = default;

  static RawValue I32(uint32_t v) { return RawValue(v, 0); }
  static RawValue I64(uint64_t v) { return RawValue(v, 0); }
  static RawValue F32(float v) {
    uint32_t bits;
    std::memcpy(&bits, &v, sizeof(bits));
    return RawValue(bits, 0);
  }
  static RawValue F64(double v) {
    uint64_t bits;
    std::memcpy(&bits, &v, sizeof(bits));
    return RawValue(bits, 0);
  }
  static RawValue Vector(const V128& v) {
    RawValue raw;
    std::memcpy(&raw.low_, v.bytes.data(), 8);
    std::memcpy(&raw.high_, v.bytes.data() + 8, 8);
    return raw;
  }
  static RawValue Ref(uint64_t ref) { return RawValue(ref, 0); }

  uint32_t u32() const { return static_cast<uint32_t>(low_); }
  int32_t i32() const { return static_cast<int32_t>(u32()); }
  uint64_t u64() const { return low_; }
  int64_t i64() const { return static_cast<int64_t>(low_); }
  float f32() const {
    const uint32_t bits = u32();
    float v;
    std::memcpy(&v, &bits, sizeof(v));
    return v;
  }
  double f64() const {
    double v;
    std::memcpy(&v, &low_, sizeof(v));
    return v;
  }
  V128 v128() const {
    V128 v;
    std::memcpy(v.bytes.data(), &low_, 8);
    std::memcpy(v.bytes.data() + 8, &high_, 8);
    return v;
  }
  uint64_t ref() const { return low_; }

  // An assignment that reads the two halves one by one. Compiled code has
  // written them so, and what reads a whole value right after that waits until
  // both are in the cache.
  void CopyHalves(const RawValue& from) {
    uint64_t low = from.low_;
#if defined(__GNUC__)
    asm("" : "+r"(low));  // keeps the compiler from making one move of two
#endif
    low_ = low;
    high_ = from.high_;
  }

  friend bool operator==(const RawValue& a, const RawValue& b) {
    return a.low_ == b.low_ && a.high_ == b.high_;
  }

 private:
  RawValue(uint64_t low, uint64_t high) : low_(low), high_(high) {}

  uint64_t low_ = 0;
  uint64_t high_ = 0;
};

// A value that knows its type.
class Value {
 public:
  // i32 zero.
  Value() : type_(ValType::kI32) {}
  Value(ValType type, RawValue raw) : type_(type), raw_(raw) {}

  static Value I32(uint32_t v) { return {ValType::kI32, RawValue::I32(v)}; }
  static Value I32(int32_t v) { return I32(static_cast<uint32_t>(v)); }
  static Value I64(uint64_t v) { return {ValType::kI64, RawValue::I64(v)}; }
  static Value I64(int64_t v) { return I64(static_cast<uint64_t>(v)); }
  static Value F32(float v) { return {ValType::kF32, RawValue::F32(v)}; }
  static Value F64(double v) { return {ValType::kF64, RawValue::F64(v)}; }
  static Value Vector(const V128& v) {
    return {ValType::kV128, RawValue::Vector(v)};
  }
  static Value NullFuncRef() {
    return {ValType::kFuncRef, RawValue::Ref(kNullRef)};
  }
  // `handle` from Store::NewExternRef of the same Store.
  static Value ExternRef(uint64_t handle) {
    return {ValType::kExternRef, RawValue::Ref(handle)};
  }
  static Value NullExternRef() { return ExternRef(kNullRef); }
  // The zero or null of a type.
  static Value Zero(ValType type);

  ValType type() const { return type_; }
  const RawValue& raw() const { return raw_; }

  // Each must fit type(): checked in debug builds.
  uint32_t u32() const { return raw_.u32(); }
  int32_t i32() const { return raw_.i32(); }
  uint64_t u64() const { return raw_.u64(); }
  int64_t i64() const { return raw_.i64(); }
  float f32() const { return raw_.f32(); }
  double f64() const { return raw_.f64(); }
  V128 v128() const { return raw_.v128(); }

  // "i32:7", "f64:0.5", "v128:0x…" (most significant byte first),
  // "funcref:null", "externref:3". Integers are printed unsigned.
  std::string ToString() const;

  // Bit for bit, so a NaN equals itself.
  friend bool operator==(const Value& a, const Value& b) {
    return a.type_ == b.type_ && a.raw_ == b.raw_;
  }

 private:
  ValType type_;
  RawValue raw_;
};

struct FuncType {
  std::vector<ValType> params;
  std::vector<ValType> results;

  // "(i32, i64) -> (f32)".
  std::string ToString() const;

  friend bool operator==(const FuncType& a, const FuncType& b) {
    return a.params == b.params && a.results == b.results;
  }
  friend bool operator!=(const FuncType& a, const FuncType& b) {
    return !(a == b);
  }
};

}  // namespace callgate

#endif  // CALLGATE_RUNTIME_VALUE_H_
