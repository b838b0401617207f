#include "server/host_module.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "runtime/wasi/wasi.h"

namespace callgate {

absl::Status HostModules::Register(std::unique_ptr<HostModule> module) {
  const std::string name(module->name());
  if (name == wasi::kModuleName) {
    return absl::AlreadyExistsError(absl::StrCat(
        "host module \"", name, "\": the name is WASI's; choose another name"));
  }
  for (const Entry& entry : entries_) {
    if (entry.module->name() == name) {
      return absl::AlreadyExistsError(
          absl::StrCat("host module \"", name, "\" is registered already"));
    }
  }
  Entry entry;
  for (const auto& function : module->Functions(HostModuleFacts())) {
    entry.function_names.push_back(function.first);
  }
  std::sort(entry.function_names.begin(), entry.function_names.end());
  const auto twice = std::adjacent_find(entry.function_names.begin(),
                                        entry.function_names.end());
  if (twice != entry.function_names.end()) {
    return absl::InvalidArgumentError(absl::StrCat(
        "host module \"", name, "\" has two functions named \"", *twice, "\""));
  }
  entry.module = std::move(module);
  entries_.push_back(std::move(entry));
  return absl::OkStatus();
}

std::vector<HostFunctionEntry> HostModules::FunctionsFor(
    const HostModuleFacts& facts) const {
  std::vector<HostFunctionEntry> all;
  for (const Entry& entry : entries_) {
    for (auto& function : entry.module->Functions(facts)) {
      all.push_back(HostFunctionEntry{std::string(entry.module->name()),
                                      std::move(function.first),
                                      std::move(function.second)});
    }
  }
  return all;
}

std::vector<std::string> HostModules::ImportNames() const {
  std::vector<std::string> names;
  for (const Entry& entry : entries_) {
    for (const std::string& function : entry.function_names) {
      names.push_back(absl::StrCat(entry.module->name(), ".", function));
    }
  }
  return names;
}

bool HostModules::Defines(absl::string_view module,
                          absl::string_view name) const {
  for (const Entry& entry : entries_) {
    if (entry.module->name() == module) {
      return std::binary_search(entry.function_names.begin(),
                                entry.function_names.end(), name);
    }
  }
  return false;
}

}  // namespace callgate
