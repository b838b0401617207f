// The bodies of WASI's functions, by subject. Arguments are taken from the
// HostCall by position, in the order of the table in function_table.cc.
//
// Each body checks everything that can be refused (flags, ranges of memory,
// rights) before it does anything that could be noticed.

#ifndef CALLGATE_RUNTIME_WASI_FUNCTIONS_H_
#define CALLGATE_RUNTIME_WASI_FUNCTIONS_H_

#include "runtime/wasi/host_call.h"
#include "runtime/wasi/outcome.h"

namespace callgate {
namespace wasi {

using FunctionBody = Outcome (*)(HostCall& call);

// environment_functions.cc
Outcome ArgsGet(HostCall& call);
Outcome ArgsSizesGet(HostCall& call);
Outcome EnvironGet(HostCall& call);
Outcome EnvironSizesGet(HostCall& call);

// process_functions.cc
Outcome ClockResGet(HostCall& call);
Outcome ClockTimeGet(HostCall& call);
Outcome ProcExit(HostCall& call);
Outcome ProcRaise(HostCall& call);
Outcome RandomGet(HostCall& call);
Outcome SchedYield(HostCall& call);

// transfer_functions.cc
Outcome FdPread(HostCall& call);
Outcome FdPwrite(HostCall& call);
Outcome FdRead(HostCall& call);
Outcome FdSeek(HostCall& call);
Outcome FdTell(HostCall& call);
Outcome FdWrite(HostCall& call);

// handle_functions.cc
Outcome FdAdvise(HostCall& call);
Outcome FdAllocate(HostCall& call);
Outcome FdClose(HostCall& call);
Outcome FdDatasync(HostCall& call);
Outcome FdFdstatGet(HostCall& call);
Outcome FdFdstatSetFlags(HostCall& call);
Outcome FdFdstatSetRights(HostCall& call);
Outcome FdFilestatGet(HostCall& call);
Outcome FdFilestatSetSize(HostCall& call);
Outcome FdFilestatSetTimes(HostCall& call);
Outcome FdPrestatDirName(HostCall& call);
Outcome FdPrestatGet(HostCall& call);
Outcome FdRenumber(HostCall& call);
Outcome FdSync(HostCall& call);

// listing_functions.cc
Outcome FdReaddir(HostCall& call);

// path_open.cc
Outcome PathOpen(HostCall& call);

// path_functions.cc
Outcome PathCreateDirectory(HostCall& call);
Outcome PathFilestatGet(HostCall& call);
Outcome PathFilestatSetTimes(HostCall& call);
Outcome PathLink(HostCall& call);
Outcome PathReadlink(HostCall& call);
Outcome PathRemoveDirectory(HostCall& call);
Outcome PathRename(HostCall& call);
Outcome PathSymlink(HostCall& call);
Outcome PathUnlinkFile(HostCall& call);

// poll_functions.cc
Outcome PollOneoff(HostCall& call);

// socket_functions.cc
Outcome SockAccept(HostCall& call);
Outcome SockRecv(HostCall& call);
Outcome SockSend(HostCall& call);
Outcome SockShutdown(HostCall& call);

}  // namespace wasi
}  // namespace callgate

#endif  // CALLGATE_RUNTIME_WASI_FUNCTIONS_H_
