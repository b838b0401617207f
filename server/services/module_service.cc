#include "server/services/module_service.h"

#include <limits>
#include <map>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "policy/import_name.h"
#include "runtime/wasi/wasi.h"
#include "server/error_reason.h"
#include "server/module_admission.h"
#include "server/services/messages.h"
#include "server/services/resource_name.h"
#include "server/services/store_maker.h"
#include "server/services/unary_call.h"

namespace callgate {
namespace {

constexpr char kService[] = "callgate.v1.ModuleService";

struct ModuleName {
  std::string tenant;
  storage::Digest digest;
};

absl::StatusOr<storage::Digest> ParseDigest(absl::string_view text) {
  absl::StatusOr<storage::Digest> digest = storage::Digest::Parse(text);
  if (!digest.ok()) return WithReason(digest.status(), reason::kBadArgument);
  return digest;
}

absl::StatusOr<ModuleName> ParseModuleName(absl::string_view name) {
  absl::StatusOr<TenantResource> resource =
      ParseTenantResource("modules", name);
  if (!resource.ok()) return resource.status();
  const absl::StatusOr<storage::Digest> digest = ParseDigest(resource->id);
  if (!digest.ok()) return digest.status();
  return ModuleName{std::move(resource->tenant), *digest};
}

// What a stored module is described under: it was admitted once, and must not
// become unreadable because limits have been lowered since.
admission::ModuleLimits NoLimits() {
  admission::ModuleLimits limits;
  for (const admission::LimitName& limit : admission::AllLimits()) {
    limits.*(limit.member) = std::numeric_limits<uint32_t>::max();
  }
  return limits;
}

// The refusal as a message, of a status with a reason of CompileModule's.
void SetRefusal(const absl::Status& status, v1::ModuleRefusal* refusal) {
  refusal->set_reason(ReasonOf(status));
  refusal->set_message(std::string(status.message()));
  refusal->set_limit(ReasonMetadata(status, "limit"));
  uint64_t number = 0;
  if (absl::SimpleAtoi(ReasonMetadata(status, "value"), &number)) {
    refusal->set_value(number);
  }
  if (absl::SimpleAtoi(ReasonMetadata(status, "max"), &number)) {
    refusal->set_max(number);
  }
  if (absl::SimpleAtoi(ReasonMetadata(status, "offset"), &number)) {
    refusal->set_offset(number);
  }
}

bool IsRefusal(const absl::Status& status) {
  const std::string why = ReasonOf(status);
  return why == reason::kModuleMalformed || why == reason::kModuleInvalid ||
         why == reason::kModuleUnsupported || why == reason::kModuleOverLimit;
}

}  // namespace

absl::Status ModuleService::SetRecord(const storage::ModuleRecord& record,
                                      v1::Module* module) {
  const std::string digest = record.digest.ToString();
  module->set_name(TenantResourceName(record.tenant, "modules", digest));
  module->set_digest(digest);
  module->set_size_bytes(static_cast<int64_t>(record.size_bytes));
  module->mutable_labels()->insert(record.labels.begin(), record.labels.end());
  *module->mutable_create_time() = ToProto(record.created);
  module->set_live_stores(parts_.modules.UsesOf(record.tenant, record.digest));
  if (const std::shared_ptr<const Module> loaded =
          parts_.modules.Loaded(record.digest)) {
    module->set_code_level(std::string(loaded->code_level()));
    module->set_code_bytes(static_cast<int64_t>(loaded->code_bytes()));
    module->set_has_source_lines(loaded->has_source_lines());
    module->set_source_lines_cut(loaded->are_source_lines_cut());
  }
  const absl::StatusOr<std::optional<storage::QuarantineRecord>> found =
      parts_.quarantines.Find(record.tenant, record.digest);
  if (!found.ok()) return found.status();
  if (found->has_value()) {
    v1::Quarantine* quarantine = module->mutable_quarantine();
    quarantine->set_reason((*found)->reason);
    quarantine->set_policy((*found)->policy);
    quarantine->set_rule((*found)->rule);
    *quarantine->mutable_time() = ToProto((*found)->since);
  }
  return absl::OkStatus();
}

absl::Status ModuleService::SetModule(const storage::ModuleRecord& record,
                                      v1::Module* module) {
  const absl::Status status = SetRecord(record, module);
  if (!status.ok()) return status;
  const absl::StatusOr<std::string> bytes =
      parts_.modules.Read(record.tenant, record.digest);
  if (!bytes.ok()) return bytes.status();
  const admission::ScanResult scan = admission::Scan(
      ModuleBytes(*bytes), NoLimits(), parts_.engine.options().features);
  if (!scan.admitted()) {
    return absl::DataLossError(absl::StrCat(
        "module ", record.digest.ToString(),
        " is stored but can no longer be read: ", scan.refusal->message));
  }
  DescribeModule(*scan.summary, parts_.modules.UploadLimits(), module);
  return absl::OkStatus();
}

absl::StatusOr<bool> ModuleService::OnUploadHeader(
    const v1::UploadModuleRequest::Header& header,
    v1::UploadModuleResponse* response) {
  const absl::StatusOr<std::string> tenant = ParseTenant(header.parent());
  if (!tenant.ok()) return tenant.status();
  const absl::StatusOr<Labels> labels = LabelsFromProto(header.labels());
  if (!labels.ok()) return labels.status();
  if (header.expected_digest().empty()) return false;
  const absl::StatusOr<storage::Digest> digest =
      ParseDigest(header.expected_digest());
  if (!digest.ok()) return digest.status();
  const absl::StatusOr<ModuleLibrary::Stored> stored =
      parts_.modules.FindForUpload(*tenant, *digest, *labels);
  if (absl::IsNotFound(stored.status())) return false;
  if (!stored.ok()) return stored.status();
  const absl::Status status =
      SetModule(stored->record, response->mutable_module());
  if (!status.ok()) return status;
  response->set_already_present(true);
  return true;
}

absl::Status ModuleService::OnUploadBytes(
    const v1::UploadModuleRequest::Header& header, std::string bytes,
    v1::UploadModuleResponse* response) {
  const absl::StatusOr<std::string> tenant = ParseTenant(header.parent());
  if (!tenant.ok()) return tenant.status();
  const absl::StatusOr<Labels> labels = LabelsFromProto(header.labels());
  if (!labels.ok()) return labels.status();
  if (!header.expected_digest().empty()) {
    const std::string digest = storage::DigestOf(bytes).ToString();
    if (digest != header.expected_digest()) {
      parts_.metrics.CountAdmission("refused", "digest_mismatch");
      return ErrorWithReason(
          absl::StatusCode::kInvalidArgument, reason::kDigestMismatch,
          absl::StrCat("the bytes are ", digest, ", not the expected ",
                       header.expected_digest()));
    }
  }
  absl::StatusOr<ModuleLibrary::Stored> stored =
      parts_.modules.Store(*tenant, *labels, std::move(bytes));
  if (!stored.ok()) return stored.status();
  response->set_already_present(stored->already_present);
  return SetModule(stored->record, response->mutable_module());
}

grpc::ServerReadReactor<v1::UploadModuleRequest>* ModuleService::UploadModule(
    grpc::CallbackServerContext* context, v1::UploadModuleResponse* response) {
  using Call = Upload<v1::UploadModuleRequest, v1::UploadModuleResponse>;
  return Call::Start(
      parts_, uploads_, context, response,
      {kService, "UploadModule",
       [this](const Call::Header& header, v1::UploadModuleResponse* to) {
         return OnUploadHeader(header, to);
       },
       [this](const Call::Header& header, std::string bytes,
              v1::UploadModuleResponse* to) {
         return OnUploadBytes(header, std::move(bytes), to);
       },
       [this](const absl::Status& status) {
         parts_.metrics.CountAdmission(
             "refused", ReasonOf(status) == reason::kModuleOverLimit
                            ? "limit"
                            : "incomplete");
       }});
}

absl::Status ModuleService::OnVerifyBytes(
    const v1::VerifyModuleRequest::Header& header, std::string bytes,
    v1::VerifyModuleResponse* response) {
  const absl::StatusOr<std::string> tenant = ParseTenant(header.parent());
  if (!tenant.ok()) return tenant.status();
  const absl::StatusOr<Labels> labels = LabelsFromProto(header.labels());
  if (!labels.ok()) return labels.status();
  const std::string digest = storage::DigestOf(bytes).ToString();
  const absl::StatusOr<LoadedModule> loaded =
      parts_.modules.Check(*tenant, std::move(bytes));
  if (!loaded.ok()) {
    if (!IsRefusal(loaded.status())) return loaded.status();
    SetRefusal(loaded.status(), response->mutable_refusal());
    return absl::OkStatus();
  }
  response->set_admitted(true);
  v1::Module* module = response->mutable_module();
  module->set_digest(digest);
  module->set_size_bytes(static_cast<int64_t>(loaded->bytes->size()));
  DescribeModule(loaded->module->summary(), parts_.modules.UploadLimits(),
                 module);

  // What its Stores would be linked with, as far as it is known now.
  std::map<std::pair<std::string, std::string>, HostFunctionSpec> specs;
  for (const wasi::FunctionInfo& function : wasi::AllFunctions()) {
    specs[{std::string(wasi::kModuleName), function.name}] = function.spec;
  }
  for (HostFunctionEntry& entry :
       parts_.host_modules.FunctionsFor({*tenant, "", digest})) {
    specs[{entry.module, entry.name}] = std::move(entry.definition.spec);
  }
  std::vector<policy::LinkedImport> linked;
  for (const ImportType& import : loaded->module->imports()) {
    const auto found = specs.find({import.module, import.name});
    if (found == specs.end()) {
      *response->add_missing_imports() = ToProto(import);
    } else if (import.type.kind == ExternKind::kFunc) {
      linked.push_back(
          {import.module, import.name, &import.type.func, &found->second});
    }
  }
  v1::StoreConfig config;
  config.set_policy(header.policy());
  const auto selected = SelectPolicies(parts_, *tenant, *labels, config);
  if (!selected.ok()) {
    response->add_policy_findings(std::string(selected.status().message()));
    return absl::OkStatus();
  }
  const absl::Status within = CheckModuleLimits(
      parts_.engine, *loaded->bytes, LimitsUnder(parts_.engine, *selected));
  if (!within.ok()) {
    response->add_policy_findings(std::string(within.message()));
  }
  for (const auto& policy : *selected) {
    const policy::LinkFindings findings = policy->CheckAgainst(linked);
    for (const auto* list : {&findings.problems, &findings.warnings}) {
      for (const policy::Problem& problem : *list) {
        response->add_policy_findings(problem.ToString());
      }
    }
    for (const policy::LinkedImport& import : linked) {
      const policy::ImportPolicy* rules =
          policy->FindImport(import.module, import.name);
      if (rules != nullptr && rules->allowed) continue;
      response->add_policy_findings(absl::StrCat(
          "policy ", policy->name(), ": ",
          policy::FormatImportName(import.module, import.name),
          rules == nullptr ? " is not listed" : " is not allowed"));
    }
  }
  return absl::OkStatus();
}

grpc::ServerReadReactor<v1::VerifyModuleRequest>* ModuleService::VerifyModule(
    grpc::CallbackServerContext* context, v1::VerifyModuleResponse* response) {
  using Call = Upload<v1::VerifyModuleRequest, v1::VerifyModuleResponse>;
  return Call::Start(
      parts_, uploads_, context, response,
      {kService, "VerifyModule",
       [](const Call::Header&, v1::VerifyModuleResponse*) { return false; },
       [this](const Call::Header& header, std::string bytes,
              v1::VerifyModuleResponse* to) {
         return OnVerifyBytes(header, std::move(bytes), to);
       },
       [](const absl::Status&) {}});
}

grpc::ServerUnaryReactor* ModuleService::GetModule(
    grpc::CallbackServerContext* context, const v1::GetModuleRequest* request,
    v1::Module* response) {
  return UnaryCall::Start(
      parts_, kService, "GetModule", context, &parts_.control,
      [this, request, response](UnaryCall&) -> absl::Status {
        const absl::StatusOr<ModuleName> name =
            ParseModuleName(request->name());
        if (!name.ok()) return name.status();
        const absl::StatusOr<storage::ModuleRecord> record =
            parts_.modules.Find(name->tenant, name->digest);
        if (!record.ok()) return record.status();
        return SetModule(*record, response);
      });
}

grpc::ServerUnaryReactor* ModuleService::ListModules(
    grpc::CallbackServerContext* context, const v1::ListModulesRequest* request,
    v1::ListModulesResponse* response) {
  return UnaryCall::Start(
      parts_, kService, "ListModules", context, &parts_.control,
      [this, request, response](UnaryCall&) -> absl::Status {
        const absl::StatusOr<std::string> tenant =
            ParseTenant(request->parent());
        if (!tenant.ok()) return tenant.status();
        const absl::StatusOr<size_t> size = ParsePageSize(request->page_size());
        if (!size.ok()) return size.status();
        absl::StatusOr<storage::ModulePage> page =
            parts_.storage.catalogue().ListModules(*tenant, *size,
                                                   request->page_token());
        if (!page.ok()) {
          return absl::IsInvalidArgument(page.status())
                     ? WithReason(page.status(), reason::kBadArgument)
                     : page.status();
        }
        for (const storage::ModuleRecord& record : page->modules) {
          const absl::Status status =
              SetRecord(record, response->add_modules());
          if (!status.ok()) return status;
        }
        response->set_next_page_token(page->next);
        return absl::OkStatus();
      });
}

grpc::ServerUnaryReactor* ModuleService::DeleteModule(
    grpc::CallbackServerContext* context,
    const v1::DeleteModuleRequest* request, google::protobuf::Empty*) {
  return UnaryCall::Start(
      parts_, kService, "DeleteModule", context, &parts_.control,
      [this, request](UnaryCall&) -> absl::Status {
        const absl::Status draining = CheckNotDraining(parts_);
        if (!draining.ok()) return draining;
        const absl::StatusOr<ModuleName> name =
            ParseModuleName(request->name());
        if (!name.ok()) return name.status();
        return parts_.modules.Delete(name->tenant, name->digest);
      });
}

}  // namespace callgate
