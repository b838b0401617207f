#include "server/services/service_parts.h"

#include "server/error_reason.h"

namespace callgate {

absl::Status CheckNotDraining(const ServiceParts& parts) {
  if (!parts.draining.load()) return absl::OkStatus();
  return ErrorWithReason(absl::StatusCode::kUnavailable, reason::kDraining,
                         "the daemon is shutting down; try again when it is "
                         "back");
}

}  // namespace callgate
