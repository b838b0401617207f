// The fixture of tests that run on every engine: an engine, a journal and a
// watched Store on it.

#ifndef CALLGATE_TESTS_CONFORMANCE_CALL_HOOK_ON_EVERY_ENGINE_H_
#define CALLGATE_TESTS_CONFORMANCE_CALL_HOOK_ON_EVERY_ENGINE_H_

#include <gtest/gtest.h>

#include <memory>
#include <string>

#include "tests/conformance/call_hook/engines.h"
#include "tests/conformance/call_hook/journal.h"
#include "tests/conformance/call_hook/watched_store.h"

namespace callgate {

class OnEveryEngine : public testing::TestWithParam<EngineUnderTest> {
 protected:
  OnEveryEngine() : engine_(GetParam().make()), guest_(*engine_, journal_) {}

  // What every test wants at its end: no broken invariant, nothing left open.
  void TearDown() override {
    EXPECT_EQ(journal_.violations(), "");
    EXPECT_EQ(guest_.hook().open(), 0u);
    EXPECT_EQ(guest_.store().depth(), 0u);
  }

  const std::unique_ptr<Engine> engine_;
  Journal journal_;
  WatchedStore guest_;
};

inline std::string EngineName(
    const testing::TestParamInfo<EngineUnderTest>& engine) {
  return engine.param.name;
}

}  // namespace callgate

#endif  // CALLGATE_TESTS_CONFORMANCE_CALL_HOOK_ON_EVERY_ENGINE_H_
