// From LLVM IR to an object file, and what the object says of itself: frame
// sizes and which code came from which operator. Runs in the compile worker.

#ifndef CALLGATE_RUNTIME_NATIVE_COMPILER_CODE_GENERATOR_H_
#define CALLGATE_RUNTIME_NATIVE_COMPILER_CODE_GENERATOR_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "llvm/IR/Module.h"
#include "llvm/Target/TargetMachine.h"
#include "runtime/native/compile_request.h"

namespace callgate::native {

// Once per process, before anything else here.
void InitialiseLlvm();

// One thread's.
class CodeGenerator {
 public:
  explicit CodeGenerator(const CompileRequest& request);

  // Sets the module's target; before anything is put into it.
  void Prepare(llvm::Module& module) const;
  // Optimises `module`, as the level says, and makes an object file of it.
  absl::StatusOr<std::string> Generate(llvm::Module& module) const;

 private:
  const Level level_;
  std::unique_ptr<llvm::TargetMachine> machine_;
};

// One function of an object.
struct FunctionFacts {
  uint32_t index = 0;
  bool body = false;  // b<index> and not f<index>
  uint64_t frame_bytes = 0;
  // Where the code of an operator that calls or traps begins, in bytes from
  // the function's symbol, and the operator's offset in the module; increasing.
  std::vector<std::pair<uint64_t, uint64_t>> places;
};

absl::StatusOr<std::vector<FunctionFacts>> ReadFacts(const std::string& object);

}  // namespace callgate::native

#endif  // CALLGATE_RUNTIME_NATIVE_COMPILER_CODE_GENERATOR_H_
