#include "runtime/extern_type.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"

namespace callgate {
namespace {

std::string RangeText(const SizeRange& range) {
  return range.max.has_value() ? absl::StrCat(range.min, "..", *range.max)
                               : absl::StrCat(range.min, "..");
}

// As policy files have it, where names with these stand in quotes, too.
bool IsPlain(absl::string_view name) {
  return !name.empty() && std::all_of(name.begin(), name.end(), [](char c) {
    return absl::ascii_isgraph(static_cast<unsigned char>(c)) && c != '"' &&
           c != '\\' && c != '*';
  });
}

}  // namespace

absl::string_view ExternKindName(ExternKind kind) {
  switch (kind) {
    case ExternKind::kFunc:
      return "func";
    case ExternKind::kTable:
      return "table";
    case ExternKind::kMemory:
      return "memory";
    case ExternKind::kGlobal:
      return "global";
    case ExternKind::kTag:
      return "tag";
  }
  return "unknown";
}

std::string ExternType::ToString() const {
  switch (kind) {
    case ExternKind::kFunc:
      return absl::StrCat("func ", func.ToString());
    case ExternKind::kTable:
      return absl::StrCat("table ", RangeText(table.size), " ",
                          ValTypeName(table.element));
    case ExternKind::kMemory:
      return absl::StrCat("memory ", RangeText(memory.pages), " pages",
                          memory.is64 ? " 64-bit" : "",
                          memory.shared ? " shared" : "");
    case ExternKind::kGlobal:
      return absl::StrCat("global ", global.is_mutable ? "mut " : "",
                          ValTypeName(global.type));
    case ExternKind::kTag:
      return absl::StrCat("tag ", func.ToString());
  }
  return "unknown";
}

std::string ImportText(absl::string_view module, absl::string_view name) {
  if (IsPlain(module) && IsPlain(name) &&
      module.find('.') == absl::string_view::npos) {
    return absl::StrCat(module, ".", name);
  }
  return absl::StrCat("\"", absl::CHexEscape(module), "\".\"",
                      absl::CHexEscape(name), "\"");
}

}  // namespace callgate
