#include "server/events/escape.h"

#include <cstdint>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace callgate::events {
namespace {

// One character of UTF-8: its length in bytes, 0 if the text does not begin
// with one.
struct Character {
  uint32_t code = 0;
  size_t bytes = 0;
};

uint32_t ByteAt(absl::string_view text, size_t at) {
  return static_cast<uint8_t>(text[at]);
}

// `text` is not empty. Takes the shortest form only, no surrogates, nothing
// past U+10FFFF.
Character FirstCharacter(absl::string_view text) {
  const uint32_t first = ByteAt(text, 0);
  if (first < 0x80) return {first, 1};
  size_t bytes = 0;
  uint32_t code = 0;
  uint32_t least = 0;
  if (first >= 0xc0 && first < 0xe0) {
    bytes = 2, code = first & 0x1f, least = 0x80;
  } else if (first >= 0xe0 && first < 0xf0) {
    bytes = 3, code = first & 0x0f, least = 0x800;
  } else if (first >= 0xf0 && first < 0xf8) {
    bytes = 4, code = first & 0x07, least = 0x10000;
  } else {
    return {};
  }
  if (text.size() < bytes) return {};
  for (size_t i = 1; i < bytes; ++i) {
    const uint32_t next = ByteAt(text, i);
    if ((next & 0xc0) != 0x80) return {};
    code = code << 6 | (next & 0x3f);
  }
  if (code < least || code > 0x10ffff) return {};
  if (code >= 0xd800 && code <= 0xdfff) return {};
  return {code, bytes};
}

bool IsControl(uint32_t code) {
  return code < 0x20 || (code >= 0x7f && code < 0xa0);
}

// Not seen itself, but changes what is seen around it.
bool IsInvisible(uint32_t code) {
  struct Range {
    uint32_t first;
    uint32_t last;
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

// The next piece of output, and how much of `text` it stands for.
struct Piece {
  std::string shown;
  size_t bytes = 1;
};

Piece FirstPiece(absl::string_view text) {
  const Character character = FirstCharacter(text);
  if (character.bytes == 0) {
    return {absl::StrFormat("\\x%02x", ByteAt(text, 0)), 1};
  }
  if (IsControl(character.code) && character.code < 0x80) {
    return {absl::StrFormat("\\x%02x", character.code), 1};
  }
  if (IsControl(character.code) || IsInvisible(character.code)) {
    return {absl::StrFormat("\\u{%x}", character.code), character.bytes};
  }
  return {std::string(text.substr(0, character.bytes)), character.bytes};
}

}  // namespace

bool IsPlainText(absl::string_view text) {
  // Nearly all text is this.
  size_t at = 0;
  while (at < text.size() && ByteAt(text, at) >= 0x20 &&
         ByteAt(text, at) < 0x7f) {
    ++at;
  }
  text.remove_prefix(at);
  while (!text.empty()) {
    const Character character = FirstCharacter(text);
    if (character.bytes == 0 || IsControl(character.code) ||
        IsInvisible(character.code)) {
      return false;
    }
    text.remove_prefix(character.bytes);
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
