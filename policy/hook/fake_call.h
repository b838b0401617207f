// A transition as a Store would offer it, over a byte vector as the guest's
// memory: for testing hooks without an engine.

#ifndef CALLGATE_POLICY_HOOK_FAKE_CALL_H_
#define CALLGATE_POLICY_HOOK_FAKE_CALL_H_

#include <algorithm>
#include <cstdint>
#include <deque>
#include <string>
#include <utility>
#include <vector>

#include "runtime/call_hook.h"

namespace callgate::policy {

class FakeCall final : public CallContext {
 public:
  FakeCall(Transition transition, const FunctionIdentity& function,
           std::vector<RawValue> args = {})
      : held_args_(std::move(args)) {
    transition_ = transition;
    function_ = &function;
    args_ = held_args_;
    depth_ = EntersGuest(transition) ? 1 : 2;
    fuel_ = &own_fuel_;
    fuel_ = &own_fuel_;
  }

  FakeCall& WithDepth(uint32_t depth) {
    depth_ = depth;
    return *this;
  }
  FakeCall& WithTrap(const Trap& trap) {
    trap_ = &trap;
    ending_ = Ending::kTrap;
    return *this;
  }
  FakeCall& WithCaller(std::string name) {
    caller_name_ = std::move(name);
    return *this;
  }
  // How the host function ended.
  FakeCall& WithResults(std::vector<RawValue> results,
                        Ending ending = Ending::kValue) {
    held_results_ = std::move(results);
    results_ = held_results_;
    ending_ = ending;
    return *this;
  }
  // The functions that led to the call, the caller first.
  FakeCall& WithChain(std::vector<uint64_t> chain) {
    chain_ = std::move(chain);
    return *this;
  }
  FakeCall& WithMemory(std::vector<uint8_t>* memory) {
    memory_ = memory;
    return *this;
  }
  // Of an engine that does not count it.
  FakeCall& WithoutFuel() {
    fuel_ = &unmetered_;
    return *this;
  }
  // Captures without a copy, for counting allocations.
  FakeCall& InPlace() {
    in_place_ = true;
    return *this;
  }
  // What Capture answers instead, if not OK.
  FakeCall& WithCaptureError(absl::Status status) {
    capture_error_ = std::move(status);
    return *this;
  }

  // The hook's answer.
  const std::vector<RawValue>& answer() const { return answer_; }
  const ErrorRef& error() const { return error_; }
  absl::Duration delay() const { return delay_; }
  // What was captured, in order: address and length.
  const std::vector<std::pair<uint64_t, uint64_t>>& captured() const {
    return captured_;
  }

  CallerFrame caller() override { return {7, caller_name_, ""}; }
  uint32_t caller_index() override { return 7; }
  std::vector<Frame> Backtrace(size_t) override { return {}; }
  size_t CallChain(absl::Span<uint64_t> words) override {
    const size_t count = std::min(words.size(), chain_.size());
    std::copy_n(chain_.begin(), count, words.begin());
    return count;
  }
  size_t ChainFunctions(absl::Span<const uint64_t> words,
                        absl::Span<uint32_t> functions) override {
    const size_t count = std::min(words.size(), functions.size());
    for (size_t i = 0; i < count; ++i) {
      functions[i] = static_cast<uint32_t>(words[i]);
    }
    return count;
  }
  void Relink() override { ++relinks_; }
  int relinks() const { return relinks_; }
  uint64_t MemoryBytes() override {
    return memory_ == nullptr ? 0 : memory_->size();
  }
  uint64_t StoreBytes() override { return MemoryBytes(); }
  absl::StatusOr<absl::Span<const uint8_t>> Capture(uint64_t address,
                                                    uint64_t length) override {
    if (!capture_error_.ok()) return capture_error_;
    if (address > MemoryBytes() || length > MemoryBytes() - address) {
      return absl::OutOfRangeError("not in memory");
    }
    captured_bytes_ += length;
    if (captured_bytes_ > kCapturedBytesMax) {
      return absl::ResourceExhaustedError("too much");
    }
    if (in_place_) {
      return absl::MakeConstSpan(*memory_).subspan(static_cast<size_t>(address),
                                                   static_cast<size_t>(length));
    }
    captured_.emplace_back(address, length);
    const auto begin = memory_->begin() + static_cast<ptrdiff_t>(address);
    copies_.emplace_back(begin, begin + static_cast<ptrdiff_t>(length));
    return absl::MakeConstSpan(copies_.back());
  }
  absl::Status ReadBack(uint64_t address, absl::Span<uint8_t> out) override {
    if (transition_ != Transition::kReturningFromHost) {
      return absl::FailedPreconditionError("not yet");
    }
    if (address > MemoryBytes() || out.size() > MemoryBytes() - address) {
      return absl::OutOfRangeError("not in memory");
    }
    std::copy_n(memory_->begin() + static_cast<ptrdiff_t>(address), out.size(),
                out.begin());
    return absl::OkStatus();
  }

 private:
  static bool EntersGuest(Transition t) {
    return t == Transition::kCallingWasm || t == Transition::kReturningFromWasm;
  }

  Fuel own_fuel_{/*metered=*/true};
  std::string caller_name_ = "guest_code";
  Fuel unmetered_{/*metered=*/false};
  std::vector<RawValue> held_args_;
  std::vector<RawValue> held_results_;
  std::vector<uint64_t> chain_ = {7};
  std::vector<uint8_t>* memory_ = nullptr;
  bool in_place_ = false;
  absl::Status capture_error_;
  std::vector<std::pair<uint64_t, uint64_t>> captured_;
  std::deque<std::vector<uint8_t>> copies_;
  uint64_t captured_bytes_ = 0;
  int relinks_ = 0;
};

}  // namespace callgate::policy

#endif  // CALLGATE_POLICY_HOOK_FAKE_CALL_H_
