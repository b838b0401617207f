#include "runtime/native/worker/confine.h"

#include <linux/seccomp.h>
#include <sched.h>
#include <seccomp.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "runtime/native/worker/unique_fd.h"

namespace callgate::native {
namespace {

absl::Status Failed(absl::string_view what, int error) {
  return absl::UnavailableError(
      absl::StrCat("cannot ", what, ": ", strerror(error)));
}

// Never raises what is in force.
bool Limit(int resource, uint64_t soft, uint64_t hard) {
  const auto which = static_cast<__rlimit_resource>(resource);
  rlimit now = {};
  if (getrlimit(which, &now) != 0) return false;
  const rlimit limit = {std::min(soft, now.rlim_max),
                        std::min(hard, now.rlim_max)};
  return setrlimit(which, &limit) == 0;
}

bool YieldToOthers() {
  constexpr int kNice = 10;
  errno = 0;
  const int now = getpriority(PRIO_PROCESS, 0);
  if (now == -1 && errno != 0) return false;
  return now >= kNice || setpriority(PRIO_PROCESS, 0, kNice) == 0;
}

class Rules {
 public:
  Rules() : context_(seccomp_init(SCMP_ACT_KILL_PROCESS)) {
    if (context_ == nullptr) error_ = ENOMEM;
  }
  ~Rules() {
    if (context_ != nullptr) seccomp_release(context_);
  }
  Rules(const Rules&) = delete;
  Rules& operator=(const Rules&) = delete;

  template <typename... Comparison>
  void Allow(int call, Comparison... comparison) {
    Add(SCMP_ACT_ALLOW, call, comparison...);
  }
  void Answer(int call, int error) {
    Add(SCMP_ACT_ERRNO(static_cast<uint32_t>(error)), call);
  }

  // 0, or what went wrong so far.
  int error() const { return error_; }
  int Export(int fd) const { return seccomp_export_bpf(context_, fd); }

 private:
  template <typename... Comparison>
  void Add(uint32_t action, int call, Comparison... comparison) {
    if (error_ != 0) return;
    const scmp_arg_cmp comparisons[] = {comparison..., scmp_arg_cmp{}};
    error_ = -seccomp_rule_add_array(context_, action, call,
                                     sizeof...(comparison), comparisons);
  }

  scmp_filter_ctx context_;
  int error_ = 0;
};

scmp_arg_cmp Equals(unsigned argument, uint64_t value) {
  return {argument, SCMP_CMP_EQ, value, 0};
}
scmp_arg_cmp MaskedEquals(unsigned argument, uint64_t mask, uint64_t value) {
  return {argument, SCMP_CMP_MASKED_EQ, mask, value};
}

// A thread, of this process and in its namespaces.
constexpr uint64_t kThreadFlags = CLONE_THREAD | CLONE_VM;
constexpr uint64_t kThreadMask = kThreadFlags | CLONE_PTRACE | CLONE_UNTRACED |
                                 CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS |
                                 CLONE_NEWIPC | CLONE_NEWUSER | CLONE_NEWPID |
                                 CLONE_NEWNET;

void AddRules(Rules& rules) {
  const auto self = static_cast<uint64_t>(getpid());
  for (const int call :
       {// What it has open, which is its socket.
        SCMP_SYS(read), SCMP_SYS(write), SCMP_SYS(writev), SCMP_SYS(close),
        // Memory, as far as it does not become executable (below).
        SCMP_SYS(munmap), SCMP_SYS(mremap), SCMP_SYS(madvise), SCMP_SYS(brk),
        // Threads.
        SCMP_SYS(futex), SCMP_SYS(set_robust_list), SCMP_SYS(rseq),
        SCMP_SYS(sched_yield), SCMP_SYS(sched_getaffinity), SCMP_SYS(gettid),
        SCMP_SYS(getpid), SCMP_SYS(exit), SCMP_SYS(exit_group),
        // Time and chance.
        SCMP_SYS(clock_gettime), SCMP_SYS(clock_getres), SCMP_SYS(gettimeofday),
        SCMP_SYS(clock_nanosleep), SCMP_SYS(nanosleep), SCMP_SYS(getrandom),
        SCMP_SYS(getrusage),
        // The C library's qsort asks how much memory there is.
        SCMP_SYS(sysinfo),
        // Its own signals: abort() needs them.
        SCMP_SYS(rt_sigaction), SCMP_SYS(rt_sigprocmask),
        SCMP_SYS(rt_sigreturn), SCMP_SYS(sigaltstack),
        SCMP_SYS(restart_syscall)}) {
    rules.Allow(call);
  }
  rules.Allow(SCMP_SYS(mmap), MaskedEquals(2, PROT_EXEC, 0));
  rules.Allow(SCMP_SYS(mprotect), MaskedEquals(2, PROT_EXEC, 0));
  // Without this bound a worker could end the daemon, which has the same user.
  rules.Allow(SCMP_SYS(tgkill), Equals(0, self));
  rules.Allow(SCMP_SYS(clone), MaskedEquals(0, kThreadMask, kThreadFlags));
  // Its own limits, to read: pthread_create asks for the stack's.
  rules.Allow(SCMP_SYS(prlimit64), Equals(0, 0), Equals(2, 0));
  rules.Answer(SCMP_SYS(clone3), ENOSYS);
  rules.Answer(SCMP_SYS(lseek), ESPIPE);
  rules.Answer(SCMP_SYS(fstat), EBADF);
  rules.Answer(SCMP_SYS(newfstatat), EBADF);
  rules.Answer(SCMP_SYS(ioctl), ENOTTY);
}

absl::Status ResetSignals() {
  // Blocked first: the parent ignores them, and that ends here.
  sigset_t blocked;
  sigemptyset(&blocked);
  for (const int signal : {SIGTERM, SIGINT, SIGHUP}) {
    sigaddset(&blocked, signal);
  }
  if (sigprocmask(SIG_SETMASK, &blocked, nullptr) != 0) {
    return Failed("set the signal mask", errno);
  }
  for (int signal = 1; signal < NSIG; ++signal) {
    struct sigaction action = {};
    action.sa_handler = SIG_DFL;
    // Fails for SIGKILL, SIGSTOP and the C library's own.
    static_cast<void>(sigaction(signal, &action, nullptr));
  }
  return absl::OkStatus();
}

absl::Status CloseOthers(int socket, bool keep_stderr) {
  if (socket != kWorkerFd && dup2(socket, kWorkerFd) < 0) {
    return Failed("move the worker's socket", errno);
  }
  close(0);
  close(1);
  if (!keep_stderr && !kSanitized) close(2);
  static_assert(kWorkerFd == 3, "what is closed is everything around it");
  if (close_range(kWorkerFd + 1, ~0u, 0) != 0) {
    return Failed("close what was inherited (close_range, Linux 5.9)", errno);
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status LeaveParent(int socket, pid_t parent, bool keep_stderr) {
  if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0) {
    return Failed("ask to end with the parent", errno);
  }
  // It may have ended before that.
  if (getppid() != parent) _exit(0);
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) {
    return Failed("give up new privileges", errno);
  }
  if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0) {
    return Failed("become undumpable", errno);
  }
  if (absl::Status status = ResetSignals(); !status.ok()) return status;
  return CloseOthers(socket, keep_stderr);
}

uint64_t AddressSpaceNow() {
  std::FILE* file = std::fopen("/proc/self/statm", "re");
  if (file == nullptr) return 0;
  unsigned long long pages = 0;
  const int read = std::fscanf(file, "%llu", &pages);
  std::fclose(file);
  return read == 1 ? pages * static_cast<uint64_t>(sysconf(_SC_PAGESIZE)) : 0;
}

absl::StatusOr<SystemCallFilter> SystemCallFilter::Build() {
  std::vector<sock_filter> program;
  if (kSanitized) return SystemCallFilter(std::move(program));
  Rules rules;
  AddRules(rules);
  if (rules.error() != 0) {
    return Failed("build the system call filter", rules.error());
  }
  // libseccomp 2.5 exports to a descriptor only.
  const UniqueFd file(memfd_create("filter", MFD_CLOEXEC));
  if (!file.valid()) return Failed("hold the system call filter", errno);
  if (const int error = rules.Export(file.get()); error != 0) {
    return Failed("export the system call filter", -error);
  }
  struct stat status = {};
  if (fstat(file.get(), &status) != 0) {
    return Failed("measure the system call filter", errno);
  }
  const auto bytes = static_cast<size_t>(status.st_size);
  program.resize(bytes / sizeof(sock_filter));
  if (program.empty() || program.size() > BPF_MAXINSNS ||
      pread(file.get(), program.data(), bytes, 0) != status.st_size) {
    return Failed("read the system call filter back", EIO);
  }
  return SystemCallFilter(std::move(program));
}

absl::Status SystemCallFilter::Load() const {
  if (kSanitized) return absl::OkStatus();
  std::vector<sock_filter> copy = program_;
  const sock_fprog program = {static_cast<unsigned short>(copy.size()),
                              copy.data()};
  // Returns the id of a thread that it could not take along.
  if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC,
              &program) != 0) {
    return Failed("load the system call filter", errno);
  }
  return absl::OkStatus();
}

absl::Status Confine(const Confinement& confinement,
                     const SystemCallFilter& filter) {
  if (confinement.nice && !YieldToOthers()) {
    return Failed("lower the priority", errno);
  }
  const bool limited =
      Limit(RLIMIT_CORE, 0, 0) &&
      Limit(RLIMIT_NOFILE, kWorkerFd + 1, kWorkerFd + 1) &&
      // SIGXCPU at the first, which says what happened; SIGKILL at the second.
      Limit(RLIMIT_CPU, confinement.cpu_seconds, confinement.cpu_seconds + 1);
  if (!limited) return Failed("set resource limits", errno);
  if (!kSanitized) {
    if (!Limit(RLIMIT_FSIZE, 0, 0)) return Failed("limit files", errno);
    if (confinement.address_space != 0 &&
        !Limit(RLIMIT_AS, confinement.address_space,
               confinement.address_space)) {
      return Failed("limit the memory", errno);
    }
  }
  return filter.Load();
}

}  // namespace callgate::native
