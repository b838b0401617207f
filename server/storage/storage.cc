#include "server/storage/storage.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "server/storage/sqlite_catalogue.h"
#include "server/storage/system_error.h"

namespace callgate::storage {
namespace {

// Who has the directory, for a message only: what holds it is the lock on the
// catalogue, which cannot be left behind as a file can.
constexpr char kPidFile[] = "callgated.pid";
constexpr size_t kPidFileBytesMax = 32;

std::string PathIn(const std::string& directory, absl::string_view name) {
  return absl::StrCat(directory, "/", name);
}

void WritePid(const std::string& directory) {
  const std::string path = PathIn(directory, kPidFile);
  const int fd =
      open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC,
           0600);
  if (fd < 0) return;
  const std::string text = absl::StrCat(getpid(), "\n");
  // A pid that could not be written is one that the message leaves out.
  const ssize_t written = write(fd, text.data(), text.size());
  static_cast<void>(written);
  close(fd);
}

// " (pid 1234)", or nothing.
std::string Holder(const std::string& directory) {
  const std::string path = PathIn(directory, kPidFile);
  const int fd = open(path.c_str(), O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
  if (fd < 0) return "";
  const auto close_fd = absl::MakeCleanup([fd] { close(fd); });
  std::string text(kPidFileBytesMax, '\0');
  const ssize_t got = read(fd, &text[0], text.size());
  if (got <= 0) return "";
  text.resize(static_cast<size_t>(got));
  int64_t pid = 0;
  if (!absl::SimpleAtoi(text, &pid)) return "";
  return absl::StrCat(" (pid ", pid, ")");
}

}  // namespace

absl::StatusOr<std::unique_ptr<Storage>> Storage::Open(
    const std::string& directory, const StorageOptions& options) {
  if (mkdir(directory.c_str(), 0700) != 0 && errno != EEXIST) {
    return SystemError(
        errno, absl::StrCat("cannot make the data directory ", directory));
  }
  struct stat found = {};
  if (stat(directory.c_str(), &found) != 0) {
    return SystemError(
        errno, absl::StrCat("cannot open the data directory ", directory));
  }
  if (!S_ISDIR(found.st_mode)) {
    return SystemError(
        ENOTDIR, absl::StrCat("cannot open the data directory ", directory));
  }
  if (access(directory.c_str(), R_OK | W_OK | X_OK) != 0) {
    return SystemError(
        errno, absl::StrCat("cannot write the data directory ", directory));
  }

  absl::StatusOr<std::unique_ptr<SqliteCatalogue>> catalogue =
      SqliteCatalogue::Open(PathIn(directory, "catalogue.db"), options.limits,
                            options.observer);
  if (absl::IsAborted(catalogue.status())) {
    return absl::FailedPreconditionError(
        absl::StrCat("the data directory ", directory,
                     " is in use by another callgated", Holder(directory),
                     "; stop that one, or name another directory with --data"));
  }
  if (!catalogue.ok()) return catalogue.status();
  WritePid(directory);

  absl::StatusOr<std::unique_ptr<BlobStore>> blobs =
      BlobStore::Open(PathIn(directory, "modules"), options.observer);
  if (!blobs.ok()) return blobs.status();
  const absl::StatusOr<uint64_t> removed =
      (*blobs)->RemoveOrphans([&catalogue](const Digest& digest) {
        return (*catalogue)->AnyTenantHas(digest);
      });
  if (!removed.ok()) return removed.status();
  return std::unique_ptr<Storage>(
      new Storage(options, *std::move(catalogue), *std::move(blobs)));
}

Storage::Storage(const StorageOptions& options,
                 std::unique_ptr<Catalogue> catalogue,
                 std::unique_ptr<BlobStore> blobs)
    : options_(options),
      catalogue_(std::move(catalogue)),
      blobs_(std::move(blobs)) {}

absl::StatusOr<Storage::PutResult> Storage::PutModule(
    const ModuleRecord& module, absl::string_view bytes) {
  if (bytes.size() > options_.module_bytes_max) {
    return absl::InvalidArgumentError(
        absl::StrCat("the module has ", bytes.size(), " bytes, at most ",
                     options_.module_bytes_max, " are kept"));
  }
  absl::MutexLock lock(&mu_);
  // The bytes first: a record without bytes must never be seen, and bytes
  // without a record are cleared at the next start.
  const absl::Status put = blobs_->Put(module.digest, bytes);
  if (!put.ok()) return put;
  const absl::StatusOr<bool> created = catalogue_->PutModule(module);
  if (!created.ok()) {
    const absl::StatusOr<bool> wanted = catalogue_->AnyTenantHas(module.digest);
    if (wanted.ok() && !*wanted) {
      // What cannot be removed now is an orphan, cleared at the next start.
      const absl::Status removed = blobs_->Remove(module.digest);
      static_cast<void>(removed);
    }
    return created.status();
  }
  PutResult result;
  result.created = *created;
  if (*created) {
    result.module = module;
    return result;
  }
  absl::StatusOr<ModuleRecord> stored =
      catalogue_->GetModule(module.tenant, module.digest);
  if (!stored.ok()) return stored.status();
  result.module = *std::move(stored);
  return result;
}

absl::StatusOr<Storage::StoredModule> Storage::ReadModule(
    absl::string_view tenant, const Digest& digest) {
  absl::MutexLock lock(&mu_);
  absl::StatusOr<ModuleRecord> module = catalogue_->GetModule(tenant, digest);
  if (!module.ok()) return module.status();
  absl::StatusOr<std::string> bytes =
      blobs_->Get(digest, options_.module_bytes_max);
  if (absl::IsNotFound(bytes.status())) {
    return absl::DataLossError(
        absl::StrCat("the bytes of module ", digest.ToString(),
                     " are gone from the data directory; delete the module "
                     "and push it again"));
  }
  if (!bytes.ok()) return bytes.status();
  return StoredModule{*std::move(module), *std::move(bytes)};
}

absl::Status Storage::DeleteModule(absl::string_view tenant,
                                   const Digest& digest) {
  absl::MutexLock lock(&mu_);
  const absl::Status deleted = catalogue_->DeleteModule(tenant, digest);
  if (!deleted.ok()) return deleted;
  const absl::StatusOr<bool> wanted = catalogue_->AnyTenantHas(digest);
  if (!wanted.ok()) return wanted.status();
  if (*wanted) return absl::OkStatus();
  return blobs_->Remove(digest);
}

}  // namespace callgate::storage
