// What a worker costs: from the call of Compile to the answer of a compiler
// that does nothing, with a spare waiting and without any.
//
//   compile_service_benchmark PATH_OF_worker_test_program [ROUNDS]

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "runtime/native/worker/compile_service.h"

namespace callgate::native {
namespace {

using std::chrono::steady_clock;

// Microseconds of each round, sorted.
std::vector<double> Measure(const std::string& path, size_t spares,
                            int rounds) {
  CompileService::Options options;
  options.worker_path = path;
  options.spares = spares;
  auto service = CompileService::Start(options);
  if (!service.ok()) {
    std::fprintf(stderr, "%s\n", service.status().ToString().c_str());
    std::exit(2);
  }
  const std::string module = "echo x";
  const auto bytes = absl::MakeConstSpan(
      reinterpret_cast<const uint8_t*>(module.data()), module.size());
  std::vector<double> times;
  for (int i = 0; i < rounds; ++i) {
    while ((*service)->stats().spares < spares) std::this_thread::yield();
    // A spare is counted when it was forked; it then still prepares itself.
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
    const steady_clock::time_point before = steady_clock::now();
    const auto result =
        (*service)->Compile(CompileRequest(), bytes, Priority::kForeground);
    const steady_clock::time_point after = steady_clock::now();
    if (!result.ok()) {
      std::fprintf(stderr, "%s\n", result.status().ToString().c_str());
      std::exit(1);
    }
    times.push_back(
        std::chrono::duration<double, std::micro>(after - before).count());
  }
  std::sort(times.begin(), times.end());
  return times;
}

int Run(int argc, char** argv) {
  if (argc < 2) {
    std::fprintf(stderr, "usage: %s PATH_OF_worker_test_program [ROUNDS]\n",
                 argv[0]);
    return 2;
  }
  const int rounds = argc > 2 ? std::max(1, std::atoi(argv[2])) : 200;
  double medians[2] = {};
  for (const size_t spares : {size_t{2}, size_t{0}}) {
    const std::vector<double> times = Measure(argv[1], spares, rounds);
    medians[spares == 0 ? 1 : 0] = times[times.size() / 2];
    std::printf("%-8s  min %7.0f us  median %7.0f us  p99 %7.0f us\n",
                spares == 0 ? "no spare" : "spare", times.front(),
                times[times.size() / 2], times[times.size() * 99 / 100]);
  }
  std::printf("ratio of medians %.2f\n", medians[1] / medians[0]);
  return 0;
}

}  // namespace
}  // namespace callgate::native

int main(int argc, char** argv) { return callgate::native::Run(argc, argv); }
