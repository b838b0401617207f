// Addresses that the daemon may listen on: this machine's own, until there is
// TLS.

#ifndef CALLGATE_SERVER_LOOPBACK_ADDRESS_H_
#define CALLGATE_SERVER_LOOPBACK_ADDRESS_H_

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace callgate {

struct LoopbackAddress {
  // "127.0.0.1", "[::1]"; "localhost" becomes "127.0.0.1", so that a resolver
  // has no say.
  std::string host;
  uint16_t port = 0;  // 0: any free one

  std::string ToString() const;
};

// "HOST:PORT". InvalidArgument names `flag`, what is wrong and what is allowed.
absl::StatusOr<LoopbackAddress> ParseLoopbackAddress(absl::string_view flag,
                                                     absl::string_view text);

}  // namespace callgate

#endif  // CALLGATE_SERVER_LOOPBACK_ADDRESS_H_
