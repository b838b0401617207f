// What happens inside a guest that rules can be about, beside its calls of the
// host.

#ifndef CALLGATE_POLICY_INNER_EVENT_H_
#define CALLGATE_POLICY_INNER_EVENT_H_

#include <cstdint>

#include "absl/strings/string_view.h"

namespace callgate::policy {

enum class InnerEvent : uint8_t { kMemoryGrow, kTableGrow, kFunction };
// "memory_grow".
absl::string_view InnerEventName(InnerEvent event);
constexpr bool IsGrowth(InnerEvent e) { return e != InnerEvent::kFunction; }

}  // namespace callgate::policy

#endif  // CALLGATE_POLICY_INNER_EVENT_H_
