#include "server/allowed_dirs.h"

#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <string>

#include "gtest/gtest.h"
#include "server/error_reason.h"

namespace callgate {
namespace {

std::string Scratch() {
  std::string path = std::string(std::getenv("TEST_TMPDIR")) + "/dirs.XXXXXX";
  return mkdtemp(&path[0]);
}

TEST(AllowedDirsTest, NoneAllowNothing) {
  const absl::StatusOr<AllowedDirs> dirs = AllowedDirs::Open({});
  ASSERT_TRUE(dirs.ok());
  const absl::Status status = dirs->Containing("/").status();
  EXPECT_EQ(ReasonOf(status), reason::kDirNotAllowed);
  EXPECT_NE(status.message().find("--allow-dir"), absl::string_view::npos);
}

TEST(AllowedDirsTest, HoldsWholeNamesAndWhatIsBelow) {
  const std::string root = Scratch();
  ASSERT_EQ(mkdir((root + "/a").c_str(), 0700), 0);
  ASSERT_EQ(mkdir((root + "/a/b").c_str(), 0700), 0);
  const absl::StatusOr<AllowedDirs> dirs =
      AllowedDirs::Open({root + "/a/", root + "/a/b"});
  ASSERT_TRUE(dirs.ok()) << dirs.status();
  EXPECT_EQ(*dirs->Containing(root + "/a"), root + "/a");
  EXPECT_EQ(*dirs->Containing(root + "/a/x/y"), root + "/a");
  EXPECT_EQ(*dirs->Containing(root + "/a/b/c"), root + "/a/b");
  EXPECT_FALSE(dirs->Containing(root + "/ab").ok());
  EXPECT_FALSE(dirs->Containing(root).ok());
  EXPECT_FALSE(dirs->Containing("/").ok());
  EXPECT_FALSE(dirs->Containing("").ok());
}

TEST(AllowedDirsTest, TheRootAllowsEverything) {
  const absl::StatusOr<AllowedDirs> dirs = AllowedDirs::Open({"/"});
  ASSERT_TRUE(dirs.ok());
  EXPECT_EQ(*dirs->Containing("/any/where"), "/");
}

TEST(AllowedDirsTest, ALinkStandsForBothItsNames) {
  const std::string root = Scratch();
  ASSERT_EQ(mkdir((root + "/real").c_str(), 0700), 0);
  ASSERT_EQ(symlink("real", (root + "/link").c_str()), 0);
  const absl::StatusOr<AllowedDirs> dirs = AllowedDirs::Open({root + "/link"});
  ASSERT_TRUE(dirs.ok());
  EXPECT_EQ(*dirs->Containing(root + "/link/x"), root + "/link");
  EXPECT_EQ(*dirs->Containing(root + "/real/x"), root + "/real");
}

TEST(AllowedDirsTest, WhatIsNotADirectoryIsRefused) {
  const absl::Status missing = AllowedDirs::Open({"/nonexistent"}).status();
  EXPECT_NE(missing.message().find("--allow-dir \"/nonexistent\": No such"),
            absl::string_view::npos)
      << missing;
  EXPECT_FALSE(AllowedDirs::Open({"/proc/self/status"}).ok());
}

}  // namespace
}  // namespace callgate
