#include "server/cli/http_get.h"

#include <netdb.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cstring>
#include <memory>
#include <optional>
#include <system_error>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "server/cli/quoted.h"

namespace callgate::cli {
namespace {

class Socket {
 public:
  explicit Socket(int fd) : fd_(fd) {}
  ~Socket() {
    if (fd_ >= 0) close(fd_);
  }
  Socket(Socket&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Socket& operator=(Socket&&) = delete;
  int fd() const { return fd_; }

 private:
  int fd_;
};

// Waits until the socket is ready for `events` or the deadline has passed.
absl::Status Await(const Socket& socket, short events, absl::Time deadline) {
  while (true) {
    const absl::Duration left = deadline - absl::Now();
    if (left <= absl::ZeroDuration()) {
      return absl::DeadlineExceededError("no answer in time");
    }
    pollfd waited = {socket.fd(), events, 0};
    const int ready =
        poll(&waited, 1, static_cast<int>(absl::ToInt64Milliseconds(left)) + 1);
    if (ready > 0) return absl::OkStatus();
    if (ready < 0 && errno != EINTR) {
      return absl::UnavailableError(strerror(errno));
    }
  }
}

absl::StatusOr<Socket> ConnectTo(const addrinfo& where, absl::Time deadline) {
  Socket socket(
      ::socket(where.ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (socket.fd() < 0) return absl::UnavailableError(strerror(errno));
  if (connect(socket.fd(), where.ai_addr, where.ai_addrlen) == 0) {
    return socket;
  }
  if (errno != EINPROGRESS) return absl::UnavailableError(strerror(errno));
  if (absl::Status status = Await(socket, POLLOUT, deadline); !status.ok()) {
    return status;
  }
  int error = 0;
  socklen_t size = sizeof(error);
  getsockopt(socket.fd(), SOL_SOCKET, SO_ERROR, &error, &size);
  if (error != 0) return absl::UnavailableError(strerror(error));
  return socket;
}

absl::StatusOr<Socket> Connect(absl::string_view address, absl::Time deadline) {
  const size_t colon = address.rfind(':');
  if (colon == absl::string_view::npos) {
    return absl::UnavailableError("the address has not the form HOST:PORT");
  }
  absl::string_view host = address.substr(0, colon);
  if (absl::ConsumePrefix(&host, "[")) absl::ConsumeSuffix(&host, "]");
  addrinfo wanted = {};
  wanted.ai_family = AF_UNSPEC;
  wanted.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  const int error = getaddrinfo(std::string(host).c_str(),
                                std::string(address.substr(colon + 1)).c_str(),
                                &wanted, &found);
  if (error != 0) return absl::UnavailableError(gai_strerror(error));
  const std::unique_ptr<addrinfo, void (*)(addrinfo*)> owned(found,
                                                             freeaddrinfo);
  absl::Status last = absl::UnavailableError("no address");
  for (const addrinfo* each = found; each != nullptr; each = each->ai_next) {
    absl::StatusOr<Socket> socket = ConnectTo(*each, deadline);
    if (socket.ok()) return socket;
    last = socket.status();
  }
  return last;
}

absl::Status Send(const Socket& socket, absl::string_view bytes,
                  absl::Time deadline) {
  while (!bytes.empty()) {
    if (absl::Status status = Await(socket, POLLOUT, deadline); !status.ok()) {
      return status;
    }
    const ssize_t sent =
        send(socket.fd(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent >= 0) {
      bytes.remove_prefix(static_cast<size_t>(sent));
    } else if (errno != EINTR && errno != EAGAIN) {
      return absl::UnavailableError(strerror(errno));
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<std::string> ReceiveAll(const Socket& socket,
                                       absl::Time deadline,
                                       uint64_t bytes_max) {
  std::string all;
  std::string buffer(size_t{64} << 10, '\0');
  while (true) {
    if (absl::Status status = Await(socket, POLLIN, deadline); !status.ok()) {
      return status;
    }
    const ssize_t got = recv(socket.fd(), buffer.data(), buffer.size(), 0);
    if (got == 0) return all;
    if (got < 0) {
      if (errno == EINTR || errno == EAGAIN) continue;
      return absl::UnavailableError(strerror(errno));
    }
    if (all.size() + static_cast<size_t>(got) > bytes_max) {
      return absl::FailedPreconditionError(
          absl::StrCat("the answer has more than ", bytes_max, " bytes"));
    }
    all.append(buffer, 0, static_cast<size_t>(got));
  }
}

absl::StatusOr<std::string> JoinChunks(absl::string_view chunked) {
  const auto malformed = [] {
    return absl::FailedPreconditionError("the answer's chunks are malformed");
  };
  std::string body;
  while (true) {
    const size_t end = chunked.find("\r\n");
    if (end == absl::string_view::npos) return malformed();
    size_t size = 0;
    const char* const begin = chunked.data();
    const auto [stop, error] = std::from_chars(begin, begin + end, size, 16);
    // A chunk extension may follow the size.
    if (error != std::errc() || (stop != begin + end && *stop != ';')) {
      return malformed();
    }
    chunked.remove_prefix(end + 2);
    if (size == 0) return body;
    if (size > chunked.size() || chunked.size() - size < 2 ||
        chunked.substr(size, 2) != "\r\n") {
      return malformed();
    }
    absl::StrAppend(&body, chunked.substr(0, size));
    chunked.remove_prefix(size + 2);
  }
}

}  // namespace

absl::StatusOr<std::string> BodyOfHttpResponse(absl::string_view response) {
  const size_t end = response.find("\r\n\r\n");
  if (!absl::StartsWith(response, "HTTP/1.") ||
      end == absl::string_view::npos) {
    return absl::FailedPreconditionError("what answers there is no web page");
  }
  const absl::string_view body = response.substr(end + 4);
  std::optional<size_t> length;
  bool chunked = false;
  bool first = true;
  for (const absl::string_view line :
       absl::StrSplit(response.substr(0, end), "\r\n")) {
    if (first) {
      first = false;
      // "HTTP/1.1 200 OK"
      if (line.size() < 12 || line.substr(9, 3) != "200") {
        return absl::FailedPreconditionError(
            absl::StrCat("the answer is ", Quoted(line)));
      }
      continue;
    }
    const std::pair<absl::string_view, absl::string_view> header =
        absl::StrSplit(line, absl::MaxSplits(':', 1));
    const absl::string_view value = absl::StripAsciiWhitespace(header.second);
    if (absl::EqualsIgnoreCase(header.first, "transfer-encoding")) {
      chunked = absl::EqualsIgnoreCase(value, "chunked");
    } else if (absl::EqualsIgnoreCase(header.first, "content-length")) {
      size_t number = 0;
      const auto [stop, error] =
          std::from_chars(value.data(), value.data() + value.size(), number);
      if (error == std::errc() && stop == value.data() + value.size()) {
        length = number;
      }
    }
  }
  if (chunked) return JoinChunks(body);
  if (length.has_value() && body.size() < *length) {
    return absl::FailedPreconditionError(absl::StrCat(
        "the answer broke off after ", body.size(), " of ", *length, " bytes"));
  }
  return std::string(body.substr(0, length.value_or(body.size())));
}

absl::StatusOr<std::string> HttpGet(absl::string_view address,
                                    absl::string_view path,
                                    const HttpOptions& options) {
  const absl::Time deadline = absl::Now() + options.timeout;
  absl::StatusOr<Socket> socket = Connect(address, deadline);
  if (!socket.ok()) return socket.status();
  const std::string request =
      absl::StrCat("GET ", path, " HTTP/1.1\r\nHost: ", address,
                   "\r\nAccept: text/plain\r\nConnection: close\r\n\r\n");
  if (absl::Status status = Send(*socket, request, deadline); !status.ok()) {
    return status;
  }
  const absl::StatusOr<std::string> response =
      ReceiveAll(*socket, deadline, options.bytes_max);
  if (!response.ok()) return response.status();
  return BodyOfHttpResponse(*response);
}

}  // namespace callgate::cli
