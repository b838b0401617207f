#include "policy/compiler/rule_parts.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "policy/quote.h"

namespace callgate::policy {
namespace {

constexpr double kFactorMax = 1000;

absl::Duration ToDuration(const google::protobuf::Duration& duration) {
  return absl::Seconds(duration.seconds()) +
         absl::Nanoseconds(duration.nanos());
}

bool IsDottedWord(absl::string_view name) {
  for (const absl::string_view word : absl::StrSplit(name, '.')) {
    if (!IsPlainWord(word)) return false;
  }
  return true;
}

std::vector<std::string> EscapedForGlob(
    const google::protobuf::RepeatedPtrField<std::string>& items) {
  std::vector<std::string> escaped;
  for (const std::string& item : items) {
    std::string glob;
    for (const char c : item) {
      if (!absl::ascii_isalnum(static_cast<unsigned char>(c))) glob += '\\';
      glob += c;
    }
    escaped.push_back(std::move(glob));
  }
  return escaped;
}

}  // namespace

bool IsPlainWord(absl::string_view name) {
  return !name.empty() &&
         !absl::ascii_isdigit(static_cast<unsigned char>(name.front())) &&
         std::all_of(name.begin(), name.end(), [](char c) {
           return absl::ascii_isalnum(static_cast<unsigned char>(c)) ||
                  c == '_';
         });
}

Condition ConditionAt(const LoadedPolicyFile& file, const std::string& path,
                      const std::string& source) {
  return {source, path, file.filename, file.PositionOf(path)};
}

std::optional<NamedList> ReadList(const v1::NamedList& list,
                                  const std::string& path,
                                  const ReportAt& report) {
  NamedList out;
  out.name = list.name();
  out.fingerprint = list.SerializeAsString();
  if (!IsPlainWord(list.name())) {
    report(path, list.name().empty()
                     ? "name is missing; a list has a name"
                     : absl::StrCat(Quote(list.name()),
                                    " is no name for a list; write letters, "
                                    "digits and '_'"));
    return std::nullopt;
  }
  const std::vector<std::string> items(list.items().begin(),
                                       list.items().end());
  absl::Status status;
  const auto take = [&status](auto list_or, auto* to) {
    status = list_or.status();
    if (list_or.ok()) *to = *std::move(list_or);
  };
  switch (list.kind()) {
    case v1::LIST_KIND_EXACT:
      take(expression::GlobList::Create(EscapedForGlob(list.items())),
           &out.globs);
      break;
    case v1::LIST_KIND_GLOB:
      take(expression::GlobList::Create(items), &out.globs);
      break;
    case v1::LIST_KIND_CIDR:
      take(expression::CidrList::Create(items), &out.networks);
      break;
    case v1::LIST_KIND_RE2:
      take(expression::PatternList::Create(items), &out.patterns);
      break;
    default:
      report(path, "kind is missing; allowed: exact, glob, cidr, re2");
      return std::nullopt;
  }
  if (!status.ok()) {
    report(absl::StrCat(path, ".items"), std::string(status.message()));
    return std::nullopt;
  }
  return out;
}

std::vector<MessagePart> ReadMessage(const LoadedPolicyFile& file,
                                     const std::string& message,
                                     const std::string& path,
                                     const ReportAt& report) {
  std::vector<MessagePart> parts;
  const absl::string_view text = message;
  size_t at = 0;
  while (true) {
    const size_t begin = text.find("${", at);
    if (begin == absl::string_view::npos) break;
    const size_t end = text.find('}', begin);
    if (end == absl::string_view::npos) {
      report(path, "a ${ has no }");
      return {};
    }
    absl::string_view source = text.substr(begin + 2, end - begin - 2);
    MessagePart part;
    part.text = EscapeText(text.substr(at, begin - at));
    part.raw = absl::ConsumeSuffix(&source, ":raw");
    part.value = ConditionAt(file, path, std::string(source));
    if (source.empty()) report(path, "${} names no fact");
    parts.push_back(std::move(part));
    at = end + 1;
  }
  if (!parts.empty() && at < text.size()) {
    MessagePart rest;
    rest.text = EscapeText(text.substr(at));
    parts.push_back(std::move(rest));
  }
  return parts;
}

ThrottleSpec ReadThrottle(const v1::Throttle& throttle, const std::string& path,
                          const ReportAt& report) {
  ThrottleSpec spec;
  spec.base_delay = ToDuration(throttle.base_delay());
  spec.factor = throttle.factor() == 0 ? 1 : throttle.factor();
  spec.max_delay = throttle.has_max_delay() ? ToDuration(throttle.max_delay())
                                            : spec.base_delay;
  spec.cool_down = ToDuration(throttle.cool_down());
  if (spec.base_delay <= absl::ZeroDuration() || spec.base_delay > kDelayMax) {
    report(absl::StrCat(path, ".base_delay"),
           absl::StrCat("must be longer than nothing and at most ",
                        absl::FormatDuration(kDelayMax)));
  }
  if (spec.max_delay < spec.base_delay || spec.max_delay > kDelayMax) {
    report(absl::StrCat(path, ".max_delay"),
           absl::StrCat("must be at least base_delay and at most ",
                        absl::FormatDuration(kDelayMax)));
  }
  if (!(spec.factor >= 1 && spec.factor <= kFactorMax)) {
    report(absl::StrCat(path, ".factor"),
           absl::StrCat("must be 1 to ", kFactorMax));
  }
  if (spec.factor > 1 && spec.cool_down <= absl::ZeroDuration()) {
    report(path,
           "cool_down is missing; a delay that grows says after how long a "
           "rest it begins anew");
  }
  return spec;
}

std::optional<RuleException> ReadException(const LoadedPolicyFile& file,
                                           const v1::RuleException& exception,
                                           const std::string& path,
                                           const ReportAt& report) {
  RuleException out;
  out.name = exception.name();
  out.reason = exception.reason();
  out.path = path;
  out.file = file.filename;
  out.position = file.PositionOf(path);
  bool good = true;
  const auto bad = [&](absl::string_view field, const std::string& message) {
    report(field.empty() ? path : absl::StrCat(path, ".", field), message);
    good = false;
  };
  if (exception.rule().empty()) {
    bad("", "rule is missing; name the rule by its id");
  }
  if (exception.reason().empty()) {
    bad("", "reason is missing; an exception says why");
  }
  absl::CivilDay day;
  if (exception.expires().empty()) {
    bad("",
        "expires is missing; write the last day that it holds, as in "
        "\"2027-01-31\"");
  } else if (exception.expires().size() != 10 ||
             !absl::ParseCivilTime(exception.expires(), &day)) {
    bad("expires", absl::StrCat(Quote(exception.expires()),
                                " is no day; write it as in \"2027-01-31\""));
  } else {
    out.expires = absl::FromCivil(day + 1, absl::UTCTimeZone());
  }
  const int fields = exception.fields_size();
  if (fields == 0) bad("", "fields is missing; name the facts it is about");
  for (int i = 0; i < fields; ++i) {
    if (!IsDottedWord(exception.fields(i))) {
      bad(absl::StrCat("fields[", i, "]"),
          absl::StrCat(Quote(exception.fields(i)), " is no fact"));
    }
  }
  if (exception.comps_size() != fields) {
    bad("", absl::StrCat("comps has ", exception.comps_size(), " entries for ",
                         fields, " fields"));
  }
  for (int i = 0; i < exception.comps_size(); ++i) {
    if (exception.comps(i) != "==" && exception.comps(i) != "in") {
      bad(absl::StrCat("comps[", i, "]"),
          absl::StrCat(Quote(exception.comps(i)), "; allowed: ==, in"));
    }
  }
  if (exception.values_size() == 0) {
    bad("", "values is missing; an exception has a case");
  }
  for (int i = 0; i < exception.values_size(); ++i) {
    const auto& values = exception.values(i).v();
    if (values.size() != fields) {
      bad(absl::StrCat("values[", i, "]"),
          absl::StrCat("has ", values.size(), " values for ", fields,
                       " fields"));
    }
    if (!good) continue;
    std::vector<RuleException::Term> terms;
    for (int f = 0; f < fields; ++f) {
      RuleException::Term term;
      term.field = exception.fields(f);
      if (exception.comps(f) == "==") {
        term.values = {values[f]};
      } else {
        for (const absl::string_view value : absl::StrSplit(values[f], ',')) {
          term.values.emplace_back(absl::StripAsciiWhitespace(value));
        }
      }
      terms.push_back(std::move(term));
    }
    out.alternatives.push_back(std::move(terms));
  }
  if (!good) return std::nullopt;
  return out;
}

}  // namespace callgate::policy
