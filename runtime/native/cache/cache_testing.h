// What the cache's tests share.

#ifndef CALLGATE_RUNTIME_NATIVE_CACHE_CACHE_TESTING_H_
#define CALLGATE_RUNTIME_NATIVE_CACHE_CACHE_TESTING_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "runtime/native/cache/code_cache.h"

namespace callgate::native {

// A new folder's name inside a new folder.
std::string NewCacheFolder();

// The key, and bytes that belong to it and no other.
CacheKey KeyOf(int number);
std::string BytesOf(int number, size_t size);

// Fails the test, and returns null, when it cannot be opened.
std::unique_ptr<CodeCache> OpenCache(const CodeCache::Options& options);

// Names in a folder, sorted, without "." and "..".
std::vector<std::string> NamesIn(const std::string& folder);

// As CodeCache counts.
uint64_t EntryBytesIn(const std::string& folder);

}  // namespace callgate::native

#endif  // CALLGATE_RUNTIME_NATIVE_CACHE_CACHE_TESTING_H_
