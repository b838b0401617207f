#include "tests/conformance/spec/script_runner.h"

#include <wabt/binary-writer.h>
#include <wabt/cast.h>
#include <wabt/error-formatter.h>
#include <wabt/ir.h>
#include <wabt/stream.h>
#include <wabt/wast-lexer.h>
#include <wabt/wast-parser.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <map>
#include <optional>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "runtime/linker.h"
#include "runtime/module.h"
#include "runtime/store.h"

namespace callgate {
namespace {

using wabt::cast;
using wabt::dyn_cast;

wabt::Features ToWabt(const admission::Features& features) {
  wabt::Features out;
  if (features.tail_call) out.enable_tail_call();
  if (features.extended_const) out.enable_extended_const();
  if (features.multi_memory) out.enable_multi_memory();
  if (features.memory64) out.enable_memory64();
  if (features.relaxed_simd) out.enable_relaxed_simd();
  if (features.exceptions) out.enable_exceptions();
  if (features.threads) out.enable_threads();
  return out;
}

// The suite tests semantics, not limits.
admission::ModuleLimits NoLimits() {
  admission::ModuleLimits limits;
  for (const admission::LimitName& limit : admission::AllLimits()) {
    limits.*limit.member = std::numeric_limits<uint32_t>::max();
  }
  return limits;
}

StoreOptions OptionsOf(bool canonical_nans) {
  StoreOptions options;
  options.canonical_nans = canonical_nans;
  Limits& limits = options.limits;
  limits.bytes_total = uint64_t{1} << 32;
  limits.table_elements_total = 100'000'000;
  limits.instances = 10'000;
  limits.extern_refs = 10'000;
  return options;
}

// A NaN's payload, of which the script may say "canonical" or "arithmetic".
template <typename Bits>
bool NanFits(Bits bits, wabt::ExpectedNan expected, Bits exponent, Bits quiet) {
  const Bits mantissa = static_cast<Bits>(bits & ~exponent &
                                          ~(Bits{1} << (sizeof(Bits) * 8 - 1)));
  if ((bits & exponent) != exponent || mantissa == 0) return false;
  return expected == wabt::ExpectedNan::Canonical ? mantissa == quiet
                                                  : (mantissa & quiet) != 0;
}

constexpr uint32_t kF32Exponent = 0x7f800000;
constexpr uint32_t kF32Quiet = 0x00400000;
constexpr uint64_t kF64Exponent = 0x7ff0000000000000;
constexpr uint64_t kF64Quiet = 0x0008000000000000;

class Runner {
 public:
  Runner(const admission::Features& features, const EngineFactory& new_engine,
         bool canonical_nans, ScriptResult& result)
      : features_(features), result_(result) {
    EngineOptions options;
    options.features = features;
    options.module_limits = NoLimits();
    engine_ = new_engine(std::move(options));
    store_ = std::make_unique<Store>(*engine_, OptionsOf(canonical_nans));
    DefineSpectest();
  }

  void Run(const wabt::Script& script) {
    script_ = &script;
    for (size_t i = 0; i < script.commands.size(); ++i) {
      command_index_ = i;
      RunCommand(*script.commands[i]);
    }
  }

 private:
  // What a command came to; an empty text means that it holds.
  using Verdict = std::string;

  // What the suite's modules may import of the host.
  void DefineSpectest() {
    const auto print = [&](absl::string_view name, std::vector<ValType> types) {
      HostDefinition definition;
      definition.type.params = std::move(types);
      definition.body = [](Caller&, absl::Span<const RawValue>,
                           absl::Span<RawValue>) -> ErrorRef {
        return nullptr;
      };
      Extern value;
      value.func = *store_->NewHostFunc("spectest", name, definition);
      spectest_.emplace_back(name, value);
    };
    print("print", {});
    print("print_i32", {ValType::kI32});
    print("print_i64", {ValType::kI64});
    print("print_f32", {ValType::kF32});
    print("print_f64", {ValType::kF64});
    print("print_i32_f32", {ValType::kI32, ValType::kF32});
    print("print_f64_f64", {ValType::kF64, ValType::kF64});
    const auto global = [&](absl::string_view name, const Value& initial) {
      Extern value;
      value.global =
          *store_->NewGlobal(GlobalType{initial.type(), false}, initial);
      spectest_.emplace_back(name, value);
    };
    global("global_i32", Value::I32(666));
    global("global_i64", Value::I64(int64_t{666}));
    global("global_f32", Value::F32(666.6f));
    global("global_f64", Value::F64(666.6));
    Extern table;
    table.table =
        *store_->NewTable(TableType{ValType::kFuncRef, SizeRange{10, 20}});
    spectest_.emplace_back("table", table);
    Extern memory;
    memory.memory =
        *store_->NewMemory(MemoryType{SizeRange{1, 2}, false, false});
    spectest_.emplace_back("memory", memory);
  }

  // A name that is registered again means the later instance, which a Linker
  // does not do: so one is made for each use.
  Linker CurrentLinker() const {
    Linker linker;
    for (const auto& [name, value] : spectest_) {
      Must(linker.Define("spectest", name, value));
    }
    for (const auto& [module, instance] : registered_) {
      for (const ExportType& e : instance.module().exports()) {
        const absl::StatusOr<Extern> value = instance.GetExport(e.name);
        if (value.ok()) Must(linker.Define(module, e.name, *value));
      }
    }
    return linker;
  }

  static void Must(const absl::Status& status) {
    if (!status.ok()) std::abort();
  }

  void Count(int line, absl::string_view what, const Verdict& verdict) {
    if (verdict.empty()) {
      ++result_.passed;
    } else {
      ++result_.failed;
      result_.failures.push_back(
          absl::StrCat("line ", line, ": ", what, ": ", verdict));
    }
  }

  void RunCommand(const wabt::Command& command) {
    switch (command.type) {
      case wabt::CommandType::Module: {
        const auto& c = *cast<wabt::ModuleCommand>(&command);
        return Define(c.module.loc.line, BytesOf(c.module));
      }
      case wabt::CommandType::ScriptModule: {
        const auto& c = *cast<wabt::ScriptModuleCommand>(&command);
        return Define(c.script_module->location().line,
                      BytesOf(*c.script_module));
      }
      case wabt::CommandType::Action: {
        const auto& c = *cast<wabt::ActionCommand>(&command);
        std::vector<Value> values;
        return Count(c.action->loc.line, "action", Returns(*c.action, values));
      }
      case wabt::CommandType::Register: {
        const auto& c = *cast<wabt::RegisterCommand>(&command);
        if (const Instance* instance = Find(c.var)) {
          registered_.insert_or_assign(c.module_name, *instance);
        }
        return;
      }
      case wabt::CommandType::AssertMalformed: {
        const auto& c = *cast<wabt::AssertMalformedCommand>(&command);
        return Count(c.module->location().line, "assert_malformed",
                     Refused(*c.module));
      }
      case wabt::CommandType::AssertInvalid: {
        const auto& c = *cast<wabt::AssertInvalidCommand>(&command);
        return Count(c.module->location().line, "assert_invalid",
                     Refused(*c.module));
      }
      case wabt::CommandType::AssertUnlinkable: {
        const auto& c = *cast<wabt::AssertUnlinkableCommand>(&command);
        return Count(c.module->location().line, "assert_unlinkable",
                     Unlinkable(*c.module));
      }
      case wabt::CommandType::AssertUninstantiable: {
        const auto& c = *cast<wabt::AssertUninstantiableCommand>(&command);
        return Count(c.module->location().line, "assert_uninstantiable",
                     Uninstantiable(*c.module, c.text));
      }
      case wabt::CommandType::AssertReturn: {
        const auto& c = *cast<wabt::AssertReturnCommand>(&command);
        return Count(c.action->loc.line, "assert_return",
                     ReturnsExpected(*c.action, *c.expected));
      }
      case wabt::CommandType::AssertTrap: {
        const auto& c = *cast<wabt::AssertTrapCommand>(&command);
        return Count(c.action->loc.line, "assert_trap",
                     Traps(*c.action, c.text));
      }
      case wabt::CommandType::AssertExhaustion: {
        const auto& c = *cast<wabt::AssertExhaustionCommand>(&command);
        return Count(c.action->loc.line, "assert_exhaustion",
                     Traps(*c.action, c.text));
      }
      case wabt::CommandType::AssertException: {
        const auto& c = *cast<wabt::AssertExceptionCommand>(&command);
        return Count(c.action->loc.line, "assert_exception", Throws(*c.action));
      }
    }
  }

  // ------------------------------------------------------------ modules

  // The bytes of a module, or nothing for text that does not parse.
  std::optional<std::vector<uint8_t>> BytesOf(const wabt::Module& module) {
    wabt::WriteBinaryOptions options;
    options.features = ToWabt(features_);
    wabt::MemoryStream stream;
    if (wabt::Failed(wabt::WriteBinaryModule(&stream, &module, options))) {
      return std::nullopt;
    }
    return std::move(stream.output_buffer().data);
  }

  std::optional<std::vector<uint8_t>> BytesOf(
      const wabt::ScriptModule& module) {
    if (const auto* text = dyn_cast<wabt::TextScriptModule>(&module)) {
      return BytesOf(text->module);
    }
    if (const auto* binary = dyn_cast<wabt::BinaryScriptModule>(&module)) {
      return binary->data;
    }
    const auto* quoted = cast<wabt::QuotedScriptModule>(&module);
    wabt::Errors errors;
    const auto lexer = wabt::WastLexer::CreateBufferLexer(
        "quoted.wat", quoted->data.data(), quoted->data.size(), &errors);
    std::unique_ptr<wabt::Module> parsed;
    wabt::WastParseOptions options(ToWabt(features_));
    if (wabt::Failed(
            wabt::ParseWatModule(lexer.get(), &parsed, &errors, &options))) {
      return std::nullopt;
    }
    return BytesOf(*parsed);
  }

  absl::StatusOr<Instantiation> Instantiate(
      const std::optional<std::vector<uint8_t>>& bytes) {
    if (!bytes.has_value()) {
      return absl::InvalidArgumentError("the text does not parse");
    }
    auto module = Module::Compile(*engine_, *bytes);
    if (!module.ok()) return module.status();
    return CurrentLinker().Instantiate(*store_, *module, "");
  }

  void Define(int line, const std::optional<std::vector<uint8_t>>& bytes) {
    const absl::StatusOr<Instantiation> made = Instantiate(bytes);
    if (!made.ok()) {
      if (absl::IsUnimplemented(made.status())) {
        ++result_.skipped;
        instances_.erase(command_index_);
        return;
      }
      return Count(line, "module", std::string(made.status().message()));
    }
    if (made->trap.has_value()) {
      return Count(line, "module",
                   absl::StrCat("trapped: ", made->trap->message()));
    }
    instances_.insert_or_assign(command_index_, *made->instance);
    Count(line, "module", "");
  }

  const Instance* Find(const wabt::Var& var) const {
    size_t index = 0;
    if (var.is_index()) {
      index = var.index();
    } else {
      const wabt::Index found = script_->module_bindings.FindIndex(var.name());
      if (found == wabt::kInvalidIndex) return nullptr;
      index = found;
    }
    const auto instance = instances_.find(index);
    return instance == instances_.end() ? nullptr : &instance->second;
  }

  Verdict Refused(const wabt::ScriptModule& module) {
    const auto bytes = BytesOf(module);
    if (!bytes.has_value()) return "";
    return Module::Compile(*engine_, *bytes).ok() ? "was accepted" : "";
  }

  Verdict Unlinkable(const wabt::ScriptModule& module) {
    const auto bytes = BytesOf(module);
    if (!bytes.has_value()) return "the text does not parse";
    const auto compiled = Module::Compile(*engine_, *bytes);
    if (!compiled.ok()) return std::string(compiled.status().message());
    const auto made = CurrentLinker().Instantiate(*store_, *compiled, "");
    if (made.ok()) return "was linked";
    return absl::IsNotFound(made.status()) ||
                   absl::IsFailedPrecondition(made.status())
               ? ""
               : std::string(made.status().message());
  }

  Verdict Uninstantiable(const wabt::ScriptModule& module,
                         const std::string& text) {
    const auto made = Instantiate(BytesOf(module));
    if (!made.ok()) return std::string(made.status().message());
    if (!made->trap.has_value()) return "was instantiated";
    return TrapFits(*made->trap, text);
  }

  // ------------------------------------------------------------ actions

  // Runs the action into `values`; a verdict when it did not return any.
  Verdict Returns(const wabt::Action& action, std::vector<Value>& values) {
    std::optional<Trap> trap;
    const Verdict verdict = Perform(action, values, trap);
    if (!verdict.empty()) return verdict;
    if (trap.has_value()) return absl::StrCat("trapped: ", trap->message());
    return "";
  }

  Verdict Perform(const wabt::Action& action, std::vector<Value>& values,
                  std::optional<Trap>& trap) {
    const Instance* instance = Find(action.module_var);
    if (instance == nullptr) return "there is no such module";
    if (action.type() == wabt::ActionType::Get) {
      const auto global = instance->GetGlobal(action.name);
      if (!global.ok()) return std::string(global.status().message());
      values = {global->Get()};
      return "";
    }
    const auto func = instance->GetFunc(action.name);
    if (!func.ok()) return std::string(func.status().message());
    std::vector<Value> args;
    for (const wabt::Const& c : cast<wabt::InvokeAction>(&action)->args) {
      args.push_back(ValueOf(c));
    }
    auto called = func->Call(args);
    if (!called.ok()) return std::string(called.status().message());
    values = std::move(called->values);
    trap = std::move(called->trap);
    return "";
  }

  Verdict Traps(const wabt::Action& action, const std::string& text) {
    std::vector<Value> values;
    std::optional<Trap> trap;
    const Verdict verdict = Perform(action, values, trap);
    if (!verdict.empty()) return verdict;
    if (!trap.has_value()) return "returned instead of trapping";
    return TrapFits(*trap, text);
  }

  static Verdict TrapFits(const Trap& trap, const std::string& text) {
    const std::string message = trap.message();
    // Some scripts add the offending index to the words, some cut them short.
    if (absl::StartsWith(text, message) || absl::StartsWith(message, text)) {
      return "";
    }
    return absl::StrCat("trapped with \"", message, "\" instead of \"", text,
                        "\"");
  }

  Verdict Throws(const wabt::Action& action) {
    std::vector<Value> values;
    std::optional<Trap> trap;
    const Verdict verdict = Perform(action, values, trap);
    if (!verdict.empty()) return verdict;
    if (!trap.has_value()) return "returned instead of throwing";
    return trap->message() == "uncaught exception"
               ? ""
               : absl::StrCat("trapped: ", trap->message());
  }

  Verdict ReturnsExpected(const wabt::Action& action,
                          const wabt::Expectation& expectation) {
    std::vector<Value> values;
    const Verdict verdict = Returns(action, values);
    if (!verdict.empty()) return verdict;
    const wabt::ConstVector& expected = expectation.expected;
    if (expectation.type() == wabt::ExpectationType::Either) {
      if (values.size() != 1) return "wants one result of several";
      for (const wabt::Const& alternative : expected) {
        if (Fits(values[0], alternative)) return "";
      }
      return absl::StrCat("returned ", values[0].ToString(),
                          ", none of the alternatives");
    }
    if (values.size() != expected.size()) {
      return absl::StrCat("returned ", values.size(), " results instead of ",
                          expected.size());
    }
    for (size_t i = 0; i < values.size(); ++i) {
      if (!Fits(values[i], expected[i])) {
        return absl::StrCat("result ", i, " is ", values[i].ToString());
      }
    }
    return "";
  }

  Value ValueOf(const wabt::Const& c) {
    switch (c.type()) {
      case wabt::Type::I32:
        return Value::I32(c.u32());
      case wabt::Type::I64:
        return Value::I64(c.u64());
      case wabt::Type::F32:
        return Value(ValType::kF32, RawValue::I32(c.f32_bits()));
      case wabt::Type::F64:
        return Value(ValType::kF64, RawValue::I64(c.f64_bits()));
      case wabt::Type::V128: {
        V128 vector;
        const ::v128 source = c.vec128();
        std::memcpy(vector.bytes.data(), &source, vector.bytes.size());
        return Value::Vector(vector);
      }
      case wabt::Type::ExternRef:
        return c.ref_bits() == wabt::Const::kRefNullBits
                   ? Value::NullExternRef()
                   : ExternOf(c.ref_bits());
      default:
        return Value::NullFuncRef();
    }
  }

  // The one handle that stands for the script's `ref.extern n`.
  Value ExternOf(uintptr_t number) {
    const auto found = externs_.find(number);
    if (found != externs_.end()) return found->second;
    const auto made = store_->NewExternRef(std::make_shared<uintptr_t>(number));
    if (!made.ok()) std::abort();
    externs_.emplace(number, *made);
    return *made;
  }

  bool Fits(const Value& value, const wabt::Const& expected) {
    switch (expected.type()) {
      case wabt::Type::F32:
        if (value.type() == ValType::kF32 && expected.is_expected_nan()) {
          return NanFits(value.u32(), expected.expected_nan(), kF32Exponent,
                         kF32Quiet);
        }
        break;
      case wabt::Type::F64:
        if (value.type() == ValType::kF64 && expected.is_expected_nan()) {
          return NanFits(value.u64(), expected.expected_nan(), kF64Exponent,
                         kF64Quiet);
        }
        break;
      case wabt::Type::V128:
        return value.type() == ValType::kV128 && LanesFit(value, expected);
      case wabt::Type::FuncRef:
        // The script can say only "some function" or "none".
        return value.type() == ValType::kFuncRef &&
               (value.raw().ref() == kNullRef) ==
                   (expected.ref_bits() == wabt::Const::kRefNullBits);
      default:
        break;
    }
    return value == ValueOf(expected);
  }

  static bool LanesFit(const Value& value, const wabt::Const& expected) {
    const V128 actual = value.v128();
    const ::v128 wanted = expected.vec128();
    const bool is_float = expected.lane_type() == wabt::Type::F32 ||
                          expected.lane_type() == wabt::Type::F64;
    const size_t width =
        actual.bytes.size() / static_cast<size_t>(expected.lane_count());
    for (int lane = 0; lane < expected.lane_count(); ++lane) {
      const size_t at = static_cast<size_t>(lane) * width;
      const uint8_t* bytes = actual.bytes.data() + at;
      if (is_float && expected.is_expected_nan(lane)) {
        if (width == 4) {
          uint32_t bits;
          std::memcpy(&bits, bytes, sizeof(bits));
          if (!NanFits(bits, expected.expected_nan(lane), kF32Exponent,
                       kF32Quiet)) {
            return false;
          }
        } else {
          uint64_t bits;
          std::memcpy(&bits, bytes, sizeof(bits));
          if (!NanFits(bits, expected.expected_nan(lane), kF64Exponent,
                       kF64Quiet)) {
            return false;
          }
        }
      } else if (std::memcmp(bytes, wanted.v + at, width) != 0) {
        return false;
      }
    }
    return true;
  }

  const admission::Features features_;
  ScriptResult& result_;
  const wabt::Script* script_ = nullptr;
  size_t command_index_ = 0;

  std::unique_ptr<Engine> engine_;
  std::unique_ptr<Store> store_;
  std::vector<std::pair<std::string, Extern>> spectest_;
  std::map<std::string, Instance> registered_;
  std::map<size_t, Instance> instances_;  // by their command's index
  std::map<uintptr_t, Value> externs_;
};

}  // namespace

admission::Features AllFeatures() {
  admission::Features features;
  features.tail_call = true;
  features.extended_const = true;
  features.multi_memory = true;
  features.memory64 = true;
  features.relaxed_simd = true;
  features.exceptions = true;
  return features;
}

ScriptResult RunScript(absl::string_view name, absl::string_view text,
                       const admission::Features& features,
                       const EngineFactory& new_engine, bool canonical_nans) {
  ScriptResult result;
  wabt::Errors errors;
  const auto lexer = wabt::WastLexer::CreateBufferLexer(
      std::string_view(name.data(), name.size()), text.data(), text.size(),
      &errors);
  std::unique_ptr<wabt::Script> script;
  wabt::WastParseOptions options(ToWabt(features));
  if (wabt::Failed(
          wabt::ParseWastScript(lexer.get(), &script, &errors, &options))) {
    result.failed = 1;
    result.failures.push_back(absl::StrCat(
        "does not parse: ",
        wabt::FormatErrorsToString(errors, wabt::Location::Type::Text)));
    return result;
  }
  Runner(features, new_engine, canonical_nans, result).Run(*script);
  return result;
}

}  // namespace callgate
