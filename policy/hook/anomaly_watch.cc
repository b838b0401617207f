#include "policy/hook/anomaly_watch.h"

#include <algorithm>
#include <array>
#include <optional>
#include <utility>

#include "absl/memory/memory.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "policy/call_facts.h"
#include "policy/expression/value.h"
#include "policy/import_name.h"
#include "runtime/check.h"

namespace callgate::policy {

namespace {

anomaly::ProfileId IdOf(const AnomalyRule& rule, const StoreFacts& facts) {
  return {facts.tenant,
          rule.is_of_tenant ? std::string(anomaly::kDigestOfAllModules)
                            : facts.module_digest,
          rule.shape};
}

}  // namespace

AnomalyWatch::Leases AnomalyWatch::TakeLeases(const RulesInForce& rules,
                                              const StoreFacts& facts,
                                              anomaly::ProfileBook* book) {
  Leases leases;
  for (const auto& policy : rules.policies()) {
    for (const AnomalyRule& rule : policy->anomaly()) {
      leases.emplace_back();
      if (book == nullptr) continue;
      anomaly::LearningRule learning = rule.learning;
      if (rule.no_profile != AnomalyRule::NoProfile::kLearn) {
        learning.mode = anomaly::LearningRule::Mode::kOff;
      }
      leases.back() = book->Begin(IdOf(rule, facts), learning, rule.ngrams_max);
    }
  }
  return leases;
}

std::unique_ptr<AnomalyWatch> AnomalyWatch::Make(
    const RulesInForce& rules, const StoreFacts& facts, const Options& options,
    Leases leases, std::unique_ptr<AnomalyWatch> before) {
  const bool has_calls = options.has_calls;
  std::unique_ptr<AnomalyWatch> watch;
  auto lease = leases.begin();
  for (size_t p = 0; p < rules.policies().size(); ++p) {
    for (const AnomalyRule& rule : rules.policy(p).anomaly()) {
      if (watch == nullptr) {
        watch = absl::WrapUnique(new AnomalyWatch(rules, facts, options));
        watch->scratch_ = std::make_unique<expression::Scratch>();
      }
      Watched watched;
      watched.policy = p;
      watched.rule = &rule;
      watched.id = IdOf(rule, facts);
      CALLGATE_CHECK(lease != leases.end(), "each rule has a lease");
      watched.lease = std::move(*lease++);
      Watched* const same =
          before == nullptr ? nullptr : before->FindSame(rule);
      if (same != nullptr) {
        watched.lease = std::move(same->lease);
        watched.stream = std::move(same->stream);
        watched.sites = std::move(same->sites);
      } else if (has_calls) {
        watched.lease.record_ngrams_max = 0;
      }
      watched.is_denied = watched.lease.model == nullptr &&
                          rule.no_profile == AnomalyRule::NoProfile::kDeny;
      if (watched.stream == nullptr && (watched.lease.model != nullptr ||
                                        watched.lease.record_ngrams_max > 0)) {
        anomaly::Stream::Options stream;
        stream.shape = rule.shape;
        stream.frame = rule.frame;
        stream.model = watched.lease.model;
        stream.record_ngrams_max =
            static_cast<size_t>(watched.lease.record_ngrams_max);
        stream.begins_late = has_calls;
        watched.stream = std::make_unique<anomaly::Stream>(stream);
        watched.sites = std::make_unique<CallSites>(*watched.stream);
      }
      watched.asks_frequency =
          rule.frequency.has_value() && watched.lease.model != nullptr &&
          watched.lease.model->calls() >= rule.frequency->min_calls;
      watched.is_on.resize(rule.thresholds.size() + 1);
      watch->watched_.push_back(std::move(watched));
    }
  }
  // What was found wrong with a Store stays.
  if (watch != nullptr && before != nullptr) watch->teaches_ = before->teaches_;
  return watch;
}

AnomalyWatch::Watched* AnomalyWatch::FindSame(const AnomalyRule& rule) {
  for (Watched& watched : watched_) {
    const AnomalyRule& old = *watched.rule;
    if (watched.stream != nullptr && old.rule.id == rule.rule.id &&
        old.shape == rule.shape && old.frame == rule.frame &&
        old.ngrams_max == rule.ngrams_max &&
        old.no_profile == rule.no_profile &&
        old.is_of_tenant == rule.is_of_tenant &&
        old.learning.mode == rule.learning.mode &&
        old.learning.require_approval == rule.learning.require_approval &&
        old.learning.freeze_on_stable == rule.learning.freeze_on_stable) {
      return &watched;
    }
  }
  return nullptr;
}

void AnomalyWatch::Calling(CallMoment& moment, std::vector<Finding>* findings) {
  if (keep_answers_) answers_.clear();
  for (Watched& watched : watched_) {
    if (told_.has_value()) {
      Judge(watched, *told_, moment, findings);
      continue;
    }
    if (watched.is_denied) {
      const Rule& rule = watched.rule->rule;
      const RuleException* exception =
          ExceptionOf(*watched.rule, anomaly::Score(), moment);
      if (exception == nullptr) {
        findings->push_back({watched.policy, &rule,
                             rules_.ModeOf(rule, watched.policy),
                             "the module has no profile that it could be "
                             "judged by",
                             ""});
      }
      KeepAnswer(watched,
                 exception == nullptr ? ConditionAnswer::Kind::kTrue
                                      : ConditionAnswer::Kind::kExcepted,
                 exception);
    }
    if (watched.stream == nullptr) continue;
    const anomaly::Score score =
        watched.stream->Calling(watched.sites->SiteOf(moment.call()));
    if (watched.lease.model != nullptr) Judge(watched, score, moment, findings);
  }
  told_.reset();
}

const RuleException* AnomalyWatch::ExceptionOf(const AnomalyRule& rule,
                                               const anomaly::Score& score,
                                               CallMoment& moment) const {
  if (rule.exceptions.empty()) return nullptr;
  const CallContext& call = moment.call();
  const FunctionIdentity& function = call.function();
  const std::string import = FormatImportName(function.module, function.name);
  std::array<expression::Value, kCallFactCount + kScoreFactCount> facts;
  const auto set = [&facts](CallFact fact, expression::Value value) {
    facts[SlotOf(fact)] = value;
  };
  const auto calls = static_cast<int64_t>(moment.calls_before());
  set(CallFact::kImport, expression::Value::String(import));
  set(CallFact::kModule, expression::Value::String(function.module));
  set(CallFact::kName, expression::Value::String(function.name));
  set(CallFact::kSite, expression::Value::Lazy());
  set(CallFact::kCaller, expression::Value::Lazy());
  set(CallFact::kStoreMemoryBytes, expression::Value::Lazy());
  set(CallFact::kStoreFuelUsed, expression::Value::Lazy());
  set(CallFact::kDepth, expression::Value::Int(call.depth()));
  set(CallFact::kSeq, expression::Value::Int(calls + 1));
  set(CallFact::kStoreCalls, expression::Value::Int(calls));
  set(CallFact::kStoreId, expression::Value::String(store_.store_id));
  set(CallFact::kTenant, expression::Value::String(store_.tenant));
  set(CallFact::kModuleDigest, expression::Value::String(store_.module_digest));
  set(CallFact::kModuleName, expression::Value::String(store_.module_name));
  const ScoreFacts of_score = FactsOf(score);
  std::copy(of_score.begin(), of_score.end(), facts.begin() + kCallFactCount);
  for (const AnomalyRule::Exception& exception : rule.exceptions) {
    const RuleException& says = rule.rule.exceptions[exception.number];
    if (moment.Now() >= says.expires) continue;
    // One that fails is not known to hold.
    const expression::Evaluation holds =
        exception.holds->Evaluate(facts, scratch_.get(), &moment);
    if (holds.ok() && holds.value.as_bool()) return &says;
  }
  return nullptr;
}

void AnomalyWatch::KeepAnswer(const Watched& watched,
                              ConditionAnswer::Kind kind,
                              const RuleException* exception) {
  if (!keep_answers_) return;
  ConditionAnswer answer;
  answer.policy = rules_.policy(watched.policy).name();
  answer.rule = watched.rule->rule.id;
  answer.kind = kind;
  if (exception != nullptr) {
    answer.exception =
        exception->name.empty() ? exception->reason : exception->name;
  }
  answers_.push_back(answer);
}

void AnomalyWatch::DescribeScores(std::vector<FactText>* facts) const {
  for (const Watched& watched : watched_) {
    if (!watched.score) continue;
    const anomaly::Score& score = *watched.score;
    const std::string before =
        watched_.size() == 1 ? "" : absl::StrCat(watched.rule->rule.id, ": ");
    const auto add = [&](absl::string_view name, std::string text) {
      facts->push_back({absl::StrCat(before, "score.", name), std::move(text)});
    };
    add("frame", absl::StrCat(score.frame));
    add("novel", score.novel ? "true" : "false");
    add("strange", absl::StrCat(score.strange));
    add("recent", absl::StrCat(score.recent));
    add("total", absl::StrCat(score.total));
    add("calls", absl::StrCat(score.calls));
    add("share_z", absl::StrFormat("%.3f", score.share_z));
  }
}

bool AnomalyWatch::Speaks(const Rule& rule, bool now, size_t index,
                          Watched* watched) {
  const bool before = watched->is_on[index];
  watched->is_on[index] = now;
  return now && (!before || rule.verdict > Verdict::kAlert);
}

void AnomalyWatch::Judge(Watched& watched, const anomaly::Score& score,
                         CallMoment& moment, std::vector<Finding>* findings) {
  const AnomalyRule& rule = *watched.rule;
  if (keep_answers_) watched.score = score;
  // Looked for when something is true, and once.
  std::optional<const RuleException*> exception;
  const auto is_excepted = [&] {
    if (!exception) exception = ExceptionOf(rule, score, moment);
    return *exception != nullptr;
  };
  auto kind = ConditionAnswer::Kind::kFalse;
  const auto note = [&kind](ConditionAnswer::Kind more) {
    if (kind == ConditionAnswer::Kind::kFalse) kind = more;
  };
  const auto add = [&](const Rule& what, std::string message,
                       std::string failure) {
    const Mode mode = watched.lease.trial ? Mode::kAudit
                                          : rules_.ModeOf(what, watched.policy);
    findings->push_back(
        {watched.policy, &what, mode, std::move(message), std::move(failure)});
  };
  for (size_t i = 0; i < rule.thresholds.size(); ++i) {
    const AnomalyRule::Threshold& threshold = rule.thresholds[i];
    if (!threshold.when.MayHold(score)) {
      watched.is_on[i] = false;
      continue;
    }
    std::string why;
    const ScoreCondition::Answer answer =
        threshold.when.Judge(score, scratch_.get(), &why);
    const bool holds = answer != ScoreCondition::Answer::kNo;
    const bool excepted = holds && is_excepted();
    if (holds) {
      note(excepted ? ConditionAnswer::Kind::kExcepted
           : answer == ScoreCondition::Answer::kFailed
               ? ConditionAnswer::Kind::kFailed
               : ConditionAnswer::Kind::kTrue);
    }
    if (!Speaks(threshold.rule, holds && !excepted, i, &watched)) continue;
    add(threshold.rule,
        absl::StrCat(score.frame, " of the last ", rule.frame,
                     " calls are in an order that the module's profile does "
                     "not know; ",
                     score.total, " of all ", score.calls),
        std::move(why));
  }
  // A score that was told is that of a profile which has learned enough.
  if (watched.asks_frequency || (told_.has_value() && rule.frequency)) {
    const AnomalyRule::Frequency& frequency = *rule.frequency;
    const bool holds = score.share_z >= frequency.z_score;
    const bool excepted = holds && is_excepted();
    if (holds) {
      note(excepted ? ConditionAnswer::Kind::kExcepted
                    : ConditionAnswer::Kind::kTrue);
    }
    if (Speaks(frequency.rule, holds && !excepted, rule.thresholds.size(),
               &watched)) {
      add(frequency.rule,
          absl::StrFormat("the import is called more often than ever, by %.1f "
                          "deviations",
                          score.share_z),
          "");
    }
  }
  KeepAnswer(watched, kind, exception.value_or(nullptr));
}

void AnomalyWatch::Returned(CallContext& call) {
  const anomaly::ErrnoClass errno_class = ErrnoClassOf(call);
  for (Watched& watched : watched_) {
    if (watched.stream != nullptr) watched.stream->Returned(errno_class);
  }
}

std::vector<absl::Status> AnomalyWatch::Finish(absl::Time now) {
  std::vector<absl::Status> told;
  if (std::exchange(finished_, true) || !teaches_) return told;
  for (Watched& watched : watched_) {
    if (watched.stream == nullptr || !watched.stream->records() ||
        watched.stream->record().calls == 0) {
      continue;
    }
    told.push_back(book_
                       ->Submit(watched.id, watched.stream->record(),
                                store_.store_id, now, watched.rule->learning,
                                watched.rule->ngrams_max)
                       .status());
  }
  return told;
}

}  // namespace callgate::policy
