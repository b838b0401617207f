// Where the facts of storage and events become numbers. One for the process;
// any thread; the Metrics outlives it.

#ifndef CALLGATE_SERVER_METRICS_OBSERVERS_H_
#define CALLGATE_SERVER_METRICS_OBSERVERS_H_

#include <array>
#include <cstdint>
#include <string>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "server/events/event_log.h"
#include "server/events/event_observer.h"
#include "server/metrics/metrics.h"
#include "server/storage/storage_observer.h"

namespace callgate::metrics {

class StorageCounter final : public storage::StorageObserver {
 public:
  explicit StorageCounter(Metrics& metrics) : metrics_(metrics) {}
  void OnOperation(absl::string_view engine, absl::string_view op,
                   absl::Duration took, bool failed) override;

 private:
  Metrics& metrics_;
};

class EventCounter final : public events::EventObserver {
 public:
  explicit EventCounter(Metrics& metrics);
  void OnEmitted(v1::EventKind kind) override;
  void OnDelivered(absl::string_view sink, uint64_t count) override;
  void OnDropped(absl::string_view sink, absl::string_view reason,
                 uint64_t count) override;

 private:
  Metrics& metrics_;
  // By kind. Made once: events are counted under the event log's lock.
  std::array<std::string, v1::EventKind_ARRAYSIZE> kind_words_;
};

// Sets the gauges of both sinks; for Metrics::BeforeScrape.
void RefreshEventGauges(const events::EventLog& log, Metrics& metrics);

}  // namespace callgate::metrics

#endif  // CALLGATE_SERVER_METRICS_OBSERVERS_H_
