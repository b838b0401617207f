#include "runtime/native/worker/zygote_process.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "runtime/native/abi.h"
#include "runtime/native/worker/control.h"
#include "runtime/native/worker/pidfd.h"

namespace callgate::native {
namespace {

using std::chrono::steady_clock;

// LLVM takes a tenth of a second to start; machines are sometimes slow.
constexpr std::chrono::seconds kReadyTime(30);
constexpr std::chrono::seconds kEndTime(2);
constexpr int kZygoteFd = 3;

absl::Status CannotStart(const std::string& path, absl::string_view why) {
  return absl::UnavailableError(absl::StrCat(
      "cannot start the compiler \"", path, "\": ", why,
      "; install callgate-compile of the same build there, or set its path"));
}

// The zygote's environment: what the loader and the sanitizers need. Whatever
// else the daemon was given is not for a process that reads strangers' modules.
std::vector<std::string> Environment() {
  std::vector<std::string> environment;
  for (const char* const name :
       {"LD_LIBRARY_PATH", "ASAN_OPTIONS", "TSAN_OPTIONS", "UBSAN_OPTIONS"}) {
    const char* const value = std::getenv(name);
    if (value != nullptr) environment.push_back(absl::StrCat(name, "=", value));
  }
  return environment;
}

// What posix_spawn is to do in the child. Any step that fails is remembered.
class SpawnPlan {
 public:
  explicit SpawnPlan(int control) {
    Note(posix_spawn_file_actions_init(&actions_));
    Note(posix_spawnattr_init(&attributes_));
    // Also clears close-on-exec, even where both are one.
    Note(posix_spawn_file_actions_adddup2(&actions_, control, kZygoteFd));
    Note(posix_spawn_file_actions_addopen(&actions_, STDIN_FILENO, "/dev/null",
                                          O_RDONLY, 0));
    Note(posix_spawn_file_actions_addopen(&actions_, STDOUT_FILENO, "/dev/null",
                                          O_WRONLY, 0));
    // Whoever forgot close-on-exec, it ends here.
    Note(posix_spawn_file_actions_addclosefrom_np(&actions_, kZygoteFd + 1));
    sigset_t none;
    sigset_t all;
    sigemptyset(&none);
    sigfillset(&all);
    Note(posix_spawnattr_setsigmask(&attributes_, &none));
    Note(posix_spawnattr_setsigdefault(&attributes_, &all));
    // A group of its own: a terminal's Ctrl-C is for the daemon to handle.
    Note(posix_spawnattr_setpgroup(&attributes_, 0));
    Note(posix_spawnattr_setflags(&attributes_, POSIX_SPAWN_SETSIGMASK |
                                                    POSIX_SPAWN_SETSIGDEF |
                                                    POSIX_SPAWN_SETPGROUP));
  }
  ~SpawnPlan() {
    posix_spawn_file_actions_destroy(&actions_);
    posix_spawnattr_destroy(&attributes_);
  }
  SpawnPlan(const SpawnPlan&) = delete;
  SpawnPlan& operator=(const SpawnPlan&) = delete;

  // An errno, or 0. The child of posix_spawn calls nothing that could wait for
  // another thread's lock.
  int Spawn(const std::string& path, pid_t& pid) {
    if (error_ != 0) return error_;
    std::vector<std::string> arguments = {path, "--zygote", "--fd",
                                          absl::StrCat(kZygoteFd)};
    std::vector<std::string> environment = Environment();
    std::vector<char*> argv = Pointers(arguments);
    std::vector<char*> envp = Pointers(environment);
    return posix_spawn(&pid, path.c_str(), &actions_, &attributes_, argv.data(),
                       envp.data());
  }

 private:
  static std::vector<char*> Pointers(std::vector<std::string>& strings) {
    std::vector<char*> pointers;
    for (std::string& string : strings) pointers.push_back(string.data());
    pointers.push_back(nullptr);
    return pointers;
  }
  void Note(int error) {
    if (error_ == 0) error_ = error;
  }

  posix_spawn_file_actions_t actions_;
  posix_spawnattr_t attributes_;
  int error_ = 0;
};

int MillisecondsUntil(steady_clock::time_point deadline) {
  const auto left = std::chrono::ceil<std::chrono::milliseconds>(
      deadline - steady_clock::now());
  return static_cast<int>(std::max<int64_t>(0, left.count()));
}

// OK, Cancelled, or what is wrong.
absl::Status AwaitReady(int control, int stop_fd) {
  const steady_clock::time_point deadline = steady_clock::now() + kReadyTime;
  while (true) {
    pollfd waiting[] = {{control, POLLIN, 0}, {stop_fd, POLLIN, 0}};
    const int ready = poll(waiting, 2, MillisecondsUntil(deadline));
    if (ready < 0 && errno == EINTR) continue;
    if (ready > 0 && waiting[1].revents != 0) {
      return absl::CancelledError("the compile service is ending");
    }
    if (ready <= 0) {
      return absl::UnavailableError(
          absl::StrCat("it was not ready after ", kReadyTime.count(), " s"));
    }
    ReceivedControl received;
    const Transfer transfer = ReceiveControl(control, received);
    if (transfer == Transfer::kAgain) continue;
    if (transfer != Transfer::kDone ||
        received.message.kind != ControlMessage::Kind::kReady) {
      return absl::UnavailableError("it ended before it was ready");
    }
    if (received.message.version != kAbiVersion) {
      return absl::UnavailableError(
          absl::StrCat("it is of version ", received.message.version,
                       " and this program of version ", kAbiVersion));
    }
    return absl::OkStatus();
  }
}

}  // namespace

absl::StatusOr<ZygoteProcess> ZygoteProcess::Start(const std::string& path,
                                                   int stop_fd) {
  int ends[2];
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0) {
    return CannotStart(path, strerror(errno));
  }
  ZygoteProcess zygote;
  zygote.control_ = UniqueFd(ends[0]);
  UniqueFd theirs(ends[1]);
  if (fcntl(zygote.control(), F_SETFL, O_NONBLOCK) != 0) {
    return CannotStart(path, strerror(errno));
  }
  SpawnPlan plan(theirs.get());
  pid_t pid = -1;
  if (const int error = plan.Spawn(path, pid); error != 0) {
    return CannotStart(path, strerror(error));
  }
  theirs.Reset();
  zygote.pid_ = pid;
  zygote.pidfd_ = OpenPidfd(pid);
  if (!zygote.pidfd_.valid()) return CannotStart(path, strerror(errno));
  const absl::Status ready = AwaitReady(zygote.control(), stop_fd);
  if (ready.ok()) return zygote;
  const std::string ended = zygote.End();
  if (absl::IsCancelled(ready)) return ready;
  return CannotStart(path, absl::StrCat(ready.message(), " (", ended, ")"));
}

std::string ZygoteProcess::End() {
  if (pid_ <= 0) return "";
  // The end of the conversation is its order to end.
  control_.Reset();
  const steady_clock::time_point deadline = steady_clock::now() + kEndTime;
  int ready = 0;
  if (pidfd_.valid()) {
    do {
      pollfd waiting = {pidfd_.get(), POLLIN, 0};
      ready = poll(&waiting, 1, MillisecondsUntil(deadline));
    } while (ready < 0 && errno == EINTR);
  }
  // Unreaped so far, so the id is still its.
  if (ready <= 0) kill(pid_, SIGKILL);
  siginfo_t info = {};
  int reaped = 0;
  do {
    reaped = waitid(P_PID, static_cast<id_t>(pid_), &info, WEXITED);
  } while (reaped < 0 && errno == EINTR);
  pid_ = -1;
  pidfd_.Reset();
  // Somebody else in this process reaps every child.
  if (reaped < 0) return "its end is unknown";
  if (info.si_code == CLD_EXITED) {
    return absl::StrCat("exit code ", info.si_status);
  }
  const char* const name = sigabbrev_np(info.si_status);
  return absl::StrCat("SIG", name == nullptr ? "?" : name);
}

}  // namespace callgate::native
