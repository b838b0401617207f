// The command line of one command, taken apart.
//
// Flags come in the forms `--flag=value`, `--flag value` and, for flags without
// a value, `--flag`; a short form is one letter, `-o value`. Flags and operands
// mix freely. `--` ends both: what follows is passed on untouched. A token such
// as `-7` or `-.5` is an operand, since no flag begins with a digit.
//
// Pure functions and values; any thread.

#ifndef CALLGATE_SERVER_CLI_ARGUMENTS_H_
#define CALLGATE_SERVER_CLI_ARGUMENTS_H_

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"

namespace callgate::cli {

struct Flag {
  // Without dashes: "policy".
  absl::string_view name;
  // What --help calls its value: "NAME|FILE". Empty for a flag without one.
  absl::string_view value_name;
  absl::string_view help;
  // Given more than once, it is an error unless this is set.
  bool repeatable = false;
  // 'o' for `-o`; 0 for none.
  char letter = 0;
  // The only values there are, separated by '|': "text|json". Empty for any.
  absl::string_view choices = {};
  // One of the choices, behind which the value of the flag of that name may
  // stand: `--hook policy FILE` is `--hook policy --policy FILE`.
  absl::string_view choice_with_value = {};
};

class Arguments {
 public:
  // Takes `tokens` apart. InvalidArgument names the token and, where a flag's
  // name was probably misspelt, the nearest one.
  static absl::StatusOr<Arguments> Parse(absl::Span<const std::string> tokens,
                                         absl::Span<const Flag> flags);

  bool Has(absl::string_view flag) const;
  // The value, or nullopt where the flag was not given.
  std::optional<std::string> Get(absl::string_view flag) const;
  // Every value, in the order given.
  std::vector<std::string> All(absl::string_view flag) const;

  const std::vector<std::string>& operands() const { return operands_; }
  // What stood behind `--`.
  const std::vector<std::string>& rest() const { return rest_; }
  bool has_rest() const { return has_rest_; }

  // All of these and every flag's values.
  std::vector<std::string> AllWords() const;

 private:
  std::map<std::string, std::vector<std::string>> values_;
  std::vector<std::string> operands_;
  std::vector<std::string> rest_;
  bool has_rest_ = false;
};

// The candidate that `word` was probably meant to be, or empty if none is near.
absl::string_view Nearest(absl::string_view word,
                          absl::Span<const absl::string_view> candidates);

}  // namespace callgate::cli

#endif  // CALLGATE_SERVER_CLI_ARGUMENTS_H_
