// What a hit and a store cost, and which part of it is the MAC.
//
//   bazel run -c opt //runtime/native/cache:code_cache_benchmark -- FOLDER
//
// FOLDER is made, and left behind. Minimum and median over the rounds.

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <functional>
#include <string>
#include <vector>

#include "runtime/check.h"
#include "runtime/native/cache/cache_mac.h"
#include "runtime/native/cache/code_cache.h"

namespace callgate::native {
namespace {

constexpr int kRounds = 200;

void Measure(const char* name, size_t size, const std::function<void()>& run) {
  std::vector<double> times_us;
  for (int round = 0; round < kRounds; ++round) {
    const auto begin = std::chrono::steady_clock::now();
    run();
    const std::chrono::duration<double, std::micro> took =
        std::chrono::steady_clock::now() - begin;
    times_us.push_back(took.count());
  }
  std::sort(times_us.begin(), times_us.end());
  std::printf("%8zu KiB  %-22s min %8.1f us  median %8.1f us\n", size >> 10,
              name, times_us.front(), times_us[times_us.size() / 2]);
}

void Run(const std::string& folder) {
  CodeCache::Options options;
  options.folder = folder;
  const auto cache = CodeCache::Open(options);
  CALLGATE_CHECK(cache.ok(), "the folder can be used");
  const int fd = open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  const auto mac = CacheMac::Open(fd, folder);
  CALLGATE_CHECK(mac.ok(), "the key can be read");
  close(fd);
  for (const size_t size :
       {size_t{30} << 10, size_t{1} << 20, size_t{8} << 20}) {
    CacheKey::Bytes digest = {};
    digest[0] = static_cast<uint8_t>(size >> 14);
    const CacheKey key = CacheKey::Of(digest, CompileRequest(), "benchmark");
    const std::string bytes(size, 'x');
    const std::string path = folder + "/" + key.hex();
    Measure("store", size, [&] {
      CALLGATE_CHECK((*cache)->Store(key, bytes).ok(), "it is stored");
    });
    Measure("lookup", size, [&] {
      CALLGATE_CHECK((*cache)->Lookup(key).has_value(), "it is found");
    });
    Measure("read alone", size, [&] {
      const int file = open(path.c_str(), O_RDONLY | O_CLOEXEC);
      std::string read_bytes(size + 48, '\0');
      CALLGATE_CHECK(read(file, &read_bytes[0], read_bytes.size()) ==
                         static_cast<ssize_t>(read_bytes.size()),
                     "it is read");
      close(file);
    });
    Measure("MAC alone", size, [&] {
      CacheMac::Stream stream(**mac);
      stream.Update(bytes);
      stream.Finish();
    });
  }
  Measure("miss", 0, [&] {
    CALLGATE_CHECK(!(*cache)->Lookup(CacheKey()).has_value(), "it is absent");
  });
}

}  // namespace
}  // namespace callgate::native

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fprintf(stderr, "usage: code_cache_benchmark FOLDER\n");
    return 1;
  }
  callgate::native::Run(argv[1]);
  return 0;
}
