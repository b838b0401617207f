// A bounded, repeatable run of the fuzz target, and of the same bytes over real
// sockets, where readers must not only survive them but also come to an end.

#include <sys/socket.h>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <random>
#include <string>
#include <thread>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "runtime/native/worker/conversation.h"
#include "runtime/native/worker/protocol.h"
#include "runtime/native/worker/unique_fd.h"
#include "runtime/native/worker/worker.h"

// Aborts the test when a reader breaks a promise.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

namespace callgate::native {
namespace {

class Mutator {
 public:
  explicit Mutator(uint64_t seed) : random_(seed) {}

  uint64_t Below(uint64_t bound) { return random_() % bound; }

  // What a worker or a daemon might send, or nearly.
  std::string Bytes() {
    std::string bytes;
    switch (Below(4)) {
      case 0:
        for (uint64_t i = Below(200); i > 0; --i) bytes.push_back(AByte());
        return bytes;
      case 1:
        bytes = EncodeRequest(AnOrder());
        break;
      default:
        if (Below(8) != 0) bytes = EncodeFrameHead(FrameKind::kLocked, 0);
        for (uint64_t i = Below(3); i > 0; --i) bytes += AFrame();
        break;
    }
    for (uint64_t i = Below(3); i > 0 && !bytes.empty(); --i) Change(bytes);
    return bytes;
  }

 private:
  char AByte() { return static_cast<char>(random_()); }

  Order AnOrder() {
    Order order;
    order.module_bytes = random_() >> Below(64);
    order.memory_bytes = random_() >> Below(64);
    order.answer_bytes_max = random_() >> Below(64);
    return order;
  }

  std::string AFrame() {
    const auto kind = static_cast<FrameKind>(1 + Below(6));
    const uint64_t size = Below(400);
    std::string frame =
        EncodeFrameHead(kind, Below(6) == 0 ? random_() >> Below(64) : size);
    for (uint64_t i = 0; i < size; ++i) frame.push_back(AByte());
    return frame;
  }

  void Change(std::string& bytes) {
    const size_t at = static_cast<size_t>(Below(bytes.size()));
    switch (Below(4)) {
      case 0:
        bytes[at] = AByte();
        return;
      case 1:
        bytes.resize(at);
        return;
      case 2:
        bytes.insert(at, 1, AByte());
        return;
      default:
        bytes.erase(at, 1);
        return;
    }
  }

  std::mt19937_64 random_;
};

TEST(ProtocolFuzzTest, JudgesWhateverComes) {
  for (uint64_t seed = 0; seed < 20000; ++seed) {
    const std::string bytes = Mutator(seed).Bytes();
    LLVMFuzzerTestOneInput(reinterpret_cast<const uint8_t*>(bytes.data()),
                           bytes.size());
  }
}

struct Ends {
  UniqueFd ours, theirs;
};
Ends Connect() {
  int ends[2] = {-1, -1};
  EXPECT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
  return {UniqueFd(ends[0]), UniqueFd(ends[1])};
}

void Send(const UniqueFd& socket, const std::string& bytes) {
  // Short enough for the socket's buffer, so that it does not wait for a
  // reader.
  static_cast<void>(
      send(socket.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL));
}

// The peer says something and goes: the answer or what is wrong, at once.
TEST(ProtocolFuzzTest, EndsTalksWithWorkersThatGo) {
  const std::string module(300, 'm');
  const auto bytes = absl::MakeConstSpan(
      reinterpret_cast<const uint8_t*>(module.data()), module.size());
  Order order;
  order.module_bytes = module.size();
  order.answer_bytes_max = 300;
  int answered = 0;
  for (uint64_t seed = 0; seed < 5000; ++seed) {
    Ends ends = Connect();
    Send(ends.theirs, Mutator(seed).Bytes());
    ends.theirs.Reset();
    const Conversation talk = Converse(
        ends.ours.get(), order, bytes,
        std::chrono::steady_clock::now() + std::chrono::seconds(60), -1);
    EXPECT_NE(talk.end, Conversation::End::kTimedOut) << seed;
    EXPECT_NE(talk.end, Conversation::End::kCancelled) << seed;
    EXPECT_EQ(
        talk.text.empty(),
        talk.end == Conversation::End::kClosed ||
            (talk.end == Conversation::End::kAnswered && talk.text.empty()))
        << seed;
    if (talk.end == Conversation::End::kAnswered) ++answered;
  }
  EXPECT_GT(answered, 30);
}

// The peer says something and stays, without reading either.
TEST(ProtocolFuzzTest, EndsTalksWithWorkersThatStay) {
  const std::string module(4 << 20, 'm');
  const auto bytes = absl::MakeConstSpan(
      reinterpret_cast<const uint8_t*>(module.data()), module.size());
  Order order;
  order.module_bytes = module.size();
  order.answer_bytes_max = 300;
  int timed_out = 0;
  for (uint64_t seed = 0; seed < 300; ++seed) {
    Ends ends = Connect();
    Send(ends.theirs, Mutator(seed).Bytes());
    const Conversation talk = Converse(
        ends.ours.get(), order, bytes,
        std::chrono::steady_clock::now() + std::chrono::milliseconds(3), -1);
    if (talk.end == Conversation::End::kTimedOut) {
      ++timed_out;
    } else {
      EXPECT_EQ(talk.end, Conversation::End::kMalformed) << seed;
    }
  }
  EXPECT_GT(timed_out, 20);
}

// The worker's side: any bytes are a request or not, and the end is the end.
TEST(ProtocolFuzzTest, ReadsWhateverRequestComes) {
  int requests = 0;
  int refused = 0;
  int short_ones = 0;
  for (uint64_t seed = 0; seed < 5000; ++seed) {
    Ends ends = Connect();
    const std::string bytes = Mutator(seed).Bytes();
    Send(ends.theirs, bytes);
    ends.theirs.Reset();
    const absl::StatusOr<Order> order = ReadRequest(ends.ours.get());
    if (order.ok()) {
      ++requests;
    } else if (absl::IsInvalidArgument(order.status())) {
      ++refused;
    } else {
      EXPECT_EQ(order.status().code(), absl::StatusCode::kUnavailable);
      EXPECT_LT(bytes.size(), kRequestBytes);
      ++short_ones;
    }
  }
  EXPECT_GT(requests, 10);
  EXPECT_GT(refused, 100);
  EXPECT_GT(short_ones, 100);
}

}  // namespace
}  // namespace callgate::native
