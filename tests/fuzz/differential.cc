#include "tests/fuzz/differential.h"

#include <algorithm>
#include <fstream>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "runtime/module.h"
#include "runtime/native/compiler/compiler.h"
#include "runtime/native/native_engine.h"
#include "runtime/reference/reference_engine.h"

namespace callgate::fuzz {
namespace {

// What a generated module's calls may use. Its own budget ends them long
// before; these are there for the day that it does not. Code that does not
// count fuel can have the time alone.
constexpr RunOptions kWithFuel{20'000'000, std::nullopt, true};
constexpr RunOptions kWithoutFuel{std::nullopt, absl::Seconds(60), true};

EngineOptions Options() {
  EngineOptions options;
  options.features.tail_call = true;
  options.features.memory64 = true;
  options.features.multi_memory = true;
  options.features.exceptions = true;
  options.module_limits.tables = 2;
  options.module_limits.memories = 2;
  return options;
}

}  // namespace

// Compiles in this process, well or with a fault.
class Differential::Source final : public native::CodeSource {
 public:
  absl::StatusOr<std::string> Compile(const native::CompileRequest& request,
                                      absl::Span<const uint8_t> module,
                                      absl::string_view /*account*/) override {
    if (!fault.has_value()) {
      return native::LlvmCompiler::Compile(request, module);
    }
    absl::StatusOr<native::FaultyCode> made =
        native::CompileWithFault(*fault, request, module);
    if (!made.ok()) return made.status();
    places = made->places;
    return std::move(made->answer);
  }

  std::optional<native::PlantedFault> fault;
  uint64_t places = 0;  // of the last one that was planted
};

struct Differential::NativePair {
  std::unique_ptr<Engine> baseline;
  std::unique_ptr<Engine> optimised;
  bool fuel = true;
};

Differential::Differential()
    : reference_(NewReferenceEngine(Options())),
      source_(std::make_unique<Source>()) {
  native::LlvmCompiler::Initialise();
  const bool newer = __builtin_cpu_supports("avx2") != 0 &&
                     __builtin_cpu_supports("bmi2") != 0 &&
                     __builtin_cpu_supports("fma") != 0;
  for (int kind = 0; kind < (newer ? 3 : 2); ++kind) {
    NativeOptions options;
    options.source = source_.get();
    options.request.fuel = kind != 1;
    if (kind == 2) options.request.cpu = native::CpuLevel::kX86_64_v3;
    NativePair& pair = pairs_.emplace_back();
    pair.fuel = options.request.fuel;
    pair.baseline = NewNativeEngine(Options(), options);
    options.request.level = native::Level::kOptimised;
    pair.optimised = NewNativeEngine(Options(), options);
  }
}

Differential::~Differential() = default;

void Differential::Count(const Outcome& outcome) {
  ++tally_.modules;
  for (const CallOutcome& call : outcome.calls) {
    ++tally_.calls;
    const bool trapped = call.text.find(" traps: ") != std::string::npos;
    ++(trapped ? tally_.traps : tally_.values);
    if (call.exhausted) ++tally_.exhausted;
  }
}

absl::StatusOr<Outcome> Differential::Reference(
    absl::Span<const uint8_t> bytes) {
  // Its NaNs are the processor's.
  const GeneratedModule generated = GenerateModule(bytes, true);
  absl::StatusOr<std::shared_ptr<const Module>> module =
      Module::Compile(*reference_, generated.wasm);
  if (!module.ok()) return module.status();
  return Run(*reference_, *std::move(module), generated, kWithFuel);
}

absl::StatusOr<Outcome> Differential::Native(const Engine& engine,
                                             const GeneratedModule& generated) {
  absl::StatusOr<std::shared_ptr<const Module>> module =
      Module::Compile(engine, generated.wasm);
  if (!module.ok()) return module.status();
  return Run(engine, *std::move(module), generated, kWithFuel);
}

std::string Differential::CheckShortOfFuel(
    const NativePair& pair, const GeneratedModule& generated,
    const std::shared_ptr<const Module>& baseline,
    const std::shared_ptr<const Module>& optimised, const Outcome& whole,
    uint64_t share) {
  uint64_t most = 0;
  for (const CallOutcome& call : whole.calls) most = std::max(most, call.fuel);
  const uint64_t fuel = most * (share % 16) / 16;
  const absl::StatusOr<Outcome> one =
      Run(*pair.baseline, baseline, generated, {fuel, std::nullopt, true});
  if (!one.ok()) return absl::StrCat("baseline: ", one.status().ToString());
  const absl::StatusOr<Outcome> other =
      Run(*pair.optimised, optimised, generated, {fuel, std::nullopt, true});
  if (!other.ok())
    return absl::StrCat("optimised: ", other.status().ToString());
  std::string difference = Difference(*one, *other, Strictness::kSameCost);
  if (difference.empty()) {
    difference = CutWrong(whole, *one, fuel);
    if (difference.empty()) return "";
    return absl::StrCat("with ", fuel, " of fuel: ", difference);
  }
  return absl::StrCat("baseline and optimised with ", fuel,
                      " of fuel: ", difference);
}

std::string Differential::Check(absl::Span<const uint8_t> bytes) {
  source_->fault.reset();
  const GeneratedModule generated = GenerateModule(bytes, false);
  tally_.wasm_bytes += generated.wasm.size();
  // Mostly the ordinary pair.
  const uint8_t choice = bytes.empty() ? 0 : bytes.back();
  const size_t kind = choice % 8 == 1 ? 1 : choice % 8 >= 6 ? 2 : 0;
  const NativePair& pair = pairs_[std::min(kind, pairs_.size() - 1)];

  const auto baseline = Module::Compile(*pair.baseline, generated.wasm);
  if (!baseline.ok()) {
    return absl::StrCat("baseline: ", baseline.status().ToString());
  }
  const auto optimised = Module::Compile(*pair.optimised, generated.wasm);
  if (!optimised.ok()) {
    return absl::StrCat("optimised: ", optimised.status().ToString());
  }
  const RunOptions& allowed = pair.fuel ? kWithFuel : kWithoutFuel;
  const absl::StatusOr<Outcome> one =
      Run(*pair.baseline, *baseline, generated, allowed);
  if (!one.ok()) return absl::StrCat("baseline: ", one.status().ToString());
  const absl::StatusOr<Outcome> other =
      Run(*pair.optimised, *optimised, generated, allowed);
  if (!other.ok())
    return absl::StrCat("optimised: ", other.status().ToString());

  Count(*one);

  std::string difference;
  if (!generated.has_exceptions) {
    const absl::StatusOr<Outcome> reference = Reference(bytes);
    if (!reference.ok()) {
      return absl::StrCat("reference: ", reference.status().ToString());
    }
    difference = Difference(*reference, *one, Strictness::kSameMeaning);
    if (!difference.empty()) {
      return absl::StrCat("reference and baseline: ", difference);
    }
    difference = Difference(*reference, *other, Strictness::kSameMeaning);
    if (!difference.empty()) {
      return absl::StrCat("reference and optimised: ", difference);
    }
  }
  difference = Difference(*one, *other, Strictness::kSameCost);
  if (!difference.empty()) {
    return absl::StrCat("baseline and optimised: ", difference);
  }
  if (!generated.probed.empty()) {
    // Probes change nothing else.
    RunOptions unprobed = allowed;
    unprobed.probes = false;
    const absl::StatusOr<Outcome> bare =
        Run(*pair.optimised, *optimised, generated, unprobed);
    if (!bare.ok()) return bare.status().ToString();
    difference = Difference(*other, *bare, Strictness::kSameCost);
    if (!difference.empty()) {
      return absl::StrCat("with probes and without: ", difference);
    }
  }
  if (!pair.fuel) return "";
  return CheckShortOfFuel(pair, generated, *baseline, *optimised, *one,
                          choice / 8);
}

std::vector<Differential::Found> Differential::CheckFaults(
    absl::Span<const uint8_t> bytes,
    absl::Span<const native::PlantedFault> faults) {
  std::vector<Found> found;
  source_->fault.reset();
  const GeneratedModule generated = GenerateModule(bytes, false);
  if (generated.has_exceptions) return found;
  const absl::StatusOr<Outcome> reference = Reference(bytes);
  if (!reference.ok()) return found;
  const NativePair& pair = pairs_[0];
  std::optional<Outcome> good;
  for (const native::PlantedFault fault : faults) {
    const bool optimised = fault == native::PlantedFault::kMemoryLengthStale;
    const Engine& engine = optimised ? *pair.optimised : *pair.baseline;
    source_->fault = fault;
    source_->places = 0;
    const auto module = Module::Compile(engine, generated.wasm);
    source_->fault.reset();
    if (!module.ok() || source_->places == 0) continue;
    const absl::StatusOr<Outcome> bad =
        Run(engine, *module, generated, kWithFuel);
    if (!bad.ok()) continue;
    std::string difference =
        Difference(*reference, *bad, Strictness::kSameMeaning);
    if (difference.empty()) {
      // What the reference engine cannot tell: the cost.
      if (!good.has_value()) {
        absl::StatusOr<Outcome> other =
            Native(optimised ? *pair.baseline : *pair.optimised, generated);
        if (!other.ok()) continue;
        good = *std::move(other);
      }
      difference = Difference(*good, *bad, Strictness::kSameCost);
      if (optimised) good.reset();
    }
    if (!difference.empty()) found.push_back({fault, std::move(difference)});
  }
  return found;
}

std::vector<uint8_t> Differential::Shrink(std::vector<uint8_t> bytes,
                                          int attempts_max) {
  int attempts = 0;
  const auto differs = [&](const std::vector<uint8_t>& candidate) {
    return ++attempts <= attempts_max && !Check(candidate).empty();
  };
  for (size_t piece = std::max<size_t>(bytes.size() / 2, 1);
       attempts < attempts_max; piece /= 2) {
    for (size_t at = 0; at < bytes.size() && attempts < attempts_max;) {
      const size_t end = std::min(at + piece, bytes.size());
      std::vector<uint8_t> shorter = bytes;
      shorter.erase(shorter.begin() + static_cast<ptrdiff_t>(at),
                    shorter.begin() + static_cast<ptrdiff_t>(end));
      if (!shorter.empty() && differs(shorter)) {
        bytes = std::move(shorter);
        continue;
      }
      std::vector<uint8_t> clear = bytes;
      std::fill(clear.begin() + static_cast<ptrdiff_t>(at),
                clear.begin() + static_cast<ptrdiff_t>(end), uint8_t{0});
      if (clear != bytes && differs(clear)) bytes = std::move(clear);
      at = end;
    }
    if (piece == 1) break;
  }
  return bytes;
}

std::string Report(absl::Span<const uint8_t> bytes,
                   const std::string& difference, const std::string& path) {
  const auto write = [](const std::string& file,
                        absl::Span<const uint8_t> contents) {
    std::ofstream out(file, std::ios::binary);
    for (const uint8_t byte : contents) out.put(static_cast<char>(byte));
    return out.good();
  };
  const GeneratedModule generated = GenerateModule(bytes, false);
  const bool written =
      write(path + ".bytes", bytes) && write(path + ".wasm", generated.wasm);
  return absl::StrCat(
      difference, "\n", bytes.size(), " bytes of choices, a module of ",
      generated.wasm.size(), " bytes",
      written
          ? absl::StrCat(
                ", in ", path, ".bytes and .wasm\n",
                "look at it: wasm2wat --enable-tail-call --enable-memory64 "
                "--enable-multi-memory --enable-exceptions ",
                path, ".wasm\nagain: differential --bytes=", path, ".bytes\n")
          : ", which could not be written\n");
}

}  // namespace callgate::fuzz
