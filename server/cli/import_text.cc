#include "server/cli/import_text.h"

#include "absl/strings/str_cat.h"

namespace callgate::cli {

std::string ImportText(absl::string_view module, absl::string_view name) {
  constexpr absl::string_view kOther = "\"\\* ";
  const bool is_plain =
      !module.empty() && !name.empty() &&
      module.find('.') == absl::string_view::npos &&
      module.find_first_of(kOther) == absl::string_view::npos &&
      name.find_first_of(kOther) == absl::string_view::npos;
  if (is_plain) return absl::StrCat(module, ".", name);
  return absl::StrCat("\"", module, "\".\"", name, "\"");
}

}  // namespace callgate::cli
