#include "runtime/wasi/host_errno.h"

namespace callgate {
namespace wasi {

Errno FromHostErrno(int host_errno) {
  switch (host_errno) {
    case 0:
      return Errno::kSuccess;
    case E2BIG:
      return Errno::k2Big;
    case EACCES:
      return Errno::kAcces;
    case EAGAIN:
      return Errno::kAgain;
    case EBADF:
      return Errno::kBadf;
    case EBUSY:
      return Errno::kBusy;
    case EDQUOT:
      return Errno::kDquot;
    case EEXIST:
      return Errno::kExist;
    case EFBIG:
      return Errno::kFbig;
    case EILSEQ:
      return Errno::kIlseq;
    case EINTR:
      return Errno::kIntr;
    case EINVAL:
      return Errno::kInval;
    case EISDIR:
      return Errno::kIsDir;
    case ELOOP:
      return Errno::kLoop;
    case EMFILE:
      return Errno::kMfile;
    case EMLINK:
      return Errno::kMlink;
    case ENAMETOOLONG:
      return Errno::kNameTooLong;
    case ENFILE:
      return Errno::kNfile;
    case ENODEV:
      return Errno::kNoDev;
    case ENOENT:
      return Errno::kNoEnt;
    case ENOLCK:
      return Errno::kNoLck;
    case ENOMEM:
      return Errno::kNoMem;
    case ENOSPC:
      return Errno::kNoSpc;
    case ENOSYS:
      return Errno::kNoSys;
    case ENOTDIR:
      return Errno::kNotDir;
    case ENOTEMPTY:
      return Errno::kNotEmpty;
    case ENOTSUP:
      return Errno::kNotSup;
    case ENOTTY:
      return Errno::kNoTty;
    case ENXIO:
      return Errno::kNxio;
    case EOVERFLOW:
      return Errno::kOverflow;
    case EPERM:
      return Errno::kPerm;
    case EPIPE:
      return Errno::kPipe;
    case EROFS:
      return Errno::kRofs;
    case ESPIPE:
      return Errno::kSpipe;
    case ESTALE:
      return Errno::kStale;
    case ETIMEDOUT:
      return Errno::kTimedOut;
    case ETXTBSY:
      return Errno::kTxtBsy;
    case EXDEV:
      return Errno::kXdev;
    default:
      return Errno::kIo;
  }
}

}  // namespace wasi
}  // namespace callgate
