// Writes down what a Store's policy hook is shown and what it says, while
// somebody wants a trace.
//
// A RecordingHook stands between a Store and its PolicyHook, and between that
// and its sink. It changes nothing: transitions go through, and the bytes that
// it writes down are copied as the policy's own are, so that the host function
// uses what was written down.
//
// What a replay needs to say the same is exact: while an event is written down
// the hook reads the time of its record, through clock() and WallClock(), and
// what the engine counts is noted before the hook sees the event. Policies that
// replace others are noted where the hook takes them over, and what they redact
// is hidden from there on.
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

  // Why the recording that was started last has ended by itself; OK if it has
  // not.
  absl::Status end() const {
    const std::lock_guard<std::mutex> lock(mu_);
    return end_;
  }

  bool recording() const {
    return recording_.load(std::memory_order_relaxed) != 0;
  }

 private:
  friend class RecordingHook;

  // With mu_ held. A sink that takes no more ends the recording.
  void Write(const TraceRecord& record);

  // The number of what is being recorded, from 1; 0: nothing is.
  std::atomic<uint64_t> recording_{0};

  mutable std::mutex mu_;
  std::shared_ptr<TraceSink> sink_;
  absl::Status end_;
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

  // What the hook that judges must be given as its clocks. As Clocks have it,
  // but while an event is written down its record's time. WallClock is of
  // absl::Now() otherwise.
  MonotonicClock clock();
  static absl::Time WallClock();

  // The hook that judges, and that was given this as its sink. Before any
  // event.
  using Labels = absl::flat_hash_map<std::string, std::string>;
  // All names of a function of the guest's own, by its index.
  using NamesOf = std::function<std::vector<std::string>(uint32_t func_index)>;
  void Attach(PolicyHook& hook, Labels module_labels, NamesOf names_of);

  TransitionSet OnLink(const FunctionIdentity& function) override;
  Disposition OnTransition(CallContext& call) override;
  GrowthAnswer OnGrowth(const GrowthEvent& event) override;
  bool Understands(HookProfile profile) const override {
    return hook_->Understands(profile);
  }
  EntryAnswer OnFunctionEnter(const FunctionEntry& entry) override;
  void OnFunctionLeave(const FunctionExit& exit) override {
    hook_->OnFunctionLeave(exit);
  }

  void OnDecision(const DecisionRecord& decision) override;
  // Time stands still for what is written down.
  void OnDecisionDuration(absl::Duration duration) override {
    if (event_time_ == nullptr) sink_.OnDecisionDuration(duration);
  }
  void OnRuleDuration(absl::string_view policy, absl::string_view rule,
                      absl::Duration duration, uint64_t weight) override {
    if (event_time_ == nullptr) {
      sink_.OnRuleDuration(policy, rule, duration, weight);
    }
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

  class Listening;

  Disposition Record(CallContext& call, uint64_t recording);
  // Says who this Store is, if this recording does not know yet.
  void Introduce(uint64_t recording, const TrialClock& at);
  void WriteFunction(Linked& linked, const TrialClock& at);
  // The number of the probed function in this recording.
  uint32_t NumberOf(const ProbedFunction& function, const TrialClock& at);
  // Says which policies judge now, if others did when this was asked last.
  void NotePolicies(bool at_once, const TrialClock& at);
  // What arguments of the function stand for, by the host and the policies.
  void DescribeArguments(Linked* linked) const;
  TrialClock Now() const { return {clocks_.monotonic(), clocks_.wall()}; }
  TraceRecord NewRecord(TraceRecord::Kind kind, const TrialClock& at) const;
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
  Labels module_labels_;
  NamesOf names_of_;

  std::vector<Linked> linked_;  // by binding
  // The recording that has its enter, of each call that has not left; 0: none.
  std::vector<uint64_t> live_calls_;
  uint64_t introduced_in_ = 0;
  uint32_t store_ = 0;
  uint32_t functions_ = 0;
  size_t seen_ = 0;  // of linked_: these are written, or not there
  // Probed functions that this recording knows, by index.
  absl::flat_hash_map<uint32_t, uint32_t> probes_;
  // Those that are described, and those that the recording knows of.
  uint64_t replacements_described_ = 0;
  uint64_t replacements_written_ = 0;
  // Of the event that the hook is shown to be written down; else null. What it
  // has told of it.
  const TrialClock* event_time_ = nullptr;
  TrialDecision told_;
};

}  // namespace callgate::policy::trial

#endif  // CALLGATE_POLICY_TRIAL_RECORDING_HOOK_H_
