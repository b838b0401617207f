#include "policy/state/facts_record.h"

#include <string>

#include "gtest/gtest.h"
#include "tests/support/allocations.h"

namespace callgate::policy {
namespace {

using expression::ErrorCode;
using expression::Value;
using expression::ValueKind;

std::vector<Value> Back(const FactsRecord& record, size_t facts,
                        FactsRecord::Items* items, bool for_message = false) {
  std::vector<Value> values(facts);
  record.Restore(for_message, absl::MakeSpan(values), items);
  return values;
}

TEST(FactsRecordTest, GivesBackWhatWasCopied) {
  FactsRecord::Items items;
  items.reserve(8);
  FactsRecord record({9, 600, 4});
  {
    // Nothing is looked at later.
    const std::string text = "text";
    const std::string address = "\x0a\x01\x02\x03";
    const Value list[] = {Value::Ip(address), Value::Int(-3)};
    record.Fill({Value::Int(-1), Value::Uint(2), Value::Double(0.5),
                 Value::Bool(true), Value::Timestamp(7), Value::Duration(-7),
                 Value::String(text), Value::List(list), Value()});
  }
  const std::vector<Value> back = Back(record, 9, &items);
  EXPECT_EQ(back[0].as_int(), -1);
  EXPECT_EQ(back[1].as_uint(), 2u);
  EXPECT_EQ(back[2].as_double(), 0.5);
  EXPECT_TRUE(back[3].as_bool());
  EXPECT_EQ(back[4].kind(), ValueKind::kTimestamp);
  EXPECT_EQ(back[4].as_int(), 7);
  EXPECT_EQ(back[5].kind(), ValueKind::kDuration);
  EXPECT_EQ(back[6].as_string(), "text");
  ASSERT_EQ(back[7].as_list().size(), 2u);
  EXPECT_EQ(back[7].as_list()[0].kind(), ValueKind::kIp);
  EXPECT_EQ(back[7].as_list()[0].as_string(), "\x0a\x01\x02\x03");
  EXPECT_EQ(back[7].as_list()[1].as_int(), -3);
  EXPECT_EQ(back[8].kind(), ValueKind::kAbsent);

  FactsRecord other({9, 600, 4});
  other = record;
  record.Fill(std::vector<Value>(9, Value::Int(0)));
  items.clear();
  EXPECT_EQ(Back(other, 9, &items)[6].as_string(), "text");
}

TEST(FactsRecordTest, WhatFindsNoRoomIsAbsent) {
  FactsRecord::Items items;
  items.reserve(8);
  FactsRecord record({3, 5, 2});
  const Value three[] = {Value::Int(1), Value::Int(2), Value::Int(3)};
  record.Fill({Value::String("abc"), Value::String("def"), Value::List(three)});
  auto back = Back(record, 3, &items);
  EXPECT_EQ(back[0].as_string(), "abc");
  EXPECT_EQ(back[1].kind(), ValueKind::kAbsent);
  EXPECT_EQ(back[2].kind(), ValueKind::kAbsent);
  // Not half a list either.
  const Value two[] = {Value::String("abc"), Value::String("def")};
  record.Fill({Value(), Value(), Value::List(two)});
  EXPECT_EQ(Back(record, 3, &items)[2].kind(), ValueKind::kAbsent);
  record.Fill({Value::Error(ErrorCode::kOverflow, 0), Value(), Value()});
  EXPECT_EQ(Back(record, 3, &items)[0].kind(), ValueKind::kAbsent);
}

TEST(FactsRecordTest, ALongTextIsForMessagesAlone) {
  FactsRecord::Items items;
  FactsRecord record({2, 2 * FactsRecord::kTextBytesMax, 0});
  const std::string fits(FactsRecord::kTextBytesMax, 'a');
  const std::string is_long(FactsRecord::kTextBytesMax + 1, 'b');
  record.Fill({Value::String(fits), Value::String(is_long)});
  EXPECT_EQ(Back(record, 2, &items)[0].as_string(), fits);
  EXPECT_EQ(Back(record, 2, &items)[1].kind(), ValueKind::kAbsent);
  EXPECT_EQ(Back(record, 2, &items, true)[1].as_string(), is_long.substr(1));
}

TEST(FactsRecordTest, WhatIsHiddenIsForConditionsAlone) {
  FactsRecord::Items items;
  FactsRecord record({2, 100, 0});
  record.Fill({Value::String("a"), Value::String("b")}, 0b10);
  EXPECT_EQ(Back(record, 2, &items)[1].as_string(), "b");
  EXPECT_EQ(Back(record, 2, &items, true)[0].as_string(), "a");
  EXPECT_EQ(Back(record, 2, &items, true)[1].kind(), ValueKind::kAbsent);
}

TEST(FactsRecordTest, AllocatesNothingOnceMade) {
  FactsRecord::Items items;
  items.reserve(8);
  FactsRecord record({3, 300, 4});
  FactsRecord other({3, 300, 4});
  const Value list[] = {Value::Int(1), Value::Int(2)};
  Value back[3];
  const uint64_t before = AllocationCount();
  for (int i = 0; i < 10; ++i) {
    record.Fill({Value::String("abc"), Value::Int(i), Value::List(list)});
    other = record;
    items.clear();
    other.Restore(false, absl::MakeSpan(back), &items);
  }
  EXPECT_EQ(AllocationCount(), before);
  EXPECT_EQ(back[1].as_int(), 9);
}

}  // namespace
}  // namespace callgate::policy
