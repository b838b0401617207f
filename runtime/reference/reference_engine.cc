#include "runtime/reference/reference_engine.h"

#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "runtime/backend.h"
#include "runtime/reference/guarded_read.h"
#include "runtime/reference/instrument.h"
#include "runtime/reference/interpreter.h"
#include "wabt/binary-reader-nop.h"
#include "wabt/binary-reader.h"
#include "wabt/error.h"
#include "wabt/interp/binary-reader-interp.h"

namespace callgate {
namespace reference {
namespace {

// Of each call of an imported function, whether it is a tail call.
class CallsOfImports final : public wabt::BinaryReaderNop {
 public:
  explicit CallsOfImports(uint64_t imported_functions)
      : imported_(imported_functions) {}

  wabt::Result OnCallExpr(wabt::Index func) override {
    if (func < imported_) calls_.push_back(false);
    return wabt::Result::Ok;
  }
  wabt::Result OnReturnCallExpr(wabt::Index func) override {
    if (func < imported_) calls_.push_back(true);
    return wabt::Result::Ok;
  }

  const std::vector<bool>& calls() const { return calls_; }

 private:
  const uint64_t imported_;
  std::vector<bool> calls_;
};

wabt::ReadBinaryOptions Options(const wabt::Features& features) {
  // Names are read elsewhere, and a malformed name section is no error.
  return {features, /*log_stream=*/nullptr,
          /*read_debug_names=*/false,
          /*stop_on_first_error=*/true,
          /*fail_on_custom_section_error=*/false};
}

// Decodes, validates and rewrites. An empty text when all is well, else the
// first complaint with its offset.
std::string Read(absl::Span<const uint8_t> bytes,
                 const wabt::Features& features, uint64_t imported_functions,
                 wabt::interp::ModuleDesc* desc,
                 Instrumentation* instrumentation) {
  wabt::Errors errors;
  const wabt::Result result = wabt::interp::ReadBinaryInterp(
      "module", bytes.data(), bytes.size(), Options(features), &errors, desc);
  if (Failed(result)) {
    if (errors.empty()) return "invalid module";
    return absl::StrCat("invalid module: ", errors[0].message, " at byte ",
                        errors[0].loc.offset);
  }
  CallsOfImports calls(imported_functions);
  if (Failed(wabt::ReadBinary(bytes.data(), bytes.size(), &calls,
                              Options(features)))) {
    return "invalid module";
  }
  *instrumentation = Instrument(*desc, calls.calls());
  return "";
}

class ReferenceEngine final : public backend::Engine {
 public:
  absl::string_view name() const override { return "reference"; }

  absl::StatusOr<std::unique_ptr<const backend::Code>> Compile(
      absl::Span<const uint8_t> bytes, const admission::ModuleSummary& summary,
      const admission::Features& features,
      absl::string_view /*account*/) const override {
    const wabt::Features wabt_features = ToWabt(features);
    const uint64_t imported = summary.imported_functions;
    const absl::Status survives = SurvivesReading(bytes.size(), [&] {
      wabt::interp::ModuleDesc desc;
      Instrumentation instrumentation;
      return Read(bytes, wabt_features, imported, &desc, &instrumentation);
    });
    if (!survives.ok()) return survives;

    wabt::interp::ModuleDesc desc;
    Instrumentation instrumentation;
    const std::string complaint =
        Read(bytes, wabt_features, imported, &desc, &instrumentation);
    if (!complaint.empty()) return absl::InvalidArgumentError(complaint);
    if (const absl::Status same = CompareWithScan(desc, summary); !same.ok()) {
      return same;
    }
    // The runtime calls the start function, so that the hook sees it.
    desc.starts.clear();
    return std::unique_ptr<const backend::Code>(std::make_unique<ReferenceCode>(
        std::move(desc), std::move(instrumentation)));
  }

  std::unique_ptr<backend::Store> NewStore(
      backend::Host& host, const admission::Features& features,
      const StoreOptions& /*options*/) const override {
    return std::make_unique<Interpreter>(host, features);
  }

 private:
  // Two readers that saw different modules in the same bytes: one of them is
  // being fooled, and what was judged would not be what runs.
  static absl::Status CompareWithScan(const wabt::interp::ModuleDesc& desc,
                                      const admission::ModuleSummary& summary) {
    const auto differs = [](absl::string_view what) {
      return absl::InvalidArgumentError(absl::StrCat(
          "the module's ", what,
          " read differently by the admission scan and by the validator: it "
          "is refused"));
    };
    if (desc.imports.size() != summary.imports.size()) {
      return differs("imports");
    }
    for (size_t i = 0; i < desc.imports.size(); ++i) {
      if (desc.imports[i].type.module != summary.imports[i].module ||
          desc.imports[i].type.name != summary.imports[i].name) {
        return differs("imports");
      }
    }
    if (desc.exports.size() != summary.exports.size()) {
      return differs("exports");
    }
    for (size_t i = 0; i < desc.exports.size(); ++i) {
      if (desc.exports[i].type.name != summary.exports[i].name ||
          desc.exports[i].index != summary.exports[i].index) {
        return differs("exports");
      }
    }
    if (desc.funcs.size() != summary.own_functions) return differs("functions");
    if (desc.memories.size() + summary.imported_memories !=
        summary.memories.size()) {
      return differs("memories");
    }
    for (size_t i = 0; i < desc.memories.size(); ++i) {
      if (desc.memories[i].type.limits.initial !=
          summary.memories[summary.imported_memories + i].pages.min) {
        return differs("memories");
      }
    }
    if (desc.tables.size() + summary.imported_tables != summary.tables.size()) {
      return differs("tables");
    }
    for (size_t i = 0; i < desc.tables.size(); ++i) {
      if (desc.tables[i].type.limits.initial !=
          summary.tables[summary.imported_tables + i].size.min) {
        return differs("tables");
      }
    }
    if (desc.starts.size() != (summary.start_function.has_value() ? 1u : 0u)) {
      return differs("start function");
    }
    if (desc.datas.size() != summary.data_segments ||
        desc.elems.size() != summary.element_segments) {
      return differs("segments");
    }
    return absl::OkStatus();
  }
};

}  // namespace
}  // namespace reference

std::unique_ptr<Engine> NewReferenceEngine(EngineOptions options) {
  return std::make_unique<Engine>(
      std::move(options), std::make_unique<reference::ReferenceEngine>());
}

}  // namespace callgate
