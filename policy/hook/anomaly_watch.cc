#include "policy/hook/anomaly_watch.h"

#include <algorithm>
#include <utility>

#include "absl/memory/memory.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace callgate::policy {

std::unique_ptr<AnomalyWatch> AnomalyWatch::Make(
    const RulesInForce& rules, const StoreFacts& facts,
    anomaly::ProfileBook* book, std::unique_ptr<AnomalyWatch> before,
    bool has_calls) {
  std::unique_ptr<AnomalyWatch> watch;
  for (size_t p = 0; p < rules.policies().size(); ++p) {
    for (const AnomalyRule& rule : rules.policy(p).anomaly()) {
      if (watch == nullptr) {
        watch = absl::WrapUnique(new AnomalyWatch(rules, facts.store_id, book));
        watch->scratch_ = std::make_unique<expression::Scratch>();
      }
      Watched watched;
      watched.policy = p;
      watched.rule = &rule;
      watched.id = {facts.tenant, facts.module_digest, rule.shape};
      anomaly::LearningRule learning = rule.learning;
      if (rule.no_profile != AnomalyRule::NoProfile::kLearn) {
        learning.mode = anomaly::LearningRule::Mode::kOff;
      }
      Watched* const same =
          before == nullptr ? nullptr : before->FindSame(rule);
      if (same != nullptr) {
        watched.lease = std::move(same->lease);
        watched.stream = std::move(same->stream);
        watched.sites = std::move(same->sites);
      } else if (book != nullptr) {
        watched.lease = book->Begin(watched.id, learning, rule.ngrams_max);
        if (has_calls) watched.lease.record_ngrams_max = 0;
      }
      watched.is_denied = watched.lease.model == nullptr &&
                          rule.no_profile == AnomalyRule::NoProfile::kDeny;
      if (watched.stream == nullptr && (watched.lease.model != nullptr ||
                                        watched.lease.record_ngrams_max > 0)) {
        anomaly::Stream::Options options;
        options.shape = rule.shape;
        options.frame = rule.frame;
        options.model = watched.lease.model;
        options.record_ngrams_max =
            static_cast<size_t>(watched.lease.record_ngrams_max);
        options.begins_late = has_calls;
        watched.stream = std::make_unique<anomaly::Stream>(options);
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
        old.learning.mode == rule.learning.mode &&
        old.learning.require_approval == rule.learning.require_approval &&
        old.learning.freeze_on_stable == rule.learning.freeze_on_stable) {
      return &watched;
    }
  }
  return nullptr;
}

void AnomalyWatch::Calling(CallContext& call, std::vector<Finding>* findings) {
  for (Watched& watched : watched_) {
    if (watched.is_denied) {
      const Rule& rule = watched.rule->rule;
      findings->push_back({watched.policy, &rule,
                           rules_.ModeOf(rule, watched.policy),
                           "the module has no profile that it could be judged "
                           "by",
                           ""});
    }
    if (watched.stream == nullptr) continue;
    const anomaly::Score score =
        watched.stream->Calling(watched.sites->SiteOf(call));
    if (watched.lease.model != nullptr) Judge(watched, score, findings);
  }
}

bool AnomalyWatch::Speaks(const Rule& rule, bool now, size_t index,
                          Watched* watched) {
  const bool before = watched->is_on[index];
  watched->is_on[index] = now;
  return now && (!before || rule.verdict > Verdict::kAlert);
}

void AnomalyWatch::Judge(Watched& watched, const anomaly::Score& score,
                         std::vector<Finding>* findings) {
  const AnomalyRule& rule = *watched.rule;
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
    if (!Speaks(threshold.rule, answer != ScoreCondition::Answer::kNo, i,
                &watched)) {
      continue;
    }
    add(threshold.rule,
        absl::StrCat(score.frame, " of the last ", rule.frame,
                     " calls are in an order that the module's profile does "
                     "not know; ",
                     score.total, " of all ", score.calls),
        std::move(why));
  }
  if (!watched.asks_frequency) return;
  const AnomalyRule::Frequency& frequency = *rule.frequency;
  if (!Speaks(frequency.rule, score.share_z >= frequency.z_score,
              rule.thresholds.size(), &watched)) {
    return;
  }
  add(frequency.rule,
      absl::StrFormat("the import is called more often than ever, by %.1f "
                      "deviations",
                      score.share_z),
      "");
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
                       ->Submit(watched.id, watched.stream->record(), store_id_,
                                now, watched.rule->learning,
                                watched.rule->ngrams_max)
                       .status());
  }
  return told;
}

}  // namespace callgate::policy
