#include "runtime/native/worker/protocol.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "runtime/check.h"
#include "runtime/native/abi.h"

namespace callgate::native {
namespace {

using admission::Features;

constexpr uint32_t kMagic = 0x77674743;  // "CGgw"

// In the order of their bits.
constexpr bool Features::*kFeatures[] = {
    &Features::mutable_globals,
    &Features::saturating_float,
    &Features::sign_extension,
    &Features::multi_value,
    &Features::bulk_memory,
    &Features::reference_types,
    &Features::simd,
    &Features::tail_call,
    &Features::extended_const,
    &Features::multi_memory,
    &Features::memory64,
    &Features::relaxed_simd,
    &Features::exceptions,
    &Features::threads,
};
constexpr size_t kFeatureCount = sizeof(kFeatures) / sizeof(kFeatures[0]);
static_assert(sizeof(Features) == kFeatureCount,
              "every feature has its bit, and its place in kFeatures");

// Bits of the order's options.
constexpr uint32_t kOptimisedBit = 1;
constexpr uint32_t kV3Bit = 2;
constexpr uint32_t kFuelBit = 4;
constexpr uint32_t kCanonicalNansBit = 8;
constexpr uint32_t kOptionBits = 15;

void Put(std::string& to, uint64_t value, int bytes) {
  for (int i = 0; i < bytes; ++i) {
    to.push_back(static_cast<char>(value >> (8 * i)));
  }
}

// Takes a number off the front.
uint64_t Take(absl::string_view& from, size_t bytes) {
  CALLGATE_CHECK(from.size() >= bytes, "sizes are checked before numbers");
  uint64_t value = 0;
  for (size_t i = 0; i < bytes; ++i) {
    value |= uint64_t{static_cast<uint8_t>(from[i])} << (8 * i);
  }
  from.remove_prefix(bytes);
  return value;
}

absl::Status CheckOrder(const Order& order) {
  if (order.module_bytes > kModuleBytesMax) {
    return absl::InvalidArgumentError(
        absl::StrCat("a module of ", order.module_bytes,
                     " bytes, over the limit of ", kModuleBytesMax));
  }
  if (order.answer_bytes_max > kAnswerBytesCeiling) {
    return absl::InvalidArgumentError(
        absl::StrCat("an answer of up to ", order.answer_bytes_max,
                     " bytes, over the limit of ", kAnswerBytesCeiling));
  }
  return absl::OkStatus();
}

}  // namespace

std::string EncodeFrameHead(FrameKind kind, uint64_t bytes) {
  std::string head;
  Put(head, kMagic, 4);
  Put(head, kAbiVersion, 4);
  Put(head, static_cast<uint32_t>(kind), 4);
  Put(head, bytes, 8);
  return head;
}

absl::StatusOr<FrameHead> DecodeFrameHead(absl::string_view head) {
  if (head.size() != kFrameHeadBytes) {
    return absl::InvalidArgumentError("no frame of this protocol");
  }
  if (Take(head, 4) != kMagic) {
    return absl::InvalidArgumentError("no frame of this protocol");
  }
  const uint64_t version = Take(head, 4);
  if (version != kAbiVersion) {
    return absl::InvalidArgumentError(absl::StrCat(
        "a frame of version ", version, " where ", kAbiVersion, " is spoken"));
  }
  const uint64_t kind = Take(head, 4);
  if (kind < static_cast<uint64_t>(FrameKind::kOrder) ||
      kind > static_cast<uint64_t>(FrameKind::kCompiled)) {
    return absl::InvalidArgumentError(
        absl::StrCat("a frame of the unknown kind ", kind));
  }
  return FrameHead{static_cast<FrameKind>(kind), Take(head, 8)};
}

std::string EncodeRequest(const Order& order) {
  const CompileRequest& request = order.request;
  uint32_t options = 0;
  if (request.level == Level::kOptimised) options |= kOptimisedBit;
  if (request.cpu == CpuLevel::kX86_64_v3) options |= kV3Bit;
  if (request.fuel) options |= kFuelBit;
  if (request.canonical_nans) options |= kCanonicalNansBit;
  uint32_t features = 0;
  for (size_t i = 0; i < kFeatureCount; ++i) {
    if (request.features.*kFeatures[i]) features |= 1u << i;
  }
  std::string bytes = EncodeFrameHead(FrameKind::kOrder, kOrderBytes);
  Put(bytes, options, 4);
  Put(bytes, features, 4);
  Put(bytes, order.module_bytes, 8);
  Put(bytes, order.memory_bytes, 8);
  Put(bytes, order.cpu_seconds, 8);
  Put(bytes, order.answer_bytes_max, 8);
  bytes += EncodeFrameHead(FrameKind::kModule, order.module_bytes);
  CALLGATE_CHECK(bytes.size() == kRequestBytes, "requests have one size");
  return bytes;
}

absl::StatusOr<Order> DecodeRequest(absl::string_view bytes) {
  if (bytes.size() != kRequestBytes) {
    return absl::InvalidArgumentError("a request of the wrong size");
  }
  const absl::StatusOr<FrameHead> head =
      DecodeFrameHead(bytes.substr(0, kFrameHeadBytes));
  if (!head.ok()) return head.status();
  if (head->kind != FrameKind::kOrder || head->bytes != kOrderBytes) {
    return absl::InvalidArgumentError("no order where one is expected");
  }
  bytes.remove_prefix(kFrameHeadBytes);
  const uint64_t options = Take(bytes, 4);
  const uint64_t features = Take(bytes, 4);
  if (options > kOptionBits || features >> kFeatureCount != 0) {
    return absl::InvalidArgumentError("an order with unknown options");
  }
  Order order;
  order.request.level =
      (options & kOptimisedBit) != 0 ? Level::kOptimised : Level::kBaseline;
  order.request.cpu =
      (options & kV3Bit) != 0 ? CpuLevel::kX86_64_v3 : CpuLevel::kX86_64_v2;
  order.request.fuel = (options & kFuelBit) != 0;
  order.request.canonical_nans = (options & kCanonicalNansBit) != 0;
  for (size_t i = 0; i < kFeatureCount; ++i) {
    order.request.features.*kFeatures[i] = (features >> i & 1) != 0;
  }
  order.module_bytes = Take(bytes, 8);
  order.memory_bytes = Take(bytes, 8);
  order.cpu_seconds = Take(bytes, 8);
  order.answer_bytes_max = Take(bytes, 8);
  if (const absl::Status status = CheckOrder(order); !status.ok()) {
    return status;
  }
  const absl::StatusOr<FrameHead> module = DecodeFrameHead(bytes);
  if (!module.ok()) return module.status();
  if (module->kind != FrameKind::kModule ||
      module->bytes != order.module_bytes) {
    return absl::InvalidArgumentError("no module where one is expected");
  }
  return order;
}

std::string PrintableText(absl::string_view text) {
  constexpr char kDigits[] = "0123456789abcdef";
  std::string printable;
  for (const char c : text) {
    const auto byte = static_cast<uint8_t>(c);
    const bool plain = byte >= 0x20 && byte < 0x7f;
    if (printable.size() + (plain ? 1 : 4) > kTextBytesMax) break;
    if (plain) {
      printable.push_back(c);
    } else {
      printable += {'\\', 'x', kDigits[byte >> 4], kDigits[byte & 15]};
    }
  }
  return printable;
}

AnswerReader::AnswerReader(uint64_t answer_bytes_max)
    : answer_bytes_max_(std::min(answer_bytes_max, kAnswerBytesCeiling)) {}

absl::Status AnswerReader::Feed(absl::string_view bytes) {
  while (!bytes.empty()) {
    switch (state_) {
      case State::kComplete:
        return absl::InvalidArgumentError("bytes after its end");
      case State::kHead: {
        const size_t piece =
            std::min(bytes.size(), kFrameHeadBytes - head_bytes_.size());
        head_bytes_.append(bytes.data(), piece);
        bytes.remove_prefix(piece);
        if (head_bytes_.size() < kFrameHeadBytes) break;
        if (absl::Status status = TakeHead(); !status.ok()) return status;
        break;
      }
      case State::kBody: {
        const size_t piece = static_cast<size_t>(
            std::min<uint64_t>(bytes.size(), head_.bytes - body_.size()));
        body_.append(bytes.data(), piece);
        bytes.remove_prefix(piece);
        if (body_.size() == head_.bytes) state_ = State::kComplete;
        break;
      }
    }
  }
  return absl::OkStatus();
}

absl::Status AnswerReader::TakeHead() {
  const absl::StatusOr<FrameHead> head = DecodeFrameHead(head_bytes_);
  if (!head.ok()) return head.status();
  head_ = *head;
  head_bytes_.clear();
  if (absl::Status status = CheckHead(); !status.ok()) return status;
  if (head_.kind == FrameKind::kLocked) {
    locked_ = true;
  } else {
    state_ = head_.bytes == 0 ? State::kComplete : State::kBody;
  }
  return absl::OkStatus();
}

absl::Status AnswerReader::CheckHead() const {
  uint64_t most = kTextBytesMax;
  bool expected = locked_;
  switch (head_.kind) {
    case FrameKind::kOrder:
    case FrameKind::kModule:
      expected = false;
      break;
    case FrameKind::kLocked:
      expected = !locked_;
      most = 0;
      break;
    case FrameKind::kNotLocked:
      expected = !locked_;
      break;
    case FrameKind::kRefused:
      break;
    case FrameKind::kCompiled:
      most = answer_bytes_max_;
      break;
  }
  if (!expected) {
    return absl::InvalidArgumentError(absl::StrCat(
        "a frame of kind ", static_cast<uint32_t>(head_.kind), " out of turn"));
  }
  if (head_.bytes > most) {
    return absl::InvalidArgumentError(absl::StrCat(
        "it claims ", head_.bytes, " bytes, over the limit of ", most));
  }
  return absl::OkStatus();
}

std::string AnswerReader::Take() {
  CALLGATE_CHECK(complete(), "an answer is taken when it is there");
  if (head_.kind == FrameKind::kCompiled) return std::move(body_);
  return PrintableText(body_);
}

}  // namespace callgate::native
