#include "policy/expression/operations.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "absl/strings/match.h"
#include "policy/expression/cost.h"
#include "policy/quote.h"
#include "runtime/check.h"

namespace callgate::policy::expression {
namespace {

Value Fail(ErrorCode code) { return Value::Error(code, 0); }
Value NoOverload() { return Fail(ErrorCode::kNoSuchOverload); }

bool IsNumber(ValueKind kind) {
  return kind == ValueKind::kInt || kind == ValueKind::kUint ||
         kind == ValueKind::kDouble;
}

double AsDouble(const Value& value) {
  switch (value.kind()) {
    case ValueKind::kInt:
      return static_cast<double>(value.as_int());
    case ValueKind::kUint:
      return static_cast<double>(value.as_uint());
    default:
      return value.as_double();
  }
}

enum class Order : uint8_t { kLess, kEqual, kGreater, kNone };

template <typename T>
Order Compare(T a, T b) {
  if (a < b) return Order::kLess;
  if (b < a) return Order::kGreater;
  return a == b ? Order::kEqual : Order::kNone;  // NaN
}

Order CompareNumbers(const Value& a, const Value& b) {
  if (a.kind() == ValueKind::kDouble || b.kind() == ValueKind::kDouble) {
    return Compare(AsDouble(a), AsDouble(b));
  }
  if (a.kind() == b.kind()) {
    return a.kind() == ValueKind::kInt ? Compare(a.as_int(), b.as_int())
                                       : Compare(a.as_uint(), b.as_uint());
  }
  const bool a_signed = a.kind() == ValueKind::kInt;
  if ((a_signed ? a : b).as_int() < 0) {
    return a_signed ? Order::kLess : Order::kGreater;
  }
  return Compare(a.as_uint(), b.as_uint());
}

// Of values that are no lists.
bool EqualScalars(const Value& a, const Value& b, Work* work) {
  ++work->steps;
  if (IsNumber(a.kind()) && IsNumber(b.kind())) {
    return CompareNumbers(a, b) == Order::kEqual;
  }
  if (a.kind() != b.kind()) return false;
  switch (a.kind()) {
    case ValueKind::kString:
    case ValueKind::kBytes:
      if (a.size() != b.size()) return false;
      work->steps += BytesCost(a.size());
      return a.as_string() == b.as_string();
    case ValueKind::kIp: {
      const auto key = IpKeyFromBytes(a.as_string());
      return key.has_value() && key == IpKeyFromBytes(b.as_string());
    }
    case ValueKind::kList:
    case ValueKind::kAbsent:
    case ValueKind::kLazy:
    case ValueKind::kError:
      return false;
    default:
      return a.as_uint() == b.as_uint();
  }
}

Value OrderResult(Function function, Order order) {
  switch (function) {
    case Function::kLess:
      return Value::Bool(order == Order::kLess);
    case Function::kLessEqual:
      return Value::Bool(order == Order::kLess || order == Order::kEqual);
    case Function::kGreater:
      return Value::Bool(order == Order::kGreater);
    default:
      return Value::Bool(order == Order::kGreater || order == Order::kEqual);
  }
}

Value Relation(Function function, const Value& a, const Value& b, Work* work) {
  if (IsNumber(a.kind()) && IsNumber(b.kind())) {
    return OrderResult(function, CompareNumbers(a, b));
  }
  if (a.kind() != b.kind()) return NoOverload();
  switch (a.kind()) {
    case ValueKind::kBool:
      return OrderResult(function, Compare(a.as_bool(), b.as_bool()));
    case ValueKind::kDuration:
    case ValueKind::kTimestamp:
      return OrderResult(function, Compare(a.as_int(), b.as_int()));
    case ValueKind::kString:
    case ValueKind::kBytes:
      work->steps += BytesCost(std::min(a.size(), b.size()));
      return OrderResult(function, Compare(a.as_string(), b.as_string()));
    default:
      return NoOverload();
  }
}

Value Ints(Function function, int64_t a, int64_t b) {
  int64_t result = 0;
  bool overflow = false;
  switch (function) {
    case Function::kAdd:
      overflow = __builtin_add_overflow(a, b, &result);
      break;
    case Function::kSubtract:
      overflow = __builtin_sub_overflow(a, b, &result);
      break;
    case Function::kMultiply:
      overflow = __builtin_mul_overflow(a, b, &result);
      break;
    case Function::kDivide:
    case Function::kModulo: {
      const bool divide = function == Function::kDivide;
      if (b == 0) {
        return Fail(divide ? ErrorCode::kDivideByZero
                           : ErrorCode::kModulusByZero);
      }
      overflow = a == std::numeric_limits<int64_t>::min() && b == -1;
      if (!overflow) result = divide ? a / b : a % b;
      break;
    }
    case Function::kBitAnd:
      result = a & b;
      break;
    case Function::kBitOr:
      result = a | b;
      break;
    default:
      return NoOverload();
  }
  return overflow ? Fail(ErrorCode::kOverflow) : Value::Int(result);
}

Value Uints(Function function, uint64_t a, uint64_t b) {
  uint64_t result = 0;
  bool overflow = false;
  switch (function) {
    case Function::kAdd:
      overflow = __builtin_add_overflow(a, b, &result);
      break;
    case Function::kSubtract:
      overflow = __builtin_sub_overflow(a, b, &result);
      break;
    case Function::kMultiply:
      overflow = __builtin_mul_overflow(a, b, &result);
      break;
    case Function::kDivide:
      if (b == 0) return Fail(ErrorCode::kDivideByZero);
      result = a / b;
      break;
    case Function::kModulo:
      if (b == 0) return Fail(ErrorCode::kModulusByZero);
      result = a % b;
      break;
    case Function::kBitAnd:
      result = a & b;
      break;
    case Function::kBitOr:
      result = a | b;
      break;
    default:
      return NoOverload();
  }
  return overflow ? Fail(ErrorCode::kOverflow) : Value::Uint(result);
}

Value Doubles(Function function, double a, double b) {
  switch (function) {
    case Function::kAdd:
      return Value::Double(a + b);
    case Function::kSubtract:
      return Value::Double(a - b);
    case Function::kMultiply:
      return Value::Double(a * b);
    case Function::kDivide:
      return Value::Double(a / b);
    default:
      return NoOverload();
  }
}

// Of times, or of a time and a duration. Sums have at most one time, and
// differences of a duration take no time away.
Value Times(Function function, const Value& a, const Value& b) {
  const bool a_is_time = a.kind() == ValueKind::kTimestamp;
  const bool b_is_time = b.kind() == ValueKind::kTimestamp;
  const bool add = function == Function::kAdd;
  if (!add && function != Function::kSubtract) return NoOverload();
  if (add ? a_is_time && b_is_time : b_is_time && !a_is_time) {
    return NoOverload();
  }
  int64_t result;
  const bool overflow =
      add ? __builtin_add_overflow(a.as_int(), b.as_int(), &result)
          : __builtin_sub_overflow(a.as_int(), b.as_int(), &result);
  if (overflow) return Fail(ErrorCode::kOverflow);
  return a_is_time != b_is_time ? Value::Timestamp(result)
                                : Value::Duration(result);
}

Value ConcatenateBytes(const Value& a, const Value& b, Work* work) {
  const size_t size = size_t{a.size()} + b.size();
  work->steps += BytesCost(size);
  if (size > std::numeric_limits<uint32_t>::max()) {
    return Fail(ErrorCode::kScratchExhausted);
  }
  char* const made = work->arena->TakeBytes(size);
  if (made == nullptr) return Fail(ErrorCode::kScratchExhausted);
  std::copy_n(a.as_string().data(), a.size(), made);
  std::copy_n(b.as_string().data(), b.size(), made + a.size());
  const absl::string_view text(made, size);
  return a.kind() == ValueKind::kString ? Value::String(text)
                                        : Value::Bytes(text);
}

Value ConcatenateLists(const Value& a, const Value& b, Work* work) {
  const size_t size = size_t{a.size()} + b.size();
  work->steps += size;
  if (size > std::numeric_limits<uint32_t>::max()) {
    return Fail(ErrorCode::kScratchExhausted);
  }
  Value* const made = work->arena->TakeValues(size);
  if (made == nullptr) return Fail(ErrorCode::kScratchExhausted);
  std::copy_n(a.as_list().data(), a.size(), made);
  std::copy_n(b.as_list().data(), b.size(), made + a.size());
  return Value::List({made, size});
}

bool IsTime(ValueKind kind) {
  return kind == ValueKind::kDuration || kind == ValueKind::kTimestamp;
}

Value Arithmetic(Function function, const Value& a, const Value& b,
                 Work* work) {
  if (IsTime(a.kind()) && IsTime(b.kind())) return Times(function, a, b);
  if (a.kind() != b.kind()) return NoOverload();
  switch (a.kind()) {
    case ValueKind::kInt:
      return Ints(function, a.as_int(), b.as_int());
    case ValueKind::kUint:
      return Uints(function, a.as_uint(), b.as_uint());
    case ValueKind::kDouble:
      return Doubles(function, a.as_double(), b.as_double());
    case ValueKind::kString:
    case ValueKind::kBytes:
      return function == Function::kAdd ? ConcatenateBytes(a, b, work)
                                        : NoOverload();
    case ValueKind::kList:
      return function == Function::kAdd ? ConcatenateLists(a, b, work)
                                        : NoOverload();
    default:
      return NoOverload();
  }
}

Value In(const Value& needle, const Value& haystack, Work* work) {
  if (haystack.kind() != ValueKind::kList) return NoOverload();
  for (const Value& item : haystack.as_list()) {
    if (Equal(needle, item, work)) return Value::Bool(true);
  }
  return Value::Bool(false);
}

Value Index(const Value& list, const Value& index) {
  if (list.kind() != ValueKind::kList) return NoOverload();
  uint64_t at;
  switch (index.kind()) {
    case ValueKind::kInt:
      if (index.as_int() < 0) return Fail(ErrorCode::kIndexOutOfRange);
      at = index.as_uint();
      break;
    case ValueKind::kUint:
      at = index.as_uint();
      break;
    case ValueKind::kDouble: {
      const double real = index.as_double();
      if (!(real >= 0 && real < 4294967296.0) || std::floor(real) != real) {
        return Fail(ErrorCode::kIndexOutOfRange);
      }
      at = static_cast<uint64_t>(real);
      break;
    }
    default:
      return NoOverload();
  }
  if (at >= list.size()) return Fail(ErrorCode::kIndexOutOfRange);
  return list.as_list()[at];
}

Value Size(const Value& value, Work* work) {
  switch (value.kind()) {
    case ValueKind::kString:
      work->steps += BytesCost(value.size());
      return Value::Int(CountCharacters(value.as_string()));
    case ValueKind::kBytes:
    case ValueKind::kList:
      return Value::Int(value.size());
    default:
      return NoOverload();
  }
}

Value Parts(Function function, const Value& a, const Value& b, Work* work) {
  if (a.kind() != b.kind() ||
      (a.kind() != ValueKind::kString && a.kind() != ValueKind::kBytes)) {
    return NoOverload();
  }
  const absl::string_view text = a.as_string();
  const absl::string_view part = b.as_string();
  if (function == Function::kContains) {
    work->steps += SearchCost(text.size(), part.size());
    if (part.empty()) return Value::Bool(true);
    if (text.size() < part.size()) return Value::Bool(false);
    return Value::Bool(
        memmem(text.data(), text.size(), part.data(), part.size()) != nullptr);
  }
  work->steps += BytesCost(std::min(text.size(), part.size()));
  return Value::Bool(function == Function::kStartsWith
                         ? absl::StartsWith(text, part)
                         : absl::EndsWith(text, part));
}

Value Segments(const Value& value, Work* work) {
  if (value.kind() != ValueKind::kString) return NoOverload();
  const absl::string_view path = value.as_string();
  work->steps += BytesCost(path.size());
  size_t count = 0;
  for (size_t i = 0; i < path.size(); ++i) {
    if (path[i] != '/' && (i == 0 || path[i - 1] == '/')) ++count;
  }
  if (count > kSegmentsMax) return Fail(ErrorCode::kTooManySegments);
  work->steps += count;
  Value* const made = work->arena->TakeValues(count);
  if (made == nullptr) return Fail(ErrorCode::kScratchExhausted);
  size_t next = 0;
  for (size_t i = 0; i < path.size();) {
    if (path[i] == '/') {
      ++i;
      continue;
    }
    const size_t end = std::min(path.find('/', i), path.size());
    made[next++] = Value::String(path.substr(i, end - i));
    i = end;
  }
  return Value::List({made, count});
}

bool IsUtf8(absl::string_view text) {
  while (text.size() >= sizeof(uint64_t)) {
    uint64_t word;
    std::memcpy(&word, text.data(), sizeof(word));
    if ((word & 0x8080808080808080u) != 0) break;
    text.remove_prefix(sizeof(word));
  }
  return ValidUtf8Prefix(text) == text.size();
}

}  // namespace

int64_t CountCharacters(absl::string_view text) {
  int64_t count = 0;
  while (!text.empty()) {
    size_t bytes = 1;
    if (static_cast<unsigned char>(text.front()) >= 0x80) {
      const auto character = FirstUtf8Character(text);
      if (character.has_value()) bytes = character->bytes;
    }
    text.remove_prefix(bytes);
    ++count;
  }
  return count;
}

bool Equal(const Value& a, const Value& b, Work* work) {
  if (a.kind() != ValueKind::kList || b.kind() != ValueKind::kList) {
    return EqualScalars(a, b, work);
  }
  struct Frame {
    const Value* a;
    const Value* b;
    uint32_t left;
  };
  Frame frames[kNestingMax];
  int depth = 0;
  const auto open = [&](const Value& x, const Value& y) {
    ++work->steps;
    if (x.size() != y.size()) return false;
    CALLGATE_CHECK(depth < kNestingMax, "values nest as their expressions");
    frames[depth++] = {x.as_list().data(), y.as_list().data(), x.size()};
    return true;
  };
  if (!open(a, b)) return false;
  while (depth > 0) {
    Frame& frame = frames[depth - 1];
    if (frame.left == 0) {
      --depth;
      continue;
    }
    const Value& x = *frame.a++;
    const Value& y = *frame.b++;
    --frame.left;
    const bool lists =
        x.kind() == ValueKind::kList && y.kind() == ValueKind::kList;
    if (!(lists ? open(x, y) : EqualScalars(x, y, work))) return false;
  }
  return true;
}

Value Apply(Function function, const Value& a, const Value& b, Work* work) {
  switch (function) {
    case Function::kNot:
      return a.kind() == ValueKind::kBool ? Value::Bool(!a.as_bool())
                                          : NoOverload();
    case Function::kNegate:
      if (a.kind() == ValueKind::kDouble) return Value::Double(-a.as_double());
      return a.kind() == ValueKind::kInt
                 ? Ints(Function::kSubtract, 0, a.as_int())
                 : NoOverload();
    case Function::kAdd:
    case Function::kSubtract:
    case Function::kMultiply:
    case Function::kDivide:
    case Function::kModulo:
    case Function::kBitAnd:
    case Function::kBitOr:
      return Arithmetic(function, a, b, work);
    case Function::kEqual:
      return Value::Bool(Equal(a, b, work));
    case Function::kNotEqual:
      return Value::Bool(!Equal(a, b, work));
    case Function::kLess:
    case Function::kLessEqual:
    case Function::kGreater:
    case Function::kGreaterEqual:
      return Relation(function, a, b, work);
    case Function::kIn:
      return In(a, b, work);
    case Function::kIndex:
      return Index(a, b);
    case Function::kSize:
      return Size(a, work);
    case Function::kStartsWith:
    case Function::kEndsWith:
    case Function::kContains:
      return Parts(function, a, b, work);
    case Function::kSegments:
      return Segments(a, work);
    case Function::kDyn:
      return a;
    case Function::kNone:
    case Function::kMatches:
    case Function::kDuration:
    case Function::kIp:
    case Function::kNamedList:
    case Function::kHas:
      break;
  }
  CALLGATE_CHECK(false, "the compiler replaced this function");
  return NoOverload();
}

Value MakeList(const Value* items, uint32_t count, Work* work) {
  work->steps += count;
  Value* const made = work->arena->TakeValues(count);
  if (made == nullptr) return Fail(ErrorCode::kScratchExhausted);
  std::copy_n(items, count, made);
  return Value::List({made, count});
}

Value InGlobs(const Value& text, const GlobList& list, Work* work) {
  if (text.kind() != ValueKind::kString) return NoOverload();
  work->steps += GlobsCost(list.size(), list.words(), text.size());
  return Value::Bool(list.Matches(text.as_string()));
}

Value InNetworks(const Value& address, const CidrList& list, Work* work) {
  work->steps += kNetworksCost;
  std::optional<IpKey> key;
  if (address.kind() == ValueKind::kIp) {
    key = IpKeyFromBytes(address.as_string());
  } else if (address.kind() == ValueKind::kString) {
    key = IpKeyFromText(address.as_string());
  } else {
    return NoOverload();
  }
  if (!key.has_value()) return Fail(ErrorCode::kNotAnAddress);
  return Value::Bool(list.Contains(*key));
}

Value FoundIn(const Value& text, const PatternList& list, Work* work) {
  const bool is_bytes = text.kind() == ValueKind::kBytes;
  if (!is_bytes && text.kind() != ValueKind::kString) return NoOverload();
  work->steps += PatternsCost(list.size(), text.size());
  if (!is_bytes && !IsUtf8(text.as_string())) {
    return Fail(ErrorCode::kNotUtf8);
  }
  return Value::Bool(list.FoundIn(text.as_string(), is_bytes));
}

}  // namespace callgate::policy::expression
