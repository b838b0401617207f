#include "server/cli/http_get.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <string>
#include <thread>

#include "absl/status/status.h"

namespace callgate::cli {
namespace {

struct BodyRow {
  std::string name;
  std::string response;
  std::string body;   // if it is good
  std::string error;  // is part of the message, if it is not
};

class HttpBody : public testing::TestWithParam<BodyRow> {};

TEST_P(HttpBody, IsTakenOutOrRefused) {
  const auto body = BodyOfHttpResponse(GetParam().response);
  if (GetParam().error.empty()) {
    ASSERT_TRUE(body.ok()) << body.status();
    EXPECT_EQ(*body, GetParam().body);
  } else {
    ASSERT_FALSE(body.ok()) << *body;
    EXPECT_NE(std::string(body.status().message()).find(GetParam().error),
              std::string::npos)
        << body.status();
  }
}

INSTANTIATE_TEST_SUITE_P(
    Responses, HttpBody,
    testing::ValuesIn<BodyRow>({
        {"until_the_end", "HTTP/1.1 200 OK\r\nA: b\r\n\r\nhello\n", "hello\n",
         ""},
        {"with_a_length", "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nhello",
         "hel", ""},
        {"with_chunks",
         "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
         "3\r\nhel\r\n2;x=y\r\nlo\r\n0\r\n\r\n",
         "hello", ""},
        {"empty", "HTTP/1.1 200 OK\r\n\r\n", "", ""},
        {"another_status", "HTTP/1.1 404 Not Found\r\n\r\nx", "",
         "the answer is \"HTTP/1.1 404 Not Found\""},
        {"not_http", "SSH-2.0-OpenSSH\r\n", "", "no web page"},
        {"no_end_of_headers", "HTTP/1.1 200 OK\r\n", "", "no web page"},
        {"broken_off", "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello", "",
         "broke off after 5 of 9 bytes"},
        {"chunk_broken_off",
         "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel", "",
         "malformed"},
        {"chunk_size_over_everything",
         "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
         "ffffffffffffffff\r\nx\r\n",
         "", "malformed"},
        {"chunk_without_size",
         "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\r\nx\r\n", "",
         "malformed"},
    }),
    [](const auto& param) { return param.param.name; });

// Answers one connection with `response` and closes it, or never answers.
class OneAnswer {
 public:
  explicit OneAnswer(std::string response, bool answers = true)
      : listener_(socket(AF_INET, SOCK_STREAM, 0)) {
    sockaddr_in address = {};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    // SAFETY: the socket functions take every address type as a sockaddr.
    auto* const any = reinterpret_cast<sockaddr*>(&address);
    EXPECT_EQ(bind(listener_, any, sizeof(address)), 0);
    socklen_t size = sizeof(address);
    EXPECT_EQ(getsockname(listener_, any, &size), 0);
    port_ = ntohs(address.sin_port);
    EXPECT_EQ(listen(listener_, 1), 0);
    if (!answers) return;
    thread_ = std::thread([this, response = std::move(response)] {
      const int peer = accept(listener_, nullptr, nullptr);
      char buffer[4096];
      while (request_.find("\r\n\r\n") == std::string::npos) {
        const ssize_t got = read(peer, buffer, sizeof(buffer));
        if (got <= 0) break;
        request_.append(buffer, static_cast<size_t>(got));
      }
      EXPECT_EQ(write(peer, response.data(), response.size()),
                static_cast<ssize_t>(response.size()));
      close(peer);
    });
  }
  ~OneAnswer() {
    if (thread_.joinable()) thread_.join();
    close(listener_);
  }
  std::string address() const { return "127.0.0.1:" + std::to_string(port_); }
  // After the answer has been read to its end.
  const std::string& request() {
    thread_.join();
    return request_;
  }

 private:
  int listener_;
  int port_ = 0;
  std::string request_;
  std::thread thread_;
};

TEST(HttpGetTest, AsksForThePathAndClosesTheConnection) {
  OneAnswer server("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nup 1\n\n");
  const auto body = HttpGet(server.address(), "/metrics");
  ASSERT_TRUE(body.ok()) << body.status();
  EXPECT_EQ(*body, "up 1\n\n");
  EXPECT_EQ(server.request(),
            "GET /metrics HTTP/1.1\r\nHost: " + server.address() +
                "\r\nAccept: text/plain\r\n"
                "Connection: close\r\n\r\n");
}

TEST(HttpGetTest, RefusesAnAnswerOverItsBound) {
  OneAnswer server("HTTP/1.1 200 OK\r\n\r\n" + std::string(1000, 'x'));
  HttpOptions options;
  options.bytes_max = 500;
  const auto body = HttpGet(server.address(), "/", options);
  EXPECT_EQ(body.status().code(), absl::StatusCode::kFailedPrecondition);
}

TEST(HttpGetTest, GivesUpAtItsDeadline) {
  // Connections wait in the backlog and nobody accepts them.
  OneAnswer server("", /*answers=*/false);
  HttpOptions options;
  options.timeout = absl::Milliseconds(50);
  EXPECT_EQ(HttpGet(server.address(), "/", options).status().code(),
            absl::StatusCode::kDeadlineExceeded);
}

TEST(HttpGetTest, SaysThatNobodyAnswers) {
  std::string address;
  {
    OneAnswer server("", /*answers=*/false);
    address = server.address();
  }
  EXPECT_EQ(HttpGet(address, "/").status().code(),
            absl::StatusCode::kUnavailable);
  EXPECT_EQ(HttpGet("no-port", "/").status().code(),
            absl::StatusCode::kUnavailable);
}

}  // namespace
}  // namespace callgate::cli
