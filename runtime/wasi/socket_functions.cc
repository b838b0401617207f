// Sockets. Nothing gives a guest one, so every open descriptor is something
// else, and the answer is that it is not a socket.

#include "runtime/wasi/functions.h"

namespace callgate {
namespace wasi {
namespace {

Outcome NotASocket(HostCall& call) {
  const OutcomeOr<Handle*> handle = call.Find(call.U32(0), 0);
  if (!handle.ok()) return handle.failure();
  return Errno::kNotSock;
}

}  // namespace

Outcome SockAccept(HostCall& call) { return NotASocket(call); }
Outcome SockRecv(HostCall& call) { return NotASocket(call); }
Outcome SockSend(HostCall& call) { return NotASocket(call); }
Outcome SockShutdown(HostCall& call) { return NotASocket(call); }

}  // namespace wasi
}  // namespace callgate
