#include "server/services/resource_name.h"

#include <algorithm>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "server/error_reason.h"
#include "server/events/escape.h"

namespace callgate {
namespace {

absl::Status BadName(absl::string_view what, absl::string_view found,
                     absl::string_view allowed) {
  return ErrorWithReason(
      absl::StatusCode::kInvalidArgument, reason::kBadArgument,
      absl::StrCat(what, " \"", events::EscapeText(found, 256),
                   "\" is not a name; write ", allowed));
}

bool IsTenant(absl::string_view name) {
  if (name.empty() || name.size() > 63 || name[0] == '-') return false;
  return std::all_of(name.begin(), name.end(), [](char c) {
    return absl::ascii_islower(static_cast<unsigned char>(c)) ||
           absl::ascii_isdigit(static_cast<unsigned char>(c)) || c == '-';
  });
}

}  // namespace

absl::StatusOr<std::string> ParseTenant(absl::string_view parent) {
  if (parent.empty()) return std::string(kDefaultTenant);
  const std::vector<absl::string_view> parts = absl::StrSplit(parent, '/');
  if (parts.size() != 2 || parts[0] != "tenants" || !IsTenant(parts[1])) {
    return BadName("parent", parent,
                   "tenants/{tenant} with lower-case letters, digits and "
                   "hyphens, or leave it empty");
  }
  return std::string(parts[1]);
}

absl::StatusOr<TenantResource> ParseTenantResource(absl::string_view collection,
                                                   absl::string_view name) {
  TenantResource resource;
  const std::vector<absl::string_view> parts =
      absl::StrSplit(name, absl::MaxSplits('/', 4));
  if (parts.size() == 1) {
    resource.tenant = kDefaultTenant;
    resource.id = std::string(parts[0]);
  } else if (parts.size() == 4 && parts[0] == "tenants" && IsTenant(parts[1]) &&
             parts[2] == collection) {
    resource.tenant = std::string(parts[1]);
    resource.id = std::string(parts[3]);
  }
  if (resource.id.empty() || resource.id.size() > 128) {
    return BadName("name", name,
                   absl::StrCat("tenants/{tenant}/", collection, "/{id}"));
  }
  return resource;
}

std::string TenantResourceName(absl::string_view tenant,
                               absl::string_view collection,
                               absl::string_view id) {
  return absl::StrCat("tenants/", tenant, "/", collection, "/", id);
}

absl::StatusOr<size_t> ParsePageSize(int32_t page_size) {
  if (page_size < 0) {
    return ErrorWithReason(
        absl::StatusCode::kInvalidArgument, reason::kBadArgument,
        absl::StrCat("page_size ", page_size,
                     " is negative; write 1 to 1000, or 0 for 100"));
  }
  if (page_size == 0) return size_t{100};
  return static_cast<size_t>(std::min(page_size, 1000));
}

}  // namespace callgate
