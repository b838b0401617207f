// cel_suite [--verbose] DIR: runs cel-spec's conformance cases on the language
// of conditions and prints what was refused, by feature, and at the end
// `N passed, N refused, N failed`.

#include <cstdio>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/match.h"
#include "absl/strings/string_view.h"
#include "tests/conformance/cel/cel_cases.h"

namespace callgate {
namespace {

constexpr char kUsage[] =
    "usage: cel_suite [--verbose] DIR\n"
    "\n"
    "Runs the cases of every .textproto file in DIR. A case gives the value "
    "or\n"
    "error that the file states, or is refused for a feature of CEL that\n"
    "policies leave out; anything else is a failure, and the exit code 1.\n"
    "--verbose lists the refused cases.\n";

int Main(int argc, char** argv) {
  bool verbose = false;
  std::string folder;
  for (int i = 1; i < argc; ++i) {
    const absl::string_view arg = argv[i];
    if (arg == "--help") {
      std::printf("%s", kUsage);
      return 0;
    }
    if (arg == "--verbose") {
      verbose = true;
    } else if (absl::StartsWith(arg, "-") || !folder.empty()) {
      std::fprintf(stderr, "cel_suite: unexpected argument %s\n%s", argv[i],
                   kUsage);
      return 64;
    } else {
      folder = std::string(arg);
    }
  }
  if (folder.empty()) {
    std::fprintf(stderr, "%s", kUsage);
    return 64;
  }
  const absl::StatusOr<CelResult> result = RunCelFolder(folder);
  if (!result.ok()) {
    std::fprintf(stderr, "cel_suite: %s\n",
                 std::string(result.status().message()).c_str());
    return 64;
  }
  for (const std::string& failure : result->failures) {
    std::printf("failed: %s\n", failure.c_str());
  }
  for (const auto& [feature, cases] : result->refused_by_feature) {
    std::printf("refused: %s: %zu\n", feature.c_str(), cases.size());
    if (!verbose) continue;
    for (const std::string& one : cases) std::printf("  %s\n", one.c_str());
  }
  std::printf("%d passed, %d refused, %d failed\n", result->passed,
              result->refused, result->failed);
  return result->failed == 0 ? 0 : 1;
}

}  // namespace
}  // namespace callgate

int main(int argc, char** argv) { return callgate::Main(argc, argv); }
