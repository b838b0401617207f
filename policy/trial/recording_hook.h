// Writes down what a Store's policy hook is shown and what it says, while
// somebody wants a trace.
//
// A RecordingHook stands between a Store and its PolicyHook, and between that
// and its sink. It changes nothing: transitions go through, and the bytes that
// it writes down are copied as the policy's own are, so that the host function
// uses what was written down.
//
// All Stores of a recorder that is recording take turns, with a lock around
// each decision and what is written of it: rules whose state several Stores
// share see their events in the order of the trace. While nothing is recorded a
// transition costs an atomic load and a push.

#ifndef CALLGATE_POLICY_TRIAL_RECORDING_HOOK_H_
#define CALLGATE_POLICY_TRIAL_RECORDING_HOOK_H_

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "policy/hook/decision.h"
#include "policy/hook/handle_names.h"
#include "policy/hook/policy_hook.h"
#include "policy/trial/trace.h"
#include "policy/trial/trace_writer.h"
#include "runtime/call_hook.h"

namespace callgate::policy::trial {

// Where a trace goes. Called under the recorder's lock, on the guest's time.
class TraceSink {
 public:
  virtual ~TraceSink() = default;
  // All of `bytes`, or an error: the trace ends before them then.
  virtual absl::Status Append(absl::string_view bytes) = 0;
};

// One for all Stores whose order shall be known. Any thread.
class TraceRecorder {
 public:
  TraceRecorder() = default;
  TraceRecorder(const TraceRecorder&) = delete;
  TraceRecorder& operator=(const TraceRecorder&) = delete;

  // FailedPrecondition if a trace is being recorded.
  absl::Status Start(std::shared_ptr<TraceSink> sink);
  // Null if nothing is being recorded. Nobody writes to it any more.
  std::shared_ptr<TraceSink> Stop();

  bool recording() const {
    return recording_.load(std::memory_order_relaxed) != 0;
  }

 private:
  friend class RecordingHook;

  // With mu_ held. A sink that takes no more ends the recording.
  void Write(const TraceRecord& record);

  // The number of what is being recorded, from 1; 0: nothing is.
  std::atomic<uint64_t> recording_{0};

  std::mutex mu_;
  std::shared_ptr<TraceSink> sink_;
  std::string bytes_;
  std::unique_ptr<TraceWriter> writer_;
  uint64_t recordings_ = 0;
  uint32_t next_store_ = 0;
};

class RecordingHook final : public CallHook, public DecisionSink {
 public:
  struct Clocks {
    MonotonicClock monotonic;
    absl::Time (*wall)() = absl::Now;
  };

  // Everything outlives it. `sink` hears what the policy hook tells.
  RecordingHook(TraceRecorder& recorder, DecisionSink& sink,
                HandleNames* handles, Clocks clocks);
  ~RecordingHook() override;
  RecordingHook(const RecordingHook&) = delete;
  RecordingHook& operator=(const RecordingHook&) = delete;

  // The hook that judges, and that was given this as its sink. Before any
  // event. `policies` as "name@version".
  void Attach(PolicyHook& hook, std::vector<std::string> policies,
              absl::Span<const std::shared_ptr<const Policy>> sources);

  TransitionSet OnLink(const FunctionIdentity& function) override;
  Disposition OnTransition(CallContext& call) override;
  GrowthAnswer OnGrowth(const GrowthEvent& event) override;
  bool Understands(HookProfile profile) const override {
    return hook_->Understands(profile);
  }
  // What rules say of the guest's own functions is not recorded.
  EntryAnswer OnFunctionEnter(const FunctionEntry& entry) override {
    return hook_->OnFunctionEnter(entry);
  }
  void OnFunctionLeave(const FunctionExit& exit) override {
    hook_->OnFunctionLeave(exit);
  }

  void OnDecision(const DecisionRecord& decision) override;
  void OnDecisionDuration(absl::Duration duration) override {
    sink_.OnDecisionDuration(duration);
  }
  void OnEngineFault(const StoreFacts& store,
                     absl::string_view message) override {
    sink_.OnEngineFault(store, message);
  }
  void OnRulePending(const StoreFacts& store, absl::string_view policy,
                     absl::string_view rule, absl::string_view why) override {
    sink_.OnRulePending(store, policy, rule, why);
  }
  void OnRuleForgot(const StoreFacts& store, absl::string_view policy,
                    absl::string_view rule) override {
    sink_.OnRuleForgot(store, policy, rule);
  }
  void OnConditionFailed(const StoreFacts& store, absl::string_view policy,
                         absl::string_view rule,
                         absl::string_view message) override {
    sink_.OnConditionFailed(store, policy, rule, message);
  }

 private:
  // A host function of the Store.
  struct Linked {
    const FunctionIdentity* function = nullptr;
    std::vector<ArgSpec> args;   // the host's and the policies'
    uint32_t number = kNoIndex;  // in the recording that goes on
  };

  Disposition Record(CallContext& call, uint64_t recording);
  // Says who this Store is, if this recording does not know yet.
  void Introduce(uint64_t recording);
  void WriteFunction(Linked& linked);
  TraceRecord NewRecord(TraceRecord::Kind kind) const;
  // The bytes that `arg` stands for and what handles are called.
  void CopyArgument(const ArgSpec& arg, CallContext& call,
                    TraceRecord* record) const;
  // What the function wrote there.
  static void CopyWritten(const ArgSpec& arg, CallContext& call,
                          TraceRecord* record);
  void CopyRange(uint64_t address, uint64_t length, bool hidden,
                 CallContext& call, TraceRecord* record) const;
  void NamePath(const FunctionIdentity& function, uint64_t handle,
                TraceRecord* record) const;

  TraceRecorder& recorder_;
  DecisionSink& sink_;
  HandleNames* const handles_;
  const Clocks clocks_;
  PolicyHook* hook_ = nullptr;
  std::vector<std::string> policies_;
  std::vector<std::shared_ptr<const Policy>> sources_;

  std::vector<Linked> linked_;  // by binding
  // The recording that has its enter, of each call that has not left; 0: none.
  std::vector<uint64_t> live_calls_;
  uint64_t introduced_in_ = 0;
  uint32_t store_ = 0;
  uint32_t functions_ = 0;
  size_t seen_ = 0;  // of linked_: these are written, or not there
  // What the hook has told of the event that it is shown.
  bool listening_ = false;
  TrialDecision told_;
};

}  // namespace callgate::policy::trial

#endif  // CALLGATE_POLICY_TRIAL_RECORDING_HOOK_H_
