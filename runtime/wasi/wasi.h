// WASI preview 1 (module "wasi_snapshot_preview1") for guests of one Store:
// all of its functions, over what the embedder hands to a Context and nothing
// else. A guest without preopened directories has no files, and no guest has
// sockets.
//
// Confinement: every path is looked up by the kernel beneath an open directory
// (openat2, so Linux 5.6 or later) and never followed outside of it. Guests see
// regular files, directories and symbolic links; pipes, sockets and devices
// that lie in a directory cannot be opened. Rights are checked as WASI defines
// them, and a handle never gives more than the one that it was opened through.
//
// What a guest gets when a bound is reached:
//   handles                     MFILE
//   output over its maximum     as much as fits, then NOSPC
//   more than 16 MiB at once    a short count from fd_read, fd_write, fd_pread
//                               and fd_pwrite
//   more than 1024 iovecs, or 1024 subscriptions of poll_oneoff   INVAL
//   paths over 4095 bytes       NAMETOOLONG
//   a pointer outside memory    FAULT, and nothing was done
//   a file over the process's RLIMIT_FSIZE   FBIG, where the process ignores
//                               SIGXFSZ as it should; else that ends it
// WASI's two CPU-time clocks are INVAL: the host's count other guests too.
//
// proc_exit ends the call with a GuestExit. proc_raise does what the signal
// does to a process that handles none: nothing, or a GuestExit of 128 + signal;
// stopping is NOTSUP.

#ifndef CALLGATE_RUNTIME_WASI_WASI_H_
#define CALLGATE_RUNTIME_WASI_WASI_H_

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "runtime/linker.h"
#include "runtime/wasi/clocks.h"
#include "runtime/wasi/function_info.h"
#include "runtime/wasi/streams.h"

namespace callgate {
namespace wasi {

// A directory of the host that the guest may use.
struct Preopen {
  std::string host_dir;
  // What the guest calls it: "/", ".", "/data".
  std::string guest_name;
  // Nothing in it can be changed.
  bool read_only = false;
  // When not empty, host_dir must be this directory or lie inside of it, by a
  // lookup that no symbolic link leads out of. Both absolute.
  std::string inside = {};
};

struct Options {
  // args[0] is the program's name.
  std::vector<std::string> args;
  // "NAME=value".
  std::vector<std::string> env;

  // Standard input: these bytes, or, when not negative, this descriptor, which
  // must stay open as long as the Context. Not both.
  std::string stdin_bytes;
  int stdin_fd = -1;
  // Where output goes; null keeps it for Context::TakeStdout and TakeStderr.
  // Called on the Store's thread, on the guest's time.
  OutputSink stdout_sink;
  OutputSink stderr_sink;
  // Bytes of each of the two, counted from the last Take.
  uint64_t output_bytes_max = 16 << 20;
  // Whether standard input, output and error output look like terminals, so
  // that C libraries flush lines.
  std::array<bool, 3> terminal{};

  std::vector<Preopen> preopens;
  // Open at once, besides the three streams and the preopened directories.
  uint32_t open_handles_max = 64;
  // Told of each one that the guest asks for: the how manieth it would be, and
  // whether it is refused for open_handles_max. May be null. On the Store's
  // thread, inside the guest's call.
  std::function<void(uint64_t number, bool refused)> on_open_handle;

  // The step of both clocks, as the guest sees them.
  absl::Duration clock_resolution = absl::Nanoseconds(1);
  NanosecondClock realtime = HostRealtimeNs;
  NanosecondClock monotonic = HostMonotonicNs;
};

struct State;

// The world of one guest. For one Store, on its thread.
class Context {
 public:
  // Opens the preopened directories.
  //   InvalidArgument     an option cannot be what it is; says which and why
  //   NotFound, PermissionDenied, FailedPrecondition, …
  //                       a directory cannot be opened; names it
  static absl::StatusOr<std::shared_ptr<Context>> Create(Options options);
  ~Context();
  Context(const Context&) = delete;
  Context& operator=(const Context&) = delete;

  // What the guest has written since the last Take, raw; empty with a sink.
  std::string TakeStdout();
  std::string TakeStderr();
  // Bytes that did not fit Options::output_bytes_max, of both together.
  uint64_t output_bytes_refused() const;

  // What the guest would call what `fd` is open on (handle_path.h): the
  // preopened directory's name and the path beneath it. Empty if it is not
  // open, is a stream, or the path is too long or not known. Until the next
  // call.
  absl::string_view GuestPathOf(uint32_t fd);
  // Whether it is open on standard input, output or error, by whatever number.
  bool IsStream(uint32_t fd) const;
  // Options::open_handles_max from now on; what is open stays open.
  void SetOpenHandlesMax(uint32_t max);
  // From now on no path in a call of `function` follows a symbolic link: kLoop.
  // Nothing happens if there is no such function.
  void RefuseLinks(absl::string_view function);

  // For the functions of this folder.
  State& state() { return *state_; }

 private:
  explicit Context(std::unique_ptr<State> state);
  const std::unique_ptr<State> state_;
  std::string path_;  // of GuestPathOf
};

// Defines all functions under kModuleName. The linker and every Store made with
// it share `context`.
absl::Status AddToLinker(Linker& linker, std::shared_ptr<Context> context);

}  // namespace wasi
}  // namespace callgate

#endif  // CALLGATE_RUNTIME_WASI_WASI_H_
