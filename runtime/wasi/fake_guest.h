// A guest for tests: memory in a byte vector, time that passes only when
// somebody waits, and calls by name, without any engine.

#ifndef CALLGATE_RUNTIME_WASI_FAKE_GUEST_H_
#define CALLGATE_RUNTIME_WASI_FAKE_GUEST_H_

#include <cstdint>
#include <initializer_list>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "runtime/caller.h"
#include "runtime/wasi/wasi.h"

namespace callgate {
namespace wasi {

class FakeCaller final : public Caller {
 public:
  explicit FakeCaller(size_t memory_bytes)
      : memory(memory_bytes), times_read(memory_bytes) {}

  Store& store() override;
  const FunctionIdentity& function() const override { return identity_; }
  std::optional<Instance> instance() override { return std::nullopt; }
  uint64_t MemoryBytes() override { return memory.size(); }
  Access Read(uint64_t address, absl::Span<uint8_t> out) override;
  Access Write(uint64_t address, absl::Span<const uint8_t> bytes) override;
  bool InBounds(uint64_t address, uint64_t length) override;
  // Jumps to `when`; for ever is an interruption.
  WakeReason WaitUntil(absl::Time when) override;
  // Returns at once if `fd` is readable, else like WaitUntil.
  WakeReason WaitReadable(int fd, absl::Time when) override;
  ErrorRef Interrupted() override;
  std::vector<Frame> Backtrace(size_t) override { return {}; }
  Fuel& fuel() override { return fuel_; }

  std::vector<uint8_t> memory;
  // How often the present call has read each byte.
  std::vector<uint8_t> times_read;
  // Bytes that may still be moved.
  uint64_t bytes_left = ~uint64_t{0};
  absl::Time now = absl::FromUnixSeconds(1'000'000'000);
  int waits = 0;
  // The next wait is interrupted.
  bool interrupt = false;

 private:
  FunctionIdentity identity_;
  Fuel fuel_{/*metered=*/true};
};

// What a call came to.
struct Answer {
  // WASI's number; meaningless when `error` is set.
  uint32_t number = 0;
  ErrorRef error;
};

class FakeGuest {
 public:
  static constexpr uint32_t kMemoryBytes = 1 << 17;

  // `options` may leave the clocks: they become the caller's. Ends the process
  // when the Context cannot be made.
  explicit FakeGuest(Options options);

  // Calls a function by name. Narrow arguments are cut.
  Answer Call(absl::string_view function, const std::vector<uint64_t>& args);
  // The same where no error object is expected.
  uint32_t Number(absl::string_view function,
                  const std::vector<uint64_t>& args);

  // Puts bytes at `address` and gives it back.
  uint32_t Put(uint32_t address, absl::string_view bytes);
  uint32_t PutU32(uint32_t address, uint32_t value);
  std::string Bytes(uint32_t address, uint32_t length) const;
  uint32_t U32(uint32_t address) const;
  uint64_t U64(uint32_t address) const;

  // Calls with paths. Results are WASI numbers; Open gives a descriptor in
  // `fd` when it is 0.
  uint32_t Open(uint32_t directory, absl::string_view path,
                uint32_t dirflags = 0, uint32_t oflags = 0, uint64_t rights = 0,
                uint32_t fdflags = 0);
  uint32_t OnPath(absl::string_view function, uint32_t directory,
                  absl::string_view path);
  uint32_t Symlink(absl::string_view content, uint32_t directory,
                   absl::string_view path);
  uint32_t TwoPaths(absl::string_view function, uint32_t from_directory,
                    absl::string_view from, uint32_t to_directory,
                    absl::string_view to);
  // The number, and the first `room` bytes in `text`.
  uint32_t ReadFile(uint32_t fd, uint32_t room);
  uint32_t WriteFile(uint32_t fd, absl::string_view bytes);

  uint32_t fd = 0;
  std::string text;
  uint32_t count = 0;
  FakeCaller caller{kMemoryBytes};
  std::shared_ptr<Context> context;
};

// The first preopened directory.
inline constexpr uint32_t kFirstPreopen = 3;

// A directory of its own for each test, removed with everything in it.
class ScratchDir {
 public:
  ScratchDir();
  ~ScratchDir();
  ScratchDir(const ScratchDir&) = delete;
  ScratchDir& operator=(const ScratchDir&) = delete;

  const std::string& path() const { return path_; }
  std::string At(absl::string_view name) const;
  void MakeDir(absl::string_view name) const;
  void MakeFile(absl::string_view name, absl::string_view bytes) const;
  void MakeLink(absl::string_view name, absl::string_view content) const;
  bool Has(absl::string_view name) const;
  std::string Read(absl::string_view name) const;

 private:
  std::string path_;
};

}  // namespace wasi
}  // namespace callgate

#endif  // CALLGATE_RUNTIME_WASI_FAKE_GUEST_H_
