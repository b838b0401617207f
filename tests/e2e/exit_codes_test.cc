// What `callgate` tells a shell: one row for each reason to end.

#include <string>
#include <vector>

#include "tests/e2e/with_daemon.h"

namespace callgate::e2e {
namespace {

using ::testing::HasSubstr;

struct Row {
  std::string name;
  // "@FILE" stands for the path of that file of the suite.
  std::vector<std::string> arguments;
  int code;
  // In stderr.
  std::string says;
};

void PrintTo(const Row& row, std::ostream* out) { *out << row.name; }

class ExitCodes : public WithDaemon, public testing::WithParamInterface<Row> {
 protected:
  static void SetUpTestSuite() {
    WithDaemon::SetUpTestSuite();
    scratch().Write("hello.wasm", Says("hello\n"));
    scratch().Write("exit3.wasm", ExitsWith(3));
    scratch().Write("exit134.wasm", ExitsWith(134));
    scratch().Write("library.wasm", Library());
    scratch().Write("spins.wasm", Spins());
    scratch().Write("sends.wasm", SendsOnce());
    scratch().Write("traps.wasm", Assemble(R"((module
      (func $deep (unreachable)) (func (export "_start") (call $deep))))"));
    scratch().Write("garbage.wasm", "this is no module");
    // A body of type [i32] that leaves nothing: only a validator sees it.
    scratch().Write("invalid.wasm",
                    std::string("\0asm\1\0\0\0\1\5\1\x60\0\1\x7f\3\2\1\0"
                                "\x0a\4\1\2\0\x0b",
                                25));
    scratch().Write("missing.wasm", Assemble(R"((module
      (import "net" "connect" (func)) (func (export "_start"))))"));
    scratch().Write("bad.yaml",
                    "api_version: callgate.policy/v1\nkind: Policy\n"
                    "metadata: { name: bad }\nbudgets: { fuel_per_cal: 1 }\n");
    scratch().Write("no-such-include.yaml",
                    "api_version: callgate.policy/v1\nkind: Policy\n"
                    "metadata: { name: bad }\ninclude: [nowhere]\n");
    scratch().Write("traps-random.yaml", R"(
api_version: callgate.policy/v1
kind: Policy
metadata: { name: strict }
include: [wasi-preview1-base]
imports:
  - { id: no-dice, import: wasi_snapshot_preview1.random_get, action: trap }
)");
    scratch().Write("traps-random.textproto", R"(
api_version: "callgate.policy/v1" kind: "Policy" metadata { name: "strict" }
include: "wasi-preview1-base"
imports { id: "no-dice" import: "wasi_snapshot_preview1.random_get"
          action: ACTION_TRAP }
)");
    scratch().Write("random.wasm", ExitsWithErrnoOfRandomGet());
  }

  static std::vector<std::string> Filled(std::vector<std::string> arguments) {
    for (std::string& argument : arguments) {
      if (argument.front() == '@')
        argument = scratch().Path(argument.substr(1));
    }
    return arguments;
  }
};

TEST_P(ExitCodes, Says) {
  const Finished finished = Client(Filled(GetParam().arguments));
  EXPECT_THAT(finished, EndsWithCode(GetParam().code));
  EXPECT_THAT(finished.err, HasSubstr(GetParam().says));
}

INSTANTIATE_TEST_SUITE_P(
    Endings, ExitCodes,
    testing::ValuesIn<Row>({
        {"returned", {"run", "@hello.wasm", "--policy", "open"}, 0, ""},
        {"own_code", {"run", "@exit3.wasm", "--policy", "open"}, 3, ""},
        {"own_code_that_collides",
         {"run", "@exit134.wasm", "--policy", "open"},
         134,
         ""},
        {"trap",
         {"run", "@traps.wasm", "--policy", "open"},
         134,
         "unreachable"},
        {"trap_in_an_export",
         {"run", "@library.wasm", "--policy", "open", "--invoke", "divide",
          "--", "1", "0"},
         134,
         "divi"},
        {"policy_trap",
         {"run", "@random.wasm", "--policy", "@traps-random.yaml"},
         134,
         "no-dice"},
        {"policy_in_another_format",
         {"run", "@random.wasm", "--policy", "@traps-random.textproto"},
         134,
         "no-dice"},
        {"timeout",
         {"run", "@spins.wasm", "--policy", "open", "--timeout", "200ms"},
         134,
         "wall_per_call"},
        {"fuel",
         {"run", "@spins.wasm", "--policy", "open", "--fuel", "100000"},
         134,
         "fuel"},
        {"no_command", {}, 64, "callgate"},
        {"unknown_command", {"modul", "ls"}, 64, "module"},
        {"unknown_flag",
         {"run", "@hello.wasm", "--polcy", "open"},
         64,
         "--policy"},
        {"bad_argument",
         {"run", "@library.wasm", "--policy", "open", "--invoke", "add", "--",
          "one", "2"},
         64,
         "one"},
        {"garbage",
         {"run", "@garbage.wasm", "--policy", "open"},
         65,
         "00 61 73 6d"},
        {"garbage_pushed",
         {"module", "push", "@garbage.wasm"},
         65,
         "00 61 73 6d"},
        {"garbage_verified",
         {"module", "verify", "@garbage.wasm"},
         65,
         "00 61 73 6d"},
        {"invalid", {"run", "@invalid.wasm", "--policy", "open"}, 65, "type"},
        {"invalid_verified", {"module", "verify", "@invalid.wasm"}, 65, "type"},
        {"missing_import",
         {"run", "@missing.wasm", "--policy", "open"},
         65,
         "net.connect"},
        {"no_start",
         {"run", "@library.wasm", "--policy", "open"},
         65,
         "_start"},
        {"no_daemon",
         {"--server=127.0.0.1:1", "module", "ls"},
         69,
         "127.0.0.1:1"},
        {"no_daemon_after",
         {"module", "ls", "--server", "127.0.0.1:1"},
         69,
         "127.0.0.1:1"},
        {"bad_policy_checked",
         {"policy", "check", "@bad.yaml"},
         78,
         "fuel_per_call"},
        {"bad_policy_applied",
         {"policy", "apply", "@bad.yaml"},
         78,
         "fuel_per_call"},
        {"bad_policy_run",
         {"run", "@hello.wasm", "--policy", "@bad.yaml"},
         78,
         "fuel_per_call"},
        {"include_of_nothing",
         {"policy", "apply", "@no-such-include.yaml"},
         78,
         "nowhere"},
        {"policy_nobody_has",
         {"run", "@hello.wasm", "--policy", "nobody-has-this"},
         78,
         "nobody-has-this"},
        {"help", {"--help"}, 0, ""},
        {"help_of_a_group", {"module", "--help"}, 0, ""},
        {"help_of_a_command", {"module", "push", "--help"}, 0, ""},
    }),
    [](const auto& row) { return row.param.name; });

// A guest's own 134 and a trap look alike to a shell; --json does not.
TEST_F(WithDaemon, JsonTellsACollidingCodeFromATrap) {
  const std::string exits = ModuleFile(ExitsWith(134));
  const std::string traps = ModuleFile(
      Assemble(R"((module (func (export "_start") (unreachable))))"));
  const Finished own = Client({"run", exits, "--policy", "open", "--json"});
  const Finished trap = Client({"run", traps, "--policy", "open", "--json"});
  EXPECT_THAT(own, EndsWithCode(134));
  EXPECT_THAT(trap, EndsWithCode(134));
  EXPECT_THAT(own.out, testing::Not(HasSubstr("unreachable")));
  EXPECT_THAT(trap.out, HasSubstr("unreachable"));
  EXPECT_EQ(own.err, "");
}

TEST(NoDaemon, LocalRunsNeedNone) {
  const ScratchDir scratch;
  const std::string hello = scratch.Write("hello.wasm", Says("hello\n"));
  const Finished run = RunClient({"run", "--local", hello});
  EXPECT_THAT(run, EndsWithCode(0));
  EXPECT_EQ(run.out, "hello\n");

  // Without a policy: WASI and the stubs, nothing else, said once.
  const std::string sends = scratch.Write("sends.wasm", SendsOnce());
  EXPECT_THAT(RunClient({"run", "--local", sends}), EndsWithCode(65));
  EXPECT_THAT(RunClient({"run", "--local", sends, "--stub", "net.send"}),
              EndsWithCode(0));

  const std::string policy = scratch.Write("no-random.yaml", kNoRandomPolicy);
  const std::string random =
      scratch.Write("random.wasm", ExitsWithErrnoOfRandomGet());
  EXPECT_THAT(RunClient({"run", "--local", random, "--policy", policy}),
              EndsWithCode(63));
  EXPECT_THAT(RunClient({"module", "verify", hello}), EndsWithCode(0));
  EXPECT_THAT(RunClient({"policy", "check", policy}), EndsWithCode(0));
}

}  // namespace
}  // namespace callgate::e2e
