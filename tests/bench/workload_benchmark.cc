// Real programs under real policies, next to the same without a hook.
//
//   BM_Workload/PROGRAM/no_hook         nothing is asked
//   BM_Workload/PROGRAM/bare_hook       a hook that lets every call go on
//   BM_Workload/PROGRAM/wasi_command    deploy/policies/wasi-command.yaml
//   BM_Workload/PROGRAM/confined_paths  that and confined-paths.yaml, which
//                                       judges paths
//
// PROGRAM is lua (counts the words of a book, several times, and writes a file
// line by line) or bzip2, of the corpus in $CALLGATE_CORPUS. Each round makes a
// Store, runs the program on optimised code with fuel, and throws the Store
// away; the time is the processor's within the call of `_start`. "calls" are
// host calls of one round, "make" is what the hook, the Store and the instance
// took. The target is 1.05 of no_hook.

#include <benchmark/benchmark.h>
#include <time.h>

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

constexpr char kCountWords[] = R"(
local words, lines = {}, 0
for round = 1, 8 do
  for line in io.lines("/config/alice.txt") do
    lines = lines + 1
    for word in line:gmatch("%a+") do
      word = word:lower()
      words[word] = (words[word] or 0) + 1
    end
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

// With what the corpus's bzip2 calls around its work; `imports` is the last
// section of the files.
std::shared_ptr<const policy::Policy> CompileExample(const std::string& name) {
  policy::CompileResult compiled = policy::CompilePolicyText(
      absl::StrCat(ReadOrDie(absl::StrCat("deploy/policies/", name, ".yaml")),
                   "  - { import: bench.start, action: allow }\n"
                   "  - { import: bench.end, action: allow }\n"),
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

absl::Time Now() { return absl::UnixEpoch() + absl::Seconds(ThreadSeconds()); }

struct Row {
  std::string name;
  std::vector<std::string> policies;
};

void Workload(benchmark::State& state, const Subject& subject, const Row& row) {
  std::vector<std::shared_ptr<const policy::Policy>> policies;
  for (const std::string& name : row.policies) {
    policies.push_back(CompileExample(name));
  }
  uint64_t host_calls = 0;
  double make = 0;
  for (auto _ : state) {
    auto context = wasi::Context::Create(subject.program.options);
    CALLGATE_CHECK(context.ok(), "the directories can be opened");
    Linker linker;
    CALLGATE_CHECK(wasi::AddToLinker(linker, *context).ok(), "WASI is there");
    for (const char* name : {"start", "end"}) {
      HostDefinition nothing;
      nothing.body = [](Caller&, absl::Span<const RawValue>,
                        absl::Span<RawValue>) { return nullptr; };
      CALLGATE_CHECK(linker.DefineFunc("bench", name, std::move(nothing)).ok(),
                     "the names are free");
    }
    DeafSink sink;
    Names names(**context);
    const double before = ThreadSeconds();
    std::unique_ptr<CallHook> hook;
    if (row.name == "bare_hook") {
      hook = std::make_unique<BareHook>();
    } else if (!policies.empty()) {
      policy::PolicyHook::Options options;
      options.handles = &names;
      hook = std::make_unique<policy::PolicyHook>(
          policies, policy::StoreFacts{"bench", "default", "", "guest"}, Now,
          sink, options);
    }
    Limits limits;
    limits.bytes_total = 1 << 30;
    Store store(subject.engine, limits);
    if (hook != nullptr) {
      CALLGATE_CHECK(store.SetCallHook(*hook).ok(), "a Store takes a hook");
    }
    const auto made = linker.Instantiate(store, subject.module, "guest");
    CALLGATE_CHECK(made.ok() && made->instance.has_value(),
                   "the programs instantiate");
    make += ThreadSeconds() - before;
    const auto entry = made->instance->GetFunc("_start");
    CALLGATE_CHECK(entry.ok(), "the programs are commands");
    CallOptions call;
    call.fuel = ~uint64_t{0} >> 1;
    const double begin = ThreadSeconds();
    const auto called = entry->Call({}, call);
    state.SetIterationTime(ThreadSeconds() - begin);
    CALLGATE_CHECK(called.ok(), "the programs run");
    CALLGATE_CHECK(called->returned() || called->trap->exit_code() == 0u,
                   "the programs succeed");
    host_calls = called->usage.host_calls;
  }
  state.counters["calls"] = static_cast<double>(host_calls);
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
  Program lua;
  lua.name = "lua";
  lua.file = "apps/deb-lua.wasm";
  lua.options.args = {"lua", "/config/words.lua"};
  lua.options.preopens = {{scratch + "/config", "/config", true},
                          {scratch + "/scratch", "/scratch"}};
  Program bzip2;
  bzip2.name = "bzip2";
  bzip2.file = "apps/sg-bz2.wasm";
  bzip2.options.args = {"bzip2"};
  bzip2.options.preopens = {{corpus + "/apps/sg-bz2.dir", ".", true}};
  return {lua, bzip2};
}

void Register(const Engine& engine, const std::vector<Program>& programs,
              const std::string& corpus) {
  const std::vector<Row> rows = {
      {"no_hook", {}},
      {"bare_hook", {}},
      {"wasi_command", {"wasi-command"}},
      {"confined_paths", {"wasi-command", "confined-paths"}},
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
