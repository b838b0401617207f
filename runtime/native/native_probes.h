// What compiled code calls when a probed function is entered and left.
//
// A mapping of a module's code in which functions are probed belongs to no
// Store: a ProbeContext says only which of the probed functions it is, and
// whose call it is follows from the callee's context. So all Stores with the
// same selection share one mapping, and those without any share another, which
// has no trace of probes.

#ifndef CALLGATE_RUNTIME_NATIVE_NATIVE_PROBES_H_
#define CALLGATE_RUNTIME_NATIVE_NATIVE_PROBES_H_

#include <cstdint>

#include "runtime/native/abi.h"

namespace callgate::native {

// The `number`th of the probed functions; `code` is left to whoever loads it.
ProbeContext NewProbeContext(uint32_t number);

}  // namespace callgate::native

#endif  // CALLGATE_RUNTIME_NATIVE_NATIVE_PROBES_H_
