#include "server/cli/module_upload.h"

#include <algorithm>
#include <chrono>
#include <memory>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "proto/callgate/v1/module_service.grpc.pb.h"
#include "server/cli/console.h"
#include "server/cli/exit_codes.h"
#include "server/cli/func_type_message.h"
#include "server/storage/digest.h"

namespace callgate::cli {
namespace {

// The daemon ends an upload that stalls; this is for a daemon that does not.
constexpr std::chrono::minutes kUploadDeadline(5);

}  // namespace

bool IsDigest(absl::string_view operand) {
  return absl::StartsWith(operand, "sha256:");
}

OrFailure<std::string> ReadModuleFile(const std::string& path) {
  absl::StatusOr<std::string> bytes = ReadFile(path, kModuleFileBytesMax);
  if (!bytes.ok()) return FailureOf(kExitNoInput, bytes.status());
  return *std::move(bytes);
}

OrFailure<v1::Module> UploadModule(
    const Connection& connection, absl::string_view bytes,
    const std::map<std::string, std::string>& labels) {
  const std::unique_ptr<v1::ModuleService::Stub> stub =
      v1::ModuleService::NewStub(connection.channel());
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + kUploadDeadline);
  v1::UploadModuleResponse response;
  const std::unique_ptr<grpc::ClientWriter<v1::UploadModuleRequest>> writer =
      stub->UploadModule(&context, &response);

  v1::UploadModuleRequest request;
  v1::UploadModuleRequest::Header& header = *request.mutable_header();
  header.set_expected_digest(storage::DigestOf(bytes).ToString());
  header.set_size_bytes(static_cast<int64_t>(bytes.size()));
  header.mutable_labels()->insert(labels.begin(), labels.end());
  // A write fails once the daemon has answered: because it has the module, or
  // because it has seen enough.
  bool wanted = writer->Write(request);
  constexpr size_t kChunkBytes = 65536;
  while (wanted && !bytes.empty()) {
    const absl::string_view chunk =
        bytes.substr(0, std::min(kChunkBytes, bytes.size()));
    request.set_chunk(chunk.data(), chunk.size());
    wanted = writer->Write(request);
    bytes.remove_prefix(chunk.size());
  }
  writer->WritesDone();
  const grpc::Status status = writer->Finish();
  if (!status.ok()) return connection.Explain(status);
  return std::move(*response.mutable_module());
}

OrFailure<v1::Module> ModuleOnDaemon(const Connection& connection,
                                     const std::string& operand) {
  if (!IsDigest(operand)) {
    OrFailure<std::string> bytes = ReadModuleFile(operand);
    if (!bytes.ok()) return bytes.failure();
    return UploadModule(connection, *bytes, {});
  }
  grpc::ClientContext context;
  SetCallDeadline(context);
  v1::GetModuleRequest request;
  request.set_name(operand);
  v1::Module module;
  const grpc::Status status = v1::ModuleService::NewStub(connection.channel())
                                  ->GetModule(&context, request, &module);
  if (!status.ok()) return connection.Explain(status);
  return module;
}

std::optional<FuncType> ExportedFunction(const v1::Module& module,
                                         absl::string_view name) {
  for (const v1::ModuleExport& each : module.exports()) {
    if (each.name() == std::string(name) &&
        each.kind() == v1::EXTERN_KIND_FUNC) {
      return FuncTypeOf(each.func_type());
    }
  }
  return std::nullopt;
}

std::vector<std::string> ExportedFunctions(const v1::Module& module) {
  std::vector<std::string> names;
  for (const v1::ModuleExport& each : module.exports()) {
    if (each.kind() == v1::EXTERN_KIND_FUNC) names.push_back(each.name());
  }
  return names;
}

}  // namespace callgate::cli
