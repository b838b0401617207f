// The facts of what happens inside a guest, as the rules about it name them:
// growths, and entries of its own functions.
//
//   store.id store.calls store.memory_bytes store.fuel_used
//   tenant module.digest module.name now        always
//   grow.from grow.to grow.requested            int: bytes of a memory,
//   elements grow.index                                  of a table; which of
//   the module's grow.allowed                                bool: what limits
//   and budgets say call.func_index call.name                   of a function
//   that is entered call.site call.caller                       who called it;
//   -1 and "": nobody call.depth                                  watched calls
//   that are open args.p0 args.p1 …                           by the
//   parameter's type: i32 and
//                                               i64 int, f32 and f64 double
//
// What a host call has and these events have not is declared as never there, so
// that macros mean the same everywhere.

#ifndef CALLGATE_POLICY_EVENT_FACTS_H_
#define CALLGATE_POLICY_EVENT_FACTS_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "policy/condition.h"
#include "policy/expression/schema.h"
#include "policy/inner_event.h"
#include "runtime/value.h"

namespace callgate::policy {

// Slots. Those after kNow are of growths or of functions.
enum class EventFact : uint32_t {
  kStoreId,
  kStoreCalls,
  kStoreMemoryBytes,
  kStoreFuelUsed,
  kTenant,
  kModuleDigest,
  kModuleName,
  kNow,
  kFirstOwn,
  kGrowFrom = kFirstOwn,
  kGrowTo,
  kGrowRequested,
  kGrowIndex,
  kGrowAllowed,
  kFuncIndex = kFirstOwn,
  kName,
  kSite,
  kCaller,
  kDepth,
};

// A parameter that rules name.
struct ParameterFact {
  uint32_t slot = 0;
  uint32_t parameter = 0;
  ValType type = ValType::kI32;
};

// "args.p3" is 3; nothing for names of another form.
std::optional<uint32_t> ParameterOf(absl::string_view fact);

// Declares what rules about `event` may name: of `arguments` ("args.…") those
// that are parameters of `type`, which may be null. `name` is the function's,
// and outlives the schema; null: not known.
std::vector<ParameterFact> DeclareEventFacts(
    InnerEvent event, absl::Span<const std::string> arguments,
    const FuncType* type, const std::string* name, expression::Schema* schema);

}  // namespace callgate::policy

#endif  // CALLGATE_POLICY_EVENT_FACTS_H_
