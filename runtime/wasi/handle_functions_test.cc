// Functions on open descriptors: transfers, positions, status, listing.

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <map>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "runtime/wasi/abi.h"
#include "runtime/wasi/fake_guest.h"
#include "runtime/wasi/unique_fd.h"

namespace callgate {
namespace wasi {
namespace {

constexpr uint32_t N(Errno number) { return static_cast<uint32_t>(number); }
constexpr uint32_t kOk = N(Errno::kSuccess);
constexpr uint32_t kNotCapable = N(Errno::kNotCapable);

class HandleFunctionsTest : public testing::Test {
 protected:
  HandleFunctionsTest() {
    dir_.MakeFile("file", "0123456789");
    dir_.MakeDir("dir");
  }

  Options BaseOptions() const {
    Options options;
    options.preopens = {{dir_.path(), "/"}};
    options.stdin_bytes = "standard input";
    return options;
  }

  // A file with every right.
  static uint32_t OpenFile(FakeGuest& guest, const char* name = "file",
                           uint32_t fdflags = 0) {
    EXPECT_EQ(guest.Open(kFirstPreopen, name, 0, oflags::kCreat, rights::kFile,
                         fdflags),
              kOk);
    return guest.fd;
  }

  static uint64_t Tell(FakeGuest& guest, uint32_t fd) {
    EXPECT_EQ(guest.Number("fd_tell", {fd, 256}), kOk);
    return guest.U64(256);
  }

  ScratchDir dir_;
};

TEST_F(HandleFunctionsTest, ReadsIntoSeveralPieces) {
  FakeGuest guest(BaseOptions());
  const uint32_t fd = OpenFile(guest);
  // (1000, 3), (anything, 0), (2000, 4), (3000, 100)
  const uint32_t iovecs[] = {1000, 3, ~0u, 0, 2000, 4, 3000, 100};
  for (uint32_t i = 0; i < 8; ++i) guest.PutU32(512 + 4 * i, iovecs[i]);
  ASSERT_EQ(guest.Number("fd_read", {fd, 512, 4, 256}), kOk);
  EXPECT_EQ(guest.U32(256), 10u);
  EXPECT_EQ(guest.Bytes(1000, 3), "012");
  EXPECT_EQ(guest.Bytes(2000, 4), "3456");
  EXPECT_EQ(guest.Bytes(3000, 4), std::string("789\0", 4));
  ASSERT_EQ(guest.Number("fd_read", {fd, 512, 4, 256}), kOk);
  EXPECT_EQ(guest.U32(256), 0u);
}

TEST_F(HandleFunctionsTest, WritesFromSeveralPieces) {
  FakeGuest guest(BaseOptions());
  const uint32_t fd = OpenFile(guest, "new");
  guest.Put(1000, "abc");
  guest.Put(2000, "de");
  const uint32_t iovecs[] = {1000, 3, 2000, 2, 1001, 1};
  for (uint32_t i = 0; i < 6; ++i) guest.PutU32(512 + 4 * i, iovecs[i]);
  ASSERT_EQ(guest.Number("fd_write", {fd, 512, 3, 256}), kOk);
  EXPECT_EQ(guest.U32(256), 6u);
  EXPECT_EQ(dir_.Read("new"), "abcdeb");
}

TEST_F(HandleFunctionsTest, DoesNothingWhenAPieceIsOutsideMemory) {
  FakeGuest guest(BaseOptions());
  const uint32_t fd = OpenFile(guest);
  const uint32_t iovecs[] = {1000, 3, FakeGuest::kMemoryBytes - 1, 2};
  for (uint32_t i = 0; i < 4; ++i) guest.PutU32(512 + 4 * i, iovecs[i]);
  EXPECT_EQ(guest.Number("fd_write", {fd, 512, 2, 256}), N(Errno::kFault));
  EXPECT_EQ(guest.Number("fd_read", {fd, 512, 2, 256}), N(Errno::kFault));
  EXPECT_EQ(Tell(guest, fd), 0u);
  EXPECT_EQ(dir_.Read("file"), "0123456789");
  // Nor when only the answer has no place.
  EXPECT_EQ(guest.Number("fd_read", {fd, 512, 1, FakeGuest::kMemoryBytes - 3}),
            N(Errno::kFault));
  EXPECT_EQ(Tell(guest, fd), 0u);
}

TEST_F(HandleFunctionsTest, BoundsPiecesAndBytes) {
  FakeGuest guest(BaseOptions());
  const uint32_t fd = OpenFile(guest, "new");
  // All memory again and again: 1024 times 128 KiB.
  for (uint32_t i = 0; i < 1024; ++i) {
    guest.PutU32(8 * i, 0);
    guest.PutU32(8 * i + 4, FakeGuest::kMemoryBytes);
  }
  EXPECT_EQ(guest.Number("fd_write", {fd, 0, 1025, 65536}), N(Errno::kInval));
  ASSERT_EQ(guest.Number("fd_write", {fd, 0, 1024, 65536}), kOk);
  EXPECT_EQ(guest.U32(65536), 16u << 20);
  struct stat status {};
  ASSERT_EQ(stat(dir_.At("new").c_str(), &status), 0);
  EXPECT_EQ(status.st_size, 16 << 20);
}

TEST_F(HandleFunctionsTest, SeeksAndTells) {
  FakeGuest guest(BaseOptions());
  const uint32_t fd = OpenFile(guest);
  const auto seek = [&](uint32_t on, int64_t offset, uint32_t origin) {
    return guest.Number("fd_seek",
                        {on, static_cast<uint64_t>(offset), origin, 256});
  };
  EXPECT_EQ(seek(fd, -3, whence::kEnd), kOk);
  EXPECT_EQ(guest.U64(256), 7u);
  EXPECT_EQ(seek(fd, 100, whence::kCur), kOk);
  EXPECT_EQ(Tell(guest, fd), 107u);
  EXPECT_EQ(seek(fd, -1000, whence::kCur), N(Errno::kInval));
  EXPECT_EQ(seek(fd, 0, 3), N(Errno::kInval));
  EXPECT_EQ(Tell(guest, fd), 107u);
  EXPECT_EQ(seek(0, 0, whence::kCur), N(Errno::kSpipe));
  EXPECT_EQ(seek(kFirstPreopen, 0, whence::kCur), N(Errno::kIsDir));
  EXPECT_EQ(seek(99, 0, whence::kCur), N(Errno::kBadf));
}

TEST_F(HandleFunctionsTest, ReadsAndWritesAtOffsets) {
  FakeGuest guest(BaseOptions());
  const uint32_t fd = OpenFile(guest);
  guest.PutU32(512, guest.Put(1000, "XY"));
  guest.PutU32(516, 2);
  EXPECT_EQ(guest.Number("fd_pwrite", {fd, 512, 1, 4, 256}), kOk);
  EXPECT_EQ(dir_.Read("file"), "0123XY6789");
  EXPECT_EQ(guest.Number("fd_pread", {fd, 512, 1, 9, 256}), kOk);
  EXPECT_EQ(guest.U32(256), 1u);
  EXPECT_EQ(guest.Bytes(1000, 2), "9Y");
  EXPECT_EQ(Tell(guest, fd), 0u);
  EXPECT_EQ(guest.Number("fd_pread", {fd, 512, 1, ~uint64_t{0}, 256}),
            N(Errno::kInval));
  EXPECT_EQ(guest.Number("fd_pwrite", {fd, 512, 1, uint64_t{1} << 63, 256}),
            N(Errno::kInval));
  EXPECT_EQ(guest.Number("fd_pread", {0, 512, 1, 0, 256}), N(Errno::kSpipe));
  EXPECT_EQ(guest.Number("fd_pwrite", {1, 512, 1, 0, 256}), N(Errno::kSpipe));
}

TEST_F(HandleFunctionsTest, AppendsUntilToldNotTo) {
  FakeGuest guest(BaseOptions());
  const uint32_t fd = OpenFile(guest, "file", fdflags::kAppend);
  EXPECT_EQ(guest.WriteFile(fd, "ab"), kOk);
  EXPECT_EQ(dir_.Read("file"), "0123456789ab");
  EXPECT_EQ(guest.Number("fd_fdstat_set_flags", {fd, 0}), kOk);
  EXPECT_EQ(guest.Number("fd_seek", {fd, 0, whence::kSet, 256}), kOk);
  EXPECT_EQ(guest.WriteFile(fd, "cd"), kOk);
  EXPECT_EQ(dir_.Read("file"), "cd23456789ab");
  EXPECT_EQ(guest.Number("fd_fdstat_set_flags", {fd, fdflags::kSync}),
            N(Errno::kNotSup));
  EXPECT_EQ(guest.Number("fd_fdstat_set_flags", {fd, 32}), N(Errno::kInval));
}

TEST_F(HandleFunctionsTest, KeepsSyncFlagsFromOpening) {
  FakeGuest guest(BaseOptions());
  const uint32_t fd =
      OpenFile(guest, "file", fdflags::kSync | fdflags::kAppend);
  ASSERT_EQ(guest.Number("fd_fdstat_get", {fd, 512}), kOk);
  EXPECT_EQ(guest.caller.memory[514], fdflags::kSync | fdflags::kAppend);
  EXPECT_EQ(guest.Number("fd_fdstat_set_flags", {fd, fdflags::kSync}), kOk);
  ASSERT_EQ(guest.Number("fd_fdstat_get", {fd, 512}), kOk);
  EXPECT_EQ(guest.caller.memory[514], fdflags::kSync);
}

TEST_F(HandleFunctionsTest, GivesUpRightsAndNeverGetsThemBack) {
  FakeGuest guest(BaseOptions());
  const uint32_t fd = OpenFile(guest);
  const auto set = [&](uint64_t base, uint64_t inheriting) {
    return guest.Number("fd_fdstat_set_rights", {fd, base, inheriting});
  };
  EXPECT_EQ(set(rights::kFdRead | rights::kFdTell, 0), kOk);
  EXPECT_EQ(guest.WriteFile(fd, "x"), kNotCapable);
  EXPECT_EQ(guest.ReadFile(fd, 1), kOk);
  EXPECT_EQ(guest.Number("fd_seek", {fd, 1, whence::kSet, 256}), kNotCapable);
  EXPECT_EQ(guest.Number("fd_seek", {fd, 0, whence::kCur, 256}), kOk);
  EXPECT_EQ(guest.Number("fd_filestat_get", {fd, 512}), kNotCapable);
  EXPECT_EQ(guest.Number("fd_sync", {fd}), kNotCapable);
  EXPECT_EQ(guest.Number("fd_datasync", {fd}), kNotCapable);
  EXPECT_EQ(guest.Number("fd_advise", {fd, 0, 0, 0}), kNotCapable);
  EXPECT_EQ(guest.Number("fd_allocate", {fd, 0, 1}), kNotCapable);
  EXPECT_EQ(guest.Number("fd_filestat_set_size", {fd, 1}), kNotCapable);
  EXPECT_EQ(guest.Number("fd_filestat_set_times", {fd, 0, 0, 1}), kNotCapable);
  EXPECT_EQ(guest.Number("fd_fdstat_set_flags", {fd, 0}), kNotCapable);
  EXPECT_EQ(set(rights::kFdRead | rights::kFdWrite, 0), kNotCapable);
  EXPECT_EQ(set(rights::kFdRead, rights::kFdRead), kNotCapable);
  EXPECT_EQ(dir_.Read("file"), "0123456789");
}

TEST_F(HandleFunctionsTest, SizesFiles) {
  FakeGuest guest(BaseOptions());
  const uint32_t fd = OpenFile(guest);
  EXPECT_EQ(guest.Number("fd_filestat_set_size", {fd, 4}), kOk);
  EXPECT_EQ(dir_.Read("file"), "0123");
  EXPECT_EQ(guest.Number("fd_filestat_set_size", {fd, ~uint64_t{0}}),
            N(Errno::kFbig));
  EXPECT_EQ(guest.Number("fd_allocate", {fd, 2, 6}), kOk);
  EXPECT_EQ(dir_.Read("file"), std::string("0123\0\0\0\0", 8));
  EXPECT_EQ(guest.Number("fd_allocate", {fd, 0, 0}), N(Errno::kInval));
  EXPECT_EQ(guest.Number("fd_allocate", {fd, ~uint64_t{0}, ~uint64_t{0}}),
            N(Errno::kFbig));
  EXPECT_EQ(guest.Number("fd_advise", {fd, 0, 4, 5}), kOk);
  EXPECT_EQ(guest.Number("fd_advise", {fd, 0, 4, 6}), N(Errno::kInval));
  EXPECT_EQ(guest.Number("fd_advise", {fd, ~uint64_t{0}, 4, 0}),
            N(Errno::kInval));
  EXPECT_EQ(guest.Number("fd_sync", {fd}), kOk);
  EXPECT_EQ(guest.Number("fd_datasync", {fd}), kOk);
  EXPECT_EQ(guest.Number("fd_sync", {kFirstPreopen}), kOk);
}

TEST_F(HandleFunctionsTest, RefusesWhatOnlyFilesDo) {
  FakeGuest guest(BaseOptions());
  for (const char* function : {"fd_read", "fd_write"}) {
    EXPECT_EQ(guest.Number(function, {kFirstPreopen, 512, 0, 256}),
              N(Errno::kIsDir));
  }
  EXPECT_EQ(guest.Number("fd_allocate", {kFirstPreopen, 0, 1}),
            N(Errno::kIsDir));
  EXPECT_EQ(guest.Number("fd_filestat_set_size", {kFirstPreopen, 0}),
            N(Errno::kIsDir));
  EXPECT_EQ(guest.Number("fd_advise", {1, 0, 0, 0}), N(Errno::kSpipe));
  EXPECT_EQ(guest.Number("fd_filestat_set_times", {1, 0, 0, 1}), kNotCapable);
  EXPECT_EQ(guest.ReadFile(1, 1), kNotCapable);
  EXPECT_EQ(guest.WriteFile(0, "x"), kNotCapable);
}

TEST_F(HandleFunctionsTest, NamesPreopens) {
  FakeGuest guest(BaseOptions());
  ASSERT_EQ(guest.Number("fd_prestat_get", {kFirstPreopen, 512}), kOk);
  EXPECT_EQ(guest.U32(512), 0u);
  EXPECT_EQ(guest.U32(516), 1u);
  ASSERT_EQ(guest.Number("fd_prestat_dir_name", {kFirstPreopen, 600, 1}), kOk);
  EXPECT_EQ(guest.Bytes(600, 1), "/");
  EXPECT_EQ(guest.Number("fd_prestat_dir_name", {kFirstPreopen, 600, 0}),
            N(Errno::kNameTooLong));
  // Room for more than the name is no mistake.
  EXPECT_EQ(guest.Number("fd_prestat_dir_name", {kFirstPreopen, 600, 9}), kOk);
  for (const uint32_t fd : {0u, kFirstPreopen + 1}) {
    EXPECT_EQ(guest.Number("fd_prestat_get", {fd, 512}), N(Errno::kBadf));
    EXPECT_EQ(guest.Number("fd_prestat_dir_name", {fd, 600, 9}),
              N(Errno::kBadf));
  }
}

TEST_F(HandleFunctionsTest, ClosesAndRenumbersAnything) {
  FakeGuest guest(BaseOptions());
  const uint32_t fd = OpenFile(guest);
  EXPECT_EQ(guest.Number("fd_renumber", {fd, 1}), kOk);
  EXPECT_EQ(guest.WriteFile(1, "to the file"), kOk);
  EXPECT_EQ(dir_.Read("file"), "to the file");
  EXPECT_EQ(guest.Number("fd_close", {fd}), N(Errno::kBadf));
  EXPECT_EQ(guest.Number("fd_renumber", {1, 77}), N(Errno::kBadf));
  EXPECT_EQ(guest.Number("fd_close", {kFirstPreopen}), kOk);
  EXPECT_EQ(guest.Open(kFirstPreopen, "file"), N(Errno::kBadf));
}

TEST_F(HandleFunctionsTest, ShowsStreamsAsAsked) {
  Options options = BaseOptions();
  options.terminal = {true, false, true};
  FakeGuest guest(std::move(options));
  const int types[] = {2, 0, 2};
  for (uint32_t fd = 0; fd < 3; ++fd) {
    ASSERT_EQ(guest.Number("fd_fdstat_get", {fd, 512}), kOk);
    EXPECT_EQ(guest.caller.memory[512], types[fd]);
    // What C libraries take for the sign of a terminal.
    EXPECT_EQ(guest.U64(520) & (rights::kFdSeek | rights::kFdTell), 0u);
    ASSERT_EQ(guest.Number("fd_filestat_get", {fd, 600}), kOk);
    EXPECT_EQ(guest.caller.memory[616], types[fd]);
  }
}

TEST_F(HandleFunctionsTest, ReadsStandardInputToItsEnd) {
  FakeGuest guest(BaseOptions());
  EXPECT_EQ(guest.ReadFile(0, 9), kOk);
  EXPECT_EQ(guest.text, "standard ");
  EXPECT_EQ(guest.ReadFile(0, 90), kOk);
  EXPECT_EQ(guest.text, "input");
  EXPECT_EQ(guest.ReadFile(0, 90), kOk);
  EXPECT_EQ(guest.count, 0u);
}

TEST_F(HandleFunctionsTest, WaitsForStandardInputThroughTheCaller) {
  int ends[2];
  ASSERT_EQ(pipe2(ends, O_CLOEXEC), 0);
  const UniqueFd reader(ends[0]);
  const UniqueFd writer(ends[1]);
  Options options;
  options.stdin_fd = reader.get();
  FakeGuest guest(std::move(options));
  ASSERT_EQ(write(writer.get(), "abc", 3), 3);
  EXPECT_EQ(guest.ReadFile(0, 90), kOk);
  EXPECT_EQ(guest.text, "abc");
  EXPECT_EQ(guest.caller.waits, 0);
  // With nothing there the fake caller's wait is interrupted.
  guest.PutU32(512, 1000);
  guest.PutU32(516, 10);
  const Answer answer = guest.Call("fd_read", {0, 512, 1, 256});
  ASSERT_NE(answer.error, nullptr);
  EXPECT_EQ(guest.caller.waits, 1);
  // Nobody waits for nothing, nor when the guest does not want to.
  EXPECT_EQ(guest.Number("fd_read", {0, 512, 0, 256}), kOk);
  EXPECT_EQ(guest.Number("fd_fdstat_set_flags", {0, fdflags::kNonblock}), kOk);
  EXPECT_EQ(guest.Number("fd_read", {0, 512, 1, 256}), N(Errno::kAgain));
  EXPECT_EQ(guest.caller.waits, 1);
}

TEST_F(HandleFunctionsTest, KeepsOutputsApartAndBounded) {
  Options options = BaseOptions();
  options.output_bytes_max = 10;
  FakeGuest guest(std::move(options));
  EXPECT_EQ(guest.WriteFile(1, "out"), kOk);
  EXPECT_EQ(guest.WriteFile(2, "err\x1b[31m"), kOk);
  EXPECT_EQ(guest.WriteFile(1, "12345678"), kOk);
  EXPECT_EQ(guest.count, 7u);
  EXPECT_EQ(guest.WriteFile(1, "9"), N(Errno::kNoSpc));
  EXPECT_EQ(guest.WriteFile(1, ""), kOk);
  EXPECT_EQ(guest.context->output_bytes_refused(), 2u);
  EXPECT_EQ(guest.context->TakeStdout(), "out1234567");
  EXPECT_EQ(guest.context->TakeStderr(), "err\x1b[31m");
  EXPECT_EQ(guest.WriteFile(1, "more"), kOk);
  EXPECT_EQ(guest.context->TakeStdout(), "more");
}

// The entries of a directory through buffers of `room` bytes.
std::map<std::string, int> List(FakeGuest& guest, uint32_t fd, uint32_t room) {
  std::map<std::string, int> entries;
  uint64_t cookie = 0;
  for (int calls = 0; calls < 10'000; ++calls) {
    EXPECT_EQ(guest.Number("fd_readdir", {fd, 4096, room, cookie, 256}), kOk);
    const uint32_t used = guest.U32(256);
    uint32_t at = 0;
    while (at + 24 <= used) {
      const uint32_t name_bytes = guest.U32(4096 + at + 16);
      if (at + 24 + name_bytes > used) break;
      cookie = guest.U64(4096 + at);
      EXPECT_TRUE(entries
                      .emplace(guest.Bytes(4096 + at + 24, name_bytes),
                               guest.caller.memory[4096 + at + 20])
                      .second);
      at += 24 + name_bytes;
    }
    if (used < room) break;
    if (at == 0) {
      ADD_FAILURE() << "no entry fits " << room;
      break;
    }
  }
  return entries;
}

TEST_F(HandleFunctionsTest, ListsDirectoriesInPiecesOfAnySize) {
  FakeGuest guest(BaseOptions());
  std::map<std::string, int> expected = {{".", 3}, {"..", 3}};
  for (int i = 0; i < 100; ++i) {
    const std::string name = absl::StrCat("file.", i);
    dir_.MakeFile(absl::StrCat("dir/", name), "");
    expected[name] = 4;
  }
  dir_.MakeLink("dir/link", "x");
  expected["link"] = 7;
  ASSERT_EQ(guest.Open(kFirstPreopen, "dir", 0, oflags::kDirectory,
                       rights::kFdReaddir),
            kOk);
  for (const uint32_t room : {64u, 100u, 1000u, 60'000u}) {
    EXPECT_EQ(List(guest, guest.fd, room), expected) << room;
  }
}

TEST_F(HandleFunctionsTest, ListsOnlyWhatItShould) {
  FakeGuest guest(BaseOptions());
  const uint32_t file = OpenFile(guest);
  EXPECT_EQ(guest.Number("fd_readdir", {file, 4096, 100, 0, 256}),
            N(Errno::kNotDir));
  ASSERT_EQ(guest.Open(kFirstPreopen, "dir", 0, oflags::kDirectory, 0), kOk);
  EXPECT_EQ(guest.Number("fd_readdir", {guest.fd, 4096, 100, 0, 256}),
            kNotCapable);
  EXPECT_EQ(
      guest.Number("fd_readdir", {kFirstPreopen, 4096, 100, ~uint64_t{0}, 256}),
      N(Errno::kInval));
  EXPECT_EQ(
      guest.Number("fd_readdir",
                   {kFirstPreopen, FakeGuest::kMemoryBytes - 10, 11, 0, 256}),
      N(Errno::kFault));
  // The parent's number on the host is not shown.
  ASSERT_EQ(guest.Number("fd_readdir", {kFirstPreopen, 4096, 4096, 0, 256}),
            kOk);
  for (uint32_t at = 0; at < guest.U32(256);) {
    const uint32_t name_bytes = guest.U32(4096 + at + 16);
    const std::string name = guest.Bytes(4096 + at + 24, name_bytes);
    EXPECT_EQ(guest.U64(4096 + at + 8) == 0, name == "..") << name;
    at += 24 + name_bytes;
  }
}

TEST_F(HandleFunctionsTest, HasNoSockets) {
  FakeGuest guest(BaseOptions());
  for (const uint32_t fd : {0u, kFirstPreopen}) {
    EXPECT_EQ(guest.Number("sock_accept", {fd, 0, 256}), N(Errno::kNotSock));
    EXPECT_EQ(guest.Number("sock_recv", {fd, 512, 1, 0, 256, 260}),
              N(Errno::kNotSock));
    EXPECT_EQ(guest.Number("sock_send", {fd, 512, 1, 0, 256}),
              N(Errno::kNotSock));
    EXPECT_EQ(guest.Number("sock_shutdown", {fd, 1}), N(Errno::kNotSock));
  }
  EXPECT_EQ(guest.Number("sock_shutdown", {99, 1}), N(Errno::kBadf));
}

}  // namespace
}  // namespace wasi
}  // namespace callgate
