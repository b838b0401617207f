#include "policy/policy.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "policy/quote.h"
#include "policy/specialisation_cache.h"
#include "policy/specialised_import.h"

namespace callgate::policy {
bool AnswersErrno(const LinkedImport& import) {
  return import.spec != nullptr && import.spec->errno_result &&
         !import.type->results.empty() &&
         import.type->results[0] == ValType::kI32;
}

Policy::Policy(PolicyContent content)
    : content_(std::move(content)),
      specialised_(std::make_unique<SpecialisationCache>()) {
  for (size_t i = 0; i < content_.imports.size(); ++i) {
    const ImportName& import = content_.imports[i].import;
    by_import_.emplace(std::make_pair(absl::string_view(import.module),
                                      absl::string_view(import.name)),
                       i);
  }
}

Policy::~Policy() = default;

std::shared_ptr<const Specialisation> Policy::SpecialisedFor(
    const LinkedImport& import) const {
  std::string key = SpecialisationCache::KeyOf(import);
  if (auto known = specialised_->Find(key)) return known;
  auto made = std::make_shared<Specialisation>();
  made->import = Specialise(*this, import, &made->problems);
  return specialised_->Add(std::move(key), std::move(made));
}

absl::string_view Policy::short_version() const {
  return absl::string_view(content_.version).substr(0, 12);
}

bool Policy::OfferedTo(absl::string_view tenant) const {
  const Applicability& to = content_.applies_to;
  if (to.on_offer_only || to.any_tenant) return true;
  return std::find(to.tenants.begin(), to.tenants.end(), tenant) !=
         to.tenants.end();
}

bool Policy::AppliesTo(
    absl::string_view tenant,
    const absl::flat_hash_map<std::string, std::string>& module_labels) const {
  const Applicability& to = content_.applies_to;
  if (to.on_offer_only || !OfferedTo(tenant)) return false;
  for (const auto& [name, value] : to.module_labels) {
    const auto found = module_labels.find(name);
    if (found == module_labels.end() || found->second != value) return false;
  }
  return true;
}

const ImportPolicy* Policy::FindImport(absl::string_view module,
                                       absl::string_view name) const {
  const auto found = by_import_.find(std::make_pair(module, name));
  return found == by_import_.end() ? nullptr : &content_.imports[found->second];
}

std::vector<const Rule*> Policy::AllRules() const {
  std::vector<const Rule*> rules;
  for (const Rule& rule : content_.rules) rules.push_back(&rule);
  for (const RateLimit& limit : content_.rate_limits) {
    rules.push_back(&limit.rule);
  }
  for (const TemporalRule& temporal : content_.temporal) {
    rules.push_back(&temporal.rule);
  }
  for (const AnomalyRule& anomaly : content_.anomaly) {
    rules.push_back(&anomaly.rule);
  }
  for (const Rule* rule : {&content_.unlisted_import, &content_.no_allow,
                           &content_.on_engine_error, &content_.bad_argument}) {
    rules.push_back(rule);
  }
  for (const Rule& rule : content_.budget_exceeded) rules.push_back(&rule);
  return rules;
}

bool Policy::CanEndStore() const {
  const auto ends = [](const Rule& rule) { return EndsStore(rule.verdict); };
  return std::any_of(content_.rules.begin(), content_.rules.end(), ends) ||
         std::any_of(content_.rate_limits.begin(), content_.rate_limits.end(),
                     [&](const RateLimit& l) { return ends(l.rule); }) ||
         std::any_of(content_.anomaly.begin(), content_.anomaly.end(),
                     [&](const AnomalyRule& a) {
                       return (a.frequency && ends(a.frequency->rule)) ||
                              std::any_of(a.thresholds.begin(),
                                          a.thresholds.end(),
                                          [&](const auto& threshold) {
                                            return ends(threshold.rule);
                                          });
                     }) ||
         std::any_of(content_.temporal.begin(), content_.temporal.end(),
                     [&](const TemporalRule& t) { return ends(t.rule); }) ||
         ends(content_.unlisted_import) || ends(content_.on_engine_error) ||
         EndsStore(content_.budgets.on_exceed);
}

bool Policy::CanAlert() const {
  const auto alerts = [](const Rule& rule) { return IsAlert(rule.verdict); };
  return std::any_of(content_.rules.begin(), content_.rules.end(), alerts) ||
         std::any_of(content_.anomaly.begin(), content_.anomaly.end(),
                     [&](const AnomalyRule& a) {
                       return (a.frequency && alerts(a.frequency->rule)) ||
                              std::any_of(a.thresholds.begin(),
                                          a.thresholds.end(),
                                          [&](const auto& threshold) {
                                            return alerts(threshold.rule);
                                          });
                     }) ||
         std::any_of(content_.rate_limits.begin(), content_.rate_limits.end(),
                     [&](const RateLimit& l) { return alerts(l.rule); }) ||
         std::any_of(content_.temporal.begin(), content_.temporal.end(),
                     [&](const TemporalRule& t) { return alerts(t.rule); });
}

std::vector<const StateShape*> Policy::StateShapes() const {
  std::vector<const StateShape*> shapes;
  for (const RateLimit& limit : content_.rate_limits) {
    shapes.push_back(&limit.state);
  }
  for (const TemporalRule& rule : content_.temporal) {
    shapes.push_back(&rule.state);
  }
  return shapes;
}

LinkFindings Policy::CheckAgainst(
    absl::Span<const LinkedImport> imports) const {
  LinkFindings out;
  const auto at = [](const Rule& rule, std::string message) {
    return Problem{rule.file, rule.position.line, rule.position.column,
                   std::move(message)};
  };
  absl::flat_hash_map<std::pair<absl::string_view, absl::string_view>, bool>
      seen;
  for (const LinkedImport& import : imports) {
    // A module may import a function more than once.
    if (!seen.emplace(std::make_pair(import.module, import.name), true)
             .second) {
      continue;
    }
    const std::string name = FormatImportName(import.module, import.name);
    const auto warn_of_trap = [&](const Rule& rule, absl::string_view what) {
      if (rule.verdict != Verdict::kDeny || AnswersErrno(import)) return;
      out.warnings.push_back(
          at(rule, absl::StrCat("rule ", rule.id, " ", what, " ", name,
                                ", which returns no errno: the call traps "
                                "instead; write `action: trap` to say so")));
    };
    const ImportPolicy* policy = FindImport(import.module, import.name);
    if (policy == nullptr || !policy->listed) {
      warn_of_trap(content_.unlisted_import, "denies the unlisted");
    }
    const std::shared_ptr<const Specialisation> made = SpecialisedFor(import);
    const SpecialisedImport& special = made->import;
    out.problems.insert(out.problems.end(), made->problems.begin(),
                        made->problems.end());
    for (const auto* restrictions : {&special.always, &special.restrictions}) {
      for (const SpecialisedRule& restriction : *restrictions) {
        warn_of_trap(content_.rules[restriction.rule], "denies");
      }
    }
    for (const SpecialisedLimit& limit : special.limits) {
      warn_of_trap(content_.rate_limits[limit.limit].rule, "denies");
    }
    for (const SpecialisedTemporal& temporal : special.temporal) {
      if (temporal.can_fire) {
        warn_of_trap(content_.temporal[temporal.rule].rule, "denies");
      }
    }
    if (policy == nullptr) continue;
    for (const ArgumentRule& arg : policy->args) {
      std::string why;
      if (!ResolveArgument(arg, *import.type, import.spec, &why)) {
        out.problems.push_back(at(content_.rules[arg.rule],
                                  absl::StrCat("argument ", Quote(arg.name),
                                               " of ", name, ": ", why)));
      }
    }
  }
  return out;
}

std::shared_ptr<const Policy> Policy::UnderAudit() const {
  std::call_once(audit_made_, [this] {
    PolicyContent content = content_;
    content.mode = Mode::kAudit;
    audit_ = std::make_shared<const Policy>(std::move(content));
  });
  return audit_;
}

std::shared_ptr<const Policy> CappedAt(std::shared_ptr<const Policy> policy,
                                       Mode cap) {
  return policy->mode() <= cap ? std::move(policy) : policy->UnderAudit();
}

}  // namespace callgate::policy
