// A trace: what the hooks of some Stores were shown, in one order, with what
// they said to it. Enough to show the same to other rules.
//
// The format
//   magic      the 8 bytes "cgtrace" and the version, 2
//   records    each: length (varint), kind (1 byte), payload, checksum (4
//   bytes)
//
// A record's length counts its kind and payload, and its checksum is FNV-1a of
// those. Numbers are varints as in Protocol Buffers, signed ones in zigzag;
// text and bytes are a length and the bytes. Names that come back (of Stores,
// functions, rules, paths) are strings of a table that grows as they first
// come up. Times are differences to the record before. Files are written
// front to back and may end anywhere: a reader takes what is whole.
//
// What is redacted is not in a trace: its length is, and that it is hidden. Of
// inner functions the parameters are in it, since nothing says what they mean.
//
// Version 1 had no functions of the guest's own, no changes of policies, no
// fuel, and of memory only the caller's. It is not read any more.

#ifndef CALLGATE_POLICY_TRIAL_TRACE_H_
#define CALLGATE_POLICY_TRIAL_TRACE_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "policy/hook/decision.h"
#include "policy/hook/policy_hook.h"
#include "policy/trial/simulated_store.h"
#include "runtime/call_hook.h"

namespace callgate::policy::trial {

inline constexpr char kTraceMagic[] = "cgtrace\x02";
inline constexpr size_t kTraceMagicBytes = 8;

// What a reader takes, and a writer keeps to.
inline constexpr size_t kTraceRecordBytesMax = 2 << 20;
inline constexpr size_t kTraceStringBytesMax = 16 << 10;
inline constexpr size_t kTraceStringsMax = 1 << 20;
inline constexpr size_t kTraceStringsBytesMax = 64 << 20;
inline constexpr size_t kTraceStoresMax = 1 << 20;
inline constexpr size_t kTraceStoresAtOnceMax = 4096;
// Of all Stores at once, imported ones and probed ones together.
inline constexpr size_t kTraceFunctionsMax = 1 << 20;
inline constexpr size_t kTraceNamesMax = 16;     // of one probed function
inline constexpr size_t kTraceLabelsMax = 64;    // of one module
inline constexpr size_t kTraceRangesMax = 4096;  // of one call
inline constexpr size_t kTraceRangeBytesMax = 1 << 20;  // of one call
inline constexpr size_t kTracePathsMax = 64;            // of one call
inline constexpr size_t kTraceMatchesMax = 1024;        // of one decision
inline constexpr uint32_t kTraceDepthMax = 1024;        // calls live in a Store

struct TraceRecord {
  enum class Kind : uint8_t {
    kString = 1,  // readers and writers keep these to themselves
    kStore,       // a Store, before anything of it
    kFunction,    // a function that it has linked
    kBeginCall,   // the host calls the guest
    kEndCall,     // and that call is over
    kEnterHost,   // the guest calls a function
    kLeaveHost,   // and that is over, of the last that was entered and has not
                  // left; not for one that was refused
    kGrowth,
    kStoreGone,      // nothing of this Store follows
    kProbe,          // a function of the guest's own that will be entered
    kEnterFunction,  // and is
    kPolicies,       // other policies judge the Store from here on
  };

  Kind kind = Kind::kStore;
  // Stores are numbered from 0 in the order in which they come up.
  uint32_t store = 0;
  TrialClock at;

  // kStore.
  StoreFacts facts;
  absl::flat_hash_map<std::string, std::string> module_labels;
  // Host calls that it had made when the trace began to see it. If there were
  // any, what its rules remember of them is not in the trace.
  uint64_t calls_before = 0;
  // kStore, kPolicies: "name@version", in force.
  std::vector<std::string> policies;
  // kPolicies: they came between two calls from outside; else with the host
  // call or the growth that follows.
  bool at_once = false;

  // kFunction. Bindings of a Store are numbered from 0 likewise. kProbe,
  // kEnterFunction: so are probed functions, on their own.
  uint32_t binding = 0;
  std::string module;
  std::string name;
  FuncType type;
  std::optional<HostFunctionSpec> spec;
  // kProbe, beside `module` and `type`: every name that it has, the one that
  // rules see first; there is one at least.
  std::vector<std::string> names;
  uint32_t func_index = 0;
  // kEnterFunction.
  SimulatedStore::FunctionCall entry;

  // kBeginCall, kEndCall, kEnterHost.
  uint32_t depth = 0;
  // kBeginCall, kEndCall: whose limits it runs under.
  PolicyHook::Arming arming;
  // kEnterHost. `binding` is the call's.
  SimulatedStore::HostCall call;
  // The hook has refused it, so that it has no leave.
  bool refused = false;
  // kLeaveHost; of an enter those of `call`, and of a function of `entry`.
  StoreGauges gauges;
  // Some parameter is hidden, and 0 here.
  bool hides_parameters = false;

  // kLeaveHost: what the function has written that rules may read.
  std::vector<std::pair<uint64_t, std::string>> writes;
  // kLeaveHost, kEndCall.
  Ending ending = Ending::kNotYet;
  std::optional<TrapCode> trap;
  std::vector<RawValue> results;

  GrowthEvent growth;

  // Of all kinds from kBeginCall to kGrowth, and of kEnterFunction: what the
  // hook said.
  TrialDecision decision;
};

uint32_t TraceChecksum(absl::string_view bytes);

}  // namespace callgate::policy::trial

#endif  // CALLGATE_POLICY_TRIAL_TRACE_H_
