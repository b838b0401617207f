#include "tests/anomaly/guest_runner.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <utility>

#include "absl/strings/str_cat.h"
#include "policy/hook/call_sites.h"
#include "runtime/check.h"
#include "runtime/linker.h"
#include "runtime/store.h"
#include "runtime/wasi/wasi.h"
#include "tests/support/native_engine.h"

namespace callgate::anomaly_test {
namespace {

// 2026-01-01. A run begins ten minutes after the one before.
constexpr uint64_t kFirstMomentNs = 1'767'225'600ULL * 1'000'000'000;
constexpr uint64_t kBetweenRunsNs = 600ULL * 1'000'000'000;
// From one reading to the next.
constexpr uint64_t kClockStepNs = 1'000;

using policy::anomaly::ErrnoClass;
using policy::anomaly::Score;
using policy::anomaly::Stream;

[[noreturn]] void Die(const std::string& why) {
  std::fprintf(stderr, "%s\n", why.c_str());
  std::abort();
}

std::vector<uint8_t> ReadFile(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) Die(absl::StrCat("cannot read ", path));
  return std::vector<uint8_t>(std::istreambuf_iterator<char>(file), {});
}

class StreamHook final : public CallHook {
 public:
  StreamHook(Stream& stream, ScoreWatcher* watcher)
      : stream_(stream), sites_(stream), watcher_(watcher) {}
  Disposition OnTransition(CallContext& call) override {
    if (call.transition() == Transition::kCallingHost) {
      const Score score = stream_.Calling(sites_.SiteOf(call));
      ++calls;
      if (watcher_ != nullptr) watcher_->OnScore(score);
    } else if (call.transition() == Transition::kReturningFromHost) {
      stream_.Returned(policy::ErrnoClassOf(call));
    }
    return call.Proceed();
  }
  uint64_t calls = 0;

 private:
  Stream& stream_;
  policy::CallSites sites_;
  ScoreWatcher* const watcher_;
};

class TraceHook final : public CallHook {
 public:
  explicit TraceHook(size_t calls_max) : calls_max_(calls_max) {}
  Disposition OnTransition(CallContext& call) override {
    if (call.transition() == Transition::kCallingHost) {
      if (trace.calls.size() >= calls_max_) return call.Proceed();
      std::array<uint64_t, policy::anomaly::kSiteFunctionsMax> words;
      std::array<uint32_t, policy::anomaly::kSiteFunctionsMax> functions;
      const size_t length = call.CallChain(absl::MakeSpan(words));
      const size_t count = call.ChainFunctions(
          absl::MakeConstSpan(words).first(length), absl::MakeSpan(functions));
      trace.calls.push_back(
          {trace.AddSite({std::string(call.function().module),
                          std::string(call.function().name),
                          {functions.begin(), functions.begin() + count}}),
           ErrnoClass::kPending});
      open_ = true;
    } else if (call.transition() == Transition::kReturningFromHost && open_) {
      trace.calls.back().errno_class = policy::ErrnoClassOf(call);
      open_ = false;
    }
    return call.Proceed();
  }
  Trace trace;

 private:
  const size_t calls_max_;
  bool open_ = false;
};

}  // namespace

uint32_t Trace::AddSite(const Site& site) {
  const auto at =
      std::find_if(sites.begin(), sites.end(), [&](const Site& other) {
        return other.name == site.name && other.module == site.module &&
               other.functions == site.functions;
      });
  if (at != sites.end()) return static_cast<uint32_t>(at - sites.begin());
  sites.push_back(site);
  return static_cast<uint32_t>(sites.size() - 1);
}

GuestRunner::GuestRunner(const Program& program, const std::string& corpus,
                         std::string scratch)
    : program_(program), scratch_(std::move(scratch)) {
  native::CompileRequest request;
  request.level = native::Level::kOptimised;
  request.fuel = false;
  engine_ = NewInProcessNativeEngine(EngineOptions(), request);
  auto module = Module::Compile(
      *engine_, ReadFile(absl::StrCat(corpus, "/", program.file)));
  if (!module.ok()) Die(module.status().ToString());
  module_ = *std::move(module);
  if (program_.library.empty()) return;
  const std::vector<uint8_t> bytes =
      ReadFile(absl::StrCat(corpus, "/", program_.library));
  library_.assign(bytes.begin(), bytes.end());
  library_name_ = std::filesystem::path(program_.library).filename().string();
}

GuestRunner::~GuestRunner() = default;

std::string GuestRunner::RunOnce(const Job& job, const std::string& stdin_bytes,
                                 const std::vector<std::string>& args,
                                 CallHook* hook, bool keeps_output,
                                 std::map<std::string, std::string>* files) {
  const std::string directory =
      absl::StrCat(scratch_, "/", program_.name, "-", ++runs_);
  std::filesystem::create_directories(directory);
  for (const auto& [name, text] : job.files) {
    std::ofstream(absl::StrCat(directory, "/", name), std::ios::binary) << text;
  }
  if (!library_name_.empty()) {
    std::ofstream(absl::StrCat(directory, "/", library_name_), std::ios::binary)
        << library_;
  }
  std::string output;
  {
    wasi::Options options;
    options.args = {"prog.wasm"};
    options.args.insert(options.args.end(), args.begin(), args.end());
    options.env = job.env;
    options.stdin_bytes = stdin_bytes;
    options.terminal = {false, job.is_terminal, job.is_terminal};
    options.stdout_sink = [&output,
                           keeps_output](absl::Span<const uint8_t> bytes) {
      if (keeps_output) output.append(bytes.begin(), bytes.end());
      return true;
    };
    options.stderr_sink = [](absl::Span<const uint8_t>) { return true; };
    options.preopens = {{directory, program_.directory}};
    // Programs make seeds of the time, and what they do is to be the same each
    // time that all runs are run.
    uint64_t now_ns = kFirstMomentNs + runs_ * kBetweenRunsNs;
    options.realtime =
        options.monotonic = [&now_ns] { return now_ns += kClockStepNs; };
    auto context = wasi::Context::Create(std::move(options));
    if (!context.ok()) Die(context.status().ToString());
    Linker linker;
    Limits limits;
    limits.bytes_total = uint64_t{1} << 30;
    limits.host_bytes_per_call = uint64_t{1} << 40;
    Store store(*engine_, limits);
    absl::Status status = wasi::AddToLinker(linker, *std::move(context));
    if (status.ok() && hook != nullptr) status = store.SetCallHook(*hook);
    if (!status.ok()) Die(status.ToString());
    const auto made = linker.Instantiate(store, module_, program_.name);
    if (!made.ok()) Die(made.status().ToString());
    if (!made->instance.has_value()) Die("the guest was not instantiated");
    const auto start = made->instance->GetFunc("_start");
    if (!start.ok()) Die(start.status().ToString());
    const auto ended = start->Call({});
    if (!ended.ok()) Die(ended.status().ToString());
    if (ended->trap.has_value() && !ended->trap->exit_code().has_value() &&
        !job.may_trap) {
      Die(absl::StrCat(program_.name, " trapped: ", ended->trap->message()));
    }
  }
  if (files != nullptr) {
    for (const auto& entry : std::filesystem::directory_iterator(directory)) {
      const std::vector<uint8_t> bytes = ReadFile(entry.path().string());
      (*files)[entry.path().filename().string()].assign(bytes.begin(),
                                                        bytes.end());
    }
  }
  std::filesystem::remove_all(directory);
  return output;
}

void GuestRunner::RunUnder(const Job& job, CallHook& hook) {
  if (job.args_before.empty()) {
    RunOnce(job, job.stdin_bytes, job.args, &hook, false);
    return;
  }
  RunOnce(job, RunOnce(job, job.stdin_bytes, job.args_before, nullptr, true),
          job.args, &hook, false);
}

uint64_t GuestRunner::Run(const Job& job, Stream& stream,
                          ScoreWatcher* watcher) {
  StreamHook hook(stream, watcher);
  RunUnder(job, hook);
  return hook.calls;
}

std::string GuestRunner::OutputOf(const Job& job, CallHook* hook,
                                  std::map<std::string, std::string>* files) {
  return RunOnce(job, job.stdin_bytes, job.args, hook, true, files);
}

Trace GuestRunner::Record(const Job& job, size_t calls_max) {
  TraceHook hook(calls_max);
  RunUnder(job, hook);
  return std::move(hook.trace);
}

std::vector<Score> ScoresOf(const Trace& trace, Stream& stream) {
  std::vector<uint32_t> numbers;
  for (const Trace::Site& site : trace.sites) {
    numbers.push_back(stream.AddSite(site.module, site.name, site.functions));
  }
  std::vector<Score> scores;
  for (const Trace::Call& call : trace.calls) {
    scores.push_back(stream.Calling(numbers[call.site]));
    stream.Returned(call.errno_class);
  }
  return scores;
}

}  // namespace callgate::anomaly_test
