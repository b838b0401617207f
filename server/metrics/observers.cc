#include "server/metrics/observers.h"

#include "server/events/event_json.h"

namespace callgate::metrics {

void StorageCounter::OnOperation(absl::string_view engine, absl::string_view op,
                                 absl::Duration took, bool failed) {
  metrics_.ObserveStorage(engine, op, took, failed);
}

EventCounter::EventCounter(Metrics& metrics) : metrics_(metrics) {
  for (size_t kind = 0; kind < kind_words_.size(); ++kind) {
    kind_words_[kind] = events::ShortWord(static_cast<v1::EventKind>(kind));
  }
}

void EventCounter::OnEmitted(v1::EventKind kind) {
  const size_t index = static_cast<size_t>(kind);
  metrics_.CountEventEmitted(
      index < kind_words_.size() ? absl::string_view(kind_words_[index]) : "");
}

void EventCounter::OnDelivered(absl::string_view sink, uint64_t count) {
  metrics_.CountEventsDelivered(sink, count);
}

void EventCounter::OnDropped(absl::string_view sink, absl::string_view reason,
                             uint64_t count) {
  metrics_.CountEventsDropped(sink, reason, count);
}

void RefreshEventGauges(const events::EventLog& log, Metrics& metrics) {
  for (const char* sink : {events::kSinkWatch, events::kSinkAlertFile}) {
    const events::EventLog::SinkState state = log.StateOf(sink);
    metrics.SetEventSink(sink, state.depth, state.capacity, state.lag,
                         state.subscribers);
  }
}

}  // namespace callgate::metrics
