// The client's real binary, as a shell sees it: what it prints where, and its
// exit codes. What needs a daemon is in tests/e2e.

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <functional>
#include <sstream>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "server/cli/commands.h"
#include "server/cli/exit_codes.h"
#include "server/storage/digest.h"
#include "tests/support/wat.h"

namespace callgate::cli {
namespace {

using testing::TempDir;

// --- The binary under test
// ----------------------------------------------------

// Made once; tests change their own folder.
std::string BinaryPath() {
  static const std::string* const path = [] {
    char* const here = realpath("server/cli/callgate", nullptr);
    EXPECT_NE(here, nullptr) << "run by Bazel, which puts the binary there";
    auto* const found = new std::string(here == nullptr ? "" : here);
    free(here);
    return found;
  }();
  return *path;
}

struct Finished {
  int exit_code = -1;  // 128 + the signal if it was ended by one
  std::string out;
  std::string err;
};

// A process that runs the binary. Its output must be awaited or closed.
class Process {
 public:
  explicit Process(const std::vector<std::string>& arguments,
                   const std::string& input = "") {
    int in[2];
    int out[2];
    int err[2];
    EXPECT_EQ(pipe2(in, O_CLOEXEC), 0);
    EXPECT_EQ(pipe2(out, O_CLOEXEC), 0);
    EXPECT_EQ(pipe2(err, O_CLOEXEC), 0);
    std::string path = BinaryPath();
    std::vector<std::string> words = {path};
    words.insert(words.end(), arguments.begin(), arguments.end());
    std::vector<char*> argv;
    for (std::string& word : words) argv.push_back(word.data());
    argv.push_back(nullptr);
    pid_ = fork();
    if (pid_ == 0) {
      dup2(in[0], 0);
      dup2(out[1], 1);
      dup2(err[1], 2);
      unsetenv("CALLGATE_SERVER");
      unsetenv("CALLGATE_METRICS");
      execv(path.c_str(), argv.data());
      _exit(127);
    }
    close(in[0]);
    close(out[1]);
    close(err[1]);
    // Fits into the pipe.
    EXPECT_LE(input.size(), 4096u);
    EXPECT_EQ(write(in[1], input.data(), input.size()),
              static_cast<ssize_t>(input.size()));
    close(in[1]);
    out_ = out[0];
    err_ = err[0];
  }
  ~Process() {
    if (pid_ > 0) {
      kill(pid_, SIGKILL);
      waitpid(pid_, nullptr, 0);
    }
    CloseOutput();
    close(err_);
  }

  // The first bytes of stdout.
  std::string AwaitOutput() {
    char buffer[4096];
    const ssize_t got = read(out_, buffer, sizeof(buffer));
    return std::string(buffer, got > 0 ? static_cast<size_t>(got) : 0);
  }
  void CloseOutput() {
    if (out_ >= 0) close(out_);
    out_ = -1;
  }
  void Signal(int number) { EXPECT_EQ(kill(pid_, number), 0); }

  Finished Await() {
    Finished finished;
    pollfd waited[2] = {{out_, POLLIN, 0}, {err_, POLLIN, 0}};
    std::string* const texts[2] = {&finished.out, &finished.err};
    while (waited[0].fd >= 0 || waited[1].fd >= 0) {
      EXPECT_GT(poll(waited, 2, -1), 0);
      for (int i = 0; i < 2; ++i) {
        if (waited[i].revents == 0) continue;
        char buffer[4096];
        const ssize_t got = read(waited[i].fd, buffer, sizeof(buffer));
        if (got <= 0) {
          waited[i].fd = -1;
        } else {
          texts[i]->append(buffer, static_cast<size_t>(got));
        }
      }
    }
    int status = 0;
    EXPECT_EQ(waitpid(pid_, &status, 0), pid_);
    pid_ = 0;
    finished.exit_code =
        WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    return finished;
  }

 private:
  pid_t pid_ = 0;
  int out_ = -1;
  int err_ = -1;
};

Finished Callgate(const std::vector<std::string>& arguments,
                  const std::string& input = "") {
  return Process(arguments, input).Await();
}

std::string WriteFile(const std::string& name, absl::string_view bytes) {
  const std::string path = absl::StrCat(TempDir(), "/", name);
  std::ofstream(path, std::ios::binary)
      .write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  return path;
}

std::string ReadWholeFile(const std::string& path) {
  std::ostringstream text;
  text << std::ifstream(path, std::ios::binary).rdbuf();
  return text.str();
}

// A module file made from text.
std::string Guest(const std::string& name, absl::string_view wat) {
  const auto bytes = AssembleWat(wat);
  EXPECT_TRUE(bytes.ok()) << bytes.status();
  const std::string binary(bytes->begin(), bytes->end());
  return WriteFile(name + ".wasm", binary);
}

// --- Guests
// -------------------------------------------------------------------

constexpr absl::string_view kImportExit =
    R"((import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32))))";
constexpr absl::string_view kImportWrite =
    R"((import "wasi_snapshot_preview1" "fd_write")"
    R"( (func $write (param i32 i32 i32 i32) (result i32))))";

// Writes "hi\n" to stdout and "oh\n" to stderr.
std::string Greeter() {
  return Guest("greeter", absl::StrCat("(module ", kImportWrite, R"(
    (memory (export "memory") 1)
    (data (i32.const 0) "\10\00\00\00\03\00\00\00")
    (data (i32.const 8) "\13\00\00\00\03\00\00\00")
    (data (i32.const 16) "hi\noh\n")
    (func (export "_start")
      (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 64)))
      (drop (call $write (i32.const 2) (i32.const 8) (i32.const 1) (i32.const 64)))))
  )"));
}

std::string Exits(int code) {
  return Guest(absl::StrCat("exits_", code),
               absl::StrCat("(module ", kImportExit, R"(
    (memory (export "memory") 1)
    (func (export "_start") (call $exit (i32.const )",
                            code, "))))"));
}

// Copies stdin to stdout.
std::string Copier() {
  return Guest("copier", absl::StrCat("(module ", kImportWrite, R"(
    (import "wasi_snapshot_preview1" "fd_read"
      (func $read (param i32 i32 i32 i32) (result i32)))
    (memory (export "memory") 1)
    (func (export "_start")
      (loop $more
        (i32.store (i32.const 0) (i32.const 100))
        (i32.store (i32.const 4) (i32.const 1000))
        (drop (call $read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 8)))
        (if (i32.load (i32.const 8))
          (then
            (i32.store (i32.const 4) (i32.load (i32.const 8)))
            (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 12)))
            (br $more))))))
  )"));
}

// Writes "go\n" for ever, or once and then spins.
std::string Writes(bool for_ever) {
  return Guest(for_ever ? "writes_for_ever" : "spins",
               absl::StrCat("(module ", kImportWrite, R"(
    (memory (export "memory") 1)
    (data (i32.const 0) "\10\00\00\00\03\00\00\00")
    (data (i32.const 16) "go\n")
    (func $go
      (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 64))))
    (func (export "_start")
      (call $go)
      (loop $more )",
                            for_ever ? "(call $go)" : "", " (br $more))))"));
}

std::string Calculator() {
  return Guest("calculator", R"((module
    (memory (export "memory") 1)
    (func $fib (export "fib") (param i32) (result i32)
      (if (result i32) (i32.lt_u (local.get 0) (i32.const 2))
        (then (local.get 0))
        (else (i32.add (call $fib (i32.sub (local.get 0) (i32.const 1)))
                       (call $fib (i32.sub (local.get 0) (i32.const 2)))))))
    (func (export "many") (param i32 i64 f32 f64) (result f64 f32 i64 i32)
      (local.get 3) (local.get 2) (local.get 1) (local.get 0))
    (func $divide (export "divide") (param i32 i32) (result i32)
      (i32.div_s (local.get 0) (local.get 1)))
    (func (export "nothing"))
    (func (export "spin") (loop $more (br $more)))))");
}

std::string NeedsImport() {
  return Guest("needs_import", R"((module
    (import "bench" "start" (func $start))
    (memory (export "memory") 1)
    (func (export "_start") (call $start))))");
}

// --- Usage
// --------------------------------------------------------------------

struct UsageRow {
  std::string name;
  std::vector<std::string> arguments;
  int exit_code;
  std::string err;  // is part of stderr
};

class CallgateUsage : public testing::TestWithParam<UsageRow> {};

TEST_P(CallgateUsage, SaysWhatIsWrong) {
  const Finished finished = Callgate(GetParam().arguments);
  EXPECT_EQ(finished.exit_code, GetParam().exit_code);
  EXPECT_EQ(finished.out, "");
  EXPECT_TRUE(absl::StrContains(finished.err, GetParam().err)) << finished.err;
  EXPECT_TRUE(absl::StartsWith(finished.err, "callgate: ")) << finished.err;
}

INSTANTIATE_TEST_SUITE_P(
    Lines, CallgateUsage,
    testing::ValuesIn<UsageRow>({
        {"nothing", {}, kExitUsage, "no command is given"},
        {"unknown_command", {"rnu"}, kExitUsage, "did you mean callgate run?"},
        {"unknown_flag",
         {"run", "f", "--polcy", "x"},
         kExitUsage,
         "did you mean --policy?"},
        {"terminal_escape", {"\x1b[2J"}, kExitUsage, "\"\\x1b[2J\""},
        {"no_file",
         {"run", "--local", "/no/such.wasm"},
         kExitNoInput,
         "cannot read \"/no/such.wasm\": No such file or directory"},
        {"no_file_for_a_daemon",
         {"run", "/no/such.wasm", "--server", "127.0.0.1:1"},
         kExitNoInput,
         "cannot read \"/no/such.wasm\""},
        {"no_file_to_verify",
         {"module", "verify", "/no/such.wasm"},
         kExitNoInput,
         "cannot read \"/no/such.wasm\""},
        {"digest_without_a_daemon",
         {"run", "--local", "sha256:00"},
         kExitUsage,
         "--local needs a file"},
        {"server_without_a_daemon",
         {"run", "--local", "f", "--server", "127.0.0.1:1"},
         kExitUsage,
         "--local runs without a daemon"},
        {"probe_in_a_daemon",
         {"run", "f", "--probe", "fib", "--server", "127.0.0.1:1"},
         kExitUsage,
         "add --local"},
        {"bad_probe",
         {"run", "--local", "f", "--probe", "#x"},
         kExitUsage,
         "--probe \"#x\": "},
        {"trace_of_nothing",
         {"run", "--local", "f", "--probe-trace"},
         kExitUsage,
         "give at least one"},
        {"bad_server",
         {"module", "ls", "--server", "nowhere"},
         kExitUsage,
         "write HOST:PORT"},
        {"not_utf8",
         {"store", "kill", "\xff", "--server", "127.0.0.1:1"},
         kExitUsage,
         "\"\\xff\" is not UTF-8"},
        {"no_daemon",
         {"module", "ls", "--server", "127.0.0.1:1"},
         kExitNoDaemon,
         "cannot reach callgated at 127.0.0.1:1: "},
        {"no_daemon_for_a_run",
         {"run", "sha256:00", "--server=127.0.0.1:1"},
         kExitNoDaemon,
         "start it with `callgated --data DIR`"},
        {"no_daemon_for_events",
         {"events", "--server=127.0.0.1:1"},
         kExitNoDaemon,
         "cannot reach callgated at 127.0.0.1:1: "},
        {"no_daemon_for_metrics",
         {"metrics", "--metrics", "127.0.0.1:1"},
         kExitNoDaemon,
         "cannot reach callgated's metrics page at 127.0.0.1:1: "},
        {"bad_address",
         {"store", "read", "7", "x", "1"},
         kExitUsage,
         "ADDR \"x\" is not a number"},
        {"bad_hex",
         {"store", "write", "7", "0", "xy"},
         kExitUsage,
         "HEX: \"x\" is not a hexadecimal digit"},
        {"bad_label",
         {"module", "push", "f", "--label", "class"},
         kExitUsage,
         "has not the form KEY=VALUE"},
    }),
    [](const auto& param) { return param.param.name; });

TEST(CallgateHelpTest, IsOnStdout) {
  for (const Command& command : AllCommands().commands) {
    std::vector<std::string> words = {"help"};
    for (const absl::string_view word :
         std::vector<absl::string_view>{command.name}) {
      const size_t blank = word.find(' ');
      words.emplace_back(word.substr(0, blank));
      if (blank != absl::string_view::npos) {
        words.emplace_back(word.substr(blank + 1));
      }
    }
    const Finished finished = Callgate(words);
    EXPECT_EQ(finished.exit_code, kExitOk);
    EXPECT_EQ(finished.out, CommandHelp(command));
    EXPECT_EQ(finished.err, "");
  }
  EXPECT_EQ(Callgate({"--help"}).out, ProgramHelp(AllCommands()));
}

// --- module verify, policy check
// ----------------------------------------------

TEST(CallgateVerifyTest, ShowsWhatAModuleWantsAndOffers) {
  const std::string path = Guest("verified", R"((module
    (import "en\1b[2Jv" "\e2\80\aef" (func (param i32)))
    (memory (export "memory") 1 4)
    (func (export "_start"))))");
  const Finished finished = Callgate({"module", "verify", path});
  EXPECT_EQ(finished.exit_code, kExitOk) << finished.err;
  const std::string digest = storage::DigestOf(ReadWholeFile(path)).ToString();
  EXPECT_EQ(finished.out,
            absl::StrCat("admitted and valid\n"
                         "digest          ",
                         digest,
                         "\n"
                         "size            ",
                         ReadWholeFile(path).size(),
                         " bytes\n"
                         "functions       1\n"
                         "start function  none\n"
                         "imports 1\n"
                         "  en\\x1b[2Jv.\\u{202e}f  func (i32) -> ()\n"
                         "exports 2\n"
                         "  memory  memory 1..4 pages\n"
                         "  _start  func () -> ()\n"));
}

TEST(CallgateVerifyTest, RefusesWithTheReason) {
  const std::string path = WriteFile("garbage.wasm", "not a module");
  const Finished finished = Callgate({"module", "verify", path, "--json"});
  EXPECT_EQ(finished.exit_code, kExitModuleRefused);
  EXPECT_TRUE(absl::StrContains(finished.err, "callgate: ")) << finished.err;
  EXPECT_TRUE(absl::StartsWith(
      finished.out, R"({"outcome":"module_refused","exit_code":65,)"))
      << finished.out;
  EXPECT_TRUE(absl::StrContains(finished.out, R"("reason":"MODULE_MALFORMED")"))
      << finished.out;
}

TEST(CallgateVerifyTest, RefusesWhatOnlyTheValidatorSees) {
  const auto bytes = AssembleWatWithoutValidation(
      R"((module (func (export "_start") (drop (i32.add (i64.const 1) (i32.const 1))))))");
  ASSERT_TRUE(bytes.ok()) << bytes.status();
  const std::string path =
      WriteFile("invalid.wasm", std::string(bytes->begin(), bytes->end()));
  const Finished finished = Callgate({"module", "verify", path});
  EXPECT_EQ(finished.exit_code, kExitModuleRefused) << finished.err;
  EXPECT_EQ(finished.out, "");
}

constexpr absl::string_view kPolicyHead =
    "api_version: callgate.policy/v1\n"
    "kind: Policy\n";

TEST(CallgateCheckTest, PassesGoodFilesThatIncludeOneAnother) {
  const std::string base = WriteFile(
      "base.yaml", absl::StrCat(kPolicyHead, "metadata: { name: base }\n"));
  const std::string more =
      WriteFile("more.yaml", absl::StrCat(kPolicyHead,
                                          "metadata: { name: more }\n"
                                          "include: [base]\n"));
  const Finished finished = Callgate({"policy", "check", more, base});
  EXPECT_EQ(finished.exit_code, kExitOk) << finished.err;
  EXPECT_TRUE(absl::StrContains(finished.out, more + ": ok, more@"))
      << finished.out;
  EXPECT_TRUE(absl::StrContains(finished.out, base + ": ok, base@"))
      << finished.out;
}

TEST(CallgateCheckTest, ShowsWhereAConditionIsWrong) {
  const std::string bad = WriteFile(
      "condition.yaml", absl::StrCat(kPolicyHead,
                                     "metadata: { name: bad }\n"
                                     "imports:\n"
                                     "  - import: env.f\n"
                                     "    action: deny\n"
                                     "    when: 'call.depth startsWith 3'\n"));
  const Finished finished = Callgate({"policy", "check", bad});
  EXPECT_EQ(finished.exit_code, kExitPolicyRefused) << finished.err;
  // The condition and a caret on lines of their own, under its place.
  EXPECT_TRUE(absl::StrContains(finished.err, bad + ":7:5: ")) << finished.err;
  EXPECT_TRUE(absl::StrContains(finished.err,
                                "\n  call.depth startsWith 3\n"
                                "             ^\n"))
      << finished.err;
}

TEST(CallgateCheckTest, HoldsRulesAgainstTheFunctionsOfWasi) {
  const auto policy = [](absl::string_view name, absl::string_view when) {
    return WriteFile(absl::StrCat(name, ".yaml"),
                     absl::StrCat(kPolicyHead, "metadata: { name: ", name,
                                  " }\nrules:\n  - id: r\n    action: deny\n"
                                  "    when: '",
                                  when, "'\n"));
  };
  const std::string wrong =
      policy("wrong",
             "call.import == \"wasi_snapshot_preview1.fd_close\" && "
             "args.path == \"/x\"");
  const Finished refused = Callgate({"policy", "check", wrong});
  EXPECT_EQ(refused.exit_code, kExitPolicyRefused) << refused.err;
  EXPECT_TRUE(absl::StrContains(
      refused.err, wrong + ":7:5: rules[0].when: for wasi_snapshot_preview1"
                           ".fd_close(fd): 1:53: there is no args.path; "))
      << refused.err;

  // It may be meant for modules that open paths and do nothing else.
  const std::string wide = policy("wide", "args.path == \"/x\"");
  const Finished warned = Callgate({"policy", "check", wide});
  EXPECT_EQ(warned.exit_code, kExitOk) << warned.err;
  EXPECT_TRUE(absl::StrContains(
      warned.err, wide + ":7:5: warning: a module that imports wasi_snapshot_"
                         "preview1.args_get or one of "))
      << warned.err;
}

TEST(CallgateCheckTest, ShowsEveryProblemWithItsPlace) {
  const std::string bad =
      WriteFile("bad.yaml", absl::StrCat(kPolicyHead,
                                         "metadata: { name: bad }\n"
                                         "budgets: { fuel_per_cal: 7 }\n"));
  const std::string good = WriteFile(
      "good.yaml", absl::StrCat(kPolicyHead, "metadata: { name: good }\n"));
  const Finished finished = Callgate({"policy", "check", bad, good});
  EXPECT_EQ(finished.exit_code, kExitPolicyRefused);
  EXPECT_TRUE(absl::StrContains(finished.err, bad + ":4:12: ")) << finished.err;
  EXPECT_TRUE(absl::StrContains(finished.out, good + ": ok, good@"))
      << finished.out;
}

// --- policy test, coverage, schema

std::string TestedPolicy(absl::string_view verdict);

TEST(CallgateCheckTest, AsksTheTestsThatAnApplyWouldAsk) {
  const Finished right = Callgate({"policy", "check", TestedPolicy("deny")});
  EXPECT_EQ(right.exit_code, kExitOk) << right.err;
  const std::string path = TestedPolicy("trap");
  const Finished failing = Callgate({"policy", "check", path});
  EXPECT_EQ(failing.exit_code, kExitPolicyRefused) << failing.err;
  EXPECT_TRUE(absl::StrContains(failing.err, path + ":")) << failing.err;
  EXPECT_TRUE(absl::StrContains(failing.err, "expected trap; it was deny(76)"))
      << failing.err;
  EXPECT_EQ(failing.out, "");
}

std::string TestedPolicy(absl::string_view verdict) {
  return WriteFile(
      absl::StrCat("tested_", verdict, ".yaml"),
      absl::StrCat(kPolicyHead,
                   "metadata: { name: tested }\n"
                   "include: [wasi-preview1-base]\n"
                   "imports:\n"
                   "  - id: secret\n"
                   "    import: wasi_snapshot_preview1.path_open\n"
                   "    action: deny\n"
                   "    when: 'args.path.startsWith(\"/secret/\")'\n"
                   "    tags: [T1552]\n"
                   "tests:\n"
                   "  - name: secrets\n"
                   "    events:\n"
                   "      - import: wasi_snapshot_preview1.path_open\n"
                   "        args: { fd: /secret, path: a }\n"
                   "      - import: wasi_snapshot_preview1.path_open\n"
                   "        args: { path: /plain }\n"
                   "    expect:\n"
                   "      - { event: 0, verdict: ",
                   verdict,
                   " }\n"
                   "      - { event: 1, verdict: allow }\n"));
}

TEST(CallgatePolicyTestTest, PassesAndShowsWhatRulesDid) {
  const std::string path = TestedPolicy("deny");
  const Finished finished = Callgate({"policy", "test", path});
  EXPECT_EQ(finished.exit_code, kExitOk) << finished.err;
  EXPECT_EQ(finished.err, "");
  EXPECT_EQ(
      finished.out,
      absl::StrCat("pass  secrets\n"
                   "RULE    LINE  MATCHED  TRUE  FALSE  EXCEPTED  FAILED\n"
                   "secret  6     1        1     1      0         0\n",
                   path,
                   ": 1 tests, 0 failed; 1 of 1 rules matched, 1 of 1 "
                   "conditions were true and false\n"));
}

TEST(CallgatePolicyTestTest, FailsWithThePlaceAndWritesJUnit) {
  const std::string path = TestedPolicy("trap");
  const std::string junit = absl::StrCat(testing::TempDir(), "/junit.xml");
  const Finished finished =
      Callgate({"policy", "test", path, "--junit", junit});
  EXPECT_EQ(finished.exit_code, kExitFailure) << finished.err;
  EXPECT_TRUE(absl::StrContains(
      finished.out,
      absl::StrCat("FAIL  secrets\n      ", path,
                   ":19:9: event 0 (wasi_snapshot_preview1.path_open at 0): "
                   "expected trap; it was deny(76) by tested/secret")))
      << finished.out;
  const std::string xml = ReadWholeFile(junit);
  EXPECT_TRUE(absl::StrContains(
      xml, "<testsuites tests=\"1\" failures=\"1\" errors=\"0\">"))
      << xml;
}

TEST(CallgatePolicyTestTest, ATestThatIsWrongIsAProblemOfTheFile) {
  const std::string path = TestedPolicy("perhaps");
  const Finished finished = Callgate({"policy", "test", path});
  EXPECT_EQ(finished.exit_code, kExitPolicyRefused);
  EXPECT_EQ(finished.out, "");
  EXPECT_TRUE(absl::StrContains(finished.err, path + ":19:")) << finished.err;
}

TEST(CallgatePolicyTestTest, EventsSayWhatTheyScoreAndWhereTheEngineFails) {
  const std::string path = WriteFile(
      "scored.yaml",
      "api_version: callgate.policy/v1\n"
      "kind: Policy\n"
      "metadata: { name: scored }\n"
      "defaults: { unlisted_import: allow }\n"
      "anomaly:\n"
      "  - id: shape\n"
      "    thresholds: [ { when: 'score.frame >= 6', action: trap } ]\n"
      "exceptions:\n"
      "  - { rule: shape, fields: [call.name], comps: ['=='], values: [ { v: "
      "[sched_yield] } ], reason: known, expires: \"2040-01-01\" }\n"
      "tests:\n"
      "  - name: scores\n"
      "    events:\n"
      "      - { import: wasi_snapshot_preview1.fd_close, score: { frame: 5 } "
      "}\n"
      "      - { import: wasi_snapshot_preview1.fd_close, score: { frame: 6 } "
      "}\n"
      "      - { import: wasi_snapshot_preview1.sched_yield, score: { frame: 7 "
      "} }\n"
      "      - { import: wasi_snapshot_preview1.fd_close, engine_error: true "
      "}\n"
      "    expect:\n"
      "      - { event: 0, verdict: allow, no_rules: true }\n"
      "      - { event: 1, verdict: trap, rules: [shape] }\n"
      "      - { event: 2, verdict: allow, no_rules: true }\n"
      "      - { event: 3, verdict: trap, rules: "
      "[\"default:on_engine_error\"] }\n");
  const Finished finished = Callgate({"policy", "test", path});
  EXPECT_EQ(finished.exit_code, kExitOk) << finished.err << finished.out;
  EXPECT_TRUE(absl::StartsWith(finished.out, "pass  scores\n")) << finished.out;
  std::vector<std::string> row;
  for (const absl::string_view line : absl::StrSplit(finished.out, '\n')) {
    if (absl::StartsWith(line, "shape ")) {
      row = absl::StrSplit(line, ' ', absl::SkipEmpty());
    }
  }
  // Line 6; matched once, true twice, false twice, once excepted, never failed.
  EXPECT_EQ(absl::StrJoin(row, " "), "shape 6 1 2 2 1 0") << finished.out;
}

TEST(CallgatePolicyTestTest, CoverageListsTechniques) {
  const std::string path = TestedPolicy("deny");
  EXPECT_EQ(Callgate({"policy", "coverage", path}).out,
            "ATT&CK  RULES\n"
            "T1552   tested/secret\n");
  EXPECT_EQ(Callgate({"policy", "coverage", path, "--json"}).out,
            "{\"techniques\":{\"T1552\":[\"tested/secret\"]},"
            "\"tactics\":{},\"without\":[]}\n");
}

TEST(CallgatePolicyTestTest, SchemaIsPrinted) {
  const Finished finished = Callgate({"policy", "schema"});
  EXPECT_EQ(finished.exit_code, kExitOk);
  EXPECT_TRUE(absl::StartsWith(
      finished.out,
      "{\n  \"$schema\": \"http://json-schema.org/draft-07/schema#\",\n"))
      << finished.out.substr(0, 200);
}

// --- run --local
// --------------------------------------------------------------

constexpr absl::string_view kNoPolicyLine =
    "callgate: no --policy: WASI and the stubs are allowed, every other import "
    "is denied\n";

struct LocalRow {
  std::string name;
  std::function<std::string()> file;  // makes it
  std::vector<std::string> arguments;
  std::string input;
  int exit_code = 0;
  std::string out;
  // Behind the line about the policy; not compared if it is "*".
  std::string err;
};

class CallgateLocal : public testing::TestWithParam<LocalRow> {};

TEST_P(CallgateLocal, RunsTheGuest) {
  const LocalRow& row = GetParam();
  std::vector<std::string> words = {"run", "--local", row.file()};
  words.insert(words.end(), row.arguments.begin(), row.arguments.end());
  const Finished finished = Callgate(words, row.input);
  EXPECT_EQ(finished.exit_code, row.exit_code) << finished.err;
  EXPECT_EQ(finished.out, row.out);
  if (row.err != "*") {
    EXPECT_EQ(finished.err, absl::StrCat(kNoPolicyLine, row.err));
  }
}

INSTANTIATE_TEST_SUITE_P(
    Runs, CallgateLocal,
    testing::ValuesIn<LocalRow>({
        {"output", Greeter, {}, "", 0, "hi\n", "oh\n"},
        {"stdin", Copier, {}, "one\ntwo\n", 0, "one\ntwo\n", ""},
        {"own_exit_code", [] { return Exits(7); }, {}, "", 7, "", ""},
        // No line on stderr: that is how it is told apart from a trap.
        {"own_exit_code_of_a_trap",
         [] { return Exits(134); },
         {},
         "",
         134,
         "",
         ""},
        {"invoke",
         Calculator,
         {"--invoke", "fib", "--", "i32:10"},
         "",
         0,
         "55\n",
         ""},
        {"invoke_plain",
         Calculator,
         {"--invoke", "fib", "--", "10"},
         "",
         0,
         "55\n",
         ""},
        {"invoke_many",
         Calculator,
         {"--invoke=many", "--", "-1", "18446744073709551615", "0.1", "-inf"},
         "",
         0,
         "-inf\n0.1\n-1\n-1\n",
         ""},
        {"invoke_without_results",
         Calculator,
         {"--invoke", "nothing"},
         "",
         0,
         "",
         ""},
        {"trap",
         Calculator,
         {"--invoke", "divide", "--", "1", "0"},
         "",
         kExitTrapped,
         "",
         "callgate: trap: integer divide by zero\n"
         "  #0 func 2 (divide) at 0x95\n"},
        {"fuel",
         Calculator,
         {"--invoke", "spin", "--fuel", "100000"},
         "",
         kExitTrapped,
         "",
         "*"},
        {"timeout",
         Calculator,
         {"--invoke", "spin", "--timeout", "50ms"},
         "",
         kExitTrapped,
         "",
         "*"},
        {"wrong_number_of_arguments",
         Calculator,
         {"--invoke", "fib"},
         "",
         kExitUsage,
         "",
         "callgate: the function takes 1 argument (i32), found 0\n"},
        {"wrong_argument",
         Calculator,
         {"--invoke", "fib", "--", "i64:1"},
         "",
         kExitUsage,
         "",
         "callgate: argument \"i64:1\": the function takes type i32 here\n"},
        {"no_such_export",
         Calculator,
         {"--invoke", "fob"},
         "",
         kExitUsage,
         "",
         "*"},
        {"no_start", Calculator, {}, "", kExitModuleRefused, "", "*"},
        {"missing_import", NeedsImport, {}, "", kExitModuleRefused, "", "*"},
        {"stub", NeedsImport, {"--stub", "bench.start"}, "", 0, "", ""},
        {"refused_module",
         [] { return WriteFile("cut.wasm", std::string("\0asm\1\0\0", 7)); },
         {},
         "",
         kExitModuleRefused,
         "",
         "*"},
    }),
    [](const auto& param) { return param.param.name; });

TEST(CallgateLocalTest, GivesArgumentsVariablesAndDirectories) {
  // Opens "in.txt" in its first directory and copies it to stdout, behind its
  // arguments and variables, which it writes as it gets them: with NULs.
  const std::string guest =
      Guest("asks", absl::StrCat("(module ", kImportWrite, R"(
    (import "wasi_snapshot_preview1" "args_get"
      (func $args (param i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "environ_get"
      (func $environ (param i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "path_open"
      (func $open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_read"
      (func $read (param i32 i32 i32 i32) (result i32)))
    (memory (export "memory") 1)
    (data (i32.const 900) "in.txt")
    (func $show (param $at i32) (param $bytes i32)
      (i32.store (i32.const 0) (local.get $at))
      (i32.store (i32.const 4) (local.get $bytes))
      (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8))))
    (func (export "_start")
      (drop (call $args (i32.const 100) (i32.const 200)))
      (call $show (i32.const 200) (i32.const 12))
      (drop (call $environ (i32.const 300) (i32.const 400)))
      (call $show (i32.const 400) (i32.const 4))
      (if (call $open (i32.const 3) (i32.const 0) (i32.const 900) (i32.const 6)
                      (i32.const 0) (i64.const 2) (i64.const 0) (i32.const 0)
                      (i32.const 500))
        (then unreachable))
      (i32.store (i32.const 0) (i32.const 600))
      (i32.store (i32.const 4) (i32.const 100))
      (drop (call $read (i32.load (i32.const 500)) (i32.const 0) (i32.const 1)
                        (i32.const 8)))
      (call $show (i32.const 600) (i32.load (i32.const 8)))))
  )"));
  const std::string folder = absl::StrCat(TempDir(), "/folder");
  mkdir(folder.c_str(), 0755);
  WriteFile("folder/in.txt", "content\n");
  const Finished finished =
      Callgate({"run", "--local", guest, "--dir", folder + "::/data", "--env",
                "K=V", "--", "-x"});
  EXPECT_EQ(finished.exit_code, 0) << finished.err;
  EXPECT_EQ(finished.out, std::string("asks.wasm\0-xK=V\0content\n", 24));
}

// A policy that lets a command run but not write.
std::string NoOutputPolicy(const std::string& action) {
  return WriteFile(action + ".yaml",
                   absl::StrCat(kPolicyHead, "metadata: { name: quiet }\n",
                                "include: [wasi-preview1-base]\n"
                                "imports:\n"
                                "  - id: no-output\n"
                                "    import: wasi_snapshot_preview1.fd_write\n"
                                "    action: ",
                                action, "\n"));
}

TEST(CallgateLocalTest, TellsEachVerdictInALine) {
  const Finished finished = Callgate(
      {"run", "--local", Greeter(), "--policy", NoOutputPolicy("deny")});
  EXPECT_EQ(finished.exit_code, 0) << finished.err;
  EXPECT_EQ(finished.out, "");
  EXPECT_TRUE(absl::StartsWith(
      finished.err,
      "callgate: denied wasi_snapshot_preview1.fd_write by quiet/no-output "
      "(errno 76), 2 times"))
      << finished.err;
  EXPECT_FALSE(absl::StrContains(finished.err, "no --policy"));
}

TEST(CallgateLocalTest, TimesProbedFunctions) {
  Finished finished =
      Callgate({"run", "--local", Calculator(), "--probe", "f?b", "--probe",
                "divide", "--invoke", "fib", "--probe-trace", "--", "2"});
  EXPECT_EQ(finished.exit_code, 0) << finished.err;
  EXPECT_EQ(finished.out, "1\n");
  EXPECT_TRUE(absl::StartsWith(finished.err,
                               absl::StrCat(kNoPolicyLine,
                                            "callgate: probed calls:\n"
                                            "  > fib(2)\n"
                                            "    > fib(1)\n"
                                            "    < fib\n"
                                            "    > fib(0)\n"
                                            "    < fib\n"
                                            "  < fib\n"
                                            "callgate: probed functions, by "
                                            "own time:\n"
                                            "  own")))
      << finished.err;
  EXPECT_TRUE(absl::EndsWith(finished.err, " 3      fib\n")) << finished.err;

  finished = Callgate({"run", "--local", Calculator(), "--probe", "divide",
                       "--probe-trace", "--json", "--invoke", "divide", "--",
                       "1", "0"});
  EXPECT_EQ(finished.exit_code, kExitTrapped);
  EXPECT_TRUE(absl::StrContains(
      finished.out, R"("func_name":"divide","func_index":2,"calls":1,)"))
      << finished.out;
  EXPECT_TRUE(absl::StrContains(
      finished.out, R"json("trace":["> divide(1, 0)","< divide: trap"],)json"))
      << finished.out;

  finished = Callgate({"run", "--local", Calculator(), "--probe", "divide",
                       "--invoke", "nothing"});
  EXPECT_EQ(finished.err,
            absl::StrCat(kNoPolicyLine,
                         "callgate: no function that --probe selects was "
                         "called\n"));
}

TEST(CallgateLocalTest, ProbesDoNotTakeThePolicysPlace) {
  const Finished finished = Callgate({"run", "--local", Greeter(), "--policy",
                                      NoOutputPolicy("deny"), "--probe", "*"});
  EXPECT_EQ(finished.exit_code, 0) << finished.err;
  EXPECT_EQ(finished.out, "");
  EXPECT_TRUE(absl::StartsWith(
      finished.err,
      "callgate: denied wasi_snapshot_preview1.fd_write by quiet/no-output "
      "(errno 76), 2 times"))
      << finished.err;
  EXPECT_TRUE(absl::EndsWith(finished.err, " 1      _start\n")) << finished.err;
}

TEST(CallgateLocalTest, BeginsItsLinesOnALineOfTheirOwn) {
  // Leaves its line unfinished, and traps.
  const std::string guest =
      Guest("breaks_off", absl::StrCat("(module ", kImportWrite, R"(
    (memory (export "memory") 1)
    (data (i32.const 0) "\10\00\00\00\02\00\00\00")
    (data (i32.const 16) "oh")
    (func (export "_start")
      (drop (call $write (i32.const 2) (i32.const 0) (i32.const 1) (i32.const 64)))
      unreachable))
  )"));
  const Finished finished = Callgate({"run", "--local", guest});
  EXPECT_EQ(finished.exit_code, kExitTrapped);
  EXPECT_TRUE(
      absl::StrContains(finished.err, "oh\ncallgate: trap: unreachable"))
      << finished.err;
}

TEST(CallgateLocalTest, EndsWithTheVerdictThatEndedTheGuest) {
  for (const std::string action : {"trap", "kill_store"}) {
    const Finished finished = Callgate(
        {"run", "--local", Greeter(), "--policy", NoOutputPolicy(action)});
    EXPECT_EQ(finished.exit_code, kExitTrapped) << finished.err;
    EXPECT_TRUE(absl::StrContains(
        finished.err, "wasi_snapshot_preview1.fd_write by quiet/no-output"))
        << finished.err;
    EXPECT_TRUE(absl::StrContains(finished.err, "ended by policy: "))
        << finished.err;
  }
}

TEST(CallgateLocalTest, RefusesAPolicyWithItsPlace) {
  const std::string policy =
      WriteFile("wrong.yaml", absl::StrCat(kPolicyHead,
                                           "metadata: { name: wrong }\n"
                                           "includes: [x]\n"));
  const Finished finished =
      Callgate({"run", "--local", Greeter(), "--policy", policy});
  EXPECT_EQ(finished.exit_code, kExitPolicyRefused);
  EXPECT_TRUE(absl::StrContains(finished.err, policy + ":4:1: "))
      << finished.err;
  EXPECT_EQ(
      Callgate({"run", "--local", Greeter(), "--policy", "by-name"}).exit_code,
      kExitUsage);
}

TEST(CallgateLocalTest, PutsAllOfARunIntoOneJsonObject) {
  Finished finished = Callgate({"run", "--local", Greeter(), "--json"});
  EXPECT_EQ(finished.exit_code, 0);
  EXPECT_EQ(finished.err, kNoPolicyLine);
  EXPECT_TRUE(absl::StartsWith(
      finished.out, R"({"outcome":"returned","exit_code":0,"module":"sha256:)"))
      << finished.out;
  EXPECT_TRUE(
      absl::StrContains(finished.out, R"("stdout":"hi\n","stderr":"oh\n"})"))
      << finished.out;

  // The guest's 134, and ours.
  finished = Callgate({"run", "--local", Exits(134), "--json"});
  EXPECT_EQ(finished.exit_code, 134);
  EXPECT_TRUE(
      absl::StartsWith(finished.out, R"({"outcome":"exited","exit_code":134,)"))
      << finished.out;
  finished = Callgate({"run", "--local", Calculator(), "--json", "--invoke",
                       "divide", "--", "1", "0"});
  EXPECT_EQ(finished.exit_code, 134);
  EXPECT_TRUE(absl::StartsWith(finished.out,
                               R"({"outcome":"trapped","exit_code":134,)"))
      << finished.out;

  finished = Callgate(
      {"run", "--local", Calculator(), "--json", "--invoke", "fib", "--", "3"});
  EXPECT_TRUE(absl::StrContains(
      finished.out,
      R"("results":[{"type":"i32","value":"2","bits":"0x00000002"}])"))
      << finished.out;

  finished = Callgate({"run", "--local", NeedsImport(), "--json"});
  EXPECT_EQ(finished.exit_code, kExitModuleRefused);
  EXPECT_TRUE(absl::StartsWith(finished.out, R"({"outcome":"module_refused",)"))
      << finished.out;
  EXPECT_TRUE(absl::StrContains(finished.out, R"("reason":"MISSING_IMPORT")"))
      << finished.out;
  EXPECT_TRUE(absl::StrContains(finished.err, "bench")) << finished.err;
}

TEST(CallgateLocalTest, EndsTheGuestOnASignal) {
  for (const int number : {SIGINT, SIGTERM}) {
    Process process({"run", "--local", Writes(/*for_ever=*/false)});
    EXPECT_EQ(process.AwaitOutput(), "go\n");
    process.Signal(number);
    const Finished finished = process.Await();
    EXPECT_EQ(finished.exit_code, 128 + number);
    EXPECT_TRUE(
        absl::StrContains(finished.err, "interrupted; the guest was ended"))
        << finished.err;
  }
}

TEST(CallgateLocalTest, EndsTheGuestWhenNobodyReadsItsOutput) {
  Process process({"run", "--local", Writes(/*for_ever=*/true)});
  EXPECT_NE(process.AwaitOutput(), "");
  process.CloseOutput();
  const Finished finished = process.Await();
  EXPECT_EQ(finished.exit_code, kExitOutputClosed) << finished.err;
}

// --- bench

TEST(CallgateBenchTest, TimesAnExport) {
  const Finished finished =
      Callgate({"bench", Calculator(), "--invoke", "fib", "--arg", "5",
                "--repeat", "2", "--engine", "reference", "--json"});
  EXPECT_EQ(finished.exit_code, kExitOk) << finished.err;
  EXPECT_TRUE(absl::StartsWith(
      finished.out,
      R"({"engine":"reference","level":null,"fuel":false,"hook":"none",)"))
      << finished.out;
  for (const absl::string_view part :
       {R"("load_us":null)", R"("code_bytes":null)", R"("call_ns":{"min":)",
        R"("repeat":2)", R"("host_calls":0,"stable":true,"result":"5"})"}) {
    EXPECT_TRUE(absl::StrContains(finished.out, part)) << finished.out;
  }
}

TEST(CallgateBenchTest, TimesEachLevelOfTheNativeEngine) {
  for (const std::string level : {"baseline", "optimised"}) {
    for (const std::string fuel : {"on", "off"}) {
      const Finished finished = Callgate(
          {"bench", Calculator(), "--invoke", "fib", "--arg", "5", "--repeat",
           "1", "--level", level, "--fuel", fuel, "--json"});
      EXPECT_EQ(finished.exit_code, kExitOk) << finished.err;
      EXPECT_TRUE(absl::StartsWith(
          finished.out,
          absl::StrCat(R"({"engine":"native","level":")", level, R"(","fuel":)",
                       fuel == "on" ? "true" : "false")))
          << finished.out;
      EXPECT_FALSE(absl::StrContains(finished.out, "null")) << finished.out;
      EXPECT_TRUE(
          absl::StrContains(finished.out, R"("stable":true,"result":"5"})"))
          << finished.out;
    }
  }
}

TEST(CallgateBenchTest, RunsUnderEachHook) {
  const std::string guest = NeedsImport();
  const std::string policy = WriteFile("bench.yaml", R"(
api_version: callgate.policy/v1
kind: Policy
metadata: { name: bench }
imports:
  - { import: bench.start, action: allow }
)");
  for (const std::vector<std::string>& hook :
       std::vector<std::vector<std::string>>{
           {"none"}, {"null"}, {"policy", "--policy", policy}}) {
    std::vector<std::string> words = {"bench",       guest,      "--stub",
                                      "bench.start", "--invoke", "_start",
                                      "--json",      "--hook"};
    words.insert(words.end(), hook.begin(), hook.end());
    const Finished finished = Callgate(words);
    EXPECT_EQ(finished.exit_code, kExitOk) << finished.err;
    EXPECT_EQ(finished.err, "");
    EXPECT_TRUE(absl::StrContains(
        finished.out, R"("host_calls":1,"stable":true,"result":""})"))
        << finished.out;
  }
}

TEST(CallgateBenchTest, DropsWhatTheGuestWrites) {
  const Finished finished =
      Callgate({"bench", Greeter(), "--invoke", "_start", "--repeat", "1"});
  EXPECT_EQ(finished.exit_code, kExitOk) << finished.err;
  EXPECT_EQ(finished.err, "");
  EXPECT_FALSE(absl::StrContains(finished.out, "hi")) << finished.out;
  EXPECT_TRUE(absl::StartsWith(finished.out, "engine ")) << finished.out;
}

struct BenchRefusal {
  std::string name;
  std::function<std::vector<std::string>()> arguments;
  int exit_code;
  std::string err;  // is part of stderr
};

class CallgateBenchRefusals : public testing::TestWithParam<BenchRefusal> {};

TEST_P(CallgateBenchRefusals, SayWhatIsWrong) {
  std::vector<std::string> words = {"bench"};
  for (const std::string& word : GetParam().arguments()) words.push_back(word);
  const Finished finished = Callgate(words);
  EXPECT_EQ(finished.exit_code, GetParam().exit_code) << finished.err;
  EXPECT_EQ(finished.out, "");
  EXPECT_TRUE(absl::StrContains(finished.err, GetParam().err)) << finished.err;
}

INSTANTIATE_TEST_SUITE_P(
    Lines, CallgateBenchRefusals,
    testing::ValuesIn<BenchRefusal>({
        {"no_file", [] { return std::vector<std::string>{"/no/such.wasm"}; },
         kExitNoInput, "cannot read \"/no/such.wasm\""},
        {"level_of_an_interpreter",
         [] {
           return std::vector<std::string>{Calculator(), "--engine",
                                           "reference", "--level", "baseline"};
         },
         kExitUsage, "the reference engine interprets and has no levels"},
        {"no_such_export",
         [] {
           return std::vector<std::string>{Calculator(), "--invoke", "fob"};
         },
         kExitUsage, "the module exports no function \"fob\""},
        {"wrong_argument",
         [] {
           return std::vector<std::string>{Calculator(), "--invoke", "fib"};
         },
         kExitUsage, "the function takes 1 argument (i32), found 0"},
        {"missing_import",
         [] {
           return std::vector<std::string>{NeedsImport(), "--invoke", "_start"};
         },
         kExitModuleRefused, "bench"},
        {"guest_traps",
         [] {
           return std::vector<std::string>{
               Calculator(), "--invoke", "divide", "--arg", "1", "--arg", "0"};
         },
         134, "the guest was stopped: integer divide by zero"},
        {"guest_exits",
         [] {
           return std::vector<std::string>{Exits(7), "--invoke", "_start"};
         },
         134, "the guest exited with 7, so there is nothing to time"},
        {"policy_that_counts_fuel",
         [] {
           return std::vector<std::string>{
               Calculator(), "--hook", "policy", "--policy",
               WriteFile("fuel.yaml",
                         "api_version: callgate.policy/v1\nkind: Policy\n"
                         "metadata: {name: p}\n"
                         "budgets: {fuel_per_call: 100}\n")};
         },
         kExitUsage, "limits fuel, which is not counted; give --fuel on"},
        {"policy_that_is_used_up",
         [] {
           return std::vector<std::string>{
               Calculator(),
               "--invoke",
               "fib",
               "--arg",
               "5",
               "--fuel",
               "on",
               "--hook",
               "policy",
               "--policy",
               WriteFile("budget.yaml",
                         "api_version: callgate.policy/v1\nkind: Policy\n"
                         "metadata: {name: p}\n"
                         "budgets: {fuel_per_call: 100}\n")};
         },
         134, "the guest was stopped: "},
    }),
    [](const auto& row) { return row.param.name; });

}  // namespace
}  // namespace callgate::cli
