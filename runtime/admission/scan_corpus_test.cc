// The scan against modules that the project did not write.
//
// Runs only where CALLGATE_CORPUS names the folder that holds them: a
// manifest.jsonl with one JSON object per item, and the files it names.

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <iterator>
#include <map>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "google/protobuf/struct.pb.h"
#include "google/protobuf/util/json_util.h"
#include "gtest/gtest.h"
#include "runtime/admission/scan.h"
#include "runtime/admission/scan_testing.h"

namespace callgate::admission {
namespace {

using Json = google::protobuf::Struct;

std::string Text(const Json& object, const std::string& key) {
  const auto found = object.fields().find(key);
  return found == object.fields().end() ? "" : found->second.string_value();
}

std::vector<std::string> Texts(const Json& object, const std::string& key) {
  std::vector<std::string> texts;
  const auto found = object.fields().find(key);
  if (found == object.fields().end()) return texts;
  for (const auto& value : found->second.list_value().values()) {
    texts.push_back(value.string_value());
  }
  return texts;
}

std::string ReadFile(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  EXPECT_TRUE(file.is_open()) << path;
  return {std::istreambuf_iterator<char>(file), {}};
}

std::vector<Json> ReadJsonLines(const std::string& path) {
  std::vector<Json> objects;
  std::ifstream file(path);
  EXPECT_TRUE(file.is_open()) << path;
  for (std::string line; std::getline(file, line);) {
    Json object;
    const auto status =
        google::protobuf::util::JsonStringToMessage(line, &object);
    EXPECT_TRUE(status.ok()) << path << ": " << line.substr(0, 80);
    objects.push_back(std::move(object));
  }
  return objects;
}

ScanResult ScanString(const std::string& bytes, const ModuleLimits& limits,
                      const Features& features) {
  // SAFETY: char and uint8_t may alias, and the string outlives the call.
  return Scan({reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()},
              limits, features);
}

// "name", or "name:memory" for what is no function.
std::string WithKind(const std::string& name, const ExternType& type) {
  if (type.kind == ExternKind::kFunc) return name;
  return absl::StrCat(name, ":", ExternKindName(type.kind));
}

// The manifest shortens long lists: "… 56 in all".
void ExpectSameList(std::vector<std::string> wanted,
                    const std::vector<std::string>& found) {
  size_t size = wanted.size();
  if (!wanted.empty() && absl::StartsWith(wanted.back(), "... ")) {
    size = std::stoul(wanted.back().substr(4));
    wanted.pop_back();
  }
  EXPECT_EQ(found.size(), size);
  for (size_t i = 0; i < wanted.size() && i < found.size(); ++i) {
    EXPECT_EQ(found[i], wanted[i]);
  }
}

class ScanCorpusTest : public testing::Test {
 protected:
  void SetUp() override {
    const char* folder = std::getenv("CALLGATE_CORPUS");
    if (folder == nullptr || *folder == '\0') {
      GTEST_SKIP() << "skipped: no corpus";
    }
    folder_ = folder;
    manifest_ = ReadJsonLines(folder_ + "/manifest.jsonl");
  }

  std::string folder_;
  std::vector<Json> manifest_;
};

// What honest modules need beyond the defaults: raised for them by name, so
// that a change of the defaults, or of the scan, shows here.
struct Raised {
  std::map<std::string, uint64_t> limits;
  bool threads = false;
};

const absl::flat_hash_map<std::string, Raised>& RaisedByName() {
  static const auto& raised = *new absl::flat_hash_map<std::string, Raised>{
      {"napi-rs-crc32-threads", {{}, true}},
  };
  return raised;
}

TEST_F(ScanCorpusTest, AdmitsHonestModulesAndListsTheirImportsAndExports) {
  std::map<std::string, int> seen;
  for (const Json& item : manifest_) {
    const std::string kind = Text(item, "class");
    if (kind != "wasi-command" && kind != "export-calls" &&
        kind != "load-only" && kind != "wasi-testsuite") {
      continue;
    }
    const std::string name = Text(item, "name");
    SCOPED_TRACE(name);
    ++seen[kind];
    const std::string bytes =
        ReadFile(absl::StrCat(folder_, "/", Text(item, "path")));
    ModuleLimits limits;
    Features features;
    // "deb-cmark#1" is another run of the module "deb-cmark".
    const auto raised =
        RaisedByName().find(std::string(name, 0, name.find('#')));
    if (raised != RaisedByName().end()) {
      EXPECT_FALSE(ScanString(bytes, limits, features).admitted())
          << "needs nothing raised any more";
      for (const auto& [limit, value] : raised->second.limits) {
        limits.*FindLimit(limit)->member = value;
      }
      features.threads = raised->second.threads;
    }
    const ScanResult result = ScanString(bytes, limits, features);
    ASSERT_TRUE(result.admitted()) << MessageOf(result);

    std::vector<std::string> imports;
    for (const ImportType& import : result.summary->imports) {
      imports.push_back(
          WithKind(absl::StrCat(import.module, ".", import.name), import.type));
    }
    ExpectSameList(Texts(item, "imports"), imports);
    std::vector<std::string> exports;
    for (const ExportType& entry : result.summary->exports) {
      exports.push_back(WithKind(entry.name, entry.type));
    }
    ExpectSameList(Texts(item, "exports"), exports);
  }
  EXPECT_GT(seen["wasi-command"], 0);
  EXPECT_GT(seen["export-calls"], 0);
  EXPECT_GT(seen["load-only"], 0);
  EXPECT_GT(seen["wasi-testsuite"], 0);
  for (const auto& [kind, count] : seen) {
    std::cout << kind << ": " << count << " admitted\n";
  }
}

// Modules that broke engines. Those that are invalid are refused here unless
// only types are wrong; those that are valid are admitted, or over a limit.
TEST_F(ScanCorpusTest, RefusesWhatBrokeOtherEnginesByItsStructure) {
  int refused = 0;
  int admitted = 0;
  int over_limit = 0;
  std::vector<std::string> left_to_the_validator;
  for (const Json& item : manifest_) {
    const std::string kind = Text(item, "class");
    if (kind != "poc" && kind != "hostile") continue;
    const std::string name = Text(item, "name");
    SCOPED_TRACE(name);
    std::ifstream file(absl::StrCat(folder_, "/", Text(item, "path")));
    // The largest are generated on demand.
    if (!file.is_open()) continue;
    const std::string bytes =
        ReadFile(absl::StrCat(folder_, "/", Text(item, "path")));
    const ScanResult result = ScanString(bytes, ModuleLimits{}, Features{});

    const auto& expect = item.fields().at("expect").struct_value();
    const bool invalid =
        kind == "poc" ? Text(expect, "load") == "reject"
                      : absl::StartsWith(Text(item, "spec_verdict"), "invalid");
    if (invalid && result.admitted()) left_to_the_validator.push_back(name);
    if (!invalid && !result.admitted()) {
      EXPECT_EQ(result.refusal->kind, Refusal::Kind::kOverLimit)
          << MessageOf(result);
      ++over_limit;
    }
    if (invalid && !result.admitted()) ++refused;
    if (!invalid && result.admitted()) ++admitted;
  }
  EXPECT_EQ(absl::StrJoin(left_to_the_validator, ", "), "");
  EXPECT_GT(refused, 0);
  std::cout << refused << " invalid refused, " << admitted
            << " valid admitted, " << over_limit << " valid over a limit\n";
}

TEST_F(ScanCorpusTest, RefusesEveryMalformedModuleOfTheSpecification) {
  // The specification's own reasons that need types or the whole module.
  const std::vector<std::string> kValidators = {
      "type mismatch", "global is immutable", "undeclared function reference"};
  int refused = 0;
  std::map<std::string, int> left_to_the_validator;
  for (const Json& item : manifest_) {
    if (Text(item, "class") != "invalid-set") continue;
    for (const Json& row : ReadJsonLines(absl::StrCat(
             folder_, "/invalid/", Text(item, "name"), ".jsonl"))) {
      const std::string reason = Text(row, "text");
      SCOPED_TRACE(absl::StrCat(Text(row, "src"), ":",
                                row.fields().at("line").number_value(), ": ",
                                reason));
      // wabt accepts these two wrongly, so no later stage would refuse them.
      const bool nobody_else =
          !row.fields().at("wabt_1_0_32_rejects").bool_value();
      const ScanResult result = ScanString(
          absl::HexStringToBytes(Text(row, "hex")), ModuleLimits{}, Features{});
      if (!result.admitted()) {
        ++refused;
        continue;
      }
      EXPECT_FALSE(nobody_else);
      EXPECT_NE(Text(row, "kind"), "assert_malformed");
      EXPECT_NE(std::find(kValidators.begin(), kValidators.end(), reason),
                kValidators.end());
      ++left_to_the_validator[reason];
    }
  }
  EXPECT_GT(refused, 0);
  std::cout << refused << " refused\n";
  for (const auto& [reason, count] : left_to_the_validator) {
    std::cout << count << " left to the validator: " << reason << "\n";
  }
}

}  // namespace
}  // namespace callgate::admission
