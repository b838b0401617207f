// Real programs under real policies, next to the same without a hook.
//
//   BM_Workload/PROGRAM/no_hook         nothing is asked
//   BM_Workload/PROGRAM/bare_hook       a hook that lets every call go on
//   BM_Workload/PROGRAM/wasi_command    deploy/policies/wasi-command.yaml
//   BM_Workload/PROGRAM/confined_paths  that and confined-paths.yaml, which
//                                       judges paths
//   BM_Workload/PROGRAM/connector_learning
//                                       the whole example,
//                                       connector-baseline.yaml, with the
//                                       module's profile learning
//   BM_Workload/PROGRAM/connector       the same, with the profile of earlier
//                                       runs approved and frozen
//
// PROGRAM, of the corpus in $CALLGATE_CORPUS, is lua (counts the words of a
// book and writes a file line by line), bzip2 (compresses its input to its
// output), or pieces: lua, which copies a file in pieces of 16
// bytes, unbuffered, and so does little but call the host. Each round makes a
// Store, runs the program on optimised code with fuel, and throws the Store
// away; the time is the processor's within the call of `_start`. "calls" are
// host calls of one round, "fuel" is what it used, "make" is what the hook, the
// Store and the instance took. The target is 1.05 of no_hook.
//
// Every row runs under the limits of the whole example, whose rows have its
// budgets of fuel and time, too, and keep answers as the daemon does.

#include <benchmark/benchmark.h>
#include <time.h>

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <memory>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "policy/anomaly/profile_book.h"
#include "policy/budgets.h"
#include "policy/compiler/policy_compiler.h"
#include "policy/hook/policy_hook.h"
#include "runtime/check.h"
#include "runtime/linker.h"
#include "runtime/module.h"
#include "runtime/store.h"
#include "runtime/wasi/wasi.h"
#include "tests/bench/engines.h"

namespace callgate {
namespace {

// As much of the book as the whole example's fuel_per_call has room for.
constexpr char kCountWords[] = R"(
local words, lines = {}, 0
for line in io.lines("/config/alice.txt") do
  lines = lines + 1
  if lines > 600 then break end
  for word in line:gmatch("%a+") do
    word = word:lower()
    words[word] = (words[word] or 0) + 1
  end
end
local sorted = {}
for word in pairs(words) do sorted[#sorted + 1] = word end
table.sort(sorted, function(a, b)
  return words[a] > words[b] or (words[a] == words[b] and a < b)
end)
local out = assert(io.open("/scratch/out.txt", "w"))
out:setvbuf("line")
for i = 1, 200 do out:write(sorted[i], " ", words[sorted[i]], "\n") end
out:close()
print(lines, #sorted)
)";

// 4,000 reads and as many writes.
constexpr char kPieces[] = R"(
local from = assert(io.open("/config/alice.txt", "r"))
local to = assert(io.open("/scratch/copy.txt", "w"))
from:setvbuf("no")
to:setvbuf("no")
for i = 1, 4000 do
  local piece = from:read(16)
  if not piece then from:seek("set"); piece = from:read(16) end
  to:write(piece)
end
to:close()
)";

std::string ReadOrDie(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  CALLGATE_CHECK(file.good(), "the benchmark's files are there");
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

class DeafSink final : public policy::DecisionSink {
 public:
  void OnDecision(const policy::DecisionRecord& decision) override {
    CALLGATE_CHECK(decision.verdict == policy::Verdict::kAllow,
                   "the programs keep to the policies");
  }
  void OnEngineFault(const policy::StoreFacts&, absl::string_view) override {
    CALLGATE_CHECK(false, "the policy engine has no fault here");
  }
};

class BareHook final : public CallHook {
 public:
  TransitionSet OnLink(const FunctionIdentity&) override {
    return TransitionSet::None().With(Transition::kCallingHost);
  }
  Disposition OnTransition(CallContext& call) override {
    return call.Proceed();
  }
};

class Names final : public policy::HandleNames {
 public:
  explicit Names(wasi::Context& context) : context_(context) {}
  std::optional<absl::string_view> PathOf(const FunctionIdentity&,
                                          uint64_t handle) override {
    const absl::string_view path =
        context_.GuestPathOf(static_cast<uint32_t>(handle));
    if (path.empty()) return std::nullopt;
    return path;
  }
  void RefuseLinks(const FunctionIdentity& function) override {
    context_.RefuseLinks(function.name);
  }

 private:
  wasi::Context& context_;
};

std::shared_ptr<const policy::Policy> CompileExample(const std::string& name) {
  policy::CompileResult compiled = policy::CompilePolicyText(
      ReadOrDie(absl::StrCat("deploy/policies/", name, ".yaml")),
      absl::StrCat(name, ".yaml"));
  CALLGATE_CHECK(compiled.ok(), "the example policies compile");
  return std::move(compiled.policy);
}

struct Program {
  std::string name;
  std::string file;  // below the corpus
  wasi::Options options;
};

// A program, compiled once for all rows about it.
struct Subject {
  Subject(const Engine& which, Program what, const std::string& corpus)
      : engine(which), program(std::move(what)) {
    const std::string bytes = ReadOrDie(corpus + "/" + program.file);
    // SAFETY: char and uint8_t alias, and the string outlives the call.
    auto compiled = Module::Compile(
        engine, {reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()});
    CALLGATE_CHECK(compiled.ok(), "the programs of the corpus compile");
    module = *std::move(compiled);
  }

  const Engine& engine;
  const Program program;
  std::shared_ptr<const Module> module;
};

double ThreadSeconds() {
  timespec time = {};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) +
         static_cast<double>(time.tv_nsec) * 1e-9;
}

absl::Time Now() {
  return absl::UnixEpoch() +
         absl::FromChrono(std::chrono::steady_clock::now().time_since_epoch());
}

enum class Profile : uint8_t { kNone, kLearning, kFrozen };

struct Row {
  std::string name;
  std::vector<std::string> policies;
  Profile profile = Profile::kNone;
};

// What a round came to.
struct Round {
  double seconds = 0;
  double make = 0;
  uint64_t host_calls = 0;
  uint64_t fuel = 0;
};

const policy::StoreFacts kFacts = {"bench", "acme", "sha256:00", "guest"};

Round RunOnce(
    const Subject& subject, const Row& row,
    const std::vector<std::shared_ptr<const policy::Policy>>& policies,
    policy::anomaly::ProfileBook* book) {
  wasi::Options wasi_options = subject.program.options;
  uint64_t written = 0;
  wasi_options.stdout_sink = [&written](absl::Span<const uint8_t> bytes) {
    written += bytes.size();
    return true;
  };
  auto context = wasi::Context::Create(std::move(wasi_options));
  CALLGATE_CHECK(context.ok(), "the directories can be opened");
  Linker linker;
  CALLGATE_CHECK(wasi::AddToLinker(linker, *context).ok(), "WASI is there");
  DeafSink sink;
  Names names(**context);
  Round round;
  const double before = ThreadSeconds();
  std::unique_ptr<CallHook> hook;
  policy::PolicyHook* judge = nullptr;
  if (row.name == "bare_hook") {
    hook = std::make_unique<BareHook>();
  } else if (!policies.empty()) {
    policy::PolicyHook::Options options;
    options.handles = &names;
    options.profiles = book;
    options.keep_answers = row.profile != Profile::kNone;
    auto made = std::make_unique<policy::PolicyHook>(policies, kFacts, Now,
                                                     sink, options);
    judge = made.get();
    hook = std::move(made);
  }
  // As connector-baseline.yaml has them.
  Limits limits;
  limits.bytes_total = 64 << 20;
  limits.table_elements_total = 10'000;
  limits.stack_bytes = 256 << 10;
  limits.host_bytes_per_call = 16 << 20;
  Store store(subject.engine, limits);
  if (hook != nullptr) {
    HookOptions options;
    if (judge != nullptr) options.call_ring = judge->call_ring();
    CALLGATE_CHECK(store.SetCallHook(*hook, options).ok(),
                   "a Store takes a hook");
  }
  const auto made = linker.Instantiate(store, subject.module, "guest");
  CALLGATE_CHECK(made.ok() && made->instance.has_value(),
                 "the programs instantiate");
  round.make = ThreadSeconds() - before;
  const auto entry = made->instance->GetFunc("_start");
  CALLGATE_CHECK(entry.ok(), "the programs are commands");
  CallOptions call;
  call.fuel = ~uint64_t{0} >> 1;
  if (judge != nullptr) {
    const policy::EffectiveBudgets& budgets = judge->budgets();
    if (const auto max = budgets.Max(policy::Budget::kFuelPerCall)) {
      call.fuel = max;
    }
    call.wall = budgets.wall_per_call();
    call.cpu = budgets.cpu_per_call();
  }
  const double begin = ThreadSeconds();
  const auto called = entry->Call({}, call);
  round.seconds = ThreadSeconds() - begin;
  CALLGATE_CHECK(called.ok(), "the programs run");
  CALLGATE_CHECK(called->returned() || called->trap->exit_code() == 0u,
                 "the programs succeed");
  round.host_calls = called->usage.host_calls;
  round.fuel = called->usage.fuel;
  if (book != nullptr) {
    for (const absl::Status& told : judge->FinishLearning()) {
      CALLGATE_CHECK(told.ok(), "the profile takes the run in");
    }
  }
  return round;
}

// What three runs teach, approved and frozen.
void Teach(const Subject& subject, const Row& row,
           const std::vector<std::shared_ptr<const policy::Policy>>& policies,
           policy::anomaly::ProfileBook* book) {
  for (int i = 0; i < 3; ++i) RunOnce(subject, row, policies, book);
  for (const auto& id : book->List(kFacts.tenant)) {
    const absl::Status frozen =
        book->Edit(id, [](policy::anomaly::Profile& profile) {
          absl::Status approved = profile.Approve();
          return approved.ok() ? profile.Freeze() : approved;
        });
    CALLGATE_CHECK(frozen.ok(), "the profile is approved and frozen");
  }
}

void Workload(benchmark::State& state, const Subject& subject, const Row& row) {
  std::vector<std::shared_ptr<const policy::Policy>> policies;
  for (const std::string& name : row.policies) {
    policies.push_back(CompileExample(name));
  }
  policy::anomaly::ProfileBook taught(nullptr);
  if (row.profile == Profile::kFrozen) {
    Teach(subject, row, policies, &taught);
  }
  Round round;
  double make = 0;
  for (auto _ : state) {
    // Learning from the first run on.
    policy::anomaly::ProfileBook fresh(nullptr);
    policy::anomaly::ProfileBook* book = nullptr;
    if (row.profile == Profile::kFrozen) book = &taught;
    if (row.profile == Profile::kLearning) book = &fresh;
    round = RunOnce(subject, row, policies, book);
    state.SetIterationTime(round.seconds);
    make += round.make;
  }
  state.counters["calls"] = static_cast<double>(round.host_calls);
  state.counters["fuel"] = static_cast<double>(round.fuel);
  state.counters["make"] =
      benchmark::Counter(make, benchmark::Counter::kAvgIterations);
}

// What the programs may use, in a directory of this run.
std::vector<Program> Programs(const std::string& corpus,
                              const std::string& scratch) {
  std::filesystem::create_directories(scratch + "/config");
  std::filesystem::create_directories(scratch + "/scratch");
  std::filesystem::copy_file(corpus + "/apps/deb-lua.dir/alice.txt",
                             scratch + "/config/alice.txt");
  std::ofstream(scratch + "/config/words.lua") << kCountWords;
  std::ofstream(scratch + "/config/pieces.lua") << kPieces;
  Program lua;
  lua.name = "lua";
  lua.file = "apps/deb-lua.wasm";
  lua.options.args = {"lua", "/config/words.lua"};
  lua.options.preopens = {{scratch + "/config", "/config", true},
                          {scratch + "/scratch", "/scratch"}};
  Program pieces = lua;
  pieces.name = "pieces";
  pieces.options.args = {"lua", "/config/pieces.lua"};
  Program bzip2;
  bzip2.name = "bzip2";
  bzip2.file = "apps/deb-bzip2.wasm";
  bzip2.options.args = {"bzip2", "-zc"};
  bzip2.options.stdin_bytes = ReadOrDie(corpus + "/apps/deb-bzip2.stdin1");
  return {lua, bzip2, pieces};
}

void Register(const Engine& engine, const std::vector<Program>& programs,
              const std::string& corpus) {
  const std::vector<Row> rows = {
      {"no_hook", {}},
      {"bare_hook", {}},
      {"wasi_command", {"wasi-command"}},
      {"confined_paths", {"wasi-command", "confined-paths"}},
      {"connector_learning", {"connector-baseline"}, Profile::kLearning},
      {"connector", {"connector-baseline"}, Profile::kFrozen},
  };
  for (const Program& program : programs) {
    const auto subject =
        std::make_shared<const Subject>(engine, program, corpus);
    for (const Row& row : rows) {
      benchmark::RegisterBenchmark(
          absl::StrCat("BM_Workload/", program.name, "/", row.name).c_str(),
          [subject, row](benchmark::State& state) {
            Workload(state, *subject, row);
          })
          ->UseManualTime()
          ->Unit(benchmark::kMillisecond);
    }
  }
}

}  // namespace
}  // namespace callgate

int main(int argc, char** argv) {
  using namespace callgate;
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 1;
  const char* const corpus = std::getenv("CALLGATE_CORPUS");
  if (corpus == nullptr) {
    std::fprintf(stderr, "CALLGATE_CORPUS names the folder of programs\n");
    return 1;
  }
  std::string scratch = "/tmp/workload.XXXXXX";
  CALLGATE_CHECK(mkdtemp(scratch.data()) != nullptr, "/tmp can be written");
  {
    std::unique_ptr<Engine> engine;
    for (const EngineToMeasure& one : EnginesToMeasure()) {
      if (one.name == std::string("native_optimised_fuel")) engine = one.make();
    }
    Register(*engine, Programs(corpus, scratch), corpus);
    benchmark::RunSpecifiedBenchmarks();
    benchmark::ClearRegisteredBenchmarks();
  }
  benchmark::Shutdown();
  std::error_code ignored;
  std::filesystem::remove_all(scratch, ignored);
}
