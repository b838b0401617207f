// The specification's suite on both engines, at both levels, with and without
// fuel, and with NaNs as they come. Of a corpus's spec/ every folder but
// threads/, which is refused by name.

#include <cstdlib>
#include <string>
#include <tuple>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "gtest/gtest.h"
#include "runtime/native/compile_request.h"
#include "runtime/reference/reference_engine.h"
#include "tests/conformance/spec/script_runner.h"
#include "tests/conformance/spec/spec_files.h"
#include "tests/support/native_engine.h"

namespace callgate {
namespace {

struct Configuration {
  const char* name;
  EngineFactory new_engine;
  bool canonical_nans = true;  // of its Stores
};

EngineFactory Native(native::Level level, bool fuel) {
  native::CompileRequest request;
  request.level = level;
  request.fuel = fuel;
  return [request](EngineOptions options) {
    return NewInProcessNativeEngine(std::move(options), request);
  };
}

std::vector<Configuration> Configurations() {
  constexpr auto kBaseline = native::Level::kBaseline;
  constexpr auto kOptimised = native::Level::kOptimised;
  return {
      {"reference",
       [](EngineOptions options) {
         return NewReferenceEngine(std::move(options));
       }},
      {"baseline", Native(kBaseline, true)},
      {"baseline_unmetered", Native(kBaseline, false)},
      {"baseline_any_nan", Native(kBaseline, true), false},
      {"optimised", Native(kOptimised, true)},
      {"optimised_any_nan", Native(kOptimised, false), false},
  };
}

constexpr int kParts = 4;

class SpecCorpusTest
    : public testing::TestWithParam<std::tuple<Configuration, int>> {};

TEST_P(SpecCorpusTest, PassesAndCountsAsTheManifestSays) {
  const char* const corpus = std::getenv("CALLGATE_CORPUS");
  if (corpus == nullptr) GTEST_SKIP() << "skipped: no corpus";
  const auto& [configuration, part] = GetParam();
  const std::vector<SpecFile> files =
      FindSpecFiles(absl::StrCat(corpus, "/spec"));
  ASSERT_FALSE(files.empty()) << corpus << "/spec has no .wast files";
  int passed = 0;
  for (size_t i = static_cast<size_t>(part); i < files.size(); i += kParts) {
    if (absl::StartsWith(files[i].name, "threads/")) continue;
    const ScriptResult result = RunSpecFile(files[i], configuration.new_engine,
                                            configuration.canonical_nans);
    EXPECT_EQ(result.failed, 0) << files[i].name << ":\n"
                                << absl::StrJoin(result.failures, "\n");
    EXPECT_EQ(result.skipped, 0) << files[i].name;
    EXPECT_TRUE(files[i].commands.has_value())
        << files[i].name << " is not in the manifest";
    passed += result.passed;
  }
  EXPECT_GT(passed, 0);
}

INSTANTIATE_TEST_SUITE_P(
    Corpus, SpecCorpusTest,
    testing::Combine(testing::ValuesIn(Configurations()),
                     testing::Range(0, kParts)),
    [](const testing::TestParamInfo<std::tuple<Configuration, int>>& each) {
      return absl::StrCat(std::get<0>(each.param).name, "_",
                          std::get<1>(each.param));
    });

}  // namespace
}  // namespace callgate
