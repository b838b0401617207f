#include "server/storage/sqlite_catalogue.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "runtime/check.h"

namespace callgate::storage {
namespace {

// kSchema[n] takes version n to n + 1. Only ever add at the end: files of older
// releases go through all of them.
constexpr const char* kSchema[] = {
    R"sql(
      CREATE TABLE modules (
        tenant TEXT NOT NULL,
        digest BLOB NOT NULL CHECK (length(digest) = 32),
        size_bytes INTEGER NOT NULL,
        created_ns INTEGER NOT NULL,
        PRIMARY KEY (tenant, digest)
      ) STRICT, WITHOUT ROWID;
      CREATE INDEX modules_by_digest ON modules (digest);

      CREATE TABLE module_labels (
        tenant TEXT NOT NULL,
        digest BLOB NOT NULL,
        key TEXT NOT NULL,
        value TEXT NOT NULL,
        PRIMARY KEY (tenant, digest, key),
        FOREIGN KEY (tenant, digest) REFERENCES modules ON DELETE CASCADE
      ) STRICT, WITHOUT ROWID;

      CREATE TABLE policies (
        name TEXT NOT NULL PRIMARY KEY,
        version TEXT NOT NULL,
        encoding INTEGER NOT NULL,
        source TEXT NOT NULL,
        applied_ns INTEGER NOT NULL
      ) STRICT, WITHOUT ROWID;

      CREATE TABLE quarantine (
        tenant TEXT NOT NULL,
        digest BLOB NOT NULL CHECK (length(digest) = 32),
        policy TEXT NOT NULL,
        rule TEXT NOT NULL,
        reason TEXT NOT NULL,
        since_ns INTEGER NOT NULL,
        PRIMARY KEY (tenant, digest)
      ) STRICT, WITHOUT ROWID;
    )sql",
    R"sql(
      CREATE TABLE policy_versions (
        name TEXT NOT NULL,
        number INTEGER NOT NULL,
        version TEXT NOT NULL,
        encoding INTEGER NOT NULL,
        source TEXT NOT NULL,
        since_ns INTEGER NOT NULL,
        origin INTEGER NOT NULL,
        file_name TEXT NOT NULL,
        author TEXT NOT NULL,
        comment TEXT NOT NULL,
        PRIMARY KEY (name, number)
      ) STRICT, WITHOUT ROWID;
      CREATE INDEX policy_versions_by_age ON policy_versions (since_ns);
      -- What was applied before there was a history is its beginning.
      INSERT INTO policy_versions
        SELECT name, 1, version, encoding, source, applied_ns, 0, '', '', ''
        FROM policies;

      CREATE TABLE policy_files (
        file_name TEXT NOT NULL PRIMARY KEY,
        source TEXT NOT NULL,
        since_ns INTEGER NOT NULL
      ) STRICT, WITHOUT ROWID;

      CREATE TABLE policy_holds (
        name TEXT NOT NULL PRIMARY KEY,
        held BLOB NOT NULL CHECK (length(held) = 32),
        held_version TEXT NOT NULL,
        number INTEGER NOT NULL,
        since_ns INTEGER NOT NULL,
        author TEXT NOT NULL,
        comment TEXT NOT NULL
      ) STRICT, WITHOUT ROWID;
    )sql",
    R"sql(
      CREATE TABLE profiles (
        tenant TEXT NOT NULL,
        digest BLOB NOT NULL CHECK (length(digest) = 32),
        shape TEXT NOT NULL,
        bytes BLOB NOT NULL,
        changed_ns INTEGER NOT NULL,
        PRIMARY KEY (tenant, digest, shape)
      ) STRICT;
    )sql",
    R"sql(
      CREATE TABLE policy_switches (
        name TEXT NOT NULL PRIMARY KEY,
        inactive INTEGER NOT NULL,
        loaded_in_audit INTEGER NOT NULL,
        audit INTEGER NOT NULL,
        since_ns INTEGER NOT NULL,
        author TEXT NOT NULL,
        comment TEXT NOT NULL
      ) STRICT, WITHOUT ROWID;
    )sql",
};
constexpr uint64_t kSchemaVersion = std::size(kSchema);

// How long Open waits for a daemon that is just ending.
constexpr absl::Duration kLockPatience = absl::Seconds(1);

// SAFETY: the view is used before the digest goes.
absl::string_view BytesOf(const Digest& digest) {
  return absl::string_view(reinterpret_cast<const char*>(digest.bytes().data()),
                           digest.bytes().size());
}

absl::StatusOr<Digest> DigestFrom(absl::string_view bytes) {
  std::array<uint8_t, Digest::kBytes> array = {};
  if (bytes.size() != array.size()) {
    return absl::DataLossError(absl::StrCat("the catalogue holds a digest of ",
                                            bytes.size(), " bytes instead of ",
                                            array.size()));
  }
  std::transform(bytes.begin(), bytes.end(), array.begin(),
                 [](char c) { return static_cast<uint8_t>(c); });
  return Digest(array);
}

absl::Status CheckBytes(absl::string_view what, absl::string_view text,
                        size_t bytes_max) {
  if (text.size() <= bytes_max) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(
      what, " has ", text.size(), " bytes, at most ", bytes_max, " are kept"));
}

absl::Status CheckLabels(const std::map<std::string, std::string>& labels) {
  if (labels.size() > kLabelsMax) {
    return absl::InvalidArgumentError(absl::StrCat(
        labels.size(), " labels, at most ", kLabelsMax, " are kept"));
  }
  for (const auto& [key, value] : labels) {
    absl::Status status = CheckBytes("a label's key", key, kLabelBytesMax);
    if (status.ok()) {
      status = CheckBytes("a label's value", value, kLabelBytesMax);
    }
    if (!status.ok()) return status;
  }
  return absl::OkStatus();
}

absl::Status Full(absl::string_view what, uint64_t limit,
                  absl::string_view fix) {
  return absl::ResourceExhaustedError(absl::StrCat(
      "the catalogue has its ", limit, " ", what, " already; ", fix));
}

// What the disk or its contents did, as against an answer or a bound.
bool IsStorageFailure(const absl::Status& status) {
  switch (status.code()) {
    case absl::StatusCode::kAborted:
    case absl::StatusCode::kDataLoss:
    case absl::StatusCode::kPermissionDenied:
    case absl::StatusCode::kUnavailable:
      return true;
    default:
      return false;
  }
}

const absl::Status& StatusOf(const absl::Status& status) { return status; }
template <typename T>
const absl::Status& StatusOf(const absl::StatusOr<T>& result) {
  return result.status();
}

// Runs one operation and tells the observer.
template <typename Operation>
auto Timed(StorageObserver* observer, const char* op, Operation operation) {
  TimedOperation timed(observer, kEngineSqlite, op);
  auto result = operation();
  if (IsStorageFailure(StatusOf(result))) timed.MarkFailed();
  return result;
}

}  // namespace

absl::StatusOr<std::unique_ptr<SqliteCatalogue>> SqliteCatalogue::Open(
    const std::string& path, const CatalogueLimits& limits,
    StorageObserver* observer) {
  absl::StatusOr<std::unique_ptr<Database>> database =
      Database::Open(path, kLockPatience);
  if (!database.ok()) return database.status();
  std::unique_ptr<SqliteCatalogue> catalogue(
      new SqliteCatalogue(*std::move(database), limits, observer));
  absl::MutexLock lock(&catalogue->mu_);
  const absl::Status ready = catalogue->BringUpToDate();
  if (!ready.ok()) {
    return absl::Status(ready.code(),
                        absl::StrCat(path, ": ", ready.message()));
  }
  const std::pair<const char*, uint64_t*> totals[] = {
      {"SELECT count(*) FROM modules", &catalogue->modules_},
      {"SELECT count(*) FROM quarantine", &catalogue->quarantined_},
      {"SELECT count(*) FROM profiles", &catalogue->profiles_},
      {"SELECT coalesce(sum(length(bytes)), 0) FROM profiles",
       &catalogue->profile_bytes_},
  };
  for (const auto& [sql, total] : totals) {
    const absl::StatusOr<uint64_t> number = catalogue->ReadNumber(sql);
    if (!number.ok()) return number.status();
    *total = *number;
  }
  const absl::Status counted = catalogue->policy_tables_.Count();
  if (!counted.ok()) return counted;
  return catalogue;
}

absl::Status SqliteCatalogue::BringUpToDate() {
  absl::StatusOr<Transaction> transaction = Transaction::Begin(*database_);
  if (!transaction.ok()) return transaction.status();
  absl::Status status = database_->Execute(
      "CREATE TABLE IF NOT EXISTS schema_version (version INTEGER NOT NULL) "
      "STRICT");
  if (!status.ok()) return status;
  const absl::StatusOr<uint64_t> version =
      ReadNumber("SELECT coalesce(max(version), 0) FROM schema_version");
  if (!version.ok()) return version.status();
  if (*version > kSchemaVersion) {
    return absl::FailedPreconditionError(absl::StrCat(
        "its schema is version ", *version, " and this daemon knows ",
        kSchemaVersion,
        "; a newer callgated wrote it: run that one, or name another "
        "directory"));
  }
  if (*version == kSchemaVersion) return transaction->Commit();
  for (uint64_t next = *version; next < kSchemaVersion; ++next) {
    status = database_->Execute(kSchema[next]);
    if (!status.ok()) return status;
  }
  absl::StatusOr<Statement> write =
      database_->Prepare("INSERT INTO schema_version VALUES (?1)");
  if (!write.ok()) return write.status();
  write->BindInteger(1, static_cast<int64_t>(kSchemaVersion));
  status = write->Run();
  if (!status.ok()) return status;
  return transaction->Commit();
}

absl::StatusOr<uint64_t> SqliteCatalogue::ReadNumber(absl::string_view sql) {
  absl::StatusOr<Statement> read = database_->Prepare(sql);
  if (!read.ok()) return read.status();
  const absl::StatusOr<bool> row = read->Step();
  if (!row.ok()) return row.status();
  return static_cast<uint64_t>(read->Integer(0));
}

absl::StatusOr<bool> SqliteCatalogue::Exists(absl::string_view sql,
                                             absl::string_view tenant,
                                             const Digest& digest) {
  absl::StatusOr<Statement> find = database_->Prepare(sql);
  if (!find.ok()) return find.status();
  find->BindText(1, tenant);
  find->BindBlob(2, BytesOf(digest));
  return find->Step();
}

absl::StatusOr<bool> SqliteCatalogue::PutModule(const ModuleRecord& module) {
  return Timed(observer_, kOpPutModule, [&] {
    absl::MutexLock lock(&mu_);
    return DoPutModule(module);
  });
}

absl::StatusOr<bool> SqliteCatalogue::DoPutModule(const ModuleRecord& module) {
  absl::Status status =
      CheckBytes("a tenant's name", module.tenant, kTenantBytesMax);
  if (status.ok()) status = CheckLabels(module.labels);
  if (!status.ok()) return status;

  const absl::StatusOr<bool> exists =
      Exists("SELECT 1 FROM modules WHERE tenant = ?1 AND digest = ?2",
             module.tenant, module.digest);
  if (!exists.ok()) return exists.status();
  if (*exists) return false;
  if (modules_ >= limits_.modules) {
    return Full("modules", limits_.modules, "delete some that nobody uses");
  }

  absl::StatusOr<Transaction> transaction = Transaction::Begin(*database_);
  if (!transaction.ok()) return transaction.status();
  absl::StatusOr<Statement> insert =
      database_->Prepare("INSERT INTO modules VALUES (?1, ?2, ?3, ?4)");
  if (!insert.ok()) return insert.status();
  insert->BindText(1, module.tenant);
  insert->BindBlob(2, BytesOf(module.digest));
  insert->BindInteger(3, static_cast<int64_t>(module.size_bytes));
  insert->BindInteger(4, absl::ToUnixNanos(module.created));
  status = insert->Run();
  if (!status.ok()) return status;
  for (const auto& [key, value] : module.labels) {
    absl::StatusOr<Statement> label =
        database_->Prepare("INSERT INTO module_labels VALUES (?1, ?2, ?3, ?4)");
    if (!label.ok()) return label.status();
    label->BindText(1, module.tenant);
    label->BindBlob(2, BytesOf(module.digest));
    label->BindText(3, key);
    label->BindText(4, value);
    status = label->Run();
    if (!status.ok()) return status;
  }
  status = transaction->Commit();
  if (!status.ok()) return status;
  ++modules_;
  return true;
}

absl::Status SqliteCatalogue::ReadLabels(ModuleRecord& module) {
  absl::StatusOr<Statement> read = database_->Prepare(
      "SELECT key, value FROM module_labels WHERE tenant = ?1 AND digest = ?2");
  if (!read.ok()) return read.status();
  read->BindText(1, module.tenant);
  read->BindBlob(2, BytesOf(module.digest));
  while (true) {
    const absl::StatusOr<bool> row = read->Step();
    if (!row.ok()) return row.status();
    if (!*row) return absl::OkStatus();
    module.labels.emplace(read->Bytes(0), read->Bytes(1));
  }
}

absl::StatusOr<ModuleRecord> SqliteCatalogue::GetModule(
    absl::string_view tenant, const Digest& digest) {
  return Timed(observer_, kOpGetModule, [&] {
    absl::MutexLock lock(&mu_);
    return DoGetModule(tenant, digest);
  });
}

absl::StatusOr<ModuleRecord> SqliteCatalogue::DoGetModule(
    absl::string_view tenant, const Digest& digest) {
  absl::StatusOr<Statement> read = database_->Prepare(
      "SELECT size_bytes, created_ns FROM modules "
      "WHERE tenant = ?1 AND digest = ?2");
  if (!read.ok()) return read.status();
  read->BindText(1, tenant);
  read->BindBlob(2, BytesOf(digest));
  const absl::StatusOr<bool> row = read->Step();
  if (!row.ok()) return row.status();
  if (!*row) {
    return absl::NotFoundError(absl::StrCat("no module ", digest.ToString()));
  }
  ModuleRecord module;
  module.tenant = std::string(tenant);
  module.digest = digest;
  module.size_bytes = static_cast<uint64_t>(read->Integer(0));
  module.created = absl::FromUnixNanos(read->Integer(1));
  const absl::Status labels = ReadLabels(module);
  if (!labels.ok()) return labels;
  return module;
}

absl::StatusOr<ModulePage> SqliteCatalogue::ListModules(
    absl::string_view tenant, size_t page_size, absl::string_view after) {
  return Timed(observer_, kOpListModules, [&] {
    absl::MutexLock lock(&mu_);
    return DoListModules(tenant, page_size, after);
  });
}

absl::StatusOr<ModulePage> SqliteCatalogue::DoListModules(
    absl::string_view tenant, size_t page_size, absl::string_view after) {
  if (page_size == 0 || page_size > kPageSizeMax) {
    return absl::InvalidArgumentError(absl::StrCat(
        "a page of ", page_size, " modules; ask for 1 to ", kPageSizeMax));
  }
  absl::StatusOr<Digest> last = Digest();
  if (!after.empty()) {
    last = Digest::Parse(after);
    if (!last.ok()) {
      return absl::InvalidArgumentError(
          "the page token is not one that this daemon gave; begin without one");
    }
  }
  // The page after nothing begins with the least digest there can be, so one
  // that is all zeroes is compared with ">=".
  absl::StatusOr<Statement> read = database_->Prepare(
      absl::StrCat("SELECT digest, size_bytes, created_ns FROM modules "
                   "WHERE tenant = ?1 AND digest ",
                   after.empty() ? ">=" : ">", " ?2 ORDER BY digest LIMIT ?3"));
  if (!read.ok()) return read.status();
  read->BindText(1, tenant);
  read->BindBlob(2, BytesOf(*last));
  // One more than asked for tells whether there is a next page.
  read->BindInteger(3, static_cast<int64_t>(page_size) + 1);
  ModulePage page;
  while (true) {
    const absl::StatusOr<bool> row = read->Step();
    if (!row.ok()) return row.status();
    if (!*row) break;
    if (page.modules.size() == page_size) {
      page.next = page.modules.back().digest.ToString();
      break;
    }
    const absl::StatusOr<Digest> digest = DigestFrom(read->Bytes(0));
    if (!digest.ok()) return digest.status();
    ModuleRecord& module = page.modules.emplace_back();
    module.tenant = std::string(tenant);
    module.digest = *digest;
    module.size_bytes = static_cast<uint64_t>(read->Integer(1));
    module.created = absl::FromUnixNanos(read->Integer(2));
  }
  for (ModuleRecord& module : page.modules) {
    const absl::Status labels = ReadLabels(module);
    if (!labels.ok()) return labels;
  }
  return page;
}

absl::Status SqliteCatalogue::DeleteModule(absl::string_view tenant,
                                           const Digest& digest) {
  return Timed(observer_, kOpDeleteModule, [&] {
    absl::MutexLock lock(&mu_);
    return DoDeleteModule(tenant, digest);
  });
}

absl::Status SqliteCatalogue::DoDeleteModule(absl::string_view tenant,
                                             const Digest& digest) {
  absl::StatusOr<Statement> remove = database_->Prepare(
      "DELETE FROM modules WHERE tenant = ?1 AND digest = ?2");
  if (!remove.ok()) return remove.status();
  remove->BindText(1, tenant);
  remove->BindBlob(2, BytesOf(digest));
  const absl::Status status = remove->Run();
  if (!status.ok()) return status;
  if (database_->changes() == 0) {
    return absl::NotFoundError(absl::StrCat("no module ", digest.ToString()));
  }
  CALLGATE_CHECK(modules_ > 0, "a deleted module was counted");
  --modules_;
  return absl::OkStatus();
}

absl::StatusOr<bool> SqliteCatalogue::AnyTenantHas(const Digest& digest) {
  absl::MutexLock lock(&mu_);
  absl::StatusOr<Statement> find =
      database_->Prepare("SELECT 1 FROM modules WHERE digest = ?1 LIMIT 1");
  if (!find.ok()) return find.status();
  find->BindBlob(1, BytesOf(digest));
  return find->Step();
}

absl::StatusOr<uint64_t> SqliteCatalogue::CountModules() {
  absl::MutexLock lock(&mu_);
  return modules_;
}

absl::Status SqliteCatalogue::PutPolicy(const PolicyRecord& policy) {
  return Timed(observer_, kOpPutPolicy, [&] {
    absl::MutexLock lock(&mu_);
    PolicyCommit commit;
    commit.applied.push_back(policy);
    return policy_tables_.Commit(commit);
  });
}

absl::StatusOr<std::vector<PolicyRecord>> SqliteCatalogue::ListPolicies() {
  return Timed(observer_, kOpListPolicies, [&] {
    absl::MutexLock lock(&mu_);
    return policy_tables_.ListApplied();
  });
}

absl::Status SqliteCatalogue::CommitPolicies(const PolicyCommit& commit) {
  return Timed(observer_, kOpCommitPolicies, [&] {
    absl::MutexLock lock(&mu_);
    return policy_tables_.Commit(commit);
  });
}

absl::StatusOr<std::vector<PolicyFileRecord>>
SqliteCatalogue::ListPolicyFiles() {
  return Timed(observer_, kOpListPolicies, [&] {
    absl::MutexLock lock(&mu_);
    return policy_tables_.ListFiles();
  });
}

absl::StatusOr<std::vector<PolicyHoldRecord>>
SqliteCatalogue::ListPolicyHolds() {
  return Timed(observer_, kOpListPolicies, [&] {
    absl::MutexLock lock(&mu_);
    return policy_tables_.ListHolds();
  });
}

absl::StatusOr<std::vector<PolicySwitchRecord>>
SqliteCatalogue::ListPolicySwitches() {
  return Timed(observer_, kOpListPolicies, [&] {
    absl::MutexLock lock(&mu_);
    return policy_tables_.ListSwitches();
  });
}

absl::StatusOr<std::vector<PolicyVersionRecord>>
SqliteCatalogue::ListPolicyVersions(absl::string_view name) {
  return Timed(observer_, kOpReadPolicyHistory, [&] {
    absl::MutexLock lock(&mu_);
    return policy_tables_.ListVersions(name);
  });
}

absl::StatusOr<PolicyVersionRecord> SqliteCatalogue::GetPolicyVersion(
    absl::string_view name, uint64_t number) {
  return Timed(observer_, kOpReadPolicyHistory, [&] {
    absl::MutexLock lock(&mu_);
    return policy_tables_.GetVersion(name, number);
  });
}

absl::StatusOr<bool> SqliteCatalogue::PutQuarantine(
    const QuarantineRecord& quarantine) {
  return Timed(observer_, kOpPutQuarantine, [&] {
    absl::MutexLock lock(&mu_);
    return DoPutQuarantine(quarantine);
  });
}

absl::StatusOr<bool> SqliteCatalogue::DoPutQuarantine(
    const QuarantineRecord& quarantine) {
  const absl::Status fits =
      CheckBytes("a tenant's name", quarantine.tenant, kTenantBytesMax);
  if (!fits.ok()) return fits;
  const absl::StatusOr<bool> exists =
      Exists("SELECT 1 FROM quarantine WHERE tenant = ?1 AND digest = ?2",
             quarantine.tenant, quarantine.digest);
  if (!exists.ok()) return exists.status();
  if (*exists) return false;
  if (quarantined_ >= limits_.quarantined) {
    return Full("modules in quarantine", limits_.quarantined,
                "start with a new data directory");
  }
  absl::StatusOr<Statement> insert = database_->Prepare(
      "INSERT INTO quarantine VALUES (?1, ?2, ?3, ?4, ?5, ?6)");
  if (!insert.ok()) return insert.status();
  insert->BindText(1, quarantine.tenant);
  insert->BindBlob(2, BytesOf(quarantine.digest));
  // A quarantine must not fail for what is only said about it: words are cut.
  insert->BindText(
      3, absl::string_view(quarantine.policy).substr(0, kReasonBytesMax));
  insert->BindText(
      4, absl::string_view(quarantine.rule).substr(0, kReasonBytesMax));
  insert->BindText(
      5, absl::string_view(quarantine.reason).substr(0, kReasonBytesMax));
  insert->BindInteger(6, absl::ToUnixNanos(quarantine.since));
  const absl::Status status = insert->Run();
  if (!status.ok()) return status;
  ++quarantined_;
  return true;
}

absl::StatusOr<std::optional<QuarantineRecord>> SqliteCatalogue::FindQuarantine(
    absl::string_view tenant, const Digest& digest) {
  return Timed(observer_, kOpFindQuarantine, [&] {
    absl::MutexLock lock(&mu_);
    return DoFindQuarantine(tenant, digest);
  });
}

absl::StatusOr<std::optional<QuarantineRecord>>
SqliteCatalogue::DoFindQuarantine(absl::string_view tenant,
                                  const Digest& digest) {
  absl::StatusOr<Statement> read = database_->Prepare(
      "SELECT policy, rule, reason, since_ns FROM quarantine "
      "WHERE tenant = ?1 AND digest = ?2");
  if (!read.ok()) return read.status();
  read->BindText(1, tenant);
  read->BindBlob(2, BytesOf(digest));
  const absl::StatusOr<bool> row = read->Step();
  if (!row.ok()) return row.status();
  if (!*row) return std::optional<QuarantineRecord>();
  QuarantineRecord quarantine;
  quarantine.tenant = std::string(tenant);
  quarantine.digest = digest;
  quarantine.policy = std::string(read->Bytes(0));
  quarantine.rule = std::string(read->Bytes(1));
  quarantine.reason = std::string(read->Bytes(2));
  quarantine.since = absl::FromUnixNanos(read->Integer(3));
  return std::optional<QuarantineRecord>(std::move(quarantine));
}

absl::StatusOr<uint64_t> SqliteCatalogue::CountQuarantined() {
  absl::MutexLock lock(&mu_);
  return quarantined_;
}

absl::Status SqliteCatalogue::PutProfile(const ProfileRecord& profile) {
  return Timed(observer_, kOpPutProfile, [&] {
    absl::MutexLock lock(&mu_);
    return DoPutProfile(profile);
  });
}

absl::StatusOr<std::optional<uint64_t>> SqliteCatalogue::ProfileBytes(
    absl::string_view tenant, const Digest& digest, absl::string_view shape) {
  absl::StatusOr<Statement> find = database_->Prepare(
      "SELECT length(bytes) FROM profiles "
      "WHERE tenant = ?1 AND digest = ?2 AND shape = ?3");
  if (!find.ok()) return find.status();
  find->BindText(1, tenant);
  find->BindBlob(2, BytesOf(digest));
  find->BindText(3, shape);
  const absl::StatusOr<bool> row = find->Step();
  if (!row.ok()) return row.status();
  if (!*row) return std::nullopt;
  return static_cast<uint64_t>(find->Integer(0));
}

absl::Status SqliteCatalogue::DoPutProfile(const ProfileRecord& profile) {
  absl::Status status =
      CheckBytes("a tenant's name", profile.tenant, kTenantBytesMax);
  if (status.ok()) {
    status = CheckBytes("a profile's shape", profile.shape, kShapeBytesMax);
  }
  if (status.ok()) {
    status = CheckBytes("a profile", profile.bytes, kProfileRecordBytesMax);
  }
  if (!status.ok()) return status;
  const absl::StatusOr<std::optional<uint64_t>> before =
      ProfileBytes(profile.tenant, profile.digest, profile.shape);
  if (!before.ok()) return before.status();
  const uint64_t bytes =
      profile_bytes_ - before->value_or(0) + profile.bytes.size();
  if (!before->has_value() && profiles_ >= limits_.profiles) {
    return Full("profiles", limits_.profiles, "delete some");
  }
  if (bytes > limits_.profile_bytes) {
    return Full("bytes of profiles", limits_.profile_bytes, "delete some");
  }
  absl::StatusOr<Statement> write = database_->Prepare(
      "INSERT OR REPLACE INTO profiles VALUES (?1, ?2, ?3, ?4, ?5)");
  if (!write.ok()) return write.status();
  write->BindText(1, profile.tenant);
  write->BindBlob(2, BytesOf(profile.digest));
  write->BindText(3, profile.shape);
  write->BindBlob(4, profile.bytes);
  write->BindInteger(5, absl::ToUnixNanos(profile.changed));
  status = write->Run();
  if (!status.ok()) return status;
  profile_bytes_ = bytes;
  if (!before->has_value()) ++profiles_;
  return absl::OkStatus();
}

absl::Status SqliteCatalogue::DeleteProfile(absl::string_view tenant,
                                            const Digest& digest,
                                            absl::string_view shape) {
  return Timed(observer_, kOpDeleteProfile, [&] {
    absl::MutexLock lock(&mu_);
    return DoDeleteProfile(tenant, digest, shape);
  });
}

absl::Status SqliteCatalogue::DoDeleteProfile(absl::string_view tenant,
                                              const Digest& digest,
                                              absl::string_view shape) {
  const absl::StatusOr<std::optional<uint64_t>> bytes =
      ProfileBytes(tenant, digest, shape);
  if (!bytes.ok()) return bytes.status();
  if (!bytes->has_value()) {
    return absl::NotFoundError(
        absl::StrCat("no profile ", shape, " of ", digest.ToString()));
  }
  absl::StatusOr<Statement> remove = database_->Prepare(
      "DELETE FROM profiles "
      "WHERE tenant = ?1 AND digest = ?2 AND shape = ?3");
  if (!remove.ok()) return remove.status();
  remove->BindText(1, tenant);
  remove->BindBlob(2, BytesOf(digest));
  remove->BindText(3, shape);
  const absl::Status status = remove->Run();
  if (!status.ok()) return status;
  --profiles_;
  profile_bytes_ -= **bytes;
  return absl::OkStatus();
}

absl::StatusOr<std::vector<ProfileRecord>> SqliteCatalogue::ListProfiles() {
  return Timed(observer_, kOpListProfiles, [&] {
    absl::MutexLock lock(&mu_);
    return DoListProfiles();
  });
}

absl::StatusOr<std::vector<ProfileRecord>> SqliteCatalogue::DoListProfiles() {
  absl::StatusOr<Statement> read = database_->Prepare(
      "SELECT tenant, digest, shape, bytes, changed_ns FROM profiles "
      "ORDER BY tenant, digest, shape");
  if (!read.ok()) return read.status();
  std::vector<ProfileRecord> profiles;
  while (true) {
    const absl::StatusOr<bool> row = read->Step();
    if (!row.ok()) return row.status();
    if (!*row) return profiles;
    const absl::StatusOr<Digest> digest = DigestFrom(read->Bytes(1));
    if (!digest.ok()) return digest.status();
    ProfileRecord& profile = profiles.emplace_back();
    profile.tenant = std::string(read->Bytes(0));
    profile.digest = *digest;
    profile.shape = std::string(read->Bytes(2));
    profile.bytes = std::string(read->Bytes(3));
    profile.changed = absl::FromUnixNanos(read->Integer(4));
  }
}

}  // namespace callgate::storage
