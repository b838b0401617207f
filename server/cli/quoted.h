// A word of the command line or a name from a guest, as messages show it.

#ifndef CALLGATE_SERVER_CLI_QUOTED_H_
#define CALLGATE_SERVER_CLI_QUOTED_H_

#include <cstddef>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "server/events/escape.h"

namespace callgate::cli {

// Escaped, cut to a readable length, in double quotes.
inline std::string Quoted(absl::string_view text) {
  constexpr size_t kBytesMax = 300;
  return absl::StrCat("\"", events::EscapeText(text, kBytesMax), "\"");
}

}  // namespace callgate::cli

#endif  // CALLGATE_SERVER_CLI_QUOTED_H_
