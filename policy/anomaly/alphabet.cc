#include "policy/anomaly/alphabet.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "policy/anomaly/errno_class.h"

namespace callgate::policy::anomaly {

uint32_t Alphabet::AddImport(absl::string_view module, absl::string_view name) {
  const uint32_t known = FindImport(module, name);
  if (known != kNone) return known;
  if (imports_.size() >= kImportsMax || module.size() > kImportNameBytesMax ||
      name.size() > kImportNameBytesMax) {
    return kNone;
  }
  const auto number = static_cast<uint32_t>(imports_.size());
  imports_.push_back({std::string(module), std::string(name)});
  import_of_.emplace(imports_.back(), number);
  return number;
}

uint32_t Alphabet::AddSite(absl::Span<const uint32_t> functions) {
  if (functions.size() > kSiteFunctionsMax) return kNone;
  SiteKey site(functions.begin(), functions.end());
  const auto [at, is_new] =
      site_of_.try_emplace(site, static_cast<uint32_t>(sites_.size()));
  if (!is_new) return at->second;
  if (sites_.size() >= kSitesMax) {
    site_of_.erase(at);
    return kNone;
  }
  sites_.push_back(std::move(site));
  return at->second;
}

uint16_t Alphabet::AddLetter(const LetterKey& key) {
  if (key.import >= imports_.size() || key.site >= sites_.size()) {
    return kUnknownLetter;
  }
  const uint16_t known = FindLetter(key);
  if (known != kUnknownLetter || letters_.size() >= letters_end_) return known;
  const auto number = static_cast<uint16_t>(letters_.size());
  letters_.push_back(key);
  letter_of_.emplace(Packed(key), number);
  return number;
}

uint32_t Alphabet::FindImport(absl::string_view module,
                              absl::string_view name) const {
  const auto at =
      import_of_.find(ImportName{std::string(module), std::string(name)});
  return at == import_of_.end() ? kNone : at->second;
}

uint32_t Alphabet::FindSite(absl::Span<const uint32_t> functions) const {
  const auto at = site_of_.find(SiteKey(functions.begin(), functions.end()));
  return at == site_of_.end() ? kNone : at->second;
}

uint16_t Alphabet::FindLetter(const LetterKey& key) const {
  if (key.import == kNone || key.site == kNone) return kUnknownLetter;
  const auto at = letter_of_.find(Packed(key));
  return at == letter_of_.end() ? kUnknownLetter : at->second;
}

std::string Alphabet::Describe(uint16_t letter) const {
  if (letter == kBeginLetter) return "begin";
  if (letter < kFirstLetter || letter >= letters_.size()) return "unknown";
  const LetterKey& key = letters_[letter];
  const ImportName& import = imports_[key.import];
  const SiteKey& site = sites_[key.site];
  return absl::StrCat(FormatImportName(import.module, import.name),
                      site.empty() ? "" : "@", absl::StrJoin(site, "<"), ":",
                      ErrnoClassName(key.errno_class));
}

}  // namespace callgate::policy::anomaly
