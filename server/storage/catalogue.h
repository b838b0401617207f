// What the daemon remembers between runs, except the modules' bytes: which
// modules a tenant has, which policies are in force and were before, which
// modules are in quarantine, and what is usual of a module.
//
// A call that returns OK for a write has made it durable: it survives kill -9
// and loss of power. A call that fails has changed nothing. Any thread; calls
// may wait for the disk.
//
// Errors: NotFound for a name that is not there, ResourceExhausted at a stated
// bound, DataLoss where what is stored cannot be what was written, Unavailable
// when the disk fails.

#ifndef CALLGATE_SERVER_STORAGE_CATALOGUE_H_
#define CALLGATE_SERVER_STORAGE_CATALOGUE_H_

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "server/storage/digest.h"

namespace callgate::storage {

// Bounds on what is kept. Reaching one is ResourceExhausted, and the message
// names it.
struct CatalogueLimits {
  uint64_t modules = 100'000;  // of all tenants together
  uint64_t policies = 1'000;   // names
  uint64_t policy_bytes = 64 << 20;
  uint64_t quarantined = 100'000;  // (tenant, digest) pairs
  uint64_t profiles = 10'000;      // (tenant, digest, shape) triples
  uint64_t profile_bytes = 256 << 20;
  // Of the versions that policies had. These are not refused: the oldest go.
  uint64_t versions_per_policy = 20;
  uint64_t versions = 20'000;
  uint64_t version_bytes = 256 << 20;
};

inline constexpr size_t kLabelsMax = 64;
inline constexpr size_t kLabelBytesMax = 256;  // of a key, and of a value
inline constexpr size_t kTenantBytesMax = 64;
inline constexpr size_t kPolicyNameBytesMax = 256;
inline constexpr size_t kPolicySourceBytesMax = 1 << 20;
inline constexpr size_t kReasonBytesMax = 1024;
inline constexpr size_t kShapeBytesMax = 64;
inline constexpr size_t kProfileRecordBytesMax = 16 << 20;
inline constexpr size_t kPageSizeMax = 1'000;

struct ModuleRecord {
  std::string tenant;
  Digest digest;
  uint64_t size_bytes = 0;
  std::map<std::string, std::string> labels;
  absl::Time created;
};

// The text of a policy that came by ApplyPolicy.
struct PolicyRecord {
  enum class Encoding { kYaml, kTextproto };

  std::string name;
  std::string version;  // hex SHA-256 of the canonical bytes
  Encoding encoding = Encoding::kYaml;
  std::string source;  // as it was sent
  absl::Time applied;
};

// How a version of a policy came to be in force.
enum class PolicyOrigin : uint8_t {
  kApplied = 0,
  kFile = 1,      // a file in the policy directory was new or changed
  kIncluded = 2,  // what the policy includes changed; its own text did not
  kRollback = 3,
  kSurge = 4,  // the daemon went back by itself
};

// A version that a policy has or had.
struct PolicyVersionRecord {
  std::string name;
  // From 1, in the order in which they came; given by the catalogue.
  uint64_t number = 0;
  std::string version;  // hex SHA-256 of the canonical bytes
  PolicyRecord::Encoding encoding = PolicyRecord::Encoding::kYaml;
  std::string source;  // empty in lists
  absl::Time since;
  PolicyOrigin origin = PolicyOrigin::kApplied;
  // Within the policy directory; empty if it came otherwise.
  std::string file_name;
  // Who brought it, as far as that is known, and what for. Cut where too long.
  std::string author;
  std::string comment;
};

// The text of a file in the policy directory, as it is in force.
struct PolicyFileRecord {
  std::string file_name;
  std::string source;
  absl::Time since;
};

// A file in the policy directory that is not in force, since somebody went back
// to an earlier version of its policy.
struct PolicyHoldRecord {
  std::string name;
  Digest held;  // of the file's text
  std::string held_version;
  uint64_t number = 0;  // of the version that is in force instead
  absl::Time since;
  std::string author;
  std::string comment;
};

// What somebody has said of a policy beside its text.
struct PolicySwitchRecord {
  std::string name;
  bool inactive = false;         // kept, and not in force
  bool loaded_in_audit = false;  // by an option of its loading
  bool audit = false;            // at run time
  absl::Time since;
  std::string author;
  std::string comment;
};

// What one swap of policies writes: all of it or nothing.
struct PolicyCommit {
  // Names of applied policies that go. Their history stays.
  std::vector<std::string> deleted;
  // Each in place of whatever had its name.
  std::vector<PolicyRecord> applied;
  // In place of all there were.
  std::optional<std::vector<PolicyFileRecord>> files;
  std::optional<std::vector<PolicyHoldRecord>> holds;
  std::optional<std::vector<PolicySwitchRecord>> switches;
  // Added to the history; their numbers are ignored.
  std::vector<PolicyVersionRecord> versions;
};

struct QuarantineRecord {
  std::string tenant;
  Digest digest;
  std::string policy;
  std::string rule;
  std::string reason;
  absl::Time since;
};

// What is usual of one module's calls, as bytes that others understand.
struct ProfileRecord {
  std::string tenant;
  Digest digest;
  std::string shape;  // which of the module's profiles
  std::string bytes;
  absl::Time changed;
};

// One page of a list in the order of its key. An empty `next` is the end;
// otherwise give it back to get the page after.
struct ModulePage {
  std::vector<ModuleRecord> modules;
  std::string next;
};

class Catalogue {
 public:
  virtual ~Catalogue() = default;

  // Keeps the record. One that is there already stays as it was first written;
  // the result says whether this call wrote it.
  virtual absl::StatusOr<bool> PutModule(const ModuleRecord& module) = 0;
  virtual absl::StatusOr<ModuleRecord> GetModule(absl::string_view tenant,
                                                 const Digest& digest) = 0;
  // In order of digest. `page_size` is 1…kPageSizeMax; `after` is empty or the
  // `next` of an earlier page, and anything else is InvalidArgument.
  virtual absl::StatusOr<ModulePage> ListModules(absl::string_view tenant,
                                                 size_t page_size,
                                                 absl::string_view after) = 0;
  virtual absl::Status DeleteModule(absl::string_view tenant,
                                    const Digest& digest) = 0;
  // Whether any tenant has it: then its bytes are needed.
  virtual absl::StatusOr<bool> AnyTenantHas(const Digest& digest) = 0;
  virtual absl::StatusOr<uint64_t> CountModules() = 0;

  // Keeps the policy in place of whatever had its name.
  virtual absl::Status PutPolicy(const PolicyRecord& policy) = 0;
  // All of them, by name.
  virtual absl::StatusOr<std::vector<PolicyRecord>> ListPolicies() = 0;

  virtual absl::Status CommitPolicies(const PolicyCommit& commit) = 0;
  // By file name.
  virtual absl::StatusOr<std::vector<PolicyFileRecord>> ListPolicyFiles() = 0;
  // By name.
  virtual absl::StatusOr<std::vector<PolicyHoldRecord>> ListPolicyHolds() = 0;
  // By name.
  virtual absl::StatusOr<std::vector<PolicySwitchRecord>>
  ListPolicySwitches() = 0;
  // Newest first, without their texts; none for a name that was never there.
  virtual absl::StatusOr<std::vector<PolicyVersionRecord>> ListPolicyVersions(
      absl::string_view name) = 0;
  // With its text.
  virtual absl::StatusOr<PolicyVersionRecord> GetPolicyVersion(
      absl::string_view name, uint64_t number) = 0;

  // Puts the module in quarantine. A quarantine outlives the module's record:
  // deleting and uploading again does not lift it. The first record stays; the
  // result says whether this call wrote it.
  virtual absl::StatusOr<bool> PutQuarantine(
      const QuarantineRecord& quarantine) = 0;
  virtual absl::StatusOr<std::optional<QuarantineRecord>> FindQuarantine(
      absl::string_view tenant, const Digest& digest) = 0;
  virtual absl::StatusOr<uint64_t> CountQuarantined() = 0;

  // Keeps the profile in place of whatever had its tenant, digest and shape. It
  // outlives the module's record.
  virtual absl::Status PutProfile(const ProfileRecord& profile) = 0;
  virtual absl::Status DeleteProfile(absl::string_view tenant,
                                     const Digest& digest,
                                     absl::string_view shape) = 0;
  // All of them.
  virtual absl::StatusOr<std::vector<ProfileRecord>> ListProfiles() = 0;
};

}  // namespace callgate::storage

#endif  // CALLGATE_SERVER_STORAGE_CATALOGUE_H_
