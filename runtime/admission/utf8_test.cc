#include "runtime/admission/utf8.h"

#include <optional>
#include <string>
#include <vector>

#include "gtest/gtest.h"

namespace callgate::admission {
namespace {

struct Row {
  std::string name;
  std::vector<uint8_t> bytes;
  std::optional<size_t> invalid_at;
};

class FindInvalid : public testing::TestWithParam<Row> {};

TEST_P(FindInvalid, FindsTheFirstBadSequence) {
  EXPECT_EQ(FindInvalidUtf8(GetParam().bytes), GetParam().invalid_at);
}

struct RowName {
  std::string operator()(const testing::TestParamInfo<Row>& row) const {
    return row.param.name;
  }
};

INSTANTIATE_TEST_SUITE_P(
    Rows, FindInvalid,
    testing::ValuesIn<Row>({
        {"empty", {}, std::nullopt},
        {"ascii_and_nul", {'a', 0x00, 0x7f}, std::nullopt},
        {"shortest_of_two", {0xc2, 0x80}, std::nullopt},
        {"longest_of_two", {0xdf, 0xbf}, std::nullopt},
        {"shortest_of_three", {0xe0, 0xa0, 0x80}, std::nullopt},
        {"before_the_surrogates", {0xed, 0x9f, 0xbf}, std::nullopt},
        {"after_the_surrogates", {0xee, 0x80, 0x80}, std::nullopt},
        {"longest_of_three", {0xef, 0xbf, 0xbf}, std::nullopt},
        {"shortest_of_four", {0xf0, 0x90, 0x80, 0x80}, std::nullopt},
        {"last_of_all", {0xf4, 0x8f, 0xbf, 0xbf}, std::nullopt},
        {"continuation_alone", {'a', 0x80}, 1},
        {"overlong_of_two", {0xc0, 0x80}, 0},
        {"overlong_of_two_highest", {0xc1, 0xbf}, 0},
        {"overlong_of_three", {'a', 'b', 0xe0, 0x9f, 0xbf}, 2},
        {"overlong_of_four", {0xf0, 0x8f, 0xbf, 0xbf}, 0},
        {"first_surrogate", {0xed, 0xa0, 0x80}, 0},
        {"last_surrogate", {0xed, 0xbf, 0xbf}, 0},
        {"past_the_last_of_all", {0xf4, 0x90, 0x80, 0x80}, 0},
        {"lead_f5", {0xf5, 0x80, 0x80, 0x80}, 0},
        {"lead_ff", {0xff}, 0},
        {"cut_short_of_two", {'a', 0xc2}, 1},
        {"cut_short_of_three", {0xe1, 0x80}, 0},
        {"cut_short_of_four", {0xf1, 0x80, 0x80}, 0},
        {"third_byte_is_none", {0xe1, 0x80, 0x41}, 0},
        {"fourth_byte_is_none", {0xf1, 0x80, 0x80, 0xc0}, 0},
    }),
    RowName());

}  // namespace
}  // namespace callgate::admission
