#include "server/metrics/process_facts.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <ctime>

#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "gtest/gtest.h"

namespace callgate::metrics {
namespace {

TEST(ProcessFactsTest, SayWhatTheSystemSays) {
  // Until the first tick of CPU time is there.
  while (clock() < CLOCKS_PER_SEC / 50) {
  }
  const ProcessFacts facts = ReadProcessFacts();
  EXPECT_GT(facts.cpu_seconds, 0);
  EXPECT_GT(facts.resident_bytes, 100'000);
  EXPECT_GT(facts.virtual_bytes, facts.resident_bytes);
  rlimit fds = {};
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &fds), 0);
  EXPECT_EQ(facts.max_fds, static_cast<double>(fds.rlim_cur));
  const double now = absl::ToDoubleSeconds(absl::Now() - absl::UnixEpoch());
  // The system's clock may have been set since boot, but not by much.
  EXPECT_NEAR(facts.start_time_seconds, now, 3'600);
}

TEST(ProcessFactsTest, CountOpenDescriptors) {
  const double before = ReadProcessFacts().open_fds;
  const int first = open("/dev/null", O_RDONLY);
  const int second = open("/dev/null", O_RDONLY);
  EXPECT_EQ(ReadProcessFacts().open_fds, before + 2);
  close(first);
  close(second);
  EXPECT_EQ(ReadProcessFacts().open_fds, before);
}

}  // namespace
}  // namespace callgate::metrics
