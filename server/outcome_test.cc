#include "server/outcome.h"

#include <set>
#include <string>

#include "gtest/gtest.h"
#include "server/error_reason.h"

namespace callgate {
namespace {

TEST(ErrorReasonTest, TravelsWithTheStatus) {
  const absl::Status status =
      ErrorWithReason(absl::StatusCode::kFailedPrecondition,
                      reason::kModuleOverLimit, "too large", {{"max", "7"}});
  EXPECT_EQ(ReasonOf(status), "MODULE_OVER_LIMIT");
  EXPECT_EQ(ReasonMetadata(status, "max"), "7");
  EXPECT_EQ(ReasonMetadata(status, "min"), "");
  EXPECT_EQ(ReasonOf(absl::InternalError("x")), "");
  EXPECT_EQ(ReasonOf(WithReason(status, reason::kNoStart)), "NO_START");
}

struct Row {
  const char* reason;
  int want;
};

TEST(ExitCodeTest, FollowsTheReason) {
  const Row rows[] = {
      {reason::kModuleMalformed, 65},
      {reason::kModuleInvalid, 65},
      {reason::kModuleUnsupported, 65},
      {reason::kModuleOverLimit, 65},
      {reason::kModuleQuarantined, 65},
      {reason::kMissingImport, 65},
      {reason::kImportType, 65},
      {reason::kNoStart, 65},
      {reason::kInstantiationTrapped, 134},
      {reason::kNoPolicy, 78},
      {reason::kPolicyNotFound, 78},
      {reason::kPolicyInvalid, 78},
      {reason::kPolicyRefused, 78},
      {reason::kBadArgument, 64},
      {reason::kExportNotFound, 64},
      {reason::kQueueFull, 1},
      {"", 1},
  };
  for (const Row& row : rows) {
    EXPECT_EQ(ExitCodeOfStatus(
                  ErrorWithReason(absl::StatusCode::kUnknown, row.reason, "x")),
              row.want)
        << row.reason;
  }
  EXPECT_EQ(ExitCodeOfStatus(absl::OkStatus()), 0);
}

TEST(OutcomeKindTest, NamesAreDistinct) {
  std::set<std::string> names;
  for (int kind = 0; kind <= static_cast<int>(OutcomeKind::kKilled); ++kind) {
    names.insert(std::string(OutcomeKindName(static_cast<OutcomeKind>(kind))));
  }
  EXPECT_EQ(names.size(), 8u);
}

}  // namespace
}  // namespace callgate
