#include "server/cli/bench_options.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>

#include "server/cli/exit_codes.h"

namespace callgate::cli {
namespace {

OrFailure<BenchOptions> Parse(const std::vector<std::string>& words) {
  const std::vector<Flag> flags = BenchFlags();
  absl::StatusOr<Arguments> arguments = Arguments::Parse(words, flags);
  if (!arguments.ok()) return WrongUsage(arguments.status().message());
  return ParseBenchOptions(*arguments);
}

TEST(BenchOptionsTest, HasDefaults) {
  const auto options = Parse({"f.wasm"});
  ASSERT_TRUE(options.ok()) << options.failure().message;
  EXPECT_EQ(options->file, "f.wasm");
  EXPECT_FALSE(options->invoke.has_value());
  EXPECT_EQ(options->repeat, 10u);
  EXPECT_EQ(options->engine.engine, "native");
  EXPECT_EQ(options->engine.level, "");
  EXPECT_FALSE(options->engine.fuel);
  EXPECT_EQ(options->hook, BenchHook::kNone);
}

TEST(BenchOptionsTest, TakesEveryFlag) {
  const std::string path = std::string(getenv("TEST_TMPDIR")) + "/p.yaml";
  std::ofstream(path) << "api_version: callgate.policy/v1\nkind: Policy\n"
                         "metadata: {name: p}\n";
  const auto options = Parse(
      {"f.wasm",    "--invoke", "run",     "--arg",    "-7",       "--arg",
       "f64:0.5",   "--repeat", "3",       "--engine", "native",   "--level",
       "optimised", "--fuel",   "on",      "--hook",   "policy",   "--policy",
       path,        "--stub",   "env.nop", "--stub",   "env.zero", "--json"});
  ASSERT_TRUE(options.ok()) << options.failure().message;
  EXPECT_EQ(*options->invoke, "run");
  EXPECT_EQ(options->args, std::vector<std::string>({"-7", "f64:0.5"}));
  EXPECT_EQ(options->repeat, 3u);
  EXPECT_EQ(options->engine.engine, "native");
  EXPECT_EQ(options->engine.level, "optimised");
  EXPECT_TRUE(options->engine.fuel);
  EXPECT_EQ(options->hook, BenchHook::kPolicy);
  EXPECT_EQ(options->policy->filename, path);
  ASSERT_EQ(options->stubs.size(), 2u);
  EXPECT_EQ(options->stubs[1].name, "zero");
}

TEST(BenchOptionsTest, TakesThePolicyBehindItsHook) {
  const std::string path = std::string(getenv("TEST_TMPDIR")) + "/behind.yaml";
  std::ofstream(path) << "api_version: callgate.policy/v1\nkind: Policy\n"
                         "metadata: {name: p}\n";
  for (const std::vector<std::string>& words :
       {std::vector<std::string>{"f.wasm", "--hook", "policy", path},
        std::vector<std::string>{"--hook=policy", path, "f.wasm"},
        std::vector<std::string>{"--policy", path, "--hook", "policy",
                                 "f.wasm"}}) {
    const auto options = Parse(words);
    ASSERT_TRUE(options.ok()) << options.failure().message;
    EXPECT_EQ(options->file, "f.wasm");
    EXPECT_EQ(options->policy->filename, path);
  }
}

struct WrongRow {
  std::vector<std::string> words;
  std::string message;  // the whole of it
  int exit_code = kExitUsage;
};

class WrongBenchOptions : public testing::TestWithParam<WrongRow> {};

TEST_P(WrongBenchOptions, AreRefusedWithTheFix) {
  const auto options = Parse(GetParam().words);
  ASSERT_FALSE(options.ok());
  EXPECT_EQ(options.failure().message, GetParam().message);
  EXPECT_EQ(options.failure().exit_code, GetParam().exit_code);
}

INSTANTIATE_TEST_SUITE_P(
    Lines, WrongBenchOptions,
    testing::ValuesIn<WrongRow>({
        {{"f", "--arg", "7"},
         "--arg without --invoke: there is no call to pass it to"},
        {{"f", "--repeat", "0"}, "--repeat 0 is not between 1 and 1000000"},
        {{"f", "--repeat", "1000001"},
         "--repeat 1000001 is not between 1 and 1000000"},
        {{"f", "--repeat", "often"},
         "--repeat \"often\" is not a number; write it decimal or "
         "0x-hexadecimal"},
        {{"f", "--engine", "v8"},
         "--engine cannot be \"v8\", only native|reference"},
        {{"f", "--level", "best"},
         "--level cannot be \"best\", only baseline|optimised"},
        {{"f", "--fuel", "1000"}, "--fuel cannot be \"1000\", only on|off"},
        {{"f", "--hook", "all"},
         "--hook cannot be \"all\", only none|null|policy"},
        {{"f", "--hook", "policy"},
         "--hook policy needs a policy: --hook policy FILE"},
        {{"f", "--policy", "p.yaml"},
         "--policy \"p.yaml\" has no effect without --hook policy"},
        {{"f", "--policy", "p.yaml", "--hook", "null"},
         "--policy \"p.yaml\" has no effect without --hook policy"},
        {{"f", "--invoke", "run", "--invoke", "walk"},
         "--invoke is given twice: \"run\" and \"walk\""},
    }));

TEST(BenchOptionsTest, RefusesAPolicyFileThatIsNotThere) {
  const auto options =
      Parse({"f", "--hook", "policy", "--policy", "/no/such/p.yaml"});
  ASSERT_FALSE(options.ok());
  EXPECT_EQ(options.failure().exit_code, kExitNoInput);
}

// Whatever the command line may ask for, this build says what it has instead.
TEST(BenchEnginesTest, MakesTheReferenceEngine) {
  const auto made = NewEngineByName({"reference", "", false});
  ASSERT_TRUE(made.ok()) << made.failure().message;
  EXPECT_EQ(made->engine->name(), "reference");
  EXPECT_EQ(made->level, "");
  EXPECT_FALSE(made->keeps_code);
}

TEST(BenchEnginesTest, RefusesByName) {
  const auto unknown = NewEngineByName({"steam", "", false});
  ASSERT_FALSE(unknown.ok());
  EXPECT_EQ(unknown.failure().exit_code, kExitUsage);
  EXPECT_EQ(unknown.failure().message.find(
                "--engine \"steam\": this build has native, reference"),
            0u)
      << unknown.failure().message;
  const auto level = NewEngineByName({"reference", "optimised", false});
  ASSERT_FALSE(level.ok());
  EXPECT_EQ(level.failure().message,
            "--level \"optimised\": the reference engine interprets and has no "
            "levels; leave it out");
}

}  // namespace
}  // namespace callgate::cli
