// WASI in a real Store: linking, exits, budgets, deadlines, interruption, and
// the call hook's captured arguments.

#include "runtime/store.h"

#include <fcntl.h>
#include <unistd.h>

#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "runtime/call_hook.h"
#include "runtime/linker.h"
#include "runtime/module.h"
#include "runtime/reference/reference_engine.h"
#include "runtime/wasi/fake_guest.h"
#include "runtime/wasi/unique_fd.h"
#include "runtime/wasi/wasi.h"
#include "tests/support/wat.h"

namespace callgate {
namespace wasi {
namespace {

// Passes its arguments on. At 1024 an iovec of "hello\n", at 2048 the path
// "allowed", at 3072 a subscription to the monotonic clock, for ever.
constexpr char kGuest[] = R"((module
  (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
  (import "wasi_snapshot_preview1" "fd_write"
    (func $write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_read"
    (func $read (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "path_open"
    (func $open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "poll_oneoff"
    (func $poll (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "random_get"
    (func $random (param i32 i32) (result i32)))
  (memory (export "memory") 2)
  (data (i32.const 1024) "\00\05\00\00\06\00\00\00")
  (data (i32.const 1280) "hello\n")
  (data (i32.const 2048) "allowed")
  (data (i32.const 3088) "\01\00\00\00\00\00\00\00\ff\ff\ff\ff\ff\ff\ff\7f")
  (func (export "exit") (param i32)
    (call $exit (local.get 0)) unreachable)
  (func (export "write") (param i32) (result i32)
    (call $write (local.get 0) (i32.const 1024) (i32.const 1) (i32.const 64)))
  (func (export "read") (result i32)
    (call $read (i32.const 0) (i32.const 1024) (i32.const 1) (i32.const 64)))
  (func (export "create") (result i32)
    (call $open (i32.const 3) (i32.const 0) (i32.const 2048) (i32.const 7)
      (i32.const 1) (i64.const 64) (i64.const 0) (i32.const 0) (i32.const 64)))
  (func (export "sleep") (result i32)
    (call $poll (i32.const 3072) (i32.const 4096) (i32.const 1)
      (i32.const 64)))
  (func (export "random") (param i32 i32) (result i32)
    (call $random (local.get 0) (local.get 1)))
))";

class WasiStoreTest : public testing::Test {
 protected:
  // Makes `guest_` with this Context.
  void Start(Options options, const Limits& limits = {}) {
    auto context = Context::Create(std::move(options));
    ASSERT_TRUE(context.ok()) << context.status();
    context_ = *context;
    const auto bytes = AssembleWat(kGuest);
    ASSERT_TRUE(bytes.ok()) << bytes.status();
    const auto module = Module::Compile(*engine_, *bytes);
    ASSERT_TRUE(module.ok()) << module.status();
    store_ = std::make_unique<Store>(*engine_, limits);
    Linker linker;
    ASSERT_TRUE(AddToLinker(linker, context_).ok());
    auto made = linker.Instantiate(*store_, *module, "guest");
    ASSERT_TRUE(made.ok()) << made.status();
    guest_ = made->instance;
  }

  CallResult Call(const std::string& name, std::vector<Value> args = {},
                  const CallOptions& options = {}) {
    const auto func = guest_->GetFunc(name);
    EXPECT_TRUE(func.ok()) << func.status();
    auto result = func->Call(args, options);
    EXPECT_TRUE(result.ok()) << result.status();
    return *std::move(result);
  }

  // The WASI number that the export answers with.
  uint32_t Number(const std::string& name, std::vector<Value> args = {}) {
    const CallResult result = Call(name, std::move(args));
    EXPECT_TRUE(result.returned());
    return result.returned() ? result.values[0].u32() : ~0u;
  }

  const std::unique_ptr<Engine> engine_ = NewReferenceEngine();
  std::shared_ptr<Context> context_;
  std::unique_ptr<Store> store_;
  std::optional<Instance> guest_;
};

TEST_F(WasiStoreTest, ExitsCleanly) {
  Start({});
  for (const uint32_t code : {0u, 7u, ~0u}) {
    const CallResult result = Call("exit", {Value::I32(code)});
    ASSERT_TRUE(result.trap.has_value());
    EXPECT_EQ(result.trap->exit_code(), code);
  }
}

TEST_F(WasiStoreTest, WritesAndRefuses) {
  Start({});
  EXPECT_EQ(Number("write", {Value::I32(1u)}), 0u);
  EXPECT_EQ(Number("write", {Value::I32(2u)}), 0u);
  EXPECT_EQ(Number("write", {Value::I32(9u)}), 8u);
  EXPECT_EQ(context_->TakeStdout(), "hello\n");
  EXPECT_EQ(context_->TakeStderr(), "hello\n");
  // A range beyond memory.
  EXPECT_EQ(Number("random", {Value::I32(131'071u), Value::I32(1u)}), 0u);
  EXPECT_EQ(Number("random", {Value::I32(131'071u), Value::I32(2u)}), 21u);
  EXPECT_EQ(Number("random", {Value::I32(~0u), Value::I32(~0u)}), 21u);
}

TEST_F(WasiStoreTest, CountsBytesAgainstTheBudget) {
  Limits limits;
  limits.host_bytes_per_call = 1000;
  Start({}, limits);
  EXPECT_EQ(Number("random", {Value::I32(8192u), Value::I32(1000u)}), 0u);
  const CallResult result =
      Call("random", {Value::I32(8192u), Value::I32(1001u)});
  ASSERT_TRUE(result.trap.has_value());
  EXPECT_EQ(result.trap->code(), TrapCode::kHostBytesExceeded);
}

TEST_F(WasiStoreTest, SleepsUntilTheDeadline) {
  Start({});
  CallOptions options;
  options.wall = absl::Milliseconds(20);
  const CallResult result = Call("sleep", {}, options);
  ASSERT_TRUE(result.trap.has_value());
  EXPECT_EQ(result.trap->code(), TrapCode::kDeadlineExceeded);
}

TEST_F(WasiStoreTest, StopsReadingWhenInterrupted) {
  int ends[2];
  ASSERT_EQ(pipe2(ends, O_CLOEXEC), 0);
  const UniqueFd reader(ends[0]);
  const UniqueFd writer(ends[1]);
  Options options;
  options.stdin_fd = reader.get();
  Start(std::move(options));
  ASSERT_EQ(write(writer.get(), "abcdef", 6), 6);
  EXPECT_EQ(Number("read"), 0u);
  // Before or while it waits: the end is the same.
  std::thread interrupter([&] { store_->Interrupt(); });
  const CallResult result = Call("read");
  interrupter.join();
  ASSERT_TRUE(result.trap.has_value());
  EXPECT_EQ(result.trap->code(), TrapCode::kInterrupted);
}

// Captures path_open's path, and then rewrites it in guest memory, as another
// thread of the guest or a fault would between check and use.
class RewritingHook : public CallHook {
 public:
  explicit RewritingHook(Memory memory) : memory_(memory) {}

  Disposition OnTransition(CallContext& call) override {
    if (call.transition() != Transition::kCallingHost) return call.Proceed();
    const ArgSpec& path = call.function().spec->args[2];
    EXPECT_EQ(path.kind, ArgKind::kPath);
    const auto captured = call.Capture(call.args()[path.index].u32(),
                                       call.args()[path.len_index].u32());
    EXPECT_TRUE(captured.ok()) << captured.status();
    seen.assign(captured->begin(), captured->end());
    const std::string other = "refused";
    EXPECT_TRUE(
        memory_.Write(2048, std::vector<uint8_t>(other.begin(), other.end()))
            .ok());
    return call.Proceed();
  }

  std::string seen;

 private:
  const Memory memory_;
};

TEST_F(WasiStoreTest, UsesThePathThatTheHookSaw) {
  const ScratchDir dir;
  Options options;
  options.preopens = {{dir.path(), "/"}};
  Start(std::move(options));
  const auto memory = guest_->GetMemory("memory");
  ASSERT_TRUE(memory.ok());
  RewritingHook hook(*memory);
  HookOptions only_calls;
  only_calls.transitions = TransitionSet::None().With(Transition::kCallingHost);
  ASSERT_TRUE(store_->SetCallHook(hook, only_calls).ok());
  EXPECT_EQ(Number("create"), 0u);
  EXPECT_EQ(hook.seen, "allowed");
  EXPECT_TRUE(dir.Has("allowed"));
  EXPECT_FALSE(dir.Has("refused"));
}

}  // namespace
}  // namespace wasi
}  // namespace callgate
