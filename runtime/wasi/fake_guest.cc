#include "runtime/wasi/fake_guest.h"

#include <poll.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <utility>

#include "absl/strings/str_cat.h"
#include "runtime/check.h"
#include "runtime/wasi/function_table.h"
#include "runtime/wasi/host_call.h"

namespace callgate {
namespace wasi {
namespace {

constexpr uint32_t kPathAt = 1024;
constexpr uint32_t kOtherPathAt = 16384;
constexpr uint32_t kOutAt = 32768;
constexpr uint32_t kIovecAt = 32800;
constexpr uint32_t kDataAt = 65536;

}  // namespace

Store& FakeCaller::store() {
  CheckFailed(__FILE__, __LINE__, "store()", "WASI functions need no Store");
}

bool FakeCaller::InBounds(uint64_t address, uint64_t length) {
  return length <= memory.size() && address <= memory.size() - length;
}

Caller::Access FakeCaller::Read(uint64_t address, absl::Span<uint8_t> out) {
  if (!InBounds(address, out.size())) return Access::kOutOfBounds;
  if (out.size() > bytes_left) return Access::kOverBudget;
  bytes_left -= out.size();
  for (size_t i = 0; i < out.size(); ++i) {
    out[i] = memory[address + i];
    ++times_read[address + i];
  }
  return Access::kOk;
}

Caller::Access FakeCaller::Write(uint64_t address,
                                 absl::Span<const uint8_t> bytes) {
  if (!InBounds(address, bytes.size())) return Access::kOutOfBounds;
  if (bytes.size() > bytes_left) return Access::kOverBudget;
  bytes_left -= bytes.size();
  std::copy(bytes.begin(), bytes.end(),
            memory.begin() + static_cast<std::ptrdiff_t>(address));
  return Access::kOk;
}

WakeReason FakeCaller::WaitUntil(absl::Time when) {
  ++waits;
  if (interrupt || when == absl::InfiniteFuture()) {
    return WakeReason::kInterrupted;
  }
  now = std::max(now, when);
  return WakeReason::kTimeReached;
}

WakeReason FakeCaller::WaitReadable(int fd, absl::Time when) {
  pollfd entry{fd, POLLIN, 0};
  if (!interrupt && poll(&entry, 1, 0) > 0) {
    ++waits;
    return WakeReason::kTimeReached;
  }
  return WaitUntil(when);
}

ErrorRef FakeCaller::Interrupted() {
  return std::make_shared<TrapError>(TrapCode::kInterrupted);
}

FakeGuest::FakeGuest(Options options) {
  const auto clock = [this] {
    return static_cast<uint64_t>(absl::ToUnixNanos(caller.now));
  };
  options.realtime = clock;
  options.monotonic = clock;
  absl::StatusOr<std::shared_ptr<Context>> made =
      Context::Create(std::move(options));
  CALLGATE_CHECK(made.ok(), "the test's options are good");
  context = *made;
}

Answer FakeGuest::Call(absl::string_view function,
                       const std::vector<uint64_t>& args) {
  const FunctionInfo* info = FindFunction(function);
  CALLGATE_CHECK(info != nullptr && info->type.params.size() == args.size(),
                 "the test calls a function as it is");
  std::vector<RawValue> values;
  for (size_t i = 0; i < args.size(); ++i) {
    values.push_back(info->type.params[i] == ValType::kI64
                         ? RawValue::I64(args[i])
                         : RawValue::I32(static_cast<uint32_t>(args[i])));
  }
  std::fill(caller.times_read.begin(), caller.times_read.end(), uint8_t{0});
  const auto index = static_cast<size_t>(info - AllFunctions().data());
  HostCall call(context->state(), index, caller, values);
  const Outcome outcome = FunctionBodies()[index](call);
  return Answer{static_cast<uint32_t>(outcome.number()), outcome.error()};
}

uint32_t FakeGuest::Number(absl::string_view function,
                           const std::vector<uint64_t>& args) {
  const Answer answer = Call(function, args);
  CALLGATE_CHECK(answer.error == nullptr, "the call does not end the guest");
  return answer.number;
}

uint32_t FakeGuest::Put(uint32_t address, absl::string_view bytes) {
  std::copy(bytes.begin(), bytes.end(), caller.memory.begin() + address);
  return address;
}

uint32_t FakeGuest::PutU32(uint32_t address, uint32_t value) {
  for (uint32_t i = 0; i < 4; ++i) {
    caller.memory[address + i] = static_cast<uint8_t>(value >> (8 * i));
  }
  return address;
}

std::string FakeGuest::Bytes(uint32_t address, uint32_t length) const {
  const auto begin = caller.memory.begin() + address;
  return std::string(begin, begin + length);
}

uint32_t FakeGuest::U32(uint32_t address) const {
  return Get<uint32_t>(caller.memory.data() + address);
}

uint64_t FakeGuest::U64(uint32_t address) const {
  return Get<uint64_t>(caller.memory.data() + address);
}

uint32_t FakeGuest::Open(uint32_t directory, absl::string_view path,
                         uint32_t dirflags, uint32_t oflags, uint64_t rights,
                         uint32_t fdflags) {
  const uint32_t number =
      Number("path_open", {directory, dirflags, Put(kPathAt, path), path.size(),
                           oflags, rights, 0, fdflags, kOutAt});
  fd = U32(kOutAt);
  return number;
}

uint32_t FakeGuest::OnPath(absl::string_view function, uint32_t directory,
                           absl::string_view path) {
  return Number(function, {directory, Put(kPathAt, path), path.size()});
}

uint32_t FakeGuest::Symlink(absl::string_view content, uint32_t directory,
                            absl::string_view path) {
  return Number("path_symlink", {Put(kOtherPathAt, content), content.size(),
                                 directory, Put(kPathAt, path), path.size()});
}

uint32_t FakeGuest::TwoPaths(absl::string_view function,
                             uint32_t from_directory, absl::string_view from,
                             uint32_t to_directory, absl::string_view to) {
  std::vector<uint64_t> args = {from_directory,        Put(kPathAt, from),
                                from.size(),           to_directory,
                                Put(kOtherPathAt, to), to.size()};
  if (function == "path_link") args.insert(args.begin() + 1, 0);
  return Number(function, args);
}

uint32_t FakeGuest::ReadFile(uint32_t from, uint32_t room) {
  PutU32(kIovecAt, kDataAt);
  PutU32(kIovecAt + 4, room);
  const uint32_t number = Number("fd_read", {from, kIovecAt, 1, kOutAt});
  count = number == 0 ? U32(kOutAt) : 0;
  text = Bytes(kDataAt, count);
  return number;
}

uint32_t FakeGuest::WriteFile(uint32_t to, absl::string_view bytes) {
  PutU32(kIovecAt, Put(kDataAt, bytes));
  PutU32(kIovecAt + 4, static_cast<uint32_t>(bytes.size()));
  const uint32_t number = Number("fd_write", {to, kIovecAt, 1, kOutAt});
  count = number == 0 ? U32(kOutAt) : 0;
  return number;
}

ScratchDir::ScratchDir() {
  const char* base = getenv("TEST_TMPDIR");
  path_ = absl::StrCat(base != nullptr ? base : "/tmp", "/scratch.XXXXXX");
  CALLGATE_CHECK(mkdtemp(path_.data()) != nullptr,
                 "the test's temporary directory can be written");
}

ScratchDir::~ScratchDir() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

std::string ScratchDir::At(absl::string_view name) const {
  return absl::StrCat(path_, "/", name);
}

void ScratchDir::MakeDir(absl::string_view name) const {
  CALLGATE_CHECK(mkdir(At(name).c_str(), 0777) == 0, "the name is free");
}

void ScratchDir::MakeFile(absl::string_view name,
                          absl::string_view bytes) const {
  std::ofstream(At(name), std::ios::binary)
      .write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
}

void ScratchDir::MakeLink(absl::string_view name,
                          absl::string_view content) const {
  CALLGATE_CHECK(symlink(std::string(content).c_str(), At(name).c_str()) == 0,
                 "the name is free");
}

bool ScratchDir::Has(absl::string_view name) const {
  struct stat status {};
  return lstat(At(name).c_str(), &status) == 0;
}

std::string ScratchDir::Read(absl::string_view name) const {
  std::ifstream file(At(name), std::ios::binary);
  std::ostringstream bytes;
  bytes << file.rdbuf();
  return bytes.str();
}

}  // namespace wasi
}  // namespace callgate
