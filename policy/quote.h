// Showing text that nobody vouches for: names from modules, values from files.

#ifndef CALLGATE_POLICY_QUOTE_H_
#define CALLGATE_POLICY_QUOTE_H_

#include <cstddef>
#include <optional>
#include <string>

#include "absl/strings/string_view.h"

namespace callgate::policy {

// One character and its length in bytes; nothing if `text` does not begin with
// valid UTF-8.
struct Utf8Character {
  char32_t code = 0;
  size_t bytes = 0;
};
std::optional<Utf8Character> FirstUtf8Character(absl::string_view text);

// Where `text` stops being UTF-8; its size if it never does.
size_t ValidUtf8Prefix(absl::string_view text);

// `text` with everything escaped that could end a line, move a terminal's
// cursor, reorder or hide what stands next to it: control characters, line
// separators, bidirectional and zero-width marks, as `\n` or `\u{202e}`.
// Backslashes and double quotes are escaped too. Bytes that are not UTF-8
// become `\u{fffd}`.
std::string EscapeText(absl::string_view text);

// EscapeText in double quotes, cut off after about `bytes_max`, with "…" after
// the closing quote if so.
std::string Quote(absl::string_view text, size_t bytes_max = 80);

}  // namespace callgate::policy

#endif  // CALLGATE_POLICY_QUOTE_H_
