// Which facts an expression may name, and the lists that the policy file names.
//
// A fact's name is one word or several with dots (`tenant`, `args.path`); its
// number is its slot in the array of values that an evaluation is given. Facts
// are declared once and the schema is then used for any number of expressions;
// programs keep what they need of it, so it may go.

#ifndef CALLGATE_POLICY_EXPRESSION_SCHEMA_H_
#define CALLGATE_POLICY_EXPRESSION_SCHEMA_H_

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "policy/expression/glob_list.h"
#include "policy/expression/ip_address.h"
#include "policy/expression/pattern_list.h"
#include "policy/expression/type.h"
#include "policy/expression/value.h"

namespace callgate::policy::expression {

enum class Presence : uint8_t {
  kAlways,
  kOptional,  // has() asks at evaluation; reading it while absent is an error
  // It is known in all but odd cases: has() is true even then, so that nobody
  // gets out of a guarded condition by making it unknown. Reading it while
  // absent is an error.
  kUnsure,
  // This import does not have it: has() is false, and an expression that still
  // reads it after that is refused.
  kNever,
  // Computed when an instruction reads it, through LazyFacts: `now`.
  kLazy,
};

struct Fact {
  std::string name;
  Type type;
  Presence presence = Presence::kAlways;

  // What the caller promises of a string's length (bytes) and a list's
  // elements (of each list in it); the bound on an expression's cost is made of
  // these. A value beyond them makes the bound wrong and nothing else.
  uint32_t bytes_max = 4096;
  uint32_t items_max = 64;

  // A value known when expressions are compiled, such as the import that a
  // rule is specialised for: comparisons with it are folded. Of a scalar type
  // or a string, which must live as long as the schema. The slot then need not
  // be filled.
  std::optional<Value> constant;
};

class Schema {
 public:
  static constexpr size_t kFactsMax = 4096;

  // A fact that is optional or never there may be `dyn`: its type is known when
  // it is there. In a `dyn` value that is a list, elements are of any type.
  // Returns the fact's slot. Slots count from 0 in the order of declaration.
  // InvalidArgument for a name that is no dotted word, that is taken, or that
  // an expression could not tell from another; for a type that no fact can be
  // (`dyn`, a named list) and for a constant of another type.
  absl::StatusOr<uint32_t> Declare(Fact fact);

  // `list("name")`. InvalidArgument if the name is taken.
  absl::Status AddList(absl::string_view name,
                       std::shared_ptr<const GlobList> list);
  absl::Status AddList(absl::string_view name,
                       std::shared_ptr<const CidrList> list);
  absl::Status AddList(absl::string_view name,
                       std::shared_ptr<const PatternList> list);

  // Names are looked for in here first, then in what encloses it: with "a.b",
  // `x` is a.b.x, else a.x, else x. A name with a leading dot is complete.
  void set_container(absl::string_view container) {
    container_ = std::string(container);
  }
  const std::string& container() const { return container_; }

  struct NamedList {
    std::shared_ptr<const GlobList> globs;
    std::shared_ptr<const CidrList> networks;
    std::shared_ptr<const PatternList> patterns;
    Type type() const;
  };

  // Null if there is none.
  const NamedList* FindList(absl::string_view name) const;
  std::optional<uint32_t> FindSlot(absl::string_view name) const;
  // Whether some fact's name begins with `name` and a dot.
  bool IsGroup(absl::string_view name) const;

  const std::vector<Fact>& facts() const { return facts_; }
  std::vector<std::string> FactNames() const;
  std::vector<std::string> ListNames() const;

  // This with facts as small as facts can be: what an expression costs with it
  // it costs at least, whatever is promised of its facts.
  Schema WithSmallestFacts() const;

 private:
  absl::Status Add(absl::string_view name, NamedList list);

  std::vector<Fact> facts_;
  std::map<std::string, uint32_t, std::less<>> slots_;
  std::map<std::string, NamedList, std::less<>> lists_;
  std::string container_;
};

// The kind that a value of a type has. Not for `dyn` and named lists.
ValueKind KindOf(Type type);

}  // namespace callgate::policy::expression

#endif  // CALLGATE_POLICY_EXPRESSION_SCHEMA_H_
