// A Module is a WebAssembly module that passed admission and validation, ready
// to instantiate. Immutable; any thread; shared by any number of Stores.

#ifndef CALLGATE_RUNTIME_MODULE_H_
#define CALLGATE_RUNTIME_MODULE_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "runtime/admission/scan.h"
#include "runtime/engine.h"
#include "runtime/extern_type.h"
#include "runtime/function_filter.h"

namespace callgate {

namespace backend {
class Code;
}  // namespace backend

class Module {
 public:
  // Scans, validates and compiles `bytes`, of which an engine that compiles
  // keeps a copy for as long as the Module is there. A refusal says
  // which limit or rule, the value, the maximum and the byte offset:
  //   InvalidArgument     not a valid module
  //   FailedPrecondition  a valid module, perhaps, over an admission limit
  //   Unimplemented       needs a proposal that the engine does not have
  //   ResourceExhausted   `account` has no compile time or place left, or the
  //                       process none for the code
  //   Unavailable         the process that validates could not do its work
  // `account` is whose budget of compilation it counts against, a tenant's
  // name; an engine that does not compile has no such budgets. Empty: the
  // program's own, without one. `engine` must outlive the Module.
  static absl::StatusOr<std::shared_ptr<const Module>> Compile(
      const Engine& engine, absl::Span<const uint8_t> bytes,
      const admission::ModuleLimits& limits, absl::string_view account = "");
  static absl::StatusOr<std::shared_ptr<const Module>> Compile(
      const Engine& engine, absl::Span<const uint8_t> bytes);

  ~Module();
  Module(const Module&) = delete;
  Module& operator=(const Module&) = delete;

  const Engine& engine() const { return engine_; }
  const std::vector<ImportType>& imports() const { return summary_.imports; }
  const std::vector<ExportType>& exports() const { return summary_.exports; }
  const admission::ModuleSummary& summary() const { return summary_; }
  const backend::Code& code() const { return *code_; }
  // The level of the code that a call which begins now would run in a Store
  // with canonical NaNs: "baseline", "optimised"; empty where the engine
  // compiles nothing. And its size.
  absl::string_view code_level() const;
  uint64_t code_bytes() const;
  // Whether its traps can name lines of source, and whether there were more
  // lines than are kept of one module.
  bool has_source_lines() const;
  bool are_source_lines_cut() const;
  // From the name section or else the exports; empty if there is none. At most
  // 256 untrusted bytes.
  absl::string_view FunctionName(uint32_t func_index) const;
  // Of a function of the module's index space, which `func_index` is inside of.
  const FuncType& FunctionType(uint32_t func_index) const {
    return summary_.function_types[summary_.functions[func_index]];
  }
  // Which functions of its own `filter` means, by index, by the name section's
  // name or by an export's, any of them; increasing.
  std::vector<uint32_t> FunctionsOf(const FunctionFilter& filter) const;

 private:
  Module(const Engine& engine, admission::ModuleSummary summary,
         std::unique_ptr<const backend::Code> code,
         std::vector<std::string> function_names);

  const Engine& engine_;
  const admission::ModuleSummary summary_;
  const std::unique_ptr<const backend::Code> code_;
  const std::vector<std::string> function_names_;
};

// The status of an admission refusal, with its message unchanged.
absl::Status RefusalToStatus(const admission::Refusal& refusal);

}  // namespace callgate

#endif  // CALLGATE_RUNTIME_MODULE_H_
