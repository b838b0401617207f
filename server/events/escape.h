// Text from a guest, made fit to be shown: in a terminal, a log or a JSON line.
//
// What could move a cursor, forge a line or turn text around becomes a code
// instead: control characters and invalid UTF-8 as \x1b, what is invisible or
// changes the direction of writing as \u{202e}. Other text stays as it is, a
// backslash too, so escaping twice changes nothing, and every boundary can
// escape without asking whether another did. The price is that a guest can
// write the six letters \x1b itself: codes are for reading, not for decoding.
//
// Pure functions; any thread. The result is valid UTF-8 and at most six times
// as long as the input (JsonString: and two quotes).

#ifndef CALLGATE_SERVER_EVENTS_ESCAPE_H_
#define CALLGATE_SERVER_EVENTS_ESCAPE_H_

#include <cstddef>
#include <string>

#include "absl/strings/string_view.h"

namespace callgate::events {

// The text, safe for a terminal and for one line of a log.
std::string EscapeText(absl::string_view text);

// The same, cut to at most `bytes_max` bytes of result at a character's end;
// what was cut shows as "...", which is counted.
std::string EscapeText(absl::string_view text, size_t bytes_max);

// Whether EscapeText would change nothing.
bool IsPlainText(absl::string_view text);

// A JSON string with its quotes, of the escaped text.
std::string JsonString(absl::string_view text);

}  // namespace callgate::events

#endif  // CALLGATE_SERVER_EVENTS_ESCAPE_H_
