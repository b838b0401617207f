// Rate limits and temporal rules, made for one import.

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "policy/import_specialiser.h"
#include "policy/quote.h"
#include "runtime/check.h"

namespace callgate::policy {

using expression::Presence;
using expression::Program;
using expression::Schema;
using expression::Type;
using expression::TypeKind;

namespace {

// Whether all calls of one import that share a state have the same.
bool IsFixedFor(StateScope scope, uint32_t slot) {
  switch (static_cast<CallFact>(slot)) {
    case CallFact::kImport:
    case CallFact::kModule:
    case CallFact::kName:
    case CallFact::kTenant:
      return true;
    case CallFact::kModuleDigest:
      return scope != StateScope::kTenant;
    case CallFact::kModuleName:
    case CallFact::kStoreId:
      return scope == StateScope::kStore;
    default:
      return false;
  }
}

bool IsNumber(Type type) {
  return type.is_dyn() || type.Is(TypeKind::kInt) || type.Is(TypeKind::kUint) ||
         type.Is(TypeKind::kDouble);
}

}  // namespace

uint32_t ImportSpecialiser::SlotOfFact(absl::string_view fact) const {
  const std::optional<uint32_t> slot = schema_.FindSlot(fact);
  if (!slot || schema_.facts()[*slot].presence == Presence::kNever) {
    return kNoIndex;
  }
  return *slot;
}

SpecialisedKey ImportSpecialiser::KeyOf(const std::vector<Condition>& key,
                                        StateScope scope, Words& words) {
  SpecialisedKey out;
  out.is_fixed = true;
  for (const Condition& fact : key) {
    const uint32_t slot = SlotOfFact(fact.source);
    if (slot == kNoIndex) {
      problems_->push_back(AtCondition(
          fact,
          absl::StrCat("for ", names_.import,
                       ": this import does not have the fact ",
                       Quote(fact.source), "; leave it out with `when`")));
      continue;
    }
    out.slots.push_back(slot);
    out.is_fixed = out.is_fixed && IsFixedFor(scope, slot);
    words.read.push_back(slot);
  }
  return out;
}

void ImportSpecialiser::AddLimit(uint32_t index) {
  const RateLimit& limit = policy_.rate_limits()[index];
  if (limit.import && (limit.import->module != import_.module ||
                       limit.import->name != import_.name)) {
    return;
  }
  SpecialisedLimit special;
  special.limit = index;
  Words words{schema_, {}};
  if (!CompileWhen(limit.rule.when, words, &special.says.when)) return;
  if (!limit.cost.empty()) {
    special.cost = Compile(limit.cost, std::nullopt, words);
    if (!special.cost) return;
    if (!IsNumber(special.cost->type())) {
      problems_->push_back(AtCondition(
          limit.cost, absl::StrCat("for ", names_.import,
                                   ": a cost is a number, and this "
                                   "is of type ",
                                   special.cost->type().ToString())));
      return;
    }
  }
  special.key = KeyOf(limit.key, limit.state.scope, words);
  AddRest(limit.rule, words, &special.says);
  Use(words, limit.rule.runs_after);
  out_.limits.push_back(std::move(special));
}

void ImportSpecialiser::AddSteps(const std::vector<TemporalRule::Step>& steps,
                                 Words& words,
                                 std::vector<SpecialisedStep>* out) {
  for (uint32_t i = 0; i < steps.size(); ++i) {
    SpecialisedStep step;
    step.step = i;
    if (CompileWhen(steps[i].when, words, &step.when)) {
      out->push_back(std::move(step));
    }
  }
}

void ImportSpecialiser::AddTemporal(uint32_t index) {
  const TemporalRule& rule = policy_.temporal()[index];
  using Pattern = TemporalRule::Pattern;
  SpecialisedTemporal special;
  special.rule = index;
  bool runs_after = rule.rule.runs_after;
  if (rule.pattern == Pattern::kSequence) {
    Schema schema = schema_;
    for (const TemporalRule::PastFact& past : rule.past) {
      PastSlot slot;
      slot.slot = static_cast<uint32_t>(schema.facts().size());
      slot.step = past.step;
      slot.from = SlotOfFact(past.fact);
      slot.is_redacted = slot.from != kNoIndex && IsRedacted(slot.from);
      DeclareFactOf(absl::StrCat(rule.steps[past.step].as, ".", past.fact),
                    past.fact, FactsRecord::kTextBytesMax, &schema);
      special.past.push_back(slot);
    }
    const auto last = static_cast<uint32_t>(rule.steps.size() - 1);
    Words words{schema, {}, &special.past, last};
    AddSteps(rule.steps, words, &special.steps);
    AddSteps(rule.unless, words, &special.unless);
    if (special.steps.empty() && special.unless.empty()) return;
    for (const SpecialisedStep& step : special.steps) {
      special.can_fire = special.can_fire || step.step == last;
      runs_after = runs_after || rule.steps[step.step].runs_after;
      for (const PastSlot& past : special.past) {
        if (past.step == step.step && past.from != kNoIndex) {
          words.read.push_back(past.from);
        }
      }
    }
    for (const SpecialisedStep& step : special.unless) {
      runs_after = runs_after || rule.unless[step.step].runs_after;
    }
    if (special.can_fire) AddRest(rule.rule, words, &special.says);
    out_.fact_count = std::max(out_.fact_count, schema.facts().size());
    Use(words, runs_after);
    out_.temporal.push_back(std::move(special));
    return;
  }

  Words words{schema_, {}};
  special.can_fire = CompileWhen(rule.rule.when, words, &special.says.when);
  if (rule.pattern == Pattern::kRequire) {
    Schema schema = schema_;
    for (const TemporalRule::LateFact& fact : rule.late_current) {
      DeclareFactOf(absl::StrCat("current.", fact.fact), fact.fact,
                    kPathFactBytesMax, &schema);
    }
    out_.fact_count = std::max(out_.fact_count, schema.facts().size());
    Words past_words{schema, {}};
    std::vector<SpecialisedStep> formerly;
    AddSteps({*rule.formerly}, past_words, &formerly);
    if (!formerly.empty()) {
      special.formerly = std::move(formerly.front());
      for (const TemporalRule::LateFact& fact : rule.late_past) {
        special.late_past.push_back(SlotOfFact(fact.fact));
        if (special.late_past.back() != kNoIndex) {
          past_words.read.push_back(special.late_past.back());
        }
      }
      Use(past_words, rule.formerly->runs_after);
    }
    if (special.can_fire) {
      for (const TemporalRule::LateFact& fact : rule.late_current) {
        special.late_current.push_back(SlotOfFact(fact.fact));
        if (special.late_current.back() != kNoIndex) {
          words.read.push_back(special.late_current.back());
        }
      }
    }
    if (!special.can_fire && !special.formerly) return;
  } else if (!special.can_fire) {
    return;
  }
  if (!rule.value.empty()) {
    special.value = Compile(rule.value, std::nullopt, words);
    if (!special.value) return;
    const Type type = special.value->type();
    const bool fits = rule.pattern == Pattern::kSum
                          ? type.is_dyn() || type.Is(TypeKind::kInt) ||
                                type.Is(TypeKind::kUint)
                          : !type.is_list();
    if (!fits) {
      problems_->push_back(AtCondition(
          rule.value, absl::StrCat("for ", names_.import, ": ",
                                   rule.pattern == Pattern::kSum
                                       ? "what is added up is int or uint"
                                       : "what is compared is no list",
                                   ", and this is of type ", type.ToString())));
      return;
    }
  }
  if (special.can_fire) {
    special.key = KeyOf(rule.key, rule.state.scope, words);
    AddRest(rule.rule, words, &special.says);
  }
  // An amount that does not count in flight counts at the end.
  runs_after =
      runs_after || (rule.pattern == Pattern::kSum && !rule.count_in_flight);
  Use(words, runs_after);
  out_.temporal.push_back(std::move(special));
}

}  // namespace callgate::policy
