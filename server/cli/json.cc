#include "server/cli/json.h"

#include <cmath>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"

namespace callgate::cli {
namespace {

// One code point at the front of `bytes`, or length 0 if there is none.
struct CodePoint {
  uint32_t value = 0;
  size_t length = 0;
};

CodePoint Decode(absl::string_view bytes) {
  const auto byte = [&](size_t i) -> uint32_t {
    return static_cast<unsigned char>(bytes[i]);
  };
  const uint32_t first = byte(0);
  if (first < 0x80) return {first, 1};
  size_t length = 0;
  uint32_t value = 0;
  uint32_t least = 0;
  if ((first & 0xe0) == 0xc0) {
    length = 2, value = first & 0x1f, least = 0x80;
  } else if ((first & 0xf0) == 0xe0) {
    length = 3, value = first & 0x0f, least = 0x800;
  } else if ((first & 0xf8) == 0xf0) {
    length = 4, value = first & 0x07, least = 0x10000;
  } else {
    return {};
  }
  if (bytes.size() < length) return {};
  for (size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xc0) != 0x80) return {};
    value = value << 6 | (byte(i) & 0x3f);
  }
  const bool surrogate = value >= 0xd800 && value <= 0xdfff;
  if (value < least || value > 0x10ffff || surrogate) return {};
  return {value, length};
}

// Controls, line separators and the marks that reorder text: shown as codes,
// because JSON is read in terminals too.
bool ShownAsCode(uint32_t c) {
  return c < 0x20 || (c >= 0x7f && c < 0xa0) || c == 0x061c ||
         (c >= 0x200b && c <= 0x200f) || (c >= 0x2028 && c <= 0x202e) ||
         (c >= 0x2060 && c <= 0x206f) || c == 0xfeff;
}

}  // namespace

std::string JsonString(absl::string_view bytes) {
  std::string json = "\"";
  while (!bytes.empty()) {
    const CodePoint c = Decode(bytes);
    if (c.length == 0) {
      absl::StrAppend(&json, "\xef\xbf\xbd");
      bytes.remove_prefix(1);
      continue;
    }
    if (c.value == '"' || c.value == '\\') {
      json.push_back('\\');
      json.push_back(static_cast<char>(c.value));
    } else if (c.value == '\n') {
      absl::StrAppend(&json, "\\n");
    } else if (c.value == '\t') {
      absl::StrAppend(&json, "\\t");
    } else if (ShownAsCode(c.value)) {
      absl::StrAppendFormat(&json, "\\u%04x", c.value);
    } else {
      absl::StrAppend(&json, bytes.substr(0, c.length));
    }
    bytes.remove_prefix(c.length);
  }
  json.push_back('"');
  return json;
}

bool IsUtf8(absl::string_view bytes) {
  while (!bytes.empty()) {
    const CodePoint c = Decode(bytes);
    if (c.length == 0) return false;
    bytes.remove_prefix(c.length);
  }
  return true;
}

JsonObject& JsonObject::Raw(absl::string_view key, absl::string_view json) {
  absl::StrAppend(&members_, members_.empty() ? "" : ",", JsonString(key), ":",
                  json);
  return *this;
}

JsonObject& JsonObject::Text(absl::string_view key, absl::string_view value) {
  return Raw(key, JsonString(value));
}

JsonObject& JsonObject::Number(absl::string_view key, int64_t value) {
  return Raw(key, absl::StrCat(value));
}

JsonObject& JsonObject::Unsigned(absl::string_view key, uint64_t value) {
  return Raw(key, absl::StrCat(value));
}

JsonObject& JsonObject::Real(absl::string_view key, double value) {
  // JSON has no other numbers than finite ones.
  return Raw(key,
             std::isfinite(value) ? absl::StrFormat("%.9g", value) : "null");
}

JsonObject& JsonObject::Bool(absl::string_view key, bool value) {
  return Raw(key, value ? "true" : "false");
}

std::string JsonObject::ToString() const {
  return absl::StrCat("{", members_, "}");
}

std::string JsonArray(const std::vector<std::string>& values) {
  return absl::StrCat("[", absl::StrJoin(values, ","), "]");
}

}  // namespace callgate::cli
