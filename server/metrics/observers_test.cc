#include "server/metrics/observers.h"

#include <string>

#include "absl/time/time.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace callgate::metrics {
namespace {

using testing::AllOf;
using testing::HasSubstr;

TEST(StorageCounterTest, CountsOperationsAndFailures) {
  Metrics metrics({});
  StorageCounter counter(metrics);
  counter.OnOperation(storage::kEngineFiles, storage::kOpPutBlob,
                      absl::Milliseconds(2), /*failed=*/false);
  counter.OnOperation(storage::kEngineFiles, storage::kOpPutBlob,
                      absl::Milliseconds(2), /*failed=*/true);
  EXPECT_THAT(
      metrics.Text(),
      AllOf(
          HasSubstr(
              R"(callgate_storage_latency_seconds_count{engine="files",op="put_blob"} 2)"),
          HasSubstr(
              R"(callgate_storage_errors_total{engine="files",op="put_blob"} 1)")));
}

TEST(EventCounterTest, KeepsTheBooksOfTheEventLog) {
  Metrics metrics({});
  EventCounter counter(metrics);
  events::EventLogOptions options;
  options.observer = &counter;
  options.events_max = 2;
  events::EventLog log(options);
  metrics.BeforeScrape([&] { RefreshEventGauges(log, metrics); });
  const auto reader =
      log.Subscribe({}, events::EventLog::Start(), events::kSinkWatch);
  ASSERT_TRUE(reader.ok());
  v1::Event event;
  event.set_kind(v1::EVENT_KIND_POLICY);
  for (int i = 0; i < 5; ++i) log.Publish(event);
  EXPECT_THAT(
      metrics.Text(),
      AllOf(
          HasSubstr(R"(callgate_events_emitted_total{kind="policy"} 5)"),
          HasSubstr(
              R"(callgate_events_dropped_total{sink="watch",reason="queue_full"} 3)"),
          HasSubstr(R"(callgate_event_queue_depth{sink="watch"} 2)"),
          HasSubstr(R"(callgate_event_subscribers{sink="watch"} 1)"),
          HasSubstr(R"(callgate_event_subscribers{sink="alert_file"} 0)")));
  while ((*reader)->Next(absl::InfinitePast()).has_value()) {
  }
  EXPECT_THAT(
      metrics.Text(),
      AllOf(HasSubstr(R"(callgate_events_delivered_total{sink="watch"} 2)"),
            HasSubstr(R"(callgate_event_queue_depth{sink="watch"} 0)"),
            HasSubstr(R"(callgate_event_lag_seconds{sink="watch"} 0)")));
}

}  // namespace
}  // namespace callgate::metrics
