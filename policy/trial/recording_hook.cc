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
  if (!status.ok()) recording_.store(0);
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
  recorder_.Write(NewRecord(TraceRecord::Kind::kStoreGone));
}

void RecordingHook::Attach(
    PolicyHook& hook, std::vector<std::string> policies,
    absl::Span<const std::shared_ptr<const Policy>> sources) {
  hook_ = &hook;
  policies_ = std::move(policies);
  sources_.assign(sources.begin(), sources.end());
}

TransitionSet RecordingHook::OnLink(const FunctionIdentity& function) {
  const TransitionSet wanted = hook_->OnLink(function);
  if (function.binding == kNoIndex || function.type == nullptr) return wanted;
  if (function.binding >= linked_.size()) linked_.resize(function.binding + 1);
  seen_ = std::min<size_t>(seen_, function.binding);
  Linked& linked = linked_[function.binding];
  linked.function = &function;
  const HostFunctionSpec* spec = function.spec;
  linked.args.clear();
  if (spec != nullptr) linked.args = spec->args;
  for (const auto& policy : sources_) {
    const ImportPolicy* import =
        policy->FindImport(function.module, function.name);
    if (import == nullptr) continue;
    for (const ArgumentRule& rule : import->args) {
      std::optional<ArgSpec> arg =
          ResolveArgument(rule, *function.type, spec, nullptr);
      if (!arg) continue;
      const auto same = std::find_if(
          linked.args.begin(), linked.args.end(),
          [&](const ArgSpec& known) { return known.name == arg->name; });
      if (same == linked.args.end()) {
        linked.args.push_back(*std::move(arg));
      } else {
        // Hidden by anybody is hidden.
        arg->redact = arg->redact || same->redact;
        arg->max_bytes = std::max(arg->max_bytes, same->max_bytes);
        *same = *std::move(arg);
      }
    }
  }
  return TransitionSet::HostCalls();
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
  Introduce(recording);
  TraceRecord record = NewRecord(TraceRecord::Kind::kStore);
  told_ = {};
  listening_ = true;
  const Disposition disposition = hook_->OnTransition(call);
  listening_ = false;
  told_.Finish(disposition, hook_->latched().get());
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

bool RecordingHook::OnGrowth(const GrowthEvent& event) {
  const uint64_t recording =
      recorder_.recording_.load(std::memory_order_relaxed);
  if (recording == 0) return hook_->OnGrowth(event);
  const std::lock_guard<std::mutex> lock(recorder_.mu_);
  if (recorder_.recording_.load() != recording) return hook_->OnGrowth(event);
  Introduce(recording);
  TraceRecord record = NewRecord(TraceRecord::Kind::kGrowth);
  const bool ended = hook_->latched() != nullptr;
  told_ = {};
  listening_ = true;
  const bool allowed = hook_->OnGrowth(event);
  listening_ = false;
  told_.Finish(ended ? Disposition::kRefuse : Disposition::kProceed,
               hook_->latched().get());
  record.decision = std::move(told_);
  record.growth = event;
  recorder_.Write(record);
  return allowed;
}

void RecordingHook::OnDecision(const DecisionRecord& decision) {
  if (listening_) told_.Add(decision);
  sink_.OnDecision(decision);
}

// --- What is written ---------------------------------------------------------

TraceRecord RecordingHook::NewRecord(TraceRecord::Kind kind) const {
  TraceRecord record;
  record.kind = kind;
  record.store = store_;
  record.at = {clocks_.monotonic(), clocks_.wall()};
  return record;
}

void RecordingHook::Introduce(uint64_t recording) {
  if (introduced_in_ != recording) {
    introduced_in_ = recording;
    store_ = recorder_.next_store_++;
    functions_ = 0;
    TraceRecord record = NewRecord(TraceRecord::Kind::kStore);
    record.facts = hook_->facts();
    record.policies = policies_;
    recorder_.Write(record);
    for (Linked& linked : linked_) linked.number = kNoIndex;
    seen_ = 0;
  }
  for (size_t b = seen_; b < linked_.size(); ++b) {
    if (linked_[b].function != nullptr && linked_[b].number == kNoIndex) {
      WriteFunction(linked_[b]);
    }
  }
  seen_ = linked_.size();
}

void RecordingHook::WriteFunction(Linked& linked) {
  const FunctionIdentity& function = *linked.function;
  linked.number = functions_++;
  TraceRecord record = NewRecord(TraceRecord::Kind::kFunction);
  record.binding = linked.number;
  record.module = std::string(function.module);
  record.name = std::string(function.name);
  record.type = *function.type;
  if (function.spec != nullptr) record.spec = *function.spec;
  recorder_.Write(record);
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
