// Letters, by number, and what they stand for. Append only, in bounds; whoever
// holds one sees to threads.

#ifndef CALLGATE_POLICY_ANOMALY_ALPHABET_H_
#define CALLGATE_POLICY_ANOMALY_ALPHABET_H_

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "policy/anomaly/shape.h"
#include "policy/import_name.h"

namespace callgate::policy::anomaly {

inline constexpr uint32_t kImportsMax = 1000;
inline constexpr uint32_t kSitesMax = 8192;
inline constexpr size_t kImportNameBytesMax = 1024;  // of each of the two
// In place of a number.
inline constexpr uint32_t kNone = ~uint32_t{0};

// The functions that led to a call, by index, the caller first.
using SiteKey = std::vector<uint32_t>;

struct LetterKey {
  uint32_t import = 0;  // number of an import
  uint32_t site = 0;    // number of a site
  ErrnoClass errno_class = ErrnoClass::kPending;
};

class Alphabet {
 public:
  explicit Alphabet(const Shape& shape)
      : letters_end_(shape.letters_end()), letters_(kFirstLetter) {}

  // The number of one that is there already, or of a new one; kNone when there
  // is no room, or it is out of bounds.
  uint32_t AddImport(absl::string_view module, absl::string_view name);
  uint32_t AddSite(absl::Span<const uint32_t> functions);
  // kUnknownLetter when there is no room.
  uint16_t AddLetter(const LetterKey& key);

  uint32_t FindImport(absl::string_view module, absl::string_view name) const;
  uint32_t FindSite(absl::Span<const uint32_t> functions) const;
  uint16_t FindLetter(const LetterKey& key) const;

  const std::vector<ImportName>& imports() const { return imports_; }
  const std::vector<SiteKey>& sites() const { return sites_; }
  // The first two stand for no letter.
  const std::vector<LetterKey>& letters() const { return letters_; }

  // "wasi_snapshot_preview1.fd_write@3<17<2:ok", escaped; "begin" and "unknown"
  // for the first two.
  std::string Describe(uint16_t letter) const;

 private:
  static uint64_t Packed(const LetterKey& key) {
    return uint64_t{key.import} << 32 | uint64_t{key.site} << 8 |
           static_cast<uint64_t>(key.errno_class);
  }

  uint32_t letters_end_;
  std::vector<ImportName> imports_;
  std::vector<SiteKey> sites_;
  std::vector<LetterKey> letters_;
  absl::flat_hash_map<ImportName, uint32_t> import_of_;
  absl::flat_hash_map<SiteKey, uint32_t> site_of_;
  absl::flat_hash_map<uint64_t, uint16_t> letter_of_;
};

}  // namespace callgate::policy::anomaly

#endif  // CALLGATE_POLICY_ANOMALY_ALPHABET_H_
