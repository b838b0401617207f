#include "runtime/reference/interpreter.h"

#include <algorithm>
#include <cstring>
#include <string>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "runtime/check.h"
#include "runtime/host_function_spec.h"
#include "runtime/reference/wabt_private.h"
#include "wabt/cast.h"

namespace callgate::reference {
namespace {

using wabt::Failed;
using wabt::Result;
using wabt::interp::DefinedFunc;
using wabt::interp::Func;
using wabt::interp::HostFunc;
using wabt::interp::Memory;
using wabt::interp::Ref;
using wabt::interp::RunResult;
using wabt::interp::Table;
using wabt::interp::Thread;
using wabt::interp::Values;

// Between two looks at the clock: well under a millisecond of interpretation.
constexpr uint64_t kInstructionsPerSlice = 5'000;
// A stack overflow's trap holds a copy of all its frames.
constexpr uint32_t kTrapsPerCollection = 64;
// wabt's interpreter has room for 1638 frames. It ignores running out of them
// in some kinds of call, so it never may.
constexpr uint32_t kFramesMax = 1'600;
constexpr uint64_t kUnitsPerFuel = 64;

// wabt's words for a trap, by how they begin, and what they are.
struct Wording {
  absl::string_view prefix;
  TrapCode code;
};
constexpr Wording kWordings[] = {
    {"unreachable", TrapCode::kUnreachable},
    {"out of bounds memory access", TrapCode::kMemoryOutOfBounds},
    {"out of bounds table access", TrapCode::kTableOutOfBounds},
    {"undefined table index", TrapCode::kUndefinedElement},
    {"uninitialized table element", TrapCode::kUninitializedElement},
    {"indirect call signature mismatch", TrapCode::kIndirectCallTypeMismatch},
    {"integer overflow", TrapCode::kIntegerOverflow},
    {"integer divide by zero", TrapCode::kIntegerDivideByZero},
    {"invalid conversion to integer", TrapCode::kInvalidConversionToInteger},
    {"call stack exhausted", TrapCode::kCallStackExhausted},
};

backend::Stop StopOf(const wabt::interp::Trap::Ptr& trap) {
  const std::string message =
      trap.get() == nullptr ? "trap without a message" : trap->message();
  for (const Wording& row : kWordings) {
    if (absl::StartsWith(message, row.prefix)) {
      return backend::Stop{row.code, nullptr};
    }
  }
  // An uncaught exception, or words that this table should know.
  return backend::Stop{TrapCode::kHostError,
                       MakeError(absl::StrCat("guest trapped: ", message))};
}

RawValue RawOf(wabt::Type type, const wabt::interp::Value& value) {
  switch (type) {
    case wabt::Type::I32:
      return RawValue::I32(value.Get<wabt::interp::u32>());
    case wabt::Type::I64:
      return RawValue::I64(value.Get<wabt::interp::u64>());
    // By their bits: a float register may change a signalling NaN.
    case wabt::Type::F32: {
      const auto number = value.Get<wabt::interp::f32>();
      return RawValue::F32(number);
    }
    case wabt::Type::F64: {
      const auto number = value.Get<wabt::interp::f64>();
      return RawValue::F64(number);
    }
    case wabt::Type::V128: {
      const auto vector = value.Get<::v128>();
      V128 out;
      static_assert(sizeof(vector) == sizeof(out.bytes), "sixteen bytes each");
      std::memcpy(out.bytes.data(), &vector, sizeof(vector));
      return RawValue::Vector(out);
    }
    default: {
      const Ref ref = value.Get<Ref>();
      return RawValue::Ref(ref == Ref::Null ? kNullRef : ref.index);
    }
  }
}

Ref RefOfRaw(uint64_t ref) {
  return ref == kNullRef ? Ref::Null : Ref(static_cast<size_t>(ref));
}

wabt::interp::Value ValueOf(wabt::Type type, const RawValue& raw) {
  using wabt::interp::Value;
  switch (type) {
    case wabt::Type::I32:
      return Value::Make(raw.u32());
    case wabt::Type::I64:
      return Value::Make(raw.u64());
    case wabt::Type::F32:
      return Value::Make(raw.f32());
    case wabt::Type::F64:
      return Value::Make(raw.f64());
    case wabt::Type::V128: {
      ::v128 vector;
      const V128 bytes = raw.v128();
      std::memcpy(&vector, bytes.bytes.data(), sizeof(vector));
      return Value::Make(vector);
    }
    default:
      return Value::Make(RefOfRaw(raw.ref()));
  }
}

wabt::interp::ValueTypes TypesOf(const std::vector<ValType>& types) {
  wabt::interp::ValueTypes out;
  out.reserve(types.size());
  for (const ValType type : types) out.push_back(ToWabt(type));
  return out;
}

std::vector<ValType> TypesOf(const wabt::interp::ValueTypes& types) {
  std::vector<ValType> out;
  out.reserve(types.size());
  for (const wabt::Type type : types) out.push_back(FromWabt(type));
  return out;
}

SizeRange RangeOf(const wabt::Limits& limits) {
  SizeRange range;
  range.min = limits.initial;
  if (limits.has_max) range.max = limits.max;
  return range;
}

wabt::Limits LimitsOf(const SizeRange& range) {
  wabt::Limits limits(range.min);
  if (range.max.has_value()) {
    limits.has_max = true;
    limits.max = *range.max;
  }
  return limits;
}

uint32_t Id(Ref ref) { return static_cast<uint32_t>(ref.index); }

}  // namespace

wabt::Features ToWabt(const admission::Features& features) {
  wabt::Features out;
  const auto set = [](bool on, auto enable, auto disable) {
    on ? enable() : disable();
  };
#define CALLGATE_FEATURE(ours, theirs)               \
  set(                                               \
      features.ours, [&] { out.enable_##theirs(); }, \
      [&] { out.disable_##theirs(); })
  CALLGATE_FEATURE(mutable_globals, mutable_globals);
  CALLGATE_FEATURE(saturating_float, sat_float_to_int);
  CALLGATE_FEATURE(sign_extension, sign_extension);
  CALLGATE_FEATURE(multi_value, multi_value);
  CALLGATE_FEATURE(bulk_memory, bulk_memory);
  CALLGATE_FEATURE(reference_types, reference_types);
  CALLGATE_FEATURE(simd, simd);
  CALLGATE_FEATURE(tail_call, tail_call);
  CALLGATE_FEATURE(extended_const, extended_const);
  CALLGATE_FEATURE(multi_memory, multi_memory);
  CALLGATE_FEATURE(memory64, memory64);
  CALLGATE_FEATURE(relaxed_simd, relaxed_simd);
  CALLGATE_FEATURE(exceptions, exceptions);
#undef CALLGATE_FEATURE
  return out;
}

wabt::Type ToWabt(ValType type) {
  switch (type) {
    case ValType::kI32:
      return wabt::Type::I32;
    case ValType::kI64:
      return wabt::Type::I64;
    case ValType::kF32:
      return wabt::Type::F32;
    case ValType::kF64:
      return wabt::Type::F64;
    case ValType::kV128:
      return wabt::Type::V128;
    case ValType::kFuncRef:
      return wabt::Type::FuncRef;
    case ValType::kExternRef:
      return wabt::Type::ExternRef;
  }
  return wabt::Type::Void;
}

ValType FromWabt(wabt::Type type) {
  switch (type) {
    case wabt::Type::I32:
      return ValType::kI32;
    case wabt::Type::I64:
      return ValType::kI64;
    case wabt::Type::F32:
      return ValType::kF32;
    case wabt::Type::F64:
      return ValType::kF64;
    case wabt::Type::V128:
      return ValType::kV128;
    case wabt::Type::FuncRef:
      return ValType::kFuncRef;
    case wabt::Type::ExternRef:
      return ValType::kExternRef;
    default:
      break;
  }
  CALLGATE_CHECK(false, "admission lets no other value type through");
  return ValType::kI32;
}

// The frames of one thread, as the runtime sees them during a host call.
class Interpreter::ThreadView final : public backend::GuestFrames {
 public:
  ThreadView(const Interpreter& interpreter, const Thread& thread)
      : interpreter_(interpreter), thread_(thread) {}

  std::vector<backend::RawFrame> Frames(size_t max_frames) override {
    return interpreter_.FramesOf(thread_.*Get(wabt_private::ThreadFrames()),
                                 max_frames);
  }
  // A word is an instance's number and a function's index.
  size_t CallChain(absl::Span<uint64_t> words) override {
    const std::vector<backend::RawFrame> frames = Frames(words.size());
    for (size_t i = 0; i < frames.size(); ++i) {
      words[i] = uint64_t{frames[i].instance} << 32 | frames[i].func_index;
    }
    return frames.size();
  }
  size_t ChainFunctions(absl::Span<const uint64_t> words,
                        absl::Span<uint32_t> functions) override {
    const size_t count = std::min(words.size(), functions.size());
    for (size_t i = 0; i < count; ++i) {
      functions[i] = static_cast<uint32_t>(words[i]);
    }
    return count;
  }

 private:
  const Interpreter& interpreter_;
  const Thread& thread_;
};

Interpreter::Interpreter(backend::Host& host,
                         const admission::Features& features)
    : host_(host), store_(ToWabt(features)) {}

Interpreter::~Interpreter() = default;

template <typename T>
T* Interpreter::Object(uint32_t id) const {
  return store_.UnsafeGet<T>(Ref(id)).get();
}

uint32_t Interpreter::Root(Ref ref) {
  store_.NewRoot(ref);
  return Id(ref);
}

// ---------------------------------------------------------------- making

uint32_t Interpreter::NewHostFunc(const FuncType& type, uint32_t binding) {
  const wabt::interp::FuncType wabt_type(TypesOf(type.params),
                                         TypesOf(type.results));
  const HostFunc::Ptr func = HostFunc::New(
      store_, wabt_type,
      [this, binding, wabt_type](Thread& thread, const Values& params,
                                 Values& results,
                                 wabt::interp::Trap::Ptr*) -> Result {
        return HostCalled(binding, thread, wabt_type, params, results);
      });
  const uint32_t id = Root(func.ref());
  binding_of_func_.emplace(id, binding);
  return id;
}

absl::StatusOr<uint32_t> Interpreter::NewMemory(const MemoryType& type) {
  wabt::Limits limits = LimitsOf(type.pages);
  limits.is_64 = type.is64;
  return Root(Memory::New(store_, wabt::interp::MemoryType(limits)).ref());
}

uint32_t Interpreter::NewTable(const TableType& type) {
  return Root(Table::New(store_, wabt::interp::TableType(ToWabt(type.element),
                                                         LimitsOf(type.size)))
                  .ref());
}

uint32_t Interpreter::NewGlobal(const GlobalType& type, const RawValue& value) {
  const wabt::Type wabt_type = ToWabt(type.type);
  return Root(
      wabt::interp::Global::New(
          store_,
          wabt::interp::GlobalType(
              wabt_type, type.is_mutable ? wabt::interp::Mutability::Var
                                         : wabt::interp::Mutability::Const),
          ValueOf(wabt_type, value))
          .ref());
}

uint64_t Interpreter::NewExternRef() {
  const uint32_t id = Root(wabt::interp::Foreign::New(store_, nullptr).ref());
  extern_refs_.insert(id);
  return id;
}

absl::StatusOr<backend::Instantiated> Interpreter::Instantiate(
    const backend::Code& code, absl::Span<const backend::ExternId> imports,
    const backend::Probes& probes) {
  const auto& reference = static_cast<const ReferenceCode&>(code);
  const wabt::interp::Module::Ptr module =
      wabt::interp::Module::New(store_, reference.desc());
  wabt::interp::RefVec refs;
  refs.reserve(imports.size());
  for (const backend::ExternId& import : imports)
    refs.push_back(Ref(import.id));

  if (!PayForSegments(reference.desc())) {
    return backend::Instantiated{std::nullopt,
                                 backend::Stop{TrapCode::kOutOfFuel, nullptr}};
  }
  wabt::interp::Trap::Ptr trap;
  const wabt::interp::Instance::Ptr instance =
      wabt::interp::Instance::Instantiate(store_, module.ref(), refs, &trap);
  backend::Instantiated result;
  if (instance.get() != nullptr) {
    AddWatched(reference, *instance);
    Probe(*instance, probes);
    result.instance = Root(instance.ref());
    return result;
  }
  ++traps_since_collection_;
  // Its functions may be in an imported table already, and can be called.
  wabt::interp::Instance* unfinished = UnfinishedInstance(module.ref());
  if (unfinished == nullptr) {
    return absl::InternalError("the interpreter lost an instance");
  }
  AddWatched(reference, *unfinished);
  Probe(*unfinished, probes);
  result.instance = Root(unfinished->self());
  result.stop = StopOf(trap);
  if (result.stop->cause != nullptr) {
    // Not a trap: wabt refused what the runtime had found to fit.
    return absl::InternalError(result.stop->cause->message());
  }
  return result;
}

bool Interpreter::PayForSegments(const wabt::interp::ModuleDesc& desc) {
  uint64_t units = 0;
  for (const wabt::interp::ElemDesc& segment : desc.elems) {
    if (segment.mode == wabt::interp::SegmentMode::Active) {
      units += segment.elements.size();
    }
  }
  for (const wabt::interp::DataDesc& segment : desc.datas) {
    if (segment.mode == wabt::interp::SegmentMode::Active)
      units += segment.data.size();
  }
  const uint64_t cost = units / kUnitsPerFuel;
  const uint64_t left = host_.FuelLeft();
  host_.ConsumeFuel(std::min(cost, left));
  return cost <= left;
}

wabt::interp::Instance* Interpreter::UnfinishedInstance(Ref module) {
  const auto& objects = store_.*Get(wabt_private::StoreObjects());
  for (size_t i = objects.size(); i-- > 0;) {
    const Ref ref(i);
    if (!store_.IsValid(ref) || !store_.Is<wabt::interp::Instance>(ref)) {
      continue;
    }
    auto* instance = Object<wabt::interp::Instance>(static_cast<uint32_t>(i));
    if (instance->module() == module) return instance;
  }
  return nullptr;
}

void Interpreter::AddWatched(const ReferenceCode& code,
                             wabt::interp::Instance& instance) {
  wabt::interp::RefVec& funcs = instance.*Get(wabt_private::InstanceFuncs());
  const size_t imported = funcs.size() - code.desc().funcs.size();
  for (size_t i = imported; i < funcs.size(); ++i) {
    index_of_func_.emplace(Id(funcs[i]), static_cast<uint32_t>(i));
  }
  wabt::interp::Instance* const owner = &instance;
  if (code.instrumentation().imports_in_table) {
    wabt::Limits size(imported);
    const Table::Ptr table =
        Table::New(store_, wabt::interp::TableType(wabt::Type::FuncRef, size));
    for (size_t i = 0; i < imported; ++i) {
      const Result set = table->Set(store_, static_cast<uint32_t>(i), funcs[i]);
      CALLGATE_CHECK(Succeeded(set), "a function fits a table of functions");
    }
    (instance.*Get(wabt_private::InstanceTables())).push_back(table.ref());
  }
  for (const WatchedOp& op : code.instrumentation().ops) {
    // `op` is the Code's, which its Module keeps for as long as the Store has
    // an instance of it; an unfinished instance may outlive that, so copy.
    const HostFunc::Ptr func = HostFunc::New(
        store_, op.type,
        [this, op, owner](Thread& thread, const Values& params, Values& results,
                          wabt::interp::Trap::Ptr*) -> Result {
          if (op.kind == WatchedOp::Kind::kFitStack) {
            FitStack(op.a, thread);
            return Result::Ok;
          }
          auto& frames = thread.*Get(wabt_private::ThreadFrames());
          frames[frames.size() - 2].offset += op.skip;
          SettleFuel();
          return Watched(op, *owner, thread, params, results) ? Result::Ok
                                                              : Result::Error;
        });
    funcs.push_back(func.ref());
  }
}

void Interpreter::Probe(const wabt::interp::Instance& instance,
                        const backend::Probes& probes) {
  uint32_t probe = probes.first;
  for (const uint32_t index : probes.functions) {
    probe_of_func_[Id(instance.funcs()[index])] = probe++;
  }
}

absl::Status Interpreter::SetProbes(
    absl::Span<const std::pair<uint32_t, backend::Probes>> probes) {
  for (const auto& [id, wanted] : probes) {
    const auto* instance = Object<wabt::interp::Instance>(id);
    for (const Ref func : instance->funcs()) {
      // Not those that it imports, which another instance answers for.
      if (store_.Is<DefinedFunc>(func) &&
          Object<DefinedFunc>(Id(func))->instance() == instance->self()) {
        probe_of_func_.erase(Id(func));
      }
    }
    Probe(*instance, wanted);
  }
  return absl::OkStatus();
}

// ---------------------------------------------------------------- looking

std::vector<backend::ExternId> Interpreter::Exports(uint32_t instance) const {
  const auto* object = Object<wabt::interp::Instance>(instance);
  std::vector<backend::ExternId> exports;
  for (const Ref ref : object->exports()) {
    backend::ExternId id;
    id.id = Id(ref);
    if (store_.Is<Func>(ref)) {
      id.kind = ExternKind::kFunc;
    } else if (store_.Is<Memory>(ref)) {
      id.kind = ExternKind::kMemory;
    } else if (store_.Is<Table>(ref)) {
      id.kind = ExternKind::kTable;
    } else if (store_.Is<wabt::interp::Global>(ref)) {
      id.kind = ExternKind::kGlobal;
    } else {
      id.kind = ExternKind::kTag;
    }
    exports.push_back(id);
  }
  return exports;
}

uint32_t Interpreter::FuncAt(uint32_t instance, uint32_t index) const {
  return Id(Object<wabt::interp::Instance>(instance)->funcs()[index]);
}

std::optional<uint32_t> Interpreter::DefaultMemory(uint32_t instance) const {
  const auto& memories = Object<wabt::interp::Instance>(instance)->memories();
  if (memories.empty()) return std::nullopt;
  return Id(memories[0]);
}

const FuncType& Interpreter::TypeOfFunc(uint32_t func) const {
  const auto found = func_types_.find(func);
  if (found != func_types_.end()) return found->second;
  const wabt::interp::FuncType& type = Object<Func>(func)->type();
  return func_types_
      .emplace(func, FuncType{TypesOf(type.params), TypesOf(type.results)})
      .first->second;
}

std::optional<uint32_t> Interpreter::BindingOf(uint32_t func) const {
  const auto found = binding_of_func_.find(func);
  if (found == binding_of_func_.end()) return std::nullopt;
  return found->second;
}

backend::RawFrame Interpreter::PlaceOf(uint32_t func) const {
  backend::RawFrame frame;
  frame.instance = Id(Object<DefinedFunc>(func)->instance());
  const auto found = index_of_func_.find(func);
  frame.func_index = found == index_of_func_.end() ? kNoIndex : found->second;
  return frame;
}

uint64_t Interpreter::RefOf(uint32_t func) const { return func; }

std::optional<uint32_t> Interpreter::FuncOf(uint64_t ref) const {
  if (ref == kNullRef || ref > ~uint32_t{0}) return std::nullopt;
  const uint32_t id = static_cast<uint32_t>(ref);
  // Only functions that guests or embedders can hold: not a module's init
  // expressions, nor the watched operations.
  if (binding_of_func_.contains(id) || index_of_func_.contains(id)) return id;
  return std::nullopt;
}

bool Interpreter::IsExternRef(uint64_t ref) const {
  return extern_refs_.contains(ref);
}

const MemoryType& Interpreter::TypeOfMemory(uint32_t memory) const {
  const wabt::Limits& limits = Object<Memory>(memory)->type().limits;
  MemoryType& type = memory_types_[memory];
  type.pages = RangeOf(limits);
  type.shared = limits.is_shared;
  type.is64 = limits.is_64;
  return type;
}

absl::Span<uint8_t> Interpreter::Bytes(uint32_t memory) {
  auto* object = Object<Memory>(memory);
  return absl::MakeSpan(object->UnsafeData(),
                        static_cast<size_t>(object->ByteSize()));
}

bool Interpreter::GrowMemory(uint32_t memory, uint64_t pages) {
  return Succeeded(Object<Memory>(memory)->Grow(pages));
}

const TableType& Interpreter::TypeOfTable(uint32_t table) const {
  const wabt::interp::TableType& actual = Object<Table>(table)->type();
  TableType& type = table_types_[table];
  type.element = FromWabt(actual.element);
  type.size = RangeOf(actual.limits);
  return type;
}

uint64_t Interpreter::TableSize(uint32_t table) const {
  return Object<Table>(table)->size();
}

RawValue Interpreter::TableGet(uint32_t table, uint64_t index) const {
  const Ref ref = Object<Table>(table)->UnsafeGet(static_cast<uint32_t>(index));
  return RawValue::Ref(ref == Ref::Null ? kNullRef : ref.index);
}

void Interpreter::TableSet(uint32_t table, uint64_t index,
                           const RawValue& value) {
  const Result set = Object<Table>(table)->Set(
      store_, static_cast<uint32_t>(index), RefOfRaw(value.ref()));
  CALLGATE_CHECK(Succeeded(set), "the runtime checks indexes and types");
}

bool Interpreter::GrowTable(uint32_t table, uint64_t count,
                            const RawValue& value) {
  return Succeeded(Object<Table>(table)->Grow(
      store_, static_cast<uint32_t>(count), RefOfRaw(value.ref())));
}

const GlobalType& Interpreter::TypeOfGlobal(uint32_t global) const {
  const wabt::interp::GlobalType& actual =
      Object<wabt::interp::Global>(global)->type();
  GlobalType& type = global_types_[global];
  type.type = FromWabt(actual.type);
  type.is_mutable = actual.mut == wabt::interp::Mutability::Var;
  return type;
}

RawValue Interpreter::GlobalGet(uint32_t global) const {
  const auto* object = Object<wabt::interp::Global>(global);
  return RawOf(object->type().type, object->Get());
}

void Interpreter::GlobalSet(uint32_t global, const RawValue& value) {
  auto* object = Object<wabt::interp::Global>(global);
  const wabt::Type type = object->type().type;
  if (wabt::interp::IsReference(type)) {
    object->Set(store_, RefOfRaw(value.ref()));
  } else {
    object->UnsafeSet(ValueOf(type, value));
  }
}

const FuncType& Interpreter::TypeOfTag(uint32_t tag) const {
  const auto found = tag_types_.find(tag);
  if (found != tag_types_.end()) return found->second;
  const wabt::interp::TagType& type = Object<wabt::interp::Tag>(tag)->type();
  return tag_types_.emplace(tag, FuncType{TypesOf(type.signature), {}})
      .first->second;
}

// ---------------------------------------------------------------- running

std::vector<backend::RawFrame> Interpreter::FramesOf(
    const std::vector<wabt::interp::Frame>& frames, size_t max_frames) const {
  std::vector<backend::RawFrame> out;
  for (auto frame = frames.rbegin();
       frame != frames.rend() && out.size() < max_frames; ++frame) {
    // A host function's own frame has no instance.
    if (frame->inst == nullptr) continue;
    out.push_back(PlaceOf(Id(frame->func)));
  }
  return out;
}

void Interpreter::Entered(Thread& thread) {
  const auto& frames = thread.*Get(wabt_private::ThreadFrames());
  const uint32_t func = Id(frames.back().func);
  const auto probe = probe_of_func_.find(func);
  if (probe == probe_of_func_.end()) return;
  // The newest values are the arguments.
  const wabt::interp::FuncType& type = Object<DefinedFunc>(func)->type();
  Values values;
  (thread.*Get(wabt_private::ThreadPopValues()))(type.params, &values);
  (thread.*Get(wabt_private::ThreadPushValues()))(type.params, values);
  std::vector<RawValue> args;
  for (size_t i = 0; i < values.size(); ++i) {
    args.push_back(RawOf(type.params[i], values[i]));
  }
  pending_ = host_.EnterFunction(probe->second, frames.size(), args);
}

RunResult Interpreter::StepProbed(Thread& thread,
                                  wabt::interp::Trap::Ptr* trap) {
  using wabt::Opcode;
  const auto& frames = thread.*Get(wabt_private::ThreadFrames());
  const size_t before = frames.size();
  const bool probed = probe_of_func_.contains(Id(frames.back().func));
  wabt::interp::Istream::Offset offset = frames.back().offset;
  const Opcode op = frames.back().mod->desc().istream.Read(&offset).op;
  // A direct tail call has become two instructions: the frame changes hands,
  // then there is a jump.
  const bool is_tail_call = op == Opcode::InterpAdjustFrameForReturnCall ||
                            op == Opcode::ReturnCallIndirect;

  leaves_by_tail_call_ = is_tail_call && probed;
  const RunResult result = (thread.*Get(wabt_private::ThreadStep()))(trap);
  const bool leaves_by_tail_call = std::exchange(leaves_by_tail_call_, false);
  // Where it stopped, the Host leaves what is open.
  if (pending_.has_value() || result == RunResult::Trap ||
      result == RunResult::Exception) {
    return result;
  }
  if (is_tail_call) {
    if (leaves_by_tail_call) host_.LeaveFunction(/*tail_call=*/true);
    // A host function has returned already.
    if (frames.size() == before) Entered(thread);
  } else if (op == Opcode::Return) {
    if (probed) host_.LeaveFunction(/*tail_call=*/false);
  } else if (frames.size() > before) {
    Entered(thread);
  } else if (frames.size() < before) {
    host_.LeaveThrown(frames.size());
  }
  return result;
}

std::optional<backend::Stop> Interpreter::Run(
    Thread& thread, uint32_t call_depth_max,
    std::vector<backend::RawFrame>& backtrace) {
  const auto step = Get(wabt_private::ThreadStep());
  const std::vector<wabt::interp::Frame>& frames =
      thread.*Get(wabt_private::ThreadFrames());
  const size_t frames_max = std::min(call_depth_max, kFramesMax);
  wabt::interp::Trap::Ptr trap;
  const auto stopped = [&](TrapCode code) {
    backtrace = FramesOf(frames, kBacktraceFramesMax);
    return backend::Stop{code, nullptr};
  };

  bool begins = true;
  while (true) {
    host_.LetOthersRun();
    if (host_.Interrupted()) return stopped(TrapCode::kInterrupted);
    if (host_.DeadlinePassed()) return stopped(TrapCode::kDeadlineExceeded);
    slice_left_ = std::min(kInstructionsPerSlice, host_.FuelLeft());
    if (slice_left_ == 0) {
      ThreadView view(*this, thread);
      std::optional<backend::Stop> stop = host_.OutOfFuel(view);
      if (!stop.has_value()) continue;
      backtrace = FramesOf(frames, kBacktraceFramesMax);
      return stop;
    }
    if (std::exchange(begins, false)) Entered(thread);

    RunResult result = RunResult::Ok;
    bool too_deep = false;
    while (slice_left_ > 0 && result == RunResult::Ok && !pending_ &&
           !too_deep) {
      --slice_left_;
      ++unsettled_;
      result = probe_of_func_.empty() ? (thread.*step)(&trap)
                                      : StepProbed(thread, &trap);
      too_deep = frames.size() > frames_max;
    }
    SettleFuel();
    if (pending_.has_value()) {
      backend::Stop stop = *std::move(pending_);
      pending_.reset();
      backtrace = FramesOf(frames, kBacktraceFramesMax);
      return stop;
    }
    if (too_deep) return stopped(TrapCode::kCallStackExhausted);
    if (result == RunResult::Trap) {
      backtrace = FramesOf(frames, kBacktraceFramesMax);
      return StopOf(trap);
    }
    if (result == RunResult::Exception) {
      backtrace = FramesOf(frames, kBacktraceFramesMax);
      return backend::Stop{TrapCode::kHostError,
                           MakeError("uncaught exception")};
    }
    if (result == RunResult::Return) return std::nullopt;
  }
}

backend::Completion Interpreter::Call(uint32_t func,
                                      absl::Span<const RawValue> args,
                                      absl::Span<RawValue> results,
                                      uint32_t call_depth_max) {
  const DefinedFunc::Ptr target = store_.UnsafeGet<DefinedFunc>(Ref(func));
  const wabt::interp::FuncType& type = target->type();
  Values values;
  values.reserve(args.size());
  for (size_t i = 0; i < args.size(); ++i) {
    values.push_back(ValueOf(type.params[i], args[i]));
  }

  backend::Completion completion;
  ++running_;
  {
    // A thread for every activation: one that trapped cannot be used again,
    // and the guest below may go on.
    Thread thread(store_);
    (thread.*Get(wabt_private::ThreadPushValues()))(type.params, values);
    wabt::interp::Trap::Ptr trap;
    (thread.*Get(wabt_private::ThreadPushCall()))(*target, &trap);
    completion.stop = Run(thread, call_depth_max, completion.backtrace);
    if (!completion.stop.has_value()) {
      Values out;
      (thread.*Get(wabt_private::ThreadPopValues()))(type.results, &out);
      for (size_t i = 0; i < out.size(); ++i) {
        results[i] = RawOf(type.results[i], out[i]);
      }
    } else {
      ++traps_since_collection_;
    }
  }
  --running_;
  if (running_ == 0 && traps_since_collection_ >= kTrapsPerCollection) {
    store_.Collect();
    traps_since_collection_ = 0;
  }
  return completion;
}

void Interpreter::SettleFuel() {
  host_.ConsumeFuel(std::exchange(unsettled_, 0));
  slice_left_ = 0;
}

Result Interpreter::HostCalled(uint32_t binding, Thread& thread,
                               const wabt::interp::FuncType& type,
                               const Values& params, Values& results) {
  SettleFuel();
  if (std::exchange(leaves_by_tail_call_, false)) {
    host_.LeaveFunction(/*tail_call=*/true);
  }
  std::vector<RawValue> raw_params(params.size());
  for (size_t i = 0; i < params.size(); ++i) {
    raw_params[i] = RawOf(type.params[i], params[i]);
  }
  std::vector<RawValue> raw_results(type.results.size());
  ThreadView view(*this, thread);
  std::optional<backend::Stop> stop =
      host_.CallHost(binding, view, raw_params, raw_results.data());
  // In case of a stop too: wabt loses the failure of a host function that was
  // tail-called, and goes on to take its results. Run stops the guest before
  // it executes anything more.
  for (size_t i = 0; i < raw_results.size(); ++i) {
    results[i] = ValueOf(type.results[i], raw_results[i]);
  }
  if (stop.has_value()) pending_ = std::move(stop);
  return Result::Ok;
}

// ---------------------------------------------------------------- watched

bool Interpreter::Charge(uint64_t units, backend::GuestFrames& frames) {
  const auto stopped = [this](std::optional<backend::Stop> stop) {
    pending_ = std::move(stop);
    return false;
  };
  for (uint64_t cost = units / kUnitsPerFuel;;) {
    const uint64_t paid = std::min(cost, host_.FuelLeft());
    host_.ConsumeFuel(paid);
    cost -= paid;
    if (host_.Interrupted()) {
      return stopped(backend::Stop{TrapCode::kInterrupted, nullptr});
    }
    if (host_.DeadlinePassed()) {
      return stopped(backend::Stop{TrapCode::kDeadlineExceeded, nullptr});
    }
    if (cost == 0) return true;
    std::optional<backend::Stop> stop = host_.OutOfFuel(frames);
    if (stop.has_value()) return stopped(std::move(stop));
  }
}

void Interpreter::FitStack(uint32_t keep, Thread& thread) {
  auto& frames = thread.*Get(wabt_private::ThreadFrames());
  auto& values = thread.*Get(wabt_private::ThreadValues());
  auto& refs = thread.*Get(wabt_private::ThreadRefs());
  // The newest frame is the host function's that is running.
  wabt::interp::Frame& frame = frames[frames.size() - 2];
  const size_t params = Object<Func>(Id(frame.func))->type().params.size();
  CALLGATE_CHECK(frame.values >= params, "a frame begins behind its arguments");
  const size_t base = frame.values - params;
  CALLGATE_CHECK(values.size() >= base + keep, "wabt drops too few, or right");
  const size_t kept = values.size() - keep;
  if (kept > base) {
    // wabt leaves references in the list that are gone from the stack.
    std::vector<wabt::interp::u32> left;
    for (const wabt::interp::u32 ref : refs) {
      if (ref < base) left.push_back(ref);
      if (ref >= kept && ref < values.size()) {
        left.push_back(static_cast<wabt::interp::u32>(ref - (kept - base)));
      }
    }
    refs = std::move(left);
    values.erase(values.begin() + static_cast<ptrdiff_t>(base),
                 values.begin() + static_cast<ptrdiff_t>(kept));
  }
  // Where a direct tail call is next, the frame is the callee's from now on.
  frame.values = static_cast<wabt::interp::u32>(base + keep);
}

bool Interpreter::Watched(const WatchedOp& op, wabt::interp::Instance& instance,
                          Thread& thread, const Values& params,
                          Values& results) {
  ThreadView frames(*this, thread);
  using Kind = WatchedOp::Kind;
  const auto number = [&](size_t i) -> uint64_t {
    return op.type.params[i] == wabt::Type::I64
               ? params[i].Get<wabt::interp::u64>()
               : params[i].Get<wabt::interp::u32>();
  };
  const auto memory = [&](uint32_t index) {
    return Object<Memory>(Id(instance.memories()[index]));
  };
  const auto table = [&](uint32_t index) {
    return Object<Table>(Id(instance.tables()[index]));
  };
  if (op.kind == Kind::kMemoryGrow || op.kind == Kind::kTableGrow ||
      op.kind == Kind::kElemDrop) {
    return WatchedRuntimeCall(op, instance, frames, params, results);
  }
  // The length is the last operand of all the others. What is out of bounds
  // does no work and costs nothing more.
  const uint64_t length = number(2);
  Result done = Result::Ok;
  TrapCode code = TrapCode::kMemoryOutOfBounds;
  const auto bytes = [&](const Memory* m) { return m->ByteSize(); };
  switch (op.kind) {
    case Kind::kMemoryFill:
      if (length <= bytes(memory(op.a)) && !Charge(length, frames))
        return false;
      done = memory(op.a)->Fill(
          number(0), static_cast<uint8_t>(params[1].Get<wabt::interp::u32>()),
          length);
      break;
    case Kind::kMemoryCopy:
      if (length <= bytes(memory(op.a)) && !Charge(length, frames))
        return false;
      done = Memory::Copy(*memory(op.a), number(0), *memory(op.b), number(1),
                          length);
      break;
    case Kind::kMemoryInit:
      if (length <= bytes(memory(op.a)) && !Charge(length, frames))
        return false;
      done = memory(op.a)->Init(number(0), instance.datas()[op.b], number(1),
                                length);
      break;
    case Kind::kTableFill:
      code = TrapCode::kTableOutOfBounds;
      if (length <= table(op.a)->size() && !Charge(length, frames))
        return false;
      done = table(op.a)->Fill(store_, params[0].Get<wabt::interp::u32>(),
                               params[1].Get<Ref>(),
                               params[2].Get<wabt::interp::u32>());
      break;
    case Kind::kTableCopy:
      code = TrapCode::kTableOutOfBounds;
      if (length <= table(op.a)->size() && !Charge(length, frames))
        return false;
      done =
          Table::Copy(store_, *table(op.a), params[0].Get<wabt::interp::u32>(),
                      *table(op.b), params[1].Get<wabt::interp::u32>(),
                      params[2].Get<wabt::interp::u32>());
      break;
    case Kind::kTableInit:
      code = TrapCode::kTableOutOfBounds;
      if (length <= table(op.a)->size() && !Charge(length, frames))
        return false;
      done = table(op.a)->Init(store_, params[0].Get<wabt::interp::u32>(),
                               instance.elems()[op.b],
                               params[1].Get<wabt::interp::u32>(),
                               params[2].Get<wabt::interp::u32>());
      break;
    case Kind::kMemoryGrow:
    case Kind::kTableGrow:
    case Kind::kElemDrop:
    case Kind::kFitStack:
      break;
  }
  if (Failed(done)) {
    pending_ = backend::Stop{code, nullptr};
    return false;
  }
  return true;
}

bool Interpreter::WatchedRuntimeCall(const WatchedOp& op,
                                     wabt::interp::Instance& instance,
                                     backend::GuestFrames& frames,
                                     const Values& params, Values& results) {
  using Kind = WatchedOp::Kind;
  backend::RuntimeCall call = backend::RuntimeCall::kElemDrop;
  if (op.kind == Kind::kMemoryGrow) {
    call = op.type.params[0] == wabt::Type::I64
               ? backend::RuntimeCall::kMemoryGrow64
               : backend::RuntimeCall::kMemoryGrow;
  } else if (op.kind == Kind::kTableGrow) {
    call = op.type.params[0] == wabt::Type::FuncRef
               ? backend::RuntimeCall::kTableGrowFunc
               : backend::RuntimeCall::kTableGrowExtern;
  }
  std::vector<RawValue> raw_params;
  for (size_t i = 0; i < params.size(); ++i) {
    raw_params.push_back(RawOf(op.type.params[i], params[i]));
  }
  std::vector<RawValue> raw_results(op.type.results.size());
  std::optional<backend::Stop> stop = host_.RunRuntimeCall(
      call, frames, raw_params, absl::MakeSpan(raw_results),
      [&]() -> std::optional<backend::Stop> {
        bool done = true;
        if (op.kind == Kind::kElemDrop) {
          instance.elems()[op.a].Drop();
        } else if (op.kind == Kind::kMemoryGrow) {
          done = WatchedMemoryGrow(op, instance, frames, params, results);
        } else {
          done = WatchedTableGrow(op, instance, frames, params, results);
        }
        if (!done) return std::exchange(pending_, std::nullopt);
        for (size_t i = 0; i < raw_results.size(); ++i) {
          raw_results[i] = RawOf(op.type.results[i], results[i]);
        }
        return std::nullopt;
      });
  if (!stop.has_value()) return true;
  pending_ = std::move(stop);
  return false;
}

bool Interpreter::WatchedMemoryGrow(const WatchedOp& op,
                                    wabt::interp::Instance& instance,
                                    backend::GuestFrames& frames,
                                    const Values& params, Values& results) {
  const bool is64 = op.type.params[0] == wabt::Type::I64;
  auto* memory = Object<Memory>(Id(instance.memories()[op.a]));
  const uint64_t pages = is64 ? params[0].Get<wabt::interp::u64>()
                              : params[0].Get<wabt::interp::u32>();
  const uint64_t old_pages = memory->PageSize();
  const wabt::Limits& limits = memory->type().limits;
  // More than this many pages no host has, whatever the address type.
  constexpr uint64_t kPagesMax = 65'536;
  const uint64_t max =
      limits.has_max ? std::min(limits.max, kPagesMax) : kPagesMax;
  const auto answer = [&](uint64_t value) {
    results[0] = is64 ? wabt::interp::Value::Make(value)
                      : wabt::interp::Value::Make(static_cast<uint32_t>(value));
    return true;
  };
  if (pages > max || old_pages > max - pages) return answer(~uint64_t{0});
  const uint64_t current = old_pages * kWasmPageBytes;
  const uint64_t more = pages * kWasmPageBytes;
  switch (host_.MemoryGrowing(op.a, current, current + more)) {
    case backend::Growth::kTrap:
      pending_ = backend::Stop{TrapCode::kGrowthLimited, nullptr};
      return false;
    case backend::Growth::kRefuse:
      return answer(~uint64_t{0});
    case backend::Growth::kAllow:
      break;
  }
  if (!Charge(more, frames)) return false;
  if (Failed(memory->Grow(pages))) return answer(~uint64_t{0});
  host_.Grown(ExternKind::kMemory, more);
  return answer(old_pages);
}

bool Interpreter::WatchedTableGrow(const WatchedOp& op,
                                   wabt::interp::Instance& instance,
                                   backend::GuestFrames& frames,
                                   const Values& params, Values& results) {
  auto* table = Object<Table>(Id(instance.tables()[op.a]));
  const uint64_t count = params[1].Get<wabt::interp::u32>();
  const uint64_t old_size = table->size();
  const wabt::Limits& limits = table->type().limits;
  constexpr uint64_t kElementsMax = ~uint32_t{0};
  const uint64_t max = limits.has_max ? limits.max : kElementsMax;
  const auto answer = [&](uint32_t value) {
    results[0] = wabt::interp::Value::Make(value);
    return true;
  };
  if (count > max || old_size > max - count) return answer(~uint32_t{0});
  switch (host_.TableGrowing(op.a, old_size, old_size + count)) {
    case backend::Growth::kTrap:
      pending_ = backend::Stop{TrapCode::kGrowthLimited, nullptr};
      return false;
    case backend::Growth::kRefuse:
      return answer(~uint32_t{0});
    case backend::Growth::kAllow:
      break;
  }
  if (!Charge(count, frames)) return false;
  if (Failed(table->Grow(store_, static_cast<uint32_t>(count),
                         params[0].Get<Ref>()))) {
    return answer(~uint32_t{0});
  }
  host_.Grown(ExternKind::kTable, count);
  return answer(static_cast<uint32_t>(old_size));
}

}  // namespace callgate::reference
