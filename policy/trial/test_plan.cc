#include "policy/trial/test_plan.h"

#include <algorithm>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "policy/anomaly/shape.h"
#include "policy/anomaly_rule.h"
#include "policy/argument.h"
#include "policy/event_facts.h"
#include "policy/file/nearest_name.h"
#include "policy/import_name.h"
#include "policy/quote.h"
#include "policy/trial/argument_layout.h"
#include "runtime/check.h"

namespace callgate::policy::trial {
namespace {

constexpr char kDefaultStore[] = "store";
constexpr char kDefaultStart[] = "2026-01-01T00:00:00Z";
// What WebAssembly allows a function.
constexpr uint32_t kParametersMax = 1000;
// More than any Store has, and no sum of two of these wraps.
constexpr uint64_t kMemoryBytesMax = uint64_t{1} << 48;

absl::Duration DurationOf(const google::protobuf::Duration& duration) {
  return absl::Seconds(duration.seconds()) +
         absl::Nanoseconds(duration.nanos());
}

ValType TypeFor(ArgKind kind) {
  switch (kind) {
    case ArgKind::kU64:
    case ArgKind::kS64:
      return ValType::kI64;
    case ArgKind::kF32:
      return ValType::kF32;
    case ArgKind::kF64:
      return ValType::kF64;
    default:
      return ValType::kI32;
  }
}

class Reader {
 public:
  Reader(const LoadedPolicyFile& file, const Policy& policy,
         const FunctionCatalogue& functions, std::vector<Problem>* problems)
      : file_(file),
        policy_(policy),
        catalogue_(functions),
        problems_(*problems) {
    for (const Rule* rule : policy.AllRules()) rule_ids_.push_back(rule->id);
  }

  TestPlan Run() {
    absl::flat_hash_set<std::string> names;
    for (int i = 0; i < file_.proto.tests_size(); ++i) {
      const v1::PolicyTest& test = file_.proto.tests(i);
      const std::string path = absl::StrCat("tests[", i, "]");
      if (test.name().empty()) {
        Report(path, "has no name");
      } else if (!names.insert(test.name()).second) {
        Report(path + ".name",
               absl::StrCat("there is another test ", Quote(test.name())));
      }
      ReadTest(test, path);
      // What is there already is as much as may be held.
      if (too_large_ || problems_.size() >= kProblemsMax) break;
    }
    return std::move(plan_);
  }

 private:
  void Report(absl::string_view path, absl::string_view message) {
    if (problems_.size() >= kProblemsMax) return;
    const SourcePosition where = file_.PositionOf(path);
    problems_.push_back({file_.filename, where.line, where.column,
                         absl::StrCat(path, ": ", message)});
  }

  void ReadTest(const v1::PolicyTest& test, const std::string& path) {
    PlannedTest planned;
    planned.name = test.name();
    planned.position = file_.PositionOf(path);
    ReadStart(test, path, &planned);
    ReadStores(test, path, &planned);
    if (test.events_size() == 0) Report(path, "has no events");
    if (test.expect_size() == 0) Report(path, "expects nothing");
    absl::Duration at;
    for (int i = 0; i < test.events_size() && !too_large_; ++i) {
      ReadEvent(test.events(i), absl::StrCat(path, ".events[", i, "]"), &at,
                &planned);
    }
    ScoreTheUsual(&planned);
    for (int i = 0; i < test.expect_size() && !too_large_; ++i) {
      ReadExpectation(test.expect(i), absl::StrCat(path, ".expect[", i, "]"),
                      &planned);
    }
    plan_.tests.push_back(std::move(planned));
  }

  void ReadStart(const v1::PolicyTest& test, const std::string& path,
                 PlannedTest* planned) {
    const std::string text =
        test.start().empty() ? kDefaultStart : test.start();
    std::string why;
    if (!absl::ParseTime("%Y-%m-%dT%H:%M:%E*SZ", text, &planned->start, &why)) {
      Report(path + ".start",
             absl::StrCat(Quote(text),
                          " is no time in UTC such as 2026-01-01T00:00:00Z"));
    }
  }

  void ReadStores(const v1::PolicyTest& test, const std::string& path,
                  PlannedTest* planned) {
    absl::flat_hash_set<std::string> names;
    for (int i = 0; i < test.stores_size(); ++i) {
      const v1::TestStore& store = test.stores(i);
      const std::string at = absl::StrCat(path, ".stores[", i, "]");
      if (store.name().empty()) Report(at, "has no name");
      if (!names.insert(store.name()).second) {
        Report(at + ".name", "there is another Store of this name");
      }
      planned->stores.push_back(FactsOf(store));
    }
    if (planned->stores.empty()) {
      v1::TestStore store;
      store.set_name(kDefaultStore);
      planned->stores.push_back(FactsOf(store));
    }
  }

  static StoreFacts FactsOf(const v1::TestStore& store) {
    StoreFacts facts;
    facts.store_id = store.name();
    facts.tenant = store.tenant().empty() ? "test" : store.tenant();
    facts.module_name =
        store.module_name().empty() ? "module" : store.module_name();
    facts.module_digest = store.module_digest().empty()
                              ? absl::StrCat("sha256:", std::string(64, '0'))
                              : store.module_digest();
    return facts;
  }

  void ReadEvent(const v1::TestEvent& event, const std::string& path,
                 absl::Duration* at, PlannedTest* planned) {
    PlannedEvent out;
    if (event.has_at()) {
      const absl::Duration given = DurationOf(event.at());
      if (given < *at) {
        Report(path + ".at",
               absl::StrCat("lies before the end of the event above, at ",
                            absl::FormatDuration(*at)));
      }
      *at = std::max(*at, given);
    }
    out.at = *at;
    if (event.has_repeat()) {
      if (event.repeat() == 0 || event.repeat() > kTestEventsMax) {
        Report(path + ".repeat",
               absl::StrCat("is not between 1 and ", kTestEventsMax));
      } else {
        out.repeat = event.repeat();
      }
    }
    if (event.has_every()) out.every = DurationOf(event.every());
    *at += out.every * (out.repeat - 1);
    out.new_call = event.new_call();
    FindStore(event, path, *planned, &out);
    switch (event.event()) {
      case v1::RULE_EVENT_UNSPECIFIED:
      case v1::RULE_EVENT_CALL:
        ReadCall(event, path, &out);
        break;
      case v1::RULE_EVENT_MEMORY_GROW:
      case v1::RULE_EVENT_TABLE_GROW:
        ReadGrowth(event, path, &out);
        break;
      case v1::RULE_EVENT_FUNCTION:
        ReadFunction(event, path, &out);
        break;
      default:
        Report(path + ".event", "tests do not have such events");
        break;
    }
    CountEvent(path, out);
    planned->events.push_back(std::move(out));
  }

  // Where some call of a Store is scored, its module has a profile, by which
  // the others are as usual.
  static void ScoreTheUsual(PlannedTest* planned) {
    std::vector<bool> has_profile(planned->stores.size());
    for (const PlannedEvent& event : planned->events) {
      if (event.call.score) has_profile[event.store] = true;
    }
    for (PlannedEvent& event : planned->events) {
      if (event.call.score || !has_profile[event.store]) continue;
      event.call.score = anomaly::Score();
      event.counts_calls = true;
    }
  }

  void CountEvent(const std::string& path, const PlannedEvent& event) {
    events_ += event.repeat;
    const uint64_t held = event.call.memory.held();
    bytes_held_ += held;
    bytes_ += held * event.repeat;
    const auto too_many = [&](uint64_t max, absl::string_view what) {
      if (!std::exchange(too_large_, true)) {
        Report(path, absl::StrCat("the tests of this policy have more than ",
                                  max, what));
      }
    };
    if (events_ > kTestEventsMax) {
      too_many(kTestEventsMax, " events, repeated ones each");
    } else if (bytes_ > kTestBytesMax) {
      too_many(kTestBytesMax, " bytes of arguments, repeated ones each");
    } else if (bytes_held_ > kTestBytesHeldMax) {
      too_many(kTestBytesHeldMax, " bytes of arguments");
    }
  }

  void FindStore(const v1::TestEvent& event, const std::string& path,
                 const PlannedTest& planned, PlannedEvent* out) {
    if (event.store().empty()) return;
    std::vector<std::string> names;
    for (size_t s = 0; s < planned.stores.size(); ++s) {
      if (planned.stores[s].store_id == event.store()) {
        out->store = s;
        return;
      }
      names.push_back(planned.stores[s].store_id);
    }
    Report(path + ".store",
           absl::StrCat("there is no Store ", Quote(event.store()),
                        " in this test", SuggestName(event.store(), names)));
  }

  void ReadGrowth(const v1::TestEvent& event, const std::string& path,
                  PlannedEvent* out) {
    const bool is_memory = event.event() == v1::RULE_EVENT_MEMORY_GROW;
    out->subject = is_memory ? "memory_grow" : "table_grow";
    out->growth.kind =
        is_memory ? GrowthEvent::Kind::kMemory : GrowthEvent::Kind::kTable;
    out->growth.current = event.current();
    out->growth.desired = event.desired();
    out->growth.index = event.index();
    if (event.desired() <= event.current()) {
      Report(path + ".desired", "is not more than `current`");
    }
    // The memory that grows is all there is.
    if (is_memory) out->growth.store_bytes = event.current();
    ReadGauges(event, path, out->growth.store_bytes, out);
    if (out->call.gauges) {
      out->growth.store_bytes = out->call.gauges->store_bytes;
      out->growth.fuel_used = out->call.gauges->fuel_used;
    }
    if (is_memory && out->growth.store_bytes < event.current()) {
      Report(path + ".memory_bytes", "is less than `current`");
    }
    NotGiven(!event.args().empty(), path, "args", "a growth");
    NotGiven(event.has_depth(), path, "depth", "a growth");
    NothingOfACall(event, path, "a growth");
    NotGiven(event.has_site(), path, "site", "a growth");
    NotGiven(!event.caller().empty(), path, "caller", "a growth");
    NotGiven(!event.function().empty(), path, "function", "a growth");
  }

  void ReadFunction(const v1::TestEvent& event, const std::string& path,
                    PlannedEvent* out) {
    out->subject =
        absl::StrCat("function ", event.function().empty() && event.has_index()
                                      ? absl::StrCat("#", event.index())
                                      : event.function());
    PlannedEvent::Entry& entry = out->entered.emplace();
    entry.name = event.function();
    entry.func_index = IndexOf(event);
    if (event.function().empty() && !event.has_index()) {
      Report(path, "says no function to enter: neither `function` nor `index`");
    }
    if (event.has_depth()) entry.depth = event.depth();
    ReadParameters(event, path, &entry);
    ReadGauges(event, path, 0, out);
    if (event.has_site()) out->call.caller_index = event.site();
    out->call.caller_name = event.caller();
    NothingOfACall(event, path, "a function");
    NotGiven(event.current() != 0, path, "current", "a function");
    NotGiven(event.desired() != 0, path, "desired", "a function");
  }

  // The function's index; where none is given one that no module has, and each
  // name another.
  uint32_t IndexOf(const v1::TestEvent& event) {
    constexpr uint32_t kFunctionsMax = 1'000'000;
    if (event.has_index()) return event.index();
    const auto next = static_cast<uint32_t>(kFunctionsMax + entered_.size());
    return entered_.emplace(event.function(), next).first->second;
  }

  // What the Store has; nothing if the event does not say.
  void ReadGauges(const v1::TestEvent& event, const std::string& path,
                  uint64_t memory_bytes, PlannedEvent* out) {
    if (!event.has_memory_bytes() && !event.has_fuel_used()) return;
    StoreGauges& gauges = out->call.gauges.emplace();
    gauges.store_bytes =
        event.has_memory_bytes() ? event.memory_bytes() : memory_bytes;
    gauges.fuel_used = event.fuel_used();
    if (gauges.fuel_used > Fuel::kTankMax) {
      Report(path + ".fuel_used",
             absl::StrCat("is more than ", Fuel::kTankMax));
    }
    if (gauges.store_bytes > kMemoryBytesMax) {
      Report(path + ".memory_bytes",
             absl::StrCat("is more than ", kMemoryBytesMax));
    }
  }

  void ReadParameters(const v1::TestEvent& event, const std::string& path,
                      PlannedEvent::Entry* entry) {
    for (const auto& [name, text] : event.args()) {
      const std::string at = absl::StrCat(path, ".args[", Quote(name), "]");
      const std::optional<uint32_t> number =
          ParameterOf(absl::StrCat("args.", name));
      if (!number || *number >= kParametersMax) {
        Report(at, "is no parameter of a function: those are p0, p1, …");
        continue;
      }
      if (entry->args.size() <= *number) {
        entry->args.resize(*number + 1, RawValue::I64(0));
        entry->type.params.resize(*number + 1, ValType::kI64);
      }
      int64_t whole = 0;
      double real = 0;
      if (absl::SimpleAtoi(text, &whole)) {
        entry->args[*number] = RawValue::I64(static_cast<uint64_t>(whole));
      } else if (absl::SimpleAtod(text, &real)) {
        entry->args[*number] = RawValue::F64(real);
        entry->type.params[*number] = ValType::kF64;
      } else {
        Report(at, absl::StrCat(Quote(text), " is no number"));
      }
    }
  }

  void NotGiven(bool given, const std::string& path, absl::string_view field,
                absl::string_view event) {
    if (given) {
      Report(absl::StrCat(path, ".", field),
             absl::StrCat("does not go with ", event));
    }
  }

  void NothingOfACall(const v1::TestEvent& event, const std::string& path,
                      absl::string_view of) {
    NotGiven(!event.import().empty(), path, "import", of);
    NotGiven(!event.sizes().empty(), path, "sizes", of);
    NotGiven(event.outside_size() > 0, path, "outside", of);
    NotGiven(!event.results().empty(), path, "results", of);
    NotGiven(!event.result().empty(), path, "result", of);
    NotGiven(event.has_score(), path, "score", of);
    NotGiven(event.engine_error(), path, "engine_error", of);
  }

  void ReadScore(const v1::TestScore& score, const std::string& path,
                 PlannedEvent* out) {
    if (policy_.anomaly().empty()) {
      Report(path, "the policy has no rule under anomaly, which would read it");
      return;
    }
    uint32_t frame_max = 0;
    for (const AnomalyRule& rule : policy_.anomaly()) {
      frame_max = std::max(frame_max, rule.frame);
    }
    const auto between = [&](absl::string_view field, uint64_t value,
                             uint64_t min, uint64_t max,
                             absl::string_view why) {
      if (value >= min && value <= max) return;
      Report(absl::StrCat(path, ".", field),
             absl::StrCat("is ", value, "; ", why));
    };
    anomaly::Score& said = out->call.score.emplace();
    said.frame = score.frame();
    said.novel = score.novel();
    said.strange = score.strange();
    said.recent = score.has_recent() ? score.recent() : score.frame();
    said.total = score.has_total() ? score.total() : said.recent;
    said.calls = score.has_calls() ? score.calls() : said.total;
    said.share_z = score.share_z();
    out->counts_calls = !score.has_calls();
    constexpr uint64_t kAny = ~uint64_t{0};
    between("frame", said.frame, 0, frame_max,
            absl::StrCat("a frame has at most ", frame_max,
                         " calls, by locality_frame"));
    between("strange", said.strange, 0, said.frame,
            "what was never seen is novel and in the frame, too: at most "
            "score.frame");
    between("recent", said.recent, said.frame, anomaly::kRecentCalls,
            absl::StrCat("it has what the frame has, and at most ",
                         anomaly::kRecentCalls));
    between("total", said.total, said.recent, kAny, "it has what recent has");
    between("calls", said.calls, said.total, kAny,
            "those that total counts are calls");
    if (said.novel && said.frame == 0) {
      Report(absl::StrCat(path, ".novel"),
             "a novel call is in the frame: score.frame is at least 1");
    }
    if (!(said.share_z >= 0)) {
      Report(absl::StrCat(path, ".share_z"), "is not 0 or more");
    }
  }

  void ReadCall(const v1::TestEvent& event, const std::string& path,
                PlannedEvent* out) {
    if (event.current() != 0 || event.desired() != 0) {
      Report(path + (event.current() != 0 ? ".current" : ".desired"),
             "goes with `event: memory_grow` or `table_grow` only");
    }
    NotGiven(!event.function().empty(), path, "function", "a call");
    NotGiven(event.has_index(), path, "index", "a call");
    out->subject = event.import();
    if (event.import().empty()) {
      Report(path, "says no import to call");
      return;
    }
    const absl::StatusOr<ImportName> import = ParseImportName(event.import());
    if (!import.ok()) {
      Report(path + ".import", import.status().message());
      return;
    }
    out->function = FunctionOf(*import, path);
    const TestFunction& function = plan_.functions[out->function];
    WrittenArguments written;
    written.values = {event.args().begin(), event.args().end()};
    written.sizes = {event.sizes().begin(), event.sizes().end()};
    written.outside = {event.outside().begin(), event.outside().end()};
    written.results = {event.results().begin(), event.results().end()};
    for (const LayoutProblem& problem :
         LayOutArguments(function.type, function.args, written, &out->call)) {
      ReportLayout(path, problem);
    }
    if (event.has_site()) out->call.caller_index = event.site();
    out->call.caller_name = event.caller();
    if (event.has_depth()) out->call.depth = event.depth();
    ReadGauges(event, path, out->call.memory.size(), out);
    ReadResult(event, path, function, out);
    if (event.has_score()) ReadScore(event.score(), path + ".score", out);
    out->call.engine_fails = event.engine_error();
  }

  void ReportLayout(const std::string& path, const LayoutProblem& problem) {
    switch (problem.part) {
      case LayoutProblem::Part::kValue:
        Report(absl::StrCat(path, ".args[", Quote(problem.name), "]"),
               problem.message);
        break;
      case LayoutProblem::Part::kSize:
        Report(absl::StrCat(path, ".sizes[", Quote(problem.name), "]"),
               problem.message);
        break;
      case LayoutProblem::Part::kResult:
        Report(absl::StrCat(path, ".results[", Quote(problem.name), "]"),
               problem.message);
        break;
      case LayoutProblem::Part::kOutside:
        Report(absl::StrCat(path, ".outside[", problem.name, "]"),
               problem.message);
        break;
    }
  }

  void ReadResult(const v1::TestEvent& event, const std::string& path,
                  const TestFunction& function, PlannedEvent* out) {
    for (const ValType type : function.type.results) {
      out->results.push_back(Value::Zero(type).raw());
    }
    if (event.result().empty() || event.result() == "ok") return;
    if (event.result() == "error") {
      out->ending = Ending::kHostError;
      out->results.clear();
      return;
    }
    uint32_t number = 0;
    if (!absl::SimpleAtoi(event.result(), &number) || number > 65535) {
      Report(path + ".result",
             absl::StrCat(Quote(event.result()),
                          " is not `ok`, `error` or an errno's number"));
    } else if (!function.spec || !function.spec->errno_result) {
      Report(path + ".result", "the function returns no errno");
    } else {
      out->results[0] = RawValue::I32(number);
    }
  }

  size_t FunctionOf(const ImportName& import, const std::string& path) {
    const auto known = by_import_.find(import);
    if (known != by_import_.end()) return known->second;
    TestFunction function;
    function.module = import.module;
    function.name = import.name;
    const FunctionCatalogue::Function shipped =
        catalogue_.Find(import.module, import.name);
    const ImportPolicy* entry = policy_.FindImport(import.module, import.name);
    if (shipped.type != nullptr) {
      function.type = *shipped.type;
      if (shipped.spec != nullptr) function.spec = *shipped.spec;
    } else {
      function.type = DescribedType(entry, path);
      function.spec = HostFunctionSpec{};
      function.spec->errno_result = true;
    }
    if (function.spec) function.args = function.spec->args;
    if (entry != nullptr) AddDescribed(*entry, &function);
    CheckLink(function, path);
    const size_t number = plan_.functions.size();
    plan_.functions.push_back(std::move(function));
    by_import_.emplace(import, number);
    return number;
  }

  // As many parameters as the policy's descriptions need.
  FuncType DescribedType(const ImportPolicy* entry, const std::string& path) {
    FuncType type;
    type.results = {ValType::kI32};
    if (entry == nullptr) return type;
    const auto need = [&](std::optional<uint32_t> index, ValType of) {
      if (!index || *index == kNoIndex) return;
      if (*index >= kParametersMax) {
        Report(path + ".import",
               absl::StrCat("the policy describes its parameter ", *index,
                            ", and a function has at most ", kParametersMax));
        return;
      }
      if (type.params.size() <= *index) {
        type.params.resize(*index + 1, ValType::kI32);
      }
      if (of != ValType::kI32) type.params[*index] = of;
    };
    for (const ArgumentRule& arg : entry->args) {
      need(arg.index, arg.kind ? TypeFor(*arg.kind) : ValType::kI32);
      need(arg.len_index, ValType::kI32);
      need(arg.dir_index, ValType::kI32);
    }
    return type;
  }

  static void AddDescribed(const ImportPolicy& entry, TestFunction* function) {
    const HostFunctionSpec* spec = function->spec ? &*function->spec : nullptr;
    for (const ArgumentRule& rule : entry.args) {
      std::optional<ArgSpec> arg =
          ResolveArgument(rule, function->type, spec, nullptr);
      if (!arg) continue;  // CheckAgainst says so
      const auto same = std::find_if(
          function->args.begin(), function->args.end(),
          [&](const ArgSpec& known) { return known.name == arg->name; });
      if (same != function->args.end()) {
        *same = *std::move(arg);
      } else {
        function->args.push_back(*std::move(arg));
      }
    }
  }

  // A policy that cannot judge the import is no policy for a module that has
  // it.
  void CheckLink(const TestFunction& function, const std::string& path) {
    const LinkedImport linked = {function.module, function.name, &function.type,
                                 function.spec ? &*function.spec : nullptr};
    for (const Problem& problem :
         policy_.CheckAgainst(absl::MakeConstSpan(&linked, 1)).problems) {
      Report(path, absl::StrCat("the policy cannot judge this import: ",
                                problem.ToString()));
    }
  }

  void ReadExpectation(const v1::TestExpectation& expect,
                       const std::string& path, PlannedTest* planned) {
    PlannedExpectation out;
    out.position = file_.PositionOf(path);
    out.event = expect.event();
    if (expect.event() >= planned->events.size()) {
      Report(
          path + ".event",
          absl::StrCat("there is no event ", expect.event(), "; the test has ",
                       planned->events.size(), ", counted from 0"));
      return;
    }
    const PlannedEvent& event = planned->events[out.event];
    out.time = expect.has_time() ? expect.time() : event.repeat;
    if (out.time < 1 || out.time > event.repeat) {
      Report(path + ".time", absl::StrCat("is not between 1 and ", event.repeat,
                                          ", the event's `repeat`"));
    }
    const auto verdict = [](v1::Action action) -> std::optional<Verdict> {
      if (action == v1::ACTION_UNSPECIFIED) return std::nullopt;
      return static_cast<Verdict>(action);
    };
    out.verdict = verdict(expect.verdict());
    out.would_be = verdict(expect.would_be());
    for (int i = 0; i < expect.rules_size(); ++i) {
      CheckRule(expect.rules(i), absl::StrCat(path, ".rules[", i, "]"));
      out.rules.push_back(expect.rules(i));
    }
    for (int i = 0; i < expect.not_rules_size(); ++i) {
      CheckRule(expect.not_rules(i), absl::StrCat(path, ".not_rules[", i, "]"));
      out.not_rules.push_back(expect.not_rules(i));
    }
    out.no_rules = expect.no_rules();
    if (out.no_rules && !out.rules.empty()) {
      Report(path + ".no_rules", "contradicts `rules`");
    }
    if (expect.has_guest_errno()) out.guest_errno = expect.guest_errno();
    if (expect.has_delay()) out.delay = DurationOf(expect.delay());
    out.message = expect.message();
    const auto goes_with = [&](bool given, absl::string_view field,
                               Verdict needed) {
      if (given && out.verdict != needed) {
        Report(absl::StrCat(path, ".", field),
               absl::StrCat("goes with `verdict: ", VerdictName(needed),
                            "` only"));
      }
    };
    goes_with(expect.has_guest_errno(), "guest_errno", Verdict::kDeny);
    goes_with(expect.has_delay(), "delay", Verdict::kThrottle);
    if (!out.verdict && !out.would_be && out.rules.empty() &&
        out.not_rules.empty() && !out.no_rules && out.message.empty()) {
      Report(path, "expects nothing; say a verdict or rules");
    }
    planned->expect.push_back(std::move(out));
  }

  void CheckRule(const std::string& id, const std::string& path) {
    if (std::find(rule_ids_.begin(), rule_ids_.end(), id) != rule_ids_.end()) {
      return;
    }
    const absl::string_view nearest = NearestName(id, rule_ids_);
    Report(path, absl::StrCat("the policy has no rule ", Quote(id),
                              nearest.empty()
                                  ? ""
                                  : absl::StrCat("; did you mean ",
                                                 EscapeText(nearest), "?")));
  }

  const LoadedPolicyFile& file_;
  const Policy& policy_;
  const FunctionCatalogue& catalogue_;
  std::vector<Problem>& problems_;
  std::vector<std::string> rule_ids_;
  absl::flat_hash_map<ImportName, size_t> by_import_;
  absl::flat_hash_map<std::string, uint32_t> entered_;  // by name
  uint64_t events_ = 0;
  uint64_t bytes_ = 0;
  uint64_t bytes_held_ = 0;
  bool too_large_ = false;
  TestPlan plan_;
};

}  // namespace

TestPlan ReadTests(const LoadedPolicyFile& file, const Policy& policy,
                   const FunctionCatalogue& functions,
                   std::vector<Problem>* problems) {
  return Reader(file, policy, functions, problems).Run();
}

}  // namespace callgate::policy::trial
