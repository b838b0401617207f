#include "policy/expression/checker.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "policy/expression/ip_address.h"
#include "policy/expression/overloads.h"
#include "policy/expression/reserved_words.h"
#include "policy/file/duration_text.h"
#include "policy/file/nearest_name.h"
#include "policy/quote.h"
#include "runtime/check.h"

namespace callgate::policy::expression {
namespace {

struct NamedFunction {
  absl::string_view name;
  Function function;
  // How it may be called: f(a, b) and a.f(b).
  bool plain;
  bool method;
  size_t arguments;  // with the target
};

constexpr NamedFunction kFunctions[] = {
    {"size", Function::kSize, true, true, 1},
    {"startsWith", Function::kStartsWith, false, true, 2},
    {"endsWith", Function::kEndsWith, false, true, 2},
    {"contains", Function::kContains, false, true, 2},
    {"matches", Function::kMatches, true, true, 2},
    {"segments", Function::kSegments, false, true, 1},
    {"dyn", Function::kDyn, true, false, 1},
    {"duration", Function::kDuration, true, false, 1},
    {"ip", Function::kIp, true, false, 1},
    {"list", Function::kNamedList, true, false, 1},
    {"has", Function::kHas, true, false, 1},
};

constexpr NamedFunction kMathFunctions[] = {
    {"bitAnd", Function::kBitAnd, true, false, 2},
    {"bitOr", Function::kBitOr, true, false, 2},
};

// Namespaces of CEL's extensions.
constexpr absl::string_view kExtensions[] = {
    "base64", "cel", "lists", "optional", "proto", "regex", "sets", "strings",
};

Type TypeOfLiteral(const Value& value) {
  switch (value.kind()) {
    case ValueKind::kBool:
      return TypeKind::kBool;
    case ValueKind::kInt:
      return TypeKind::kInt;
    case ValueKind::kUint:
      return TypeKind::kUint;
    case ValueKind::kDouble:
      return TypeKind::kDouble;
    case ValueKind::kString:
      return TypeKind::kString;
    case ValueKind::kBytes:
      return TypeKind::kBytes;
    default:
      return TypeKind::kNull;
  }
}

// More names than this are not listed.
constexpr size_t kListedNamesMax = 60;

std::string Suggest(absl::string_view found,
                    const std::vector<std::string>& names) {
  if (names.size() <= kListedNamesMax) return SuggestName(found, names);
  const absl::string_view nearest = NearestName(found, names);
  return nearest.empty() ? "" : absl::StrCat("; did you mean ", nearest, "?");
}

bool IsNumber(Type type) {
  return type.Is(TypeKind::kInt) || type.Is(TypeKind::kUint) ||
         type.Is(TypeKind::kDouble);
}

class Checker {
 public:
  Checker(const Ast& ast, const Schema& schema, ProblemList* problems)
      : ast_(ast), schema_(schema), problems_(problems) {
    checked_.nodes.resize(ast.nodes.size());
  }

  Checked Take() { return std::move(checked_); }

  // For Walk.

  bool Stopped() const { return false; }

  bool Enter(NodeId id) {
    const Node& node = ast_.at(id);
    NodeInfo& info = checked_.nodes[id];
    switch (node.kind) {
      case NodeKind::kLiteral:
        info.type = TypeOfLiteral(node.literal);
        info.meaning = Meaning::kConstant;
        info.constant = node.literal;
        return false;
      case NodeKind::kName:
      case NodeKind::kSelect:
        return EnterName(id);
      case NodeKind::kCall:
        info.function = node.function;
        return node.function != Function::kNone || EnterCall(id);
      default:
        return true;
    }
  }

  bool Before(NodeId id, uint32_t i) {
    const NodeInfo& info = checked_.nodes[id];
    if (info.target_is_namespace && i == 0) return false;
    if (ast_.at(id).kind == NodeKind::kQuantifier && i == 1) {
      const Type range = TypeOf(ast_.child(id, 0));
      if (!range.is_list() && !range.is_dyn()) {
        Wrong(id, absl::StrCat("a quantifier ranges over a list, and this is ",
                               range.ToString()));
      }
      variables_.push_back(
          {ast_.at(id).text, id,
           range.is_list() ? range.element() : Type(TypeKind::kDyn)});
    }
    return true;
  }

  void After(NodeId id, uint32_t i) {
    if (ast_.at(id).kind == NodeKind::kQuantifier && i == 1) {
      variables_.pop_back();
    }
  }

  void Leave(NodeId id) {
    const Node& node = ast_.at(id);
    NodeInfo& info = checked_.nodes[id];
    switch (node.kind) {
      case NodeKind::kSelect: {
        const Type type = TypeOf(ast_.child(id, 0));
        if (type.is_dyn()) {
          problems_->AddFeature(node.at, "field of a value");
        } else {
          Wrong(id, absl::StrCat("a value of type ", type.ToString(),
                                 " has no ", Quote(node.text)));
        }
        info.type = TypeKind::kDyn;
        return;
      }
      case NodeKind::kCall:
        LeaveCall(id);
        return;
      case NodeKind::kList:
        LeaveList(id);
        return;
      case NodeKind::kAnd:
      case NodeKind::kOr:
        for (const NodeId child : ast_.children_of(id)) WantBool(child);
        info.type = TypeKind::kBool;
        return;
      case NodeKind::kConditional: {
        WantBool(ast_.child(id, 0));
        const Type a = TypeOf(ast_.child(id, 1));
        const Type b = TypeOf(ast_.child(id, 2));
        if (!Agree(a, b) || a.is_named_list() || b.is_named_list()) {
          Wrong(id, absl::StrCat("the two values of a conditional are ",
                                 a.ToString(), " and ", b.ToString(),
                                 "; they have to be of one type"));
        }
        info.type = Join(a, b);
        return;
      }
      case NodeKind::kQuantifier:
        WantBool(ast_.child(id, 1));
        info.type = TypeKind::kBool;
        return;
      case NodeKind::kLiteral:
      case NodeKind::kName:
        return;
    }
  }

  Type TypeOf(NodeId id) const { return checked_.nodes[id].type; }

  void Wrong(NodeId id, std::string message) {
    problems_->Add(ast_.at(id).at, std::move(message));
  }
  void WrongValue(NodeId id, std::string message) {
    problems_->AddValueError(ast_.at(id).at, std::move(message));
  }

 private:
  struct Variable {
    absl::string_view name;
    NodeId quantifier;
    Type type;
  };

  const Variable* FindVariable(absl::string_view name) const {
    for (auto i = variables_.rbegin(); i != variables_.rend(); ++i) {
      if (i->name == name) return &*i;
    }
    return nullptr;
  }

  // The dotted name that a node is, and the node of its first word; empty if
  // it is another expression.
  std::string NameOf(NodeId id, NodeId* root) const {
    std::vector<absl::string_view> words;
    while (ast_.at(id).kind == NodeKind::kSelect) {
      words.push_back(ast_.at(id).text);
      id = ast_.child(id, 0);
    }
    if (ast_.at(id).kind != NodeKind::kName) return "";
    std::string name(ast_.at(id).text);
    for (auto word = words.rbegin(); word != words.rend(); ++word) {
      absl::StrAppend(&name, ".", *word);
    }
    *root = id;
    return name;
  }

  std::optional<uint32_t> FindFact(absl::string_view name,
                                   bool is_absolute) const {
    absl::string_view container =
        is_absolute ? absl::string_view() : schema_.container();
    while (!container.empty()) {
      const auto slot = schema_.FindSlot(absl::StrCat(container, ".", name));
      if (slot.has_value()) return slot;
      const size_t dot = container.rfind('.');
      container = container.substr(0, dot == container.npos ? 0 : dot);
    }
    return schema_.FindSlot(name);
  }

  bool EnterName(NodeId id) {
    NodeInfo& info = checked_.nodes[id];
    NodeId root = id;
    const std::string name = NameOf(id, &root);
    if (name.empty()) return true;
    const bool is_absolute = ast_.at(root).is_absolute;
    if (!is_absolute) {
      const Variable* variable = FindVariable(ast_.at(root).text);
      if (variable != nullptr) {
        if (ast_.at(id).kind == NodeKind::kSelect) return true;
        info.type = variable->type;
        info.meaning = Meaning::kVariable;
        info.slot = variable->quantifier;
        return false;
      }
    }
    if (const auto slot = FindFact(name, is_absolute)) {
      SetFact(id, *slot);
      return false;
    }
    info.type = TypeKind::kDyn;
    UnknownName(id, root, name);
    return false;
  }

  void SetFact(NodeId id, uint32_t slot) {
    NodeInfo& info = checked_.nodes[id];
    const Fact& fact = schema_.facts()[slot];
    info.type = fact.type;
    info.slot = slot;
    info.fact = slot;
    info.meaning = Meaning::kFact;
    if (fact.constant.has_value()) {
      info.meaning = Meaning::kConstant;
      info.constant = *fact.constant;
    }
  }

  void UnknownName(NodeId id, NodeId root, const std::string& name) {
    const Node& node = ast_.at(root);
    // Part of the name may be a fact whose values have no fields.
    for (size_t dot = name.rfind('.'); dot != std::string::npos && dot > 0;
         dot = name.rfind('.', dot - 1)) {
      const auto slot = FindFact(name.substr(0, dot), node.is_absolute);
      if (slot.has_value()) {
        Wrong(id, absl::StrCat(Quote(name.substr(0, dot)), " is of type ",
                               schema_.facts()[*slot].type.ToString(),
                               ", which has no ", Quote(name.substr(dot + 1))));
        return;
      }
    }
    const absl::string_view type_name = UnsupportedFunction(name);
    if (type_name == "type conversion" || name == "null_type" ||
        name == "list" || name == "map" || name == "type") {
      problems_->AddFeature(node.at, "type value");
      return;
    }
    if (schema_.IsGroup(name)) {
      Wrong(root, absl::StrCat(Quote(name),
                               " is a group of facts; name one of them"));
      return;
    }
    Wrong(root, absl::StrCat("there is no fact ", Quote(name),
                             Suggest(name, schema_.FactNames())));
  }

  // Whether to visit the arguments.
  bool EnterCall(NodeId id) {
    const Node& node = ast_.at(id);
    NodeInfo& info = checked_.nodes[id];
    info.type = TypeKind::kDyn;
    const NamedFunction* found = nullptr;
    absl::string_view space;
    if (node.has_target) {
      const Node& target = ast_.at(ast_.child(id, 0));
      if (target.kind == NodeKind::kName &&
          FindVariable(target.text) == nullptr &&
          !FindFact(target.text, target.is_absolute).has_value()) {
        space = target.text;
      }
    }
    if (space == "math") {
      info.target_is_namespace = true;
      for (const NamedFunction& function : kMathFunctions) {
        if (function.name == node.text) found = &function;
      }
    } else {
      for (const NamedFunction& function : kFunctions) {
        if (function.name == node.text &&
            (node.has_target ? function.method : function.plain)) {
          found = &function;
        }
      }
    }
    if (found == nullptr) {
      UnknownFunction(id, space);
      return false;
    }
    const size_t arguments =
        node.child_count - (info.target_is_namespace ? 1 : 0);
    if (arguments != found->arguments) {
      Wrong(id,
            absl::StrCat(FunctionName(found->function), " takes ",
                         found->arguments - (node.has_target && space.empty()),
                         " arguments, not ",
                         arguments - (node.has_target && space.empty())));
      return false;
    }
    info.function = found->function;
    switch (found->function) {
      case Function::kHas:
        EnterHas(id);
        return false;
      case Function::kDuration:
        // Else of a duration, which is known once its type is.
        if (!IsLiteralString(ast_.child(id, 0))) return true;
        EnterConstant(id);
        return false;
      case Function::kIp:
      case Function::kNamedList:
        EnterConstant(id);
        return false;
      default:
        return true;
    }
  }

  // The feature of CEL's that a call is which is not in the subset; empty if
  // there is none.
  absl::string_view FeatureOf(const Node& node, absl::string_view space) const {
    const bool extension =
        std::find(std::begin(kExtensions), std::end(kExtensions), space) !=
        std::end(kExtensions);
    return extension ? "extension function" : UnsupportedFunction(node.text);
  }

  void UnknownFunction(NodeId id, absl::string_view space) {
    const Node& node = ast_.at(id);
    const absl::string_view feature = FeatureOf(node, space);
    if (!feature.empty()) {
      problems_->AddFeature(node.at, feature, Quote(node.text));
      return;
    }
    // What it is called on may be what nobody knows.
    if (node.has_target && space.empty()) {
      const Node& target = ast_.at(ast_.child(id, 0));
      if (target.kind == NodeKind::kCall &&
          !UnsupportedFunction(target.text).empty()) {
        problems_->AddFeature(target.at, UnsupportedFunction(target.text),
                              Quote(target.text));
        return;
      }
    }
    std::vector<std::string> names;
    if (space == "math") {
      for (const NamedFunction& function : kMathFunctions) {
        names.push_back(std::string(function.name));
      }
    } else {
      for (const NamedFunction& function : kFunctions) {
        if (function.name == node.text) {
          Wrong(id, absl::StrCat(node.text, " is written ",
                                 node.has_target ? "" : "x.", node.text,
                                 node.has_target ? "(x)" : "(...)"));
          return;
        }
        names.push_back(std::string(function.name));
      }
      names.insert(names.end(), {"exists", "all", "exists_one"});
    }
    Wrong(id, absl::StrCat("there is no function ", Quote(node.text),
                           Suggest(node.text, names)));
  }

  void EnterHas(NodeId id) {
    NodeInfo& info = checked_.nodes[id];
    info.type = TypeKind::kBool;
    const NodeId argument = ast_.child(id, 0);
    NodeId root = argument;
    const std::string name = NameOf(argument, &root);
    // Inside of macros names are complete, dots and all.
    if (name.find('.') == std::string::npos) {
      Wrong(id,
            "has() takes the name of a fact with a dot, as in "
            "has(args.path)");
      return;
    }
    if (!ast_.at(root).is_absolute &&
        FindVariable(ast_.at(root).text) != nullptr) {
      problems_->AddFeature(ast_.at(argument).at, "field of a value");
      return;
    }
    const auto slot = FindFact(name, ast_.at(root).is_absolute);
    if (!slot.has_value()) {
      UnknownName(argument, root, name);
      return;
    }
    checked_.nodes[argument].fact = *slot;
    const Presence presence = schema_.facts()[*slot].presence;
    if (presence == Presence::kOptional) {
      info.meaning = Meaning::kHas;
      info.slot = *slot;
    } else {
      info.meaning = Meaning::kConstant;
      info.constant = Value::Bool(presence != Presence::kNever);
    }
  }

  bool IsLiteralString(NodeId id) const {
    const Node& node = ast_.at(id);
    return node.kind == NodeKind::kLiteral &&
           node.literal.kind() == ValueKind::kString;
  }

  // duration("30s"), ip("10.0.0.1"), list("name"): of a literal only.
  void EnterConstant(NodeId id) {
    NodeInfo& info = checked_.nodes[id];
    const NodeId child = ast_.child(id, 0);
    const Node& argument = ast_.at(child);
    const absl::string_view name = FunctionName(info.function);
    if (!IsLiteralString(child)) {
      Wrong(child, absl::StrCat(name, "() takes a literal string"));
      return;
    }
    const absl::string_view text = argument.literal.as_string();
    if (info.function == Function::kNamedList) {
      info.list = schema_.FindList(text);
      if (info.list == nullptr) {
        Wrong(child, absl::StrCat("there is no list ", Quote(text),
                                  Suggest(text, schema_.ListNames())));
        return;
      }
      info.meaning = Meaning::kNamedList;
      info.type = info.list->type();
      return;
    }
    info.meaning = Meaning::kConstant;
    if (info.function == Function::kDuration) {
      info.type = TypeKind::kDuration;
      info.constant = DurationOf(child, text);
      return;
    }
    info.type = TypeKind::kIp;
    const std::optional<IpKey> key = IpKeyFromText(text);
    if (!key.has_value()) {
      WrongValue(child, absl::StrCat(Quote(text), " is not an IP address"));
      return;
    }
    const absl::string_view bytes(reinterpret_cast<const char*>(key->data()),
                                  key->size());
    // As in CEL: of the ways to write it, the one that mixes both forms is an
    // error. The others compare equal.
    if (absl::StrContains(text, ':') && absl::StrContains(text, '.')) {
      WrongValue(child, absl::StrCat(Quote(text), " is an IPv4 address; write ",
                                     IpText(bytes)));
      return;
    }
    checked_.texts.emplace_back(key->begin(), key->end());
    info.constant = Value::Ip(checked_.texts.back());
  }

  Value DurationOf(NodeId id, absl::string_view text) {
    const bool negative = absl::StartsWith(text, "-");
    const absl::StatusOr<ParsedDuration> parsed =
        ParseDurationText(text.substr(negative ? 1 : 0));
    if (!parsed.ok()) {
      WrongValue(id, std::string(parsed.status().message()));
      return Value::Duration(0);
    }
    constexpr int64_t kSecondsMax =
        std::numeric_limits<int64_t>::max() / 1'000'000'000 - 1;
    if (parsed->seconds > kSecondsMax) {
      WrongValue(id, absl::StrCat(Quote(text), " is longer than 292 years"));
      return Value::Duration(0);
    }
    const int64_t nanoseconds = parsed->seconds * 1'000'000'000 + parsed->nanos;
    return Value::Duration(negative ? -nanoseconds : nanoseconds);
  }

  void LeaveCall(NodeId id) {
    NodeInfo& info = checked_.nodes[id];
    Type types[2];
    NodeId arguments[2] = {};
    size_t count = 0;
    for (const NodeId child : ast_.children_of(id)) {
      if (count == 0 && info.target_is_namespace &&
          child == ast_.child(id, 0)) {
        continue;
      }
      CALLGATE_CHECK(count < 2, "no function takes three arguments");
      arguments[count] = child;
      types[count++] = TypeOf(child);
    }
    if (info.function == Function::kDuration &&
        (types[0].is_dyn() || types[0].Is(TypeKind::kString))) {
      info.type = TypeKind::kDuration;
      problems_->AddFeature(ast_.at(arguments[0]).at,
                            "duration of something other than a literal",
                            "write it as in duration(\"30s\")");
      return;
    }
    const std::optional<Type> result =
        ResultType(info.function, absl::MakeConstSpan(types, count));
    if (!result.has_value()) {
      info.type = TypeKind::kDyn;
      Wrong(id, Misfit(info.function, types, count));
      return;
    }
    info.type = *result;
    if (info.function == Function::kMatches) {
      LeaveMatches(id, arguments[1]);
    }
  }

  void LeaveMatches(NodeId id, NodeId pattern) {
    const NodeInfo& argument = checked_.nodes[pattern];
    if (argument.meaning == Meaning::kNamedList) return;
    if (argument.meaning != Meaning::kConstant) {
      problems_->AddFeature(ast_.at(pattern).at, "pattern made at run time",
                            "patterns are literals or a list");
      return;
    }
    auto list =
        PatternList::Create({std::string(argument.constant.as_string())});
    if (!list.ok()) {
      WrongValue(pattern, std::string(list.status().message()));
      return;
    }
    checked_.nodes[id].pattern = *std::move(list);
  }

  static std::string Misfit(Function function, const Type* types,
                            size_t count) {
    std::string text(FunctionName(function));
    if (count == 1) {
      absl::StrAppend(&text, " does not take ", types[0].ToString());
      return text;
    }
    absl::StrAppend(&text, " does not take ", types[0].ToString(), " and ",
                    types[1].ToString());
    if (IsNumber(types[0]) && IsNumber(types[1]) && types[0] != types[1]) {
      text += "; a uint is written 2u, a double 2.0";
    }
    if (types[1].Is(TypeKind::kPatternList)) {
      text += "; write x.matches(list(...))";
    }
    return text;
  }

  void LeaveList(NodeId id) {
    NodeInfo& info = checked_.nodes[id];
    Type element = TypeKind::kDyn;
    bool first = true;
    for (const NodeId child : ast_.children_of(id)) {
      const Type type = TypeOf(child);
      if (type.is_named_list()) {
        Wrong(child, absl::StrCat("a ", type.ToString(), " is no value"));
        continue;
      }
      element = first ? type : Join(element, type);
      first = false;
    }
    if (element.list_depth() >= Type::kListDepthMax) {
      Wrong(id, absl::StrCat("lists nest more than ", Type::kListDepthMax,
                             " deep"));
      info.type = TypeKind::kDyn;
      return;
    }
    info.type = Type::List(element);
  }

  void WantBool(NodeId id) {
    const Type type = TypeOf(id);
    if (type.is_dyn() || type.Is(TypeKind::kBool)) return;
    Wrong(id,
          absl::StrCat("here should be a bool, and this is ", type.ToString()));
  }

  const Ast& ast_;
  const Schema& schema_;
  ProblemList* const problems_;
  Checked checked_;
  std::vector<Variable> variables_;
};

}  // namespace

std::optional<Checked> Check(const Ast& ast, const Schema& schema,
                             std::optional<Type> wanted,
                             ProblemList* problems) {
  Checker checker(ast, schema, problems);
  Walk(ast, ast.root, &checker);
  const Type type = checker.TypeOf(ast.root);
  if (problems->empty() && type.is_named_list()) {
    checker.Wrong(ast.root, absl::StrCat("a ", type.ToString(),
                                         " is no value; write x in list(...)"));
  }
  if (problems->empty() && wanted.has_value() && type != *wanted) {
    checker.Wrong(ast.root, absl::StrCat("this is ", type.ToString(), ", and ",
                                         wanted->ToString(), " is wanted"));
  }
  if (!problems->empty()) return std::nullopt;
  return checker.Take();
}

}  // namespace callgate::policy::expression
