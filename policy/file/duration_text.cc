#include "policy/file/duration_text.h"

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "policy/quote.h"

namespace callgate::policy {

absl::StatusOr<ParsedDuration> ParseDurationText(absl::string_view text) {
  const auto bad = [&](absl::string_view why) {
    return absl::InvalidArgumentError(absl::StrCat(Quote(text), " ", why));
  };
  constexpr absl::string_view kForm =
      "is not a duration; write a number and a unit (ns, us, ms, s, m, h), "
      "e.g. 30s, 0.5s, 10m";
  if (text.empty() || text.size() > 64) return bad(kForm);
  bool digits_only = true;
  for (const char c : text) {
    const auto u = static_cast<unsigned char>(c);
    // The parser would take signs and "inf" too.
    if (!absl::ascii_isdigit(u) && !absl::ascii_islower(u) && c != '.') {
      return bad(kForm);
    }
    if (!absl::ascii_isdigit(u) && c != '.') digits_only = false;
  }
  if (digits_only) {
    return bad(absl::StrCat("has no unit; write for example ", text, "s"));
  }
  absl::Duration parsed;
  if (text.find("inf") != absl::string_view::npos ||
      !absl::ParseDuration(text, &parsed)) {
    return bad(kForm);
  }
  if (parsed > absl::Seconds(kDurationSecondsMax)) {
    return bad("is more than 10000 years");
  }
  ParsedDuration out;
  absl::Duration rest;
  out.seconds = absl::IDivDuration(parsed, absl::Seconds(1), &rest);
  out.nanos = static_cast<int32_t>(
      absl::IDivDuration(rest, absl::Nanoseconds(1), &rest));
  if (rest != absl::ZeroDuration()) {
    return bad("is finer than a nanosecond");
  }
  return out;
}

}  // namespace callgate::policy
