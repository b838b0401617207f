#include "runtime/module.h"

#include <utility>

#include "runtime/backend.h"
#include "runtime/name_section.h"

namespace callgate {

absl::Status RefusalToStatus(const admission::Refusal& refusal) {
  switch (refusal.kind) {
    case admission::Refusal::Kind::kMalformed:
      return absl::InvalidArgumentError(refusal.message);
    case admission::Refusal::Kind::kOverLimit:
      return absl::FailedPreconditionError(refusal.message);
    case admission::Refusal::Kind::kUnsupportedFeature:
      return absl::UnimplementedError(refusal.message);
  }
  return absl::InternalError("unknown kind of refusal");
}

absl::StatusOr<std::shared_ptr<const Module>> Module::Compile(
    const Engine& engine, absl::Span<const uint8_t> bytes,
    const admission::ModuleLimits& limits, absl::string_view account) {
  const admission::Features& features = engine.options().features;
  admission::ScanResult scanned = admission::Scan(bytes, limits, features);
  if (!scanned.admitted()) return RefusalToStatus(*scanned.refusal);

  absl::StatusOr<std::unique_ptr<const backend::Code>> code =
      engine.execution().Compile(bytes, *scanned.summary, features, account);
  if (!code.ok()) return code.status();

  std::vector<std::string> names(scanned.summary->imported_functions +
                                 scanned.summary->own_functions);
  ReadFunctionNames(bytes, names);
  for (const ExportType& e : scanned.summary->exports) {
    if (e.type.kind == ExternKind::kFunc && names[e.index].empty()) {
      names[e.index] = e.name.substr(0, kFunctionNameBytesMax);
    }
  }
  return std::shared_ptr<const Module>(new Module(
      engine, std::move(*scanned.summary), std::move(*code), std::move(names)));
}

absl::StatusOr<std::shared_ptr<const Module>> Module::Compile(
    const Engine& engine, absl::Span<const uint8_t> bytes) {
  return Compile(engine, bytes, engine.options().module_limits);
}

Module::Module(const Engine& engine, admission::ModuleSummary summary,
               std::unique_ptr<const backend::Code> code,
               std::vector<std::string> function_names)
    : engine_(engine),
      summary_(std::move(summary)),
      code_(std::move(code)),
      function_names_(std::move(function_names)) {}

Module::~Module() = default;

absl::string_view Module::code_level() const { return code_->facts().level; }
uint64_t Module::code_bytes() const { return code_->facts().code_bytes; }
bool Module::has_source_lines() const {
  return code_->facts().source_lines != backend::SourceLines::kNone;
}
bool Module::are_source_lines_cut() const {
  return code_->facts().source_lines == backend::SourceLines::kSome;
}

absl::string_view Module::FunctionName(uint32_t func_index) const {
  return func_index < function_names_.size() ? function_names_[func_index]
                                             : absl::string_view();
}

std::vector<uint32_t> Module::FunctionsOf(const FunctionFilter& filter) const {
  if (filter.empty()) return {};
  const admission::ModuleSummary& all = summary();
  const auto imported = static_cast<uint32_t>(all.imported_functions);
  const auto functions = static_cast<uint32_t>(imported + all.own_functions);
  std::vector<bool> selected(functions);
  for (uint32_t i = imported; i < functions; ++i) {
    selected[i] = filter.HasIndex(i) || filter.HasName(FunctionName(i));
  }
  for (const ExportType& e : exports()) {
    if (e.type.kind != ExternKind::kFunc || e.index < imported) continue;
    if (!selected[e.index]) selected[e.index] = filter.HasName(e.name);
  }
  std::vector<uint32_t> indexes;
  for (uint32_t i = imported; i < functions; ++i) {
    if (selected[i]) indexes.push_back(i);
  }
  return indexes;
}

}  // namespace callgate
