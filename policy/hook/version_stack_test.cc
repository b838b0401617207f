#include "policy/hook/version_stack.h"

#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace callgate::policy {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

// Versions have numbers here.
class VersionStackTest : public testing::Test {
 protected:
  std::unique_ptr<RulesVersion> New() {
    auto version = std::make_unique<RulesVersion>();
    numbers_[version.get()] = static_cast<int>(numbers_.size()) + 1;
    return version;
  }
  void Adopt(uint32_t depth) { stack_.Adopt(New(), depth, retire_); }
  void Begin(uint32_t depth) {
    if (stack_.has_older()) stack_.Begin(depth, retire_);
  }
  int At(uint32_t depth) { return numbers_.at(&stack_.At(depth)); }
  int Current() { return numbers_.at(&stack_.current()); }

  std::map<const RulesVersion*, int> numbers_;
  std::vector<int> retired_;
  // Kept, so that no two have one address.
  std::vector<std::unique_ptr<RulesVersion>> kept_;
  VersionStack::Retire retire_ = [this](std::unique_ptr<RulesVersion> old) {
    retired_.push_back(numbers_.at(old.get()));
    kept_.push_back(std::move(old));
  };
  VersionStack stack_{New()};
};

TEST_F(VersionStackTest, LetsTheOldGoBetweenCalls) {
  EXPECT_EQ(Current(), 1);
  Adopt(0);
  EXPECT_EQ(Current(), 2);
  EXPECT_FALSE(stack_.has_older());
  EXPECT_THAT(retired_, ElementsAre(1));
}

TEST_F(VersionStackTest, LetsTheOldGoAtAnOutermostCall) {
  Begin(2);
  Adopt(2);
  EXPECT_EQ(At(2), 2);
  EXPECT_THAT(retired_, ElementsAre(1));
}

TEST_F(VersionStackTest, KeepsTheVersionOfACallFurtherOut) {
  Begin(2);
  Adopt(4);
  EXPECT_EQ(At(4), 2);
  EXPECT_EQ(Current(), 2);
  EXPECT_THAT(retired_, IsEmpty());
  // The inner call is over, and another begins and ends.
  Begin(4);
  EXPECT_EQ(At(4), 2);
  Begin(6);
  EXPECT_EQ(At(6), 2);
  // Now the outer one ends,
  EXPECT_EQ(At(2), 1);
  // and the next is under the new one.
  Begin(2);
  EXPECT_EQ(At(2), 2);
  EXPECT_THAT(retired_, ElementsAre(1));
  EXPECT_FALSE(stack_.has_older());
}

TEST_F(VersionStackTest, KeepsOneForEachDepthAtMost) {
  Begin(2);
  Begin(4);
  Adopt(6);
  Adopt(8);
  for (int i = 0; i < 100; ++i) Adopt(8);
  EXPECT_EQ(retired_.size(), 100u);
  EXPECT_EQ(At(8), 103);
  EXPECT_EQ(At(6), 2);
  EXPECT_EQ(At(4), 1);
  EXPECT_EQ(At(2), 1);
  // Back at 6: what came at 8 judges here, too.
  Begin(6);
  EXPECT_EQ(At(6), 103);
  EXPECT_EQ(At(4), 1);
  Begin(2);
  EXPECT_EQ(At(2), 103);
  EXPECT_EQ(retired_.size(), 102u);
}

TEST_F(VersionStackTest, LetsAllGoWhenACallFromOutsideIsOver) {
  Begin(2);
  Adopt(4);
  Adopt(6);
  Adopt(0);
  EXPECT_EQ(Current(), 4);
  EXPECT_FALSE(stack_.has_older());
  EXPECT_THAT(retired_, testing::UnorderedElementsAre(1, 2, 3));
}

}  // namespace
}  // namespace callgate::policy
