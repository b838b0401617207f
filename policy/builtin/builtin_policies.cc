#include "policy/builtin/builtin_policies.h"

#include <vector>

#include "runtime/check.h"

namespace callgate::policy {
namespace {

constexpr char kWasiPreview1Base[] =
#include "policy/builtin/wasi-preview1-base.inc"
    ;

constexpr BuiltinPolicy kPolicies[] = {
    {"wasi-preview1-base", kWasiPreview1Base},
};

std::vector<LoadedPolicyFile>* LoadAll() {
  auto* files = new std::vector<LoadedPolicyFile>;
  for (const BuiltinPolicy& policy : kPolicies) {
    LoadResult loaded = LoadPolicyYaml(policy.yaml, policy.name);
    CALLGATE_CHECK(loaded.ok(), "policies that ship with callgate load");
    files->push_back(*std::move(loaded.file));
  }
  return files;
}

}  // namespace

absl::Span<const BuiltinPolicy> BuiltinPolicies() { return kPolicies; }

const LoadedPolicyFile* FindBuiltinPolicy(absl::string_view name) {
  // Never destroyed: others point into it for as long as the process lives.
  static const std::vector<LoadedPolicyFile>* const files = LoadAll();
  for (const LoadedPolicyFile& file : *files) {
    if (file.proto.metadata().name() == name) return &file;
  }
  return nullptr;
}

}  // namespace callgate::policy
