#include "server/metrics/capped_family.h"

#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace callgate::metrics {
namespace {

using testing::ElementsAre;

const Family kFamily = {"callgate_tests_total",
                        "Tests.",
                        Kind::kCounter,
                        {{"tenant", {}}, {"verdict", {"allow", "deny"}}},
                        {},
                        {}};

class CappedFamilyTest : public testing::Test {
 protected:
  bool Count(absl::string_view tenant, absl::string_view verdict) {
    return family_.Update({tenant, verdict}, [](prometheus::Counter& counter) {
      counter.Increment();
    });
  }

  // "tenant/verdict=1".
  std::vector<std::string> Series() const {
    std::vector<std::string> series;
    for (const prometheus::ClientMetric& metric : family_.Collect().metric) {
      EXPECT_EQ(metric.label[0].name, "tenant");
      EXPECT_EQ(metric.label[1].name, "verdict");
      series.push_back(absl::StrCat(metric.label[0].value, "/",
                                    metric.label[1].value, "=",
                                    metric.counter.value));
    }
    return series;
  }

  CappedFamily<prometheus::Counter> family_{kFamily, 3};
};

TEST_F(CappedFamilyTest, MakesSeriesAsTheyCome) {
  EXPECT_FALSE(Count("acme", "deny"));
  EXPECT_FALSE(Count("acme", "deny"));
  EXPECT_FALSE(Count("acme", "allow"));
  EXPECT_THAT(Series(), ElementsAre("acme/allow=1", "acme/deny=2"));
}

TEST_F(CappedFamilyTest, FoldsOpenLabelsBeyondTheCap) {
  EXPECT_FALSE(Count("a", "deny"));
  EXPECT_FALSE(Count("b", "deny"));
  EXPECT_FALSE(Count("c", "deny"));
  EXPECT_TRUE(Count("d", "deny"));
  EXPECT_TRUE(Count("e", "deny"));
  EXPECT_TRUE(Count("a", "allow"));
  // Series that are there go on.
  EXPECT_FALSE(Count("a", "deny"));
  EXPECT_THAT(Series(), ElementsAre("a/deny=2", "b/deny=1", "c/deny=1",
                                    "other/allow=1", "other/deny=2"));
}

TEST_F(CappedFamilyTest, NeverPassesItsBound) {
  for (int i = 0; i < 100'000; ++i) {
    Count(absl::StrCat("tenant", i), i % 3 == 0 ? "allow" : "deny");
    Count("t", absl::StrCat("verdict", i));
  }
  // The cap, and "other" with each value of the closed label and with its own
  // "other".
  EXPECT_LE(family_.size(), 3u + 3u);
}

TEST_F(CappedFamilyTest, FoldsValuesThatAClosedLabelDoesNotHave) {
  EXPECT_TRUE(Count("acme", "explode"));
  EXPECT_TRUE(Count("acme", "Deny"));
  EXPECT_FALSE(Count("acme", kOther));
  EXPECT_THAT(Series(), ElementsAre("acme/other=3"));
}

TEST_F(CappedFamilyTest, MakesValuesFitForThePage) {
  Count("evil\"\n\xff\xe2\x80\xae", "deny");
  Count(std::string(10'000, 'x'), "deny");
  EXPECT_THAT(Series(), ElementsAre(R"(evil"\x0a\xff\u{202e}/deny=1)",
                                    std::string(kLabelValueBytesMax - 3, 'x') +
                                        ".../deny=1"));
}

TEST_F(CappedFamilyTest, ReplacesAllSeries) {
  Count("a", "deny");
  const auto increment = [](prometheus::Counter& counter) {
    counter.Increment();
  };
  EXPECT_FALSE(family_.Replace({{"b", "deny"}, {"c", "allow"}}, increment));
  EXPECT_THAT(Series(), ElementsAre("b/deny=1", "c/allow=1"));
  EXPECT_TRUE(family_.Replace(
      {{"1", "deny"}, {"2", "deny"}, {"3", "deny"}, {"4", "deny"}}, increment));
  EXPECT_THAT(Series(),
              ElementsAre("1/deny=1", "2/deny=1", "3/deny=1", "other/deny=1"));
}

TEST_F(CappedFamilyTest, CountsFromManyThreads) {
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([this] {
      for (int i = 0; i < 10'000; ++i) Count(absl::StrCat("t", i % 7), "deny");
    });
  }
  for (int i = 0; i < 100; ++i) family_.Collect();
  for (std::thread& thread : threads) thread.join();
  double total = 0;
  for (const prometheus::ClientMetric& metric : family_.Collect().metric) {
    total += metric.counter.value;
  }
  EXPECT_EQ(total, 40'000);
}

}  // namespace
}  // namespace callgate::metrics
