#include "server/known_functions.h"

#include "runtime/wasi/wasi.h"

namespace callgate {

policy::trial::FunctionCatalogue::Function WasiCatalogue::Find(
    absl::string_view module, absl::string_view name) const {
  if (module != wasi::kModuleName) return {};
  const wasi::FunctionInfo* info = wasi::FindFunction(name);
  if (info == nullptr) return {};
  return {&info->type, &info->spec};
}

std::vector<policy::ImportName> WasiCatalogue::Names() const {
  std::vector<policy::ImportName> names;
  for (const wasi::FunctionInfo& function : wasi::AllFunctions()) {
    names.push_back({std::string(wasi::kModuleName), function.name});
  }
  return names;
}

}  // namespace callgate
