// A long run: random modules until the time is over. Where engines differ it
// goes on, and answers 1 in the end.
//
//   bazel run -c opt //tests/fuzz:differential -- --seconds=600 --seed=1
//
// --bytes=FILE   checks one string of choices, as a difference's report left it
// --folder=DIR   where reports go; default: the current one
// --reports=N    how many differences are cut down and written there, the first
//                ones; the others are counted and their seeds printed
// --trail=FILE   writes each string of choices there before it is checked, for
//                those that end the process
// --module=FILE  with --bytes: writes the module there first
// --faults       counts how many modules each planted fault needs

#include <chrono>
#include <cstdio>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "tests/fuzz/byte_source.h"
#include "tests/fuzz/differential.h"
#include "tests/fuzz/module_generator.h"

namespace {

using callgate::fuzz::Differential;

// Cutting a difference down takes about as many checks as it takes to find one.
constexpr int kShrinkAttemptsMax = 1'500;

bool WriteBytes(const std::string& file, const std::vector<uint8_t>& bytes) {
  std::ofstream out(file, std::ios::binary);
  for (const uint8_t byte : bytes) out.put(static_cast<char>(byte));
  return out.good();
}

double SecondsSince(std::chrono::steady_clock::time_point begin) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin)
      .count();
}

int CountFaults(Differential& engines, uint64_t seed, uint64_t seconds) {
  using callgate::native::PlantedFault;
  std::vector<PlantedFault> open;
  for (size_t i = 0; i < callgate::native::kPlantedFaults; ++i) {
    open.push_back(static_cast<PlantedFault>(i));
  }
  const auto begin = std::chrono::steady_clock::now();
  for (uint64_t i = 0;
       !open.empty() && SecondsSince(begin) < static_cast<double>(seconds);
       ++i) {
    for (const Differential::Found& found : engines.CheckFaults(
             callgate::fuzz::BytesOfSeed(seed + i, callgate::fuzz::kSeedBytes),
             open)) {
      std::printf("%5llu %s: %s\n", static_cast<unsigned long long>(i),
                  std::string(PlantedFaultName(found.fault)).c_str(),
                  found.difference.c_str());
      std::fflush(stdout);
      std::vector<PlantedFault> rest;
      for (const PlantedFault fault : open) {
        if (fault != found.fault) rest.push_back(fault);
      }
      open = rest;
    }
  }
  for (const PlantedFault fault : open) {
    std::printf("not found: %s\n",
                std::string(PlantedFaultName(fault)).c_str());
  }
  return open.empty() ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
  uint64_t seconds = 60;
  uint64_t seed = 1;
  uint64_t reports = 5;
  std::string bytes_file;
  std::string trail;
  std::string module_file;
  std::string folder = ".";
  bool faults = false;
  for (int i = 1; i < argc; ++i) {
    absl::string_view arg = argv[i];
    if (absl::ConsumePrefix(&arg, "--seconds=")) {
      if (absl::SimpleAtoi(arg, &seconds)) continue;
    } else if (absl::ConsumePrefix(&arg, "--seed=")) {
      if (absl::SimpleAtoi(arg, &seed)) continue;
    } else if (absl::ConsumePrefix(&arg, "--reports=")) {
      if (absl::SimpleAtoi(arg, &reports)) continue;
    } else if (absl::ConsumePrefix(&arg, "--bytes=")) {
      bytes_file = std::string(arg);
      continue;
    } else if (absl::ConsumePrefix(&arg, "--module=")) {
      module_file = std::string(arg);
      continue;
    } else if (absl::ConsumePrefix(&arg, "--trail=")) {
      trail = std::string(arg);
      continue;
    } else if (absl::ConsumePrefix(&arg, "--folder=")) {
      folder = std::string(arg);
      continue;
    } else if (arg == "--faults") {
      faults = true;
      continue;
    }
    std::fprintf(stderr, "not understood: %s\n", argv[i]);
    return 2;
  }

  Differential engines;
  if (!bytes_file.empty()) {
    std::ifstream in(bytes_file, std::ios::binary);
    if (!in) {
      std::fprintf(stderr, "cannot read %s\n", bytes_file.c_str());
      return 2;
    }
    const std::vector<uint8_t> bytes{std::istreambuf_iterator<char>(in),
                                     std::istreambuf_iterator<char>()};
    if (!module_file.empty() &&
        !WriteBytes(module_file,
                    callgate::fuzz::GenerateModule(bytes, false).wasm)) {
      return 2;
    }
    const std::string difference = engines.Check(bytes);
    std::printf("%s\n",
                difference.empty() ? "the engines agree" : difference.c_str());
    return difference.empty() ? 0 : 1;
  }
  if (faults) return CountFaults(engines, seed, seconds);

  auto begin = std::chrono::steady_clock::now();
  double told = 0;
  uint64_t differences = 0;
  for (uint64_t i = 0; SecondsSince(begin) < static_cast<double>(seconds);
       ++i) {
    std::vector<uint8_t> bytes =
        callgate::fuzz::BytesOfSeed(seed + i, callgate::fuzz::kSeedBytes);
    // Where LLVM or wabt end the process, this is what was being looked at.
    if (!trail.empty() && !WriteBytes(trail, bytes)) return 2;
    const std::string difference = engines.Check(bytes);
    if (!difference.empty()) {
      std::printf("seed %llu: %s\n", static_cast<unsigned long long>(seed + i),
                  difference.c_str());
      std::fflush(stdout);
      if (++differences <= reports) {
        // Not in the tally, nor on the run's time.
        const callgate::fuzz::Tally tally = engines.tally();
        const auto pause = std::chrono::steady_clock::now();
        bytes = engines.Shrink(std::move(bytes), kShrinkAttemptsMax);
        const std::string report = callgate::fuzz::Report(
            bytes, engines.Check(bytes),
            absl::StrCat(folder, "/difference-", seed + i));
        std::printf("%s", report.c_str());
        std::fflush(stdout);
        engines.SetTally(tally);
        begin += std::chrono::steady_clock::now() - pause;
      }
    }
    const double now = SecondsSince(begin);
    if (now - told >= 10) {
      told = now;
      std::printf("%.0f s: %llu modules, %llu differences\n", now,
                  static_cast<unsigned long long>(engines.tally().modules),
                  static_cast<unsigned long long>(differences));
      std::fflush(stdout);
    }
  }
  const callgate::fuzz::Tally& tally = engines.tally();
  std::printf(
      "%llu modules of %llu bytes on average, %llu calls: %llu values, %llu "
      "traps; %llu comparisons ended with an exhausted stack; %llu "
      "differences\n",
      static_cast<unsigned long long>(tally.modules),
      static_cast<unsigned long long>(
          tally.modules == 0 ? 0 : tally.wasm_bytes / tally.modules),
      static_cast<unsigned long long>(tally.calls),
      static_cast<unsigned long long>(tally.values),
      static_cast<unsigned long long>(tally.traps),
      static_cast<unsigned long long>(tally.exhausted),
      static_cast<unsigned long long>(differences));
  return differences == 0 ? 0 : 1;
}
