#include "server/cli/run_options.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>
#include <string>
#include <vector>

#include "server/cli/exit_codes.h"

namespace callgate::cli {
namespace {

Arguments Parse(const std::vector<std::string>& tokens) {
  const auto arguments = Arguments::Parse(tokens, StoreFlags());
  EXPECT_TRUE(arguments.ok()) << arguments.status();
  return *arguments;
}

std::string TempFile(const std::string& name, const std::string& text) {
  const std::string path = testing::TempDir() + "/" + name;
  std::ofstream(path) << text;
  return path;
}

TEST(RunOptionsTest, BecomeARequest) {
  const auto options = ParseRunOptions(
      Parse({"--policy", "web", "--dir", "/in::/data", "--dir", "rel::/r",
             "--env", "K=V=W", "--env=L=", "--stub", "bench.start", "--stub",
             "\"a.b\".\"c\"", "--fuel", "1000", "--timeout", "1500ms"}));
  ASSERT_TRUE(options.ok()) << options.failure().message;
  const v1::StoreConfig config =
      StoreConfigOf(*options, "sha256:00", "some/app.wasm", {"a", "b"});
  EXPECT_EQ(config.module(), "sha256:00");
  EXPECT_EQ(config.policy(), "web");
  EXPECT_EQ(config.program_name(), "app.wasm");
  ASSERT_EQ(config.args_size(), 2);
  EXPECT_EQ(config.args(1), "b");
  ASSERT_EQ(config.env_size(), 2);
  EXPECT_EQ(config.env(0), "K=V=W");
  EXPECT_EQ(config.env(1), "L=");
  ASSERT_EQ(config.dirs_size(), 2);
  EXPECT_EQ(config.dirs(0).host_path(), "/in");
  EXPECT_EQ(config.dirs(0).guest_path(), "/data");
  char* const here = get_current_dir_name();
  EXPECT_EQ(config.dirs(1).host_path(), std::string(here) + "/rel");
  free(here);
  ASSERT_EQ(config.stubs_size(), 2);
  EXPECT_EQ(config.stubs(0).module(), "bench");
  EXPECT_EQ(config.stubs(0).name(), "start");
  EXPECT_EQ(config.stubs(1).module(), "a.b");
  EXPECT_EQ(config.stubs(1).name(), "c");
  EXPECT_EQ(config.fuel(), 1000u);
  EXPECT_EQ(config.timeout().seconds(), 1);
  EXPECT_EQ(config.timeout().nanos(), 500'000'000);
}

TEST(RunOptionsTest, LeaveOutWhatWasNotSaid) {
  const auto options = ParseRunOptions(Parse({}));
  ASSERT_TRUE(options.ok());
  const v1::StoreConfig config =
      StoreConfigOf(*options, "sha256:00", "sha256:00", {});
  v1::StoreConfig expected;
  expected.set_module("sha256:00");
  EXPECT_EQ(config.SerializeAsString(), expected.SerializeAsString());
}

TEST(RunOptionsTest, TakeAPolicyFileWithItsText) {
  const std::string text =
      "api_version: callgate.policy/v1\nkind: Policy\nmetadata: { name: web "
      "}\n";
  const std::string path = TempFile("good.yaml", text);
  const auto options = ParseRunOptions(Parse({"--policy", path}));
  ASSERT_TRUE(options.ok()) << options.failure().message;
  const v1::StoreConfig config = StoreConfigOf(*options, "d", "f", {});
  EXPECT_EQ(config.inline_policy(), text);
  // For problems, and for the format.
  EXPECT_EQ(config.inline_policy_file_name(), path);
  EXPECT_EQ(config.policy(), "");
}

TEST(RunOptionsTest, ShowThePlaceOfAPolicysProblem) {
  const std::string path = TempFile("bad.yaml", "kind: Policy\nkind: Policy\n");
  const auto options = ParseRunOptions(Parse({"--policy", path}));
  ASSERT_FALSE(options.ok());
  EXPECT_EQ(options.failure().exit_code, kExitPolicyRefused);
  ASSERT_FALSE(options.failure().details.empty());
  EXPECT_EQ(options.failure().details[0].rfind(path + ":2:1: ", 0), 0u)
      << options.failure().details[0];
}

struct BadRow {
  std::string name;
  std::vector<std::string> tokens;
  std::string message;  // is part of it
  int exit_code = kExitUsage;
};

class RunOptionsRefusal : public testing::TestWithParam<BadRow> {};

TEST_P(RunOptionsRefusal, SaysWhatWouldBeRight) {
  const auto options = ParseRunOptions(Parse(GetParam().tokens));
  ASSERT_FALSE(options.ok());
  EXPECT_EQ(options.failure().exit_code, GetParam().exit_code);
  EXPECT_NE(options.failure().message.find(GetParam().message),
            std::string::npos)
      << options.failure().message;
}

INSTANTIATE_TEST_SUITE_P(
    Lines, RunOptionsRefusal,
    testing::ValuesIn<BadRow>({
        {"dir_without_guest", {"--dir", "/in"}, "has not the form HOST::GUEST"},
        {"dir_with_empty_guest", {"--dir", "/in::"}, "HOST::GUEST"},
        {"dir_with_empty_host", {"--dir", "::/data"}, "HOST::GUEST"},
        {"env_without_value", {"--env", "K"}, "has not the form KEY=VALUE"},
        {"env_without_key", {"--env", "=V"}, "has not the form KEY=VALUE"},
        {"stub_without_name", {"--stub", "bench"}, "--stub \"bench\": "},
        {"fuel_zero", {"--fuel", "0"}, "at least 1"},
        {"fuel_negative", {"--fuel", "-1"}, "is not a number"},
        {"timeout_without_unit", {"--timeout", "5"}, "with its unit"},
        {"timeout_zero", {"--timeout", "0s"}, "above zero"},
        {"timeout_negative", {"--timeout=-1s"}, "above zero"},
        {"timeout_infinite", {"--timeout", "inf"}, "at most a year"},
        {"policy_file_missing",
         {"--policy", "./no-such.yaml"},
         "cannot read",
         kExitNoInput},
        {"policy_file_is_a_folder",
         {"--policy", "/"},
         "cannot read",
         kExitNoInput},
    }),
    [](const auto& param) { return param.param.name; });

TEST(ProgramNameTest, IsTheFilesName) {
  EXPECT_EQ(ProgramName("a/b/app.wasm"), "app.wasm");
  EXPECT_EQ(ProgramName("app.wasm"), "app.wasm");
}

}  // namespace
}  // namespace callgate::cli
