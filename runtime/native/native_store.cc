// What a NativeStore holds, and how modules are instantiated. How guests run is
// in native_run.cc.

#include "runtime/native/native_store.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "runtime/check.h"
#include "runtime/native/builtins.h"

namespace callgate::native {
namespace {

// More than this many pages no host has, whatever the address type.
constexpr uint64_t kPagesMax = 65'536;

uint64_t NullElement(ValType type) {
  return type == ValType::kFuncRef ? 0 : kNullRef;
}

bool HasFuncRefs(const FuncType& type) {
  const auto is = [](ValType t) { return t == ValType::kFuncRef; };
  return std::any_of(type.params.begin(), type.params.end(), is) ||
         std::any_of(type.results.begin(), type.results.end(), is);
}

bool Inside(uint64_t at, uint64_t length, uint64_t size) {
  return length <= size && at <= size - length;
}

}  // namespace

NativeStore::NativeStore(EngineState& engine, backend::Host& host,
                         const admission::Features& features,
                         const StoreOptions& options)
    : engine_(engine),
      host_(host),
      ordered_segments_(features.bulk_memory),
      stack_bytes_(options.limits.stack_bytes),
      canonical_nans_(options.canonical_nans),
      values_(1),
      tail_values_(1) {
  cell_.store = this;
  context().values = values_.data();
  context().tail_values = tail_values_.data();
}

NativeStore::~NativeStore() {
  CALLGATE_CHECK(running_ == nullptr, "a Store outlives its activations");
}

// ---------------------------------------------------------------- functions

NativeStore::Function& NativeStore::NewFunction() {
  Function& function = functions_.emplace_back();
  function.record.func = static_cast<uint32_t>(functions_.size() - 1);
  return function;
}

NativeStore::Function& NativeStore::FunctionOf(const FuncRecord& record) {
  return functions_[record.func];
}

uint32_t NativeStore::NewHostFunc(const FuncType& type, uint32_t binding) {
  Function& function = NewFunction();
  function.hold = engine_.types->Take(type);
  function.type = &function.hold.type();
  function.has_funcrefs = HasFuncRefs(type);
  function.host = std::make_unique<BoundHost>();
  function.host->type = function.type;
  function.host->params = static_cast<uint32_t>(type.params.size());
  function.host->results = static_cast<uint32_t>(type.results.size());
  function.host->has_funcrefs = function.has_funcrefs;
  function.host->header.store = &context();
  function.host->header.builtins = BuiltinTable();
  function.host->enter = &HostEnter;
  function.host->owner = this;
  function.host->binding = binding;
  function.host->func = function.record.func;
  function.record.context = function.host.get();
  function.record.type_id = function.hold.id();
  FillRecord(function);
  // Until then no guest calls it through its record: a call_indirect that
  // finds this type is in a module that has the type, so instantiating that
  // module has given us a thunk; an import goes through the importing module's
  // own thunk; and the embedder's calls do not come here.
  if (function.record.code == nullptr) {
    without_thunk_.push_back(function.record.func);
  }
  return function.record.func;
}

void NativeStore::FillRecord(Function& function) {
  FuncRecord& record = function.record;
  if (function.instance == nullptr) {
    const auto thunk = thunks_.find(record.type_id);
    if (thunk != thunks_.end()) record.code = thunk->second;
    record.tail_code = record.code;
    return;
  }
  const LoadedCode& code = function.instance->code();
  record.code = code.Function(function.index);
  const void* body = code.Body(function.index);
  record.tail_code = body != nullptr ? body : record.code;
  const void* const probe = code.Redirected(function.index);
  if (probe == nullptr) return;
  // The probe is on the body where there is one, which the function calls.
  record.tail_code = probe;
  if (body == nullptr) record.code = probe;
}

NativeStore::Function& NativeStore::FunctionAt(Instance& instance,
                                               uint32_t index) {
  const ModuleImage& image = instance.image();
  if (index < image.imported_functions()) {
    return functions_[instance.imported_functions[index]];
  }
  const auto [place, added] = instance.own_functions.try_emplace(index, 0);
  if (!added) return functions_[place->second];
  Function& function = NewFunction();
  place->second = function.record.func;
  function.type = &image.TypeOfFunction(index);
  function.has_funcrefs = HasFuncRefs(*function.type);
  function.instance = &instance;
  function.index = index;
  function.record.context = instance.context();
  function.record.type_id =
      instance.module().type_ids()[image.functions()[index]];
  FillRecord(function);
  return function;
}

uint32_t NativeStore::FuncAt(uint32_t instance, uint32_t index) const {
  // Making the record changes nothing that shows.
  auto* self = const_cast<NativeStore*>(this);
  return self->FunctionAt(*self->instances_[instance], index).record.func;
}

const FuncType& NativeStore::TypeOfFunc(uint32_t func) const {
  return *functions_[func].type;
}

std::optional<uint32_t> NativeStore::BindingOf(uint32_t func) const {
  const Function& function = functions_[func];
  if (function.host == nullptr) return std::nullopt;
  return function.host->binding;
}

backend::RawFrame NativeStore::PlaceOf(uint32_t func) const {
  const Function& function = functions_[func];
  CALLGATE_CHECK(function.instance != nullptr, "host functions have no place");
  backend::RawFrame frame;
  frame.instance = function.instance->id();
  frame.func_index = function.index;
  return frame;
}

std::optional<SourceLocation> NativeStore::SourceOf(
    const backend::RawFrame& frame) const {
  if (!frame.module_offset.has_value()) return std::nullopt;
  // The instance changes its code at the next outermost call at the earliest,
  // so this is the map that the offset is from.
  const std::optional<SourcePlace> place =
      instances_[frame.instance]->version().source().Find(*frame.module_offset);
  if (!place.has_value()) return std::nullopt;
  return SourceLocation{std::string(place->file), place->line, place->column};
}

// ---------------------------------------------------------------- references

uint64_t NativeStore::RefOf(uint32_t func) const { return func; }

std::optional<uint32_t> NativeStore::FuncOf(uint64_t ref) const {
  if (ref >= functions_.size()) return std::nullopt;
  return static_cast<uint32_t>(ref);
}

uint64_t NativeStore::NewExternRef() {
  const uint64_t ref = next_extern_ref_++;
  extern_refs_.insert(ref);
  return ref;
}

bool NativeStore::IsExternRef(uint64_t ref) const {
  return extern_refs_.contains(ref);
}

RawValue NativeStore::ToGuest(ValType type, const RawValue& value) {
  if (type != ValType::kFuncRef) return value;
  if (value.ref() == kNullRef) return RawValue::Ref(0);
  CALLGATE_CHECK(value.ref() < functions_.size(),
                 "references are checked where they come from");
  FuncRecord* record = &functions_[static_cast<size_t>(value.ref())].record;
  return RawValue::Ref(reinterpret_cast<uintptr_t>(record));
}

RawValue NativeStore::FromGuest(ValType type, const RawValue& value) const {
  if (type != ValType::kFuncRef) return value;
  if (value.ref() == 0) return RawValue::Ref(kNullRef);
  // SAFETY: compiled code has no other funcrefs than pointers to our records.
  const auto* record = reinterpret_cast<const FuncRecord*>(value.ref());
  return RawValue::Ref(record->func);
}

// ---------------------------------------------------------------- memories

absl::StatusOr<uint32_t> NativeStore::NewMemory(const MemoryType& type) {
  if (type.pages.min > kPagesMax) {
    return absl::ResourceExhaustedError(
        absl::StrCat("a memory of ", type.pages.min, " pages; ", kPagesMax,
                     " are the most that this engine can give"));
  }
  absl::StatusOr<MemoryPool::Slot> slot =
      engine_.memories.Acquire(type.pages.min * kWasmPageBytes);
  if (!slot.ok()) return slot.status();
  Memory& memory = memories_.emplace_back();
  memory.type = type;
  memory.slot = *std::move(slot);
  memory.def.base = memory.slot.base();
  memory.def.bytes = memory.slot.bytes();
  return static_cast<uint32_t>(memories_.size() - 1);
}

const MemoryType& NativeStore::TypeOfMemory(uint32_t memory) const {
  return memories_[memory].type;
}

absl::Span<uint8_t> NativeStore::Bytes(uint32_t memory) {
  const MemoryDef& def = memories_[memory].def;
  return absl::MakeSpan(def.base, static_cast<size_t>(def.bytes));
}

bool NativeStore::GrowMemory(uint32_t id, uint64_t pages) {
  Memory& memory = memories_[id];
  const uint64_t old_pages = memory.def.bytes / kWasmPageBytes;
  const uint64_t max =
      std::min(memory.type.pages.max.value_or(kPagesMax), kPagesMax);
  if (pages > max || old_pages > max - pages) return false;
  if (!memory.slot.Grow((old_pages + pages) * kWasmPageBytes)) return false;
  memory.def.bytes = memory.slot.bytes();
  // What it is imported as later is what it is now.
  memory.type.pages.min = old_pages + pages;
  return true;
}

// ---------------------------------------------------------------- tables

uint32_t NativeStore::NewTable(const TableType& type) {
  Table& table = tables_.emplace_back();
  table.type = type;
  table.elements.assign(static_cast<size_t>(type.size.min),
                        NullElement(type.element));
  table.def.elements = table.elements.data();
  table.def.size = table.elements.size();
  return static_cast<uint32_t>(tables_.size() - 1);
}

const TableType& NativeStore::TypeOfTable(uint32_t table) const {
  return tables_[table].type;
}

uint64_t NativeStore::TableSize(uint32_t table) const {
  return tables_[table].elements.size();
}

RawValue NativeStore::TableGet(uint32_t table, uint64_t index) const {
  const Table& from = tables_[table];
  return FromGuest(from.type.element, RawValue::Ref(from.elements[index]));
}

void NativeStore::TableSet(uint32_t table, uint64_t index,
                           const RawValue& value) {
  Table& to = tables_[table];
  to.elements[index] = ToGuest(to.type.element, value).ref();
}

bool NativeStore::GrowTable(uint32_t id, uint64_t count,
                            const RawValue& value) {
  Table& table = tables_[id];
  constexpr uint64_t kElementsMax = ~uint32_t{0};
  const uint64_t max = table.type.size.max.value_or(kElementsMax);
  const uint64_t old_size = table.elements.size();
  if (count > max || old_size > max - count) return false;
  table.elements.resize(static_cast<size_t>(old_size + count),
                        ToGuest(table.type.element, value).ref());
  table.def.elements = table.elements.data();
  table.def.size = table.elements.size();
  table.type.size.min = table.def.size;
  return true;
}

// ---------------------------------------------------------------- the others

uint32_t NativeStore::NewGlobal(const GlobalType& type, const RawValue& value) {
  cells_.push_back(ToGuest(type.type, value));
  globals_.push_back(Global{type, &cells_.back()});
  return static_cast<uint32_t>(globals_.size() - 1);
}

const GlobalType& NativeStore::TypeOfGlobal(uint32_t global) const {
  return globals_[global].type;
}

RawValue NativeStore::GlobalGet(uint32_t global) const {
  const Global& from = globals_[global];
  return FromGuest(from.type.type, *from.cell);
}

void NativeStore::GlobalSet(uint32_t global, const RawValue& value) {
  const Global& to = globals_[global];
  *to.cell = ToGuest(to.type.type, value);
}

const FuncType& NativeStore::TypeOfTag(uint32_t tag) const {
  return *tags_[tag].type;
}

std::vector<backend::ExternId> NativeStore::Exports(uint32_t id) const {
  const Instance& instance = *instances_[id];
  std::vector<backend::ExternId> exports;
  for (const ModuleImage::Item& item : instance.image().exports()) {
    backend::ExternId out;
    out.kind = item.kind;
    switch (item.kind) {
      case ExternKind::kFunc:
        out.id = FuncAt(id, item.index);
        break;
      case ExternKind::kMemory:
        out.id = instance.memory_ids[item.index];
        break;
      case ExternKind::kTable:
        out.id = instance.table_ids[item.index];
        break;
      case ExternKind::kGlobal:
        out.id = instance.global_ids[item.index];
        break;
      case ExternKind::kTag:
        out.id = instance.tag_ids[item.index];
        break;
    }
    exports.push_back(out);
  }
  return exports;
}

std::optional<uint32_t> NativeStore::DefaultMemory(uint32_t instance) const {
  const std::vector<uint32_t>& memories = instances_[instance]->memory_ids;
  if (memories.empty()) return std::nullopt;
  return memories[0];
}

// ---------------------------------------------------------------- code

// A place in code must say which instance's it is, so the second instance of a
// module here gets a copy of the code.
bool NativeStore::UsesShared(const NativeModule& module) const {
  return std::any_of(instances_.begin(), instances_.end(),
                     [&](const std::unique_ptr<Instance>& other) {
                       return &other->module() == &module &&
                              !other->has_own_copy();
                     });
}

absl::StatusOr<std::shared_ptr<const LoadedCode>> NativeStore::CodeFor(
    const NativeModule& module, const CodeVersion& version,
    absl::Span<const uint32_t> probed, bool own_copy) {
  return own_copy ? module.LoadAgain(version, probed)
                  : module.LoadShared(version, probed);
}

void NativeStore::AddRange(Instance& instance) {
  CodeRange range;
  range.begin = instance.code().begin();
  range.end = instance.code().end();
  range.code = &instance.code();
  range.instance = &instance;
  const auto place = std::lower_bound(
      ranges_.begin(), ranges_.end(), range,
      [](const CodeRange& a, const CodeRange& b) { return a.begin < b.begin; });
  ranges_.insert(place, range);
  last_range_ = 0;
}

const NativeStore::CodeRange* NativeStore::FindRange(uintptr_t pc) const {
  const auto holds = [&](const CodeRange& range) {
    return pc >= range.begin && pc < range.end;
  };
  if (last_range_ < ranges_.size() && holds(ranges_[last_range_])) {
    return &ranges_[last_range_];
  }
  const auto after = std::upper_bound(
      ranges_.begin(), ranges_.end(), pc,
      [](uintptr_t at, const CodeRange& range) { return at < range.begin; });
  if (after == ranges_.begin() || !holds(*(after - 1))) return nullptr;
  last_range_ = static_cast<size_t>(after - 1 - ranges_.begin());
  return &ranges_[last_range_];
}

void NativeStore::FillImport(Instance& instance, uint32_t index) {
  FuncImport& import = instance.imports()[index];
  const Function& function = functions_[instance.imported_functions[index]];
  import.context = function.record.context;
  if (function.instance != nullptr) {
    import.code = function.record.code;
    import.tail_code = function.record.tail_code;
    return;
  }
  import.code = instance.code().HostThunk(instance.image().functions()[index]);
  import.tail_code = import.code;
}

void NativeStore::AddThunks(const Instance& instance) {
  const std::vector<uint32_t>& ids = instance.module().type_ids();
  bool added = false;
  for (size_t i = 0; i < ids.size(); ++i) {
    if (thunks_.contains(ids[i])) continue;
    const void* thunk = instance.code().HostThunk(static_cast<uint32_t>(i));
    if (thunk == nullptr) continue;
    thunks_.emplace(ids[i], thunk);
    added = true;
  }
  if (!added) return;
  const auto filled = [this](uint32_t id) {
    FillRecord(functions_[id]);
    return functions_[id].record.code != nullptr;
  };
  without_thunk_.erase(
      std::remove_if(without_thunk_.begin(), without_thunk_.end(), filled),
      without_thunk_.end());
}

void NativeStore::TakeNewCode() {
  const uint64_t publications =
      engine_.publications->load(std::memory_order_acquire);
  if (publications == publications_seen_) return;
  publications_seen_ = publications;
  bool changed = false;
  for (const std::unique_ptr<Instance>& instance : instances_) {
    std::shared_ptr<const CodeVersion> newer =
        instance->module().current(canonical_nans_);
    if (newer == instance->shared_version()) continue;
    absl::StatusOr<std::shared_ptr<const LoadedCode>> code =
        CodeFor(instance->module(), *newer, instance->probes().functions,
                instance->has_own_copy());
    // Without room for another copy it goes on as it is.
    if (!code.ok()) continue;
    instance->Use(std::move(newer), *std::move(code), instance->probes());
    changed = true;
  }
  if (changed) CodeChanged();
}

absl::Status NativeStore::SetProbes(
    absl::Span<const std::pair<uint32_t, backend::Probes>> probes) {
  CALLGATE_CHECK(running_ == nullptr, "no activation is live");
  // All that can fail comes first.
  std::vector<std::shared_ptr<const LoadedCode>> codes;
  bool changed = false;
  for (const auto& [id, wanted] : probes) {
    const Instance& instance = *instances_[id];
    if (wanted.functions == instance.probes().functions) {
      codes.push_back(instance.shared_code());
      continue;
    }
    absl::StatusOr<std::shared_ptr<const LoadedCode>> code =
        CodeFor(instance.module(), instance.version(), wanted.functions,
                instance.has_own_copy());
    if (!code.ok()) return code.status();
    codes.push_back(*std::move(code));
    changed = true;
  }
  for (size_t i = 0; i < probes.size(); ++i) {
    Instance& instance = *instances_[probes[i].first];
    instance.Use(instance.shared_version(), std::move(codes[i]),
                 probes[i].second);
  }
  if (changed) CodeChanged();
  return absl::OkStatus();
}

// No activation is live, so no address of old code is on any stack. Thunks stay
// where they are: the instances keep their first code.
void NativeStore::CodeChanged() {
  ++code_generation_;
  ranges_.clear();
  known_sites_.fill(KnownSite());
  for (const std::unique_ptr<Instance>& instance : instances_) {
    AddRange(*instance);
  }
  for (Function& function : functions_) {
    if (function.instance != nullptr) FillRecord(function);
  }
  for (const std::unique_ptr<Instance>& instance : instances_) {
    for (uint32_t i = 0; i < instance->image().imported_functions(); ++i) {
      FillImport(*instance, i);
    }
  }
}

// ---------------------------------------------------------------- instances

struct NativeStore::InstanceConstants final : public Constant::Environment {
  InstanceConstants(NativeStore& s, Instance& i) : store(s), instance(i) {}
  RawValue GlobalGet(uint32_t index) override {
    return *instance.globals()[index];
  }
  RawValue RefFunc(uint32_t index) override {
    const FuncRecord* record = &store.FunctionAt(instance, index).record;
    return RawValue::Ref(reinterpret_cast<uintptr_t>(record));
  }
  NativeStore& store;
  Instance& instance;
};

void NativeStore::MakeRoom(const ModuleImage& image) {
  size_t room = values_.size();
  for (const FuncType& type : image.types()) {
    room = std::max({room, type.params.size(), type.results.size()});
  }
  if (room == values_.size()) return;
  // Nothing in them is alive now: no compiled code is between two of its own
  // instructions that use them while we run.
  values_.resize(room);
  tail_values_.resize(room);
  context().values = values_.data();
  context().tail_values = tail_values_.data();
}

void NativeStore::Link(Instance& instance,
                       absl::Span<const backend::ExternId> imports) {
  const ModuleImage& image = instance.image();
  instance.context()->header.store = &context();
  instance.context()->header.builtins = BuiltinTable();
  for (const backend::ExternId& import : imports) {
    switch (import.kind) {
      case ExternKind::kFunc:
        instance.imported_functions.push_back(import.id);
        FillImport(instance, static_cast<uint32_t>(
                                 instance.imported_functions.size() - 1));
        break;
      case ExternKind::kMemory:
        break;  // done
      case ExternKind::kTable:
        instance.table_ids.push_back(import.id);
        break;
      case ExternKind::kGlobal:
        instance.globals()[instance.global_ids.size()] =
            globals_[import.id].cell;
        instance.global_ids.push_back(import.id);
        break;
      case ExternKind::kTag:
        instance.tag_ids.push_back(import.id);
        break;
    }
  }
  for (size_t i = image.imported_tables(); i < image.tables().size(); ++i) {
    instance.table_ids.push_back(NewTable(image.tables()[i]));
  }
  for (size_t i = image.imported_tags(); i < image.tags().size(); ++i) {
    OwnTag& tag = tags_.emplace_back();
    const FuncType& type = image.types()[image.tags()[i]];
    tag.hold = engine_.types->Take(type);
    tag.type = &tag.hold.type();
    tag.tag.type_id = tag.hold.id();
    tag.tag.params = static_cast<uint32_t>(type.params.size());
    instance.tag_ids.push_back(static_cast<uint32_t>(tags_.size() - 1));
  }
  InstanceConstants constants(*this, instance);
  for (const ModuleImage::OwnGlobal& own : image.own_globals()) {
    const size_t index = instance.global_ids.size();
    RawValue* const cell = &instance.cells()[index];
    *cell = own.init.Evaluate(constants);
    instance.globals()[index] = cell;
    globals_.push_back(Global{own.type, cell});
    instance.global_ids.push_back(static_cast<uint32_t>(globals_.size() - 1));
  }
  for (size_t i = 0; i < instance.memory_ids.size(); ++i) {
    instance.memories()[i] = &memories_[instance.memory_ids[i]].def;
  }
  for (size_t i = 0; i < instance.table_ids.size(); ++i) {
    instance.tables()[i] = &tables_[instance.table_ids[i]].def;
  }
  for (size_t i = 0; i < instance.tag_ids.size(); ++i) {
    instance.tags()[i] = &tags_[instance.tag_ids[i]].tag;
  }
}

// Elements first, then data, each in order; what was written before a trap
// stays. Before bulk-memory all of them were checked first.
bool NativeStore::PayForSegments(const ModuleImage& image) {
  if (!engine_.metered) return true;
  // All of it, also what a memory's image stands for: a price that depended on
  // what the host has mapped would not be one.
  uint64_t cost = 0;
  for (const ModuleImage::Elements& segment : image.elements()) {
    if (segment.mode == ElementSegment::ACTIVE) cost += segment.items.size();
  }
  for (const ModuleImage::Data& segment : image.data()) {
    if (segment.active) cost += segment.bytes.size();
  }
  const uint64_t left = host_.FuelLeft();
  host_.ConsumeFuel(std::min(cost, left));
  return cost <= left;
}

std::optional<TrapCode> NativeStore::RunSegments(Instance& instance) {
  const ModuleImage& image = instance.image();
  InstanceConstants constants(*this, instance);
  const auto elements_fit = [&](const ModuleImage::Elements& segment) {
    return Inside(segment.offset->Evaluate(constants).u32(),
                  segment.items.size(), instance.tables()[segment.table]->size);
  };
  const auto data_offset = [&](const ModuleImage::Data& segment) {
    const RawValue offset = segment.offset->Evaluate(constants);
    return image.memories()[segment.memory].is64 ? offset.u64() : offset.u32();
  };
  const auto data_fits = [&](const ModuleImage::Data& segment) {
    return Inside(data_offset(segment), segment.bytes.size(),
                  instance.memories()[segment.memory]->bytes);
  };
  const auto active = [](const ModuleImage::Elements& segment) {
    return segment.mode == ElementSegment::ACTIVE;
  };
  if (!ordered_segments_) {
    for (const ModuleImage::Elements& segment : image.elements()) {
      if (active(segment) && !elements_fit(segment)) {
        return TrapCode::kTableOutOfBounds;
      }
    }
    for (const ModuleImage::Data& segment : image.data()) {
      if (segment.active && !data_fits(segment)) {
        return TrapCode::kMemoryOutOfBounds;
      }
    }
  }
  for (size_t i = 0; i < image.elements().size(); ++i) {
    const ModuleImage::Elements& segment = image.elements()[i];
    if (segment.mode == ElementSegment::PASSIVE) continue;
    if (active(segment)) {
      if (!elements_fit(segment)) return TrapCode::kTableOutOfBounds;
      uint64_t* to = instance.tables()[segment.table]->elements +
                     segment.offset->Evaluate(constants).u32();
      for (const uint32_t item : segment.items) {
        *to++ = item == 0 ? NullElement(segment.type)
                          : reinterpret_cast<uintptr_t>(
                                &FunctionAt(instance, item - 1).record);
      }
    }
    instance.dropped_elements[i] = true;
  }
  // Nobody can have written to the memory yet, nor can anything go wrong among
  // the segments that the image stands for.
  const bool mapped =
      image.memory_image() != nullptr &&
      memories_[instance.memory_ids[0]].slot.MapImage(*image.memory_image());
  for (size_t i = 0; i < image.data().size(); ++i) {
    const ModuleImage::Data& segment = image.data()[i];
    if (!segment.active) continue;
    instance.dropped_data[i] = true;
    if (mapped && i < image.sure_data() && segment.memory == 0) continue;
    if (!data_fits(segment)) {
      instance.dropped_data[i] = false;
      return TrapCode::kMemoryOutOfBounds;
    }
    if (segment.bytes.empty()) continue;
    std::memcpy(
        instance.memories()[segment.memory]->base + data_offset(segment),
        segment.bytes.data(), segment.bytes.size());
  }
  return std::nullopt;
}

absl::Status NativeStore::Prepare(const backend::Code& code) {
  if (canonical_nans_) return absl::OkStatus();
  return static_cast<const NativeCode&>(code).EnsureAnyNans();
}

absl::StatusOr<backend::Instantiated> NativeStore::Instantiate(
    const backend::Code& code, absl::Span<const backend::ExternId> imports,
    const backend::Probes& probes) {
  const auto& native = static_cast<const NativeCode&>(code);
  std::shared_ptr<NativeModule> module = native.module();
  const ModuleImage& image = module->image();
  std::shared_ptr<const CodeVersion> version = module->current(canonical_nans_);
  CALLGATE_CHECK(version != nullptr, "Prepare comes first");
  const bool own_copy = UsesShared(*module);
  absl::StatusOr<std::shared_ptr<const LoadedCode>> loaded =
      CodeFor(*module, *version, probes.functions, own_copy);
  if (!loaded.ok()) return loaded.status();
  // All that can fail comes first, so that a failure leaves nothing that is
  // linked to anything.
  const size_t memories_before = memories_.size();
  std::vector<uint32_t> own_memories;
  for (size_t i = image.imported_memories(); i < image.memories().size(); ++i) {
    const absl::StatusOr<uint32_t> memory = NewMemory(image.memories()[i]);
    if (!memory.ok()) {
      while (memories_.size() > memories_before) memories_.pop_back();
      return memory.status();
    }
    own_memories.push_back(*memory);
  }

  instances_.push_back(std::make_unique<Instance>(
      *this, static_cast<uint32_t>(instances_.size()), std::move(module),
      std::move(version), *std::move(loaded), own_copy, probes));
  Instance& instance = *instances_.back();
  MakeRoom(image);
  AddRange(instance);
  AddThunks(instance);
  for (const backend::ExternId& import : imports) {
    if (import.kind == ExternKind::kMemory) {
      instance.memory_ids.push_back(import.id);
    }
  }
  instance.memory_ids.insert(instance.memory_ids.end(), own_memories.begin(),
                             own_memories.end());
  Link(instance, imports);

  backend::Instantiated result;
  result.instance = instance.id();
  if (!PayForSegments(image)) {
    result.stop = backend::Stop{TrapCode::kOutOfFuel, nullptr};
    return result;
  }
  if (const std::optional<TrapCode> trap = RunSegments(instance)) {
    result.stop = backend::Stop{*trap, nullptr};
  }
  return result;
}

}  // namespace callgate::native
