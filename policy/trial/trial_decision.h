// What a hook said of one event, kept: copies of what the decision's record and
// the hook's answer tell.

#ifndef CALLGATE_POLICY_TRIAL_TRIAL_DECISION_H_
#define CALLGATE_POLICY_TRIAL_TRIAL_DECISION_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "policy/hook/decision.h"
#include "policy/hook/policy_violation.h"
#include "policy/verdict.h"
#include "runtime/call_hook.h"

namespace callgate::policy::trial {

// What came of one event. Copies, which outlive it.
struct TrialDecision {
  struct Match {
    std::string policy;
    std::string rule;
    Verdict verdict = Verdict::kAllow;
    Mode mode = Mode::kEnforce;

    friend bool operator==(const Match& a, const Match& b) {
      return a.policy == b.policy && a.rule == b.rule &&
             a.verdict == b.verdict && a.mode == b.mode;
    }
  };

  // Enforced, and what would be if audit were enforced.
  Verdict verdict = Verdict::kAllow;
  Verdict would_be = Verdict::kAllow;
  // Names the verdict, or the would-be one; empty if nothing matched.
  std::string policy;
  std::string rule;
  std::string message;
  uint32_t guest_errno = 0;
  absl::Duration delay;
  // In order of policy and rule.
  std::vector<Match> matches;
  // The Store had been ended before; the verdict is the one that did it.
  bool after_end = false;
  // It was refused without a verdict: its price in fuel could not be paid.
  bool unpaid = false;
  // The hook copied bytes that are not the guest's: hidden by a redaction, or
  // not known at all.
  bool read_hidden = false;
  bool read_unknown = false;
  // What conditions said; views into the policies.
  std::vector<ConditionAnswer> answers;

  bool HasRule(absl::string_view id) const;
  // "deny(76) by web/no-links"
  std::string ToString() const;

  // Whether the two are the same to the guest and to whoever reads events; the
  // wording of messages may differ.
  bool SaysTheSame(const TrialDecision& other) const;

  // Takes in what the hook's sink was told of the event. An event can have
  // several decisions, at its two ends: the most severe names it.
  void Add(const DecisionRecord& record);
  // The last thing: the hook answered `disposition`. `latched` is its verdict
  // that ended the Store, or null.
  void Finish(Disposition disposition, const PolicyViolation* latched);
};

}  // namespace callgate::policy::trial

#endif  // CALLGATE_POLICY_TRIAL_TRIAL_DECISION_H_
