#include "server/cli/values.h"

#include <charconv>
#include <cmath>
#include <limits>
#include <system_error>

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/strip.h"
#include "server/cli/quoted.h"

namespace callgate::cli {
namespace {

absl::Status Wrong(absl::string_view text, absl::string_view why) {
  return absl::InvalidArgumentError(
      absl::StrCat("argument ", Quoted(text), ": ", why));
}

// The digits of an integer behind its sign and 0x.
struct Digits {
  bool negative = false;
  uint64_t magnitude = 0;
};

std::optional<Digits> ParseDigits(absl::string_view text) {
  Digits digits;
  if (absl::ConsumePrefix(&text, "-")) {
    digits.negative = true;
  } else {
    absl::ConsumePrefix(&text, "+");
  }
  const int base = absl::ConsumePrefix(&text, "0x") ? 16 : 10;
  if (text.empty()) return std::nullopt;
  const char* const end = text.data() + text.size();
  const auto [stop, error] =
      std::from_chars(text.data(), end, digits.magnitude, base);
  if (error != std::errc() || stop != end) return std::nullopt;
  return digits;
}

// Within the signed or the unsigned range of `bits`, as two's complement.
std::optional<uint64_t> ParseInteger(absl::string_view text, int bits) {
  const std::optional<Digits> digits = ParseDigits(text);
  if (!digits.has_value()) return std::nullopt;
  const uint64_t sign = uint64_t{1} << (bits - 1);
  const uint64_t mask = sign | (sign - 1);
  if (digits->negative) {
    if (digits->magnitude > sign) return std::nullopt;
    return (~digits->magnitude + 1) & mask;
  }
  if (digits->magnitude > mask) return std::nullopt;
  return digits->magnitude;
}

// Decimal, 0x-hexadecimal, inf or nan. A number too large for the type is
// refused rather than turned into infinity; one too small becomes zero.
template <typename Float>
std::optional<Float> ParseFloat(absl::string_view text) {
  const bool negative = absl::ConsumePrefix(&text, "-");
  if (!negative) absl::ConsumePrefix(&text, "+");
  // One sign only, and no "infinity" written at length.
  if (text.empty() || text[0] == '-' || text[0] == '+') return std::nullopt;
  Float value = 0;
  if (text == "inf") {
    value = std::numeric_limits<Float>::infinity();
  } else if (text == "nan") {
    value = std::numeric_limits<Float>::quiet_NaN();
  } else {
    const std::chars_format format = absl::ConsumePrefix(&text, "0x")
                                         ? std::chars_format::hex
                                         : std::chars_format::general;
    if (text.empty() ||
        (format == std::chars_format::general &&
         !absl::ascii_isdigit(static_cast<unsigned char>(text[0])) &&
         text[0] != '.')) {
      return std::nullopt;
    }
    const char* const end = text.data() + text.size();
    const auto [stop, error] = std::from_chars(text.data(), end, value, format);
    if (stop != end) return std::nullopt;
    if (error == std::errc::result_out_of_range) {
      // from_chars says the same for too large and too small.
      double wide = 0;
      const std::string copy(text);
      if (!absl::SimpleAtod(copy, &wide) || std::fabs(wide) > 1) {
        return std::nullopt;
      }
      value = 0;
    } else if (error != std::errc()) {
      return std::nullopt;
    }
  }
  return negative ? -value : value;
}

absl::StatusOr<Value> ParseV128(absl::string_view text,
                                absl::string_view digits) {
  absl::ConsumePrefix(&digits, "0x");
  V128 v;
  if (digits.size() != 2 * v.bytes.size()) {
    return Wrong(text, absl::StrCat("a v128 has 32 hexadecimal digits, found ",
                                    digits.size()));
  }
  const absl::StatusOr<std::string> bytes = ParseHex(digits);
  if (!bytes.ok()) return Wrong(text, bytes.status().message());
  for (size_t i = 0; i < v.bytes.size(); ++i) {
    v.bytes[v.bytes.size() - 1 - i] = static_cast<uint8_t>((*bytes)[i]);
  }
  return Value::Vector(v);
}

template <typename Float>
std::string ShortestText(Float value) {
  if (std::isnan(value)) return std::signbit(value) ? "-nan" : "nan";
  if (std::isinf(value)) return value < 0 ? "-inf" : "inf";
  char buffer[64];
  const auto [end, error] =
      std::to_chars(buffer, buffer + sizeof(buffer), value);
  if (error != std::errc()) return absl::StrCat(value);
  return std::string(buffer, end);
}

}  // namespace

std::optional<ValType> ValTypeFromName(absl::string_view name) {
  for (const ValType type :
       {ValType::kI32, ValType::kI64, ValType::kF32, ValType::kF64,
        ValType::kV128, ValType::kFuncRef, ValType::kExternRef}) {
    if (ValTypeName(type) == name) return type;
  }
  return std::nullopt;
}

bool HasTypePrefix(absl::string_view text) {
  return text.find(':') != absl::string_view::npos;
}

absl::StatusOr<Value> ParseValue(absl::string_view text,
                                 std::optional<ValType> type) {
  absl::string_view digits = text;
  bool as_bits = false;
  const size_t colon = text.find(':');
  if (colon != absl::string_view::npos) {
    absl::string_view name = text.substr(0, colon);
    digits = text.substr(colon + 1);
    as_bits = absl::StartsWith(name, "f") && absl::ConsumeSuffix(&name, "bits");
    const std::optional<ValType> written = ValTypeFromName(name);
    if (!written.has_value()) {
      return Wrong(text,
                   "unknown type; types are i32, i64, f32, f64, f32bits, "
                   "f64bits, v128, funcref and externref");
    }
    if (type.has_value() && *type != *written) {
      return Wrong(text, absl::StrCat("the function takes type ",
                                      ValTypeName(*type), " here"));
    }
    type = written;
  }
  if (!type.has_value()) {
    return Wrong(text,
                 "the function's type is not known here; write the argument's "
                 "own type before it, such as i32:7");
  }
  switch (*type) {
    case ValType::kI32:
      if (const auto bits = ParseInteger(digits, 32)) {
        return Value::I32(static_cast<uint32_t>(*bits));
      }
      return Wrong(text,
                   "an i32 is a whole number from -2147483648 to 4294967295, "
                   "decimal or 0x-hexadecimal");
    case ValType::kI64:
      if (const auto bits = ParseInteger(digits, 64)) {
        return Value::I64(*bits);
      }
      return Wrong(text,
                   "an i64 is a whole number from -9223372036854775808 to "
                   "18446744073709551615, decimal or 0x-hexadecimal");
    case ValType::kF32:
      if (as_bits) {
        if (const auto bits = ParseInteger(digits, 32)) {
          return Value(ValType::kF32,
                       RawValue::I32(static_cast<uint32_t>(*bits)));
        }
        return Wrong(text, "f32bits takes a number of at most 32 bits");
      }
      if (const auto number = ParseFloat<float>(digits)) {
        return Value::F32(*number);
      }
      return Wrong(text,
                   "an f32 is a number such as 0.5 or 1e-3, inf or nan, within "
                   "the range of the type");
    case ValType::kF64:
      if (as_bits) {
        if (const auto bits = ParseInteger(digits, 64)) {
          return Value(ValType::kF64, RawValue::I64(*bits));
        }
        return Wrong(text, "f64bits takes a number of at most 64 bits");
      }
      if (const auto number = ParseFloat<double>(digits)) {
        return Value::F64(*number);
      }
      return Wrong(text,
                   "an f64 is a number such as 0.5 or 1e-3, inf or nan, within "
                   "the range of the type");
    case ValType::kV128:
      return ParseV128(text, digits);
    case ValType::kFuncRef:
      if (digits == "null") return Value::NullFuncRef();
      return Wrong(text, "the only funcref that can be written is null");
    case ValType::kExternRef: {
      if (digits == "null") return Value::NullExternRef();
      const auto handle = ParseInteger(digits, 64);
      if (handle.has_value() && !absl::StartsWith(digits, "-")) {
        return Value::ExternRef(*handle);
      }
      return Wrong(text, "an externref is null or the number of a handle");
    }
  }
  return Wrong(text, "unknown type");
}

absl::StatusOr<std::vector<Value>> ParseValues(
    absl::Span<const std::string> texts,
    const std::optional<std::vector<ValType>>& params) {
  if (params.has_value() && params->size() != texts.size()) {
    const FuncType type{*params, {}};
    std::string wanted = type.ToString();
    wanted.resize(wanted.find(')') + 1);
    return absl::InvalidArgumentError(absl::StrCat(
        "the function takes ", params->size(), " argument",
        params->size() == 1 ? "" : "s", " ", wanted, ", found ", texts.size()));
  }
  std::vector<Value> values;
  for (size_t i = 0; i < texts.size(); ++i) {
    absl::StatusOr<Value> value = ParseValue(
        texts[i], params.has_value() ? std::optional<ValType>((*params)[i])
                                     : std::nullopt);
    if (!value.ok()) return value.status();
    values.push_back(*value);
  }
  return values;
}

std::string PlainText(const Value& value) {
  switch (value.type()) {
    case ValType::kI32:
      return absl::StrCat(value.i32());
    case ValType::kI64:
      return absl::StrCat(value.i64());
    case ValType::kF32:
      return ShortestText(value.f32());
    case ValType::kF64:
      return ShortestText(value.f64());
    case ValType::kV128:
      return BitsText(value);
    case ValType::kFuncRef:
    case ValType::kExternRef:
      return value.raw().ref() == kNullRef ? "null"
                                           : absl::StrCat(value.raw().ref());
  }
  return "unknown";
}

std::string BitsText(const Value& value) {
  switch (value.type()) {
    case ValType::kI32:
    case ValType::kF32:
      return absl::StrFormat("0x%08x", value.raw().u32());
    case ValType::kI64:
    case ValType::kF64:
    case ValType::kFuncRef:
    case ValType::kExternRef:
      return absl::StrFormat("0x%016x", value.raw().u64());
    case ValType::kV128: {
      std::string text = "0x";
      const V128 v = value.v128();
      for (size_t i = v.bytes.size(); i-- > 0;) {
        absl::StrAppendFormat(&text, "%02x", v.bytes[i]);
      }
      return text;
    }
  }
  return "unknown";
}

absl::StatusOr<uint64_t> ParseUnsigned(absl::string_view text,
                                       absl::string_view name) {
  const std::optional<Digits> digits = ParseDigits(text);
  if (!digits.has_value() || digits->negative) {
    return absl::InvalidArgumentError(
        absl::StrCat(name, " ", Quoted(text),
                     " is not a number; write it decimal or 0x-hexadecimal"));
  }
  return digits->magnitude;
}

absl::StatusOr<std::string> ParseHex(absl::string_view text) {
  absl::ConsumePrefix(&text, "0x");
  std::string digits;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (absl::ascii_isspace(byte)) continue;
    if (!absl::ascii_isxdigit(byte)) {
      return absl::InvalidArgumentError(absl::StrCat(
          Quoted(std::string(1, c)), " is not a hexadecimal digit"));
    }
    digits.push_back(c);
  }
  if (digits.size() % 2 != 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("hexadecimal bytes have two digits each, found ",
                     digits.size(), " digits in all"));
  }
  return absl::HexStringToBytes(digits);
}

}  // namespace callgate::cli
