#include "server/metrics/page_server.h"

#include <exception>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "prometheus/exposer.h"
#include "server/loopback_address.h"

namespace callgate::metrics {
namespace {

// Scrapes are short, and there are few who scrape. A client that dawdles over
// its request holds one of the two threads no longer than this.
constexpr char kThreads[] = "2";
constexpr char kRequestTimeoutMs[] = "5000";

}  // namespace

absl::StatusOr<std::unique_ptr<PageServer>> PageServer::Start(
    absl::string_view address, const Metrics& metrics) {
  absl::StatusOr<LoopbackAddress> parsed =
      ParseLoopbackAddress("--metrics", address);
  if (!parsed.ok()) return parsed.status();

  // prometheus-cpp says by an exception that it cannot listen, and nothing of
  // why; nearly always somebody else has the port.
  std::unique_ptr<prometheus::Exposer> exposer;
  std::vector<int> ports;
  try {
    exposer = std::make_unique<prometheus::Exposer>(std::vector<std::string>{
        "listening_ports", parsed->ToString(), "num_threads", kThreads,
        "request_timeout_ms", kRequestTimeoutMs});
    ports = exposer->GetListeningPorts();
  } catch (const std::exception&) {
    exposer = nullptr;
  }
  if (exposer == nullptr || ports.size() != 1 || ports[0] <= 0) {
    return absl::UnavailableError(
        absl::StrCat("cannot serve metrics at ", parsed->ToString(),
                     ": the port is in use, or not ours to use; name another "
                     "address with --metrics, or port 0 for any free one"));
  }
  parsed->port = static_cast<uint16_t>(ports[0]);
  return std::unique_ptr<PageServer>(
      new PageServer(std::move(exposer), metrics.page(), parsed->ToString()));
}

PageServer::PageServer(std::unique_ptr<prometheus::Exposer> exposer,
                       std::shared_ptr<prometheus::Collectable> page,
                       std::string address)
    : exposer_(std::move(exposer)),
      page_(std::move(page)),
      address_(std::move(address)) {
  exposer_->RegisterCollectable(page_);
}

PageServer::~PageServer() = default;

}  // namespace callgate::metrics
