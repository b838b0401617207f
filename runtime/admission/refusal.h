// Why a module was not admitted.

#ifndef CALLGATE_RUNTIME_ADMISSION_REFUSAL_H_
#define CALLGATE_RUNTIME_ADMISSION_REFUSAL_H_

#include <cstdint>
#include <string>

namespace callgate::admission {

struct Refusal {
  enum class Kind : uint8_t {
    kMalformed,           // no conforming engine accepts it
    kOverLimit,           // a larger limit would admit it as far as was read
    kUnsupportedFeature,  // of a proposal that is off or not implemented
  };

  Kind kind = Kind::kMalformed;
  // kOverLimit only: its name in AllLimits(), the module's value, the limit's.
  // Where counting on would cost work, the value is the first one too many.
  std::string limit;
  uint64_t value = 0;
  uint64_t max = 0;
  // From the module's first byte, to what is refused.
  uint64_t offset = 0;
  // A sentence without capital or full stop, ready to follow a prefix; names
  // from the module are escaped. "the module has 20001 functions at byte 23,
  // more than the maximum of 20000; to admit it raise
  // budgets.module.functions".
  std::string message;
};

}  // namespace callgate::admission

#endif  // CALLGATE_RUNTIME_ADMISSION_REFUSAL_H_
