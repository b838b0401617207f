// Probes on inner functions: which calls are told, in which order among the
// transitions, and how they end, on every engine the same. The notation is
// journal.h's and probing_hook.h's.

#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "tests/conformance/call_hook/engines.h"
#include "tests/conformance/call_hook/journal.h"
#include "tests/conformance/call_hook/on_every_engine.h"
#include "tests/conformance/call_hook/probing_hook.h"
#include "tests/conformance/call_hook/watched_store.h"

namespace callgate {
namespace {

using Nested = WatchedStore::Nested;

struct Row {
  std::string name;
  std::vector<std::string> probes;
  std::function<void(WatchedStore&)> script;
  std::vector<std::string> refuse;
  std::string events;
  std::string outcomes;
  // Where the reference engine falls short.
  std::string reference_events = {};
};

void PrintTo(const Row& row, std::ostream* out) { *out << row.name; }

// Instantiates a module that may import env.h, and calls its export "go".
std::function<void(WatchedStore&)> Go(std::string wat) {
  return [wat = std::move(wat)](WatchedStore& store) {
    store.Define("h", store.Returns());
    if (store.Instantiate(wat)) store.Call("go");
  };
}

std::vector<Row> CallRows() {
  return {
      {"direct",
       {"f"},
       Go(R"((module (func $f (export "f")) (func (export "go") call $f call $f)))"),
       {},
       "cw +f -f +f -f rw",
       "ok"},
      {"unselected",
       {"g"},
       Go(R"((module (func $f (export "f")) (func (export "go") call $f)))"),
       {},
       "cw rw",
       "ok"},
      {"by_pattern",
       {"parse_*"},
       Go(R"((module (func $a (export "parse_a")) (func $parse_b)
         (func $c (export "print"))
         (func (export "go") call $a call $parse_b call $c)))"),
       {},
       "cw +a -a +parse_b -parse_b rw",
       "ok"},
      {"by_index_without_a_name",
       {"#2"},
       Go(R"((module (import "env" "h" (func $h)) (func) (func call $h)
         (func (export "go") call 1 call 2)))"),
       {},
       "cw +#2 ch H rh -#2 rw",
       "ok"},
      {"everything",
       {"*"},
       Go(R"((module (import "env" "h" (func $h)) (func call $h)
         (func (export "go") call 1 call $h)))"),
       {},
       // Host functions are transitions, whatever is selected.
       "cw +go +#1 ch H rh -#1 ch H rh -go rw",
       "ok"},
      {"by_any_of_its_names",
       {"second"},
       Go(R"((module (func $f (export "first") (export "second"))
         (func (export "go") call $f)))"),
       {},
       "cw +f -f rw",
       "ok"},
      {"itself",
       {"down"},
       Go(R"((module
         (func $down (export "down") (param i32)
           (if (local.get 0)
             (then (call $down (i32.sub (local.get 0) (i32.const 1))))))
         (func (export "go") (call $down (i32.const 2)))))"),
       {},
       "cw +down +down +down -down -down -down rw",
       "ok"},
      {"called_by_the_embedder",
       {"go"},
       Go(R"((module (func (export "go"))))"),
       {},
       "cw +go -go rw",
       "ok"},
      {"start_function",
       {"begin"},
       [](WatchedStore& store) {
         store.Instantiate(
             R"((module (func $begin (export "begin")) (start $begin)))");
       },
       {},
       "cw +begin -begin rw",
       ""},
      {"indirectly",
       {"f"},
       Go(R"((module (type $void (func)) (table 2 funcref)
         (elem (i32.const 1) $f) (func $f (export "f"))
         (func (export "go") (call_indirect (type $void) (i32.const 1)))))"),
       {},
       "cw +f -f rw",
       "ok"},
      {"as_a_funcref_put_into_a_table",
       {"f"},
       Go(R"((module (type $void (func)) (table 2 funcref)
         (func $f (export "f")) (elem declare func $f)
         (func (export "go")
           (table.set 0 (i32.const 0) (ref.func $f))
           (call_indirect (type $void) (i32.const 0)))))"),
       {},
       "cw +f -f rw",
       "ok"},
      {"through_another_instances_table",
       {"f"},
       [](WatchedStore& store) {
         store.Instantiate(R"((module (type $void (func))
           (table (export "t") 1 funcref)
           (func (export "go") (call_indirect (type $void) (i32.const 0)))))",
                           "a");
         ASSERT_TRUE(
             store.linker().DefineInstance("a", *store.FindInstance("a")).ok());
         store.Instantiate(R"((module (import "a" "t" (table 1 funcref))
           (elem (i32.const 0) $f) (func $f (export "f"))))",
                           "b");
         store.Call(store.FindFunc("go", "a"));
       },
       {},
       "cw +f -f rw",
       "ok"},
      {"imported_by_another_instance",
       {"f"},
       [](WatchedStore& store) {
         store.Instantiate(R"((module (func (export "f"))))", "a");
         ASSERT_TRUE(
             store.linker().DefineInstance("a", *store.FindInstance("a")).ok());
         // Told once, by the module that defines it.
         store.Instantiate(R"((module (import "a" "f" (func $f))
           (export "f" (func $f)) (func (export "go") call $f)))",
                           "b");
         store.Call(store.FindFunc("go", "b"));
         store.Call(store.FindFunc("f", "b"));
       },
       {},
       "cw +f -f rw cw +f -f rw",
       "ok; ok"},
      {"of_an_instance_that_did_not_get_ready",
       {"f"},
       [](WatchedStore& store) {
         store.Instantiate(R"((module (type $void (func))
           (table (export "t") 1 funcref)
           (func (export "go") (call_indirect (type $void) (i32.const 0)))))",
                           "a");
         ASSERT_TRUE(
             store.linker().DefineInstance("a", *store.FindInstance("a")).ok());
         store.Instantiate(R"((module (import "a" "t" (table 1 funcref))
           (elem (i32.const 0) $f) (func $f (export "f"))
           (memory 1) (data (i32.const 65536) "x")))",
                           "b");
         store.Call(store.FindFunc("go", "a"));
       },
       {},
       "cw +f -f rw",
       "memory_out_of_bounds; ok"},
      {"two_instances_of_a_module",
       {"f"},
       [](WatchedStore& store) {
         for (const std::string name : {"a", "b"}) {
           store.Instantiate(
               R"((module (func $f (export "f")) (func (export "go") call $f)))",
               name);
         }
         store.Call(store.FindFunc("go", "a"));
         store.Call(store.FindFunc("go", "b"));
       },
       {},
       "cw +f -f rw cw +f -f rw",
       "ok; ok"},
      {"with_many_results",
       {"f"},
       Go(R"((module
         (func $f (export "f") (param i32) (result i32 f64 i64)
           local.get 0 f64.const 2.5 i64.const 7)
         (func (export "go") (result i32 f64 i64) (call $f (i32.const 4)))))"),
       {},
       "cw +f -f rw",
       "ok i32:4 f64:2.5 i64:7"},
      {"with_more_parameters_than_registers",
       {"f"},
       Go(R"((module
         (func $f (param i64 i64 i64 i64 i64 i64 i64 i64 i64)
                  (param f64 f64 f64 f64 f64 f64 f64 f64 f64 f64)
                  (result i64 f64)
           (i64.sub (local.get 8) (local.get 0))
           (f64.sub (local.get 18) (local.get 9)))
         (func (export "go") (result i64 f64)
           (call $f (i64.const 1) (i64.const 2) (i64.const 3) (i64.const 4)
             (i64.const 5) (i64.const 6) (i64.const 7) (i64.const 8)
             (i64.const 90)
             (f64.const 1) (f64.const 2) (f64.const 3) (f64.const 4)
             (f64.const 5) (f64.const 6) (f64.const 7) (f64.const 8)
             (f64.const 9) (f64.const 100.5)))))"),
       {},
       "cw +f -f rw",
       "ok i64:89 f64:99.5"},
      {"with_one_result",
       {"f"},
       Go(R"((module
         (func $f (export "f") (param f32) (result f32)
           (f32.add (local.get 0) (f32.const 1)))
         (func (export "go") (result f32) (call $f (f32.const 4)))))"),
       {},
       "cw +f -f rw",
       "ok f32:5"},
  };
}

std::vector<Row> TailCallRows() {
  return {
      {"tail_called",
       {"f", "g"},
       Go(R"((module (func $f (export "f") return_call $g)
         (func $g (export "g")) (func (export "go") call $f)))"),
       {},
       "cw +f -f:tail_call +g -g rw",
       "ok"},
      {"tail_called_with_results",
       {"f", "g"},
       Go(R"((module
         (func $f (export "f") (param i32 i64) (result i64 i32)
           (return_call $g (local.get 1) (local.get 0)))
         (func $g (export "g") (param i64 i32) (result i64 i32)
           local.get 0 local.get 1)
         (func (export "go") (result i64 i32)
           (call $f (i32.const 1) (i64.const 2)))))"),
       {},
       "cw +f -f:tail_call +g -g rw",
       "ok i64:2 i32:1"},
      {"only_the_callee_of_a_tail_call",
       {"g"},
       Go(R"((module (func $f (export "f") return_call $g)
         (func $g (export "g")) (func (export "go") call $f)))"),
       {},
       "cw +g -g rw",
       "ok"},
      {"only_the_caller_of_a_tail_call",
       {"f"},
       Go(R"((module (func $f (export "f") return_call $g)
         (func $g (export "g")) (func (export "go") call $f)))"),
       {},
       "cw +f -f:tail_call rw",
       "ok"},
      {"tail_called_indirectly",
       {"f", "g"},
       Go(R"((module (type $void (func)) (table 1 funcref)
         (elem (i32.const 0) $g)
         (func $f (export "f")
           (return_call_indirect (type $void) (i32.const 0)))
         (func $g (export "g")) (func (export "go") call $f)))"),
       {},
       "cw +f -f:tail_call +g -g rw",
       "ok"},
      {"indirect_tail_call_of_a_host_function",
       {"f"},
       Go(R"((module (import "env" "h" (func $h)) (type $void (func))
         (table 1 funcref) (elem (i32.const 0) $h)
         (func $f (export "f")
           (return_call_indirect (type $void) (i32.const 0)))
         (func (export "go") call $f)))"),
       {},
       "cw +f -f:tail_call ch H rh rw",
       "ok"},
      {"direct_tail_call_of_a_host_function",
       {"f"},
       Go(R"((module (import "env" "h" (func $h))
         (func $f return_call $h) (func (export "go") call $f)))"),
       {},
       "cw +f -f:tail_call ch H rh rw",
       "ok"},
      {"indirect_tail_call_that_traps",
       {"f"},
       Go(R"((module (type $void (func)) (table 1 funcref)
         (func $f (export "f")
           (return_call_indirect (type $void) (i32.const 0)))
         (func (export "go") call $f)))"),
       {},
       "cw +f -f:trap rw",
       "uninitialized_element"},
      {"tail_recursion",
       {"down"},
       Go(R"((module
         (func $down (export "down") (param i32)
           (if (local.get 0)
             (then (return_call $down
               (i32.sub (local.get 0) (i32.const 1))))))
         (func (export "go") (call $down (i32.const 2)))))"),
       {},
       "cw +down -down:tail_call +down -down:tail_call +down -down rw",
       "ok"},
      {"tail_called_from_the_embedders_call",
       {"go", "g"},
       Go(R"((module (func (export "go") return_call $g)
         (func $g (export "g"))))"),
       {},
       "cw +go -go:tail_call +g -g rw",
       "ok"},
  };
}

std::vector<Row> EndingRows() {
  return {
      {"trap",
       {"f", "g"},
       Go(R"((module (func $f (export "f") call $g)
         (func $g (export "g") unreachable)
         (func (export "go") call $f)))"),
       {},
       "cw +f +g -g:trap -f:trap rw",
       "unreachable"},
      {"trap_after_a_return",
       {"f", "g"},
       Go(R"((module (func $f (export "f") call $g unreachable)
         (func $g (export "g"))
         (func (export "go") call $f)))"),
       {},
       "cw +f +g -g -f:trap rw",
       "unreachable"},
      {"trap_in_the_start_function",
       {"begin"},
       [](WatchedStore& store) {
         store.Instantiate(R"((module (func $begin (export "begin") unreachable)
           (start $begin)))");
       },
       {},
       "cw +begin -begin:trap rw",
       "unreachable"},
      {"host_error",
       {"f"},
       [](WatchedStore& store) {
         store.Define("h", store.Fails("boom"));
         store.Instantiate(R"((module (import "env" "h" (func $h))
           (func $f (export "f") call $h) (func (export "go") call $f)))");
         store.Call("go");
       },
       {},
       "cw +f ch Herr rh -f:host_error rw",
       "host_error boom"},
      {"exit",
       {"f"},
       [](WatchedStore& store) {
         store.Define("h",
                      [](Caller&, absl::Span<const RawValue>,
                         absl::Span<RawValue>) -> ErrorRef {
                        return std::make_shared<GuestExit>(3);
                      });
         store.Instantiate(R"((module (import "env" "h" (func $h))
           (func $f (export "f") call $h) (func (export "go") call $f)))");
         store.Call("go");
       },
       {},
       "cw +f ch rh -f:exit rw",
       "host_error unknown error object \"guest exited with code 3\""},
      {"refused_entry",
       {"f", "g"},
       Go(R"((module (import "env" "h" (func $h))
         (func $f (export "f") call $g) (func $g (export "g") call $h)
         (func (export "go") call $f)))"),
       {"g#1"},
       "cw +f +g! -f:refusal rw",
       "refused g#1"},
      {"refused_second_entry",
       {"f"},
       Go(R"((module (func $f (export "f")) (func (export "go")
         call $f call $f)))"),
       {"f#2"},
       "cw +f -f +f! rw",
       "refused f#2"},
      {"refused_from_the_embedder",
       {"go"},
       Go(R"((module (func (export "go"))))"),
       {"go#1"},
       "cw +go! rw",
       "refused go#1"},
      {"refused_after_a_tail_call",
       {"f", "g"},
       Go(R"((module (func $f (export "f") return_call $g)
         (func $g (export "g")) (func (export "go") call $f)))"),
       {"g#1"},
       "cw +f -f:tail_call +g! rw",
       "refused g#1"},
      {"refused_start_function",
       {"begin"},
       [](WatchedStore& store) {
         store.Instantiate(
             R"((module (func $begin (export "begin")) (start $begin)))");
       },
       {"begin#1"},
       "cw +begin! rw",
       "refused begin#1"},
  };
}

std::vector<Row> NestingRows() {
  constexpr absl::string_view kReentering = R"((module
    (import "env" "outer" (func $outer))
    (func $f (export "f") call $outer)
    (func $g (export "g")) (func $bad (export "bad") unreachable)
    (func (export "inner") call $g) (func (export "traps") call $bad)
    (func (export "go") call $f)))";
  const auto reenters = [kReentering](std::string name, Nested nested) {
    return [kReentering, name, nested](WatchedStore& store) {
      store.Define("outer", store.Reenters(name, nested));
      store.Instantiate(kReentering);
      store.Call("go");
    };
  };
  return {
      {"nested",
       {"f", "g"},
       reenters("inner", Nested::kPropagate),
       {},
       "cw +f ch H( cw +g -g rw )H:ok rh -f rw",
       "ok"},
      {"nested_trap_propagated",
       {"f", "bad"},
       reenters("traps", Nested::kPropagate),
       {},
       "cw +f ch H( cw +bad -bad:trap rw )H:err rh -f:trap rw",
       "unreachable nested"},
      {"nested_trap_swallowed",
       {"f", "bad"},
       reenters("traps", Nested::kSwallow),
       {},
       "cw +f ch H( cw +bad -bad:trap rw )H:err rh -f rw",
       "ok"},
      {"nested_refusal",
       {"f", "g"},
       reenters("inner", Nested::kSwallow),
       {"g#1"},
       "cw +f ch H( cw +g! rw )H:err rh -f rw",
       "ok"},
      {"recursion_through_the_host",
       {"f"},
       [kReentering](WatchedStore& store) {
         auto left = std::make_shared<int>(2);
         store.Define("outer",
                      [&store, left](Caller&, absl::Span<const RawValue>,
                                     absl::Span<RawValue>) {
                        return (*left)-- > 0 ? store.Reenter("go") : ErrorRef();
                      });
         store.Instantiate(kReentering);
         store.Call("go");
       },
       {},
       "cw +f ch H( cw +f ch H( cw +f ch rh -f rw )H:ok rh -f rw )H:ok rh -f "
       "rw",
       "ok"},
  };
}

std::vector<Row> ExceptionRows() {
  return {
      {"caught",
       {"f", "g", "catches"},
       Go(R"((module (tag $e)
         (func $f (export "f") call $g) (func $g (export "g") throw $e)
         (func $catches (export "catches")
           (try (do call $f) (catch $e call $after)))
         (func $after (export "f_after"))
         (func (export "go") call $catches)))"),
       {},
       "cw +catches +f +g -g:exception -f:exception -catches rw",
       "ok"},
      {"caught_by_its_own_function",
       {"f"},
       Go(R"((module (tag $e)
         (func $f (export "f") (try (do throw $e) (catch $e)))
         (func (export "go") call $f)))"),
       {},
       "cw +f -f rw",
       "ok"},
      {"caught_and_thrown_again",
       {"f", "g", "h"},
       Go(R"((module (tag $e)
         (func $f (export "f") (try (do call $g) (catch_all)))
         (func $g (export "g") (try (do call $h) (catch $e rethrow 0)))
         (func $h throw $e)
         (func (export "go") call $f)))"),
       {},
       "cw +f +g +h -h:exception -g:exception -f rw",
       "ok"},
      {"uncaught",
       {"f"},
       Go(R"((module (tag $e) (func $f (export "f") throw $e)
         (func (export "go") call $f)))"),
       {},
       "cw +f -f:host_error rw",
       "host_error unknown error object \"uncaught exception\""},
      {"refused_inside_a_try",
       {"f"},
       Go(R"((module (tag $e) (func $f (export "f"))
         (func (export "go") (try (do call $f) (catch_all)))))"),
       {"f#1"},
       // Not the guest's to catch.
       "cw +f! rw",
       "refused f#1"},
  };
}

std::vector<Row> Rows() {
  std::vector<Row> rows;
  for (std::vector<Row> some : {CallRows(), TailCallRows(), EndingRows(),
                                NestingRows(), ExceptionRows()}) {
    for (Row& row : some) rows.push_back(std::move(row));
  }
  return rows;
}

class ProbeRows
    : public testing::TestWithParam<std::tuple<EngineUnderTest, Row>> {};

TEST_P(ProbeRows, AreAsStated) {
  const auto& [engine_under_test, row] = GetParam();
  const std::unique_ptr<Engine> engine = engine_under_test.make();
  Journal journal;
  ProbingHook hook(journal);
  WatchedStore store(*engine, journal);
  ASSERT_TRUE(
      store.store().SetCallHook(hook, Probing(journal, row.probes)).ok());
  for (const std::string& place : row.refuse) hook.RefuseEntry(place);

  row.script(store);

  const bool falls_short =
      engine_under_test.name == "reference" && !row.reference_events.empty();
  EXPECT_EQ(journal.events(), falls_short ? row.reference_events : row.events);
  EXPECT_EQ(journal.outcomes(), row.outcomes);
  EXPECT_EQ(journal.violations(), "");
  EXPECT_EQ(hook.open(), 0u);
  EXPECT_EQ(hook.open_functions(), 0u);
  EXPECT_EQ(store.store().depth(), 0u);
}

INSTANTIATE_TEST_SUITE_P(Rows, ProbeRows,
                         testing::Combine(testing::ValuesIn(EnginesUnderTest()),
                                          testing::ValuesIn(Rows())),
                         [](const auto& row_info) {
                           return absl::StrCat(
                               std::get<0>(row_info.param).name, "_",
                               std::get<1>(row_info.param).name);
                         });

// --- What is told, and when it can be changed --------------------------------

class Probes : public OnEveryEngine {
 protected:
  Probes() : hook_(journal_) {}

  void Install(const std::vector<std::string>& probes) {
    const absl::Status installed =
        guest_.store().SetCallHook(hook_, Probing(journal_, probes));
    EXPECT_TRUE(installed.ok()) << installed;
  }

  ProbingHook hook_;
};

TEST_P(Probes, AreToldTheArguments) {
  Install({"f"});
  std::vector<std::string> told;
  hook_.on_enter = [&](const FunctionEntry& entry) {
    EXPECT_EQ(entry.function.module, "guest");
    EXPECT_EQ(entry.function.func_index, 1u);
    std::string text;
    for (size_t i = 0; i < entry.args.size(); ++i) {
      absl::StrAppend(
          &text, i == 0 ? "" : " ",
          Value(entry.function.type->params[i], entry.args[i]).ToString());
    }
    told.push_back(text);
  };
  guest_.Instantiate(R"((module
    (func (export "zero"))
    (func $f (export "f") (param i32 i64 f32 f64 v128 funcref externref))
    (func (export "go")
      (call $f (i32.const -1) (i64.const 7) (f32.const 0.5) (f64.const 0.25)
               (v128.const i32x4 1 2 3 4) (ref.null func) (ref.null extern)))
    (elem declare func 0)
    (func (export "refers")
      (call $f (i32.const 0) (i64.const 0) (f32.const 0) (f64.const 0)
               (v128.const i32x4 0 0 0 0) (ref.func 0) (ref.null extern)))))");
  guest_.Call("go");
  const V128 vector = {{1, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0, 4, 0, 0, 0}};
  std::vector<Value> args = {Value::I32(~uint32_t{0}), Value::I64(uint64_t{7}),
                             Value::F32(0.5f), Value::F64(0.25),
                             Value::Vector(vector)};
  std::string expected;
  for (const Value& arg : args) absl::StrAppend(&expected, arg.ToString(), " ");
  absl::StrAppend(&expected, Value::NullFuncRef().ToString(), " ",
                  Value::NullExternRef().ToString());
  ASSERT_EQ(told.size(), 1u);
  EXPECT_EQ(told[0], expected);

  const std::optional<Func> zero = guest_.FindFunc("zero");
  ASSERT_TRUE(zero.has_value());
  hook_.on_enter = [&](const FunctionEntry& entry) {
    // A reference that the embedder knows, not the engine's own.
    const auto func =
        guest_.store().FuncFromRef(Value(ValType::kFuncRef, entry.args[5]));
    ASSERT_TRUE(func.ok()) << func.status();
    EXPECT_EQ(func->ref().raw().ref(), zero->ref().raw().ref());
  };
  guest_.Call("refers");
  EXPECT_EQ(journal_.outcomes(), "ok; ok");
}

TEST_P(Probes, AreToldTheTrap) {
  Install({"f", "g"});
  std::vector<std::string> told;
  hook_.on_leave = [&](const FunctionExit& exit) {
    ASSERT_NE(exit.trap, nullptr);
    told.push_back(std::string(TrapCodeName(exit.trap->code())));
    ASSERT_EQ(exit.trap->backtrace().size(), 3u);
    EXPECT_EQ(exit.trap->backtrace()[0].func_name, "g");
  };
  guest_.Instantiate(R"((module
    (func $f call $g) (func $g unreachable)
    (func $go (export "go") call $f)))");
  guest_.Call("go");
  EXPECT_EQ(told, (std::vector<std::string>{"unreachable", "unreachable"}));
}

// The function that may not run belongs to the story of how it came about.
TEST_P(Probes, NameTheRefusedFunctionInTheBacktrace) {
  Install({"f", "g", "loops"});
  hook_.RefuseEntry("g#1");
  hook_.RefuseEntry("loops#1");
  guest_.Instantiate(R"((module
    (func $f call $g) (func $g) (func $go (export "go") call $f)
    (func $loops return_call $g)
    (func $tails (export "tails") return_call $loops)
    (func $starts (export "starts") call $tails)))");
  const auto backtrace = [&](const std::string& name) {
    std::string text;
    const auto called = guest_.FindFunc(name)->Call({});
    if (!called.ok() || !called->trap.has_value()) return text;
    for (const Frame& frame : called->trap->backtrace()) {
      absl::StrAppend(&text, text.empty() ? "" : " ", frame.func_name);
    }
    return text;
  };
  EXPECT_EQ(backtrace("go"), "g f go");
  EXPECT_EQ(backtrace("starts"), "loops starts");
}

TEST_P(Probes, HoldOneCallOpenInTailRecursion) {
  class CountingHook final : public CallHook {
   public:
    Disposition OnTransition(CallContext& call) override {
      return call.Proceed();
    }
    ErrorRef OnFunctionEnter(const FunctionEntry& entry) override {
      ++entries;
      deepest = std::max(deepest, entry.depth);
      return nullptr;
    }
    void OnFunctionLeave(const FunctionExit& exit) override {
      ++exits;
      if (exit.ending == FunctionEnding::kTailCall) ++tail_calls;
    }
    uint64_t entries = 0;
    uint64_t exits = 0;
    uint64_t tail_calls = 0;
    uint32_t deepest = 0;
  };
  CountingHook hook;
  ASSERT_TRUE(guest_.store()
                  .SetCallHook(hook, Probing(journal_, {"down", "other"}))
                  .ok());
  guest_.Instantiate(R"((module
    (func $down (param i32) (result i32)
      (if (result i32) (local.get 0)
        (then (return_call $other (i32.sub (local.get 0) (i32.const 1))))
        (else (i32.const 42))))
    (func $other (param i32) (result i32)
      (if (result i32) (local.get 0)
        (then (return_call $down (i32.sub (local.get 0) (i32.const 1))))
        (else (i32.const 42))))
    (func (export "go") (param i32) (result i32)
      (call $down (local.get 0)))))");
  // The reference engine would take half a minute.
  const uint32_t turns = GetParam().name == "reference" ? 100'000 : 1'000'000;
  guest_.Call("go", {Value::I32(turns)});
  EXPECT_EQ(journal_.outcomes(), "ok i32:42");
  EXPECT_EQ(hook.entries, turns + 1);
  EXPECT_EQ(hook.exits, turns + 1);
  EXPECT_EQ(hook.tail_calls, turns);
  EXPECT_EQ(hook.deepest, 1u);
}

TEST_P(Probes, AreSettledWhenTheStackIsExhausted) {
  Install({"down"});
  guest_.Instantiate(R"((module
    (func $down call $down) (func (export "go") call $down)))");
  guest_.Call("go");
  EXPECT_EQ(journal_.outcomes(), "call_stack_exhausted");
  EXPECT_EQ(hook_.open_functions(), 0u);
}

TEST_P(Probes, AreSettledWhenTheGuestIsInterrupted) {
  Install({"f"});
  guest_.Define("h", [this](Caller& caller, absl::Span<const RawValue>,
                            absl::Span<RawValue>) {
    caller.store().Interrupt();
    return ErrorRef();
  });
  guest_.Instantiate(R"((module (import "env" "h" (func $h))
    (func $f call $h (loop br 0)) (func (export "go") call $f)))");
  guest_.Call("go");
  EXPECT_EQ(journal_.events(), "cw +f ch rh -f:trap rw");
  EXPECT_EQ(journal_.outcomes(), "interrupted");
}

constexpr absl::string_view kTwo = R"((module (type $void (func))
  (table 1 funcref) (elem (i32.const 0) $f)
  (func $f) (func $g)
  (func (export "go") call $f call $g
    (call_indirect (type $void) (i32.const 0)))))";

TEST_P(Probes, FollowTheHook) {
  guest_.Instantiate(kTwo, "a");
  guest_.Instantiate(kTwo, "b");
  const auto call = [this] {
    guest_.journal().Step();
    guest_.Call(guest_.FindFunc("go", "a"));
    guest_.Call(guest_.FindFunc("go", "b"));
  };
  call();
  Install({"f"});
  call();
  Install({"g"});
  call();
  Install({"f"});
  call();
  Install({});
  call();
  ASSERT_TRUE(guest_.store().ClearCallHook().ok());
  call();
  EXPECT_EQ(journal_.events(),
            "| cw rw cw rw "
            "| cw +f -f +f -f rw cw +f -f +f -f rw "
            "| cw +g -g rw cw +g -g rw "
            "| cw +f -f +f -f rw cw +f -f +f -f rw "
            "| cw rw cw rw |");
}

TEST_P(Probes, NumberFunctionsDensely) {
  Install({"f", "g"});
  std::vector<uint32_t> numbers;
  hook_.on_enter = [&](const FunctionEntry& entry) {
    numbers.push_back(entry.function.probe);
  };
  guest_.Instantiate(kTwo, "a");
  guest_.Instantiate(kTwo, "b");
  guest_.Call(guest_.FindFunc("go", "b"));
  guest_.Call(guest_.FindFunc("go", "a"));
  EXPECT_EQ(numbers, (std::vector<uint32_t>{2, 3, 2, 0, 1, 0}));
  numbers.clear();
  Install({"g"});
  guest_.Call(guest_.FindFunc("go", "b"));
  EXPECT_EQ(numbers, (std::vector<uint32_t>{1}));
}

TEST_P(Probes, CannotBeChangedInTheMiddleOfACall) {
  Install({"f"});
  std::vector<absl::StatusCode> codes;
  const auto change = [&] {
    codes.push_back(
        guest_.store().SetCallHook(hook_, Probing(journal_, {"g"})).code());
    codes.push_back(guest_.store().ClearCallHook().code());
  };
  hook_.on_enter = [&](const FunctionEntry&) { change(); };
  hook_.on_leave = [&](const FunctionExit&) { change(); };
  guest_.Instantiate(kTwo);
  guest_.Call("go");
  EXPECT_EQ(codes, std::vector<absl::StatusCode>(
                       8, absl::StatusCode::kFailedPrecondition));
  EXPECT_EQ(journal_.events(), "cw +f -f +f -f rw");
}

TEST_P(Probes, AllowNoReentryWhateverTheOptionsSay) {
  HookOptions options = Probing(journal_, {"f"});
  options.allow_reentry = true;
  ASSERT_TRUE(guest_.store().SetCallHook(hook_, options).ok());
  guest_.Instantiate(kTwo);
  const std::optional<Func> go = guest_.FindFunc("go");
  ASSERT_TRUE(go.has_value());
  std::vector<absl::StatusCode> codes;
  const auto reenter = [&] { codes.push_back(go->Call({}).status().code()); };
  hook_.on_enter = [&](const FunctionEntry&) { reenter(); };
  hook_.on_leave = [&](const FunctionExit&) { reenter(); };
  guest_.Call("go");
  EXPECT_EQ(codes, std::vector<absl::StatusCode>(
                       4, absl::StatusCode::kFailedPrecondition));
}

// Guests that the hook runs itself run unwatched.
TEST_P(Probes, AreSilentInTheHooksOwnCalls) {
  HookOptions options = Probing(journal_, {"f", "bad"});
  options.allow_reentry = true;
  ASSERT_TRUE(guest_.store().SetCallHook(hook_, options).ok());
  guest_.Define("h", guest_.Returns());
  guest_.Instantiate(R"((module (import "env" "h" (func $h))
    (func $f call $h) (func $bad unreachable)
    (func (export "calls_f") call $f) (func (export "traps") call $bad)))");
  hook_.judge = [&](CallContext& call) {
    if (call.transition() == Transition::kReturningFromHost) {
      const auto trapped = guest_.FindFunc("traps")->Call({});
      EXPECT_TRUE(trapped.ok() && trapped->trap.has_value());
      EXPECT_TRUE(guest_.FindFunc("calls_f")->Call({}).ok());
    }
    return call.Proceed();
  };
  guest_.Call("calls_f");
  EXPECT_EQ(journal_.events(), "cw +f ch H rh H -f rw");
}

TEST_P(Probes, CostNoFuel) {
  constexpr absl::string_view kLoops = R"((module
    (func $f (param i32) (result i32) (i32.add (local.get 0) (i32.const 1)))
    (func $t (param i32) (result i32) (return_call $f (local.get 0)))
    (func (export "go") (result i32) (local $i i32) (local $sum i32)
      (loop $more
        (local.set $sum (call $t (local.get $sum)))
        (br_if $more (i32.lt_u
          (local.tee $i (i32.add (local.get $i) (i32.const 1)))
          (i32.const 1000))))
      (local.get $sum))))";
  guest_.Instantiate(kLoops);
  const std::optional<Func> go = guest_.FindFunc("go");
  ASSERT_TRUE(go.has_value());
  const auto fuel = [&] {
    const auto called = go->Call({});
    EXPECT_TRUE(called.ok() && called->returned());
    EXPECT_EQ(called->values[0].i32(), 1000);
    return called->usage.fuel;
  };
  const uint64_t without = fuel();
  Install({"f", "t"});
  EXPECT_EQ(fuel(), without);
}

// --- Guests that nobody thought of ------------------------------------------

// Functions that call each other in every way there is, trap, throw and catch,
// each with one parameter that says how deep they may still go. What wabt's
// interpreter gets wrong is left out where it is asked: direct tail calls in a
// module with imports or in a function with a try, and a try that stands behind
// something that throws, which it catches, too.
class RandomGuest {
 public:
  RandomGuest(uint32_t seed, bool tail_calls, bool exceptions)
      : random_(seed), tail_calls_(tail_calls), exceptions_(exceptions) {}

  std::string Wat() {
    std::string text =
        "(module (type $t (func (param i32))) (tag $e) (table 6 funcref)\n"
        "(elem (i32.const 0) 0 1 2 3 4 5)\n";
    for (int i = 0; i < kFunctions; ++i) {
      absl::StrAppend(&text, "(func $f", i, " (param $d i32)\n",
                      "(if (i32.eqz (local.get $d)) (then return))\n");
      const bool tries = exceptions_ && Below(2) == 0;
      if (tries) AddTry(text);
      for (uint32_t n = Below(4); n > 0; --n) AddStatement(tries, text);
      if (tail_calls_ && Below(2) == 0) {
        absl::StrAppend(&text, AnyCall("return_call"));
      }
      absl::StrAppend(&text, ")\n");
    }
    const absl::string_view call = "(call $f0 (i32.const 4))";
    absl::StrAppend(&text, "(func (export \"go\") ");
    if (exceptions_ && Below(4) != 0) {
      absl::StrAppend(&text, "(try (do ", call, ") (catch_all))))");
    } else {
      absl::StrAppend(&text, call, "))");
    }
    return text;
  }
  std::vector<std::string> Selection() {
    std::vector<std::string> probes;
    for (int i = 0; i < kFunctions; ++i) {
      if (Below(3) != 0) probes.push_back(absl::StrCat("#", i));
    }
    return probes;
  }
  // Somebody's, perhaps.
  std::string Refusal() {
    return absl::StrCat("f", Below(kFunctions), "#", 1 + Below(8));
  }
  uint32_t Below(uint32_t n) { return static_cast<uint32_t>(random_() % n); }

 private:
  static constexpr int kFunctions = 6;

  std::string AnyCall(absl::string_view call) {
    const std::string deeper = "(i32.sub (local.get $d) (i32.const 1))";
    const uint32_t callee = Below(kFunctions);
    if (Below(3) == 0) {
      return absl::StrCat("(", call, "_indirect (type $t) ", deeper,
                          " (i32.const ", Below(30) == 0 ? 9 : callee, "))\n");
    }
    return absl::StrCat("(", call, " $f", callee, " ", deeper, ")\n");
  }
  void AddTry(std::string& text) {
    absl::StrAppend(&text, "(try (do ", AnyCall("call"), ") (catch_all ",
                    Below(3) == 0 ? "(rethrow 0)" : "", "))\n");
  }
  void AddStatement(bool tries, std::string& text) {
    const uint32_t kind = Below(20);
    const std::string at_some_depth = absl::StrCat(
        "(if (i32.eq (local.get $d) (i32.const ", 1 + Below(4), ")) (then ");
    if (kind == 0) {
      absl::StrAppend(&text, at_some_depth, "unreachable))\n");
    } else if (kind < 5 && exceptions_ && !tries) {
      absl::StrAppend(&text, at_some_depth, "(throw $e)))\n");
    } else if (kind < 9 && exceptions_ && tail_calls_) {
      AddTry(text);
    } else {
      absl::StrAppend(&text, AnyCall("call"));
    }
  }

  std::mt19937 random_;
  const bool tail_calls_;
  const bool exceptions_;
};

TEST(ProbesOfRandomGuests, AreToldTheSameOnEveryEngine) {
  std::vector<std::unique_ptr<Engine>> engines;
  for (const EngineUnderTest& engine : EnginesUnderTest()) {
    engines.push_back(engine.make());
  }
  size_t events = 0;
  size_t caught = 0;
  size_t refused = 0;
  for (uint32_t seed = 1; seed <= 90; ++seed) {
    const bool tail_calls = seed % 3 != 0;
    const bool exceptions = seed % 3 != 1;
    RandomGuest guest(seed, tail_calls, exceptions);
    const std::string wat = guest.Wat();
    const std::vector<std::string> selection = guest.Selection();
    const std::optional<std::string> refusal =
        guest.Below(3) == 0 ? std::optional(guest.Refusal()) : std::nullopt;
    std::string expected;
    for (const std::unique_ptr<Engine>& engine : engines) {
      if (tail_calls && exceptions && engine->name() == "reference") continue;
      Journal journal;
      ProbingHook hook(journal);
      WatchedStore store(*engine, journal);
      ASSERT_TRUE(
          store.store().SetCallHook(hook, Probing(journal, selection)).ok());
      if (refusal.has_value()) hook.RefuseEntry(*refusal);
      ASSERT_TRUE(store.Instantiate(wat)) << wat;
      store.Call("go");
      const std::string told =
          absl::StrCat(journal.events(), "\n", journal.outcomes());
      ASSERT_EQ(journal.violations(), "") << wat;
      ASSERT_EQ(hook.open_functions(), 0u) << wat;
      if (expected.empty()) expected = told;
      ASSERT_EQ(told, expected) << engine->name() << ", seed " << seed << "\n"
                                << wat;
    }
    events +=
        static_cast<size_t>(std::count(expected.begin(), expected.end(), '+'));
    if (absl::StrContains(expected, ":exception")) ++caught;
    if (absl::StrContains(expected, "!")) ++refused;
  }
  // They do what they are for.
  EXPECT_GT(events, 1'000u);
  EXPECT_GT(caught, 5u);
  EXPECT_GT(refused, 5u);
}

INSTANTIATE_TEST_SUITE_P(Engines, Probes, testing::ValuesIn(EnginesUnderTest()),
                         EngineName);

}  // namespace
}  // namespace callgate
