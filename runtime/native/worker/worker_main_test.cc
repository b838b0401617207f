// `callgate-compile` as people run it.

#include <sys/wait.h>

#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <sstream>
#include <string>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace callgate::native {
namespace {

using ::testing::HasSubstr;

struct Ran {
  int code;
  std::string output;  // both streams
};
Ran RunProgram(const std::string& arguments) {
  const std::string command = absl::StrCat(
      "runtime/native/worker/worker_test_program ", arguments, " 2>&1");
  std::FILE* const pipe = popen(command.c_str(), "re");
  Ran ran = {-1, ""};
  char piece[4096];
  while (const size_t got = std::fread(piece, 1, sizeof(piece), pipe)) {
    ran.output.append(piece, got);
  }
  const int status = pclose(pipe);
  ran.code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  return ran;
}

std::string ModuleFile(const std::string& text) {
  const std::string path = testing::TempDir() + "/module.wasm";
  std::ofstream(path, std::ios::binary) << text;
  return path;
}

struct Row {
  std::string name, module, arguments;  // FILE stands for the module
  int code;
  std::string output;  // a part of it
};
class CommandLines : public testing::TestWithParam<Row> {};

TEST_P(CommandLines, AreAnswered) {
  std::string arguments = GetParam().arguments;
  const size_t at = arguments.find("FILE");
  if (at != std::string::npos) {
    arguments.replace(at, 4, ModuleFile(GetParam().module));
  }
  const Ran ran = RunProgram(arguments);
  EXPECT_EQ(ran.code, GetParam().code);
  EXPECT_THAT(ran.output, HasSubstr(GetParam().output));
}

INSTANTIATE_TEST_SUITE_P(
    Rows, CommandLines,
    testing::ValuesIn<Row>({
        {"help", "", "--help", 0, "usage: callgate-compile FILE"},
        {"compiles", "echo hi", "FILE", 0,
         "7 bytes of module, 7 bytes compiled"},
        {"refuses", "refuse because of this", "FILE", 1,
         "callgate-compile: because of this"},
        {"crashes", "crash", "FILE", 1,
         "the compiler was ended by SIGSEGV (Segmentation fault)"},
        {"garbage", "raw garbage", "FILE", 1, "without a complete answer"},
        {"no_file", "", "/nowhere/m.wasm", 2,
         "/nowhere/m.wasm: No such file or directory"},
        {"nothing", "", "", 2, "either FILE, or --zygote with --fd"},
        {"two_files", "", "a b", 2, "one FILE at a time"},
        {"unknown_option", "", "--frobnicate", 2,
         "unknown option --frobnicate; see callgate-compile --help"},
        {"no_such_level", "", "FILE --level best", 2,
         "--level needs a value that --help knows"},
        {"no_value", "", "FILE --level", 2, "--level needs a value"},
        {"no_memory", "", "FILE --memory-mib 0", 2, "--memory-mib needs"},
        {"zygote_without_fd", "", "--zygote", 2, "--zygote with --fd"},
        {"fd_without_zygote", "", "--fd 3", 2, "--zygote with --fd"},
        {"zygote_with_stdin", "", "--zygote --fd 0", 2, "--fd needs a value"},
        {"zygote_without_socket", "", "--zygote --fd 99", 2,
         "--fd 99: Bad file descriptor"},
    }),
    [](const auto& row) { return row.param.name; });

TEST(WorkerMainTest, WritesWhatWasCompiled) {
  const std::string out = testing::TempDir() + "/module.out";
  const Ran ran =
      RunProgram(absl::StrCat(ModuleFile("options"),
                              " --level optimised --cpu v3 --no-fuel"
                              " --any-nan --all-features -o ",
                              out));
  EXPECT_EQ(ran.code, 0) << ran.output;
  std::ostringstream written;
  written << std::ifstream(out, std::ios::binary).rdbuf();
  EXPECT_EQ(written.str(), "optimised v3 simd threads");
}

}  // namespace
}  // namespace callgate::native
