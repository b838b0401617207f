// Which events a reader wants. Constant once made; any thread.

#ifndef CALLGATE_SERVER_EVENTS_EVENT_FILTER_H_
#define CALLGATE_SERVER_EVENTS_EVENT_FILTER_H_

#include <set>
#include <string>

#include "proto/callgate/v1/event_service.pb.h"

namespace callgate::events {

struct EventFilter {
  std::string tenant;             // empty: every tenant's
  std::string store;              // empty: every Store's
  std::set<v1::EventKind> kinds;  // empty: every kind
  v1::EventSeverity min_severity = v1::EVENT_SEVERITY_UNSPECIFIED;

  // Gap events match whatever the filter's kinds and severity: nobody may miss
  // that something is missing. The tenant and Store still have to match, where
  // the gap names one.
  bool Matches(const v1::Event& event) const;
};

}  // namespace callgate::events

#endif  // CALLGATE_SERVER_EVENTS_EVENT_FILTER_H_
