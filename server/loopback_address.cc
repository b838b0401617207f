#include "server/loopback_address.h"

#include <arpa/inet.h>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "server/events/escape.h"

namespace callgate {
namespace {

// Whether `host` is an IPv4 address of 127.0.0.0/8, written in full.
bool IsLoopback4(const std::string& host) {
  in_addr address;
  return inet_pton(AF_INET, host.c_str(), &address) == 1 &&
         (ntohl(address.s_addr) >> 24) == 127;
}

}  // namespace

std::string LoopbackAddress::ToString() const {
  return absl::StrCat(host, ":", port);
}

absl::StatusOr<LoopbackAddress> ParseLoopbackAddress(absl::string_view flag,
                                                     absl::string_view text) {
  const std::string shown =
      absl::StrCat(flag, " \"", events::EscapeText(text, 256), "\"");
  const size_t colon = text.rfind(':');
  int port = -1;
  if (colon == absl::string_view::npos || colon == 0 ||
      !absl::SimpleAtoi(text.substr(colon + 1), &port) || port < 0 ||
      port > 65535) {
    return absl::InvalidArgumentError(absl::StrCat(
        shown,
        " is not an address; write HOST:PORT, such as 127.0.0.1:50051 (port 0 "
        "takes any free one)"));
  }
  LoopbackAddress address;
  address.host = std::string(text.substr(0, colon));
  address.port = static_cast<uint16_t>(port);
  if (address.host == "localhost") address.host = "127.0.0.1";
  if (address.host != "[::1]" && !IsLoopback4(address.host)) {
    return absl::InvalidArgumentError(absl::StrCat(
        shown,
        " is refused: without TLS the daemon listens only on this machine's "
        "own addresses; use 127.0.0.1:",
        port));
  }
  return address;
}

}  // namespace callgate
