// Host functions that need nothing of their caller.

#ifndef CALLGATE_RUNTIME_LEAF_FUNCTION_H_
#define CALLGATE_RUNTIME_LEAF_FUNCTION_H_

#include <memory>

#include "runtime/value.h"

namespace callgate {

// Computes results from arguments: cannot fail, does not wait, calls no guest
// and asks for nothing that a Caller offers. Where the hook wants no event of
// it, an engine may call it without making any of that ready, which is several
// times cheaper. To guests and to hooks it is a host function as any other.
struct LeafFunction {
  // `values` has the arguments when it begins and the results when it returns,
  // in place; there is room for the greater of both. Of a result narrower than
  // 64 bits all 64 are set, as RawValue's makers do.
  using Body = void (*)(const void* data, RawValue* values);

  Body body = nullptr;
  // Kept for as long as the function.
  std::shared_ptr<const void> data = nullptr;
};

}  // namespace callgate

#endif  // CALLGATE_RUNTIME_LEAF_FUNCTION_H_
