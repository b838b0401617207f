#include "server/cli/outcome_report.h"

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "absl/time/time.h"
#include "server/cli/console.h"
#include "server/cli/exit_codes.h"
#include "server/cli/import_text.h"
#include "server/cli/json.h"
#include "server/cli/text_table.h"
#include "server/cli/values.h"
#include "server/events/escape.h"
#include "server/events/event_json.h"

namespace callgate::cli {
namespace {

// What a verdict did to a call, and what an audit rule would have done.
struct Wording {
  v1::Verdict verdict;
  absl::string_view did;
  absl::string_view would;
};

constexpr Wording kWordings[] = {
    {v1::VERDICT_ALLOW, "allowed", "have allowed"},
    {v1::VERDICT_LOG, "logged", "have logged"},
    {v1::VERDICT_ALERT, "alert on", "have alerted on"},
    {v1::VERDICT_THROTTLE, "delayed", "have delayed"},
    {v1::VERDICT_DENY, "denied", "have denied"},
    {v1::VERDICT_TRAP, "trapped", "have trapped"},
    {v1::VERDICT_KILL_STORE, "ended the Store at", "have ended the Store at"},
    {v1::VERDICT_QUARANTINE_MODULE, "put the module into quarantine at",
     "have put the module into quarantine at"},
};

const Wording& WordingOf(v1::Verdict verdict) {
  for (const Wording& wording : kWordings) {
    if (wording.verdict == verdict) return wording;
  }
  static constexpr Wording kUnknown = {v1::VERDICT_UNSPECIFIED, "judged",
                                       "have judged"};
  return kUnknown;
}

std::string ValueJson(const Value& value) {
  const absl::string_view type = ValTypeName(value.type());
  return JsonObject()
      .Text("type", type)
      .Text("value", PlainText(value))
      .Text("bits", BitsText(value))
      .ToString();
}

std::string VerdictJson(const VerdictCount& verdict) {
  JsonObject json;
  json.Text("verdict", events::ShortWord(verdict.verdict));
  if (verdict.would_be_verdict != v1::VERDICT_UNSPECIFIED) {
    json.Text("would_be_verdict", events::ShortWord(verdict.would_be_verdict));
  }
  json.Text("policy", verdict.policy)
      .Text("rule", verdict.rule)
      .Text("import_module", verdict.import_module)
      .Text("import_name", verdict.import_name)
      .Text("message", verdict.message);
  if (verdict.verdict == v1::VERDICT_DENY) {
    json.Unsigned("guest_errno", verdict.guest_errno);
  }
  return json.Unsigned("count", verdict.count).ToString();
}

std::string TrapJson(const TrapFacts& trap) {
  std::vector<std::string> frames;
  for (const Frame& frame : trap.frames) {
    JsonObject json;
    json.Unsigned("func_index", frame.func_index)
        .Text("func_name", frame.func_name);
    if (frame.module_offset.has_value()) {
      json.Unsigned("module_offset", *frame.module_offset);
    }
    if (frame.source.has_value()) {
      json.Text("file", frame.source->file)
          .Unsigned("line", frame.source->line);
      if (frame.source->column != 0) {
        json.Unsigned("column", frame.source->column);
      }
    }
    frames.push_back(json.ToString());
  }
  return JsonObject()
      .Text("code", trap.code)
      .Text("message", trap.message)
      .Raw("frames", JsonArray(frames))
      .ToString();
}

// Text as text; other bytes as base64 under a second name, because JSON cannot
// hold them.
void SetOutput(JsonObject& json, const std::string& name,
               const std::string& bytes) {
  json.Text(name, bytes);
  if (!IsUtf8(bytes)) {
    json.Text(absl::StrCat(name, "_base64"), absl::Base64Escape(bytes));
  }
}

std::string ProbesJson(const ProbeReport& probes) {
  std::vector<std::string> functions;
  for (const FunctionTimes& function : probes.functions) {
    functions.push_back(
        JsonObject()
            .Text("module", function.module)
            .Text("func_name", function.name)
            .Unsigned("func_index", function.func_index)
            .Unsigned("calls", function.calls)
            .Real("total_seconds", absl::ToDoubleSeconds(function.total))
            .Real("own_seconds", absl::ToDoubleSeconds(function.own))
            .ToString());
  }
  std::vector<std::string> trace;
  for (const std::string& line : probes.trace) {
    trace.push_back(JsonString(line));
  }
  return JsonObject()
      .Raw("functions", JsonArray(functions))
      .Raw("trace", JsonArray(trace))
      .Unsigned("trace_lines_omitted", probes.trace_lines_omitted)
      .ToString();
}

void SetFacts(JsonObject& json, const RunFacts& facts) {
  const auto set_list = [&](absl::string_view key,
                            const std::vector<std::string>& texts) {
    std::vector<std::string> list;
    for (const std::string& text : texts) list.push_back(JsonString(text));
    if (!list.empty()) json.Raw(key, JsonArray(list));
  };
  if (!facts.module_digest.empty()) json.Text("module", facts.module_digest);
  if (!facts.store.empty()) json.Text("store", facts.store);
  set_list("policies", facts.policies);
  set_list("warnings", facts.warnings);
  if (facts.probes.has_value()) json.Raw("probes", ProbesJson(*facts.probes));
}

}  // namespace

std::string VerdictLine(const VerdictCount& verdict) {
  const bool more_under_audit =
      verdict.would_be_verdict != v1::VERDICT_UNSPECIFIED &&
      verdict.would_be_verdict != verdict.verdict;
  // Else the rule that is named is one that is enforced.
  const bool audit = more_under_audit && verdict.verdict == v1::VERDICT_ALLOW;
  std::string line =
      audit ? absl::StrCat("audit: would ",
                           WordingOf(verdict.would_be_verdict).would)
            : std::string(WordingOf(verdict.verdict).did);
  if (!verdict.import_module.empty() || !verdict.import_name.empty()) {
    absl::StrAppend(&line, " ",
                    ImportText(verdict.import_module, verdict.import_name));
  } else {
    // A budget of the call or of the Store, not a call of an import.
    absl::StrAppend(&line, " the guest");
  }
  absl::StrAppend(&line, " by ", verdict.policy, "/", verdict.rule);
  // A growth that is denied answers no errno.
  if (!audit && verdict.verdict == v1::VERDICT_DENY &&
      verdict.guest_errno != 0) {
    absl::StrAppend(&line, " (errno ", verdict.guest_errno, ")");
  }
  if (more_under_audit && !audit) {
    absl::StrAppend(&line, " (audit: would ",
                    WordingOf(verdict.would_be_verdict).would, " it)");
  }
  if (verdict.count > 1) absl::StrAppend(&line, ", ", verdict.count, " times");
  if (!verdict.message.empty()) {
    absl::StrAppend(&line, ": ", verdict.message);
  }
  return line;
}

std::string EndLine(const Outcome& outcome) {
  const std::string message =
      outcome.trap.has_value() ? outcome.trap->message : "";
  switch (outcome.kind) {
    case OutcomeKind::kReturned:
    case OutcomeKind::kExited:
      return "";
    case OutcomeKind::kTrapped:
      return absl::StrCat("trap: ", message);
    case OutcomeKind::kPolicyTrapped:
      return absl::StrCat("call ended by policy: ", message);
    case OutcomeKind::kPolicyKilled:
      return absl::StrCat("Store ended by policy: ", message);
    case OutcomeKind::kPolicyQuarantined:
      return absl::StrCat("Store ended and module in quarantine by policy: ",
                          message);
    case OutcomeKind::kBudgetExceeded:
      return absl::StrCat("budget ", outcome.budget, " exceeded: ", message);
    case OutcomeKind::kKilled:
      return absl::StrCat("Store killed: ", message);
  }
  return message;
}

std::vector<std::string> FrameLines(const Outcome& outcome) {
  std::vector<std::string> lines;
  if (!outcome.trap.has_value()) return lines;
  for (const Frame& frame : outcome.trap->frames) {
    std::string line =
        absl::StrCat("#", lines.size(), " func ", frame.func_index);
    if (!frame.func_name.empty()) {
      absl::StrAppend(&line, " (", events::EscapeText(frame.func_name), ")");
    }
    if (frame.source.has_value()) {
      absl::StrAppend(&line, " in ",
                      events::EscapeText(ToString(*frame.source)));
    }
    if (frame.module_offset.has_value()) {
      absl::StrAppendFormat(&line, " at 0x%x", *frame.module_offset);
    }
    lines.push_back(std::move(line));
  }
  return lines;
}

void SayOutcome(const Outcome& outcome) {
  for (const VerdictCount& verdict : outcome.verdicts) {
    Say(VerdictLine(verdict));
  }
  if (outcome.verdicts_omitted > 0) {
    Say(absl::StrCat(outcome.verdicts_omitted, " further verdicts not shown"));
  }
  if (const std::string line = EndLine(outcome); !line.empty()) {
    Say(line);
    for (const std::string& frame : FrameLines(outcome)) SayMore(frame);
  }
  if (outcome.output_omitted_bytes > 0) {
    Say(absl::StrCat(outcome.output_omitted_bytes,
                     " bytes of the guest's output not shown"));
  }
}

void SayProbes(const ProbeReport& probes) {
  if (!probes.trace.empty()) {
    Say("probed calls:");
    for (const std::string& line : probes.trace) SayMore(line);
  }
  if (probes.trace_lines_omitted > 0) {
    Say(absl::StrCat(probes.trace_lines_omitted,
                     " further lines of probed calls not shown"));
  }
  if (probes.functions.empty()) {
    Say("no function that --probe selects was called");
    return;
  }
  const auto milliseconds = [](absl::Duration time) {
    return absl::StrFormat("%.3fms", absl::ToDoubleMilliseconds(time));
  };
  std::vector<std::vector<std::string>> rows = {
      {"own", "total", "calls", "function"}};
  for (const FunctionTimes& function : probes.functions) {
    rows.push_back({milliseconds(function.own), milliseconds(function.total),
                    absl::StrCat(function.calls),
                    FunctionLabel(function.name, function.func_index)});
  }
  Say("probed functions, by own time:");
  for (const absl::string_view line :
       absl::StrSplit(TextTable(rows), '\n', absl::SkipEmpty())) {
    SayMore(line);
  }
}

std::string OutcomeJson(const Outcome& outcome, const RunFacts& facts) {
  JsonObject json;
  const absl::string_view kind = OutcomeKindName(outcome.kind);
  json.Text("outcome", kind).Number("exit_code", outcome.exit_code);
  SetFacts(json, facts);
  std::vector<std::string> results;
  for (const Value& value : outcome.results) {
    results.push_back(ValueJson(value));
  }
  json.Raw("results", JsonArray(results));
  if (outcome.trap.has_value()) json.Raw("trap", TrapJson(*outcome.trap));
  if (!outcome.budget.empty()) json.Text("budget", outcome.budget);
  std::vector<std::string> verdicts;
  for (const VerdictCount& verdict : outcome.verdicts) {
    verdicts.push_back(VerdictJson(verdict));
  }
  json.Raw("verdicts", JsonArray(verdicts))
      .Unsigned("verdicts_omitted", outcome.verdicts_omitted)
      .Raw("usage",
           JsonObject()
               .Unsigned("fuel", outcome.usage.fuel)
               .Real("wall_seconds", absl::ToDoubleSeconds(outcome.usage.wall))
               .Unsigned("host_calls", outcome.usage.host_calls)
               .Unsigned("host_bytes", outcome.usage.host_bytes)
               .Unsigned("memory_bytes", outcome.memory_bytes)
               .ToString())
      .Bool("store_usable", outcome.store_usable);
  SetOutput(json, "stdout", outcome.stdout_bytes);
  SetOutput(json, "stderr", outcome.stderr_bytes);
  if (outcome.output_omitted_bytes > 0) {
    json.Unsigned("output_omitted_bytes", outcome.output_omitted_bytes);
  }
  return json.ToString() + "\n";
}

std::string FailureJson(const Failure& failure, const RunFacts& facts) {
  JsonObject json;
  // The word for what the exit code says.
  absl::string_view outcome = "failed";
  switch (failure.exit_code) {
    case kExitUsage:
      outcome = "wrong_usage";
      break;
    case kExitModuleRefused:
      outcome = "module_refused";
      break;
    case kExitNoInput:
      outcome = "no_input";
      break;
    case kExitNoDaemon:
      outcome = "no_daemon";
      break;
    case kExitPolicyRefused:
      outcome = "policy_refused";
      break;
    case kExitTrapped:
      outcome = "trapped";
      break;
    case kExitInterrupted:
    case kExitTerminated:
      outcome = "interrupted";
      break;
    default:
      break;
  }
  json.Text("outcome", outcome)
      .Number("exit_code", failure.exit_code)
      .Text("message", failure.message);
  if (!failure.reason.empty()) json.Text("reason", failure.reason);
  SetFacts(json, facts);
  std::vector<std::string> details;
  for (const std::string& detail : failure.details) {
    details.push_back(JsonString(detail));
  }
  if (!details.empty()) json.Raw("details", JsonArray(details));
  return json.ToString() + "\n";
}

}  // namespace callgate::cli
