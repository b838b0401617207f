// What one policy has made of imports, for all Stores that it judges.
//
// Making the programs for an import takes much longer than linking it, and a
// tenant's Stores import the same functions again and again, as do most modules
// of all tenants. What is made depends on the policy and on what the import is:
// its name, its type, and what the host's author says of it; so that is the
// key, and two modules share what they have in common.
//
// Modules are a stranger's, and there are as many imports as he likes to write:
// entries and bytes are bounded, and the entry that was used longest ago goes
// first. One of more than a sixteenth of all bytes is not kept. What was
// given out lives on with whoever has it.
//
// Any thread; entries are immutable.

#ifndef CALLGATE_POLICY_SPECIALISATION_CACHE_H_
#define CALLGATE_POLICY_SPECIALISATION_CACHE_H_

#include <cstddef>
#include <list>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/string_view.h"
#include "policy/file/problem.h"
#include "policy/policy.h"
#include "policy/specialised_import.h"

namespace callgate::policy {

// What a policy makes of an import, and what does not fit: the first is
// incomplete then. Must not outlive the policy.
struct Specialisation {
  SpecialisedImport import;
  std::vector<Problem> problems;
};

class SpecialisationCache {
 public:
  static constexpr size_t kEntriesMax = 512;
  static constexpr size_t kBytesMax = 4 << 20;
  explicit SpecialisationCache(size_t entries_max = kEntriesMax,
                               size_t bytes_max = kBytesMax)
      : entries_max_(entries_max), bytes_max_(bytes_max) {}
  SpecialisationCache(const SpecialisationCache&) = delete;
  SpecialisationCache& operator=(const SpecialisationCache&) = delete;

  // Everything about the import that a specialisation depends on.
  static std::string KeyOf(const LinkedImport& import);

  // Null if there is none.
  std::shared_ptr<const Specialisation> Find(absl::string_view key);
  // Keeps it, if it fits. What is there already stays, and is returned.
  std::shared_ptr<const Specialisation> Add(
      std::string key, std::shared_ptr<const Specialisation> made);

  size_t entries() const;
  // About what all of them take.
  size_t bytes() const;

 private:
  struct Entry {
    std::string key;
    std::shared_ptr<const Specialisation> value;
    size_t bytes = 0;
  };

  const size_t entries_max_;
  const size_t bytes_max_;
  mutable std::mutex mu_;
  // Guarded by mu_: the one used last first, and where it is by its key.
  std::list<Entry> entries_;
  absl::flat_hash_map<absl::string_view, std::list<Entry>::iterator> by_key_;
  size_t bytes_ = 0;
};

}  // namespace callgate::policy

#endif  // CALLGATE_POLICY_SPECIALISATION_CACHE_H_
