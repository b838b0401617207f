// Compiles one file and prints sizes; --objects DIR keeps the objects.
// For people who work on the compiler.

#include <chrono>
#include <cstdio>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "runtime/native/compile_request.h"
#include "runtime/native/compiled_module.pb.h"
#include "runtime/native/compiler/compiler.h"

int main(int argc, char** argv) {
  using callgate::native::CompileRequest;
  CompileRequest request;
  std::string file;
  std::string objects;
  for (int i = 1; i < argc; ++i) {
    const std::string arg = argv[i];
    if (arg == "--optimised") {
      request.level = callgate::native::Level::kOptimised;
    } else if (arg == "--no-fuel") {
      request.fuel = false;
    } else if (arg == "--v3") {
      request.cpu = callgate::native::CpuLevel::kX86_64_v3;
    } else if (arg == "--keep-nans") {
      request.canonical_nans = false;
    } else if (arg == "--relaxed-simd") {
      request.features.relaxed_simd = true;
    } else if (arg == "--objects" && i + 1 < argc) {
      objects = argv[++i];
    } else {
      file = arg;
    }
  }
  std::ifstream in(file, std::ios::binary);
  const std::vector<char> bytes{std::istreambuf_iterator<char>(in),
                                std::istreambuf_iterator<char>()};
  callgate::native::LlvmCompiler::Initialise();
  const auto begin = std::chrono::steady_clock::now();
  const auto answer = callgate::native::LlvmCompiler::Compile(
      request, {reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()});
  const double ms = std::chrono::duration<double, std::milli>(
                        std::chrono::steady_clock::now() - begin)
                        .count();
  if (!answer.ok()) {
    std::printf("%s\n", answer.status().ToString().c_str());
    return 1;
  }
  callgate::native::CompiledModule module;
  if (!module.ParseFromString(*answer)) return 1;
  size_t object_bytes = 0;
  for (int i = 0; i < module.objects_size(); ++i) {
    object_bytes += module.objects(i).size();
    if (!objects.empty()) {
      std::ofstream(objects + "/" + std::to_string(i) + ".o", std::ios::binary)
          << module.objects(i);
    }
  }
  std::printf("%zu bytes in %.1f ms: answer %zu, %d objects of %zu\n",
              bytes.size(), ms, answer->size(), module.objects_size(),
              object_bytes);
  return 0;
}
