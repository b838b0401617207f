// Many Stores of one large module, all alive: what one of them costs beyond the
// memory that its guest has touched, and whether there is room for them in the
// number of mappings that Linux gives a process.
//
// CALLGATE_LIVE_STORES says how many.

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/numbers.h"
#include "gtest/gtest.h"
#include "runtime/linker.h"
#include "runtime/module.h"
#include "runtime/store.h"
#include "tests/fuzz/code_writer.h"
#include "tests/isolation/native_guest.h"

namespace callgate {
namespace {

constexpr uint32_t kFunctions = 400;
constexpr uint32_t kImageBytes = 1 << 20;
constexpr uint32_t kStoresByDefault = 10'000;
// What a guest's call writes to: one page of its memory.
constexpr uint64_t kTouchedBytes = 4096;
constexpr uint64_t kBytesPerStoreMax = 16 << 10;

// Functions that each do a little arithmetic and call the next, and an image
// of a mebibyte.
std::vector<uint8_t> LargeModule() {
  fuzz::CodeWriter module;
  module.Fixed(0x6d736100, 4);
  module.Fixed(1, 4);
  fuzz::CodeWriter types;
  types.Byte(0x60);
  types.Types({ValType::kI32});
  types.Types({ValType::kI32});
  module.Section(1, 1, types);
  fuzz::CodeWriter functions;
  for (uint32_t i = 0; i < kFunctions; ++i) functions.Unsigned(0);
  module.Section(3, kFunctions, functions);
  fuzz::CodeWriter memory;
  memory.Byte(0);
  memory.Unsigned(kImageBytes / 65536 + 1);
  module.Section(5, 1, memory);
  fuzz::CodeWriter exports;
  exports.Name("run");
  exports.Byte(0);
  exports.Unsigned(0);
  module.Section(7, 1, exports);
  fuzz::CodeWriter code;
  for (uint32_t i = 0; i < kFunctions; ++i) {
    fuzz::CodeWriter body;
    body.Unsigned(0);
    body.Byte(0x20);
    body.Unsigned(0);
    for (uint32_t op = 0; op < 8; ++op) {
      body.Byte(0x41);
      body.Signed(static_cast<int32_t>(i * 31 + op));
      body.Byte(op % 2 == 0 ? 0x6a : 0x73);
    }
    if (i % 10 != 9 && i + 1 < kFunctions) {
      body.Byte(0x10);
      body.Unsigned(i + 1);
    }
    if (i == 0) {
      // One page is written to.
      body.Byte(0x41);
      body.Signed(64);
      body.Byte(0x41);
      body.Signed(64);
      body.Byte(0x28);
      body.Unsigned(2);
      body.Unsigned(0);
      body.Byte(0x41);
      body.Signed(1);
      body.Byte(0x6a);
      body.Byte(0x36);
      body.Unsigned(2);
      body.Unsigned(0);
      body.Byte(0x41);
      body.Signed(64);
      body.Byte(0x28);
      body.Unsigned(2);
      body.Unsigned(0);
      body.Byte(0x6a);
    }
    body.Byte(0x0b);
    code.Sized(body);
  }
  module.Section(10, kFunctions, code);
  fuzz::CodeWriter data;
  data.Byte(0);
  data.Byte(0x41);
  data.Signed(0);
  data.Byte(0x0b);
  data.Unsigned(kImageBytes);
  for (uint32_t i = 0; i < kImageBytes; ++i) data.Byte(i * 7 % 251 + 1);
  module.Section(11, 1, data);
  return module.bytes();
}

// Resident memory by its kind: "RssAnon" is the process's own, "RssShmem" are
// pages of the image that all instances share.
uint64_t ResidentBytes(const std::string& kind) {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (line.rfind(kind + ":", 0) != 0) continue;
    return std::strtoull(line.c_str() + kind.size() + 1, nullptr, 10) << 10;
  }
  return 0;
}

uint64_t Mappings() {
  std::ifstream maps("/proc/self/maps");
  uint64_t count = 0;
  for (std::string line; std::getline(maps, line);) ++count;
  return count;
}

uint32_t StoresAskedFor() {
  const char* const text = std::getenv("CALLGATE_LIVE_STORES");
  uint32_t stores = kStoresByDefault;
  if (text != nullptr && !absl::SimpleAtoi(text, &stores)) return 0;
  return stores;
}

TEST(LiveStoresTest, CostLittleBeyondTheirMemory) {
  const uint32_t count = StoresAskedFor();
  ASSERT_GT(count, 0u);
  const std::unique_ptr<Engine> engine =
      NewGuestEngine(native::Level::kBaseline, Checks::kAll);
  const std::vector<uint8_t> bytes = LargeModule();
  ASSERT_GE(bytes.size(), size_t{1} << 20);
  const auto module = Module::Compile(*engine, bytes);
  ASSERT_TRUE(module.ok()) << module.status();

  struct Live {
    std::unique_ptr<Store> store;
    std::unique_ptr<Instance> instance;
  };
  std::vector<Live> stores;
  stores.reserve(count);
  uint32_t first = 0;
  uint64_t own = 0;
  uint64_t shared = 0;
  uint64_t mappings = 0;
  const auto run = [](const Live& live) -> uint32_t {
    const auto func = live.instance->GetFunc("run");
    EXPECT_TRUE(func.ok());
    const Value arg = Value::I32(uint32_t{3});
    const auto called = func->Call({&arg, 1});
    EXPECT_TRUE(called.ok() && called->returned());
    return called.ok() && called->returned() ? called->values[0].u32() : 0;
  };
  for (uint32_t i = 0; i < count; ++i) {
    Live& live = stores.emplace_back();
    live.store = std::make_unique<Store>(*engine, Limits());
    const auto made = Linker().Instantiate(*live.store, *module, "guest");
    ASSERT_TRUE(made.ok()) << i << ": " << made.status();
    ASSERT_TRUE(made->instance.has_value());
    live.instance = std::make_unique<Instance>(*made->instance);
    const uint32_t result = run(live);
    if (i == 0) {
      // What all of them share is there now.
      first = result;
      own = ResidentBytes("RssAnon");
      shared = ResidentBytes("RssShmem");
      mappings = Mappings();
    }
    ASSERT_EQ(result, first) << i;
  }
  const uint64_t others = std::max(count - 1, 1u);
  const uint64_t each = (ResidentBytes("RssAnon") - own) / others;
  const uint64_t beyond = each > kTouchedBytes ? each - kTouchedBytes : 0;
  std::printf(
      "%u Stores: %llu bytes resident each beyond the page that is written "
      "to; %llu more that show pages of the image which all of them share; "
      "%.2f mappings each\n",
      count, static_cast<unsigned long long>(beyond),
      static_cast<unsigned long long>((ResidentBytes("RssShmem") - shared) /
                                      others),
      static_cast<double>(Mappings() - mappings) / static_cast<double>(others));
  EXPECT_GT(own, 0u);
  EXPECT_LE(beyond, kBytesPerStoreMax);
  // Each has its memory for itself.
  EXPECT_EQ(run(stores.back()), first + 1);
  EXPECT_EQ(run(stores.front()), first + 1);
}

}  // namespace
}  // namespace callgate
