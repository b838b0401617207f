// Compiled expressions: instructions for a machine with registers.
//
// An operand is a register, a constant or a fact, so names and literals need no
// instruction of their own. Control only goes forward, but for the jump at the
// end of a quantifier's body.
//
// An instruction that fails goes to its handler, if it has one: an operand of
// && or || or the body of `exists` or `all` leaves the error in the register
// of the result, and what follows may still decide. Otherwise the evaluation
// ends with the error.

#ifndef CALLGATE_POLICY_EXPRESSION_CODE_H_
#define CALLGATE_POLICY_EXPRESSION_CODE_H_

#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "policy/expression/function.h"
#include "policy/expression/glob_list.h"
#include "policy/expression/ip_address.h"
#include "policy/expression/pattern_list.h"
#include "policy/expression/type.h"
#include "policy/expression/value.h"

namespace callgate::policy::expression {

enum class Opcode : uint8_t {
  kMove,  // dst = a
  // Whose operand types are known. "Word": bool, int, uint, duration,
  // timestamp. "Text": string or bytes.
  kEqualWord,
  kNotEqualWord,
  kEqualText,
  kNotEqualText,
  kLessInt,
  kLessEqualInt,
  kLessUint,
  kLessEqualUint,
  kAddInt,
  kSubtractInt,
  kAddUint,
  kSubtractUint,
  kBitAndWord,  // the kind is that of a
  kNot,
  kStartsWith,
  kEndsWith,
  kInWords,  // a in the list b
  kInTexts,
  // dst = function `extra` of a and b, whatever they are.
  kApply,
  kInGlobs,  // a in list number `extra`
  kInNetworks,
  kFoundIn,
  kMakeList,  // of `target` registers from a on
  kHas,       // whether fact a is there
  kRequire,   // fails unless fact a is there
  kLoadLazy,  // dst = fact a, computed if it has to be
  // && and ||: dst is the result so far. A deciding operand goes to target.
  kAndFirst,
  kAndNext,
  kOrFirst,
  kOrNext,
  kLogicEnd,     // fails with the error that dst is, if it is one
  kBranchFalse,  // to target if a is false
  kJump,
  // Quantifiers: dst the result so far, dst+1 the rest of the list, dst+2 the
  // variable.
  kQuantifierBegin,  // over a; `extra` is the Quantifier
  kQuantifierNext,   // to target at the end of the list
  kCountNext,        // dst += a
  kCountEnd,         // dst = dst is one
  kThrowAbsent,
  kReturn,  // a
};

// Two bits of space, fourteen of number.
using Operand = uint16_t;
enum class Space : uint8_t { kRegister = 0, kConstant = 1, kFact = 2 };
inline constexpr uint16_t kOperandNumberMax = 0x3fff;

constexpr Operand MakeOperand(Space space, uint32_t number) {
  return static_cast<Operand>(static_cast<uint32_t>(space) << 14 | number);
}
constexpr Space SpaceOf(Operand operand) {
  return static_cast<Space>(operand >> 14);
}
constexpr uint16_t NumberOf(Operand operand) {
  return operand & kOperandNumberMax;
}

inline constexpr uint16_t kNoHandler = 0xffff;

struct Instruction {
  Opcode opcode = Opcode::kReturn;
  // The types of the operands say so; then it has no handler.
  bool never_fails = false;
  uint16_t dst = 0;
  Operand a = 0;
  Operand b = 0;
  uint16_t extra = 0;
  uint16_t handler = kNoHandler;
  uint32_t target = 0;
};
static_assert(sizeof(Instruction) == 16, "four to a cache line");

struct Handler {
  uint16_t result = 0;
  // The result holds nothing yet; later, the first error stays.
  bool is_first = false;
  uint32_t target = 0;
};

// A fact that the code reads, and the kind that it must be of.
struct FactRead {
  uint16_t slot = 0;
  // kAbsent: of any.
  ValueKind kind = ValueKind::kNull;
  bool may_be_absent = false;
  bool may_be_lazy = false;
};

// Immutable once made.
struct Code {
  std::vector<Instruction> instructions;
  std::vector<uint32_t> places;  // of each instruction in the source
  std::vector<Value> constants;
  std::vector<Handler> handlers;
  std::vector<FactRead> reads;
  std::vector<std::shared_ptr<const GlobList>> globs;
  std::vector<std::shared_ptr<const CidrList>> networks;
  std::vector<std::shared_ptr<const PatternList>> patterns;
  // What constants are views of.
  std::deque<std::string> texts;
  std::deque<std::vector<Value>> lists;

  Type type;
  uint64_t cost = 0;
  // The expression depends on no fact.
  std::optional<Value> constant;
  std::string source;
};

}  // namespace callgate::policy::expression

#endif  // CALLGATE_POLICY_EXPRESSION_CODE_H_
