#include "tests/e2e/scratch_dir.h"

#include <openssl/evp.h>
#include <stdlib.h>

#include <array>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <system_error>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"

namespace callgate::e2e {
namespace {

namespace fs = std::filesystem;

[[noreturn]] void Fail(absl::string_view what) {
  fprintf(stderr, "scratch directory: %s\n", std::string(what).c_str());
  abort();
}

}  // namespace

ScratchDir::ScratchDir() {
  const char* base = getenv("TEST_TMPDIR");
  path_ = absl::StrCat(base != nullptr ? base : "/tmp", "/callgate-XXXXXX");
  if (mkdtemp(path_.data()) == nullptr) Fail(path_);
  // What the daemon is asked about must be what it resolves to.
  path_ = fs::canonical(path_).string();
}

ScratchDir::~ScratchDir() {
  std::error_code ignored;
  fs::remove_all(path_, ignored);
}

std::string ScratchDir::Path(absl::string_view name) const {
  return absl::StrCat(path_, "/", name);
}

std::string ScratchDir::Write(absl::string_view name,
                              absl::string_view bytes) const {
  const std::string path = Path(name);
  fs::create_directories(fs::path(path).parent_path());
  std::ofstream file(path, std::ios::binary);
  file.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  file.close();
  if (!file) Fail(path);
  return path;
}

std::string ScratchDir::MakeDir(absl::string_view name) const {
  const std::string path = Path(name);
  fs::create_directories(path);
  return path;
}

std::string ScratchDir::Copy(const std::string& from,
                             absl::string_view name) const {
  const std::string path = Path(name);
  fs::create_directories(fs::path(path).parent_path());
  fs::copy(from, path, fs::copy_options::recursive);
  // The source may be read-only; the copy is the test's own.
  fs::permissions(path, fs::perms::owner_all, fs::perm_options::add);
  if (fs::is_directory(path)) {
    for (const auto& entry : fs::recursive_directory_iterator(path)) {
      if (entry.is_symlink()) continue;
      fs::permissions(entry.path(),
                      entry.is_directory()
                          ? fs::perms::owner_all
                          : fs::perms::owner_read | fs::perms::owner_write,
                      fs::perm_options::add);
    }
  }
  return path;
}

absl::StatusOr<std::string> ReadWholeFile(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) return absl::NotFoundError(absl::StrCat("cannot read ", path));
  return std::string(std::istreambuf_iterator<char>(file), {});
}

std::string Sha256Hex(absl::string_view bytes) {
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest;
  unsigned int size = 0;
  if (EVP_Digest(bytes.data(), bytes.size(), digest.data(), &size, EVP_sha256(),
                 nullptr) != 1) {
    Fail("SHA-256");
  }
  // SAFETY: unsigned char and char alias, and `size` bytes were written.
  return absl::BytesToHexString(
      absl::string_view(reinterpret_cast<const char*>(digest.data()), size));
}

}  // namespace callgate::e2e
