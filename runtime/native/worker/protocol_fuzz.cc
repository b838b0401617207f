// Any bytes get an answer from either side's reader, and the answer holds
// together. With Clang's libFuzzer this is a fuzz target as it stands
// (-fsanitize=fuzzer); protocol_fuzz_test.cc drives it without one.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>

#include "absl/strings/string_view.h"
#include "runtime/check.h"
#include "runtime/native/worker/protocol.h"

namespace callgate::native {
namespace {

constexpr uint64_t kAnswerMax = 300;

struct Judged {
  bool ok = true;
  bool complete = false;
  std::string message;
};

Judged Judge(absl::string_view bytes, size_t piece) {
  AnswerReader reader(kAnswerMax);
  Judged judged;
  while (!bytes.empty() && judged.ok) {
    const absl::string_view next = bytes.substr(0, piece);
    bytes.remove_prefix(next.size());
    const absl::Status status = reader.Feed(next);
    judged.ok = status.ok();
    judged.message = std::string(status.message());
    CALLGATE_CHECK(reader.capacity() <= 4 * kTextBytesMax,
                   "memory is bounded by what may come");
  }
  if (!judged.ok) {
    CALLGATE_CHECK(!judged.message.empty(), "a refusal says why");
    return judged;
  }
  judged.complete = reader.complete();
  if (!judged.complete) return judged;
  CALLGATE_CHECK(reader.locked() == (reader.kind() != FrameKind::kNotLocked),
                 "only a locked worker answers");
  const bool code = reader.kind() == FrameKind::kCompiled;
  const std::string text = reader.Take();
  CALLGATE_CHECK(text.size() <= (code ? kAnswerMax : kTextBytesMax),
                 "answers are bounded");
  for (const char c : text) {
    CALLGATE_CHECK(code || (c >= 0x20 && c < 0x7f), "texts are printable");
  }
  return judged;
}

}  // namespace
}  // namespace callgate::native

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using callgate::native::DecodeRequest;
  using callgate::native::EncodeRequest;
  using callgate::native::Judge;
  using callgate::native::Judged;
  const absl::string_view bytes(reinterpret_cast<const char*>(data), size);

  const Judged whole = Judge(bytes, std::max<size_t>(1, size));
  const Judged pieces = Judge(bytes, 3);
  CALLGATE_CHECK(whole.ok == pieces.ok && whole.complete == pieces.complete &&
                     whole.message == pieces.message,
                 "how it arrives changes nothing");

  const auto order = DecodeRequest(bytes);
  if (order.ok()) {
    CALLGATE_CHECK(EncodeRequest(*order) == bytes, "one request, one text");
    CALLGATE_CHECK(order->module_bytes <= callgate::native::kModuleBytesMax,
                   "modules are bounded");
  }
  return 0;
}
