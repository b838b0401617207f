// The catalogue in one SQLite file: write-ahead log, synced at each commit.
//
// One connection, taken in turns. The schema carries a version: an older one is
// brought up to date at Open in one transaction, a newer one is refused and
// left as it is.

#ifndef CALLGATE_SERVER_STORAGE_SQLITE_CATALOGUE_H_
#define CALLGATE_SERVER_STORAGE_SQLITE_CATALOGUE_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/synchronization/mutex.h"
#include "server/storage/catalogue.h"
#include "server/storage/digest.h"
#include "server/storage/sqlite.h"
#include "server/storage/sqlite_policies.h"
#include "server/storage/storage_observer.h"

namespace callgate::storage {

class SqliteCatalogue final : public Catalogue {
 public:
  // `observer` may be null and outlives the catalogue. Aborted: another process
  // has the file. FailedPrecondition: a newer release wrote it.
  static absl::StatusOr<std::unique_ptr<SqliteCatalogue>> Open(
      const std::string& path, const CatalogueLimits& limits,
      StorageObserver* observer);

  absl::StatusOr<bool> PutModule(const ModuleRecord& module) override;
  absl::StatusOr<ModuleRecord> GetModule(absl::string_view tenant,
                                         const Digest& digest) override;
  absl::StatusOr<ModulePage> ListModules(absl::string_view tenant,
                                         size_t page_size,
                                         absl::string_view after) override;
  absl::Status DeleteModule(absl::string_view tenant,
                            const Digest& digest) override;
  absl::StatusOr<bool> AnyTenantHas(const Digest& digest) override;
  absl::StatusOr<uint64_t> CountModules() override;

  absl::Status PutPolicy(const PolicyRecord& policy) override;
  absl::StatusOr<std::vector<PolicyRecord>> ListPolicies() override;
  absl::Status CommitPolicies(const PolicyCommit& commit) override;
  absl::StatusOr<std::vector<PolicyFileRecord>> ListPolicyFiles() override;
  absl::StatusOr<std::vector<PolicyHoldRecord>> ListPolicyHolds() override;
  absl::StatusOr<std::vector<PolicySwitchRecord>> ListPolicySwitches() override;
  absl::StatusOr<std::vector<PolicyVersionRecord>> ListPolicyVersions(
      absl::string_view name) override;
  absl::StatusOr<PolicyVersionRecord> GetPolicyVersion(
      absl::string_view name, uint64_t number) override;

  absl::StatusOr<bool> PutQuarantine(
      const QuarantineRecord& quarantine) override;
  absl::StatusOr<std::optional<QuarantineRecord>> FindQuarantine(
      absl::string_view tenant, const Digest& digest) override;
  absl::StatusOr<uint64_t> CountQuarantined() override;

  absl::Status PutProfile(const ProfileRecord& profile) override;
  absl::Status DeleteProfile(absl::string_view tenant, const Digest& digest,
                             absl::string_view shape) override;
  absl::StatusOr<std::vector<ProfileRecord>> ListProfiles() override;

 private:
  SqliteCatalogue(std::unique_ptr<Database> database,
                  const CatalogueLimits& limits, StorageObserver* observer)
      : limits_(limits),
        observer_(observer),
        database_(std::move(database)),
        policy_tables_(*database_, limits) {}

  absl::Status BringUpToDate() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // The one number that `sql` gives.
  absl::StatusOr<uint64_t> ReadNumber(absl::string_view sql)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // Whether `sql`, with the tenant and the digest, finds a row.
  absl::StatusOr<bool> Exists(absl::string_view sql, absl::string_view tenant,
                              const Digest& digest)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  absl::Status ReadLabels(ModuleRecord& module)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  // Each without the lock and the clock of its namesake.
  absl::StatusOr<bool> DoPutModule(const ModuleRecord& module)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  absl::StatusOr<ModuleRecord> DoGetModule(absl::string_view tenant,
                                           const Digest& digest)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  absl::StatusOr<ModulePage> DoListModules(absl::string_view tenant,
                                           size_t page_size,
                                           absl::string_view after)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  absl::Status DoDeleteModule(absl::string_view tenant, const Digest& digest)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  absl::StatusOr<bool> DoPutQuarantine(const QuarantineRecord& quarantine)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  absl::StatusOr<std::optional<QuarantineRecord>> DoFindQuarantine(
      absl::string_view tenant, const Digest& digest)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  absl::Status DoPutProfile(const ProfileRecord& profile)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  absl::Status DoDeleteProfile(absl::string_view tenant, const Digest& digest,
                               absl::string_view shape)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  absl::StatusOr<std::vector<ProfileRecord>> DoListProfiles()
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // Bytes of the profile that is there; nothing if there is none.
  absl::StatusOr<std::optional<uint64_t>> ProfileBytes(absl::string_view tenant,
                                                       const Digest& digest,
                                                       absl::string_view shape)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  // Constant after construction.
  const CatalogueLimits limits_;
  StorageObserver* const observer_;

  absl::Mutex mu_;
  const std::unique_ptr<Database> database_ ABSL_PT_GUARDED_BY(mu_);
  SqlitePolicies policy_tables_ ABSL_GUARDED_BY(mu_);
  // Totals of the tables, so that a bound costs no scan. Nobody else writes.
  uint64_t modules_ ABSL_GUARDED_BY(mu_) = 0;
  uint64_t quarantined_ ABSL_GUARDED_BY(mu_) = 0;
  uint64_t profiles_ ABSL_GUARDED_BY(mu_) = 0;
  uint64_t profile_bytes_ ABSL_GUARDED_BY(mu_) = 0;
};

}  // namespace callgate::storage

#endif  // CALLGATE_SERVER_STORAGE_SQLITE_CATALOGUE_H_
