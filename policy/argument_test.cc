#include "policy/argument.h"

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "policy/guest_errno.h"
#include "policy/hook/fake_call.h"

namespace callgate::policy {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::Pair;

constexpr uint32_t kMemoryBytes = 65536;

const FuncType kType = {{ValType::kI32, ValType::kI32}, {ValType::kI32}};
const FuncType kType64 = {{ValType::kI64, ValType::kI64}, {ValType::kI32}};

ArgSpec Spec(ArgKind kind, uint64_t max_bytes) {
  ArgSpec spec;
  spec.name = "data";
  spec.index = 0;
  spec.kind = kind;
  spec.len_index = 1;
  spec.max_bytes = max_bytes;
  return spec;
}

struct Row {
  std::string name;
  ArgKind kind;
  uint64_t max_bytes;
  uint32_t address;
  uint32_t length;
  // 0: fine.
  uint32_t want_errno;
  std::vector<std::pair<uint64_t, uint64_t>> want_captured;
};

class CaptureArgumentTest : public testing::TestWithParam<Row> {};

TEST_P(CaptureArgumentTest, HoldsItToItsBounds) {
  const Row& row = GetParam();
  std::vector<uint8_t> memory(kMemoryBytes);
  FunctionIdentity function;
  FakeCall call(Transition::kCallingHost, function,
                {RawValue::I32(row.address), RawValue::I32(row.length)});
  call.WithMemory(&memory);
  const auto denial =
      CaptureArgument(Spec(row.kind, row.max_bytes), kType, call);
  ASSERT_TRUE(denial.ok()) << denial.status();
  EXPECT_EQ(denial->has_value() ? (*denial)->guest_errno : 0, row.want_errno);
  EXPECT_EQ(call.captured(), row.want_captured);
}

INSTANTIATE_TEST_SUITE_P(
    Ranges, CaptureArgumentTest,
    testing::ValuesIn<Row>({
        {"bytes", ArgKind::kBytes, 100, 16, 10, 0, {{16, 10}}},
        {"string", ArgKind::kString, 100, 16, 10, 0, {{16, 10}}},
        {"path", ArgKind::kPath, 100, 16, 10, 0, {{16, 10}}},
        {"sockaddr", ArgKind::kSockaddr, 100, 16, 10, 0, {{16, 10}}},
        {"at_the_limit", ArgKind::kBytes, 10, 16, 10, 0, {{16, 10}}},
        {"over_the_limit", ArgKind::kBytes, 10, 16, 11, kErrno2Big, {}},
        {"whole_memory",
         ArgKind::kBytes,
         kMemoryBytes,
         0,
         kMemoryBytes,
         0,
         {{0, kMemoryBytes}}},
        {"one_past_the_end",
         ArgKind::kBytes,
         100,
         kMemoryBytes - 9,
         10,
         kErrnoFault,
         {}},
        {"address_at_the_end",
         ArgKind::kBytes,
         100,
         kMemoryBytes,
         1,
         kErrnoFault,
         {}},
        {"wraps",
         ArgKind::kBytes,
         ~uint64_t{0},
         0xffffffff,
         0xffffffff,
         kErrnoFault,
         {}},
        {"nothing", ArgKind::kBytes, 100, 16, 0, 0, {}},
        {"nothing_outside", ArgKind::kBytes, 100, 0xffffffff, 0, 0, {}},
        {"nothing_allowed", ArgKind::kBytes, 0, 16, 1, kErrno2Big, {}},
        {"out", ArgKind::kBytesOut, 100, 16, 10, 0, {}},
        {"out_over_the_limit", ArgKind::kBytesOut, 9, 16, 10, kErrno2Big, {}},
        {"out_past_the_end",
         ArgKind::kBytesOut,
         100,
         kMemoryBytes - 9,
         10,
         kErrnoFault,
         {}},
        {"out_wraps",
         ArgKind::kBytesOut,
         ~uint64_t{0},
         0xffffffff,
         0xffffffff,
         kErrnoFault,
         {}},
        {"number", ArgKind::kU32, 0, 0xffffffff, 0xffffffff, 0, {}},
        {"handle", ArgKind::kHandle, 0, 0xffffffff, 0xffffffff, 0, {}},
        {"pointer", ArgKind::kPointer, 0, 0xffffffff, 0xffffffff, 0, {}},
    }),
    [](const auto& test) { return test.param.name; });

TEST(CaptureArgumentTest, TakesAddressesOf64Bits) {
  std::vector<uint8_t> memory(kMemoryBytes);
  FunctionIdentity function;
  FakeCall good(Transition::kCallingHost, function,
                {RawValue::I64(16), RawValue::I64(8)});
  good.WithMemory(&memory);
  auto denial = CaptureArgument(Spec(ArgKind::kBytes, 100), kType64, good);
  ASSERT_TRUE(denial.ok());
  EXPECT_FALSE(denial->has_value());
  FakeCall far(Transition::kCallingHost, function,
               {RawValue::I64(uint64_t{1} << 32), RawValue::I64(8)});
  far.WithMemory(&memory);
  denial = CaptureArgument(Spec(ArgKind::kBytes, 100), kType64, far);
  ASSERT_TRUE(denial.ok());
  ASSERT_TRUE(denial->has_value());
  EXPECT_EQ((*denial)->reason,
            "argument data (8 bytes at 4294967296) is not inside the guest's "
            "memory");
}

// --- Iovecs ------------------------------------------------------------------

class IovecTest : public testing::Test {
 protected:
  void Put(uint32_t at, uint32_t value) {
    for (uint32_t i = 0; i < 4; ++i) {
      memory_[at + i] = static_cast<uint8_t>(value >> (8 * i));
    }
  }
  void PutPair(uint32_t index, uint32_t address, uint32_t length) {
    Put(8 * index, address);
    Put(8 * index + 4, length);
  }

  std::optional<ArgumentDenial> Capture(ArgKind kind, uint64_t max_bytes,
                                        uint32_t pairs, uint32_t address = 0) {
    FunctionIdentity function;
    FakeCall call(Transition::kCallingHost, function,
                  {RawValue::I32(address), RawValue::I32(pairs)});
    call.WithMemory(&memory_);
    const auto denial = CaptureArgument(Spec(kind, max_bytes), kType, call);
    EXPECT_TRUE(denial.ok());
    captured_ = call.captured();
    return denial.ok() ? *denial : std::nullopt;
  }

  std::vector<uint8_t> memory_ = std::vector<uint8_t>(kMemoryBytes);
  std::vector<std::pair<uint64_t, uint64_t>> captured_;
};

TEST_F(IovecTest, CopiesThePairsAndWhatTheyPointTo) {
  PutPair(0, 1000, 10);
  PutPair(1, 2000, 0);
  PutPair(2, 3000, 20);
  EXPECT_FALSE(Capture(ArgKind::kIovecIn, 30, 3).has_value());
  EXPECT_THAT(captured_,
              ElementsAre(Pair(0, 24), Pair(1000, 10), Pair(3000, 20)));
}

TEST_F(IovecTest, CopiesOnlyThePairsOfWhatTheHostWrites) {
  PutPair(0, 1000, 10);
  PutPair(1, kMemoryBytes - 10, 10);
  EXPECT_FALSE(Capture(ArgKind::kIovecOut, 20, 2).has_value());
  EXPECT_THAT(captured_, ElementsAre(Pair(0, 16)));
}

TEST_F(IovecTest, AddsLengthsUpBeforeAnythingIsCopied) {
  PutPair(0, 1000, 10);
  PutPair(1, 2000, 21);
  const auto denial = Capture(ArgKind::kIovecIn, 30, 2);
  ASSERT_TRUE(denial.has_value());
  EXPECT_EQ(denial->guest_errno, kErrno2Big);
  EXPECT_EQ(denial->reason,
            "argument data is 31 bytes long, and max_bytes is 30");
  EXPECT_THAT(captured_, ElementsAre(Pair(0, 16)));
}

TEST_F(IovecTest, LengthsDoNotWrap) {
  PutPair(0, 0, 0xffffffff);
  PutPair(1, 0, 0xffffffff);
  const auto denial = Capture(ArgKind::kIovecIn, 0xffffffff, 2);
  ASSERT_TRUE(denial.has_value());
  EXPECT_EQ(denial->guest_errno, kErrno2Big);
}

TEST_F(IovecTest, RefusesPairsThatPointOutside) {
  for (const ArgKind kind : {ArgKind::kIovecIn, ArgKind::kIovecOut}) {
    PutPair(0, kMemoryBytes - 1, 2);
    const auto denial = Capture(kind, 100, 1);
    ASSERT_TRUE(denial.has_value());
    EXPECT_EQ(denial->guest_errno, kErrnoFault);
  }
}

TEST_F(IovecTest, RefusesAnArrayThatIsOutside) {
  const auto denial = Capture(ArgKind::kIovecIn, 100, 2, kMemoryBytes - 15);
  ASSERT_TRUE(denial.has_value());
  EXPECT_EQ(denial->guest_errno, kErrnoFault);
}

TEST_F(IovecTest, BoundsTheNumberOfPairs) {
  EXPECT_FALSE(Capture(ArgKind::kIovecIn, 100, kIovecPairsMax).has_value());
  const auto denial = Capture(ArgKind::kIovecIn, 100, kIovecPairsMax + 1);
  ASSERT_TRUE(denial.has_value());
  EXPECT_EQ(denial->guest_errno, kErrno2Big);
  EXPECT_EQ(denial->reason,
            "argument data has 1025 pairs, and at most 1024 are looked at");
  EXPECT_THAT(captured_, IsEmpty());
  EXPECT_TRUE(Capture(ArgKind::kIovecIn, 100, 0xffffffff).has_value());
}

// --- What the Store may answer -----------------------------------------------

TEST(CaptureArgumentTest, TellsTheGuestsFaultFromOurs) {
  std::vector<uint8_t> memory(kMemoryBytes);
  FunctionIdentity function;
  FakeCall full(Transition::kCallingHost, function,
                {RawValue::I32(0), RawValue::I32(1)});
  full.WithMemory(&memory).WithCaptureError(
      absl::ResourceExhaustedError("too much"));
  const auto denial = CaptureArgument(Spec(ArgKind::kBytes, 9), kType, full);
  ASSERT_TRUE(denial.ok());
  ASSERT_TRUE(denial->has_value());
  EXPECT_EQ((*denial)->guest_errno, kErrno2Big);

  FakeCall broken(Transition::kCallingHost, function,
                  {RawValue::I32(0), RawValue::I32(1)});
  broken.WithMemory(&memory).WithCaptureError(absl::InternalError("bug"));
  EXPECT_FALSE(CaptureArgument(Spec(ArgKind::kBytes, 9), kType, broken).ok());

  FakeCall odd(Transition::kCallingHost, function, {RawValue::I32(0)});
  odd.WithMemory(&memory);
  EXPECT_FALSE(CaptureArgument(Spec(ArgKind::kBytes, 9), kType, odd).ok());
}

}  // namespace
}  // namespace callgate::policy
