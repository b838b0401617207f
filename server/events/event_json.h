// An event as one line of JSON: what the alert file holds and what
// `callgate events -o json` prints.
//
// Field names are those of the proto. Enums are the short words of the policy
// file ("deny", "warning"), times are RFC 3339 with nanoseconds, numbers are
// numbers, and fields that are not set are left out. Strings go through
// escape.h. Pure functions; any thread.

#ifndef CALLGATE_SERVER_EVENTS_EVENT_JSON_H_
#define CALLGATE_SERVER_EVENTS_EVENT_JSON_H_

#include <string>

#include "google/protobuf/descriptor.h"
#include "proto/callgate/v1/event_service.pb.h"

namespace callgate::events {

// Without a line feed.
std::string EventToJson(const v1::Event& event);

// "deny" for VERDICT_DENY, "notice" for EVENT_SEVERITY_NOTICE; empty for an
// unspecified value, the number for one this release does not know.
std::string ShortWord(const google::protobuf::EnumDescriptor& type, int value);
std::string ShortWord(v1::EventKind kind);
std::string ShortWord(v1::EventSeverity severity);
std::string ShortWord(v1::Verdict verdict);

}  // namespace callgate::events

#endif  // CALLGATE_SERVER_EVENTS_EVENT_JSON_H_
