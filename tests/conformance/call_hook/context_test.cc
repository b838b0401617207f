// What the hook is told of a transition: which function, who called it, how
// deep, with what arguments and results, and what the frames below are.

#include <gtest/gtest.h>

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "tests/conformance/call_hook/on_every_engine.h"

namespace callgate {
namespace {

using Nested = WatchedStore::Nested;

std::string IndexText(uint32_t index) {
  return index == kNoIndex ? "-" : absl::StrCat(index);
}

absl::string_view KindText(FunctionIdentity::Kind kind) {
  switch (kind) {
    case FunctionIdentity::Kind::kGuestExport:
      return "guest_export";
    case FunctionIdentity::Kind::kGuestStart:
      return "guest_start";
    case FunctionIdentity::Kind::kGuestOther:
      return "guest_other";
    case FunctionIdentity::Kind::kHostImport:
      return "host_import";
    case FunctionIdentity::Kind::kHostDirect:
      return "host_direct";
    case FunctionIdentity::Kind::kRuntimeCall:
      return "runtime_call";
  }
  return "unknown";
}

// "host_import env.log (i32) -> (i64) import 1 func 1 binding 0".
std::string IdentityText(const FunctionIdentity& function) {
  return absl::StrCat(KindText(function.kind), " ", function.module, ".",
                      function.name, " ", function.type->ToString(), " import ",
                      IndexText(function.import_index), " func ",
                      IndexText(function.func_index), " binding ",
                      IndexText(function.binding));
}

// "guest.$go 2", or "embedder".
std::string CallerText(const CallerFrame& caller) {
  if (caller.func_index == kNoIndex) return "embedder";
  return absl::StrCat(caller.module_name, ".", caller.func_name, " ",
                      caller.func_index);
}

std::string FramesText(const std::vector<Frame>& frames) {
  return absl::StrJoin(frames, " < ", [](std::string* out, const Frame& frame) {
    absl::StrAppend(out, frame.module_name, ".", frame.func_name, " ",
                    frame.func_index);
  });
}

std::string ValuesText(absl::Span<const RawValue> values,
                       const std::vector<ValType>& types) {
  if (values.empty()) return "none";
  std::vector<std::string> texts;
  for (size_t i = 0; i < values.size(); ++i) {
    texts.push_back(Value(types[i], values[i]).ToString());
  }
  return absl::StrJoin(texts, " ");
}

class CallHookContext : public OnEveryEngine {
 protected:
  // Notes "<sign> <text>" at every transition.
  void Tell(std::function<std::string(CallContext& call)> text) {
    guest_.hook().judge = [this, text = std::move(text)](CallContext& call) {
      told_.push_back(
          absl::StrCat(TransitionSign(call.transition()), " ", text(call)));
      return call.Proceed();
    };
  }

  std::vector<std::string> told_;
};

std::vector<std::string> Lines(std::initializer_list<const char*> lines) {
  return std::vector<std::string>(lines.begin(), lines.end());
}

TEST_P(CallHookContext, NamesExportAndImport) {
  Tell([](CallContext& call) { return IdentityText(call.function()); });
  // Imports of other kinds do not count among the functions.
  const absl::StatusOr<Memory> memory =
      guest_.store().NewMemory(MemoryType{SizeRange{1, std::nullopt}});
  ASSERT_TRUE(memory.ok()) << memory.status();
  Extern value;
  value.memory = *memory;
  ASSERT_TRUE(guest_.linker().Define("env", "memory", value).ok());
  guest_.Define("a", guest_.Returns());
  guest_.Define("b", FuncType{{ValType::kI32}, {ValType::kI64}},
                guest_.Returns());
  guest_.Instantiate(R"((module
    (import "env" "a" (func $a))
    (import "env" "memory" (memory 1))
    (import "env" "b" (func $b (param i32) (result i64)))
    (func $unused)
    (func (export "go") (param f32)
      (drop (call $b (i32.const 5))))))",
                     "tenant");
  guest_.Call("go", {Value::F32(1.5f)});
  EXPECT_EQ(told_,
            Lines({"cw guest_export tenant.go (f32) -> () import - func 3 "
                   "binding -",
                   "ch host_import env.b (i32) -> (i64) import 1 func 1 "
                   "binding 1",
                   "rh host_import env.b (i32) -> (i64) import 1 func 1 "
                   "binding 1",
                   "rw guest_export tenant.go (f32) -> () import - func 3 "
                   "binding -"}));
}

TEST_P(CallHookContext, GivesEveryImportOfEveryInstanceItsOwnBinding) {
  Tell([](CallContext& call) {
    return absl::StrCat(call.function().name, " import ",
                        IndexText(call.function().import_index), " binding ",
                        IndexText(call.function().binding));
  });
  guest_.Define("a", guest_.Returns());
  constexpr absl::string_view kTwice = R"((module
    (import "env" "a" (func $first)) (import "env" "a" (func $second))
    (func (export "go") call $first call $second)))";
  guest_.Instantiate(kTwice, "one");
  guest_.Instantiate(kTwice, "two");
  guest_.Call(guest_.FindFunc("go", "one"));
  guest_.Call(guest_.FindFunc("go", "two"));
  EXPECT_EQ(told_,
            Lines({"cw go import - binding -", "ch a import 0 binding 0",
                   "rh a import 0 binding 0", "ch a import 1 binding 1",
                   "rh a import 1 binding 1", "rw go import - binding -",
                   "cw go import - binding -", "ch a import 0 binding 2",
                   "rh a import 0 binding 2", "ch a import 1 binding 3",
                   "rh a import 1 binding 3", "rw go import - binding -"}));
}

TEST_P(CallHookContext, NamesAnImportCalledThroughATable) {
  Tell([](CallContext& call) { return IdentityText(call.function()); });
  guest_.Define("a", guest_.Returns());
  guest_.Instantiate(R"((module (import "env" "a" (func $a))
    (type $void (func)) (table 1 funcref) (elem (i32.const 0) $a)
    (func (export "go") i32.const 0 call_indirect (type $void))))");
  guest_.Call("go");
  ASSERT_EQ(told_.size(), 4u);
  EXPECT_EQ(told_[1],
            "ch host_import env.a () -> () import 0 func 0 binding 0");
}

TEST_P(CallHookContext, NamesAStartFunction) {
  Tell([](CallContext& call) {
    return absl::StrCat(KindText(call.function().kind), " ",
                        call.function().module, " ",
                        IndexText(call.function().func_index));
  });
  guest_.Instantiate("(module (func) (func $begin) (start $begin))", "tenant");
  EXPECT_EQ(told_,
            Lines({"cw guest_start tenant 1", "rw guest_start tenant 1"}));
}

TEST_P(CallHookContext, NamesAGuestFunctionCalledByReference) {
  Tell([](CallContext& call) { return IdentityText(call.function()); });
  guest_.Instantiate(R"((module
    (table (export "t") 1 funcref) (elem (i32.const 0) $inner)
    (func) (func $inner)))",
                     "tenant");
  const std::optional<Instance> instance = guest_.FindInstance();
  ASSERT_TRUE(instance.has_value());
  const absl::StatusOr<Table> table = instance->GetTable("t");
  ASSERT_TRUE(table.ok()) << table.status();
  const absl::StatusOr<Value> ref = table->Get(0);
  ASSERT_TRUE(ref.ok()) << ref.status();
  const absl::StatusOr<Func> inner = guest_.store().FuncFromRef(*ref);
  ASSERT_TRUE(inner.ok()) << inner.status();
  guest_.Call(*inner);
  ASSERT_EQ(told_.size(), 2u);
  EXPECT_EQ(told_[0],
            "cw guest_other tenant.inner () -> () import - func 1 binding -");
}

TEST_P(CallHookContext, NamesAHostFunctionThatTheEmbedderHolds) {
  Tell([](CallContext& call) {
    return absl::StrCat(IdentityText(call.function()), " by ",
                        CallerText(call.caller()));
  });
  guest_.Call(guest_.NewHostFunc(guest_.Returns()));
  EXPECT_EQ(told_, Lines({"cw host_direct env.held () -> () import - func - "
                          "binding 0 by embedder",
                          "ch host_direct env.held () -> () import - func - "
                          "binding 0 by embedder",
                          "rh host_direct env.held () -> () import - func - "
                          "binding 0 by embedder",
                          "rw host_direct env.held () -> () import - func - "
                          "binding 0 by embedder"}));
}

// The hook may keep what it learned of a function for as long as the Store.
TEST_P(CallHookContext, KeepsIdentitiesWhereTheyAre) {
  std::vector<const FunctionIdentity*> kept;
  guest_.hook().judge = [&kept](CallContext& call) {
    kept.push_back(&call.function());
    return call.Proceed();
  };
  guest_.Define("h", guest_.Returns());
  constexpr absl::string_view kCallsH = R"((module
    (import "env" "h" (func $h)) (func (export "go") call $h)))";
  guest_.Instantiate(kCallsH, "one");
  guest_.Call("go");
  // Much else comes into the Store in between.
  for (int i = 0; i < 20; ++i) guest_.Instantiate(kCallsH, absl::StrCat(i));
  guest_.Call("go");
  guest_.Call(guest_.FindFunc("go", "one"));

  ASSERT_EQ(kept.size(), 12u);
  EXPECT_EQ(IdentityText(*kept[0]),
            "guest_export one.go () -> () import - func 1 binding -");
  EXPECT_EQ(IdentityText(*kept[1]),
            "host_import env.h () -> () import 0 func 0 binding 0");
  EXPECT_EQ(kept[8], kept[0]);
  EXPECT_EQ(kept[9], kept[1]);
  EXPECT_NE(kept[4], kept[0]);
  EXPECT_NE(kept[5], kept[1]);
}

TEST_P(CallHookContext, PassesOnWhatTheHostsAuthorSaid) {
  const HostFunctionSpec* seen = nullptr;
  bool guests_have_one = false;
  guest_.hook().judge = [&](CallContext& call) {
    if (call.transition() == Transition::kCallingHost) {
      seen = call.function().spec;
    } else if (call.transition() == Transition::kCallingWasm) {
      guests_have_one = call.function().spec != nullptr;
    }
    return call.Proceed();
  };
  HostFunctionSpec spec;
  spec.args.push_back(ArgSpec{"buffer", 0, ArgKind::kBytes, 1});
  spec.errno_result = true;
  guest_.Define("send",
                FuncType{{ValType::kI32, ValType::kI32}, {ValType::kI32}},
                guest_.Returns(), spec);
  guest_.Instantiate(R"((module
    (import "env" "send" (func $send (param i32 i32) (result i32)))
    (func (export "go") (result i32)
      (call $send (i32.const 0) (i32.const 0)))))");
  guest_.Call("go");
  EXPECT_FALSE(guests_have_one);
  ASSERT_NE(seen, nullptr);
  EXPECT_TRUE(seen->errno_result);
  ASSERT_EQ(seen->args.size(), 1u);
  EXPECT_EQ(seen->args[0].name, "buffer");
  EXPECT_EQ(seen->args[0].kind, ArgKind::kBytes);
}

TEST_P(CallHookContext, NamesTheCaller) {
  Tell([](CallContext& call) { return CallerText(call.caller()); });
  guest_.Define("h", guest_.Returns());
  guest_.Instantiate(R"((module
    (import "env" "h" (func $h))
    (type $void (func)) (table 1 funcref) (elem (i32.const 0) $h)
    (func $inner call $h)
    (func $by_table i32.const 0 call_indirect (type $void))
    (func $outer (export "go") call $inner call $by_table call $h)))",
                     "tenant");
  guest_.Call("go");
  EXPECT_EQ(told_,
            Lines({"cw embedder", "ch tenant.inner 1", "rh tenant.inner 1",
                   "ch tenant.by_table 2", "rh tenant.by_table 2",
                   "ch tenant.outer 3", "rh tenant.outer 3", "rw embedder"}));
}

// Each call's functions, newest first, and which of the calls have the same
// words.
TEST_P(CallHookContext, TellsWhoCalledWhom) {
  std::vector<std::vector<uint64_t>> chains;
  guest_.hook().judge = [&](CallContext& call) {
    uint64_t words[3];
    const size_t count = call.CallChain(absl::MakeSpan(words));
    if (call.transition() != Transition::kCallingHost) {
      EXPECT_TRUE(count == 0 ||
                  call.transition() == Transition::kReturningFromHost);
      return call.Proceed();
    }
    chains.emplace_back(words, words + count);
    uint32_t functions[3];
    const size_t known =
        call.ChainFunctions(chains.back(), absl::MakeSpan(functions));
    told_.push_back(
        absl::StrJoin(absl::MakeConstSpan(functions).first(known), " < "));
    return call.Proceed();
  };
  guest_.Define("h", guest_.Returns());
  guest_.Instantiate(R"((module
    (import "env" "h" (func $h))
    (func $inner call $h)
    (func $middle call $inner)
    (func $outer (param i32)
      (loop $more
        call $middle
        (br_if $more (local.tee 0 (i32.sub (local.get 0) (i32.const 1)))))
      call $h)
    (func (export "go") (call $outer (i32.const 2)))))",
                     "tenant");
  guest_.Call("go");
  EXPECT_EQ(told_, Lines({"1 < 2 < 3", "1 < 2 < 3", "3 < 4"}));
  ASSERT_EQ(chains.size(), 3u);
  EXPECT_EQ(chains[0], chains[1]);
  EXPECT_EQ(chains[0].size(), 3u);
  EXPECT_NE(chains[0], chains[2]);
}

TEST_P(CallHookContext, NamesTheCallerOfAnotherInstance) {
  Tell([](CallContext& call) { return CallerText(call.caller()); });
  guest_.Define("h", guest_.Returns());
  guest_.Instantiate(R"((module (import "env" "h" (func $h))
    (func $in_lib (export "f") call $h)))",
                     "lib");
  const std::optional<Instance> lib = guest_.FindInstance("lib");
  ASSERT_TRUE(lib.has_value());
  ASSERT_TRUE(guest_.linker().DefineInstance("lib", *lib).ok());
  guest_.Instantiate(R"((module (import "lib" "f" (func $f))
    (func (export "go") call $f)))",
                     "app");
  guest_.Call("go");
  EXPECT_EQ(told_, Lines({"cw embedder", "ch lib.in_lib 1", "rh lib.in_lib 1",
                          "rw embedder"}));
}

TEST_P(CallHookContext, NamesTheCallerOfAStart) {
  Tell([](CallContext& call) { return CallerText(call.caller()); });
  guest_.Define("h", guest_.Returns());
  guest_.Instantiate(R"((module (import "env" "h" (func $h))
    (func $begin call $h) (start $begin)))",
                     "tenant");
  guest_.Instantiate(R"((module (import "env" "h" (func $h)) (start $h)))",
                     "direct");
  EXPECT_EQ(told_, Lines({"cw embedder", "ch tenant.begin 1",
                          "rh tenant.begin 1", "rw embedder", "cw embedder",
                          "ch embedder", "rh embedder", "rw embedder"}));
}

TEST_P(CallHookContext, CountsTheDepth) {
  Tell([](CallContext& call) { return absl::StrCat(call.depth()); });
  guest_.Define("h", guest_.Returns());
  guest_.Define("outer", guest_.Reenters("inner", Nested::kPropagate));
  guest_.Instantiate(R"((module
    (import "env" "h" (func $h)) (import "env" "outer" (func $outer))
    (func (export "inner") call $h)
    (func (export "go") call $h call $outer call $h)))");
  guest_.Call("go");
  EXPECT_EQ(told_, Lines({"cw 1", "ch 2", "rh 2", "ch 2", "cw 3", "ch 4",
                          "rh 4", "rw 3", "rh 2", "ch 2", "rh 2", "rw 1"}));
}

TEST_P(CallHookContext, ShowsArgumentsAndResults) {
  Tell([](CallContext& call) {
    return absl::StrCat(
        ValuesText(call.args(), call.function().type->params), " -> ",
        ValuesText(call.results(), call.function().type->results));
  });
  guest_.Define(
      "div",
      FuncType{{ValType::kI32, ValType::kI64}, {ValType::kI64, ValType::kF32}},
      [](Caller&, absl::Span<const RawValue> args,
         absl::Span<RawValue> results) {
        results[0] = RawValue::I64(args[1].u64() / args[0].u32());
        results[1] = RawValue::F32(0.5f);
        return ErrorRef();
      });
  guest_.Instantiate(R"((module
    (import "env" "div" (func $div (param i32 i64) (result i64 f32)))
    (func (export "go") (param i64) (result i64)
      (call $div (i32.const 4) (local.get 0)) drop)))");
  guest_.Call("go", {Value::I64(uint64_t{84})});
  EXPECT_EQ(journal_.outcomes(), "ok i64:21");
  EXPECT_EQ(told_, Lines({"cw i64:84 -> none", "ch i32:4 i64:84 -> none",
                          "rh i32:4 i64:84 -> i64:21 f32:0.5",
                          "rw i64:84 -> i64:21"}));
}

TEST_P(CallHookContext, ShowsValuesOfEveryType) {
  Tell([](CallContext& call) {
    return absl::StrCat(
        ValuesText(call.args(), call.function().type->params), " -> ",
        ValuesText(call.results(), call.function().type->results));
  });
  const std::vector<ValType> all = {
      ValType::kI32,  ValType::kI64,     ValType::kF32,      ValType::kF64,
      ValType::kV128, ValType::kFuncRef, ValType::kExternRef};
  guest_.Define("same", FuncType{all, all},
                [](Caller&, absl::Span<const RawValue> args,
                   absl::Span<RawValue> results) {
                  for (size_t i = 0; i < args.size(); ++i) {
                    results[i] = args[i];
                  }
                  return ErrorRef();
                });
  guest_.Instantiate(R"((module
    (type $all (func (param i32 i64 f32 f64 v128 funcref externref)
                     (result i32 i64 f32 f64 v128 funcref externref)))
    (import "env" "same" (func $same (type $all)))
    (func (export "go") (type $all)
      local.get 0 local.get 1 local.get 2 local.get 3 local.get 4 local.get 5
      local.get 6 call $same)))");
  const absl::StatusOr<Value> object =
      guest_.store().NewExternRef(std::make_shared<int>(7));
  ASSERT_TRUE(object.ok()) << object.status();
  const std::optional<Func> held = guest_.NewHostFunc(guest_.Returns());
  ASSERT_TRUE(held.has_value());
  V128 vector;
  for (size_t i = 0; i < vector.bytes.size(); ++i) {
    vector.bytes[i] = static_cast<uint8_t>(i);
  }
  const std::vector<Value> args = {
      Value::I32(-1),   Value::I64(int64_t{-2}), Value::F32(0.25f),
      Value::F64(-0.0), Value::Vector(vector),   held->ref(),
      *object};
  guest_.Call("go", args);
  std::vector<std::string> texts;
  for (const Value& value : args) texts.push_back(value.ToString());
  const std::string values = absl::StrJoin(texts, " ");
  EXPECT_EQ(journal_.outcomes(), absl::StrCat("ok ", values));
  EXPECT_EQ(told_, (std::vector<std::string>{
                       absl::StrCat("cw ", values, " -> none"),
                       absl::StrCat("ch ", values, " -> none"),
                       absl::StrCat("rh ", values, " -> ", values),
                       absl::StrCat("rw ", values, " -> ", values)}));
}

TEST_P(CallHookContext, ShowsNoResultsOfAFailedCall) {
  Tell([](CallContext& call) {
    return absl::StrCat(call.results().size(), " results, ",
                        EndingName(call.ending()));
  });
  guest_.Define("h", FuncType{{}, {ValType::kI32}}, guest_.Fails("boom"));
  guest_.Instantiate(R"((module (import "env" "h" (func $h (result i32)))
    (func (export "go") (result i32) call $h)))");
  guest_.Call("go");
  EXPECT_EQ(told_,
            Lines({"cw 0 results, not_yet", "ch 0 results, not_yet",
                   "rh 0 results, host_error", "rw 0 results, host_error"}));
}

TEST_P(CallHookContext, ShowsTheTrapOnTheWayOut) {
  Tell([this](CallContext& call) {
    return call.trap() == nullptr ? "none" : journal_.Describe(*call.trap());
  });
  guest_.Define("h", guest_.Reenters("divides", Nested::kSwallow));
  guest_.Instantiate(R"((module (import "env" "h" (func $h))
    (func (export "divides")
      (drop (i32.div_u (i32.const 1) (i32.const 0))))
    (func (export "go") call $h unreachable)))");
  guest_.Call("go");
  EXPECT_EQ(told_,
            Lines({"cw none", "ch none", "cw none", "rw integer_divide_by_zero",
                   "rh none", "rw unreachable"}));
}

TEST_P(CallHookContext, ShowsTheFramesBelow) {
  Tell([](CallContext& call) { return FramesText(call.Backtrace(10)); });
  guest_.Define("h", guest_.Returns());
  guest_.Define("outer", guest_.Reenters("again", Nested::kPropagate));
  guest_.Instantiate(R"((module
    (import "env" "h" (func $h)) (import "env" "outer" (func $outer))
    (func $inner call $h)
    (func $again (export "again") call $inner)
    (func $middle call $outer)
    (func $go (export "go") call $middle)))",
                     "t");
  guest_.Call("go");
  // A call into a guest shows what is below it, and is gone when it is left.
  EXPECT_EQ(told_,
            Lines({"cw ", "ch t.middle 4 < t.go 5", "cw t.middle 4 < t.go 5",
                   "ch t.inner 2 < t.again 3 < t.middle 4 < t.go 5",
                   "rh t.inner 2 < t.again 3 < t.middle 4 < t.go 5",
                   "rw t.middle 4 < t.go 5", "rh t.middle 4 < t.go 5", "rw "}));
}

TEST_P(CallHookContext, ShowsAsManyFramesAsAskedFor) {
  std::vector<std::string> frames;
  guest_.hook().judge = [&frames](CallContext& call) {
    if (call.transition() == Transition::kCallingHost) {
      for (const size_t max : {0u, 1u, 2u, 9u}) {
        frames.push_back(FramesText(call.Backtrace(max)));
      }
    }
    return call.Proceed();
  };
  guest_.Define("h", guest_.Returns());
  guest_.Instantiate(R"((module (import "env" "h" (func $h))
    (func $inner call $h)
    (func $middle call $inner)
    (func $go (export "go") call $middle)))",
                     "t");
  guest_.Call("go");
  EXPECT_EQ(frames, Lines({"", "t.inner 1", "t.inner 1 < t.middle 2",
                           "t.inner 1 < t.middle 2 < t.go 3"}));
}

TEST_P(CallHookContext, ShowsTheCallersMemory) {
  Tell([](CallContext& call) { return absl::StrCat(call.MemoryBytes()); });
  guest_.Define("h", guest_.Returns());
  guest_.Instantiate(R"((module (import "env" "h" (func $h)) (memory 2)
    (func (export "go") call $h (drop (memory.grow (i32.const 1))) call $h)))");
  guest_.Call("go");
  EXPECT_EQ(told_, Lines({"cw 0", "ch 131072", "rh 131072", "ch 196608",
                          "rh 196608", "rw 0"}));

  told_.clear();
  guest_.Instantiate(R"((module (import "env" "h" (func $h))
    (func (export "go") call $h)))");
  guest_.Call("go");
  EXPECT_EQ(told_, Lines({"cw 0", "ch 0", "rh 0", "rw 0"}));
}

INSTANTIATE_TEST_SUITE_P(Engines, CallHookContext,
                         testing::ValuesIn(EnginesUnderTest()), EngineName);

}  // namespace
}  // namespace callgate
