// The engine as programs use it, with the program that compiles.

#include "runtime/native/hosted_engine.h"

#include <cstdint>
#include <cstdlib>
#include <memory>
#include <string>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "runtime/linker.h"
#include "runtime/module.h"
#include "runtime/native/cache/cache_testing.h"
#include "runtime/store.h"
#include "tests/support/wat.h"

namespace callgate {
namespace {

std::unique_ptr<HostedEngine> Start(const std::string& cache_folder,
                                    native::Level level) {
  HostedEngineOptions options;
  options.level = level;
  options.optimise_in_background = false;
  options.cache_folder = cache_folder;
  options.service.worker_path = absl::StrCat(
      std::getenv("TEST_SRCDIR"), "/", std::getenv("TEST_WORKSPACE"),
      "/runtime/native/compiler/callgate-compile");
  auto hosted = HostedEngine::Start(std::move(options));
  EXPECT_TRUE(hosted.ok()) << hosted.status();
  return *std::move(hosted);
}

uint32_t AddToNan(const std::shared_ptr<const Module>& module,
                  bool canonical_nans) {
  StoreOptions options;
  options.canonical_nans = canonical_nans;
  Store store(module->engine(), options);
  const auto made = Linker().Instantiate(store, module, "guest");
  EXPECT_TRUE(made.ok()) << made.status();
  const auto result = made->instance->GetFunc("add")->Call(
      {Value::I32(uint32_t{0x7fc00123})}, {});
  EXPECT_TRUE(result.ok()) << result.status();
  return result->values[0].raw().u32();
}

TEST(HostedEngineTest, KeepsBothWaysOfNansInTheCache) {
  const auto bytes = AssembleWat(R"((module
    (global $one (mut f32) (f32.const 1))
    (func (export "add") (param i32) (result i32)
      (i32.reinterpret_f32
        (f32.add (f32.reinterpret_i32 (local.get 0)) (global.get $one))))))");
  ASSERT_TRUE(bytes.ok()) << bytes.status();
  for (const native::Level level :
       {native::Level::kBaseline, native::Level::kOptimised}) {
    const std::string folder = native::NewCacheFolder();
    for (const bool again : {false, true}) {
      const std::unique_ptr<HostedEngine> hosted = Start(folder, level);
      const auto module = Module::Compile(hosted->engine(), *bytes);
      ASSERT_TRUE(module.ok()) << module.status();
      EXPECT_EQ(AddToNan(*module, true), 0x7fc00000u);
      EXPECT_EQ(hosted->stats().cache.entries, again ? 2u : 1u);
      EXPECT_EQ(AddToNan(*module, false), 0x7fc00123u);
      EXPECT_EQ(AddToNan(*module, true), 0x7fc00000u);
      EXPECT_EQ(hosted->stats().cache.entries, 2u);
      EXPECT_EQ(hosted->stats().cache.hits, again ? 2u : 0u);
      EXPECT_EQ(hosted->stats().compiler.compiles, again ? 0u : 2u);
    }
  }
}

}  // namespace
}  // namespace callgate
