// Compiled modules on disk: opaque bytes by the name of their compilation, in
// one folder, at most so many bytes, the longest unused thrown away first.
//
// Entries are machine code, so each is authenticated (cache_mac.h) before it is
// returned. A file that is not what Store wrote under that very key, whatever
// happened to it, is absent: Lookup removes and counts it. Bytes are read, not
// mapped: nobody can change or cut them off after they were checked.
//
// An entry is written to a file of its own, then renamed, so that kill -9
// leaves all of it or nothing under its name. Nothing is synced: after a loss
// of power the name may stand for torn bytes, which the MAC finds out, at the
// price of compiling again.
//
// Threads: any, at once. No lock is held while files are read or written.
//
// Processes: several may use one folder. Every change of a name is one rename
// or unlink, unfinished files are locked (flock) by whoever writes them, and
// the key is made under the folder's lock. Each keeps the folder below
// `bytes_max` as far as it knows; it looks for others' entries after every
// eighth of `bytes_max` that it stored, so P processes stay below
// bytes_max * (1 + (P - 1) / 8).

#ifndef CALLGATE_RUNTIME_NATIVE_CACHE_CODE_CACHE_H_
#define CALLGATE_RUNTIME_NATIVE_CACHE_CODE_CACHE_H_

#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "runtime/native/cache/cache_key.h"
#include "runtime/native/cache/cache_mac.h"
#include "runtime/native/cache/lru_index.h"

namespace callgate::native {

class CodeCache {
 public:
  struct Options {
    // Made with mode 0700 where it is missing; its parent must be there. Files
    // in it with other names than the cache's stay.
    std::string folder;
    // Of all entries, each rounded up to whole 4 KiB, those being written
    // included.
    uint64_t bytes_max = uint64_t{2} << 30;
    // Of one entry.
    uint64_t entry_bytes_max = uint64_t{512} << 20;
    uint64_t entries_max = 65'536;
  };

  // Since Open, unless "now" is said.
  struct Stats {
    uint64_t hits = 0;
    uint64_t misses = 0;   // corrupt ones are misses, too
    uint64_t corrupt = 0;  // entries that were not what had been stored
    uint64_t evicted = 0;
    uint64_t stored = 0;
    uint64_t store_errors = 0;
    uint64_t bytes = 0;    // now, as bytes_max counts
    uint64_t entries = 0;  // now
  };

  // PermissionDenied when somebody else than this process's user owns, or may
  // write to, the folder or its key. Removes what killed writers left, and
  // evicts down to the limits.
  static absl::StatusOr<std::unique_ptr<CodeCache>> Open(
      const Options& options);
  ~CodeCache();
  CodeCache(const CodeCache&) = delete;
  CodeCache& operator=(const CodeCache&) = delete;

  // The bytes last stored under `key`, or nothing.
  std::optional<std::string> Lookup(const CacheKey& key);

  // Keeps `bytes` under `key`, in place of what is there. An error leaves the
  // cache as it was, except for entries evicted to make room: log it if at
  // all. ResourceExhausted: larger than the limits allow, or together with
  // what other threads are storing.
  absl::Status Store(const CacheKey& key, absl::string_view bytes);

  // Forgets an entry whose bytes its reader refuses; one that is not there is
  // fine.
  void Remove(const CacheKey& key);

  Stats stats() const;

 private:
  struct Candidate;

  CodeCache(const Options& options, int folder_fd,
            std::unique_ptr<const CacheMac> mac);

  absl::Status Scan();
  void LookAt(const std::string& name);
  Candidate Read(const CacheKey& key) const;
  absl::Status Write(const CacheKey& key, absl::string_view bytes) const;
  void Unlink(const std::vector<CacheKey>& keys) const;
  std::vector<CacheKey> MakeRoomLocked();

  // Constant after construction.
  const Options options_;
  const int folder_fd_;
  const std::unique_ptr<const CacheMac> mac_;

  mutable std::mutex mu_;
  // Guarded by mu_. In `stats_` all but bytes and entries.
  LruIndex index_;
  Stats stats_;
  uint64_t storing_bytes_ = 0;
  uint64_t storing_entries_ = 0;
  uint64_t bytes_since_scan_ = 0;
  bool scanning_ = false;
};

}  // namespace callgate::native

#endif  // CALLGATE_RUNTIME_NATIVE_CACHE_CODE_CACHE_H_
