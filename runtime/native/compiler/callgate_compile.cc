// The program `callgate-compile`: the only one that links LLVM.

#include <malloc.h>

#include <limits>

#include "runtime/native/compiler/compiler.h"
#include "runtime/native/worker/compiler.h"
#include "runtime/native/worker/worker_main.h"

namespace callgate::native {
namespace {

// (module (func (export "f") (param i32) (result i32) local.get 0 i32.eqz))
constexpr uint8_t kRehearsal[] = {
    0x00, 0x61, 0x73, 0x6d, 0x01, 0x00, 0x00, 0x00, 0x01, 0x06, 0x01,
    0x60, 0x01, 0x7f, 0x01, 0x7f, 0x03, 0x02, 0x01, 0x00, 0x07, 0x05,
    0x01, 0x01, 0x66, 0x00, 0x00, 0x0a, 0x07, 0x01, 0x05, 0x00, 0x20,
    0x00, 0x45, 0x0b};

class Llvm final : public Compiler {
 public:
  void WarmUp() const override {
    // Giving memory back makes glibc look into /proc, which ends a worker; and
    // a worker's memory goes back when it ends, soon.
    mallopt(M_TRIM_THRESHOLD, std::numeric_limits<int>::max());
    LlvmCompiler::Initialise();
  }

  void Rehearse() const override {
    // One partition: no thread is started.
    static_cast<void>(LlvmCompiler::Compile(CompileRequest(), kRehearsal));
  }

  absl::StatusOr<std::string> Compile(
      const CompileRequest& request,
      absl::Span<const uint8_t> module) const override {
    return LlvmCompiler::Compile(request, module);
  }
};

}  // namespace
}  // namespace callgate::native

int main(int argc, char** argv) {
  const callgate::native::Llvm compiler;
  return callgate::native::WorkerMain(argc, argv, compiler);
}
