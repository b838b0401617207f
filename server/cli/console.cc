#include "server/cli/console.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "server/cli/exit_codes.h"
#include "server/cli/quoted.h"
#include "server/events/escape.h"

namespace callgate::cli {

absl::Status WriteAll(int fd, absl::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t written = write(fd, bytes.data(), bytes.size());
    if (written >= 0) {
      bytes.remove_prefix(static_cast<size_t>(written));
    } else if (errno == EPIPE) {
      return absl::CancelledError("whoever read the output has gone");
    } else if (errno != EINTR) {
      return absl::UnavailableError(
          absl::StrCat("cannot write the output: ", strerror(errno)));
    }
  }
  return absl::OkStatus();
}

int Print(absl::string_view text) {
  const absl::Status status = WriteAll(STDOUT_FILENO, text);
  if (status.ok()) return kExitOk;
  if (absl::IsCancelled(status)) return kExitOutputClosed;
  return Fail(kExitFailure, status.message());
}

namespace {

void WriteLine(absl::string_view prefix, absl::string_view text) {
  // In one write, so that lines of several processes do not mix.
  const std::string line = absl::StrCat(prefix, events::EscapeText(text), "\n");
  // There is nowhere left to report that stderr is closed.
  WriteAll(STDERR_FILENO, line).IgnoreError();
}

}  // namespace

void Say(absl::string_view message) { WriteLine("callgate: ", message); }

void SayMore(absl::string_view detail) {
  for (const absl::string_view line : absl::StrSplit(detail, '\n')) {
    WriteLine("  ", line);
  }
}

int Fail(int exit_code, absl::string_view message) {
  Say(message);
  return exit_code;
}

absl::StatusOr<std::string> ReadFile(const std::string& path,
                                     uint64_t bytes_max) {
  const auto wrong = [&](absl::string_view why) {
    return absl::NotFoundError(
        absl::StrCat("cannot read ", Quoted(path), ": ", why));
  };
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return wrong(strerror(errno));
  std::string bytes;
  std::string buffer(size_t{64} << 10, '\0');
  absl::Status status;
  while (true) {
    const ssize_t got = read(fd, buffer.data(), buffer.size());
    if (got == 0) break;
    if (got < 0) {
      if (errno == EINTR) continue;
      status = wrong(strerror(errno));
      break;
    }
    if (bytes.size() + static_cast<size_t>(got) > bytes_max) {
      status = wrong(absl::StrCat("it has more than ", bytes_max, " bytes"));
      break;
    }
    bytes.append(buffer, 0, static_cast<size_t>(got));
  }
  close(fd);
  if (!status.ok()) return status;
  return bytes;
}

}  // namespace callgate::cli
