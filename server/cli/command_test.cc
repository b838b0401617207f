#include "server/cli/command.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_split.h"
#include "server/cli/commands.h"

namespace callgate::cli {
namespace {

std::vector<std::string> Words(absl::string_view line) {
  return absl::StrSplit(line, ' ', absl::SkipEmpty());
}

// The forms that scripts rely on. A row is a command line and the command that
// it must reach.
struct FormRow {
  std::string line;
  std::string command;
};

class CommandForms : public testing::TestWithParam<FormRow> {};

TEST_P(CommandForms, AreAccepted) {
  const auto invocation = Resolve(AllCommands(), Words(GetParam().line));
  ASSERT_TRUE(invocation.ok())
      << GetParam().line << ": " << invocation.status();
  ASSERT_NE(invocation->command, nullptr);
  EXPECT_EQ(std::string(invocation->command->name), GetParam().command);
}

INSTANTIATE_TEST_SUITE_P(
    Forms, CommandForms,
    testing::ValuesIn<FormRow>({
        {"module push f --label k=v --label l=w", "module push"},
        {"module ls", "module ls"},
        {"module show sha256:00", "module show"},
        {"module rm sha256:00", "module rm"},
        {"module verify f", "module verify"},
        {"policy check a b c", "policy check"},
        {"policy apply f", "policy apply"},
        {"policy ls", "policy ls"},
        {"run f --policy p --invoke e --dir h::g --dir i::j --env K=V --env "
         "L=W --stub m.n --stub m.o --fuel 7 --timeout 2s --json -- a -b --c",
         "run"},
        {"run --local f", "run"},
        {"run f --local -- a", "run"},
        {"bench f", "bench"},
        {"bench f --invoke e --arg -1 --arg 2 --repeat 3 --engine reference "
         "--level baseline --fuel on --hook policy --policy p --stub m.n "
         "--json",
         "bench"},
        {"store create f --policy p --dir h::g --env K=V --stub m.n --fuel 7 "
         "--timeout 2s -- a",
         "store create"},
        {"store call 7 add i32:1 -2 0.5", "store call"},
        {"store call 7 add -- -inf", "store call"},
        {"store read 7 0x400 16", "store read"},
        {"store write 7 1024 00ff", "store write"},
        {"store ls", "store ls"},
        {"store kill 7", "store kill"},
        {"events", "events"},
        {"events --follow -o json", "events"},
        {"metrics", "metrics"},
        {"module ls --server 127.0.0.1:1", "module ls"},
        {"--server 127.0.0.1:1 module ls", "module ls"},
        {"--server=127.0.0.1:1 run f", "run"},
    }));

struct WrongRow {
  std::string line;
  std::string message;  // is part of it
};

class WrongForms : public testing::TestWithParam<WrongRow> {};

TEST_P(WrongForms, AreRefusedWithTheFix) {
  const auto invocation = Resolve(AllCommands(), Words(GetParam().line));
  ASSERT_FALSE(invocation.ok()) << GetParam().line;
  EXPECT_TRUE(
      absl::StrContains(invocation.status().message(), GetParam().message))
      << invocation.status();
}

INSTANTIATE_TEST_SUITE_P(
    Forms, WrongForms,
    testing::ValuesIn<WrongRow>({
        {"", "no command is given"},
        {"module", "callgate module needs a command: push, ls, show, rm"},
        {"modul ls", "did you mean callgate module?"},
        {"module psuh f", "did you mean callgate module push?"},
        {"frobnicate",
         "there are module, policy, profile, trace, store, run, events"},
        {"module push", "callgate module push needs FILE"},
        {"module push a b", "does not take \"b\""},
        {"run f a", "put what is meant for the guest behind --"},
        {"run f --polcy x", "did you mean --policy?"},
        {"module ls -- x", "takes nothing behind --"},
        {"store call 7", "needs ID EXPORT ARGS"},
        {"metrics --server x:1", "unknown flag \"--server\""},
        {"run f --frobnicate", "what is meant for the guest goes behind --"},
        {"bench", "callgate bench needs FILE"},
        {"bench f --engine v8", "only native|reference"},
        {"bench f -- 7", "takes nothing behind --"},
    }));

TEST(WhereHelpIsTest, IsAtWhatIsKnownOfTheLine) {
  const std::pair<const char*, const char*> rows[] = {
      {"", "callgate --help"},
      {"frobnicate", "callgate --help"},
      {"run --frobnicate", "callgate run --help"},
      {"policy", "callgate policy --help"},
      {"policy aply x", "callgate policy --help"},
      {"policy apply", "callgate policy apply --help"},
  };
  for (const auto& [line, help] : rows) {
    EXPECT_EQ(WhereHelpIs(AllCommands(), Words(line)), help) << line;
  }
}

// Every way to ask for a help text.
std::vector<std::vector<std::string>> HelpLines() {
  std::vector<std::vector<std::string>> lines = {{"--help"}, {"-h"}, {"help"}};
  for (const CommandGroup& group : AllCommands().groups) {
    lines.push_back({std::string(group.name), "--help"});
    lines.push_back({"help", std::string(group.name)});
  }
  for (const Command& command : AllCommands().commands) {
    std::vector<std::string> words = Words(command.name);
    words.push_back("--help");
    lines.push_back(words);
  }
  return lines;
}

TEST(HelpTest, IsThereOnEveryLevelWithAnExampleThatWorks) {
  for (const std::vector<std::string>& words : HelpLines()) {
    const auto invocation = Resolve(AllCommands(), words);
    ASSERT_TRUE(invocation.ok()) << words[0] << ": " << invocation.status();
    EXPECT_EQ(invocation->command, nullptr);
    const std::string& help = invocation->help;
    EXPECT_TRUE(absl::StrContains(help, "Usage: callgate ")) << help;
    const size_t examples = help.find("Example");
    ASSERT_NE(examples, std::string::npos) << help;
    int tried = 0;
    for (const absl::string_view line :
         absl::StrSplit(help.substr(examples), '\n')) {
      if (!absl::StartsWith(line, "  callgate ")) continue;
      // A shell would put one word in the place of what it substitutes.
      std::string example(line.substr(std::string("  callgate ").size()));
      const size_t substitution = example.find("$(");
      if (substitution != std::string::npos) {
        example = example.substr(0, substitution) + "word";
      }
      example = example.substr(0, example.find(" < "));
      example = example.substr(0, example.find(" > "));
      const auto resolved = Resolve(AllCommands(), Words(example));
      EXPECT_TRUE(resolved.ok()) << example << ": " << resolved.status();
      ++tried;
    }
    EXPECT_GT(tried, 0) << help;
    for (const absl::string_view line : absl::StrSplit(help, '\n')) {
      EXPECT_LE(line.size(), 100u) << line;
    }
  }
}

TEST(HelpTest, WinsOverWhatElseIsWrong) {
  const auto invocation =
      Resolve(AllCommands(), Words("run --frobnicate --help"));
  ASSERT_TRUE(invocation.ok()) << invocation.status();
  EXPECT_TRUE(absl::StrContains(invocation->help, "Runs a module"));
}

TEST(HelpTest, IsTheGuestsBehindTheDashes) {
  const auto invocation = Resolve(AllCommands(), Words("run f -- --help"));
  ASSERT_TRUE(invocation.ok()) << invocation.status();
  ASSERT_NE(invocation->command, nullptr);
  EXPECT_EQ(invocation->arguments.rest(), std::vector<std::string>{"--help"});
}

TEST(HelpTest, ListsEveryFlagOfACommand) {
  for (const Command& command : AllCommands().commands) {
    const std::string help = CommandHelp(command);
    for (const Flag& flag : command.AllFlags()) {
      EXPECT_TRUE(
          absl::StrContains(help, std::string("--") + std::string(flag.name)))
          << help;
    }
  }
}

}  // namespace
}  // namespace callgate::cli
