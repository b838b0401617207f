#include "runtime/native/worker/conversation.h"

#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include <algorithm>
#include <cerrno>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"

namespace callgate::native {
namespace {

using std::chrono::steady_clock;

constexpr size_t kPieceBytes = 256 << 10;

// What is still to be sent: the request, then the module.
class Sender {
 public:
  Sender(std::string request, absl::Span<const uint8_t> module)
      : request_(std::move(request)),
        module_(reinterpret_cast<const char*>(module.data()), module.size()) {}

  bool done() const { return at_ == request_.size() + module_.size(); }

  // Sends what the socket takes now. A worker that does not listen any more
  // may have answered all the same, so that is the end of sending and no error.
  void Send(int socket) {
    while (!done()) {
      const absl::string_view rest =
          at_ < request_.size()
              ? absl::string_view(request_).substr(at_)
              : module_.substr(at_ - request_.size(), kPieceBytes);
      const ssize_t sent =
          send(socket, rest.data(), rest.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
      if (sent >= 0) {
        at_ += static_cast<size_t>(sent);
      } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
        return;
      } else if (errno != EINTR) {
        at_ = request_.size() + module_.size();
      }
    }
  }

 private:
  const std::string request_;
  const absl::string_view module_;
  size_t at_ = 0;
};

enum class Heard { kMore, kNothingNow, kEnd, kMalformed };

// One piece; `wrong` says what is malformed.
Heard Listen(int socket, AnswerReader& reader, std::vector<char>& buffer,
             std::string& wrong) {
  const ssize_t got = recv(socket, buffer.data(), buffer.size(), MSG_DONTWAIT);
  if (got < 0 && errno == EINTR) return Heard::kMore;
  if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
    return Heard::kNothingNow;
  }
  // A worker that ends with bytes unread resets the connection.
  if (got <= 0) return Heard::kEnd;
  const absl::Status fed =
      reader.Feed(absl::string_view(buffer.data(), static_cast<size_t>(got)));
  if (fed.ok()) return Heard::kMore;
  wrong = std::string(fed.message());
  return Heard::kMalformed;
}

// Milliseconds for poll, rounded up so that it does not spin at the end.
int PollTime(steady_clock::time_point deadline) {
  const auto left = std::chrono::ceil<std::chrono::milliseconds>(
      deadline - steady_clock::now());
  return static_cast<int>(
      std::clamp<int64_t>(left.count(), 0, int64_t{1} << 30));
}

Conversation::End Talk(int socket, Sender& sender, AnswerReader& reader,
                       steady_clock::time_point deadline, int cancel_fd,
                       std::string& wrong) {
  std::vector<char> buffer(kPieceBytes);
  while (true) {
    sender.Send(socket);
    const short events =
        static_cast<short>(sender.done() ? POLLIN : POLLIN | POLLOUT);
    pollfd waiting[] = {{socket, events, 0}, {cancel_fd, POLLIN, 0}};
    const int ready = poll(waiting, 2, PollTime(deadline));
    if (ready < 0 && errno != EINTR) return Conversation::End::kTimedOut;
    if (ready > 0 && waiting[1].revents != 0) {
      return Conversation::End::kCancelled;
    }
    // Also looked at while there is always more to hear.
    if (steady_clock::now() >= deadline) return Conversation::End::kTimedOut;
    if (ready <= 0 || (waiting[0].revents & ~POLLOUT) == 0) continue;
    switch (Listen(socket, reader, buffer, wrong)) {
      case Heard::kMore:
      case Heard::kNothingNow:
        break;
      case Heard::kEnd:
        return reader.complete() ? Conversation::End::kAnswered
                                 : Conversation::End::kClosed;
      case Heard::kMalformed:
        return Conversation::End::kMalformed;
    }
  }
}

std::string SignalName(int signal) {
  const char* const name = sigabbrev_np(signal);
  if (name == nullptr) return absl::StrCat("signal ", signal);
  return absl::StrCat("SIG", name, " (", sigdescr_np(signal), ")");
}

}  // namespace

Conversation Converse(int socket, const Order& order,
                      absl::Span<const uint8_t> module,
                      steady_clock::time_point deadline, int cancel_fd) {
  Sender sender(EncodeRequest(order), module);
  AnswerReader reader(order.answer_bytes_max);
  Conversation conversation;
  conversation.end =
      Talk(socket, sender, reader, deadline, cancel_fd, conversation.text);
  conversation.locked = reader.locked();
  if (conversation.end == Conversation::End::kAnswered) {
    conversation.kind = reader.kind();
    conversation.text = reader.Take();
  }
  return conversation;
}

std::string OverTimeText(std::chrono::milliseconds time) {
  return absl::StrCat("went over its time of ",
                      static_cast<double>(time.count()) / 1000, " s");
}

Death DescribeDeath(int wait_status, const Order& order) {
  if (WIFSIGNALED(wait_status)) {
    const int signal = WTERMSIG(wait_status);
    switch (signal) {
      case SIGXCPU:
        return {Death::Cause::kOverTime,
                absl::StrCat("went over its processor time of ",
                             order.cpu_seconds, " s")};
      case SIGSYS:
        return {
            Death::Cause::kCrash,
            absl::StrCat("made a forbidden system call: ", SignalName(signal))};
      case SIGKILL:
        return {Death::Cause::kCrash,
                absl::StrCat("was ended by ", SignalName(signal),
                             ", perhaps for want of memory")};
      default:
        return {Death::Cause::kCrash,
                absl::StrCat("was ended by ", SignalName(signal))};
    }
  }
  const int code = WIFEXITED(wait_status) ? WEXITSTATUS(wait_status) : -1;
  if (code == kOutOfMemoryExit) {
    return {Death::Cause::kOverMemory,
            absl::StrCat("went over its memory of ", order.memory_bytes >> 20,
                         " MiB")};
  }
  if (code == 0) {
    return {Death::Cause::kNoAnswer, "ended without a complete answer"};
  }
  return {Death::Cause::kCrash, absl::StrCat("ended with exit code ", code)};
}

}  // namespace callgate::native
