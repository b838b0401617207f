#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "policy/trial/trace_reader.h"
#include "policy/trial/trace_writer.h"

namespace callgate::policy::trial {
namespace {

using testing::HasSubstr;
using Kind = TraceRecord::Kind;

TrialClock At(int64_t seconds) {
  return {absl::UnixEpoch() + absl::Seconds(100 + seconds),
          absl::UnixEpoch() + absl::Seconds(1'700'000'000 + seconds)};
}

TraceRecord StoreRecord() {
  TraceRecord record;
  record.kind = Kind::kStore;
  record.at = At(0);
  record.facts = {"s1", "acme", "sha256:aa", "mod\xff"};
  record.policies = {"web@1", "base@2"};
  record.module_labels = {{"class", "connector"}};
  record.calls_before = 77;
  return record;
}

TraceRecord FunctionRecord() {
  TraceRecord record;
  record.kind = Kind::kFunction;
  record.at = At(1);
  record.module = "net";
  record.name = "send";
  record.type.params = {ValType::kI32, ValType::kI64, ValType::kV128,
                        ValType::kI32, ValType::kF64};
  record.type.results = {ValType::kI32};
  HostFunctionSpec spec;
  spec.errno_result = true;
  ArgSpec arg;
  arg.name = "data";
  arg.index = 0;
  arg.kind = ArgKind::kBytes;
  arg.len_index = 3;
  arg.max_bytes = 77;
  arg.redact = true;
  spec.args.push_back(arg);
  record.spec = spec;
  return record;
}

TraceRecord EnterRecord() {
  TraceRecord record;
  record.kind = Kind::kEnterHost;
  record.at = At(2);
  V128 vector;
  vector.bytes[15] = 9;
  record.call.args = {RawValue::I32(100), RawValue::I64(~uint64_t{0}),
                      RawValue::Vector(vector), RawValue::I32(5),
                      RawValue::F64(-0.5)};
  record.call.depth = 4;
  record.call.caller_index = 0;
  record.call.caller_name = "main";
  record.call.memory.Reset(65536);
  record.call.memory.Add(100, "hello");
  record.call.memory.Add(200, std::string(3, '\0'), /*hidden=*/true);
  record.call.paths = {{3, "/config"}};
  record.call.gauges = StoreGauges{131072, 500, 44, true};
  record.hides_parameters = true;
  record.decision.verdict = Verdict::kDeny;
  record.decision.would_be = Verdict::kTrap;
  record.decision.policy = "web";
  record.decision.rule = "leak";
  record.decision.guest_errno = 76;
  record.decision.matches = {{"web", "leak", Verdict::kDeny, Mode::kEnforce},
                             {"web", "trial", Verdict::kTrap, Mode::kAudit}};
  return record;
}

TraceRecord LeaveRecord() {
  TraceRecord record;
  record.kind = Kind::kLeaveHost;
  record.at = At(1);  // clocks of several processors may step back
  record.ending = Ending::kAnswered;
  record.results = {RawValue::I32(76)};
  record.gauges = StoreGauges{131073, 0, std::nullopt, false};
  return record;
}

TraceRecord GrowthRecord() {
  TraceRecord record;
  record.kind = Kind::kGrowth;
  record.at = At(3);
  record.growth.kind = GrowthEvent::Kind::kTable;
  record.growth.index = 2;
  record.growth.current = 5;
  record.growth.desired = uint64_t{1} << 40;
  record.growth.allowed = true;
  record.growth.store_bytes = 12;
  record.growth.store_table_elements = 7;
  record.growth.fuel_used = 13;
  return record;
}

TraceRecord EndRecord() {
  TraceRecord record;
  record.kind = Kind::kEndCall;
  record.at = At(4);
  record.depth = 1;
  record.trap = TrapCode::kOutOfFuel;
  record.arming.fuel = PolicyHook::Arming::Fuel::kOther;
  record.arming.cpu_is_budget = false;
  record.arming.stack = Budget::kStackBytes;
  record.decision.delay = absl::Milliseconds(5);
  record.decision.rule = "slow";
  record.decision.policy = "web";
  record.decision.verdict = Verdict::kThrottle;
  record.decision.would_be = Verdict::kThrottle;
  record.decision.matches = {
      {"web", "slow", Verdict::kThrottle, Mode::kEnforce}};
  return record;
}

TraceRecord ProbeRecord() {
  TraceRecord record;
  record.kind = Kind::kProbe;
  record.at = At(3);
  record.module = "m";
  record.names = {"parse", "exported"};
  record.func_index = 9;
  record.type.params = {ValType::kI32, ValType::kFuncRef};
  return record;
}

TraceRecord EntryRecord() {
  TraceRecord record;
  record.kind = Kind::kEnterFunction;
  record.at = At(3);
  record.entry.args = {RawValue::I32(5), RawValue::I64(0x7fff12345678)};
  record.entry.depth = 3;
  record.entry.caller_index = 8;
  record.entry.caller_name = "main";
  record.entry.gauges = StoreGauges{1, 2, std::nullopt, true};
  record.decision.unpaid = true;
  return record;
}

TraceRecord PoliciesRecord() {
  TraceRecord record;
  record.kind = Kind::kPolicies;
  record.at = At(3);
  record.at_once = true;
  record.policies = {"web@2"};
  return record;
}

std::string Written(const std::vector<TraceRecord>& records) {
  std::string bytes;
  TraceWriter writer(&bytes);
  for (const TraceRecord& record : records) {
    EXPECT_TRUE(writer.Write(record).ok());
  }
  return bytes;
}

std::vector<TraceRecord> Sample() {
  TraceRecord begin;
  begin.kind = Kind::kBeginCall;
  begin.at = At(1);
  begin.depth = 1;
  TraceRecord gone;
  gone.kind = Kind::kStoreGone;
  gone.at = At(5);
  return {StoreRecord(), FunctionRecord(), begin,       EnterRecord(),
          LeaveRecord(), GrowthRecord(),   EndRecord(), ProbeRecord(),
          EntryRecord(), PoliciesRecord(), gone};
}

TEST(TraceTest, ReadsBackWhatIsWritten) {
  const std::string bytes = Written(Sample());
  TraceReader reader(bytes);
  std::vector<TraceRecord> read;
  while (true) {
    const auto there = reader.Next(&read.emplace_back());
    ASSERT_TRUE(there.ok()) << there.status();
    if (!*there) break;
  }
  read.pop_back();
  EXPECT_FALSE(reader.cut_off());
  ASSERT_EQ(read.size(), 11u);
  EXPECT_EQ(read[0].facts.module_name, "mod\xff");
  EXPECT_THAT(read[0].policies, testing::ElementsAre("web@1", "base@2"));
  EXPECT_EQ(read[0].at.wall, At(0).wall);
  EXPECT_EQ(read[0].module_labels, StoreRecord().module_labels);
  EXPECT_EQ(read[0].calls_before, 77u);
  EXPECT_EQ(read[1].type, FunctionRecord().type);
  ASSERT_TRUE(read[1].spec.has_value());
  EXPECT_TRUE(read[1].spec->errno_result);
  EXPECT_EQ(read[1].spec->args[0].name, "data");
  EXPECT_EQ(read[1].spec->args[0].len_index, 3u);
  EXPECT_EQ(read[1].spec->args[0].dir_index, kNoIndex);
  EXPECT_EQ(read[1].spec->args[0].max_bytes, 77u);
  EXPECT_TRUE(read[1].spec->args[0].redact);
  EXPECT_EQ(read[2].depth, 1u);
  const TraceRecord wanted = EnterRecord();
  const TraceRecord& enter = read[3];
  EXPECT_EQ(enter.call.args, wanted.call.args);
  EXPECT_EQ(enter.call.caller_index, 0u);
  EXPECT_EQ(enter.call.caller_name, "main");
  EXPECT_EQ(enter.call.depth, 4u);
  EXPECT_EQ(enter.call.paths, wanted.call.paths);
  ASSERT_TRUE(enter.call.gauges.has_value());
  EXPECT_EQ(enter.call.gauges->store_bytes, 131072u);
  EXPECT_EQ(enter.call.gauges->fuel_used, 500u);
  EXPECT_EQ(enter.call.gauges->fuel_left, 44u);
  EXPECT_TRUE(enter.call.gauges->metered);
  EXPECT_FALSE(enter.refused);
  EXPECT_TRUE(enter.hides_parameters);
  EXPECT_TRUE(enter.decision.SaysTheSame(wanted.decision));
  EXPECT_EQ(enter.at.monotonic, At(2).monotonic);
  std::vector<uint8_t> copy;
  EXPECT_EQ(enter.call.memory.Read(100, 5, &copy), SparseMemory::Known::kAll);
  EXPECT_EQ(std::string(copy.begin(), copy.end()), "hello");
  EXPECT_EQ(enter.call.memory.Read(200, 3, &copy),
            SparseMemory::Known::kHidden);
  EXPECT_EQ(enter.call.memory.Read(103, 5, &copy),
            SparseMemory::Known::kNotAll);
  EXPECT_EQ(read[4].ending, Ending::kAnswered);
  EXPECT_EQ(read[4].results[0].u32(), 76u);
  EXPECT_EQ(read[4].at.monotonic, At(1).monotonic);
  EXPECT_EQ(read[4].gauges.store_bytes, 131073u);
  EXPECT_EQ(read[4].gauges.fuel_left, std::nullopt);
  EXPECT_FALSE(read[4].gauges.metered);
  EXPECT_EQ(read[5].growth.fuel_used, 13u);
  EXPECT_EQ(read[5].growth.desired, uint64_t{1} << 40);
  EXPECT_EQ(read[5].growth.kind, GrowthEvent::Kind::kTable);
  EXPECT_EQ(read[5].growth.store_bytes, 12u);
  EXPECT_EQ(read[5].growth.store_table_elements, 7u);
  EXPECT_EQ(read[6].trap, TrapCode::kOutOfFuel);
  EXPECT_TRUE(read[6].decision.SaysTheSame(EndRecord().decision));
  EXPECT_EQ(read[6].arming.fuel, PolicyHook::Arming::Fuel::kOther);
  EXPECT_TRUE(read[6].arming.wall_is_budget);
  EXPECT_FALSE(read[6].arming.cpu_is_budget);
  EXPECT_EQ(read[6].arming.stack, Budget::kStackBytes);
  EXPECT_EQ(read[7].names, ProbeRecord().names);
  EXPECT_EQ(read[7].func_index, 9u);
  EXPECT_EQ(read[7].module, "m");
  EXPECT_EQ(read[7].type, ProbeRecord().type);
  EXPECT_EQ(read[8].entry.args[0].u32(), 5u);
  // No reference leaves the process.
  EXPECT_EQ(read[8].entry.args[1].u64(), 0u);
  EXPECT_EQ(read[8].entry.depth, 3u);
  EXPECT_EQ(read[8].entry.caller_index, 8u);
  EXPECT_EQ(read[8].entry.caller_name, "main");
  EXPECT_EQ(read[8].entry.gauges.fuel_used, 2u);
  EXPECT_TRUE(read[8].decision.unpaid);
  EXPECT_TRUE(read[9].at_once);
  EXPECT_THAT(read[9].policies, testing::ElementsAre("web@2"));
  EXPECT_EQ(read[10].kind, Kind::kStoreGone);
}

TEST(TraceTest, NamesAreWrittenOnce) {
  std::vector<TraceRecord> records = {StoreRecord(), FunctionRecord()};
  for (int i = 0; i < 100; ++i) {
    records.push_back(EnterRecord());
    records.push_back(LeaveRecord());
  }
  const std::string bytes = Written(records);
  EXPECT_EQ(bytes.find("leak"), bytes.rfind("leak"));
  EXPECT_LT(bytes.size(), 100 * 200u);
}

// Wherever a recorder was killed, what is whole is read.
TEST(TraceTest, ATraceMayEndAnywhere) {
  const std::string bytes = Written(Sample());
  size_t most = 0;
  for (size_t size = kTraceMagicBytes; size <= bytes.size(); ++size) {
    TraceReader reader(absl::string_view(bytes).substr(0, size));
    size_t records = 0;
    TraceRecord record;
    while (true) {
      const auto there = reader.Next(&record);
      ASSERT_TRUE(there.ok()) << size << ": " << there.status();
      if (!*there) break;
      ++records;
    }
    EXPECT_GE(records, most);
    most = records;
  }
  EXPECT_EQ(most, 11u);
}

absl::Status StatusOf(absl::string_view bytes) {
  TraceReader reader(bytes);
  TraceRecord record;
  while (true) {
    const auto there = reader.Next(&record);
    if (!there.ok()) return there.status();
    if (!*there) return absl::OkStatus();
  }
}

TEST(TraceTest, EveryChangedByteIsFound) {
  const std::string bytes = Written(Sample());
  size_t found = 0;
  for (size_t at = 0; at < bytes.size(); ++at) {
    std::string changed = bytes;
    changed[at] = static_cast<char>(changed[at] ^ 0x10);
    const absl::Status status = StatusOf(changed);
    // A length that became larger looks like a trace that was cut off.
    found += status.ok() ? 0u : 1u;
  }
  EXPECT_GT(found, bytes.size() * 9 / 10);
}

TEST(TraceTest, OtherFilesAndVersionsAreRefusedByName) {
  EXPECT_EQ(StatusOf("").message(), "this is not a trace");
  EXPECT_EQ(StatusOf("\x7f"
                     "ELF....")
                .message(),
            "this is not a trace");
  EXPECT_THAT(
      std::string(StatusOf("cgtrace\x01").message()),
      HasSubstr("a trace of version 1; version 2 can be read, so record "
                "it anew"));
  EXPECT_THAT(std::string(StatusOf("cgtrace\x03").message()),
              HasSubstr("a trace of version 3; version 2 can be read"));
  EXPECT_TRUE(StatusOf("cgtrace\x02").ok());
}

// Each of these has a good checksum and is wrong inside.
TEST(TraceTest, RecordsThatCannotBeAreRefused) {
  const auto refused = [](std::vector<TraceRecord> records) {
    const absl::Status status = StatusOf(Written(records));
    return status.code() == absl::StatusCode::kDataLoss;
  };
  EXPECT_FALSE(refused({StoreRecord(), FunctionRecord()}));
  // A call that ends without having begun.
  EXPECT_TRUE(refused({StoreRecord(), FunctionRecord(), LeaveRecord()}));
  // Something of a Store that is gone.
  TraceRecord gone;
  gone.kind = Kind::kStoreGone;
  gone.at = At(1);
  EXPECT_TRUE(refused({StoreRecord(), gone, GrowthRecord()}));
  // A function of an index that it has no parameter for.
  TraceRecord function = FunctionRecord();
  function.spec->args[0].index = 5;
  EXPECT_TRUE(refused({StoreRecord(), function}));
  function = FunctionRecord();
  function.spec->args[0].len_index = 5;
  EXPECT_TRUE(refused({StoreRecord(), function}));
  // An errno that is not there.
  function = FunctionRecord();
  function.type.results = {ValType::kI64};
  EXPECT_TRUE(refused({StoreRecord(), function}));
  // A value of a call that trapped.
  TraceRecord leave = LeaveRecord();
  leave.trap = TrapCode::kHostError;
  EXPECT_TRUE(refused({StoreRecord(), FunctionRecord(), EnterRecord(), leave}));
  // A time before time.
  TraceRecord store = StoreRecord();
  store.at.wall = absl::UnixEpoch() - absl::Seconds(1);
  EXPECT_TRUE(refused({store}));
  // More than a tank holds.
  TraceRecord rich = EnterRecord();
  rich.call.gauges->fuel_used = Fuel::kTankMax + 1;
  EXPECT_TRUE(refused({StoreRecord(), FunctionRecord(), rich}));
  // A leave of what was refused.
  TraceRecord stopped = EnterRecord();
  stopped.refused = true;
  EXPECT_TRUE(
      refused({StoreRecord(), FunctionRecord(), stopped, LeaveRecord()}));
  // A memory that shrinks.
  TraceRecord growth = GrowthRecord();
  growth.growth.desired = 1;
  EXPECT_TRUE(refused({StoreRecord(), growth}));
}

TEST(TraceTest, AWriterStopsBeforeWhatNoReaderTakes) {
  std::string bytes;
  TraceWriter writer(&bytes);
  ASSERT_TRUE(writer.Write(StoreRecord()).ok());
  ASSERT_TRUE(writer.Write(FunctionRecord()).ok());
  TraceRecord call = EnterRecord();
  call.call.memory.Reset(8 << 20);
  call.call.memory.Add(0, std::string(kTraceRangeBytesMax + 1, 'x'));
  const size_t before = bytes.size();
  EXPECT_EQ(writer.Write(call).code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(bytes.size(), before);
  EXPECT_EQ(writer.Write(EnterRecord()).code(),
            absl::StatusCode::kResourceExhausted);
  EXPECT_TRUE(StatusOf(bytes).ok());
  // One byte less is taken by both.
  std::string more;
  TraceWriter other(&more);
  ASSERT_TRUE(other.Write(StoreRecord()).ok());
  ASSERT_TRUE(other.Write(FunctionRecord()).ok());
  call.call.memory.Reset(8 << 20);
  call.call.memory.Add(0, std::string(kTraceRangeBytesMax, 'x'));
  EXPECT_TRUE(other.Write(call).ok());
  EXPECT_TRUE(StatusOf(more).ok());
}

}  // namespace
}  // namespace callgate::policy::trial
