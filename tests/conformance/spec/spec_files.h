// The .wast files below a folder, with what a manifest.jsonl in that folder or
// in one above says of them.
//
// A line of the manifest that names a file by its `path` may give `flags`, the
// proposals that the file needs as wabt's programs spell them, and
// `spectest_interp_…`: "passed/all" as wabt's own runner counts. Everything
// else in it is somebody else's.
//
// Tests only. Errors are part of the results; a folder that cannot be read has
// no files.

#ifndef CALLGATE_TESTS_CONFORMANCE_SPEC_SPEC_FILES_H_
#define CALLGATE_TESTS_CONFORMANCE_SPEC_SPEC_FILES_H_

#include <optional>
#include <string>
#include <vector>

#include "tests/conformance/spec/script_runner.h"

namespace callgate {

struct SpecFile {
  std::string path;
  std::string name;  // relative to the folder
  std::optional<std::vector<std::string>> flags;
  std::optional<int> commands;  // how many are to be counted
};

// Sorted by path.
std::vector<SpecFile> FindSpecFiles(const std::string& folder);

// Runs it with the proposals that its flags name. Without flags it is tried as
// WebAssembly 2.0 first, then with every proposal on. Another count of commands
// than the manifest's is one more failure.
ScriptResult RunSpecFile(const SpecFile& file, const EngineFactory& new_engine,
                         bool canonical_nans = true);

}  // namespace callgate

#endif  // CALLGATE_TESTS_CONFORMANCE_SPEC_SPEC_FILES_H_
