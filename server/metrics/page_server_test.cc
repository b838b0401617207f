#include "server/metrics/page_server.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdio>
#include <fstream>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace callgate::metrics {
namespace {

using testing::AllOf;
using testing::HasSubstr;

// What a server at "127.0.0.1:PORT" answers.
std::string Get(const std::string& address, const std::string& path) {
  const std::pair<std::string, std::string> parts =
      absl::StrSplit(address, ':');
  sockaddr_in to = {};
  to.sin_family = AF_INET;
  to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  int port = 0;
  EXPECT_TRUE(absl::SimpleAtoi(parts.second, &port));
  to.sin_port = htons(static_cast<uint16_t>(port));
  const int fd = socket(AF_INET, SOCK_STREAM, 0);
  // SAFETY: how the sockets interface has its addresses passed.
  EXPECT_EQ(connect(fd, reinterpret_cast<const sockaddr*>(&to), sizeof to), 0);
  const std::string request =
      absl::StrCat("GET ", path, " HTTP/1.0\r\nHost: x\r\n\r\n");
  EXPECT_EQ(write(fd, request.data(), request.size()),
            static_cast<ssize_t>(request.size()));
  std::string answer;
  char buffer[4096];
  ssize_t got = 0;
  while ((got = read(fd, buffer, sizeof buffer)) > 0) {
    answer.append(buffer, static_cast<size_t>(got));
  }
  close(fd);
  return answer;
}

// One server for all tests: stopping one takes up to two seconds.
class PageServerTest : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    metrics_ = new Metrics(MetricsOptions());
    absl::StatusOr<std::unique_ptr<PageServer>> server =
        PageServer::Start("127.0.0.1:0", *metrics_);
    ASSERT_TRUE(server.ok()) << server.status();
    server_ = server->release();
  }
  static void TearDownTestSuite() {
    delete server_;
    delete metrics_;
  }

  static Metrics* metrics_;
  static PageServer* server_;
};

Metrics* PageServerTest::metrics_ = nullptr;
PageServer* PageServerTest::server_ = nullptr;

TEST_F(PageServerTest, ServesThePage) {
  metrics_->CountDecisions("acme", "deny", "enforce", 3);
  EXPECT_THAT(
      Get(server_->address(), "/metrics"),
      AllOf(
          HasSubstr("200 OK"), HasSubstr("text/plain"),
          HasSubstr(
              R"(callgate_decisions_total{tenant="acme",verdict="deny",mode="enforce"} 3)")));
}

TEST_F(PageServerTest, ServesNothingElse) {
  for (const char* path : {"/", "/etc/passwd", "/../etc/passwd", "/metric"}) {
    EXPECT_THAT(Get(server_->address(), path), HasSubstr("404")) << path;
  }
}

TEST_F(PageServerTest, ServesManyAtOnce) {
  std::vector<std::thread> threads;
  std::vector<std::string> answers(8);
  for (std::string& answer : answers) {
    threads.emplace_back(
        [&answer] { answer = Get(server_->address(), "/metrics"); });
  }
  for (std::thread& thread : threads) thread.join();
  for (const std::string& answer : answers) {
    EXPECT_THAT(answer, HasSubstr("process_open_fds"));
  }
}

TEST_F(PageServerTest, PassesPromtool) {
  if (access("/usr/bin/promtool", X_OK) != 0) {
    GTEST_SKIP() << "skipped: no promtool; install Debian's prometheus";
  }
  Get(server_->address(), "/metrics");  // so that exposer_* have values
  const std::string answer = Get(server_->address(), "/metrics");
  const size_t body = answer.find("\r\n\r\n");
  ASSERT_NE(body, std::string::npos);
  const std::string path = testing::TempDir() + "/scraped.txt";
  std::ofstream(path) << answer.substr(body + 4);
  FILE* const promtool = popen(
      absl::StrCat("/usr/bin/promtool check metrics <", path, " 2>&1").c_str(),
      "r");
  std::string said;
  char buffer[4096];
  while (const size_t got = fread(buffer, 1, sizeof buffer, promtool)) {
    said.append(buffer, got);
  }
  EXPECT_EQ(pclose(promtool), 0);
  EXPECT_EQ(said, "");
}

TEST_F(PageServerTest, SaysThatAPortIsInUse) {
  const absl::Status status =
      PageServer::Start(server_->address(), *metrics_).status();
  EXPECT_TRUE(absl::IsUnavailable(status));
  EXPECT_THAT(std::string(status.message()),
              AllOf(HasSubstr(server_->address()), HasSubstr("in use"),
                    HasSubstr("--metrics")));
}

TEST_F(PageServerTest, RefusesOtherMachines) {
  for (const char* address :
       {"0.0.0.0:0", "192.0.2.1:0", "[::]:0", "example.org:0", ":0",
        "127.0.0.1", "127.0.0.1:0,0.0.0.0:0", "127.0.0.1:0s",
        "127.0.0.1:99999"}) {
    const absl::Status status = PageServer::Start(address, *metrics_).status();
    EXPECT_TRUE(absl::IsInvalidArgument(status)) << address << ": " << status;
  }
}

}  // namespace
}  // namespace callgate::metrics
