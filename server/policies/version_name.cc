#include "server/policies/version_name.h"

#include <algorithm>

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "server/events/escape.h"

namespace callgate::policies {
namespace {

constexpr size_t kVersionsShownMax = 10;

std::string Quoted(absl::string_view text) {
  return absl::StrCat("\"", events::EscapeText(text, 100), "\"");
}

}  // namespace

std::pair<std::string, std::string> SplitVersion(absl::string_view name) {
  const size_t at = name.find('@');
  if (at == absl::string_view::npos) return {std::string(name), ""};
  return {std::string(name.substr(0, at)), std::string(name.substr(at + 1))};
}

absl::StatusOr<uint64_t> FindVersion(
    absl::string_view text, absl::string_view policy,
    const std::vector<storage::PolicyVersionRecord>& versions) {
  const auto not_found = [&] {
    std::string shown;
    for (const storage::PolicyVersionRecord& version : versions) {
      if (&version - versions.data() == kVersionsShownMax) {
        absl::StrAppend(&shown, ", …");
        break;
      }
      absl::StrAppend(&shown, shown.empty() ? "" : ", ", version.number, " (",
                      version.version.substr(0, 12), ")");
    }
    return absl::NotFoundError(absl::StrCat(
        "no version ", Quoted(text), " of the policy ", Quoted(policy),
        shown.empty() ? "; it has no history"
                      : absl::StrCat("; its history has ", shown)));
  };
  const bool decimal = std::all_of(text.begin(), text.end(), [](char c) {
    return absl::ascii_isdigit(static_cast<unsigned char>(c));
  });
  const bool hexadecimal = std::all_of(text.begin(), text.end(), [](char c) {
    return absl::ascii_isxdigit(static_cast<unsigned char>(c));
  });
  if (text.empty() || text.size() > 64 || !hexadecimal ||
      (!decimal && text.size() < kDigestDigitsMin)) {
    return absl::InvalidArgumentError(
        absl::StrCat(Quoted(text),
                     " names no version; give its number in the policy's "
                     "history, or at least ",
                     kDigestDigitsMin, " digits of its digest"));
  }
  if (text.size() < kDigestDigitsMin) {
    uint64_t number = 0;
    if (!absl::SimpleAtoi(text, &number)) return not_found();
    for (const storage::PolicyVersionRecord& version : versions) {
      if (version.number == number) return number;
    }
    return not_found();
  }
  const std::string digits = absl::AsciiStrToLower(text);
  const storage::PolicyVersionRecord* found = nullptr;
  for (const storage::PolicyVersionRecord& version : versions) {
    if (!absl::StartsWith(version.version, digits)) continue;
    if (found != nullptr && found->version != version.version) {
      return absl::InvalidArgumentError(
          absl::StrCat(Quoted(text),
                       " begins the digests of several versions "
                       "of the policy ",
                       Quoted(policy), "; give more digits"));
    }
    if (found == nullptr || version.number > found->number) found = &version;
  }
  if (found == nullptr) return not_found();
  return found->number;
}

}  // namespace callgate::policies
