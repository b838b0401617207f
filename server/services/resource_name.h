// Resource names as requests give them: "tenants/{tenant}/modules/{digest}" and
// the like, and the short forms that mean the tenant "default".
//
// Pure functions; any thread. Errors are InvalidArgument BAD_ARGUMENT and say
// what is allowed.

#ifndef CALLGATE_SERVER_SERVICES_RESOURCE_NAME_H_
#define CALLGATE_SERVER_SERVICES_RESOURCE_NAME_H_

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace callgate {

inline constexpr char kDefaultTenant[] = "default";

// Something of a tenant's.
struct TenantResource {
  std::string tenant;
  std::string id;
};

// "tenants/{tenant}", or "" for the default one. A tenant's name is 1 to 63
// lower-case letters, digits and hyphens, and begins with a letter or digit.
absl::StatusOr<std::string> ParseTenant(absl::string_view parent);

// "tenants/{tenant}/{collection}/{id}", or "{id}" alone. The id is not looked
// at, except that it is 1 to 128 bytes without a slash.
absl::StatusOr<TenantResource> ParseTenantResource(absl::string_view collection,
                                                   absl::string_view name);

std::string TenantResourceName(absl::string_view tenant,
                               absl::string_view collection,
                               absl::string_view id);

// A page size as requests give it: 0 is 100, and over 1000 is 1000. Negative
// ones are refused.
absl::StatusOr<size_t> ParsePageSize(int32_t page_size);

}  // namespace callgate

#endif  // CALLGATE_SERVER_SERVICES_RESOURCE_NAME_H_
