#include "server/events/event_filter.h"

namespace callgate::events {

bool EventFilter::Matches(const v1::Event& event) const {
  const bool is_gap = event.kind() == v1::EVENT_KIND_GAP;
  // A gap that names nobody may hide anybody's events.
  const auto belongs = [is_gap](const std::string& wanted,
                                const std::string& is) {
    return wanted.empty() || wanted == is || (is_gap && is.empty());
  };
  if (!belongs(tenant, event.tenant()) || !belongs(store, event.store())) {
    return false;
  }
  if (is_gap) return true;
  if (!kinds.empty() && kinds.count(event.kind()) == 0) return false;
  return event.severity() >= min_severity;
}

}  // namespace callgate::events
