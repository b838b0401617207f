// Hashes of values with a key that guests do not know: what states are found by
// (a rate limit's key, say) and what different values are told apart by.
//
// SipHash-2-4 (Aumasson and Bernstein) over 64-bit words. Who does not have the
// key can choose no two values that fall together; that two of n do by chance
// has a probability of n^2 / 2^65.

#ifndef CALLGATE_POLICY_STATE_FINGERPRINT_H_
#define CALLGATE_POLICY_STATE_FINGERPRINT_H_

#include <cstdint>

#include "absl/strings/string_view.h"
#include "policy/expression/value.h"

namespace callgate::policy {

struct FingerprintKey {
  uint64_t k0 = 0;
  uint64_t k1 = 0;
  // From the system's random numbers.
  static FingerprintKey Random();
};

// One hash in the making. Cheap to make and to copy.
class Fingerprint {
 public:
  explicit Fingerprint(const FingerprintKey& key);

  void AddWord(uint64_t word);
  // With its length, so that what follows cannot be taken for a part of it.
  void AddText(absl::string_view text);
  // Kind and contents; of an error that it is one. Not of a lazy fact.
  void Add(const expression::Value& value);

  uint64_t Finish() const;

 private:
  uint64_t v0_, v1_, v2_, v3_;
  uint64_t words_ = 0;
};

}  // namespace callgate::policy

#endif  // CALLGATE_POLICY_STATE_FINGERPRINT_H_
