#include "runtime/native/worker/worker.h"

#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <memory>
#include <new>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "runtime/native/worker/confine.h"

namespace callgate::native {
namespace {

// Reads exactly so much; false when the end or an error comes first.
bool ReadAll(int fd, void* to, uint64_t bytes) {
  auto* at = static_cast<char*>(to);
  while (bytes > 0) {
    const ssize_t got = read(fd, at, static_cast<size_t>(bytes));
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return false;
    at += got;
    bytes -= static_cast<uint64_t>(got);
  }
  return true;
}

// Without a reader SIGPIPE ends the worker, which is all that is left to do.
void WriteAll(int fd, absl::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t sent = write(fd, bytes.data(), bytes.size());
    if (sent < 0 && errno == EINTR) continue;
    if (sent <= 0) return;
    bytes.remove_prefix(static_cast<size_t>(sent));
  }
}

void WriteFrame(int fd, FrameKind kind, absl::string_view bytes) {
  WriteAll(fd, EncodeFrameHead(kind, bytes.size()));
  WriteAll(fd, bytes);
}

void WriteText(int fd, FrameKind kind, absl::string_view text) {
  WriteFrame(fd, kind, PrintableText(text));
}

// Takes the rest of the powers away as `order` says.
absl::Status LockIn(const Order& order, uint64_t address_space,
                    const absl::StatusOr<SystemCallFilter>& filter) {
  if (!filter.ok()) return filter.status();
  if (address_space == 0) {
    return absl::UnavailableError("cannot read /proc/self/statm");
  }
  Confinement confinement;
  confinement.address_space =
      address_space +
      std::min(order.memory_bytes, ~uint64_t{0} - address_space);
  confinement.cpu_seconds = order.cpu_seconds;
  confinement.nice = order.request.level == Level::kOptimised;
  return Confine(confinement, *filter);
}

void Answer(const Order& order, const absl::StatusOr<std::string>& compiled) {
  if (!compiled.ok()) {
    const absl::string_view why = compiled.status().message();
    WriteText(kWorkerFd, FrameKind::kRefused,
              why.empty() ? "the compiler refused it without a reason" : why);
  } else if (compiled->size() > order.answer_bytes_max) {
    WriteText(
        kWorkerFd, FrameKind::kRefused,
        absl::StrCat("its machine code is ", compiled->size(),
                     " bytes, over the limit of ", order.answer_bytes_max));
  } else {
    WriteFrame(kWorkerFd, FrameKind::kCompiled, *compiled);
  }
}

[[noreturn]] void RunWorker(int socket, pid_t parent, bool keep_stderr,
                            const Compiler& compiler) {
  // A spare's time: all that can be done before the order is known.
  absl::Status left = LeaveParent(socket, parent, keep_stderr);
  const absl::StatusOr<SystemCallFilter> filter =
      left.ok() ? SystemCallFilter::Build() : left;
  compiler.Rehearse();
  const uint64_t address_space = AddressSpaceNow();

  const absl::StatusOr<Order> order = ReadRequest(kWorkerFd);
  if (absl::IsUnavailable(order.status())) _exit(0);
  const absl::Status locked =
      order.ok() ? LockIn(*order, address_space, filter) : order.status();
  if (!locked.ok()) {
    WriteText(kWorkerFd, FrameKind::kNotLocked, locked.message());
    _exit(1);
  }
  std::set_new_handler(EndOutOfMemory);
  WriteFrame(kWorkerFd, FrameKind::kLocked, "");

  // From here on everything may be a stranger's.
  const auto bytes = static_cast<size_t>(order->module_bytes);
  const std::unique_ptr<uint8_t[]> module(new uint8_t[bytes]);
  if (!ReadAll(kWorkerFd, module.get(), bytes)) _exit(0);
  Answer(*order, compiler.Compile(order->request,
                                  absl::MakeConstSpan(module.get(), bytes)));
  // Before the process goes, since the kernel frees all its memory first.
  close(kWorkerFd);
  _exit(0);
}

}  // namespace

ForkedWorker ForkWorker(const Compiler& compiler, bool keep_stderr) {
  ForkedWorker worker;
  int ends[2];
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) {
    worker.error = errno;
    return worker;
  }
  worker.socket = UniqueFd(ends[0]);
  const UniqueFd inner(ends[1]);
  const pid_t parent = getpid();
  worker.pid = fork();
  if (worker.pid == 0) RunWorker(inner.get(), parent, keep_stderr, compiler);
  if (worker.pid < 0) worker.error = errno;
  return worker;
}

absl::StatusOr<Order> ReadRequest(int socket) {
  std::string bytes(kRequestBytes, '\0');
  if (!ReadAll(socket, bytes.data(), bytes.size())) {
    return absl::UnavailableError("no request came");
  }
  return DecodeRequest(bytes);
}

}  // namespace callgate::native
