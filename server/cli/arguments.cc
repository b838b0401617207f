#include "server/cli/arguments.h"

#include <algorithm>
#include <cstddef>

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "server/cli/quoted.h"

namespace callgate::cli {
namespace {

// How many letters must change to make one word of the other. Both are command
// line words, so the quadratic cost is nothing; `limit` bounds it all the same.
size_t EditDistance(absl::string_view a, absl::string_view b, size_t limit) {
  if (a.size() > limit || b.size() > limit) return limit;
  std::vector<size_t> row(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diagonal = row[0];
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t change = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
      diagonal = row[j];
      row[j] = std::min({row[j] + 1, row[j - 1] + 1, change});
    }
  }
  return row[b.size()];
}

const Flag* FindLong(absl::Span<const Flag> flags, absl::string_view name) {
  for (const Flag& flag : flags) {
    if (flag.name == name) return &flag;
  }
  return nullptr;
}

const Flag* FindShort(absl::Span<const Flag> flags, char letter) {
  for (const Flag& flag : flags) {
    if (flag.letter == letter) return &flag;
  }
  return nullptr;
}

absl::Status UnknownFlag(absl::string_view token, absl::string_view name,
                         absl::Span<const Flag> flags) {
  std::vector<absl::string_view> names;
  for (const Flag& flag : flags) names.push_back(flag.name);
  const absl::string_view nearest = Nearest(name, names);
  return absl::InvalidArgumentError(absl::StrCat(
      "unknown flag ", Quoted(token),
      nearest.empty() ? "" : absl::StrCat(", did you mean --", nearest, "?")));
}

bool IsNumber(absl::string_view token) {
  return token.size() > 1 && token[0] == '-' &&
         (absl::ascii_isdigit(static_cast<unsigned char>(token[1])) ||
          token[1] == '.');
}

absl::Status CheckChoice(const Flag& flag, absl::string_view value) {
  if (flag.choices.empty()) return absl::OkStatus();
  for (absl::string_view choice : absl::StrSplit(flag.choices, '|')) {
    if (choice == value) return absl::OkStatus();
  }
  return absl::InvalidArgumentError(absl::StrCat(
      "--", flag.name, " cannot be ", Quoted(value), ", only ", flag.choices));
}

// Whether there is a token and it can be a value. What looks like a flag is
// one: a forgotten value must not swallow it.
bool IsValue(absl::Span<const std::string> tokens, size_t i) {
  if (i >= tokens.size()) return false;
  const std::string& token = tokens[i];
  return token.size() < 2 || token[0] != '-' || IsNumber(token);
}

}  // namespace

absl::string_view Nearest(absl::string_view word,
                          absl::Span<const absl::string_view> candidates) {
  constexpr size_t kWordMax = 64;
  // A third of the letters may be wrong, but at least two, so that swapped
  // letters are found in short words.
  size_t best = std::max<size_t>(2, word.size() / 3) + 1;
  absl::string_view nearest;
  for (const absl::string_view candidate : candidates) {
    const size_t distance = EditDistance(word, candidate, kWordMax);
    // Replacing every letter is not a misspelling.
    if (distance < best && distance < candidate.size()) {
      best = distance;
      nearest = candidate;
    }
  }
  return nearest;
}

absl::StatusOr<Arguments> Arguments::Parse(absl::Span<const std::string> tokens,
                                           absl::Span<const Flag> flags) {
  Arguments arguments;
  for (size_t i = 0; i < tokens.size(); ++i) {
    const absl::string_view token = tokens[i];
    if (token == "--") {
      arguments.has_rest_ = true;
      arguments.rest_.assign(
          tokens.begin() + static_cast<std::ptrdiff_t>(i) + 1, tokens.end());
      break;
    }
    if (token.size() < 2 || token[0] != '-' || IsNumber(token)) {
      arguments.operands_.emplace_back(token);
      continue;
    }

    const Flag* flag = nullptr;
    std::optional<std::string> value;
    if (absl::StartsWith(token, "--")) {
      absl::string_view name = token.substr(2);
      const size_t equals = name.find('=');
      if (equals != absl::string_view::npos) {
        value = std::string(name.substr(equals + 1));
        name = name.substr(0, equals);
      }
      flag = FindLong(flags, name);
      if (flag == nullptr) return UnknownFlag(token, name, flags);
    } else {
      flag = FindShort(flags, token[1]);
      if (flag == nullptr) return UnknownFlag(token, token.substr(1), flags);
      if (token.size() > 2) value = std::string(token.substr(2));
    }

    if (flag->value_name.empty()) {
      if (value.has_value()) {
        return absl::InvalidArgumentError(absl::StrCat(
            "--", flag->name, " takes no value, found ", Quoted(token)));
      }
      value = "";
    } else if (!value.has_value()) {
      if (!IsValue(tokens, i + 1)) {
        return absl::InvalidArgumentError(
            absl::StrCat("--", flag->name, " needs a value: --", flag->name,
                         " ", flag->value_name));
      }
      value = tokens[++i];
    }
    if (absl::Status status = CheckChoice(*flag, *value); !status.ok()) {
      return status;
    }
    std::vector<std::string>& values =
        arguments.values_[std::string(flag->name)];
    if (!values.empty() && !flag->repeatable && !flag->value_name.empty()) {
      return absl::InvalidArgumentError(
          absl::StrCat("--", flag->name, " is given twice: ", Quoted(values[0]),
                       " and ", Quoted(*value)));
    }
    values.push_back(*std::move(value));
    if (!flag->choice_with_value.empty() &&
        values.back() == flag->choice_with_value && IsValue(tokens, i + 1)) {
      std::vector<std::string>& more =
          arguments.values_[std::string(flag->choice_with_value)];
      if (more.empty()) more.push_back(tokens[++i]);
    }
  }
  return arguments;
}

bool Arguments::Has(absl::string_view flag) const {
  return values_.count(std::string(flag)) > 0;
}

std::optional<std::string> Arguments::Get(absl::string_view flag) const {
  const auto found = values_.find(std::string(flag));
  if (found == values_.end()) return std::nullopt;
  return found->second.front();
}

std::vector<std::string> Arguments::All(absl::string_view flag) const {
  const auto found = values_.find(std::string(flag));
  return found == values_.end() ? std::vector<std::string>() : found->second;
}

std::vector<std::string> Arguments::AllWords() const {
  std::vector<std::string> words = operands_;
  words.insert(words.end(), rest_.begin(), rest_.end());
  for (const auto& [flag, values] : values_) {
    words.insert(words.end(), values.begin(), values.end());
  }
  return words;
}

}  // namespace callgate::cli
