#include "policy/file/nearest_name.h"

#include <algorithm>
#include <cstddef>
#include <numeric>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace callgate::policy {
namespace {

// Longer words are no typing errors.
constexpr size_t kWordBytesMax = 40;

// How many characters to insert, remove or replace.
size_t EditDistance(absl::string_view a, absl::string_view b) {
  std::vector<size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), size_t{0});
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diagonal = row[0];
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t replace = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
      diagonal = row[j];
      row[j] = std::min({replace, row[j] + 1, row[j - 1] + 1});
    }
  }
  return row[b.size()];
}

}  // namespace

absl::string_view NearestName(absl::string_view found,
                              const std::vector<std::string>& allowed) {
  if (found.empty() || found.size() > kWordBytesMax) return {};
  absl::string_view best;
  // A third of the word may be wrong.
  size_t best_distance = found.size() / 3 + 1;
  for (const std::string& name : allowed) {
    if (name.size() > kWordBytesMax) continue;
    const size_t distance = EditDistance(found, name);
    if (distance < best_distance ||
        (distance == best_distance && best.empty() && found.size() >= 3)) {
      best = name;
      best_distance = distance;
    }
  }
  return best;
}

std::string SuggestName(absl::string_view found,
                        const std::vector<std::string>& allowed) {
  const absl::string_view nearest = NearestName(found, allowed);
  const std::string list = absl::StrJoin(allowed, ", ");
  if (nearest.empty()) return absl::StrCat("; allowed here: ", list);
  return absl::StrCat("; did you mean ", nearest, "? Allowed here: ", list);
}

}  // namespace callgate::policy
