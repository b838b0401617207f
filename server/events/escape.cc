#include "server/events/escape.h"

#include <cstdint>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "policy/quote.h"

namespace callgate::events {
namespace {

bool IsControl(char32_t code) {
  return code < 0x20 || (code >= 0x7f && code < 0xa0);
}

// Not seen itself, but changes what is seen around it.
bool IsInvisible(char32_t code) {
  struct Range {
    char32_t first;
    char32_t last;
  };
  constexpr Range kRanges[] = {
      {0x00ad, 0x00ad},    // soft hyphen
      {0x034f, 0x034f},    // grapheme joiner
      {0x061c, 0x061c},    // Arabic letter mark
      {0x115f, 0x1160},    // Hangul fillers
      {0x17b4, 0x17b5},    // Khmer inherent vowels
      {0x180b, 0x180f},    // Mongolian selectors and separator
      {0x200b, 0x200f},    // zero width, and marks of direction
      {0x2028, 0x202e},    // line separators, embeddings, overrides
      {0x2060, 0x206f},    // invisible operators, isolates
      {0x3164, 0x3164},    // Hangul filler
      {0xfe00, 0xfe0f},    // variation selectors
      {0xfeff, 0xfeff},    // byte order mark
      {0xffa0, 0xffa0},    // Hangul filler, half width
      {0xfff0, 0xfffb},    // unassigned and interlinear marks
      {0xe0000, 0xe0fff},  // tags and variation selectors
  };
  for (const Range& range : kRanges) {
    if (code >= range.first && code <= range.last) return true;
  }
  return false;
}

bool IsShown(char32_t code) { return !IsControl(code) && !IsInvisible(code); }

// The next piece of output, and how much of `text` it stands for.
struct Piece {
  std::string shown;
  size_t bytes = 1;
};

Piece FirstPiece(absl::string_view text) {
  const uint32_t byte = static_cast<uint8_t>(text[0]);
  const auto character = policy::FirstUtf8Character(text);
  if (!character.has_value() || (byte < 0x80 && IsControl(byte))) {
    return {absl::StrFormat("\\x%02x", byte), 1};
  }
  if (!IsShown(character->code)) {
    return {absl::StrFormat("\\u{%x}", uint32_t{character->code}),
            character->bytes};
  }
  return {std::string(text.substr(0, character->bytes)), character->bytes};
}

}  // namespace

bool IsPlainText(absl::string_view text) {
  // Nearly all text is this.
  while (!text.empty() && text[0] >= 0x20 && text[0] < 0x7f) {
    text.remove_prefix(1);
  }
  while (!text.empty()) {
    const auto character = policy::FirstUtf8Character(text);
    if (!character.has_value() || !IsShown(character->code)) return false;
    text.remove_prefix(character->bytes);
  }
  return true;
}

std::string EscapeText(absl::string_view text) {
  if (IsPlainText(text)) return std::string(text);
  std::string shown;
  while (!text.empty()) {
    const Piece piece = FirstPiece(text);
    shown += piece.shown;
    text.remove_prefix(piece.bytes);
  }
  return shown;
}

std::string EscapeText(absl::string_view text, size_t bytes_max) {
  constexpr absl::string_view kCut = "...";
  if (text.size() <= bytes_max && IsPlainText(text)) return std::string(text);
  std::string shown;
  // Where to go back to if the rest does not fit.
  size_t whole_bytes = 0;
  while (!text.empty()) {
    const Piece piece = FirstPiece(text);
    if (shown.size() + piece.shown.size() > bytes_max) {
      shown.resize(whole_bytes);
      if (bytes_max >= kCut.size()) absl::StrAppend(&shown, kCut);
      return shown;
    }
    shown += piece.shown;
    text.remove_prefix(piece.bytes);
    if (shown.size() + kCut.size() <= bytes_max) whole_bytes = shown.size();
  }
  return shown;
}

std::string JsonString(absl::string_view text) {
  // What JSON itself forbids in a string is a code already, except for these.
  std::string json = "\"";
  for (const char c : EscapeText(text)) {
    if (c == '"' || c == '\\') json += '\\';
    json += c;
  }
  json += '"';
  return json;
}

}  // namespace callgate::events
