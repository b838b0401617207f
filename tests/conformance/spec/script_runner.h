// Runs one script of the WebAssembly specification's test suite (.wast) on an
// Engine and counts its assertions, as wabt's own runner counts them: every
// command except `register`.
//
// Tests only: scripts are parsed with libwabt in this process. Modules in them
// take the way that tenants' modules take, as bytes through Module::Compile.

#ifndef CALLGATE_TESTS_CONFORMANCE_SPEC_SCRIPT_RUNNER_H_
#define CALLGATE_TESTS_CONFORMANCE_SPEC_SCRIPT_RUNNER_H_

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "runtime/admission/features.h"
#include "runtime/engine.h"

namespace callgate {

struct ScriptResult {
  int passed = 0;
  int failed = 0;
  int skipped = 0;
  // "line 12: assert_return: …", one for each failure.
  std::vector<std::string> failures;
};

using EngineFactory = std::function<std::unique_ptr<Engine>(EngineOptions)>;

// Parses and runs `text`. A script that does not parse is one failure. A
// command that needs what the runtime refuses by name (a proposal that
// `features` lacks) is skipped with what follows from it, not failed.
// `canonical_nans` is the Store's: StoreOptions.
ScriptResult RunScript(absl::string_view name, absl::string_view text,
                       const admission::Features& features,
                       const EngineFactory& new_engine,
                       bool canonical_nans = true);

// All that the engines can have on.
admission::Features AllFeatures();

}  // namespace callgate

#endif  // CALLGATE_TESTS_CONFORMANCE_SPEC_SCRIPT_RUNNER_H_
