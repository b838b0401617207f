#include "policy/expression/value.h"

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "policy/expression/ip_address.h"
#include "policy/quote.h"

namespace callgate::policy::expression {
namespace {

constexpr size_t kShownBytesMax = 200;

std::string ScalarText(const Value& value) {
  switch (value.kind()) {
    case ValueKind::kAbsent:
      return "absent";
    case ValueKind::kLazy:
      return "lazy";
    case ValueKind::kError:
      return absl::StrCat("error: ", ErrorText(value.error()));
    case ValueKind::kNull:
      return "null";
    case ValueKind::kBool:
      return value.as_bool() ? "true" : "false";
    case ValueKind::kInt:
      return absl::StrCat(value.as_int());
    case ValueKind::kUint:
      return absl::StrCat(value.as_uint(), "u");
    case ValueKind::kDouble:
      return absl::StrCat(value.as_double());
    case ValueKind::kDuration:
      return absl::FormatDuration(absl::Nanoseconds(value.as_int()));
    case ValueKind::kTimestamp:
      return absl::FormatTime(absl::FromUnixNanos(value.as_int()),
                              absl::UTCTimeZone());
    case ValueKind::kString:
      return Quote(value.as_string());
    case ValueKind::kBytes:
      return absl::StrCat("b", Quote(value.as_string()));
    case ValueKind::kIp:
      return IpText(value.as_string());
    case ValueKind::kList:
      return "[]";
  }
  return "?";
}

}  // namespace

absl::string_view ErrorText(ErrorCode code) {
  switch (code) {
    case ErrorCode::kOverflow:
      return "integer overflow";
    case ErrorCode::kDivideByZero:
      return "division by zero";
    case ErrorCode::kModulusByZero:
      return "modulus by zero";
    case ErrorCode::kNoSuchOverload:
      return "no such overload: the operator does not take this type of value";
    case ErrorCode::kIndexOutOfRange:
      return "index out of range";
    case ErrorCode::kAbsentFact:
      return "this call does not have the fact";
    case ErrorCode::kNotUtf8:
      return "the string is not UTF-8";
    case ErrorCode::kTooManySegments:
      return "the path has too many segments";
    case ErrorCode::kScratchExhausted:
      return "strings and lists made on the way exceed the scratch memory";
    case ErrorCode::kBadFact:
      return "a fact is not of its declared type";
    case ErrorCode::kNotAnAddress:
      return "the string is not an IP address";
  }
  return "unknown error";
}

std::string Value::ToString() const {
  if (kind_ != ValueKind::kList) return ScalarText(*this);
  // Lists nest as deeply as an expression may; a stack of what is left.
  std::string text = "[";
  std::vector<absl::Span<const Value>> open = {as_list()};
  bool first = true;
  while (!open.empty()) {
    if (text.size() > kShownBytesMax) return text + "…";
    absl::Span<const Value>& rest = open.back();
    if (rest.empty()) {
      open.pop_back();
      text += "]";
      first = false;
      continue;
    }
    const Value next = rest.front();
    rest.remove_prefix(1);
    if (!first) text += ", ";
    first = false;
    if (next.kind() == ValueKind::kList) {
      text += "[";
      open.push_back(next.as_list());
      first = true;
    } else {
      text += ScalarText(next);
    }
  }
  return text;
}

}  // namespace callgate::policy::expression
