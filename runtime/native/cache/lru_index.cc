#include "runtime/native/cache/lru_index.h"

#include <algorithm>

namespace callgate::native {

void LruIndex::Touch(const CacheKey& key, uint64_t bytes, int64_t now_ns) {
  last_use_ns_ = std::max(now_ns, last_use_ns_ + 1);
  Put(key, bytes, last_use_ns_);
}

void LruIndex::Found(const CacheKey& key, uint64_t bytes, int64_t used_ns) {
  const auto known = entries_.find(key);
  if (known != entries_.end()) {
    used_ns = std::max(used_ns, known->second.used_ns);
  }
  Put(key, bytes, used_ns);
}

void LruIndex::Erase(const CacheKey& key) {
  const auto known = entries_.find(key);
  if (known != entries_.end()) Drop(known);
}

std::vector<CacheKey> LruIndex::MakeRoom(uint64_t bytes, uint64_t entries) {
  std::vector<CacheKey> erased;
  while (!by_use_.empty() && (bytes_ + bytes > bytes_max_ ||
                              entries_.size() + entries > entries_max_)) {
    erased.push_back(by_use_.begin()->second);
    Drop(entries_.find(erased.back()));
  }
  return erased;
}

void LruIndex::EndScan() {
  for (auto entry = entries_.begin(); entry != entries_.end();) {
    const auto next = std::next(entry);
    if (entry->second.scan != scan_) Drop(entry);
    entry = next;
  }
}

void LruIndex::Put(const CacheKey& key, uint64_t bytes, int64_t used_ns) {
  Entry& entry = entries_[key];
  by_use_.erase({entry.used_ns, key});
  by_use_.insert({used_ns, key});
  bytes_ = bytes_ - entry.bytes + bytes;
  entry = {bytes, used_ns, scan_};
}

void LruIndex::Drop(Entries::iterator entry) {
  bytes_ -= entry->second.bytes;
  by_use_.erase({entry->second.used_ns, entry->first});
  entries_.erase(entry);
}

}  // namespace callgate::native
