#include "policy/compiler/compilation.h"

#include <algorithm>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "policy/guest_errno.h"
#include "policy/quote.h"

namespace callgate::policy {
namespace {


// The schema's numbers and ours are the same.
static_assert(static_cast<int>(Verdict::kAllow) == v1::ACTION_ALLOW &&
                  static_cast<int>(Verdict::kLog) == v1::ACTION_LOG &&
                  static_cast<int>(Verdict::kAlert) == v1::ACTION_ALERT &&
                  static_cast<int>(Verdict::kThrottle) == v1::ACTION_THROTTLE &&
                  static_cast<int>(Verdict::kDeny) == v1::ACTION_DENY &&
                  static_cast<int>(Verdict::kTrap) == v1::ACTION_TRAP &&
                  static_cast<int>(Verdict::kKillStore) ==
                      v1::ACTION_KILL_STORE &&
                  static_cast<int>(Verdict::kQuarantineModule) ==
                      v1::ACTION_QUARANTINE_MODULE,
              "actions");
static_assert(static_cast<int>(Mode::kAudit) == v1::MODE_AUDIT &&
                  static_cast<int>(Mode::kEnforce) == v1::MODE_ENFORCE,
              "modes");
static_assert(static_cast<int>(Severity::kDebug) == v1::SEVERITY_DEBUG &&
                  static_cast<int>(Severity::kCritical) ==
                      v1::SEVERITY_CRITICAL,
              "severities");
static_assert(static_cast<int>(ArgKind::kU32) + 1 == v1::ARGUMENT_TYPE_U32 &&
                  static_cast<int>(ArgKind::kAddrsOut) + 1 ==
                      v1::ARGUMENT_TYPE_ADDRS_OUT,
              "argument types");

Problem At(const LoadedPolicyFile& file, absl::string_view path,
           absl::string_view message) {
  const SourcePosition where = file.PositionOf(path);
  return {
      file.filename, where.line, where.column,
      path.empty() ? std::string(message) : absl::StrCat(path, ": ", message)};
}

}  // namespace

bool IsName(absl::string_view text, absl::string_view punctuation) {
  if (text.empty() || text.size() > kNameBytesMax) return false;
  for (const char c : text) {
    if (!absl::ascii_isalnum(static_cast<unsigned char>(c)) &&
        punctuation.find(c) == absl::string_view::npos) {
      return false;
    }
  }
  return absl::ascii_isalnum(static_cast<unsigned char>(text.front()));
}

std::string DefaultIds::Next(absl::string_view prefix,
                             const ImportName& import) {
  std::string id =
      absl::StrCat(prefix, FormatImportName(import.module, import.name));
  const int number = ++used_[id];
  return number == 1 ? id : absl::StrCat(id, "#", number);
}

void Compilation::Report(const LoadedPolicyFile& file, absl::string_view path,
                         absl::string_view message) {
  problems_.push_back(At(file, path, message));
}

void Compilation::Warn(const LoadedPolicyFile& file, absl::string_view path,
                       absl::string_view message) {
  warnings_.push_back(At(file, path, message));
}

ReportAt Compilation::ReporterFor(const LoadedPolicyFile& file) {
  return [this, &file](const std::string& path, const std::string& message) {
    Report(file, path, message);
  };
}

bool Compilation::CheckAction(const LoadedPolicyFile& file,
                              absl::string_view path, v1::Action action,
                              std::initializer_list<v1::Action> allowed) {
  if (std::find(allowed.begin(), allowed.end(), action) != allowed.end()) {
    return true;
  }
  std::vector<absl::string_view> names;
  for (const v1::Action a : allowed) {
    names.push_back(VerdictName(ToVerdict(a)));
  }
  Report(file, path,
         absl::StrCat("cannot be ", VerdictName(ToVerdict(action)),
                      "; allowed here: ", absl::StrJoin(names, ", ")));
  return false;
}

void Compilation::CheckId(const LoadedPolicyFile& file, const std::string& path,
                          const std::string& id) {
  if (!IsName(id, "._-/")) {
    Report(file, absl::StrCat(path, ".id"),
           absl::StrCat(Quote(id), " is not an id; write 1 to ", kNameBytesMax,
                        " letters, digits, '.', '_', '-' and '/', beginning "
                        "with a letter or digit"));
    return;
  }
  const auto [known, is_new] = ids_.emplace(id, Place{&file, path});
  if (!is_new) {
    const SourcePosition other =
        known->second.file->PositionOf(known->second.path);
    Report(file, absl::StrCat(path, ".id"),
           absl::StrCat(Quote(id), " is used already by ", known->second.path,
                        " (", known->second.file->filename, ":", other.line,
                        "); ids are unique in a policy and what it includes"));
  }
}

std::optional<ImportName> Compilation::ReadImport(const LoadedPolicyFile& file,
                                                  const std::string& path,
                                                  const std::string& text) {
  if (text.empty()) {
    Report(file, path, "import is missing; name one as module.name");
    return std::nullopt;
  }
  absl::StatusOr<ImportName> import = ParseImportName(text);
  if (!import.ok()) {
    Report(file, absl::StrCat(path, ".import"), import.status().message());
    return std::nullopt;
  }
  return *std::move(import);
}

Rule Compilation::OwnRule(absl::string_view id, Verdict verdict,
                          absl::string_view path) const {
  Rule rule;
  rule.id = std::string(id);
  rule.verdict = verdict;
  rule.severity = DefaultSeverity(verdict);
  rule.file = root_.filename;
  rule.position = root_.PositionOf(path);
  return rule;
}

Rule Compilation::ReadPlainRule(const LoadedPolicyFile& file,
                                const std::string& path, Verdict verdict,
                                v1::Severity severity, v1::Mode mode,
                                std::optional<uint32_t> guest_errno,
                                uint32_t errno_default,
                                const v1::Throttle* throttle,
                                bool throttle_is_optional) {
  Rule rule;
  rule.verdict = verdict;
  rule.file = file.filename;
  rule.position = file.PositionOf(path);
  // An entry that allows has a say only about its arguments, and denies then.
  rule.severity =
      DefaultSeverity(verdict == Verdict::kAllow ? Verdict::kDeny : verdict);
  if (severity != v1::SEVERITY_UNSPECIFIED) {
    rule.severity = static_cast<Severity>(severity);
  }
  if (mode != v1::MODE_UNSPECIFIED) {
    rule.mode = static_cast<Mode>(mode);
  }
  rule.guest_errno = errno_default;
  if (guest_errno) {
    const std::string at = absl::StrCat(path, ".guest_errno");
    if (verdict != Verdict::kDeny) {
      Report(file, at,
             absl::StrCat("goes with `action: deny` only; this one is ",
                          VerdictName(verdict)));
    } else if (*guest_errno == 0 || *guest_errno > kErrnoMax) {
      Report(file, at,
             absl::StrCat("is ", *guest_errno, "; allowed: 1 to ", kErrnoMax,
                          " (0 would tell the guest that the call "
                          "succeeded)"));
    }
    rule.guest_errno = *guest_errno;
  }
  if (verdict == Verdict::kThrottle) {
    if (throttle != nullptr) {
      rule.throttle = ReadThrottle(*throttle, absl::StrCat(path, ".throttle"),
                                   ReporterFor(file));
    } else if (!throttle_is_optional) {
      Report(file, path,
             "throttle is missing; say how long, as in `throttle: "
             "{base_delay: 10ms}`");
    }
  } else if (throttle != nullptr) {
    Report(file, absl::StrCat(path, ".throttle"),
           absl::StrCat("goes with `action: throttle` only; this one is ",
                        VerdictName(verdict)));
  }
  return rule;
}

ImportPolicy& Compilation::EntryOf(const ImportName& import) {
  const auto [known, is_new] =
      import_index_.emplace(import, content_.imports.size());
  if (is_new) content_.imports.emplace_back().import = import;
  return content_.imports[known->second];
}

}  // namespace callgate::policy
