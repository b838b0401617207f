#include "policy/expression/call_cost.h"

#include <algorithm>
#include <vector>

#include "absl/types/span.h"

namespace callgate::policy::expression {

SizeBound SizeOf(const Value& constant) {
  switch (constant.kind()) {
    case ValueKind::kString:
    case ValueKind::kBytes:
    case ValueKind::kIp:
      return BoundOfString(constant.size());
    case ValueKind::kList:
      break;
    default:
      return {};
  }
  SizeBound bound;
  bound.items = constant.size();
  std::vector<absl::Span<const Value>> open = {constant.as_list()};
  while (!open.empty()) {
    if (open.back().empty()) {
      open.pop_back();
      continue;
    }
    const Value item = open.back().front();
    open.back().remove_prefix(1);
    bound.total = SaturatingAdd(bound.total, 1);
    if (item.kind() == ValueKind::kList) {
      bound.items = std::max<uint64_t>(bound.items, item.size());
      open.push_back(item.as_list());
    } else {
      const SizeBound one = SizeOf(item);
      bound.bytes = std::max(bound.bytes, one.bytes);
      bound.total = SaturatingAdd(bound.total, one.total - 1);
    }
  }
  return bound;
}

SizeBound SizeOf(const Fact& fact) {
  SizeBound bound;
  switch (fact.type.kind()) {
    case TypeKind::kString:
    case TypeKind::kBytes:
      bound = BoundOfString(fact.bytes_max);
      break;
    case TypeKind::kIp:
      bound = BoundOfString(16);
      break;
    case TypeKind::kDyn:
      // A text, or a list of such.
      bound = BoundOfString(fact.bytes_max);
      bound.items = fact.items_max;
      bound.total =
          SaturatingAdd(1, SaturatingMultiply(fact.items_max, bound.total));
      break;
    default:
      break;
  }
  for (int i = 0; i < fact.type.list_depth(); ++i) {
    bound.items = fact.items_max;
    bound.total =
        SaturatingAdd(1, SaturatingMultiply(fact.items_max, bound.total));
  }
  return bound;
}

SizeBound SizeOfCall(Function function, const SizeBound& a,
                     const SizeBound& b) {
  switch (function) {
    case Function::kAdd:
      return BoundOfSum(a, b);
    case Function::kIndex:
      return a;
    case Function::kSegments:
      return BoundOfSegments(a.bytes);
    default:
      return {};
  }
}

uint64_t CostOfCall(Function function, const SizeBound& a, const SizeBound& b) {
  switch (function) {
    case Function::kEqual:
    case Function::kNotEqual:
      return std::min(a.total, b.total);
    case Function::kLess:
    case Function::kLessEqual:
    case Function::kGreater:
    case Function::kGreaterEqual:
    case Function::kStartsWith:
    case Function::kEndsWith:
      return BytesCost(std::min(a.bytes, b.bytes));
    case Function::kAdd:
      return SaturatingAdd(BytesCost(SaturatingAdd(a.bytes, b.bytes)),
                           SaturatingAdd(a.items, b.items));
    case Function::kIn:
      return b.total;
    case Function::kSize:
      return BytesCost(a.bytes);
    case Function::kContains:
      return SearchCost(a.bytes, b.bytes);
    case Function::kSegments:
      return BoundOfSegments(a.bytes).total;
    default:
      return 0;
  }
}

}  // namespace callgate::policy::expression
