// The policies in force: those from files in --policy-dir and those that came
// by ApplyPolicy, with the ones that come with the daemon for them to include.
//
// They are compiled together into one immutable policy::PolicySet, which is
// swapped whole: a reader takes current() and keeps it for as long as it needs.
// A name belongs to one origin. Names from the directory belong to it alone, so
// that what is on disk is what is enforced; if a file appears under a name that
// was applied before, the file wins and the applied one waits.
//
// The directory is read by Reload: at start, and when the operator asks for it
// (SIGHUP). A file that is wrong stops nothing else. It is kept out, or, if it
// was right before, stays in force as it was; an event names the place of the
// problem, and callgate_policy_last_reload_success is 0 until everything is
// right again.
//
// An applied policy is in the catalogue on disk before it is in force. One that
// does not compile any more, after an upgrade or because what it includes is
// gone, is reported in the same way and kept on disk.
//
// Any thread. Changes take turns and wait for the disk; current() does not
// wait.

#ifndef CALLGATE_SERVER_POLICIES_POLICY_CATALOGUE_H_
#define CALLGATE_SERVER_POLICIES_POLICY_CATALOGUE_H_

#include <cstddef>
#include <memory>
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
#include "policy/policy_file.h"
#include "policy/policy_set.h"
#include "proto/callgate/v1/policy_service.pb.h"
#include "server/events/event_log.h"
#include "server/metrics/metrics.h"
#include "server/policies/policy_bundle.h"
#include "server/policies/policy_directory.h"
#include "server/storage/catalogue.h"

namespace callgate::policies {

// A policy as operators see it.
struct PolicyView {
  std::string name;
  std::string version;
  Origin origin = Origin::kApplied;
  std::string source;
  std::string mode;  // "enforce" or "audit"
  std::string description;
  absl::Time since;  // when it was applied or loaded
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
  // it was right; what was right is in force either way.
  absl::Status Reload();

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
  };
  struct ApplyResult {
    // With problems, nothing changed and `policy` is empty.
    PolicyCheck check;
    PolicyView policy;
    bool unchanged = false;  // this version was in force already
  };
  // A policy that is wrong, or would make one that includes it wrong, is a
  // result with problems. FailedPrecondition: the name belongs to the
  // directory. Aborted: another etag. ResourceExhausted: as many policies as
  // may be. Unavailable: not stored.
  absl::StatusOr<ApplyResult> Apply(const ApplyRequest& request);

  // NotFound names the policy and lists those there are.
  absl::StatusOr<PolicyView> Get(absl::string_view name) const;
  // In order of name, `page_size` of them (at least 1) after the name `after`.
  std::vector<PolicyView> List(size_t page_size, absl::string_view after) const;

  // Of a version: what etags look like.
  static std::string EtagOf(const PolicyView& policy);
  static v1::Policy ToProto(const PolicyView& policy, bool with_source);

 private:
  PolicyCatalogue(const Options& options, storage::Catalogue& catalogue,
                  events::EventLog& events, metrics::Metrics& metrics);

  // A text that was held against `policies`.
  struct Examined {
    PolicyCheck check;
    // Without problems: it and those that include it, as they would be.
    PolicyMap changed;
  };
  static Examined Examine(const std::string& source,
                          const std::string& file_name,
                          const PolicyMap& policies);

  absl::Status LoadAll() ABSL_EXCLUSIVE_LOCKS_REQUIRED(changing_);
  // What the directory holds, each file in its own words or in earlier ones.
  std::vector<std::shared_ptr<const LoadedPolicy>> LoadFiles(
      std::vector<PolicyFileText> files, const PolicyMap& before,
      std::vector<Refusal>& refusals) const;
  // Puts `policies` in force and tells events and metrics what changed.
  void Swap(PolicyMap policies) ABSL_EXCLUSIVE_LOCKS_REQUIRED(changing_);
  void Report(const Refusal& refusal);
  std::shared_ptr<const PolicyMap> policies() const;

  // Constant after construction; the references outlive this.
  const Options options_;
  storage::Catalogue& catalogue_;
  events::EventLog& events_;
  metrics::Metrics& metrics_;
  // Those that come with the daemon. They are not in force by themselves.
  PolicyMap built_in_;

  // Held over a change from its first reading to the swap.
  absl::Mutex changing_;
  // Of each Refusal that still stands: its origin and subject.
  std::set<std::pair<Origin, std::string>> refused_ ABSL_GUARDED_BY(changing_);

  mutable absl::Mutex mu_;
  std::shared_ptr<const policy::PolicySet> current_ ABSL_GUARDED_BY(mu_);
  std::shared_ptr<const PolicyMap> policies_ ABSL_GUARDED_BY(mu_);
};

}  // namespace callgate::policies

#endif  // CALLGATE_SERVER_POLICIES_POLICY_CATALOGUE_H_
