#include "policy/expression/ip_address.h"

#include <arpa/inet.h>

#include <algorithm>
#include <cstring>

#include "absl/status/status.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "policy/quote.h"

namespace callgate::policy::expression {
namespace {

constexpr size_t kMappedPrefix = 12;  // bytes before the IPv4 part

bool IsIpv4(const IpKey& key) {
  for (size_t i = 0; i < 10; ++i) {
    if (key[i] != 0) return false;
  }
  return key[10] == 0xff && key[11] == 0xff;
}

void MapIpv4(const uint8_t* four, IpKey* key) {
  key->fill(0);
  (*key)[10] = (*key)[11] = 0xff;
  std::memcpy(key->data() + kMappedPrefix, four, 4);
}

}  // namespace

std::optional<IpKey> IpKeyFromBytes(absl::string_view bytes) {
  IpKey key;
  if (bytes.size() == 16) {
    std::memcpy(key.data(), bytes.data(), 16);
    return key;
  }
  if (bytes.size() != 4) return std::nullopt;
  uint8_t four[4];
  std::memcpy(four, bytes.data(), 4);
  MapIpv4(four, &key);
  return key;
}

std::optional<IpKey> IpKeyFromText(absl::string_view text) {
  char terminated[INET6_ADDRSTRLEN];
  if (text.empty() || text.size() >= sizeof(terminated)) return std::nullopt;
  // A zero byte would end the text early for the parser, not for us.
  if (text.find('\0') != absl::string_view::npos) return std::nullopt;
  std::memcpy(terminated, text.data(), text.size());
  terminated[text.size()] = '\0';
  IpKey key;
  uint8_t four[4];
  if (inet_pton(AF_INET, terminated, four) == 1) {
    MapIpv4(four, &key);
    return key;
  }
  if (inet_pton(AF_INET6, terminated, key.data()) == 1) return key;
  return std::nullopt;
}

std::string IpText(absl::string_view bytes) {
  const std::optional<IpKey> key = IpKeyFromBytes(bytes);
  if (!key.has_value()) return "?";
  char text[INET6_ADDRSTRLEN];
  const bool v4 = IsIpv4(*key);
  const void* from = v4 ? key->data() + kMappedPrefix : key->data();
  return inet_ntop(v4 ? AF_INET : AF_INET6, from, text, sizeof(text)) == nullptr
             ? "?"
             : text;
}

absl::StatusOr<std::shared_ptr<const CidrList>> CidrList::Create(
    const std::vector<std::string>& items) {
  if (items.size() > kItemsMax) {
    return absl::InvalidArgumentError(absl::StrCat(
        items.size(), " networks; at most ", kItemsMax, " are allowed"));
  }
  auto list = std::make_shared<CidrList>();
  for (const std::string& item : items) {
    const auto bad = [&item](absl::string_view why) {
      return absl::InvalidArgumentError(absl::StrCat(Quote(item), " ", why));
    };
    const size_t slash = item.find('/');
    const absl::string_view text = item;
    const std::optional<IpKey> key = IpKeyFromText(text.substr(0, slash));
    if (!key.has_value()) {
      return bad("is not a network; write for example 10.0.0.0/8 or ::1/128");
    }
    const bool written_as_v4 = text.find(':') == absl::string_view::npos;
    const uint32_t width = written_as_v4 ? 32 : 128;
    uint32_t prefix = width;
    if (slash != std::string::npos) {
      const absl::string_view digits = text.substr(slash + 1);
      if (digits.empty() || digits.size() > 3 ||
          digits.find_first_not_of("0123456789") != absl::string_view::npos ||
          !absl::SimpleAtoi(digits, &prefix) || prefix > width) {
        return bad(absl::StrCat("has no prefix length from 0 to ", width));
      }
    }
    if (written_as_v4) prefix += 96;
    if (!written_as_v4 && IsIpv4(*key) && prefix < 96) {
      return bad("is an IPv4 address with the prefix of an IPv6 network");
    }
    Range range{*key, *key};
    for (uint32_t bit = prefix; bit < 128; ++bit) {
      const auto mask = static_cast<uint8_t>(0x80u >> (bit % 8));
      if ((range.first[bit / 8] & mask) != 0) {
        return bad("has bits set after its prefix");
      }
      range.second[bit / 8] =
          static_cast<uint8_t>(range.second[bit / 8] | mask);
    }
    list->ranges_.push_back(range);
  }
  std::sort(list->ranges_.begin(), list->ranges_.end());
  // Networks nest or are apart, so the first of those that begin together or
  // inside of another covers or is covered.
  std::vector<Range> merged;
  for (const Range& range : list->ranges_) {
    if (!merged.empty() && range.first <= merged.back().second) {
      merged.back().second = std::max(merged.back().second, range.second);
    } else {
      merged.push_back(range);
    }
  }
  list->ranges_ = std::move(merged);
  return std::shared_ptr<const CidrList>(std::move(list));
}

bool CidrList::Contains(const IpKey& address) const {
  const auto after = std::upper_bound(
      ranges_.begin(), ranges_.end(), address,
      [](const IpKey& key, const Range& range) { return key < range.first; });
  return after != ranges_.begin() && address <= std::prev(after)->second;
}

}  // namespace callgate::policy::expression
