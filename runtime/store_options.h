// What is chosen when a Store is made, and stays.

#ifndef CALLGATE_RUNTIME_STORE_OPTIONS_H_
#define CALLGATE_RUNTIME_STORE_OPTIONS_H_

#include "runtime/limits.h"

namespace callgate {

struct StoreOptions {
  Limits limits;
  // May be null; must outlive the Store.
  ResourceLimiter* limiter = nullptr;

  // Give every NaN that an operator makes the same bits: the positive quiet one
  // without a payload. Without, they are what the processor makes of the
  // operands, as the specification allows: a payload may come through, and
  // floating point is faster. NaNs that are only moved (loads, constants,
  // arguments, neg, abs, copysign) keep their bits in both.
  //
  // The native engine's: each way is code of its own. That of canonical NaNs is
  // compiled with the Module. The other is compiled by the first instantiation
  // of the module in a Store that wants it, which takes as long as compiling
  // the module did and counts against the same account (Module::Compile), not
  // against the instantiation's budget. It fails with the compiler's status,
  // and another instantiation tries again. All Stores share what was made,
  // which stays for as long as the Module does: a module has the code of two at
  // most, each within the engine's bound of one.
  //
  // The reference engine has one interpreter, and gives the same bits whatever
  // is chosen here.
  bool canonical_nans = true;
};

}  // namespace callgate

#endif  // CALLGATE_RUNTIME_STORE_OPTIONS_H_
