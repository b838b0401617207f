#include "server/cli/bench_report.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/string_view.h"
#include "server/cli/json.h"
#include "server/cli/text_table.h"
#include "server/cli/values.h"

namespace callgate::cli {
namespace {

constexpr absl::string_view kNothing = "null";

std::string PlainResults(const std::vector<Value>& results) {
  return absl::StrJoin(results, " ", [](std::string* out, const Value& value) {
    absl::StrAppend(out, PlainText(value));
  });
}

// "1.5 ns", "20.3 us", "1.23 ms": three digits, whatever the size.
std::string Readable(double ns) {
  if (ns < 1e3) return absl::StrFormat("%.3g ns", ns);
  if (ns < 1e6) return absl::StrFormat("%.4g us", ns / 1e3);
  return absl::StrFormat("%.4g ms", ns / 1e6);
}

}  // namespace

std::string BenchJson(const BenchReport& report) {
  JsonObject json;
  json.Text("engine", report.engine);
  if (report.level.empty()) {
    json.Raw("level", kNothing);
  } else {
    json.Text("level", report.level);
  }
  json.Bool("fuel", report.fuel)
      .Text("hook", report.hook)
      .Real("compile_ms", report.compile_ms);
  if (report.load_us.has_value()) {
    json.Real("load_us", *report.load_us);
  } else {
    json.Raw("load_us", kNothing);
  }
  json.Real("instantiate_us", report.instantiate_us);
  if (report.code_bytes.has_value()) {
    json.Unsigned("code_bytes", *report.code_bytes);
  } else {
    json.Raw("code_bytes", kNothing);
  }
  if (!report.called.has_value()) {
    return json.Raw("call_ns", kNothing).Raw("result", kNothing).ToString() +
           "\n";
  }
  const BenchReport::Called& called = *report.called;
  return json.Raw("call_ns", JsonObject()
                                 .Real("min", called.times.min)
                                 .Real("median", called.times.median)
                                 .ToString())
             .Unsigned("batch", called.times.batch)
             .Unsigned("repeat", called.repeat)
             .Unsigned("fuel_used", called.fuel_used)
             .Unsigned("host_calls", called.host_calls)
             .Bool("stable", called.stable)
             .Text("result", PlainResults(called.results))
             .ToString() +
         "\n";
}

std::string BenchText(const BenchReport& report) {
  std::vector<std::vector<std::string>> rows = {
      {"engine", absl::StrCat(report.engine, report.level.empty() ? "" : ", ",
                              report.level)},
      {"fuel", report.fuel ? "on" : "off"},
      {"hook", report.hook},
      {"compile", Readable(report.compile_ms * 1e6)},
  };
  if (report.load_us.has_value()) {
    rows.push_back({"load", Readable(*report.load_us * 1e3)});
  }
  rows.push_back({"instantiate", Readable(report.instantiate_us * 1e3)});
  if (report.code_bytes.has_value()) {
    rows.push_back({"code", absl::StrCat(*report.code_bytes, " bytes")});
  }
  if (!report.called.has_value()) return TextTable(rows);
  const BenchReport::Called& called = *report.called;
  rows.push_back({"call, min", Readable(called.times.min)});
  rows.push_back(
      {"call, median", absl::StrCat(Readable(called.times.median), " of ",
                                    called.repeat, " x ", called.times.batch)});
  rows.push_back({"fuel used", absl::StrCat(called.fuel_used)});
  rows.push_back({"host calls", absl::StrCat(called.host_calls)});
  rows.push_back(
      {"result", absl::StrCat(PlainResults(called.results),
                              called.stable ? "" : ", and others later")});
  return TextTable(rows);
}

}  // namespace callgate::cli
