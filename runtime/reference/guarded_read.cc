#include "runtime/reference/guarded_read.h"

#include <fcntl.h>
#include <poll.h>
#include <seccomp.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"

namespace callgate::reference {
namespace {

// Sanitizers map terabytes of shadow and make system calls of their own.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__) || \
    defined(CALLGATE_UBSAN)
constexpr bool kSanitized = true;
#else
constexpr bool kSanitized = false;
#endif

constexpr size_t kAnswerBytesMax = 1024;
constexpr uint64_t kMemoryBase = 256 << 20;
constexpr uint64_t kMemoryPerByte = 256;

// First byte of the answer.
constexpr char kFine = '+';
constexpr char kWrong = '-';

// The process's address space now, in bytes; 0 when it cannot be told.
uint64_t AddressSpaceNow() {
  std::FILE* file = std::fopen("/proc/self/statm", "re");
  if (file == nullptr) return 0;
  unsigned long long pages = 0;
  const int read = std::fscanf(file, "%llu", &pages);
  std::fclose(file);
  return read == 1 ? pages * static_cast<uint64_t>(sysconf(_SC_PAGESIZE)) : 0;
}

void Limit(int resource, uint64_t value) {
  const rlimit limit = {value, value};
  static_cast<void>(
      setrlimit(static_cast<__rlimit_resource>(resource), &limit));
}

// Prepared before the fork, loaded after it: building a filter allocates a lot.
class Filter {
 public:
  Filter() : context_(seccomp_init(SCMP_ACT_KILL_PROCESS)) {
    for (const int call :
         {SCMP_SYS(write), SCMP_SYS(exit), SCMP_SYS(exit_group), SCMP_SYS(mmap),
          SCMP_SYS(munmap), SCMP_SYS(mremap), SCMP_SYS(mprotect),
          SCMP_SYS(madvise), SCMP_SYS(brk), SCMP_SYS(futex),
          SCMP_SYS(rt_sigreturn), SCMP_SYS(rt_sigprocmask), SCMP_SYS(getpid),
          SCMP_SYS(gettid), SCMP_SYS(tgkill), SCMP_SYS(clock_gettime),
          SCMP_SYS(close), SCMP_SYS(getrandom)}) {
      if (context_ != nullptr &&
          seccomp_rule_add(context_, SCMP_ACT_ALLOW, call, 0) != 0) {
        seccomp_release(context_);
        context_ = nullptr;
      }
    }
  }
  ~Filter() {
    if (context_ != nullptr) seccomp_release(context_);
  }
  Filter(const Filter&) = delete;
  Filter& operator=(const Filter&) = delete;

  bool ok() const { return context_ != nullptr; }
  bool Load() const { return seccomp_load(context_) == 0; }

 private:
  scmp_filter_ctx context_;
};

[[noreturn]] void RunChild(int answer_fd, uint64_t address_space,
                           const Filter& filter,
                           const std::function<std::string()>& read) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  prctl(PR_SET_DUMPABLE, 0);
  prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
  // A crash is an answer: it must not run the parent's handlers.
  for (const int signal : {SIGSEGV, SIGABRT, SIGBUS, SIGILL, SIGFPE}) {
    ::signal(signal, SIG_DFL);
  }
  // Everything but the pipe goes; what the parent holds open is not ours.
  if (answer_fd != 3) {
    dup2(answer_fd, 3);
    answer_fd = 3;
  }
  close(0);
  close(1);
  if (!kSanitized) close(2);
  close_range(4, ~0u, 0);
  Limit(RLIMIT_CORE, 0);
  Limit(RLIMIT_FSIZE, 0);
  Limit(RLIMIT_NOFILE, 4);
  Limit(RLIMIT_CPU,
        static_cast<uint64_t>(absl::ToInt64Seconds(kGuardedReadTime)));
  if (!kSanitized) {
    if (address_space != 0) Limit(RLIMIT_AS, address_space);
    if (!filter.Load()) _exit(3);
  }
  std::string answer = read();
  answer.insert(answer.begin(), answer.empty() ? kFine : kWrong);
  answer.resize(std::min(answer.size(), kAnswerBytesMax));
  static_cast<void>(!write(answer_fd, answer.data(), answer.size()));
  _exit(0);
}

// Everything the child writes until it is done; empty if it wrote nothing in
// time.
std::string ReadAnswer(int fd) {
  const absl::Time deadline = absl::Now() + kGuardedReadTime;
  std::string answer;
  while (answer.size() < kAnswerBytesMax) {
    const int64_t left =
        std::max<int64_t>(0, absl::ToInt64Milliseconds(deadline - absl::Now()));
    pollfd waiting = {fd, POLLIN, 0};
    const int ready = poll(&waiting, 1, static_cast<int>(left));
    if (ready < 0 && errno == EINTR) continue;
    if (ready <= 0) return "";
    char buffer[kAnswerBytesMax];
    const ssize_t got = read(fd, buffer, sizeof(buffer));
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) break;
    answer.append(buffer, static_cast<size_t>(got));
  }
  return answer;
}

}  // namespace

absl::Status SurvivesReading(uint64_t bytes,
                             const std::function<std::string()>& read) {
  const Filter filter;
  if (!kSanitized && !filter.ok()) {
    return absl::UnavailableError(
        "cannot build the validator's system call filter");
  }
  const uint64_t now = AddressSpaceNow();
  const uint64_t address_space =
      now == 0 ? 0 : now + kMemoryBase + bytes * kMemoryPerByte;
  int pipe_fds[2];
  if (pipe2(pipe_fds, O_CLOEXEC) != 0) {
    return absl::UnavailableError(
        absl::StrCat("cannot make the validator's pipe: ", strerror(errno)));
  }
  const pid_t child = fork();
  if (child < 0) {
    const int error = errno;
    close(pipe_fds[0]);
    close(pipe_fds[1]);
    return absl::UnavailableError(
        absl::StrCat("cannot start the validator: ", strerror(error)));
  }
  if (child == 0) RunChild(pipe_fds[1], address_space, filter, read);

  close(pipe_fds[1]);
  const std::string answer = ReadAnswer(pipe_fds[0]);
  close(pipe_fds[0]);
  // An answer means that it is past all danger and about to exit.
  if (answer.empty()) kill(child, SIGKILL);
  int status = 0;
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  if (!answer.empty() && answer[0] == kFine) return absl::OkStatus();
  if (!answer.empty()) {
    return absl::InvalidArgumentError(answer.substr(1));
  }
  if (WIFSIGNALED(status)) {
    const int signal = WTERMSIG(status);
    return absl::InvalidArgumentError(
        absl::StrCat("the validator ended without an answer (",
                     signal == SIGKILL ? "over its time" : strsignal(signal),
                     "): the module is refused"));
  }
  return absl::InvalidArgumentError(
      absl::StrCat("the validator ended without an answer (exit code ",
                   WIFEXITED(status) ? WEXITSTATUS(status) : -1,
                   "): the module is refused"));
}

}  // namespace callgate::reference
