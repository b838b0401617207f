// A host with two functions, for tests.

#ifndef CALLGATE_POLICY_TRIAL_FAKE_CATALOGUE_H_
#define CALLGATE_POLICY_TRIAL_FAKE_CATALOGUE_H_

#include <utility>
#include <vector>

#include "policy/trial/function_catalogue.h"

namespace callgate::policy::trial {

// files.open(dir, path, path_len, flags) -> errno, and files.exit(code).
class FakeCatalogue final : public FunctionCatalogue {
 public:
  FakeCatalogue() {
    const auto argument = [](const char* name, uint32_t index, ArgKind kind) {
      ArgSpec spec;
      spec.name = name;
      spec.index = index;
      spec.kind = kind;
      return spec;
    };
    open_type_.params.assign(4, ValType::kI32);
    open_type_.results = {ValType::kI32};
    ArgSpec path = argument("path", 1, ArgKind::kPath);
    path.len_index = 2;
    path.dir_index = 0;
    open_.args = {argument("dir", 0, ArgKind::kHandle), std::move(path),
                  argument("path_len", 2, ArgKind::kU32),
                  argument("flags", 3, ArgKind::kU32)};
    open_.errno_result = true;
    exit_type_.params = {ValType::kI32};
    exit_.args = {argument("code", 0, ArgKind::kU32)};
  }

  Function Find(absl::string_view module,
                absl::string_view name) const override {
    if (module != "files") return {};
    if (name == "open") return {&open_type_, &open_};
    if (name == "exit") return {&exit_type_, &exit_};
    return {};
  }

  std::vector<ImportName> Names() const override {
    return {{"files", "open"}, {"files", "exit"}};
  }

 private:
  FuncType open_type_;
  HostFunctionSpec open_;
  FuncType exit_type_;
  HostFunctionSpec exit_;
};

}  // namespace callgate::policy::trial

#endif  // CALLGATE_POLICY_TRIAL_FAKE_CATALOGUE_H_
