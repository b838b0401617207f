#include "runtime/value.h"

#include <cinttypes>
#include <cstdio>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"

namespace callgate {

absl::string_view ValTypeName(ValType type) {
  switch (type) {
    case ValType::kI32:
      return "i32";
    case ValType::kI64:
      return "i64";
    case ValType::kF32:
      return "f32";
    case ValType::kF64:
      return "f64";
    case ValType::kV128:
      return "v128";
    case ValType::kFuncRef:
      return "funcref";
    case ValType::kExternRef:
      return "externref";
  }
  return "unknown";
}

Value Value::Zero(ValType type) {
  return Value(type, IsReference(type) ? RawValue::Ref(kNullRef) : RawValue());
}

std::string Value::ToString() const {
  switch (type_) {
    case ValType::kI32:
      return absl::StrCat("i32:", u32());
    case ValType::kI64:
      return absl::StrCat("i64:", u64());
    case ValType::kF32:
      // Nine and seventeen digits bring the same number back.
      return absl::StrFormat("f32:%.9g", static_cast<double>(f32()));
    case ValType::kF64:
      return absl::StrFormat("f64:%.17g", f64());
    case ValType::kV128: {
      std::string text = "v128:0x";
      const V128 v = v128();
      for (size_t i = v.bytes.size(); i-- > 0;) {
        absl::StrAppendFormat(&text, "%02x", v.bytes[i]);
      }
      return text;
    }
    case ValType::kFuncRef:
    case ValType::kExternRef:
      return raw_.ref() == kNullRef
                 ? absl::StrCat(ValTypeName(type_), ":null")
                 : absl::StrCat(ValTypeName(type_), ":", raw_.ref());
  }
  return "unknown";
}

std::string FuncType::ToString() const {
  const auto name = [](std::string* out, ValType type) {
    const absl::string_view text = ValTypeName(type);
    out->append(text.data(), text.size());
  };
  return absl::StrCat("(", absl::StrJoin(params, ", ", name), ") -> (",
                      absl::StrJoin(results, ", ", name), ")");
}

}  // namespace callgate
