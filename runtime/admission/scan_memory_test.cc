// The scan allocates by what it has read and a limit has allowed, never by what
// a number in the module claims.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "runtime/admission/module_bytes.h"
#include "runtime/admission/scan.h"
#include "runtime/admission/scan_testing.h"
#include "tests/support/allocations.h"

namespace callgate::admission {
namespace {

size_t AllocatedByScan(const Bytes& bytes, const ModuleLimits& limits) {
  const uint64_t before = AllocatedBytes();
  const ScanResult result = Scan(bytes, limits, EveryFeature());
  // All bytes ever asked for, not those in use: an upper bound of the peak.
  return AllocatedBytes() - before;
}

struct Row {
  std::string name;
  Bytes bytes;
  // With the default limits, and with none.
  size_t most_bytes;
  size_t most_bytes_without_limits;
};

class Allocation : public testing::TestWithParam<Row> {};

TEST_P(Allocation, IsBounded) {
  const Row& row = GetParam();
  EXPECT_LE(AllocatedByScan(row.bytes, ModuleLimits{}), row.most_bytes);
  EXPECT_LE(AllocatedByScan(row.bytes, NoLimits()),
            row.most_bytes_without_limits);
}

// What a refusal's sentence takes.
constexpr size_t kSentence = 4096;

INSTANTIATE_TEST_SUITE_P(
    Rows, Allocation,
    testing::ValuesIn<Row>({
        {"type_count_that_lies", Module({Section(1, U(0xffffffff))}), kSentence,
         kSentence},
        {"import_count_that_lies", Module({Section(2, U(0xffffffff))}),
         kSentence, kSentence},
        {"function_count_that_lies", Module({Section(3, U(0xffffffff))}),
         kSentence, kSentence},
        {"export_count_that_lies", Module({Section(7, U(0xffffffff))}),
         kSentence, kSentence},
        {"announced_data", Module({Section(12, U(0xfffffff0))}), kSentence,
         kSentence},
        {"table_of_all_entries",
         Module({Section(4, Vec({Join({{0x70, 0x00}, U(0xffffffff)})}))}),
         kSentence, kSentence},
        {"memory_of_4_gib",
         Module({Section(5, Vec({Join({{0x00}, U(65536)})}))}), kSentence,
         kSentence},
        {"locals_of_all_numbers",
         ModuleWithRawBody(Join({U(1), U(0xffffffff), {0x7e, 0x0b}})),
         kSentence, kSentence},
        {"name_length_that_lies",
         Module({Section(0, Join({U(0xffffffff), {'x'}}))}), kSentence,
         kSentence},
        {"function_count_refused_before_it_is_read",
         Module({Section(1, Vec({EmptyType()})),
                 Section(3, VecOf(1000000, U(0)))}),
         kSentence, 4 * 1000000 + kSentence},
        // The vector of open blocks doubles: three times the largest at most.
        {"nested_blocks",
         ModuleWithCode(Join({Repeat({0x02, 0x40}, 100000),
                              Repeat({0x0b}, 100000)})),
         3 * 4096 + kSentence, 3 * 100000 + kSentence},
        {"br_table",
         ModuleWithCode(
             Join({{0x41, 0x00, 0x0e}, U(8192), Repeat({0x00}, 8193)})),
         kSentence, kSentence},
        {"instructions", ModuleWithCode(Repeat({0x41, 0x00, 0x1a}, 200000)),
         kSentence, kSentence},
        {"custom_section",
         Module({CustomSection("name", Bytes(1 << 20, 0xff))}), kSentence,
         kSentence},
    }),
    RowName());

}  // namespace
}  // namespace callgate::admission
