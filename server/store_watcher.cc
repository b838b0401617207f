#include "server/store_watcher.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "runtime/call_ring.h"
#include "server/events/escape.h"
#include "server/internal_faults.h"
#include "server/verdict_tally.h"

namespace callgate {
namespace {

// Of a place in a guest's source, in an event.
constexpr size_t kSourceBytesMax = 256;

// How a call of the past ended, as events word it.
absl::string_view OutcomeName(CallRing::Outcome outcome) {
  switch (outcome) {
    case CallRing::Outcome::kRunning:
      return "running";
    case CallRing::Outcome::kReturned:
      return "returned";
    case CallRing::Outcome::kAnswered:
      return "answered";
    case CallRing::Outcome::kRefused:
      return "refused";
    case CallRing::Outcome::kStopped:
      return "stopped";
  }
  return "unknown";
}

void AddRecentCalls(const CallRing& ring, v1::Event& event) {
  for (const CallRing::Call& call : ring.Calls()) {
    v1::Event::PastCall* const past = event.add_recent_calls();
    past->set_import_module(std::string(call.function->module));
    past->set_import_name(std::string(call.function->name));
    past->set_site(call.site == kNoIndex ? -1 : int64_t{call.site});
    past->set_outcome(std::string(OutcomeName(call.outcome)));
    past->set_result(call.result);
    past->set_monotonic_ns(call.time.count());
  }
}

void AddFunction(const policy::DecisionRecord& decision, v1::Event& event) {
  v1::Event::Function* const function = event.mutable_function();
  function->set_index(decision.func_index);
  function->set_name(std::string(decision.func_name));
  function->set_caller_index(decision.caller_func_index == kNoIndex
                                 ? -1
                                 : int64_t{decision.caller_func_index});
  function->set_caller_name(std::string(decision.caller_func_name));
  function->set_depth(decision.depth);
}

void AddGrowth(const policy::DecisionRecord& decision, v1::Event& event) {
  v1::Event::Growth* const growth = event.mutable_growth();
  growth->set_table(decision.subject ==
                    policy::DecisionRecord::Subject::kTableGrow);
  growth->set_index(decision.grow_index);
  growth->set_from(decision.grow_from);
  growth->set_to(decision.grow_to);
}

}  // namespace

StoreWatcher::StoreWatcher(Facts facts, events::EventLog& events,
                           EventSuppressor& suppressor,
                           metrics::Metrics& metrics,
                           QuarantineHandler on_quarantine,
                           InternalFaults& faults, Explanations* explanations,
                           DenialSurge* surge)
    : facts_(std::move(facts)),
      events_(events),
      suppressor_(suppressor),
      metrics_(metrics),
      on_quarantine_(std::move(on_quarantine)),
      faults_(faults),
      explanations_(explanations),
      surge_(surge) {}

v1::Event StoreWatcher::NewEvent(v1::EventKind kind,
                                 v1::EventSeverity severity) const {
  v1::Event event;
  event.set_kind(kind);
  event.set_severity(severity);
  event.set_tenant(facts_.tenant);
  event.set_store(facts_.store_id);
  event.set_module_digest(facts_.module_digest);
  return event;
}

void StoreWatcher::CountMatches(const policy::DecisionRecord& decision) {
  metrics_.CountDecisions(facts_.tenant, policy::VerdictName(decision.verdict),
                          policy::ModeName(decision.mode), 1);
  for (const policy::RuleMatch& match : decision.matches) {
    metrics_.CountRuleMatch(
        {match.policy, match.rule, policy::SeverityName(match.severity),
         policy::VerdictName(match.verdict), policy::ModeName(match.mode),
         facts_.tenant},
        1);
    if (match.rate_limit) {
      metrics_.CountRateLimited(match.policy, match.rule, 1);
    }
  }
  if (!decision.budget.empty()) {
    budget_told_ = true;
    metrics_.CountBudgetExceeded(facts_.tenant, decision.budget);
  }
}

void StoreWatcher::OnDecision(const policy::DecisionRecord& decision) {
  CountMatches(decision);
  if (surge_ != nullptr && policy::StopsCall(decision.verdict)) {
    surge_->NoteDenial(decision.policy, facts_.tenant, facts_.module_digest,
                       DenialSurge::Now());
  }
  if (explanations_ != nullptr) explanations_->Keep(decision, absl::Now());
  if (!decision.report || !suppressor_.Tells(decision)) return;
  v1::Event event = NewEvent(
      decision.budget.empty() ? v1::EVENT_KIND_DECISION : v1::EVENT_KIND_BUDGET,
      SeverityToProto(decision.severity));
  event.set_decision_id(std::string(decision.decision_id));
  event.set_verdict(VerdictToProto(decision.verdict));
  if (decision.would_be_verdict != decision.verdict) {
    event.set_would_be_verdict(VerdictToProto(decision.would_be_verdict));
  }
  event.set_mode(std::string(policy::ModeName(decision.mode)));
  event.set_budget(std::string(decision.budget));
  event.set_message(std::string(decision.message));
  if (decision.subject == policy::DecisionRecord::Subject::kHostCall) {
    v1::Event::Call* call = event.mutable_call();
    call->set_import_module(std::string(decision.import_module));
    call->set_import_name(std::string(decision.import_name));
    if (decision.caller_func_index != kNoIndex) {
      call->set_caller_func_index(decision.caller_func_index);
    }
    call->set_caller_func_name(std::string(decision.caller_func_name));
    call->set_depth(decision.depth);
  }
  using Subject = policy::DecisionRecord::Subject;
  if (decision.subject == Subject::kFunction) AddFunction(decision, event);
  if (decision.grow_to > 0) AddGrowth(decision, event);
  event.set_suppressed(decision.suppressed);
  if (decision.calls != nullptr) AddRecentCalls(*decision.calls, event);
  for (const policy::RuleMatch& match : decision.matches) {
    v1::Event::Rule* rule = event.add_rules();
    rule->set_policy(std::string(match.policy));
    rule->set_policy_version(std::string(match.policy_version));
    rule->set_id(std::string(match.rule));
    rule->set_severity(SeverityToProto(match.severity));
    for (const std::string& tag : match.tags) rule->add_tags(tag);
  }
  events_.Publish(std::move(event));
}

void StoreWatcher::OnDecisionDuration(absl::Duration duration) {
  metrics_.ObserveDecision(duration);
}

void StoreWatcher::OnRuleDuration(absl::string_view policy,
                                  absl::string_view rule,
                                  absl::Duration duration, uint64_t weight) {
  metrics_.CountRuleTime(policy, rule, duration * static_cast<int64_t>(weight));
}

void StoreWatcher::OnEngineFault(const policy::StoreFacts&,
                                 absl::string_view message) {
  v1::Event event = NewEvent(v1::EVENT_KIND_POLICY, v1::EVENT_SEVERITY_ERROR);
  event.set_action("policy_engine_fault");
  event.set_message(std::string(message));
  events_.Publish(std::move(event));
}

void StoreWatcher::OnConditionFailed(const policy::StoreFacts&,
                                     absl::string_view policy,
                                     absl::string_view rule,
                                     absl::string_view message) {
  v1::Event event = NewEvent(v1::EVENT_KIND_POLICY, v1::EVENT_SEVERITY_WARNING);
  event.set_action("policy_condition_failed");
  event.set_message(absl::StrCat("the condition of rule ", rule, " of policy ",
                                 policy, " could not be evaluated: ", message));
  events_.Publish(std::move(event));
}

void StoreWatcher::OnRulePending(const policy::StoreFacts&,
                                 absl::string_view policy,
                                 absl::string_view rule,
                                 absl::string_view why) {
  v1::Event event = NewEvent(v1::EVENT_KIND_POLICY, v1::EVENT_SEVERITY_WARNING);
  event.set_action("policy_rule_pending");
  event.set_policy(std::string(policy));
  event.set_message(
      absl::StrCat("rule ", rule, " of policy ", policy, " is pending: ", why));
  events_.Publish(std::move(event));
}

void StoreWatcher::OnRuleForgot(const policy::StoreFacts&,
                                absl::string_view policy,
                                absl::string_view rule) {
  v1::Event event = NewEvent(v1::EVENT_KIND_POLICY, v1::EVENT_SEVERITY_WARNING);
  event.set_action("policy_rule_forgot");
  event.set_message(
      absl::StrCat("rule ", rule, " of policy ", policy,
                   " may remember no more, and forgot the oldest of what it "
                   "knew before its time"));
  events_.Publish(std::move(event));
}

void StoreWatcher::OnCallEnded(const CallEnd& end) {
  const Outcome& outcome = end.outcome;
  if (end.allowed > 0) {
    metrics_.CountDecisions(facts_.tenant, "allow", "enforce", end.allowed);
  }
  if (end.conditions_failed > 0) {
    metrics_.CountConditionsFailed(facts_.tenant, end.conditions_failed);
  }
  if (end.engine_faults > 0) {
    faults_.Count(InternalFault::kEngine, end.engine_faults);
  }
  for (const HostCallCount& calls : end.host_calls) {
    // Names that no host function has, metrics counts as "other".
    const std::string import = absl::StrCat(calls.module, ".", calls.name);
    if (calls.ran > 0) metrics_.CountHostCalls(import, "ran", calls.ran);
    if (calls.answered > 0) {
      metrics_.CountHostCalls(import, "answered", calls.answered);
    }
    if (calls.refused > 0) {
      metrics_.CountHostCalls(import, "refused", calls.refused);
    }
  }
  if (outcome.usage.fuel > 0) {
    metrics_.CountFuel(facts_.tenant, "guest", outcome.usage.fuel);
  }
  metrics_.CountInvocation(facts_.tenant, OutcomeKindName(outcome.kind),
                           outcome.usage.wall);

  // A budget that no policy set, but the daemon or the caller.
  if (outcome.kind == OutcomeKind::kBudgetExceeded && !budget_told_) {
    metrics_.CountBudgetExceeded(facts_.tenant, outcome.budget);
    v1::Event event =
        NewEvent(v1::EVENT_KIND_BUDGET, v1::EVENT_SEVERITY_NOTICE);
    event.set_budget(outcome.budget);
    event.set_outcome(std::string(OutcomeKindName(outcome.kind)));
    if (outcome.trap.has_value()) event.set_message(outcome.trap->message);
    events_.Publish(std::move(event));
  }
  budget_told_ = false;

  if (outcome.kind == OutcomeKind::kTrapped) {
    v1::Event event =
        NewEvent(v1::EVENT_KIND_LIFECYCLE, v1::EVENT_SEVERITY_INFO);
    event.set_action("call_trapped");
    event.set_outcome(std::string(OutcomeKindName(outcome.kind)));
    event.set_message(outcome.trap->message);
    const std::vector<Frame>& frames = outcome.trap->frames;
    if (!frames.empty() && frames[0].source.has_value()) {
      event.set_source(
          events::EscapeText(ToString(*frames[0].source), kSourceBytesMax));
    }
    events_.Publish(std::move(event));
  }
  if (end.ended_by != nullptr && !quarantine_told_ &&
      end.ended_by->verdict() == policy::Verdict::kQuarantineModule) {
    quarantine_told_ = true;
    on_quarantine_(*end.ended_by);
  }
}

void StoreWatcher::OnNotLearned(const absl::Status& why) {
  v1::Event event =
      NewEvent(v1::EVENT_KIND_LIFECYCLE, v1::EVENT_SEVERITY_NOTICE);
  event.set_action("profile_not_learned");
  event.set_message(std::string(why.message()));
  // A bound that is reached, or a profile that is gone, is no fault.
  if (absl::IsResourceExhausted(why) || absl::IsNotFound(why)) {
    events_.Publish(std::move(event));
    return;
  }
  event.set_severity(v1::EVENT_SEVERITY_ERROR);
  faults_.Report(InternalFault::kProfileNotStored, facts_.module_digest,
                 std::move(event));
}

void StoreWatcher::OnLearned() {
  faults_.Clear(InternalFault::kProfileNotStored, facts_.module_digest);
}

void StoreWatcher::OnWatched(const absl::Status& status) {
  if (status.ok()) {
    faults_.Clear(InternalFault::kProbesNotPlaced, facts_.store_id);
    return;
  }
  v1::Event event = NewEvent(v1::EVENT_KIND_POLICY, v1::EVENT_SEVERITY_ERROR);
  event.set_action("store_not_watched");
  event.set_message(std::string(status.message()));
  faults_.Report(InternalFault::kProbesNotPlaced, facts_.store_id,
                 std::move(event));
}

void StoreWatcher::PublishLifecycle(absl::string_view action,
                                    v1::EventSeverity severity,
                                    absl::string_view message) {
  v1::Event event = NewEvent(v1::EVENT_KIND_LIFECYCLE, severity);
  event.set_action(std::string(action));
  event.set_message(std::string(message));
  events_.Publish(std::move(event));
}

}  // namespace callgate
