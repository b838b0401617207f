// `callgate-compile` with a compiler that does what the module says: its first
// word is a command, the rest after one blank its argument.

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "runtime/native/worker/compiler.h"
#include "runtime/native/worker/confine.h"
#include "runtime/native/worker/worker_main.h"

namespace callgate::native {
namespace {

using Answer = absl::StatusOr<std::string>;

[[noreturn]] void SleepForEver() {
  while (true) {
    const timespec time = {1, 0};
    nanosleep(&time, nullptr);
  }
}

void WriteRaw(absl::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t sent = write(kWorkerFd, bytes.data(), bytes.size());
    if (sent <= 0) _exit(7);
    bytes.remove_prefix(static_cast<size_t>(sent));
  }
}

uint64_t Number(absl::string_view text) {
  uint64_t number = 0;
  if (!absl::SimpleAtoi(text, &number)) _exit(8);
  return number;
}

// Not the compiler's to optimise: every call needs its frame.
__attribute__((noinline)) int Recurse(volatile int* depth) {
  volatile int mine = *depth + 1;
  if (mine < 0) return 0;  // Not before there is no stack left.
  return Recurse(&mine) + mine;
}

Answer Echo(const CompileRequest&, absl::string_view argument) {
  return absl::StrCat("echo:", argument);
}

Answer Options(const CompileRequest& request, absl::string_view) {
  return absl::StrCat(
      request.level == Level::kOptimised ? "optimised" : "baseline",
      request.cpu == CpuLevel::kX86_64_v3 ? " v3" : " v2",
      request.fuel ? " fuel" : "", request.canonical_nans ? " canonical" : "",
      request.features.simd ? " simd" : "",
      request.features.threads ? " threads" : "");
}

Answer Refuse(const CompileRequest&, absl::string_view argument) {
  return absl::InvalidArgumentError(argument);
}

Answer Crash(const CompileRequest&, absl::string_view) {
  // Real, and no bug that a sanitizer would describe.
  void* const page =
      mmap(nullptr, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  *static_cast<volatile char*>(page) = 1;
  return "unreachable";
}

Answer OverflowStack(const CompileRequest&, absl::string_view) {
  volatile int depth = 0;
  return absl::StrCat(Recurse(&depth));
}

Answer Abort(const CompileRequest&, absl::string_view) { std::abort(); }

Answer Exit(const CompileRequest&, absl::string_view argument) {
  _exit(static_cast<int>(Number(argument)));
}

Answer Spin(const CompileRequest&, absl::string_view) {
  volatile uint64_t turns = 0;
  while (true) turns = turns + 1;
}

Answer Sleep(const CompileRequest&, absl::string_view) { SleepForEver(); }

// Takes time, and no processor's: like a worker whose turn seldom comes.
Answer Nap(const CompileRequest&, absl::string_view milliseconds) {
  const int64_t total = std::stoll(std::string(milliseconds));
  timespec time = {static_cast<time_t>(total / 1000),
                   static_cast<long>(total % 1000 * 1'000'000)};
  while (nanosleep(&time, &time) != 0) {
  }
  return std::string("napped");
}

Answer Allocate(const CompileRequest&, absl::string_view) {
  std::vector<std::unique_ptr<char[]>> hoard;
  while (true) hoard.emplace_back(new char[1 << 24]);
}

// Bytes instead of an answer, and then: the end, ...
Answer Raw(const CompileRequest&, absl::string_view argument) {
  WriteRaw(argument);
  _exit(0);
}
// ... nothing, ...
Answer RawAndSleep(const CompileRequest&, absl::string_view argument) {
  WriteRaw(argument);
  SleepForEver();
}
// ... no socket, but a process, ...
Answer RawAndClose(const CompileRequest&, absl::string_view argument) {
  WriteRaw(argument);
  close(kWorkerFd);
  SleepForEver();
}
// ... or bytes without end.
Answer RawAndFlood(const CompileRequest&, absl::string_view argument) {
  WriteRaw(argument);
  const std::string more(1 << 16, 'x');
  while (true) WriteRaw(more);
}

Answer Large(const CompileRequest&, absl::string_view argument) {
  return std::string(static_cast<size_t>(Number(argument)), 'c');
}

// How large the module is, and whether it arrived whole.
Answer Measure(const CompileRequest&, absl::string_view argument) {
  uint32_t sum = 0;
  for (const char c : argument) {
    sum = sum * 31 + static_cast<uint8_t>(c);
  }
  return absl::StrCat(argument.size(), " ", sum);
}

Answer Threads(const CompileRequest&, absl::string_view) {
  std::atomic<int> done{0};
  std::vector<std::thread> threads;
  for (int i = 0; i < 2; ++i) {
    threads.emplace_back([&done] {
      const std::vector<int> some(1000, 1);
      done += some[999];
    });
  }
  for (std::thread& thread : threads) thread.join();
  return absl::StrCat("threads:", done.load());
}

// Open descriptors other than the socket.
Answer Descriptors(const CompileRequest&, absl::string_view) {
  std::string found;
  for (int fd = 0; fd < 70000; ++fd) {
    if (fd == kWorkerFd || (kSanitized && fd == STDERR_FILENO)) continue;
    char byte = 0;
    // EBADF is the answer of a closed one only; and of one not open to read.
    if (read(fd, &byte, 0) >= 0 || errno != EBADF || write(fd, &byte, 0) >= 0 ||
        errno != EBADF) {
      absl::StrAppend(&found, " ", fd);
    }
  }
  return found.empty() ? "none" : found;
}

Answer Limits(const CompileRequest&, absl::string_view) {
  const auto limit = [](__rlimit_resource resource) {
    rlimit now = {};
    getrlimit(resource, &now);
    return now.rlim_cur;
  };
  return absl::StrCat("core ", limit(RLIMIT_CORE), " files ",
                      limit(RLIMIT_NOFILE), " size ", limit(RLIMIT_FSIZE),
                      " cpu ", limit(RLIMIT_CPU), " memory ",
                      limit(RLIMIT_AS) >> 20);
}

Answer Environment(const CompileRequest&, absl::string_view) {
  std::string names;
  for (char** at = environ; at != nullptr && *at != nullptr; ++at) {
    absl::StrAppend(&names, *at, "\n");
  }
  return names;
}

// What the daemon's manager sends to the whole group.
Answer Terminate(const CompileRequest&, absl::string_view) {
  raise(SIGTERM);
  raise(SIGINT);
  raise(SIGHUP);
  return "still here";
}

// One forbidden system call each. Unharmed, they say so.
Answer Forbidden(const CompileRequest&, absl::string_view argument) {
  const std::string call(argument);
  char* const none[] = {nullptr};
  constexpr size_t kPage = 4096;
  if (call == "open") open("/etc/passwd", O_RDONLY);
  if (call == "socket") socket(AF_INET, SOCK_STREAM, 0);
  if (call == "fork" && fork() == 0) _exit(0);
  if (call == "vfork") syscall(SYS_vfork);
  if (call == "execve") execve("/bin/true", none, none);
  if (call == "ptrace") ptrace(PTRACE_TRACEME, 0, nullptr, nullptr);
  if (call == "kill") kill(getppid(), 0);
  if (call == "kill_other") syscall(SYS_tgkill, 1, 1, 0);
  if (call == "map_code") {
    mmap(nullptr, kPage, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1,
         0);
  }
  if (call == "make_code") {
    void* const page = mmap(nullptr, kPage, PROT_READ | PROT_WRITE,
                            MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    mprotect(page, kPage, PROT_READ | PROT_EXEC);
  }
  if (call == "set_limit") {
    const rlimit limit = {1, 1};
    setrlimit(RLIMIT_CORE, &limit);
  }
  if (call == "send_descriptor") {
    msghdr message = {};
    sendmsg(kWorkerFd, &message, 0);
  }
  if (call == "duplicate") dup(kWorkerFd);
  if (call == "memfd") memfd_create("x", 0);
  if (call == "io_uring") syscall(425, 1, nullptr);
  if (call == "clone3") {
    // Not fatal: the C library tries it first.
    return syscall(SYS_clone3, nullptr, 0) == -1 && errno == ENOSYS
               ? "clone3 is unknown"
               : "clone3 was made";
  }
  if (call == "new_namespace") {
    syscall(SYS_clone, CLONE_THREAD | CLONE_VM | CLONE_SIGHAND | CLONE_NEWNET,
            nullptr, nullptr, nullptr, 0);
  }
  return "unharmed";
}

using Behaviour = Answer (*)(const CompileRequest&, absl::string_view);

const std::map<std::string, Behaviour>& Behaviours() {
  static const auto* const behaviours = new std::map<std::string, Behaviour>{
      {"abort", Abort},
      {"allocate", Allocate},
      {"crash", Crash},
      {"descriptors", Descriptors},
      {"echo", Echo},
      {"environment", Environment},
      {"exit", Exit},
      {"forbidden", Forbidden},
      {"large", Large},
      {"limits", Limits},
      {"measure", Measure},
      {"options", Options},
      {"overflow", OverflowStack},
      {"nap", Nap},
      {"raw", Raw},
      {"raw_and_close", RawAndClose},
      {"raw_and_flood", RawAndFlood},
      {"raw_and_sleep", RawAndSleep},
      {"refuse", Refuse},
      {"sleep", Sleep},
      {"spin", Spin},
      {"terminate", Terminate},
      {"threads", Threads},
  };
  return *behaviours;
}

class ObedientCompiler : public Compiler {
 public:
  void WarmUp() const override { Behaviours(); }

  Answer Compile(const CompileRequest& request,
                 absl::Span<const uint8_t> module) const override {
    const absl::string_view text(reinterpret_cast<const char*>(module.data()),
                                 module.size());
    const size_t blank = std::min(text.find(' '), text.size());
    const auto found = Behaviours().find(std::string(text.substr(0, blank)));
    if (found == Behaviours().end()) {
      return absl::InvalidArgumentError("no such behaviour");
    }
    return found->second(request,
                         text.substr(std::min(blank + 1, text.size())));
  }
};

}  // namespace
}  // namespace callgate::native

int main(int argc, char** argv) {
  return callgate::native::WorkerMain(argc, argv,
                                      callgate::native::ObedientCompiler());
}
