#include "policy/hook/inner_rules.h"

#include <algorithm>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "policy/quote.h"

namespace callgate::policy {
namespace {

// Adds the judge of one policy to `plan`, if it has anything to say.
void AddJudge(size_t p, const Policy& policy, InnerEvent event,
              absl::Span<const uint32_t> rules, const ProbedFunction* function,
              InnerRules::Plan* plan) {
  if (rules.empty()) return;
  std::vector<Problem> problems;
  EventJudge judge(policy, event, rules, function, &problems);
  if (!problems.empty()) {
    plan->fault =
        absl::StrCat("policy ", policy.name(), " cannot judge this ",
                     InnerEventName(event), ": ", problems.front().message);
  }
  if (!judge.rules().empty()) {
    plan->judges.push_back(InnerRules::Planned{p, std::move(judge)});
  }
}

}  // namespace

InnerRules::InnerRules(absl::Span<const std::shared_ptr<const Policy>> policies)
    : policies_(policies.begin(), policies.end()),
      memory_growth_(MakeGrowth(InnerEvent::kMemoryGrow)),
      table_growth_(MakeGrowth(InnerEvent::kTableGrow)) {
  for (size_t p = 0; p < policies_.size(); ++p) {
    for (const policy::FunctionRule& about : policies_[p]->function_rules()) {
      function_rules_.push_back(FunctionRule{p, about.rule, &about, {}});
    }
  }
  patterns_ = Patterns();
}

InnerRules::Plan InnerRules::MakeGrowth(InnerEvent event) const {
  Plan plan;
  for (size_t p = 0; p < policies_.size(); ++p) {
    AddJudge(p, *policies_[p], event, policies_[p]->growth_rules(event),
             nullptr, &plan);
  }
  return plan;
}

void InnerRules::SelectFunctions(const Selector& selector) {
  selected_ = true;
  pending_.clear();
  plans_.clear();
  for (FunctionRule& rule : function_rules_) {
    rule.functions = selector(rule.about->functions);
    if (!rule.functions.empty()) continue;
    const Policy& policy = *policies_[rule.policy];
    pending_.push_back(
        Pending{&policy, &policy.rules()[rule.rule], rule.about->pattern});
  }
}

std::vector<Problem> InnerRules::CheckFunctions(
    const Describer& describe) const {
  std::vector<Problem> problems;
  size_t checks = 0;
  for (const FunctionRule& about : function_rules_) {
    const Policy& policy = *policies_[about.policy];
    const Vocabulary& vocabulary = policy.vocabulary();
    if (vocabulary.arguments.empty()) continue;  // nothing can be lacking
    // To a rule that does not ask for their name functions of one type are
    // alike.
    const Rule& rule = policy.rules()[about.rule];
    const auto names_it = [](const Condition& condition) {
      return absl::StrContains(condition.source, "call.name");
    };
    const bool by_name =
        names_it(rule.when) ||
        std::any_of(vocabulary.macros.begin(), vocabulary.macros.end(),
                    [&](const Macro& macro) { return names_it(macro.when); });
    std::vector<const FuncType*> seen;
    for (const uint32_t index : about.functions) {
      const ProbedFunction function = describe(index);
      const auto same = [&function](const FuncType* type) {
        return type == function.type || *type == *function.type;
      };
      if (!by_name && std::any_of(seen.begin(), seen.end(), same)) continue;
      if (++checks > kChecksMax) return problems;
      seen.push_back(function.type);
      std::vector<Problem> found;
      EventJudge(policy, InnerEvent::kFunction, {about.rule}, &function,
                 &found);
      if (found.empty()) continue;
      Problem& problem = found.front();
      problem.message = absl::StrCat(
          "rule ", rule.id, " cannot judge function ", index, " ",
          Quote(function.name), " of type ", function.type->ToString(),
          "; guard it with has(), or let its pattern leave the function out: ",
          problem.message);
      problems.push_back(std::move(problem));
      break;  // one of a kind is enough to mend the rule by
    }
  }
  return problems;
}

std::vector<absl::string_view> InnerRules::Patterns() const {
  std::vector<absl::string_view> patterns;
  for (const FunctionRule& rule : function_rules_) {
    patterns.push_back(rule.about->pattern);
  }
  std::sort(patterns.begin(), patterns.end());
  patterns.erase(std::unique(patterns.begin(), patterns.end()), patterns.end());
  return patterns;
}

bool InnerRules::ProbesAsMuchAs(const InnerRules& other) const {
  return patterns_ == other.patterns_;
}

absl::Status InnerRules::AddProbes(FunctionFilter* probes) const {
  for (const absl::string_view pattern : patterns_) {
    const absl::Status status = probes->Add(pattern);
    if (!status.ok()) return status;
  }
  return absl::OkStatus();
}

std::unique_ptr<InnerRules::Plan> InnerRules::MakePlan(
    const ProbedFunction& function) const {
  auto plan = std::make_unique<Plan>();
  for (size_t p = 0; p < policies_.size(); ++p) {
    std::vector<uint32_t> rules;
    for (const FunctionRule& rule : function_rules_) {
      if (rule.policy != p) continue;
      const bool fits =
          selected_
              ? std::binary_search(rule.functions.begin(), rule.functions.end(),
                                   function.func_index)
              : rule.about->functions.HasIndex(function.func_index) ||
                    rule.about->functions.HasName(function.name);
      if (fits) rules.push_back(rule.rule);
    }
    AddJudge(p, *policies_[p], InnerEvent::kFunction, rules, &function,
             plan.get());
  }
  return plan;
}

InnerRules::Plan& InnerRules::PlanOf(const ProbedFunction& function) {
  if (function.probe >= plans_.size()) plans_.resize(function.probe + 1);
  std::unique_ptr<Plan>& plan = plans_[function.probe];
  if (plan == nullptr) plan = MakePlan(function);
  return *plan;
}

}  // namespace callgate::policy
