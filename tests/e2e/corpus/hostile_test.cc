// Bombs and traps made to break a host. Each must end as it should, in bounded
// time and memory, with a reason; and afterwards the daemon answers its health
// check and runs an honest module.
//
// Files too large to keep are made by the corpus's own generator.

#include <signal.h>

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <map>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "tests/e2e/corpus/corpus.h"
#include "tests/e2e/with_daemon.h"

namespace callgate::e2e {
namespace {

using ::testing::ContainsRegex;
using ::testing::HasSubstr;
using ::testing::Not;

// Under this policy the modules get more than is admitted unasked, where what
// they do with it is the point; and less than they want.
constexpr char kPolicy[] = R"yaml(
api_version: callgate.policy/v1
kind: Policy
metadata: { name: hostile }
include: [wasi-preview1-base]
imports:
  - { import: env.log, action: allow }
budgets:
  wall_per_call: 2s
  memory_bytes_total: 301989888          # 288 MiB
  table_elements_total: 200000
  module: { memory_pages_initial: 4096 }
)yaml";

// One command with the item's file; "FILE" is its path, "DIR" a directory that
// the daemon gives away.
struct Step {
  std::vector<std::string> arguments;
  std::vector<int> codes;
  // POSIX regular expression for stderr.
  std::string says = "";
  // For stdout, unless empty.
  std::string prints = "";
};

std::vector<std::string> RunFile(std::vector<std::string> more) {
  std::vector<std::string> arguments = {"run", "FILE", "--policy", "hostile"};
  arguments.insert(arguments.end(), more.begin(), more.end());
  return arguments;
}

// Never ends by itself: the deadline ends it, and so does fuel.
std::vector<Step> NeverEnds(std::vector<std::string> how) {
  std::vector<std::string> by_time = RunFile({"--timeout", "300ms"});
  std::vector<std::string> by_fuel = RunFile({"--fuel", "100000"});
  by_time.insert(by_time.end(), how.begin(), how.end());
  by_fuel.insert(by_fuel.end(), how.begin(), how.end());
  return {{by_time, {134}, "wall_per_call"}, {by_fuel, {134}, "fuel"}};
}

// Larger than anybody needs: refused by a limit, naming it.
std::vector<Step> OverLimit(const std::string& limit) {
  return {{{"module", "push", "FILE"}, {65}, limit},
          {{"module", "verify", "FILE"}, {65}, limit}};
}

// Returns an errno from its export `f`.
std::vector<Step> ErrnoOfF(std::vector<std::string> how, const char* errnos) {
  std::vector<std::string> arguments = RunFile({"--invoke", "f"});
  arguments.insert(arguments.end(), how.begin(), how.end());
  return {{arguments, {0}, "", errnos}};
}

// What must become of the items that are valid modules, by name.
const std::map<std::string, std::vector<Step>>& ValidItems() {
  static const auto* const kItems = new std::map<std::string,
                                                 std::vector<Step>>{
      {"leb_padded_legal", {{RunFile({"--invoke", "f"}), {0}, "", "^7\n$"}}},
      {"export_name_log_injection",
       {{{"module", "verify", "FILE"}, {0}},
        {{"module", "push", "FILE"}, {0}},
        // It has no `_start`; the refusal may list what it has.
        {RunFile({}), {65}, "_start"}}},
      {"locals_50000", OverLimit("locals_per_function")},
      {"locals_4g", OverLimit("locals_per_function")},
      {"nested_blocks_100k", OverLimit("nesting_depth")},
      {"text_parens_100k", OverLimit("00 61 73 6d")},
      {"br_table_1m", OverLimit("br_table_targets")},
      {"value_stack_200k",
       {{{"module", "push", "FILE"}, {0, 65}},
        {RunFile({"--invoke", "run"}), {0, 65, 134}}}},
      {"functions_100k", OverLimit("functions")},
      {"exports_5000_long_names", OverLimit("exports")},
      {"params_1000_results_1000", OverLimit("params_per_function")},
      {"data_segments_100k", OverLimit("data_segments")},
      {"elem_1m", OverLimit("table_elements_initial|element_segment_items")},
      {"memory_min_65536", OverLimit("memory_pages_initial")},
      {"grow_loop_1", NeverEnds({"--invoke", "run"})},
      {"table_min_10m", OverLimit("table_elements_initial")},
      {"table_grow_loop", NeverEnds({"--invoke", "run"})},
      {"infinite_loop_empty", NeverEnds({"--invoke", "run"})},
      {"infinite_loop_in_start", NeverEnds({"--invoke", "run"})},
      {"memory_fill_256m_forever", NeverEnds({"--invoke", "run"})},
      {"recursion_plain", {{RunFile({"--invoke", "run"}), {134}, "stack"}}},
      {"recursion_indirect", {{RunFile({"--invoke", "run"}), {134}, "stack"}}},
      {"host_call_flood", NeverEnds({"--invoke", "run", "--stub", "env.log"})},
      // Compiled, it may reach the bound of bytes moved before the others.
      {"wasi_stdout_flood",
       {{RunFile({"--timeout", "300ms"}),
         {134},
         "wall_per_call|host_bytes_per_call"},
        {RunFile({"--fuel", "100000"}), {134}, "fuel|host_bytes_per_call"}}},
      {"wasi_random_get_oob", ErrnoOfF({}, "^21\n$")},
      {"wasi_fd_write_iov_oob", ErrnoOfF({}, "^(21|28)\n$")},
      {"wasi_poll_sleep_1h",
       {{RunFile({"--timeout", "300ms"}), {134}, "wall_per_call"}}},
      // 256 does not fit a shell's eight bits; --json has it whole.
      {"wasi_proc_exit_256", {{RunFile({"--json"}), {0, 1, 255}, "", "256"}}},
      {"wasi_path_dotdot_passwd", ErrnoOfF({}, "^8\n$")},
      {"wasi_path_absolute", ErrnoOfF({}, "^8\n$")},
      {"wasi_open_flood", NeverEnds({"--dir", "DIR::/"})},
      {"data_active_oob",
       {{RunFile({"--invoke", "run"}), {134}, "out of bounds"}}},
      {"start_unreachable", {{RunFile({}), {134, 65}, "unreachable|_start"}}},
      {"custom_2m", {{RunFile({"--invoke", "f"}), {0}, "", "^5\n$"}}},
      {"custom_name_1m",
       {{RunFile({"--invoke", "run"}), {134}, "unreachable"}}},
  };
  return *kItems;
}

// Beside the above, with a directory to escape from.
const std::map<std::string, std::vector<Step>>& WithDirectory() {
  static const auto* const kItems =
      new std::map<std::string, std::vector<Step>>{
          {"wasi_path_dotdot_passwd",
           ErrnoOfF({"--dir", "DIR::/"}, "^(76|63)\n$")},
          {"wasi_path_absolute", ErrnoOfF({"--dir", "DIR::/"}, "^(76|63)\n$")},
      };
  return *kItems;
}

class HostileTest : public WithDaemon,
                    public testing::WithParamInterface<CorpusItem> {
 protected:
  static void SetUpTestSuite() {
    WithDaemon::SetUpTestSuite();
    scratch().Write("policies/hostile.yaml", kPolicy);
    scratch().Write("honest.wasm", Says("honest\n"));
    scratch().Write("allowed/file", "a file\n");
    // The policy was not there when the daemon started.
    daemon().process().Signal(SIGHUP);
    ASSERT_TRUE(Eventually(kPatience, [] {
      return absl::StrContains(Client({"policy", "ls"}).out, "hostile");
    }));
    if (CorpusDir().empty()) return;
    const Finished made =
        RunToEnd({{"/usr/bin/python3", "-B",
                   absl::StrCat(CorpusDir(), "/hostile/gen_hostile.py"),
                   scratch().Path("made"), "shared"},
                  {},
                  "",
                  false},
                 absl::Minutes(3));
    ASSERT_THAT(made, EndsWithCode(0));
  }

  // The daemon's resident bytes now, and at most since ResetPeak.
  static uint64_t StatusKilobytes(const std::string& field) {
    const auto status = ReadWholeFile(
        absl::StrCat("/proc/", daemon().process().pid(), "/status"));
    if (!status.ok()) return 0;
    const size_t at = status->find(field + ":");
    uint64_t kilobytes = 0;
    if (at == std::string::npos) return 0;
    const std::string rest = status->substr(at + field.size() + 1);
    EXPECT_TRUE(absl::SimpleAtoi(rest.substr(0, rest.find("kB")), &kilobytes));
    return kilobytes;
  }
  static void ResetPeak() {
    std::ofstream(
        absl::StrCat("/proc/", daemon().process().pid(), "/clear_refs"))
        << "5";
  }

  void Do(const Step& step, const std::string& file);
};

void HostileTest::Do(const Step& step, const std::string& file) {
  std::vector<std::string> arguments = step.arguments;
  for (std::string& argument : arguments) {
    if (argument == "FILE") argument = file;
    if (absl::StartsWith(argument, "DIR::")) {
      argument = absl::StrCat(scratch().Path("allowed"), argument.substr(3));
    }
  }
  SCOPED_TRACE(absl::StrJoin(arguments, " "));
  const uint64_t before = StatusKilobytes("VmRSS");
  ResetPeak();
  const Finished finished = Client(arguments);
  const uint64_t grown = StatusKilobytes("VmHWM") - before;
  std::cout << absl::StrJoin(step.arguments, " ") << ": code "
            << finished.exit_code << ", "
            << absl::ToDoubleSeconds(finished.wall) << " s, +" << grown / 1024
            << " MiB\n";
  EXPECT_FALSE(finished.timed_out);
  EXPECT_THAT(step.codes, testing::Contains(finished.exit_code))
      << testing::PrintToString(finished);
  if (!step.says.empty()) {
    EXPECT_THAT(finished.err, ContainsRegex(step.says));
  }
  if (!step.prints.empty()) {
    EXPECT_THAT(finished.out, ContainsRegex(step.prints));
  }
  // Nothing that disturbs a terminal, and nothing of a guest's size.
  EXPECT_THAT(finished.err, Not(HasSubstr("\x1b")));
  EXPECT_LT(finished.err.size(), 16'384u);
  EXPECT_LE(finished.out.size(), size_t{16} << 20);
  // A refusal is quick; what runs ends by its budget and a second or two. A
  // machine that does other things at the same time is slower, hence the room.
  EXPECT_LT(finished.wall,
            finished.exit_code == 65 ? absl::Seconds(5) : absl::Seconds(10));
  // The guest's own memory is at most 288 MiB.
  EXPECT_LT(grown, finished.exit_code == 65 ? 96u * 1024 : 400u * 1024);
}

TEST_P(HostileTest, EndsAsItShould) {
  const CorpusItem& item = GetParam();
  // "hostile-NAME".
  const std::string name = item.name().substr(item.name().find('-') + 1);
  const std::string made = scratch().Path(absl::StrCat(
      "made/", std::filesystem::path(item.path()).filename().string()));
  const std::string file =
      std::filesystem::exists(item.path()) ? item.path() : made;
  const auto bytes = ReadWholeFile(file);
  ASSERT_TRUE(bytes.ok()) << bytes.status();
  ASSERT_EQ(Sha256Hex(*bytes), item.String("sha256"));

  if (absl::StartsWith(item.String("spec_verdict"), "invalid")) {
    // Refused with the offset or the reason, wherever it comes in.
    Do({{"module", "push", "FILE"}, {65}, "offset|byte"}, file);
    Do({{"module", "verify", "FILE"}, {65}, "offset|byte"}, file);
    Do({RunFile({}), {65}, "offset|byte"}, file);
  } else {
    const auto found = ValidItems().find(name);
    ASSERT_NE(found, ValidItems().end())
        << "what must become of it? " << item.Get("expect").ShortDebugString();
    for (const Step& step : found->second) Do(step, file);
    const auto more = WithDirectory().find(name);
    if (more != WithDirectory().end()) {
      for (const Step& step : more->second) Do(step, file);
    }
  }

  EXPECT_TRUE(daemon().Healthy());
  const Finished honest =
      Client({"run", scratch().Path("honest.wasm"), "--policy", "hostile"});
  EXPECT_THAT(honest, EndsWithCode(0));
  EXPECT_EQ(honest.out, "honest\n");
  // Nobody left a descriptor open.
  EXPECT_LT(daemon().Metric("process_open_fds"), 100);
}

INSTANTIATE_TEST_SUITE_P(Corpus, HostileTest,
                         testing::ValuesIn(CorpusItems("hostile")),
                         [](const auto& row) { return row.param.TestName(); });
GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(HostileTest);

TEST(Corpus, IsThere) {
  if (CorpusDir().empty()) GTEST_SKIP() << kNoCorpus;
  EXPECT_FALSE(CorpusItems("hostile").empty());
}

}  // namespace
}  // namespace callgate::e2e
