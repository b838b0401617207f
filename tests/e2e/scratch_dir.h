// A directory of its own for a test, gone when the object is.

#ifndef CALLGATE_TESTS_E2E_SCRATCH_DIR_H_
#define CALLGATE_TESTS_E2E_SCRATCH_DIR_H_

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace callgate::e2e {

class ScratchDir {
 public:
  // Under TEST_TMPDIR where Bazel set it, else under /tmp. Aborts the test if
  // it cannot be made.
  ScratchDir();
  ~ScratchDir();
  ScratchDir(const ScratchDir&) = delete;
  ScratchDir& operator=(const ScratchDir&) = delete;

  const std::string& path() const { return path_; }
  // "PATH/name".
  std::string Path(absl::string_view name) const;
  // Writes a file, making its directories; returns its path.
  std::string Write(absl::string_view name, absl::string_view bytes) const;
  // Makes a directory; returns its path.
  std::string MakeDir(absl::string_view name) const;
  // Copies a file or a whole directory to `name`, writable; returns its path.
  std::string Copy(const std::string& from, absl::string_view name) const;

 private:
  std::string path_;
};

absl::StatusOr<std::string> ReadWholeFile(const std::string& path);

// Lower-case hexadecimal SHA-256.
std::string Sha256Hex(absl::string_view bytes);

}  // namespace callgate::e2e

#endif  // CALLGATE_TESTS_E2E_SCRATCH_DIR_H_
