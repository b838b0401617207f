#include "server/cli/guest_output.h"

#include <unistd.h>

#include <algorithm>
#include <utility>

#include "server/cli/console.h"
#include "server/cli/exit_codes.h"

namespace callgate::cli {

GuestOutput::GuestOutput(bool keep, std::function<void()> on_broken)
    : keep_(keep), on_broken_(std::move(on_broken)) {}

bool GuestOutput::OnOutput(OutputStream stream, absl::string_view bytes) {
  const bool is_stdout = stream == OutputStream::kStdout;
  if (keep_) {
    std::string& kept = kept_[is_stdout ? 0 : 1];
    const size_t room = static_cast<size_t>(kKeptBytesMax) - kept.size();
    const absl::string_view taken =
        bytes.substr(0, std::min(room, bytes.size()));
    kept.append(taken.data(), taken.size());
    omitted_bytes_ += bytes.size() - taken.size();
    return true;
  }
  if (!status_.ok()) return false;
  status_ = WriteAll(is_stdout ? STDOUT_FILENO : STDERR_FILENO, bytes);
  if (!status_.ok()) on_broken_();
  if (!is_stdout && !bytes.empty()) stderr_mid_line_ = bytes.back() != '\n';
  return status_.ok();
}

int GuestOutput::broken_exit_code() const {
  return absl::IsCancelled(status_) ? kExitOutputClosed : kExitFailure;
}

void GuestOutput::MoveInto(Outcome& outcome) {
  if (!keep_) return;
  outcome.stdout_bytes = std::move(kept_[0]);
  outcome.stderr_bytes = std::move(kept_[1]);
  outcome.output_omitted_bytes += omitted_bytes_;
}

}  // namespace callgate::cli
