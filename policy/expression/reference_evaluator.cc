#include "policy/expression/reference_evaluator.h"

#include <arpa/inet.h>
#include <re2/re2.h>

#include <cmath>
#include <cstdlib>
#include <limits>
#include <optional>
#include <utility>

#include "policy/file/duration_text.h"
#include "policy/quote.h"

namespace callgate::policy::expression {
namespace {

using Ref = ReferenceValue;
// Not of ISO C++, as the warning would say.
__extension__ typedef __int128 Int128;

Ref Make(ValueKind kind, int64_t integer) {
  Ref value;
  value.kind = kind;
  value.integer = integer;
  return value;
}

Ref Int(Int128 wide, ValueKind kind = ValueKind::kInt) {
  if (wide > std::numeric_limits<int64_t>::max() ||
      wide < std::numeric_limits<int64_t>::min()) {
    return Ref::Error();
  }
  return Make(kind, static_cast<int64_t>(wide));
}

Ref Uint(Int128 wide) {
  if (wide < 0 ||
      wide > static_cast<Int128>(std::numeric_limits<uint64_t>::max())) {
    return Ref::Error();
  }
  Ref value;
  value.kind = ValueKind::kUint;
  value.natural = static_cast<uint64_t>(wide);
  return value;
}

Ref Double(double real) {
  Ref value;
  value.kind = ValueKind::kDouble;
  value.real = real;
  return value;
}

Ref Text(ValueKind kind, std::string text) {
  Ref value;
  value.kind = kind;
  value.text = std::move(text);
  return value;
}

bool IsNumber(const Ref& v) {
  return v.kind == ValueKind::kInt || v.kind == ValueKind::kUint ||
         v.kind == ValueKind::kDouble;
}
bool IsText(const Ref& v) {
  return v.kind == ValueKind::kString || v.kind == ValueKind::kBytes;
}

double Real(const Ref& v) {
  if (v.kind == ValueKind::kInt) return static_cast<double>(v.integer);
  if (v.kind == ValueKind::kUint) return static_cast<double>(v.natural);
  return v.real;
}
Int128 Wide(const Ref& v) {
  return v.kind == ValueKind::kUint ? static_cast<Int128>(v.natural)
                                    : static_cast<Int128>(v.integer);
}

// Sixteen bytes; IPv4 in its IPv6 form.
std::string Sixteen(const std::string& address) {
  if (address.size() != 4) return address;
  return std::string(10, '\0') + "\xff\xff" + address;
}

bool SameValue(const Ref& a, const Ref& b) {
  if (IsNumber(a) && IsNumber(b)) {
    if (a.kind == ValueKind::kDouble || b.kind == ValueKind::kDouble) {
      return Real(a) == Real(b);
    }
    return Wide(a) == Wide(b);
  }
  if (a.kind != b.kind) return false;
  if (a.kind == ValueKind::kIp) return Sixteen(a.text) == Sixteen(b.text);
  if (IsText(a)) return a.text == b.text;
  if (a.kind != ValueKind::kList) return a.integer == b.integer;
  if (a.items.size() != b.items.size()) return false;
  for (size_t i = 0; i < a.items.size(); ++i) {
    if (!SameValue(a.items[i], b.items[i])) return false;
  }
  return true;
}

// Less than, or nothing if the two have no order.
std::optional<bool> Less(const Ref& a, const Ref& b) {
  if (IsNumber(a) && IsNumber(b)) {
    if (a.kind == ValueKind::kDouble || b.kind == ValueKind::kDouble) {
      return Real(a) < Real(b);
    }
    return Wide(a) < Wide(b);
  }
  if (a.kind != b.kind) return std::nullopt;
  switch (a.kind) {
    case ValueKind::kBool:
    case ValueKind::kDuration:
    case ValueKind::kTimestamp:
      return a.integer < b.integer;
    case ValueKind::kString:
    case ValueKind::kBytes:
      return a.text < b.text;
    default:
      return std::nullopt;
  }
}

Ref Ordered(Function function, const Ref& a, const Ref& b) {
  const std::optional<bool> less = Less(a, b);
  const std::optional<bool> more = Less(b, a);
  if (!less.has_value()) return Ref::Error();
  switch (function) {
    case Function::kLess:
      return Ref::Bool(*less);
    case Function::kGreater:
      return Ref::Bool(*more);
    case Function::kLessEqual:
      return Ref::Bool(*less || SameValue(a, b));
    default:
      return Ref::Bool(*more || SameValue(a, b));
  }
}

Ref Arithmetic(Function function, const Ref& a, const Ref& b) {
  const bool add = function == Function::kAdd;
  const bool subtract = function == Function::kSubtract;
  const auto is = [](const Ref& v, ValueKind kind) { return v.kind == kind; };
  constexpr auto kTime = ValueKind::kTimestamp;
  constexpr auto kSpan = ValueKind::kDuration;
  if (is(a, kTime) && is(b, kSpan) && (add || subtract)) {
    return Int(add ? Wide(a) + Wide(b) : Wide(a) - Wide(b), kTime);
  }
  if (is(a, kSpan) && is(b, kTime) && add) return Int(Wide(a) + Wide(b), kTime);
  if (is(a, kTime) && is(b, kTime) && subtract) {
    return Int(Wide(a) - Wide(b), kSpan);
  }
  if (a.kind != b.kind) return Ref::Error();
  if (is(a, kSpan)) {
    if (!add && !subtract) return Ref::Error();
    return Int(add ? Wide(a) + Wide(b) : Wide(a) - Wide(b), kSpan);
  }
  if (is(a, ValueKind::kDouble)) {
    switch (function) {
      case Function::kAdd:
        return Double(a.real + b.real);
      case Function::kSubtract:
        return Double(a.real - b.real);
      case Function::kMultiply:
        return Double(a.real * b.real);
      case Function::kDivide:
        return Double(a.real / b.real);
      default:
        return Ref::Error();
    }
  }
  if (add && IsText(a)) return Text(a.kind, a.text + b.text);
  if (add && is(a, ValueKind::kList)) {
    Ref sum = a;
    sum.items.insert(sum.items.end(), b.items.begin(), b.items.end());
    return sum;
  }
  if (!is(a, ValueKind::kInt) && !is(a, ValueKind::kUint)) return Ref::Error();
  const Int128 x = Wide(a);
  const Int128 y = Wide(b);
  Int128 wide = 0;
  switch (function) {
    case Function::kAdd:
      wide = x + y;
      break;
    case Function::kSubtract:
      wide = x - y;
      break;
    case Function::kMultiply:
      // 2^64 squared does not fit.
      if (x != 0 && y != 0 && is(a, ValueKind::kUint) &&
          x > static_cast<Int128>(std::numeric_limits<uint64_t>::max()) / y) {
        return Ref::Error();
      }
      wide = x * y;
      break;
    case Function::kDivide:
      if (y == 0) return Ref::Error();
      wide = x / y;
      break;
    case Function::kModulo:
      if (y == 0) return Ref::Error();
      // As the division that goes with it, which overflows.
      if (x == std::numeric_limits<int64_t>::min() && y == -1) {
        return Ref::Error();
      }
      wide = x % y;
      break;
    case Function::kBitAnd:
    case Function::kBitOr: {
      const bool both = function == Function::kBitAnd;
      if (is(a, ValueKind::kInt)) {
        return Make(a.kind,
                    both ? a.integer & b.integer : a.integer | b.integer);
      }
      return Uint(static_cast<Int128>(both ? a.natural & b.natural
                                           : a.natural | b.natural));
    }
    default:
      return Ref::Error();
  }
  return is(a, ValueKind::kInt) ? Int(wide) : Uint(wide);
}

Ref Index(const Ref& list, const Ref& index) {
  if (list.kind != ValueKind::kList || !IsNumber(index)) return Ref::Error();
  const double real = Real(index);
  if (!(real >= 0) || real != std::floor(real) ||
      real >= static_cast<double>(list.items.size())) {
    return Ref::Error();
  }
  return list.items[static_cast<size_t>(real)];
}

Ref Size(const Ref& v) {
  if (v.kind == ValueKind::kList) {
    return Int(static_cast<Int128>(v.items.size()));
  }
  if (v.kind == ValueKind::kBytes) {
    return Int(static_cast<Int128>(v.text.size()));
  }
  if (v.kind != ValueKind::kString) return Ref::Error();
  int64_t count = 0;
  for (absl::string_view rest = v.text; !rest.empty(); ++count) {
    const auto character = FirstUtf8Character(rest);
    rest.remove_prefix(character.has_value() ? character->bytes : 1);
  }
  return Int(count);
}

Ref Parts(Function function, const Ref& a, const Ref& b) {
  if (a.kind != b.kind || !IsText(a)) return Ref::Error();
  const std::string& text = a.text;
  const std::string& part = b.text;
  if (function == Function::kContains) {
    return Ref::Bool(text.find(part) != std::string::npos);
  }
  if (part.size() > text.size()) return Ref::Bool(false);
  const size_t at =
      function == Function::kStartsWith ? 0 : text.size() - part.size();
  return Ref::Bool(text.compare(at, part.size(), part) == 0);
}

Ref Segments(const Ref& path) {
  if (path.kind != ValueKind::kString) return Ref::Error();
  Ref list;
  list.kind = ValueKind::kList;
  std::string segment;
  for (const char c : path.text + "/") {
    if (c != '/') {
      segment.push_back(c);
    } else if (!segment.empty()) {
      list.items.push_back(Text(ValueKind::kString, segment));
      segment.clear();
    }
  }
  return list.items.size() > 256 ? Ref::Error() : list;
}

Ref Found(const Ref& text, const std::vector<std::string>& patterns) {
  if (!IsText(text)) return Ref::Error();
  re2::RE2::Options options;
  if (text.kind == ValueKind::kBytes) {
    options.set_encoding(re2::RE2::Options::EncodingLatin1);
  } else if (ValidUtf8Prefix(text.text) != text.text.size()) {
    return Ref::Error();
  }
  for (const std::string& pattern : patterns) {
    if (re2::RE2::PartialMatch(text.text, re2::RE2(pattern, options))) {
      return Ref::Bool(true);
    }
  }
  return Ref::Bool(false);
}

std::optional<std::string> AddressOfText(const std::string& text) {
  char bytes[16];
  if (text.find('\0') != std::string::npos) return std::nullopt;
  if (inet_pton(AF_INET, text.c_str(), bytes) == 1) {
    return std::string(bytes, 4);
  }
  if (inet_pton(AF_INET6, text.c_str(), bytes) == 1) {
    return std::string(bytes, 16);
  }
  return std::nullopt;
}

// --- the walk ---

struct Frame {
  NodeId node = 0;
  uint32_t next_child = 0;
  std::vector<Ref> results;
  std::vector<Ref> left;  // elements that a quantifier has still to visit
};

class Walker {
 public:
  Walker(const Ast& ast, const ReferenceWorld& world)
      : ast_(ast), world_(world) {}

  Ref Run() {
    std::vector<Frame> frames;
    Ref result;
    if (!Enter(ast_.root, &frames, &result)) return result;
    while (true) {
      Frame& frame = frames.back();
      const Node& node = ast_.at(frame.node);
      if (node.kind == NodeKind::kQuantifier && frame.next_child == 1 &&
          frame.results.size() == 1) {
        frame.left = frame.results[0].items;
      }
      NodeId child;
      if (node.kind == NodeKind::kQuantifier && frame.next_child >= 1) {
        if (frame.next_child > 1) variables_.pop_back();
        if (frame.left.empty()) {
          result = Leave(frame);
          if (!Return(&frames, result)) return result;
          continue;
        }
        variables_.emplace_back(std::string(node.text), frame.left.front());
        frame.left.erase(frame.left.begin());
        child = ast_.child(frame.node, 1);
      } else if (frame.next_child == node.child_count) {
        result = Leave(frame);
        if (!Return(&frames, result)) return result;
        continue;
      } else {
        child = ast_.child(frame.node, frame.next_child);
      }
      ++frame.next_child;
      Ref leaf;
      if (!Enter(child, &frames, &leaf)) {
        frames.back().results.push_back(std::move(leaf));
      }
    }
  }

 private:
  // Gives a result to the frame below; false if there is none.
  static bool Return(std::vector<Frame>* frames, const Ref& result) {
    frames->pop_back();
    if (frames->empty()) return false;
    frames->back().results.push_back(result);
    return true;
  }

  std::string NameOf(NodeId id) const {
    std::string name;
    while (ast_.at(id).kind == NodeKind::kSelect) {
      name = "." + std::string(ast_.at(id).text) + name;
      id = ast_.child(id, 0);
    }
    if (ast_.at(id).kind != NodeKind::kName) return "";
    return std::string(ast_.at(id).text) + name;
  }

  // Whether a frame was pushed; otherwise the node's value is in `result`.
  bool Enter(NodeId id, std::vector<Frame>* frames, Ref* result) {
    const Node& node = ast_.at(id);
    switch (node.kind) {
      case NodeKind::kLiteral:
        *result = Ref::From(node.literal);
        return false;
      case NodeKind::kName:
      case NodeKind::kSelect: {
        const std::string name = NameOf(id);
        for (auto i = variables_.rbegin(); i != variables_.rend(); ++i) {
          if (i->first == name) {
            *result = i->second;
            return false;
          }
        }
        const auto found = world_.facts.find(name);
        // A namespace is no value, and the call knows that.
        const Ref fact = found == world_.facts.end() ? Ref::Bool(false)
                                                     : Ref::From(found->second);
        *result = fact.kind == ValueKind::kAbsent ? Ref::Error() : fact;
        return false;
      }
      case NodeKind::kCall:
        if (EnterCall(id, result)) return false;
        break;
      default:
        break;
    }
    Frame frame;
    frame.node = id;
    frames->push_back(std::move(frame));
    return true;
  }

  // Calls whose argument is no value.
  bool EnterCall(NodeId id, Ref* result) {
    const Node& node = ast_.at(id);
    if (node.text == "has") {
      const Value& fact = world_.facts.at(NameOf(ast_.child(id, 0)));
      *result = Ref::Bool(fact.kind() != ValueKind::kAbsent);
      return true;
    }
    if (node.text == "list") {
      // Its name stands for it, until a call that knows what to do with it.
      *result =
          Text(ValueKind::kString,
               std::string(ast_.at(ast_.child(id, 0)).literal.as_string()));
      return true;
    }
    return false;
  }

  bool IsNamedList(NodeId id) const {
    return ast_.at(id).kind == NodeKind::kCall && ast_.at(id).text == "list";
  }

  Ref Leave(const Frame& frame) {
    const Node& node = ast_.at(frame.node);
    switch (node.kind) {
      case NodeKind::kList: {
        Ref list;
        list.kind = ValueKind::kList;
        for (const Ref& item : frame.results) {
          if (item.is_error()) return item;
          list.items.push_back(item);
        }
        return list;
      }
      case NodeKind::kAnd:
      case NodeKind::kOr:
        return Decide(frame.results, 0, node.kind == NodeKind::kOr);
      case NodeKind::kConditional:
        if (frame.results[0].kind != ValueKind::kBool) return Ref::Error();
        return frame.results[frame.results[0].integer != 0 ? 1 : 2];
      case NodeKind::kQuantifier:
        return Quantify(node.quantifier, frame.results);
      case NodeKind::kCall:
        return Call(frame);
      default:
        return Ref::Error();
    }
  }

  // Decided by any operand that is `deciding`; an error if one is left then.
  static Ref Decide(const std::vector<Ref>& operands, size_t from,
                    bool deciding) {
    bool error = false;
    for (size_t i = from; i < operands.size(); ++i) {
      if (operands[i].kind != ValueKind::kBool) {
        error = true;
      } else if ((operands[i].integer != 0) == deciding) {
        return Ref::Bool(deciding);
      }
    }
    return error ? Ref::Error() : Ref::Bool(!deciding);
  }

  static Ref Quantify(Quantifier quantifier, const std::vector<Ref>& results) {
    if (results[0].kind != ValueKind::kList) return Ref::Error();
    if (quantifier != Quantifier::kExistsOne) {
      return Decide(results, 1, quantifier == Quantifier::kExists);
    }
    int count = 0;
    for (size_t i = 1; i < results.size(); ++i) {
      if (results[i].kind != ValueKind::kBool) return Ref::Error();
      count += results[i].integer != 0 ? 1 : 0;
    }
    return Ref::Bool(count == 1);
  }

  Ref Call(const Frame& frame) {
    const Node& node = ast_.at(frame.node);
    Function function = node.function;
    std::vector<Ref> arguments = frame.results;
    if (function == Function::kNone) {
      if (node.text == "bitAnd" || node.text == "bitOr") {
        function = node.text == "bitAnd" ? Function::kBitAnd : Function::kBitOr;
        arguments.erase(arguments.begin());  // math
      }
    }
    for (const Ref& argument : arguments) {
      if (argument.is_error()) return argument;
    }
    const Ref& a = arguments[0];
    const Ref b = arguments.size() > 1 ? arguments[1] : Ref();
    const NodeId last = ast_.child(frame.node, node.child_count - 1);
    if (IsNamedList(last)) return InNamedList(a, b.text);
    if (function == Function::kNone) return NamedCall(node.text, a, b);
    switch (function) {
      case Function::kNot:
        return a.kind == ValueKind::kBool ? Ref::Bool(a.integer == 0)
                                          : Ref::Error();
      case Function::kNegate:
        if (a.kind == ValueKind::kDouble) return Double(-a.real);
        return a.kind == ValueKind::kInt ? Int(-Wide(a)) : Ref::Error();
      case Function::kEqual:
        return Ref::Bool(SameValue(a, b));
      case Function::kNotEqual:
        return Ref::Bool(!SameValue(a, b));
      case Function::kLess:
      case Function::kLessEqual:
      case Function::kGreater:
      case Function::kGreaterEqual:
        return Ordered(function, a, b);
      case Function::kIn: {
        if (b.kind != ValueKind::kList) return Ref::Error();
        for (const Ref& item : b.items) {
          if (SameValue(a, item)) return Ref::Bool(true);
        }
        return Ref::Bool(false);
      }
      case Function::kIndex:
        return Index(a, b);
      default:
        return Arithmetic(function, a, b);
    }
  }

  static Ref NamedCall(absl::string_view name, const Ref& a, const Ref& b) {
    if (name == "size") return Size(a);
    if (name == "dyn") return a;
    if (name == "segments") return Segments(a);
    if (name == "startsWith") return Parts(Function::kStartsWith, a, b);
    if (name == "endsWith") return Parts(Function::kEndsWith, a, b);
    if (name == "contains") return Parts(Function::kContains, a, b);
    if (name == "matches") return Found(a, {b.text});
    if (name == "duration") {
      if (a.kind == ValueKind::kDuration) return a;
      const bool negative = a.text[0] == '-';
      const auto parsed =
          ParseDurationText(absl::string_view(a.text).substr(negative ? 1 : 0));
      if (!parsed.ok()) return Ref::Error();
      const Int128 nanos =
          static_cast<Int128>(parsed->seconds) * 1'000'000'000 + parsed->nanos;
      return Int(negative ? -nanos : nanos, ValueKind::kDuration);
    }
    if (name == "ip") {
      return Text(ValueKind::kIp, AddressOfText(a.text).value_or(""));
    }
    std::abort();
  }

  Ref InNamedList(const Ref& a, const std::string& name) {
    if (world_.patterns.count(name) > 0) {
      return Found(a, world_.patterns.at(name));
    }
    if (world_.globs.count(name) > 0) {
      if (a.kind != ValueKind::kString) return Ref::Error();
      for (const std::string& glob : world_.globs.at(name)) {
        if (GlobMatchesSlowly(glob, a.text)) return Ref::Bool(true);
      }
      return Ref::Bool(false);
    }
    std::string address = a.text;
    if (a.kind == ValueKind::kString) {
      const std::optional<std::string> parsed = AddressOfText(a.text);
      if (!parsed.has_value()) return Ref::Error();
      address = *parsed;
    } else if (a.kind != ValueKind::kIp) {
      return Ref::Error();
    }
    for (const std::string& network : world_.networks.at(name)) {
      if (InNetworkSlowly(network, address)) return Ref::Bool(true);
    }
    return Ref::Bool(false);
  }

  const Ast& ast_;
  const ReferenceWorld& world_;
  std::vector<std::pair<std::string, Ref>> variables_;
};

}  // namespace

ReferenceValue ReferenceValue::Bool(bool v) {
  return Make(ValueKind::kBool, v ? 1 : 0);
}

ReferenceValue ReferenceValue::From(const Value& value) {
  ReferenceValue made;
  made.kind = value.kind();
  switch (value.kind()) {
    case ValueKind::kUint:
      made.natural = value.as_uint();
      break;
    case ValueKind::kDouble:
      made.real = value.as_double();
      break;
    case ValueKind::kString:
    case ValueKind::kBytes:
    case ValueKind::kIp:
      made.text = std::string(value.as_string());
      break;
    case ValueKind::kList:
      for (const Value& item : value.as_list()) {
        made.items.push_back(From(item));
      }
      break;
    default:
      made.integer = value.as_int();
      break;
  }
  return made;
}

bool SameOutcome(const ReferenceValue& a, const Value& b) {
  if (a.is_error() || b.is_error()) return a.is_error() == b.is_error();
  if (a.kind != b.kind()) return false;
  if (a.kind == ValueKind::kDouble && std::isnan(a.real)) {
    return std::isnan(b.as_double());
  }
  if (a.kind != ValueKind::kList) return SameValue(a, ReferenceValue::From(b));
  if (a.items.size() != b.size()) return false;
  for (size_t i = 0; i < a.items.size(); ++i) {
    if (!SameOutcome(a.items[i], b.as_list()[i])) return false;
  }
  return true;
}

ReferenceValue EvaluateSlowly(const Ast& ast, const ReferenceWorld& world) {
  return Walker(ast, world).Run();
}

bool GlobMatchesSlowly(const std::string& pattern, const std::string& text) {
  // matches[p][t]: what is left of the pattern from p matches the text from t.
  const size_t n = pattern.size();
  const size_t m = text.size();
  std::vector<std::vector<bool>> matches(n + 1, std::vector<bool>(m + 1));
  matches[n][m] = true;
  for (size_t p = n; p-- > 0;) {
    const char c = pattern[p];
    // A position behind a backslash is no start of anything.
    for (size_t t = m + 1; t-- > 0;) {
      const bool more = t < m;
      if (c == '*' && p + 1 < n && pattern[p + 1] == '*') {
        bool found = matches[p + 2][t] || (more && matches[p][t + 1]);
        const bool segment = (p == 0 || pattern[p - 1] == '/') && p + 2 < n &&
                             pattern[p + 2] == '/';
        // "**/" at the beginning of a segment may be nothing at all, but then
        // the text is at the beginning of one, too.
        if (segment && (t == 0 || text[t - 1] == '/')) {
          found = found || matches[p + 3][t];
        }
        matches[p][t] = found;
      } else if (c == '*') {
        matches[p][t] =
            matches[p + 1][t] || (more && text[t] != '/' && matches[p][t + 1]);
      } else if (c == '?') {
        matches[p][t] = more && text[t] != '/' && matches[p + 1][t + 1];
      } else if (c == '\\') {
        matches[p][t] = more && p + 1 < n && text[t] == pattern[p + 1] &&
                        matches[p + 2][t + 1];
      } else {
        matches[p][t] = more && text[t] == c && matches[p + 1][t + 1];
      }
    }
  }
  return matches[0][0];
}

bool InNetworkSlowly(const std::string& network, const std::string& address) {
  const size_t slash = network.find('/');
  const std::optional<std::string> base =
      AddressOfText(network.substr(0, slash));
  if (!base.has_value()) return false;
  const std::string a = Sixteen(*base);
  const std::string b = Sixteen(address);
  if (b.size() != 16) return false;
  int bits = slash == std::string::npos
                 ? static_cast<int>(base->size()) * 8
                 : std::atoi(network.c_str() + slash + 1);
  if (base->size() == 4) bits += 96;
  for (int bit = 0; bit < bits; ++bit) {
    const auto byte = static_cast<size_t>(bit) / 8;
    const int shift = 7 - bit % 8;
    const int x = static_cast<unsigned char>(a[byte]) >> shift & 1;
    const int y = static_cast<unsigned char>(b[byte]) >> shift & 1;
    if (x != y) return false;
  }
  return true;
}

}  // namespace callgate::policy::expression
