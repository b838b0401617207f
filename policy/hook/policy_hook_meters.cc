// The half of the hook that remembers: rate limits and temporal rules.
//
// The meters of all policies are asked together, in steps, so that what one
// says of a call does not depend on where another stands in its file. Whoever
// looks at shared states holds the tenant's mutex over all steps; nothing
// outside of the policy engine is called meanwhile, but for the sink that is
// told once of a condition that failed or a rule that forgot.

#include <mutex>
#include <utility>

#include "absl/container/inlined_vector.h"
#include "absl/strings/str_cat.h"
#include "policy/hook/policy_hook.h"

namespace callgate::policy {

class PolicyHook::Findings final : public MeterFindings {
 public:
  Findings(PolicyHook& hook, const ImportPlan& plan)
      : hook_(hook), plan_(plan) {
    wants_answers_ = hook.options_.keep_answers;
  }

  void AddMatch(size_t policy, const Rule& rule, bool is_rate_limit,
                std::string message,
                std::optional<absl::Duration> delay) override {
    Add(policy, rule, rule.verdict, std::move(message));
    hook_.matches_.back().rate_limit = is_rate_limit;
    if (delay) hook_.matches_.back().delay = *delay;
  }

  void AddLoss(size_t policy, const Rule& rule, bool traps) override {
    losses_.push_back({policy, &rule});
    if (!traps) return;
    Add(policy, rule, Verdict::kTrap,
        absl::StrCat("rule ", rule.id,
                     " had to forget something for this call, and says that "
                     "it must not"));
  }

  void AddAnswer(size_t policy, const Rule& rule,
                 const ImportJudge::Outcome& outcome) override {
    hook_.KeepAnswer(policy, rule, outcome);
  }

  void AddFailure(size_t policy, const Rule& rule,
                  const std::string& why) override {
    failures_.push_back({policy, &rule, why});
  }

  // Once no lock is held.
  void Tell() {
    for (const Loss& loss : losses_) hook_.NoteLoss(*loss.rule, loss.policy);
    for (const Failure& f : failures_) {
      hook_.NoteFailure(*f.rule, f.policy, f.why);
    }
  }

 private:
  struct Loss {
    size_t policy;
    const Rule* rule;
  };
  struct Failure {
    size_t policy;
    const Rule* rule;
    std::string why;
  };

  void Add(size_t policy, const Rule& rule, Verdict verdict,
           std::string message) {
    if (verdict == Verdict::kDeny && !plan_.answers_errno) {
      verdict = Verdict::kTrap;
    }
    hook_.texts_.push_back(std::move(message));
    hook_.matches_.push_back(hook_.MatchOf(rule, policy, verdict,
                                           hook_.rules_->ModeOf(rule, policy),
                                           hook_.texts_.back()));
  }

  PolicyHook& hook_;
  const ImportPlan& plan_;
  // Few at once; failures none at all, almost always.
  absl::InlinedVector<Loss, 4> losses_;
  std::vector<Failure> failures_;
};

void PolicyHook::AddMetered(ImportPlan& plan, CallMoment& moment,
                            uint64_t event) {
  using Phase = ImportMeter::Phase;
  const temporal::Moment now = absl::ToUnixNanos(clock_());
  Findings findings(*this, plan);
  std::unique_lock<std::mutex> lock;
  if (plan.shares_states) {
    lock = std::unique_lock<std::mutex>(states_->shared_mutex());
    last_shared_event_ = states_->NextSharedEvent();
  }
  const auto each = [&](const auto& act) {
    for (PlannedJudge& judge : plan.judges) {
      if (judge.meter == nullptr) continue;
      act(*judge.meter, judge.judge,
          ImportMeter::Event{judge.judge, moment, scratch_.get(), now, event,
                             states_->key(), findings});
    }
  };
  each([](ImportMeter& meter, ImportJudge&, const ImportMeter::Event& e) {
    meter.Limits(e, /*after=*/false);
  });
  const bool stopped_before = IsStopped();
  each([&](ImportMeter& meter, ImportJudge&, const ImportMeter::Event& e) {
    meter.Judge(e, Phase::kBefore, stopped_before);
  });
  const bool denied = IsStopped();
  each([&](ImportMeter& meter, ImportJudge& judge,
           const ImportMeter::Event& e) {
    if (!meter.reads_denied()) return;
    judge.facts()[SlotOf(CallFact::kDenied)] = expression::Value::Bool(denied);
    meter.Judge(e, Phase::kDenied, denied);
  });
  if (const RuleMatch* enforced = Enforced();
      enforced != nullptr && StopsCall(enforced->verdict)) {
    // It is over already: this is what the guest gets.
    const int64_t guest_errno =
        enforced->verdict == Verdict::kDeny
            ? static_cast<int64_t>(enforced->guest_errno)
            : -1;
    each([&](ImportMeter& meter, ImportJudge& judge,
             const ImportMeter::Event& e) {
      judge.SetRefused(guest_errno);
      if (!meter.runs_after()) return;
      meter.Limits(e, /*after=*/true);
      meter.Judge(e, Phase::kAfter, /*stopped=*/true);
    });
  }
  const bool stopped = IsStopped();
  each([&](ImportMeter& meter, ImportJudge&, const ImportMeter::Event& e) {
    meter.Commit(e, stopped, /*after=*/false);
  });
  KeepStates(plan);
  if (lock.owns_lock()) lock.unlock();
  findings.Tell();
}

void PolicyHook::KeepStates(const ImportPlan& plan) {
  if (!options_.keep_answers || matches_.empty()) return;
  state_texts_.clear();
  for (const PlannedJudge& judge : plan.judges) {
    if (judge.meter != nullptr) judge.meter->DescribeStates(&state_texts_);
  }
}

void PolicyHook::AddMeteredAfter(ImportPlan& plan, CallMoment& moment,
                                 uint64_t event) {
  const temporal::Moment now = absl::ToUnixNanos(clock_());
  Findings findings(*this, plan);
  std::unique_lock<std::mutex> lock;
  if (plan.shares_states) {
    lock = std::unique_lock<std::mutex>(states_->shared_mutex());
    last_shared_event_ = states_->NextSharedEvent();
  }
  const auto each = [&](const auto& act) {
    for (PlannedJudge& judge : plan.judges) {
      if (judge.meter == nullptr || !judge.meter->runs_after()) continue;
      act(*judge.meter,
          ImportMeter::Event{judge.judge, moment, scratch_.get(), now, event,
                             states_->key(), findings});
    }
  };
  each([](ImportMeter& meter, const ImportMeter::Event& e) {
    meter.Limits(e, /*after=*/true);
  });
  each([](ImportMeter& meter, const ImportMeter::Event& e) {
    meter.Judge(e, ImportMeter::Phase::kAfter, /*stopped=*/false);
  });
  each([](ImportMeter& meter, const ImportMeter::Event& e) {
    meter.Commit(e, /*stopped=*/false, /*after=*/true);
  });
  KeepStates(plan);
  if (lock.owns_lock()) lock.unlock();
  findings.Tell();
}

}  // namespace callgate::policy
