// What is known of the functions that modules may import: their types, and what
// their arguments stand for.

#ifndef CALLGATE_POLICY_TRIAL_FUNCTION_CATALOGUE_H_
#define CALLGATE_POLICY_TRIAL_FUNCTION_CATALOGUE_H_

#include <vector>

#include "absl/strings/string_view.h"
#include "policy/import_name.h"
#include "runtime/host_function_spec.h"
#include "runtime/value.h"

namespace callgate::policy::trial {

class FunctionCatalogue {
 public:
  struct Function {
    const FuncType* type = nullptr;
    const HostFunctionSpec* spec = nullptr;
  };

  virtual ~FunctionCatalogue() = default;

  // Nulls for a function that is not known. What they point to lives as long
  // as this.
  virtual Function Find(absl::string_view module,
                        absl::string_view name) const = 0;

  // Every function that Find knows, always in the same order.
  virtual std::vector<ImportName> Names() const = 0;
};

}  // namespace callgate::policy::trial

#endif  // CALLGATE_POLICY_TRIAL_FUNCTION_CATALOGUE_H_
