// What the host says of a file, in WASI's terms.

#ifndef CALLGATE_RUNTIME_WASI_FILE_STATUS_H_
#define CALLGATE_RUNTIME_WASI_FILE_STATUS_H_

#include <sys/stat.h>
#include <time.h>

#include <array>
#include <cstdint>

#include "runtime/wasi/abi.h"
#include "runtime/wasi/outcome.h"

namespace callgate {
namespace wasi {

Filetype FiletypeOf(mode_t mode);
// A number from getdents64; kUnknown where the file system does not say.
Filetype FiletypeOfEntry(unsigned char type);

// Of an open descriptor, O_PATH ones and links themselves included.
OutcomeOr<Filestat> FilestatOf(int fd);

// The times for utimensat: access, then modification. kInval for flags that
// contradict each other or that do not exist.
OutcomeOr<std::array<timespec, 2>> TimesToSet(uint64_t atim_ns,
                                              uint64_t mtim_ns, uint32_t flags);

}  // namespace wasi
}  // namespace callgate

#endif  // CALLGATE_RUNTIME_WASI_FILE_STATUS_H_
