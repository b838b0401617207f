#include "policy/expression/reserved_words.h"

namespace callgate::policy::expression {
namespace {

constexpr absl::string_view kReserved[] = {
    "as",        "break",  "const",  "continue", "else",  "for",
    "function",  "if",     "import", "let",      "loop",  "package",
    "namespace", "return", "var",    "void",     "while",
};

struct Unsupported {
  absl::string_view word;
  absl::string_view feature;
};

constexpr absl::string_view kConversion = "type conversion";
constexpr absl::string_view kTimeParts = "parts of a time";
constexpr absl::string_view kMath = "math function";
constexpr absl::string_view kStrings = "string function";
constexpr absl::string_view kExtension = "extension function";
constexpr absl::string_view kOptional = "optional value";

constexpr Unsupported kUnsupported[] = {
    {"int", kConversion},
    {"uint", kConversion},
    {"double", kConversion},
    {"string", kConversion},
    {"bytes", kConversion},
    {"bool", kConversion},
    {"type", "type value"},
    {"timestamp", "timestamp from text"},
    {"map", "macro that makes a list"},
    {"filter", "macro that makes a list"},
    {"existsOne", "macro with another name"},
    {"transformList", "macro that makes a list"},
    {"transformMap", "map"},
    {"getFullYear", kTimeParts},
    {"getMonth", kTimeParts},
    {"getDate", kTimeParts},
    {"getDayOfMonth", kTimeParts},
    {"getDayOfWeek", kTimeParts},
    {"getDayOfYear", kTimeParts},
    {"getHours", kTimeParts},
    {"getMinutes", kTimeParts},
    {"getSeconds", kTimeParts},
    {"getMilliseconds", kTimeParts},
    {"bitXor", kMath},
    {"bitNot", kMath},
    {"bitShiftLeft", kMath},
    {"bitShiftRight", kMath},
    {"greatest", kMath},
    {"least", kMath},
    {"abs", kMath},
    {"sign", kMath},
    {"ceil", kMath},
    {"floor", kMath},
    {"round", kMath},
    {"trunc", kMath},
    {"isNaN", kMath},
    {"isInf", kMath},
    {"isFinite", kMath},
    {"charAt", kStrings},
    {"indexOf", kStrings},
    {"lastIndexOf", kStrings},
    {"lowerAscii", kStrings},
    {"upperAscii", kStrings},
    {"replace", kStrings},
    {"split", kStrings},
    {"join", kStrings},
    {"substring", kStrings},
    {"trim", kStrings},
    {"format", kStrings},
    {"reverse", kStrings},
    {"isIP", kExtension},
    {"isCanonical", kExtension},
    {"family", kExtension},
    {"isUnspecified", kExtension},
    {"isLoopback", kExtension},
    {"isGlobalUnicast", kExtension},
    {"isLinkLocalMulticast", kExtension},
    {"isLinkLocalUnicast", kExtension},
    {"isCIDR", kExtension},
    {"cidr", kExtension},
    {"containsIP", kExtension},
    {"containsCIDR", kExtension},
    {"masked", kExtension},
    {"prefixLength", kExtension},
    {"hasValue", kOptional},
    {"orValue", kOptional},
    {"or", kOptional},
    {"optMap", kOptional},
    {"optFlatMap", kOptional},
};

}  // namespace

bool IsLiteralWord(absl::string_view word) {
  return word == "true" || word == "false" || word == "null" || word == "in";
}

bool IsReservedWord(absl::string_view word) {
  for (const absl::string_view reserved : kReserved) {
    if (word == reserved) return true;
  }
  return false;
}

absl::string_view UnsupportedFunction(absl::string_view word) {
  for (const Unsupported& unsupported : kUnsupported) {
    if (word == unsupported.word) return unsupported.feature;
  }
  return "";
}

}  // namespace callgate::policy::expression
