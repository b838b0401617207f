#include "server/cli/command.h"

#include <algorithm>
#include <cstddef>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "server/cli/quoted.h"
#include "server/cli/text_table.h"

namespace callgate::cli {
namespace {

constexpr absl::string_view kIntroduction =
    "callgate: run WebAssembly that you do not trust, under a policy.\n\n";

constexpr absl::string_view kEnvironment =
    "Environment:\n"
    "  CALLGATE_SERVER   the daemon's address, where --server is not given\n"
    "  CALLGATE_METRICS  its metrics page, for `callgate metrics`\n\n";

constexpr absl::string_view kExitCodes =
    "Exit codes:\n"
    "  the guest's own, and otherwise\n"
    "    0  done\n"
    "    1  the daemon or the machine could not do it\n"
    "   64  wrong usage\n"
    "   65  module refused: admission, validation, missing import, no _start\n"
    "   66  a file cannot be read\n"
    "   69  no daemon answers\n"
    "   78  policy refused\n"
    "  130  ended by Ctrl-C\n"
    "  134  the guest trapped, or a policy or a budget ended it\n"
    "  Where a guest's code is one of these, the line on stderr and --json "
    "tell\n"
    "  them apart.\n";

constexpr Flag kHelpFlag = {"help", "", "this text", false, 'h'};
constexpr Flag kServerFlag = {
    "server", "ADDR",
    "the daemon's address [CALLGATE_SERVER, or 127.0.0.1:50051]"};

using Rows = std::vector<std::vector<std::string>>;

std::string FlagForm(const Flag& flag) {
  return absl::StrCat(
      flag.letter == 0 ? ""
                       : absl::StrCat("-", std::string(1, flag.letter), ", "),
      "--", flag.name, flag.value_name.empty() ? "" : " ", flag.value_name);
}

std::string UsageLine(const Command& command) {
  std::string line = absl::StrCat("callgate ", command.name);
  // The operands come first, except that what stands behind `--` comes last.
  const size_t rest = command.operands.find("-- ");
  const absl::string_view before = command.operands.substr(
      0, rest == absl::string_view::npos ? command.operands.size() : rest);
  if (!before.empty()) {
    absl::StrAppend(&line, " ", absl::StripTrailingAsciiWhitespace(before));
  }
  for (const Flag& flag : command.flags) {
    absl::StrAppend(&line, " [--", flag.name,
                    flag.value_name.empty() ? "" : " ", flag.value_name, "]",
                    flag.repeatable ? "…" : "");
  }
  if (rest != absl::string_view::npos) {
    absl::StrAppend(&line, " [", command.operands.substr(rest), "]");
  }
  return line;
}

// Breaks a usage line between its parts.
std::string Wrapped(absl::string_view line) {
  constexpr size_t kWidth = 78;
  std::string text;
  size_t column = 0;
  std::vector<std::string> parts;
  for (const absl::string_view word : absl::StrSplit(line, ' ')) {
    // "[--policy NAME|FILE]" stays together.
    if (!parts.empty() && absl::StartsWith(parts.back(), "[") &&
        !absl::StrContains(parts.back(), "]")) {
      absl::StrAppend(&parts.back(), " ", word);
    } else {
      parts.emplace_back(word);
    }
  }
  for (const std::string& part : parts) {
    if (column > 0 && column + 1 + part.size() > kWidth) {
      absl::StrAppend(&text, "\n     ");
      column = 5;
    }
    absl::StrAppend(&text, column > 0 ? " " : "", part);
    column += part.size() + 1;
  }
  return text;
}

std::string Examples(absl::Span<const absl::string_view> examples) {
  std::string text = examples.size() == 1 ? "Example:\n" : "Examples:\n";
  for (const absl::string_view example : examples) {
    absl::StrAppend(&text, "  ", example, "\n");
  }
  return text;
}

const CommandGroup* FindGroup(const CommandTable& table,
                              absl::string_view name) {
  for (const CommandGroup& group : table.groups) {
    if (group.name == name) return &group;
  }
  return nullptr;
}

const Command* FindCommand(const CommandTable& table, absl::string_view name) {
  for (const Command& command : table.commands) {
    if (command.name == name) return &command;
  }
  return nullptr;
}

// The second words of a group's commands.
std::vector<absl::string_view> MembersOf(const CommandTable& table,
                                         const CommandGroup& group) {
  std::vector<absl::string_view> members;
  for (const Command& command : table.commands) {
    if (absl::StartsWith(command.name, absl::StrCat(group.name, " "))) {
      members.push_back(command.name.substr(group.name.size() + 1));
    }
  }
  return members;
}

absl::Status UnknownCommand(absl::string_view given, absl::string_view word,
                            absl::string_view prefix,
                            const std::vector<absl::string_view>& candidates) {
  const absl::string_view nearest = Nearest(word, candidates);
  return absl::InvalidArgumentError(absl::StrCat(
      "unknown command ", Quoted(given),
      nearest.empty()
          ? absl::StrCat("; there are ", absl::StrJoin(candidates, ", "))
          : absl::StrCat(", did you mean callgate ", prefix, nearest, "?")));
}

bool AsksForHelp(absl::string_view word) {
  return word == "--help" || word == "-h" || word == "help";
}

}  // namespace

std::vector<Flag> Command::AllFlags() const {
  std::vector<Flag> all = flags;
  if (reach == Reach::kDaemon) all.push_back(kServerFlag);
  all.push_back(kHelpFlag);
  return all;
}

std::string CommandHelp(const Command& command) {
  Rows flags;
  for (const Flag& flag : command.AllFlags()) {
    flags.push_back(
        {absl::StrCat("  ", FlagForm(flag)),
         absl::StrCat(flag.help, flag.repeatable ? " (repeatable)" : "")});
  }
  return absl::StrCat(
      command.summary, ".\n\nUsage: ", Wrapped(UsageLine(command)), "\n\n",
      command.details, command.details.empty() ? "" : "\n\n", "Flags:\n",
      TextTable(flags), "\n", Examples(command.examples));
}

std::string GroupHelp(const CommandTable& table, const CommandGroup& group) {
  Rows commands;
  std::vector<absl::string_view> examples;
  for (const Command& command : table.commands) {
    if (!absl::StartsWith(command.name, absl::StrCat(group.name, " "))) {
      continue;
    }
    const size_t rest = command.operands.find(" -- ");
    commands.push_back(
        {absl::StrCat("  ", command.name.substr(group.name.size() + 1),
                      command.operands.empty() ? "" : " ",
                      command.operands.substr(
                          0, std::min(rest, command.operands.size()))),
         std::string(command.summary)});
    if (examples.empty()) examples.push_back(command.examples.front());
  }
  return absl::StrCat(group.summary, ".\n\nUsage: callgate ", group.name,
                      " COMMAND …\n\nCommands:\n", TextTable(commands),
                      "\nMore: callgate ", group.name, " COMMAND --help\n\n",
                      Examples(examples));
}

std::string ProgramHelp(const CommandTable& table) {
  Rows commands;
  for (const Command& command : table.commands) {
    if (!absl::StrContains(command.name, ' ')) {
      commands.push_back(
          {absl::StrCat("  ", command.name), std::string(command.summary)});
    }
  }
  for (const CommandGroup& group : table.groups) {
    // Many commands take several lines, the first of which has the summary.
    constexpr size_t kMembersWidth = 36;
    std::string line = absl::StrCat("  ", group.name, " ");
    const std::string indent(line.size(), ' ');
    std::string summary(group.summary);
    bool first = true;
    for (const absl::string_view member : MembersOf(table, group)) {
      if (!first) line += '|';
      first = false;
      if (line.size() + member.size() > kMembersWidth) {
        commands.push_back({line, std::exchange(summary, "")});
        line = indent;
      }
      absl::StrAppend(&line, member);
    }
    commands.push_back({line, summary});
  }
  return absl::StrCat(
      kIntroduction, "Usage: callgate COMMAND …\n\nCommands:\n",
      TextTable(commands), "\nMore: callgate COMMAND --help\n\n", kEnvironment,
      kExitCodes, "\n",
      Examples({"callgate run app.wasm --policy strict.yaml -- --verbose",
                "callgate run --local app.wasm < input"}));
}

std::string WhereHelpIs(const CommandTable& table,
                        absl::Span<const std::string> words) {
  std::string known;
  if (!words.empty()) {
    if (FindGroup(table, words[0]) != nullptr) {
      known = absl::StrCat(words[0], " ");
      if (words.size() > 1) {
        const std::string name = absl::StrCat(words[0], " ", words[1]);
        if (FindCommand(table, name) != nullptr) known = name + " ";
      }
    } else if (FindCommand(table, words[0]) != nullptr) {
      known = words[0] + " ";
    }
  }
  return absl::StrCat("callgate ", known, "--help");
}

absl::StatusOr<Invocation> Resolve(const CommandTable& table,
                                   absl::Span<const std::string> words) {
  // `callgate --server ADDR module ls` is `callgate module ls --server ADDR`.
  if (!words.empty() &&
      (words[0] == "--server" || absl::StartsWith(words[0], "--server="))) {
    const size_t moved =
        words[0] == "--server" ? std::min<size_t>(2, words.size()) : 1;
    std::vector<std::string> turned(words.begin(), words.end());
    const auto behind_command = std::find(turned.begin(), turned.end(), "--");
    std::rotate(turned.begin(),
                turned.begin() + static_cast<std::ptrdiff_t>(moved),
                behind_command);
    // What stays in front would be asked to move again, and again.
    if (!absl::StartsWith(turned[0], "--server")) return Resolve(table, turned);
  }

  Invocation invocation;
  if (words.empty()) {
    return absl::InvalidArgumentError("no command is given");
  }
  if (AsksForHelp(words[0])) {
    // `callgate help module push` is `callgate module push --help`.
    if (words[0] == "help" && words.size() > 1) {
      std::vector<std::string> turned(words.begin() + 1, words.end());
      turned.push_back("--help");
      return Resolve(table, turned);
    }
    invocation.help = ProgramHelp(table);
    return invocation;
  }

  std::string name = words[0];
  size_t used = 1;
  if (const CommandGroup* group = FindGroup(table, name)) {
    if (words.size() == 1) {
      return absl::InvalidArgumentError(absl::StrCat(
          "callgate ", name,
          " needs a command: ", absl::StrJoin(MembersOf(table, *group), ", ")));
    }
    if (AsksForHelp(words[1])) {
      invocation.help = GroupHelp(table, *group);
      return invocation;
    }
    absl::StrAppend(&name, " ", words[1]);
    used = 2;
    if (FindCommand(table, name) == nullptr) {
      return UnknownCommand(name, words[1], absl::StrCat(group->name, " "),
                            MembersOf(table, *group));
    }
  }
  const Command* const command = FindCommand(table, name);
  if (command == nullptr) {
    std::vector<absl::string_view> candidates;
    for (const CommandGroup& group : table.groups) {
      candidates.push_back(group.name);
    }
    for (const Command& other : table.commands) {
      if (!absl::StrContains(other.name, ' ')) candidates.push_back(other.name);
    }
    return UnknownCommand(name, name, "", candidates);
  }

  // Help wins over whatever else is wrong with the line.
  for (const std::string& word : words.subspan(used)) {
    if (word == "--") break;
    if (word == "--help" || word == "-h") {
      invocation.help = CommandHelp(*command);
      return invocation;
    }
  }
  absl::StatusOr<Arguments> arguments =
      Arguments::Parse(words.subspan(used), command->AllFlags());
  if (!arguments.ok()) {
    return absl::InvalidArgumentError(absl::StrCat(
        arguments.status().message(),
        command->takes_rest &&
                absl::StartsWith(arguments.status().message(), "unknown flag")
            ? "; what is meant for the guest goes behind --"
            : ""));
  }
  const size_t given = arguments->operands().size();
  if (given < command->operands_min) {
    return absl::InvalidArgumentError(
        absl::StrCat("callgate ", command->name, " needs ", command->operands));
  }
  if (given > command->operands_max) {
    return absl::InvalidArgumentError(absl::StrCat(
        "callgate ", command->name, " does not take ",
        Quoted(arguments->operands()[command->operands_max]),
        command->takes_rest ? "; put what is meant for the guest behind --"
                            : ""));
  }
  if (arguments->has_rest() && !command->takes_rest) {
    return absl::InvalidArgumentError(
        absl::StrCat("callgate ", command->name, " takes nothing behind --"));
  }
  invocation.command = command;
  invocation.arguments = *std::move(arguments);
  return invocation;
}

}  // namespace callgate::cli
