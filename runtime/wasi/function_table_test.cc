#include "runtime/wasi/function_table.h"

#include <algorithm>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "runtime/wasi/fake_guest.h"

namespace callgate {
namespace wasi {
namespace {

std::string NameOf(const testing::TestParamInfo<std::string>& info) {
  return info.param;
}

std::vector<std::string> Names() {
  std::vector<std::string> names;
  for (const FunctionInfo& info : AllFunctions()) names.push_back(info.name);
  return names;
}

TEST(FunctionTableTest, HasEveryFunctionOfTheStandardOnce) {
  EXPECT_EQ(AllFunctions().size(), 46u);
  EXPECT_EQ(FunctionBodies().size(), AllFunctions().size());
  const std::vector<std::string> names = Names();
  EXPECT_TRUE(std::is_sorted(names.begin(), names.end()));
  EXPECT_EQ(std::set<std::string>(names.begin(), names.end()).size(),
            names.size());
  const std::set<FunctionBody> bodies(FunctionBodies().begin(),
                                      FunctionBodies().end());
  EXPECT_EQ(bodies.size(), names.size());
}

TEST(FunctionTableTest, FindsByExactName) {
  ASSERT_NE(FindFunction("path_open"), nullptr);
  EXPECT_EQ(FindFunction("path_open")->name, "path_open");
  for (const char* name : {"", "path", "path_open2", "zzz", "PATH_OPEN"}) {
    EXPECT_EQ(FindFunction(name), nullptr) << name;
  }
}

struct TypeRow {
  const char* name;
  const char* type;
};

TEST(FunctionTableTest, HasTheTypesThatModulesImport) {
  const TypeRow rows[] = {
      {"args_get", "(i32, i32) -> (i32)"},
      {"clock_time_get", "(i32, i64, i32) -> (i32)"},
      {"fd_advise", "(i32, i64, i64, i32) -> (i32)"},
      {"fd_fdstat_set_rights", "(i32, i64, i64) -> (i32)"},
      {"fd_filestat_set_times", "(i32, i64, i64, i32) -> (i32)"},
      {"fd_pread", "(i32, i32, i32, i64, i32) -> (i32)"},
      {"fd_readdir", "(i32, i32, i32, i64, i32) -> (i32)"},
      {"fd_seek", "(i32, i64, i32, i32) -> (i32)"},
      {"fd_write", "(i32, i32, i32, i32) -> (i32)"},
      {"path_filestat_set_times",
       "(i32, i32, i32, i32, i64, i64, i32) -> (i32)"},
      {"path_link", "(i32, i32, i32, i32, i32, i32, i32) -> (i32)"},
      {"path_open", "(i32, i32, i32, i32, i32, i64, i64, i32, i32) -> (i32)"},
      {"path_symlink", "(i32, i32, i32, i32, i32) -> (i32)"},
      {"poll_oneoff", "(i32, i32, i32, i32) -> (i32)"},
      {"proc_exit", "(i32) -> ()"},
      {"sched_yield", "() -> (i32)"},
      {"sock_accept", "(i32, i32, i32) -> (i32)"},
      {"sock_recv", "(i32, i32, i32, i32, i32, i32) -> (i32)"},
  };
  for (const TypeRow& row : rows) {
    EXPECT_EQ(FindFunction(row.name)->type.ToString(), row.type) << row.name;
  }
}

class EverySpec : public testing::TestWithParam<std::string> {};

TEST_P(EverySpec, FitsItsType) {
  const FunctionInfo& info = *FindFunction(GetParam());
  EXPECT_EQ(info.spec.errno_result, info.name != "proc_exit");
  ASSERT_EQ(info.spec.args.size(), info.type.params.size());
  std::set<std::string> names;
  for (uint32_t i = 0; i < info.spec.args.size(); ++i) {
    const ArgSpec& arg = info.spec.args[i];
    EXPECT_EQ(arg.index, i);
    EXPECT_TRUE(names.insert(arg.name).second) << arg.name;
    if (arg.len_index != kNoIndex) {
      ASSERT_LT(arg.len_index, info.spec.args.size()) << arg.name;
      EXPECT_EQ(info.spec.args[arg.len_index].kind, ArgKind::kU32);
    }
    if (arg.kind == ArgKind::kPath) {
      ASSERT_LT(arg.dir_index, info.spec.args.size()) << arg.name;
      EXPECT_EQ(info.spec.args[arg.dir_index].kind, ArgKind::kHandle);
      EXPECT_EQ(arg.max_bytes, 4095u);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Functions, EverySpec, testing::ValuesIn(Names()),
                         NameOf);

// Every address and every length of every function, at the edges of memory and
// of numbers. Run under AddressSanitizer this is where an unchecked one shows.
class EdgeValues : public testing::TestWithParam<std::string> {
 protected:
  EdgeValues() {
    dir_.MakeFile("file", "some bytes");
    dir_.MakeDir("dir");
    dir_.MakeLink("link", "file");
  }

  Options MakeOptions() const {
    Options options;
    options.args = {"program", "argument"};
    options.env = {"NAME=value"};
    options.stdin_bytes = "input";
    options.preopens = {{dir_.path(), "/"}};
    return options;
  }

  static bool IsAddress(ArgKind kind) {
    switch (kind) {
      case ArgKind::kBytes:
      case ArgKind::kString:
      case ArgKind::kPath:
      case ArgKind::kIovecIn:
      case ArgKind::kIovecOut:
      case ArgKind::kBytesOut:
      case ArgKind::kPointer:
      case ArgKind::kSockaddr:
      case ArgKind::kAddrsOut:
        return true;
      default:
        return false;
    }
  }

  static bool IsLength(const HostFunctionSpec& spec, uint32_t index) {
    if (spec.args[index].name == "nsubscriptions") return true;
    for (const ArgSpec& arg : spec.args) {
      if (arg.len_index == index) return true;
    }
    return false;
  }

  static constexpr uint32_t kEnd = 8192;
  static constexpr uint32_t kMiddle = kEnd / 2;
  static constexpr uint32_t kTarget = kEnd / 4;

  // Memory full of ranges that are inside of it and of small numbers.
  static std::vector<uint8_t> MakeMemory() {
    std::vector<uint8_t> memory(kEnd);
    for (size_t at = 0; at < kEnd; at += 8) {
      memory[at + 1] = kTarget >> 8;
      memory[at + 4] = 3;
    }
    return memory;
  }

  // A fresh guest: a call may have closed or renamed what the next one needs.
  // Its descriptors 4 and 5 are a file and a directory.
  std::unique_ptr<FakeGuest> MakeGuest() const {
    auto guest = std::make_unique<FakeGuest>(MakeOptions());
    EXPECT_EQ(guest->Open(kFirstPreopen, "file", 0, 0,
                          rights::kFile & ~rights::kFdWrite),
              0u);
    EXPECT_EQ(guest->Open(kFirstPreopen, "dir", 0, oflags::kDirectory,
                          rights::kDirectory),
              0u);
    guest->caller.memory = memory_;
    guest->caller.times_read.assign(kEnd, 0);
    return guest;
  }

  // Arguments that are all harmless.
  static std::vector<uint64_t> MiddleArgs(const HostFunctionSpec& spec,
                                          uint64_t handle) {
    std::vector<uint64_t> args(spec.args.size(), 0);
    for (uint32_t i = 0; i < args.size(); ++i) {
      if (IsAddress(spec.args[i].kind)) args[i] = kMiddle + 64 * i;
      if (spec.args[i].kind == ArgKind::kHandle) args[i] = handle;
      if (IsLength(spec, i)) args[i] = 1;
    }
    return args;
  }

  // Arguments that the function reads guest memory at. A byte may be read once
  // for each, when they overlap, and not twice for one.
  static int Inputs(const HostFunctionSpec& spec) {
    return static_cast<int>(std::count_if(
        spec.args.begin(), spec.args.end(), [](const ArgSpec& arg) {
          return arg.kind == ArgKind::kPath || arg.kind == ArgKind::kString ||
                 arg.kind == ArgKind::kIovecIn ||
                 arg.kind == ArgKind::kIovecOut || arg.name == "in";
        }));
  }

  ScratchDir dir_;
  const std::vector<uint8_t> memory_ = MakeMemory();
};

TEST_P(EdgeValues, GiveAnErrorNumberAndNeverMore) {
  // The first few are enough for combinations.
  constexpr size_t kCombined = 4;
  const std::vector<uint64_t> addresses = {
      kEnd - 1, kEnd,     ~0u,      0,        1,       kEnd - 64,
      kEnd - 8, kEnd - 4, kEnd + 1, 1u << 31, ~0u - 7, ~0u - 1};
  const std::vector<uint64_t> lengths = {
      0, 2, ~0u, kEnd, 1, 1024, 1025, kEnd - 1, kEnd + 1, 1u << 31, ~0u - 1};
  const std::vector<uint64_t> handles = {5, 0, 99, ~0u, 1, 3, 4};
  const std::vector<uint64_t> numbers = {~uint64_t{0}, 1, 0, uint64_t{1} << 63,
                                         255};
  const FunctionInfo& info = *FindFunction(GetParam());
  const size_t count = info.spec.args.size();

  uint64_t calls = 0;
  // Two parameters at a time take their edges, the others stay in the middle.
  const auto call_with = [&](size_t a, uint64_t a_value, size_t b,
                             uint64_t b_value, uint64_t handle) {
    const std::unique_ptr<FakeGuest> guest = MakeGuest();
    guest->caller.bytes_left = 64 << 20;
    std::vector<uint64_t> args = MiddleArgs(info.spec, handle);
    args[a] = a_value;
    args[b] = b_value;
    const Answer answer = guest->Call(GetParam(), args);
    ++calls;
    // Any number at all, but one that exists.
    EXPECT_LE(answer.number, 76u);
    std::vector<uint8_t>& times = guest->caller.times_read;
    // Every iovec of the array names these three, so they are read for each.
    std::fill_n(times.begin() + kTarget, 3, uint8_t{0});
    ASSERT_LE(*std::max_element(times.begin(), times.end()), Inputs(info.spec));
    // An address beyond memory is never a success, unless nothing is there.
    for (size_t i = 0; i < count; ++i) {
      const ArgSpec& arg = info.spec.args[i];
      if (!IsAddress(arg.kind) || args[i] <= kEnd) continue;
      const bool empty = arg.len_index != kNoIndex && args[arg.len_index] == 0;
      if (!empty) {
        EXPECT_NE(answer.number, 0u) << arg.name;
      }
    }
  };

  const auto values = [&](size_t i) {
    if (IsAddress(info.spec.args[i].kind)) return addresses;
    if (IsLength(info.spec, static_cast<uint32_t>(i))) return lengths;
    return info.spec.args[i].kind == ArgKind::kHandle ? handles : numbers;
  };
  for (const uint64_t handle : {1u, 3u, 4u}) {
    for (size_t a = 0; a < count; ++a) {
      for (const uint64_t value : values(a)) {
        call_with(a, value, a, value, handle);
      }
      for (size_t b = a + 1; b < count; ++b) {
        for (size_t i = 0; i < kCombined; ++i) {
          for (size_t j = 0; j < kCombined; ++j) {
            call_with(a, values(a)[i], b, values(b)[j], handle);
            if (HasFatalFailure()) return;
          }
        }
      }
    }
  }
  EXPECT_TRUE(calls > 0 || count == 0);
}

TEST_P(EdgeValues, SpentBudgetEndsTheCall) {
  const FunctionInfo& info = *FindFunction(GetParam());
  for (const uint64_t handle : {0u, 1u, 3u, 4u, 5u}) {
    const std::unique_ptr<FakeGuest> guest = MakeGuest();
    guest->caller.bytes_left = 0;
    const Answer answer =
        guest->Call(GetParam(), MiddleArgs(info.spec, handle));
    if (answer.error == nullptr || GetParam() == "proc_exit") continue;
    const auto* trap = dynamic_cast<const TrapError*>(answer.error.get());
    ASSERT_NE(trap, nullptr) << answer.error->message();
    EXPECT_EQ(trap->code(), TrapCode::kHostBytesExceeded);
  }
  // Two that cannot do without memory.
  if (GetParam() == "random_get" || GetParam() == "clock_time_get") {
    const std::unique_ptr<FakeGuest> guest = MakeGuest();
    guest->caller.bytes_left = 0;
    EXPECT_NE(guest->Call(GetParam(), MiddleArgs(info.spec, 0)).error, nullptr);
  }
}

INSTANTIATE_TEST_SUITE_P(Functions, EdgeValues, testing::ValuesIn(Names()),
                         NameOf);

}  // namespace
}  // namespace wasi
}  // namespace callgate
