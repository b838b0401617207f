// Serves the metrics page at http://ADDRESS/metrics for Prometheus.
//
// Plain HTTP and no login, hence loopback only. Two threads of prometheus-cpp's
// web server answer scrapes; its own three exposer_* families join the page.
// Destroying it takes up to two seconds: the web server looks that seldom
// whether it should stop.

#ifndef CALLGATE_SERVER_METRICS_PAGE_SERVER_H_
#define CALLGATE_SERVER_METRICS_PAGE_SERVER_H_

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "server/metrics/metrics.h"

namespace prometheus {
class Exposer;
}  // namespace prometheus

namespace callgate::metrics {

class PageServer {
 public:
  // `address` as ParseLoopbackAddress takes it, port 0 for any free one.
  // InvalidArgument for another address, Unavailable if it cannot be had (a
  // port in use), saying what to do.
  static absl::StatusOr<std::unique_ptr<PageServer>> Start(
      absl::string_view address, const Metrics& metrics);

  ~PageServer();
  PageServer(const PageServer&) = delete;
  PageServer& operator=(const PageServer&) = delete;

  // "127.0.0.1:9464", with the port that was bound.
  const std::string& address() const { return address_; }

 private:
  PageServer(std::unique_ptr<prometheus::Exposer> exposer,
             std::shared_ptr<prometheus::Collectable> page,
             std::string address);

  const std::unique_ptr<prometheus::Exposer> exposer_;
  // The exposer itself only holds it weakly.
  const std::shared_ptr<prometheus::Collectable> page_;
  const std::string address_;
};

}  // namespace callgate::metrics

#endif  // CALLGATE_SERVER_METRICS_PAGE_SERVER_H_
