// An import is a pair of names, each of which may hold any character, dots
// included. Files and messages write the pair as one word.

#ifndef CALLGATE_POLICY_IMPORT_NAME_H_
#define CALLGATE_POLICY_IMPORT_NAME_H_

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace callgate::policy {

struct ImportName {
  std::string module;
  std::string name;

  friend bool operator==(const ImportName& a, const ImportName& b) {
    return a.module == b.module && a.name == b.name;
  }
  template <typename H>
  friend H AbslHashValue(H h, const ImportName& i) {
    return H::combine(std::move(h), i.module, i.name);
  }
};

// `module.name` splits at the first dot; `"a.b"."c"` is quoted. InvalidArgument
// says what is wrong and what is allowed.
absl::StatusOr<ImportName> ParseImportName(absl::string_view text);

// The shortest form that ParseImportName reads back; plain where the names
// consist of ordinary characters, else quoted with all others escaped, so that
// it can be shown anywhere. Bytes that are not UTF-8 are shown as U+FFFD.
std::string FormatImportName(absl::string_view module, absl::string_view name);

}  // namespace callgate::policy

#endif  // CALLGATE_POLICY_IMPORT_NAME_H_
