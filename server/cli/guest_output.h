// Where a guest's stdout and stderr go: on to the client's own as they come, or
// kept for --json.
//
// One thread at a time writes; the rest may be read when it is done.

#ifndef CALLGATE_SERVER_CLI_GUEST_OUTPUT_H_
#define CALLGATE_SERVER_CLI_GUEST_OUTPUT_H_

#include <cstdint>
#include <functional>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "server/outcome.h"
#include "server/session.h"

namespace callgate::cli {

class GuestOutput final : public OutputSink {
 public:
  // What is kept of each stream at most; more is counted and dropped.
  static constexpr uint64_t kKeptBytesMax = 64 << 20;

  // `on_broken` is called once, when a stream cannot be written any more.
  GuestOutput(bool keep, std::function<void()> on_broken);

  bool OnOutput(OutputStream stream, absl::string_view bytes) override;

  // Not OK once a stream could not be written.
  const absl::Status& status() const { return status_; }
  // The exit code that status() means.
  int broken_exit_code() const;

  // Whether the guest left a line of stderr unfinished that was passed on.
  bool stderr_mid_line() const { return stderr_mid_line_; }

  // Moves what was kept into `outcome`.
  void MoveInto(Outcome& outcome);

 private:
  const bool keep_;
  const std::function<void()> on_broken_;
  absl::Status status_;
  bool stderr_mid_line_ = false;
  std::string kept_[2];
  uint64_t omitted_bytes_ = 0;
};

}  // namespace callgate::cli

#endif  // CALLGATE_SERVER_CLI_GUEST_OUTPUT_H_
