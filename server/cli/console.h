// The three standard streams as the client uses them: results on stdout,
// everything about the run on stderr, files read with a bound.
//
// Any thread; each function makes its own system calls and keeps nothing.

#ifndef CALLGATE_SERVER_CLI_CONSOLE_H_
#define CALLGATE_SERVER_CLI_CONSOLE_H_

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace callgate::cli {

// All of `bytes` to a descriptor. Cancelled if its reader has gone (EPIPE),
// Unavailable for every other error.
absl::Status WriteAll(int fd, absl::string_view bytes);

// `text` to stdout. The exit code: kExitOk, or what a failed write means.
int Print(absl::string_view text);

// "callgate: MESSAGE" and a newline to stderr, escaped: one line whatever the
// message holds.
void Say(absl::string_view message);

// "  DETAIL" and a newline to stderr, for each of its lines: more about the line
// before, escaped too.
void SayMore(absl::string_view detail);

// Says `message` and returns `exit_code`.
int Fail(int exit_code, absl::string_view message);

// A whole file. NotFound with a sentence that names the file and what is wrong
// with it: not there, not a regular file or a pipe, or over `bytes_max`.
absl::StatusOr<std::string> ReadFile(const std::string& path,
                                     uint64_t bytes_max);

}  // namespace callgate::cli

#endif  // CALLGATE_SERVER_CLI_CONSOLE_H_
