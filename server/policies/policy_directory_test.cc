#include "server/policies/policy_directory.h"

#include <sys/stat.h>
#include <unistd.h>

#include <fstream>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "policy/file/policy_file.h"

namespace callgate::policies {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;

class PolicyDirectoryTest : public testing::Test {
 protected:
  void SetUp() override {
    directory_ = testing::TempDir() + "/policiesXXXXXX";
    ASSERT_NE(mkdtemp(&directory_[0]), nullptr);
  }

  void Write(const std::string& name, const std::string& text) {
    std::ofstream(directory_ + "/" + name) << text;
  }

  std::string directory_;
};

TEST_F(PolicyDirectoryTest, ReadsPolicyFilesInOrder) {
  Write("b.yml", "b");
  Write("a.yaml", "a");
  Write("c.textproto", "c");
  Write("d.txtpb", "d");
  Write("README.md", "no");
  Write(".hidden.yaml", "no");
  Write("a.yaml~", "no");
  ASSERT_EQ(mkdir((directory_ + "/sub").c_str(), 0700), 0);
  Write("sub/e.yaml", "no");
  const auto files = ReadPolicyDirectory(directory_);
  ASSERT_TRUE(files.ok()) << files.status();
  std::vector<std::string> seen;
  for (const PolicyFileText& file : *files) {
    EXPECT_TRUE(file.status.ok());
    seen.push_back(file.name + "=" + file.text);
  }
  EXPECT_THAT(seen,
              ElementsAre("a.yaml=a", "b.yml=b", "c.textproto=c", "d.txtpb=d"));
}

// As Kubernetes mounts a ConfigMap.
TEST_F(PolicyDirectoryTest, FollowsTheLinksOfAConfigMap) {
  ASSERT_EQ(mkdir((directory_ + "/..2024").c_str(), 0700), 0);
  Write("..2024/a.yaml", "text");
  ASSERT_EQ(symlink("..2024", (directory_ + "/..data").c_str()), 0);
  ASSERT_EQ(symlink("..data/a.yaml", (directory_ + "/a.yaml").c_str()), 0);
  const auto files = ReadPolicyDirectory(directory_);
  ASSERT_TRUE(files.ok()) << files.status();
  ASSERT_EQ(files->size(), 1u);
  EXPECT_EQ((*files)[0].text, "text");
}

TEST_F(PolicyDirectoryTest, SaysWhatIsWrongWithAFile) {
  Write("full.yaml", std::string(policy::kPolicyFileBytesMax, 'x'));
  Write("large.yaml", std::string(policy::kPolicyFileBytesMax + 1, 'x'));
  ASSERT_EQ(mkdir((directory_ + "/folder.yaml").c_str(), 0700), 0);
  ASSERT_EQ(mkfifo((directory_ + "/pipe.yaml").c_str(), 0600), 0);
  ASSERT_EQ(symlink("nowhere", (directory_ + "/dangling.yaml").c_str()), 0);
  const auto files = ReadPolicyDirectory(directory_);
  ASSERT_TRUE(files.ok()) << files.status();
  ASSERT_EQ(files->size(), 5u);
  std::vector<std::string> seen;
  for (const PolicyFileText& file : *files) {
    seen.push_back(absl::StrCat(file.name, ": ", file.status.message()));
  }
  EXPECT_THAT(
      seen,
      ElementsAre(AllOf(HasSubstr("dangling.yaml"), HasSubstr("No such file")),
                  "folder.yaml: not a regular file", "full.yaml: ",
                  AllOf(HasSubstr("large.yaml"), HasSubstr("1048576")),
                  "pipe.yaml: not a regular file"));
}

TEST_F(PolicyDirectoryTest, BoundsTheNumberOfFiles) {
  for (size_t i = 0; i < kPolicyFilesMax; ++i) {
    Write(absl::StrCat(i, ".yaml"), "");
  }
  EXPECT_EQ(ReadPolicyDirectory(directory_)->size(), kPolicyFilesMax);
  Write("more.yaml", "");
  const absl::Status status = ReadPolicyDirectory(directory_).status();
  EXPECT_TRUE(absl::IsResourceExhausted(status));
  EXPECT_THAT(std::string(status.message()),
              AllOf(HasSubstr(directory_), HasSubstr("1000")));
}

TEST_F(PolicyDirectoryTest, BoundsTheirBytes) {
  const std::string text(policy::kPolicyFileBytesMax, 'x');
  for (size_t i = 0; i < kPolicyFilesBytesMax / text.size(); ++i) {
    Write(absl::StrCat(i, ".yaml"), text);
  }
  EXPECT_TRUE(ReadPolicyDirectory(directory_).ok());
  Write("more.yaml", "x");
  EXPECT_TRUE(
      absl::IsResourceExhausted(ReadPolicyDirectory(directory_).status()));
}

TEST_F(PolicyDirectoryTest, SaysWhatIsWrongWithTheDirectory) {
  Write("file", "x");
  for (const char* name : {"/no-such", "/file"}) {
    const absl::Status status = ReadPolicyDirectory(directory_ + name).status();
    EXPECT_FALSE(status.ok());
    EXPECT_THAT(std::string(status.message()),
                AllOf(HasSubstr(directory_ + name), HasSubstr("--policy-dir")));
  }
}

}  // namespace
}  // namespace callgate::policies
