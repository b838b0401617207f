#include "server/cli/local_guest.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "policy/compiler/policy_compiler.h"
#include "policy/file/policy_file.h"
#include "server/cli/console.h"
#include "server/cli/exit_codes.h"
#include "server/cli/quoted.h"
#include "server/cli/run_request.h"
#include "server/cli/values.h"
#include "server/tested_policies.h"

namespace callgate::cli {

std::vector<StubImport> StubsOf(const std::vector<StubOption>& options) {
  std::vector<StubImport> stubs;
  for (const StubOption& stub : options) {
    stubs.push_back({stub.module, stub.name});
  }
  return stubs;
}

OrFailure<std::shared_ptr<const policy::Policy>> CompilePolicyOf(
    const PolicyText& text) {
  policy::LoadResult loaded = policy::LoadPolicy(text.text, text.filename);
  policy::CompileResult compiled;
  if (loaded.ok()) {
    compiled = policy::CompilePolicy(*loaded.file);
  } else {
    compiled.problems = std::move(loaded.problems);
  }
  // As a daemon would have it.
  if (compiled.ok()) {
    compiled.problems = TryPolicy(*loaded.file, compiled.policy);
  }
  if (!compiled.problems.empty()) {
    Failure failure;
    failure.exit_code = kExitPolicyRefused;
    failure.message =
        absl::StrCat("policy ", Quoted(text.filename), " is refused");
    for (const policy::Problem& problem : compiled.problems) {
      failure.details.push_back(problem.ToString());
    }
    return failure;
  }
  for (const policy::Problem& warning : compiled.warnings) {
    Say(absl::StrCat("warning: ", warning.ToString()));
  }
  return std::move(compiled.policy);
}

OrFailure<std::vector<Value>> ArgumentsOf(
    const Module& module, const std::string& export_name,
    const std::vector<std::string>& texts) {
  const FuncType* type = nullptr;
  std::vector<std::string> functions;
  for (const ExportType& each : module.exports()) {
    if (each.type.kind != ExternKind::kFunc) continue;
    functions.push_back(each.name);
    if (each.name == export_name) type = &each.type.func;
  }
  if (type == nullptr) return NoSuchExport(export_name, functions);
  absl::StatusOr<std::vector<Value>> values = ParseValues(texts, type->params);
  if (!values.ok()) return WrongUsage(values.status().message());
  return *std::move(values);
}

}  // namespace callgate::cli
