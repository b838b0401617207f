// The guest's descriptors: small numbers that mean something in one Context
// only. A host descriptor's number is never shown to a guest.
//
// Bounded: at most `capacity` handles are open at once, and numbers are the
// lowest that are free, so the table never outgrows that.

#ifndef CALLGATE_RUNTIME_WASI_HANDLE_TABLE_H_
#define CALLGATE_RUNTIME_WASI_HANDLE_TABLE_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "runtime/wasi/abi.h"
#include "runtime/wasi/handle_path.h"
#include "runtime/wasi/outcome.h"
#include "runtime/wasi/unique_fd.h"

namespace callgate {
namespace wasi {

struct Handle {
  enum class Kind : uint8_t { kStdin, kStdout, kStderr, kFile, kDirectory };

  Kind kind = Kind::kFile;
  // kFile: open for reading, writing or both. kDirectory: O_PATH, good for
  // looking up paths only. The streams have none.
  UniqueFd fd;
  // kDirectory: the same directory open for listing, from the first need on.
  UniqueFd listing;
  // What the guest may do with it, and with what it opens through it.
  uint64_t rights_base = 0;
  uint64_t rights_inheriting = 0;
  // fdflags.
  uint32_t flags = 0;
  // What the guest was told to call a preopened directory.
  std::optional<std::string> preopen_name;
  // The preopened directory that this is, or is beneath. Null for streams.
  std::shared_ptr<const PreopenRoot> root;
  // kFile: what the guest calls it (handle_path.h).
  std::string guest_path;

  bool is_stream() const {
    return kind == Kind::kStdin || kind == Kind::kStdout ||
           kind == Kind::kStderr;
  }
};

class HandleTable {
 public:
  explicit HandleTable(size_t capacity) : capacity_(capacity) {}

  // Those that are open stay, also where that is fewer.
  void set_capacity(size_t capacity) { capacity_ = capacity; }
  bool full() const { return open_ >= capacity_; }
  size_t open() const { return open_; }
  // The new number; kMfile when full.
  OutcomeOr<uint32_t> Insert(Handle handle);
  // Null when `fd` is not open. Valid until the next change of the table.
  Handle* Find(uint32_t fd);
  // kBadf when it is not open.
  Errno Close(uint32_t fd);
  // Closes `to` and gives its number to what `from` was. Both must be open.
  Errno Renumber(uint32_t from, uint32_t to);

 private:
  size_t capacity_;
  size_t open_ = 0;
  std::vector<std::unique_ptr<Handle>> slots_;
};

}  // namespace wasi
}  // namespace callgate

#endif  // CALLGATE_RUNTIME_WASI_HANDLE_TABLE_H_
