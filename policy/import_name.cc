#include "policy/import_name.h"

#include <cstdint>
#include <optional>

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "policy/quote.h"

namespace callgate::policy {
namespace {

constexpr char kForm[] =
    "write module.name, or \"module\".\"name\" with both in double quotes";

// Characters that stand for themselves outside quotes.
bool IsPlain(char c) {
  return absl::ascii_isgraph(static_cast<unsigned char>(c)) && c != '"' &&
         c != '\\' && c != '*';
}

bool IsPlain(absl::string_view text) {
  for (const char c : text) {
    if (!IsPlain(c)) return false;
  }
  return !text.empty();
}

void AppendUtf8(char32_t c, std::string* out) {
  const auto put = [out](char32_t byte) {
    out->push_back(static_cast<char>(static_cast<unsigned char>(byte)));
  };
  if (c < 0x80) {
    put(c);
  } else if (c < 0x800) {
    put(0xc0 | c >> 6), put(0x80 | (c & 0x3f));
  } else if (c < 0x10000) {
    put(0xe0 | c >> 12), put(0x80 | (c >> 6 & 0x3f)), put(0x80 | (c & 0x3f));
  } else {
    put(0xf0 | c >> 18), put(0x80 | (c >> 12 & 0x3f));
    put(0x80 | (c >> 6 & 0x3f)), put(0x80 | (c & 0x3f));
  }
}

// Reads `{…}` after `\u`.
bool TakeCodePoint(absl::string_view* text, std::string* out) {
  if (text->empty() || text->front() != '{') return false;
  const size_t close = text->find('}');
  if (close == absl::string_view::npos || close < 2 || close > 7) return false;
  char32_t code = 0;
  for (const char c : text->substr(1, close - 1)) {
    if (!absl::ascii_isxdigit(static_cast<unsigned char>(c))) return false;
    const char lower = absl::ascii_tolower(static_cast<unsigned char>(c));
    const int digit = lower >= 'a' ? lower - 'a' + 10 : lower - '0';
    code = code * 16 + static_cast<char32_t>(digit);
  }
  if (code > 0x10ffff || (code >= 0xd800 && code <= 0xdfff)) return false;
  AppendUtf8(code, out);
  text->remove_prefix(close + 1);
  return true;
}

// Reads a quoted name off the front of `text`.
std::optional<std::string> TakeQuoted(absl::string_view* text) {
  if (text->empty() || text->front() != '"') return std::nullopt;
  text->remove_prefix(1);
  std::string name;
  while (!text->empty()) {
    const char c = text->front();
    text->remove_prefix(1);
    if (c == '"') return name;
    if (c != '\\') {
      name += c;
      continue;
    }
    if (text->empty()) return std::nullopt;
    const char escape = text->front();
    text->remove_prefix(1);
    switch (escape) {
      case '"':
      case '\\':
        name += escape;
        break;
      case 'n':
        name += '\n';
        break;
      case 'r':
        name += '\r';
        break;
      case 't':
        name += '\t';
        break;
      case 'u':
        if (!TakeCodePoint(text, &name)) return std::nullopt;
        break;
      default:
        return std::nullopt;
    }
  }
  return std::nullopt;
}

}  // namespace

absl::StatusOr<ImportName> ParseImportName(absl::string_view text) {
  const auto bad = [&](absl::string_view why) {
    return absl::InvalidArgumentError(
        absl::StrCat(Quote(text), " ", why, "; ", kForm));
  };
  if (text.empty()) return bad("names no import");
  if (ValidUtf8Prefix(text) != text.size()) return bad("is not UTF-8");
  if (text.front() == '"') {
    absl::string_view rest = text;
    std::optional<std::string> module = TakeQuoted(&rest);
    if (!module) return bad("has a bad quoted module name");
    if (rest.empty() || rest.front() != '.') {
      return bad("has no dot after the quoted module name");
    }
    rest.remove_prefix(1);
    std::optional<std::string> name = TakeQuoted(&rest);
    if (!name) return bad("has a bad quoted function name");
    if (!rest.empty()) return bad("goes on after the quoted function name");
    return ImportName{*std::move(module), *std::move(name)};
  }
  const size_t dot = text.find('.');
  if (dot == absl::string_view::npos) return bad("has no dot");
  const absl::string_view module = text.substr(0, dot);
  const absl::string_view name = text.substr(dot + 1);
  if (module.empty()) return bad("has an empty module name");
  if (name.empty()) return bad("has an empty function name");
  if (text.find('*') != absl::string_view::npos) {
    return bad(
        "has a wildcard, and power is given import by import: name each, or "
        "quote a name that really has a * in it");
  }
  if (!IsPlain(module) || !IsPlain(name)) {
    return bad("has a character that must stand in quotes");
  }
  return ImportName{std::string(module), std::string(name)};
}

std::string FormatImportName(absl::string_view module, absl::string_view name) {
  if (IsPlain(module) && IsPlain(name) &&
      module.find('.') == absl::string_view::npos) {
    return absl::StrCat(module, ".", name);
  }
  return absl::StrCat("\"", EscapeText(module), "\".\"", EscapeText(name),
                      "\"");
}

}  // namespace callgate::policy
