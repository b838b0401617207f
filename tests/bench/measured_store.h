// A Store with one instance of a small guest, for benchmarks: what goes wrong
// ends the program, since nothing that failed may be measured.
//
// One thread.

#ifndef CALLGATE_TESTS_BENCH_MEASURED_STORE_H_
#define CALLGATE_TESTS_BENCH_MEASURED_STORE_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "absl/strings/string_view.h"
#include "runtime/call_hook.h"
#include "runtime/engine.h"
#include "runtime/instance.h"
#include "runtime/linker.h"
#include "runtime/module.h"
#include "runtime/store.h"

namespace callgate {

// Imports env.nop () and env.add (i32, i32) -> i32, and exports
//   nops(n)  calls nop n times       adds(n)  calls add n times
//   turns(n) the same loop, empty    leaf(x)  returns x + 1
inline constexpr char kCallingGuest[] = R"((module
  (import "env" "nop" (func $nop))
  (import "env" "add" (func $add (param i32 i32) (result i32)))
  (func (export "nops") (param $n i32)
    (loop $more
      (call $nop)
      (br_if $more
        (local.tee $n (i32.sub (local.get $n) (i32.const 1))))))
  (func (export "adds") (param $n i32) (result i32)
    (local $sum i32)
    (loop $more
      (local.set $sum (call $add (local.get $sum) (local.get $n)))
      (br_if $more
        (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
    (local.get $sum))
  (func (export "turns") (param $n i32)
    (loop $more
      (br_if $more
        (local.tee $n (i32.sub (local.get $n) (i32.const 1))))))
  (func (export "leaf") (param i32) (result i32)
    (i32.add (local.get 0) (i32.const 1)))))";

std::shared_ptr<const Module> CompileWat(const Engine& engine,
                                         absl::string_view wat);

// With env.nop and env.add.
Linker HostFunctions();
// The same, as leaf functions.
Linker LeafFunctions();

class MeasuredStore {
 public:
  // `hook` may be null and outlives this, as `engine` does.
  MeasuredStore(const Engine& engine, std::shared_ptr<const Module> module,
                const Linker& linker, CallHook* hook,
                const HookOptions& options = {});

  Func Find(absl::string_view name) const;

 private:
  Store store_;
  std::optional<Instance> instance_;
};

// Calls with one i32.
void CallOrDie(const Func& func, uint32_t argument);

}  // namespace callgate

#endif  // CALLGATE_TESTS_BENCH_MEASURED_STORE_H_
