#include "server/quarantine_book.h"

#include <vector>

#include "absl/strings/str_cat.h"

namespace callgate {
namespace {

std::string SubjectOf(absl::string_view tenant, const storage::Digest& digest) {
  return absl::StrCat(tenant, "/", digest.ToString());
}

// Everything about one module's record, for those who look.
v1::Event AboutModule(const storage::QuarantineRecord& record,
                      v1::EventSeverity severity, absl::string_view action) {
  v1::Event event;
  event.set_kind(v1::EVENT_KIND_LIFECYCLE);
  event.set_severity(severity);
  event.set_tenant(record.tenant);
  event.set_module_digest(record.digest.ToString());
  event.set_action(std::string(action));
  return event;
}

}  // namespace

void QuarantineBook::Put(const storage::QuarantineRecord& record,
                         v1::Event event) {
  const Key key(record.tenant, record.digest);
  {
    const absl::MutexLock lock(&mu_);
    // Before the disk is asked, which may take its time.
    if (unstored_.size() < kUnstoredMax || unstored_.count(key) != 0) {
      if (!unstored_.emplace(key, record).second) return;
    } else {
      lost_some_ = true;
    }
  }
  const absl::MutexLock storing(&storing_);
  const absl::StatusOr<bool> put = catalogue_.PutQuarantine(record);
  if (put.ok()) {
    {
      const absl::MutexLock lock(&mu_);
      unstored_.erase(key);
    }
    if (!*put) return;
    event.set_action("module_quarantined");
    event.set_message(record.reason);
    events_.Publish(std::move(event));
    return;
  }
  event.set_action("module_quarantine_not_stored");
  event.set_message(
      absl::StrCat("in quarantine (", record.reason,
                   "), which a restart would forget as it could not be "
                   "stored, and is tried again: ",
                   std::string(put.status().message())));
  faults_.Report(InternalFault::kQuarantineNotStored,
                 SubjectOf(record.tenant, record.digest), std::move(event));
}

absl::StatusOr<std::optional<storage::QuarantineRecord>> QuarantineBook::Find(
    absl::string_view tenant, const storage::Digest& digest) {
  {
    const absl::MutexLock lock(&mu_);
    const auto found = unstored_.find({std::string(tenant), digest});
    if (found != unstored_.end()) {
      return std::optional<storage::QuarantineRecord>(found->second);
    }
    if (lost_some_) {
      return absl::UnavailableError(
          absl::StrCat("more than ", kUnstoredMax,
                       " quarantines could not be stored, so no module is "
                       "known to be free of one; mend the data directory and "
                       "start the daemon anew"));
    }
  }
  absl::StatusOr<std::optional<storage::QuarantineRecord>> found =
      catalogue_.FindQuarantine(tenant, digest);
  if (found.ok()) {
    faults_.Clear(InternalFault::kQuarantineNotRead, "");
    return found;
  }
  storage::QuarantineRecord about;
  about.tenant = std::string(tenant);
  about.digest = digest;
  v1::Event event = AboutModule(about, v1::EVENT_SEVERITY_CRITICAL,
                                "module_quarantine_not_read");
  event.set_message(
      absl::StrCat("whether modules are in quarantine is not known, so no "
                   "Store is made: ",
                   std::string(found.status().message())));
  faults_.Report(InternalFault::kQuarantineNotRead, "", std::move(event));
  return found.status();
}

void QuarantineBook::RetryUnstored() {
  const absl::MutexLock storing(&storing_);
  std::vector<storage::QuarantineRecord> records;
  {
    const absl::MutexLock lock(&mu_);
    for (const auto& [key, record] : unstored_) records.push_back(record);
  }
  for (const storage::QuarantineRecord& record : records) {
    const absl::StatusOr<bool> put = catalogue_.PutQuarantine(record);
    if (!put.ok()) {
      faults_.Count(InternalFault::kQuarantineNotStored, 1);
      // What one record meets, the others meet, too.
      return;
    }
    {
      const absl::MutexLock lock(&mu_);
      unstored_.erase({record.tenant, record.digest});
    }
    faults_.Clear(InternalFault::kQuarantineNotStored,
                  SubjectOf(record.tenant, record.digest));
    v1::Event event = AboutModule(record, v1::EVENT_SEVERITY_NOTICE,
                                  "module_quarantine_stored");
    event.set_message("its quarantine is stored now");
    events_.Publish(std::move(event));
  }
}

size_t QuarantineBook::unstored() const {
  const absl::MutexLock lock(&mu_);
  return unstored_.size();
}

}  // namespace callgate
