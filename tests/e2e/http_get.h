// One HTTP/1.1 GET to a server on this machine, and the percent-encoding its
// query needs. For the metrics page and Prometheus's API.

#ifndef CALLGATE_TESTS_E2E_HTTP_GET_H_
#define CALLGATE_TESTS_E2E_HTTP_GET_H_

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"

namespace callgate::e2e {

// The body of a 200 answer. `address` is "127.0.0.1:PORT". Unavailable when
// nobody answers within the deadline, Internal for any other status code (its
// body is in the message).
absl::StatusOr<std::string> HttpGet(
    absl::string_view address, absl::string_view path_and_query,
    absl::Duration deadline = absl::Seconds(10));

// Everything but letters, digits and "-._~" as %XX.
std::string PercentEncode(absl::string_view text);

}  // namespace callgate::e2e

#endif  // CALLGATE_TESTS_E2E_HTTP_GET_H_
