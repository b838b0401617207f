#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "runtime/wasi/abi.h"
#include "runtime/wasi/fake_guest.h"
#include "runtime/wasi/unique_fd.h"

namespace callgate {
namespace wasi {
namespace {

constexpr uint32_t N(Errno number) { return static_cast<uint32_t>(number); }
constexpr uint32_t kOk = N(Errno::kSuccess);
constexpr uint32_t kIn = 1024;
constexpr uint32_t kOut = 65536;
constexpr uint32_t kCount = 256;

struct Seen {
  uint64_t userdata;
  Errno error;
  int type;
  uint64_t bytes_ready;
  uint16_t flags;
  friend bool operator==(const Seen& a, const Seen& b) {
    return a.userdata == b.userdata && a.error == b.error && a.type == b.type &&
           a.bytes_ready == b.bytes_ready && a.flags == b.flags;
  }
};

std::ostream& operator<<(std::ostream& out, const Seen& seen) {
  return out << "{" << seen.userdata << ", " << static_cast<int>(seen.error)
             << ", " << seen.type << ", " << seen.bytes_ready << ", "
             << seen.flags << "}";
}

class PollTest : public testing::Test {
 protected:
  void AddClock(FakeGuest& guest, uint64_t userdata, uint64_t timeout_ns,
                uint16_t flags = 0, uint32_t clock = clockid::kMonotonic) {
    std::array<uint8_t, kSubscriptionBytes> raw{};
    Put(raw, 0, userdata);
    Put(raw, 16, clock);
    Put(raw, 24, timeout_ns);
    Put(raw, 40, flags);
    Add(guest, raw);
  }

  void AddFd(FakeGuest& guest, uint64_t userdata, EventType type, uint32_t fd) {
    std::array<uint8_t, kSubscriptionBytes> raw{};
    Put(raw, 0, userdata);
    Put(raw, 8, static_cast<uint8_t>(type));
    Put(raw, 16, fd);
    Add(guest, raw);
  }

  void Add(FakeGuest& guest,
           const std::array<uint8_t, kSubscriptionBytes>& raw) {
    guest.Put(static_cast<uint32_t>(kIn + count_ * kSubscriptionBytes),
              std::string(raw.begin(), raw.end()));
    ++count_;
  }

  // Polls what was added, which it forgets.
  Answer Poll(FakeGuest& guest) {
    const Answer answer =
        guest.Call("poll_oneoff", {kIn, kOut, count_, kCount});
    count_ = 0;
    return answer;
  }

  static std::vector<Seen> Events(const FakeGuest& guest) {
    std::vector<Seen> events;
    for (uint32_t i = 0; i < guest.U32(kCount); ++i) {
      const uint8_t* at = guest.caller.memory.data() + kOut + i * kEventBytes;
      events.push_back(Seen{Get<uint64_t>(at),
                            static_cast<Errno>(Get<uint16_t>(at + 8)), at[10],
                            Get<uint64_t>(at + 16), Get<uint16_t>(at + 24)});
    }
    return events;
  }

  uint32_t count_ = 0;
};

TEST_F(PollTest, WaitsForTheFirstClock) {
  FakeGuest guest({});
  const absl::Time start = guest.caller.now;
  AddClock(guest, 1, 9'000'000);
  AddClock(guest, 2, 4'000'000);
  AddClock(guest, 3, 4'000'000, 0, clockid::kRealtime);
  ASSERT_EQ(Poll(guest).error, nullptr);
  EXPECT_EQ(guest.caller.now - start, absl::Milliseconds(4));
  EXPECT_EQ(Events(guest), (std::vector<Seen>{{2, Errno::kSuccess, 0, 0, 0},
                                              {3, Errno::kSuccess, 0, 0, 0}}));
}

TEST_F(PollTest, KnowsAbsoluteTimes) {
  FakeGuest guest({});
  const absl::Time start = guest.caller.now;
  const auto unix_ns = static_cast<uint64_t>(absl::ToUnixNanos(start));
  AddClock(guest, 1, unix_ns + 5'000, kSubclockAbstime, clockid::kRealtime);
  ASSERT_EQ(Poll(guest).number, kOk);
  EXPECT_EQ(guest.caller.now - start, absl::Nanoseconds(5'000));
  // One that has passed does not wait.
  const int waits = guest.caller.waits;
  AddClock(guest, 2, unix_ns, kSubclockAbstime, clockid::kRealtime);
  AddClock(guest, 3, 1, kSubclockAbstime, clockid::kMonotonic);
  ASSERT_EQ(Poll(guest).number, kOk);
  EXPECT_EQ(guest.caller.waits, waits);
  EXPECT_EQ(Events(guest).size(), 2u);
}

TEST_F(PollTest, IsInterruptedWhileItWaits) {
  FakeGuest guest({});
  guest.caller.interrupt = true;
  AddClock(guest, 1, 1);
  const Answer answer = Poll(guest);
  const auto* trap = dynamic_cast<const TrapError*>(answer.error.get());
  ASSERT_NE(trap, nullptr);
  EXPECT_EQ(trap->code(), TrapCode::kInterrupted);
}

TEST_F(PollTest, WaitsForEverOnlyUntilInterrupted) {
  // A sum that would wrap must not become a time in the past.
  for (const uint64_t timeout : {~uint64_t{0}, ~uint64_t{0} - 1}) {
    FakeGuest guest({});
    guest.caller.now += absl::Seconds(1);
    AddClock(guest, 1, timeout);
    EXPECT_NE(Poll(guest).error, nullptr);
    EXPECT_EQ(guest.caller.waits, 1);
  }
}

TEST_F(PollTest, FindsFilesAndOutputsReady) {
  ScratchDir dir;
  dir.MakeFile("file", "0123456789");
  Options options;
  options.preopens = {{dir.path(), "/"}};
  options.stdin_bytes = "abc";
  FakeGuest guest(std::move(options));
  ASSERT_EQ(guest.Open(kFirstPreopen, "file", 0, 0, rights::kFile), kOk);
  const uint32_t file = guest.fd;
  ASSERT_EQ(guest.ReadFile(file, 4), kOk);
  AddClock(guest, 1, 1'000);
  AddFd(guest, 2, EventType::kFdRead, file);
  AddFd(guest, 3, EventType::kFdWrite, file);
  AddFd(guest, 4, EventType::kFdWrite, 1);
  AddFd(guest, 5, EventType::kFdWrite, 2);
  AddFd(guest, 6, EventType::kFdRead, 0);
  ASSERT_EQ(Poll(guest).number, kOk);
  EXPECT_EQ(guest.caller.waits, 0);
  EXPECT_EQ(Events(guest), (std::vector<Seen>{{2, Errno::kSuccess, 1, 6, 0},
                                              {3, Errno::kSuccess, 2, 0, 0},
                                              {4, Errno::kSuccess, 2, 0, 0},
                                              {5, Errno::kSuccess, 2, 0, 0},
                                              {6, Errno::kSuccess, 1, 3, 0}}));
  // At the end of input there is nothing, for good.
  ASSERT_EQ(guest.ReadFile(0, 10), kOk);
  AddFd(guest, 7, EventType::kFdRead, 0);
  ASSERT_EQ(Poll(guest).number, kOk);
  EXPECT_EQ(Events(guest),
            (std::vector<Seen>{{7, Errno::kSuccess, 1, 0, kEventHangup}}));
}

TEST_F(PollTest, WaitsForStandardInput) {
  int ends[2];
  ASSERT_EQ(pipe2(ends, O_CLOEXEC), 0);
  const UniqueFd reader(ends[0]);
  const UniqueFd writer(ends[1]);
  Options options;
  options.stdin_fd = reader.get();
  FakeGuest guest(std::move(options));
  AddFd(guest, 1, EventType::kFdRead, 0);
  AddClock(guest, 2, 1'000);
  ASSERT_EQ(Poll(guest).number, kOk);
  EXPECT_EQ(Events(guest), (std::vector<Seen>{{2, Errno::kSuccess, 0, 0, 0}}));
  ASSERT_EQ(write(writer.get(), "abcd", 4), 4);
  AddFd(guest, 1, EventType::kFdRead, 0);
  AddClock(guest, 2, 1'000);
  ASSERT_EQ(Poll(guest).number, kOk);
  EXPECT_EQ(Events(guest), (std::vector<Seen>{{1, Errno::kSuccess, 1, 4, 0}}));
}

TEST_F(PollTest, ReportsWhatCannotBeWaitedForAsEvents) {
  FakeGuest guest({});
  AddFd(guest, 1, EventType::kFdRead, 99);
  AddFd(guest, 2, EventType::kFdRead, 1);
  AddFd(guest, 3, EventType::kFdWrite, 0);
  AddClock(guest, 4, 1, 0, 2);
  AddClock(guest, 5, 1, 2);
  ASSERT_EQ(Poll(guest).number, kOk);
  EXPECT_EQ(guest.caller.waits, 0);
  EXPECT_EQ(Events(guest), (std::vector<Seen>{{1, Errno::kBadf, 1, 0, 0},
                                              {2, Errno::kNotCapable, 1, 0, 0},
                                              {3, Errno::kNotCapable, 2, 0, 0},
                                              {4, Errno::kInval, 0, 0, 0},
                                              {5, Errno::kInval, 0, 0, 0}}));
}

TEST_F(PollTest, BoundsSubscriptions) {
  FakeGuest guest({});
  EXPECT_EQ(guest.Number("poll_oneoff", {kIn, kOut, 0, kCount}),
            N(Errno::kInval));
  EXPECT_EQ(guest.Number("poll_oneoff", {kIn, kOut, 1025, kCount}),
            N(Errno::kInval));
  EXPECT_EQ(guest.Number("poll_oneoff", {kIn, kOut, ~0u, kCount}),
            N(Errno::kInval));
  // 1024 clocks that are due at once, from memory that is all zero.
  EXPECT_EQ(guest.Number("poll_oneoff", {kIn, kOut, 1024, kCount}), kOk);
  EXPECT_EQ(guest.U32(kCount), 1024u);
  guest.caller.memory[kIn + 8] = 3;
  EXPECT_EQ(guest.Number("poll_oneoff", {kIn, kOut, 1, kCount}),
            N(Errno::kInval));
}

}  // namespace
}  // namespace wasi
}  // namespace callgate
