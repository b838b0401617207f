// How a guest's call ended when it did not end with values: a Trap, with its
// code, its message in the specification's words and the Wasm backtrace.
//
// A trap is a value and normal work; absl::Status is for what we could not do.

#ifndef CALLGATE_RUNTIME_TRAP_H_
#define CALLGATE_RUNTIME_TRAP_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/string_view.h"

namespace callgate {

enum class TrapCode : uint8_t {
  // The specification's.
  kUnreachable,
  kMemoryOutOfBounds,
  kTableOutOfBounds,
  kUndefinedElement,  // call_indirect beyond the table
  kUninitializedElement,
  kIndirectCallTypeMismatch,
  kIntegerOverflow,
  kIntegerDivideByZero,
  kInvalidConversionToInteger,
  kCallStackExhausted,
  // The host's limits.
  kOutOfFuel,
  kInterrupted,            // Store::Interrupt
  kDeadlineExceeded,       // the wall budget of the call
  kProcessorTimeExceeded,  // the processor time budget of the call
  kGrowthLimited,          // a growth that the limiter turned into a trap
  kHostBytesExceeded,      // bytes moved between guest and host in one call
  kActivationDepthExceeded,
  // Somebody's decision: cause() says whose and why.
  kHostError,  // a host function returned an error
  kRefused,    // the call hook refused
};

// The trap's message as the specification's test suite words it, or ours in
// the same manner: "integer divide by zero", "out of fuel".
absl::string_view TrapCodeMessage(TrapCode code);
// "integer_divide_by_zero": for metrics, JSON and logs.
absl::string_view TrapCodeName(TrapCode code);

// What a host function or a hook reports as its reason to stop the guest. It
// travels to whoever called the guest unchanged: the very same object, so an
// embedder can attach anything and recognise it by type or by address.
//
// Immutable once made; any thread.
class ErrorObject {
 public:
  virtual ~ErrorObject() = default;
  // One line for people. May hold bytes from a guest: escape before showing.
  virtual std::string message() const = 0;
};

using ErrorRef = std::shared_ptr<const ErrorObject>;

// An error that is only words.
ErrorRef MakeError(std::string message);

// An error that asks for a trap of a given code: what Wasmi calls a trap code
// returned by a host function. Trap::code() is then this one.
class TrapError final : public ErrorObject {
 public:
  explicit TrapError(TrapCode code) : code_(code) {}
  TrapCode code() const { return code_; }
  std::string message() const override;

 private:
  const TrapCode code_;
};

// The guest ended itself, as WASI's proc_exit does: not a failure.
class GuestExit final : public ErrorObject {
 public:
  explicit GuestExit(uint32_t code) : code_(code) {}
  uint32_t code() const { return code_; }
  std::string message() const override;

 private:
  const uint32_t code_;
};

// Where in its source a Wasm function is, by the module's debug information,
// which is the guest's word for it. Where the source's compiler inlined one
// function into another, the place is in the innermost.
struct SourceLocation {
  // As the compiler was told: relative to a folder of its own, or absolute. At
  // most 1,024 untrusted bytes of UTF-8.
  std::string file;
  uint32_t line = 0;  // from 1
  // From 1; 0 where it is not known.
  uint32_t column = 0;
};

// "parse.c:12:3", "parse.c:12"; as untrusted as the file.
std::string ToString(const SourceLocation& source);

// One Wasm frame of a backtrace.
struct Frame {
  uint32_t func_index = 0;
  // From the name section, else from an export, else empty. Untrusted bytes,
  // at most 256 of them.
  std::string func_name;
  // The Instance's name, else empty.
  std::string module_name;
  // Offset in the module's bytes, where the engine knows it.
  std::optional<uint64_t> module_offset;
  // Where the module says it and the engine reads it.
  std::optional<SourceLocation> source;
};

inline constexpr size_t kBacktraceFramesMax = 20;

class Trap {
 public:
  Trap(TrapCode code, std::vector<Frame> backtrace)
      : code_(code), backtrace_(std::move(backtrace)) {}
  // From an error: kHostError or kRefused as given, unless the error is a
  // TrapError and names its own code.
  static Trap FromError(TrapCode otherwise, ErrorRef cause,
                        std::vector<Frame> backtrace);

  TrapCode code() const { return code_; }
  // The cause's message where there is a cause, else the code's.
  std::string message() const;
  // Newest first, at most kBacktraceFramesMax.
  const std::vector<Frame>& backtrace() const { return backtrace_; }
  // The error object of the host function or hook, or null.
  const ErrorRef& cause() const { return cause_; }
  // The exit code where the guest ended itself.
  std::optional<uint32_t> exit_code() const;

 private:
  TrapCode code_;
  std::vector<Frame> backtrace_;
  ErrorRef cause_;
};

// What a host function returns to pass on the trap of a guest it called: the
// same error object where there is one, else one that brings the code back.
ErrorRef ErrorFromTrap(const Trap& trap);

}  // namespace callgate

#endif  // CALLGATE_RUNTIME_TRAP_H_
