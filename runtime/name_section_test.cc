#include "runtime/name_section.h"

#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace callgate {
namespace {

using ::testing::ElementsAre;

using Bytes = std::vector<uint8_t>;

const Bytes kHeader = {0, 'a', 's', 'm', 1, 0, 0, 0};

Bytes Sized(const Bytes& content) {
  Bytes out;
  size_t size = content.size();
  while (size >= 0x80) {
    out.push_back(static_cast<uint8_t>(size | 0x80));
    size >>= 7;
  }
  out.push_back(static_cast<uint8_t>(size));
  out.insert(out.end(), content.begin(), content.end());
  return out;
}

Bytes Join(std::initializer_list<Bytes> parts) {
  Bytes out;
  for (const Bytes& part : parts) {
    out.insert(out.end(), part.begin(), part.end());
  }
  return out;
}

// A module with one custom section "name" around `content`.
Bytes NameSection(const Bytes& content) {
  return Join(
      {kHeader, {0}, Sized(Join({Sized({'n', 'a', 'm', 'e'}), content}))});
}

Bytes FunctionNames(const Bytes& content) {
  return Join({{1}, Sized(content)});
}

struct Row {
  std::string name;
  Bytes module;
  std::vector<std::string> want;
};

class ReadFunctionNamesTest : public testing::TestWithParam<Row> {};

TEST_P(ReadFunctionNamesTest, ReadsWhatIsThere) {
  std::vector<std::string> names(2);
  ReadFunctionNames(GetParam().module, names);
  EXPECT_EQ(names, GetParam().want);
}

INSTANTIATE_TEST_SUITE_P(
    Modules, ReadFunctionNamesTest,
    testing::ValuesIn<Row>({
        {"no_section", kHeader, {"", ""}},
        {"two_names",
         NameSection(FunctionNames({2, 0, 1, 'a', 1, 2, 'b', 'c'})),
         {"a", "bc"}},
        {"index_beyond_the_functions",
         NameSection(FunctionNames({2, 7, 1, 'x', 1, 1, 'b'})),
         {"", "b"}},
        {"first_name_wins",
         NameSection(FunctionNames({2, 0, 1, 'a', 0, 1, 'b'})),
         {"a", ""}},
        {"other_subsections_are_skipped",
         NameSection(
             Join({{0}, Sized({1, 'm'}), FunctionNames({1, 1, 1, 'b'})})),
         {"", "b"}},
        {"count_lies", NameSection(FunctionNames({9, 0, 1, 'a'})), {"a", ""}},
        {"length_lies", NameSection(FunctionNames({1, 0, 200, 'a'})), {"", ""}},
        {"overlong_number",
         NameSection(FunctionNames({1, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0, 1,
                                    'a'})),
         {"", ""}},
        {"empty_bytes", {}, {"", ""}},
    }),
    [](const auto& row) { return row.param.name; });

TEST(ReadFunctionNamesTest, CutsLongNames) {
  const Bytes name(1000, 'n');
  std::vector<std::string> names(1);
  ReadFunctionNames(NameSection(FunctionNames(Join({{1, 0}, Sized(name)}))),
                    names);
  EXPECT_EQ(names[0].size(), kFunctionNameBytesMax);
}

}  // namespace
}  // namespace callgate
