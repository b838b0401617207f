#include "policy/trial/trace_writer.h"

#include "absl/strings/str_cat.h"
#include "runtime/check.h"

namespace callgate::policy::trial {
namespace {

void AppendNumber(uint64_t value, std::string* out) {
  while (value >= 0x80) {
    out->push_back(static_cast<char>(value | 0x80));
    value >>= 7;
  }
  out->push_back(static_cast<char>(value));
}

uint64_t Zigzag(int64_t value) {
  return (static_cast<uint64_t>(value) << 1) ^
         static_cast<uint64_t>(value >> 63);
}

}  // namespace

uint32_t TraceChecksum(absl::string_view bytes) {
  uint32_t sum = 2166136261u;
  for (const char c : bytes) {
    sum = (sum ^ static_cast<unsigned char>(c)) * 16777619u;
  }
  return sum;
}

TraceWriter::TraceWriter(std::string* out) : out_(out) {
  out_->append(kTraceMagic, kTraceMagicBytes);
}

absl::Status TraceWriter::Write(const TraceRecord& record) {
  const absl::Status full =
      absl::ResourceExhaustedError("the trace has as much as a trace can have");
  if (ended_) return full;
  record_.clear();
  new_strings_.clear();
  too_large_ = false;
  Number(record.store);
  Time(record.at);
  switch (record.kind) {
    case TraceRecord::Kind::kString:
      CALLGATE_CHECK(false, "the writer makes these itself");
      break;
    case TraceRecord::Kind::kStore:
      CALLGATE_CHECK(record.store == types_.size(), "Stores come in order");
      too_large_ = types_.size() >= kTraceStoresMax ||
                   ++stores_at_once_ > kTraceStoresAtOnceMax;
      types_.emplace_back();
      probes_.emplace_back();
      String(record.facts.store_id);
      String(record.facts.tenant);
      String(record.facts.module_digest);
      String(record.facts.module_name);
      if (record.module_labels.size() > kTraceLabelsMax) too_large_ = true;
      Number(record.module_labels.size());
      for (const auto& [name, value] : record.module_labels) {
        String(name);
        String(value);
      }
      Number(record.calls_before);
      Number(record.policies.size());
      for (const std::string& policy : record.policies) String(policy);
      break;
    case TraceRecord::Kind::kPolicies:
      Number(record.at_once ? 1u : 0u);
      Number(record.policies.size());
      for (const std::string& policy : record.policies) String(policy);
      break;
    case TraceRecord::Kind::kProbe:
      Probe(record);
      break;
    case TraceRecord::Kind::kEnterFunction:
      Entry(record);
      break;
    case TraceRecord::Kind::kFunction:
      Function(record);
      break;
    case TraceRecord::Kind::kBeginCall:
      Number(record.depth);
      Arming(record.arming);
      Decision(record.decision);
      break;
    case TraceRecord::Kind::kEndCall:
      Number(record.depth);
      Arming(record.arming);
      Number(record.trap ? static_cast<uint64_t>(*record.trap) + 1 : 0);
      Decision(record.decision);
      break;
    case TraceRecord::Kind::kEnterHost:
      Call(record);
      break;
    case TraceRecord::Kind::kLeaveHost: {
      Number(record.binding);
      Number(static_cast<uint64_t>(record.ending));
      Number(record.trap ? static_cast<uint64_t>(*record.trap) + 1 : 0);
      Number(record.results.size());
      const FuncType& type = types_[record.store][record.binding];
      for (size_t i = 0; i < record.results.size(); ++i) {
        Value(type.results[i], record.results[i]);
      }
      Number(record.writes.size());
      for (const auto& [address, bytes] : record.writes) {
        Number(address);
        Bytes(bytes);
      }
      Gauges(record.gauges);
      Decision(record.decision);
      break;
    }
    case TraceRecord::Kind::kGrowth:
      Number(static_cast<uint64_t>(record.growth.kind));
      Number(record.growth.index);
      Number(record.growth.current);
      Number(record.growth.desired);
      Number(record.growth.allowed ? 1u : 0u);
      Number(record.growth.store_bytes);
      Number(record.growth.store_table_elements);
      Number(record.growth.fuel_used);
      Decision(record.decision);
      break;
    case TraceRecord::Kind::kStoreGone:
      --stores_at_once_;
      functions_ -= types_[record.store].size() + probes_[record.store].size();
      types_[record.store] = {};
      probes_[record.store] = {};
      break;
  }
  if (too_large_ || record_.size() + 1 > kTraceRecordBytesMax) {
    // The table has strings now that the trace does not.
    ended_ = true;
    return full;
  }
  out_->append(new_strings_);
  Frame(record.kind, record_);
  return absl::OkStatus();
}

void TraceWriter::Frame(TraceRecord::Kind kind, absl::string_view payload) {
  AppendNumber(payload.size() + 1, out_);
  const size_t begin = out_->size();
  out_->push_back(static_cast<char>(kind));
  absl::StrAppend(out_, payload);
  uint32_t sum = TraceChecksum(absl::string_view(*out_).substr(begin));
  for (int i = 0; i < 4; ++i, sum >>= 8) {
    out_->push_back(static_cast<char>(sum));
  }
}

void TraceWriter::Number(uint64_t value) { AppendNumber(value, &record_); }

void TraceWriter::Signed(int64_t value) { Number(Zigzag(value)); }

void TraceWriter::Bytes(absl::string_view bytes) {
  Number(bytes.size());
  absl::StrAppend(&record_, bytes);
}

void TraceWriter::String(absl::string_view text) {
  text = text.substr(0, kTraceStringBytesMax);
  const auto known = strings_.find(text);
  if (known != strings_.end()) {
    Number(known->second);
    return;
  }
  if (strings_.size() >= kTraceStringsMax ||
      text.size() > kTraceStringsBytesMax - string_bytes_) {
    too_large_ = true;
    return;
  }
  const auto number = static_cast<uint32_t>(strings_.size());
  strings_.emplace(text, number);
  string_bytes_ += text.size();
  Number(number);
  // Before the record that is the first to use it.
  std::string* const out = out_;
  const std::string payload(text);
  const size_t begin = out->size();
  Frame(TraceRecord::Kind::kString, payload);
  new_strings_.append(*out, begin, std::string::npos);
  out->resize(begin);
}

void TraceWriter::Time(const TrialClock& at) {
  Signed(absl::ToInt64Nanoseconds(at.monotonic - before_.monotonic));
  Signed(absl::ToInt64Nanoseconds(at.wall - before_.wall));
  before_ = at;
}

void TraceWriter::Decision(const TrialDecision& decision) {
  // Nothing to say is the usual thing.
  if (decision.matches.empty() && !decision.after_end && !decision.unpaid) {
    Number(0);
    return;
  }
  Number(static_cast<uint64_t>(decision.verdict));
  Number(static_cast<uint64_t>(decision.would_be));
  Number((decision.after_end ? 1u : 0u) + (decision.unpaid ? 2u : 0u));
  String(decision.policy);
  String(decision.rule);
  Number(decision.guest_errno);
  Signed(absl::ToInt64Nanoseconds(decision.delay));
  if (decision.matches.size() > kTraceMatchesMax) too_large_ = true;
  Number(decision.matches.size());
  for (const TrialDecision::Match& match : decision.matches) {
    String(match.policy);
    String(match.rule);
    Number(static_cast<uint64_t>(match.verdict));
    Number(static_cast<uint64_t>(match.mode));
  }
}

void TraceWriter::Value(ValType type, RawValue value) {
  if (type == ValType::kV128) {
    const V128 vector = value.v128();
    for (const uint8_t byte : vector.bytes) {
      record_.push_back(static_cast<char>(byte));
    }
    return;
  }
  // What a reference is nobody can say later.
  Number(type == ValType::kFuncRef || type == ValType::kExternRef
             ? 0
             : value.u64());
}

void TraceWriter::Gauges(const StoreGauges& gauges) {
  Number(gauges.store_bytes);
  Number((gauges.metered ? 1u : 0u) + (gauges.fuel_left.has_value() ? 2u : 0u));
  Number(gauges.fuel_used);
  if (gauges.fuel_left.has_value()) Number(*gauges.fuel_left);
}

void TraceWriter::Arming(const PolicyHook::Arming& arming) {
  Number(static_cast<uint64_t>(arming.fuel));
  Number((arming.wall_is_budget ? 1u : 0u) + (arming.cpu_is_budget ? 2u : 0u) +
         (arming.stack == Budget::kStackBytes ? 4u : 0u));
}

void TraceWriter::Types(const FuncType& type) {
  for (const auto* list : {&type.params, &type.results}) {
    Number(list->size());
    for (const ValType each : *list) {
      record_.push_back(static_cast<char>(each));
    }
  }
}

void TraceWriter::Probe(const TraceRecord& record) {
  std::vector<FuncType>& types = probes_[record.store];
  CALLGATE_CHECK(record.binding == types.size(), "numbers come in order");
  CALLGATE_CHECK(!record.names.empty(), "there is a name, if an empty one");
  types.push_back(record.type);
  if (++functions_ > kTraceFunctionsMax ||
      record.names.size() > kTraceNamesMax) {
    too_large_ = true;
  }
  Number(record.binding);
  Number(record.func_index);
  String(record.module);
  Number(record.names.size());
  for (const std::string& name : record.names) String(name);
  Types(record.type);
}

void TraceWriter::Entry(const TraceRecord& record) {
  const SimulatedStore::FunctionCall& entry = record.entry;
  const FuncType& type = probes_[record.store][entry.probe];
  CALLGATE_CHECK(entry.args.size() == type.params.size(),
                 "a call has its function's parameters");
  Number(entry.probe);
  Number(entry.depth);
  Number(entry.caller_index == kNoIndex ? 0 : uint64_t{entry.caller_index} + 1);
  String(entry.caller_name);
  for (size_t i = 0; i < entry.args.size(); ++i) {
    Value(type.params[i], entry.args[i]);
  }
  Gauges(entry.gauges);
  Decision(record.decision);
}

void TraceWriter::Function(const TraceRecord& record) {
  std::vector<FuncType>& types = types_[record.store];
  CALLGATE_CHECK(record.binding == types.size(), "bindings come in order");
  types.push_back(record.type);
  if (++functions_ > kTraceFunctionsMax) too_large_ = true;
  Number(record.binding);
  String(record.module);
  String(record.name);
  Types(record.type);
  Number(record.spec ? 1u : 0u);
  if (!record.spec) return;
  Number(record.spec->errno_result ? 1u : 0u);
  Number(record.spec->args.size());
  for (const ArgSpec& arg : record.spec->args) {
    String(arg.name);
    Number(arg.index);
    Number(static_cast<uint64_t>(arg.kind));
    Number(arg.len_index == kNoIndex ? 0 : uint64_t{arg.len_index} + 1);
    Number(arg.dir_index == kNoIndex ? 0 : uint64_t{arg.dir_index} + 1);
    Number(arg.max_bytes);
    Number(arg.redact ? 1u : 0u);
  }
}

void TraceWriter::Call(const TraceRecord& record) {
  const SimulatedStore::HostCall& call = record.call;
  const FuncType& type = types_[record.store][call.binding];
  CALLGATE_CHECK(call.args.size() == type.params.size(),
                 "a call has its function's parameters");
  Number(call.binding);
  Number(call.depth);
  Number(call.caller_index == kNoIndex ? 0 : uint64_t{call.caller_index} + 1);
  String(call.caller_name);
  Number(record.hides_parameters ? 1u : 0u);
  for (size_t i = 0; i < call.args.size(); ++i) {
    Value(type.params[i], call.args[i]);
  }
  Number(call.memory.size());
  Number(call.memory.ranges().size());
  if (call.memory.ranges().size() > kTraceRangesMax ||
      call.memory.held() > kTraceRangeBytesMax ||
      call.paths.size() > kTracePathsMax) {
    too_large_ = true;
  }
  for (const SparseMemory::Range& range : call.memory.ranges()) {
    Number(range.address);
    Number(range.hidden ? 1u : 0u);
    if (range.hidden) {
      Number(range.bytes.size());
    } else {
      Bytes(range.bytes);
    }
  }
  Number(call.paths.size());
  for (const auto& [handle, path] : call.paths) {
    Number(handle);
    String(path);
  }
  Gauges(call.gauges.value_or(StoreGauges()));
  Number(record.refused ? 1u : 0u);
  Decision(record.decision);
}

}  // namespace callgate::policy::trial
