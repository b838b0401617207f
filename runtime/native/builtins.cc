// Each has two halves: one that compiled code calls, which holds no object and
// may leave the activation, and one that does the work, may use C++ as it
// likes, and answers false when the guest is stopped.
//
// In work of a size that the guest chooses, bounds come first, then the charge,
// then the work in pieces with a look at the interrupt between them.

#include "runtime/native/builtins.h"

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <utility>

#include "runtime/check.h"
#include "runtime/native/abi.h"
#include "runtime/native/activation.h"
#include "runtime/native/native_store.h"

namespace callgate::native {
namespace {

constexpr uint64_t kPiece = 1 << 20;
// See NativeStore::ResumeSlice. A growth makes system calls.
constexpr int64_t kGrowthToll = 20'000;
// Of 64-bit answers: both kinds of memory, and tables.
constexpr int64_t kRefused = -1;
// More than this many pages no host has, whatever the address type.
constexpr uint64_t kPagesMax = 65'536;
constexpr uint64_t kElementsMax = ~uint32_t{0};

bool Inside(uint64_t at, uint64_t length, uint64_t size) {
  return length <= size && at <= size - length;
}

}  // namespace

class Builtins {
 public:
  static const void* const* Table();

 private:
  static NativeStore& StoreOf(InstanceContext* context) {
    return *reinterpret_cast<NativeStore::Cell*>(context->header.store)->store;
  }
  static Instance& InstanceOf(InstanceContext* context) {
    return *static_cast<Instance*>(context->instance);
  }

  // ---- traps, stack, fuel

  [[noreturn]] static void Trap(InstanceContext* context, uint32_t code,
                                uint64_t module_offset, int64_t fuel) {
    NativeStore& store = StoreOf(context);
    Trapped(store, code, module_offset, fuel, __builtin_frame_address(0));
    store.Leave();
  }
  __attribute__((noinline)) static void Trapped(NativeStore& store,
                                                uint32_t code,
                                                uint64_t module_offset,
                                                int64_t fuel,
                                                const void* frame) {
    store.Stopped(static_cast<TrapCode>(code), frame, fuel);
    std::vector<backend::RawFrame>& backtrace = store.running_->backtrace;
    if (!backtrace.empty()) backtrace[0].module_offset = module_offset;
  }

  static void CheckStack(InstanceContext* context, int64_t fuel,
                         uint64_t frame) {
    NativeStore& store = StoreOf(context);
    if (!StackChecked(store, fuel, frame, __builtin_frame_address(0))) {
      store.Leave();
    }
  }
  __attribute__((noinline)) static bool StackChecked(NativeStore& store,
                                                     int64_t fuel,
                                                     uint64_t guest_frame,
                                                     const void* frame) {
    const uint64_t limit = store.stack_->limit();
    if (guest_frame < limit) {
      return store.Stopped(TrapCode::kCallStackExhausted, frame, fuel);
    }
    // The limit first, and as a full barrier: who asks from now on, asks again;
    // who asked before has made it visible why.
    store.context().stack_limit.exchange(limit, std::memory_order_seq_cst);
    return Looked(store, fuel, frame);
  }
  static bool Looked(NativeStore& store, int64_t fuel, const void* frame) {
    store.host_.LetOthersRun();
    std::optional<backend::Stop> stop = store.MayNotRun();
    if (!stop.has_value()) return true;
    return store.Stopped(*std::move(stop), frame, fuel);
  }

  static int64_t Refuel(InstanceContext* context, int64_t fuel) {
    NativeStore& store = StoreOf(context);
    if (!Refueled(store, fuel, __builtin_frame_address(0))) store.Leave();
    return store.slice_;
  }
  __attribute__((noinline)) static bool Refueled(NativeStore& store,
                                                 int64_t fuel,
                                                 const void* frame) {
    if (!Looked(store, fuel, frame)) return false;
    if (std::optional<backend::Stop> spent = store.Afford(fuel, frame)) {
      return store.Stopped(*std::move(spent), frame, fuel);
    }
    store.NewSlice();
    return true;
  }

  // ---- work of any size

  // Pays for work on `cost` bytes or elements: one unit for each.
  static bool Charge(NativeStore& store, uint64_t cost, const void* frame) {
    StoreContext& context = store.context();
    if (cost <= kPiece) {
      // Within a slice nobody has to look.
      if (!store.engine_.metered) return true;
      if (context.fuel >= 0 && cost <= static_cast<uint64_t>(context.fuel)) {
        context.fuel -= static_cast<int64_t>(cost);
        return true;
      }
    }
    if (store.engine_.metered) {
      std::optional<backend::Stop> stop = store.Afford(context.fuel, frame);
      if (!stop.has_value()) stop = Pay(store, cost, frame);
      if (stop.has_value()) {
        return store.Stopped(*std::move(stop), frame, context.fuel);
      }
      store.NewSlice();
    }
    return Looked(store, context.fuel, frame);
  }
  // After everything is settled. Who adds fuel by drops waits until it is paid.
  static std::optional<backend::Stop> Pay(NativeStore& store, uint64_t cost,
                                          const void* frame) {
    while (true) {
      const uint64_t paid = std::min(cost, store.host_.FuelLeft());
      store.host_.ConsumeFuel(paid);
      cost -= paid;
      if (cost == 0) return std::nullopt;
      std::optional<backend::Stop> stop = store.MayNotRun();
      if (!stop.has_value()) stop = store.OutOfFuel(frame);
      if (stop.has_value()) return stop;
    }
  }

  // Calls work(begin, count) for pieces of [0, length), from the last to the
  // first if `backwards`.
  template <typename Work>
  static bool InPieces(NativeStore& store, uint64_t length, bool backwards,
                       uint64_t piece, const void* frame, const Work& work) {
    for (uint64_t done = 0; done < length;) {
      const uint64_t count = std::min(piece, length - done);
      work(backwards ? length - done - count : done, count);
      done += count;
      if (done < length && !Looked(store, store.context().fuel, frame)) {
        return false;
      }
    }
    return true;
  }

  // ---- memories

  static int64_t MemoryGrow(InstanceContext* context, uint32_t memory,
                            uint64_t delta) {
    NativeStore& store = StoreOf(context);
    int64_t answer = kRefused;
    if (!MemoryGrown(store, InstanceOf(context), memory, delta,
                     __builtin_frame_address(0), answer)) {
      store.Leave();
    }
    return answer;
  }
  __attribute__((noinline)) static bool MemoryGrown(
      NativeStore& store, Instance& instance, uint32_t index, uint64_t pages,
      const void* frame, int64_t& answer) {
    const uint32_t id = instance.memory_ids[index];
    const bool is64 = store.memories_[id].type.is64;
    const auto raw = [is64](uint64_t value) {
      return is64 ? RawValue::I64(value)
                  : RawValue::I32(static_cast<uint32_t>(value));
    };
    const RawValue args[] = {raw(pages)};
    RawValue results[1];
    return AsRuntimeCall(store, frame,
                         is64 ? backend::RuntimeCall::kMemoryGrow64
                              : backend::RuntimeCall::kMemoryGrow,
                         args, results, [&]() -> std::optional<backend::Stop> {
                           std::optional<backend::Stop> stop =
                               GrowMemory(store, index, id, pages, answer);
                           results[0] = raw(static_cast<uint64_t>(answer));
                           return stop;
                         });
  }
  static std::optional<backend::Stop> GrowMemory(NativeStore& store,
                                                 uint32_t index, uint32_t id,
                                                 uint64_t pages,
                                                 int64_t& answer) {
    const NativeStore::Memory& memory = store.memories_[id];
    const uint64_t old_pages = memory.def.bytes / kWasmPageBytes;
    const uint64_t max =
        std::min(memory.type.pages.max.value_or(kPagesMax), kPagesMax);
    if (pages > max || old_pages > max - pages) return std::nullopt;
    const uint64_t current = old_pages * kWasmPageBytes;
    const uint64_t more = pages * kWasmPageBytes;
    const backend::Growth growth =
        store.host_.MemoryGrowing(index, current, current + more);
    if (growth == backend::Growth::kTrap) return store.host_.TakeGrowthStop();
    if (growth == backend::Growth::kRefuse) return std::nullopt;
    if (!store.GrowMemory(id, pages)) return std::nullopt;
    store.host_.Grown(ExternKind::kMemory, more);
    answer = static_cast<int64_t>(old_pages);
    return std::nullopt;
  }
  // Work that a hook may look at from both sides: with all fuel settled.
  template <typename Work>
  static bool AsRuntimeCall(NativeStore& store, const void* frame,
                            backend::RuntimeCall call,
                            absl::Span<const RawValue> args,
                            absl::Span<RawValue> results, const Work& work) {
    std::optional<backend::Stop> stop =
        store.Afford(store.context().fuel, frame);
    if (!stop.has_value()) {
      stop = store.RunRuntimeCall(call, frame, args, results, work);
      store.ResumeSlice(kGrowthToll);
    }
    return !stop.has_value() ||
           store.Stopped(*std::move(stop), frame, store.context().fuel);
  }

  static void MemoryFill(InstanceContext* context, uint32_t memory,
                         uint64_t address, uint32_t value, uint64_t length) {
    NativeStore& store = StoreOf(context);
    if (!MemoryFilled(store, *InstanceOf(context).memories()[memory], address,
                      value, length, __builtin_frame_address(0))) {
      store.Leave();
    }
  }
  __attribute__((noinline)) static bool MemoryFilled(
      NativeStore& store, const MemoryDef& memory, uint64_t address,
      uint32_t value, uint64_t length, const void* frame) {
    if (length <= memory.bytes && !Charge(store, length, frame)) return false;
    if (!Inside(address, length, memory.bytes)) {
      return OutOfMemory(store, frame);
    }
    uint8_t* const to = memory.base + address;
    return InPieces(store, length, false, kPiece, frame,
                    [&](uint64_t begin, uint64_t count) {
                      std::memset(to + begin, static_cast<uint8_t>(value),
                                  count);
                    });
  }
  static bool OutOfMemory(NativeStore& store, const void* frame) {
    return store.Stopped(TrapCode::kMemoryOutOfBounds, frame,
                         store.context().fuel);
  }

  static void MemoryCopy(InstanceContext* context, uint32_t to_memory,
                         uint32_t from_memory, uint64_t to, uint64_t from,
                         uint64_t length) {
    NativeStore& store = StoreOf(context);
    MemoryDef** memories = InstanceOf(context).memories();
    if (!MemoryCopied(store, *memories[to_memory], *memories[from_memory], to,
                      from, length, __builtin_frame_address(0))) {
      store.Leave();
    }
  }
  __attribute__((noinline)) static bool MemoryCopied(
      NativeStore& store, const MemoryDef& to_memory,
      const MemoryDef& from_memory, uint64_t to, uint64_t from, uint64_t length,
      const void* frame) {
    if (length <= to_memory.bytes && !Charge(store, length, frame)) {
      return false;
    }
    if (!Inside(to, length, to_memory.bytes) ||
        !Inside(from, length, from_memory.bytes)) {
      return OutOfMemory(store, frame);
    }
    const uint8_t* const source = from_memory.base + from;
    uint8_t* const target = to_memory.base + to;
    const bool backwards = target > source && target < source + length;
    return InPieces(store, length, backwards, kPiece, frame,
                    [&](uint64_t begin, uint64_t count) {
                      std::memmove(target + begin, source + begin, count);
                    });
  }

  static void MemoryInit(InstanceContext* context, uint32_t memory,
                         uint32_t segment, uint64_t to, uint64_t from,
                         uint64_t length) {
    NativeStore& store = StoreOf(context);
    if (!MemoryInited(store, InstanceOf(context), memory, segment, to, from,
                      length, __builtin_frame_address(0))) {
      store.Leave();
    }
  }
  __attribute__((noinline)) static bool MemoryInited(
      NativeStore& store, const Instance& instance, uint32_t index,
      uint32_t segment, uint64_t to, uint64_t from, uint64_t length,
      const void* frame) {
    const MemoryDef& memory = *instance.memories()[index];
    if (length <= memory.bytes && !Charge(store, length, frame)) return false;
    absl::Span<const uint8_t> bytes;
    if (!instance.dropped_data[segment]) {
      bytes = instance.image().data()[segment].bytes;
    }
    if (!Inside(to, length, memory.bytes) ||
        !Inside(from, length, bytes.size())) {
      return OutOfMemory(store, frame);
    }
    return InPieces(store, length, false, kPiece, frame,
                    [&](uint64_t begin, uint64_t count) {
                      std::memcpy(memory.base + to + begin,
                                  bytes.data() + from + begin, count);
                    });
  }

  static void DataDrop(InstanceContext* context, uint32_t segment) {
    InstanceOf(context).dropped_data[segment] = true;
  }

  // ---- tables

  static int64_t TableGrow(InstanceContext* context, uint32_t table,
                           uint64_t value, uint64_t delta) {
    NativeStore& store = StoreOf(context);
    int64_t answer = kRefused;
    if (!TableGrown(store, InstanceOf(context), table, value, delta,
                    __builtin_frame_address(0), answer)) {
      store.Leave();
    }
    return answer;
  }
  __attribute__((noinline)) static bool TableGrown(
      NativeStore& store, Instance& instance, uint32_t index, uint64_t value,
      uint64_t count, const void* frame, int64_t& answer) {
    const uint32_t id = instance.table_ids[index];
    const ValType element = store.tables_[id].type.element;
    const RawValue item = store.FromGuest(element, RawValue::Ref(value));
    const RawValue args[] = {item, RawValue::I32(static_cast<uint32_t>(count))};
    RawValue results[1];
    return AsRuntimeCall(
        store, frame,
        element == ValType::kFuncRef ? backend::RuntimeCall::kTableGrowFunc
                                     : backend::RuntimeCall::kTableGrowExtern,
        args, results, [&]() -> std::optional<backend::Stop> {
          std::optional<backend::Stop> stop =
              GrowTable(store, index, id, item, count, frame, answer);
          results[0] = RawValue::I32(static_cast<uint32_t>(answer));
          return stop;
        });
  }
  static std::optional<backend::Stop> GrowTable(
      NativeStore& store, uint32_t index, uint32_t id, const RawValue& item,
      uint64_t count, const void* frame, int64_t& answer) {
    const NativeStore::Table& table = store.tables_[id];
    const uint64_t old_size = table.elements.size();
    const uint64_t max = table.type.size.max.value_or(kElementsMax);
    if (count > max || old_size > max - count) return std::nullopt;
    const backend::Growth growth =
        store.host_.TableGrowing(index, old_size, old_size + count);
    if (growth == backend::Growth::kTrap) return store.host_.TakeGrowthStop();
    if (growth == backend::Growth::kRefuse) return std::nullopt;
    if (store.engine_.metered) {
      std::optional<backend::Stop> stop = Pay(store, count, frame);
      if (stop.has_value()) return stop;
    }
    if (!store.GrowTable(id, count, item)) return std::nullopt;
    store.host_.Grown(ExternKind::kTable, count);
    answer = static_cast<int64_t>(old_size);
    return std::nullopt;
  }

  static bool OutOfTable(NativeStore& store, const void* frame) {
    return store.Stopped(TrapCode::kTableOutOfBounds, frame,
                         store.context().fuel);
  }

  static void TableFill(InstanceContext* context, uint32_t table,
                        uint64_t index, uint64_t value, uint64_t length) {
    NativeStore& store = StoreOf(context);
    if (!TableFilled(store, *InstanceOf(context).tables()[table], index, value,
                     length, __builtin_frame_address(0))) {
      store.Leave();
    }
  }
  __attribute__((noinline)) static bool TableFilled(
      NativeStore& store, const TableDef& table, uint64_t index, uint64_t value,
      uint64_t length, const void* frame) {
    if (length <= table.size && !Charge(store, length, frame)) return false;
    if (!Inside(index, length, table.size)) return OutOfTable(store, frame);
    return InPieces(store, length, false, kPiece, frame,
                    [&](uint64_t begin, uint64_t count) {
                      std::fill_n(table.elements + index + begin, count, value);
                    });
  }

  static void TableCopy(InstanceContext* context, uint32_t to_table,
                        uint32_t from_table, uint64_t to, uint64_t from,
                        uint64_t length) {
    NativeStore& store = StoreOf(context);
    TableDef** tables = InstanceOf(context).tables();
    if (!TableCopied(store, *tables[to_table], *tables[from_table], to, from,
                     length, __builtin_frame_address(0))) {
      store.Leave();
    }
  }
  __attribute__((noinline)) static bool TableCopied(
      NativeStore& store, const TableDef& to_table, const TableDef& from_table,
      uint64_t to, uint64_t from, uint64_t length, const void* frame) {
    if (length <= to_table.size && !Charge(store, length, frame)) return false;
    if (!Inside(to, length, to_table.size) ||
        !Inside(from, length, from_table.size)) {
      return OutOfTable(store, frame);
    }
    const uint64_t* const source = from_table.elements + from;
    uint64_t* const target = to_table.elements + to;
    const bool backwards = target > source && target < source + length;
    return InPieces(store, length, backwards, kPiece, frame,
                    [&](uint64_t begin, uint64_t count) {
                      std::memmove(target + begin, source + begin,
                                   count * sizeof(uint64_t));
                    });
  }

  static void TableInit(InstanceContext* context, uint32_t table,
                        uint32_t segment, uint64_t to, uint64_t from,
                        uint64_t length) {
    NativeStore& store = StoreOf(context);
    if (!TableInited(store, InstanceOf(context), table, segment, to, from,
                     length, __builtin_frame_address(0))) {
      store.Leave();
    }
  }
  __attribute__((noinline)) static bool TableInited(
      NativeStore& store, Instance& instance, uint32_t index, uint32_t segment,
      uint64_t to, uint64_t from, uint64_t length, const void* frame) {
    const TableDef& table = *instance.tables()[index];
    if (length <= table.size && !Charge(store, length, frame)) return false;
    const ModuleImage::Elements& elements =
        instance.image().elements()[segment];
    const uint64_t size =
        instance.dropped_elements[segment] ? 0 : elements.items.size();
    if (!Inside(to, length, table.size) || !Inside(from, length, size)) {
      return OutOfTable(store, frame);
    }
    // Records are made on the way, which takes longer than a copy.
    return InPieces(store, length, false, kPiece / 64, frame,
                    [&](uint64_t begin, uint64_t count) {
                      for (uint64_t i = begin; i < begin + count; ++i) {
                        table.elements[to + i] =
                            ItemOf(store, instance, elements, from + i);
                      }
                    });
  }
  static uint64_t ItemOf(NativeStore& store, Instance& instance,
                         const ModuleImage::Elements& elements, uint64_t at) {
    const uint32_t item = elements.items[static_cast<size_t>(at)];
    if (item == 0) return elements.type == ValType::kFuncRef ? 0 : kNullRef;
    return reinterpret_cast<uintptr_t>(
        &store.FunctionAt(instance, item - 1).record);
  }

  static void ElemDrop(InstanceContext* context, uint32_t segment) {
    NativeStore& store = StoreOf(context);
    if (!ElemDropped(store, InstanceOf(context), segment,
                     __builtin_frame_address(0))) {
      store.Leave();
    }
  }
  __attribute__((noinline)) static bool ElemDropped(NativeStore& store,
                                                    Instance& instance,
                                                    uint32_t segment,
                                                    const void* frame) {
    return AsRuntimeCall(store, frame, backend::RuntimeCall::kElemDrop, {}, {},
                         [&]() -> std::optional<backend::Stop> {
                           instance.dropped_elements[segment] = true;
                           return std::nullopt;
                         });
  }

  static FuncRecord* RefFunc(InstanceContext* context, uint32_t function) {
    return &StoreOf(context).FunctionAt(InstanceOf(context), function).record;
  }

  // ---- exceptions

#if defined(__SANITIZE_THREAD__)
  // Or every exception would leave an entry on its record of calls.
  __attribute__((no_sanitize("thread")))
#endif
  [[noreturn]] static void
  Throw(InstanceContext* context, int64_t fuel) {
    NativeStore& store = StoreOf(context);
    StoreContext& shared = store.context();
    ExceptionHandler* const handler = shared.handler;
    if (handler == nullptr) {
      Uncaught(store, fuel, __builtin_frame_address(0));
      store.Leave();
    }
    shared.handler = handler->outer;
    shared.fuel = fuel;
    Caught(store, handler->stack_pointer);
    AboutToDropFrames();
    callgate_throw_to(handler);
  }
  // The hook may look at anything, but is told nothing of fuel here.
  __attribute__((noinline)) static void Caught(NativeStore& store,
                                               uint64_t stack_pointer) {
    store.host_.LeaveThrown(store.PlaceOnStack(stack_pointer));
  }
  __attribute__((noinline)) static void Uncaught(NativeStore& store,
                                                 int64_t fuel,
                                                 const void* frame) {
    store.Stopped(
        backend::Stop{TrapCode::kHostError, MakeError("uncaught exception")},
        frame, fuel);
  }
};

const void* const* Builtins::Table() {
  // SAFETY: POSIX lets a function's address pass through void*.
  static const void* const kTable[] = {
      reinterpret_cast<const void*>(&Trap),
      reinterpret_cast<const void*>(&CheckStack),
      reinterpret_cast<const void*>(&Refuel),
      reinterpret_cast<const void*>(&MemoryGrow),
      reinterpret_cast<const void*>(&MemoryFill),
      reinterpret_cast<const void*>(&MemoryCopy),
      reinterpret_cast<const void*>(&MemoryInit),
      reinterpret_cast<const void*>(&DataDrop),
      reinterpret_cast<const void*>(&TableGrow),
      reinterpret_cast<const void*>(&TableFill),
      reinterpret_cast<const void*>(&TableCopy),
      reinterpret_cast<const void*>(&TableInit),
      reinterpret_cast<const void*>(&ElemDrop),
      reinterpret_cast<const void*>(&RefFunc),
      reinterpret_cast<const void*>(&Throw),
      reinterpret_cast<const void*>(&callgate_try_call),
  };
  static_assert(sizeof(kTable) / sizeof(kTable[0]) == kBuiltinCount,
                "one for each of Builtin, in its order");
  return kTable;
}

const void* const* BuiltinTable() { return Builtins::Table(); }

}  // namespace callgate::native
