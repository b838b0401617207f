#include "policy/trial/replay.h"

#include <algorithm>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/str_cat.h"
#include "policy/import_name.h"
#include "policy/quote.h"
#include "policy/trial/simulated_store.h"

namespace callgate::policy::trial {
namespace {

constexpr uint64_t kRecordsBetweenQuestions = 256;

class Replayer {
 public:
  Replayer(TraceReader& trace, const ReplayOptions& options,
           ReplayReport* report)
      : trace_(trace),
        options_(options),
        report_(*report),
        events_before_(report->events) {}

  absl::Status Run() {
    TraceRecord record;
    for (uint64_t n = 1;; ++n) {
      const absl::StatusOr<bool> there = trace_.Next(&record);
      if (!there.ok()) return there.status();
      if (!*there) break;
      if (n % kRecordsBetweenQuestions == 0 && options_.keep_going &&
          !options_.keep_going()) {
        return absl::CancelledError("the replay was given up");
      }
      const absl::Status status = Show(record);
      if (!status.ok()) return status;
    }
    report_.cut_off = report_.cut_off || trace_.cut_off();
    return absl::OkStatus();
  }

 private:
  // A call of the trace that has not left.
  struct LiveCall {
    SimulatedStore::HostCall call;
    // The hook let it in now; if not, its leave is nobody's.
    bool entered = false;
    // What the trace says of the call is not what would have been.
    bool differs = false;
  };
  struct State {
    std::unique_ptr<SimulatedStore> store;  // null: left out
    StoreFacts facts;
    std::vector<std::string> names;  // of functions
    std::vector<FuncType> types;
    std::vector<LiveCall> live;
    // Since some call has gone another way, what follows is guesswork.
    bool departed = false;
  };

  static absl::Status Damaged(absl::string_view what) {
    return absl::DataLossError(absl::StrCat("the trace is damaged: ", what));
  }

  absl::Status Show(const TraceRecord& record) {
    if (record.kind == TraceRecord::Kind::kStore) {
      OpenStore(record);
      return absl::OkStatus();
    }
    const auto found = stores_.find(record.store);
    if (found == stores_.end()) return Damaged("a Store is gone");
    State& state = found->second;
    if (record.kind == TraceRecord::Kind::kStoreGone) {
      stores_.erase(found);
      return absl::OkStatus();
    }
    if (record.kind == TraceRecord::Kind::kFunction) {
      state.names.push_back(FormatImportName(record.module, record.name));
      state.types.push_back(record.type);
      if (state.store != nullptr) {
        clock_ = record.at;
        state.store->Link(record.module, record.name, record.type, record.spec);
      }
      return absl::OkStatus();
    }
    if (record.at.wall < options_.since) return Skip(record, state);
    if (state.store == nullptr) {
      ++report_.events_skipped;
      return absl::OkStatus();
    }
    clock_ = record.at;
    switch (record.kind) {
      case TraceRecord::Kind::kBeginCall:
        if (record.depth <= 1) state.store->BeginCall();
        return absl::OkStatus();
      case TraceRecord::Kind::kEndCall:
        EndCall(record, state);
        return absl::OkStatus();
      case TraceRecord::Kind::kEnterHost:
        return Enter(record, state);
      case TraceRecord::Kind::kLeaveHost:
        return Leave(record, state);
      case TraceRecord::Kind::kGrowth:
        Compare(record, state,
                record.growth.kind == GrowthEvent::Kind::kMemory ? "memory_grow"
                                                                 : "table_grow",
                state.store->Grow(record.growth), false);
        return absl::OkStatus();
      default:
        return Damaged("an unknown record");
    }
  }

  void OpenStore(const TraceRecord& record) {
    State state;
    state.facts = record.facts;
    const ReplayedStore::Labels labels;
    ReplayJudges judges =
        options_.judges({record.facts, labels, record.policies});
    clock_ = record.at;
    ++report_.stores;
    if (judges.policies.empty()) {
      ++report_.stores_skipped;
    } else {
      state.departed = judges.incomplete;
      state.store = std::make_unique<SimulatedStore>(
          std::move(judges.policies), record.facts, clock_, states_);
    }
    stores_.insert_or_assign(record.store, std::move(state));
  }

  // An event from before: only which calls are live matters.
  static absl::Status Skip(const TraceRecord& record, State& state) {
    if (state.store == nullptr) return absl::OkStatus();
    if (record.kind == TraceRecord::Kind::kEnterHost && GoesOn(record)) {
      state.live.emplace_back();
    } else if (record.kind == TraceRecord::Kind::kLeaveHost) {
      if (state.live.empty()) return Damaged("a call ends that never began");
      state.live.pop_back();
    }
    return absl::OkStatus();
  }

  // Whether the trace has a leave for this enter.
  static bool GoesOn(const TraceRecord& record) {
    return !record.decision.after_end &&
           record.decision.verdict <= Verdict::kDeny;
  }

  absl::Status Enter(const TraceRecord& record, State& state) {
    TrialDecision decision = state.store->EnterHost(record.call);
    const bool entered = state.store->entered();
    const bool answered = state.store->answered();
    Compare(record, state, state.names[record.binding], decision,
            record.hides_parameters);
    LiveCall live;
    live.call = record.call;
    live.entered = entered;
    const bool was_answered = record.decision.verdict == Verdict::kDeny;
    live.differs =
        GoesOn(record) != entered || (entered && was_answered != answered);
    state.departed = state.departed || live.differs;
    if (GoesOn(record)) {
      state.live.push_back(std::move(live));
    } else if (entered) {
      // Nobody knows how it would have ended.
      LeaveWithZeros(live, state);
    }
    return absl::OkStatus();
  }

  static void LeaveWithZeros(const LiveCall& live, State& state) {
    std::vector<RawValue> zeros;
    for (const ValType type : state.types[live.call.binding].results) {
      zeros.push_back(Value::Zero(type).raw());
    }
    state.store->LeaveHost(live.call, Ending::kValue, zeros, nullptr);
  }

  absl::Status Leave(const TraceRecord& record, State& state) {
    if (state.live.empty()) return Damaged("a call ends that never began");
    LiveCall live = std::move(state.live.back());
    state.live.pop_back();
    if (!live.entered) return absl::OkStatus();
    if (live.call.binding != record.binding) {
      return Damaged("a call ends as another one");
    }
    // Answered then and run now: without results, as above. Answered now: with
    // the hook's own.
    if (record.ending == Ending::kAnswered && live.differs) {
      LeaveWithZeros(live, state);
      return absl::OkStatus();
    }
    for (const auto& [address, bytes] : record.writes) {
      const uint64_t size = live.call.memory.size();
      if (address > size || bytes.size() > size - address) {
        return Damaged("a function wrote outside of its caller's memory");
      }
    }
    live.call.writes = record.writes;
    const std::optional<Trap> trap = TrapOf(record);
    const TrialDecision decision = state.store->LeaveHost(
        live.call, record.ending, record.results, trap ? &*trap : nullptr);
    Compare(record, state, state.names[record.binding], decision, false);
    return absl::OkStatus();
  }

  void EndCall(const TraceRecord& record, State& state) {
    const std::optional<Trap> trap = TrapOf(record);
    const TrialDecision decision =
        state.store->EndCall(trap ? &*trap : nullptr);
    // Whether a trap was a budget's the trace does not say.
    if (record.decision.matches.empty() && decision.matches.empty()) return;
    Compare(record, state, "the end of a call", decision, true);
  }

  static std::optional<Trap> TrapOf(const TraceRecord& record) {
    if (!record.trap) return std::nullopt;
    if (*record.trap == TrapCode::kHostError ||
        *record.trap == TrapCode::kRefused) {
      return Trap::FromError(*record.trap, MakeError("as in the trace"), {});
    }
    return Trap(*record.trap, {});
  }

  void Compare(const TraceRecord& record, State& state,
               absl::string_view subject, TrialDecision after, bool uncertain) {
    const uint64_t event = report_.events++;
    const TrialDecision& before = record.decision;
    ++report_.before[before.verdict];
    ++report_.after[after.verdict];
    if (before.SaysTheSame(after)) return;
    ++report_.changed;
    uncertain = uncertain || state.departed || after.read_hidden ||
                after.read_unknown || after.read_store_bytes;
    report_.uncertain += uncertain ? 1 : 0;
    ++report_.moves[{before.verdict, after.verdict}];
    if (report_.changes.size() >= ReplayReport::kChangesMax) return;
    ReplayChange change;
    change.trace = options_.trace;
    change.event = event - events_before_;
    change.wall = record.at.wall;
    change.store_id = state.facts.store_id;
    change.tenant = state.facts.tenant;
    change.subject = std::string(subject);
    change.before = before;
    change.after = std::move(after);
    change.after.answers.clear();  // views into policies
    change.uncertain = uncertain;
    report_.changes.push_back(std::move(change));
  }

  TraceReader& trace_;
  const ReplayOptions& options_;
  ReplayReport& report_;
  const uint64_t events_before_;  // of other traces
  TrialClock clock_;
  RuleStates states_{TrialStates()};  // outlives stores_
  absl::flat_hash_map<uint32_t, State> stores_;
};

}  // namespace

std::string ReplayChange::ToString() const {
  std::string text = absl::StrCat(
      trace.empty() ? "" : absl::StrCat("trace ", trace, ", "), "event ", event,
      " ", absl::FormatTime("%Y-%m-%dT%H:%M:%E6SZ", wall, absl::UTCTimeZone()),
      " Store ", EscapeText(store_id), " of ", EscapeText(tenant), ", ",
      EscapeText(subject), ": was ", before.ToString(), ", would be ",
      after.ToString());
  if (!after.message.empty()) {
    absl::StrAppend(&text, " (", after.message, ")");
  }
  if (uncertain) absl::StrAppend(&text, " [uncertain]");
  return text;
}

std::string ReplayReport::ToString() const {
  std::string text;
  for (const ReplayChange& change : changes) {
    absl::StrAppend(&text, change.ToString(), "\n");
  }
  if (changed > changes.size()) {
    absl::StrAppend(&text, "and ", changed - changes.size(), " more\n");
  }
  for (const auto& [move, count] : moves) {
    absl::StrAppend(&text, VerdictName(move.first), " -> ",
                    VerdictName(move.second), ": ", count, "\n");
  }
  absl::StrAppend(&text, events, " events of ", stores - stores_skipped,
                  " Stores, ", changed, " changed, ", uncertain,
                  " of them uncertain");
  if (stores_skipped > 0) {
    absl::StrAppend(&text, "; left out ", events_skipped, " events of ",
                    stores_skipped, " Stores that the policy is not for");
  }
  absl::StrAppend(&text, "\n");
  if (cut_off) absl::StrAppend(&text, "the trace's last record is cut off\n");
  return text;
}

absl::Status Replay(TraceReader& trace, const ReplayOptions& options,
                    ReplayReport* report) {
  return Replayer(trace, options, report).Run();
}

}  // namespace callgate::policy::trial
