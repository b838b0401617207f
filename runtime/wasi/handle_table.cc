#include "runtime/wasi/handle_table.h"

#include <algorithm>
#include <utility>

namespace callgate {
namespace wasi {

OutcomeOr<uint32_t> HandleTable::Insert(Handle handle) {
  if (full()) return Errno::kMfile;
  auto free = std::find(slots_.begin(), slots_.end(), nullptr);
  if (free == slots_.end()) free = slots_.insert(free, nullptr);
  *free = std::make_unique<Handle>(std::move(handle));
  ++open_;
  return static_cast<uint32_t>(free - slots_.begin());
}

Handle* HandleTable::Find(uint32_t fd) {
  return fd < slots_.size() ? slots_[fd].get() : nullptr;
}

Errno HandleTable::Close(uint32_t fd) {
  if (Find(fd) == nullptr) return Errno::kBadf;
  slots_[fd].reset();
  --open_;
  return Errno::kSuccess;
}

Errno HandleTable::Renumber(uint32_t from, uint32_t to) {
  if (Find(from) == nullptr || Find(to) == nullptr) return Errno::kBadf;
  if (from == to) return Errno::kSuccess;
  slots_[to] = std::move(slots_[from]);
  --open_;
  return Errno::kSuccess;
}

}  // namespace wasi
}  // namespace callgate
