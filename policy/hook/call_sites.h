// Tells a stream of calls (anomaly/stream.h) of which call site each host call
// is: the function called, and the functions that led to it, as the host sees
// them on its own stack, where no guest can forge them.
//
// What leads to a call is looked up once and remembered by the words of its
// call chain; then it costs some nanoseconds and no allocation. How many are
// remembered is fixed: a guest with more places than that pays for looking them
// up again.
//
// A site is the same whichever engine runs the guest, at whichever level. Where
// a Store has several instances, functions of equal index in two of them count
// as one.
//
// One thread, the Store's. The stream outlives it.

#ifndef CALLGATE_POLICY_HOOK_CALL_SITES_H_
#define CALLGATE_POLICY_HOOK_CALL_SITES_H_

#include <array>
#include <cstdint>
#include <vector>

#include "policy/anomaly/errno_class.h"
#include "policy/anomaly/stream.h"
#include "runtime/call_hook.h"

namespace callgate::policy {

class CallSites {
 public:
  explicit CallSites(anomaly::Stream& stream)
      : stream_(stream), words_(stream.shape().site_functions) {}

  // At CallingHost.
  uint32_t SiteOf(CallContext& call);

 private:
  static constexpr size_t kRemembered = 512;
  struct Entry {
    std::array<uint64_t, anomaly::kSiteFunctionsMax> words{};
    uint32_t count = 0;
    uint32_t binding = kNoIndex;
    uint32_t site = 0;
  };

  uint32_t LookUp(CallContext& call, const Entry& asked);

  anomaly::Stream& stream_;
  const size_t words_;
  std::vector<Entry> entries_;  // empty before the first call
};

// How a call ended, at ReturningFromHost.
anomaly::ErrnoClass ErrnoClassOf(const CallContext& call);

}  // namespace callgate::policy

#endif  // CALLGATE_POLICY_HOOK_CALL_SITES_H_
