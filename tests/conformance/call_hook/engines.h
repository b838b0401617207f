// The engines that the conformance rows run on. A new engine joins by one entry
// in engines.cc; the rows do not change.

#ifndef CALLGATE_TESTS_CONFORMANCE_CALL_HOOK_ENGINES_H_
#define CALLGATE_TESTS_CONFORMANCE_CALL_HOOK_ENGINES_H_

#include <functional>
#include <memory>
#include <ostream>
#include <string>
#include <vector>

#include "runtime/engine.h"

namespace callgate {

struct EngineUnderTest {
  std::string name;
  // With tail calls and exceptions on, which some rows need, and all else as by
  // default.
  std::function<std::unique_ptr<Engine>()> make;
};

std::vector<EngineUnderTest> EnginesUnderTest();

// For gtest's messages.
void PrintTo(const EngineUnderTest& engine, std::ostream* out);

}  // namespace callgate

#endif  // CALLGATE_TESTS_CONFORMANCE_CALL_HOOK_ENGINES_H_
