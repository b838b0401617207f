// A disk without room, for tests: while one of these lives no file of this
// process can be written to, and who tries is told EFBIG.
//
// The whole process's: one at a time, and nothing that a test says of itself
// reaches a file meanwhile, so expectations belong behind it.

#ifndef CALLGATE_SERVER_FULL_DISK_H_
#define CALLGATE_SERVER_FULL_DISK_H_

#include <signal.h>
#include <sys/resource.h>

#include "runtime/check.h"

namespace callgate {

class FullDisk {
 public:
  FullDisk() {
    // Else the first write would end the process.
    signal(SIGXFSZ, SIG_IGN);
    CALLGATE_CHECK(getrlimit(RLIMIT_FSIZE, &before_) == 0, "it has a limit");
    rlimit none = before_;
    none.rlim_cur = 0;
    CALLGATE_CHECK(setrlimit(RLIMIT_FSIZE, &none) == 0, "limits go down");
  }
  ~FullDisk() {
    CALLGATE_CHECK(setrlimit(RLIMIT_FSIZE, &before_) == 0,
                   "a soft limit goes up again");
  }
  FullDisk(const FullDisk&) = delete;
  FullDisk& operator=(const FullDisk&) = delete;

 private:
  rlimit before_ = {};
};

}  // namespace callgate

#endif  // CALLGATE_SERVER_FULL_DISK_H_
