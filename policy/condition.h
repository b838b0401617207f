// What the policy file says in expressions, before an import is known: the
// conditions, lists, macros, messages and exceptions of one policy. They are
// made programs for each import that a module brings (specialised_import.h).
//
// Immutable once the compiler has made them.

#ifndef CALLGATE_POLICY_CONDITION_H_
#define CALLGATE_POLICY_CONDITION_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "policy/expression/glob_list.h"
#include "policy/expression/ip_address.h"
#include "policy/expression/pattern_list.h"
#include "policy/file/problem.h"

namespace callgate::policy {

// An expression and where it stands.
struct Condition {
  std::string source;  // empty: there is none
  std::string path;    // "rules[2].when"
  std::string file;
  SourcePosition position;

  bool empty() const { return source.empty(); }
};

// One of the three.
struct NamedList {
  std::string name;
  std::shared_ptr<const expression::GlobList> globs;
  std::shared_ptr<const expression::CidrList> networks;
  std::shared_ptr<const expression::PatternList> patterns;
  // Of all that it consists of.
  std::string fingerprint;
};

struct Macro {
  std::string name;
  Condition when;
};

// Text, then the value of an expression.
struct MessagePart {
  std::string text;  // escaped
  Condition value;   // empty in the last part
  bool raw = false;  // without quotes, but still escaped
};

// The longest delay of one call.
inline constexpr absl::Duration kDelayMax = absl::Minutes(1);

// How long a throttled call waits. Grows from one match to the next and begins
// anew after `cool_down` without any.
struct ThrottleSpec {
  absl::Duration base_delay;
  absl::Duration max_delay;
  absl::Duration cool_down;
  double factor = 1;
};

// Cases that a rule leaves alone: any alternative whose terms all hold.
struct RuleException {
  struct Term {
    std::string field;
    // One for `==`, any number for `in`.
    std::vector<std::string> values;
  };
  std::string name;
  std::string reason;
  // The first moment at which it holds no more.
  absl::Time expires;
  std::vector<std::vector<Term>> alternatives;
  std::string path;
  std::string file;
  SourcePosition position;
};

// All that expressions of a policy may name.
struct Vocabulary {
  std::vector<NamedList> lists;
  // Each uses those before it alone.
  std::vector<Macro> macros;
  // "args.path", "args.addr.ip": whatever the sources mention, sorted.
  std::vector<std::string> arguments;
};

}  // namespace callgate::policy

#endif  // CALLGATE_POLICY_CONDITION_H_
