// The example policies bring tests. They pass; and of policies with one mistake
// in them, a comparison or an action that is another, they find nine in ten.

#include <cstdio>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "policy/compiler/policy_compiler.h"
#include "policy/trial/mutations.h"
#include "policy/trial/policy_tests.h"
#include "server/known_functions.h"

namespace callgate::policy::trial {
namespace {

constexpr double kCaughtMin = 0.9;

// The files on the command line.
std::vector<std::string>& Paths() {
  static auto* const paths = new std::vector<std::string>;
  return *paths;
}

LoadedPolicyFile Load(const std::string& path) {
  std::ifstream file(path);
  std::stringstream text;
  text << file.rdbuf();
  LoadResult loaded = LoadPolicy(text.str(), path);
  for (const Problem& problem : loaded.problems) {
    ADD_FAILURE() << problem.ToString();
  }
  return loaded.ok() ? *std::move(loaded.file) : LoadedPolicyFile();
}

TEST(ExampleTestsTest, ThereAreExamples) { EXPECT_GE(Paths().size(), 4u); }

TEST(ExampleTestsTest, EveryExampleBringsTestsThatPass) {
  const WasiCatalogue functions;
  for (const std::string& path : Paths()) {
    SCOPED_TRACE(path);
    const LoadedPolicyFile file = Load(path);
    const CompileResult compiled = CompilePolicy(file);
    ASSERT_TRUE(compiled.ok()) << compiled.problems[0].ToString();
    const PolicyTestReport report =
        RunPolicyTests(file, compiled.policy, functions);
    EXPECT_FALSE(report.tests.empty());
    for (const Problem& problem : report.problems) {
      ADD_FAILURE() << problem.ToString();
    }
    for (const Problem& failure : report.Failures(path)) {
      ADD_FAILURE() << failure.ToString();
    }
  }
}

// What tests do not tell from the policy is printed.
TEST(ExampleTestsTest, TheirTestsFindNineMistakesInTen) {
  const WasiCatalogue functions;
  size_t all = 0;
  size_t all_caught = 0;
  for (const std::string& path : Paths()) {
    size_t mutants = 0;
    size_t caught = 0;
    size_t refused = 0;
    const LoadedPolicyFile file = Load(path);
    const CompileResult original = CompilePolicy(file);
    // Tests that fail anyway find nothing.
    ASSERT_TRUE(original.ok() &&
                RunPolicyTests(file, original.policy, functions).passed())
        << path;
    for (const Mutation& mutation : MutationsOf(file)) {
      const CompileResult compiled = CompilePolicy(mutation.file);
      // Nobody could have made this mistake and not known.
      if (!compiled.ok()) {
        ++refused;
        continue;
      }
      ++mutants;
      if (!RunPolicyTests(mutation.file, compiled.policy, functions).passed()) {
        ++caught;
        continue;
      }
      std::printf("%s:%d:%d: survives: %s\n", path.c_str(),
                  mutation.position.line, mutation.position.column,
                  mutation.description.c_str());
    }
    std::printf("%s: %zu of %zu mistakes found, and %zu that do not load\n",
                path.c_str(), caught, mutants, refused);
    EXPECT_GE(static_cast<double>(caught),
              kCaughtMin * static_cast<double>(mutants))
        << path;
    all += mutants;
    all_caught += caught;
  }
  std::printf("all: %zu of %zu\n", all_caught, all);
  // Thresholds of anomaly rules and what meets a fault of the engine are among
  // them: nothing is left out.
  EXPECT_GE(all, 81u);
  EXPECT_GE(static_cast<double>(all_caught),
            kCaughtMin * static_cast<double>(all));
}

}  // namespace
}  // namespace callgate::policy::trial

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  callgate::policy::trial::Paths().assign(argv + 1, argv + argc);
  return RUN_ALL_TESTS();
}
