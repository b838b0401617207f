// What every kind of rule has.

#ifndef CALLGATE_POLICY_RULE_H_
#define CALLGATE_POLICY_RULE_H_

#include <cstdint>
#include <string>
#include <vector>

#include "policy/condition.h"
#include "policy/file/problem.h"
#include "policy/guest_errno.h"
#include "policy/state/state_shape.h"
#include "policy/verdict.h"

namespace callgate::policy {

// Something that can match an event and have a say.
struct Rule {
  // The file's `id`, or one that the engine gives and no file can: with a colon
  // in it, as "import:net.send", "default:unlisted_import".
  std::string id;
  Verdict verdict = Verdict::kDeny;
  Mode mode = Mode::kEnforce;
  Severity severity = Severity::kWarning;
  uint32_t guest_errno = kErrnoNotCapable;
  // Replaces the usual sentence where not empty.
  std::string message;
  // The same with values of facts in it; none if there are no such.
  std::vector<MessagePart> message_parts;
  std::vector<std::string> tags;
  // When it matches; empty: always.
  Condition when;
  std::vector<RuleException> exceptions;
  // Whose calls it looks at together: of several rules of one verdict the
  // narrower names it. What looks at single calls is about the Store.
  StateScope scope = StateScope::kStore;
  // It reads result.*, so it is judged when the host function has returned.
  bool runs_after = false;
  // For kThrottle.
  ThrottleSpec throttle;
  // Where the rule stands: its own file, which may be an included one.
  std::string file;
  SourcePosition position;
};

}  // namespace callgate::policy

#endif  // CALLGATE_POLICY_RULE_H_
