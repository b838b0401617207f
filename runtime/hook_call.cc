#include "runtime/hook_call.h"

#include <algorithm>
#include <cstddef>

#include "absl/strings/str_cat.h"

namespace callgate {
namespace {

// Whether [address, address + length) lies in `size` bytes; no sum wraps.
bool Inside(uint64_t address, uint64_t length, uint64_t size) {
  return length <= size && address <= size - length;
}

}  // namespace

CallerFrame HookCall::caller() {
  if (host_call_ == nullptr || host_call_->frames == nullptr) return {};
  return store_.CallerAt(host_call_->frames->Newest());
}
uint32_t HookCall::caller_index() {
  if (host_call_ == nullptr || host_call_->frames == nullptr) return kNoIndex;
  return host_call_->frames->Newest().func_index;
}

std::vector<Frame> HookCall::Backtrace(size_t max_frames) {
  return store_.FramesBelow(
      host_call_ != nullptr ? host_call_ : store_.host_call_, max_frames);
}

size_t HookCall::CallChain(absl::Span<uint64_t> words) {
  if (host_call_ == nullptr || host_call_->frames == nullptr) return 0;
  return host_call_->frames->CallChain(words);
}
size_t HookCall::ChainFunctions(absl::Span<const uint64_t> words,
                                absl::Span<uint32_t> functions) {
  if (host_call_ == nullptr || host_call_->frames == nullptr) return 0;
  return host_call_->frames->ChainFunctions(words, functions);
}
void HookCall::Relink() { store_.Relink(); }

uint64_t HookCall::MemoryBytes() {
  return host_call_ == nullptr ? 0 : store_.CallerMemory(*host_call_).size();
}
uint64_t HookCall::StoreBytes() { return store_.bytes_used_; }

absl::StatusOr<absl::Span<const uint8_t>> HookCall::Capture(uint64_t address,
                                                            uint64_t length) {
  if (transition_ != Transition::kCallingHost) {
    return absl::FailedPreconditionError(
        absl::StrCat("arguments can be captured at calling_host only, not at ",
                     TransitionName(transition_)));
  }
  const absl::Span<uint8_t> memory = store_.CallerMemory(*host_call_);
  if (!Inside(address, length, memory.size())) {
    return absl::OutOfRangeError(absl::StrCat("bytes [", address, ", +", length,
                                              ") are outside the memory of ",
                                              memory.size(), " bytes"));
  }
  CapturedArguments& captured = store_.CapturesOf(*host_call_);
  if (length > kCapturedBytesMax - captured.bytes()) {
    return absl::ResourceExhaustedError(absl::StrCat(
        "capturing ", length, " bytes more than the ", captured.bytes(),
        " captured already is over the limit of ", kCapturedBytesMax,
        " bytes for one host call"));
  }
  return captured.Add(address, memory.subspan(static_cast<size_t>(address),
                                              static_cast<size_t>(length)));
}

absl::Status HookCall::ReadBack(uint64_t address, absl::Span<uint8_t> out) {
  if (transition_ != Transition::kReturningFromHost || host_call_ == nullptr) {
    return absl::FailedPreconditionError(
        absl::StrCat("memory is read back at returning_from_host only, not at ",
                     TransitionName(transition_)));
  }
  const absl::Span<uint8_t> memory = store_.CallerMemory(*host_call_);
  if (!Inside(address, out.size(), memory.size())) {
    return absl::OutOfRangeError(
        absl::StrCat("bytes [", address, ", +", out.size(),
                     ") are outside the memory of ", memory.size(), " bytes"));
  }
  std::copy_n(memory.begin() + static_cast<std::ptrdiff_t>(address), out.size(),
              out.begin());
  return absl::OkStatus();
}

}  // namespace callgate
