// Files are named DIR/ab/<64 hex digits>; an unfinished one is
// DIR/tmp/<number>. All work is relative to a descriptor of DIR, so that moving
// or replacing a parent folder meanwhile cannot lead elsewhere, and no name
// here has a part that came from outside: digests are written from their bits.

#include "server/storage/blob_store.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <utility>
#include <vector>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "server/storage/system_error.h"

namespace callgate::storage {
namespace {

constexpr char kTemporaryFolder[] = "tmp";

std::string FolderOf(const Digest& digest) { return digest.hex().substr(0, 2); }

std::string PathOf(const Digest& digest) {
  return absl::StrCat(FolderOf(digest), "/", digest.hex());
}

// mkdirat, where one that is there is fine. True if it was made.
absl::StatusOr<bool> MakeFolder(int parent_fd, const std::string& name,
                                const std::string& shown) {
  if (mkdirat(parent_fd, name.c_str(), 0700) == 0) return true;
  if (errno == EEXIST) return false;
  return SystemError(errno, absl::StrCat("cannot make the folder ", shown));
}

absl::Status Sync(int fd, const std::string& shown) {
  if (fsync(fd) == 0) return absl::OkStatus();
  return SystemError(errno, absl::StrCat("cannot sync ", shown));
}

absl::Status SyncFolder(int parent_fd, const std::string& name,
                        const std::string& shown) {
  const int fd =
      openat(parent_fd, name.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) {
    return SystemError(errno, absl::StrCat("cannot open the folder ", shown));
  }
  const auto close_fd = absl::MakeCleanup([fd] { close(fd); });
  return Sync(fd, shown);
}

absl::Status WriteAll(int fd, absl::string_view bytes,
                      const std::string& shown) {
  while (!bytes.empty()) {
    const ssize_t written = write(fd, bytes.data(), bytes.size());
    if (written < 0) {
      if (errno == EINTR) continue;
      return SystemError(errno, absl::StrCat("cannot write ", shown));
    }
    bytes.remove_prefix(static_cast<size_t>(written));
  }
  return absl::OkStatus();
}

// Names in a folder, without "." and "..".
absl::StatusOr<std::vector<std::string>> NamesIn(int parent_fd,
                                                 const std::string& name,
                                                 const std::string& shown) {
  const int fd =
      openat(parent_fd, name.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) {
    return SystemError(errno, absl::StrCat("cannot open the folder ", shown));
  }
  DIR* const folder = fdopendir(fd);
  if (folder == nullptr) {
    const int error = errno;
    close(fd);
    return SystemError(error, absl::StrCat("cannot read the folder ", shown));
  }
  const auto close_folder = absl::MakeCleanup([folder] { closedir(folder); });
  std::vector<std::string> names;
  errno = 0;
  while (const dirent* const entry = readdir(folder)) {
    const absl::string_view entry_name = entry->d_name;
    if (entry_name != "." && entry_name != "..") {
      names.emplace_back(entry_name);
    }
    errno = 0;
  }
  if (errno != 0) {
    return SystemError(errno, absl::StrCat("cannot read the folder ", shown));
  }
  return names;
}

}  // namespace

absl::StatusOr<std::unique_ptr<BlobStore>> BlobStore::Open(
    const std::string& folder, StorageObserver* observer) {
  const absl::StatusOr<bool> made = MakeFolder(AT_FDCWD, folder, folder);
  if (!made.ok()) return made.status();
  const int fd = open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) {
    return SystemError(errno, absl::StrCat("cannot open the folder ", folder));
  }
  // Owns fd from here on.
  std::unique_ptr<BlobStore> store(new BlobStore(folder, fd, observer));
  const absl::StatusOr<bool> made_temporary = MakeFolder(
      fd, kTemporaryFolder, absl::StrCat(folder, "/", kTemporaryFolder));
  if (!made_temporary.ok()) return made_temporary.status();
  const absl::Status synced = Sync(fd, folder);
  if (!synced.ok()) return synced;
  return store;
}

BlobStore::BlobStore(std::string folder, int folder_fd,
                     StorageObserver* observer)
    : folder_(std::move(folder)), folder_fd_(folder_fd), observer_(observer) {}

BlobStore::~BlobStore() { close(folder_fd_); }

absl::Status BlobStore::Put(const Digest& digest, absl::string_view bytes) {
  TimedOperation timed(observer_, kEngineFiles, kOpPutBlob);
  if (DigestOf(bytes) != digest) {
    return absl::InvalidArgumentError(
        absl::StrCat("the bytes are not those of ", digest.ToString(),
                     " but of ", DigestOf(bytes).ToString()));
  }
  // What is there already is written again: the old file may be damaged, and
  // replacing it by the same bytes repairs it and harms no reader.
  const std::string temporary =
      absl::StrCat(kTemporaryFolder, "/", next_temporary_.fetch_add(1));
  const std::string shown = absl::StrCat(folder_, "/", temporary);
  const int fd = openat(folder_fd_, temporary.c_str(),
                        O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  if (fd < 0) {
    return timed.Failed(
        SystemError(errno, absl::StrCat("cannot make ", shown)));
  }
  absl::Status status = WriteAll(fd, bytes, shown);
  if (status.ok()) status = Sync(fd, shown);
  if (close(fd) != 0 && status.ok()) {
    status = SystemError(errno, absl::StrCat("cannot write ", shown));
  }

  const std::string path = PathOf(digest);
  if (status.ok()) {
    const std::string folder_shown =
        absl::StrCat(folder_, "/", FolderOf(digest));
    const absl::StatusOr<bool> made =
        MakeFolder(folder_fd_, FolderOf(digest), folder_shown);
    status = made.status();
    // The new folder's own name has to be on disk before Put may say so, and
    // another thread that made it may not have come to that yet.
    if (status.ok()) status = Sync(folder_fd_, folder_);
    if (status.ok() && renameat(folder_fd_, temporary.c_str(), folder_fd_,
                                path.c_str()) != 0) {
      status =
          SystemError(errno, absl::StrCat("cannot make ", folder_, "/", path));
    }
    if (status.ok()) {
      status = SyncFolder(folder_fd_, FolderOf(digest), folder_shown);
      return status.ok() ? status : timed.Failed(status);
    }
  }
  unlinkat(folder_fd_, temporary.c_str(), 0);
  return timed.Failed(status);
}

absl::StatusOr<std::string> BlobStore::Get(const Digest& digest,
                                           uint64_t bytes_max) const {
  TimedOperation timed(observer_, kEngineFiles, kOpGetBlob);
  const std::string path = PathOf(digest);
  const std::string shown = absl::StrCat(folder_, "/", path);
  const int fd =
      openat(folder_fd_, path.c_str(), O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
  if (fd < 0) {
    if (errno == ENOENT) {
      return absl::NotFoundError(
          absl::StrCat("no bytes of ", digest.ToString(), " in ", folder_));
    }
    return timed.Failed(
        SystemError(errno, absl::StrCat("cannot open ", shown)));
  }
  const auto close_fd = absl::MakeCleanup([fd] { close(fd); });
  struct stat file = {};
  if (fstat(fd, &file) != 0) {
    return timed.Failed(
        SystemError(errno, absl::StrCat("cannot read ", shown)));
  }
  if (!S_ISREG(file.st_mode)) {
    return timed.Failed(
        absl::DataLossError(absl::StrCat(shown, " is not a regular file")));
  }
  if (static_cast<uint64_t>(file.st_size) > bytes_max) {
    return timed.Failed(absl::DataLossError(
        absl::StrCat(shown, " has ", file.st_size,
                     " bytes, and a module at most ", bytes_max)));
  }
  std::string bytes(static_cast<size_t>(file.st_size), '\0');
  size_t filled = 0;
  while (filled < bytes.size()) {
    const ssize_t got = read(fd, &bytes[filled], bytes.size() - filled);
    if (got < 0) {
      if (errno == EINTR) continue;
      return timed.Failed(
          SystemError(errno, absl::StrCat("cannot read ", shown)));
    }
    if (got == 0) break;
    filled += static_cast<size_t>(got);
  }
  bytes.resize(filled);
  if (DigestOf(bytes) != digest) {
    return timed.Failed(absl::DataLossError(absl::StrCat(
        shown,
        " does not hold the bytes it is named for: the disk or somebody "
        "changed them; delete the module and push it again")));
  }
  return bytes;
}

absl::Status BlobStore::Remove(const Digest& digest) {
  TimedOperation timed(observer_, kEngineFiles, kOpRemoveBlob);
  const std::string path = PathOf(digest);
  if (unlinkat(folder_fd_, path.c_str(), 0) != 0) {
    if (errno == ENOENT) return absl::OkStatus();
    return timed.Failed(
        SystemError(errno, absl::StrCat("cannot remove ", folder_, "/", path)));
  }
  // Not synced: a removal that a power cut takes back leaves an orphan, which
  // the next start clears.
  return absl::OkStatus();
}

absl::StatusOr<uint64_t> BlobStore::RemoveOrphans(
    const std::function<absl::StatusOr<bool>(const Digest&)>& is_wanted) {
  uint64_t removed = 0;
  const absl::StatusOr<std::vector<std::string>> unfinished =
      NamesIn(folder_fd_, kTemporaryFolder,
              absl::StrCat(folder_, "/", kTemporaryFolder));
  if (!unfinished.ok()) return unfinished.status();
  for (const std::string& name : *unfinished) {
    const std::string path = absl::StrCat(kTemporaryFolder, "/", name);
    if (unlinkat(folder_fd_, path.c_str(), 0) != 0) {
      return SystemError(errno,
                         absl::StrCat("cannot remove ", folder_, "/", path));
    }
    ++removed;
  }

  const absl::StatusOr<std::vector<std::string>> folders =
      NamesIn(folder_fd_, ".", folder_);
  if (!folders.ok()) return folders.status();
  for (const std::string& folder : *folders) {
    // Names that this class does not make are somebody else's and stay.
    if (folder.size() != 2) continue;
    const absl::StatusOr<std::vector<std::string>> names =
        NamesIn(folder_fd_, folder, absl::StrCat(folder_, "/", folder));
    if (!names.ok()) return names.status();
    for (const std::string& name : *names) {
      const absl::StatusOr<Digest> digest =
          Digest::Parse(absl::StrCat("sha256:", name));
      if (!digest.ok() || FolderOf(*digest) != folder) continue;
      const absl::StatusOr<bool> wanted = is_wanted(*digest);
      if (!wanted.ok()) return wanted.status();
      if (*wanted) continue;
      const absl::Status gone = Remove(*digest);
      if (!gone.ok()) return gone;
      ++removed;
    }
  }
  return removed;
}

}  // namespace callgate::storage
