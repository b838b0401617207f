#include "tests/e2e/process.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"

namespace callgate::e2e {
namespace {

absl::Status SystemError(absl::string_view what) {
  return absl::UnavailableError(absl::StrCat(what, ": ", strerror(errno)));
}

struct Pipe {
  int read = -1;
  int write = -1;
};

absl::StatusOr<Pipe> MakePipe() {
  std::array<int, 2> ends = {};
  if (pipe2(ends.data(), O_CLOEXEC) != 0) return SystemError("pipe2");
  return Pipe{ends[0], ends[1]};
}

void CloseIfOpen(int& fd) {
  if (fd >= 0) close(fd);
  fd = -1;
}

void SetNonblocking(int fd) {
  fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
}

// What is there to read of `fd`, appended to `to`; closes it at its end.
// Returns whether anything changed.
bool Drain(int& fd, std::string& to) {
  std::array<char, 65536> buffer;
  bool changed = false;
  while (fd >= 0) {
    const ssize_t got = read(fd, buffer.data(), buffer.size());
    if (got > 0) {
      to.append(buffer.data(), static_cast<size_t>(got));
      changed = true;
    } else if (got == 0 ||
               (errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR)) {
      CloseIfOpen(fd);
      changed = true;
    } else {
      break;
    }
  }
  return changed;
}

// A Process kills its child, but a test that dies first cannot.
void DieWithParent(pid_t parent) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != parent) _exit(127);
}

}  // namespace

absl::StatusOr<std::unique_ptr<Process>> Process::Start(
    const Command& command) {
  // A child that does not read its input must not end the test.
  signal(SIGPIPE, SIG_IGN);
  auto in = MakePipe();
  auto out = MakePipe();
  auto err = MakePipe();
  if (!in.ok()) return in.status();
  if (!out.ok()) return out.status();
  if (!err.ok()) return err.status();

  // Made before the fork: between fork and exec nothing may allocate.
  std::vector<std::string> environment;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    environment.emplace_back(*entry);
  }
  for (const auto& [name, value] : command.env) {
    const std::string prefix = name + "=";
    environment.erase(std::remove_if(environment.begin(), environment.end(),
                                     [&](const std::string& entry) {
                                       return entry.rfind(prefix, 0) == 0;
                                     }),
                      environment.end());
    environment.push_back(prefix + value);
  }
  std::vector<std::string> arguments = command.argv;
  const auto pointers = [](std::vector<std::string>& strings) {
    std::vector<char*> result;
    for (std::string& s : strings) result.push_back(s.data());
    result.push_back(nullptr);
    return result;
  };
  std::vector<char*> argv = pointers(arguments);
  std::vector<char*> envp = pointers(environment);

  const pid_t parent = getpid();
  const pid_t pid = fork();
  if (pid < 0) return SystemError("fork");
  if (pid == 0) {
    DieWithParent(parent);
    signal(SIGPIPE, SIG_DFL);
    dup2(in->read, STDIN_FILENO);
    dup2(out->write, STDOUT_FILENO);
    dup2(err->write, STDERR_FILENO);
    execve(argv[0], argv.data(), envp.data());
    _exit(127);
  }
  close(in->read);
  close(out->write);
  close(err->write);

  std::unique_ptr<Process> process(new Process);
  process->pid_ = pid;
  process->in_ = in->write;
  process->out_fd_ = out->read;
  process->err_fd_ = err->read;
  process->unsent_ = command.stdin_bytes;
  SetNonblocking(process->in_);
  SetNonblocking(process->out_fd_);
  SetNonblocking(process->err_fd_);
  process->pidfd_ = static_cast<int>(syscall(SYS_pidfd_open, pid, 0));
  if (process->pidfd_ < 0) return SystemError("pidfd_open");
  process->interactive_ = command.interactive;
  if (process->unsent_.empty() && !command.interactive) {
    CloseIfOpen(process->in_);
  }
  return process;
}

Process::~Process() {
  if (pid_ > 0 && !exited_) {
    kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
  }
  CloseIfOpen(in_);
  CloseIfOpen(out_fd_);
  CloseIfOpen(err_fd_);
  CloseIfOpen(pidfd_);
}

void Process::Signal(int signal) {
  if (!exited_) kill(pid_, signal);
}

absl::Status Process::Send(absl::string_view bytes) {
  unsent_.append(bytes.data(), bytes.size());
  const absl::Time until = absl::Now() + absl::Seconds(60);
  while (!unsent_.empty()) {
    if (in_ < 0 || exited_) {
      return absl::FailedPreconditionError("it does not read any more");
    }
    if (absl::Now() > until) {
      return absl::DeadlineExceededError("it does not read");
    }
    Pump(until);
  }
  return absl::OkStatus();
}

void Process::CloseInput() {
  interactive_ = false;
  if (unsent_.empty()) CloseIfOpen(in_);
}

bool Process::Pump(absl::Time until) {
  // poll passes over entries whose descriptor is negative.
  std::array<pollfd, 4> waits = {
      // Only while there is something to write; else it is always ready.
      pollfd{unsent_.empty() ? -1 : in_, POLLOUT, 0},
      pollfd{out_fd_, POLLIN, 0}, pollfd{err_fd_, POLLIN, 0},
      pollfd{exited_ ? -1 : pidfd_, POLLIN, 0}};
  if (std::all_of(waits.begin() + 1, waits.end(),
                  [](const pollfd& p) { return p.fd < 0; })) {
    return false;
  }
  const int64_t left = absl::ToInt64Milliseconds(until - absl::Now());
  const int ready =
      poll(waits.data(), waits.size(),
           static_cast<int>(std::clamp<int64_t>(left + 1, 0, 3'600'000)));
  if (ready <= 0) return true;
  if (in_ >= 0 && waits[0].revents != 0) {
    const ssize_t sent = write(in_, unsent_.data(), unsent_.size());
    if (sent > 0) unsent_.erase(0, static_cast<size_t>(sent));
    if ((unsent_.empty() && !interactive_) || (sent < 0 && errno == EPIPE)) {
      CloseIfOpen(in_);
    }
  }
  Drain(out_fd_, out_);
  Drain(err_fd_, err_);
  if (!exited_ && waits[3].revents != 0) {
    int status = 0;
    waitpid(pid_, &status, 0);
    exited_ = true;
    CloseIfOpen(in_);
    if (WIFEXITED(status)) exit_.code = WEXITSTATUS(status);
    if (WIFSIGNALED(status)) exit_.signal = WTERMSIG(status);
  }
  return true;
}

absl::StatusOr<std::string> Process::WaitForText(const std::string& gathered,
                                                 absl::string_view text,
                                                 absl::Duration deadline) {
  const absl::Time until = absl::Now() + deadline;
  const std::string wanted(text);
  // Without waiting: what is there already counts, and a Send may have gathered
  // all that will come.
  bool more = Pump(absl::InfinitePast());
  while (true) {
    const size_t found = gathered.find(wanted);
    if (found != std::string::npos) {
      const size_t end = gathered.find('\n', found + wanted.size());
      if (end != std::string::npos) return gathered.substr(0, end);
    }
    if (!more) {
      return absl::FailedPreconditionError(
          absl::StrCat("it ended before it said \"", text, "\"; stdout:\n",
                       out_, "\nstderr:\n", err_));
    }
    if (absl::Now() > until) {
      return absl::DeadlineExceededError(
          absl::StrCat("it did not say \"", text, "\" within ",
                       absl::FormatDuration(deadline), "; stdout:\n", out_,
                       "\nstderr:\n", err_));
    }
    more = Pump(until);
  }
}

absl::StatusOr<std::string> Process::WaitForOutput(absl::string_view text,
                                                   absl::Duration deadline) {
  return WaitForText(out_, text, deadline);
}

absl::StatusOr<std::string> Process::WaitForError(absl::string_view text,
                                                  absl::Duration deadline) {
  return WaitForText(err_, text, deadline);
}

absl::StatusOr<Exit> Process::Wait(absl::Duration deadline) {
  const absl::Time until = absl::Now() + deadline;
  while (Pump(until)) {
    if (absl::Now() > until) {
      return absl::DeadlineExceededError(
          absl::StrCat("it still runs after ", absl::FormatDuration(deadline),
                       "; stdout:\n", out_, "\nstderr:\n", err_));
    }
  }
  return exit_;
}

Finished RunToEnd(const Command& command, absl::Duration deadline) {
  Finished finished;
  const absl::Time start = absl::Now();
  auto process = Process::Start(command);
  if (!process.ok()) {
    finished.err = std::string(process.status().message());
    return finished;
  }
  const auto exit = (*process)->Wait(deadline);
  finished.wall = absl::Now() - start;
  finished.out = (*process)->out();
  finished.err = (*process)->err();
  finished.timed_out = !exit.ok();
  if (exit.ok()) {
    finished.exit_code = exit->signal != 0 ? 128 + exit->signal : exit->code;
  }
  return finished;
}

void Breathe() { poll(nullptr, 0, /*timeout=*/20); }

}  // namespace callgate::e2e
