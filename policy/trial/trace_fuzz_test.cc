// Drives the fuzz entry over mutated traces, a fixed number of times with a
// fixed seed: what libFuzzer does without end where there is one.

#include "policy/trial/trace_fuzz.h"

#include <algorithm>
#include <random>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "policy/trial/trace_writer.h"

namespace callgate::policy::trial {
namespace {

constexpr int kMutations = 3'000;

// A call of each kind of argument that a rule might read.
std::string Seed() {
  std::string bytes;
  TraceWriter writer(&bytes);
  TraceRecord record;
  record.kind = TraceRecord::Kind::kStore;
  record.facts = {"s", "t", "sha256:00", "m"};
  record.policies = {"nosy@1"};
  EXPECT_TRUE(writer.Write(record).ok());

  record = {};
  record.kind = TraceRecord::Kind::kFunction;
  record.module = "net";
  record.name = "send";
  record.type.params = {ValType::kI32, ValType::kI32};
  record.type.results = {ValType::kI32};
  EXPECT_TRUE(writer.Write(record).ok());

  record = {};
  record.kind = TraceRecord::Kind::kFunction;
  record.binding = 1;
  record.module = "fs";
  record.name = "open";
  record.type.params.assign(6, ValType::kI32);
  record.type.params.push_back(ValType::kI64);
  record.type.results = {ValType::kI32};
  HostFunctionSpec spec;
  spec.errno_result = true;
  const auto add = [&spec](const char* name, uint32_t index, ArgKind kind,
                           uint32_t len, uint32_t dir) {
    ArgSpec arg;
    arg.name = name;
    arg.index = index;
    arg.kind = kind;
    arg.len_index = len;
    arg.dir_index = dir;
    spec.args.push_back(arg);
  };
  add("fd", 0, ArgKind::kHandle, kNoIndex, kNoIndex);
  add("path", 1, ArgKind::kPath, 2, 0);
  add("data", 3, ArgKind::kIovecIn, 4, kNoIndex);
  add("flags", 6, ArgKind::kU64, kNoIndex, kNoIndex);
  record.spec = spec;
  EXPECT_TRUE(writer.Write(record).ok());

  record = {};
  record.kind = TraceRecord::Kind::kBeginCall;
  record.depth = 1;
  EXPECT_TRUE(writer.Write(record).ok());
  for (int i = 0; i < 3; ++i) {
    record = {};
    record.kind = TraceRecord::Kind::kEnterHost;
    record.call.binding = 1;
    record.call.caller_name = "main";
    record.call.args = {RawValue::I32(3),  RawValue::I32(64), RawValue::I32(3),
                        RawValue::I32(80), RawValue::I32(1),  RawValue::I32(0),
                        RawValue::I64(9)};
    record.call.memory.Reset(65536);
    record.call.memory.Add(64, "a/b");
    record.call.memory.Add(80, std::string("\x60\0\0\0\x05\0\0\0", 8));
    record.call.memory.Add(96, "hello", i == 1);
    record.call.paths = {{3, "/"}};
    EXPECT_TRUE(writer.Write(record).ok());
    record = {};
    record.kind = TraceRecord::Kind::kLeaveHost;
    record.binding = 1;
    record.ending = Ending::kValue;
    record.results = {RawValue::I32(0)};
    EXPECT_TRUE(writer.Write(record).ok());
  }
  record = {};
  record.kind = TraceRecord::Kind::kGrowth;
  record.growth.desired = 65536;
  EXPECT_TRUE(writer.Write(record).ok());
  record = {};
  record.kind = TraceRecord::Kind::kProbe;
  record.names = {"parse", "exported"};
  record.func_index = 12;
  record.type.params = {ValType::kI32};
  EXPECT_TRUE(writer.Write(record).ok());
  record = {};
  record.kind = TraceRecord::Kind::kEnterFunction;
  record.entry.args = {RawValue::I32(3)};
  record.entry.caller_name = "main";
  EXPECT_TRUE(writer.Write(record).ok());
  record = {};
  record.kind = TraceRecord::Kind::kPolicies;
  record.policies = {"nosy@2"};
  EXPECT_TRUE(writer.Write(record).ok());
  record = {};
  record.kind = TraceRecord::Kind::kEndCall;
  record.depth = 1;
  record.trap = TrapCode::kOutOfFuel;
  EXPECT_TRUE(writer.Write(record).ok());
  record = {};
  record.kind = TraceRecord::Kind::kStoreGone;
  EXPECT_TRUE(writer.Write(record).ok());
  return bytes;
}

void Feed(const std::string& input) {
  // SAFETY: characters may be looked at as bytes.
  LLVMFuzzerTestOneInput(reinterpret_cast<const uint8_t*>(input.data()),
                         input.size());
}

TEST(TraceFuzzTest, AnyBytesGiveRecordsOrAnError) {
  const std::string seed = Seed();
  Feed("");
  Feed("\x01");
  Feed("\x01" + seed);
  std::mt19937 random(20260726);
  const auto below = [&random](size_t n) { return random() % n; };
  for (int i = 0; i < kMutations; ++i) {
    std::string bytes = seed;
    const size_t changes = 1 + below(4);
    for (size_t c = 0; c < changes; ++c) {
      const size_t at = below(bytes.size());
      switch (below(5)) {
        case 0:
          bytes[at] = static_cast<char>(random());
          break;
        case 1:
          bytes[at] = static_cast<char>(bytes[at] ^ (1 << below(8)));
          break;
        case 2:
          bytes[at] = static_cast<char>(below(2) == 0 ? 0x7f : 0xff);
          break;
        case 3:  // a whole piece once more, elsewhere
          bytes.insert(at, bytes.substr(below(bytes.size()), below(40)));
          break;
        case 4:
          bytes.erase(at, below(8));
          break;
      }
      if (bytes.empty()) bytes = seed;
    }
    // Mostly with checksums made good.
    Feed(std::string(1, static_cast<char>(below(8) != 0)) + bytes);
  }
}

}  // namespace
}  // namespace callgate::policy::trial
