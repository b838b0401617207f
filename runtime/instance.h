// Handles to what lives in a Store: Instance, Func, TypedFunc, Memory, Table,
// Global, Tag.
//
// Each is two words, cheap to copy, owns nothing, and is valid as long as its
// Store. Use them on the Store's thread only. Mixing Stores is refused with
// InvalidArgument.

#ifndef CALLGATE_RUNTIME_INSTANCE_H_
#define CALLGATE_RUNTIME_INSTANCE_H_

#include <cstdint>
#include <optional>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "runtime/extern_type.h"
#include "runtime/limits.h"
#include "runtime/trap.h"
#include "runtime/value.h"

namespace callgate {

class HostCaller;
class Module;
class Store;
class StoreImpl;

// How a call into a guest ended, and what it used.
struct CallResult {
  std::vector<Value> values;
  std::optional<Trap> trap;
  CallUsage usage;

  bool returned() const { return !trap.has_value(); }
};

template <typename Params, typename Results>
class TypedFunc;

class Func {
 public:
  const FuncType& type() const;

  // Calls the function. The status is bad when there was no call at all
  // (InvalidArgument: arguments of the wrong count, type or Store;
  // FailedPrecondition: from inside a hook without allow_reentry, or a Store
  // that is no longer usable). Everything the guest did is in the CallResult.
  absl::StatusOr<CallResult> Call(absl::Span<const Value> args,
                                  const CallOptions& options = {}) const;

  // A function whose C++ type was checked once, here.
  // InvalidArgument with both types when they differ.
  template <typename Params, typename Results>
  absl::StatusOr<TypedFunc<Params, Results>> Typed() const;

  // The value that stands for this function in tables and parameters.
  Value ref() const;
  Store& store() const { return *store_; }

 private:
  friend class Store;
  friend class StoreImpl;
  friend class Instance;
  Func(Store* store, uint32_t id) : store_(store), id_(id) {}
  Store* store_;
  uint32_t id_;
};

class Memory {
 public:
  uint64_t bytes() const;
  const MemoryType& type() const;
  // OutOfRange names the address, the length and the size.
  absl::Status Read(uint64_t address, absl::Span<uint8_t> out) const;
  absl::Status Write(uint64_t address, absl::Span<const uint8_t> bytes) const;
  // The old size in pages. ResourceExhausted when a limit refuses.
  absl::StatusOr<uint64_t> Grow(uint64_t pages) const;

 private:
  friend class Store;
  friend class StoreImpl;
  friend class Instance;
  Memory(Store* store, uint32_t id) : store_(store), id_(id) {}
  Store* store_;
  uint32_t id_;
};

class Table {
 public:
  uint64_t size() const;
  const TableType& type() const;
  absl::StatusOr<Value> Get(uint64_t index) const;
  absl::Status Set(uint64_t index, const Value& value) const;
  absl::StatusOr<uint64_t> Grow(uint64_t count, const Value& value) const;

 private:
  friend class Store;
  friend class StoreImpl;
  friend class Instance;
  Table(Store* store, uint32_t id) : store_(store), id_(id) {}
  Store* store_;
  uint32_t id_;
};

class Global {
 public:
  const GlobalType& type() const;
  Value Get() const;
  // FailedPrecondition for a constant; InvalidArgument for another type.
  absl::Status Set(const Value& value) const;

 private:
  friend class Store;
  friend class StoreImpl;
  friend class Instance;
  Global(Store* store, uint32_t id) : store_(store), id_(id) {}
  Store* store_;
  uint32_t id_;
};

// What exceptions are told apart by. Hosts can only pass it on, from a module
// that exports it to one that imports it.
class Tag {
 public:
  // What its exceptions carry; without results.
  const FuncType& type() const;

 private:
  friend class Store;
  friend class StoreImpl;
  friend class Instance;
  Tag(Store* store, uint32_t id) : store_(store), id_(id) {}
  Store* store_;
  uint32_t id_;
};

// One of the five, or nothing of the kind asked for.
struct Extern {
  std::optional<Func> func;
  std::optional<Memory> memory;
  std::optional<Table> table;
  std::optional<Global> global;
  std::optional<Tag> tag;
};

class Instance {
 public:
  // As given to Linker::Instantiate.
  absl::string_view name() const;
  const Module& module() const;
  // NotFound names the export; InvalidArgument when it is of another kind.
  absl::StatusOr<Extern> GetExport(absl::string_view name) const;
  absl::StatusOr<Func> GetFunc(absl::string_view name) const;
  absl::StatusOr<Memory> GetMemory(absl::string_view name) const;
  absl::StatusOr<Table> GetTable(absl::string_view name) const;
  absl::StatusOr<Global> GetGlobal(absl::string_view name) const;
  Store& store() const { return *store_; }

 private:
  friend class Store;
  friend class StoreImpl;
  friend class HostCaller;
  Instance(Store* store, uint32_t id) : store_(store), id_(id) {}
  Store* store_;
  uint32_t id_;
};

// The Wasm type of a C++ type, and the way between the two.
template <typename T>
struct WasmTypeOf;
template <>
struct WasmTypeOf<int32_t> {
  static constexpr ValType kType = ValType::kI32;
  static Value To(int32_t v) { return Value::I32(v); }
  static int32_t From(const Value& v) { return v.i32(); }
};
template <>
struct WasmTypeOf<uint32_t> {
  static constexpr ValType kType = ValType::kI32;
  static Value To(uint32_t v) { return Value::I32(v); }
  static uint32_t From(const Value& v) { return v.u32(); }
};
template <>
struct WasmTypeOf<int64_t> {
  static constexpr ValType kType = ValType::kI64;
  static Value To(int64_t v) { return Value::I64(v); }
  static int64_t From(const Value& v) { return v.i64(); }
};
template <>
struct WasmTypeOf<uint64_t> {
  static constexpr ValType kType = ValType::kI64;
  static Value To(uint64_t v) { return Value::I64(v); }
  static uint64_t From(const Value& v) { return v.u64(); }
};
template <>
struct WasmTypeOf<float> {
  static constexpr ValType kType = ValType::kF32;
  static Value To(float v) { return Value::F32(v); }
  static float From(const Value& v) { return v.f32(); }
};
template <>
struct WasmTypeOf<double> {
  static constexpr ValType kType = ValType::kF64;
  static Value To(double v) { return Value::F64(v); }
  static double From(const Value& v) { return v.f64(); }
};

// Func with its type known to the compiler: Params and Results are std::tuple.
template <typename... P, typename... R>
class TypedFunc<std::tuple<P...>, std::tuple<R...>> {
 public:
  struct Result {
    std::optional<std::tuple<R...>> values;  // absent when it trapped
    std::optional<Trap> trap;
    CallUsage usage;
  };

  absl::StatusOr<Result> Call(P... args) const {
    const std::vector<Value> values = {WasmTypeOf<P>::To(args)...};
    absl::StatusOr<CallResult> called = func_.Call(values);
    if (!called.ok()) return called.status();
    Result result;
    result.usage = called->usage;
    if (called->returned()) {
      result.values = Unpack(called->values, std::index_sequence_for<R...>());
    } else {
      result.trap = std::move(called->trap);
    }
    return result;
  }

  static FuncType Type() {
    return FuncType{{WasmTypeOf<P>::kType...}, {WasmTypeOf<R>::kType...}};
  }

 private:
  friend class Func;
  explicit TypedFunc(const Func& func) : func_(func) {}

  template <size_t... I>
  static std::tuple<R...> Unpack(const std::vector<Value>& values,
                                 std::index_sequence<I...>) {
    static_cast<void>(values);
    return std::tuple<R...>(WasmTypeOf<R>::From(values[I])...);
  }

  Func func_;
};

// The status of a Typed() whose types differ.
absl::Status TypeMismatch(const FuncType& wanted, const FuncType& actual);

template <typename Params, typename Results>
absl::StatusOr<TypedFunc<Params, Results>> Func::Typed() const {
  using Result = TypedFunc<Params, Results>;
  const FuncType wanted = Result::Type();
  if (wanted != type()) return TypeMismatch(wanted, type());
  return Result(*this);
}

}  // namespace callgate

#endif  // CALLGATE_RUNTIME_INSTANCE_H_
