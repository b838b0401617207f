#include "runtime/linker.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "runtime/extern_type.h"
#include "runtime/store_impl.h"

namespace callgate {
namespace {

absl::Status AlreadyDefined(absl::string_view module, absl::string_view name) {
  return absl::AlreadyExistsError(
      absl::StrCat(ImportText(module, name), " is defined already"));
}

}  // namespace

absl::Status Linker::DefineFunc(absl::string_view module,
                                absl::string_view name,
                                HostDefinition definition) {
  if (absl::Status complete = Complete(definition); !complete.ok()) {
    return absl::InvalidArgumentError(
        absl::StrCat("the host function ", ImportText(module, name), " ",
                     std::string(complete.message())));
  }
  Entry entry;
  entry.host = std::make_shared<const HostDefinition>(std::move(definition));
  const bool inserted =
      entries_
          .emplace(std::make_pair(std::string(module), std::string(name)),
                   std::move(entry))
          .second;
  return inserted ? absl::OkStatus() : AlreadyDefined(module, name);
}

absl::Status Linker::Define(absl::string_view module, absl::string_view name,
                            Extern value) {
  Entry entry;
  entry.value = std::move(value);
  const bool inserted =
      entries_
          .emplace(std::make_pair(std::string(module), std::string(name)),
                   std::move(entry))
          .second;
  return inserted ? absl::OkStatus() : AlreadyDefined(module, name);
}

absl::Status Linker::DefineInstance(absl::string_view module,
                                    const Instance& instance) {
  for (const ExportType& e : instance.module().exports()) {
    absl::StatusOr<Extern> value = instance.GetExport(e.name);
    if (!value.ok()) return value.status();
    absl::Status defined = Define(module, e.name, *std::move(value));
    if (!defined.ok()) return defined;
  }
  return absl::OkStatus();
}

bool Linker::Defines(absl::string_view module, absl::string_view name) const {
  return entries_.count(
             std::make_pair(std::string(module), std::string(name))) != 0;
}

absl::StatusOr<Instantiation> Linker::Instantiate(
    Store& store, std::shared_ptr<const Module> module, absl::string_view name,
    const CallOptions& options) const {
  return store.impl().Instantiate(*this, std::move(module), name, options);
}

}  // namespace callgate
