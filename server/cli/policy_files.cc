#include "server/cli/policy_files.h"

#include <utility>

#include "absl/strings/string_view.h"
#include "policy/trial/known_function_fit.h"
#include "server/cli/policy_text.h"
#include "server/known_functions.h"

namespace callgate::cli {
namespace {

// What the functions that every callgate has show of the policy.
void AskKnownFunctions(policy::CompileResult* compiled) {
  policy::LinkFindings found =
      policy::trial::FitToKnownFunctions(*compiled->policy, WasiCatalogue());
  for (policy::Problem& warning : found.warnings) {
    compiled->warnings.push_back(std::move(warning));
  }
  if (found.problems.empty()) return;
  compiled->problems = std::move(found.problems);
  compiled->policy = nullptr;
}

}  // namespace

OrFailure<std::vector<PolicyFile>> ReadPolicyFiles(
    const std::vector<std::string>& paths) {
  // The first pass reads them all, the second looks names up in what was read.
  std::vector<PolicyFile> files;
  for (const std::string& path : paths) {
    OrFailure<std::string> text = ReadPolicyText(path);
    if (!text.ok()) return text.failure();
    policy::LoadResult loaded = policy::LoadPolicy(*text, path);
    PolicyFile file;
    file.path = path;
    if (loaded.ok()) {
      file.file = std::make_shared<const policy::LoadedPolicyFile>(
          *std::move(loaded.file));
    } else {
      file.compiled.problems = std::move(loaded.problems);
    }
    files.push_back(std::move(file));
  }
  const auto find =
      [&](absl::string_view name) -> const policy::LoadedPolicyFile* {
    for (const PolicyFile& each : files) {
      if (each.file != nullptr &&
          each.file->proto.metadata().name() == std::string(name)) {
        return each.file.get();
      }
    }
    return nullptr;
  };
  for (PolicyFile& file : files) {
    if (file.file == nullptr) continue;
    file.compiled = policy::CompilePolicy(*file.file, find);
    if (file.compiled.ok()) AskKnownFunctions(&file.compiled);
  }
  return files;
}

bool PrintProblemsOf(const std::vector<PolicyFile>& files) {
  bool ok = true;
  for (const PolicyFile& file : files) {
    for (const policy::Problem& problem : file.compiled.problems) {
      PrintProblem(problem, "");
    }
    for (const policy::Problem& warning : file.compiled.warnings) {
      PrintProblem(warning, "warning: ");
    }
    ok = ok && file.ok();
  }
  return ok;
}

}  // namespace callgate::cli
