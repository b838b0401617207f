// `callgate module verify`: what the daemon would say of a module, worked out
// in this process.

#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "runtime/admission/module_limits.h"
#include "runtime/module.h"
#include "server/cli/commands.h"
#include "server/cli/console.h"
#include "server/cli/exit_codes.h"
#include "server/cli/failure.h"
#include "server/cli/json.h"
#include "server/cli/local_engine.h"
#include "server/cli/module_upload.h"
#include "server/cli/outcome_report.h"
#include "server/cli/text_table.h"
#include "server/events/escape.h"
#include "server/module_admission.h"
#include "server/storage/digest.h"

namespace callgate::cli {
namespace {

using events::EscapeText;

std::string Text(const std::string& digest, const Module& module) {
  const admission::ModuleSummary& summary = module.summary();
  std::vector<std::vector<std::string>> imports;
  for (const ImportType& each : module.imports()) {
    imports.push_back({absl::StrCat("  ", EscapeText(each.module), ".",
                                    EscapeText(each.name)),
                       each.type.ToString()});
  }
  std::vector<std::vector<std::string>> exports;
  for (const ExportType& each : module.exports()) {
    exports.push_back(
        {absl::StrCat("  ", EscapeText(each.name)), each.type.ToString()});
  }
  return absl::StrCat(
      "admitted and valid\n",
      TextTable({{"digest", digest},
                 {"size", absl::StrCat(summary.bytes, " bytes")},
                 {"functions", absl::StrCat(summary.own_functions)},
                 {"start function", summary.start_function.has_value()
                                        ? absl::StrCat(*summary.start_function)
                                        : "none"}}),
      "imports ", imports.size(), "\n", TextTable(imports), "exports ",
      exports.size(), "\n", TextTable(exports));
}

std::string Json(const std::string& digest, const Module& module) {
  std::vector<std::string> imports;
  for (const ImportType& each : module.imports()) {
    imports.push_back(JsonObject()
                          .Text("module", each.module)
                          .Text("name", each.name)
                          .Text("type", each.type.ToString())
                          .ToString());
  }
  std::vector<std::string> exports;
  for (const ExportType& each : module.exports()) {
    exports.push_back(JsonObject()
                          .Text("name", each.name)
                          .Text("type", each.type.ToString())
                          .ToString());
  }
  JsonObject json;
  json.Text("outcome", "admitted")
      .Number("exit_code", kExitOk)
      .Text("module", digest)
      .Unsigned("size_bytes", module.summary().bytes)
      .Unsigned("functions", module.summary().own_functions);
  if (module.summary().start_function.has_value()) {
    json.Unsigned("start_function", *module.summary().start_function);
  }
  return json.Raw("imports", JsonArray(imports))
             .Raw("exports", JsonArray(exports))
             .ToString() +
         "\n";
}

}  // namespace

int ModuleVerify(const Arguments& arguments) {
  const bool json = arguments.Has("json");
  RunFacts facts;
  const auto refuse = [&](const Failure& failure) {
    Report(failure);
    if (json) Print(FailureJson(failure, facts));
    return failure.exit_code;
  };
  OrFailure<std::string> bytes = ReadModuleFile(arguments.operands()[0]);
  if (!bytes.ok()) return refuse(bytes.failure());
  facts.module_digest = storage::DigestOf(*bytes).ToString();
  OrFailure<std::unique_ptr<HostedEngine>> hosted = StartLocalEngine();
  if (!hosted.ok()) return refuse(hosted.failure());
  const Engine* const engine = &(*hosted)->engine();
  const absl::StatusOr<std::shared_ptr<const Module>> module =
      CompileModule(*engine, *bytes, engine->options().module_limits);
  if (!module.ok()) return refuse(FailureOf(module.status()));
  return Print(json ? Json(facts.module_digest, **module)
                    : Text(facts.module_digest, **module));
}

}  // namespace callgate::cli
