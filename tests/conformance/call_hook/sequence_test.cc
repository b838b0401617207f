// The order of the call hook's events: every case in which Wasmtime (47 and
// before, core modules) and Wasmi have a documented or tested behaviour, as one
// table, for each of the four profiles (HookProfile).
//
// A row is a script, the exact events it must cause, how the embedder's calls
// ended, and what each returning transition was told (left out where all of
// them returned values). The notation is journal.h's. "refused ch#2" means:
// trap code refused, and the very error object that the hook gave at the second
// CallingHost. What a row states holds for the default profile and for all that
// its differences do not name.
//
// W rows restate tests of Wasmtime, I rows tests of Wasmi, C5 the core form of
// a component test, D rows are the cases that a study of both sources found, X
// rows follow from this project's own rules. Not applicable:
//
//   W2  W4  W6     async host functions, calls and instantiation: there is no
//                  async form of this API
//   W9  W10 W11    async hooks: timeout, yielding, being dropped half-way
//                  (X_loop has W10's loop with a synchronous hook)
//   W12            events around async yields, Wasmtime 48 and later: fuel has
//                  no yields (D31 and D41 have the events where it ends)
//   W13            synchronous entry refused once an async hook is set
//   C1             component form of W3
//   C2  C3         realloc and post-return of the canonical ABI
//   C4             component form of W4
//   C6  C7         component forms of W10 and W11
//   C8             concurrent component calls, Wasmtime 48 and later
//   D32 D33 D34    resuming a call after an error of host or hook, Wasmi only:
//                  a stopped guest is gone
//   D35            resuming after fuel ran out, Wasmi only: the same
//   D44            the same events in every tier: each engine in
//                  EnginesUnderTest() runs this same table
//
// Of the engine's own work that Wasmtime 48 brackets there is here memory.grow,
// table.grow, elem.drop and the end of fuel. It has no counterpart for:
//
//   memory.atomic.* wait and notify          threads are refused
//   garbage collection, interned functions   the GC proposal is refused
//   throw_ref                                exceptions have their legacy form
//   stack switching, breakpoints, wmemcheck  there are none
//   new_epoch                                an interruption and a deadline are
//                                            not the hook's to allow
//   trap, raised by a call                   traps are branches here, as in
//                                            Wasmtime's own default
//   D24's startup function                   initialisation is not guest code

#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "tests/conformance/call_hook/engines.h"
#include "tests/conformance/call_hook/journal.h"
#include "tests/conformance/call_hook/recording_hook.h"
#include "tests/conformance/call_hook/watched_store.h"

namespace callgate {
namespace {

using Nested = WatchedStore::Nested;
using Script = std::function<void(WatchedStore&)>;

struct Row {
  std::string name;
  Script script;
  std::vector<std::string> refuse_at;
  std::string events;
  std::string outcomes;
  // Empty: every returning transition was told that it ended with values.
  std::string endings;
  // What other profiles have instead.
  struct Difference {
    std::vector<HookProfile> profiles;
    std::string events;
    std::string endings;
    // Nothing: as the row.
    std::optional<std::string> outcomes;
  };
  std::vector<Difference> differences = {};
};

using Difference = Row::Difference;

Difference InWasmtime48(std::string events, std::string endings = "",
                        std::optional<std::string> outcomes = std::nullopt) {
  return {{HookProfile::kWasmtime48},
          std::move(events),
          std::move(endings),
          std::move(outcomes)};
}
Difference InWasmi(std::string events, std::string endings = "",
                   std::optional<std::string> outcomes = std::nullopt) {
  return {{HookProfile::kWasmi1, HookProfile::kWasmi2},
          std::move(events),
          std::move(endings),
          std::move(outcomes)};
}
Difference InWasmi1(std::string events, std::string endings = "",
                    std::optional<std::string> outcomes = std::nullopt) {
  return {{HookProfile::kWasmi1},
          std::move(events),
          std::move(endings),
          std::move(outcomes)};
}
Difference InWasmi2(std::string events, std::string endings = "",
                    std::optional<std::string> outcomes = std::nullopt) {
  return {{HookProfile::kWasmi2},
          std::move(events),
          std::move(endings),
          std::move(outcomes)};
}

void PrintTo(const Row& row, std::ostream* out) { *out << row.name; }

// --- Guests ------------------------------------------------------------------

// h does what the script says; outer is for calling back.
constexpr absl::string_view kGuest = R"(
  (module
    (import "env" "h" (func $h))
    (import "env" "outer" (func $outer))
    (global $calls (mut i32) (i32.const 0))
    (func (export "empty"))
    (func (export "seven") (result i32) i32.const 7)
    (func (export "add_one") (param i32) (result i32)
      local.get 0 i32.const 1 i32.add)
    (func (export "calls_h")
      global.get $calls i32.const 1 i32.add global.set $calls
      call $h)
    (func (export "calls") (result i32) global.get $calls)
    (func (export "calls_h_twice") call $h call $h)
    (func (export "calls_outer") call $outer)
    (func (export "traps") unreachable)
    (func (export "calls_h_and_traps") call $h unreachable)
    (func (export "spins") (loop br 0))
    (export "h_again" (func $h))))";

constexpr absl::string_view kIndirectGuest = R"(
  (module
    (import "env" "h" (func $h))
    (type $void (func))
    (table 2 funcref)
    (elem (i32.const 1) $h)
    (func (export "go") i32.const 1 call_indirect (type $void))))";

constexpr absl::string_view kTailGuest = R"(
  (module
    (import "env" "h" (func $h))
    (func (export "go") return_call $h)
    (func $tail return_call $h)
    (func (export "tail_and_on") call $tail call $h)))";

constexpr absl::string_view kIndirectTailGuest = R"(
  (module
    (import "env" "h" (func $h))
    (type $void (func))
    (table 2 funcref)
    (elem (i32.const 1) $h)
    (func $tail i32.const 1 return_call_indirect (type $void))
    (func (export "go") i32.const 1 return_call_indirect (type $void))
    (func (export "tail_and_on") call $tail call $h)))";

// --- Scripts -----------------------------------------------------------------

// Instantiates kGuest with this h, then calls an export.
Script Calls(const std::string& export_name,
             std::function<HostFunction(WatchedStore&)> h = nullptr) {
  return [export_name, h = std::move(h)](WatchedStore& store) {
    store.Define("h", h ? h(store) : store.Returns());
    store.Define("outer", store.Returns());
    store.Instantiate(kGuest);
    store.Call(export_name);
  };
}

HostFunction Boom(WatchedStore& store) { return store.Fails("boom"); }

// The embedder calls the guest, whose host call calls `inner` of the guest.
Script Reenters(const std::string& inner, Nested nested,
                std::function<HostFunction(WatchedStore&)> h = nullptr) {
  return [inner, nested, h = std::move(h)](WatchedStore& store) {
    store.Define("h", h ? h(store) : store.Returns());
    store.Define("outer", store.Reenters(inner, nested));
    store.Instantiate(kGuest);
    store.Call("calls_outer");
  };
}

// The embedder calls a host function directly.
Script CallsDirectly(std::function<HostFunction(WatchedStore&)> body) {
  return [body = std::move(body)](WatchedStore& store) {
    store.Call(store.NewHostFunc(body(store)));
  };
}

HostFunction Returning(WatchedStore& store) { return store.Returns(); }

// Instantiates another guest than kGuest and calls its "go", or `export_name`.
Script Runs(absl::string_view wat,
            std::function<HostFunction(WatchedStore&)> h = nullptr,
            const std::string& export_name = "go") {
  return [wat, h = std::move(h), export_name](WatchedStore& store) {
    store.Define("h", h ? h(store) : store.Returns());
    store.Instantiate(wat);
    store.Call(export_name);
  };
}

Script Instantiates(absl::string_view wat,
                    std::function<HostFunction(WatchedStore&)> h = nullptr) {
  return [wat, h = std::move(h)](WatchedStore& store) {
    store.Define("h", h ? h(store) : store.Returns());
    store.Instantiate(wat);
  };
}

// `text` once per time, with `between` between.
std::string Times(int times, const std::string& text,
                  const std::string& between = " ") {
  std::string all;
  for (int i = 0; i < times; ++i) {
    absl::StrAppend(&all, i == 0 ? "" : between, text);
  }
  return all;
}

// --- W: Wasmtime's own tests -------------------------------------------------

// Arguments of four types arrive intact, inside both activations.
HostFunction Probe(WatchedStore& store) {
  return [&store](Caller& caller, absl::Span<const RawValue> args,
                  absl::Span<RawValue>) {
    const bool intact = args.size() == 4 && args[0].i32() == 7 &&
                        args[1].i64() == 8 && args[2].f32() == 0.5f &&
                        args[3].f64() == 0.25;
    const bool inside =
        (store.hook().open() == 2 || !store.hook().check_nesting) &&
        caller.store().depth() == 2;
    store.journal().Note(intact && inside ? "H" : "H-wrong");
    return ErrorRef();
  };
}

const FuncType& ProbeType() {
  static const FuncType type{
      {ValType::kI32, ValType::kI64, ValType::kF32, ValType::kF64}, {}};
  return type;
}

void W1(WatchedStore& store) {
  const std::optional<Func> probe =
      store.NewHostFunc(Probe(store), ProbeType());
  if (!probe.has_value()) return;
  const std::vector<Value> args = {Value::I32(7), Value::I64(int64_t{8}),
                                   Value::F32(0.5f), Value::F64(0.25)};
  store.Call(probe, args);
  store.journal().Step();
  store.CallTyped<int32_t, int64_t, float, double>(probe, 7, 8, 0.5f, 0.25);
  store.journal().Step();
  // As a value, and back.
  const absl::StatusOr<Func> again = store.store().FuncFromRef(probe->ref());
  if (again.ok()) store.Call(*again, args);
}

void W3(WatchedStore& store) {
  store.Define("probe", ProbeType(), Probe(store));
  store.Instantiate(R"((module
    (import "env" "probe" (func $probe (param i32 i64 f32 f64)))
    (func (export "go")
      (call $probe (i32.const 7) (i64.const 8) (f32.const 0.5)
                   (f64.const 0.25)))))");
  store.Call("go");
  store.journal().Step();
  store.CallTyped<>(store.FindFunc("go"));
}

void W5(WatchedStore& store) {
  store.Instantiate("(module)");
  store.journal().Step();
  store.Instantiate("(module (func $s) (start $s))");
}

void W7(WatchedStore& store) {
  store.Define(
      "again", FuncType{{ValType::kI32}, {}},
      [&store](Caller&, absl::Span<const RawValue> args, absl::Span<RawValue>) {
        if (args[0].i32() == 0) {
          store.journal().Note("H");
          return ErrorRef();
        }
        return store.Reenter("go", {Value::I32(args[0].i32() - 1)});
      });
  store.Instantiate(R"((module
    (import "env" "again" (func $again (param i32)))
    (func (export "go") (param $left i32) (call $again (local.get $left)))))");
  store.Call("go", {Value::I32(10)});
  store.journal().Step();
  store.CallTyped<int32_t>(store.FindFunc("go"), 10);
}

// W8's act(what, deeper): 0 fails; 1 to 4 make the hook refuse at every ch, rh,
// cw or rw from now on; then, if deeper, calls go(what, 0).
Script ErrorMatrix(int what, int deeper, bool twice = false) {
  return [what, deeper, twice](WatchedStore& store) {
    const ErrorRef boom = store.journal().NewError("boom");
    store.Define(
        "act", FuncType{{ValType::kI32, ValType::kI32}, {}},
        [&store, boom](Caller&, absl::Span<const RawValue> args,
                       absl::Span<RawValue>) -> ErrorRef {
          static constexpr const char* kSigns[] = {"", "ch", "rh", "cw", "rw"};
          const uint32_t action = args[0].u32();
          if (action == 0) {
            store.journal().Note("Herr");
            return boom;
          }
          if (action <= 4) store.hook().RefuseFromNowOn(kSigns[action]);
          if (args[1].u32() != 0) {
            return store.Reenter("go", {Value::I32(action), Value::I32(0)});
          }
          store.journal().Note("H");
          return nullptr;
        });
    store.Instantiate(R"((module
      (import "env" "act" (func $act (param i32 i32)))
      (func (export "go") (param $what i32) (param $deeper i32)
        (call $act (local.get $what) (local.get $deeper)))))");
    const std::vector<Value> args = {Value::I32(what), Value::I32(deeper)};
    store.Call("go", args);
    if (!twice) return;
    store.journal().Step();
    store.Call("go", args);
  };
}

// --- I: Wasmi's own tests ----------------------------------------------------

// wa calls ha, wb calls hb; ha calls wb and swallows its end.
void I1(WatchedStore& store) {
  store.Define("ha", store.Reenters("wb", Nested::kSwallow));
  store.Define("hb", store.Returns());
  store.Instantiate(R"((module
    (import "env" "ha" (func $ha)) (import "env" "hb" (func $hb))
    (func (export "wa") (call $ha)) (func (export "wb") (call $hb))))");
  store.Call("wa");
}

// I1 with a hook that lets `limit` events pass and refuses all others with a
// trap code.
Script LimitsEvents(int limit, TrapCode code) {
  return [limit, code](WatchedStore& store) {
    const ErrorRef error =
        store.journal().NameError("limit", std::make_shared<TrapError>(code));
    auto passed = std::make_shared<int>(0);
    store.hook().judge = [limit, error, passed](CallContext& call) {
      if (*passed >= limit) return call.Refuse(error);
      ++*passed;
      return call.Proceed();
    };
    I1(store);
  };
}

// --- D: the cases of the study -----------------------------------------------

void D28OtherInstance(WatchedStore& store) {
  store.Instantiate(R"((module (func (export "f"))
    (table (export "t") 1 funcref) (elem (i32.const 0) $inner)
    (func $inner)))",
                    "lib");
  const std::optional<Instance> lib = store.FindInstance("lib");
  if (!lib.has_value()) return;
  const absl::Status defined = store.linker().DefineInstance("lib", *lib);
  if (!defined.ok()) store.journal().NoteViolation(defined.ToString());
  store.Instantiate(R"((module
    (import "lib" "f" (func $f)) (import "lib" "t" (table 1 funcref))
    (type $void (func))
    (func (export "direct") call $f)
    (func (export "via_table") i32.const 0 call_indirect (type $void))))");
  store.Call("direct");
  store.journal().Step();
  store.Call("via_table");
}

void D37(WatchedStore& store) {
  Calls("calls_h")(store);
  store.journal().Step();
  RecordingHook second(store.journal(), "2:");
  HookOptions options;
  options.profile = store.profile();
  store.journal().NoteOutcome(
      store.store().SetCallHook(second, options).ok() ? "set" : "not set");
  store.Call("calls_h");
  store.journal().Step();
  store.journal().NoteOutcome(
      store.store().ClearCallHook().ok() ? "cleared" : "not cleared");
  store.Call("calls_h");
}

// At every event the hook calls `export_name` of the same Store, and notes how
// that ended.
Script HookCalls(const std::string& export_name, bool allow_reentry) {
  return [export_name, allow_reentry](WatchedStore& store) {
    store.Define("h", store.Returns());
    store.Define("outer", store.Returns());
    store.Instantiate(kGuest);
    HookOptions options;
    options.allow_reentry = allow_reentry;
    options.profile = store.profile();
    const absl::Status set = store.store().SetCallHook(store.hook(), options);
    if (!set.ok()) store.journal().NoteViolation(set.ToString());
    store.hook().judge = [&store, export_name](CallContext& call) {
      store.Call(export_name);
      return call.Proceed();
    };
    store.Call("calls_h");
    // The hook is back in its place.
    store.hook().judge = nullptr;
    store.journal().Step();
    store.Call("calls_h");
  };
}

// A host function of one Store drives another Store.
void D39(WatchedStore& store) {
  auto other =
      std::make_shared<WatchedStore>(store.store().engine(), store.journal(),
                                     "B:", Limits(), nullptr, store.profile());
  Calls("calls_h")(*other);
  store.journal().Step();
  store.Define("h", store.Returns());
  store.Define("outer", [other](Caller&, absl::Span<const RawValue>,
                                absl::Span<RawValue>) {
    return other->Reenter("calls_h");
  });
  store.Instantiate(kGuest);
  store.Call("calls_outer");
}

// The hook looks at the fuel at every event, and the host function takes some.
// Engines differ in what an operator costs, so a step is compared to the last.
void D41Reads(WatchedStore& store) {
  auto last = std::make_shared<uint64_t>(0);
  store.hook().judge = [&store, last](CallContext& call) {
    const uint64_t left = call.fuel().left().value_or(0);
    const std::string sign(TransitionSign(call.transition()));
    switch (call.transition()) {
      case Transition::kCallingWasm:
        store.journal().NoteOutcome(absl::StrCat(sign, " ", left));
        break;
      case Transition::kCallingHost:
        store.journal().NoteOutcome(
            absl::StrCat(sign, left < *last ? " less" : " not less"));
        break;
      case Transition::kReturningFromHost:
        store.journal().NoteOutcome(
            absl::StrCat(sign, " ", *last - left, " less"));
        break;
      case Transition::kReturningFromWasm:
        store.journal().NoteOutcome(
            absl::StrCat(sign, left <= *last ? " no more" : " more"));
        break;
    }
    *last = left;
    return call.Proceed();
  };
  Calls("calls_h", [](WatchedStore& s) -> HostFunction {
    return
        [&s](Caller& caller, absl::Span<const RawValue>, absl::Span<RawValue>) {
          s.journal().Note(caller.fuel().Consume(100).ok() ? "H" : "H-spent");
          return ErrorRef();
        };
  })(store);
}
void D41ReadsWithATank(WatchedStore& store) {
  if (!store.store().fuel().Set(1'000).ok()) return;
  D41Reads(store);
}

// The guest has fuel for less than one round; at each host call the hook makes
// it what it was.
constexpr absl::string_view kRounds = R"((module
  (import "env" "h" (func $h))
  (func (export "go") (local $rounds i32) (local $turns i32)
    (loop $again
      call $h
      (local.set $turns (i32.const 100))
      (loop $spin
        (br_if $spin (local.tee $turns
          (i32.sub (local.get $turns) (i32.const 1)))))
      (br_if $again (i32.lt_u
        (local.tee $rounds (i32.add (local.get $rounds) (i32.const 1)))
        (i32.const 5)))))))";

Script D41Sets(uint64_t units) {
  return [units](WatchedStore& store) {
    store.hook().judge = [units](CallContext& call) {
      if (call.function().name != "h") return call.Proceed();
      if (call.transition() != Transition::kCallingHost) return call.Proceed();
      return call.fuel().Set(units).ok()
                 ? call.Proceed()
                 : call.Refuse(MakeError("fuel cannot be set"));
    };
    if (!store.store().fuel().Set(1'200).ok()) return;
    Runs(kRounds)(store);
  };
}

// Where the fuel ends, the hook adds more: twice.
void D41AddsAtTheEnd(WatchedStore& store) {
  auto times = std::make_shared<int>(0);
  store.hook().judge = [times](CallContext& call) {
    if (call.function().name != "out_of_fuel") return call.Proceed();
    if (call.transition() != Transition::kCallingHost) return call.Proceed();
    if (++*times > 2) return call.Proceed();
    return call.fuel().Add(5'000).ok()
               ? call.Proceed()
               : call.Refuse(MakeError("fuel cannot be added"));
  };
  if (!store.store().fuel().Set(1'000).ok()) return;
  store.Define("h", store.Returns());
  store.Define("outer", store.Returns());
  store.Instantiate(kGuest);
  store.Call("spins");
}

// What an embedder might attach to a refusal.
class QuotaSpent final : public ErrorObject {
 public:
  explicit QuotaSpent(int quota) : quota_(quota) {}
  int quota() const { return quota_; }
  std::string message() const override { return "quota spent"; }

 private:
  const int quota_;
};

void D40(WatchedStore& store) {
  store.hook().RefuseAt("ch#1", store.journal().NameError(
                                    "quota", std::make_shared<QuotaSpent>(12)));
  store.Define("h", store.Returns());
  store.Define("outer", store.Returns());
  store.Instantiate(kGuest);
  const std::optional<Func> func = store.FindFunc("calls_h");
  if (!func.has_value()) return;
  const absl::StatusOr<CallResult> called = func->Call({});
  store.journal().NoteOutcome(store.journal().Describe(called));
  if (!called.ok() || called->returned()) return;
  const auto* quota =
      dynamic_cast<const QuotaSpent*>(called->trap->cause().get());
  store.journal().NoteOutcome(
      quota == nullptr ? "type lost" : absl::StrCat("quota ", quota->quota()));
}

// The hook sees the host function's own error object on the way out.
void D42(WatchedStore& store) {
  const ErrorRef boom = store.journal().NewError("boom");
  store.hook().judge = [&store](CallContext& call) {
    if (call.trap() != nullptr) {
      store.journal().NoteOutcome(store.journal().NameOf(call.trap()->cause()));
    }
    return call.Proceed();
  };
  Calls("calls_h", [boom](WatchedStore& s) { return s.Fails(boom); })(store);
}

// --- X: this project's own ---------------------------------------------------

void RefusedThenUsedAgain(WatchedStore& store) {
  Calls("calls_h")(store);
  store.journal().Step();
  store.Call("calls_h");
  store.journal().Step();
  // What the guest did before it was refused stays done.
  store.Call("calls");
}

void WrongArguments(WatchedStore& store) {
  store.Define("h", store.Returns());
  store.Define("outer", store.Returns());
  store.Instantiate(kGuest);
  store.Call("add_one");
  store.Call("add_one", {Value::I32(1), Value::I32(2)});
  store.Call("add_one", {Value::F64(1.0)});
  store.journal().Step();
  store.Call("add_one", {Value::I32(41)});
}

void EmbedderGrows(WatchedStore& store) {
  store.Instantiate(R"((module (memory (export "m") 1)
                               (table (export "t") 1 funcref)))");
  const std::optional<Instance> instance = store.FindInstance();
  if (!instance.has_value()) return;
  const absl::StatusOr<Memory> memory = instance->GetMemory("m");
  const absl::StatusOr<Table> table = instance->GetTable("t");
  if (!memory.ok() || !table.ok()) {
    store.journal().NoteViolation("the exports are not there");
    return;
  }
  const absl::StatusOr<uint64_t> pages = memory->Grow(2);
  const absl::StatusOr<uint64_t> elements =
      table->Grow(3, Value::NullFuncRef());
  store.journal().NoteOutcome(pages.ok() && elements.ok() ? "grown"
                                                          : "not grown");
  store.journal().NoteOutcome(absl::StrCat(memory->bytes() / kWasmPageBytes,
                                           " pages, ", table->size(),
                                           " elements"));
}

Script EndsItself(uint32_t code) {
  return Calls("calls_h", [code](WatchedStore& store) {
    return store.Fails(
        store.journal().NameError("exit", std::make_shared<GuestExit>(code)));
  });
}

Script FailsWithTrapCode(TrapCode code) {
  return Calls("calls_h", [code](WatchedStore& store) {
    return store.Fails(store.journal().NameError(
        "as trap", std::make_shared<TrapError>(code)));
  });
}

// The host function fails with the error of a nested refusal, wrapped in its
// own.
void WrapsNestedRefusal(WatchedStore& store) {
  const ErrorRef wrapped = store.journal().NewError("wrapped");
  store.Define("h", store.Returns());
  store.Define("outer", [&store, wrapped](Caller&, absl::Span<const RawValue>,
                                          absl::Span<RawValue>) {
    return store.Reenter("calls_h") == nullptr ? ErrorRef() : wrapped;
  });
  store.Instantiate(kGuest);
  store.Call("calls_outer");
}

// A host function that was put into the guest's table by the embedder.
void TableSetByEmbedder(WatchedStore& store) {
  store.Instantiate(R"((module
    (type $void (func))
    (table (export "t") 1 funcref)
    (func (export "go") i32.const 0 call_indirect (type $void))))");
  const std::optional<Func> held = store.NewHostFunc(store.Returns());
  const std::optional<Instance> instance = store.FindInstance();
  if (!held.has_value() || !instance.has_value()) return;
  const absl::StatusOr<Table> table = instance->GetTable("t");
  const absl::Status set =
      table.ok() ? table->Set(0, held->ref()) : table.status();
  if (!set.ok()) store.journal().NoteViolation(set.ToString());
  store.Call("go");
}

// A host function that reaches the guest as a funcref argument.
void FuncRefArgument(WatchedStore& store) {
  store.Instantiate(R"((module
    (type $void (func))
    (table 1 funcref)
    (func (export "go") (param funcref)
      i32.const 0 local.get 0 table.set 0
      i32.const 0 call_indirect (type $void))))");
  const std::optional<Func> held = store.NewHostFunc(store.Returns());
  if (!held.has_value()) return;
  store.Call("go", {held->ref()});
}

void OutOfFuel(WatchedStore& store) {
  store.Define("h", store.Returns());
  store.Define("outer", store.Returns());
  store.Instantiate(kGuest);
  CallOptions options;
  options.fuel = 10'000;
  store.Call("spins", {}, options);
}

// The host function interrupts its own Store, and the guest would spin on.
void Interrupted(WatchedStore& store) {
  store.Define("h", [&store](Caller& caller, absl::Span<const RawValue>,
                             absl::Span<RawValue>) {
    store.journal().Note("H");
    caller.store().Interrupt();
    return ErrorRef();
  });
  store.Instantiate(R"((module (import "env" "h" (func $h))
    (func (export "go") call $h (loop br 0))))");
  store.Call("go");
}

void TooDeep(WatchedStore& store) {
  store.Define("h", store.Reenters("go", Nested::kPropagate));
  store.Instantiate(R"((module (import "env" "h" (func $h))
    (func (export "go") call $h)))");
  store.Call("go");
}

// A host function may make an instance, whose start function calls on.
void InstantiatesInHostCall(WatchedStore& store) {
  store.Define("h", store.Returns());
  store.Define("outer", [&store](Caller&, absl::Span<const RawValue>,
                                 absl::Span<RawValue>) {
    store.journal().Note("H(");
    const bool made = store.Instantiate(
        "(module (import \"env\" \"h\" (func $h)) (start $h))", "inner");
    store.journal().Note(made ? ")H:ok" : ")H:err");
    return ErrorRef();
  });
  store.Instantiate(kGuest);
  store.Call("calls_outer");
}

// As many activations as said, in a Store of its own.
Script TooDeepAt(uint32_t activations) {
  return [activations](WatchedStore& store) {
    Limits limits;
    limits.activation_depth = activations;
    WatchedStore tight(store.store().engine(), store.journal(), "", limits,
                       nullptr, store.profile());
    TooDeep(tight);
  };
}

constexpr absl::string_view kSegmentsWithoutStart = R"((module
  (func $f)
  (global $g (mut i32) (i32.const 1))
  (memory 1) (table 2 funcref)
  (data (i32.const 0) "x") (data "passive")
  (elem (i32.const 0) $f) (elem func $f)))";

constexpr absl::string_view kEndlessRecursion =
    "(module (func $f (export \"go\") call $f))";

constexpr absl::string_view kEndlessIndirectRecursion = R"((module
  (type $void (func)) (table 1 funcref) (elem (i32.const 0) $f)
  (func $f (export "go") i32.const 0 call_indirect (type $void))))";

std::vector<Row> Rows() {
  const std::string call = "cw ch H rh rw";
  // go(n) of W7: n nested host calls around the innermost.
  const std::string eleven_deep = absl::StrCat(Times(10, "cw ch H("), " ", call,
                                               " ", Times(10, ")H:ok rh rw"));
  // clang-format off
  return {
      // --- Wasmtime's tests
      {"W1_call_wrapped_func", W1, {},
       absl::StrCat(call, " | ", call, " | ", call), "ok; ok; ok", "",
       {InWasmi("H | H | H")}},
      {"W3_call_linked_func", W3, {}, absl::StrCat(call, " | ", call), "ok; ok",
       ""},
      {"W5_instantiate", W5, {}, "| cw rw", "", ""},
      {"W7_recursion", W7, {}, absl::StrCat(eleven_deep, " | ", eleven_deep),
       "ok; ok", ""},
      {"W8a_host_fails", ErrorMatrix(0, 0), {}, "cw ch Herr rh rw",
       "host_error boom", "host_error host_error",
       {InWasmi1("cw ch Herr"),
        InWasmi2("cw ch Herr rw", "host_error")}},
      {"W8b_no_later_ch", ErrorMatrix(1, 0), {}, call, "ok", ""},
      {"W8c_next_ch", ErrorMatrix(1, 1), {}, "cw ch H( cw ch! rw )H:err rh rw",
       "host_error ch#2", "refusal host_error host_error",
       {InWasmi1("cw ch H( cw ch! )H:err"),
        InWasmi2("cw ch H( cw ch! rw )H:err rw", "refusal host_error")}},
      {"W8d_next_rh", ErrorMatrix(2, 0), {}, "cw ch H rh! rw", "refused rh#1",
       "value refusal",
       {InWasmi1("cw ch H rh!")}},
      {"W8e_no_later_cw", ErrorMatrix(3, 0), {}, call, "ok", ""},
      {"W8f_next_cw", ErrorMatrix(3, 1), {}, "cw ch H( cw! )H:err rh rw",
       "host_error cw#2", "host_error host_error",
       {InWasmi1("cw ch H( cw! )H:err"),
        InWasmi2("cw ch H( cw! )H:err rw", "host_error")}},
      {"W8g_next_rw", ErrorMatrix(4, 0), {}, "cw ch H rh rw!", "refused rw#1",
       ""},

      // --- C5 for core: the second call comes from the embedder
      {"C5_nothing_once", ErrorMatrix(9, 0), {}, call, "ok", ""},
      {"C5_nothing_twice", ErrorMatrix(9, 0, true), {},
       absl::StrCat(call, " | ", call), "ok; ok", ""},
      {"C5_host_fails_twice", ErrorMatrix(0, 0, true), {},
       "cw ch Herr rh rw | cw ch Herr rh rw",
       "host_error boom; host_error boom",
       "host_error host_error host_error host_error",
       {InWasmi1("cw ch Herr | cw ch Herr"),
        InWasmi2("cw ch Herr rw | cw ch Herr rw", "host_error host_error")}},
      {"C5_next_ch_twice", ErrorMatrix(1, 0, true), {},
       "cw ch H rh rw | cw ch! rw", "ok; refused ch#2", "value value refusal",
       {InWasmi1("cw ch H rh rw | cw ch!")}},
      {"C5_next_rh_twice", ErrorMatrix(2, 0, true), {},
       "cw ch H rh! rw | cw ch H rh! rw", "refused rh#1; refused rh#2",
       "value refusal value refusal",
       {InWasmi1("cw ch H rh! | cw ch H rh!")}},
      {"C5_next_cw_twice", ErrorMatrix(3, 0, true), {}, "cw ch H rh rw | cw!",
       "ok; refused cw#2", ""},
      {"C5_next_rw_twice", ErrorMatrix(4, 0, true), {},
       "cw ch H rh rw! | cw ch H rh rw!", "refused rw#1; refused rw#2", ""},

      // --- Wasmi's tests
      {"I1_called", I1, {}, "cw ch H( cw ch H rh rw )H:ok rh rw", "ok", ""},
      {"I2_prevents_wasm",
       LimitsEvents(0, TrapCode::kInvalidConversionToInteger), {}, "cw!",
       "invalid_conversion_to_integer limit", ""},
      {"I3_prevents_host", LimitsEvents(1, TrapCode::kIndirectCallTypeMismatch),
       {}, "cw ch! rw!", "indirect_call_type_mismatch limit", "refusal",
       {InWasmi1("cw ch!")}},
      {"I4_prevents_nested_wasm", LimitsEvents(2, TrapCode::kGrowthLimited), {},
       "cw ch H( cw! )H:err rh! rw!", "growth_limited limit", "value refusal",
       {InWasmi1("cw ch H( cw! )H:err rh!")}},

      // --- The study's cases
      {"D1_empty", Calls("empty"), {}, "cw rw", "ok", ""},
      {"D2_host_call", Calls("calls_h"), {}, call, "ok", ""},
      {"D3_host_fails", Calls("calls_h", Boom), {}, "cw ch Herr rh rw",
       "host_error boom", "host_error host_error",
       {InWasmi1("cw ch Herr"),
        InWasmi2("cw ch Herr rw", "host_error")}},
      {"D4_reentry", Reenters("calls_h", Nested::kPropagate), {},
       "cw ch H( cw ch H rh rw )H:ok rh rw", "ok", ""},
      {"D5_direct_host_call", CallsDirectly(Returning), {}, call, "ok", "",
       {InWasmi("H")}},
      {"D6_direct_host_call_fails", CallsDirectly(Boom), {}, "cw ch Herr rh rw",
       "host_error boom", "host_error host_error",
       {InWasmi("Herr")}},
      {"D7_refused_at_cw", Calls("calls_h"), {"cw#1"}, "cw!", "refused cw#1",
       ""},
      {"D8_refused_at_ch", Calls("calls_h"), {"ch#1"}, "cw ch! rw",
       "refused ch#1", "refusal",
       {InWasmi1("cw ch!")}},
      {"D9_refused_at_rh", Calls("calls_h"), {"rh#1"}, "cw ch H rh! rw",
       "refused rh#1", "value refusal",
       {InWasmi1("cw ch H rh!")}},
      {"D10_refused_at_rw", Calls("calls_h"), {"rw#1"}, "cw ch H rh rw!",
       "refused rw#1", ""},
      {"D11_nested_cw", Reenters("calls_h", Nested::kPropagate), {"cw#2"},
       "cw ch H( cw! )H:err rh rw", "host_error cw#2", "host_error host_error",
       {InWasmi1("cw ch H( cw! )H:err"),
        InWasmi2("cw ch H( cw! )H:err rw", "host_error")}},
      {"D12_nested_ch", Reenters("calls_h", Nested::kPropagate), {"ch#2"},
       "cw ch H( cw ch! rw )H:err rh rw", "host_error ch#2",
       "refusal host_error host_error",
       {InWasmi1("cw ch H( cw ch! )H:err"),
        InWasmi2("cw ch H( cw ch! rw )H:err rw", "refusal host_error")}},
      {"D13_nested_rh", Reenters("calls_h", Nested::kPropagate), {"rh#1"},
       "cw ch H( cw ch H rh! rw )H:err rh rw", "host_error rh#1",
       "value refusal host_error host_error",
       {InWasmi1("cw ch H( cw ch H rh! )H:err"),
        InWasmi2("cw ch H( cw ch H rh! rw )H:err rw", "value refusal host_error")}},
      {"D14_nested_rw", Reenters("calls_h", Nested::kPropagate), {"rw#1"},
       "cw ch H( cw ch H rh rw! )H:err rh rw", "host_error rw#1",
       "value value host_error host_error",
       {InWasmi1("cw ch H( cw ch H rh rw! )H:err"),
        InWasmi2("cw ch H( cw ch H rh rw! )H:err rw", "value value host_error")}},
      {"D15_swallowed_cw", Reenters("calls_h", Nested::kSwallow), {"cw#2"},
       "cw ch H( cw! )H:err rh rw", "ok", ""},
      {"D16_swallowed_ch", Reenters("calls_h", Nested::kSwallow), {"ch#2"},
       "cw ch H( cw ch! rw )H:err rh rw", "ok", "refusal value value",
       {InWasmi1("cw ch H( cw ch! )H:err rh rw")}},
      {"D17_swallowed_rw", Reenters("calls_h", Nested::kSwallow), {"rw#1"},
       "cw ch H( cw ch H rh rw! )H:err rh rw", "ok", ""},
      {"D18_trap", Calls("traps"), {}, "cw rw", "unreachable", "trap",
       {InWasmi1("cw")}},
      {"D19_trap_and_refused_rw", Calls("traps"), {"rw#1"}, "cw rw!",
       "refused rw#1", "trap",
       {InWasmi1("cw", "", "unreachable")}},
      {"D20_swallowed_trap", Reenters("traps", Nested::kSwallow), {},
       "cw ch H( cw rw )H:err rh rw", "ok", "trap value value",
       {InWasmi1("cw ch H( cw )H:err rh rw")}},
      {"D21_start_calls_host",
       Instantiates("(module (import \"env\" \"h\" (func $h))"
       " (func $s call $h) (start $s))"), {}, call, "", ""},
      {"D22_start_is_host",
       Instantiates("(module (import \"env\" \"h\" (func $h)) (start $h))"), {},
       call, "", "",
       {InWasmi("H")}},
      {"D22_start_is_host_and_fails",
       Instantiates("(module (import \"env\" \"h\" (func $h)) (start $h))",
       Boom), {}, "cw ch Herr rh rw", "host_error boom",
       "host_error host_error",
       {InWasmi("Herr")}},
      {"D23_start_traps",
       Instantiates("(module (func $s unreachable) (start $s))"), {}, "cw rw",
       "unreachable", "trap",
       {InWasmi1("cw")}},
      {"D23_start_refused_at_cw", Instantiates("(module (func $s) (start $s))"),
       {"cw#1"}, "cw!", "refused cw#1", ""},
      {"D23_start_refused_at_rw", Instantiates("(module (func $s) (start $s))"),
       {"rw#1"}, "cw rw!", "refused rw#1", ""},
      {"D24_segments_without_start", Instantiates(kSegmentsWithoutStart), {},
       "", "", ""},
      {"D24_data_out_of_bounds",
       Instantiates("(module (memory 1) (data (i32.const 65536) \"x\"))"), {},
       "", "memory_out_of_bounds", ""},
      {"D24_elem_out_of_bounds",
       Instantiates("(module (func $f) (table 1 funcref)"
       " (elem (i32.const 1) $f))"), {}, "", "table_out_of_bounds", ""},
      {"D24_segment_traps_before_start",
       Instantiates("(module (memory 1) (data (i32.const 65536) \"x\")"
       " (func $s) (start $s))"), {}, "", "memory_out_of_bounds", ""},
      {"D25_call_indirect", Runs(kIndirectGuest), {}, call, "ok", ""},
      {"D25_call_indirect_fails", Runs(kIndirectGuest, Boom), {},
       "cw ch Herr rh rw", "host_error boom", "host_error host_error",
       {InWasmi1("cw ch Herr"),
        InWasmi2("cw ch Herr rw", "host_error")}},
      {"D25_call_indirect_refused_at_ch", Runs(kIndirectGuest), {"ch#1"},
       "cw ch! rw", "refused ch#1", "refusal",
       {InWasmi1("cw ch!")}},
      {"D25_call_indirect_refused_at_rh", Runs(kIndirectGuest), {"rh#1"},
       "cw ch H rh! rw", "refused rh#1", "value refusal",
       {InWasmi1("cw ch H rh!")}},
      {"D25_table_set_by_embedder", TableSetByEmbedder, {}, call, "ok", ""},
      {"D25_funcref_argument", FuncRefArgument, {}, call, "ok", ""},
      {"D26_return_call", Runs(kTailGuest), {}, call, "ok", ""},
      {"D26_return_call_and_on", Runs(kTailGuest, nullptr, "tail_and_on"), {},
       "cw ch H rh ch H rh rw", "ok", ""},
      {"D26_return_call_fails", Runs(kTailGuest, Boom), {}, "cw ch Herr rh rw",
       "host_error boom", "host_error host_error",
       {InWasmi1("cw ch Herr"),
        InWasmi2("cw ch Herr rw", "host_error")}},
      {"D26_return_call_fails_and_not_on",
       Runs(kTailGuest, Boom, "tail_and_on"), {}, "cw ch Herr rh rw",
       "host_error boom", "host_error host_error",
       {InWasmi1("cw ch Herr"),
        InWasmi2("cw ch Herr rw", "host_error")}},
      {"D26_return_call_refused_at_ch", Runs(kTailGuest), {"ch#1"}, "cw ch! rw",
       "refused ch#1", "refusal",
       {InWasmi1("cw ch!")}},
      {"D26_return_call_refused_at_rh", Runs(kTailGuest), {"rh#1"},
       "cw ch H rh! rw", "refused rh#1", "value refusal",
       {InWasmi1("cw ch H rh!")}},
      {"D27_return_call_indirect", Runs(kIndirectTailGuest), {}, call, "ok",
       ""},
      {"D27_return_call_indirect_and_on",
       Runs(kIndirectTailGuest, nullptr, "tail_and_on"), {},
       "cw ch H rh ch H rh rw", "ok", ""},
      {"D27_return_call_indirect_fails", Runs(kIndirectTailGuest, Boom), {},
       "cw ch Herr rh rw", "host_error boom", "host_error host_error",
       {InWasmi1("cw ch Herr"),
        InWasmi2("cw ch Herr rw", "host_error")}},
      {"D27_return_call_indirect_fails_and_not_on",
       Runs(kIndirectTailGuest, Boom, "tail_and_on"), {}, "cw ch Herr rh rw",
       "host_error boom", "host_error host_error",
       {InWasmi1("cw ch Herr"),
        InWasmi2("cw ch Herr rw", "host_error")}},
      {"D27_return_call_indirect_refused_at_ch", Runs(kIndirectTailGuest),
       {"ch#1"}, "cw ch! rw", "refused ch#1", "refusal",
       {InWasmi1("cw ch!")}},
      {"D27_return_call_indirect_refused_at_rh", Runs(kIndirectTailGuest),
       {"rh#1"}, "cw ch H rh! rw", "refused rh#1", "value refusal",
       {InWasmi1("cw ch H rh!")}},
      {"D28_guest_to_guest",
       Runs("(module (func $f) (func (export \"go\") call $f))"), {}, "cw rw",
       "ok", ""},
      {"D28_guest_to_guest_via_table",
       Runs("(module (type $void (func)) (func $f) (table 1 funcref)"
       " (elem (i32.const 0) $f) (func (export \"go\")"
       " i32.const 0 call_indirect (type $void)))"), {}, "cw rw", "ok", ""},
      {"D28_other_instance", D28OtherInstance, {}, "cw rw | cw rw", "ok; ok",
       ""},
      {"D29_memory_grow",
       Runs("(module (memory 1) (func (export \"go\") (result i32)"
       " i32.const 1 memory.grow))"), {}, "cw rw", "ok i32:1", "",
       {InWasmtime48("cw ch rh rw")}},
      {"D29_table_grow",
       Runs("(module (table 1 funcref) (func (export \"go\") (result i32)"
       " ref.null func i32.const 1 table.grow 0))"), {}, "cw rw", "ok i32:1",
       "",
       {InWasmtime48("cw ch rh rw")}},
      {"D29_growth_that_fails",
       Runs("(module (memory 1 1) (table 1 1 funcref)"
       " (func (export \"go\") (result i32 i32) i32.const 1 memory.grow"
       " ref.null func i32.const 1 table.grow 0))"), {}, "cw rw",
       "ok i32:4294967295 i32:4294967295", "", {InWasmtime48("cw ch rh ch rh rw")}},
      {"D29_elem_drop",
       Runs("(module (func $f) (elem func $f)"
       " (func (export \"go\") elem.drop 0))"), {}, "cw rw", "ok", "",
       {InWasmtime48("cw ch rh rw")}},
      {"D29_bulk_work_is_no_call",
       Runs("(module (memory 1) (table 2 funcref) (func $f) (elem func $f)"
       " (data \"x\") (func (export \"go\")"
       " (memory.copy (i32.const 0) (i32.const 8) (i32.const 8))"
       " (memory.fill (i32.const 0) (i32.const 8) (i32.const 8))"
       " (memory.init 0 (i32.const 0) (i32.const 0) (i32.const 1)) data.drop 0"
       " (table.init 0 (i32.const 0) (i32.const 0) (i32.const 1))"
       " (table.copy (i32.const 0) (i32.const 1) (i32.const 1))"
       " (table.fill 0 (i32.const 0) (ref.func $f) (i32.const 1))))"), {},
       "cw rw", "ok", ""},
      {"D29_memory_grow_refused_at_ch",
       Runs("(module (memory 1) (func (export \"go\") (result i32)"
       " i32.const 1 memory.grow))"), {"ch#1"}, "cw rw", "ok i32:1", "",
       {InWasmtime48("cw ch! rw", "refusal", "refused ch#1")}},
      {"D29_memory_grow_refused_at_rh",
       Runs("(module (memory 1) (func (export \"go\") (result i32)"
       " i32.const 1 memory.grow))"), {"rh#1"}, "cw rw", "ok i32:1", "",
       {InWasmtime48("cw ch rh! rw", "value refusal", "refused rh#1")}},
      {"D30_host_func_exported_again", Calls("h_again"), {}, call, "ok", "",
       {InWasmi("H")}},
      {"D30_host_func_exported_again_fails", Calls("h_again", Boom), {},
       "cw ch Herr rh rw", "host_error boom", "host_error host_error",
       {InWasmi("Herr")}},
      {"D31_out_of_fuel", OutOfFuel, {}, "cw rw", "out_of_fuel", "trap",
       {InWasmtime48("cw ch rh rw", "trap trap"),
        InWasmi1("cw")}},
      {"D31_out_of_fuel_refused_at_ch", OutOfFuel, {"ch#1"}, "cw rw",
       "out_of_fuel", "trap",
       {InWasmtime48("cw ch! rw", "refusal", "refused ch#1"), InWasmi1("cw")}},
      {"D31_out_of_fuel_refused_at_rh", OutOfFuel, {"rh#1"}, "cw rw",
       "out_of_fuel", "trap",
       {InWasmtime48("cw ch rh! rw", "trap refusal", "refused rh#1"),
        InWasmi1("cw")}},
      {"D36_stack_overflow", Runs(kEndlessRecursion), {}, "cw rw",
       "call_stack_exhausted", "trap",
       {InWasmi1("cw")}},
      {"D36_stack_overflow_via_table", Runs(kEndlessIndirectRecursion), {},
       "cw rw", "call_stack_exhausted", "trap",
       {InWasmi1("cw")}},
      {"D37_replace_and_clear", D37, {}, "cw ch H rh rw | 2:cw 2:ch H 2:rh "
       "2:rw | H", "ok; set; ok; cleared; ok", ""},
      {"D38_hook_calls_guest_refused", HookCalls("empty", false), {},
       absl::StrCat(call, " | ", call),
       absl::StrCat(Times(4, "status FAILED_PRECONDITION", "; "), "; ok; ok"),
       ""},
      {"D38_hook_calls_guest", HookCalls("seven", true), {},
       absl::StrCat(call, " | ", call),
       absl::StrCat(Times(4, "ok i32:7", "; "), "; ok; ok"), ""},
      {"D38_hook_calls_guest_unwatched", HookCalls("calls_h", true), {},
       "cw H ch H H rh H rw H | cw ch H rh rw",
       absl::StrCat(Times(4, "ok", "; "), "; ok; ok"), ""},
      {"D38_hook_calls_guest_that_traps", HookCalls("traps", true), {},
       absl::StrCat(call, " | ", call),
       absl::StrCat(Times(4, "unreachable", "; "), "; ok; ok"), ""},
      {"D39_two_stores", D39, {},
       "B:cw B:ch H B:rh B:rw | cw ch H( B:cw B:ch H B:rh B:rw )H:ok rh rw",
       "ok; ok", ""},
      {"D40_typed_error_object", D40, {}, "cw ch! rw",
       "refused quota; quota 12", "refusal",
       {InWasmi1("cw ch!")}},
      {"D41_hook_reads_fuel", D41ReadsWithATank, {}, call,
       "cw 1000; ch less; rh 100 less; rw no more; ok", ""},
      {"D41_hook_sets_fuel", D41Sets(1'200), {},
       absl::StrCat("cw ", Times(5, "ch H rh"), " rw"), "ok", ""},
      {"D41_hook_sets_no_fuel", D41Sets(0), {}, "cw ch H rh rw", "out_of_fuel",
       "value trap",
       {InWasmtime48("cw ch H rh ch rh rw", "value trap trap"),
        InWasmi1("cw ch H rh")}},
      {"D41_hook_adds_where_it_ends", D41AddsAtTheEnd, {}, "cw rw",
       "out_of_fuel", "trap",
       {InWasmtime48("cw ch rh ch rh ch rh rw", "value value trap trap"),
        InWasmi1("cw")}},
      {"D42_host_error_object", D42, {}, "cw ch Herr rh rw",
       "boom; boom; host_error boom", "host_error host_error",
       {InWasmi1("cw ch Herr", "", "host_error boom"),
        InWasmi2("cw ch Herr rw", "host_error", "boom; host_error boom")}},
      {"D43_rh_replaces_host_error", Calls("calls_h", Boom), {"rh#1"},
       "cw ch Herr rh! rw", "refused rh#1", "host_error refusal",
       {InWasmi1("cw ch Herr", "", "host_error boom"),
        InWasmi2("cw ch Herr rw", "host_error", "host_error boom")}},

      // --- This project's own
      {"X_loop", Runs("(module (import \"env\" \"h\" (func $h))"
       " (func (export \"go\") (loop call $h br 0)))"), {"ch#201"},
       absl::StrCat("cw ", Times(200, "ch H rh"), " ch! rw"), "refused ch#201",
       absl::StrCat(Times(200, "value"), " refusal"),
       {InWasmi1(absl::StrCat("cw ", Times(200, "ch H rh"), " ch!"))}},
      {"X_second_host_call_refused", Calls("calls_h_twice"), {"ch#2"},
       "cw ch H rh ch! rw", "refused ch#2", "value refusal",
       {InWasmi1("cw ch H rh ch!")}},
      {"X_trap_after_host_call", Calls("calls_h_and_traps"), {},
       "cw ch H rh rw", "unreachable", "value trap",
       {InWasmi1("cw ch H rh")}},
      {"X_refused_at_ch_and_rw", Calls("calls_h"), {"ch#1", "rw#1"},
       "cw ch! rw!", "refused rw#1", "refusal",
       {InWasmi1("cw ch!", "", "refused ch#1")}},
      {"X_refused_at_rh_and_rw", Calls("calls_h"), {"rh#1", "rw#1"},
       "cw ch H rh! rw!", "refused rw#1", "value refusal",
       {InWasmi1("cw ch H rh!", "", "refused rh#1")}},
      {"X_direct_refused_at_cw", CallsDirectly(Returning), {"cw#1"}, "cw!",
       "refused cw#1", "",
       {InWasmi("H", "", "ok")}},
      {"X_direct_refused_at_ch", CallsDirectly(Returning), {"ch#1"},
       "cw ch! rw", "refused ch#1", "refusal",
       {InWasmi("H", "", "ok")}},
      {"X_direct_refused_at_rh", CallsDirectly(Returning), {"rh#1"},
       "cw ch H rh! rw", "refused rh#1", "value refusal",
       {InWasmi("H", "", "ok")}},
      {"X_direct_refused_at_rw", CallsDirectly(Returning), {"rw#1"},
       "cw ch H rh rw!", "refused rw#1", "",
       {InWasmi("H", "", "ok")}},
      {"X_store_usable_after_refusal", RefusedThenUsedAgain, {"ch#1"},
       "cw ch! rw | cw ch H rh rw | cw rw", "refused ch#1; ok; ok i32:2",
       "refusal value value value",
       {InWasmi1("cw ch! | cw ch H rh rw | cw rw")}},
      {"X_wrong_arguments", WrongArguments, {}, "| cw rw",
       absl::StrCat(Times(3, "status INVALID_ARGUMENT", "; "), "; ok i32:42"),
       ""},
      {"X_embedder_grows", EmbedderGrows, {}, "", "grown; 3 pages, 4 elements",
       ""},
      {"X_guest_exit", EndsItself(3), {}, "cw ch Herr rh rw", "host_error exit",
       "exit exit",
       {InWasmi1("cw ch Herr"),
        InWasmi2("cw ch Herr rw", "exit")}},
      {"X_host_error_is_a_trap_code",
       FailsWithTrapCode(TrapCode::kHostBytesExceeded), {}, "cw ch Herr rh rw",
       "host_bytes_exceeded as trap", "trap trap",
       {InWasmi1("cw ch Herr"),
        InWasmi2("cw ch Herr rw", "trap")}},
      {"X_nested_trap_propagated", Reenters("traps", Nested::kPropagate), {},
       "cw ch H( cw rw )H:err rh rw", "unreachable nested",
       "trap trap trap",
       {InWasmi1("cw ch H( cw )H:err"),
        InWasmi2("cw ch H( cw rw )H:err rw", "trap trap")}},
      {"X_nested_host_error_propagated",
       Reenters("calls_h", Nested::kPropagate, Boom), {},
       "cw ch H( cw ch Herr rh rw )H:err rh rw", "host_error boom",
       "host_error host_error host_error host_error",
       {InWasmi1("cw ch H( cw ch Herr )H:err"),
        InWasmi2("cw ch H( cw ch Herr rw )H:err rw", "host_error host_error")}},
      {"X_nested_refusal_wrapped", WrapsNestedRefusal, {"ch#2"},
       "cw ch H( cw ch! rw )H:err rh rw", "host_error wrapped",
       "refusal host_error host_error",
       {InWasmi1("cw ch H( cw ch! )H:err"),
        InWasmi2("cw ch H( cw ch! rw )H:err rw", "refusal host_error")}},
      {"X_stack_overflow_swallowed",
       [](WatchedStore& store) {
         store.Define("h", store.Reenters("endless", Nested::kSwallow));
         store.Instantiate(R"((module (import "env" "h" (func $h))
           (func $f (export "endless") call $f)
           (func (export "go") call $h)))");
         store.Call("go");
       },
       {},
       "cw ch H( cw rw )H:err rh rw",
       "ok",
       "trap value value",
       {InWasmi1("cw ch H( cw )H:err rh rw")}},
      {"X_interrupted", Interrupted, {}, "cw ch H rh rw", "interrupted",
       "value trap",
       {InWasmi1("cw ch H rh")}},
      {"X_instantiates_in_a_host_call", InstantiatesInHostCall, {},
       "cw ch H( cw ch H rh rw )H:ok rh rw", "ok", "",
       {InWasmi("cw ch H( H )H:ok rh rw")}},
      // An activation too many is no transition, whichever side it enters.
      {"X_too_deep", TooDeep, {},
       absl::StrCat(Times(32, "cw ch H("), " ", Times(32, ")H:err rh rw")),
       "activation_depth_exceeded nested", Times(64, "trap"),
       {InWasmi1(absl::StrCat(Times(32, "cw ch H("), " ", Times(32, ")H:err"))),
        InWasmi2(absl::StrCat(Times(32, "cw ch H("), " ", Times(32, ")H:err rw")), Times(32, "trap"))}},
      {"X_too_deep_for_the_guest", TooDeepAt(4), {},
       "cw ch H( cw ch H( )H:err rh rw )H:err rh rw",
       "activation_depth_exceeded nested", "trap trap trap trap",
       {InWasmi1("cw ch H( cw ch H( )H:err )H:err"),
        InWasmi2("cw ch H( cw ch H( )H:err rw )H:err rw", "trap trap")}},
      {"X_too_deep_for_the_host", TooDeepAt(3), {},
       "cw ch H( cw rw )H:err rh rw", "activation_depth_exceeded nested",
       "trap trap trap",
       {InWasmi1("cw ch H( cw )H:err"),
        InWasmi2("cw ch H( cw rw )H:err rw", "trap trap")}},
  };
  // clang-format on
}

class CallHookSequence : public testing::TestWithParam<
                             std::tuple<EngineUnderTest, HookProfile, Row>> {};

// What endings a row expects that leaves them out: "value" for each return.
std::string AllValues(const std::string& events) {
  std::string endings;
  for (absl::string_view event : absl::StrSplit(events, ' ')) {
    const size_t colon = event.find(':');
    if (colon != absl::string_view::npos && event[0] != ')') {
      event.remove_prefix(colon + 1);
    }
    if (event.size() < 2 || event[0] != 'r') continue;
    absl::StrAppend(&endings, endings.empty() ? "" : " ", "value");
  }
  return endings;
}

TEST_P(CallHookSequence, IsAsStated) {
  const auto& [engine_under_test, profile, row] = GetParam();
  const std::unique_ptr<Engine> engine = engine_under_test.make();
  Journal journal;
  WatchedStore store(*engine, journal, "", Limits(), nullptr, profile);
  for (const std::string& place : row.refuse_at) store.hook().RefuseAt(place);

  row.script(store);

  Difference want{{}, row.events, row.endings, row.outcomes};
  for (const Difference& difference : row.differences) {
    for (const HookProfile named : difference.profiles) {
      if (named != profile) continue;
      want = difference;
      if (!want.outcomes.has_value()) want.outcomes = row.outcomes;
    }
  }
  EXPECT_EQ(journal.events(), want.events);
  EXPECT_EQ(journal.outcomes(), *want.outcomes);
  EXPECT_EQ(journal.endings(),
            want.endings.empty() ? AllValues(want.events) : want.endings);
  EXPECT_EQ(journal.violations(), "");
  EXPECT_EQ(store.hook().open(), 0u);
  EXPECT_EQ(store.store().depth(), 0u);
}

INSTANTIATE_TEST_SUITE_P(
    Rows, CallHookSequence,
    testing::Combine(testing::ValuesIn(EnginesUnderTest()),
                     testing::Values(HookProfile::kWasmtime47,
                                     HookProfile::kWasmtime48,
                                     HookProfile::kWasmi1,
                                     HookProfile::kWasmi2),
                     testing::ValuesIn(Rows())),
    [](const auto& row_info) {
      return absl::StrCat(std::get<0>(row_info.param).name, "_",
                          HookProfileName(std::get<1>(row_info.param)), "_",
                          std::get<2>(row_info.param).name);
    });

}  // namespace
}  // namespace callgate
