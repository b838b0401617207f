#include "tests/bench/measured_store.h"

#include <utility>
#include <vector>

#include "runtime/check.h"
#include "tests/support/wat.h"

namespace callgate {

std::shared_ptr<const Module> CompileWat(const Engine& engine,
                                         absl::string_view wat) {
  const auto bytes = AssembleWat(wat);
  CALLGATE_CHECK(bytes.ok(), "the benchmark's guest assembles");
  auto module = Module::Compile(engine, *bytes);
  CALLGATE_CHECK(module.ok(), "the benchmark's guest compiles");
  return *std::move(module);
}

Linker HostFunctions() {
  Linker linker;
  HostDefinition nop;
  nop.body = [](Caller&, absl::Span<const RawValue>,
                absl::Span<RawValue>) -> ErrorRef { return nullptr; };
  CALLGATE_CHECK(linker.DefineFunc("env", "nop", std::move(nop)).ok(),
                 "nop is defined once");
  HostDefinition add;
  add.type = {{ValType::kI32, ValType::kI32}, {ValType::kI32}};
  add.body = [](Caller&, absl::Span<const RawValue> args,
                absl::Span<RawValue> results) -> ErrorRef {
    results[0] = RawValue::I32(args[0].u32() + args[1].u32());
    return nullptr;
  };
  CALLGATE_CHECK(linker.DefineFunc("env", "add", std::move(add)).ok(),
                 "add is defined once");
  return linker;
}

Linker LeafFunctions() {
  Linker linker;
  HostDefinition nop;
  nop.leaf.body = [](const void*, RawValue*) {};
  CALLGATE_CHECK(linker.DefineFunc("env", "nop", std::move(nop)).ok(),
                 "nop is defined once");
  HostDefinition add;
  add.type = {{ValType::kI32, ValType::kI32}, {ValType::kI32}};
  add.leaf.body = [](const void*, RawValue* values) {
    values[0] = RawValue::I32(values[0].u32() + values[1].u32());
  };
  CALLGATE_CHECK(linker.DefineFunc("env", "add", std::move(add)).ok(),
                 "add is defined once");
  return linker;
}

MeasuredStore::MeasuredStore(const Engine& engine,
                             std::shared_ptr<const Module> module,
                             const Linker& linker, CallHook* hook,
                             const HookOptions& options)
    : store_(engine, Limits()) {
  if (hook != nullptr) {
    CALLGATE_CHECK(store_.SetCallHook(*hook, options).ok(),
                   "an idle Store takes a hook");
  }
  absl::StatusOr<Instantiation> made =
      linker.Instantiate(store_, std::move(module), "guest");
  CALLGATE_CHECK(made.ok() && made->instance.has_value(),
                 "the benchmark's guest instantiates");
  instance_ = made->instance;
}

Func MeasuredStore::Find(absl::string_view name) const {
  const absl::StatusOr<Func> func = instance_->GetFunc(name);
  CALLGATE_CHECK(func.ok(), "the benchmark's guest exports it");
  return *func;
}

void CallOrDie(const Func& func, uint32_t argument) {
  const Value value = Value::I32(argument);
  const absl::StatusOr<CallResult> called =
      func.Call(absl::MakeConstSpan(&value, 1));
  CALLGATE_CHECK(called.ok() && called->returned(),
                 "the benchmark's guest returns");
}

}  // namespace callgate
