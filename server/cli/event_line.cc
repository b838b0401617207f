#include "server/cli/event_line.h"

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "server/cli/import_text.h"
#include "server/events/escape.h"
#include "server/events/event_json.h"

namespace callgate::cli {
namespace {

std::string Moment(const google::protobuf::Timestamp& time) {
  return absl::FormatTime(
      "%Y-%m-%d%ET%H:%M:%E3SZ",
      absl::FromUnixSeconds(time.seconds()) + absl::Nanoseconds(time.nanos()),
      absl::UTCTimeZone());
}

}  // namespace

std::string EventLine(const v1::Event& event) {
  std::string line =
      absl::StrCat(Moment(event.time()), " ",
                   event.severity() == v1::EVENT_SEVERITY_UNSPECIFIED
                       ? "-"
                       : events::ShortWord(event.severity()),
                   " ", events::ShortWord(event.kind()));
  if (!event.action().empty()) absl::StrAppend(&line, " ", event.action());
  const bool more_under_audit =
      event.would_be_verdict() != v1::VERDICT_UNSPECIFIED &&
      event.would_be_verdict() != event.verdict();
  // What happened is said, too, unless it is nothing.
  if (event.verdict() != v1::VERDICT_UNSPECIFIED &&
      (event.verdict() != v1::VERDICT_ALLOW || !more_under_audit)) {
    absl::StrAppend(&line, " ", events::ShortWord(event.verdict()));
  }
  if (more_under_audit) {
    absl::StrAppend(&line,
                    " audit:", events::ShortWord(event.would_be_verdict()));
  }
  if (event.has_call()) {
    absl::StrAppend(
        &line, " ",
        ImportText(event.call().import_module(), event.call().import_name()));
  }
  if (event.has_function()) {
    absl::StrAppend(&line, " function ", event.function().index());
    if (!event.function().name().empty()) {
      absl::StrAppend(&line, " ", event.function().name());
    }
  }
  if (event.has_growth()) {
    absl::StrAppend(&line, event.growth().table() ? " table " : " memory ",
                    event.growth().index(), " from ", event.growth().from(),
                    " to ", event.growth().to());
  }
  if (!event.budget().empty()) {
    absl::StrAppend(&line, " budget ", event.budget());
  }
  for (int i = 0; i < event.rules_size(); ++i) {
    absl::StrAppend(&line, i == 0 ? " by " : ", ", event.rules(i).policy(), "/",
                    event.rules(i).id());
  }
  if (!event.policy().empty()) {
    absl::StrAppend(&line, " policy ", event.policy());
  }
  if (!event.store().empty()) absl::StrAppend(&line, " store ", event.store());
  if (!event.decision_id().empty()) {
    absl::StrAppend(&line, " decision ", event.decision_id());
  }
  if (!event.outcome().empty()) absl::StrAppend(&line, " ", event.outcome());
  if (!event.source().empty()) {
    absl::StrAppend(&line, " in ", event.source());
  }
  if (event.suppressed() > 0) {
    absl::StrAppend(&line, " (and ", event.suppressed(), " like it)");
  }
  if (event.recent_calls_size() > 0) {
    absl::StrAppend(&line, " after ", event.recent_calls_size(), " calls");
  }
  if (!event.message().empty()) absl::StrAppend(&line, ": ", event.message());
  // The daemon escapes already; a terminal is worth a second look.
  return events::EscapeText(line);
}

std::string GapLine(const v1::Gap& gap) {
  return events::EscapeText(
      absl::StrCat("... ", gap.count(), " events lost between ", gap.from_seq(),
                   " and ", gap.to_seq(), ": ", gap.reason()));
}

}  // namespace callgate::cli
