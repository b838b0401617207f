#include "server/cli/policy_text.h"

#include <pwd.h>
#include <unistd.h>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "policy/file/policy_file.h"
#include "server/cli/console.h"
#include "server/cli/exit_codes.h"
#include "server/events/escape.h"

namespace callgate::cli {

using events::EscapeText;

OrFailure<std::string> ReadPolicyText(const std::string& path) {
  // One byte more than a policy may have, so that the loader can say what is
  // wrong with it; no more, since the path could name anything.
  absl::StatusOr<std::string> text =
      ReadFile(path, policy::kPolicyFileBytesMax + 1);
  if (!text.ok()) return FailureOf(kExitNoInput, text.status());
  return *std::move(text);
}

// As compilers print them, so that editors find the place. Where a message has
// several lines, they show a condition and where it is wrong.
void PrintProblem(const policy::Problem& problem, absl::string_view kind) {
  std::string text = absl::StrCat(EscapeText(problem.file), ":", problem.line,
                                  ":", problem.column, ": ", kind);
  for (const absl::string_view line : absl::StrSplit(problem.message, '\n')) {
    absl::StrAppend(&text, EscapeText(line), "\n");
  }
  WriteAll(2, text).IgnoreError();
}

policy::Problem ProblemOf(const v1::PolicyProblem& message) {
  return {message.file(), message.line(), message.column(), message.message()};
}

OrFailure<v1::PolicyMode> ParsePolicyMode(const std::string& text) {
  if (text == "audit") return v1::POLICY_MODE_AUDIT;
  if (text == "enforce") return v1::POLICY_MODE_ENFORCE;
  return WrongUsage(
      absl::StrCat("the mode \"", text, "\" is neither audit nor enforce"));
}

std::string PlainName(absl::string_view resource_name) {
  const size_t slash = resource_name.rfind('/');
  return EscapeText(slash == absl::string_view::npos
                        ? resource_name
                        : resource_name.substr(slash + 1));
}

std::string LocalAuthor() {
  // The request has room for this much.
  constexpr size_t kAuthorBytesMax = 128;
  char text[4096];
  passwd entry = {};
  passwd* found = nullptr;
  const uid_t uid = getuid();
  std::string author =
      getpwuid_r(uid, &entry, text, sizeof(text), &found) == 0 &&
              found != nullptr
          ? std::string(found->pw_name)
          : absl::StrCat("uid ", uid);
  char host[256] = {};
  if (gethostname(host, sizeof(host) - 1) == 0) {
    absl::StrAppend(&author, "@", host);
  }
  return author.substr(0, kAuthorBytesMax);
}

}  // namespace callgate::cli
