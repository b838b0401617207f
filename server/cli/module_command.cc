#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "google/protobuf/empty.pb.h"
#include "proto/callgate/v1/module_service.grpc.pb.h"
#include "server/cli/commands.h"
#include "server/cli/connection.h"
#include "server/cli/console.h"
#include "server/cli/duration_message.h"
#include "server/cli/exit_codes.h"
#include "server/cli/message_json.h"
#include "server/cli/module_upload.h"
#include "server/cli/quoted.h"
#include "server/cli/text_table.h"
#include "server/events/escape.h"

namespace callgate::cli {
namespace {

using events::EscapeText;

OrFailure<std::map<std::string, std::string>> ParseLabels(
    const Arguments& arguments) {
  std::map<std::string, std::string> labels;
  for (const std::string& text : arguments.All("label")) {
    const size_t equals = text.find('=');
    if (equals == std::string::npos || equals == 0) {
      return WrongUsage(absl::StrCat("--label ", Quoted(text),
                                     " has not the form KEY=VALUE"));
    }
    if (!labels.emplace(text.substr(0, equals), text.substr(equals + 1))
             .second) {
      return WrongUsage(absl::StrCat("--label ", Quoted(text),
                                     " names a label that is given twice"));
    }
  }
  return labels;
}

template <typename Map>
std::string LabelsText(const Map& labels) {
  // A protobuf map has no order.
  std::string text;
  for (const auto& [key, value] :
       std::map<std::string, std::string>(labels.begin(), labels.end())) {
    absl::StrAppend(&text, text.empty() ? "" : " ", EscapeText(key), "=",
                    EscapeText(value));
  }
  return text;
}

std::string ModuleText(const v1::Module& module) {
  std::vector<std::vector<std::string>> rows = {
      {"digest", module.digest()},
      {"size", absl::StrCat(module.size_bytes(), " bytes")},
      {"stored", TimeText(module.create_time())},
      {"labels", LabelsText(module.labels())},
      {"live Stores", absl::StrCat(module.live_stores())},
      {"code", module.code_level().empty()
                   ? std::string("not in memory")
                   : absl::StrCat(module.code_level(), ", ",
                                  module.code_bytes(), " bytes")},
  };
  if (!module.code_level().empty()) {
    rows.push_back({"source lines", module.source_lines_cut() ? "known in part"
                                    : module.has_source_lines() ? "known"
                                                                : "not known"});
  }
  if (module.has_quarantine()) {
    const v1::Quarantine& quarantine = module.quarantine();
    rows.push_back(
        {"quarantine", absl::StrCat(TimeText(quarantine.time()), " by ",
                                    EscapeText(quarantine.policy()), "/",
                                    EscapeText(quarantine.rule()), ": ",
                                    EscapeText(quarantine.reason()))});
  }
  std::string text = TextTable(rows);

  std::vector<std::vector<std::string>> imports;
  for (const v1::ModuleImport& each : module.imports()) {
    imports.push_back({absl::StrCat("  ", EscapeText(each.module()), ".",
                                    EscapeText(each.name())),
                       EscapeText(each.type())});
  }
  std::vector<std::vector<std::string>> exports;
  for (const v1::ModuleExport& each : module.exports()) {
    exports.push_back(
        {absl::StrCat("  ", EscapeText(each.name())), EscapeText(each.type())});
  }
  std::vector<std::vector<std::string>> measures;
  for (const v1::AdmissionReport::Measure& each :
       module.admission().measures()) {
    measures.push_back({absl::StrCat("  ", EscapeText(each.limit())),
                        absl::StrCat(each.value(), " of ", each.max())});
  }
  absl::StrAppend(&text, "imports ", imports.size(), "\n", TextTable(imports),
                  "exports ", exports.size(), "\n", TextTable(exports),
                  "admission\n", TextTable(measures));
  return text;
}

}  // namespace

int ModulePush(const Arguments& arguments) {
  OrFailure<std::map<std::string, std::string>> labels = ParseLabels(arguments);
  if (!labels.ok()) return Report(labels.failure());
  OrFailure<Connection> connection = Connection::Open(arguments);
  if (!connection.ok()) return Report(connection.failure());
  OrFailure<std::string> bytes = ReadModuleFile(arguments.operands()[0]);
  if (!bytes.ok()) return Report(bytes.failure());
  OrFailure<v1::Module> module = UploadModule(*connection, *bytes, *labels);
  if (!module.ok()) return Report(module.failure());
  return Print(absl::StrCat(module->digest(), "\n"));
}

int ModuleLs(const Arguments& arguments) {
  OrFailure<Connection> connection = Connection::Open(arguments);
  if (!connection.ok()) return Report(connection.failure());
  const std::unique_ptr<v1::ModuleService::Stub> stub =
      v1::ModuleService::NewStub(connection->channel());
  const bool json = arguments.Has("json");
  std::vector<std::vector<std::string>> rows = {
      {"DIGEST", "BYTES", "STORED", "STORES", "STATE", "LABELS"}};
  std::string lines;
  v1::ListModulesRequest request;
  do {
    grpc::ClientContext context;
    SetCallDeadline(context);
    v1::ListModulesResponse response;
    const grpc::Status status = stub->ListModules(&context, request, &response);
    if (!status.ok()) return Report(connection->Explain(status));
    for (const v1::Module& module : response.modules()) {
      if (json) {
        absl::StrAppend(&lines, MessageJson(module), "\n");
        continue;
      }
      rows.push_back({module.digest(), absl::StrCat(module.size_bytes()),
                      TimeText(module.create_time()),
                      absl::StrCat(module.live_stores()),
                      module.has_quarantine() ? "quarantine" : "ready",
                      LabelsText(module.labels())});
    }
    request.set_page_token(response.next_page_token());
  } while (!request.page_token().empty());
  return Print(json ? lines : TextTable(rows));
}

int ModuleShow(const Arguments& arguments) {
  OrFailure<Connection> connection = Connection::Open(arguments);
  if (!connection.ok()) return Report(connection.failure());
  grpc::ClientContext context;
  SetCallDeadline(context);
  v1::GetModuleRequest request;
  request.set_name(arguments.operands()[0]);
  v1::Module module;
  const grpc::Status status = v1::ModuleService::NewStub(connection->channel())
                                  ->GetModule(&context, request, &module);
  if (!status.ok()) return Report(connection->Explain(status));
  return Print(arguments.Has("json") ? MessageJson(module) + "\n"
                                     : ModuleText(module));
}

int ModuleRm(const Arguments& arguments) {
  OrFailure<Connection> connection = Connection::Open(arguments);
  if (!connection.ok()) return Report(connection.failure());
  grpc::ClientContext context;
  SetCallDeadline(context);
  v1::DeleteModuleRequest request;
  request.set_name(arguments.operands()[0]);
  google::protobuf::Empty response;
  const grpc::Status status = v1::ModuleService::NewStub(connection->channel())
                                  ->DeleteModule(&context, request, &response);
  if (!status.ok()) return Report(connection->Explain(status));
  return kExitOk;
}

}  // namespace callgate::cli
