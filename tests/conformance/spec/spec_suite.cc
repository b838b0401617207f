// spec_suite DIR: runs every .wast file below a folder and prints, for each,
// its assertions as passed/all, and at the end `N passed, N failed, N skipped`.

#include <cstdio>
#include <filesystem>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "runtime/reference/reference_engine.h"
#include "tests/conformance/spec/script_runner.h"
#include "tests/conformance/spec/spec_files.h"
#include "tests/support/native_engine.h"

namespace callgate {
namespace {

constexpr char kUsage[] =
    "usage: spec_suite [--engine=reference|native] "
    "[--level=baseline|optimised]\n"
    "                  [--fuel=on|off] [--nan=canonical|any] [--verbose] DIR\n"
    "\n"
    "Runs every .wast file below DIR. A file's proposals come from `flags` in\n"
    "the manifest.jsonl of DIR or of a folder above it; a file that no "
    "manifest\n"
    "names is tried as WebAssembly 2.0, then with every proposal on. Where "
    "the\n"
    "manifest counts a file's commands, another count is a failure.\n"
    "\n"
    "  spec_suite --engine=native --level=optimised testsuite/core\n";

int Main(int argc, char** argv) {
  bool verbose = false;
  bool native = false;
  bool canonical_nans = true;
  native::CompileRequest request;
  std::string folder;
  for (int i = 1; i < argc; ++i) {
    const absl::string_view arg = argv[i];
    if (arg == "--help") {
      std::printf("%s", kUsage);
      return 0;
    }
    if (arg == "--verbose") {
      verbose = true;
    } else if (arg == "--engine=reference" || arg == "--engine=native") {
      native = arg == "--engine=native";
    } else if (arg == "--level=baseline") {
      request.level = native::Level::kBaseline;
    } else if (arg == "--level=optimised") {
      request.level = native::Level::kOptimised;
    } else if (arg == "--fuel=on" || arg == "--fuel=off") {
      request.fuel = arg == "--fuel=on";
    } else if (arg == "--nan=canonical" || arg == "--nan=any") {
      canonical_nans = arg == "--nan=canonical";
    } else if (absl::StartsWith(arg, "-") || !folder.empty()) {
      std::fprintf(stderr, "spec_suite: unexpected argument %s\n%s", argv[i],
                   kUsage);
      return 64;
    } else {
      folder = std::string(arg);
    }
  }
  if (folder.empty() || !std::filesystem::is_directory(folder)) {
    std::fprintf(stderr, "spec_suite: \"%s\" is no folder\n%s", folder.c_str(),
                 kUsage);
    return 64;
  }

  const EngineFactory new_engine = [&](EngineOptions options) {
    return native ? NewInProcessNativeEngine(std::move(options), request)
                  : NewReferenceEngine(std::move(options));
  };

  ScriptResult total;
  for (const SpecFile& file : FindSpecFiles(folder)) {
    const ScriptResult result = RunSpecFile(file, new_engine, canonical_nans);
    std::printf("%s: %d/%d", file.path.c_str(), result.passed,
                result.passed + result.failed);
    if (result.skipped > 0) std::printf(" (%d skipped)", result.skipped);
    std::printf("\n");
    if (verbose) {
      for (const std::string& failure : result.failures) {
        std::printf("  %s\n", failure.c_str());
      }
    }
    std::fflush(stdout);
    total.passed += result.passed;
    total.failed += result.failed;
    total.skipped += result.skipped;
  }
  std::printf("%d passed, %d failed, %d skipped\n", total.passed, total.failed,
              total.skipped);
  return total.failed == 0 ? 0 : 1;
}

}  // namespace
}  // namespace callgate

int main(int argc, char** argv) { return callgate::Main(argc, argv); }
