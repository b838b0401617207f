#include "tests/e2e/daemon_under_test.h"

#include <grpcpp/client_context.h>
#include <grpcpp/completion_queue.h>
#include <grpcpp/create_channel.h>
#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/security/credentials.h>
#include <grpcpp/support/byte_buffer.h>
#include <stdlib.h>

#include <chrono>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "absl/time/clock.h"
#include "tests/e2e/http_get.h"

namespace callgate::e2e {
namespace {

// A data file of the test, by its path in the workspace.
std::string Runfile(absl::string_view path) {
  const char* root = getenv("TEST_SRCDIR");
  const char* workspace = getenv("TEST_WORKSPACE");
  if (root == nullptr || workspace == nullptr) return std::string(path);
  return absl::StrCat(root, "/", workspace, "/", path);
}

// The word that follows "NAME=" in a line.
std::string ValueOf(absl::string_view name, const std::string& line) {
  const std::string key = absl::StrCat(name, "=");
  const size_t at = line.find(key);
  if (at == std::string::npos) return "";
  const size_t start = at + key.size();
  return line.substr(start, line.find_first_of(" \n", start) - start);
}

}  // namespace

std::string DaemonBinary() { return Runfile("server/callgated"); }
std::string ClientBinary() { return Runfile("server/cli/callgate"); }

std::vector<std::string> DaemonArguments(const DaemonSetup& setup) {
  std::vector<std::string> argv = {DaemonBinary(), "--listen=127.0.0.1:0",
                                   "--metrics=127.0.0.1:0",
                                   absl::StrCat("--data=", setup.data)};
  if (!setup.policy_dir.empty()) {
    argv.push_back(absl::StrCat("--policy-dir=", setup.policy_dir));
  }
  for (const std::string& dir : setup.allow_dirs) {
    argv.push_back(absl::StrCat("--allow-dir=", dir));
  }
  if (!setup.alerts.empty()) {
    argv.push_back(absl::StrCat("--alerts=", setup.alerts));
  }
  argv.insert(argv.end(), setup.more_flags.begin(), setup.more_flags.end());
  return argv;
}

absl::StatusOr<std::unique_ptr<DaemonUnderTest>> DaemonUnderTest::Start(
    const DaemonSetup& setup) {
  Command command;
  command.argv = DaemonArguments(setup);
  auto process = Process::Start(command);
  if (!process.ok()) return process.status();
  // Said once both addresses are bound and served.
  const auto line = (*process)->WaitForOutput("metrics=", kPatience);
  if (!line.ok()) return line.status();

  std::unique_ptr<DaemonUnderTest> daemon(new DaemonUnderTest);
  daemon->process_ = *std::move(process);
  daemon->listen_ = ValueOf("listen", *line);
  daemon->metrics_ = ValueOf("metrics", *line);
  daemon->channel_ =
      grpc::CreateChannel(daemon->listen_, grpc::InsecureChannelCredentials());
  return daemon;
}

Command DaemonUnderTest::ClientCommand(
    std::vector<std::string> arguments) const {
  Command command;
  command.argv = std::move(arguments);
  command.argv.insert(command.argv.begin(), ClientBinary());
  command.env = {{"CALLGATE_SERVER", listen_}, {"CALLGATE_METRICS", metrics_}};
  return command;
}

Finished DaemonUnderTest::Client(std::vector<std::string> arguments,
                                 absl::Duration deadline,
                                 std::string stdin_bytes) const {
  Command command = ClientCommand(std::move(arguments));
  command.stdin_bytes = std::move(stdin_bytes);
  return RunToEnd(command, deadline);
}

absl::StatusOr<std::unique_ptr<Process>> DaemonUnderTest::StartClient(
    std::vector<std::string> arguments) const {
  return Process::Start(ClientCommand(std::move(arguments)));
}

absl::StatusOr<std::unique_ptr<Process>> DaemonUnderTest::StartInteractive(
    std::vector<std::string> arguments) const {
  Command command = ClientCommand(std::move(arguments));
  command.interactive = true;
  return Process::Start(command);
}

Finished RunClient(std::vector<std::string> arguments, absl::Duration deadline,
                   std::string stdin_bytes) {
  Command command;
  command.argv = std::move(arguments);
  command.argv.insert(command.argv.begin(), ClientBinary());
  command.stdin_bytes = std::move(stdin_bytes);
  return RunToEnd(command, deadline);
}

absl::StatusOr<std::string> DaemonUnderTest::MetricsPage() const {
  return HttpGet(metrics_, "/metrics");
}

double DaemonUnderTest::Metric(absl::string_view series) const {
  const auto page = MetricsPage();
  if (!page.ok()) return 0;
  for (absl::string_view line : absl::StrSplit(*page, '\n')) {
    double value = 0;
    if (absl::ConsumePrefix(&line, series) && absl::ConsumePrefix(&line, " ") &&
        absl::SimpleAtod(line, &value)) {
      return value;
    }
  }
  return 0;
}

bool DaemonUnderTest::Healthy() const {
  // Debian ships no health.proto, and the two messages are easy to write by
  // hand: HealthCheckRequest{} has no bytes, HealthCheckResponse{SERVING} two.
  grpc::GenericStub stub(channel_);
  grpc::CompletionQueue queue;
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() +
                       std::chrono::seconds(20));
  context.set_wait_for_ready(true);
  const grpc::Slice nothing("");
  const auto call =
      stub.PrepareUnaryCall(&context, "/grpc.health.v1.Health/Check",
                            grpc::ByteBuffer(&nothing, 1), &queue);
  call->StartCall();
  grpc::ByteBuffer response;
  grpc::Status status;
  call->Finish(&response, &status, nullptr);
  void* tag = nullptr;
  bool ok = false;
  if (!queue.Next(&tag, &ok) || !ok || !status.ok()) return false;
  std::vector<grpc::Slice> slices;
  if (!response.Dump(&slices).ok()) return false;
  std::string bytes;
  for (const grpc::Slice& slice : slices) {
    bytes.append(slice.begin(), slice.end());
  }
  return bytes == std::string("\x08\x01", 2);
}

}  // namespace callgate::e2e
