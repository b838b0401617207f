// SIMD: v128 and its lanes.

#include "runtime/native/compiler/translator.h"

namespace callgate::native {

bool Translator::SimdUnary(Opcode) { return false; }
bool Translator::SimdBinary(Opcode) { return false; }
bool Translator::SimdCompare(Opcode) { return false; }
bool Translator::SimdLoad(Opcode, Index, Address) { return false; }
Translator::Result Translator::OnV128ConstExpr(v128) { return Result::Ok; }
Translator::Result Translator::OnTernaryExpr(Opcode opcode) {
  return Unsupported(opcode);
}
Translator::Result Translator::OnSimdLaneOpExpr(Opcode opcode, uint64_t) {
  return Unsupported(opcode);
}
Translator::Result Translator::OnSimdShuffleOpExpr(Opcode opcode, v128) {
  return Unsupported(opcode);
}
Translator::Result Translator::OnSimdLoadLaneExpr(Opcode opcode, Index, Address,
                                                  Address, uint64_t) {
  return Unsupported(opcode);
}
Translator::Result Translator::OnSimdStoreLaneExpr(Opcode opcode, Index,
                                                   Address, Address,
                                                   uint64_t) {
  return Unsupported(opcode);
}
Translator::Result Translator::OnLoadSplatExpr(Opcode opcode, Index, Address,
                                               Address) {
  return Unsupported(opcode);
}
Translator::Result Translator::OnLoadZeroExpr(Opcode opcode, Index, Address,
                                              Address) {
  return Unsupported(opcode);
}

}  // namespace callgate::native
