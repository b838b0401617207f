#include "server/services/status_to_grpc.h"

#include <string>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "proto/google/rpc/error_details.pb.h"
#include "server/error_reason.h"

namespace callgate {
namespace {

google::rpc::Status Details(const grpc::Status& status) {
  google::rpc::Status details;
  EXPECT_TRUE(details.ParseFromString(status.error_details()));
  return details;
}

// The first detail of this type, if there is one.
template <typename Detail>
bool Find(const grpc::Status& status, Detail* detail) {
  const google::rpc::Status sent = Details(status);
  for (const google::protobuf::Any& any : sent.details()) {
    if (any.UnpackTo(detail)) return true;
  }
  return false;
}

TEST(StatusToGrpcTest, CodesAreTheSameEverywhere) {
  for (int code = 1; code <= 16; ++code) {
    const grpc::Status status =
        StatusToGrpc(absl::Status(static_cast<absl::StatusCode>(code), "what"));
    EXPECT_EQ(static_cast<int>(status.error_code()), code);
    EXPECT_EQ(status.error_message(), "what");
    EXPECT_EQ(Details(status).code(), code);
    google::rpc::ErrorInfo info;
    ASSERT_TRUE(Find(status, &info));
    // Without a reason it is the code's own name.
    EXPECT_EQ(info.reason(), GrpcCodeName(status.error_code()));
    EXPECT_EQ(info.domain(), "callgate");
  }
  EXPECT_TRUE(StatusToGrpc(absl::OkStatus()).ok());
}

TEST(StatusToGrpcTest, ReasonsAndTheirMetadataArrive) {
  const grpc::Status status = StatusToGrpc(
      ErrorWithReason(absl::StatusCode::kFailedPrecondition,
                      reason::kModuleOverLimit, "x", {{"limit", "bytes"}}));
  google::rpc::ErrorInfo info;
  ASSERT_TRUE(Find(status, &info));
  EXPECT_EQ(info.reason(), "MODULE_OVER_LIMIT");
  EXPECT_EQ(info.metadata().at("limit"), "bytes");
}

TEST(StatusToGrpcTest, QuotasSayWhenToComeBack) {
  google::rpc::QuotaFailure quota;
  google::rpc::RetryInfo retry;
  const grpc::Status full = StatusToGrpc(ErrorWithReason(
      absl::StatusCode::kResourceExhausted, reason::kQueueFull, "full"));
  ASSERT_TRUE(Find(full, &quota));
  EXPECT_EQ(quota.violations(0).subject(), "QUEUE_FULL");
  EXPECT_TRUE(Find(full, &retry));
  const grpc::Status draining = StatusToGrpc(ErrorWithReason(
      absl::StatusCode::kUnavailable, reason::kDraining, "going"));
  EXPECT_TRUE(Find(draining, &retry));
  EXPECT_FALSE(Find(draining, &quota));
}

TEST(StatusToGrpcTest, FitsTheTrailersOfADefaultClient) {
  std::vector<std::pair<std::string, std::string>> violations;
  for (int i = 0; i < 100; ++i) {
    violations.emplace_back("file.yaml:1:1", std::string(500, 'x'));
  }
  const grpc::Status status = StatusToGrpc(WithViolations(
      ErrorWithReason(absl::StatusCode::kInvalidArgument,
                      reason::kPolicyInvalid, std::string(100'000, 'm')),
      violations));
  // Percent-encoded message, and details in base64.
  EXPECT_LT(
      status.error_message().size() + status.error_details().size() * 4 / 3,
      8000u);
  google::rpc::BadRequest bad;
  ASSERT_TRUE(Find(status, &bad));
  EXPECT_EQ(bad.field_violations(bad.field_violations_size() - 1).description(),
            "and 98 more");
}

TEST(StatusToGrpcTest, MessagesAreEscaped) {
  const grpc::Status status =
      StatusToGrpc(absl::InternalError("a\x1b[31m\nb\xff"));
  EXPECT_EQ(status.error_message(), "a\\x1b[31m\\x0ab\\xff");
}

}  // namespace
}  // namespace callgate
