// The client's commands: what they are called, what they take, and the help
// that follows from it.
//
// One table (all_commands.cc) lists them by hand; parsing, --help and the check
// of operands work from that table alone, so help cannot disagree with what is
// accepted.

#ifndef CALLGATE_SERVER_CLI_COMMAND_H_
#define CALLGATE_SERVER_CLI_COMMAND_H_

#include <cstddef>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "server/cli/arguments.h"

namespace callgate::cli {

// Which of the flags that many commands share a command takes.
enum class Reach {
  kLocal,   // --help only
  kDaemon,  // --server as well
};

struct Command {
  // "module push": a group and its command, or one word.
  absl::string_view name;
  absl::string_view summary;   // one line without a full stop
  absl::string_view operands;  // "FILE"; what follows them: "-- ARGS…"
  size_t operands_min = 0;
  size_t operands_max = 0;  // kNoLimit for any number
  bool takes_rest = false;  // accepts `--`
  Reach reach = Reach::kDaemon;
  std::vector<Flag> flags;                  // its own
  absl::string_view details;                // paragraphs for --help
  std::vector<absl::string_view> examples;  // whole command lines
  // The process's exit code.
  int (*run)(const Arguments& arguments) = nullptr;

  static constexpr size_t kNoLimit = ~size_t{0};

  // Its own flags, then the shared ones.
  std::vector<Flag> AllFlags() const;
};

struct CommandGroup {
  absl::string_view name;  // "module"
  absl::string_view summary;
};

struct CommandTable {
  std::vector<CommandGroup> groups;
  std::vector<Command> commands;  // in the order of --help
};

// The help of the whole program, of one group, of one command.
std::string ProgramHelp(const CommandTable& table);
std::string GroupHelp(const CommandTable& table, const CommandGroup& group);
std::string CommandHelp(const Command& command);

// What a command line asks for: help, or a command with its arguments.
struct Invocation {
  std::string help;  // set when help was asked for
  const Command* command = nullptr;
  Arguments arguments;
};

// `words` is the command line without the program's name. InvalidArgument for
// whatever the table does not know; the message says what there is instead.
absl::StatusOr<Invocation> Resolve(const CommandTable& table,
                                   absl::Span<const std::string> words);

// The command line that helps with `words`: "callgate policy apply --help" for
// as much of it as names a command.
std::string WhereHelpIs(const CommandTable& table,
                        absl::Span<const std::string> words);

}  // namespace callgate::cli

#endif  // CALLGATE_SERVER_CLI_COMMAND_H_
