#include "server/services/upload_slots.h"

#include "absl/strings/str_cat.h"
#include "runtime/check.h"
#include "server/error_reason.h"

namespace callgate {

absl::Status UploadSlots::Begin() {
  const absl::MutexLock lock(&mu_);
  if (all_ >= max_) {
    return ErrorWithReason(
        absl::StatusCode::kResourceExhausted, reason::kTooManyUploads,
        absl::StrCat(max_,
                     " uploads are under way, the maximum; try again later"));
  }
  ++all_;
  return absl::OkStatus();
}

absl::Status UploadSlots::Assign(absl::string_view tenant) {
  const absl::MutexLock lock(&mu_);
  const auto found = of_tenant_.find(std::string(tenant));
  const size_t has = found == of_tenant_.end() ? 0 : found->second;
  // This one has a place already, but is not the tenant's yet. Who has none
  // may have the last.
  const size_t free = max_ - all_;
  if (has > free) {
    return ErrorWithReason(
        absl::StatusCode::kResourceExhausted, reason::kTooManyUploads,
        absl::StrCat("tenant ", tenant, " has ", has,
                     " uploads under way, where ", free, " of ", max_,
                     " are left for all others; wait for one to end"));
  }
  ++of_tenant_[std::string(tenant)];
  return absl::OkStatus();
}

void UploadSlots::End(absl::string_view tenant) {
  const absl::MutexLock lock(&mu_);
  CALLGATE_CHECK(all_ > 0, "what ends has begun");
  --all_;
  if (tenant.empty()) return;
  const auto found = of_tenant_.find(std::string(tenant));
  CALLGATE_CHECK(found != of_tenant_.end(), "what ends has been assigned");
  if (--found->second == 0) of_tenant_.erase(found);
}

}  // namespace callgate
