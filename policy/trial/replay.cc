#include "policy/trial/replay.h"

#include <algorithm>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
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
    // What judges it.
    std::vector<std::shared_ptr<const Policy>> policies;
    // Rules about anomalies among these, as "policy/rule": what is usual of a
    // module is not in the trace.
    absl::flat_hash_set<std::string> anomalies;
    // What the trace says of it: kStore, then every kFunction and kProbe.
    TraceRecord known;
    std::vector<TraceRecord> functions;
    std::vector<TraceRecord> probes;
    std::vector<std::string> names;  // of functions
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
    switch (record.kind) {
      case TraceRecord::Kind::kStoreGone:
        stores_.erase(found);
        return absl::OkStatus();
      case TraceRecord::Kind::kFunction:
        state.names.push_back(FormatImportName(record.module, record.name));
        state.functions.push_back(record);
        if (state.store != nullptr) Link(record, *state.store);
        return absl::OkStatus();
      case TraceRecord::Kind::kProbe:
        state.probes.push_back(record);
        if (state.store != nullptr) Link(record, *state.store);
        return absl::OkStatus();
      case TraceRecord::Kind::kPolicies:
        ChangePolicies(record, state);
        return absl::OkStatus();
      default:
        break;
    }
    counts_ = record.at.wall >= options_.since;
    if (state.store == nullptr) {
      if (counts_) ++report_.events_skipped;
      return Skip(record, state);
    }
    clock_ = record.at;
    switch (record.kind) {
      case TraceRecord::Kind::kBeginCall:
        state.store->hook().ArmCall(record.arming);
        state.store->BeginCall(record.depth);
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
      case TraceRecord::Kind::kEnterFunction:
        Compare(record, state, NameOf(state.probes[record.entry.probe]),
                state.store->EnterFunction(record.entry), false);
        return absl::OkStatus();
      default:
        return Damaged("an unknown record");
    }
  }

  static std::string NameOf(const TraceRecord& probe) {
    return absl::StrCat("function ", probe.names[0].empty()
                                         ? absl::StrCat("#", probe.func_index)
                                         : probe.names[0]);
  }

  void OpenStore(const TraceRecord& record) {
    State state;
    state.known = record;
    ++report_.stores;
    ReplayJudges judges = JudgesOf(state, record.policies);
    if (judges.policies.empty()) {
      ++report_.stores_skipped;
    } else {
      // What its rules remember of the time before is not in the trace.
      state.departed = judges.incomplete || record.calls_before > 0;
      Make(record, std::move(judges.policies), &state);
    }
    stores_.insert_or_assign(record.store, std::move(state));
  }

  ReplayJudges JudgesOf(const State& state,
                        const std::vector<std::string>& before) const {
    return options_.judges(
        {state.known.facts, state.known.module_labels, before});
  }

  // A Store, from the moment of `record` on.
  void Make(const TraceRecord& record,
            std::vector<std::shared_ptr<const Policy>> policies, State* state) {
    clock_ = record.at;
    Remember(policies, state);
    state->store = std::make_unique<SimulatedStore>(
        std::move(policies), state->known.facts, clock_, states_,
        state->known.calls_before);
    for (const TraceRecord& function : state->functions) {
      Link(function, *state->store);
    }
    for (const TraceRecord& probe : state->probes) Link(probe, *state->store);
  }

  static void Remember(std::vector<std::shared_ptr<const Policy>> policies,
                       State* state) {
    state->anomalies.clear();
    for (const auto& policy : policies) {
      for (const AnomalyRule& anomaly : policy->anomaly()) {
        state->anomalies.insert(
            absl::StrCat(policy->name(), "/", anomaly.rule.id));
      }
    }
    state->policies = std::move(policies);
  }

  void Link(const TraceRecord& record, SimulatedStore& store) {
    if (record.kind == TraceRecord::Kind::kProbe) {
      store.LinkProbe(record.module, record.names, record.func_index,
                      record.type);
      return;
    }
    clock_ = record.at;
    store.Link(record.module, record.name, record.type, record.spec);
  }

  void ChangePolicies(const TraceRecord& record, State& state) {
    ReplayJudges judges = JudgesOf(state, record.policies);
    if (judges.policies.empty()) {
      if (state.store != nullptr) ++report_.stores_skipped;
      state.store = nullptr;
      return;
    }
    state.departed = state.departed || judges.incomplete;
    if (state.store == nullptr) {
      --report_.stores_skipped;
      state.departed = true;
      Make(record, std::move(judges.policies), &state);
      return;
    }
    const auto is_same = [](const auto& a, const auto& b) {
      return a->version() == b->version();
    };
    if (std::equal(judges.policies.begin(), judges.policies.end(),
                   state.policies.begin(), state.policies.end(), is_same)) {
      return;
    }
    clock_ = record.at;
    Remember(judges.policies, &state);
    state.store->Replace(std::move(judges.policies), record.at_once);
  }

  // An event that is not shown: only which calls are live matters.
  static absl::Status Skip(const TraceRecord& record, State& state) {
    if (record.kind == TraceRecord::Kind::kEnterHost && GoesOn(record)) {
      state.live.emplace_back();
    } else if (record.kind == TraceRecord::Kind::kLeaveHost) {
      if (state.live.empty()) return Damaged("a call ends that never began");
      state.live.pop_back();
    }
    return absl::OkStatus();
  }

  // Whether the trace has a leave for this enter.
  static bool GoesOn(const TraceRecord& record) { return !record.refused; }

  absl::Status Enter(const TraceRecord& record, State& state) {
    // What is usual of the module nobody knows here. A call that no rule on
    // anomalies spoke of is as usual, or rules that want a profile would stop
    // every one.
    shown_ = record.call;
    if (!state.anomalies.empty() &&
        !SpeaksOfAnomalies(record.decision, state)) {
      shown_.score.emplace();
    }
    TrialDecision decision = state.store->EnterHost(shown_);
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
    for (const ValType type : state.functions[live.call.binding].type.results) {
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
    live.call.gauges = record.gauges;
    const std::optional<Trap> trap = TrapOf(record);
    const TrialDecision decision = state.store->LeaveHost(
        live.call, record.ending, record.results, trap ? &*trap : nullptr);
    Compare(record, state, state.names[record.binding], decision, false);
    return absl::OkStatus();
  }

  void EndCall(const TraceRecord& record, State& state) {
    state.store->hook().ArmCall(record.arming);
    const std::optional<Trap> trap = TrapOf(record);
    const TrialDecision decision =
        state.store->EndCall(trap ? &*trap : nullptr, record.depth);
    if (record.decision.matches.empty() && decision.matches.empty()) return;
    // What a call uses is not in the trace: under other budgets it might have
    // ended elsewhere.
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
    if (!counts_) return;
    const uint64_t event = report_.events++;
    const TrialDecision& before = record.decision;
    ++report_.before[before.verdict];
    ++report_.after[after.verdict];
    if (before.SaysTheSame(after)) return;
    ++report_.changed;
    uncertain = uncertain || state.departed || after.read_hidden ||
                after.read_unknown || SpeaksOfAnomalies(before, state) ||
                SpeaksOfAnomalies(after, state);
    report_.uncertain += uncertain ? 1 : 0;
    ++report_.moves[{before.verdict, after.verdict}];
    if (report_.changes.size() >= ReplayReport::kChangesMax) return;
    ReplayChange change;
    change.trace = options_.trace;
    change.event = event - events_before_;
    change.wall = record.at.wall;
    change.store_id = state.known.facts.store_id;
    change.tenant = state.known.facts.tenant;
    change.subject = std::string(subject);
    change.before = before;
    change.after = std::move(after);
    change.after.answers.clear();  // views into policies
    change.uncertain = uncertain;
    report_.changes.push_back(std::move(change));
  }

  static bool SpeaksOfAnomalies(const TrialDecision& decision,
                                const State& state) {
    if (state.anomalies.empty()) return false;
    return std::any_of(decision.matches.begin(), decision.matches.end(),
                       [&](const TrialDecision::Match& match) {
                         return state.anomalies.contains(
                             absl::StrCat(match.policy, "/", match.rule));
                       });
  }

  TraceReader& trace_;
  const ReplayOptions& options_;
  ReplayReport& report_;
  const uint64_t events_before_;  // of other traces
  bool counts_ = true;
  // The host call that a Store was shown last, which may look at it again.
  SimulatedStore::HostCall shown_;
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
