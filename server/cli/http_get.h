// One plain HTTP GET over TCP, as much of it as scraping a metrics page takes.

#ifndef CALLGATE_SERVER_CLI_HTTP_GET_H_
#define CALLGATE_SERVER_CLI_HTTP_GET_H_

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"

namespace callgate::cli {

struct HttpOptions {
  absl::Duration timeout = absl::Seconds(10);  // for all of it
  uint64_t bytes_max = 64 << 20;               // of the whole answer
};

// The body of `http://ADDRESS/PATH`, with the chunks of a chunked answer
// joined.
//   Unavailable         nobody answers there
//   DeadlineExceeded    not in time
//   FailedPrecondition  what answers is no HTTP server, or its status is not
//                       200, or the answer is over the limit
// `address` is HOST:PORT. Blocks; any thread.
absl::StatusOr<std::string> HttpGet(absl::string_view address,
                                    absl::string_view path,
                                    const HttpOptions& options = {});

// What is behind the status line and headers of a whole response.
absl::StatusOr<std::string> BodyOfHttpResponse(absl::string_view response);

}  // namespace callgate::cli

#endif  // CALLGATE_SERVER_CLI_HTTP_GET_H_
