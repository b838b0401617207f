#include "server/guest_setup.h"

#include <algorithm>
#include <cstdint>
#include <limits>
#include <memory>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "policy/import_name.h"
#include "runtime/wasi/wasi.h"
#include "server/error_reason.h"
#include "server/events/escape.h"

namespace callgate {
namespace {

using policy::Budget;

absl::Status BadArgument(absl::string_view message) {
  return ErrorWithReason(absl::StatusCode::kInvalidArgument,
                         reason::kBadArgument, message);
}

}  // namespace

SpecByImport WasiSpecs() {
  SpecByImport specs;
  for (const wasi::FunctionInfo& function : wasi::AllFunctions()) {
    specs[{std::string(wasi::kModuleName), function.name}] = function.spec;
  }
  return specs;
}

Limits StoreLimitsUnder(const policy::EffectiveBudgets& budgets) {
  Limits limits;
  if (const auto max = budgets.Max(Budget::kMemoryBytesTotal)) {
    limits.bytes_total = *max;
  }
  if (const auto max = budgets.Max(Budget::kTableElementsTotal)) {
    limits.table_elements_total = *max;
  }
  if (const auto max = budgets.Max(Budget::kCallDepth)) {
    limits.call_depth = static_cast<uint32_t>(
        std::min<uint64_t>(*max, std::numeric_limits<uint32_t>::max()));
  }
  if (const auto max = budgets.Max(Budget::kStackBytes)) {
    limits.stack_bytes = *max;
  }
  if (const auto max = budgets.Max(Budget::kHostBytesPerCall)) {
    limits.host_bytes_per_call = *max;
  }
  return limits;
}

absl::Status AddStubs(const Module& module, absl::Span<const StubImport> stubs,
                      Linker& linker, SpecByImport& specs,
                      std::vector<std::string>& warnings) {
  for (const StubImport& stub : stubs) {
    const std::string shown = policy::FormatImportName(stub.module, stub.name);
    if (linker.Defines(stub.module, stub.name)) {
      return BadArgument(absl::StrCat(
          "stub ", shown,
          ": the host defines this function already, or it is a stub twice; "
          "leave the stub out"));
    }
    const auto& imports = module.imports();
    const auto found = std::find_if(
        imports.begin(), imports.end(), [&stub](const ImportType& import) {
          return import.module == stub.module && import.name == stub.name;
        });
    if (found == imports.end()) {
      warnings.push_back(
          absl::StrCat("stub ", shown, ": the module does not import it"));
      continue;
    }
    if (found->type.kind != ExternKind::kFunc) {
      return BadArgument(absl::StrCat(
          "stub ", shown, ": the module imports it as a ",
          ExternKindName(found->type.kind), ", and only functions have stubs"));
    }
    HostDefinition definition;
    definition.type = found->type.func;
    std::vector<RawValue> zeros;
    for (const ValType type : definition.type.results) {
      zeros.push_back(Value::Zero(type).raw());
    }
    definition.leaf.data =
        std::make_shared<const std::vector<RawValue>>(std::move(zeros));
    definition.leaf.body = [](const void* data, RawValue* values) {
      const auto& all = *static_cast<const std::vector<RawValue>*>(data);
      std::copy(all.begin(), all.end(), values);
    };
    const absl::Status status =
        linker.DefineFunc(stub.module, stub.name, std::move(definition));
    if (!status.ok()) return status;
    specs[{stub.module, stub.name}] = HostFunctionSpec();
  }
  return absl::OkStatus();
}

absl::Status CheckPolicies(
    const Module& module,
    absl::Span<const std::shared_ptr<const policy::Policy>> policies,
    const SpecByImport& specs, std::vector<std::string>& warnings) {
  std::vector<policy::LinkedImport> linked;
  for (const ImportType& import : module.imports()) {
    if (import.type.kind != ExternKind::kFunc) continue;
    const auto spec = specs.find({import.module, import.name});
    // An import without a host function is a link error of its own.
    if (spec == specs.end()) continue;
    linked.push_back(
        {import.module, import.name, &import.type.func, &spec->second});
  }
  std::vector<std::string> problems;
  for (const auto& policy : policies) {
    const policy::LinkFindings findings = policy->CheckAgainst(linked);
    for (const policy::Problem& problem : findings.problems) {
      problems.push_back(problem.ToString());
    }
    for (const policy::Problem& warning : findings.warnings) {
      warnings.push_back(warning.ToString());
    }
  }
  if (problems.empty()) return absl::OkStatus();
  return ErrorWithReason(absl::StatusCode::kFailedPrecondition,
                         reason::kPolicyRefused,
                         absl::StrCat("a policy cannot judge this module:\n",
                                      absl::StrJoin(problems, "\n")));
}

absl::Status PrepareHook(const Module& module, policy::PolicyHook& hook,
                         HookOptions& options,
                         std::vector<std::string>& warnings) {
  options.call_ring = hook.call_ring();
  hook.SelectFunctions(
      [&module](const FunctionFilter& filter) {
        return module.FunctionsOf(filter);
      },
      [&module](uint32_t index) {
        ProbedFunction function;
        function.func_index = index;
        function.name = module.FunctionName(index);
        function.type = &module.FunctionType(index);
        return function;
      });
  const std::vector<policy::Problem> unfit = hook.CheckFunctions();
  if (!unfit.empty()) {
    std::vector<std::string> sentences;
    for (const policy::Problem& problem : unfit) {
      sentences.push_back(problem.ToString());
    }
    return ErrorWithReason(absl::StatusCode::kFailedPrecondition,
                           reason::kPolicyRefused,
                           absl::StrCat("a policy cannot judge this module: ",
                                        absl::StrJoin(sentences, "; ")));
  }
  for (const policy::InnerRules::Pending& pending : hook.pending_rules()) {
    warnings.push_back(absl::StrCat(
        "policy ", pending.policy->name(), ": rule ", pending.rule->id,
        " is pending: no function of the module fits ",
        events::EscapeText(pending.pattern)));
  }
  const absl::Status added = hook.AddProbes(&options.probes);
  if (added.ok()) return added;
  return ErrorWithReason(absl::StatusCode::kFailedPrecondition,
                         reason::kPolicyRefused,
                         absl::StrCat("the policies watch too many functions: ",
                                      std::string(added.message())));
}

absl::Status LinkStatus(const absl::Status& status) {
  switch (status.code()) {
    case absl::StatusCode::kNotFound:
      return ErrorWithReason(absl::StatusCode::kFailedPrecondition,
                             reason::kMissingImport,
                             events::EscapeText(status.message()));
    case absl::StatusCode::kFailedPrecondition:
      return ErrorWithReason(absl::StatusCode::kFailedPrecondition,
                             reason::kImportType,
                             events::EscapeText(status.message()));
    default:
      return status;
  }
}

}  // namespace callgate
