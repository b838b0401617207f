// A Session is one guest at work: the Store, its WASI context, its host
// functions and its stubs, with the policies' hook between them and the
// policies' budgets around them. The daemon keeps one for each of its Stores;
// `callgate run --local` makes one in its own process. It knows no gRPC.
//
// Life: Create links nothing yet. Instantiate runs the module's start function;
// then Call and memory access, in any number. Kill ends it for good.
//
// Threads: any. Calls, memory access and Instantiate take turns, first come
// first served; at most `waiting_max` may wait and the next one is
// ResourceExhausted. Kill and CancelCall work from any thread at any time and
// reach a guest that runs. Observers and sinks are called on the thread that
// runs the guest, with no lock held.
//
// Ownership: the Engine, the HostModules, the rule states, the observer and the
// output sink outlive the Session. stdin_fd is borrowed.
//
// Errors: a bad absl::Status means that there was no call, with a reason of
// error_reason.h. Whatever the guest did, or the policies did to it, is an
// Outcome.

#ifndef CALLGATE_SERVER_SESSION_H_
#define CALLGATE_SERVER_SESSION_H_

#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "policy/anomaly/profile_book.h"
#include "policy/hook/decision.h"
#include "policy/hook/policy_violation.h"
#include "policy/policy.h"
#include "policy/state/rule_states.h"
#include "policy/trial/recording_hook.h"
#include "runtime/engine.h"
#include "runtime/function_filter.h"
#include "runtime/module.h"
#include "server/guest_setup.h"
#include "server/host_module.h"
#include "server/outcome.h"
#include "server/probing_hook.h"

namespace callgate {

// A directory that the guest may use.
struct GuestDirectory {
  std::string host_path;
  std::string guest_path;
  bool read_only = false;
  // When not empty, host_path must be this directory or lie inside of it, by a
  // lookup that no symbolic link leads out of. Both absolute.
  std::string inside;
};

// Which of the guest's streams.
enum class OutputStream : uint8_t { kStdout, kStderr };

// Takes what a guest writes, as it comes. May wait, on the guest's time: on a
// fiber of an executor, by parking it (runtime/parker.h).
class OutputSink {
 public:
  virtual ~OutputSink() = default;
  // False: nobody wants it any more, and the guest gets EPIPE.
  virtual bool OnOutput(OutputStream stream, absl::string_view bytes) = 0;
  // The Session has been ended: who waits in OnOutput should give up. Any
  // thread, with no lock of the Session's held.
  virtual void OnSessionEnded() {}
};

// A host function's calls in one call into the guest.
struct HostCallCount {
  // Untrusted bytes, valid while OnCallEnded runs.
  absl::string_view module;
  absl::string_view name;
  uint64_t ran = 0;       // the host function ran
  uint64_t answered = 0;  // denied: the guest got an errno
  uint64_t refused = 0;   // the guest was stopped
};

// What a call into the guest came to.
struct CallEnd {
  const Outcome& outcome;
  // Plain allows, which no decision record tells of.
  uint64_t allowed = 0;
  // Conditions of rules that could not be evaluated.
  uint64_t conditions_failed = 0;
  // Calls that the policy engine could not judge, and stopped.
  uint64_t engine_faults = 0;
  std::vector<HostCallCount> host_calls;
  // The verdict that ended the Session, in this call; else null.
  std::shared_ptr<const policy::PolicyViolation> ended_by;
};

// Facts for events and metrics. No answers are expected.
class SessionObserver : public policy::DecisionSink {
 public:
  // A call, or the instantiation, ended; before its Outcome is handed out. May
  // wait for the disk.
  virtual void OnCallEnded(const CallEnd& end) = 0;

  // The Session ended well, and what a profile was to learn from it was not
  // learned, or not kept.
  virtual void OnNotLearned(const absl::Status& why) { static_cast<void>(why); }
  // It was.
  virtual void OnLearned() {}

  // The functions that the policies in force have rules about cannot be
  // watched, and until they are all calls are refused with this status; OK:
  // they are now. Told of every call that is refused.
  virtual void OnWatched(const absl::Status& status) {
    static_cast<void>(status);
  }
};

struct SessionConfig {
  std::string store_id;
  std::string tenant = "default";
  // "sha256:…".
  std::string module_digest;
  // What backtraces and policies call the module; untrusted bytes.
  std::string module_name;
  std::map<std::string, std::string> module_labels;
  std::shared_ptr<const Module> module;
  // What PolicySet::Select chose, not empty.
  std::vector<std::shared_ptr<const policy::Policy>> policies;

  std::string program_name = "module";
  std::vector<std::string> args;
  std::vector<std::string> env;  // "KEY=VALUE"
  std::vector<GuestDirectory> dirs;
  std::vector<StubImport> stubs;

  // Tighten the policies' budgets of the same name.
  std::optional<uint64_t> fuel_per_call;
  std::optional<absl::Duration> wall_per_call;
  // In force where neither a policy nor anybody else limits a call. Absent: no
  // limit.
  std::optional<absl::Duration> default_wall_per_call;

  // Borrowed; -1 is an empty stdin.
  int stdin_fd = -1;
  // Whether stdin, stdout and stderr look like terminals to the guest.
  std::array<bool, 3> terminal{};
  // Where policies find what is usual of the module, and what they learn goes
  // when the Session has ended; null: there are no profiles. It outlives the
  // Session.
  policy::anomaly::ProfileBook* profiles = nullptr;
  // Null: output is kept and handed out with each Outcome.
  OutputSink* output = nullptr;
  // What rules of policies remember of all Stores. Null: this one is alone.
  policy::RuleStates* rule_states = nullptr;
  // Null: nobody is told.
  SessionObserver* observer = nullptr;
  // Writes down what the policies are shown and what they say, while it is
  // recording; null: nobody will. Outlives the Session.
  policy::trial::TraceRecorder* recorder = nullptr;
  // Tells the observer what was known of each call that is a decision, and what
  // each condition said (policy::DecisionRecord::facts).
  bool keep_answers = false;
  // The guest's functions whose calls `probe_watcher` is shown; it outlives the
  // Session, and may be null if there are none.
  FunctionFilter probes;
  ProbeWatcher* probe_watcher = nullptr;

  size_t waiting_max = 16;
};

// One call into the guest.
struct CallRequest {
  std::string export_name;
  std::vector<Value> args;
  // Tighten the Session's budgets for this call.
  std::optional<uint64_t> fuel;
  std::optional<absl::Duration> wall;
  // The caller gives up here: waiting for a turn ends with DeadlineExceeded,
  // and the wall budget is what is left when the turn comes.
  absl::Time deadline = absl::InfiniteFuture();
};

enum class SessionState : uint8_t {
  kIdle,
  kRunning,
  kKilled,        // by Kill
  kPolicyKilled,  // by a verdict
  kExited,        // by the guest's own exit
};
absl::string_view SessionStateName(SessionState state);

// What a Session is doing and has done.
struct SessionFacts {
  SessionState state = SessionState::kIdle;
  // Somebody has the turn, also of a Session that has been ended meanwhile.
  bool busy = false;
  // Why it ended; empty while it lives.
  std::string end_reason;
  CallUsage usage;  // of all calls
  uint64_t memory_bytes = 0;
  int64_t calls = 0;
  absl::Time last_used;
};

// Names a call to CancelCall (turn_queue.h).
class CallTicket;

class Session {
 public:
  // Makes the Store and everything it is joined to. The policies are checked
  // against the module's imports here; that the module keeps to their
  // budgets.module is the caller's to see to (module_admission.h).
  //   FailedPrecondition  POLICY_REFUSED: a policy cannot judge this module
  //                       DIR_NOT_ALLOWED: a directory is not inside what it
  //                       must be inside of, or may not be read
  //   InvalidArgument     BAD_ARGUMENT: env, dirs or stubs
  static absl::StatusOr<std::unique_ptr<Session>> Create(
      const Engine& engine, const HostModules& host_modules,
      SessionConfig config);

  ~Session();
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  // Links and instantiates; once. An Outcome of kReturned says that calls may
  // follow; after any other the Session has ended.
  //   FailedPrecondition  MISSING_IMPORT, IMPORT_TYPE
  //   ResourceExhausted   a limit of the Store
  absl::StatusOr<Outcome> Instantiate(
      absl::Time deadline = absl::InfiniteFuture(),
      const std::shared_ptr<CallTicket>& ticket = nullptr);

  // Calls an export.
  //   NotFound            EXPORT_NOT_FOUND; NO_START (FailedPrecondition) where
  //                       it is "_start" that is missing
  //   InvalidArgument     BAD_ARGUMENT
  //   FailedPrecondition  STORE_ENDED; or why no policy applies any more
  //   ResourceExhausted   QUEUE_FULL
  //   DeadlineExceeded, Cancelled  while waiting for a turn
  absl::StatusOr<Outcome> Call(
      const CallRequest& request,
      const std::shared_ptr<CallTicket>& ticket = nullptr);

  // For Instantiate and Call; may be cancelled before, during and after.
  static std::shared_ptr<CallTicket> NewTicket();
  // Interrupts the call, or ends its waiting. The Session lives on. A call that
  // has ended already is not touched, nor is any other.
  void CancelCall(const std::shared_ptr<CallTicket>& ticket);

  // Interrupts what runs and refuses whatever comes. The first reason stays.
  void Kill(absl::string_view reason);

  // `memory` names an export; empty means "memory", or else the only exported
  // memory. OutOfRange OUT_OF_BOUNDS; nothing is written unless all is.
  struct MemoryRead {
    std::string bytes;
    uint64_t memory_bytes = 0;
  };
  absl::StatusOr<MemoryRead> ReadMemory(absl::string_view memory,
                                        uint64_t address, uint64_t length,
                                        absl::Time deadline);
  absl::StatusOr<uint64_t> WriteMemory(absl::string_view memory,
                                       uint64_t address,
                                       absl::string_view bytes,
                                       absl::Time deadline);

  SessionFacts facts() const;
  // When the wall budget of the call that runs now ends; InfiniteFuture if it
  // has none or there is none.
  absl::Time running_until() const;
  const SessionConfig& config() const;
  // How the policies will treat some imports, in sentences.
  const std::vector<std::string>& warnings() const;
  // "name@version" of the policies in force.
  std::vector<std::string> policy_names() const;
  // Whether those are these, in the same versions and modes.
  bool IsJudgedBy(
      absl::Span<const std::shared_ptr<const policy::Policy>> policies) const;

  // Any thread. The Session's next host call is judged by these policies, and
  // its next call runs under their budgets, tighter or wider. Tighter ones of
  // memory and tables hold at once, for the growths of a call that runs, too.
  // What is over a tighter budget already stays and does not grow. What is
  // wrong with the policies for this module is returned, and stops the calls
  // that it is about.
  std::vector<policy::Problem> ReplacePolicies(
      std::vector<std::shared_ptr<const policy::Policy>> policies);
  // Any thread. No policy applies any more: calls are refused with this status,
  // and host calls of one that runs are stopped by `stand_in`, until policies
  // are given again.
  void RefuseForWantOfPolicy(absl::Status why,
                             std::shared_ptr<const policy::Policy> stand_in);
  // Any thread: lets go of policies that were replaced. To be called now and
  // then.
  void CollectReplaced();

  // Bytes of one ReadMemory or WriteMemory.
  static constexpr uint64_t kMemoryAccessBytesMax = 1 << 20;
  // Captured output handed out with one Outcome, of each stream.
  static constexpr uint64_t kOutcomeOutputBytesMax = 1 << 20;

 private:
  class Impl;
  explicit Session(std::unique_ptr<Impl> impl);
  const std::unique_ptr<Impl> impl_;
};

// A policy file that allows every WASI function and the stubs, and denies every
// other import: what a run without a policy gets outside a daemon.
std::string PermissivePolicyYaml(const std::vector<StubImport>& stubs);

}  // namespace callgate

#endif  // CALLGATE_SERVER_SESSION_H_
