// One policy file on its way to a Policy: the content as far as it has been
// compiled, and every problem so far.
//
// The sections of the file are compiled one by one (sections.h), each by what
// it finds and leaves here. Nothing stops at the first problem: a section that
// finds one reports it and goes on, and the content is thrown away in the end.
//
// One thread. The loaded files outlive it.

#ifndef CALLGATE_POLICY_COMPILER_COMPILATION_H_
#define CALLGATE_POLICY_COMPILER_COMPILATION_H_

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <optional>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "policy/compiler/rule_parts.h"
#include "policy/file/policy_file.h"
#include "policy/file/problem.h"
#include "policy/import_name.h"
#include "policy/policy.h"
#include "policy/quote.h"
#include "policy/verdict.h"
#include "proto/callgate/v1/policy.pb.h"

namespace callgate::policy {

// The longest name and id.
inline constexpr size_t kNameBytesMax = 63;

// 1 to kNameBytesMax letters, digits and characters of `punctuation`, beginning
// with a letter or digit.
bool IsName(absl::string_view text, absl::string_view punctuation);

// The schema's numbers and ours are the same.
inline Verdict ToVerdict(v1::Action action) {
  return static_cast<Verdict>(action);
}

// Rules without an id of their own are called after their import, the second
// and later ones with a number.
class DefaultIds {
 public:
  std::string Next(absl::string_view prefix, const ImportName& import);

 private:
  absl::flat_hash_map<std::string, int> used_;
};

class Compilation {
 public:
  explicit Compilation(const LoadedPolicyFile& root) : root_(root) {}
  Compilation(const Compilation&) = delete;
  Compilation& operator=(const Compilation&) = delete;

  const LoadedPolicyFile& root() const { return root_; }
  PolicyContent& content() { return content_; }

  // `path` is as the loader names fields, "imports[3].args[0].type"; it is put
  // in front of the message.
  void Report(const LoadedPolicyFile& file, absl::string_view path,
              absl::string_view message);
  void Warn(const LoadedPolicyFile& file, absl::string_view path,
            absl::string_view message);
  ReportAt ReporterFor(const LoadedPolicyFile& file);
  std::vector<Problem>& problems() { return problems_; }
  std::vector<Problem>& warnings() { return warnings_; }

  // Reports an action that has no place here.
  bool CheckAction(const LoadedPolicyFile& file, absl::string_view path,
                   v1::Action action,
                   std::initializer_list<v1::Action> allowed);
  // Reports an id that is none, or that another rule has.
  void CheckId(const LoadedPolicyFile& file, const std::string& path,
               const std::string& id);
  std::optional<ImportName> ReadImport(const LoadedPolicyFile& file,
                                       const std::string& path,
                                       const std::string& text);

  // A rule of the engine's own, which stands at `path` of the root.
  Rule OwnRule(absl::string_view id, Verdict verdict,
               absl::string_view path) const;

  // The fields that every kind of rule has. Id and `when` are the caller's.
  template <typename Entry>
  Rule ReadRule(const LoadedPolicyFile& file, const std::string& path,
                const Entry& entry, Verdict verdict, uint32_t errno_default,
                bool throttle_is_optional = false);

  // What the content has of `import`, made if it has nothing yet.
  ImportPolicy& EntryOf(const ImportName& import);

  DefaultIds& default_ids() { return default_ids_; }

  struct Place {
    const LoadedPolicyFile* file;
    std::string path;
  };
  // Where each of the content's rules and rate limits stands.
  std::vector<Place>& rule_where() { return rule_where_; }
  std::vector<Place>& limit_where() { return limit_where_; }

 private:
  // ReadRule without message and tags.
  Rule ReadPlainRule(const LoadedPolicyFile& file, const std::string& path,
                     Verdict verdict, v1::Severity severity, v1::Mode mode,
                     std::optional<uint32_t> guest_errno,
                     uint32_t errno_default, const v1::Throttle* throttle,
                     bool throttle_is_optional);

  const LoadedPolicyFile& root_;
  std::vector<Problem> problems_;
  std::vector<Problem> warnings_;
  PolicyContent content_;
  absl::flat_hash_map<ImportName, size_t> import_index_;
  absl::flat_hash_map<std::string, Place> ids_;
  std::vector<Place> rule_where_;
  std::vector<Place> limit_where_;
  DefaultIds default_ids_;
};

template <typename Entry>
Rule Compilation::ReadRule(const LoadedPolicyFile& file,
                           const std::string& path, const Entry& entry,
                           Verdict verdict, uint32_t errno_default,
                           bool throttle_is_optional) {
  std::optional<uint32_t> guest_errno;
  if (entry.has_guest_errno()) guest_errno = entry.guest_errno();
  Rule rule = ReadPlainRule(file, path, verdict, entry.severity(), entry.mode(),
                            guest_errno, errno_default,
                            entry.has_throttle() ? &entry.throttle() : nullptr,
                            throttle_is_optional);
  rule.message = EscapeText(entry.message());
  rule.message_parts = ReadMessage(
      file, entry.message(), absl::StrCat(path, ".message"), ReporterFor(file));
  rule.tags.assign(entry.tags().begin(), entry.tags().end());
  return rule;
}

}  // namespace callgate::policy

#endif  // CALLGATE_POLICY_COMPILER_COMPILATION_H_
