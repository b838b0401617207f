// Addresses of IPv4 and IPv6 and networks of them.
//
// ::ffff:a.b.c.d is a.b.c.d everywhere here: to the operating system it is the
// same host, so a rule about 10.0.0.0/8 must see it.

#ifndef CALLGATE_POLICY_EXPRESSION_IP_ADDRESS_H_
#define CALLGATE_POLICY_EXPRESSION_IP_ADDRESS_H_

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace callgate::policy::expression {

// Sixteen bytes in network order; IPv4 as ::ffff:a.b.c.d.
using IpKey = std::array<uint8_t, 16>;

// From four or sixteen bytes; nothing for another length.
std::optional<IpKey> IpKeyFromBytes(absl::string_view bytes);
// From "10.0.0.1", "::1". No zone, no port, no brackets.
std::optional<IpKey> IpKeyFromText(absl::string_view text);
// Four bytes or sixteen, as text; "?" for another length.
std::string IpText(absl::string_view bytes);

// Networks, for "is this address in one of them". Immutable; any thread.
class CidrList {
 public:
  static constexpr size_t kItemsMax = 65'536;

  // Items such as "10.0.0.0/8", "::1/128", or one address. InvalidArgument
  // names the item: bits that the mask would hide, and IPv4-mapped networks
  // wider than IPv4, are refused.
  static absl::StatusOr<std::shared_ptr<const CidrList>> Create(
      const std::vector<std::string>& items);

  bool Contains(const IpKey& address) const;
  size_t size() const { return ranges_.size(); }

 private:
  // First and last address, merged and sorted.
  using Range = std::pair<IpKey, IpKey>;
  std::vector<Range> ranges_;
};

}  // namespace callgate::policy::expression

#endif  // CALLGATE_POLICY_EXPRESSION_IP_ADDRESS_H_
