#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "policy/compiler/sections.h"

namespace callgate::policy {

void CompileRules(const LoadedPolicyFile& file, Compilation& c) {
  for (int i = 0; i < file.proto.rules_size(); ++i) {
    const v1::Rule& entry = file.proto.rules(i);
    const std::string path = absl::StrCat("rules[", i, "]");
    if (entry.id().empty()) {
      c.Report(file, path, "id is missing; a rule has an id");
      continue;
    }
    c.CheckId(file, path, entry.id());
    if (entry.event() != v1::RULE_EVENT_UNSPECIFIED &&
        entry.event() != v1::RULE_EVENT_CALL) {
      c.Report(file, absl::StrCat(path, ".event"),
               "only `call` is looked at; others are not supported yet");
      continue;
    }
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
    if (entry.has_enabled() && !entry.enabled()) continue;
    c.content().call_rules.push_back(
        static_cast<uint32_t>(c.content().rules.size()));
    c.rule_where().push_back({&file, path});
    c.content().rules.push_back(std::move(rule));
  }
}
}  // namespace callgate::policy
