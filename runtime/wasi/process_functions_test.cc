// Arguments, environment, clocks, randomness, exits.

#include <algorithm>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "runtime/wasi/abi.h"
#include "runtime/wasi/fake_guest.h"

namespace callgate {
namespace wasi {
namespace {

constexpr uint32_t N(Errno number) { return static_cast<uint32_t>(number); }
constexpr uint32_t kOk = N(Errno::kSuccess);

struct StringsRow {
  std::string name;
  std::vector<std::string> strings;
};

class Strings : public testing::TestWithParam<StringsRow> {};

TEST_P(Strings, ArriveAsGiven) {
  const std::vector<std::string>& strings = GetParam().strings;
  Options options;
  options.args = strings;
  for (const std::string& string : strings) {
    options.env.push_back("V=" + string);
  }
  FakeGuest guest(std::move(options));
  for (const bool environment : {false, true}) {
    const std::string prefix = environment ? "V=" : "";
    ASSERT_EQ(guest.Number(environment ? "environ_sizes_get" : "args_sizes_get",
                           {256, 260}),
              kOk);
    EXPECT_EQ(guest.U32(256), strings.size());
    std::string flat;
    for (const std::string& string : strings) {
      flat += prefix + string + std::string(1, '\0');
    }
    EXPECT_EQ(guest.U32(260), flat.size());
    ASSERT_EQ(
        guest.Number(environment ? "environ_get" : "args_get", {1024, 4096}),
        kOk);
    EXPECT_EQ(guest.Bytes(4096, static_cast<uint32_t>(flat.size())), flat);
    uint32_t address = 4096;
    for (uint32_t i = 0; i < strings.size(); ++i) {
      EXPECT_EQ(guest.U32(1024 + 4 * i), address);
      address += static_cast<uint32_t>(prefix.size() + strings[i].size() + 1);
    }
    // One byte short of room: nothing happens.
    const auto short_by_one =
        FakeGuest::kMemoryBytes - static_cast<uint32_t>(flat.size()) + 1;
    if (!flat.empty()) {
      EXPECT_EQ(guest.Number(environment ? "environ_get" : "args_get",
                             {1024, short_by_one}),
                N(Errno::kFault));
      EXPECT_EQ(guest.Number(environment ? "environ_get" : "args_get",
                             {1024, short_by_one - 1}),
                kOk);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(
    Rows, Strings,
    testing::ValuesIn(std::vector<StringsRow>({
        {"none", {}},
        {"one", {"program"}},
        {"with_empty", {"program", "", "x"}},
        {"with_bytes", {"a b\n", "\xff\xfe", "=", std::string(3000, 'y')}},
    })),
    [](const auto& row) { return row.param.name; });

TEST(ClockFunctionsTest, TellTheTime) {
  Options options;
  options.clock_resolution = absl::Microseconds(1);
  FakeGuest guest(std::move(options));
  guest.caller.now += absl::Nanoseconds(1'700);
  ASSERT_EQ(guest.Number("clock_time_get", {clockid::kRealtime, 0, 256}), kOk);
  EXPECT_EQ(guest.U64(256), 1'000'000'000'000'001'000u);
  ASSERT_EQ(guest.Number("clock_time_get", {clockid::kMonotonic, 0, 256}), kOk);
  EXPECT_EQ(guest.U64(256), 1'000u);
  ASSERT_EQ(guest.Number("clock_res_get", {clockid::kMonotonic, 256}), kOk);
  EXPECT_EQ(guest.U64(256), 1'000u);
  for (const uint32_t id : {2u, 3u, 4u}) {
    EXPECT_EQ(guest.Number("clock_time_get", {id, 0, 256}), N(Errno::kInval));
    EXPECT_EQ(guest.Number("clock_res_get", {id, 256}), N(Errno::kInval));
  }
}

TEST(RandomTest, FillsExactlyWhatWasAsked) {
  FakeGuest guest({});
  for (const uint32_t length : {0u, 1u, 31u, 70'000u}) {
    std::fill(guest.caller.memory.begin(), guest.caller.memory.end(),
              uint8_t{0});
    ASSERT_EQ(guest.Number("random_get", {1000, length}), kOk);
    EXPECT_EQ(guest.caller.memory[999], 0);
    EXPECT_EQ(guest.caller.memory[1000 + length], 0);
    if (length >= 31) {
      // All zero once in 2^248 times.
      const std::string bytes = guest.Bytes(1000, length);
      EXPECT_NE(bytes, std::string(length, '\0'));
      EXPECT_NE(bytes.substr(length - 31), std::string(31, '\0'));
    }
  }
}

TEST(RandomTest, CanBeInterrupted) {
  FakeGuest guest({});
  guest.caller.memory.resize(4 << 20);
  guest.caller.times_read.resize(4 << 20);
  EXPECT_EQ(guest.Number("random_get", {0, 4 << 20}), kOk);
  guest.caller.interrupt = true;
  EXPECT_NE(guest.Call("random_get", {0, 4 << 20}).error, nullptr);
}

TEST(ExitTest, IsAGuestExit) {
  FakeGuest guest({});
  for (const uint32_t code : {0u, 1u, 134u, ~0u}) {
    const Answer answer = guest.Call("proc_exit", {code});
    const auto* exit = dynamic_cast<const GuestExit*>(answer.error.get());
    ASSERT_NE(exit, nullptr);
    EXPECT_EQ(exit->code(), code);
  }
}

struct SignalRow {
  uint32_t signal;
  uint32_t number;
  // Or the code of an exit.
  uint32_t exit_code;
};

TEST(RaiseTest, DoesWhatTheSignalDoesByDefault) {
  const SignalRow rows[] = {
      {0, kOk, 0},
      {6, 0, 134},
      {9, 0, 137},
      {15, 0, 143},
      {30, 0, 158},
      {16, kOk, 0},
      {17, kOk, 0},
      {22, kOk, 0},
      {27, kOk, 0},
      {18, N(Errno::kNotSup), 0},
      {21, N(Errno::kNotSup), 0},
      {31, N(Errno::kInval), 0},
      {~0u, N(Errno::kInval), 0},
  };
  FakeGuest guest({});
  for (const SignalRow& row : rows) {
    const Answer answer = guest.Call("proc_raise", {row.signal});
    const auto* exit = dynamic_cast<const GuestExit*>(answer.error.get());
    EXPECT_EQ(exit != nullptr, row.exit_code != 0) << row.signal;
    if (exit != nullptr) {
      EXPECT_EQ(exit->code(), row.exit_code);
    } else {
      EXPECT_EQ(answer.number, row.number) << row.signal;
    }
  }
}

TEST(YieldTest, ComesBack) {
  FakeGuest guest({});
  EXPECT_EQ(guest.Number("sched_yield", {}), kOk);
}

}  // namespace
}  // namespace wasi
}  // namespace callgate
