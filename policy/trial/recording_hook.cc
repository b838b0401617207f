#include "policy/trial/recording_hook.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "policy/argument.h"
#include "runtime/check.h"

namespace callgate::policy::trial {
namespace {

// Bytes of one argument, and of all of a call. What is longer is left out, and
// a replay that asks for it is told that nobody knows.
constexpr uint64_t kRangeBytesMax = 128 << 10;
constexpr uint64_t kCallBytesMax = 512 << 10;
constexpr uint64_t kIovecPairBytes = 8;

uint64_t Unsigned(const FuncType& type, absl::Span<const RawValue> args,
                  uint32_t index) {
  return type.params[index] == ValType::kI64 ? args[index].u64()
                                             : args[index].u32();
}

// The wall time of the event that is being written down on this thread.
thread_local const absl::Time* wall_of_event = nullptr;

StoreGauges GaugesOf(CallContext& call) {
  StoreGauges gauges;
  gauges.store_bytes = call.StoreBytes();
  const Fuel& fuel = call.fuel();
  gauges.metered = fuel.metered();
  gauges.fuel_used = std::min(fuel.used(), Fuel::kTankMax);
  if (const std::optional<uint64_t> left = fuel.left()) {
    gauges.fuel_left = std::min(*left, Fuel::kTankMax);
  }
  return gauges;
}

uint32_t LittleEndian(absl::Span<const uint8_t> bytes) {
  return uint32_t{bytes[0]} | uint32_t{bytes[1]} << 8 |
         uint32_t{bytes[2]} << 16 | uint32_t{bytes[3]} << 24;
}

}  // namespace

// --- The recorder ------------------------------------------------------------

absl::Status TraceRecorder::Start(std::shared_ptr<TraceSink> sink) {
  const std::lock_guard<std::mutex> lock(mu_);
  if (sink_ != nullptr) {
    return absl::FailedPreconditionError("a trace is being recorded");
  }
  sink_ = std::move(sink);
  bytes_.clear();
  writer_ = std::make_unique<TraceWriter>(&bytes_);
  next_store_ = 0;
  end_ = absl::OkStatus();
  const absl::Status status = sink_->Append(bytes_);
  bytes_.clear();
  if (!status.ok()) {
    sink_ = nullptr;
    return status;
  }
  recording_.store(++recordings_);
  return absl::OkStatus();
}

std::shared_ptr<TraceSink> TraceRecorder::Stop() {
  const std::lock_guard<std::mutex> lock(mu_);
  recording_.store(0);
  writer_ = nullptr;
  return std::exchange(sink_, nullptr);
}

void TraceRecorder::Write(const TraceRecord& record) {
  if (recording_.load(std::memory_order_relaxed) == 0) return;
  bytes_.clear();
  absl::Status status = writer_->Write(record);
  if (status.ok()) status = sink_->Append(bytes_);
  // The sink stays until it is asked for, so that nobody else begins over it.
  if (status.ok()) return;
  end_ = std::move(status);
  recording_.store(0);
}

// --- The hook ----------------------------------------------------------------

RecordingHook::RecordingHook(TraceRecorder& recorder, DecisionSink& sink,
                             HandleNames* handles, Clocks clocks)
    : recorder_(recorder),
      sink_(sink),
      handles_(handles),
      clocks_(std::move(clocks)) {}

RecordingHook::~RecordingHook() {
  if (!recorder_.recording() || introduced_in_ == 0) return;
  const std::lock_guard<std::mutex> lock(recorder_.mu_);
  if (introduced_in_ != recorder_.recording_.load()) return;
  recorder_.Write(NewRecord(TraceRecord::Kind::kStoreGone, Now()));
}

// Around showing the hook an event that is written down: its clocks stand at
// the record's time, and what it tells belongs to the record.
class RecordingHook::Listening {
 public:
  Listening(RecordingHook& hook, const TrialClock& at) : hook_(hook) {
    hook_.told_ = {};
    hook_.event_time_ = &at;
    wall_of_event = &at.wall;
  }
  ~Listening() {
    hook_.event_time_ = nullptr;
    wall_of_event = nullptr;
  }
  Listening(const Listening&) = delete;
  Listening& operator=(const Listening&) = delete;

 private:
  RecordingHook& hook_;
};

MonotonicClock RecordingHook::clock() {
  return [this] {
    return event_time_ != nullptr ? event_time_->monotonic
                                  : clocks_.monotonic();
  };
}

absl::Time RecordingHook::WallClock() {
  return wall_of_event != nullptr ? *wall_of_event : absl::Now();
}

void RecordingHook::Attach(PolicyHook& hook, Labels module_labels,
                           NamesOf names_of) {
  hook_ = &hook;
  module_labels_ = std::move(module_labels);
  names_of_ = std::move(names_of);
}

TransitionSet RecordingHook::OnLink(const FunctionIdentity& function) {
  const TransitionSet wanted = hook_->OnLink(function);
  if (function.binding == kNoIndex || function.type == nullptr) return wanted;
  if (function.binding >= linked_.size()) linked_.resize(function.binding + 1);
  seen_ = std::min<size_t>(seen_, function.binding);
  Linked& linked = linked_[function.binding];
  linked.function = &function;
  DescribeArguments(&linked);
  return TransitionSet::HostCalls();
}

void RecordingHook::DescribeArguments(Linked* linked) const {
  const FunctionIdentity& function = *linked->function;
  const HostFunctionSpec* spec = function.spec;
  linked->args.clear();
  if (spec != nullptr) linked->args = spec->args;
  for (const auto& policy : hook_->policies()) {
    const ImportPolicy* import =
        policy->FindImport(function.module, function.name);
    if (import == nullptr) continue;
    for (const ArgumentRule& rule : import->args) {
      std::optional<ArgSpec> arg =
          ResolveArgument(rule, *function.type, spec, nullptr);
      if (!arg) continue;
      const auto same = std::find_if(
          linked->args.begin(), linked->args.end(),
          [&](const ArgSpec& known) { return known.name == arg->name; });
      if (same == linked->args.end()) {
        linked->args.push_back(*std::move(arg));
      } else {
        // Hidden by anybody is hidden.
        arg->redact = arg->redact || same->redact;
        arg->max_bytes = std::max(arg->max_bytes, same->max_bytes);
        *same = *std::move(arg);
      }
    }
  }
}

void RecordingHook::NotePolicies(bool at_once, const TrialClock& at) {
  const uint64_t replacements = hook_->replacements();
  if (replacements_described_ != replacements) {
    replacements_described_ = replacements;
    for (Linked& linked : linked_) {
      if (linked.function != nullptr) DescribeArguments(&linked);
    }
  }
  if (replacements_written_ == replacements) return;
  replacements_written_ = replacements;
  TraceRecord record = NewRecord(TraceRecord::Kind::kPolicies, at);
  record.at_once = at_once;
  for (const auto& policy : hook_->policies()) {
    record.policies.push_back(
        absl::StrCat(policy->name(), "@", policy->short_version()));
  }
  recorder_.Write(record);
}

Disposition RecordingHook::OnTransition(CallContext& call) {
  const bool enters = call.transition() == Transition::kCallingHost;
  const bool leaves = call.transition() == Transition::kReturningFromHost;
  const uint64_t recording =
      recorder_.recording_.load(std::memory_order_relaxed);
  // A leave belongs to the recording of its enter.
  if (leaves && !live_calls_.empty()) {
    const uint64_t entered_in = live_calls_.back();
    live_calls_.pop_back();
    if (entered_in != recording) return hook_->OnTransition(call);
  }
  Disposition disposition;
  uint64_t recorded_in = 0;
  if (recording == 0) {
    disposition = hook_->OnTransition(call);
  } else {
    const std::lock_guard<std::mutex> lock(recorder_.mu_);
    if (recorder_.recording_.load() == recording) {
      disposition = Record(call, recording);
      recorded_in = recording;
    } else {
      disposition = hook_->OnTransition(call);
    }
  }
  if (enters && disposition != Disposition::kRefuse) {
    live_calls_.push_back(recorded_in);
  }
  return disposition;
}

Disposition RecordingHook::Record(CallContext& call, uint64_t recording) {
  const TrialClock at = Now();
  Introduce(recording, at);
  NotePolicies(/*at_once=*/true, at);
  TraceRecord record = NewRecord(TraceRecord::Kind::kStore, at);
  const StoreGauges gauges = GaugesOf(call);
  Disposition disposition;
  {
    const Listening listening(*this, at);
    disposition = hook_->OnTransition(call);
  }
  NotePolicies(/*at_once=*/false, at);
  told_.Finish(disposition, hook_->latched().get());
  record.arming = hook_->arming();
  record.decision = std::move(told_);
  record.depth = call.depth();
  record.ending = call.ending();
  if (call.trap() != nullptr) record.trap = call.trap()->code();
  const FunctionIdentity& function = call.function();
  const Linked* linked =
      function.binding < linked_.size() ? &linked_[function.binding] : nullptr;
  switch (call.transition()) {
    case Transition::kCallingWasm:
      record.kind = TraceRecord::Kind::kBeginCall;
      break;
    case Transition::kReturningFromWasm:
      record.kind = TraceRecord::Kind::kEndCall;
      break;
    case Transition::kReturningFromHost:
      if (linked == nullptr || linked->number == kNoIndex) return disposition;
      record.kind = TraceRecord::Kind::kLeaveHost;
      record.gauges = gauges;
      record.binding = linked->number;
      record.results.assign(call.results().begin(), call.results().end());
      if (record.ending == Ending::kValue) {
        for (const ArgSpec& arg : linked->args) {
          if (arg.kind == ArgKind::kAddrsOut) CopyWritten(arg, call, &record);
        }
      }
      break;
    case Transition::kCallingHost: {
      if (linked == nullptr || linked->number == kNoIndex) return disposition;
      record.kind = TraceRecord::Kind::kEnterHost;
      record.binding = linked->number;
      SimulatedStore::HostCall& copy = record.call;
      copy.binding = linked->number;
      copy.depth = call.depth();
      copy.gauges = gauges;
      record.refused = disposition == Disposition::kRefuse;
      const CallerFrame caller = call.caller();
      copy.caller_index = caller.func_index;
      copy.caller_name = std::string(caller.func_name);
      copy.args.assign(call.args().begin(), call.args().end());
      copy.memory.Reset(std::min(call.MemoryBytes(), SparseMemory::kBytesMax));
      for (const ArgSpec& arg : linked->args) {
        CopyArgument(arg, call, &record);
      }
      break;
    }
  }
  recorder_.Write(record);
  return disposition;
}

GrowthAnswer RecordingHook::OnGrowth(const GrowthEvent& event) {
  const uint64_t recording =
      recorder_.recording_.load(std::memory_order_relaxed);
  if (recording == 0) return hook_->OnGrowth(event);
  const std::lock_guard<std::mutex> lock(recorder_.mu_);
  if (recorder_.recording_.load() != recording) return hook_->OnGrowth(event);
  const TrialClock at = Now();
  Introduce(recording, at);
  NotePolicies(/*at_once=*/true, at);
  TraceRecord record = NewRecord(TraceRecord::Kind::kGrowth, at);
  const bool ended = hook_->latched() != nullptr;
  GrowthAnswer answer = true;
  {
    const Listening listening(*this, at);
    answer = hook_->OnGrowth(event);
  }
  NotePolicies(/*at_once=*/false, at);
  told_.Finish(ended ? Disposition::kRefuse : Disposition::kProceed,
               hook_->latched().get());
  record.decision = std::move(told_);
  record.growth = event;
  recorder_.Write(record);
  return answer;
}

EntryAnswer RecordingHook::OnFunctionEnter(const FunctionEntry& entry) {
  const uint64_t recording =
      recorder_.recording_.load(std::memory_order_relaxed);
  if (recording == 0) return hook_->OnFunctionEnter(entry);
  const std::lock_guard<std::mutex> lock(recorder_.mu_);
  if (recorder_.recording_.load() != recording) {
    return hook_->OnFunctionEnter(entry);
  }
  const TrialClock at = Now();
  Introduce(recording, at);
  NotePolicies(/*at_once=*/true, at);
  const uint32_t number = NumberOf(entry.function, at);
  TraceRecord record = NewRecord(TraceRecord::Kind::kEnterFunction, at);
  SimulatedStore::FunctionCall& call = record.entry;
  call.probe = number;
  call.args.assign(entry.args.begin(), entry.args.end());
  call.depth = entry.depth;
  const CallerFrame caller = entry.caller();
  call.caller_index = caller.func_index;
  call.caller_name = std::string(caller.func_name);
  call.gauges.store_bytes = entry.store_bytes;
  call.gauges.fuel_used = std::min(entry.fuel_used, Fuel::kTankMax);
  EntryAnswer answer = nullptr;
  {
    const Listening listening(*this, at);
    answer = hook_->OnFunctionEnter(entry);
  }
  told_.Finish(
      answer.error != nullptr ? Disposition::kRefuse : Disposition::kProceed,
      hook_->latched().get());
  record.decision = std::move(told_);
  recorder_.Write(record);
  return answer;
}

void RecordingHook::OnDecision(const DecisionRecord& decision) {
  if (event_time_ != nullptr) told_.Add(decision);
  sink_.OnDecision(decision);
}

// --- What is written ---------------------------------------------------------

TraceRecord RecordingHook::NewRecord(TraceRecord::Kind kind,
                                     const TrialClock& at) const {
  TraceRecord record;
  record.kind = kind;
  record.store = store_;
  record.at = at;
  return record;
}

void RecordingHook::Introduce(uint64_t recording, const TrialClock& at) {
  if (introduced_in_ != recording) {
    introduced_in_ = recording;
    store_ = recorder_.next_store_++;
    functions_ = 0;
    probes_.clear();
    TraceRecord record = NewRecord(TraceRecord::Kind::kStore, at);
    record.facts = hook_->facts();
    record.module_labels = module_labels_;
    record.calls_before = hook_->calls_of_store();
    for (const auto& policy : hook_->policies()) {
      record.policies.push_back(
          absl::StrCat(policy->name(), "@", policy->short_version()));
    }
    replacements_written_ = hook_->replacements();
    recorder_.Write(record);
    for (Linked& linked : linked_) linked.number = kNoIndex;
    seen_ = 0;
  }
  for (size_t b = seen_; b < linked_.size(); ++b) {
    if (linked_[b].function != nullptr && linked_[b].number == kNoIndex) {
      WriteFunction(linked_[b], at);
    }
  }
  seen_ = linked_.size();
}

void RecordingHook::WriteFunction(Linked& linked, const TrialClock& at) {
  const FunctionIdentity& function = *linked.function;
  linked.number = functions_++;
  TraceRecord record = NewRecord(TraceRecord::Kind::kFunction, at);
  record.binding = linked.number;
  record.module = std::string(function.module);
  record.name = std::string(function.name);
  record.type = *function.type;
  if (function.spec != nullptr) record.spec = *function.spec;
  recorder_.Write(record);
}

uint32_t RecordingHook::NumberOf(const ProbedFunction& function,
                                 const TrialClock& at) {
  const auto [known, is_new] = probes_.try_emplace(
      function.func_index, static_cast<uint32_t>(probes_.size()));
  if (!is_new) return known->second;
  TraceRecord record = NewRecord(TraceRecord::Kind::kProbe, at);
  record.binding = known->second;
  record.func_index = function.func_index;
  record.module = std::string(function.module);
  record.type = *function.type;
  record.names.emplace_back(function.name);
  if (names_of_) {
    for (std::string& name : names_of_(function.func_index)) {
      if (record.names.size() >= kTraceNamesMax) break;
      if (name != record.names[0]) record.names.push_back(std::move(name));
    }
  }
  recorder_.Write(record);
  return known->second;
}

void RecordingHook::CopyArgument(const ArgSpec& arg, CallContext& call,
                                 TraceRecord* record) const {
  const FuncType& type = *call.function().type;
  const absl::Span<const RawValue> args = call.args();
  if (args.size() != type.params.size() || arg.index >= args.size()) return;
  const uint64_t number = Unsigned(type, args, arg.index);
  if (arg.kind == ArgKind::kHandle) NamePath(call.function(), number, record);
  if (!HasLength(arg.kind)) {
    if (arg.redact && arg.kind != ArgKind::kPointer) {
      record->call.args[arg.index] = RawValue();
      record->hides_parameters = true;
    }
    return;
  }
  if (arg.len_index >= args.size()) return;
  if (arg.kind == ArgKind::kPath && arg.dir_index < args.size()) {
    NamePath(call.function(), Unsigned(type, args, arg.dir_index), record);
  }
  const uint64_t length = Unsigned(type, args, arg.len_index);
  switch (arg.kind) {
    case ArgKind::kBytesOut:
    case ArgKind::kIovecOut:
    case ArgKind::kAddrsOut:
      return;  // the host writes these
    case ArgKind::kIovecIn: {
      if (length > kIovecPairsMax) return;
      const auto table = call.Capture(number, length * kIovecPairBytes);
      if (!table.ok()) return;
      CopyRange(number, length * kIovecPairBytes, false, call, record);
      for (uint64_t i = 0; i < length; ++i) {
        const absl::Span<const uint8_t> pair =
            table->subspan(static_cast<size_t>(i * kIovecPairBytes));
        CopyRange(LittleEndian(pair), LittleEndian(pair.subspan(4)), arg.redact,
                  call, record);
      }
      return;
    }
    default:
      // What is over the bound nobody reads.
      if (length > arg.max_bytes) return;
      CopyRange(number, length, arg.redact, call, record);
      return;
  }
}

void RecordingHook::CopyWritten(const ArgSpec& arg, CallContext& call,
                                TraceRecord* record) {
  const FuncType& type = *call.function().type;
  const absl::Span<const RawValue> args = call.args();
  if (args.size() != type.params.size() || arg.index >= args.size() ||
      arg.len_index >= args.size() || arg.redact) {
    return;
  }
  const uint64_t address = Unsigned(type, args, arg.index);
  const uint64_t length = Unsigned(type, args, arg.len_index);
  if (length == 0 || length > std::min(arg.max_bytes, kRangeBytesMax)) return;
  std::string bytes(static_cast<size_t>(length), '\0');
  // SAFETY: characters may be written as bytes.
  auto* const out = reinterpret_cast<uint8_t*>(&bytes[0]);
  if (!call.ReadBack(address, absl::MakeSpan(out, bytes.size())).ok()) return;
  record->writes.emplace_back(address, std::move(bytes));
}

void RecordingHook::CopyRange(uint64_t address, uint64_t length, bool hidden,
                              CallContext& call, TraceRecord* record) const {
  SparseMemory& memory = record->call.memory;
  if (length == 0 || length > kRangeBytesMax ||
      length > kCallBytesMax - std::min(kCallBytesMax, memory.held()) ||
      memory.ranges().size() >= kTraceRangesMax || address > memory.size() ||
      length > memory.size() - address) {
    return;
  }
  const auto bytes = call.Capture(address, length);
  if (!bytes.ok()) return;
  memory.Add(address,
             hidden ? std::string(bytes->size(), '\0')
                    : std::string(bytes->begin(), bytes->end()),
             hidden);
}

void RecordingHook::NamePath(const FunctionIdentity& function, uint64_t handle,
                             TraceRecord* record) const {
  if (handles_ == nullptr) return;
  auto& paths = record->call.paths;
  if (paths.size() >= kTracePathsMax) return;
  for (const auto& [known, path] : paths) {
    if (known == handle) return;
  }
  const auto path = handles_->PathOf(function, handle);
  if (path) paths.emplace_back(handle, std::string(*path));
}

}  // namespace callgate::policy::trial
