// Which entries a cache folder holds, how large each is, and which was used
// longest ago. Bookkeeping only: touches no file. For one thread at a time.

#ifndef CALLGATE_RUNTIME_NATIVE_CACHE_LRU_INDEX_H_
#define CALLGATE_RUNTIME_NATIVE_CACHE_LRU_INDEX_H_

#include <cstddef>
#include <cstdint>
#include <set>
#include <unordered_map>
#include <utility>
#include <vector>

#include "absl/hash/hash.h"
#include "runtime/native/cache/cache_key.h"

namespace callgate::native {

class LruIndex {
 public:
  LruIndex(uint64_t bytes_max, uint64_t entries_max)
      : bytes_max_(bytes_max), entries_max_(entries_max) {}

  // The entry was used or stored just now, at `now_ns` of the wall clock. Later
  // calls count as later whatever the clock does.
  void Touch(const CacheKey& key, uint64_t bytes, int64_t now_ns);

  // The entry was found in the folder, last used at `used_ns`. What is known
  // of its use stays.
  void Found(const CacheKey& key, uint64_t bytes, int64_t used_ns);

  void Erase(const CacheKey& key);

  // Erases entries, the longest unused first, until `bytes` in `entries` would
  // fit beside the rest, and returns them.
  std::vector<CacheKey> MakeRoom(uint64_t bytes, uint64_t entries);

  // Entries that were neither found nor touched between the two calls are
  // forgotten: their files are gone.
  void BeginScan() { ++scan_; }
  void EndScan();

  uint64_t bytes() const { return bytes_; }
  uint64_t entries() const { return entries_.size(); }

 private:
  struct Entry {
    uint64_t bytes = 0;
    int64_t used_ns = 0;
    uint64_t scan = 0;  // the last that saw it
  };
  using Entries = std::unordered_map<CacheKey, Entry, absl::Hash<CacheKey>>;

  void Put(const CacheKey& key, uint64_t bytes, int64_t used_ns);
  void Drop(Entries::iterator entry);

  // Constant after construction.
  const uint64_t bytes_max_;
  const uint64_t entries_max_;

  Entries entries_;
  std::set<std::pair<int64_t, CacheKey>> by_use_;
  uint64_t bytes_ = 0;
  int64_t last_use_ns_ = 0;
  uint64_t scan_ = 0;
};

}  // namespace callgate::native

#endif  // CALLGATE_RUNTIME_NATIVE_CACHE_LRU_INDEX_H_
