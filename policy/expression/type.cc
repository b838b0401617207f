#include "policy/expression/type.h"

#include <algorithm>
#include <string>

#include "absl/strings/str_cat.h"

namespace callgate::policy::expression {
namespace {

const char* Name(TypeKind kind) {
  switch (kind) {
    case TypeKind::kNull:
      return "null";
    case TypeKind::kBool:
      return "bool";
    case TypeKind::kInt:
      return "int";
    case TypeKind::kUint:
      return "uint";
    case TypeKind::kDouble:
      return "double";
    case TypeKind::kString:
      return "string";
    case TypeKind::kBytes:
      return "bytes";
    case TypeKind::kDuration:
      return "duration";
    case TypeKind::kTimestamp:
      return "timestamp";
    case TypeKind::kIp:
      return "ip";
    case TypeKind::kDyn:
      return "dyn";
    case TypeKind::kGlobList:
      return "list of globs";
    case TypeKind::kCidrList:
      return "list of networks";
    case TypeKind::kPatternList:
      return "list of patterns";
  }
  return "?";
}

}  // namespace

std::string Type::ToString() const {
  std::string text = Name(kind_);
  for (int i = 0; i < list_depth_; ++i) text = absl::StrCat("list<", text, ">");
  return text;
}

bool Agree(Type a, Type b) {
  if (a == b) return true;
  const int depth = std::min(a.list_depth(), b.list_depth());
  const auto is_dyn_at = [depth](Type type) {
    return type.kind() == TypeKind::kDyn && type.list_depth() == depth;
  };
  return is_dyn_at(a) || is_dyn_at(b);
}

Type Join(Type a, Type b) {
  if (a == b) return a;
  Type joined = TypeKind::kDyn;
  const int depth = std::min(a.list_depth(), b.list_depth());
  for (int i = 0; i < depth; ++i) joined = Type::List(joined);
  return joined;
}

}  // namespace callgate::policy::expression
