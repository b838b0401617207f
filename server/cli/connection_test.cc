#include "server/cli/connection.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <string>
#include <vector>

#include "proto/google/rpc/error_details.pb.h"
#include "server/cli/exit_codes.h"

namespace callgate::cli {
namespace {

Arguments Server(const std::string& address) {
  static constexpr Flag kFlags[] = {{"server", "ADDR", ""}};
  std::vector<std::string> tokens;
  if (!address.empty()) tokens = {"--server", address};
  return *Arguments::Parse(tokens, kFlags);
}

Connection Open(const std::string& address) {
  unsetenv("CALLGATE_SERVER");
  return *Connection::Open(Server(address));
}

TEST(ConnectionTest, PrefersTheFlagToTheEnvironment) {
  EXPECT_EQ(Open("").address(), "127.0.0.1:50051");
  setenv("CALLGATE_SERVER", "127.0.0.1:7", 1);
  EXPECT_EQ(Connection::Open(Server(""))->address(), "127.0.0.1:7");
  EXPECT_EQ(Connection::Open(Server("[::1]:8"))->address(), "[::1]:8");
  unsetenv("CALLGATE_SERVER");
}

TEST(ConnectionTest, RefusesWhatIsNoAddress) {
  for (const std::string address :
       {"localhost", ":1", "a:", "a:b", "a:0", "a:65536"}) {
    const auto connection = Connection::Open(Server(address));
    ASSERT_FALSE(connection.ok()) << address;
    EXPECT_EQ(connection.failure().exit_code, kExitUsage);
    EXPECT_EQ(connection.failure().message,
              "--server \"" + address +
                  "\" is not an address; write HOST:PORT, such as "
                  "127.0.0.1:50051");
  }
}

grpc::Status WithReason(grpc::StatusCode code, const std::string& reason) {
  google::rpc::Status sent;
  google::rpc::ErrorInfo info;
  info.set_reason(reason);
  info.set_domain("callgate");
  sent.add_details()->PackFrom(info);
  return grpc::Status(code, "why", sent.SerializeAsString());
}

struct ReasonRow {
  std::string reason;
  grpc::StatusCode code;
  int exit_code;
};

class ConnectionReasons : public testing::TestWithParam<ReasonRow> {};

TEST_P(ConnectionReasons, BecomeExitCodes) {
  const Failure failure =
      Open("").Explain(WithReason(GetParam().code, GetParam().reason));
  EXPECT_EQ(failure.exit_code, GetParam().exit_code);
  EXPECT_EQ(failure.reason, GetParam().reason);
  EXPECT_EQ(failure.message, "why");
}

INSTANTIATE_TEST_SUITE_P(
    All, ConnectionReasons,
    testing::ValuesIn<ReasonRow>({
        {"MODULE_MALFORMED", grpc::INVALID_ARGUMENT, kExitModuleRefused},
        {"MODULE_INVALID", grpc::INVALID_ARGUMENT, kExitModuleRefused},
        {"MODULE_UNSUPPORTED", grpc::INVALID_ARGUMENT, kExitModuleRefused},
        {"MODULE_OVER_LIMIT", grpc::FAILED_PRECONDITION, kExitModuleRefused},
        {"MODULE_QUARANTINED", grpc::FAILED_PRECONDITION, kExitModuleRefused},
        {"MISSING_IMPORT", grpc::FAILED_PRECONDITION, kExitModuleRefused},
        {"IMPORT_TYPE", grpc::FAILED_PRECONDITION, kExitModuleRefused},
        {"NO_START", grpc::FAILED_PRECONDITION, kExitModuleRefused},
        {"INSTANTIATION_TRAPPED", grpc::FAILED_PRECONDITION, kExitTrapped},
        {"NO_POLICY", grpc::FAILED_PRECONDITION, kExitPolicyRefused},
        {"POLICY_NOT_FOUND", grpc::NOT_FOUND, kExitPolicyRefused},
        {"POLICY_INVALID", grpc::INVALID_ARGUMENT, kExitPolicyRefused},
        {"POLICY_REFUSED", grpc::FAILED_PRECONDITION, kExitPolicyRefused},
        {"BAD_ARGUMENT", grpc::INVALID_ARGUMENT, kExitUsage},
        {"STORE_NOT_FOUND", grpc::NOT_FOUND, kExitFailure},
        {"STORE_ENDED", grpc::FAILED_PRECONDITION, kExitFailure},
        // The daemon is there and says no: this is not "no daemon".
        {"DRAINING", grpc::UNAVAILABLE, kExitFailure},
    }),
    [](const auto& param) { return param.param.reason; });

TEST(ConnectionTest, TellsThatNoDaemonAnswers) {
  const Failure failure =
      Open("127.0.0.1:9").Explain(grpc::Status(grpc::UNAVAILABLE, "refused"));
  EXPECT_EQ(failure.exit_code, kExitNoDaemon);
  EXPECT_EQ(failure.message,
            "cannot reach callgated at 127.0.0.1:9: refused; start it with "
            "`callgated --data DIR`, or say where it is with --server or "
            "CALLGATE_SERVER");
}

TEST(ConnectionTest, ListsWhatIsWrongWithARequest) {
  google::rpc::Status sent;
  google::rpc::BadRequest bad;
  auto& violation = *bad.add_field_violations();
  violation.set_field("web.yaml:3:5");
  violation.set_description("unknown field");
  sent.add_details()->PackFrom(bad);
  const Failure failure = Open("").Explain(grpc::Status(
      grpc::INVALID_ARGUMENT, "1 problem", sent.SerializeAsString()));
  EXPECT_EQ(failure.details,
            std::vector<std::string>{"web.yaml:3:5: unknown field"});
}

TEST(ConnectionTest, SaysSomethingAboutAStatusWithoutWords) {
  const Failure failure = Open("").Explain(grpc::Status(grpc::INTERNAL, ""));
  EXPECT_EQ(failure.exit_code, kExitFailure);
  EXPECT_FALSE(failure.message.empty());
}

}  // namespace
}  // namespace callgate::cli
