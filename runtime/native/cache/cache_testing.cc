#include "runtime/native/cache/cache_testing.h"

#include <dirent.h>
#include <stdlib.h>
#include <sys/stat.h>

#include <algorithm>

#include "gtest/gtest.h"

namespace callgate::native {

std::string NewCacheFolder() {
  std::string folder = testing::TempDir() + "/cacheXXXXXX";
  EXPECT_NE(mkdtemp(&folder[0]), nullptr) << folder;
  return folder + "/code";
}

CacheKey KeyOf(int number) {
  CacheKey::Bytes digest = {};
  digest[0] = static_cast<uint8_t>(number & 0xff);
  digest[1] = static_cast<uint8_t>(number >> 8 & 0xff);
  return CacheKey::Of(digest, CompileRequest(), "test compiler");
}

std::string BytesOf(int number, size_t size) {
  std::string bytes(size, '\0');
  auto state = static_cast<uint32_t>(number) * 2654435761u + 1;
  for (char& byte : bytes) {
    state = state * 1664525u + 1013904223u;
    byte = static_cast<char>(state >> 24);
  }
  return bytes;
}

std::unique_ptr<CodeCache> OpenCache(const CodeCache::Options& options) {
  absl::StatusOr<std::unique_ptr<CodeCache>> cache = CodeCache::Open(options);
  EXPECT_TRUE(cache.ok()) << cache.status();
  return cache.ok() ? *std::move(cache) : nullptr;
}

std::vector<std::string> NamesIn(const std::string& folder) {
  std::vector<std::string> names;
  DIR* const open = opendir(folder.c_str());
  EXPECT_NE(open, nullptr) << folder;
  if (open == nullptr) return names;
  while (const dirent* const entry = readdir(open)) {
    const std::string name = entry->d_name;
    if (name != "." && name != "..") names.push_back(name);
  }
  closedir(open);
  std::sort(names.begin(), names.end());
  return names;
}

uint64_t EntryBytesIn(const std::string& folder) {
  uint64_t bytes = 0;
  for (const std::string& name : NamesIn(folder)) {
    if (!CacheKey::Parse(name).has_value()) continue;
    struct stat file = {};
    // Another process may have removed it meanwhile.
    if (stat((folder + "/" + name).c_str(), &file) != 0) continue;
    bytes += (static_cast<uint64_t>(file.st_size) + 4095) / 4096 * 4096;
  }
  return bytes;
}

}  // namespace callgate::native
