// Writes the body of one function of a generated module.
//
// Bodies are valid by construction: a generator for each type of value, and one
// for statements, that call each other. Every loop and every function takes one
// from the budget, which is global 0, and when it is used up returns at once,
// so that everything that is generated ends soon.

#ifndef CALLGATE_TESTS_FUZZ_BODY_GENERATOR_H_
#define CALLGATE_TESTS_FUZZ_BODY_GENERATOR_H_

#include <cstdint>
#include <vector>

#include "runtime/value.h"
#include "tests/fuzz/byte_source.h"
#include "tests/fuzz/code_writer.h"
#include "tests/fuzz/module_plan.h"

namespace callgate::fuzz {

class BodyGenerator {
 public:
  // With `canonical_nans` every operator that may make a NaN is followed by
  // code that replaces it with the canonical one: for engines that do not do so
  // themselves. The choices are the same ones.
  BodyGenerator(const ModulePlan& plan, uint32_t function, ByteSource source,
                bool canonical_nans);

  // As it stands in the code section, with its size.
  void WriteTo(CodeWriter& section);

 private:
  struct Label {
    std::vector<ValType> types;  // what a branch to it carries
    bool is_try = false;         // rethrow may name it
  };

  // ---- emitting
  void Op(unsigned opcode) { code_.Byte(opcode); }
  void Op(unsigned prefix, unsigned opcode);
  void I32(int32_t value);
  void Index(unsigned opcode, uint64_t index);
  void BlockType(const std::vector<ValType>& results);
  void PopLabel() { labels_.pop_back(); }
  void ReturnIfSpent();
  // After an operator that computes a float, or lanes of them.
  void MakeCanonical(ValType type, bool narrow_lanes);

  // ---- choices
  uint32_t Below(uint32_t count) { return source_.Below(count); }
  bool OneIn(uint32_t count) { return source_.OneIn(count); }
  bool Spent();
  uint32_t AnyOf(const std::vector<uint32_t>& list) {
    return list[Below(static_cast<uint32_t>(list.size()))];
  }
  std::vector<uint32_t> LocalsOf(ValType type) const;
  std::vector<uint32_t> GlobalsOf(ValType type, bool to_write) const;
  std::vector<uint32_t> FunctionsWith(ValType result) const;
  ValType AnyType();

  // ---- values: code that pushes one value of the type
  void Value(ValType type);
  void Values(const std::vector<ValType>& types);
  void Leaf(ValType type);
  void Constant(ValType type);
  void I32Value();
  void I64Value();
  void F32Value();
  void F64Value();
  void V128Value();
  void Reference();
  void IntOperator(ValType type);
  void FloatOperator(ValType type);
  void VectorOperator();
  void LoadOf(ValType type);
  void Structured(ValType type);
  void CallFor(ValType type);
  // The results of a call are on the stack: keeps the one at `keep`.
  void KeepResult(const std::vector<ValType>& results, size_t keep);
  void Call(uint32_t function);
  void CallIndirect(uint32_t type, bool tail);
  void TableIndex();
  void Condition();

  // ---- memory
  uint32_t AnyMemory();
  void MemoryIndex(uint32_t memory);
  void Length(uint32_t memory, uint32_t small);
  void MemArg(uint32_t memory, uint32_t size_log2, bool address_is_small);
  // Pushes an address; true if an offset should be small.
  bool Address(uint32_t memory);

  // ---- statements: code that leaves the stack as it is
  void Statement();
  void Statements(uint32_t most);
  void StoreTo();
  void Bulk();
  void TableStatement();
  void Loop();
  void Choice();
  void Keep(ValType type);
  void Try(const std::vector<ValType>& results);
  // Code that does not come to its end.
  void Terminator();
  void Branch(bool table);

  const ModulePlan& plan_;
  const FuncType& type_;
  const uint32_t function_;
  ByteSource source_;
  const bool canonical_nans_;
  CodeWriter code_;
  std::vector<ValType> locals_;    // that code may choose
  std::vector<ValType> counters_;  // of loops, behind them
  uint32_t scratch_ = 0;           // the first of one local per type
  std::vector<Label> labels_;      // outermost first
  uint32_t depth_ = 0;
  bool exact_ = false;  // the next access has no offset
  int32_t left_ = 0;    // operators that may still be chosen
};

}  // namespace callgate::fuzz

#endif  // CALLGATE_TESTS_FUZZ_BODY_GENERATOR_H_
