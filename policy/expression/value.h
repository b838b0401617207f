// What an expression computes with: sixteen bytes, copied freely.
//
// Strings, bytes, addresses and lists are views: of a fact, of the program's
// constants, or of the scratch memory of the evaluation that made them. A view
// is valid as long as what it looks at; what an evaluation returns, until the
// scratch is used again. Strings are bytes as they came: facts from a guest
// need not be UTF-8.

#ifndef CALLGATE_POLICY_EXPRESSION_VALUE_H_
#define CALLGATE_POLICY_EXPRESSION_VALUE_H_

#include <cstdint>
#include <string>
#include <type_traits>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"

namespace callgate::policy::expression {

// What comes after kError is a value.
enum class ValueKind : uint8_t {
  kAbsent,  // a fact that this call does not have
  kLazy,    // a fact that is computed when an expression asks for it
  kError,   // the evaluation failed
  kNull,
  kBool,
  kInt,
  kUint,
  kDouble,
  kDuration,
  kTimestamp,
  kString,
  kBytes,
  kIp,
  kList,
};

// Why an evaluation failed.
enum class ErrorCode : uint8_t {
  kOverflow,
  kDivideByZero,
  kModulusByZero,
  kNoSuchOverload,  // an operator met a kind of value that it does not take
  kIndexOutOfRange,
  kAbsentFact,
  kNotUtf8,  // a pattern met a string that is not UTF-8
  kTooManySegments,
  kScratchExhausted,  // strings and lists made on the way are too large
  kBadFact,           // the caller gave a fact of another type
  kNotAnAddress,
};

// "integer overflow"
absl::string_view ErrorText(ErrorCode code);

class Value {
 public:
  Value() : kind_(ValueKind::kAbsent), size_(0) { word_ = 0; }

  static Value Lazy() { return Word(ValueKind::kLazy, 0); }
  static Value Null() { return Word(ValueKind::kNull, 0); }
  static Value Bool(bool v) { return Word(ValueKind::kBool, v ? 1 : 0); }
  static Value Int(int64_t v) {
    return Word(ValueKind::kInt, static_cast<uint64_t>(v));
  }
  static Value Uint(uint64_t v) { return Word(ValueKind::kUint, v); }
  static Value Double(double v) {
    Value value;
    value.kind_ = ValueKind::kDouble;
    value.real_ = v;
    return value;
  }
  static Value Duration(int64_t nanoseconds) {
    return Word(ValueKind::kDuration, static_cast<uint64_t>(nanoseconds));
  }
  static Value Timestamp(int64_t nanoseconds_since_1970) {
    return Word(ValueKind::kTimestamp,
                static_cast<uint64_t>(nanoseconds_since_1970));
  }
  static Value String(absl::string_view v) {
    return View(ValueKind::kString, v);
  }
  static Value Bytes(absl::string_view v) { return View(ValueKind::kBytes, v); }
  // Four or sixteen bytes, most significant first. An IPv4 address in its IPv6
  // form (::ffff:a.b.c.d) is that IPv4 address.
  static Value Ip(absl::string_view v) { return View(ValueKind::kIp, v); }
  static Value List(absl::Span<const Value> v) {
    Value value;
    value.kind_ = ValueKind::kList;
    value.size_ = static_cast<uint32_t>(v.size());
    value.items_ = v.data();
    return value;
  }
  // `at` is the instruction that failed; callers see its place in the source.
  static Value Error(ErrorCode code, uint32_t at) {
    Value value = Word(ValueKind::kError, static_cast<uint64_t>(code));
    value.size_ = at;
    return value;
  }

  ValueKind kind() const { return kind_; }
  bool is_error() const { return kind_ == ValueKind::kError; }

  bool as_bool() const { return word_ != 0; }
  int64_t as_int() const { return static_cast<int64_t>(word_); }
  uint64_t as_uint() const { return word_; }
  double as_double() const { return real_; }
  // Also of bytes and addresses.
  absl::string_view as_string() const {
    return absl::string_view(bytes_, size_);
  }
  absl::Span<const Value> as_list() const {
    return absl::Span<const Value>(items_, size_);
  }
  ErrorCode error() const { return static_cast<ErrorCode>(word_); }
  uint32_t error_at() const { return size_; }
  // Bytes of a string, elements of a list.
  uint32_t size() const { return size_; }

  // For people: `"a\n"`, `[1, 2u]`, `30s`. Escaped, at most about 200 bytes.
  std::string ToString() const;

 private:
  static Value Word(ValueKind kind, uint64_t word) {
    Value value;
    value.kind_ = kind;
    value.word_ = word;
    return value;
  }
  static Value View(ValueKind kind, absl::string_view v) {
    Value value;
    value.kind_ = kind;
    value.size_ = static_cast<uint32_t>(v.size());
    value.bytes_ = v.data();
    return value;
  }

  ValueKind kind_;
  uint32_t size_;
  union {
    uint64_t word_;
    double real_;
    const char* bytes_;
    const Value* items_;
  };
};

static_assert(sizeof(Value) == 16, "registers and facts are arrays of these");
static_assert(std::is_trivially_copyable<Value>::value, "copied as bytes");

}  // namespace callgate::policy::expression

#endif  // CALLGATE_POLICY_EXPRESSION_VALUE_H_
