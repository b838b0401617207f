#include "server/storage/sqlite_policies.h"

#include <algorithm>
#include <array>
#include <optional>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"

namespace callgate::storage {
namespace {

absl::Status CheckBytes(absl::string_view what, absl::string_view text,
                        size_t bytes_max) {
  if (text.size() <= bytes_max) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(
      what, " has ", text.size(), " bytes, at most ", bytes_max, " are kept"));
}

absl::Status CheckPolicy(absl::string_view name, absl::string_view source) {
  const absl::Status status =
      CheckBytes("a policy's name", name, kPolicyNameBytesMax);
  if (!status.ok()) return status;
  return CheckBytes("a policy", source, kPolicySourceBytesMax);
}

PolicyRecord::Encoding EncodingOf(int64_t number) {
  return number == 0 ? PolicyRecord::Encoding::kYaml
                     : PolicyRecord::Encoding::kTextproto;
}

// What is only said about a change must not keep it from being made.
absl::string_view Cut(absl::string_view words) {
  return words.substr(0, kReasonBytesMax);
}

}  // namespace

absl::StatusOr<uint64_t> SqlitePolicies::ReadNumber(absl::string_view sql) {
  absl::StatusOr<Statement> read = database_.Prepare(sql);
  if (!read.ok()) return read.status();
  const absl::StatusOr<bool> row = read->Step();
  if (!row.ok()) return row.status();
  return static_cast<uint64_t>(read->Integer(0));
}

absl::Status SqlitePolicies::Count() {
  const std::pair<const char*, uint64_t*> numbers[] = {
      {"SELECT count(*) FROM policies", &totals_.applied},
      {"SELECT coalesce(sum(length(CAST(source AS BLOB))), 0) FROM policies",
       &totals_.applied_bytes},
      {"SELECT count(*) FROM policy_versions", &totals_.versions},
      {"SELECT coalesce(sum(length(CAST(source AS BLOB))), 0) "
       "FROM policy_versions",
       &totals_.version_bytes},
  };
  for (const auto& [sql, total] : numbers) {
    const absl::StatusOr<uint64_t> number = ReadNumber(sql);
    if (!number.ok()) return number.status();
    *total = *number;
  }
  return absl::OkStatus();
}

absl::Status SqlitePolicies::Commit(const PolicyCommit& commit) {
  absl::StatusOr<Transaction> transaction = Transaction::Begin(database_);
  if (!transaction.ok()) return transaction.status();
  Totals totals = totals_;
  for (const std::string& name : commit.deleted) {
    const absl::Status status = DeleteApplied(name, totals);
    if (!status.ok()) return status;
  }
  for (const PolicyRecord& policy : commit.applied) {
    const absl::Status status = PutApplied(policy, totals);
    if (!status.ok()) return status;
  }
  if (commit.files.has_value()) {
    const absl::Status status = PutFiles(*commit.files);
    if (!status.ok()) return status;
  }
  if (commit.holds.has_value()) {
    const absl::Status status = PutHolds(*commit.holds);
    if (!status.ok()) return status;
  }
  if (commit.switches.has_value()) {
    const absl::Status status = PutSwitches(*commit.switches);
    if (!status.ok()) return status;
  }
  for (const PolicyVersionRecord& version : commit.versions) {
    const absl::Status status = AddVersion(version, totals);
    if (!status.ok()) return status;
  }
  absl::Status status = Forget(totals);
  if (!status.ok()) return status;
  status = transaction->Commit();
  if (!status.ok()) return status;
  totals_ = totals;
  return absl::OkStatus();
}

absl::Status SqlitePolicies::PutApplied(const PolicyRecord& policy,
                                        Totals& totals) {
  absl::Status status = CheckPolicy(policy.name, policy.source);
  if (!status.ok()) return status;
  const absl::StatusOr<std::optional<uint64_t>> there = BytesOf(policy.name);
  if (!there.ok()) return there.status();
  const std::optional<uint64_t> replaced_bytes = *there;
  if (!replaced_bytes.has_value() && totals.applied >= limits_.policies) {
    return absl::ResourceExhaustedError(absl::StrCat(
        "the catalogue has its ", limits_.policies,
        " policies already; apply this one under a name that is in use"));
  }
  const uint64_t bytes_after =
      totals.applied_bytes - replaced_bytes.value_or(0) + policy.source.size();
  if (bytes_after > limits_.policy_bytes) {
    return absl::ResourceExhaustedError(absl::StrCat(
        "all policies together would have ", bytes_after, " bytes, at most ",
        limits_.policy_bytes,
        " are kept; shorten some, or apply this one under the name of a "
        "larger one"));
  }
  absl::StatusOr<Statement> write = database_.Prepare(
      "INSERT OR REPLACE INTO policies VALUES (?1, ?2, ?3, ?4, ?5)");
  if (!write.ok()) return write.status();
  write->BindText(1, policy.name);
  write->BindText(2, policy.version);
  write->BindInteger(3, static_cast<int64_t>(policy.encoding));
  write->BindText(4, policy.source);
  write->BindInteger(5, absl::ToUnixNanos(policy.applied));
  status = write->Run();
  if (!status.ok()) return status;
  if (!replaced_bytes.has_value()) ++totals.applied;
  totals.applied_bytes = bytes_after;
  return absl::OkStatus();
}

absl::StatusOr<std::optional<uint64_t>> SqlitePolicies::BytesOf(
    absl::string_view name) {
  absl::StatusOr<Statement> find = database_.Prepare(
      "SELECT length(CAST(source AS BLOB)) FROM policies WHERE name = ?1");
  if (!find.ok()) return find.status();
  find->BindText(1, name);
  const absl::StatusOr<bool> row = find->Step();
  if (!row.ok()) return row.status();
  if (!*row) return std::optional<uint64_t>();
  return std::optional<uint64_t>(static_cast<uint64_t>(find->Integer(0)));
}

absl::Status SqlitePolicies::DeleteApplied(absl::string_view name,
                                           Totals& totals) {
  const absl::StatusOr<std::optional<uint64_t>> bytes = BytesOf(name);
  if (!bytes.ok()) return bytes.status();
  if (!bytes->has_value()) return absl::OkStatus();
  absl::StatusOr<Statement> remove =
      database_.Prepare("DELETE FROM policies WHERE name = ?1");
  if (!remove.ok()) return remove.status();
  remove->BindText(1, name);
  const absl::Status status = remove->Run();
  if (!status.ok()) return status;
  --totals.applied;
  totals.applied_bytes -= **bytes;
  return absl::OkStatus();
}

absl::Status SqlitePolicies::PutSwitches(
    const std::vector<PolicySwitchRecord>& switches) {
  absl::Status status = database_.Execute("DELETE FROM policy_switches");
  if (!status.ok()) return status;
  // Of applied policies, and of files.
  if (switches.size() > 2 * limits_.policies) {
    return absl::ResourceExhaustedError(
        absl::StrCat("something would be said of ", switches.size(),
                     " policies beside their texts, at most ",
                     2 * limits_.policies, " are kept"));
  }
  for (const PolicySwitchRecord& record : switches) {
    status = CheckPolicy(record.name, "");
    if (!status.ok()) return status;
    absl::StatusOr<Statement> write = database_.Prepare(
        "INSERT INTO policy_switches VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)");
    if (!write.ok()) return write.status();
    write->BindText(1, record.name);
    write->BindInteger(2, record.inactive ? 1 : 0);
    write->BindInteger(3, record.loaded_in_audit ? 1 : 0);
    write->BindInteger(4, record.audit ? 1 : 0);
    write->BindInteger(5, absl::ToUnixNanos(record.since));
    write->BindText(6, Cut(record.author));
    write->BindText(7, Cut(record.comment));
    status = write->Run();
    if (!status.ok()) return status;
  }
  return absl::OkStatus();
}

absl::Status SqlitePolicies::PutFiles(
    const std::vector<PolicyFileRecord>& files) {
  absl::Status status = database_.Execute("DELETE FROM policy_files");
  if (!status.ok()) return status;
  uint64_t bytes = 0;
  for (const PolicyFileRecord& file : files) {
    status = CheckPolicy(file.file_name, file.source);
    if (!status.ok()) return status;
    bytes += file.source.size();
    if (files.size() > limits_.policies || bytes > limits_.policy_bytes) {
      return absl::ResourceExhaustedError(absl::StrCat(
          files.size(), " policy files of ", bytes, " bytes or more; at most ",
          limits_.policies, " and ", limits_.policy_bytes, " bytes are kept"));
    }
    absl::StatusOr<Statement> write =
        database_.Prepare("INSERT INTO policy_files VALUES (?1, ?2, ?3)");
    if (!write.ok()) return write.status();
    write->BindText(1, file.file_name);
    write->BindText(2, file.source);
    write->BindInteger(3, absl::ToUnixNanos(file.since));
    status = write->Run();
    if (!status.ok()) return status;
  }
  return absl::OkStatus();
}

absl::Status SqlitePolicies::PutHolds(
    const std::vector<PolicyHoldRecord>& holds) {
  absl::Status status = database_.Execute("DELETE FROM policy_holds");
  if (!status.ok()) return status;
  if (holds.size() > limits_.policies) {
    return absl::ResourceExhaustedError(
        absl::StrCat(holds.size(), " policies would be held back, at most ",
                     limits_.policies, " are"));
  }
  for (const PolicyHoldRecord& hold : holds) {
    status = CheckPolicy(hold.name, "");
    if (!status.ok()) return status;
    absl::StatusOr<Statement> write = database_.Prepare(
        "INSERT INTO policy_holds VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)");
    if (!write.ok()) return write.status();
    write->BindText(1, hold.name);
    // SAFETY: any object may be read as char, and the digest outlives Run().
    write->BindBlob(2, absl::string_view(reinterpret_cast<const char*>(
                                             hold.held.bytes().data()),
                                         hold.held.bytes().size()));
    write->BindText(3, hold.held_version);
    write->BindInteger(4, static_cast<int64_t>(hold.number));
    write->BindInteger(5, absl::ToUnixNanos(hold.since));
    write->BindText(6, Cut(hold.author));
    write->BindText(7, Cut(hold.comment));
    status = write->Run();
    if (!status.ok()) return status;
  }
  return absl::OkStatus();
}

absl::Status SqlitePolicies::AddVersion(const PolicyVersionRecord& version,
                                        Totals& totals) {
  absl::Status status = CheckPolicy(version.name, version.source);
  if (!status.ok()) return status;
  uint64_t number = 0;
  {
    absl::StatusOr<Statement> newest = database_.Prepare(
        "SELECT coalesce(max(number), 0) FROM policy_versions "
        "WHERE name = ?1");
    if (!newest.ok()) return newest.status();
    newest->BindText(1, version.name);
    const absl::StatusOr<bool> row = newest->Step();
    if (!row.ok()) return row.status();
    number = static_cast<uint64_t>(newest->Integer(0)) + 1;
  }
  absl::StatusOr<Statement> write = database_.Prepare(
      "INSERT INTO policy_versions "
      "VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)");
  if (!write.ok()) return write.status();
  write->BindText(1, version.name);
  write->BindInteger(2, static_cast<int64_t>(number));
  write->BindText(3, version.version);
  write->BindInteger(4, static_cast<int64_t>(version.encoding));
  write->BindText(5, version.source);
  write->BindInteger(6, absl::ToUnixNanos(version.since));
  write->BindInteger(7, static_cast<int64_t>(version.origin));
  write->BindText(8, Cut(version.file_name));
  write->BindText(9, Cut(version.author));
  write->BindText(10, Cut(version.comment));
  status = write->Run();
  if (!status.ok()) return status;
  ++totals.versions;
  totals.version_bytes += version.source.size();
  while (number > limits_.versions_per_policy) {
    absl::StatusOr<Statement> oldest = database_.Prepare(
        "SELECT number FROM policy_versions WHERE name = ?1 AND number <= ?2 "
        "ORDER BY number LIMIT 1");
    if (!oldest.ok()) return oldest.status();
    oldest->BindText(1, version.name);
    oldest->BindInteger(
        2, static_cast<int64_t>(number - limits_.versions_per_policy));
    const absl::StatusOr<bool> row = oldest->Step();
    if (!row.ok()) return row.status();
    if (!*row) break;
    const uint64_t gone = static_cast<uint64_t>(oldest->Integer(0));
    status = Remove(version.name, gone, totals);
    if (!status.ok()) return status;
  }
  return absl::OkStatus();
}

absl::Status SqlitePolicies::Forget(Totals& totals) {
  while (totals.versions > limits_.versions ||
         totals.version_bytes > limits_.version_bytes) {
    std::string name;
    uint64_t number = 0;
    {
      // The newest of a policy goes only when there is nothing else: it is
      // probably in force.
      absl::StatusOr<Statement> oldest = database_.Prepare(
          "SELECT name, number FROM policy_versions AS v ORDER BY "
          "number = (SELECT max(number) FROM policy_versions AS w "
          "          WHERE w.name = v.name), since_ns, name, number LIMIT 1");
      if (!oldest.ok()) return oldest.status();
      const absl::StatusOr<bool> row = oldest->Step();
      if (!row.ok()) return row.status();
      if (!*row) return absl::OkStatus();
      name = std::string(oldest->Bytes(0));
      number = static_cast<uint64_t>(oldest->Integer(1));
    }
    const absl::Status status = Remove(name, number, totals);
    if (!status.ok()) return status;
  }
  return absl::OkStatus();
}

absl::Status SqlitePolicies::Remove(absl::string_view name, uint64_t number,
                                    Totals& totals) {
  uint64_t bytes = 0;
  {
    absl::StatusOr<Statement> size = database_.Prepare(
        "SELECT length(CAST(source AS BLOB)) FROM policy_versions "
        "WHERE name = ?1 AND number = ?2");
    if (!size.ok()) return size.status();
    size->BindText(1, name);
    size->BindInteger(2, static_cast<int64_t>(number));
    const absl::StatusOr<bool> row = size->Step();
    if (!row.ok()) return row.status();
    if (!*row) return absl::DataLossError("a version is gone by itself");
    bytes = static_cast<uint64_t>(size->Integer(0));
  }
  absl::StatusOr<Statement> remove = database_.Prepare(
      "DELETE FROM policy_versions WHERE name = ?1 AND number = ?2");
  if (!remove.ok()) return remove.status();
  remove->BindText(1, name);
  remove->BindInteger(2, static_cast<int64_t>(number));
  const absl::Status status = remove->Run();
  if (!status.ok()) return status;
  --totals.versions;
  totals.version_bytes -= std::min(bytes, totals.version_bytes);
  return absl::OkStatus();
}

absl::StatusOr<std::vector<PolicyRecord>> SqlitePolicies::ListApplied() {
  absl::StatusOr<Statement> read = database_.Prepare(
      "SELECT name, version, encoding, source, applied_ns FROM policies "
      "ORDER BY name");
  if (!read.ok()) return read.status();
  std::vector<PolicyRecord> policies;
  while (true) {
    const absl::StatusOr<bool> row = read->Step();
    if (!row.ok()) return row.status();
    if (!*row) return policies;
    PolicyRecord& policy = policies.emplace_back();
    policy.name = std::string(read->Bytes(0));
    policy.version = std::string(read->Bytes(1));
    policy.encoding = EncodingOf(read->Integer(2));
    policy.source = std::string(read->Bytes(3));
    policy.applied = absl::FromUnixNanos(read->Integer(4));
  }
}

absl::StatusOr<std::vector<PolicyFileRecord>> SqlitePolicies::ListFiles() {
  absl::StatusOr<Statement> read = database_.Prepare(
      "SELECT file_name, source, since_ns FROM policy_files "
      "ORDER BY file_name");
  if (!read.ok()) return read.status();
  std::vector<PolicyFileRecord> files;
  while (true) {
    const absl::StatusOr<bool> row = read->Step();
    if (!row.ok()) return row.status();
    if (!*row) return files;
    files.push_back({std::string(read->Bytes(0)), std::string(read->Bytes(1)),
                     absl::FromUnixNanos(read->Integer(2))});
  }
}

absl::StatusOr<std::vector<PolicyHoldRecord>> SqlitePolicies::ListHolds() {
  absl::StatusOr<Statement> read = database_.Prepare(
      "SELECT name, held, held_version, number, since_ns, author, comment "
      "FROM policy_holds ORDER BY name");
  if (!read.ok()) return read.status();
  std::vector<PolicyHoldRecord> holds;
  while (true) {
    const absl::StatusOr<bool> row = read->Step();
    if (!row.ok()) return row.status();
    if (!*row) return holds;
    PolicyHoldRecord& hold = holds.emplace_back();
    hold.name = std::string(read->Bytes(0));
    const absl::string_view held = read->Bytes(1);
    std::array<uint8_t, Digest::kBytes> bytes = {};
    if (held.size() != bytes.size()) {
      return absl::DataLossError(
          "the catalogue holds a digest of a wrong size");
    }
    std::transform(held.begin(), held.end(), bytes.begin(),
                   [](char c) { return static_cast<uint8_t>(c); });
    hold.held = Digest(bytes);
    hold.held_version = std::string(read->Bytes(2));
    hold.number = static_cast<uint64_t>(read->Integer(3));
    hold.since = absl::FromUnixNanos(read->Integer(4));
    hold.author = std::string(read->Bytes(5));
    hold.comment = std::string(read->Bytes(6));
  }
}

absl::StatusOr<std::vector<PolicySwitchRecord>> SqlitePolicies::ListSwitches() {
  absl::StatusOr<Statement> read = database_.Prepare(
      "SELECT name, inactive, loaded_in_audit, audit, since_ns, author, "
      "comment FROM policy_switches ORDER BY name");
  if (!read.ok()) return read.status();
  std::vector<PolicySwitchRecord> switches;
  while (true) {
    const absl::StatusOr<bool> row = read->Step();
    if (!row.ok()) return row.status();
    if (!*row) return switches;
    PolicySwitchRecord& record = switches.emplace_back();
    record.name = std::string(read->Bytes(0));
    record.inactive = read->Integer(1) != 0;
    record.loaded_in_audit = read->Integer(2) != 0;
    record.audit = read->Integer(3) != 0;
    record.since = absl::FromUnixNanos(read->Integer(4));
    record.author = std::string(read->Bytes(5));
    record.comment = std::string(read->Bytes(6));
  }
}

absl::StatusOr<std::vector<PolicyVersionRecord>> SqlitePolicies::ListVersions(
    absl::string_view name) {
  absl::StatusOr<Statement> read = database_.Prepare(
      "SELECT number, version, encoding, since_ns, origin, file_name, author, "
      "comment FROM policy_versions WHERE name = ?1 ORDER BY number DESC");
  if (!read.ok()) return read.status();
  read->BindText(1, name);
  std::vector<PolicyVersionRecord> versions;
  while (true) {
    const absl::StatusOr<bool> row = read->Step();
    if (!row.ok()) return row.status();
    if (!*row) return versions;
    PolicyVersionRecord& version = versions.emplace_back();
    version.name = std::string(name);
    version.number = static_cast<uint64_t>(read->Integer(0));
    version.version = std::string(read->Bytes(1));
    version.encoding = EncodingOf(read->Integer(2));
    version.since = absl::FromUnixNanos(read->Integer(3));
    version.origin = static_cast<PolicyOrigin>(
        std::clamp(read->Integer(4), int64_t{0},
                   static_cast<int64_t>(PolicyOrigin::kSurge)));
    version.file_name = std::string(read->Bytes(5));
    version.author = std::string(read->Bytes(6));
    version.comment = std::string(read->Bytes(7));
  }
}

absl::StatusOr<PolicyVersionRecord> SqlitePolicies::GetVersion(
    absl::string_view name, uint64_t number) {
  const absl::StatusOr<std::vector<PolicyVersionRecord>> versions =
      ListVersions(name);
  if (!versions.ok()) return versions.status();
  const auto found = std::find_if(
      versions->begin(), versions->end(),
      [number](const auto& version) { return version.number == number; });
  if (found == versions->end()) {
    return absl::NotFoundError(
        absl::StrCat("no version ", number, " of that policy is kept"));
  }
  PolicyVersionRecord version = *found;
  absl::StatusOr<Statement> read = database_.Prepare(
      "SELECT source FROM policy_versions WHERE name = ?1 AND number = ?2");
  if (!read.ok()) return read.status();
  read->BindText(1, name);
  read->BindInteger(2, static_cast<int64_t>(number));
  const absl::StatusOr<bool> row = read->Step();
  if (!row.ok()) return row.status();
  if (!*row) return absl::DataLossError("a version is gone by itself");
  version.source = std::string(read->Bytes(0));
  return version;
}

}  // namespace callgate::storage
