// Many threads whose guests trap all the time, in every way there is, each with
// its code and its backtrace: also where no check is left and every stack and
// memory trap is a signal.
//
// CALLGATE_STORM_SECONDS says for how long; a few seconds by default.

#include <atomic>
#include <chrono>
#include <cstdlib>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/numbers.h"
#include "gtest/gtest.h"
#include "runtime/linker.h"
#include "runtime/module.h"
#include "runtime/store.h"
#include "tests/isolation/native_guest.h"
#include "tests/support/wat.h"

namespace callgate {
namespace {

constexpr int kThreads = 16;
constexpr int kRoundsAtLeast = 20;

struct Row {
  const char* name;
  TrapCode code;
  // Function indices of the backtrace, newest first; of the stack's end the
  // first of many.
  std::vector<uint32_t> frames;
};

// Every export calls down through function 0's own helper, so that a backtrace
// has two frames at least.
constexpr char kGuest[] = R"((module
  (memory 1 1)
  (table 4 funcref)
  (elem (i32.const 0) $nothing)
  (type $number (func (result i32)))
  (type $void (func))
  (func $nothing)
  (func $stop unreachable)
  (func $read (param i32) (result i32) (i32.load offset=8 (local.get 0)))
  (func $divide (param i32 i32) (result i32)
    (i32.div_s (local.get 0) (local.get 1)))
  (func $convert (param f64) (result i32) (i32.trunc_f64_s (local.get 0)))
  (func $indirect (param i32) (drop (call_indirect (type $number) (local.get 0))))
  (func $deep (param i32) (result i32)
    (i32.add (call $deep (i32.add (local.get 0) (i32.const 1))) (i32.const 1)))
  (func $wide (param i32) (result i64)
    (local i64 i64 i64 i64 i64 i64 i64 i64)
    (local.set 1 (i64.extend_i32_u (local.get 0)))
    (local.set 2 (call $wide (i32.add (local.get 0) (i32.const 1))))
    (i64.add (local.get 1) (local.get 2)))
  (func (export "unreachable") (call $stop))
  (func (export "memory") (drop (call $read (i32.const 65536))))
  (func (export "memory_far") (drop (call $read (i32.const -1))))
  (func (export "zero") (drop (call $divide (i32.const 1) (i32.const 0))))
  (func (export "overflow")
    (drop (call $divide (i32.const 0x80000000) (i32.const -1))))
  (func (export "conversion") (drop (call $convert (f64.const nan))))
  (func (export "undefined") (call $indirect (i32.const 9)))
  (func (export "uninitialized") (call $indirect (i32.const 2)))
  (func (export "mismatch") (call $indirect (i32.const 0)))
  (func (export "deep") (drop (call $deep (i32.const 0))))
  (func (export "wide") (drop (call $wide (i32.const 0))))))";

const std::vector<Row>& Rows() {
  static const auto* const rows = new std::vector<Row>{
      {"unreachable", TrapCode::kUnreachable, {1, 8}},
      {"memory", TrapCode::kMemoryOutOfBounds, {2, 9}},
      {"memory_far", TrapCode::kMemoryOutOfBounds, {2, 10}},
      {"zero", TrapCode::kIntegerDivideByZero, {3, 11}},
      {"overflow", TrapCode::kIntegerOverflow, {3, 12}},
      {"conversion", TrapCode::kInvalidConversionToInteger, {4, 13}},
      {"undefined", TrapCode::kUndefinedElement, {5, 14}},
      {"uninitialized", TrapCode::kUninitializedElement, {5, 15}},
      {"mismatch", TrapCode::kIndirectCallTypeMismatch, {5, 16}},
      {"deep", TrapCode::kCallStackExhausted,
       std::vector<uint32_t>(kBacktraceFramesMax, 6)},
      {"wide", TrapCode::kCallStackExhausted,
       std::vector<uint32_t>(kBacktraceFramesMax, 7)},
  };
  return *rows;
}

struct Variant {
  const char* name;
  native::Level level;
  Checks checks;
};

class TrapStormTest : public testing::TestWithParam<Variant> {};

std::chrono::milliseconds Duration() {
  const char* const text = std::getenv("CALLGATE_STORM_SECONDS");
  uint32_t seconds = 0;
  if (text != nullptr && absl::SimpleAtoi(text, &seconds)) {
    return std::chrono::seconds(seconds);
  }
  return std::chrono::milliseconds(1'500);
}

TEST_P(TrapStormTest, EveryTrapIsItsOwn) {
  const std::unique_ptr<Engine> engine =
      NewGuestEngine(GetParam().level, GetParam().checks);
  const auto bytes = AssembleWat(kGuest);
  ASSERT_TRUE(bytes.ok()) << bytes.status();
  const auto module = Module::Compile(*engine, *bytes);
  ASSERT_TRUE(module.ok()) << module.status();

  const auto end = std::chrono::steady_clock::now() + Duration();
  std::atomic<uint64_t> traps{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      Limits limits;
      limits.stack_bytes = 256 << 10;
      Store store(*engine, limits);
      const auto made = Linker().Instantiate(store, *module, "guest");
      ASSERT_TRUE(made.ok()) << made.status();
      const size_t count = Rows().size();
      for (int round = 0;
           round < kRoundsAtLeast || std::chrono::steady_clock::now() < end;
           ++round) {
        // Not the same trap on every thread.
        const Row& row =
            Rows()[(static_cast<size_t>(round) + static_cast<size_t>(t)) %
                   count];
        const auto func = made->instance->GetFunc(row.name);
        ASSERT_TRUE(func.ok()) << func.status();
        const auto called = func->Call({});
        ASSERT_TRUE(called.ok()) << called.status();
        ASSERT_TRUE(called->trap.has_value()) << row.name;
        ASSERT_EQ(called->trap->code(), row.code) << row.name;
        std::vector<uint32_t> frames;
        for (const Frame& frame : called->trap->backtrace()) {
          frames.push_back(frame.func_index);
        }
        ASSERT_EQ(frames, row.frames) << row.name;
        ++traps;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_GE(traps.load(), uint64_t{kThreads} * kRoundsAtLeast);
  RecordProperty("traps", std::to_string(traps.load()));
}

INSTANTIATE_TEST_SUITE_P(
    Levels, TrapStormTest,
    testing::Values(
        Variant{"baseline", native::Level::kBaseline, Checks::kAll},
        Variant{"optimised", native::Level::kOptimised, Checks::kAll},
        Variant{"baseline_signals", native::Level::kBaseline, Checks::kNone},
        Variant{"optimised_signals", native::Level::kOptimised, Checks::kNone}),
    [](const auto& variant) { return variant.param.name; });

}  // namespace
}  // namespace callgate
