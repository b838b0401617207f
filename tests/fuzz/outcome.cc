#include "tests/fuzz/outcome.h"

#include <algorithm>
#include <memory>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "runtime/caller.h"
#include "runtime/linker.h"
#include "runtime/store.h"
#include "tests/fuzz/module_plan.h"

namespace callgate::fuzz {
namespace {

constexpr size_t kEventWordsMax = 100'000;

uint64_t Mix(uint64_t hash, uint64_t word) {
  hash = (hash ^ word) * 0x9e3779b97f4a7c15;
  return hash ^ (hash >> 29);
}

void Note(std::vector<uint64_t>& events, uint64_t header,
          absl::Span<const RawValue> values) {
  if (events.size() >= kEventWordsMax) return;
  events.push_back(header);
  for (const RawValue& value : values) {
    const V128 bytes = value.v128();
    uint64_t high = 0;
    for (size_t i = 0; i < 8; ++i)
      high |= uint64_t{bytes.bytes[8 + i]} << 8 * i;
    events.push_back(value.u64());
    if (high != 0) events.push_back(high);
  }
}

class Recorder final : public CallHook {
 public:
  // Both must outlive this.
  Recorder(const GeneratedModule& generated, Outcome& outcome)
      : generated_(generated), outcome_(outcome) {}

  Disposition OnTransition(CallContext& call) override {
    const FunctionIdentity& function = call.function();
    const uint64_t index =
        function.import_index != kNoIndex ? function.import_index : 0xffff;
    const uint64_t header = static_cast<uint64_t>(call.transition()) |
                            static_cast<uint64_t>(call.ending()) << 8 |
                            uint64_t{call.depth()} << 16 | index << 32 |
                            static_cast<uint64_t>(function.kind) << 56;
    Note(outcome_.events, header, call.args());
    Note(outcome_.events, header, call.results());
    if (call.transition() == Transition::kCallingHost) {
      outcome_.host_calls.push_back({call.caller().func_index,
                                     call.fuel().used(),
                                     outcome_.events.size()});
      const size_t host_calls = outcome_.host_calls.size();
      if (host_calls == generated_.refuse_at) {
        return call.Refuse(MakeError("the hook refuses"));
      }
      if (host_calls == generated_.answer_at) {
        const std::vector<RawValue> results(function.type->results.size());
        return call.Answer(results);
      }
    }
    return call.Proceed();
  }

  bool OnGrowth(const GrowthEvent& event) override {
    const uint64_t header = 0xff | static_cast<uint64_t>(event.kind) << 8;
    const RawValue values[] = {
        RawValue::I64(event.current), RawValue::I64(event.desired),
        RawValue::I64(event.index), RawValue::I64(event.store_bytes)};
    Note(outcome_.events, header, values);
    return true;
  }

  ErrorRef OnFunctionEnter(const FunctionEntry& entry) override {
    NoteProbe(1, entry.function, entry.depth, entry.args);
    return nullptr;
  }
  void OnFunctionLeave(const FunctionExit& exit) override {
    NoteProbe(uint64_t{2} + static_cast<uint64_t>(exit.ending), exit.function,
              exit.depth, {});
  }

 private:
  void NoteProbe(uint64_t what, const ProbedFunction& function, uint32_t depth,
                 absl::Span<const RawValue> args) {
    Note(outcome_.probes,
         what | uint64_t{function.probe} << 8 | uint64_t{depth} << 16 |
             uint64_t{function.func_index} << 48,
         args);
    Note(outcome_.probes, outcome_.events.size(), {});
  }

  const GeneratedModule& generated_;
  Outcome& outcome_;
};

// Results that depend on every bit of the arguments.
ErrorRef MixArguments(const FuncType& type, absl::Span<const RawValue> args,
                      absl::Span<RawValue> results) {
  uint64_t hash = 1;
  for (const RawValue& arg : args) {
    for (const uint8_t byte : arg.v128().bytes) hash = Mix(hash, byte);
  }
  for (size_t i = 0; i < results.size(); ++i) {
    hash = Mix(hash, i);
    switch (type.results[i]) {
      case ValType::kI32:
      case ValType::kF32:
        results[i] = RawValue::I32(static_cast<uint32_t>(hash));
        break;
      case ValType::kV128: {
        V128 vector;
        for (uint8_t& byte : vector.bytes) {
          hash = Mix(hash, 3);
          byte = static_cast<uint8_t>(hash >> 7);
        }
        results[i] = RawValue::Vector(vector);
        break;
      }
      default:
        results[i] = RawValue::I64(hash);
        break;
    }
  }
  return nullptr;
}

// The host functions know the instance themselves: the reference engine cannot
// say who called where it was a tail call out of an activation's first frame.
using Known = std::shared_ptr<std::optional<Instance>>;

ErrorRef Reenter(const Known& known, absl::Span<const RawValue> args,
                 absl::Span<RawValue> results) {
  results[0] = RawValue::I32(0);
  const std::optional<Instance>& instance = *known;
  if (!instance.has_value()) return nullptr;
  const absl::StatusOr<Func> func = instance->GetFunc("f0");
  if (!func.ok()) return MakeError("no f0");
  const Value arg(ValType::kI32, RawValue::I32(args[0].u32() / 2));
  const absl::StatusOr<CallResult> called = func->Call({&arg, 1});
  if (!called.ok()) return MakeError(std::string(called.status().message()));
  if (called->returned()) {
    results[0] = called->values[0].raw();
    return nullptr;
  }
  const TrapCode code = called->trap->code();
  // What ends the Store's turn is never swallowed, nor what engines may differ
  // in.
  if (args[0].u32() % 2 == 0 || code == TrapCode::kOutOfFuel ||
      code == TrapCode::kCallStackExhausted) {
    return ErrorFromTrap(*called->trap);
  }
  results[0] = RawValue::I32(static_cast<uint32_t>(code));
  return nullptr;
}

ErrorRef Touch(const Known& known, absl::Span<const RawValue> args,
               absl::Span<RawValue> results) {
  const uint32_t address = args[0].u32();
  std::vector<uint8_t> bytes(args[1].u32() % 64);
  results[0] = RawValue::I32(7);
  if (!known->has_value()) return nullptr;
  const absl::StatusOr<Memory> memory = (*known)->GetMemory("m0");
  if (!memory.ok()) return MakeError("no m0");
  if (!memory->Read(address, absl::MakeSpan(bytes)).ok()) return nullptr;
  uint64_t hash = 5;
  for (uint8_t& byte : bytes) {
    hash = Mix(hash, byte);
    byte = static_cast<uint8_t>(byte + 1);
  }
  if (!memory->Write(address, bytes).ok()) return nullptr;
  results[0] = RawValue::I32(static_cast<uint32_t>(hash));
  return nullptr;
}

HostFunction BodyOf(size_t import, const FuncType& type, const Known& known) {
  switch (import) {
    case kFail:
      return [](Caller&, absl::Span<const RawValue> args,
                absl::Span<RawValue>) -> ErrorRef {
        if (args[0].u32() % 5 == 4) return MakeError("the host fails");
        return nullptr;
      };
    case kReenter:
      return [known](Caller&, absl::Span<const RawValue> args,
                     absl::Span<RawValue> results) {
        return Reenter(known, args, results);
      };
    case kTouch:
      return [known](Caller&, absl::Span<const RawValue> args,
                     absl::Span<RawValue> results) {
        return Touch(known, args, results);
      };
    default:
      return [type](Caller&, absl::Span<const RawValue> args,
                    absl::Span<RawValue> results) {
        return MixArguments(type, args, results);
      };
  }
}

std::string Texts(const std::vector<Value>& values) {
  std::string text;
  for (const Value& value : values) {
    absl::StrAppend(&text, text.empty() ? "" : ", ",
                    absl::string_view(value.ToString()));
    // Which NaN.
    if (value.type() == ValType::kF32) {
      absl::StrAppend(&text, "/", absl::Hex(value.raw().u32()));
    } else if (value.type() == ValType::kF64) {
      absl::StrAppend(&text, "/", absl::Hex(value.raw().u64()));
    }
  }
  return text;
}

void NoteTrap(const Trap& trap, CallOutcome& outcome) {
  absl::StrAppend(&outcome.text, " traps: ", TrapCodeName(trap.code()));
  // What an engine says of an uncaught exception is its own.
  if (trap.code() == TrapCode::kRefused) {
    absl::StrAppend(&outcome.text, ": ", trap.message());
  }
  outcome.exhausted = trap.code() == TrapCode::kCallStackExhausted;
  for (const Frame& frame : trap.backtrace()) {
    absl::StrAppend(&outcome.frames, frame.func_index, "@",
                    frame.module_offset.value_or(0), " ");
  }
}

void NoteSizes(const Outcome& outcome, CallOutcome& call) {
  call.events = outcome.events.size();
  call.probes = outcome.probes.size();
  call.host_calls = outcome.host_calls.size();
}

// The first word in which the two differ, of those from `seen` to where the
// shorter one ends.
std::string WordsDiffer(const std::vector<uint64_t>& left, size_t left_end,
                        const std::vector<uint64_t>& right, size_t right_end,
                        size_t seen) {
  for (size_t i = seen; i < std::min(left_end, right_end); ++i) {
    if (left[i] == right[i]) continue;
    return absl::StrCat("word ", i, " is ", absl::Hex(left[i]), " and ",
                        absl::Hex(right[i]));
  }
  return "";
}

// What is left in the instance.
absl::Status ReadState(const GeneratedModule& generated,
                       const Instance& instance, Outcome& outcome) {
  for (const std::string& name : generated.globals) {
    const absl::StatusOr<Global> global = instance.GetGlobal(name);
    if (!global.ok()) return global.status();
    absl::StrAppend(&outcome.globals, name, "=", Texts({global->Get()}), " ");
  }
  for (const std::string& name : generated.tables) {
    const absl::StatusOr<Table> table = instance.GetTable(name);
    if (!table.ok()) return table.status();
    absl::StrAppend(&outcome.tables, name, ":");
    for (uint64_t i = 0; i < table->size(); ++i) {
      const absl::StatusOr<Value> element = table->Get(i);
      if (!element.ok()) return element.status();
      absl::StrAppend(&outcome.tables,
                      element->raw().ref() == kNullRef ? "-" : "f");
    }
    absl::StrAppend(&outcome.tables, " ");
  }
  for (const std::string& name : generated.memories) {
    const absl::StatusOr<Memory> memory = instance.GetMemory(name);
    if (!memory.ok()) return memory.status();
    std::vector<uint8_t> bytes(memory->bytes());
    if (absl::Status read = memory->Read(0, absl::MakeSpan(bytes));
        !read.ok()) {
      return read;
    }
    outcome.memories.push_back(std::move(bytes));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<Outcome> Run(const Engine& engine,
                            std::shared_ptr<const Module> module,
                            const GeneratedModule& generated,
                            const RunOptions& options) {
  Outcome outcome;
  Recorder recorder(generated, outcome);
  Limits limits;
  // The budget ends calls long before either.
  limits.call_depth = 5'000;
  limits.stack_bytes = 8 << 20;
  limits.bytes_total = 8 << 20;
  Store store(engine, limits);
  HookOptions hook_options;
  if (options.probes) {
    for (const uint32_t function : generated.probed) {
      if (absl::Status added = hook_options.probes.AddIndex(function);
          !added.ok()) {
        return added;
      }
    }
    outcome.probed = true;
  }
  if (absl::Status set = store.SetCallHook(recorder, hook_options); !set.ok()) {
    return set;
  }
  Linker linker;
  const auto known = std::make_shared<std::optional<Instance>>();
  for (size_t i = 0; i < generated.imports.size(); ++i) {
    const GeneratedModule::Import& import = generated.imports[i];
    absl::Status defined = linker.DefineFunc(
        "env", import.name, {import.type, {}, BodyOf(i, import.type, known)});
    if (!defined.ok()) return defined;
  }
  CallOptions call_options;
  call_options.fuel = options.fuel;
  call_options.wall = options.wall;
  absl::StatusOr<Instantiation> made =
      linker.Instantiate(store, std::move(module), "", call_options);
  if (!made.ok()) return made.status();
  CallOutcome& start = outcome.calls.emplace_back();
  start.text = "instantiation";
  start.fuel = made->usage.fuel;
  NoteSizes(outcome, start);
  if (made->trap.has_value()) {
    NoteTrap(*made->trap, start);
    return outcome;
  }
  const Instance& instance = *made->instance;
  *known = instance;
  const absl::StatusOr<Global> budget = instance.GetGlobal(kBudgetGlobal);
  if (!budget.ok()) return budget.status();
  for (const GuestCall& call : generated.calls) {
    if (absl::Status set = budget->Set(Value::I32(kBudget)); !set.ok()) {
      return set;
    }
    const absl::StatusOr<Func> func = instance.GetFunc(call.name);
    if (!func.ok()) return func.status();
    const absl::StatusOr<CallResult> called =
        func->Call(call.args, call_options);
    if (!called.ok()) return called.status();
    CallOutcome& one = outcome.calls.emplace_back();
    one.text = absl::StrCat(call.name, "(", Texts(call.args), ")");
    one.fuel = called->usage.fuel;
    NoteSizes(outcome, one);
    if (called->returned()) {
      absl::StrAppend(&one.text, " = ", Texts(called->values));
    } else {
      NoteTrap(*called->trap, one);
      if (one.exhausted) break;
    }
  }
  if (absl::Status read = ReadState(generated, instance, outcome); !read.ok()) {
    return read;
  }
  return outcome;
}

std::string Difference(const Outcome& left, const Outcome& right,
                       Strictness strictness) {
  const bool same_cost = strictness == Strictness::kSameCost;
  const bool same_probes = left.probed && right.probed;
  size_t seen = 0;
  size_t probes_seen = 0;
  for (size_t i = 0; i < std::min(left.calls.size(), right.calls.size()); ++i) {
    const CallOutcome& a = left.calls[i];
    const CallOutcome& b = right.calls[i];
    if (a.exhausted || b.exhausted) return "";
    std::string words =
        WordsDiffer(left.events, a.events, right.events, b.events, seen);
    if (!words.empty()) {
      return absl::StrCat("hook events of call ", i, ", ", a.text, ": ", words);
    }
    seen = a.events;
    if (a.text != b.text) {
      return absl::StrCat("call ", i, ":\n  ", a.text, "\n  ", b.text);
    }
    if (a.events != b.events) {
      return absl::StrCat("hook events of call ", i, ", ", a.text, ": ",
                          a.events, " and ", b.events, " words");
    }
    if (same_probes) {
      words = WordsDiffer(left.probes, a.probes, right.probes, b.probes,
                          probes_seen);
      if (!words.empty() || a.probes != b.probes) {
        return absl::StrCat("probes of call ", i, ", ", a.text, ": ", words,
                            ", ", a.probes, " and ", b.probes, " words");
      }
      probes_seen = a.probes;
    }
    if (!same_cost) continue;
    if (a.fuel != b.fuel) {
      return absl::StrCat("fuel of call ", i, ", ", a.text, ": ", a.fuel,
                          " and ", b.fuel);
    }
    if (a.frames != b.frames) {
      return absl::StrCat("backtrace of call ", i, ", ", a.text, ":\n  ",
                          a.frames, "\n  ", b.frames);
    }
  }
  if (left.calls.size() != right.calls.size()) {
    return absl::StrCat(left.calls.size(), " and ", right.calls.size(),
                        " calls were made");
  }
  for (size_t i = 0; same_cost && i < std::min(left.host_calls.size(),
                                               right.host_calls.size());
       ++i) {
    const HostCallOutcome& a = left.host_calls[i];
    const HostCallOutcome& b = right.host_calls[i];
    if (a.caller != b.caller || a.fuel != b.fuel) {
      return absl::StrCat("host call ", i, ": by function ", a.caller,
                          " with fuel ", a.fuel, " and by function ", b.caller,
                          " with fuel ", b.fuel);
    }
  }
  if (left.globals != right.globals) {
    return absl::StrCat("globals:\n  ", left.globals, "\n  ", right.globals);
  }
  if (left.tables != right.tables) {
    return absl::StrCat("tables:\n  ", left.tables, "\n  ", right.tables);
  }
  for (size_t m = 0; m < left.memories.size(); ++m) {
    const std::vector<uint8_t>& a = left.memories[m];
    const std::vector<uint8_t>& b = right.memories[m];
    if (a.size() != b.size()) {
      return absl::StrCat("memory ", m, " has ", a.size(), " and ", b.size(),
                          " bytes");
    }
    const auto differ = std::mismatch(a.begin(), a.end(), b.begin());
    if (differ.first == a.end()) continue;
    return absl::StrCat("memory ", m, " at ", differ.first - a.begin(), ": ",
                        absl::Hex(*differ.first), " and ",
                        absl::Hex(*differ.second));
  }
  return "";
}

std::string CutWrong(const Outcome& whole, const Outcome& cut, uint64_t fuel) {
  uint64_t before = 0;  // what the calls before this one have burnt
  for (size_t i = 0; i < whole.calls.size(); ++i) {
    const CallOutcome& all = whole.calls[i];
    if (i >= cut.calls.size()) return absl::StrCat("call ", i, " is missing");
    const CallOutcome& some = cut.calls[i];
    if (all.exhausted || some.exhausted) return "";
    if (all.fuel <= fuel) {
      if (all.text != some.text || all.fuel != some.fuel) {
        return absl::StrCat("call ", i, " had enough:\n  ", all.text, ", ",
                            all.fuel, "\n  ", some.text, ", ", some.fuel);
      }
      before += all.fuel;
      continue;
    }
    const std::string ending =
        absl::StrCat(" traps: ", TrapCodeName(TrapCode::kOutOfFuel));
    if (!absl::EndsWith(some.text, ending) || some.fuel != fuel) {
      return absl::StrCat("call ", i, " needs ", all.fuel, ":\n  ", all.text,
                          "\n  ", some.text, ", ", some.fuel);
    }
    size_t paid = i == 0 ? 0 : whole.calls[i - 1].host_calls;
    while (paid < all.host_calls &&
           whole.host_calls[paid].fuel - before <= fuel) {
      ++paid;
    }
    if (some.host_calls != paid) {
      return absl::StrCat("call ", i, ", ", some.text, ": made ",
                          some.host_calls, " host calls and paid for ", paid);
    }
    const size_t same = paid == 0 ? 0 : cut.host_calls[paid - 1].events;
    const std::string words =
        WordsDiffer(whole.events, same, cut.events, same, 0);
    if (words.empty()) return "";
    return absl::StrCat("hook events of call ", i, ", ", some.text, ": ",
                        words);
  }
  return "";
}

}  // namespace callgate::fuzz
