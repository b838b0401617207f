#include "server/config.h"

#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace callgate {
namespace {

using testing::HasSubstr;

absl::StatusOr<CommandLine> Parse(const std::vector<std::string>& args) {
  return ParseCommandLine(
      std::vector<absl::string_view>(args.begin(), args.end()));
}

// A file of this content that lasts as long as the test.
class ConfigFile {
 public:
  ConfigFile(const std::string& name, const std::string& text)
      : path_(std::string(std::getenv("TEST_TMPDIR")) + "/" + name) {
    std::ofstream(path_) << text;
  }
  ~ConfigFile() { unlink(path_.c_str()); }
  const std::string& path() const { return path_; }

 private:
  const std::string path_;
};

TEST(ConfigTest, HasDefaults) {
  const absl::StatusOr<CommandLine> line = Parse({"--data", "d"});
  ASSERT_TRUE(line.ok()) << line.status();
  EXPECT_EQ(line->action, CommandLine::Action::kRun);
  EXPECT_EQ(line->config.listen, "127.0.0.1:50051");
  EXPECT_EQ(line->config.metrics, "127.0.0.1:9464");
  EXPECT_EQ(line->config.data, "d");
  EXPECT_EQ(line->config.drain_timeout, absl::Seconds(10));
  EXPECT_TRUE(line->config.allow_dirs.empty());
  EXPECT_GE(line->config.threads, 1u);
  EXPECT_EQ(line->config.threads, DefaultThreads());
}

TEST(ConfigTest, TakesEveryFlag) {
  const absl::StatusOr<CommandLine> line =
      Parse({"--listen=127.0.0.1:1",
             "--metrics",
             "localhost:2",
             "--data=d",
             "--policy-dir=p",
             "--allow-dir=/a",
             "--allow-dir",
             "/b",
             "--alerts=al",
             "--announce=an",
             "--drain-timeout=0s",
             "--max-stores=3",
             "--max-runs=4",
             "--threads=5",
             "--store-idle=5m",
             "--upload-stall=0.5s",
             "--wall-per-call=1h",
             "--compile-time=1m",
             "--compile-window=0.5s",
             "--compile-queue=7",
             "--trace-mib=5",
             "--trace-age=2h",
             "--surge-rollback=3",
             "--policy-replay=3h",
             "--policy-replay-max-changed=9",
             "--policy-mode=audit",
             "--audit-tenant=t",
             "--audit-tenant=u"});
  ASSERT_TRUE(line.ok()) << line.status();
  const Config& config = line->config;
  EXPECT_EQ(config.listen, "127.0.0.1:1");
  EXPECT_EQ(config.metrics, "localhost:2");
  EXPECT_EQ(config.policy_dir, "p");
  EXPECT_EQ(config.allow_dirs, (std::vector<std::string>{"/a", "/b"}));
  EXPECT_EQ(config.alerts, "al");
  EXPECT_EQ(config.announce, "an");
  EXPECT_EQ(config.drain_timeout, absl::ZeroDuration());
  EXPECT_EQ(config.max_stores, 3u);
  EXPECT_EQ(config.max_runs, 4u);
  EXPECT_EQ(config.threads, 5u);
  EXPECT_EQ(config.store_idle, absl::Minutes(5));
  EXPECT_EQ(config.upload_stall, absl::Milliseconds(500));
  EXPECT_EQ(config.wall_per_call, absl::Hours(1));
  EXPECT_EQ(config.compile_time, absl::Minutes(1));
  EXPECT_EQ(config.compile_window, absl::Milliseconds(500));
  EXPECT_EQ(config.compile_queue, 7u);
  EXPECT_EQ(config.surge_rollback, 3u);
  EXPECT_EQ(config.policy_mode, policy::Mode::kAudit);
  EXPECT_EQ(config.audit_tenants, (std::vector<std::string>{"t", "u"}));
  EXPECT_EQ(config.trace_mib, 5u);
  EXPECT_EQ(config.trace_age, absl::Hours(2));
  EXPECT_EQ(config.policy_replay, absl::Hours(3));
  EXPECT_EQ(config.policy_replay_max_changed, 9u);
}

TEST(ConfigTest, HelpAndVersionWinOverEverything) {
  EXPECT_EQ(Parse({"--nonsense", "--help"})->action,
            CommandLine::Action::kHelp);
  EXPECT_EQ(Parse({"--version"})->action, CommandLine::Action::kVersion);
  EXPECT_THAT(HelpText(), HasSubstr("Example:"));
  for (const char* flag :
       {"--listen",        "--metrics",        "--data",
        "--policy-dir",    "--allow-dir",      "--alerts",
        "--config",        "--announce",       "--drain-timeout",
        "--max-stores",    "--max-runs",       "--threads",
        "--store-idle",    "--upload-stall",   "--wall-per-call",
        "--compile-time",  "--compile-window", "--compile-queue",
        "--trace-mib",     "--trace-age",      "--surge-rollback",
        "--policy-replay", "--policy-mode",    "--audit-tenant"}) {
    EXPECT_THAT(HelpText(), HasSubstr(flag));
  }
}

struct Row {
  std::string name;
  std::vector<std::string> args;
  std::string want;
};

class ConfigErrorTest : public testing::TestWithParam<Row> {};

TEST_P(ConfigErrorTest, NamesTheFix) {
  const absl::StatusOr<CommandLine> line = Parse(GetParam().args);
  ASSERT_TRUE(absl::IsInvalidArgument(line.status()));
  EXPECT_THAT(std::string(line.status().message()), HasSubstr(GetParam().want));
}

INSTANTIATE_TEST_SUITE_P(
    Flags, ConfigErrorTest,
    testing::ValuesIn<Row>({
        {"no_data", {}, "--data DIR is required"},
        {"unknown",
         {"--data=d", "--store-idl=1h"},
         "unknown flag --store-idl; did you mean --store-idle?"},
        {"no_value", {"--data"}, "--data lacks its value"},
        {"twice", {"--data=a", "--data=b"}, "--data is given twice"},
        {"no_flag", {"--data=d", "x"}, "\"x\" is not a flag"},
        {"no_compile_time",
         {"--data=d", "--compile-time=0s"},
         "--compile-time 0 is not more than 0"},
        {"too_little_compile_window",
         {"--data=d", "--compile-window=0.0001s"},
         "--compile-window 100us is less than 1ms"},
        {"no_compile_queue",
         {"--data=d", "--compile-queue=0"},
         "--compile-queue 0 is not between 1 and 1000"},
        {"too_many_traces",
         {"--data=d", "--trace-mib=1000001"},
         "--trace-mib 1000001 is more than 1000000"},
        {"replay_without_traces",
         {"--data=d", "--policy-dir=p", "--policy-replay=1h"},
         "--policy-replay needs --trace-mib"},
        {"replay_without_directory",
         {"--data=d", "--trace-mib=1", "--policy-replay=1h"},
         "--policy-replay needs --policy-dir"},
        {"max_changed_of_nothing",
         {"--data=d", "--policy-replay-max-changed=1"},
         "--policy-replay-max-changed needs --policy-replay"},
        {"no_trace_age",
         {"--data=d", "--trace-age=0s"},
         "--trace-age 0 is not more than 0"},
        {"all_interfaces",
         {"--data=d", "--listen=0.0.0.0:50051"},
         "without TLS the daemon listens only on this machine's own addresses; "
         "use 127.0.0.1:50051"},
        {"any_v6", {"--data=d", "--listen=[::]:1"}, "is refused: without TLS"},
        {"name", {"--data=d", "--metrics=example.org:1"}, "is refused"},
        {"no_port", {"--data=d", "--listen=127.0.0.1"}, "write HOST:PORT"},
        {"port_over",
         {"--data=d", "--listen=127.0.0.1:65536"},
         "write HOST:PORT"},
        {"prefix", {"--data=d", "--listen=127.0.0.1.evil.org:1"}, "is refused"},
        {"relative_allow_dir",
         {"--data=d", "--allow-dir=a"},
         "--allow-dir \"a\" is not absolute"},
        {"bad_duration",
         {"--data=d", "--store-idle=10"},
         "is not a duration; write 10s"},
        {"negative", {"--data=d", "--store-idle=-1s"}, "is not a duration"},
        {"zero", {"--data=d", "--store-idle=0s"}, "is not more than 0"},
        {"surge_of_one",
         {"--data=d", "--surge-rollback=1"},
         "no single tenant may cause it"},
        {"bad_number", {"--data=d", "--max-stores=x"}, "not a whole number"},
        {"zero_stores",
         {"--data=d", "--max-stores=0"},
         "--max-stores 0 is not between 1 and 100000"},
        {"no_threads",
         {"--data=d", "--threads=0"},
         "--threads 0 is not between 1 and 1024"},
        {"too_many_threads",
         {"--data=d", "--threads=1025"},
         "--threads 1025 is not between 1 and 1024"},
        {"no_file",
         {"--data=d", "--config=/nonexistent"},
         "--config \"/nonexistent\": No such file"},
        {"directory", {"--data=d", "--config=/"}, "is not a regular file"},
    }),
    [](const auto& row) { return row.param.name; });

TEST(ConfigFileTest, FlagsWinOverTheFile) {
  const ConfigFile file("c.yaml",
                        "data: from-file\n"
                        "listen: 127.0.0.1:7\n"
                        "allow_dir: [/x, /y]\n"
                        "store_idle: 90m\n"
                        "max_stores: 9\n");
  absl::StatusOr<CommandLine> line = Parse({"--config", file.path()});
  ASSERT_TRUE(line.ok()) << line.status();
  EXPECT_EQ(line->config.data, "from-file");
  EXPECT_EQ(line->config.listen, "127.0.0.1:7");
  EXPECT_EQ(line->config.allow_dirs, (std::vector<std::string>{"/x", "/y"}));
  EXPECT_EQ(line->config.store_idle, absl::Minutes(90));
  EXPECT_EQ(line->config.max_stores, 9u);
  line = Parse({"--data=flag", "--config", file.path(), "--allow-dir=/z"});
  ASSERT_TRUE(line.ok()) << line.status();
  EXPECT_EQ(line->config.data, "flag");
  EXPECT_EQ(line->config.allow_dirs, (std::vector<std::string>{"/z"}));
}

TEST(ConfigFileTest, TextFormatIsTakenToo) {
  const ConfigFile file("c.textproto", "data: 'd' store_idle { seconds: 60 }");
  const absl::StatusOr<CommandLine> line = Parse({"--config", file.path()});
  ASSERT_TRUE(line.ok()) << line.status();
  EXPECT_EQ(line->config.store_idle, absl::Minutes(1));
}

TEST(ConfigFileTest, UnknownKeysAreRefusedWithTheirLine) {
  const ConfigFile yaml("u.yaml", "data: d\nlissten: 127.0.0.1:1\n");
  absl::StatusOr<CommandLine> line = Parse({"--config", yaml.path()});
  ASSERT_FALSE(line.ok());
  EXPECT_THAT(std::string(line.status().message()), HasSubstr("u.yaml:2:1:"));
  EXPECT_THAT(std::string(line.status().message()), HasSubstr("lissten"));
  const ConfigFile text("u.textproto", "data: 'd'\nlissten: 'x'\n");
  line = Parse({"--config", text.path()});
  ASSERT_FALSE(line.ok());
  EXPECT_THAT(std::string(line.status().message()),
              HasSubstr("u.textproto:2:"));
}

TEST(ConfigFileTest, ALargeFileIsRefused) {
  const ConfigFile file("large.yaml", std::string((1 << 20) + 1, '#'));
  const absl::StatusOr<CommandLine> line =
      Parse({"--data=d", "--config", file.path()});
  EXPECT_THAT(std::string(line.status().message()),
              HasSubstr("larger than the maximum of 1048576 bytes"));
}

}  // namespace
}  // namespace callgate
