#include "runtime/native/worker/control.h"

#include <sys/socket.h>

#include <cerrno>
#include <cstring>

#include "runtime/native/abi.h"

namespace callgate::native {
namespace {

constexpr size_t kDescriptors = 2;

Transfer FromErrno() {
  if (errno == EAGAIN || errno == EWOULDBLOCK) return Transfer::kAgain;
  if (errno == EPIPE || errno == ECONNRESET) return Transfer::kEnd;
  return Transfer::kBroken;
}

}  // namespace

Transfer SendControl(int socket, const ControlMessage& message, int socket_fd,
                     int pidfd) {
  ControlMessage copy = message;
  copy.version = kAbiVersion;
  iovec piece = {&copy, sizeof(copy)};
  alignas(cmsghdr) char space[CMSG_SPACE(kDescriptors * sizeof(int))] = {};
  msghdr header = {};
  header.msg_iov = &piece;
  header.msg_iovlen = 1;
  if (socket_fd >= 0 && pidfd >= 0) {
    const int descriptors[kDescriptors] = {socket_fd, pidfd};
    header.msg_control = space;
    header.msg_controllen = sizeof(space);
    cmsghdr* const rights = CMSG_FIRSTHDR(&header);
    rights->cmsg_level = SOL_SOCKET;
    rights->cmsg_type = SCM_RIGHTS;
    rights->cmsg_len = CMSG_LEN(sizeof(descriptors));
    std::memcpy(CMSG_DATA(rights), descriptors, sizeof(descriptors));
  }
  while (true) {
    const ssize_t sent = sendmsg(socket, &header, MSG_NOSIGNAL);
    if (sent >= 0) return Transfer::kDone;
    if (errno != EINTR) return FromErrno();
  }
}

Transfer ReceiveControl(int socket, ReceivedControl& received) {
  iovec piece = {&received.message, sizeof(received.message)};
  alignas(cmsghdr) char space[CMSG_SPACE(kDescriptors * sizeof(int))] = {};
  msghdr header = {};
  header.msg_iov = &piece;
  header.msg_iovlen = 1;
  header.msg_control = space;
  header.msg_controllen = sizeof(space);
  ssize_t got = 0;
  do {
    got = recvmsg(socket, &header, MSG_CMSG_CLOEXEC);
  } while (got < 0 && errno == EINTR);
  if (got < 0) return FromErrno();
  // Whatever came is owned before anything is judged.
  for (cmsghdr* rights = CMSG_FIRSTHDR(&header); rights != nullptr;
       rights = CMSG_NXTHDR(&header, rights)) {
    if (rights->cmsg_level != SOL_SOCKET || rights->cmsg_type != SCM_RIGHTS) {
      continue;
    }
    const size_t count = (rights->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (size_t i = 0; i < count; ++i) {
      int descriptor = -1;
      std::memcpy(&descriptor, CMSG_DATA(rights) + i * sizeof(int),
                  sizeof(int));
      (i == 0 ? received.socket : received.pidfd) = UniqueFd(descriptor);
    }
  }
  if (got == 0) return Transfer::kEnd;
  if (static_cast<size_t>(got) != sizeof(received.message)) {
    errno = EPROTO;
    return Transfer::kBroken;
  }
  return Transfer::kDone;
}

}  // namespace callgate::native
