// The real daemon and the real client, on real sockets.
//
// A DaemonUnderTest is one callgated process on ports that the kernel chose. It
// is killed with the object. Tests that need state across runs give the same
// `data` directory to the next one.

#ifndef CALLGATE_TESTS_E2E_DAEMON_UNDER_TEST_H_
#define CALLGATE_TESTS_E2E_DAEMON_UNDER_TEST_H_

#include <grpcpp/channel.h>

#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "tests/e2e/process.h"

namespace callgate::e2e {

// Paths of the binaries that the test's BUILD rule lists as data.
std::string DaemonBinary();
std::string ClientBinary();

struct DaemonSetup {
  std::string data;  // --data; required
  std::string policy_dir;
  std::vector<std::string> allow_dirs;
  std::string alerts;
  std::vector<std::string> more_flags;
};

// How long a daemon may take to come up or go down before the test gives up;
// generous, since a machine that builds at the same time is slow.
inline constexpr absl::Duration kPatience = absl::Seconds(60);

class DaemonUnderTest {
 public:
  // Starts it and waits until it serves.
  static absl::StatusOr<std::unique_ptr<DaemonUnderTest>> Start(
      const DaemonSetup& setup);

  // "127.0.0.1:PORT".
  const std::string& listen() const { return listen_; }
  const std::string& metrics() const { return metrics_; }
  Process& process() { return *process_; }

  // Runs `callgate ARGUMENTS…` against this daemon.
  Finished Client(std::vector<std::string> arguments,
                  absl::Duration deadline = absl::Seconds(60),
                  std::string stdin_bytes = "") const;
  // A client that keeps running: `events --follow`.
  absl::StatusOr<std::unique_ptr<Process>> StartClient(
      std::vector<std::string> arguments) const;
  // The same with an input to write to.
  absl::StatusOr<std::unique_ptr<Process>> StartInteractive(
      std::vector<std::string> arguments) const;

  // The page at /metrics.
  absl::StatusOr<std::string> MetricsPage() const;
  // The value of one series, "name{a=\"b\"}" as the page writes it; 0 if it is
  // not there.
  double Metric(absl::string_view series) const;
  // What grpc.health.v1 says.
  bool Healthy() const;
  // For calls that the client has no form for.
  std::shared_ptr<grpc::Channel> channel() const { return channel_; }

 private:
  DaemonUnderTest() = default;
  Command ClientCommand(std::vector<std::string> arguments) const;

  std::unique_ptr<Process> process_;
  std::string listen_;
  std::string metrics_;
  std::shared_ptr<grpc::Channel> channel_;
};

// The flags for a daemon on free ports.
std::vector<std::string> DaemonArguments(const DaemonSetup& setup);

// Runs `callgate ARGUMENTS…` with no daemon in its environment.
Finished RunClient(std::vector<std::string> arguments,
                   absl::Duration deadline = absl::Seconds(60),
                   std::string stdin_bytes = "");

}  // namespace callgate::e2e

#endif  // CALLGATE_TESTS_E2E_DAEMON_UNDER_TEST_H_
