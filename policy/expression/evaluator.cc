#include "policy/expression/evaluator.h"

#include <algorithm>

#include "absl/strings/match.h"
#include "policy/expression/ast.h"
#include "policy/expression/cost.h"
#include "policy/expression/operations.h"
#include "runtime/check.h"

namespace callgate::policy::expression {
namespace {

bool FitsDeclaration(const FactRead& read, const Value& value) {
  return value.kind() == read.kind ||
         (read.kind == ValueKind::kAbsent &&
          value.kind() > ValueKind::kError) ||
         (read.may_be_absent && value.kind() == ValueKind::kAbsent) ||
         (read.may_be_lazy && value.kind() == ValueKind::kLazy);
}

bool SameText(const Value& a, const Value& b, Work* work) {
  if (a.size() != b.size()) return false;
  work->steps += BytesCost(a.size());
  return a.as_string() == b.as_string();
}

bool InTexts(const Value& needle, const Value& list, Work* work) {
  for (const Value& item : list.as_list()) {
    ++work->steps;
    // The caller of the evaluation vouches for a list's elements; a mistake
    // there must not become a read out of bounds.
    if (item.kind() == needle.kind() && SameText(needle, item, work)) {
      return true;
    }
  }
  return false;
}

bool InWords(const Value& needle, const Value& list, Work* work) {
  for (const Value& item : list.as_list()) {
    ++work->steps;
    if (item.as_uint() == needle.as_uint()) return true;
  }
  return false;
}

Value ComputeLazy(const FactRead& read, const Value& value, LazyFacts* lazy) {
  Value computed = value;
  if (value.kind() == ValueKind::kLazy && lazy != nullptr) {
    computed = lazy->Compute(read.slot);
  }
  return computed.kind() == read.kind ? computed
                                      : Value::Error(ErrorCode::kBadFact, 0);
}

const FactRead& ReadOf(const Code& code, uint16_t slot) {
  const auto found =
      std::find_if(code.reads.begin(), code.reads.end(),
                   [slot](const FactRead& read) { return read.slot == slot; });
  CALLGATE_CHECK(found != code.reads.end(), "code says which facts it reads");
  return *found;
}

}  // namespace

Evaluation Run(const Code& code, absl::Span<const Value> facts,
               Scratch* scratch, LazyFacts* lazy) {
  for (const FactRead& read : code.reads) {
    if (read.slot >= facts.size() || !FitsDeclaration(read, facts[read.slot])) {
      return {Value::Error(ErrorCode::kBadFact, 0), 0};
    }
  }
  scratch->arena()->Clear();
  Work work{scratch->arena(), 0};
  Value* const registers = scratch->registers();
  // By Space. The code has no operand out of bounds: registers are counted when
  // it is made, constants are its own, and facts were looked at above.
  const Value* const spaces[] = {registers, code.constants.data(), facts.data(),
                                 nullptr};
  const Instruction* const begin = code.instructions.data();
  const Instruction* next = begin;
  Value failure;

  while (true) {
    const Instruction& i = *next++;
    const auto value_of = [&spaces](Operand operand) -> const Value& {
      return spaces[operand >> 14][operand & kOperandNumberMax];
    };
    const Value& a = value_of(i.a);
    const Value& b = value_of(i.b);
    Value& dst = registers[i.dst];
    ++work.steps;
    switch (i.opcode) {
      case Opcode::kMove:
        dst = a;
        continue;
      case Opcode::kEqualWord:
        dst = Value::Bool(a.as_uint() == b.as_uint());
        continue;
      case Opcode::kNotEqualWord:
        dst = Value::Bool(a.as_uint() != b.as_uint());
        continue;
      case Opcode::kEqualText:
        ++work.steps;
        dst = Value::Bool(SameText(a, b, &work));
        continue;
      case Opcode::kNotEqualText:
        ++work.steps;
        dst = Value::Bool(!SameText(a, b, &work));
        continue;
      case Opcode::kLessInt:
        dst = Value::Bool(a.as_int() < b.as_int());
        continue;
      case Opcode::kLessEqualInt:
        dst = Value::Bool(a.as_int() <= b.as_int());
        continue;
      case Opcode::kLessUint:
        dst = Value::Bool(a.as_uint() < b.as_uint());
        continue;
      case Opcode::kLessEqualUint:
        dst = Value::Bool(a.as_uint() <= b.as_uint());
        continue;
      case Opcode::kAddInt: {
        int64_t sum;
        if (!__builtin_add_overflow(a.as_int(), b.as_int(), &sum)) {
          dst = Value::Int(sum);
          continue;
        }
        failure = Value::Error(ErrorCode::kOverflow, 0);
        break;
      }
      case Opcode::kSubtractInt: {
        int64_t difference;
        if (!__builtin_sub_overflow(a.as_int(), b.as_int(), &difference)) {
          dst = Value::Int(difference);
          continue;
        }
        failure = Value::Error(ErrorCode::kOverflow, 0);
        break;
      }
      case Opcode::kAddUint: {
        uint64_t sum;
        if (!__builtin_add_overflow(a.as_uint(), b.as_uint(), &sum)) {
          dst = Value::Uint(sum);
          continue;
        }
        failure = Value::Error(ErrorCode::kOverflow, 0);
        break;
      }
      case Opcode::kSubtractUint: {
        uint64_t difference;
        if (!__builtin_sub_overflow(a.as_uint(), b.as_uint(), &difference)) {
          dst = Value::Uint(difference);
          continue;
        }
        failure = Value::Error(ErrorCode::kOverflow, 0);
        break;
      }
      case Opcode::kBitAndWord: {
        const uint64_t both = a.as_uint() & b.as_uint();
        dst = a.kind() == ValueKind::kInt
                  ? Value::Int(static_cast<int64_t>(both))
                  : Value::Uint(both);
        continue;
      }
      case Opcode::kNot:
        dst = Value::Bool(!a.as_bool());
        continue;
      case Opcode::kStartsWith:
        work.steps += BytesCost(std::min(a.size(), b.size()));
        dst = Value::Bool(absl::StartsWith(a.as_string(), b.as_string()));
        continue;
      case Opcode::kEndsWith:
        work.steps += BytesCost(std::min(a.size(), b.size()));
        dst = Value::Bool(absl::EndsWith(a.as_string(), b.as_string()));
        continue;
      case Opcode::kInWords:
        dst = Value::Bool(InWords(a, b, &work));
        continue;
      case Opcode::kInTexts:
        dst = Value::Bool(InTexts(a, b, &work));
        continue;
      case Opcode::kApply:
        failure = Apply(static_cast<Function>(i.extra), a, b, &work);
        if (failure.is_error()) break;
        dst = failure;
        continue;
      case Opcode::kInGlobs:
        failure = InGlobs(a, *code.globs[i.extra], &work);
        if (failure.is_error()) break;
        dst = failure;
        continue;
      case Opcode::kInNetworks:
        failure = InNetworks(a, *code.networks[i.extra], &work);
        if (failure.is_error()) break;
        dst = failure;
        continue;
      case Opcode::kFoundIn:
        failure = FoundIn(a, *code.patterns[i.extra], &work);
        if (failure.is_error()) break;
        dst = failure;
        continue;
      case Opcode::kMakeList:
        failure = MakeList(&a, i.target, &work);
        if (failure.is_error()) break;
        dst = failure;
        continue;
      case Opcode::kHas:
        dst = Value::Bool(a.kind() != ValueKind::kAbsent);
        continue;
      case Opcode::kRequire:
        if (a.kind() != ValueKind::kAbsent) continue;
        failure = Value::Error(ErrorCode::kAbsentFact, 0);
        break;
      case Opcode::kLoadLazy:
        failure = ComputeLazy(ReadOf(code, NumberOf(i.a)), a, lazy);
        if (failure.is_error()) break;
        dst = failure;
        continue;
      case Opcode::kAndFirst:
      case Opcode::kOrFirst:
        if (a.kind() != ValueKind::kBool) {
          failure = Value::Error(ErrorCode::kNoSuchOverload, 0);
          break;
        }
        dst = a;
        if (dst.as_bool() == (i.opcode == Opcode::kOrFirst)) {
          next = begin + i.target;
        }
        continue;
      case Opcode::kAndNext:
      case Opcode::kOrNext:
        if (a.kind() != ValueKind::kBool) {
          failure = Value::Error(ErrorCode::kNoSuchOverload, 0);
          break;
        }
        // Otherwise the result stays what it is: undecided, or an error.
        if (a.as_bool() == (i.opcode == Opcode::kOrNext)) {
          dst = a;
          next = begin + i.target;
        }
        continue;
      case Opcode::kLogicEnd:
        if (!dst.is_error()) continue;
        // It keeps the place where it came from.
        failure = dst;
        if (i.handler == kNoHandler) return {failure, work.steps};
        break;
      case Opcode::kBranchFalse:
        if (a.kind() != ValueKind::kBool) {
          failure = Value::Error(ErrorCode::kNoSuchOverload, 0);
          break;
        }
        if (!a.as_bool()) next = begin + i.target;
        continue;
      case Opcode::kJump:
        next = begin + i.target;
        continue;
      case Opcode::kQuantifierBegin: {
        if (a.kind() != ValueKind::kList) {
          failure = Value::Error(ErrorCode::kNoSuchOverload, 0);
          break;
        }
        const Value list = a;
        registers[i.dst + 1] = list;
        const auto quantifier = static_cast<Quantifier>(i.extra);
        dst = quantifier == Quantifier::kExistsOne
                  ? Value::Int(0)
                  : Value::Bool(quantifier == Quantifier::kAll);
        continue;
      }
      case Opcode::kQuantifierNext: {
        const absl::Span<const Value> rest = registers[i.dst + 1].as_list();
        if (rest.empty()) {
          next = begin + i.target;
          continue;
        }
        registers[i.dst + 2] = rest.front();
        registers[i.dst + 1] = Value::List(rest.subspan(1));
        continue;
      }
      case Opcode::kCountNext:
        if (a.kind() != ValueKind::kBool) {
          failure = Value::Error(ErrorCode::kNoSuchOverload, 0);
          break;
        }
        dst = Value::Int(dst.as_int() + (a.as_bool() ? 1 : 0));
        continue;
      case Opcode::kCountEnd:
        dst = Value::Bool(dst.as_int() == 1);
        continue;
      case Opcode::kThrowAbsent:
        failure = Value::Error(ErrorCode::kAbsentFact, 0);
        break;
      case Opcode::kReturn:
        return {a, work.steps};
    }

    // Only what failed comes here.
    const Value error =
        i.opcode == Opcode::kLogicEnd
            ? failure
            : Value::Error(failure.error(), static_cast<uint32_t>(&i - begin));
    if (i.handler == kNoHandler) return {error, work.steps};
    const Handler& handler = code.handlers[i.handler];
    Value& result = registers[handler.result];
    if (handler.is_first || !result.is_error()) result = error;
    next = begin + handler.target;
  }
}

}  // namespace callgate::policy::expression
