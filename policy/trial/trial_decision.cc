#include "policy/trial/trial_decision.h"

#include <algorithm>
#include <tuple>
#include <utility>

#include "absl/strings/str_cat.h"

namespace callgate::policy::trial {

bool TrialDecision::HasRule(absl::string_view id) const {
  return std::any_of(matches.begin(), matches.end(),
                     [&](const Match& m) { return m.rule == id; });
}

std::string TrialDecision::ToString() const {
  std::string text(VerdictName(verdict));
  if (verdict == Verdict::kDeny) absl::StrAppend(&text, "(", guest_errno, ")");
  if (verdict == Verdict::kThrottle) {
    absl::StrAppend(&text, "(", absl::FormatDuration(delay), ")");
  }
  if (would_be != verdict) {
    absl::StrAppend(&text, ", under audit ", VerdictName(would_be));
  }
  if (!rule.empty()) absl::StrAppend(&text, " by ", policy, "/", rule);
  if (unpaid) absl::StrAppend(&text, ", stopped for want of fuel");
  return text;
}

bool TrialDecision::SaysTheSame(const TrialDecision& other) const {
  return verdict == other.verdict && would_be == other.would_be &&
         policy == other.policy && rule == other.rule &&
         guest_errno == other.guest_errno && delay == other.delay &&
         after_end == other.after_end && unpaid == other.unpaid &&
         matches == other.matches;
}

void TrialDecision::Add(const DecisionRecord& record) {
  for (const RuleMatch& match : record.matches) {
    matches.push_back({std::string(match.policy), std::string(match.rule),
                       match.verdict, match.mode});
  }
  const bool first = rule.empty();
  if (!first && std::tie(record.verdict, record.would_be_verdict) <=
                    std::tie(verdict, would_be)) {
    return;
  }
  verdict = record.verdict;
  would_be = std::max(would_be, record.would_be_verdict);
  policy = std::string(record.policy);
  rule = std::string(record.rule);
  message = std::string(record.message);
  guest_errno = record.guest_errno;
  delay = record.delay;
}

void TrialDecision::Finish(Disposition disposition,
                           const PolicyViolation* latched) {
  if (disposition == Disposition::kRefuse && matches.empty() &&
      latched != nullptr) {
    const PolicyViolation::Facts& end = latched->facts();
    verdict = end.verdict;
    would_be = end.verdict;
    policy = end.policy;
    rule = end.rule;
    message = end.reason;
    after_end = true;
  } else if (disposition == Disposition::kRefuse && matches.empty()) {
    unpaid = true;
  }
  std::sort(matches.begin(), matches.end(), [](const Match& a, const Match& b) {
    return std::tie(a.policy, a.rule, a.verdict, a.mode) <
           std::tie(b.policy, b.rule, b.verdict, b.mode);
  });
}

}  // namespace callgate::policy::trial
