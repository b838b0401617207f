// A small version of the evaluation (evaluate.cc): that it finds attacks and
// leaves real programs alone. Without a corpus it skips.

#include "tests/anomaly/evaluation.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <string>

#include "absl/strings/str_cat.h"
#include "tests/anomaly/made_text.h"
#include "tests/anomaly/report.h"
#include "tests/anomaly/workload.h"

namespace callgate::anomaly_test {
namespace {

using testing::HasSubstr;

TEST(WorkloadTest, IsTheSameForTheSameSeed) {
  for (const Program& program : Programs()) {
    const Job one = program.make_job(7, JobSize::kUsual);
    const Job same = program.make_job(7, JobSize::kUsual);
    EXPECT_EQ(one.args, same.args) << program.name;
    EXPECT_EQ(one.stdin_bytes, same.stdin_bytes) << program.name;
    EXPECT_EQ(one.files, same.files) << program.name;
    const Job other = program.make_job(8, JobSize::kUsual);
    EXPECT_FALSE(one.args == other.args &&
                 one.stdin_bytes == other.stdin_bytes &&
                 one.files == other.files)
        << program.name;
  }
}

TEST(EvaluationTest, FindsAttacksAndLeavesProgramsAlone) {
  const char* const corpus = std::getenv("CALLGATE_CORPUS");
  if (corpus == nullptr || *corpus == '\0') {
    GTEST_SKIP() << "skipped: no corpus";
  }
  Sizes sizes;
  sizes.training_runs = 100;
  sizes.training_long_runs = 1;
  sizes.validation_runs = 40;
  sizes.validation_calls = 100'000;
  sizes.test_runs = 20;
  sizes.test_calls = 100'000;
  sizes.attacks = 1;
  policy::anomaly::Shape shape;
  shape.share_weight = 3277;
  const Evaluation e =
      Evaluate(shape, sizes, /*seed=*/4, corpus, testing::TempDir());
  EXPECT_EQ(e.programs.size(), Programs().size());
  EXPECT_GE(e.test_calls, sizes.test_calls / 2);
  EXPECT_EQ(e.attacks.size(), Programs().size() * kAttackKinds + 9);
  // So little is learned from that much is new; the full evaluation says what
  // is reached.
  EXPECT_GE(e.chosen_found * 10, e.attacks.size() * 6);
  EXPECT_LE(e.chosen_false_alerts, 10u);
  const std::string text = ReportText(e, e);
  EXPECT_THAT(text, HasSubstr("| odd call site | 8 |"));
  EXPECT_THAT(text, HasSubstr("\n| lua | "));
  EXPECT_THAT(RocSvg(e), HasSubstr("<polyline"));
}

}  // namespace
}  // namespace callgate::anomaly_test
