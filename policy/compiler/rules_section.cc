#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "policy/compiler/sections.h"

namespace callgate::policy {
namespace {

// Puts the rule's number, the next one, where its event is looked at. False
// where it has no place, which is reported.
bool Place(const LoadedPolicyFile& file, const std::string& path,
           const v1::Rule& entry, const Rule& rule, bool is_enabled,
           Compilation& c) {
  PolicyContent& content = c.content();
  const auto number = static_cast<uint32_t>(content.rules.size());
  const bool is_function = entry.event() == v1::RULE_EVENT_FUNCTION;
  if (!is_function && !entry.function().empty()) {
    c.Report(file, absl::StrCat(path, ".function"),
             "goes with `event: function` only");
    return false;
  }
  const auto add = [&](std::vector<uint32_t>* list) {
    if (is_enabled) list->push_back(number);
    return true;
  };
  switch (entry.event()) {
    case v1::RULE_EVENT_MEMORY_GROW:
      return add(&content.memory_grow_rules);
    case v1::RULE_EVENT_TABLE_GROW:
      return add(&content.table_grow_rules);
    case v1::RULE_EVENT_FUNCTION:
      break;
    default:
      return add(&content.call_rules);
  }
  FunctionRule about;
  about.rule = number;
  about.pattern = entry.function();
  if (about.pattern.empty()) {
    c.Report(file, path,
             "function is missing; name functions of the module, as in "
             "`function: \"parse_*\"`");
    return false;
  }
  const absl::Status status = about.functions.Add(about.pattern);
  if (!status.ok()) {
    c.Report(file, absl::StrCat(path, ".function"), status.message());
    return false;
  }
  if (rule.verdict == Verdict::kDeny) {
    c.Warn(file, absl::StrCat(path, ".action"),
           "a function of the guest's own has nobody to answer an errno for "
           "it: the call traps instead; write `action: trap` to say so");
  }
  if (is_enabled) content.function_rules.push_back(std::move(about));
  return true;
}

}  // namespace

void CompileRules(const LoadedPolicyFile& file, Compilation& c) {
  for (int i = 0; i < file.proto.rules_size(); ++i) {
    const v1::Rule& entry = file.proto.rules(i);
    const std::string path = absl::StrCat("rules[", i, "]");
    if (entry.id().empty()) {
      c.Report(file, path, "id is missing; a rule has an id");
      continue;
    }
    c.CheckId(file, path, entry.id());
    if (entry.when().empty()) {
      c.Report(file, path,
               "when is missing; write `when: 'true'` for every call");
    }
    if (entry.action() == v1::ACTION_UNSPECIFIED) {
      c.Report(file, path,
               "action is missing; allowed: log, alert, throttle, deny, trap, "
               "kill_store, quarantine_module");
      continue;
    }
    if (!c.CheckAction(file, absl::StrCat(path, ".action"), entry.action(),
                       {v1::ACTION_LOG, v1::ACTION_ALERT, v1::ACTION_THROTTLE,
                        v1::ACTION_DENY, v1::ACTION_TRAP, v1::ACTION_KILL_STORE,
                        v1::ACTION_QUARANTINE_MODULE})) {
      continue;
    }
    Rule rule = c.ReadRule(file, path, entry, ToVerdict(entry.action()),
                           kErrnoNotCapable);
    if (!entry.when().empty()) {
      rule.when = ConditionAt(file, absl::StrCat(path, ".when"), entry.when());
    }
    rule.id = entry.id();
    const bool is_enabled = !entry.has_enabled() || entry.enabled();
    if (!Place(file, path, entry, rule, is_enabled, c) || !is_enabled) continue;
    c.rule_where().push_back({&file, path});
    c.content().rules.push_back(std::move(rule));
  }
}
}  // namespace callgate::policy
