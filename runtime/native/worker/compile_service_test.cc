#include "runtime/native/worker/compile_service.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <fstream>
#include <functional>
#include <future>
#include <iterator>
#include <memory>
#include <ostream>
#include <sstream>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "runtime/native/worker/confine.h"
#include "runtime/native/worker/protocol.h"

namespace callgate::native {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using std::chrono::steady_clock;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;
using Stats = CompileService::Stats;

constexpr char kProgram[] = "runtime/native/worker/worker_test_program";
constexpr absl::StatusCode kOk = absl::StatusCode::kOk;
constexpr absl::StatusCode kInvalid = absl::StatusCode::kInvalidArgument;
constexpr absl::StatusCode kUnavailable = absl::StatusCode::kUnavailable;

CompileService::Options SomeOptions() {
  CompileService::Options options;
  options.worker_path = kProgram;
  options.workers = 2;
  options.limits.memory_bytes = 256 << 20;
  return options;
}

CompileService::Options ShortTime() {
  CompileService::Options options = SomeOptions();
  options.limits.baseline = {milliseconds(200), milliseconds(0),
                             milliseconds(200)};
  return options;
}

std::unique_ptr<CompileService> StartOrDie(CompileService::Options options) {
  absl::StatusOr<std::unique_ptr<CompileService>> service =
      CompileService::Start(std::move(options));
  if (!service.ok()) {
    ADD_FAILURE() << service.status();
    std::abort();
  }
  return *std::move(service);
}

absl::StatusOr<std::string> Compile(CompileService& service,
                                    absl::string_view module,
                                    const CompileRequest& request = {},
                                    Priority priority = Priority::kForeground,
                                    absl::string_view account = "") {
  return service.Compile(
      request,
      absl::MakeConstSpan(reinterpret_cast<const uint8_t*>(module.data()),
                          module.size()),
      priority, account);
}

absl::StatusOr<std::string> CompileFor(absl::string_view account,
                                       CompileService& service,
                                       absl::string_view module) {
  return Compile(service, module, {}, Priority::kForeground, account);
}

// Until it is so; the test's own time limit bounds it.
void Await(const std::function<bool()>& so) {
  while (!so()) std::this_thread::yield();
}

std::string TextOf(const absl::StatusOr<std::string>& result) {
  return result.ok() ? *result : std::string(result.status().message());
}

uint64_t AllEndings(const Stats& stats) {
  return stats.compiles + stats.refused + stats.crashed + stats.timed_out +
         stats.over_memory + stats.bad_answers + stats.unavailable +
         stats.queue_full + stats.account_queue_full + stats.over_account_time;
}

// --- What one module can do
// ---------------------------------------------------

struct Row {
  std::string name, module;
  absl::StatusCode code;
  std::string text;  // exactly
  uint64_t Stats::*counter;
  // Of no meaning in a sanitizer's process, which is not confined.
  bool confined_only = false;
};
void PrintTo(const Row& row, std::ostream* out) { *out << row.name; }
class Modules : public testing::TestWithParam<Row> {};

TEST_P(Modules, CostThemselvesOnly) {
  const Row& row = GetParam();
  if (row.confined_only && kSanitized) {
    GTEST_SKIP() << "skipped: a sanitizer's worker is not confined";
  }
  // Only those that are to go over their time have little of it.
  const bool slow = row.counter == &Stats::timed_out;
  CompileService::Options options = slow ? ShortTime() : SomeOptions();
  // What uses the processor has to get it before the wall clock's limit.
  if (row.module == "spin") options.limits.baseline.max = seconds(1);
  if (row.module == "spin") options.limits.baseline.base = seconds(1);
  const std::unique_ptr<CompileService> service = StartOrDie(options);
  const absl::StatusOr<std::string> result = Compile(*service, row.module);
  EXPECT_EQ(result.status().code(), row.code);
  EXPECT_EQ(TextOf(result), row.text);
  const Stats stats = service->stats();
  EXPECT_EQ(stats.*row.counter, 1u);
  EXPECT_EQ(AllEndings(stats), 1u);
  EXPECT_EQ(stats.in_flight, 0u);
  EXPECT_EQ(stats.zygote_restarts, 0u);
  if (slow) return;
  // The next one is none the worse for it.
  EXPECT_EQ(TextOf(Compile(*service, "echo still here")), "echo:still here");
}

constexpr char kBadCall[] =
    "module rejected: the compiler made a forbidden system call: SIGSYS (Bad "
    "system call)";

Row ForbiddenRow(const std::string& call) {
  return {"forbidden_" + call,
          "forbidden " + call,
          kInvalid,
          kBadCall,
          &Stats::crashed,
          true};
}

std::string Compiled(absl::string_view bytes) {
  return EncodeFrameHead(FrameKind::kCompiled, bytes.size()) +
         std::string(bytes);
}

INSTANTIATE_TEST_SUITE_P(
    Honest, Modules,
    testing::ValuesIn<Row>({
        {"echoes", "echo hello", kOk, "echo:hello", &Stats::compiles},
        {"is_empty", "", kInvalid, "no such behaviour", &Stats::refused},
        {"is_refused", "refuse unknown opcode 0xff at byte 9", kInvalid,
         "unknown opcode 0xff at byte 9", &Stats::refused},
        {"is_refused_with_control_codes", "refuse \x1b[2J\n", kInvalid,
         "\\x1b[2J\\x0a", &Stats::refused},
        {"is_refused_at_length", "refuse " + std::string(5000, 'x'), kInvalid,
         std::string(1000, 'x'), &Stats::refused},
        {"is_refused_without_a_reason", "refuse ", kInvalid,
         "the compiler refused it without a reason", &Stats::refused},
        {"starts_two_threads", "threads", kOk, "threads:2", &Stats::compiles},
        {"finds_no_descriptors", "descriptors", kOk, "none", &Stats::compiles},
        {"outlives_the_groups_signals", "terminate", kOk, "still here",
         &Stats::compiles},
    }),
    [](const auto& row) { return row.param.name; });

INSTANTIATE_TEST_SUITE_P(
    Ends, Modules,
    testing::ValuesIn<Row>({
        {"by_a_crash", "crash", kInvalid,
         "module rejected: the compiler was ended by SIGSEGV (Segmentation "
         "fault)",
         &Stats::crashed},
        {"by_overflowing_the_stack", "overflow", kInvalid,
         "module rejected: the compiler was ended by SIGSEGV (Segmentation "
         "fault)",
         &Stats::crashed, true},
        {"by_aborting", "abort", kInvalid,
         "module rejected: the compiler was ended by SIGABRT (Aborted)",
         &Stats::crashed},
        {"by_exiting", "exit 3", kInvalid,
         "module rejected: the compiler ended with exit code 3",
         &Stats::crashed},
        {"by_exiting_as_if_all_were_well", "exit 0", kInvalid,
         "module rejected: the compiler ended without a complete answer",
         &Stats::bad_answers},
        {"by_spinning", "spin", kInvalid,
         "module rejected: the compiler went over its processor time of 1 s",
         &Stats::timed_out},
        {"by_sleeping", "sleep", kInvalid,
         "module rejected: the compiler went over its time of 2 s",
         &Stats::timed_out},
        {"by_allocating", "allocate", kInvalid,
         "module rejected: the compiler went over its memory of 256 MiB",
         &Stats::over_memory, true},
    }),
    [](const auto& row) { return row.param.name; });

INSTANTIATE_TEST_SUITE_P(
    Answers, Modules,
    testing::ValuesIn<Row>({
        {"garbage", "raw " + std::string(100, 'g'), kInvalid,
         "module rejected: the compiler gave a malformed answer: no frame of "
         "this protocol",
         &Stats::bad_answers},
        {"short", "raw " + Compiled("code").substr(0, 22), kInvalid,
         "module rejected: the compiler ended without a complete answer",
         &Stats::bad_answers},
        {"short_head", "raw " + Compiled("code").substr(0, 3), kInvalid,
         "module rejected: the compiler ended without a complete answer",
         &Stats::bad_answers},
        {"short_and_asleep", "raw_and_sleep " + Compiled("code").substr(0, 22),
         kInvalid, "module rejected: the compiler went over its time of 2 s",
         &Stats::timed_out},
        {"complete_and_asleep", "raw_and_sleep " + Compiled("code"), kInvalid,
         "module rejected: the compiler went over its time of 2 s",
         &Stats::timed_out},
        {"none_and_closed", "raw_and_close ", kInvalid,
         "module rejected: the compiler stopped within its answer",
         &Stats::bad_answers},
        {"complete_and_closed", "raw_and_close " + Compiled("code"), kOk,
         "code", &Stats::compiles},
        {"oversized", "raw " + Compiled("code") + "and more", kInvalid,
         "module rejected: the compiler gave a malformed answer: bytes after "
         "its end",
         &Stats::bad_answers},
        {"endless", "raw_and_flood " + Compiled("code"), kInvalid,
         "module rejected: the compiler gave a malformed answer: bytes after "
         "its end",
         &Stats::bad_answers},
        {"huge", "raw " + EncodeFrameHead(FrameKind::kCompiled, ~uint64_t{0}),
         kInvalid,
         "module rejected: the compiler gave a malformed answer: it claims "
         "18446744073709551615 bytes, over the limit of 268435456",
         &Stats::bad_answers},
        {"claimed_and_never_sent",
         "raw " + EncodeFrameHead(FrameKind::kCompiled, 256 << 20), kInvalid,
         "module rejected: the compiler ended without a complete answer",
         &Stats::bad_answers},
        {"a_long_refusal", "raw " + EncodeFrameHead(FrameKind::kRefused, 1001),
         kInvalid,
         "module rejected: the compiler gave a malformed answer: it claims "
         "1001 bytes, over the limit of 1000",
         &Stats::bad_answers},
        {"a_refusal_with_control_codes",
         "raw " + EncodeFrameHead(FrameKind::kRefused, 2) + "\x1b" + "c",
         kInvalid, "\\x1bc", &Stats::refused},
        {"as_if_it_had_not_begun",
         "raw " + EncodeFrameHead(FrameKind::kNotLocked, 1) + "x", kInvalid,
         "module rejected: the compiler gave a malformed answer: a frame of "
         "kind 4 out of turn",
         &Stats::bad_answers},
    }),
    [](const auto& row) { return row.param.name; });

INSTANTIATE_TEST_SUITE_P(Calls, Modules,
                         testing::ValuesIn<Row>({
                             ForbiddenRow("open"),
                             ForbiddenRow("socket"),
                             ForbiddenRow("fork"),
                             ForbiddenRow("vfork"),
                             ForbiddenRow("execve"),
                             ForbiddenRow("ptrace"),
                             ForbiddenRow("kill"),
                             ForbiddenRow("kill_other"),
                             ForbiddenRow("map_code"),
                             ForbiddenRow("make_code"),
                             ForbiddenRow("set_limit"),
                             ForbiddenRow("send_descriptor"),
                             ForbiddenRow("duplicate"),
                             ForbiddenRow("memfd"),
                             ForbiddenRow("io_uring"),
                             ForbiddenRow("new_namespace"),
                             {"clone3_is_unknown", "forbidden clone3", kOk,
                              "clone3 is unknown", &Stats::compiles, true},
                         }),
                         [](const auto& row) { return row.param.name; });

// --- What a worker is given
// ---------------------------------------------------

TEST(CompileServiceTest, PassesOptionsOn) {
  const std::unique_ptr<CompileService> service = StartOrDie(SomeOptions());
  EXPECT_EQ(TextOf(Compile(*service, "options")),
            "baseline v2 fuel canonical simd");
  CompileRequest request;
  request.level = Level::kOptimised;
  request.cpu = CpuLevel::kX86_64_v3;
  request.fuel = false;
  request.canonical_nans = false;
  request.features.simd = false;
  request.features.threads = true;
  EXPECT_EQ(TextOf(Compile(*service, "options", request)),
            "optimised v3 threads");
}

TEST(CompileServiceTest, LimitsWorkers) {
  if (kSanitized)
    GTEST_SKIP() << "skipped: a sanitizer's worker is not limited";
  CompileService::Options options = SomeOptions();
  options.limits.memory_bytes = uint64_t{1} << 40;
  options.limits.memory_bytes_per_module_byte = uint64_t{1} << 40;
  options.limits.baseline.base = seconds(7);
  const std::unique_ptr<CompileService> service = StartOrDie(options);
  const std::string limits = TextOf(Compile(*service, "limits"));
  EXPECT_THAT(limits, HasSubstr("core 0 files 4 size 0 cpu "));
  // Seven seconds, ten milliseconds for the begun kibibyte: eight.
  EXPECT_THAT(limits, HasSubstr("cpu 8 "));
  // 1 TiB, and one for each of the module's six bytes, and what it had before.
  const size_t at = limits.rfind(' ') + 1;
  const uint64_t mebibytes = std::stoull(limits.substr(at));
  EXPECT_GE(mebibytes, uint64_t{7} << 20);
  EXPECT_LT(mebibytes, (uint64_t{7} << 20) + 1024);
}

// A compilation has its time of the processors', however long it takes to get
// it.
TEST(CompileServiceTest, TakesALongTimeForNoReasonToRefuse) {
  const std::unique_ptr<CompileService> service = StartOrDie(ShortTime());
  EXPECT_EQ(TextOf(Compile(*service, "nap 300")), "napped");
  EXPECT_EQ(service->stats().timed_out, 0u);
}

TEST(CompileServiceTest, HidesTheEnvironment) {
  setenv("CALLGATE_TEST_SECRET", "hush", 1);
  const std::unique_ptr<CompileService> service = StartOrDie(SomeOptions());
  EXPECT_THAT(TextOf(Compile(*service, "environment")), Not(HasSubstr("hush")));
}

TEST(CompileServiceTest, TakesModulesUpToTheLimit) {
  const std::unique_ptr<CompileService> service = StartOrDie(SomeOptions());
  std::string module = "measure ";
  module.resize(kModuleBytesMax, 'm');
  uint32_t sum = 0;
  for (const char c : module.substr(8)) {
    sum = sum * 31 + static_cast<uint8_t>(c);
  }
  EXPECT_EQ(TextOf(Compile(*service, module)),
            absl::StrCat(kModuleBytesMax - 8, " ", sum));
  module.push_back('m');
  const absl::StatusOr<std::string> result = Compile(*service, module);
  EXPECT_EQ(result.status().code(), kInvalid);
  EXPECT_EQ(
      TextOf(result),
      "a module of 67108865 bytes, over the compiler's limit of 67108864");
}

TEST(CompileServiceTest, TakesAnswersUpToTheLimit) {
  CompileService::Options options = SomeOptions();
  options.limits.answer_bytes = 5 << 20;
  const std::unique_ptr<CompileService> service = StartOrDie(options);
  EXPECT_EQ(TextOf(Compile(*service, absl::StrCat("large ", 5 << 20))),
            std::string(5 << 20, 'c'));
  const absl::StatusOr<std::string> result =
      Compile(*service, absl::StrCat("large ", (5 << 20) + 1));
  EXPECT_EQ(result.status().code(), kInvalid);
  EXPECT_EQ(TextOf(result),
            "its machine code is 5242881 bytes, over the limit of 5242880");
}

int OpenDescriptors() {
  DIR* const folder = opendir("/proc/self/fd");
  int count = 0;
  while (readdir(folder) != nullptr) ++count;
  closedir(folder);
  return count;
}

TEST(CompileServiceTest, LeaksNoDescriptorEitherWay) {
  // A daemon that has many, some at high numbers, none of them close-on-exec.
  std::vector<int> daemons;
  for (int i = 0; i < 500; ++i) daemons.push_back(open("/dev/null", O_RDWR));
  rlimit limit = {};
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &limit), 0);
  daemons.push_back(dup2(daemons[0], static_cast<int>(std::min<rlim_t>(
                                         limit.rlim_cur - 1, 60000))));
  const int before = OpenDescriptors();
  {
    const std::unique_ptr<CompileService> service = StartOrDie(SomeOptions());
    for (int i = 0; i < 10; ++i) {
      EXPECT_EQ(TextOf(Compile(*service, "descriptors")), "none");
      Compile(*service, "crash").IgnoreError();
      Compile(*service, "raw garbage").IgnoreError();
    }
  }
  EXPECT_EQ(OpenDescriptors(), before);
  for (const int fd : daemons) close(fd);
}

// The children of a process, by /proc.
struct Process {
  int64_t pid, parent, nice;
};
std::vector<Process> Children(int64_t parent) {
  std::vector<Process> children;
  DIR* const folder = opendir("/proc");
  while (const dirent* const entry = readdir(folder)) {
    if (std::atoll(entry->d_name) == 0) continue;
    std::ifstream file(absl::StrCat("/proc/", entry->d_name, "/stat"));
    std::string line;
    if (!std::getline(file, line)) continue;
    // After the name, which may hold anything: state and parent are 3 and 4,
    // niceness is 19.
    std::istringstream rest(line.substr(line.rfind(')') + 2));
    const std::vector<std::string> fields{
        std::istream_iterator<std::string>(rest), {}};
    if (fields.size() < 17) continue;
    Process process = {std::atoll(entry->d_name), std::atoll(fields[1].c_str()),
                       std::atoll(fields[16].c_str())};
    if (process.parent == parent) children.push_back(process);
  }
  closedir(folder);
  return children;
}

TEST(CompileServiceTest, LetsOptimisedWorkersYield) {
  const int before = getpriority(PRIO_PROCESS, 0);
  // This thread's, which the zygote inherits. Only root may go back.
  if (before >= 10 && setpriority(PRIO_PROCESS, 0, 0) != 0) {
    GTEST_SKIP() << "skipped: the test itself is nice";
  }
  const int mine = getpriority(PRIO_PROCESS, 0);
  CompileService::Options options = SomeOptions();
  options.spares = 0;
  for (const Level level : {Level::kBaseline, Level::kOptimised}) {
    std::unique_ptr<CompileService> service = StartOrDie(options);
    CompileService& running = *service;
    CompileRequest request;
    request.level = level;
    std::thread caller(
        [&] { Compile(running, "sleep", request).IgnoreError(); });
    const int64_t zygote = service->stats().zygote_pid;
    Await([&] {
      const std::vector<Process> workers = Children(zygote);
      return workers.size() == 1 &&
             workers[0].nice == (level == Level::kOptimised ? 10 : mine);
    });
    service.reset();
    caller.join();
  }
  static_cast<void>(setpriority(PRIO_PROCESS, 0, before));
}

// --- Many at once
// -------------------------------------------------------------

TEST(CompileServiceTest, AnswersManyCallersWithFewWorkers) {
  CompileService::Options options = SomeOptions();
  // Four sleep, at the other level, and go over its time.
  options.limits.optimised = {milliseconds(50), milliseconds(0),
                              milliseconds(50)};
  const std::unique_ptr<CompileService> service = StartOrDie(options);
  std::atomic<int> wrong{0};
  std::atomic<uint64_t> calls{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 64; ++t) {
    threads.emplace_back([&, t] {
      const Priority priority =
          t % 2 == 0 ? Priority::kForeground : Priority::kBackground;
      CompileRequest request;
      const auto expect = [&](const std::string& module, absl::StatusCode code,
                              absl::string_view text) {
        const absl::StatusOr<std::string> result =
            Compile(*service, module, request, priority);
        ++calls;
        if (result.status().code() == code &&
            TextOf(result).find(std::string(text)) != std::string::npos) {
          return;
        }
        ++wrong;
        ADD_FAILURE() << module << ": " << TextOf(result);
      };
      const std::string own = absl::StrCat("caller ", t);
      expect("echo " + own, kOk, "echo:" + own);
      if (t % 4 == 0) expect("crash", kInvalid, "SIGSEGV");
      if (t % 4 == 1) expect("refuse " + own, kInvalid, own);
      if (t % 4 == 2)
        expect("raw " + std::string(100, 'g'), kInvalid, "malformed");
      if (t % 4 == 3) expect("abort", kInvalid, "SIGABRT");
      if (t % 16 == 5) {
        request.level = Level::kOptimised;
        expect("sleep", kInvalid, "over its time");
        request.level = Level::kBaseline;
      }
      expect("echo again " + own, kOk, "echo:again " + own);
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong, 0);
  const Stats stats = service->stats();
  EXPECT_EQ(stats.compiles, 128u);
  EXPECT_EQ(stats.crashed, 32u);
  EXPECT_EQ(stats.refused, 16u);
  EXPECT_EQ(stats.timed_out, 4u);
  EXPECT_EQ(stats.bad_answers, 16u);
  EXPECT_EQ(AllEndings(stats), calls.load());
  EXPECT_EQ(stats.in_flight, 0u);
}

TEST(CompileServiceTest, BoundsItsQueue) {
  CompileService::Options options = SomeOptions();
  options.workers = 1;
  options.queue_max = 0;
  std::unique_ptr<CompileService> service = StartOrDie(options);
  CompileService& running = *service;
  std::thread caller([&] { Compile(running, "sleep").IgnoreError(); });
  Await([&] { return service->stats().in_flight == 1; });
  const absl::StatusOr<std::string> result = Compile(*service, "echo no");
  EXPECT_EQ(result.status().code(), kUnavailable);
  EXPECT_EQ(TextOf(result),
            "0 modules wait for a compiler already; try again later");
  EXPECT_EQ(service->stats().queue_full, 1u);
  service.reset();
  caller.join();
}

// --- What one account may have
// ------------------------------------------------

TEST(CompileServiceTest, BoundsTheQueueOfAnAccount) {
  CompileService::Options options = SomeOptions();
  options.workers = 1;
  options.account_queue_max = 1;
  std::unique_ptr<CompileService> service = StartOrDie(options);
  CompileService& running = *service;
  std::vector<std::thread> callers;
  for (const char* const account : {"acme", "acme", "other"}) {
    callers.emplace_back([&running, account] {
      CompileFor(account, running, "sleep").IgnoreError();
    });
    const size_t count = callers.size();
    Await([&] {
      const Stats stats = running.stats();
      return stats.in_flight == 1 && stats.waiting == count - 1;
    });
  }
  const absl::StatusOr<std::string> result =
      CompileFor("acme", running, "echo no");
  EXPECT_EQ(result.status().code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(TextOf(result),
            "acme has 1 modules waiting for a compiler, the maximum for one; "
            "wait for them, or have the maximum raised");
  EXPECT_EQ(running.stats().account_queue_full, 1u);
  service.reset();
  for (std::thread& caller : callers) caller.join();
}

TEST(CompileServiceTest, BoundsTheTimeOfAnAccount) {
  CompileService::Options options = ShortTime();
  options.account_budget.amount = milliseconds(900);
  options.account_budget.window = std::chrono::hours(24);
  const std::unique_ptr<CompileService> service = StartOrDie(options);
  EXPECT_EQ(TextOf(CompileFor("acme", *service, "echo hello")), "echo:hello");
  // What fails costs as much.
  EXPECT_EQ(CompileFor("acme", *service, "spin").status().code(), kInvalid);
  const absl::StatusOr<std::string> result =
      CompileFor("acme", *service, "echo again");
  EXPECT_EQ(result.status().code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(TextOf(result), AllOf(HasSubstr("acme has used "),
                                    HasSubstr("the budget is 1 s in 86400 s"),
                                    HasSubstr("try again in")));
  EXPECT_EQ(TextOf(CompileFor("other", *service, "echo mine")), "echo:mine");
  EXPECT_EQ(TextOf(Compile(*service, "echo own")), "echo:own");
  const Stats stats = service->stats();
  EXPECT_EQ(stats.over_account_time, 1u);
  EXPECT_GE(stats.baseline_time, milliseconds(900));
  EXPECT_EQ(stats.optimised_time.count(), 0);
}

// Those that waited when the time ran out are sent away as well.
TEST(CompileServiceTest, BoundsTheTimeOfThoseThatWait) {
  CompileService::Options options = ShortTime();
  options.workers = 1;
  options.account_budget.amount = milliseconds(100);
  options.account_budget.window = std::chrono::hours(24);
  const std::unique_ptr<CompileService> service = StartOrDie(options);
  std::thread first(
      [&] { CompileFor("acme", *service, "spin").IgnoreError(); });
  Await([&] { return service->stats().in_flight == 1; });
  EXPECT_EQ(CompileFor("acme", *service, "echo late").status().code(),
            absl::StatusCode::kResourceExhausted);
  first.join();
}

// However many modules of one account wait, another's first is next.
TEST(CompileServiceTest, IsFairBetweenAccounts) {
  CompileService::Options options = ShortTime();
  options.workers = 1;
  const std::unique_ptr<CompileService> service = StartOrDie(options);
  std::vector<std::thread> callers;
  callers.emplace_back(
      [&] { CompileFor("big", *service, "spin").IgnoreError(); });
  Await([&] { return service->stats().in_flight == 1; });
  std::mutex mu;
  std::vector<std::string> order;
  const auto add = [&](const std::string& account) {
    callers.emplace_back([&, account] {
      const auto result = CompileFor(account, *service, "echo x");
      const std::lock_guard<std::mutex> lock(mu);
      EXPECT_TRUE(result.ok()) << result.status();
      order.push_back(account);
    });
  };
  constexpr size_t kBig = 60;
  for (size_t i = 0; i < kBig; ++i) add("big");
  Await([&] {
    const Stats stats = service->stats();
    return stats.waiting == kBig || stats.in_flight == 0;
  });
  ASSERT_EQ(service->stats().waiting, kBig) << "the first ended too early";
  add("small");
  for (std::thread& caller : callers) caller.join();
  const auto small = std::find(order.begin(), order.end(), "small");
  // The next to enter; two that leave one after another may be noted in either
  // order.
  EXPECT_LE(small - order.begin(), 2);
}

// --- When the zygote or its program goes
// --------------------------------------

void KillZygote(const CompileService& service) {
  const int64_t zygote = service.stats().zygote_pid;
  ASSERT_GT(zygote, 0);
  ASSERT_EQ(kill(static_cast<pid_t>(zygote), SIGKILL), 0);
}

TEST(CompileServiceTest, StartsAnotherZygote) {
  const std::unique_ptr<CompileService> service = StartOrDie(SomeOptions());
  for (uint64_t round = 1; round <= 4; ++round) {
    EXPECT_EQ(TextOf(Compile(*service, "echo before")), "echo:before");
    KillZygote(*service);
    EXPECT_EQ(TextOf(Compile(*service, "echo after")), "echo:after");
    Await([&] { return service->stats().zygote_restarts == round; });
  }
  EXPECT_EQ(service->stats().unavailable, 0u);
}

// Killed between fork and lock, or later: never the module's fault.
TEST(CompileServiceTest, BlamesNoModuleForALostZygote) {
  const std::unique_ptr<CompileService> service = StartOrDie(SomeOptions());
  std::atomic<bool> done{false};
  std::thread killer([&] {
    int64_t last = 0;
    while (!done) {
      const int64_t zygote = service->stats().zygote_pid;
      if (zygote != 0 && zygote != last && service->stats().in_flight == 1) {
        kill(static_cast<pid_t>(zygote), SIGKILL);
        last = zygote;
      }
      std::this_thread::yield();
    }
  });
  const absl::StatusOr<std::string> result = Compile(*service, "sleep");
  done = true;
  killer.join();
  EXPECT_EQ(result.status().code(), kUnavailable) << result.status();
  EXPECT_THAT(TextOf(result),
              AllOf(HasSubstr(kProgram),
                    testing::AnyOf(HasSubstr("ended while it compiled"),
                                   HasSubstr("did not begin"),
                                   HasSubstr("gave no worker"))));
  EXPECT_EQ(service->stats().unavailable, 1u);
  EXPECT_EQ(AllEndings(service->stats()), 1u);
  EXPECT_EQ(TextOf(Compile(*service, "echo after")), "echo:after");
}

struct PathRow {
  std::string name, path, want;
};
void PrintTo(const PathRow& row, std::ostream* out) { *out << row.name; }
class Paths : public testing::TestWithParam<PathRow> {};

TEST_P(Paths, AreNamedWhenTheyDoNotServe) {
  CompileService::Options options = SomeOptions();
  options.worker_path = GetParam().path;
  const auto service = CompileService::Start(options);
  EXPECT_EQ(service.status().code(), kUnavailable);
  EXPECT_EQ(std::string(service.status().message()),
            absl::StrCat("cannot start the compiler \"", GetParam().path,
                         "\": ", GetParam().want,
                         "; install callgate-compile of the same build there, "
                         "or set its path"));
}

INSTANTIATE_TEST_SUITE_P(Rows, Paths,
                         testing::ValuesIn<PathRow>({
                             {"missing", "/nowhere/callgate-compile",
                              "No such file or directory"},
                             {"folder", "/usr", "Permission denied"},
                             {"no_program", "/etc/passwd", "Permission denied"},
                             {"another_program", "/bin/false",
                              "it ended before it was ready (exit code 1)"},
                             {"a_program_that_succeeds", "/bin/true",
                              "it ended before it was ready (exit code 0)"},
                         }),
                         [](const auto& row) { return row.param.name; });

TEST(CompileServiceTest, LooksBesideTheExecutable) {
  char self[4096] = {};
  ASSERT_GT(readlink("/proc/self/exe", self, sizeof(self) - 1), 0);
  const std::string path = self;
  EXPECT_EQ(DefaultWorkerPath(),
            path.substr(0, path.rfind('/')) + "/callgate-compile");
}

void Copy(const std::string& from, const std::string& to) {
  {
    std::ofstream out(to, std::ios::binary);
    out << std::ifstream(from, std::ios::binary).rdbuf();
  }
  ASSERT_EQ(chmod(to.c_str(), 0755), 0);
}

TEST(CompileServiceTest, ComesBackWhenItsProgramDoes) {
  const std::string path = testing::TempDir() + "/callgate-compile";
  Copy(kProgram, path);
  CompileService::Options options = SomeOptions();
  options.worker_path = path;
  const std::unique_ptr<CompileService> service = StartOrDie(options);
  EXPECT_EQ(TextOf(Compile(*service, "echo before")), "echo:before");
  ASSERT_EQ(unlink(path.c_str()), 0);
  KillZygote(*service);
  // A spare may still have been there for the first.
  absl::StatusOr<std::string> result;
  do {
    result = Compile(*service, "echo without");
  } while (result.ok());
  EXPECT_EQ(result.status().code(), kUnavailable);
  EXPECT_THAT(TextOf(result),
              AllOf(HasSubstr(path), HasSubstr("No such file or directory"),
                    HasSubstr("install callgate-compile")));
  EXPECT_GE(service->stats().unavailable, 1u);
  EXPECT_EQ(service->stats().zygote_pid, 0);
  // Under another name first: a program that is being written cannot be run.
  Copy(kProgram, path + ".new");
  ASSERT_EQ(rename((path + ".new").c_str(), path.c_str()), 0);
  do {
    result = Compile(*service, "echo again");
  } while (!result.ok());
  EXPECT_EQ(*result, "echo:again");
  unlink(path.c_str());
}

// --- The end
// ------------------------------------------------------------------

TEST(CompileServiceTest, EndsAtOnceWithCallsRunningAndWaiting) {
  // Processes whose parent ends come here, so that none goes unnoticed.
  ASSERT_EQ(prctl(PR_SET_CHILD_SUBREAPER, 1), 0);
  std::unique_ptr<CompileService> service = StartOrDie(SomeOptions());
  CompileService& running = *service;
  std::vector<std::future<absl::StatusOr<std::string>>> results;
  for (int i = 0; i < 8; ++i) {
    results.push_back(std::async(std::launch::async, [&running, i] {
      return Compile(running, i % 2 == 0 ? "sleep" : "spin", {},
                     i < 4 ? Priority::kForeground : Priority::kBackground);
    }));
  }
  Await([&] {
    const Stats stats = service->stats();
    return stats.in_flight == 2 && stats.waiting == 6;
  });
  const steady_clock::time_point before = steady_clock::now();
  service.reset();
  EXPECT_LT(steady_clock::now() - before, seconds(kSanitized ? 20 : 2));
  for (auto& result : results) {
    const absl::StatusOr<std::string> ended = result.get();
    EXPECT_EQ(ended.status().code(), absl::StatusCode::kCancelled)
        << ended.status();
  }
  EXPECT_EQ(waitpid(-1, nullptr, WNOHANG), -1);
  EXPECT_EQ(errno, ECHILD);
  ASSERT_EQ(prctl(PR_SET_CHILD_SUBREAPER, 0), 0);
}

TEST(CompileServiceTest, ReapsTheOrphansOfALostZygote) {
  ASSERT_EQ(prctl(PR_SET_CHILD_SUBREAPER, 1), 0);
  std::unique_ptr<CompileService> service = StartOrDie(SomeOptions());
  for (uint64_t round = 1; round <= 3; ++round) {
    Await([&] { return service->stats().spares == 2; });
    KillZygote(*service);
    Await([&] { return service->stats().zygote_restarts == round; });
    // The new zygote and nobody else.
    EXPECT_EQ(Children(getpid()).size(), 1u);
  }
  service.reset();
  EXPECT_EQ(Children(getpid()).size(), 0u);
  ASSERT_EQ(prctl(PR_SET_CHILD_SUBREAPER, 0), 0);
}

TEST(CompileServiceTest, LeavesOtherChildrenAlone) {
  int ends[2];
  ASSERT_EQ(pipe2(ends, O_CLOEXEC), 0);
  const pid_t other = fork();
  ASSERT_GE(other, 0);
  if (other == 0) {
    // Until the test closes its end.
    close(ends[1]);
    char byte = 0;
    _exit(read(ends[0], &byte, 1) == 0 ? 42 : 1);
  }
  close(ends[0]);
  {
    const std::unique_ptr<CompileService> service = StartOrDie(SomeOptions());
    EXPECT_EQ(TextOf(Compile(*service, "echo hello")), "echo:hello");
    KillZygote(*service);
    EXPECT_EQ(TextOf(Compile(*service, "echo hello")), "echo:hello");
  }
  EXPECT_EQ(waitpid(other, nullptr, WNOHANG), 0);
  close(ends[1]);
  int status = 0;
  EXPECT_EQ(waitpid(other, &status, 0), other);
  EXPECT_EQ(WEXITSTATUS(status), 42);
}

TEST(CompileServiceTest, WorksWhereChildrenAreNotWaitedFor) {
  struct sigaction ignore = {};
  struct sigaction before = {};
  ignore.sa_handler = SIG_IGN;
  ASSERT_EQ(sigaction(SIGCHLD, &ignore, &before), 0);
  {
    const std::unique_ptr<CompileService> service = StartOrDie(SomeOptions());
    EXPECT_EQ(TextOf(Compile(*service, "echo hello")), "echo:hello");
    EXPECT_THAT(TextOf(Compile(*service, "crash")), HasSubstr("SIGSEGV"));
    KillZygote(*service);
    EXPECT_EQ(TextOf(Compile(*service, "echo hello")), "echo:hello");
  }
  ASSERT_EQ(sigaction(SIGCHLD, &before, nullptr), 0);
}

}  // namespace
}  // namespace callgate::native
