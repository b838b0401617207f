// The functions that every callgate offers to guests, as tests of policies know
// them.

#ifndef CALLGATE_SERVER_KNOWN_FUNCTIONS_H_
#define CALLGATE_SERVER_KNOWN_FUNCTIONS_H_

#include <vector>

#include "absl/strings/string_view.h"
#include "policy/import_name.h"
#include "policy/trial/function_catalogue.h"

namespace callgate {

// WASI preview 1.
class WasiCatalogue final : public policy::trial::FunctionCatalogue {
 public:
  Function Find(absl::string_view module,
                absl::string_view name) const override;
  std::vector<policy::ImportName> Names() const override;
};

}  // namespace callgate

#endif  // CALLGATE_SERVER_KNOWN_FUNCTIONS_H_
