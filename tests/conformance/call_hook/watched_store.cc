#include "tests/conformance/call_hook/watched_store.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "runtime/module.h"
#include "tests/support/wat.h"

namespace callgate {

WatchedStore::WatchedStore(const Engine& engine, Journal& journal,
                           std::string prefix, const Limits& limits,
                           ResourceLimiter* limiter, HookProfile profile)
    : journal_(journal),
      profile_(profile),
      hook_(journal, std::move(prefix)),
      store_(engine, limits, limiter) {
  // Not every enter has a leave in Wasmi.
  hook_.check_nesting = profile == HookProfile::kWasmtime47 ||
                        profile == HookProfile::kWasmtime48;
  HookOptions options;
  options.profile = profile;
  const absl::Status installed = store_.SetCallHook(hook_, options);
  if (!installed.ok()) {
    journal_.NoteViolation(absl::StrCat("hook: ", installed.ToString()));
  }
}

HostFunction WatchedStore::Returns() {
  return [this](Caller&, absl::Span<const RawValue>, absl::Span<RawValue>) {
    journal_.Note("H");
    return ErrorRef();
  };
}

HostFunction WatchedStore::Fails(const std::string& error_name) {
  return Fails(journal_.NewError(error_name));
}

HostFunction WatchedStore::Fails(ErrorRef error) {
  return [this, error = std::move(error)](Caller&, absl::Span<const RawValue>,
                                          absl::Span<RawValue>) {
    journal_.Note("Herr");
    return error;
  };
}

HostFunction WatchedStore::Reenters(std::string export_name, Nested nested,
                                    std::string instance_name) {
  return [this, export_name = std::move(export_name), nested,
          instance_name = std::move(instance_name)](
             Caller&, absl::Span<const RawValue>, absl::Span<RawValue>) {
    const ErrorRef error = Reenter(export_name, {}, instance_name);
    return nested == Nested::kPropagate ? error : ErrorRef();
  };
}

void WatchedStore::Define(absl::string_view name, HostFunction body) {
  Define(name, FuncType{}, std::move(body));
}

void WatchedStore::Define(absl::string_view name, FuncType type,
                          HostFunction body, HostFunctionSpec spec) {
  const absl::Status defined = linker_.DefineFunc(
      "env", name,
      HostDefinition{std::move(type), std::move(spec), std::move(body)});
  if (!defined.ok()) {
    journal_.NoteViolation(
        absl::StrCat("env.", name, ": ", defined.ToString()));
  }
}

std::optional<Func> WatchedStore::NewHostFunc(HostFunction body,
                                              FuncType type) {
  const absl::StatusOr<Func> func = store_.NewHostFunc(
      "env", "held", HostDefinition{std::move(type), {}, std::move(body)});
  if (func.ok()) return *func;
  journal_.NoteViolation(absl::StrCat("env.held: ", func.status().ToString()));
  return std::nullopt;
}

bool WatchedStore::Instantiate(absl::string_view wat,
                               const std::string& instance_name) {
  const absl::StatusOr<std::vector<uint8_t>> bytes = AssembleWat(wat);
  if (!bytes.ok()) {
    journal_.NoteViolation(bytes.status().ToString());
    return false;
  }
  absl::StatusOr<std::shared_ptr<const Module>> module =
      Module::Compile(store_.engine(), *bytes);
  if (!module.ok()) {
    journal_.NoteViolation(module.status().ToString());
    return false;
  }
  const absl::StatusOr<Instantiation> made =
      linker_.Instantiate(store_, *std::move(module), instance_name);
  if (!made.ok()) {
    journal_.NoteOutcome(Journal::Describe(made.status()));
    return false;
  }
  if (made->instance.has_value() == made->trap.has_value()) {
    journal_.NoteViolation("an instance and a trap, or neither");
  }
  if (!made->instance.has_value()) {
    journal_.NoteOutcome(journal_.Describe(*made->trap));
    return false;
  }
  instances_.emplace_back(instance_name, *made->instance);
  return true;
}

std::optional<Instance> WatchedStore::FindInstance(
    const std::string& instance_name) {
  for (size_t i = instances_.size(); i-- > 0;) {
    if (instance_name.empty() || instances_[i].first == instance_name) {
      return instances_[i].second;
    }
  }
  journal_.NoteViolation(absl::StrCat("no instance \"", instance_name, "\""));
  return std::nullopt;
}

std::optional<Func> WatchedStore::FindFunc(absl::string_view export_name,
                                           const std::string& instance_name) {
  const std::optional<Instance> instance = FindInstance(instance_name);
  if (!instance.has_value()) return std::nullopt;
  const absl::StatusOr<Func> func = instance->GetFunc(export_name);
  if (func.ok()) return *func;
  journal_.NoteViolation(func.status().ToString());
  return std::nullopt;
}

void WatchedStore::Call(absl::string_view export_name,
                        absl::Span<const Value> args,
                        const CallOptions& options) {
  Call(FindFunc(export_name), args, options);
}

void WatchedStore::Call(const std::optional<Func>& func,
                        absl::Span<const Value> args,
                        const CallOptions& options) {
  // Where there is none, that is a violation already.
  if (!func.has_value()) return;
  journal_.NoteOutcome(journal_.Describe(func->Call(args, options)));
}

ErrorRef WatchedStore::Reenter(absl::string_view export_name,
                               absl::Span<const Value> args,
                               const std::string& instance_name) {
  journal_.Note("H(");
  const std::optional<Func> func = FindFunc(export_name, instance_name);
  const ErrorRef error =
      func.has_value() ? ErrorOf(func->Call(args)) : MakeError("no function");
  journal_.Note(error == nullptr ? ")H:ok" : ")H:err");
  return error;
}

ErrorRef WatchedStore::ErrorOf(const absl::StatusOr<CallResult>& called) {
  if (!called.ok()) {
    journal_.NoteViolation(
        absl::StrCat("nested call: ", called.status().ToString()));
    return MakeError(called.status().ToString());
  }
  if (called->returned()) return nullptr;
  // A trap without an error object travels on as a new one.
  ErrorRef error = ErrorFromTrap(*called->trap);
  return called->trap->cause() == nullptr ? journal_.NameError("nested", error)
                                          : error;
}

}  // namespace callgate
