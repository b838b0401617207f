#include "server/storage/digest.h"

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace callgate::storage {
namespace {

// FIPS 180-4's examples.
constexpr char kEmpty[] =
    "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
constexpr char kAbc[] =
    "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

TEST(DigestTest, HashesKnownStrings) {
  EXPECT_EQ(DigestOf("").ToString(), kEmpty);
  EXPECT_EQ(DigestOf("abc").ToString(), kAbc);
  EXPECT_EQ(DigestOf(std::string(1'000'000, 'a')).hex(),
            "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

TEST(DigestTest, HashesPiecesLikeTheWhole) {
  const std::string bytes(200, '\xa7');
  for (size_t split = 0; split <= bytes.size(); ++split) {
    Sha256 hash;
    hash.Update(absl::string_view(bytes).substr(0, split));
    hash.Update(absl::string_view(bytes).substr(split));
    ASSERT_EQ(hash.Finish(), DigestOf(bytes)) << split;
  }
}

TEST(DigestTest, ReadsWhatItWrites) {
  const absl::StatusOr<Digest> digest = Digest::Parse(kAbc);
  ASSERT_TRUE(digest.ok()) << digest.status();
  EXPECT_EQ(*digest, DigestOf("abc"));
  EXPECT_EQ(digest->ToString(), kAbc);
  EXPECT_NE(*digest, DigestOf("abd"));
}

struct BadRow {
  std::string name;
  std::string text;
  std::string message;
};
class BadDigests : public testing::TestWithParam<BadRow> {};

TEST_P(BadDigests, AreRefused) {
  const absl::StatusOr<Digest> digest = Digest::Parse(GetParam().text);
  EXPECT_EQ(digest.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(digest.status().message()),
              testing::HasSubstr(GetParam().message));
}

INSTANTIATE_TEST_SUITE_P(
    Texts, BadDigests,
    testing::ValuesIn<BadRow>({
        {"empty", "", "does not begin"},
        {"bare_hex", std::string(64, 'a'), "does not begin"},
        {"other_hash", "sha512:" + std::string(64, 'a'), "does not begin"},
        {"short", "sha256:" + std::string(63, 'a'), "63 digits"},
        {"long", "sha256:" + std::string(65, 'a'), "65 digits"},
        {"upper_case", "sha256:" + std::string(63, 'a') + "A", "character 64"},
        {"not_hex", "sha256:g" + std::string(63, 'a'), "character 1"},
        {"path",
         "sha256:" + std::string(32, 'a') + "/.." + std::string(29, 'a'),
         "character 33"},
        {"nul", std::string("sha256:\0", 8) + std::string(63, 'a'),
         "character 1"},
    }),
    [](const auto& param) { return param.param.name; });

}  // namespace
}  // namespace callgate::storage
