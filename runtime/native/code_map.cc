#include "runtime/native/code_map.h"

#include <cstddef>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

namespace callgate::native {
namespace {

absl::Status Wrong(uint32_t function, absl::string_view what) {
  return absl::InvalidArgumentError(
      absl::StrCat("the compiler's map of function ", function, " ", what));
}

size_t SymbolOf(uint32_t own_function, bool body) {
  return size_t{2} * own_function + (body ? 1 : 0);
}

}  // namespace

absl::StatusOr<CodeMap> CodeMap::Make(
    const google::protobuf::RepeatedPtrField<FunctionCode>& code,
    uint32_t imported, uint32_t functions, uint64_t module_bytes) {
  CodeMap map;
  map.imported_ = imported;
  const size_t symbols = size_t{2} * (functions - imported);
  std::vector<const FunctionCode*> by_symbol(symbols, nullptr);
  uint64_t total = 0;
  for (const FunctionCode& one : code) {
    const uint32_t index = one.index();
    if (index < imported || index >= functions) {
      return Wrong(index, "is of no function of the module's own");
    }
    const FunctionCode*& place =
        by_symbol[SymbolOf(index - imported, one.body())];
    if (place != nullptr) return Wrong(index, "is there twice");
    if (one.code_delta_size() != one.offset_delta_size()) {
      return Wrong(index, "has columns of different lengths");
    }
    place = &one;
    total += static_cast<uint64_t>(one.code_delta_size());
  }
  if (total > ~uint32_t{0}) return Wrong(0, "is too long");

  map.first_.reserve(symbols + 1);
  map.steps_.reserve(static_cast<size_t>(total));
  for (const FunctionCode* one : by_symbol) {
    map.first_.push_back(static_cast<uint32_t>(map.steps_.size()));
    if (one == nullptr) continue;
    int64_t offset = 0;
    for (int i = 0; i < one->code_delta_size(); ++i) {
      offset += one->offset_delta(i);
      if (offset < 0 || static_cast<uint64_t>(offset) >= module_bytes) {
        return Wrong(one->index(), "leaves the module");
      }
      if (i > 0 && one->code_delta(i) == 0) {
        return Wrong(one->index(), "has a place twice");
      }
      map.steps_.push_back(Step{one->code_delta(i), one->offset_delta(i)});
    }
  }
  map.first_.push_back(static_cast<uint32_t>(map.steps_.size()));
  return map;
}

std::optional<uint64_t> CodeMap::ModuleOffset(uint32_t function, bool body,
                                              uint64_t code_offset) const {
  if (function < imported_) return std::nullopt;
  const size_t symbol = SymbolOf(function - imported_, body);
  if (symbol + 1 >= first_.size()) return std::nullopt;
  std::optional<uint64_t> found;
  uint64_t code = 0;
  int64_t module = 0;
  for (uint32_t i = first_[symbol]; i < first_[symbol + 1]; ++i) {
    code += steps_[i].code;
    if (code > code_offset) break;
    module += steps_[i].module;
    found = static_cast<uint64_t>(module);
  }
  return found;
}

}  // namespace callgate::native
