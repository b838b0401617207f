// No stack of types is needed: every operator that extended-const allows takes
// two operands of the type it results in, so all values of a correct
// expression have the wanted type, and counting them is enough.

#include "runtime/admission/constant_expression.h"

#include <cstdint>

#include "absl/strings/str_cat.h"

namespace callgate::admission {
namespace {

struct Operator {
  bool exists = false;
  ValType type = ValType::kI32;
};

// add, sub and mul.
Operator OperatorOf(uint8_t opcode) {
  if (opcode >= 0x6a && opcode <= 0x6c) return {true, ValType::kI32};
  if (opcode >= 0x7c && opcode <= 0x7e) return {true, ValType::kI64};
  return {};
}

// The type of the value that `opcode` makes; its immediates are read.
ValType ReadConstant(ByteReader& in, const IndexSpaces& spaces, uint8_t opcode,
                     uint64_t offset) {
  switch (opcode) {
    case 0x41:
      in.S32("an i32 constant");
      return ValType::kI32;
    case 0x42:
      in.S64("an i64 constant");
      return ValType::kI64;
    case 0x43:
      in.Skip(4, "an f32 constant");
      return ValType::kF32;
    case 0x44:
      in.Skip(8, "an f64 constant");
      return ValType::kF64;
    case 0xd0:
      if (!in.Require(Proposal::kReferenceTypes, offset, "ref.null")) break;
      return in.ReferenceType("the type of a null reference");
    case 0xd2: {
      if (!in.Require(Proposal::kReferenceTypes, offset, "ref.func")) break;
      in.CheckIndex(in.U32("a function index"), spaces.functions.size(),
                    "function", offset);
      return ValType::kFuncRef;
    }
    case 0x23: {
      const uint32_t index = in.U32("a global index");
      if (!in.CheckIndex(index, spaces.globals.size(), "global", offset)) break;
      if (index >= spaces.imported_globals) {
        in.Malformed(offset, absl::StrCat("global ", index,
                                          " is not imported, so a constant "
                                          "expression cannot read it"));
        break;
      }
      if (spaces.globals[index].is_mutable) {
        in.Malformed(offset, absl::StrCat("global ", index,
                                          " is mutable, so a constant "
                                          "expression cannot read it"));
        break;
      }
      return spaces.globals[index].type;
    }
    case 0xfd: {
      if (!in.Require(Proposal::kSimd, offset, "a vector opcode")) break;
      const uint32_t vector_opcode = in.U32("a vector opcode");
      if (vector_opcode != 0x0c) {
        in.Malformed(offset,
                     absl::StrCat("opcode 0xfd ", HexByte(vector_opcode),
                                  " is not allowed in a constant expression"));
        break;
      }
      in.Skip(16, "a v128 constant");
      return ValType::kV128;
    }
    default:
      in.Malformed(offset,
                   absl::StrCat("opcode ", HexByte(opcode),
                                " is not allowed in a constant expression"));
  }
  return ValType::kI32;
}

}  // namespace

void ScanConstantExpression(ByteReader& in, const IndexSpaces& spaces,
                            ValType wanted) {
  uint64_t values = 0;
  while (in.ok()) {
    const uint64_t offset = in.offset();
    const uint8_t opcode = in.Byte("the end of a constant expression");
    if (!in.ok()) return;
    if (opcode == 0x0b) {
      if (values != 1) {
        in.Malformed(offset, absl::StrCat("a constant expression leaves ",
                                          values, " values, not one"));
      }
      return;
    }

    ValType type;
    const Operator op = OperatorOf(opcode);
    if (op.exists) {
      if (!in.Require(Proposal::kExtendedConst, offset,
                      absl::StrCat("opcode ", HexByte(opcode),
                                   " in a constant expression"))) {
        return;
      }
      if (values < 2) {
        in.Malformed(offset, absl::StrCat("opcode ", HexByte(opcode),
                                          " lacks an operand in a constant "
                                          "expression"));
        return;
      }
      type = op.type;
      --values;
    } else {
      type = ReadConstant(in, spaces, opcode, offset);
      ++values;
    }
    if (in.ok() && type != wanted) {
      in.Malformed(offset, absl::StrCat("a constant expression has the type ",
                                        ValTypeName(type), " where ",
                                        ValTypeName(wanted), " is needed"));
    }
  }
}

}  // namespace callgate::admission
