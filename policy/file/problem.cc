#include "policy/file/problem.h"

#include "absl/strings/str_cat.h"

namespace callgate::policy {

std::string Problem::ToString() const {
  if (line == 0) return absl::StrCat(file, ": ", message);
  return absl::StrCat(file, ":", line, ":", column, ": ", message);
}

}  // namespace callgate::policy
