#include <cstdlib>
#include <string>

#include "absl/strings/str_cat.h"
#include "server/cli/commands.h"
#include "server/cli/console.h"
#include "server/cli/exit_codes.h"
#include "server/cli/http_get.h"

namespace callgate::cli {

int Metrics(const Arguments& arguments) {
  std::string address = "127.0.0.1:9464";
  if (const auto flag = arguments.Get("metrics"); flag.has_value()) {
    address = *flag;
  } else if (const char* variable = std::getenv("CALLGATE_METRICS");
             variable != nullptr && *variable != '\0') {
    address = variable;
  }
  const absl::StatusOr<std::string> page = HttpGet(address, "/metrics");
  if (page.ok()) return Print(*page);
  if (absl::IsFailedPrecondition(page.status())) {
    return Fail(kExitFailure,
                absl::StrCat("cannot read the metrics page at ", address, ": ",
                             page.status().message()));
  }
  return Fail(kExitNoDaemon,
              absl::StrCat("cannot reach callgated's metrics page at ", address,
                           ": ", page.status().message(),
                           "; start it with `callgated --data DIR`, or say "
                           "where the page is with --metrics or "
                           "CALLGATE_METRICS"));
}

}  // namespace callgate::cli
