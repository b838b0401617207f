#include "runtime/store.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "runtime/store_impl.h"

namespace callgate {

namespace {

StoreOptions WithLimits(const Limits& limits, ResourceLimiter* limiter) {
  StoreOptions options;
  options.limits = limits;
  options.limiter = limiter;
  return options;
}

}  // namespace

Store::Store(const Engine& engine, const StoreOptions& options)
    : impl_(std::make_unique<StoreImpl>(*this, engine, options)) {}

Store::Store(const Engine& engine, const Limits& limits,
             ResourceLimiter* limiter)
    : Store(engine, WithLimits(limits, limiter)) {}

Store::~Store() = default;

const Engine& Store::engine() const { return impl_->engine_; }
const Limits& Store::limits() const { return impl_->limits_; }
bool Store::canonical_nans() const { return impl_->canonical_nans_; }

namespace {

absl::Status HookIsBusy() {
  return absl::FailedPreconditionError(
      "the call hook cannot be changed while a call into the Store is live");
}

}  // namespace

absl::Status Store::SetLimits(const Limits& limits) {
  if (impl_->depth_ != 0 || impl_->in_hook_) {
    return absl::FailedPreconditionError(
        "limits cannot be changed while a call into the Store is live");
  }
  const uint32_t activation_depth = impl_->limits_.activation_depth;
  impl_->limits_ = limits;
  impl_->limits_.activation_depth = activation_depth;
  impl_->backend_->SetStackBytes(limits.stack_bytes);
  return absl::OkStatus();
}

absl::Status Store::SetCallHook(CallHook& hook, const HookOptions& options) {
  if (impl_->depth_ != 0 || impl_->in_hook_) return HookIsBusy();
  if (!hook.Understands(options.profile)) {
    return absl::InvalidArgumentError(
        absl::StrCat("this call hook does not understand the events of the "
                     "profile ",
                     HookProfileName(options.profile)));
  }
  return impl_->InstallHook(&hook, options);
}

absl::Status Store::ClearCallHook() {
  if (impl_->depth_ != 0 || impl_->in_hook_) return HookIsBusy();
  return impl_->InstallHook(nullptr, HookOptions());
}

absl::StatusOr<Func> Store::NewHostFunc(absl::string_view module,
                                        absl::string_view name,
                                        HostDefinition definition) {
  if (absl::Status complete = Complete(definition); !complete.ok()) {
    return absl::InvalidArgumentError(
        absl::StrCat("the host function ", ImportText(module, name), " ",
                     std::string(complete.message())));
  }
  const uint32_t binding = impl_->NewBinding(
      std::make_shared<const HostDefinition>(std::move(definition)), module,
      name, FunctionIdentity::Kind::kHostDirect, kNoIndex, kNoIndex);
  return Func(this, impl_->bindings_[binding].func);
}

absl::StatusOr<Memory> Store::NewMemory(const MemoryType& type) {
  const admission::Features& features = engine().options().features;
  if (type.shared || (type.is64 && !features.memory64)) {
    return absl::UnimplementedError(absl::StrCat(
        "a ", type.shared ? "shared" : "64-bit",
        " memory needs a proposal that this Engine does not have"));
  }
  constexpr uint64_t kPagesMax = 65536;
  if (type.pages.min > kPagesMax || type.pages.max.value_or(0) > kPagesMax ||
      type.pages.min > type.pages.max.value_or(kPagesMax)) {
    return absl::InvalidArgumentError(
        absl::StrCat("a memory of ", type.pages.min, "..",
                     type.pages.max.value_or(kPagesMax),
                     " pages: the minimum may not exceed the maximum, nor "
                     "either ",
                     kPagesMax));
  }
  if (absl::Status fits = impl_->ReserveMemory(type.pages.min * kWasmPageBytes);
      !fits.ok()) {
    return fits;
  }
  const absl::StatusOr<uint32_t> memory = impl_->backend_->NewMemory(type);
  if (!memory.ok()) {
    impl_->bytes_used_ -= type.pages.min * kWasmPageBytes;
    return memory.status();
  }
  return Memory(this, *memory);
}

absl::StatusOr<Table> Store::NewTable(const TableType& type) {
  if (!IsReference(type.element)) {
    return absl::InvalidArgumentError(absl::StrCat(
        "a table holds references, not ", ValTypeName(type.element)));
  }
  constexpr uint64_t kElementsMax = ~uint32_t{0};
  if (type.size.min > type.size.max.value_or(kElementsMax) ||
      type.size.max.value_or(0) > kElementsMax) {
    return absl::InvalidArgumentError(absl::StrCat(
        "a table of ", type.size.min, "..",
        type.size.max.value_or(kElementsMax),
        " elements: the minimum may not exceed the maximum, nor that ",
        kElementsMax));
  }
  if (absl::Status fits = impl_->ReserveTable(type.size.min); !fits.ok()) {
    return fits;
  }
  return Table(this, impl_->backend_->NewTable(type));
}

absl::StatusOr<Global> Store::NewGlobal(const GlobalType& type,
                                        const Value& value) {
  if (value.type() != type.type) {
    return absl::InvalidArgumentError(
        absl::StrCat("the global holds ", ValTypeName(type.type), ", not ",
                     ValTypeName(value.type())));
  }
  if (absl::Status ok = impl_->CheckValue(value); !ok.ok()) return ok;
  return Global(this, impl_->backend_->NewGlobal(type, value.raw()));
}

absl::StatusOr<Func> Store::FuncFromRef(const Value& ref) {
  if (ref.type() != ValType::kFuncRef) {
    return absl::InvalidArgumentError(
        absl::StrCat("a funcref is wanted, not ", ValTypeName(ref.type())));
  }
  const std::optional<uint32_t> func = impl_->backend_->FuncOf(ref.raw().ref());
  if (!func.has_value()) {
    return absl::InvalidArgumentError(
        absl::StrCat(ref.ToString(), " stands for no function of this Store"));
  }
  return Func(this, *func);
}

absl::StatusOr<Value> Store::NewExternRef(std::shared_ptr<void> object) {
  if (impl_->extern_refs_.size() >= impl_->limits_.extern_refs) {
    return absl::ResourceExhaustedError(absl::StrCat("the Store has ",
                                                     impl_->extern_refs_.size(),
                                                     " externrefs, its limit"));
  }
  const uint64_t ref = impl_->backend_->NewExternRef();
  impl_->extern_refs_.emplace(ref, std::move(object));
  return Value::ExternRef(ref);
}

std::shared_ptr<void> Store::ExternRefObject(const Value& ref) const {
  if (ref.type() != ValType::kExternRef) return nullptr;
  const auto found = impl_->extern_refs_.find(ref.raw().ref());
  return found == impl_->extern_refs_.end() ? nullptr : found->second;
}

void Store::Interrupt() {
  impl_->interrupted_.store(true, std::memory_order_relaxed);
  impl_->backend_->Interrupt();
  impl_->InterruptChanged(true);
}

void Store::ResetInterrupt() {
  impl_->interrupted_.store(false, std::memory_order_relaxed);
  impl_->InterruptChanged(false);
}

Fuel& Store::fuel() { return impl_->fuel_; }
const Fuel& Store::fuel() const { return impl_->fuel_; }
bool Store::interrupted() const { return impl_->Interrupted(); }
uint64_t Store::bytes_used() const { return impl_->bytes_used_; }
uint32_t Store::instance_count() const {
  return static_cast<uint32_t>(impl_->instances_.size());
}
uint32_t Store::depth() const { return impl_->depth_; }

}  // namespace callgate
