#include "tests/conformance/spec/spec_files.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <system_error>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "google/protobuf/struct.pb.h"
#include "google/protobuf/util/json_util.h"

namespace callgate {
namespace {

constexpr char kManifest[] = "manifest.jsonl";

struct Entry {
  std::vector<std::string> flags;
  std::optional<int> commands;
};

// By path relative to the manifest's folder.
struct Manifest {
  std::filesystem::path folder;
  std::map<std::string, Entry> entries;
};

std::optional<int> CommandsOf(const google::protobuf::Struct& item) {
  for (const auto& [key, value] : item.fields()) {
    if (!absl::StartsWith(key, "spectest_interp")) continue;
    const std::string& counts = value.string_value();
    const size_t slash = counts.find('/');
    int all = 0;
    if (slash != std::string::npos &&
        absl::SimpleAtoi(counts.substr(slash + 1), &all)) {
      return all;
    }
  }
  return std::nullopt;
}

Manifest ReadManifest(const std::filesystem::path& folder) {
  Manifest manifest;
  manifest.folder = folder;
  std::ifstream lines(folder / kManifest);
  std::string line;
  while (std::getline(lines, line)) {
    google::protobuf::Struct item;
    if (!google::protobuf::util::JsonStringToMessage(line, &item).ok()) {
      continue;
    }
    const auto& fields = item.fields();
    if (fields.count("path") == 0 || fields.count("flags") == 0) continue;
    Entry& entry = manifest.entries[fields.at("path").string_value()];
    for (const auto& flag : fields.at("flags").list_value().values()) {
      entry.flags.push_back(flag.string_value());
    }
    entry.commands = CommandsOf(item);
  }
  return manifest;
}

std::optional<Manifest> FindManifest(std::filesystem::path folder) {
  while (!std::filesystem::exists(folder / kManifest)) {
    if (folder == folder.parent_path()) return std::nullopt;
    folder = folder.parent_path();
  }
  return ReadManifest(folder);
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

}  // namespace

std::vector<SpecFile> FindSpecFiles(const std::string& folder) {
  std::error_code error;
  const std::filesystem::path root = std::filesystem::canonical(folder, error);
  if (error) return {};
  const std::optional<Manifest> manifest = FindManifest(root);
  std::vector<SpecFile> files;
  std::filesystem::recursive_directory_iterator entries(root, error);
  for (; !error && entries != std::filesystem::recursive_directory_iterator();
       entries.increment(error)) {
    const std::filesystem::path& path = entries->path();
    if (path.extension() != ".wast") continue;
    SpecFile file;
    file.path = path.string();
    file.name = path.lexically_relative(root).string();
    if (manifest.has_value()) {
      const auto found = manifest->entries.find(
          path.lexically_relative(manifest->folder).string());
      if (found != manifest->entries.end()) {
        file.flags = found->second.flags;
        file.commands = found->second.commands;
      }
    }
    files.push_back(std::move(file));
  }
  std::sort(
      files.begin(), files.end(),
      [](const SpecFile& a, const SpecFile& b) { return a.path < b.path; });
  return files;
}

ScriptResult RunSpecFile(const SpecFile& file, const EngineFactory& new_engine,
                         bool canonical_nans) {
  std::ifstream stream(file.path, std::ios::binary);
  const std::string text(std::istreambuf_iterator<char>(stream), {});
  const std::vector<std::string> no_flags;
  ScriptResult result =
      RunScript(file.path, text, FeaturesOf(file.flags.value_or(no_flags)),
                new_engine, canonical_nans);
  if (!file.flags.has_value() && result.failed > 0) {
    ScriptResult more =
        RunScript(file.path, text, AllFeatures(), new_engine, canonical_nans);
    if (more.failed < result.failed) result = std::move(more);
  }
  const int counted = result.passed + result.failed + result.skipped;
  if (file.commands.has_value() && counted != *file.commands) {
    ++result.failed;
    result.failures.push_back(absl::StrCat("counted ", counted,
                                           " commands, where the manifest has ",
                                           *file.commands));
  }
  return result;
}

}  // namespace callgate
