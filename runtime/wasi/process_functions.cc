// Time, chance, and the end of the guest.

#include <sched.h>
#include <sys/random.h>

#include <algorithm>
#include <cstdint>
#include <memory>

#include "runtime/trap.h"
#include "runtime/wasi/functions.h"
#include "runtime/wasi/host_errno.h"

namespace callgate {
namespace wasi {
namespace {

// Between two looks at the clock while filling memory with random bytes.
constexpr uint64_t kRandomBytesPerCheck = 1 << 20;

// What a signal does to a process that does not handle it.
enum class SignalAction : uint8_t { kNothing, kEnd, kStop };

// WASI's numbers, which are Linux's for these.
constexpr uint32_t kSignals = 31;
SignalAction DefaultAction(uint32_t signal) {
  switch (signal) {
    case 0:   // none
    case 16:  // chld
    case 17:  // cont
    case 22:  // urg
    case 27:  // winch
      return SignalAction::kNothing;
    case 18:  // stop
    case 19:  // tstp
    case 20:  // ttin
    case 21:  // ttou
      return SignalAction::kStop;
    default:
      return SignalAction::kEnd;
  }
}

}  // namespace

// (clock id, where the resolution goes)
Outcome ClockResGet(HostCall& call) {
  const Outcome inside = call.InBounds(call.U32(1), 8);
  if (!inside.ok()) return inside;
  const OutcomeOr<uint64_t> resolution =
      call.state().clocks.Resolution(call.U32(0));
  if (!resolution.ok()) return resolution.failure();
  return call.WriteU64(call.U32(1), *resolution);
}

// (clock id, how late the answer may be, where the time goes)
Outcome ClockTimeGet(HostCall& call) {
  const Outcome inside = call.InBounds(call.U32(2), 8);
  if (!inside.ok()) return inside;
  const OutcomeOr<uint64_t> now = call.state().clocks.Read(call.U32(0));
  if (!now.ok()) return now.failure();
  return call.WriteU64(call.U32(2), *now);
}

// (exit code)
Outcome ProcExit(HostCall& call) {
  return ErrorRef(std::make_shared<GuestExit>(call.U32(0)));
}

// (signal)
Outcome ProcRaise(HostCall& call) {
  const uint32_t signal = call.U32(0);
  if (signal >= kSignals) return Errno::kInval;
  switch (DefaultAction(signal)) {
    case SignalAction::kNothing:
      return Errno::kSuccess;
    case SignalAction::kStop:
      return Errno::kNotSup;
    case SignalAction::kEnd:
      break;
  }
  return ErrorRef(std::make_shared<GuestExit>(128 + signal));
}

// (where the bytes go, how many)
Outcome RandomGet(HostCall& call) {
  const uint32_t address = call.U32(0);
  const uint64_t length = call.U32(1);
  const Outcome inside = call.InBounds(address, length);
  if (!inside.ok()) return inside;

  uint64_t done = 0;
  while (done < length) {
    const absl::Span<uint8_t> chunk =
        absl::MakeSpan(call.state().buffer)
            .subspan(0, static_cast<size_t>(
                            std::min<uint64_t>(length - done, kBufferBytes)));
    const ssize_t got =
        RetryOnSignal([&] { return getrandom(chunk.data(), chunk.size(), 0); });
    if (got < 0) return FromHostErrno(errno);
    const auto count = static_cast<size_t>(got);
    const Outcome written = call.Write(address + done, chunk.subspan(0, count));
    if (!written.ok()) return written;
    const uint64_t before = done;
    done += count;
    if (before / kRandomBytesPerCheck != done / kRandomBytesPerCheck) {
      const Outcome goes_on = call.CheckInterrupted();
      if (!goes_on.ok()) return goes_on;
    }
  }
  return Errno::kSuccess;
}

Outcome SchedYield(HostCall&) {
  sched_yield();
  return Errno::kSuccess;
}

}  // namespace wasi
}  // namespace callgate
