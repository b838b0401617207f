#include "runtime/native/worker/zygote.h"

#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <utility>
#include <vector>

#include "runtime/native/worker/confine.h"
#include "runtime/native/worker/control.h"
#include "runtime/native/worker/pidfd.h"
#include "runtime/native/worker/unique_fd.h"
#include "runtime/native/worker/worker.h"

namespace callgate::native {
namespace {

// Far more than a daemon orders; a bound on what a bug there can do.
constexpr size_t kChildrenMax = 4096;

struct Child {
  uint64_t worker = 0;
  pid_t pid = -1;
  UniqueFd pidfd;
};

class Zygote {
 public:
  Zygote(int control, const Compiler& compiler)
      : control_(control), compiler_(compiler) {}

  // Until the daemon is gone.
  void Serve() {
    while (connected_) {
      std::vector<pollfd> waiting = {{control_, POLLIN, 0}};
      for (const Child& child : children_) {
        waiting.push_back({child.pidfd.get(), POLLIN, 0});
      }
      if (poll(waiting.data(), waiting.size(), -1) < 0 && errno != EINTR) {
        std::perror("callgate-compile: poll");
        return;
      }
      // From the back, since reaping moves the last one forward.
      for (size_t i = children_.size(); i-- > 0;) {
        if (waiting[i + 1].revents != 0) Reap(i, WNOHANG);
      }
      if (waiting[0].revents != 0) TakeOrder();
    }
  }

  void EndWorkers() {
    for (const Child& child : children_) kill(child.pid, SIGKILL);
    while (!children_.empty()) Reap(children_.size() - 1, 0);
  }

 private:
  void Send(ControlMessage::Kind kind, uint64_t worker, int64_t value,
            int socket = -1, int pidfd = -1) {
    ControlMessage message;
    message.kind = kind;
    message.worker = worker;
    message.value = value;
    if (SendControl(control_, message, socket, pidfd) != Transfer::kDone) {
      connected_ = false;
    }
  }

  void TakeOrder() {
    ReceivedControl order;
    const Transfer transfer = ReceiveControl(control_, order);
    if (transfer == Transfer::kAgain) return;
    if (transfer != Transfer::kDone ||
        order.message.kind != ControlMessage::Kind::kSpawn) {
      connected_ = false;
      return;
    }
    Spawn(order.message.worker);
  }

  void Spawn(uint64_t worker) {
    if (children_.size() >= kChildrenMax) {
      Send(ControlMessage::Kind::kNotSpawned, worker, EAGAIN);
      return;
    }
    const ForkedWorker forked = ForkWorker(compiler_, false);
    if (forked.error != 0) {
      Send(ControlMessage::Kind::kNotSpawned, worker, forked.error);
      return;
    }
    // The child is not reaped yet: the id cannot be another's.
    UniqueFd pidfd = OpenPidfd(forked.pid);
    if (!pidfd.valid()) {
      const int error = errno;
      kill(forked.pid, SIGKILL);
      while (waitpid(forked.pid, nullptr, 0) < 0 && errno == EINTR) {
      }
      Send(ControlMessage::Kind::kNotSpawned, worker, error);
      return;
    }
    Send(ControlMessage::Kind::kSpawned, worker, forked.pid,
         forked.socket.get(), pidfd.get());
    children_.push_back({worker, forked.pid, std::move(pidfd)});
  }

  void Reap(size_t index, int flags) {
    Child& child = children_[index];
    int status = 0;
    pid_t reaped = -1;
    do {
      reaped = waitpid(child.pid, &status, flags);
    } while (reaped < 0 && errno == EINTR);
    if (reaped == 0) return;
    if (connected_) {
      Send(ControlMessage::Kind::kEnded, child.worker, status);
    }
    std::swap(child, children_.back());
    children_.pop_back();
  }

  const int control_;
  const Compiler& compiler_;
  bool connected_ = true;
  std::vector<Child> children_;
};

// A fork takes one thread along and every lock as it is.
bool HasOneThread() {
  DIR* const tasks = opendir("/proc/self/task");
  if (tasks == nullptr) return false;
  int threads = 0;
  while (const dirent* const entry = readdir(tasks)) {
    if (entry->d_name[0] != '.') ++threads;
  }
  closedir(tasks);
  return threads == 1;
}

// Under want of memory, workers go before the daemon.
void VolunteerForTheOutOfMemoryKiller() {
  std::FILE* const file = std::fopen("/proc/self/oom_score_adj", "we");
  if (file == nullptr) return;
  std::fputs("500", file);
  std::fclose(file);
}

}  // namespace

int RunZygote(int control, const Compiler& compiler) {
  // A service manager signals the whole group when the daemon is to drain; the
  // zygote ends when the daemon does.
  for (const int signal : {SIGTERM, SIGINT, SIGHUP, SIGPIPE}) {
    ::signal(signal, SIG_IGN);
  }
  ::signal(SIGCHLD, SIG_DFL);
  if (fcntl(control, F_SETFD, FD_CLOEXEC) != 0) {
    std::fprintf(stderr, "callgate-compile: --fd %d: %s\n", control,
                 strerror(errno));
    return 2;
  }
  VolunteerForTheOutOfMemoryKiller();
  prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
  compiler.WarmUp();
  // ThreadSanitizer has a thread of its own.
  if (!kSanitized && !HasOneThread()) {
    std::fputs("callgate-compile: Compiler::WarmUp left a thread running\n",
               stderr);
    return 2;
  }
  Zygote zygote(control, compiler);
  if (SendControl(control, ControlMessage{}) != Transfer::kDone) return 2;
  zygote.Serve();
  zygote.EndWorkers();
  return 0;
}

}  // namespace callgate::native
