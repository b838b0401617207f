// The policies in force: those from files in --policy-dir and those that came
// by ApplyPolicy, with the ones that come with the daemon for them to include.
//
// They are compiled together into one immutable policy::PolicySet, which is
// swapped whole: a reader takes current() and keeps it for as long as it needs.
// A name belongs to one origin. Names from the directory belong to it alone, so
// that what is on disk is what is enforced; if a file appears under a name that
// was applied before, the file wins and the applied one waits.
//
// The directory is read by Reload: at start, when it changes (DirectoryWatcher)
// and when the operator asks for it (SIGHUP, ReloadPolicies). What has changed
// there is taken whole or not at all: if a file that is new or changed is
// wrong, or makes another policy wrong, all stays as it was. At start, where
// there is nothing to stay with, a file that is wrong stops nothing else; what
// it said when it was in force last is in force again. Either way an event
// names the place of each problem, and callgate_policy_last_reload_success is 0
// until everything is right again.
//
// An applied policy is in the catalogue on disk before it is in force. One that
// does not compile any more, after an upgrade or because what it includes is
// gone, is reported in the same way and kept on disk.
//
// What is enforced of a policy is the lowest of what its file says, of the
// option that it was loaded with, of what somebody chose at run time, and of
// what is enforced against the tenant. The choices survive a restart; what was
// chosen at run time goes with the policy.
// Whoever applies a policy may ask for a replay of what was recorded
// (policy_gate.h), and the daemon may be told to ask for one whenever the
// directory changes. A change that does not pass it is refused as a whole, at
// start, too: then all of the directory stays as it was in force last. Going
// back to an earlier version asks nobody.
//
// Every version that comes into force is kept in the history, with who brought
// it. Going back to one is a change like any other for an applied policy. For
// one of the directory the file is held back: the earlier version is in force
// in its place until the file says something else, and until then the load
// counts as one that did not succeed.
//
// Any thread. Changes take turns and wait for the disk; current() does not
// wait.

#ifndef CALLGATE_SERVER_POLICIES_POLICY_CATALOGUE_H_
#define CALLGATE_SERVER_POLICIES_POLICY_CATALOGUE_H_

#include <cstddef>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "policy/file/policy_file.h"
#include "policy/policy_set.h"
#include "proto/callgate/v1/policy_service.pb.h"
#include "server/events/event_log.h"
#include "server/internal_faults.h"
#include "server/metrics/metrics.h"
#include "server/policies/policy_bundle.h"
#include "server/policies/policy_directory.h"
#include "server/policies/policy_gate.h"
#include "server/storage/catalogue.h"
#include "server/storage/digest.h"

namespace callgate::policies {

// A policy as operators see it.
struct PolicyView {
  std::string name;
  std::string version;
  Origin origin = Origin::kApplied;
  std::string source;
  // "enforce" or "audit": the lowest of the three below.
  std::string mode;
  std::string file_mode;
  std::string load_mode;
  std::string runtime_mode;
  std::string description;
  absl::Time since;  // when it was applied or loaded
  // Its file in the directory says something else.
  bool held_back = false;
  // It is kept, and not in force.
  bool inactive = false;
};

// Who wants a change, as far as that is known, and what for.
struct Author {
  std::string who;
  std::string comment;
};

// What a policy file is like.
struct PolicyCheck {
  std::vector<policy::Problem> problems;  // empty: it could be applied
  std::vector<policy::Problem> warnings;
  std::string name;     // with no problems
  std::string version;  // with no problems
};

class PolicyCatalogue {
 public:
  struct Options {
    std::string directory;  // empty: none
    // What policies have to pass. May be empty.
    PolicyGate gate;
    // Told after each swap, with nothing locked but against other changes: it
    // must not change policies. May be empty.
    std::function<void()> on_swap;
    // What replays changes. Empty: none that asks for it passes.
    ReplayGate replay = nullptr;
    // What changes of the directory have to pass. None: nothing.
    std::optional<ReplayDemand> directory_replay = std::nullopt;
    // The load option of everything in the directory.
    policy::Mode directory_mode = policy::Mode::kEnforce;
    // Against whom nothing is enforced.
    std::set<std::string> audit_tenants = {};
    // The Stores that a policy judges, by id. Called while policies change. May
    // be empty: nobody uses any.
    std::function<std::vector<std::string>(absl::string_view name)> stores_of =
        nullptr;
  };

  // Loads what is stored and what the directory holds. Fails only if the
  // catalogue cannot be read or the directory is not one. All three outlive the
  // result.
  static absl::StatusOr<std::unique_ptr<PolicyCatalogue>> Open(
      const Options& options, storage::Catalogue& catalogue,
      events::EventLog& events, metrics::Metrics& metrics);

  ~PolicyCatalogue();
  PolicyCatalogue(const PolicyCatalogue&) = delete;
  PolicyCatalogue& operator=(const PolicyCatalogue&) = delete;

  // What applies from now on.
  std::shared_ptr<const policy::PolicySet> current() const;

  // Reads the directory and the catalogue again. The result says whether all of
  // it was right.
  absl::Status Reload();
  struct ReloadResult {
    absl::Status status;
    // Everything that is not in force as it is written.
    std::vector<policy::Problem> problems;
    // Because of them nothing changed.
    bool refused = false;
  };
  ReloadResult ReloadAndTell();

  // Stores what could not be stored when it came into force. Does nothing while
  // policies change.
  void RetryUnstored();
  // Versions that are kept until they can be stored; beyond it the oldest go.
  static constexpr size_t kOwedMax = 100;

  // Whether the text could be applied, beside the policies in force. The name
  // of a file tells its format, as policy::LoadPolicy has it.
  PolicyCheck Validate(absl::string_view source,
                       absl::string_view file_name) const;

  // What the text comes to beside the policies in force; it is not applied.
  policy::CompileResult Compile(absl::string_view source,
                                absl::string_view file_name) const;

  struct ApplyRequest {
    std::string source;
    std::string file_name;
    bool validate_only = false;
    // Empty: whatever is in force. "-": the name must be new. Otherwise the
    // etag of what is in force.
    std::string etag;
    Author author;
    std::optional<ReplayDemand> replay = std::nullopt;
    // The load option: at most this is enforced, until it is applied anew.
    policy::Mode load_mode = policy::Mode::kEnforce;
  };
  struct ApplyResult {
    // With problems, nothing changed and `policy` is empty.
    PolicyCheck check;
    // Of the replay that was asked for, if it came to that. With a refusal,
    // nothing changed.
    std::optional<ReplayFindings> replay;
    PolicyView policy;
    bool unchanged = false;  // this version was in force already
  };
  // A policy that is wrong, or would make one that includes it wrong, is a
  // result with problems. FailedPrecondition: the name belongs to the
  // directory. Aborted: another etag. ResourceExhausted: as many policies as
  // may be. Unavailable: not stored. The replay gate's errors as they are.
  absl::StatusOr<ApplyResult> Apply(const ApplyRequest& request);

  // A version that is kept, and whether it is the one in force.
  struct HistoryEntry {
    // Without its source.
    storage::PolicyVersionRecord record;
    bool in_force = false;
  };
  // Newest first. NotFound for a name that never was.
  absl::StatusOr<std::vector<HistoryEntry>> History(
      absl::string_view name) const;
  // With its source. Errors are those of version_name.h.
  absl::StatusOr<storage::PolicyVersionRecord> GetVersion(
      absl::string_view name, absl::string_view version) const;

  struct RollbackRequest {
    std::string name;
    // As version_name.h has it. Empty: the newest one with another text than
    // what is in force.
    std::string version;
    bool validate_only = false;
    std::string etag;  // as in ApplyRequest
    Author author;
    // The daemon does it by itself.
    bool surge = false;
  };
  // As Apply. The earlier text is compiled with what it includes as that is
  // now, so the version that comes into force may be a new one.
  // NotFound: no such policy, no such version, or none that differs.
  absl::StatusOr<ApplyResult> Rollback(const RollbackRequest& request);

  // What is done to a policy beside changing its text.
  struct SwitchRequest {
    std::string name;
    std::string etag;  // as in ApplyRequest
    // Takes it from Stores that it judges; those are named in the result.
    bool force = false;
    Author author;
  };
  struct SwitchResult {
    // What kept it from being in force again.
    PolicyCheck check;
    // As it is now, or was before it was deleted.
    PolicyView policy;
    // Ids of the Stores that it judged.
    std::vector<std::string> stores;
    bool unchanged = false;
  };
  // Takes an applied policy out of force: for good, or until SetActive puts it
  // in force again. Nothing vanishes by the way: FailedPrecondition
  // POLICY_IN_USE names the policies that include it, and without `force` the
  // Stores that it judges. FailedPrecondition POLICY_FROM_DIRECTORY: its file
  // has to go, or the daemon brings it. NotFound, Aborted, Unavailable.
  absl::StatusOr<SwitchResult> Delete(const SwitchRequest& request);
  absl::StatusOr<SwitchResult> SetActive(const SwitchRequest& request,
                                         bool active);
  // At most `mode` is enforced of a policy in force, whatever its text and the
  // option of its loading say; kEnforce leaves those alone.
  absl::StatusOr<SwitchResult> SetMode(const SwitchRequest& request,
                                       policy::Mode mode);

  // NotFound names the policy and lists those there are.
  absl::StatusOr<PolicyView> Get(absl::string_view name) const;
  // In order of name, `page_size` of them (at least 1) after the name `after`.
  std::vector<PolicyView> List(size_t page_size, absl::string_view after) const;

  // Of a version: what etags look like.
  static std::string EtagOf(const PolicyView& policy);
  static v1::Policy ToProto(const PolicyView& policy, bool with_source);

 private:
  using Holds = std::map<std::string, storage::PolicyHoldRecord>;  // by name

  PolicyCatalogue(const Options& options, storage::Catalogue& catalogue,
                  events::EventLog& events, metrics::Metrics& metrics);

  // A text that was held against `policies`.
  struct Examined {
    PolicyCheck check;
    // Without problems: it and those that include it, as they would be.
    PolicyMap changed;
  };
  // `place`: its origin, and its file in the directory if it has one.
  struct Place {
    Origin origin = Origin::kApplied;
    std::string file_name;
    bool held_back = false;
  };
  Examined Examine(const std::string& source, const std::string& file_name,
                   const PolicyMap& policies, const Place& place) const;

  // Why policies change, for the history.
  struct Change {
    // Whose text it is; empty: the directory's.
    std::string name;
    storage::PolicyOrigin origin = storage::PolicyOrigin::kApplied;
    Author author;
  };
  // Stores what `examined` came to under `name`, which is not the directory's,
  // and puts it in force.
  absl::Status Store(const Examined& examined, storage::PolicyRecord::Encoding,
                     const Change& change, policy::Mode load_mode)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(changing_);

  // --- policy_catalogue_reload.cc
  // A reading of the directory.
  struct Reading {
    std::vector<std::shared_ptr<const LoadedPolicy>> loaded;
    std::vector<Refusal> refusals;
    // Of each file's text.
    std::map<std::string, storage::Digest> texts;
    // Those of `holds` that still hold something back.
    Holds holds;
  };
  Reading LoadFiles(std::vector<PolicyFileText> files,
                    const PolicyMap& standing, const Holds& holds) const;
  // What the directory said when it was in force last, for a daemon that
  // starts. Not compiled.
  absl::StatusOr<PolicyMap> LastInForce() const;
  ReloadResult LoadAll() ABSL_EXCLUSIVE_LOCKS_REQUIRED(changing_);
  // What `records` and the directory's side of `standing` come to.
  Bundle BundleOf(const std::vector<storage::PolicyRecord>& records,
                  const PolicyMap& standing) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(changing_);
  // What the replay that Options ask for has against `after`; nothing if it
  // passes.
  std::vector<policy::Problem> ReplayDirectory(const PolicyMap& before,
                                               const PolicyMap& after);
  // Whether the refusal keeps everything as it is.
  bool Blocks(const Refusal& refusal, const PolicyMap& before,
              const Reading& reading) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(changing_);
  // Stores the directory's side of `after`, as far as it changed.
  void Remember(const PolicyMap& after, const Holds& holds)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(changing_);
  void ReportHold(const storage::PolicyHoldRecord& hold);
  // Writes `commit` with what is owed to the history.
  absl::Status CommitWithOwed(storage::PolicyCommit commit)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(changing_);

  // --- policy_catalogue_history.cc
  // What comes into force with `after`, to be added to the history.
  std::vector<storage::PolicyVersionRecord> NewVersions(
      const PolicyMap& after, const Change& change) const;
  absl::StatusOr<storage::PolicyVersionRecord> FindTarget(
      const RollbackRequest& request, absl::string_view source_in_force) const;
  // Puts `examined` in force in place of a file of the directory.
  absl::Status HoldBack(const Examined& examined, const LoadedPolicy& in_force,
                        const Change& change)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(changing_);

  // All stays as it was, as what there is cannot be read. Told once.
  ReloadResult NotRead(absl::Status why)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(changing_);

  // --- policy_catalogue_switches.cc
  using Switches = std::map<std::string, storage::PolicySwitchRecord>;
  // What is said of `name`, to be changed; made where nothing was.
  static storage::PolicySwitchRecord& SwitchOf(const std::string& name,
                                               const Author& author,
                                               Switches* switches);
  // Without those that say nothing.
  static std::vector<storage::PolicySwitchRecord> ToRecords(
      const Switches& switches);
  // Gives each policy the modes that were chosen for it.
  void SetModes(PolicyMap* policies) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(changing_);
  absl::Status MayGo(const SwitchRequest& request, const PolicyMap& policies,
                     std::vector<std::string>* stores) const;
  // Takes it from the policies in force, and does what `commit` says.
  absl::Status TakeOut(const SwitchRequest& request,
                       storage::PolicyCommit commit, Switches switches)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(changing_);
  std::shared_ptr<const std::map<std::string, PolicyView, std::less<>>>
  inactive() const;
  // What is kept of `records` and not in force.
  void SetInactive(const std::vector<storage::PolicyRecord>& records)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(changing_);

  // Puts `policies` in force and tells events and metrics what changed.
  // `why` says more of those that go.
  void Swap(PolicyMap policies, absl::string_view why = "")
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(changing_);
  void Report(const Refusal& refusal, bool nothing_changes);
  void ReportReplay(const ReplayFindings& findings);
  absl::Status CheckEtag(absl::string_view name, const std::string& etag,
                         const PolicyMap& policies) const;
  absl::Status NoSuchPolicy(absl::string_view name) const;
  std::shared_ptr<const PolicyMap> policies() const;

  // Constant after construction; the references outlive this.
  const Options options_;
  storage::Catalogue& catalogue_;
  events::EventLog& events_;
  metrics::Metrics& metrics_;
  InternalFaults faults_;
  // Those that come with the daemon. They are not in force by themselves.
  PolicyMap built_in_;

  // Held over a change from its first reading to the swap.
  absl::Mutex changing_;
  // Of each Refusal that still stands: its origin and subject.
  std::set<std::pair<Origin, std::string>> refused_ ABSL_GUARDED_BY(changing_);
  bool loaded_ ABSL_GUARDED_BY(changing_) = false;
  // Files that were wrong when all else of the directory came into force.
  std::map<std::string, storage::Digest> left_out_ ABSL_GUARDED_BY(changing_);
  Holds holds_ ABSL_GUARDED_BY(changing_);
  // The texts that the catalogue has as the directory's in force.
  std::map<std::string, storage::Digest> stored_files_
      ABSL_GUARDED_BY(changing_);

  Switches switches_ ABSL_GUARDED_BY(changing_);
  // Versions that are or were in force and could not be stored, oldest first.
  std::vector<storage::PolicyVersionRecord> owed_ ABSL_GUARDED_BY(changing_);

  mutable absl::Mutex mu_;
  std::shared_ptr<const policy::PolicySet> current_ ABSL_GUARDED_BY(mu_);
  std::shared_ptr<const PolicyMap> policies_ ABSL_GUARDED_BY(mu_);
  std::shared_ptr<const std::map<std::string, PolicyView, std::less<>>>
      inactive_ ABSL_GUARDED_BY(mu_);
};

}  // namespace callgate::policies

#endif  // CALLGATE_SERVER_POLICIES_POLICY_CATALOGUE_H_
