// An event as one line for people.

#ifndef CALLGATE_SERVER_CLI_EVENT_LINE_H_
#define CALLGATE_SERVER_CLI_EVENT_LINE_H_

#include <string>

#include "proto/callgate/v1/event_service.pb.h"

namespace callgate::cli {

// "2026-11-22T13:23:32.104Z warning decision deny net.connect by web/ssrf store
// 7: MESSAGE". Escaped; no line feed. Pure function.
std::string EventLine(const v1::Event& event);

// "… 12 events lost: queue_full".
std::string GapLine(const v1::Gap& gap);

}  // namespace callgate::cli

#endif  // CALLGATE_SERVER_CLI_EVENT_LINE_H_
