#include "policy/trial/trace_reader.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"

namespace callgate::policy::trial {
namespace {

constexpr size_t kChunkBytes = 256 << 10;
constexpr uint64_t kParametersMax = 1000;
constexpr uint64_t kPoliciesMax = 1000;
// Nothing in a trace is further away than this.
constexpr int64_t kNanosecondsMax = int64_t{1} << 62;

constexpr uint64_t kU32Max = std::numeric_limits<uint32_t>::max();
constexpr uint64_t kU64Max = std::numeric_limits<uint64_t>::max();

bool IsValType(uint8_t code) {
  switch (static_cast<ValType>(code)) {
    case ValType::kI32:
    case ValType::kI64:
    case ValType::kF32:
    case ValType::kF64:
    case ValType::kV128:
    case ValType::kFuncRef:
    case ValType::kExternRef:
      return true;
  }
  return false;
}

// 0 is none, all others one more than they are.
uint32_t IndexOf(uint64_t number) {
  return number == 0 ? kNoIndex : static_cast<uint32_t>(number - 1);
}

}  // namespace

TraceReader::TraceReader(Source source) : source_(std::move(source)) {}

TraceReader::TraceReader(absl::string_view bytes)
    : TraceReader(
          [rest = bytes](size_t size) mutable -> absl::StatusOr<std::string> {
            const absl::string_view some = rest.substr(0, size);
            rest.remove_prefix(some.size());
            return std::string(some);
          }) {}

// --- Frames ------------------------------------------------------------------

absl::StatusOr<bool> TraceReader::Fill(size_t size) {
  while (buffer_.size() - at_ < size && !source_ended_) {
    buffer_.erase(0, at_);
    at_ = 0;
    const size_t wanted = std::max(kChunkBytes, size - buffer_.size());
    absl::StatusOr<std::string> more = source_(wanted);
    if (!more.ok()) return more.status();
    source_ended_ = more->size() < wanted;
    buffer_ += *more;
  }
  return buffer_.size() - at_ >= size;
}

absl::StatusOr<bool> TraceReader::Frame(TraceRecord::Kind* kind) {
  const auto damaged = [this](absl::string_view what) {
    return absl::DataLossError(
        absl::StrCat("the trace is damaged at byte ", offset_, ": ", what));
  };
  const auto end = [this]() -> bool {
    cut_off_ = at_ < buffer_.size();
    return false;
  };
  // The length: a varint of at most four bytes.
  size_t length = 0;
  size_t length_bytes = 0;
  while (true) {
    const absl::StatusOr<bool> there = Fill(length_bytes + 1);
    if (!there.ok()) return there.status();
    if (!*there) return end();
    const auto byte = static_cast<uint8_t>(buffer_[at_ + length_bytes]);
    length |= static_cast<size_t>(byte & 0x7f) << (7 * length_bytes);
    ++length_bytes;
    if ((byte & 0x80) == 0) break;
    if (length_bytes == 4) return damaged("a record's length");
  }
  if (length < 1 || length > kTraceRecordBytesMax) {
    return damaged("a record's length");
  }
  const absl::StatusOr<bool> there = Fill(length_bytes + length + 4);
  if (!there.ok()) return there.status();
  if (!*there) return end();
  const absl::string_view frame =
      absl::string_view(buffer_).substr(at_ + length_bytes, length + 4);
  uint32_t sum = 0;
  for (int i = 3; i >= 0; --i) {
    sum =
        sum << 8 | static_cast<uint8_t>(frame[length + static_cast<size_t>(i)]);
  }
  if (sum != TraceChecksum(frame.substr(0, length))) {
    return damaged("a record's checksum");
  }
  *kind = static_cast<TraceRecord::Kind>(frame[0]);
  record_ = frame.substr(1, length - 1);
  at_ += length_bytes + length + 4;
  offset_ += length_bytes + length + 4;
  return true;
}

absl::StatusOr<bool> TraceReader::Next(TraceRecord* record) {
  if (!begun_) {
    const absl::StatusOr<bool> there = Fill(kTraceMagicBytes);
    if (!there.ok()) return there.status();
    const absl::string_view magic(kTraceMagic, kTraceMagicBytes);
    const absl::string_view found =
        absl::string_view(buffer_).substr(0, kTraceMagicBytes);
    if (!*there || found.substr(0, 7) != magic.substr(0, 7)) {
      return absl::InvalidArgumentError("this is not a trace");
    }
    if (found != magic) {
      return absl::InvalidArgumentError(absl::StrCat(
          "this is a trace of version ", static_cast<uint8_t>(found[7]),
          "; version ", static_cast<uint8_t>(magic[7]),
          " can be read, so record it anew"));
    }
    at_ = kTraceMagicBytes;
    offset_ = kTraceMagicBytes;
    begun_ = true;
  }
  while (true) {
    const uint64_t offset = offset_;
    const auto damaged = [offset](absl::string_view what) {
      return absl::DataLossError(
          absl::StrCat("the trace is damaged at byte ", offset, ": ", what));
    };
    TraceRecord::Kind kind;
    const absl::StatusOr<bool> there = Frame(&kind);
    if (!there.ok() || !*there) return there;
    if (kind == TraceRecord::Kind::kString) {
      if (record_.size() > kTraceStringBytesMax ||
          strings_.size() >= kTraceStringsMax ||
          record_.size() > kTraceStringsBytesMax - string_bytes_) {
        return damaged("a string");
      }
      strings_.emplace_back(record_);
      string_bytes_ += record_.size();
      continue;
    }
    *record = {};
    record->kind = kind;
    if (!Payload(record) || !record_.empty()) return damaged("a record");
    return true;
  }
}

// --- Payloads ----------------------------------------------------------------

bool TraceReader::Payload(TraceRecord* record) {
  uint64_t store = 0;
  if (!Number(kTraceStoresMax, &store) || !Time(&record->at)) return false;
  record->store = static_cast<uint32_t>(store);
  if (record->kind == TraceRecord::Kind::kStore) return Store(record);
  if (store >= stores_.size() || gone_[store]) return false;
  uint64_t depth = 0;
  switch (record->kind) {
    case TraceRecord::Kind::kFunction:
      return ReadFunction(record);
    case TraceRecord::Kind::kBeginCall:
    case TraceRecord::Kind::kEndCall:
      if (!Number(kU32Max, &depth)) return false;
      record->depth = static_cast<uint32_t>(depth);
      if (!Arming(&record->arming)) return false;
      if (record->kind == TraceRecord::Kind::kEndCall && !Trap(record)) {
        return false;
      }
      return Decision(&record->decision);
    case TraceRecord::Kind::kEnterHost:
      return Call(record);
    case TraceRecord::Kind::kLeaveHost:
      return Leave(record);
    case TraceRecord::Kind::kGrowth:
      return Growth(record);
    case TraceRecord::Kind::kStoreGone:
      gone_[store] = true;
      --stores_at_once_;
      functions_ -= stores_[store].size() + probes_[store].size();
      stores_[store] = {};
      probes_[store] = {};
      return true;
    case TraceRecord::Kind::kProbe:
      return Probe(record);
    case TraceRecord::Kind::kEnterFunction:
      return Entry(record);
    case TraceRecord::Kind::kPolicies: {
      uint64_t at_once = 0;
      if (!Number(1, &at_once)) return false;
      record->at_once = at_once != 0;
      return Policies(&record->policies);
    }
    default:
      return false;
  }
}

bool TraceReader::Policies(std::vector<std::string>* policies) {
  uint64_t count = 0;
  if (!Number(kPoliciesMax, &count)) return false;
  for (uint64_t i = 0; i < count; ++i) {
    if (!String(&policies->emplace_back())) return false;
  }
  return true;
}

bool TraceReader::Gauges(StoreGauges* gauges) {
  uint64_t flags = 0;
  if (!Number(kU64Max, &gauges->store_bytes) || !Number(3, &flags) ||
      !Number(Fuel::kTankMax, &gauges->fuel_used)) {
    return false;
  }
  gauges->metered = (flags & 1) != 0;
  return (flags & 2) == 0 ||
         Number(Fuel::kTankMax, &gauges->fuel_left.emplace());
}

bool TraceReader::Arming(PolicyHook::Arming* arming) {
  uint64_t fuel = 0;
  uint64_t flags = 0;
  if (!Number(static_cast<uint64_t>(PolicyHook::Arming::Fuel::kOther), &fuel) ||
      !Number(7, &flags)) {
    return false;
  }
  arming->fuel = static_cast<PolicyHook::Arming::Fuel>(fuel);
  arming->wall_is_budget = (flags & 1) != 0;
  arming->cpu_is_budget = (flags & 2) != 0;
  arming->stack = (flags & 4) != 0 ? Budget::kStackBytes : Budget::kCallDepth;
  return true;
}

bool TraceReader::Probe(TraceRecord* record) {
  std::vector<Function>& probes = probes_[record->store];
  uint64_t number = 0;
  uint64_t index = 0;
  uint64_t count = 0;
  if (++functions_ > kTraceFunctionsMax || !Number(kU32Max, &number) ||
      number != probes.size() || !Number(kU32Max, &index) ||
      !String(&record->module) || !Number(kTraceNamesMax, &count) ||
      count == 0) {
    return false;
  }
  record->binding = static_cast<uint32_t>(number);
  record->func_index = static_cast<uint32_t>(index);
  for (uint64_t i = 0; i < count; ++i) {
    if (!String(&record->names.emplace_back())) return false;
  }
  if (!Types(&record->type.params) || !Types(&record->type.results)) {
    return false;
  }
  probes.push_back({record->type});
  return true;
}

bool TraceReader::Entry(TraceRecord* record) {
  SimulatedStore::FunctionCall& entry = record->entry;
  const std::vector<Function>& probes = probes_[record->store];
  uint64_t number = 0;
  uint64_t depth = 0;
  uint64_t caller = 0;
  if (!Number(kU32Max, &number) || number >= probes.size() ||
      !Number(kU32Max, &depth) || !Number(uint64_t{1} << 32, &caller) ||
      !String(&entry.caller_name)) {
    return false;
  }
  entry.probe = static_cast<uint32_t>(number);
  entry.depth = static_cast<uint32_t>(depth);
  entry.caller_index = IndexOf(caller);
  for (const ValType type : probes[entry.probe].type.params) {
    if (!Value(type, &entry.args.emplace_back())) return false;
  }
  return Gauges(&entry.gauges) && Decision(&record->decision);
}

bool TraceReader::Store(TraceRecord* record) {
  uint64_t count = 0;
  if (record->store != stores_.size() || stores_.size() >= kTraceStoresMax ||
      !String(&record->facts.store_id) || !String(&record->facts.tenant) ||
      !String(&record->facts.module_digest) ||
      !String(&record->facts.module_name) || !Number(kTraceLabelsMax, &count)) {
    return false;
  }
  for (uint64_t i = 0; i < count; ++i) {
    std::string name;
    if (!String(&name) || !String(&record->module_labels[name])) return false;
  }
  if (!Number(kU64Max / 2, &record->calls_before) ||
      !Policies(&record->policies)) {
    return false;
  }
  if (++stores_at_once_ > kTraceStoresAtOnceMax) return false;
  stores_.emplace_back();
  probes_.emplace_back();
  live_calls_.push_back(0);
  gone_.push_back(false);
  return true;
}

bool TraceReader::ReadFunction(TraceRecord* record) {
  std::vector<Function>& functions = stores_[record->store];
  uint64_t binding = 0;
  uint64_t has_spec = 0;
  if (++functions_ > kTraceFunctionsMax || !Number(kU32Max, &binding) ||
      binding != functions.size() || !String(&record->module) ||
      !String(&record->name) || !Types(&record->type.params) ||
      !Types(&record->type.results) || !Number(1, &has_spec)) {
    return false;
  }
  record->binding = static_cast<uint32_t>(binding);
  functions.push_back({record->type});
  if (has_spec == 0) return true;
  HostFunctionSpec& spec = record->spec.emplace();
  uint64_t flag = 0;
  uint64_t count = 0;
  if (!Number(1, &flag) || !Number(kParametersMax, &count)) return false;
  spec.errno_result = flag != 0;
  if (spec.errno_result && (record->type.results.empty() ||
                            record->type.results[0] != ValType::kI32)) {
    return false;
  }
  for (uint64_t i = 0; i < count; ++i) {
    ArgSpec& arg = spec.args.emplace_back();
    uint64_t index = 0;
    uint64_t kind = 0;
    uint64_t len = 0;
    uint64_t dir = 0;
    if (!String(&arg.name) || !Number(kParametersMax, &index) ||
        !Number(static_cast<uint64_t>(ArgKind::kAddrsOut), &kind) ||
        !Number(kParametersMax, &len) || !Number(kParametersMax, &dir) ||
        !Number(kU64Max, &arg.max_bytes) || !Number(1, &flag)) {
      return false;
    }
    const size_t params = record->type.params.size();
    if (index >= params || len > params || dir > params) return false;
    arg.index = static_cast<uint32_t>(index);
    arg.kind = static_cast<ArgKind>(kind);
    arg.len_index = IndexOf(len);
    arg.dir_index = IndexOf(dir);
    arg.redact = flag != 0;
  }
  return true;
}

bool TraceReader::Call(TraceRecord* record) {
  SimulatedStore::HostCall& call = record->call;
  const std::vector<Function>& functions = stores_[record->store];
  uint64_t binding = 0;
  uint64_t depth = 0;
  uint64_t caller = 0;
  uint64_t hides = 0;
  if (!Number(kU32Max, &binding) || binding >= functions.size() ||
      !Number(kU32Max, &depth) || !Number(uint64_t{1} << 32, &caller) ||
      !String(&call.caller_name) || !Number(1, &hides)) {
    return false;
  }
  record->binding = static_cast<uint32_t>(binding);
  call.binding = record->binding;
  call.depth = static_cast<uint32_t>(depth);
  call.caller_index = IndexOf(caller);
  record->hides_parameters = hides != 0;
  for (const ValType type : functions[binding].type.params) {
    if (!Value(type, &call.args.emplace_back())) return false;
  }
  uint64_t size = 0;
  uint64_t count = 0;
  if (!Number(SparseMemory::kBytesMax, &size) ||
      !Number(kTraceRangesMax, &count)) {
    return false;
  }
  call.memory.Reset(size);
  for (uint64_t i = 0; i < count; ++i) {
    uint64_t address = 0;
    uint64_t hidden = 0;
    uint64_t length = 0;
    std::string bytes;
    const size_t room =
        kTraceRangeBytesMax - static_cast<size_t>(call.memory.held());
    if (!Number(size, &address) || !Number(1, &hidden)) return false;
    if (hidden != 0) {
      if (!Number(room, &length)) return false;
      bytes.assign(static_cast<size_t>(length), '\0');
    } else if (!Bytes(room, &bytes)) {
      return false;
    }
    if (bytes.size() > size - address) return false;
    call.memory.Add(address, std::move(bytes), hidden != 0);
  }
  if (!Number(kTracePathsMax, &count)) return false;
  for (uint64_t i = 0; i < count; ++i) {
    auto& [handle, path] = call.paths.emplace_back();
    if (!Number(kU64Max, &handle) || !String(&path)) return false;
  }
  uint64_t refused = 0;
  if (!Gauges(&call.gauges.emplace()) || !Number(1, &refused) ||
      !Decision(&record->decision)) {
    return false;
  }
  record->refused = refused != 0;
  return record->refused || ++live_calls_[record->store] <= kTraceDepthMax;
}

bool TraceReader::Leave(TraceRecord* record) {
  const std::vector<Function>& functions = stores_[record->store];
  uint64_t binding = 0;
  uint64_t ending = 0;
  uint64_t results = 0;
  if (live_calls_[record->store] == 0) return false;
  --live_calls_[record->store];
  if (!Number(kU32Max, &binding) || binding >= functions.size() ||
      !Number(static_cast<uint64_t>(Ending::kExit), &ending) || ending == 0 ||
      !Trap(record) || !Number(kParametersMax, &results)) {
    return false;
  }
  record->binding = static_cast<uint32_t>(binding);
  record->ending = static_cast<Ending>(ending);
  const FuncType& type = functions[binding].type;
  const bool has_values =
      record->ending == Ending::kValue || record->ending == Ending::kAnswered;
  if (results != (has_values ? type.results.size() : 0)) return false;
  if (record->trap.has_value() == has_values) return false;
  for (uint64_t i = 0; i < results; ++i) {
    if (!Value(type.results[i], &record->results.emplace_back())) return false;
  }
  uint64_t writes = 0;
  size_t room = kTraceRangeBytesMax;
  if (!Number(kTraceRangesMax, &writes)) return false;
  for (uint64_t i = 0; i < writes; ++i) {
    auto& [address, bytes] = record->writes.emplace_back();
    if (!Number(SparseMemory::kBytesMax, &address) || !Bytes(room, &bytes)) {
      return false;
    }
    room -= bytes.size();
  }
  return Gauges(&record->gauges) && Decision(&record->decision);
}

bool TraceReader::Growth(TraceRecord* record) {
  GrowthEvent& growth = record->growth;
  uint64_t kind = 0;
  uint64_t index = 0;
  uint64_t allowed = 0;
  if (!Number(1, &kind) || !Number(kU32Max, &index) ||
      !Number(kU64Max, &growth.current) || !Number(kU64Max, &growth.desired) ||
      !Number(1, &allowed) || !Number(kU64Max, &growth.store_bytes) ||
      !Number(kU64Max, &growth.store_table_elements) ||
      !Number(kU64Max, &growth.fuel_used)) {
    return false;
  }
  growth.kind = static_cast<GrowthEvent::Kind>(kind);
  growth.index = static_cast<uint32_t>(index);
  growth.allowed = allowed != 0;
  return growth.desired >= growth.current && Decision(&record->decision);
}

bool TraceReader::Trap(TraceRecord* record) {
  uint64_t trap = 0;
  if (!Number(static_cast<uint64_t>(TrapCode::kRefused) + 1, &trap)) {
    return false;
  }
  if (trap != 0) record->trap = static_cast<TrapCode>(trap - 1);
  return true;
}

bool TraceReader::Decision(TrialDecision* decision) {
  uint64_t verdict = 0;
  if (!Number(static_cast<uint64_t>(Verdict::kQuarantineModule), &verdict)) {
    return false;
  }
  if (verdict == 0) return true;
  uint64_t would_be = 0;
  uint64_t flags = 0;
  uint64_t guest_errno = 0;
  int64_t delay = 0;
  uint64_t count = 0;
  if (!Number(static_cast<uint64_t>(Verdict::kQuarantineModule), &would_be) ||
      would_be == 0 || !Number(3, &flags) || !String(&decision->policy) ||
      !String(&decision->rule) || !Number(kU32Max, &guest_errno) ||
      !Signed(&delay) || !Number(kTraceMatchesMax, &count)) {
    return false;
  }
  decision->verdict = static_cast<Verdict>(verdict);
  decision->would_be = static_cast<Verdict>(would_be);
  decision->after_end = (flags & 1) != 0;
  decision->unpaid = (flags & 2) != 0;
  decision->guest_errno = static_cast<uint32_t>(guest_errno);
  decision->delay = absl::Nanoseconds(delay);
  for (uint64_t i = 0; i < count; ++i) {
    TrialDecision::Match& match = decision->matches.emplace_back();
    uint64_t mode = 0;
    if (!String(&match.policy) || !String(&match.rule) ||
        !Number(static_cast<uint64_t>(Verdict::kQuarantineModule), &verdict) ||
        verdict == 0 || !Number(static_cast<uint64_t>(Mode::kEnforce), &mode) ||
        mode == 0) {
      return false;
    }
    match.verdict = static_cast<Verdict>(verdict);
    match.mode = static_cast<Mode>(mode);
  }
  return true;
}

// --- Parts -------------------------------------------------------------------

bool TraceReader::Number(uint64_t max, uint64_t* value) {
  uint64_t number = 0;
  for (int shift = 0; shift < 64; shift += 7) {
    if (record_.empty()) return false;
    const auto byte = static_cast<uint8_t>(record_[0]);
    record_.remove_prefix(1);
    // The tenth byte has one bit of the number.
    if (shift == 63 && byte > 1) return false;
    number |= uint64_t{byte & 0x7fu} << shift;
    if ((byte & 0x80) == 0) {
      *value = number;
      return number <= max;
    }
  }
  return false;
}

bool TraceReader::Signed(int64_t* value) {
  uint64_t number = 0;
  if (!Number(kU64Max, &number)) return false;
  *value = static_cast<int64_t>((number >> 1) ^ (~(number & 1) + 1));
  return true;
}

bool TraceReader::Bytes(size_t max, std::string* bytes) {
  uint64_t size = 0;
  if (!Number(max, &size) || size > record_.size()) return false;
  *bytes = std::string(record_.substr(0, static_cast<size_t>(size)));
  record_.remove_prefix(static_cast<size_t>(size));
  return true;
}

bool TraceReader::String(std::string* text) {
  uint64_t number = 0;
  if (!Number(kU32Max, &number) || number >= strings_.size()) return false;
  *text = strings_[static_cast<size_t>(number)];
  return true;
}

bool TraceReader::Time(TrialClock* at) {
  const auto step = [this](absl::Time* time) {
    int64_t nanoseconds = 0;
    if (!Signed(&nanoseconds)) return false;
    *time += absl::Nanoseconds(nanoseconds);
    return *time >= absl::UnixEpoch() &&
           *time <= absl::UnixEpoch() + absl::Nanoseconds(kNanosecondsMax);
  };
  if (!step(&before_.monotonic) || !step(&before_.wall)) return false;
  *at = before_;
  return true;
}

bool TraceReader::Value(ValType type, RawValue* value) {
  if (type == ValType::kV128) {
    if (record_.size() < 16) return false;
    V128 vector;
    std::copy_n(record_.begin(), 16, vector.bytes.begin());
    record_.remove_prefix(16);
    *value = RawValue::Vector(vector);
    return true;
  }
  const bool is_narrow = type == ValType::kI32 || type == ValType::kF32;
  uint64_t number = 0;
  if (!Number(is_narrow ? kU32Max : kU64Max, &number)) return false;
  *value = RawValue::I64(number);
  return true;
}

bool TraceReader::Types(std::vector<ValType>* types) {
  uint64_t count = 0;
  if (!Number(kParametersMax, &count) || count > record_.size()) return false;
  for (uint64_t i = 0; i < count; ++i) {
    const auto code = static_cast<uint8_t>(record_[0]);
    record_.remove_prefix(1);
    if (!IsValType(code)) return false;
    types->push_back(static_cast<ValType>(code));
  }
  return true;
}

}  // namespace callgate::policy::trial
