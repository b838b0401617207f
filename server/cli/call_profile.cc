#include "server/cli/call_profile.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "runtime/check.h"
#include "runtime/value.h"
#include "server/cli/values.h"
#include "server/events/escape.h"

namespace callgate::cli {

std::string FunctionLabel(const std::string& name, uint32_t func_index) {
  constexpr size_t kBytesMax = 100;
  return name.empty() ? absl::StrCat("#", func_index)
                      : events::EscapeText(name, kBytesMax);
}

CallProfile::CallProfile(Clock clock, bool keeps_trace)
    : clock_(std::move(clock)), keeps_trace_(keeps_trace) {}

void CallProfile::CountTime(absl::Time now) {
  if (!open_.empty()) known_[open_.back().probe].times.own += now - last_;
  last_ = now;
}

std::string* CallProfile::NewTraceLine(uint32_t depth,
                                       const ProbedFunction& function,
                                       char sign) {
  if (trace_.size() == kTraceLinesMax) {
    ++trace_lines_omitted_;
    return nullptr;
  }
  const size_t indent = std::min<size_t>(2 * (size_t{depth} - 1), kIndentMax);
  trace_.push_back(absl::StrCat(
      std::string(indent, ' '), std::string(1, sign), " ",
      FunctionLabel(std::string(function.name), function.func_index)));
  return &trace_.back();
}

void CallProfile::OnEnter(const FunctionEntry& entry) {
  const ProbedFunction& function = entry.function;
  CountTime(clock_());
  if (function.probe >= known_.size()) known_.resize(function.probe + 1);
  Known& known = known_[function.probe];
  if (known.times.calls == 0) {
    known.times.module = std::string(function.module);
    known.times.name = std::string(function.name);
    known.times.func_index = function.func_index;
  }
  ++known.times.calls;
  ++known.open;
  open_.push_back(Open{function.probe, last_});
  if (!keeps_trace_) return;
  std::string* const line = NewTraceLine(entry.depth, function, '>');
  if (line == nullptr) return;
  absl::StrAppend(line, "(");
  for (size_t i = 0; i < entry.args.size(); ++i) {
    if (i > 0) absl::StrAppend(line, ", ");
    if (i == kArgumentsMax) {
      absl::StrAppend(line, entry.args.size() - i, " more");
      break;
    }
    absl::StrAppend(line,
                    PlainText(Value(function.type->params[i], entry.args[i])));
  }
  absl::StrAppend(line, ")");
}

void CallProfile::OnLeave(const FunctionExit& exit) {
  CALLGATE_CHECK(!open_.empty() && open_.back().probe == exit.function.probe,
                 "probed calls nest");
  CountTime(clock_());
  Known& known = known_[exit.function.probe];
  if (--known.open == 0) known.times.total += last_ - open_.back().since;
  open_.pop_back();
  if (!keeps_trace_) return;
  std::string* const line = NewTraceLine(exit.depth, exit.function, '<');
  if (line != nullptr && exit.ending != FunctionEnding::kReturn) {
    absl::StrAppend(line, ": ", FunctionEndingName(exit.ending));
  }
}

ProbeReport CallProfile::Report() const {
  ProbeReport report;
  report.trace = trace_;
  report.trace_lines_omitted = trace_lines_omitted_;
  std::vector<FunctionTimes>& functions = report.functions;
  for (const Known& known : known_) {
    if (known.times.calls > 0) functions.push_back(known.times);
  }
  std::stable_sort(functions.begin(), functions.end(),
                   [](const FunctionTimes& a, const FunctionTimes& b) {
                     return a.own > b.own;
                   });
  return report;
}

}  // namespace callgate::cli
