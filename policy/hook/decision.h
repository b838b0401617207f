// What a policy hook tells its owner: every decision other than a plain allow,
// one by one, and what it costs to decide.

#ifndef CALLGATE_POLICY_HOOK_DECISION_H_
#define CALLGATE_POLICY_HOOK_DECISION_H_

#include <cstdint>
#include <string>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "policy/state/state_shape.h"
#include "policy/suppression_spec.h"
#include "policy/verdict.h"
#include "runtime/call_ring.h"
#include "runtime/host_function_spec.h"

namespace callgate::policy {

// Whom a hook judges. Names are the operator's, except module_name.
struct StoreFacts {
  std::string store_id;
  std::string tenant;
  std::string module_digest;  // "sha256:…"
  std::string module_name;    // untrusted bytes
};

// One rule that matched.
struct RuleMatch {
  absl::string_view policy;
  absl::string_view policy_version;
  absl::string_view rule;
  // What the rule asks for here: a deny on a function that cannot answer an
  // errno is a trap.
  Verdict verdict = Verdict::kAllow;
  // kAudit: would have.
  Mode mode = Mode::kEnforce;
  Severity severity = Severity::kDebug;
  uint32_t guest_errno = 0;
  StateScope scope = StateScope::kStore;
  // For kThrottle: how long the call waits for it.
  absl::Duration delay;
  // It is one of `rate_limits`.
  bool rate_limit = false;
  absl::Span<const std::string> tags;
  // One line, escaped.
  absl::string_view message;
  // defaults.min_severity and defaults.suppression of its policy.
  Severity min_severity = Severity::kDebug;
  const SuppressionSpec* suppression = nullptr;
};

// What one condition said of an event.
struct ConditionAnswer {
  enum class Kind : uint8_t {
    kFalse,
    kTrue,
    kFailed,    // it could not be evaluated
    kExcepted,  // true, and an exception lets the event go
  };

  absl::string_view policy;
  absl::string_view rule;
  Kind kind = Kind::kFalse;
  // The exception's name, or its reason where it has none.
  absl::string_view exception;
};

// A fact as people read it: `args.path` and `"/etc"`. Escaped; what is redacted
// says so instead.
struct FactText {
  std::string name;
  std::string text;
};

// One decision. All views are valid until OnDecision returns.
struct DecisionRecord {
  enum class Subject : uint8_t {
    kHostCall,    // a guest's call of an import
    kCallEnd,     // a call from outside that passed a budget
    kMemoryGrow,  // a growth
    kTableGrow,
    kFunction,  // an entry of a function of the guest's own
  };

  Subject subject = Subject::kHostCall;
  // Unique in the daemon's life as far as store ids are: "<store id>-<number>".
  absl::string_view decision_id;
  const StoreFacts* store = nullptr;

  // What happened: the most severe of what is enforced. kAllow if only audit
  // rules matched.
  Verdict verdict = Verdict::kAllow;
  // What would have happened had audit rules been enforced; at least `verdict`.
  Verdict would_be_verdict = Verdict::kAllow;
  // kAudit if the verdict is a plain allow only because of audit.
  Mode mode = Mode::kEnforce;
  Severity severity = Severity::kDebug;
  // Whether it reaches defaults.min_severity of a policy that matched. Counted
  // either way, an event only if so.
  bool report = true;
  // It would have been an event, and is over the call's events_per_call:
  // `report` is false for that alone.
  bool over_events_budget = false;
  // defaults.suppression of the policy that names the verdict; null: none, or
  // the verdict ends the Store, which is always told.
  const SuppressionSpec* suppression = nullptr;
  // Of the record with which a call says that it was over events_per_call: how
  // many events were held back.
  uint64_t suppressed = 0;
  // For what IsAlert holds of, enforced or not: the Store's last host calls, if
  // they are noted; else null.
  const CallRing* calls = nullptr;

  // For kHostCall: the host function has returned, and its results were judged.
  // A call can so have two decisions. A throttle then delays the next call.
  bool after = false;

  // The rule that names the verdict, or the would-be verdict under audit: one
  // of `matches`.
  absl::string_view policy;
  absl::string_view policy_version;
  absl::string_view rule;
  absl::string_view message;
  // What the guest got instead of the call, for kDeny.
  uint32_t guest_errno = 0;
  // How long the call waited for it, for kThrottle: the longest of those that
  // are enforced.
  absl::Duration delay;
  // The budget that was passed: "host_calls_per_call"; else empty.
  absl::string_view budget;

  // Every rule that matched, enforced or not. At least one.
  absl::Span<const RuleMatch> matches;

  // For kHostCall. Untrusted bytes.
  absl::string_view import_module;
  absl::string_view import_name;
  uint32_t caller_func_index = kNoIndex;
  absl::string_view caller_func_name;
  // Activations live in the Store.
  uint32_t depth = 0;

  // For kFunction, which also has its caller above, and as its depth the calls
  // of watched functions that are open.
  uint32_t func_index = kNoIndex;
  absl::string_view func_name;  // untrusted bytes

  // For kMemoryGrow (bytes) and kTableGrow (elements), where it is about one.
  uint32_t grow_index = 0;
  uint64_t grow_from = 0;
  uint64_t grow_to = 0;

  // Why, where the hook was asked to keep it (PolicyHook::Options): what was
  // known of the call, and what each condition made of it.
  absl::Span<const FactText> facts;
  absl::Span<const ConditionAnswer> answers;
  // What rules about the past remembered after it, by rule.
  absl::Span<const FactText> state;
};

// Told on the guest's time, on the Store's thread, with no lock held: take a
// copy and return. Must outlive every hook that has it, and be thread-safe if
// several have it.
class DecisionSink {
 public:
  virtual ~DecisionSink() = default;

  virtual void OnDecision(const DecisionRecord& decision) = 0;

  // How long a decision took: the first of a Store, then one in
  // kDecisionSampleEvery.
  virtual void OnDecisionDuration(absl::Duration duration) {
    static_cast<void>(duration);
  }

  // How long the condition of one rule took, in a decision whose duration is
  // told. It stands for `weight` decisions.
  virtual void OnRuleDuration(absl::string_view policy, absl::string_view rule,
                              absl::Duration duration, uint64_t weight) {
    static_cast<void>(policy);
    static_cast<void>(rule);
    static_cast<void>(duration);
    static_cast<void>(weight);
  }

  // A fault of the engine itself, the first of each kind (engine_fault.h) that
  // a Store sees. What it did to the call comes as a decision, each time.
  virtual void OnEngineFault(const StoreFacts& store,
                             absl::string_view message) = 0;

  // A rule of policies that came while the Store lives has nothing to look at:
  // no function of the module fits it, or what does is not probed.
  virtual void OnRulePending(const StoreFacts& store, absl::string_view policy,
                             absl::string_view rule, absl::string_view why) {
    static_cast<void>(store);
    static_cast<void>(policy);
    static_cast<void>(rule);
    static_cast<void>(why);
  }

  // A condition that could not be evaluated (overflow, an absent fact, …), the
  // first time that a Store sees it of a rule. A rule that restricts counted as
  // true, one that allows as false.
  virtual void OnConditionFailed(const StoreFacts& store,
                                 absl::string_view policy,
                                 absl::string_view rule,
                                 absl::string_view message) {
    static_cast<void>(store);
    static_cast<void>(policy);
    static_cast<void>(rule);
    static_cast<void>(message);
  }

  // A rule had to forget something before its time, since it may remember no
  // more, the first time that a Store's call is the reason: what it says from
  // now on may be less than it should be.
  virtual void OnRuleForgot(const StoreFacts& store, absl::string_view policy,
                            absl::string_view rule) {
    static_cast<void>(store);
    static_cast<void>(policy);
    static_cast<void>(rule);
  }
};

inline constexpr uint64_t kDecisionSampleEvery = 1024;

}  // namespace callgate::policy

#endif  // CALLGATE_POLICY_HOOK_DECISION_H_
