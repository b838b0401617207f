// spec_suite DIR: runs every .wast file below a folder and prints, for each,
// its assertions as passed/all, and at the end `N passed, N failed, N skipped`.

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "google/protobuf/struct.pb.h"
#include "google/protobuf/util/json_util.h"
#include "runtime/reference/reference_engine.h"
#include "tests/conformance/spec/script_runner.h"
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
    "names is tried as WebAssembly 2.0, then with every proposal on.\n"
    "\n"
    "  spec_suite --engine=native --level=optimised testsuite/core\n";

std::string ReadFile(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return std::string(std::istreambuf_iterator<char>(file), {});
}

// The manifest's flags by path relative to it: {"a.wast": ["--enable-x"]}.
using Flags = std::map<std::string, std::vector<std::string>>;

struct Manifest {
  std::filesystem::path folder;
  Flags flags;
};

std::optional<Manifest> FindManifest(std::filesystem::path folder) {
  folder = std::filesystem::canonical(folder);
  while (true) {
    const std::filesystem::path path = folder / "manifest.jsonl";
    if (std::filesystem::exists(path)) {
      Manifest manifest;
      manifest.folder = folder;
      std::ifstream lines(path);
      std::string line;
      while (std::getline(lines, line)) {
        google::protobuf::Struct item;
        if (!google::protobuf::util::JsonStringToMessage(line, &item).ok()) {
          continue;
        }
        const auto& fields = item.fields();
        if (fields.count("path") == 0 || fields.count("flags") == 0) continue;
        auto& flags = manifest.flags[fields.at("path").string_value()];
        for (const auto& flag : fields.at("flags").list_value().values()) {
          flags.push_back(flag.string_value());
        }
      }
      return manifest;
    }
    if (folder == folder.parent_path()) return std::nullopt;
    folder = folder.parent_path();
  }
}

admission::Features FeaturesOf(const std::vector<std::string>& flags) {
  admission::Features features;
  const std::map<std::string, bool admission::Features::*> known = {
      {"--enable-tail-call", &admission::Features::tail_call},
      {"--enable-extended-const", &admission::Features::extended_const},
      {"--enable-multi-memory", &admission::Features::multi_memory},
      {"--enable-memory64", &admission::Features::memory64},
      {"--enable-relaxed-simd", &admission::Features::relaxed_simd},
      {"--enable-exceptions", &admission::Features::exceptions},
      {"--enable-threads", &admission::Features::threads},
  };
  for (const std::string& flag : flags) {
    const auto found = known.find(flag);
    if (found != known.end()) features.*found->second = true;
  }
  return features;
}

int Main(int argc, char** argv) {
  bool verbose = false;
  bool native = false;
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
      request.canonical_nans = arg == "--nan=canonical";
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

  std::vector<std::filesystem::path> files;
  for (const auto& entry :
       std::filesystem::recursive_directory_iterator(folder)) {
    if (entry.path().extension() == ".wast") files.push_back(entry.path());
  }
  std::sort(files.begin(), files.end());
  const std::optional<Manifest> manifest = FindManifest(folder);
  const EngineFactory new_engine = [&](EngineOptions options) {
    return native ? NewInProcessNativeEngine(std::move(options), request)
                  : NewReferenceEngine(std::move(options));
  };

  ScriptResult total;
  for (const std::filesystem::path& file : files) {
    const std::string text = ReadFile(file);
    const std::string name = file.string();
    const std::vector<std::string>* flags = nullptr;
    if (manifest.has_value()) {
      const auto found = manifest->flags.find(
          std::filesystem::relative(std::filesystem::canonical(file),
                                    manifest->folder)
              .string());
      if (found != manifest->flags.end()) flags = &found->second;
    }
    ScriptResult result = RunScript(
        name, text, flags != nullptr ? FeaturesOf(*flags) : FeaturesOf({}),
        new_engine);
    if (flags == nullptr && result.failed > 0) {
      ScriptResult more = RunScript(name, text, AllFeatures(), new_engine);
      if (more.failed < result.failed) result = std::move(more);
    }
    std::printf("%s: %d/%d", name.c_str(), result.passed,
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
