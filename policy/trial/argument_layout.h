// Arguments as people write them, laid out as a guest would hand them over:
// numbers in parameters, bytes in a memory.

#ifndef CALLGATE_POLICY_TRIAL_ARGUMENT_LAYOUT_H_
#define CALLGATE_POLICY_TRIAL_ARGUMENT_LAYOUT_H_

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/types/span.h"
#include "policy/trial/simulated_store.h"
#include "runtime/host_function_spec.h"
#include "runtime/value.h"

namespace callgate::policy::trial {

// Bytes that the arguments of one call may stand for, all together.
inline constexpr uint64_t kArgumentBytesMax = 16 << 20;

// What a test says of a call's arguments, by name.
struct WrittenArguments {
  std::map<std::string, std::string> values;
  std::map<std::string, std::string> sizes;
  std::vector<std::string> outside;
  // What the function writes.
  std::map<std::string, std::string> results;
};

// Where in WrittenArguments something is wrong.
struct LayoutProblem {
  enum class Part : uint8_t { kValue, kSize, kOutside, kResult };
  Part part = Part::kValue;
  std::string name;  // the key; of kOutside the index
  std::string message;
};

// Fills in the arguments, memory and paths of `call`. `specs` fit `type`:
// ResolveArgument made them, or the host's author. Empty: all is well.
std::vector<LayoutProblem> LayOutArguments(const FuncType& type,
                                           absl::Span<const ArgSpec> specs,
                                           const WrittenArguments& written,
                                           SimulatedStore::HostCall* call);

}  // namespace callgate::policy::trial

#endif  // CALLGATE_POLICY_TRIAL_ARGUMENT_LAYOUT_H_
