// Host functions and what they see of the guest that called them.
//
// All guest memory that a host function touches goes through its Caller, which
// checks every range in 64 bits, counts the bytes, and serves reads from the
// hook's captured copy where there is one. There is no raw pointer to take.

#ifndef CALLGATE_RUNTIME_CALLER_H_
#define CALLGATE_RUNTIME_CALLER_H_

#include <cstdint>
#include <functional>
#include <optional>
#include <vector>

#include "absl/time/time.h"
#include "absl/types/span.h"
#include "runtime/call_hook.h"
#include "runtime/fuel.h"
#include "runtime/instance.h"

namespace callgate {

class Store;

// Why a wait ended.
enum class WakeReason : uint8_t { kTimeReached, kInterrupted };

// The guest's side of one host call. Valid until the host function returns; on
// the Store's thread.
class Caller {
 public:
  virtual Store& store() = 0;
  virtual const FunctionIdentity& function() const = 0;
  // The instance whose code called; nothing when the embedder did.
  virtual std::optional<Instance> instance() = 0;
  // Its memory 0: bytes, 0 without a memory.
  virtual uint64_t MemoryBytes() = 0;

  enum class Access : uint8_t {
    kOk,
    kOutOfBounds,  // the range is not inside memory: EFAULT
    // The call has moved its host_bytes_per_call: return OverBudget().
    kOverBudget,
  };
  // Copies out of memory 0. `out` is unspecified unless kOk.
  virtual Access Read(uint64_t address, absl::Span<uint8_t> out) = 0;
  // Copies into memory 0. Nothing is written unless kOk.
  virtual Access Write(uint64_t address, absl::Span<const uint8_t> bytes) = 0;
  // Whether [address, address + length) is inside memory 0.
  virtual bool InBounds(uint64_t address, uint64_t length) = 0;

  // The error to return after kOverBudget.
  static ErrorRef OverBudget();

  // Waits until `when`, or until the call's deadline passes or the Store is
  // interrupted: then return Interrupted(). On a fiber of an executor the Store
  // is parked and may go on on another thread: see parker.h for what must not
  // be kept across.
  virtual WakeReason WaitUntil(absl::Time when) = 0;
  // Waits until `fd` is readable (or at its end), `when`, or interruption.
  virtual WakeReason WaitReadable(int fd, absl::Time when) = 0;
  // The error to return after kInterrupted: a TrapError of the right code.
  virtual ErrorRef Interrupted() = 0;

  // The Wasm frames below, newest first.
  virtual std::vector<Frame> Backtrace(size_t max_frames) = 0;

  // The Store's fuel. What is changed here counts when the host function has
  // returned. To charge the guest for work: Consume, and return Fuel::Spent()
  // when that answers ResourceExhausted.
  virtual Fuel& fuel() = 0;

 protected:
  ~Caller() = default;
};

// What a host function answers: null when its results are set, else the error
// that ends the guest's call.
using HostFunction =
    std::function<ErrorRef(Caller& caller, absl::Span<const RawValue> args,
                           absl::Span<RawValue> results)>;

}  // namespace callgate

#endif  // CALLGATE_RUNTIME_CALLER_H_
