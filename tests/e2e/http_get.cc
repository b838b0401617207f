#include "tests/e2e/http_get.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <array>
#include <cstdint>
#include <cstring>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"

namespace callgate::e2e {
namespace {

// Closes a socket on every way out.
struct Socket {
  explicit Socket(int opened) : fd(opened) {}
  ~Socket() {
    if (fd >= 0) close(fd);
  }
  Socket(const Socket&) = delete;
  Socket& operator=(const Socket&) = delete;
  const int fd;
};

// The payload of a chunked body.
absl::StatusOr<std::string> Unchunk(const std::string& body) {
  std::string result;
  size_t at = 0;
  while (true) {
    const size_t end = body.find("\r\n", at);
    uint32_t size = 0;
    if (end == std::string::npos ||
        !absl::SimpleHexAtoi(body.substr(at, end - at), &size)) {
      return absl::InternalError("a chunk has no size");
    }
    if (size == 0) return result;
    if (end + 2 + size > body.size()) {
      return absl::InternalError("a chunk is cut short");
    }
    result.append(body, end + 2, size);
    at = end + 2 + size + 2;
  }
}

}  // namespace

absl::StatusOr<std::string> HttpGet(absl::string_view address,
                                    absl::string_view path_and_query,
                                    absl::Duration deadline) {
  const std::vector<std::string> parts = absl::StrSplit(address, ':');
  uint32_t port = 0;
  sockaddr_in to = {};
  to.sin_family = AF_INET;
  if (parts.size() != 2 || !absl::SimpleAtoi(parts[1], &port) ||
      inet_pton(AF_INET, parts[0].c_str(), &to.sin_addr) != 1) {
    return absl::InvalidArgumentError(
        absl::StrCat("\"", address, "\" is not IPV4:PORT"));
  }
  to.sin_port = htons(static_cast<uint16_t>(port));

  const Socket socket(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const timeval limit = absl::ToTimeval(deadline);
  setsockopt(socket.fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
  setsockopt(socket.fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
  // SAFETY: sockaddr_in is made to be passed as a sockaddr.
  if (connect(socket.fd, reinterpret_cast<const sockaddr*>(&to), sizeof(to)) !=
      0) {
    return absl::UnavailableError(
        absl::StrCat("nobody answers at ", address, ": ", strerror(errno)));
  }
  const std::string request =
      absl::StrCat("GET ", path_and_query, " HTTP/1.1\r\nHost: ", address,
                   "\r\nConnection: close\r\n\r\n");
  if (send(socket.fd, request.data(), request.size(), MSG_NOSIGNAL) !=
      static_cast<ssize_t>(request.size())) {
    return absl::UnavailableError("the request could not be sent");
  }
  std::string answer;
  std::array<char, 65536> buffer;
  while (true) {
    const ssize_t got = recv(socket.fd, buffer.data(), buffer.size(), 0);
    if (got < 0) {
      return absl::UnavailableError(
          absl::StrCat("no answer from ", address, ": ", strerror(errno)));
    }
    if (got == 0) break;
    answer.append(buffer.data(), static_cast<size_t>(got));
  }

  const size_t head_end = answer.find("\r\n\r\n");
  if (head_end == std::string::npos) {
    return absl::InternalError(absl::StrCat("not HTTP: ", answer));
  }
  const std::string head =
      absl::AsciiStrToLower(absl::string_view(answer.data(), head_end));
  std::string body = answer.substr(head_end + 4);
  if (head.find("transfer-encoding: chunked") != std::string::npos) {
    auto payload = Unchunk(body);
    if (!payload.ok()) return payload.status();
    body = *std::move(payload);
  }
  if (head.find(" 200 ") == std::string::npos || head.find(" 200 ") > 12) {
    return absl::InternalError(absl::StrCat(
        head.substr(0, head.find('\r')), " for ", path_and_query, ": ", body));
  }
  return body;
}

std::string PercentEncode(absl::string_view text) {
  std::string result;
  for (const char c : text) {
    if (absl::ascii_isalnum(static_cast<unsigned char>(c)) || c == '-' ||
        c == '.' || c == '_' || c == '~') {
      result.push_back(c);
    } else {
      absl::StrAppend(
          &result, "%",
          absl::Hex(static_cast<unsigned char>(c), absl::kZeroPad2));
    }
  }
  return result;
}

}  // namespace callgate::e2e
