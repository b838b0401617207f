#include "policy/expression/instruction_choice.h"

namespace callgate::policy::expression {
namespace {

bool IsWord(Type type) {
  return type.Is(TypeKind::kBool) || type.Is(TypeKind::kInt) ||
         type.Is(TypeKind::kUint) || type.Is(TypeKind::kDuration) ||
         type.Is(TypeKind::kTimestamp);
}
bool IsText(Type type) {
  return type.Is(TypeKind::kString) || type.Is(TypeKind::kBytes);
}

}  // namespace

InstructionChoice ChooseInstruction(Function function, Type a, Type b) {
  const bool same = a == b;
  const bool words = same && IsWord(a);
  const bool texts = same && IsText(a);
  const bool ints =
      same && (a.Is(TypeKind::kInt) || a.Is(TypeKind::kDuration) ||
               a.Is(TypeKind::kTimestamp));
  const bool uints = same && (a.Is(TypeKind::kUint) || a.Is(TypeKind::kBool));
  switch (function) {
    case Function::kNot:
      if (a.Is(TypeKind::kBool)) return {Opcode::kNot, false};
      break;
    case Function::kEqual:
      if (words) return {Opcode::kEqualWord, false};
      if (texts) return {Opcode::kEqualText, false};
      break;
    case Function::kNotEqual:
      if (words) return {Opcode::kNotEqualWord, false};
      if (texts) return {Opcode::kNotEqualText, false};
      break;
    case Function::kLess:
    case Function::kGreater:
      if (ints) return {Opcode::kLessInt, function == Function::kGreater};
      if (uints) return {Opcode::kLessUint, function == Function::kGreater};
      break;
    case Function::kLessEqual:
    case Function::kGreaterEqual: {
      const bool swaps = function == Function::kGreaterEqual;
      if (ints) return {Opcode::kLessEqualInt, swaps};
      if (uints) return {Opcode::kLessEqualUint, swaps};
      break;
    }
    case Function::kAdd:
      if (same && a.Is(TypeKind::kInt)) return {Opcode::kAddInt, false};
      if (same && a.Is(TypeKind::kUint)) return {Opcode::kAddUint, false};
      break;
    case Function::kSubtract:
      if (same && a.Is(TypeKind::kInt)) return {Opcode::kSubtractInt, false};
      if (same && a.Is(TypeKind::kUint)) {
        return {Opcode::kSubtractUint, false};
      }
      break;
    case Function::kBitAnd:
      if (words) return {Opcode::kBitAndWord, false};
      break;
    case Function::kStartsWith:
      if (texts) return {Opcode::kStartsWith, false};
      break;
    case Function::kEndsWith:
      if (texts) return {Opcode::kEndsWith, false};
      break;
    case Function::kIn:
      if (b.is_list() && b.element() == a) {
        if (IsWord(a)) return {Opcode::kInWords, false};
        if (IsText(a)) return {Opcode::kInTexts, false};
      }
      break;
    default:
      break;
  }
  return {};
}

bool NeverFails(Opcode opcode) {
  switch (opcode) {
    case Opcode::kMove:
    case Opcode::kEqualWord:
    case Opcode::kNotEqualWord:
    case Opcode::kEqualText:
    case Opcode::kNotEqualText:
    case Opcode::kLessInt:
    case Opcode::kLessEqualInt:
    case Opcode::kLessUint:
    case Opcode::kLessEqualUint:
    case Opcode::kBitAndWord:
    case Opcode::kNot:
    case Opcode::kStartsWith:
    case Opcode::kEndsWith:
    case Opcode::kInWords:
    case Opcode::kInTexts:
    case Opcode::kHas:
    case Opcode::kJump:
    case Opcode::kQuantifierNext:
    case Opcode::kCountEnd:
    case Opcode::kReturn:
      return true;
    default:
      return false;
  }
}

bool NeverFails(Function function, Type a, Type b) {
  switch (function) {
    case Function::kEqual:
    case Function::kNotEqual:
      return true;
    case Function::kNot:
    case Function::kSize:
      return !a.is_dyn();
    case Function::kLess:
    case Function::kLessEqual:
    case Function::kGreater:
    case Function::kGreaterEqual:
    case Function::kIn:
    case Function::kContains:
    case Function::kStartsWith:
    case Function::kEndsWith:
    case Function::kBitAnd:
    case Function::kBitOr:
      return !a.is_dyn() && !b.is_dyn();
    default:
      return false;
  }
}

}  // namespace callgate::policy::expression
