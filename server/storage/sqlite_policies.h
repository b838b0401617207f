// The catalogue's tables about policies: those that were applied, the texts of
// the policy directory that are in force, what is held back, and the history.
//
// A part of SqliteCatalogue, which has the lock and the schema. Bounds and
// errors are those of catalogue.h.

#ifndef CALLGATE_SERVER_STORAGE_SQLITE_POLICIES_H_
#define CALLGATE_SERVER_STORAGE_SQLITE_POLICIES_H_

#include <cstdint>
#include <optional>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "server/storage/catalogue.h"
#include "server/storage/sqlite.h"

namespace callgate::storage {

class SqlitePolicies {
 public:
  // The database outlives this.
  SqlitePolicies(Database& database, const CatalogueLimits& limits)
      : database_(database), limits_(limits) {}

  // Reads the totals. Once, before anything else.
  absl::Status Count();

  absl::Status Commit(const PolicyCommit& commit);
  absl::StatusOr<std::vector<PolicyRecord>> ListApplied();
  absl::StatusOr<std::vector<PolicyFileRecord>> ListFiles();
  absl::StatusOr<std::vector<PolicyHoldRecord>> ListHolds();
  absl::StatusOr<std::vector<PolicySwitchRecord>> ListSwitches();
  absl::StatusOr<std::vector<PolicyVersionRecord>> ListVersions(
      absl::string_view name);
  absl::StatusOr<PolicyVersionRecord> GetVersion(absl::string_view name,
                                                 uint64_t number);

 private:
  // Of the tables, so that a bound costs no scan. Nobody else writes.
  struct Totals {
    uint64_t applied = 0;
    uint64_t applied_bytes = 0;
    uint64_t versions = 0;
    uint64_t version_bytes = 0;
  };

  absl::StatusOr<uint64_t> ReadNumber(absl::string_view sql);
  // Each within a transaction; `totals` become those after it.
  absl::Status PutApplied(const PolicyRecord& policy, Totals& totals);
  absl::Status PutFiles(const std::vector<PolicyFileRecord>& files);
  // Nothing happens where it is not there.
  absl::Status DeleteApplied(absl::string_view name, Totals& totals);
  absl::Status PutSwitches(const std::vector<PolicySwitchRecord>& switches);
  // Bytes of an applied policy; nothing if there is none of the name.
  absl::StatusOr<std::optional<uint64_t>> BytesOf(absl::string_view name);
  absl::Status PutHolds(const std::vector<PolicyHoldRecord>& holds);
  absl::Status AddVersion(const PolicyVersionRecord& version, Totals& totals);
  // Lets the oldest versions of all policies go until the bounds hold.
  absl::Status Forget(Totals& totals);
  absl::Status Remove(absl::string_view name, uint64_t number, Totals& totals);

  Database& database_;
  const CatalogueLimits limits_;
  Totals totals_;
};

}  // namespace callgate::storage

#endif  // CALLGATE_SERVER_STORAGE_SQLITE_POLICIES_H_
