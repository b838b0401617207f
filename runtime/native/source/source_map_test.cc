#include "runtime/native/source/source_map.h"

#include <functional>
#include <string>

#include "absl/status/status.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace callgate::native {
namespace {

using testing::HasSubstr;

constexpr uint64_t kModuleBytes = 1'000;

// a.c:1:3 from 10, nothing from 20, b.c:7 from 30.
SourceLines Good() {
  SourceLines lines;
  lines.add_files("a.c");
  lines.add_files("b.c");
  for (const uint32_t delta : {10u, 10u, 10u}) lines.add_offset_delta(delta);
  for (const uint32_t file : {1u, 0u, 2u}) lines.add_file(file);
  for (const uint32_t line : {1u, 0u, 7u}) lines.add_line(line);
  for (const uint32_t column : {3u, 0u, 0u}) lines.add_column(column);
  return lines;
}

TEST(SourceMapTest, FindsTheEntryThatCoversAnOffset) {
  const auto map = SourceMap::Make(Good(), kModuleBytes);
  ASSERT_TRUE(map.ok()) << map.status();
  const auto show = [&](uint64_t offset) -> std::string {
    const auto place = map->Find(offset);
    if (!place.has_value()) return "";
    return std::string(place->file) + ":" + std::to_string(place->line) +
           (place->column == 0 ? "" : ":" + std::to_string(place->column));
  };
  EXPECT_EQ(show(0), "");
  EXPECT_EQ(show(9), "");
  EXPECT_EQ(show(10), "a.c:1:3");
  EXPECT_EQ(show(19), "a.c:1:3");
  EXPECT_EQ(show(20), "");
  EXPECT_EQ(show(29), "");
  EXPECT_EQ(show(30), "b.c:7");
  EXPECT_EQ(show(~uint64_t{0}), "b.c:7");
  EXPECT_GT(map->bytes(), 0u);
}

TEST(SourceMapTest, HasNothingForAModuleWithoutLines) {
  const auto map = SourceMap::Make(SourceLines(), kModuleBytes);
  ASSERT_TRUE(map.ok());
  EXPECT_FALSE(map->Find(0).has_value());
  EXPECT_FALSE(SourceMap().Find(0).has_value());
}

struct Row {
  std::string name;
  std::function<void(SourceLines&)> change;
  std::string message;  // empty: it is fine
};

class SourceLinesFrom : public testing::TestWithParam<Row> {};

TEST_P(SourceLinesFrom, AreChecked) {
  SourceLines lines = Good();
  GetParam().change(lines);
  const auto map = SourceMap::Make(lines, kModuleBytes);
  if (GetParam().message.empty()) {
    EXPECT_TRUE(map.ok()) << map.status();
    return;
  }
  EXPECT_EQ(map.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(map.status().message()),
              HasSubstr(GetParam().message));
}

INSTANTIATE_TEST_SUITE_P(
    Compilers, SourceLinesFrom,
    testing::ValuesIn<Row>({
        {"last_file", [](SourceLines& l) { l.set_file(0, 2); }, ""},
        {"no_such_file", [](SourceLines& l) { l.set_file(0, 3); },
         "file that is not there"},
        {"huge_file", [](SourceLines& l) { l.set_file(0, ~0u); },
         "file that is not there"},
        {"line_without_file", [](SourceLines& l) { l.set_line(1, 4); },
         "a line without a file"},
        {"file_without_line", [](SourceLines& l) { l.set_line(0, 0); },
         "a file without a line"},
        {"column_without_file", [](SourceLines& l) { l.set_column(1, 4); },
         "a column without a file"},
        {"fewer_columns",
         [](SourceLines& l) { l.mutable_column()->RemoveLast(); },
         "different lengths"},
        {"largest_column", [](SourceLines& l) { l.set_column(2, ~0u); }, ""},
        {"too_many_entries",
         [](SourceLines& l) { l.mutable_offset_delta()->Resize(2'000'001, 1); },
         "too many entries"},
        {"same_offset", [](SourceLines& l) { l.set_offset_delta(1, 0); },
         "two entries"},
        {"first_offset_0", [](SourceLines& l) { l.set_offset_delta(0, 0); },
         "two entries"},
        {"last_byte", [](SourceLines& l) { l.set_offset_delta(2, 979); }, ""},
        {"behind_the_module",
         [](SourceLines& l) { l.set_offset_delta(2, 980); },
         "behind the module"},
        {"overflowing",
         [](SourceLines& l) {
           l.set_offset_delta(1, ~0u);
           l.set_offset_delta(2, ~0u);
         },
         "behind the module"},
        {"fewer_files", [](SourceLines& l) { l.mutable_file()->RemoveLast(); },
         "different lengths"},
        {"more_lines", [](SourceLines& l) { l.add_line(1); },
         "different lengths"},
        {"more_offsets", [](SourceLines& l) { l.add_offset_delta(1); },
         "different lengths"},
        {"longest_path",
         [](SourceLines& l) { l.set_files(0, std::string(1'024, 'x')); }, ""},
        {"path_too_long",
         [](SourceLines& l) { l.set_files(0, std::string(1'025, 'x')); },
         "too long"},
        {"empty_path", [](SourceLines& l) { l.set_files(1, ""); }, "empty"},
        {"most_files",
         [](SourceLines& l) {
           while (l.files_size() < 65'536) l.add_files("x");
         },
         ""},
        {"too_many_files",
         [](SourceLines& l) {
           while (l.files_size() < 65'537) l.add_files("x");
         },
         "too many files"},
    }),
    [](const auto& row) { return row.param.name; });

}  // namespace
}  // namespace callgate::native
