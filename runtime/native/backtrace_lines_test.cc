// The lines of a C program in the backtraces of its traps, at both levels.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <fstream>
#include <iterator>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "runtime/linker.h"
#include "runtime/module.h"
#include "runtime/native/compiled_module.pb.h"
#include "runtime/native/compiler/compiler.h"
#include "runtime/native/native_engine.h"
#include "runtime/store.h"
#include "tests/support/native_engine.h"

namespace callgate {
namespace {

using native::CompileRequest;
using native::Level;
using ::testing::HasSubstr;

using Bytes = std::vector<uint8_t>;

Bytes ReadModule(const std::string& name) {
  std::ifstream file(absl::StrCat("runtime/native/", name, ".wasm"),
                     std::ios::binary);
  EXPECT_TRUE(file.good()) << name;
  return Bytes(std::istreambuf_iterator<char>(file), {});
}

std::unique_ptr<Engine> EngineOf(Level level) {
  CompileRequest request;
  request.level = level;
  return NewInProcessNativeEngine(EngineOptions(), request);
}

// Calls the export in a Store of its own and returns the trap's frames, each
// as "function file:line:column", without the folder.
std::vector<std::string> FramesOf(const Module& module,
                                  const std::string& function,
                                  const std::vector<Value>& args,
                                  std::string* message = nullptr) {
  Store store(module.engine(), Limits());
  std::vector<std::string> frames;
  const std::shared_ptr<const Module> alias(&module, [](const Module*) {});
  auto made = Linker().Instantiate(store, alias, "guest");
  EXPECT_TRUE(made.ok()) << made.status();
  if (!made.ok()) return frames;
  const auto func = made->instance->GetFunc(function);
  EXPECT_TRUE(func.ok()) << func.status();
  if (!func.ok()) return frames;
  const auto result = func->Call(args, CallOptions());
  EXPECT_TRUE(result.ok()) << result.status();
  if (!result.ok() || !result->trap.has_value()) return frames;
  if (message != nullptr) *message = result->trap->message();
  for (const Frame& frame : result->trap->backtrace()) {
    std::string text = frame.func_name;
    if (frame.source.has_value()) {
      std::string place = ToString(*frame.source);
      EXPECT_TRUE(absl::StartsWith(place, "runtime/native/testdata/traps.c:"))
          << place;
      absl::StrAppend(&text, " ", place.substr(place.rfind('/') + 1));
    }
    frames.push_back(std::move(text));
  }
  return frames;
}

struct Row {
  const char* name;
  std::string function;
  std::vector<Value> args;
  std::string message;
  std::vector<std::string> frames;  // the first ones
};

const std::vector<Row>& Rows() {
  static const std::vector<Row>* const rows = new std::vector<Row>({
      {"Unreachable",
       "stop",
       {Value::I32(1)},
       "unreachable",
       {"stop traps.c:5:12"}},
      {"OutOfBounds",
       "peek",
       {Value::I32(-4)},
       "out of bounds memory access",
       {"peek traps.c:9:10"}},
      {"DivideByZero",
       "divide",
       {Value::I32(1), Value::I32(0)},
       "integer divide by zero",
       {"divide traps.c:13:12"}},
      {"Overflow",
       "divide",
       {Value::I32(INT32_MIN), Value::I32(-1)},
       "integer overflow",
       {"divide traps.c:13:12"}},
      {"OuterFrame",
       "outer",
       {Value::I32(4), Value::I32(5)},
       "integer divide by zero",
       {"divide traps.c:13:12", "outer traps.c:18:10"}},
      // The line is the inlined function's, the name that of the one it is in.
      {"Inlined",
       "around",
       {Value::I32(1), Value::I32(0)},
       "integer divide by zero",
       {"around traps.c:24:12"}},
      {"Recursion",
       "endless",
       {Value::I32(1)},
       "call stack exhausted",
       {"endless", "endless traps.c:33:10", "endless traps.c:33:10"}},
      {"IndirectCall",
       "indirect",
       {Value::I32(99)},
       "undefined element",
       {"indirect traps.c:38:10"}},
  });
  return *rows;
}

class BacktraceLines : public testing::TestWithParam<Level> {
 protected:
  std::shared_ptr<const Module> Compile(const std::string& name) {
    auto module = Module::Compile(*engine_, ReadModule(name));
    EXPECT_TRUE(module.ok()) << module.status();
    return module.ok() ? *module : nullptr;
  }

  const std::unique_ptr<Engine> engine_ = EngineOf(GetParam());
};

TEST_P(BacktraceLines, AreThoseOfTheSource) {
  const auto module = Compile("traps_with_lines");
  ASSERT_NE(module, nullptr);
  EXPECT_TRUE(module->has_source_lines());
  for (const Row& row : Rows()) {
    std::string message;
    const auto frames = FramesOf(*module, row.function, row.args, &message);
    EXPECT_EQ(message, row.message) << row.name;
    ASSERT_GE(frames.size(), row.frames.size()) << row.name;
    for (size_t i = 0; i < row.frames.size(); ++i) {
      EXPECT_THAT(frames[i], testing::StartsWith(row.frames[i])) << row.name;
    }
  }
}

TEST_P(BacktraceLines, AreNotThereWithoutDebugInformation) {
  const auto module = Compile("traps_without_lines");
  ASSERT_NE(module, nullptr);
  EXPECT_FALSE(module->has_source_lines());
  const std::vector<std::string> frames =
      FramesOf(*module, "outer", {Value::I32(4), Value::I32(5)});
  EXPECT_THAT(frames, testing::ElementsAre("divide", "outer"));
}

// Whatever is done to the sections, the module runs and traps as before.
TEST_P(BacktraceLines, AreAllThatBrokenDebugInformationCosts) {
  const Bytes whole = ReadModule("traps_with_lines");
  const std::string name = ".debug_line";
  auto at = std::search(whole.begin(), whole.end(), name.begin(), name.end());
  ASSERT_NE(at, whole.end());
  const auto begin = static_cast<size_t>(at - whole.begin()) + name.size();
  // From its first byte on, so that less and less can be read.
  for (const size_t skip : {0u, 4u, 9u, 40u, 100u}) {
    Bytes broken = whole;
    for (size_t i = begin + skip; i < begin + skip + 24; ++i) broken[i] = 0xff;
    const auto module = Module::Compile(*engine_, broken);
    ASSERT_TRUE(module.ok()) << module.status();
    // The unit's length is not one.
    if (skip == 0) {
      EXPECT_FALSE((*module)->has_source_lines());
    }
    std::string message;
    const std::vector<std::string> frames =
        FramesOf(**module, "divide", {Value::I32(1), Value::I32(0)}, &message);
    EXPECT_EQ(message, "integer divide by zero");
    ASSERT_FALSE(frames.empty());
    EXPECT_THAT(frames[0], testing::StartsWith("divide"));
  }
}

INSTANTIATE_TEST_SUITE_P(Levels, BacktraceLines,
                         testing::Values(Level::kBaseline, Level::kOptimised),
                         [](const auto& row) {
                           return row.param == Level::kBaseline ? "Baseline"
                                                                : "Optimised";
                         });

// A compiler that has been taken over.
class LyingSource final : public native::CodeSource {
 public:
  absl::StatusOr<std::string> Compile(const CompileRequest& request,
                                      absl::Span<const uint8_t> module,
                                      absl::string_view /*account*/) override {
    auto answer = native::LlvmCompiler::Compile(request, module);
    EXPECT_TRUE(answer.ok()) << answer.status();
    native::CompiledModule compiled;
    EXPECT_TRUE(compiled.ParseFromString(*answer));
    compiled.mutable_source_lines()->set_file(
        0, static_cast<uint32_t>(compiled.source_lines().files_size()) + 1);
    return compiled.SerializeAsString();
  }
};

TEST(BacktraceLinesTest, AreCheckedLikeAStrangersBytes) {
  native::LlvmCompiler::Initialise();
  LyingSource source;
  NativeOptions options;
  options.source = &source;
  const std::unique_ptr<Engine> engine =
      NewNativeEngine(EngineOptions(), options);
  const auto module = Module::Compile(*engine, ReadModule("traps_with_lines"));
  EXPECT_EQ(module.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(module.status().message()),
              HasSubstr("a file that is not there"));
}

}  // namespace
}  // namespace callgate
