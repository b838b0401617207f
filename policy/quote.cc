#include "policy/quote.h"

#include <cstdint>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace callgate::policy {
namespace {

bool MustEscape(char32_t c) {
  if (c < 0x20 || (c >= 0x7f && c <= 0x9f)) return true;
  if (c == '"' || c == '\\') return true;
  if (c == 0xad || c == 0x61c || c == 0x180e) return true;
  // Zero-width characters and marks of direction, line separators, embeddings,
  // and the invisible operators and isolates.
  if (c >= 0x200b && c <= 0x200f) return true;
  if (c >= 0x2028 && c <= 0x202e) return true;
  if (c >= 0x2060 && c <= 0x206f) return true;
  if (c == 0xfeff || (c >= 0xfff9 && c <= 0xfffb)) return true;
  // Tags: a copy of ASCII that is not shown.
  return c >= 0xe0000 && c <= 0xe007f;
}

}  // namespace

std::optional<Utf8Character> FirstUtf8Character(absl::string_view text) {
  if (text.empty()) return std::nullopt;
  const auto byte = [&](size_t i) {
    return static_cast<uint32_t>(static_cast<unsigned char>(text[i]));
  };
  const uint32_t first = byte(0);
  if (first < 0x80) return Utf8Character{first, 1};
  size_t length;
  uint32_t code;
  uint32_t least;  // anything below has a shorter form
  if (first >= 0xc2 && first <= 0xdf) {
    length = 2, code = first & 0x1f, least = 0x80;
  } else if (first >= 0xe0 && first <= 0xef) {
    length = 3, code = first & 0x0f, least = 0x800;
  } else if (first >= 0xf0 && first <= 0xf4) {
    length = 4, code = first & 0x07, least = 0x10000;
  } else {
    return std::nullopt;
  }
  if (text.size() < length) return std::nullopt;
  for (size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xc0) != 0x80) return std::nullopt;
    code = code << 6 | (byte(i) & 0x3f);
  }
  if (code < least || code > 0x10ffff) return std::nullopt;
  if (code >= 0xd800 && code <= 0xdfff) return std::nullopt;
  return Utf8Character{code, length};
}

size_t ValidUtf8Prefix(absl::string_view text) {
  size_t at = 0;
  while (at < text.size()) {
    const auto c = FirstUtf8Character(text.substr(at));
    if (!c) break;
    at += c->bytes;
  }
  return at;
}

std::string EscapeText(absl::string_view text) {
  std::string out;
  out.reserve(text.size());
  while (!text.empty()) {
    const auto c = FirstUtf8Character(text);
    if (!c) {
      out += "\\u{fffd}";
      text.remove_prefix(1);
      continue;
    }
    if (!MustEscape(c->code)) {
      out.append(text.data(), c->bytes);
    } else if (c->code == '"' || c->code == '\\') {
      out += '\\';
      out += text[0];
    } else if (c->code == '\n') {
      out += "\\n";
    } else if (c->code == '\r') {
      out += "\\r";
    } else if (c->code == '\t') {
      out += "\\t";
    } else {
      absl::StrAppendFormat(&out, "\\u{%x}", static_cast<uint32_t>(c->code));
    }
    text.remove_prefix(c->bytes);
  }
  return out;
}

std::string Quote(absl::string_view text, size_t bytes_max) {
  if (text.size() <= bytes_max)
    return absl::StrCat("\"", EscapeText(text), "\"");
  // Not through the middle of a character.
  size_t cut = bytes_max;
  while (cut > 0 && (static_cast<unsigned char>(text[cut]) & 0xc0) == 0x80) {
    --cut;
  }
  return absl::StrCat("\"", EscapeText(text.substr(0, cut)), "\"…");
}

}  // namespace callgate::policy
