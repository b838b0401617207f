#include "tests/e2e/process.h"

#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "gtest/gtest.h"

namespace callgate::e2e {
namespace {

TEST(ProcessTest, WhatWasGatheredBeforeIsNotWaitedFor) {
  Command command;
  command.argv = {"/bin/cat"};
  command.interactive = true;
  auto cat = Process::Start(command);
  ASSERT_TRUE(cat.ok()) << cat.status();
  ASSERT_TRUE((*cat)->Send("said\n").ok());
  ASSERT_TRUE((*cat)->WaitForOutput("said", absl::Seconds(60)).ok());
  // Nothing more will come.
  const absl::Time start = absl::Now();
  EXPECT_TRUE((*cat)->WaitForOutput("said", absl::Seconds(60)).ok());
  EXPECT_LT(absl::Now() - start, absl::Seconds(30));
}

}  // namespace
}  // namespace callgate::e2e
