#include "runtime/instance.h"

#include <algorithm>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "runtime/check.h"
#include "runtime/module.h"
#include "runtime/store_impl.h"

namespace callgate {

absl::Status TypeMismatch(const FuncType& wanted, const FuncType& actual) {
  return absl::InvalidArgumentError(absl::StrCat("the function's type is ",
                                                 actual.ToString(), ", not ",
                                                 wanted.ToString()));
}

// ---------------------------------------------------------------- Func

const FuncType& Func::type() const {
  return store_->impl().backend_->TypeOfFunc(id_);
}

absl::StatusOr<CallResult> Func::Call(absl::Span<const Value> args,
                                      const CallOptions& options) const {
  return store_->impl().Call(id_, args, options,
                             FunctionIdentity::Kind::kGuestExport);
}

Value Func::ref() const {
  return Value(ValType::kFuncRef,
               RawValue::Ref(store_->impl().backend_->RefOf(id_)));
}

// ---------------------------------------------------------------- Memory

uint64_t Memory::bytes() const {
  return store_->impl().backend_->Bytes(id_).size();
}

const MemoryType& Memory::type() const {
  return store_->impl().backend_->TypeOfMemory(id_);
}

namespace {

absl::Status OutOfMemoryRange(uint64_t address, uint64_t length,
                              uint64_t size) {
  return absl::OutOfRangeError(absl::StrCat("bytes [", address, ", +", length,
                                            ") are outside the memory of ",
                                            size, " bytes"));
}

bool Inside(uint64_t address, uint64_t length, uint64_t size) {
  return length <= size && address <= size - length;
}

}  // namespace

absl::Status Memory::Read(uint64_t address, absl::Span<uint8_t> out) const {
  const absl::Span<uint8_t> memory = store_->impl().backend_->Bytes(id_);
  if (!Inside(address, out.size(), memory.size())) {
    return OutOfMemoryRange(address, out.size(), memory.size());
  }
  std::copy_n(memory.begin() + static_cast<std::ptrdiff_t>(address), out.size(),
              out.begin());
  return absl::OkStatus();
}

absl::Status Memory::Write(uint64_t address,
                           absl::Span<const uint8_t> bytes) const {
  const absl::Span<uint8_t> memory = store_->impl().backend_->Bytes(id_);
  if (!Inside(address, bytes.size(), memory.size())) {
    return OutOfMemoryRange(address, bytes.size(), memory.size());
  }
  std::copy(bytes.begin(), bytes.end(),
            memory.begin() + static_cast<std::ptrdiff_t>(address));
  return absl::OkStatus();
}

absl::StatusOr<uint64_t> Memory::Grow(uint64_t pages) const {
  StoreImpl& store = store_->impl();
  const uint64_t old_pages = bytes() / kWasmPageBytes;
  const uint64_t max = type().pages.max.value_or(65536);
  if (pages > max || old_pages > max - pages) {
    return absl::ResourceExhaustedError(
        absl::StrCat("growing by ", pages,
                     " pages exceeds the memory's "
                     "maximum of ",
                     max, " pages; it has ", old_pages));
  }
  const uint64_t more = pages * kWasmPageBytes;
  if (!store.LimitsAllow(GrowthEvent::Kind::kMemory, bytes(), bytes() + more) ||
      (store.limiter_ != nullptr &&
       !store.limiter_->MemoryGrowing(bytes(), bytes() + more))) {
    return absl::ResourceExhaustedError(absl::StrCat(
        "growing by ", more,
        " bytes exceeds the Store's `memory_bytes_total` "
        "of ",
        store.limits_.bytes_total, "; ", store.bytes_used_, " are used"));
  }
  if (!store.backend_->GrowMemory(id_, pages)) {
    return absl::ResourceExhaustedError(
        absl::StrCat("the host cannot give ", more, " bytes more"));
  }
  store.Grown(ExternKind::kMemory, more);
  return old_pages;
}

// ---------------------------------------------------------------- Table

uint64_t Table::size() const { return store_->impl().backend_->TableSize(id_); }

const TableType& Table::type() const {
  return store_->impl().backend_->TypeOfTable(id_);
}

namespace {

absl::Status OutOfTable(uint64_t index, uint64_t size) {
  return absl::OutOfRangeError(absl::StrCat(
      "element ", index, " is outside the table of ", size, " elements"));
}

absl::Status WrongElement(ValType wanted, ValType actual) {
  return absl::InvalidArgumentError(absl::StrCat(
      "the table holds ", ValTypeName(wanted), ", not ", ValTypeName(actual)));
}

}  // namespace

absl::StatusOr<Value> Table::Get(uint64_t index) const {
  if (index >= size()) return OutOfTable(index, size());
  return Value(type().element, store_->impl().backend_->TableGet(id_, index));
}

absl::Status Table::Set(uint64_t index, const Value& value) const {
  if (index >= size()) return OutOfTable(index, size());
  if (value.type() != type().element) {
    return WrongElement(type().element, value.type());
  }
  if (absl::Status ok = store_->impl().CheckValue(value); !ok.ok()) return ok;
  store_->impl().backend_->TableSet(id_, index, value.raw());
  return absl::OkStatus();
}

absl::StatusOr<uint64_t> Table::Grow(uint64_t count, const Value& value) const {
  StoreImpl& store = store_->impl();
  if (value.type() != type().element) {
    return WrongElement(type().element, value.type());
  }
  if (absl::Status ok = store.CheckValue(value); !ok.ok()) return ok;
  const uint64_t old_size = size();
  const uint64_t max = type().size.max.value_or(~uint32_t{0});
  if (count > max || old_size > max - count) {
    return absl::ResourceExhaustedError(absl::StrCat(
        "growing by ", count, " elements exceeds the table's maximum of ", max,
        "; it has ", old_size));
  }
  if (!store.LimitsAllow(GrowthEvent::Kind::kTable, old_size,
                         old_size + count) ||
      (store.limiter_ != nullptr &&
       !store.limiter_->TableGrowing(old_size, old_size + count))) {
    return absl::ResourceExhaustedError(
        absl::StrCat("growing by ", count,
                     " elements exceeds the Store's "
                     "`table_elements_total` of ",
                     store.limits_.table_elements_total, "; ",
                     store.table_elements_, " are used"));
  }
  if (!store.backend_->GrowTable(id_, count, value.raw())) {
    return absl::ResourceExhaustedError(
        absl::StrCat("the host cannot give ", count, " elements more"));
  }
  store.Grown(ExternKind::kTable, count);
  return old_size;
}

// ---------------------------------------------------------------- Global

const GlobalType& Global::type() const {
  return store_->impl().backend_->TypeOfGlobal(id_);
}

Value Global::Get() const {
  return Value(type().type, store_->impl().backend_->GlobalGet(id_));
}

absl::Status Global::Set(const Value& value) const {
  if (!type().is_mutable) {
    return absl::FailedPreconditionError("the global is a constant");
  }
  if (value.type() != type().type) {
    return absl::InvalidArgumentError(
        absl::StrCat("the global holds ", ValTypeName(type().type), ", not ",
                     ValTypeName(value.type())));
  }
  if (absl::Status ok = store_->impl().CheckValue(value); !ok.ok()) return ok;
  store_->impl().backend_->GlobalSet(id_, value.raw());
  return absl::OkStatus();
}

// ---------------------------------------------------------------- Tag

const FuncType& Tag::type() const {
  return store_->impl().backend_->TypeOfTag(id_);
}

// ---------------------------------------------------------------- Instance

absl::string_view Instance::name() const {
  return store_->impl().instances_[id_].name;
}

const Module& Instance::module() const {
  return *store_->impl().instances_[id_].module;
}

absl::StatusOr<Extern> Instance::GetExport(absl::string_view name) const {
  const StoreImpl::InstanceState& state = store_->impl().instances_[id_];
  const auto found = state.export_index.find(std::string(name));
  if (found == state.export_index.end()) {
    return absl::NotFoundError(
        absl::StrCat("no export \"", absl::CHexEscape(name), "\""));
  }
  const backend::ExternId id = state.exports[found->second];
  Extern value;
  switch (id.kind) {
    case ExternKind::kFunc:
      value.func = Func(store_, id.id);
      break;
    case ExternKind::kMemory:
      value.memory = Memory(store_, id.id);
      break;
    case ExternKind::kTable:
      value.table = Table(store_, id.id);
      break;
    case ExternKind::kGlobal:
      value.global = Global(store_, id.id);
      break;
    case ExternKind::kTag:
      value.tag = Tag(store_, id.id);
      break;
  }
  return value;
}

namespace {

absl::Status WrongKind(absl::string_view name, ExternKind wanted) {
  return absl::InvalidArgumentError(
      absl::StrCat("export \"", absl::CHexEscape(name), "\" is no ",
                   ExternKindName(wanted)));
}

}  // namespace

absl::StatusOr<Func> Instance::GetFunc(absl::string_view name) const {
  absl::StatusOr<Extern> value = GetExport(name);
  if (!value.ok()) return value.status();
  if (!value->func.has_value()) return WrongKind(name, ExternKind::kFunc);
  return *value->func;
}

absl::StatusOr<Memory> Instance::GetMemory(absl::string_view name) const {
  absl::StatusOr<Extern> value = GetExport(name);
  if (!value.ok()) return value.status();
  if (!value->memory.has_value()) return WrongKind(name, ExternKind::kMemory);
  return *value->memory;
}

absl::StatusOr<Table> Instance::GetTable(absl::string_view name) const {
  absl::StatusOr<Extern> value = GetExport(name);
  if (!value.ok()) return value.status();
  if (!value->table.has_value()) return WrongKind(name, ExternKind::kTable);
  return *value->table;
}

absl::StatusOr<Global> Instance::GetGlobal(absl::string_view name) const {
  absl::StatusOr<Extern> value = GetExport(name);
  if (!value.ok()) return value.status();
  if (!value->global.has_value()) return WrongKind(name, ExternKind::kGlobal);
  return *value->global;
}

}  // namespace callgate
