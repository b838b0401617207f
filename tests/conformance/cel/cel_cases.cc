#include "tests/conformance/cel/cel_cases.h"

#include <algorithm>
#include <cmath>
#include <deque>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <optional>
#include <set>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/strip.h"
#include "policy/expression/expression.h"
#include "tests/conformance/cel/textproto.h"

namespace callgate {
namespace {

namespace ex = policy::expression;

// Cases that want type checks off. Ours are always on.
constexpr char kUnchecked[] = "evaluation without type checks";
constexpr char kMessage[] = "message";
constexpr char kEnumOrType[] = "name of an enum or a type";
constexpr char kHostFunction[] = "function that the host declares";

class File {
 public:
  explicit File(TextProto proto) : proto_(std::move(proto)) {}

  CelResult Run() {
    CelResult result;
    for (const TextField* section : proto_.All(proto_.root(), "section")) {
      for (const TextField* test : proto_.All(*section, "test")) {
        const std::string name = absl::StrCat(
            proto_.Scalar(proto_.root(), "name"), "/",
            proto_.Scalar(*section, "name"), "/", proto_.Scalar(*test, "name"));
        RunCase(name, *test, &result);
      }
    }
    return result;
  }

 private:
  void RunCase(const std::string& name, const TextField& test,
               CelResult* result) {
    const std::string source = proto_.Scalar(test, "expr");
    const auto fail = [&](absl::string_view why) {
      ++result->failed;
      result->failures.push_back(
          absl::StrCat(name, ": ", source, "\n    ", why));
    };
    ex::Schema schema;
    schema.set_container(proto_.Scalar(test, "container"));
    std::vector<ex::Value> facts;
    std::vector<std::string> names;
    const bool check_only = proto_.Scalar(test, "check_only") == "true";
    foreign_.clear();
    for (const TextField* declared : proto_.All(test, "type_env")) {
      const std::optional<ex::Type> type = TypeOf(*declared);
      if (!type.has_value()) {
        foreign_[proto_.Scalar(*declared, "name")] = ForeignTypeOf(*declared);
        continue;
      }
      ex::Fact fact;
      fact.name = proto_.Scalar(*declared, "name");
      fact.type = *type;
      if (IsLiteral(fact.name)) continue;  // shadowed by the literal
      const std::optional<ex::Value> bound = Binding(test, fact.name);
      if (!bound.has_value() && !check_only) {
        // Of a type that the subset has, with a value that it has not.
        foreign_[fact.name] = kMessage;
        continue;
      }
      facts.push_back(bound.value_or(ex::Value()));
      names.push_back(fact.name);
      const auto slot = schema.Declare(std::move(fact));
      if (!slot.ok()) return fail(slot.status().ToString());
    }
    const bool unchecked = proto_.Scalar(test, "disable_check") == "true";
    const bool wants_error = proto_.Find(test, "eval_error") != nullptr;
    const ex::CompileResult compiled = ex::Compile(source, schema);
    if (!compiled.ok()) {
      std::string feature = unchecked ? kUnchecked : "";
      bool is_value_error = true;
      for (const ex::Problem& problem : compiled.problems) {
        is_value_error = is_value_error && problem.is_value_error;
        const std::string of_problem =
            problem.feature.empty() ? FeatureOfName(problem) : problem.feature;
        if (!of_problem.empty()) {
          feature = of_problem;
        } else if (!unchecked && !(wants_error && problem.is_value_error)) {
          return fail(
              absl::StrCat("refused as wrong: ", problem.ToString(source)));
        }
      }
      if (wants_error && is_value_error) {
        // The error that the file states, and said before it happens.
        ++result->passed;
        return;
      }
      if (!unchecked && UsesOnlyPromisedFeatures(source, names)) {
        return fail(
            absl::StrCat("uses nothing but what is promised, and is "
                         "refused for: ",
                         feature));
      }
      ++result->refused;
      result->refused_by_feature[feature].push_back(
          absl::StrCat(name, ": ", source));
      return;
    }
    if (check_only) {
      ++result->passed;
      return;
    }
    ex::Scratch scratch;
    const ex::Evaluation evaluation =
        compiled.program->Evaluate(facts, &scratch);
    if (evaluation.steps > compiled.program->cost()) {
      return fail("took more steps than its bound");
    }
    const TextField* const typed = proto_.Find(test, "typed_result");
    const TextField* const value = typed == nullptr
                                       ? proto_.Find(test, "value")
                                       : proto_.Find(*typed, "result");
    if (wants_error || value == nullptr) {
      // A case that states nothing is true.
      const bool right =
          wants_error ? !evaluation.ok()
                      : evaluation.ok() &&
                            evaluation.value.kind() == ex::ValueKind::kBool &&
                            evaluation.value.as_bool();
      if (!right) {
        return fail(absl::StrCat("gives ", evaluation.value.ToString()));
      }
    } else {
      const std::optional<ex::Value> wanted = ValueOf(*value);
      if (!wanted.has_value() || !Same(*wanted, evaluation.value)) {
        return fail(absl::StrCat(
            "gives ", evaluation.value.ToString(), ", not ",
            wanted.has_value() ? wanted->ToString() : "what it should"));
      }
    }
    ++result->passed;
  }

  static bool IsLiteral(absl::string_view name) {
    return name == "true" || name == "false" || name == "null";
  }

  std::optional<ex::Type> TypeOf(const TextField& declared) const {
    const TextField* const ident = proto_.Find(declared, "ident");
    const TextField* type =
        ident == nullptr ? nullptr : proto_.Find(*ident, "type");
    int lists = 0;
    while (type != nullptr) {
      const TextField* const list = proto_.Find(*type, "list_type");
      if (list == nullptr) break;
      ++lists;
      type = proto_.Find(*list, "elem_type");
    }
    if (type == nullptr) return std::nullopt;
    static const auto* const kPrimitives =
        new std::map<std::string, ex::TypeKind>{
            {"BOOL", ex::TypeKind::kBool},
            {"INT64", ex::TypeKind::kInt},
            {"UINT64", ex::TypeKind::kUint},
            {"DOUBLE", ex::TypeKind::kDouble},
            {"STRING", ex::TypeKind::kString},
            {"BYTES", ex::TypeKind::kBytes},
        };
    const auto found = kPrimitives->find(proto_.Scalar(*type, "primitive"));
    std::optional<ex::Type> result;
    if (found != kPrimitives->end()) {
      result = found->second;
    } else if (proto_.Find(*type, "dyn") != nullptr) {
      result = ex::Type(ex::TypeKind::kDyn);
    } else if (proto_.Find(*type, "null") != nullptr) {
      result = ex::Type(ex::TypeKind::kNull);
    } else {
      return std::nullopt;
    }
    for (int i = 0; i < lists; ++i) result = ex::Type::List(*result);
    return result;
  }

  // What a declaration needs that the subset has not.
  std::string ForeignTypeOf(const TextField& declared) const {
    if (proto_.Find(declared, "function") != nullptr) return kHostFunction;
    const TextField* const ident = proto_.Find(declared, "ident");
    const TextField* const type =
        ident == nullptr ? nullptr : proto_.Find(*ident, "type");
    if (type != nullptr && proto_.Find(*type, "map_type") != nullptr) {
      return "map";
    }
    return kMessage;
  }

  // Of an unknown name: the feature that the file's environment has it from.
  // Names of variables that the subset can declare have none, and so have
  // those that the file does not use as CEL's environments write theirs.
  std::string FeatureOfName(const ex::Problem& problem) const {
    for (const absl::string_view prefix :
         {"there is no fact \"", "there is no function \""}) {
      absl::string_view name = problem.message;
      if (!absl::ConsumePrefix(&name, prefix)) continue;
      name = name.substr(0, name.find('"'));
      for (const auto& [declared, feature] : foreign_) {
        absl::string_view rest = name;
        if (absl::ConsumePrefix(&rest, declared) &&
            (rest.empty() || rest.front() == '.')) {
          return feature;
        }
      }
      if (name == "optional_type") return kMessage;
      // TestAllTypes.NestedEnum.BAR, google.protobuf.Timestamp.
      for (size_t i = 0; i < name.size(); ++i) {
        if ((i == 0 || name[i - 1] == '.') &&
            absl::ascii_isupper(static_cast<unsigned char>(name[i]))) {
          return kEnumOrType;
        }
      }
    }
    return "";
  }

  std::optional<ex::Value> Binding(const TextField& test,
                                   absl::string_view name) {
    for (const TextField* binding : proto_.All(test, "bindings")) {
      if (proto_.Scalar(*binding, "key") != name) continue;
      const TextField* const outer = proto_.Find(*binding, "value");
      const TextField* const value =
          outer == nullptr ? nullptr : proto_.Find(*outer, "value");
      if (value != nullptr) return ValueOf(*value);
    }
    return std::nullopt;
  }

  // Lists in the files are shallow.
  std::optional<ex::Value> ValueOf(const TextField& message) {
    const TextField* const field = proto_.First(message);
    if (field == nullptr) return std::nullopt;
    const std::string& text = field->scalar;
    if (field->name == "bool_value") return ex::Value::Bool(text == "true");
    if (field->name == "null_value") return ex::Value::Null();
    if (field->name == "string_value") return ex::Value::String(text);
    if (field->name == "bytes_value") return ex::Value::Bytes(text);
    if (field->name == "int64_value") {
      int64_t number;
      if (!absl::SimpleAtoi(text, &number)) return std::nullopt;
      return ex::Value::Int(number);
    }
    if (field->name == "uint64_value") {
      uint64_t number;
      if (!absl::SimpleAtoi(text, &number)) return std::nullopt;
      return ex::Value::Uint(number);
    }
    if (field->name == "double_value") {
      double number;
      if (!absl::SimpleAtod(text, &number)) return std::nullopt;
      return ex::Value::Double(number);
    }
    if (field->name != "list_value") return std::nullopt;
    std::vector<ex::Value> items;
    for (const TextField* item : proto_.All(*field, "values")) {
      const std::optional<ex::Value> value = ValueOf(*item);
      if (!value.has_value()) return std::nullopt;
      items.push_back(*value);
    }
    lists_.push_back(std::move(items));
    return ex::Value::List(lists_.back());
  }

  // Of the same kind, and equal; unlike ==, NaN is NaN, and 1 is not 1u.
  static bool Same(const ex::Value& a, const ex::Value& b) {
    if (a.kind() != b.kind()) return false;
    switch (a.kind()) {
      case ex::ValueKind::kNull:
        return true;
      case ex::ValueKind::kDouble:
        return a.as_double() == b.as_double() ||
               (std::isnan(a.as_double()) && std::isnan(b.as_double()));
      case ex::ValueKind::kString:
      case ex::ValueKind::kBytes:
        return a.as_string() == b.as_string();
      case ex::ValueKind::kList:
        return std::equal(a.as_list().begin(), a.as_list().end(),
                          b.as_list().begin(), b.as_list().end(), Same);
      default:
        return a.as_uint() == b.as_uint();
    }
  }

  TextProto proto_;
  // Of the case in hand: what is declared and cannot be, with its feature.
  std::map<std::string, std::string> foreign_;
  std::deque<std::vector<ex::Value>> lists_;
};

}  // namespace

void CelResult::Add(const CelResult& other) {
  passed += other.passed;
  refused += other.refused;
  failed += other.failed;
  for (const auto& [feature, cases] : other.refused_by_feature) {
    std::vector<std::string>& mine = refused_by_feature[feature];
    mine.insert(mine.end(), cases.begin(), cases.end());
  }
  failures.insert(failures.end(), other.failures.begin(), other.failures.end());
}

absl::StatusOr<CelResult> RunCelFile(absl::string_view textproto) {
  absl::StatusOr<TextProto> proto = TextProto::Parse(textproto);
  if (!proto.ok()) return proto.status();
  return File(*std::move(proto)).Run();
}

absl::StatusOr<CelResult> RunCelFolder(const std::string& folder) {
  std::error_code error;
  std::vector<std::filesystem::path> files;
  for (const auto& entry : std::filesystem::directory_iterator(folder, error)) {
    if (entry.path().extension() == ".textproto") files.push_back(entry.path());
  }
  if (files.empty()) {
    return absl::NotFoundError(
        absl::StrCat("no .textproto file in \"", folder, "\""));
  }
  std::sort(files.begin(), files.end());
  CelResult total;
  for (const std::filesystem::path& path : files) {
    std::ifstream file(path, std::ios::binary);
    const std::string text(std::istreambuf_iterator<char>(file), {});
    const absl::StatusOr<CelResult> result = RunCelFile(text);
    if (!result.ok()) {
      return absl::InvalidArgumentError(absl::StrCat(
          path.string(), ": ", std::string(result.status().message())));
    }
    total.Add(*result);
  }
  return total;
}

bool UsesOnlyPromisedFeatures(absl::string_view expression,
                              const std::vector<std::string>& names) {
  static const auto* const kWords = new std::set<absl::string_view>{
      "true",  "false",      "null",     "in",         "has",     "size",
      "math",  "startsWith", "endsWith", "contains",   "matches", "bitAnd",
      "bitOr", "exists",     "all",      "exists_one", "duration"};
  std::set<std::string> known;
  for (const std::string& name : names) {
    // Of a dotted name each word, since they are looked at one by one.
    size_t begin = 0;
    while (begin <= name.size()) {
      const size_t dot = std::min(name.find('.', begin), name.size());
      known.insert(name.substr(begin, dot - begin));
      begin = dot + 1;
    }
  }
  const auto is_word = [](char c) {
    return absl::ascii_isalnum(static_cast<unsigned char>(c)) || c == '_';
  };
  for (size_t i = 0; i < expression.size();) {
    const char c = expression[i];
    if (c == '{' || c == '}' || c == '`') return false;
    if (c == '"' || c == '\'') {
      // Escapes do not matter for where a literal ends, but for quotes.
      const std::string three(3, c);
      const std::string end =
          expression.substr(i, 3) == three ? three : std::string(1, c);
      const bool raw = i > 0 && (expression[i - 1] | 0x20) == 'r';
      i += end.size();
      while (i < expression.size() && expression.substr(i, end.size()) != end) {
        i += expression[i] == '\\' && !raw ? size_t{2} : size_t{1};
      }
      i += end.size();
      continue;
    }
    if (!is_word(c)) {
      ++i;
      continue;
    }
    size_t end = i;
    while (end < expression.size() && is_word(expression[end])) ++end;
    const std::string word(expression.substr(i, end - i));
    const bool is_prefix = end < expression.size() &&
                           (expression[end] == '"' || expression[end] == '\'');
    i = end;
    if (absl::ascii_isdigit(static_cast<unsigned char>(word[0])) || is_prefix ||
        kWords->count(word) > 0) {
      // The name that a quantifier gives its variable is known from there on.
      if ((word == "exists" || word == "all" || word == "exists_one") &&
          end < expression.size() && expression[end] == '(') {
        size_t variable = end + 1;
        while (variable < expression.size() && is_word(expression[variable])) {
          ++variable;
        }
        known.insert(
            std::string(expression.substr(end + 1, variable - end - 1)));
      }
      continue;
    }
    if (known.count(word) == 0) return false;
  }
  return true;
}

}  // namespace callgate
