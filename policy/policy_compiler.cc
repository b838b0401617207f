#include "policy/policy_compiler.h"

#include <algorithm>
#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <tuple>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "google/protobuf/descriptor.h"
#include "google/protobuf/message.h"
#include "openssl/evp.h"
#include "policy/builtin_policies.h"
#include "policy/call_facts.h"
#include "policy/expression/expression.h"
#include "policy/import_name.h"
#include "policy/quote.h"
#include "policy/rule_parts.h"
#include "policy/supported_fields.h"
#include "runtime/call_hook.h"
#include "runtime/check.h"

namespace callgate::policy {
namespace {

constexpr char kApiVersion[] = "callgate.policy/v1";
constexpr char kKind[] = "Policy";
constexpr size_t kNameBytesMax = 63;
constexpr uint32_t kErrnoMax = 65535;
constexpr uint64_t kBurstMax = 1'000'000'000;
constexpr double kRefillMax = 1e9;
constexpr size_t kArgumentFactsMax = 1024;

// The schema's numbers and ours are the same.
static_assert(static_cast<int>(Verdict::kAllow) == v1::ACTION_ALLOW &&
                  static_cast<int>(Verdict::kLog) == v1::ACTION_LOG &&
                  static_cast<int>(Verdict::kAlert) == v1::ACTION_ALERT &&
                  static_cast<int>(Verdict::kThrottle) == v1::ACTION_THROTTLE &&
                  static_cast<int>(Verdict::kDeny) == v1::ACTION_DENY &&
                  static_cast<int>(Verdict::kTrap) == v1::ACTION_TRAP &&
                  static_cast<int>(Verdict::kKillStore) ==
                      v1::ACTION_KILL_STORE &&
                  static_cast<int>(Verdict::kQuarantineModule) ==
                      v1::ACTION_QUARANTINE_MODULE,
              "actions");
static_assert(static_cast<int>(Mode::kAudit) == v1::MODE_AUDIT &&
                  static_cast<int>(Mode::kEnforce) == v1::MODE_ENFORCE,
              "modes");
static_assert(static_cast<int>(Severity::kDebug) == v1::SEVERITY_DEBUG &&
                  static_cast<int>(Severity::kCritical) ==
                      v1::SEVERITY_CRITICAL,
              "severities");
static_assert(static_cast<int>(ArgKind::kU32) + 1 == v1::ARGUMENT_TYPE_U32 &&
                  static_cast<int>(ArgKind::kSockaddr) + 1 ==
                      v1::ARGUMENT_TYPE_SOCKADDR,
              "argument types");

bool IsName(absl::string_view text, absl::string_view punctuation) {
  if (text.empty() || text.size() > kNameBytesMax) return false;
  for (const char c : text) {
    if (!absl::ascii_isalnum(static_cast<unsigned char>(c)) &&
        punctuation.find(c) == absl::string_view::npos) {
      return false;
    }
  }
  return absl::ascii_isalnum(static_cast<unsigned char>(text.front()));
}

// Rules without an id of their own are called after their import, the second
// and later ones with a number.
class DefaultIds {
 public:
  std::string Next(absl::string_view prefix, const ImportName& import) {
    std::string id =
        absl::StrCat(prefix, FormatImportName(import.module, import.name));
    const int number = ++used_[id];
    return number == 1 ? id : absl::StrCat(id, "#", number);
  }

 private:
  absl::flat_hash_map<std::string, int> used_;
};

class Compiler {
 public:
  Compiler(const LoadedPolicyFile& root, const IncludeResolver& resolver)
      : root_(root), resolver_(resolver) {}

  CompileResult Run() {
    CollectFiles();
    for (const LoadedPolicyFile* file : files_) {
      CheckForm(*file);
      for (Problem& p : FindUnsupportedFields(*file)) {
        problems_.push_back(std::move(p));
      }
    }
    CompileRoot();
    for (const LoadedPolicyFile* file : included_first_) {
      CompileLists(*file);
      CompileMacros(*file);
    }
    for (const LoadedPolicyFile* file : files_) {
      CompileBudgets(*file);
      CompileImports(*file);
      CompileRules(*file);
      CompileRateLimits(*file);
    }
    for (const LoadedPolicyFile* file : files_) CompileExceptions(*file);
    CheckExpressions();
    WarnOfContradictions();

    CompileResult result;
    SortByPlace(&problems_);
    SortByPlace(&warnings_);
    if (problems_.size() > kProblemsMax) problems_.resize(kProblemsMax);
    if (warnings_.size() > kProblemsMax) warnings_.resize(kProblemsMax);
    result.problems = std::move(problems_);
    result.warnings = std::move(warnings_);
    if (result.problems.empty()) {
      content_.version = Version();
      result.policy = std::make_shared<const Policy>(std::move(content_));
    }
    return result;
  }

 private:
  // --- Problems --------------------------------------------------------------

  static Problem At(const LoadedPolicyFile& file, absl::string_view path,
                    absl::string_view message) {
    const SourcePosition where = file.PositionOf(path);
    return {file.filename, where.line, where.column,
            path.empty() ? std::string(message)
                         : absl::StrCat(path, ": ", message)};
  }
  void Report(const LoadedPolicyFile& file, absl::string_view path,
              absl::string_view message) {
    problems_.push_back(At(file, path, message));
  }
  void Warn(const LoadedPolicyFile& file, absl::string_view path,
            absl::string_view message) {
    warnings_.push_back(At(file, path, message));
  }

  // The root's first, then each included file's, in the order of their lines.
  void SortByPlace(std::vector<Problem>* problems) {
    absl::flat_hash_map<std::string, size_t> order;
    for (const LoadedPolicyFile* file : files_) {
      order.emplace(file->filename, order.size());
    }
    std::stable_sort(problems->begin(), problems->end(),
                     [&](const Problem& a, const Problem& b) {
                       return std::make_tuple(order[a.file], a.line, a.column) <
                              std::make_tuple(order[b.file], b.line, b.column);
                     });
  }

  // --- Files -----------------------------------------------------------------

  const LoadedPolicyFile* Resolve(absl::string_view name) const {
    if (const LoadedPolicyFile* builtin = FindBuiltinPolicy(name)) {
      return builtin;
    }
    return resolver_ ? resolver_(name) : nullptr;
  }

  // Fills files_ with the root and everything it includes, each once, parents
  // before children.
  void CollectFiles() {
    // The includes that lead from the root to where we are.
    struct Step {
      const LoadedPolicyFile* file;
      std::string name;
      int next = 0;
    };
    std::vector<Step> path = {{&root_, root_.proto.metadata().name()}};
    absl::flat_hash_set<std::string> seen = {root_.proto.metadata().name()};
    files_.push_back(&root_);
    while (!path.empty()) {
      const LoadedPolicyFile& file = *path.back().file;
      if (path.back().next == file.proto.include_size()) {
        included_first_.push_back(&file);
        path.pop_back();
        continue;
      }
      const int index = path.back().next++;
      const std::string& name = file.proto.include(index);
      const std::string where = absl::StrCat("include[", index, "]");
      if (seen.contains(name)) {
        const auto back =
            std::find_if(path.begin(), path.end(),
                         [&](const Step& step) { return step.name == name; });
        if (back != path.end()) {
          std::vector<std::string> names;
          for (auto step = back; step != path.end(); ++step) {
            names.push_back(step->name);
          }
          names.push_back(name);
          Report(file, where,
                 absl::StrCat("includes form a circle: ",
                              EscapeText(absl::StrJoin(names, " → "))));
        }
        continue;
      }
      if (files_.size() > kIncludesMax) {
        Report(file, where,
               absl::StrCat("more than ", kIncludesMax,
                            " policies are included, all levels together"));
        return;
      }
      const LoadedPolicyFile* included = Resolve(name);
      if (included == nullptr) {
        std::vector<std::string> shipped;
        for (const BuiltinPolicy& policy : BuiltinPolicies()) {
          shipped.emplace_back(policy.name);
        }
        Report(file, where,
               absl::StrCat("there is no policy ", Quote(name),
                            "; include one of the catalogue by its "
                            "metadata.name, or one that ships with callgate: ",
                            absl::StrJoin(shipped, ", ")));
        continue;
      }
      seen.insert(name);
      files_.push_back(included);
      path.push_back({included, name});
    }
  }

  // SHA-256 over every file: the length of its canonical bytes, then those.
  std::string Version() const {
    EVP_MD_CTX* context = EVP_MD_CTX_new();
    CALLGATE_CHECK(context != nullptr &&
                       EVP_DigestInit_ex(context, EVP_sha256(), nullptr) == 1,
                   "libcrypto has SHA-256");
    for (const LoadedPolicyFile* file : files_) {
      const std::string bytes = CanonicalBytes(file->proto);
      unsigned char length[8];
      for (size_t i = 0; i < sizeof(length); ++i) {
        length[i] = static_cast<unsigned char>(
            static_cast<uint64_t>(bytes.size()) >> (8 * i));
      }
      EVP_DigestUpdate(context, length, sizeof(length));
      EVP_DigestUpdate(context, bytes.data(), bytes.size());
    }
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned int size = 0;
    EVP_DigestFinal_ex(context, digest, &size);
    EVP_MD_CTX_free(context);
    std::string hex;
    for (unsigned int i = 0; i < size; ++i) {
      absl::StrAppend(&hex, absl::Hex(digest[i], absl::kZeroPad2));
    }
    return hex;
  }

  void CheckForm(const LoadedPolicyFile& file) {
    const v1::PolicyFile& proto = file.proto;
    const auto check_word = [&](absl::string_view path, absl::string_view found,
                                absl::string_view want) {
      if (found == want) return;
      Report(file, found.empty() ? "" : path,
             found.empty()
                 ? absl::StrCat(path, " is missing; write `", path, ": ", want,
                                "`")
                 : absl::StrCat("expected ", want, ", found ", Quote(found)));
    };
    check_word("api_version", proto.api_version(), kApiVersion);
    check_word("kind", proto.kind(), kKind);
    const std::string& name = proto.metadata().name();
    if (name.empty()) {
      Report(file, file.positions.contains("metadata") ? "metadata" : "",
             "metadata.name is missing; a policy has a name");
    } else if (!IsName(name, "._-")) {
      Report(file, "metadata.name",
             absl::StrCat(Quote(name), " is not a name; write 1 to ",
                          kNameBytesMax,
                          " letters, digits, '.', '_' and '-', beginning with "
                          "a letter or digit"));
    } else if (FindBuiltinPolicy(name) != nullptr &&
               FindBuiltinPolicy(name) != &file) {
      Report(file, "metadata.name",
             absl::StrCat(Quote(name),
                          " is a policy that ships with callgate; choose "
                          "another name"));
    }
  }

  // --- Parts of the root alone -----------------------------------------------

  static Verdict ToVerdict(v1::Action action) {
    return static_cast<Verdict>(action);
  }

  // The engine's own rules.
  Rule OwnRule(absl::string_view id, Verdict verdict,
               absl::string_view path) const {
    Rule rule;
    rule.id = std::string(id);
    rule.verdict = verdict;
    rule.severity = DefaultSeverity(verdict);
    rule.file = root_.filename;
    rule.position = root_.PositionOf(path);
    return rule;
  }

  // Refuses actions that have no place here.
  bool CheckAction(const LoadedPolicyFile& file, absl::string_view path,
                   v1::Action action,
                   std::initializer_list<v1::Action> allowed) {
    if (std::find(allowed.begin(), allowed.end(), action) != allowed.end()) {
      return true;
    }
    std::vector<absl::string_view> names;
    for (const v1::Action a : allowed) {
      names.push_back(VerdictName(ToVerdict(a)));
    }
    Report(file, path,
           absl::StrCat("cannot be ", VerdictName(ToVerdict(action)),
                        "; allowed here: ", absl::StrJoin(names, ", ")));
    return false;
  }

  void CompileRoot() {
    const v1::PolicyFile& proto = root_.proto;
    content_.name = proto.metadata().name();
    content_.description = proto.metadata().description();
    content_.filename = root_.filename;
    if (proto.defaults().mode() != v1::MODE_UNSPECIFIED) {
      content_.mode = static_cast<Mode>(proto.defaults().mode());
    }
    if (proto.defaults().min_severity() != v1::SEVERITY_UNSPECIFIED) {
      content_.min_severity =
          static_cast<Severity>(proto.defaults().min_severity());
    }

    Verdict unlisted = Verdict::kDeny;
    if (const v1::Action a = proto.defaults().unlisted_import();
        a != v1::ACTION_UNSPECIFIED &&
        CheckAction(root_, "defaults.unlisted_import", a,
                    {v1::ACTION_ALLOW, v1::ACTION_LOG, v1::ACTION_ALERT,
                     v1::ACTION_DENY, v1::ACTION_TRAP, v1::ACTION_KILL_STORE,
                     v1::ACTION_QUARANTINE_MODULE})) {
      unlisted = ToVerdict(a);
    }
    content_.unlisted_import = OwnRule("default:unlisted_import", unlisted,
                                       "defaults.unlisted_import");
    content_.no_allow = OwnRule("default:no_allow", Verdict::kDeny, "imports");
    content_.bad_argument =
        OwnRule("default:argument", Verdict::kDeny, "imports");

    Verdict on_error = Verdict::kTrap;
    if (const v1::Action a = proto.defaults().on_engine_error();
        a != v1::ACTION_UNSPECIFIED &&
        CheckAction(root_, "defaults.on_engine_error", a,
                    {v1::ACTION_DENY, v1::ACTION_TRAP, v1::ACTION_KILL_STORE,
                     v1::ACTION_QUARANTINE_MODULE})) {
      on_error = ToVerdict(a);
    }
    content_.on_engine_error = OwnRule("default:on_engine_error", on_error,
                                       "defaults.on_engine_error");
    // Whatever it does to the call, a fault of ours matters.
    content_.on_engine_error.severity = Severity::kCritical;

    Applicability& to = content_.applies_to;
    to.on_offer_only = !proto.has_applies_to();
    to.any_tenant = proto.applies_to().tenants().empty();
    for (int i = 0; i < proto.applies_to().tenants_size(); ++i) {
      const std::string& tenant = proto.applies_to().tenants(i);
      if (tenant == "*") {
        to.any_tenant = true;
      } else if (tenant.find('*') != std::string::npos) {
        Report(root_, absl::StrCat("applies_to.tenants[", i, "]"),
               absl::StrCat(Quote(tenant),
                            ": patterns are not supported yet; write a "
                            "tenant's name, or * alone for every tenant"));
      }
      to.tenants.push_back(tenant);
    }
    for (const auto& label : proto.applies_to().module_labels()) {
      to.module_labels.emplace_back(label.first, label.second);
    }
    std::sort(to.module_labels.begin(), to.module_labels.end());
  }

  // --- Budgets ---------------------------------------------------------------

  void Tighten(std::optional<uint64_t>* budget, uint64_t max) {
    *budget = budget->has_value() ? std::min(**budget, max) : max;
  }

  void CompileBudgets(const LoadedPolicyFile& file) {
    const bool is_root = &file == &root_;
    const v1::Budgets& budgets = file.proto.budgets();
    Budgets& out = content_.budgets;
    const auto set = [&](Budget b, bool has, uint64_t value, uint64_t min,
                         uint64_t max) {
      if (!has) return;
      if (value < min || value > max) {
        Report(file, absl::StrCat("budgets.", BudgetName(b)),
               absl::StrCat("is ", value, "; allowed: ", min, " to ", max));
        return;
      }
      Tighten(&out.max[static_cast<size_t>(b)], value);
    };
    constexpr uint64_t kAny = std::numeric_limits<uint64_t>::max();
    set(Budget::kFuelPerCall, budgets.has_fuel_per_call(),
        budgets.fuel_per_call(), 1, kAny);
    set(Budget::kFuelPerStore, budgets.has_fuel_per_store(),
        budgets.fuel_per_store(), 1, kAny);
    set(Budget::kMemoryBytesTotal, budgets.has_memory_bytes_total(),
        budgets.memory_bytes_total(), 0, kAny);
    set(Budget::kTableElementsTotal, budgets.has_table_elements_total(),
        budgets.table_elements_total(), 0, kAny);
    set(Budget::kCallDepth, budgets.has_call_depth(), budgets.call_depth(), 1,
        std::numeric_limits<uint32_t>::max());
    set(Budget::kHostCallsPerCall, budgets.has_host_calls_per_call(),
        budgets.host_calls_per_call(), 0, kAny);
    set(Budget::kHostBytesPerCall, budgets.has_host_bytes_per_call(),
        budgets.host_bytes_per_call(), 0, kAny);
    set(Budget::kOpenHandles, budgets.has_open_handles(),
        budgets.open_handles(), 0, kAny);
    if (budgets.has_wall_per_call()) {
      // A century is as good as for ever, and fits.
      constexpr int64_t kSecondsMax = int64_t{100} * 366 * 86400;
      const auto& wall = budgets.wall_per_call();
      if ((wall.seconds() == 0 && wall.nanos() == 0) ||
          wall.seconds() > kSecondsMax) {
        Report(file, "budgets.wall_per_call",
               "must be longer than nothing and at most 100 years");
      } else {
        Tighten(&out.max[static_cast<size_t>(Budget::kWallPerCall)],
                static_cast<uint64_t>(wall.seconds()) * 1'000'000'000 +
                    static_cast<uint64_t>(wall.nanos()));
      }
    }
    if (const v1::Action a = budgets.on_exceed();
        a != v1::ACTION_UNSPECIFIED &&
        CheckAction(file, "budgets.on_exceed", a,
                    {v1::ACTION_TRAP, v1::ACTION_KILL_STORE,
                     v1::ACTION_QUARANTINE_MODULE})) {
      out.on_exceed = std::max(out.on_exceed, ToVerdict(a));
    }
    CompileModuleBudgets(budgets.module());
    if (!is_root) return;
    for (size_t i = 0; i < kBudgetCount; ++i) {
      const auto b = static_cast<Budget>(i);
      content_.budget_exceeded[i] =
          OwnRule(absl::StrCat("budget:", BudgetName(b)), Verdict::kTrap,
                  absl::StrCat("budgets.", BudgetName(b)));
    }
  }

  // By reflection: the message is nothing but optional numbers, and their names
  // are the limits' names.
  void CompileModuleBudgets(const v1::ModuleBudgets& module) {
    const auto& reflection = *module.GetReflection();
    std::vector<const google::protobuf::FieldDescriptor*> fields;
    reflection.ListFields(module, &fields);
    for (const auto* field : fields) {
      const uint64_t max = reflection.GetUInt64(module, field);
      std::vector<ModuleLimit>& limits = content_.budgets.module;
      const auto known = std::find_if(
          limits.begin(), limits.end(),
          [&](const ModuleLimit& l) { return l.name == field->name(); });
      if (known == limits.end()) {
        limits.push_back({field->name(), max});
      } else {
        known->max = std::min(known->max, max);
      }
    }
  }

  // --- Rules -----------------------------------------------------------------

  ReportAt ReporterFor(const LoadedPolicyFile& file) {
    return [this, &file](const std::string& path, const std::string& message) {
      Report(file, path, message);
    };
  }

  void CompileLists(const LoadedPolicyFile& file) {
    for (int i = 0; i < file.proto.lists_size(); ++i) {
      const std::string path = absl::StrCat("lists[", i, "]");
      std::optional<NamedList> list =
          ReadList(file.proto.lists(i), path, ReporterFor(file));
      if (!list) continue;
      std::vector<NamedList>& lists = content_.vocabulary.lists;
      if (std::any_of(lists.begin(), lists.end(), [&](const NamedList& other) {
            return other.name == list->name;
          })) {
        Report(file, absl::StrCat(path, ".name"),
               absl::StrCat(Quote(list->name),
                            " is a list already; names are unique in a policy "
                            "and what it includes"));
        continue;
      }
      lists.push_back(*std::move(list));
    }
  }

  void CompileMacros(const LoadedPolicyFile& file) {
    for (int i = 0; i < file.proto.macros_size(); ++i) {
      const v1::Macro& macro = file.proto.macros(i);
      const std::string path = absl::StrCat("macros[", i, "]");
      if (macro.when().empty()) {
        Report(file, path, "when is missing; a macro stands for a condition");
        continue;
      }
      content_.vocabulary.macros.push_back(
          {macro.name(),
           ConditionAt(file, absl::StrCat(path, ".when"), macro.when())});
    }
  }

  void CompileRules(const LoadedPolicyFile& file) {
    for (int i = 0; i < file.proto.rules_size(); ++i) {
      const v1::Rule& entry = file.proto.rules(i);
      const std::string path = absl::StrCat("rules[", i, "]");
      if (entry.id().empty()) {
        Report(file, path, "id is missing; a rule has an id");
        continue;
      }
      CheckId(file, path, entry.id());
      if (entry.event() != v1::RULE_EVENT_UNSPECIFIED &&
          entry.event() != v1::RULE_EVENT_CALL) {
        Report(file, absl::StrCat(path, ".event"),
               "only `call` is looked at; others are not supported yet");
        continue;
      }
      if (entry.when().empty()) {
        Report(file, path,
               "when is missing; write `when: 'true'` for every call");
      }
      if (entry.action() == v1::ACTION_UNSPECIFIED) {
        Report(file, path,
               "action is missing; allowed: log, alert, throttle, deny, trap, "
               "kill_store, quarantine_module");
        continue;
      }
      if (!CheckAction(file, absl::StrCat(path, ".action"), entry.action(),
                       {v1::ACTION_LOG, v1::ACTION_ALERT, v1::ACTION_THROTTLE,
                        v1::ACTION_DENY, v1::ACTION_TRAP, v1::ACTION_KILL_STORE,
                        v1::ACTION_QUARANTINE_MODULE})) {
        continue;
      }
      Rule rule = CompileRule(file, path, entry, ToVerdict(entry.action()),
                              kErrnoNotCapable);
      rule.id = entry.id();
      if (entry.has_enabled() && !entry.enabled()) continue;
      content_.call_rules.push_back(
          static_cast<uint32_t>(content_.rules.size()));
      rule_where_.push_back({&file, path});
      content_.rules.push_back(std::move(rule));
    }
  }

  void CompileExceptions(const LoadedPolicyFile& file) {
    const absl::Time now = absl::Now();
    for (int i = 0; i < file.proto.exceptions_size(); ++i) {
      const v1::RuleException& entry = file.proto.exceptions(i);
      const std::string path = absl::StrCat("exceptions[", i, "]");
      std::optional<RuleException> exception =
          ReadException(file, entry, path, ReporterFor(file));
      if (!exception) continue;
      const auto rule = std::find_if(
          content_.rules.begin(), content_.rules.end(),
          [&](const Rule& known) { return known.id == entry.rule(); });
      if (rule == content_.rules.end()) {
        Report(file, absl::StrCat(path, ".rule"),
               absl::StrCat("there is no rule ", Quote(entry.rule()),
                            " under imports or rules"));
        continue;
      }
      if (rule->verdict == Verdict::kAllow) {
        Report(file, absl::StrCat(path, ".rule"),
               absl::StrCat(Quote(entry.rule()),
                            " allows; exceptions are from rules that "
                            "restrict"));
        continue;
      }
      constexpr absl::Duration kWarnBefore = absl::Hours(14 * 24);
      if (exception->expires <= now) {
        Warn(file, absl::StrCat(path, ".expires"),
             "is over, so the exception has no effect");
      } else if (exception->expires - now < kWarnBefore) {
        Warn(file, absl::StrCat(path, ".expires"), "is less than 14 days away");
      }
      rule->exceptions.push_back(*std::move(exception));
    }
  }

  // Names, types and syntax. What depends on an import is found when a module
  // brings one.
  void CheckExpressions() {
    Vocabulary& words = content_.vocabulary;
    for (const Macro& macro : words.macros) {
      FindArgumentFacts(macro.when.source, &words.arguments);
    }
    for (const Rule& rule : content_.rules) {
      FindArgumentFacts(rule.when.source, &words.arguments);
      for (const MessagePart& part : rule.message_parts) {
        FindArgumentFacts(part.value.source, &words.arguments);
      }
      for (const RuleException& exception : rule.exceptions) {
        for (const auto& terms : exception.alternatives) {
          for (const RuleException::Term& term : terms) {
            FindArgumentFacts(term.field, &words.arguments);
          }
        }
      }
    }
    if (words.arguments.size() > kArgumentFactsMax) {
      Report(root_, "",
             absl::StrCat("expressions name ", words.arguments.size(),
                          " facts of arguments; at most ", kArgumentFactsMax));
      return;
    }
    expression::Schema schema;
    DeclareCallFacts(nullptr, &schema);
    for (const std::string& fact : words.arguments) {
      DeclareMissingArgument(fact, &schema);
    }
    DeclareLists(words, &schema);
    expression::MacroSet macros;
    AddMacros(words, schema, &macros, &problems_);
    const auto check = [&](const Condition& condition,
                           std::optional<expression::Type> type) {
      if (condition.empty()) return;
      expression::CompileOptions options;
      options.type = type;
      options.macros = &macros;
      for (const expression::Problem& problem :
           expression::CheckTypes(condition.source, schema, options)) {
        problems_.push_back(
            AtCondition(condition, problem.ToString(condition.source)));
      }
    };
    for (const Rule& rule : content_.rules) {
      check(rule.when, expression::Type(expression::TypeKind::kBool));
      for (const MessagePart& part : rule.message_parts) {
        check(part.value, std::nullopt);
      }
      for (const RuleException& exception : rule.exceptions) {
        Condition condition;
        condition.path = exception.path;
        condition.file = exception.file;
        condition.position = exception.position;
        std::string why;
        const auto source = SourceOfException(exception, schema, &why);
        if (!source) {
          problems_.push_back(AtCondition(condition, why));
          continue;
        }
        condition.source = *source;
        check(condition, expression::Type(expression::TypeKind::kBool));
      }
    }
  }

  // What imports and rate limits have in common. The id is set by the caller.
  template <typename Entry>
  Rule CompileRule(const LoadedPolicyFile& file, const std::string& path,
                   const Entry& entry, Verdict verdict,
                   uint32_t errno_default) {
    Rule rule;
    rule.verdict = verdict;
    rule.file = file.filename;
    rule.position = file.PositionOf(path);
    // An entry that allows has a say only about its arguments, and denies then.
    rule.severity =
        DefaultSeverity(verdict == Verdict::kAllow ? Verdict::kDeny : verdict);
    if (entry.severity() != v1::SEVERITY_UNSPECIFIED) {
      rule.severity = static_cast<Severity>(entry.severity());
    }
    if (entry.mode() != v1::MODE_UNSPECIFIED) {
      rule.mode = static_cast<Mode>(entry.mode());
    }
    rule.guest_errno = errno_default;
    if (entry.has_guest_errno()) {
      const std::string at = absl::StrCat(path, ".guest_errno");
      if (verdict != Verdict::kDeny) {
        Report(file, at,
               absl::StrCat("goes with `action: deny` only; this one is ",
                            VerdictName(verdict)));
      } else if (entry.guest_errno() == 0 || entry.guest_errno() > kErrnoMax) {
        Report(file, at,
               absl::StrCat("is ", entry.guest_errno(), "; allowed: 1 to ",
                            kErrnoMax,
                            " (0 would tell the guest that the call "
                            "succeeded)"));
      }
      rule.guest_errno = entry.guest_errno();
    }
    rule.message = EscapeText(entry.message());
    rule.message_parts =
        ReadMessage(file, entry.message(), absl::StrCat(path, ".message"),
                    ReporterFor(file));
    if (!entry.when().empty()) {
      rule.when = ConditionAt(file, absl::StrCat(path, ".when"), entry.when());
    }
    if (verdict == Verdict::kThrottle) {
      if (entry.has_throttle()) {
        rule.throttle =
            ReadThrottle(entry.throttle(), absl::StrCat(path, ".throttle"),
                         ReporterFor(file));
      } else {
        Report(file, path,
               "throttle is missing; say how long, as in `throttle: "
               "{base_delay: 10ms}`");
      }
    } else if (entry.has_throttle()) {
      Report(file, absl::StrCat(path, ".throttle"),
             absl::StrCat("goes with `action: throttle` only; this one is ",
                          VerdictName(verdict)));
    }
    rule.tags.assign(entry.tags().begin(), entry.tags().end());
    return rule;
  }

  // Checks an id that the file gives, and that no other rule has it.
  void CheckId(const LoadedPolicyFile& file, const std::string& path,
               const std::string& id) {
    if (!IsName(id, "._-/")) {
      Report(
          file, absl::StrCat(path, ".id"),
          absl::StrCat(Quote(id), " is not an id; write 1 to ", kNameBytesMax,
                       " letters, digits, '.', '_', '-' and '/', beginning "
                       "with a letter or digit"));
      return;
    }
    const auto [known, is_new] = ids_.emplace(id, RuleWhere{&file, path});
    if (!is_new) {
      const SourcePosition other =
          known->second.file->PositionOf(known->second.path);
      Report(
          file, absl::StrCat(path, ".id"),
          absl::StrCat(Quote(id), " is used already by ", known->second.path,
                       " (", known->second.file->filename, ":", other.line,
                       "); ids are unique in a policy and what it includes"));
    }
  }

  // What content_.imports has of `import`, made if it has nothing yet.
  ImportPolicy& EntryOf(const ImportName& import) {
    const auto [known, is_new] =
        import_index_.emplace(import, content_.imports.size());
    if (is_new) content_.imports.emplace_back().import = import;
    return content_.imports[known->second];
  }

  std::optional<ImportName> ReadImport(const LoadedPolicyFile& file,
                                       const std::string& path,
                                       const std::string& text) {
    if (text.empty()) {
      Report(file, path, "import is missing; name one as module.name");
      return std::nullopt;
    }
    absl::StatusOr<ImportName> import = ParseImportName(text);
    if (!import.ok()) {
      Report(file, absl::StrCat(path, ".import"), import.status().message());
      return std::nullopt;
    }
    return *std::move(import);
  }

  void CompileImports(const LoadedPolicyFile& file) {
    for (int i = 0; i < file.proto.imports_size(); ++i) {
      const v1::ImportRule& entry = file.proto.imports(i);
      const std::string path = absl::StrCat("imports[", i, "]");
      const std::optional<ImportName> import =
          ReadImport(file, path, entry.import());
      if (entry.action() == v1::ACTION_UNSPECIFIED) {
        Report(file, path,
               "action is missing; allowed: allow, log, alert, throttle, deny, "
               "trap, kill_store, quarantine_module");
        continue;
      }
      if (!CheckAction(file, absl::StrCat(path, ".action"), entry.action(),
                       {v1::ACTION_ALLOW, v1::ACTION_LOG, v1::ACTION_ALERT,
                        v1::ACTION_THROTTLE, v1::ACTION_DENY, v1::ACTION_TRAP,
                        v1::ACTION_KILL_STORE, v1::ACTION_QUARANTINE_MODULE})) {
        continue;
      }
      const Verdict verdict = ToVerdict(entry.action());
      Rule rule = CompileRule(file, path, entry, verdict, kErrnoNotCapable);
      if (!entry.id().empty()) CheckId(file, path, entry.id());
      if (verdict == Verdict::kAllow) CheckAllow(file, path, entry);
      if (!import) continue;
      // An entry that allows speaks of its arguments alone.
      const absl::string_view prefix =
          verdict == Verdict::kAllow ? "args:" : "import:";
      rule.id =
          entry.id().empty() ? default_ids_.Next(prefix, *import) : entry.id();

      const auto index = static_cast<uint32_t>(content_.rules.size());
      ImportPolicy& policy = EntryOf(*import);
      policy.listed = true;
      if (verdict == Verdict::kAllow) {
        if (rule.when.empty()) {
          policy.allowed = true;
        } else {
          policy.conditional_allows.push_back(index);
        }
      } else {
        policy.restrictions.push_back(index);
      }
      rule_where_.push_back({&file, path});
      content_.rules.push_back(std::move(rule));
      CompileArguments(file, path, entry, index, &policy);
    }
  }

  void CheckAllow(const LoadedPolicyFile& file, const std::string& path,
                  const v1::ImportRule& entry) {
    if (entry.mode() != v1::MODE_UNSPECIFIED) {
      Report(file, absl::StrCat(path, ".mode"),
             "means nothing with `action: allow`; set it on entries that "
             "restrict");
    }
    if (entry.args_size() > 0) return;
    const auto unused = [&](absl::string_view field, bool set) {
      if (set) {
        Warn(file, absl::StrCat(path, ".", field),
             "has no effect: an entry that allows and has no args is never "
             "reported");
      }
    };
    unused("severity", entry.severity() != v1::SEVERITY_UNSPECIFIED);
    unused("tags", entry.tags_size() > 0);
    unused("message", !entry.message().empty());
  }

  void CompileArguments(const LoadedPolicyFile& file,
                        const std::string& rule_path,
                        const v1::ImportRule& entry, uint32_t rule,
                        ImportPolicy* policy) {
    for (int i = 0; i < entry.args_size(); ++i) {
      const v1::ArgumentSpec& spec = entry.args(i);
      const std::string path = absl::StrCat(rule_path, ".args[", i, "]");
      ArgumentRule arg;
      arg.name = spec.name();
      arg.rule = rule;
      arg.redact = spec.redact();
      if (!IsName(spec.name(), "_")) {
        Report(file, path,
               spec.name().empty()
                   ? "name is missing; an argument has a name"
                   : absl::StrCat(Quote(spec.name()),
                                  " is not a name; write letters, digits and "
                                  "'_', beginning with a letter or digit"));
        continue;
      }
      if (std::any_of(
              policy->args.begin(), policy->args.end(),
              [&](const ArgumentRule& a) { return a.name == arg.name; })) {
        Report(file, path,
               absl::StrCat("argument ", Quote(arg.name),
                            " of this import is described already; describe "
                            "each once"));
        continue;
      }
      if (spec.has_index()) arg.index = spec.index();
      if (spec.has_len_index()) arg.len_index = spec.len_index();
      if (spec.has_dir_index()) arg.dir_index = spec.dir_index();
      if (spec.type() != v1::ARGUMENT_TYPE_UNSPECIFIED) {
        arg.kind = static_cast<ArgKind>(static_cast<int>(spec.type()) - 1);
      }
      if (spec.has_max_bytes()) {
        arg.max_bytes = spec.max_bytes();
        if (spec.max_bytes() > CallContext::kCapturedBytesMax) {
          Report(file, absl::StrCat(path, ".max_bytes"),
                 absl::StrCat("is ", spec.max_bytes(), "; at most ",
                              CallContext::kCapturedBytesMax));
        }
      }
      if (arg.kind) CheckArgument(file, path, arg);
      if (arg.kind && !arg.index) {
        Report(file, path,
               "index is missing; say which parameter it is, from 0");
      }
      policy->args.push_back(std::move(arg));
    }
  }

  void CheckArgument(const LoadedPolicyFile& file, const std::string& path,
                     const ArgumentRule& arg) {
    const absl::string_view type = ArgKindName(*arg.kind);
    if (HasLength(*arg.kind) && !arg.len_index) {
      Report(file, path,
             absl::StrCat("len_index is missing; an argument of type ", type,
                          " has its length in another parameter"));
    }
    const auto misplaced = [&](absl::string_view field) {
      Report(file, absl::StrCat(path, ".", field),
             absl::StrCat("does not go with type ", type));
    };
    if (!HasLength(*arg.kind)) {
      if (arg.len_index) misplaced("len_index");
      if (arg.max_bytes) misplaced("max_bytes");
    }
    if (arg.dir_index && *arg.kind != ArgKind::kPath) misplaced("dir_index");
  }

  void CompileRateLimits(const LoadedPolicyFile& file) {
    for (int i = 0; i < file.proto.rate_limits_size(); ++i) {
      const v1::RateLimit& entry = file.proto.rate_limits(i);
      const std::string path = absl::StrCat("rate_limits[", i, "]");
      // An entry with `when` is refused for that already.
      const std::optional<ImportName> import =
          entry.import().empty() && !entry.when().empty()
              ? std::nullopt
              : ReadImport(file, path, entry.import());
      Verdict verdict = Verdict::kDeny;
      if (entry.action() != v1::ACTION_UNSPECIFIED &&
          CheckAction(file, absl::StrCat(path, ".action"), entry.action(),
                      {v1::ACTION_LOG, v1::ACTION_ALERT, v1::ACTION_THROTTLE,
                       v1::ACTION_DENY, v1::ACTION_TRAP, v1::ACTION_KILL_STORE,
                       v1::ACTION_QUARANTINE_MODULE})) {
        verdict = ToVerdict(entry.action());
      }
      RateLimit limit;
      limit.rule = CompileRule(file, path, entry, verdict, kErrnoAgain);
      if (!limit.rule.message_parts.empty()) {
        Report(file, absl::StrCat(path, ".message"),
               "inserting facts with ${…} is not supported yet for rate "
               "limits; write plain text");
      }
      if (entry.severity() == v1::SEVERITY_UNSPECIFIED) {
        limit.rule.severity = Severity::kWarning;
      }
      if (!entry.id().empty()) CheckId(file, path, entry.id());
      for (int k = 0; k < entry.key_size(); ++k) {
        if (entry.key(k) != "store" || k > 0) {
          Report(file, absl::StrCat(path, ".key[", k, "]"),
                 absl::StrCat(Quote(entry.key(k)),
                              ": not supported yet; write `key: [store]`"));
        }
      }
      if (!entry.has_refill_per_second()) {
        Report(file, path,
               "refill_per_second is missing; say how many calls a second may "
               "go on for ever");
      } else if (entry.refill_per_second() < 0 ||
                 entry.refill_per_second() > kRefillMax) {
        Report(
            file, absl::StrCat(path, ".refill_per_second"),
            absl::StrCat("is ", entry.refill_per_second(), "; allowed: 0 to ",
                         static_cast<uint64_t>(kRefillMax)));
      }
      if (!entry.has_burst()) {
        Report(file, path,
               "burst is missing; say how many calls may come at once");
      } else if (entry.burst() < 1 || entry.burst() > kBurstMax) {
        Report(file, absl::StrCat(path, ".burst"),
               absl::StrCat("is ", entry.burst(), "; allowed: 1 to ", kBurstMax,
                            entry.burst() == 0
                                ? " (to refuse every call, list the import "
                                  "with an action)"
                                : ""));
      }
      limit.refill_per_second = entry.refill_per_second();
      limit.burst = static_cast<double>(entry.burst());
      if (!import) continue;
      limit.rule.id =
          entry.id().empty() ? default_ids_.Next("rate:", *import) : entry.id();
      EntryOf(*import).rate_limits.push_back(
          static_cast<uint32_t>(content_.rate_limits.size()));
      limit_where_.push_back({&file, path});
      content_.rate_limits.push_back(std::move(limit));
    }
  }

  void WarnOfContradictions() {
    for (const ImportPolicy& import : content_.imports) {
      const std::string name =
          FormatImportName(import.import.module, import.import.name);
      if (!import.listed) {
        if (!StopsCall(content_.unlisted_import.verdict)) continue;
        const RuleWhere& where = limit_where_[import.rate_limits.front()];
        Warn(*where.file, where.path,
             absl::StrCat(name,
                          " is not listed under imports, so its calls are "
                          "refused anyway; list it with `action: allow`"));
        continue;
      }
      const bool stops =
          std::any_of(import.restrictions.begin(), import.restrictions.end(),
                      [&](uint32_t r) {
                        return StopsCall(content_.rules[r].verdict) &&
                               content_.rules[r].when.empty();
                      });
      if (import.allowed || stops || !import.conditional_allows.empty()) {
        continue;
      }
      if (import.restrictions.empty()) continue;
      const RuleWhere& where = rule_where_[import.restrictions.front()];
      Warn(*where.file, where.path,
           absl::StrCat(name,
                        " is listed and no entry allows it, so it is denied; "
                        "add an entry with `action: allow` beside this one"));
    }
  }

  struct RuleWhere {
    const LoadedPolicyFile* file;
    std::string path;
  };

  const LoadedPolicyFile& root_;
  const IncludeResolver& resolver_;
  // The root first. All outlive us.
  std::vector<const LoadedPolicyFile*> files_;
  // The same, each after those that it includes.
  std::vector<const LoadedPolicyFile*> included_first_;
  std::vector<Problem> problems_;
  std::vector<Problem> warnings_;
  PolicyContent content_;
  absl::flat_hash_map<ImportName, size_t> import_index_;
  absl::flat_hash_map<std::string, RuleWhere> ids_;
  // Where each of content_.rules and content_.rate_limits stands.
  std::vector<RuleWhere> rule_where_;
  std::vector<RuleWhere> limit_where_;
  DefaultIds default_ids_;
};

}  // namespace

CompileResult CompilePolicy(const LoadedPolicyFile& file,
                            const IncludeResolver& resolver) {
  return Compiler(file, resolver).Run();
}

CompileResult CompilePolicyText(absl::string_view text,
                                absl::string_view filename,
                                const IncludeResolver& resolver) {
  LoadResult loaded = LoadPolicy(text, filename);
  if (!loaded.ok()) return {nullptr, std::move(loaded.problems), {}};
  return CompilePolicy(*loaded.file, resolver);
}

}  // namespace callgate::policy
