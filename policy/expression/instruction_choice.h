// Which instruction does a function for operands of known types, and whether an
// instruction can fail.

#ifndef CALLGATE_POLICY_EXPRESSION_INSTRUCTION_CHOICE_H_
#define CALLGATE_POLICY_EXPRESSION_INSTRUCTION_CHOICE_H_

#include "policy/expression/code.h"
#include "policy/expression/function.h"
#include "policy/expression/type.h"

namespace callgate::policy::expression {

struct InstructionChoice {
  Opcode opcode = Opcode::kApply;
  bool swaps = false;  // the operands
};

// For a function of one argument, `b` is `a`.
InstructionChoice ChooseInstruction(Function function, Type a, Type b);

// Whether an instruction never fails whatever it reads, given operands of the
// types that it was chosen for.
bool NeverFails(Opcode opcode);
// The same of functions that take values of any kind.
bool NeverFails(Function function, Type a, Type b);

}  // namespace callgate::policy::expression

#endif  // CALLGATE_POLICY_EXPRESSION_INSTRUCTION_CHOICE_H_
