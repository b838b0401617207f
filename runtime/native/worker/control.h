// Messages between the daemon and its zygote, the single-threaded process that
// forks compile workers, over a SOCK_SEQPACKET socket.
//
//   zygote -> daemon   ready once; spawned with the worker's socket and its
//                      pidfd, or not spawned with an errno; ended with the
//                      wait status
//   daemon -> zygote   spawn
//
// The worker's socket is made by the zygote, which keeps neither end: the one
// goes to the worker by fork, the other to the daemon by SCM_RIGHTS. No process
// but these two ever holds it, whatever the daemon forks meanwhile.

#ifndef CALLGATE_RUNTIME_NATIVE_WORKER_CONTROL_H_
#define CALLGATE_RUNTIME_NATIVE_WORKER_CONTROL_H_

#include <cstdint>

#include "runtime/native/worker/unique_fd.h"

namespace callgate::native {

struct ControlMessage {
  enum class Kind : uint32_t {
    kReady = 1,
    kSpawn,
    kSpawned,     // value: process id
    kNotSpawned,  // value: errno
    kEnded,       // value: wait status
  };
  Kind kind = Kind::kReady;
  uint32_t version = 0;  // kAbiVersion
  uint64_t worker = 0;   // chosen by the daemon
  int64_t value = 0;
};

enum class Transfer {
  kDone,
  kAgain,   // the socket does not block, and nothing could be moved now
  kEnd,     // the other side is gone
  kBroken,  // a message of no sense, or errno says why
};

// Any thread; a message goes whole or not at all. `socket_fd` and `pidfd` are
// lent, and sent when they are not negative.
Transfer SendControl(int socket, const ControlMessage& message,
                     int socket_fd = -1, int pidfd = -1);

struct ReceivedControl {
  ControlMessage message;
  // Close-on-exec; not valid where none was sent, or none could be had.
  UniqueFd socket;
  UniqueFd pidfd;
};
Transfer ReceiveControl(int socket, ReceivedControl& received);

}  // namespace callgate::native

#endif  // CALLGATE_RUNTIME_NATIVE_WORKER_CONTROL_H_
