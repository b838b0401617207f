// What a model of call streams is made of: which parts of a call are a letter,
// and how many letters make an n-gram. Profiles of one module with different
// shapes are different profiles.
//
// A stream is the host calls of one Store in their order. The letter of a call
// is (import, call site, errno class). When a call is about to happen its errno
// class is not known yet, and the judgement must come before the effect; so an
// n-gram is the letters of the n-1 calls before, with how they ended, and the
// present call's letter with the class kPending. What a call came to is seen
// when the next one is judged.
//
// Before the first call of a Store there are n-1 letters kBegin: how a program
// starts is part of its shape.
//
// Letters are numbered densely, and an n-gram is its letters side by side in 64
// bits: exact, not a hash. That bounds the letters of a profile by the length
// of its n-grams.

#ifndef CALLGATE_POLICY_ANOMALY_SHAPE_H_
#define CALLGATE_POLICY_ANOMALY_SHAPE_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>

namespace callgate::policy::anomaly {

// What a call came to, as far as a letter says it.
enum class ErrnoClass : uint8_t {
  kPending,  // it has not ended, or nobody was told how
  kOk,       // errno 0, or a function without an errno
  kAgain,    // not now
  kAbsent,   // what was named is not there, or is something else
  kDenied,   // not allowed
  kInvalid,  // the call was wrong in itself
  kFailed,   // any other errno
  kStopped,  // no result: a trap, an error, or the guest's own exit
};
inline constexpr size_t kErrnoClasses = 8;

// Numbers of letters that stand for none.
inline constexpr uint16_t kUnknownLetter = 0;  // not in the profile
inline constexpr uint16_t kBeginLetter = 1;
inline constexpr uint16_t kFirstLetter = 2;

inline constexpr uint32_t kNgramMin = 2;
inline constexpr uint32_t kNgramMax = 8;
// Functions of a call site.
inline constexpr uint32_t kSiteFunctionsMax = 8;
// Calls of a locality frame.
inline constexpr uint32_t kFrameMax = 63;
// The longer frame that a drip shows in.
inline constexpr uint32_t kRecentCalls = 1024;

struct Shape {
  uint32_t ngram = 6;
  // How many of the functions that led to the call make its site, the caller
  // first. 0: sites are no part of a letter.
  uint32_t site_functions = 4;
  // Whether the errno class is part of a letter.
  bool errnos = true;
  // The weight of one call in the shares of imports, in 1/65536; 0: there are
  // no shares.
  uint32_t share_weight = 0;

  // Bits of one letter.
  uint32_t letter_bits() const { return std::min(16u, 64u / ngram); }
  // Numbers of letters are below this.
  uint32_t letters_end() const { return 1u << letter_bits(); }
  uint64_t key_mask() const {
    const uint32_t bits = letter_bits() * ngram;
    return bits == 64 ? ~uint64_t{0} : (uint64_t{1} << bits) - 1;
  }

  bool IsValid() const {
    return ngram >= kNgramMin && ngram <= kNgramMax &&
           site_functions <= kSiteFunctionsMax && share_weight < 65536;
  }
  friend bool operator==(const Shape& a, const Shape& b) {
    return a.ngram == b.ngram && a.site_functions == b.site_functions &&
           a.errnos == b.errnos && a.share_weight == b.share_weight;
  }
  friend bool operator!=(const Shape& a, const Shape& b) { return !(a == b); }
};

}  // namespace callgate::policy::anomaly

#endif  // CALLGATE_POLICY_ANOMALY_SHAPE_H_
