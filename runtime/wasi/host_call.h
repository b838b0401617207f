// One call of a WASI function: its arguments, the guest's memory, and the
// Context's state. All memory goes through the Caller, each byte is read once.

#ifndef CALLGATE_RUNTIME_WASI_HOST_CALL_H_
#define CALLGATE_RUNTIME_WASI_HOST_CALL_H_

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/types/span.h"
#include "runtime/caller.h"
#include "runtime/wasi/clocks.h"
#include "runtime/wasi/confined_path.h"
#include "runtime/wasi/handle_table.h"
#include "runtime/wasi/outcome.h"
#include "runtime/wasi/streams.h"

namespace callgate {
namespace wasi {

// Everything a Context owns.
struct State {
  std::vector<std::string> args;
  std::vector<std::string> env;
  Input input;
  Output output;
  Output error_output;
  std::array<bool, 3> terminal;
  Clocks clocks;
  HandleTable handles;
  // Where bytes rest between guest and host; of one call at a time.
  std::vector<uint8_t> buffer;
  // What paths do about symbolic links, by function in their order.
  std::vector<Links> links;
};

// The size of State::buffer.
inline constexpr size_t kBufferBytes = 64 << 10;
// What one call reads or writes at most, so that it ends soon.
inline constexpr uint64_t kTransferBytesMax = 16 << 20;
inline constexpr uint32_t kIovecsMax = 1024;

// A piece of guest memory.
struct GuestRange {
  uint32_t address = 0;
  uint32_t length = 0;
};

class HostCall {
 public:
  // `function` is its place in AllFunctions().
  HostCall(State& state, size_t function, Caller& caller,
           absl::Span<const RawValue> args)
      : state_(state),
        links_(state.links[function]),
        caller_(caller),
        args_(args) {}

  State& state() { return state_; }
  // What this call's paths do about symbolic links.
  Links links() const { return links_; }
  Caller& caller() { return caller_; }
  uint32_t U32(size_t index) const { return args_[index].u32(); }
  uint64_t U64(size_t index) const { return args_[index].u64(); }

  // kFault unless the whole range is inside memory.
  Outcome InBounds(uint32_t address, uint64_t length);
  Outcome Read(uint64_t address, absl::Span<uint8_t> out);
  Outcome Write(uint64_t address, absl::Span<const uint8_t> bytes);
  Outcome WriteU32(uint32_t address, uint32_t value);
  Outcome WriteU64(uint32_t address, uint64_t value);
  // A path, without its NUL, of at most kPathBytesMax bytes.
  OutcomeOr<std::string> ReadPath(uint32_t address, uint32_t length);
  // An array of iovecs, each checked to be inside memory, without the empty
  // ones, cut at kTransferBytesMax in total.
  OutcomeOr<std::vector<GuestRange>> ReadIovecs(uint32_t address,
                                                uint32_t count);

  // kBadf, or kNotCapable when the handle lacks one of the rights. Streams and
  // files may be asked for; see also the next.
  OutcomeOr<Handle*> Find(uint32_t fd, uint64_t rights);
  // The same for directories: kNotDir for anything else.
  OutcomeOr<Handle*> FindDirectory(uint32_t fd, uint64_t rights);

  // For long work between its steps: whether the call's time is up.
  Outcome CheckInterrupted();

 private:
  State& state_;
  const Links links_;
  Caller& caller_;
  const absl::Span<const RawValue> args_;
};

}  // namespace wasi
}  // namespace callgate

#endif  // CALLGATE_RUNTIME_WASI_HOST_CALL_H_
