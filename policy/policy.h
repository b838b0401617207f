// A compiled policy: immutable, and shared by everything that judges by it.
//
// Made by CompilePolicy (policy_compiler.h) only. Any thread. Replacing a
// policy makes a new one; a Store keeps those it began with.

#ifndef CALLGATE_POLICY_POLICY_H_
#define CALLGATE_POLICY_POLICY_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "policy/anomaly_rule.h"
#include "policy/argument.h"
#include "policy/budgets.h"
#include "policy/condition.h"
#include "policy/expression/expression.h"
#include "policy/file/problem.h"
#include "policy/guest_errno.h"
#include "policy/import_name.h"
#include "policy/inner_event.h"
#include "policy/rule.h"
#include "policy/state/state_shape.h"
#include "policy/suppression_spec.h"
#include "policy/verdict.h"
#include "runtime/function_filter.h"
#include "runtime/host_function_spec.h"
#include "runtime/value.h"

namespace callgate::policy {

// Which functions of a guest's own a rule is about.
struct FunctionRule {
  uint32_t rule = 0;    // into Policy::rules()
  std::string pattern;  // as the file has it
  FunctionFilter functions;
};

// A token bucket over calls.
struct RateLimit {
  Rule rule;
  // The one import whose calls it counts; nothing: all that `rule.when` says.
  std::optional<ImportName> import;
  Condition cost;  // empty: one token
  // Facts; the state's scope and bounds are made of them.
  std::vector<Condition> key;
  StateShape state;
  // A throttled call waits until its tokens are there, and not by
  // `rule.throttle`.
  bool owes = false;
};

// A judgement over what happened before.
struct TemporalRule {
  enum class Pattern : uint8_t { kSequence, kRequire, kCount, kDistinct, kSum };

  struct Step {
    std::string as;
    Condition when;
    // Calls that are denied are looked at, too.
    bool attempts = false;
    // It reads result.*.
    bool runs_after = false;
    // It reads facts of other steps.
    bool reads_past = false;
  };
  // A fact of one step that something about a later one reads:
  // "<as>.<fact>".
  struct PastFact {
    uint32_t step = 0;
    std::string fact;
  };

  Pattern pattern = Pattern::kCount;
  // `rule.when` is the pattern's own, where it has one. `rule.runs_after`: so
  // does what it reads.
  Rule rule;
  // Of a sequence.
  std::vector<Step> steps;
  std::vector<Step> unless;
  std::vector<PastFact> past;
  // Of require.
  std::optional<Step> formerly;
  // What `formerly` says if it compares the past event with the present one:
  // over an array of `late_facts` facts, of which these are filled from the two
  // events. Null: it can be judged when the past event happens.
  struct LateFact {
    uint32_t slot = 0;
    std::string fact;
  };
  std::shared_ptr<const expression::Program> late;
  size_t late_facts = 0;
  std::vector<LateFact> late_past;
  std::vector<LateFact> late_current;
  // Of distinct and sum.
  Condition value;
  bool count_in_flight = false;
  // Of count, distinct and sum.
  std::vector<Condition> key;
  // It reads call.denied.
  bool reads_denied = false;

  StateShape state;
  // What meets a call for which something has to be forgotten.
  bool traps_on_overflow = false;
};

// All that a policy says of one import.
struct ImportPolicy {
  ImportName import;
  // It stands under `imports`, not only in a rate limit.
  bool listed = false;
  // Some entry allows it, always.
  bool allowed = false;
  // Into Policy::rules(): entries that allow it where their `when` holds.
  std::vector<uint32_t> conditional_allows;
  // Into Policy::rules(): every entry that is not `allow`.
  std::vector<uint32_t> restrictions;
  std::vector<ArgumentRule> args;
};

// What applies_to says.
struct Applicability {
  // Applies to nobody by itself; a submitter may name it.
  bool on_offer_only = false;
  bool any_tenant = false;
  std::vector<std::string> tenants;
  std::vector<std::pair<std::string, std::string>> module_labels;
};

// A function import of a module, as linked.
struct LinkedImport {
  absl::string_view module;
  absl::string_view name;
  const FuncType* type = nullptr;          // not null
  const HostFunctionSpec* spec = nullptr;  // null: nothing is said of it
};

// What a policy has to say of a module's imports before anything runs.
struct LinkFindings {
  // The policy cannot be applied to this module: an argument that a rule reads
  // is not there, or cannot be what the file says it is.
  std::vector<Problem> problems;
  // It can, but not quite as its author may think.
  std::vector<Problem> warnings;
};

// Everything a Policy consists of. Filled in by the compiler.
struct PolicyContent {
  std::string name;
  std::string description;
  std::string version;
  std::string filename;
  Mode mode = Mode::kEnforce;
  Applicability applies_to;
  Severity min_severity = Severity::kDebug;
  Budgets budgets;
  std::vector<Rule> rules;
  // Into `rules`: those of the section `rules`, which are about every import.
  std::vector<uint32_t> call_rules;
  // Likewise those about growths, and about functions.
  std::vector<uint32_t> memory_grow_rules;
  std::vector<uint32_t> table_grow_rules;
  std::vector<FunctionRule> function_rules;
  std::optional<SuppressionSpec> suppression;
  std::vector<RateLimit> rate_limits;
  std::vector<AnomalyRule> anomaly;
  std::vector<TemporalRule> temporal;
  std::vector<ImportPolicy> imports;
  Vocabulary vocabulary;
  // What the engine itself says in this policy's name.
  Rule unlisted_import;                // "default:unlisted_import"
  Rule no_allow;                       // "default:no_allow"
  Rule on_engine_error;                // "default:on_engine_error"
  Rule bad_argument;                   // "default:argument"
  Rule budget_exceeded[kBudgetCount];  // "budget:fuel_per_call", …
};

struct Specialisation;
class SpecialisationCache;

class Policy {
 public:
  explicit Policy(PolicyContent content);
  ~Policy();
  Policy(const Policy&) = delete;
  Policy& operator=(const Policy&) = delete;

  const std::string& name() const { return content_.name; }
  const std::string& description() const { return content_.description; }
  // SHA-256 of the canonical bytes, included policies' too: 64 hexadecimal
  // digits.
  const std::string& version() const { return content_.version; }
  // The first 12 digits.
  absl::string_view short_version() const;
  const std::string& filename() const { return content_.filename; }
  Mode mode() const { return content_.mode; }
  Severity min_severity() const { return content_.min_severity; }
  const Budgets& budgets() const { return content_.budgets; }
  const Applicability& applies_to() const { return content_.applies_to; }

  // Whether applies_to holds. False for a policy that is on offer only.
  bool AppliesTo(
      absl::string_view tenant,
      const absl::flat_hash_map<std::string, std::string>& module_labels) const;
  // Whether `tenant` may name it.
  bool OfferedTo(absl::string_view tenant) const;

  const std::vector<Rule>& rules() const { return content_.rules; }
  const std::vector<uint32_t>& call_rules() const {
    return content_.call_rules;
  }
  // Not for InnerEvent::kFunction.
  const std::vector<uint32_t>& growth_rules(InnerEvent event) const {
    return event == InnerEvent::kMemoryGrow ? content_.memory_grow_rules
                                            : content_.table_grow_rules;
  }
  const std::vector<FunctionRule>& function_rules() const {
    return content_.function_rules;
  }
  // Null: each event is told.
  const SuppressionSpec* suppression() const {
    return content_.suppression ? &*content_.suppression : nullptr;
  }
  const Vocabulary& vocabulary() const { return content_.vocabulary; }
  const std::vector<RateLimit>& rate_limits() const {
    return content_.rate_limits;
  }
  const std::vector<AnomalyRule>& anomaly() const { return content_.anomaly; }
  const std::vector<TemporalRule>& temporal() const {
    return content_.temporal;
  }
  // What its rate limits and temporal rules remember, in this order.
  std::vector<const StateShape*> StateShapes() const;
  const Rule& unlisted_import() const { return content_.unlisted_import; }
  const Rule& no_allow() const { return content_.no_allow; }
  const Rule& on_engine_error() const { return content_.on_engine_error; }
  // An argument that a condition reads and that cannot be copied.
  const Rule& bad_argument() const { return content_.bad_argument; }
  const Rule& budget_exceeded(Budget b) const {
    return content_.budget_exceeded[static_cast<size_t>(b)];
  }
  // Null: the policy does not mention the import.
  const ImportPolicy* FindImport(absl::string_view module,
                                 absl::string_view name) const;

  // Every rule that may have a say in this policy's name: of its file, of what
  // that includes, and the engine's own.
  std::vector<const Rule*> AllRules() const;

  // Whether some verdict of this policy ends Stores.
  bool CanEndStore() const;
  // Whether some rule that its author wrote raises an alert, or worse than a
  // denial: then the calls before it are of interest.
  bool CanAlert() const;

  LinkFindings CheckAgainst(absl::Span<const LinkedImport> imports) const;

  // What it has to say of the import, made now or taken from what was made for
  // an import like it (specialisation_cache.h). The policy outlives it.
  std::shared_ptr<const Specialisation> SpecialisedFor(
      const LinkedImport& import) const;

  // The same policy where nothing of it is enforced: made once, when it is
  // first asked for. Its name and version are this one's.
  std::shared_ptr<const Policy> UnderAudit() const;

 private:
  const PolicyContent content_;
  // The same for everybody, whatever it holds.
  const std::unique_ptr<SpecialisationCache> specialised_;
  mutable std::once_flag audit_made_;
  mutable std::shared_ptr<const Policy> audit_;
  // Into content_.imports.
  absl::flat_hash_map<std::pair<absl::string_view, absl::string_view>, size_t>
      by_import_;
};

// `policy`, or where it would be above `cap` the same under that.
std::shared_ptr<const Policy> CappedAt(std::shared_ptr<const Policy> policy,
                                       Mode cap);

// Whether a call of it can be answered with an errno in the function's place.
bool AnswersErrno(const LinkedImport& import);

}  // namespace callgate::policy

#endif  // CALLGATE_POLICY_POLICY_H_
