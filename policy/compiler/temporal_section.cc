#include <algorithm>
#include <optional>
#include <set>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "policy/compiler/rule_parts.h"
#include "policy/compiler/sections.h"
#include "policy/compiler/state_key.h"
#include "policy/quote.h"
#include "policy/temporal/sequence.h"
#include "policy/temporal/window_count.h"
#include "policy/temporal/window_distinct.h"

namespace callgate::policy {
namespace {

using Pattern = TemporalRule::Pattern;

// Ten years; a window has to end.
constexpr int64_t kWithinSecondsMax = int64_t{10} * 366 * 86400;
constexpr uint64_t kRecordsDefault = 64;
constexpr uint64_t kRecordsMax = 4096;
constexpr int kUnlessMax = 8;

// What begins the name of a fact, a function or a namespace already.
bool IsTakenWord(absl::string_view word) {
  static constexpr absl::string_view kTaken[] = {
      "args",   "call",  "current", "in",     "math", "module", "now",
      "result", "score", "store",   "tenant", "true", "false",  "null"};
  return std::find(std::begin(kTaken), std::end(kTaken), word) !=
         std::end(kTaken);
}

class Section {
 public:
  Section(const LoadedPolicyFile& file, std::string path,
          const v1::TemporalRule& entry, Compilation& c)
      : file_(file), path_(std::move(path)), entry_(entry), c_(c) {}

  void Run() {
    if (entry_.id().empty()) {
      Report("", "id is missing; a rule has an id");
      return;
    }
    c_.CheckId(file_, path_, entry_.id());
    if (entry_.action() == v1::ACTION_UNSPECIFIED) {
      Report("",
             "action is missing; allowed: log, alert, throttle, deny, trap, "
             "kill_store, quarantine_module");
      return;
    }
    if (!c_.CheckAction(
            file_, At("action"), entry_.action(),
            {v1::ACTION_LOG, v1::ACTION_ALERT, v1::ACTION_THROTTLE,
             v1::ACTION_DENY, v1::ACTION_TRAP, v1::ACTION_KILL_STORE,
             v1::ACTION_QUARANTINE_MODULE})) {
      return;
    }
    rule_.rule = c_.ReadRule(file_, path_, entry_, ToVerdict(entry_.action()),
                             kErrnoNotCapable);
    rule_.rule.id = entry_.id();
    if (entry_.on_overflow() != v1::ACTION_UNSPECIFIED &&
        c_.CheckAction(file_, At("on_overflow"), entry_.on_overflow(),
                       {v1::ACTION_TRAP})) {
      rule_.traps_on_overflow = true;
    }
    switch (entry_.pattern_case()) {
      case v1::TemporalRule::kSequence:
        ReadSequence(entry_.sequence());
        break;
      case v1::TemporalRule::kRequire:
        ReadRequire(entry_.require());
        break;
      case v1::TemporalRule::kCount:
        rule_.pattern = Pattern::kCount;
        rule_.state.kind = StateShape::Kind::kCount;
        ReadWindow(entry_.count(), "count",
                   temporal::WindowCount::kThresholdMax);
        break;
      case v1::TemporalRule::kDistinct:
        rule_.pattern = Pattern::kDistinct;
        rule_.state.kind = StateShape::Kind::kDistinct;
        ReadWindow(entry_.distinct(), "distinct",
                   temporal::WindowDistinct::kThresholdMax);
        ReadValue(entry_.distinct().value(), "distinct");
        if (entry_.distinct().has_max_values() &&
            entry_.distinct().max_values() < entry_.distinct().gte()) {
          Report("distinct.max_values",
                 absl::StrCat("is ", entry_.distinct().max_values(),
                              ", so the rule would never see gte, ",
                              entry_.distinct().gte(), ", of them"));
        }
        break;
      case v1::TemporalRule::kSum:
        rule_.pattern = Pattern::kSum;
        rule_.state.kind = StateShape::Kind::kSum;
        ReadWindow(entry_.sum(), "sum", UINT64_MAX);
        ReadValue(entry_.sum().value(), "sum");
        rule_.count_in_flight = entry_.sum().count_in_flight();
        break;
      case v1::TemporalRule::PATTERN_NOT_SET:
        Report("",
               "a pattern is missing; write one of sequence, require, count, "
               "distinct and sum");
        return;
    }
    rule_.rule.scope = rule_.state.scope;
    // What comes after looks at all that a pattern consists of.
    if (is_whole_) c_.content().temporal.push_back(std::move(rule_));
  }

 private:
  std::string At(absl::string_view field) const {
    return field.empty() ? path_ : absl::StrCat(path_, ".", field);
  }
  void Report(absl::string_view field, absl::string_view message) {
    c_.Report(file_, At(field), message);
  }

  void ReadScope(std::optional<StateScope> of_key) {
    StateScope& scope = rule_.state.scope;
    switch (entry_.scope()) {
      case v1::RULE_SCOPE_STORE:
        scope = StateScope::kStore;
        break;
      case v1::RULE_SCOPE_MODULE:
        scope = StateScope::kModule;
        break;
      case v1::RULE_SCOPE_TENANT:
        scope = StateScope::kTenant;
        break;
      default:
        scope = of_key.value_or(StateScope::kStore);
    }
  }

  void ReadWithin(absl::string_view pattern, bool has_within,
                  const google::protobuf::Duration& within) {
    if (!has_within) {
      Report(pattern, "within is missing; say how far back to look");
      return;
    }
    if ((within.seconds() == 0 && within.nanos() == 0) ||
        within.seconds() > kWithinSecondsMax) {
      Report(
          absl::StrCat(pattern, ".within"),
          absl::StrCat("must be longer than nothing and at most ",
                       absl::FormatDuration(absl::Seconds(kWithinSecondsMax))));
      return;
    }
    rule_.state.within =
        within.seconds() * int64_t{1'000'000'000} + within.nanos();
  }

  // How many records a rule may keep.
  void ReadBound(absl::string_view field, bool given, uint64_t max,
                 uint64_t least) {
    if (!given) max = kRecordsDefault;
    if (max < least || max > kRecordsMax) {
      Report(field, absl::StrCat("is ", max, "; allowed: ", least, " to ",
                                 kRecordsMax));
      return;
    }
    rule_.state.records_max = static_cast<size_t>(max);
  }

  std::optional<Condition> ReadWhen(absl::string_view at,
                                    const std::string& when) {
    if (when.empty()) {
      Report(at, "when is missing; write `when: 'true'` for every call");
      return std::nullopt;
    }
    return ConditionAt(file_, At(absl::StrCat(at, ".when")), when);
  }

  TemporalRule::Step ReadStep(const std::string& at,
                              const v1::TemporalRule::Step& step,
                              std::set<std::string>* names) {
    TemporalRule::Step out;
    if (auto when = ReadWhen(at, step.when())) out.when = *std::move(when);
    out.as = step.as();
    out.attempts = step.attempts();
    if (out.as.empty()) return out;
    const auto& macros = c_.content().vocabulary.macros;
    if (!IsPlainWord(out.as) || IsTakenWord(out.as)) {
      Report(absl::StrCat(at, ".as"),
             absl::StrCat(Quote(out.as),
                          " is no name for an event; write letters, digits "
                          "and '_', and none that facts begin with"));
    } else if (!names->insert(out.as).second ||
               std::any_of(macros.begin(), macros.end(),
                           [&](const Macro& m) { return m.name == out.as; })) {
      Report(absl::StrCat(at, ".as"),
             absl::StrCat(Quote(out.as), " is the name of something else"));
    }
    return out;
  }

  void ReadSequence(const v1::TemporalRule::Sequence& sequence) {
    rule_.pattern = Pattern::kSequence;
    rule_.state.kind = StateShape::Kind::kSequence;
    ReadScope(std::nullopt);
    ReadWithin("sequence", sequence.has_within(), sequence.within());
    const int steps = sequence.steps_size();
    if (steps < 2 || steps > static_cast<int>(temporal::kSequenceStepsMax)) {
      Report("sequence",
             absl::StrCat("has ", steps, steps == 1 ? " step" : " steps",
                          "; allowed: 2 to ", temporal::kSequenceStepsMax,
                          steps == 1 ? " (for one, write a rule)" : ""));
      is_whole_ = false;
      return;
    }
    if (sequence.unless_size() > kUnlessMax) {
      Report("sequence.unless", absl::StrCat("has ", sequence.unless_size(),
                                             " steps; at most ", kUnlessMax));
      is_whole_ = false;
      return;
    }
    ReadBound("sequence.max_partial", sequence.has_max_partial(),
              sequence.max_partial(), static_cast<uint64_t>(steps) - 1);
    std::set<std::string> names;
    for (int i = 0; i < steps; ++i) {
      rule_.steps.push_back(ReadStep(absl::StrCat("sequence.steps[", i, "]"),
                                     sequence.steps(i), &names));
    }
    for (int i = 0; i < sequence.unless_size(); ++i) {
      rule_.unless.push_back(ReadStep(absl::StrCat("sequence.unless[", i, "]"),
                                      sequence.unless(i), &names));
    }
  }

  void ReadRequire(const v1::TemporalRule::Require& require) {
    rule_.pattern = Pattern::kRequire;
    rule_.state.kind = StateShape::Kind::kFormerly;
    ReadScope(std::nullopt);
    ReadWithin("require", require.has_within(), require.within());
    ReadBound("require.max_events", require.has_max_events(),
              require.max_events(), 1);
    if (auto when = ReadWhen("require", require.when())) {
      rule_.rule.when = *std::move(when);
    }
    if (!require.has_formerly()) {
      Report("require", "formerly is missing; say what has to have happened");
      is_whole_ = false;
      return;
    }
    std::set<std::string> names;
    rule_.formerly = ReadStep("require.formerly", require.formerly(), &names);
  }

  // What count, distinct and sum have in common.
  template <typename Window>
  void ReadWindow(const Window& window, const std::string& pattern,
                  uint64_t gte_max) {
    if (auto when = ReadWhen(pattern, window.when())) {
      rule_.rule.when = *std::move(when);
    }
    ReadWithin(pattern, window.has_within(), window.within());
    if (window.gte() < 1 || window.gte() > gte_max) {
      Report(absl::StrCat(pattern, ".gte"),
             absl::StrCat("is ", window.gte(), "; allowed: 1 to ", gte_max));
    } else {
      rule_.state.threshold = window.gte();
    }
    const std::string at = At(pattern);
    rule_.key = ReadKey(file_, absl::StrCat(at, ".key"), window.key(), c_);
    ReadScope(rule_.key.empty() ? std::nullopt
                                : std::optional(ScopeOfKey(rule_.key)));
    std::optional<uint64_t> max_keys;
    if (window.has_max_keys()) max_keys = window.max_keys();
    rule_.state.keys_max =
        KeysMax(file_, at, rule_.key, rule_.state.scope, max_keys, c_);
  }

  void ReadValue(const std::string& value, const std::string& pattern) {
    if (value.empty()) {
      Report(pattern, "value is missing; say what of a call it looks at");
      return;
    }
    rule_.value =
        ConditionAt(file_, At(absl::StrCat(pattern, ".value")), value);
  }

  const LoadedPolicyFile& file_;
  const std::string path_;
  const v1::TemporalRule& entry_;
  Compilation& c_;
  TemporalRule rule_;
  bool is_whole_ = true;
};

}  // namespace

void CompileTemporal(const LoadedPolicyFile& file, Compilation& c) {
  for (int i = 0; i < file.proto.temporal_size(); ++i) {
    Section(file, absl::StrCat("temporal[", i, "]"), file.proto.temporal(i), c)
        .Run();
  }
}

}  // namespace callgate::policy
