#include <cmath>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "policy/anomaly_rule.h"
#include "policy/call_facts.h"
#include "policy/compiler/sections.h"
#include "policy/guest_errno.h"
#include "policy/quote.h"

namespace callgate::policy {
namespace {

constexpr size_t kAnomalyRulesMax = 8;
constexpr int kThresholdsMax = 16;
constexpr absl::Duration kLearningTimeMax = absl::Hours(24 * 366);

class AnomalyReader {
 public:
  AnomalyReader(const LoadedPolicyFile& file, const v1::AnomalyRule& entry,
                std::string path, Compilation& c)
      : file_(file), entry_(entry), path_(std::move(path)), c_(c) {}

  void Read() {
    if (entry_.id().empty()) {
      c_.Report(file_, path_, "id is missing; a rule has an id");
      return;
    }
    c_.CheckId(file_, path_, entry_.id());
    rule_.rule = RuleOf(Verdict::kDeny, v1::SEVERITY_UNSPECIFIED, "");
    ReadShape();
    ReadLearning();
    switch (entry_.when_no_profile()) {
      case v1::NO_PROFILE_ALLOW:
        rule_.no_profile = AnomalyRule::NoProfile::kAllow;
        break;
      case v1::NO_PROFILE_DENY:
        rule_.no_profile = AnomalyRule::NoProfile::kDeny;
        break;
      default:
        rule_.no_profile = AnomalyRule::NoProfile::kLearn;
        break;
    }
    ReadThresholds();
    ReadFrequency();
    if (entry_.thresholds().empty() && !entry_.has_frequency() &&
        rule_.no_profile == AnomalyRule::NoProfile::kAllow) {
      c_.Report(file_, path_,
                "has neither thresholds nor frequency and does not learn, so "
                "it does nothing");
    }
    if (c_.content().anomaly.size() >= kAnomalyRulesMax) {
      c_.Report(file_, path_,
                absl::StrCat("there are more than ", kAnomalyRulesMax,
                             " rules about anomalies"));
      return;
    }
    c_.content().anomaly.push_back(std::move(rule_));
  }

 private:
  std::string At(absl::string_view field) const {
    return absl::StrCat(path_, ".", field);
  }

  // A rule of the entry's id and mode, which stands at `below` it.
  Rule RuleOf(Verdict verdict, v1::Severity severity, absl::string_view below) {
    Rule rule;
    rule.id = entry_.id();
    rule.verdict = verdict;
    rule.severity = severity == v1::SEVERITY_UNSPECIFIED
                        ? DefaultSeverity(verdict)
                        : static_cast<Severity>(severity);
    rule.mode = entry_.mode() == v1::MODE_AUDIT ? Mode::kAudit : Mode::kEnforce;
    rule.file = file_.filename;
    rule.position = file_.PositionOf(
        below.empty() ? path_ : absl::StrCat(path_, ".", below));
    return rule;
  }

  // What belongs to one action of several. False: nothing can be made of it.
  template <typename Entry>
  bool ReadActionParts(const Entry& entry, const std::string& path,
                       Rule* rule) {
    const bool throttles = rule->verdict == Verdict::kThrottle;
    if (throttles != entry.has_throttle()) {
      c_.Report(file_, path,
                throttles ? "throttle is missing; say how long to wait"
                          : "throttle has no place here; the action is "
                            "another");
      return false;
    }
    if (throttles) {
      rule->throttle =
          ReadThrottle(entry.throttle(), absl::StrCat(path, ".throttle"),
                       c_.ReporterFor(file_));
    }
    if (!entry.has_guest_errno()) return true;
    const std::string at = absl::StrCat(path, ".guest_errno");
    if (rule->verdict != Verdict::kDeny) {
      c_.Report(file_, at, "goes with `action: deny` only");
    } else if (entry.guest_errno() == 0 || entry.guest_errno() > kErrnoMax) {
      c_.Report(file_, at,
                absl::StrCat("is ", entry.guest_errno(), "; allowed: 1 to ",
                             kErrnoMax));
    }
    rule->guest_errno = entry.guest_errno();
    return true;
  }

  template <typename Number>
  Number InRange(absl::string_view field, Number value, Number min, Number max,
                 Number otherwise) {
    if (value == Number{0}) return otherwise;
    if (value >= min && value <= max) return value;
    c_.Report(file_, At(field),
              absl::StrCat("is ", value, "; allowed: ", min, " to ", max));
    return otherwise;
  }

  void ReadShape() {
    const std::string& alphabet = entry_.alphabet();
    bool sites = true;
    if (alphabet.empty() || alphabet == "import+callsite+errno") {
    } else if (alphabet == "import+callsite") {
      rule_.shape.errnos = false;
    } else if (alphabet == "import+errno") {
      sites = false;
    } else if (alphabet == "import") {
      sites = false;
      rule_.shape.errnos = false;
    } else {
      c_.Report(file_, At("alphabet"),
                absl::StrCat(Quote(alphabet),
                             " is none; allowed: import, import+errno, "
                             "import+callsite, import+callsite+errno"));
    }
    rule_.shape.ngram = InRange<uint32_t>(
        "ngram", entry_.ngram(), anomaly::kNgramMin, anomaly::kNgramMax, 6);
    if (!sites) {
      rule_.shape.site_functions = 0;
      if (entry_.has_callsite_functions()) {
        c_.Report(file_, At("callsite_functions"),
                  "has no place where call sites are no part of the alphabet");
      }
    } else if (entry_.has_callsite_functions()) {
      if (entry_.callsite_functions() < 1 ||
          entry_.callsite_functions() > anomaly::kSiteFunctionsMax) {
        c_.Report(file_, At("callsite_functions"),
                  absl::StrCat("is ", entry_.callsite_functions(),
                               "; allowed: 1 to ", anomaly::kSiteFunctionsMax));
      } else {
        rule_.shape.site_functions = entry_.callsite_functions();
      }
    }
    rule_.frame = InRange<uint32_t>("locality_frame", entry_.locality_frame(),
                                    1, anomaly::kFrameMax, 20);
    rule_.ngrams_max = InRange<uint64_t>("max_ngrams", entry_.max_ngrams(), 1,
                                         anomaly::kProfileNgramsMax, 20'000);
    ReadKey(sites);
  }

  void ReadKey(bool sites) {
    const std::string& key = entry_.profile_key();
    if (key.empty() || key == "module.digest") return;
    if (key != "tenant") {
      c_.Report(file_, At("profile_key"),
                absl::StrCat(Quote(key),
                             " is none; allowed: module.digest (one module of "
                             "one tenant), tenant (all modules of one)"));
      return;
    }
    rule_.is_of_tenant = true;
    if (sites) {
      c_.Report(file_, At("profile_key"),
                "tenant: a call site is a place in one module's code; write "
                "`alphabet: import+errno` or `import` with it");
    }
  }

  void ReadLearning() {
    const v1::Learning& learning = entry_.learning();
    anomaly::LearningRule& rule = rule_.learning;
    switch (learning.state()) {
      case v1::LEARNING_STATE_ON:
        rule.mode = anomaly::LearningRule::Mode::kOn;
        break;
      case v1::LEARNING_STATE_OFF:
        rule.mode = anomaly::LearningRule::Mode::kOff;
        break;
      default:
        rule.mode = anomaly::LearningRule::Mode::kAuto;
        break;
    }
    rule.min_calls =
        InRange<uint64_t>("learning.min_calls", learning.min_calls(), 1,
                          uint64_t{1} << 50, rule.min_calls);
    rule.min_runs = static_cast<uint32_t>(
        InRange<uint64_t>("learning.min_runs", learning.min_runs(), 1,
                          anomaly::kRunsMax, rule.min_runs));
    if (learning.has_stable_novelty()) {
      const double novelty = learning.stable_novelty();
      if (!(novelty >= 0 && novelty <= 1)) {
        c_.Report(file_, At("learning.stable_novelty"),
                  absl::StrCat("is ", novelty, "; allowed: 0 to 1"));
      }
      rule.stable_novelty = novelty;
    }
    if (learning.has_max_time()) {
      const absl::Duration time =
          absl::Seconds(learning.max_time().seconds()) +
          absl::Nanoseconds(learning.max_time().nanos());
      if (time <= absl::ZeroDuration() || time > kLearningTimeMax) {
        c_.Report(file_, At("learning.max_time"),
                  "has to be more than nothing and at most 366 days");
      }
      rule.max_time = time;
    }
    if (learning.has_freeze_on_stable()) {
      rule.freeze_on_stable = learning.freeze_on_stable();
    }
    if (learning.has_require_approval()) {
      rule.require_approval = learning.require_approval();
    }
  }

  void ReadThresholds() {
    static const auto* const schema = new expression::Schema(ScoreSchema());
    if (entry_.thresholds_size() > kThresholdsMax) {
      c_.Report(file_, At("thresholds"),
                absl::StrCat("has ", entry_.thresholds_size(),
                             " entries; at most ", kThresholdsMax));
    }
    for (int i = 0; i < std::min(entry_.thresholds_size(), kThresholdsMax);
         ++i) {
      const v1::Threshold& entry = entry_.thresholds(i);
      const std::string below = absl::StrCat("thresholds[", i, "]");
      const std::string path = At(below);
      if (entry.action() == v1::ACTION_UNSPECIFIED) {
        c_.Report(file_, path,
                  "action is missing; allowed: log, alert, throttle, deny, "
                  "trap, kill_store, quarantine_module");
        continue;
      }
      if (!c_.CheckAction(
              file_, absl::StrCat(path, ".action"), entry.action(),
              {v1::ACTION_LOG, v1::ACTION_ALERT, v1::ACTION_THROTTLE,
               v1::ACTION_DENY, v1::ACTION_TRAP, v1::ACTION_KILL_STORE,
               v1::ACTION_QUARANTINE_MODULE})) {
        continue;
      }
      Rule rule = RuleOf(ToVerdict(entry.action()), entry.severity(), below);
      if (!ReadActionParts(entry, path, &rule)) continue;
      if (entry.when().empty()) {
        c_.Report(file_, path,
                  "when is missing; write one as 'score.frame >= 6'");
        continue;
      }
      rule.when = ConditionAt(file_, absl::StrCat(path, ".when"), entry.when());
      expression::CompileOptions options;
      options.type = expression::Type(expression::TypeKind::kBool);
      expression::CompileResult compiled =
          expression::Compile(entry.when(), *schema, options);
      for (const expression::Problem& problem : compiled.problems) {
        c_.problems().push_back(
            AtCondition(rule.when, problem.ToString(entry.when())));
      }
      if (!compiled.ok()) continue;
      rule_.thresholds.push_back(
          {std::move(rule),
           ScoreCondition(std::make_shared<const expression::Program>(
               *std::move(compiled.program)))});
    }
  }

  void ReadFrequency() {
    if (!entry_.has_frequency()) return;
    const v1::Frequency& entry = entry_.frequency();
    const std::string path = At("frequency");
    if (!(entry.ewma_alpha() >= 0.0001 && entry.ewma_alpha() <= 0.5)) {
      c_.Report(
          file_, absl::StrCat(path, ".ewma_alpha"),
          absl::StrCat("is ", entry.ewma_alpha(), "; allowed: 0.0001 to 0.5"));
      return;
    }
    if (!(entry.z_score() > 0 && entry.z_score() <= 1e6)) {
      c_.Report(file_, absl::StrCat(path, ".z_score"),
                absl::StrCat("is ", entry.z_score(),
                             "; allowed: more than 0, at most 1000000"));
      return;
    }
    v1::Action action = entry.action();
    if (action == v1::ACTION_UNSPECIFIED) action = v1::ACTION_ALERT;
    if (!c_.CheckAction(
            file_, absl::StrCat(path, ".action"), action,
            {v1::ACTION_LOG, v1::ACTION_ALERT, v1::ACTION_THROTTLE,
             v1::ACTION_DENY, v1::ACTION_TRAP, v1::ACTION_KILL_STORE,
             v1::ACTION_QUARANTINE_MODULE})) {
      return;
    }
    rule_.shape.share_weight =
        static_cast<uint32_t>(std::lround(entry.ewma_alpha() * 65536));
    AnomalyRule::Frequency frequency;
    frequency.rule = RuleOf(ToVerdict(action), entry.severity(), "frequency");
    if (!ReadActionParts(entry, path, &frequency.rule)) return;
    frequency.z_score = entry.z_score();
    frequency.min_calls = entry.min_samples();
    rule_.frequency = std::move(frequency);
  }

  const LoadedPolicyFile& file_;
  const v1::AnomalyRule& entry_;
  const std::string path_;
  Compilation& c_;
  AnomalyRule rule_;
};

}  // namespace

void CompileAnomaly(const LoadedPolicyFile& file, Compilation& c) {
  for (int i = 0; i < file.proto.anomaly_size(); ++i) {
    AnomalyReader(file, file.proto.anomaly(i), absl::StrCat("anomaly[", i, "]"),
                  c)
        .Read();
  }
}

}  // namespace callgate::policy
