#include "policy/hook/guest_path.h"

#include "gtest/gtest.h"

namespace callgate::policy {
namespace {

std::string Join(absl::string_view directory, absl::string_view path,
                 size_t bytes_max = 100) {
  std::string joined = "left over";
  return JoinGuestPath(directory, path, bytes_max, &joined) ? joined : "no";
}

TEST(JoinGuestPathTest, JoinsAndNormalises) {
  EXPECT_EQ(Join("/config", "secrets/db"), "/config/secrets/db");
  EXPECT_EQ(Join("/config/", "./a//b/"), "/config/a/b");
  EXPECT_EQ(Join("/config", "a/../secrets/db"), "/config/secrets/db");
  EXPECT_EQ(Join("/config", "../config/secrets"), "/config/secrets");
  EXPECT_EQ(Join("/", "a"), "/a");
  EXPECT_EQ(Join("/a", ".."), "/");
  EXPECT_EQ(Join("data", "x"), "data/x");
  EXPECT_EQ(Join(".", "x"), "x");
  EXPECT_EQ(Join("", "a/b"), "a/b");
  EXPECT_EQ(Join("", "/a/b"), "a/b");
}

TEST(JoinGuestPathTest, WhatLeadsOutsideStaysVisible) {
  EXPECT_EQ(Join("/", ".."), "/..");
  EXPECT_EQ(Join("/a", "../../../etc"), "/../../etc");
  EXPECT_EQ(Join("data", "../../x"), "../x");
  EXPECT_EQ(Join("", "..a/..b"), "..a/..b");
}

TEST(JoinGuestPathTest, IsBounded) {
  EXPECT_EQ(Join("/abc", "def", 9), "/abc/def");
  EXPECT_EQ(Join("/abc", "def", 7), "no");
}

}  // namespace
}  // namespace callgate::policy
