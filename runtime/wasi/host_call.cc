#include "runtime/wasi/host_call.h"

#include <algorithm>

#include "runtime/wasi/confined_path.h"

namespace callgate {
namespace wasi {
namespace {

Outcome FromAccess(Caller::Access access) {
  switch (access) {
    case Caller::Access::kOk:
      return Errno::kSuccess;
    case Caller::Access::kOutOfBounds:
      return Errno::kFault;
    case Caller::Access::kOverBudget:
      break;
  }
  return Caller::OverBudget();
}

}  // namespace

Outcome HostCall::InBounds(uint32_t address, uint64_t length) {
  return caller_.InBounds(address, length) ? Errno::kSuccess : Errno::kFault;
}

Outcome HostCall::Read(uint64_t address, absl::Span<uint8_t> out) {
  return FromAccess(caller_.Read(address, out));
}

Outcome HostCall::Write(uint64_t address, absl::Span<const uint8_t> bytes) {
  return FromAccess(caller_.Write(address, bytes));
}

Outcome HostCall::WriteU32(uint32_t address, uint32_t value) {
  std::array<uint8_t, 4> bytes{};
  Put(bytes, 0, value);
  return Write(address, bytes);
}

Outcome HostCall::WriteU64(uint32_t address, uint64_t value) {
  std::array<uint8_t, 8> bytes{};
  Put(bytes, 0, value);
  return Write(address, bytes);
}

OutcomeOr<std::string> HostCall::ReadPath(uint32_t address, uint32_t length) {
  if (const Outcome inside = InBounds(address, length); !inside.ok()) {
    return inside;
  }
  if (length > kPathBytesMax) return Errno::kNameTooLong;
  std::string path(length, '\0');
  // SAFETY: uint8_t may alias char; the span is the string's own bytes.
  const Outcome read = Read(
      address,
      absl::MakeSpan(reinterpret_cast<uint8_t*>(path.data()), path.size()));
  if (!read.ok()) return read;
  return path;
}

OutcomeOr<std::vector<GuestRange>> HostCall::ReadIovecs(uint32_t address,
                                                        uint32_t count) {
  if (count > kIovecsMax) return Errno::kInval;
  std::vector<uint8_t> raw(count * kIovecBytes);
  if (const Outcome read = Read(address, absl::MakeSpan(raw)); !read.ok()) {
    return read;
  }
  std::vector<GuestRange> ranges;
  uint64_t room = kTransferBytesMax;
  for (uint32_t i = 0; i < count; ++i) {
    const uint8_t* entry = raw.data() + i * kIovecBytes;
    GuestRange range{Get<uint32_t>(entry), Get<uint32_t>(entry + 4)};
    if (range.length == 0) continue;
    if (const Outcome inside = InBounds(range.address, range.length);
        !inside.ok()) {
      return inside;
    }
    range.length =
        static_cast<uint32_t>(std::min<uint64_t>(range.length, room));
    room -= range.length;
    if (range.length > 0) ranges.push_back(range);
  }
  return ranges;
}

OutcomeOr<Handle*> HostCall::Find(uint32_t fd, uint64_t rights) {
  Handle* handle = state_.handles.Find(fd);
  if (handle == nullptr) return Errno::kBadf;
  if ((rights & ~handle->rights_base) != 0) return Errno::kNotCapable;
  return handle;
}

OutcomeOr<Handle*> HostCall::FindDirectory(uint32_t fd, uint64_t rights) {
  Handle* handle = state_.handles.Find(fd);
  if (handle == nullptr) return Errno::kBadf;
  if (handle->kind != Handle::Kind::kDirectory) return Errno::kNotDir;
  return Find(fd, rights);
}

Outcome HostCall::CheckInterrupted() {
  if (caller_.WaitUntil(absl::InfinitePast()) == WakeReason::kInterrupted) {
    return caller_.Interrupted();
  }
  return Errno::kSuccess;
}

}  // namespace wasi
}  // namespace callgate
