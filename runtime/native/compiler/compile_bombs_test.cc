// Modules that are small and dear to compile, through the real compiler with
// the memory that the daemon gives it: each is done in time, if need be with
// its function at the baseline.
//
// The time is the processors', since a machine that builds at the same time is
// slow by the clock.

#include <sys/resource.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <functional>
#include <iostream>
#include <memory>
#include <string>
#include <thread>
#include <tuple>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "runtime/admission/scan.h"
#include "runtime/native/compiled_module.pb.h"
#include "runtime/native/worker/compile_service.h"
#include "runtime/native/worker/limits.h"

namespace callgate::native {
namespace {

using std::chrono::duration_cast;
using std::chrono::milliseconds;
using std::chrono::steady_clock;

std::string Uleb(uint64_t value) {
  std::string text;
  do {
    const auto low = static_cast<char>(value & 0x7f);
    value >>= 7;
    text += static_cast<char>(low | (value != 0 ? 0x80 : 0));
  } while (value != 0);
  return text;
}

std::string Section(char id, const std::string& contents) {
  return absl::StrCat(std::string(1, id), Uleb(contents.size()), contents);
}

// The operators.
const std::string kEnd = "\x0b";
const std::string kAdd = "\x6a";
const std::string kMul = "\x6c";
const std::string kXor = "\x73";
std::string Get(uint64_t local) { return "\x20" + Uleb(local); }
std::string Set(uint64_t local) { return "\x21" + Uleb(local); }
// Of less than 64, or it would be negative.
std::string Const(uint64_t value) { return "\x41" + Uleb(value % 64); }

// A module with a memory, and functions (i32) -> i32 of these bodies, each with
// so many i32 locals.
std::string ModuleOf(const std::vector<std::string>& bodies,
                     uint64_t locals = 0) {
  std::string functions = Uleb(bodies.size());
  std::string code = Uleb(bodies.size());
  for (const std::string& body : bodies) {
    functions += '\0';
    std::string function =
        locals == 0 ? std::string(1, '\0') : "\1" + Uleb(locals) + "\x7f";
    function += body + kEnd;
    code += Uleb(function.size()) + function;
  }
  return absl::StrCat(
      absl::string_view("\0asm\1\0\0\0", 8), Section(1, "\1\x60\1\x7f\1\x7f"),
      Section(3, functions), Section(5, std::string("\1\0\1", 3)),
      Section(7, std::string("\1\1f\0\0", 5)), Section(10, code));
}

// `operators` of them in a row, each of which needs the one before.
std::string StraightLine(uint64_t operators) {
  std::string body = Get(0);
  for (uint64_t i = 0; i + 3 < operators; i += 4) {
    body += Const(i + 1) + kMul + Get(0) + kXor;
  }
  return body;
}

// Terms that are all on the operand stack before the first is added.
std::string DeepStack(uint64_t terms) {
  std::string body;
  for (uint64_t i = 0; i < terms; ++i) body += Get(0) + Const(i) + kXor;
  for (uint64_t i = 1; i < terms; ++i) body += kAdd;
  return body;
}

// Blocks in each other, out of each of which a branch leads to each quarter.
std::string DeepBlocks(uint64_t depth) {
  std::string body;
  for (uint64_t i = 0; i < depth; ++i) {
    body += "\x02\x40";
    for (uint64_t quarter = 0; quarter < 4; ++quarter) {
      body += Get(0) + "\x0d" + Uleb(i * quarter / 4);
    }
  }
  for (uint64_t i = 0; i < depth; ++i) {
    body += Get(0) + Const(i) + kAdd + Set(0) + kEnd;
  }
  return body + Get(0);
}

// Loops in each other, in each of which all locals change.
std::string DeepLoops(uint64_t depth, uint64_t locals) {
  std::string body;
  for (uint64_t i = 0; i < depth; ++i) {
    body += "\x03\x40";
    for (uint64_t local = 0; local <= locals; ++local) {
      body += Get(local) + Get((local + i) % (locals + 1)) + kAdd + Set(local);
    }
  }
  for (uint64_t i = 0; i < depth; ++i) body += Get(0) + "\x0d" + Uleb(0) + kEnd;
  return body + Get(0);
}

// Tables of branches out of blocks in each other, that carry a value.
std::string BranchTables(uint64_t tables, uint64_t targets, uint64_t blocks) {
  std::string body;
  for (uint64_t i = 0; i < blocks; ++i) body += "\x02\x7f";
  for (uint64_t i = 0; i < tables; ++i) {
    // One that is not taken for sure, so that the next is reached.
    body += "\x02\x40" + Get(0) + "\x0d" + Uleb(0) + Get(0) + Get(0) + "\x0e" +
            Uleb(targets);
    for (uint64_t target = 0; target < targets; ++target) {
      body += Uleb(1 + (target * 7 + i) % blocks);
    }
    body += Uleb(1) + kEnd;
  }
  body += Get(0);
  for (uint64_t i = 0; i < blocks; ++i) body += kEnd + Const(i) + kAdd;
  return body;
}

std::string ManyLocals(uint64_t locals) {
  std::string body;
  for (uint64_t i = 1; i <= locals; ++i) {
    body += Get(i - 1) + Const(i) + kAdd + Set(i);
  }
  return body + Get(locals);
}

// Of all processes below this one that have ended.
milliseconds ProcessorTime() {
  rusage usage = {};
  getrusage(RUSAGE_CHILDREN, &usage);
  const auto of = [](const timeval& time) {
    return std::chrono::seconds(time.tv_sec) +
           std::chrono::microseconds(time.tv_usec);
  };
  return duration_cast<milliseconds>(of(usage.ru_utime) + of(usage.ru_stime));
}

struct Row {
  std::string name;
  // A function for each, so that they are not all in memory.
  std::string (*module)();
  // At the optimised level.
  uint32_t not_optimised;
};
void PrintTo(const Row& row, std::ostream* out) { *out << row.name; }

class CompileBombs : public testing::TestWithParam<std::tuple<Row, Level>> {};

TEST_P(CompileBombs, AreDoneInTime) {
  const auto& [row, level] = GetParam();
  const std::string module = row.module();
  const auto bytes = absl::MakeConstSpan(
      reinterpret_cast<const uint8_t*>(module.data()), module.size());
  CompileRequest request;
  request.level = level;

  // They are about what gets this far: such as policies may let in.
  admission::ModuleLimits limits;
  limits.locals_per_function = 50'000;
  const admission::ScanResult scan =
      admission::Scan(bytes, limits, request.features);
  ASSERT_TRUE(scan.admitted()) << scan.refusal->message;

  CompileService::Options options;
  options.worker_path = "runtime/native/compiler/callgate-compile";
  const Order order = MakeOrder(request, module.size(), options.limits);
  const milliseconds allowed = ProcessorTimeOf(order, options.limits);
  for (CompileTime* const time :
       {&options.limits.baseline, &options.limits.optimised}) {
    *time = {time->base * 10, time->per_kibibyte * 10, time->max * 10};
  }
  const milliseconds before = ProcessorTime();
  auto service = CompileService::Start(options);
  ASSERT_TRUE(service.ok()) << service.status();
  const steady_clock::time_point begin = steady_clock::now();
  const absl::StatusOr<std::string> answer =
      (*service)->Compile(request, bytes, Priority::kForeground);
  const auto took = duration_cast<milliseconds>(steady_clock::now() - begin);
  service->reset();  // its processes have ended now
  const milliseconds used = ProcessorTime() - before;
  std::cout << module.size() << " bytes in " << took.count() << " ms, "
            << used.count() << " ms of processors, answer "
            << (answer.ok() ? answer->size() : 0) << " bytes\n";
  ASSERT_TRUE(answer.ok()) << answer.status();
  EXPECT_GT(used.count(), 0);
  EXPECT_LE(used, allowed);
  CompiledModule compiled;
  ASSERT_TRUE(compiled.ParseFromString(*answer));
  EXPECT_EQ(compiled.functions_not_optimised(),
            level == Level::kOptimised ? row.not_optimised : 0u);
}

INSTANTIATE_TEST_SUITE_P(
    Kinds, CompileBombs,
    testing::Combine(
        testing::ValuesIn<Row>({
            {"straight_line", [] { return ModuleOf({StraightLine(160'000)}); },
             1},
            {"straight_line_below_the_bound",
             [] { return ModuleOf({StraightLine(39'000)}); }, 0},
            {"deep_stack", [] { return ModuleOf({DeepStack(20'000)}); }, 1},
            {"deep_stack_below_the_bound",
             [] { return ModuleOf({DeepStack(9'900)}); }, 0},
            {"deep_blocks", [] { return ModuleOf({DeepBlocks(4'095)}); }, 1},
            {"deep_loops", [] { return ModuleOf({DeepLoops(90, 100)}, 100); },
             0},
            {"huge_functions",
             [] {
               return ModuleOf(
                   std::vector<std::string>(4, StraightLine(160'000)));
             },
             4},
            {"largest_branch_table",
             [] { return ModuleOf({BranchTables(1, 8'192, 1'000)}); }, 0},
            {"branch_tables",
             [] { return ModuleOf({BranchTables(20, 8'192, 4'000)}); }, 1},
            {"many_locals",
             [] { return ModuleOf({ManyLocals(50'000)}, 50'000); }, 1},
        }),
        testing::Values(Level::kBaseline, Level::kOptimised)),
    [](const auto& row) {
      return absl::StrCat(std::get<0>(row.param).name,
                          std::get<1>(row.param) == Level::kBaseline
                              ? "_baseline"
                              : "_optimised");
    });

}  // namespace
}  // namespace callgate::native
