#include "policy/expression/random_expression.h"

#include <cmath>
#include <initializer_list>
#include <iterator>
#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "runtime/check.h"

namespace callgate::policy::expression {
namespace {

const std::vector<std::string>& Globs() {
  static const auto* const globs = new std::vector<std::string>{
      "/config/secrets/**", "/a/**/b", "*.example:443", "/ab?"};
  return *globs;
}
const std::vector<std::string>& Networks() {
  static const auto* const networks = new std::vector<std::string>{
      "10.0.0.0/8", "192.168.0.0/16", "::1/128", "fc00::/7"};
  return *networks;
}
const std::vector<std::string>& Patterns() {
  static const auto* const patterns =
      new std::vector<std::string>{"AKIA[0-9A-Z]{4}", "^/a.*b$"};
  return *patterns;
}

template <typename List>
std::shared_ptr<const List> CreateOrDie(const std::vector<std::string>& items) {
  auto list = List::Create(items);
  CALLGATE_CHECK(list.ok(), "the test's lists are right");
  return *std::move(list);
}

constexpr int64_t kInts[] = {0,
                             1,
                             -1,
                             2,
                             3,
                             7,
                             64,
                             1000,
                             std::numeric_limits<int64_t>::max(),
                             std::numeric_limits<int64_t>::min(),
                             std::numeric_limits<int64_t>::max() - 1,
                             3037000500};  // whose square overflows
constexpr uint64_t kUints[] = {0,
                               1,
                               2,
                               3,
                               255,
                               4294967296,
                               std::numeric_limits<uint64_t>::max(),
                               std::numeric_limits<uint64_t>::max() - 1};

Fact MakeFact(const char* name, Type type,
              Presence presence = Presence::kAlways) {
  Fact fact;
  fact.name = name;
  fact.type = type;
  fact.presence = presence;
  fact.bytes_max = 64;
  fact.items_max = 6;
  return fact;
}

const Type kIntList = Type::List(TypeKind::kInt);
const Type kStringList = Type::List(TypeKind::kString);

std::vector<Fact> TestFacts() {
  return {
      MakeFact("call.import", TypeKind::kString),
      MakeFact("call.depth", TypeKind::kInt),
      MakeFact("args.path", TypeKind::kString, Presence::kOptional),
      MakeFact("args.flags", TypeKind::kUint),
      MakeFact("args.len", TypeKind::kInt, Presence::kOptional),
      MakeFact("args.data", TypeKind::kBytes),
      MakeFact("args.addr.ip", TypeKind::kIp, Presence::kOptional),
      MakeFact("args.ports", kIntList),
      MakeFact("args.names", kStringList),
      MakeFact("args.rows", Type::List(kIntList)),
      MakeFact("store.ratio", TypeKind::kDouble),
      MakeFact("store.trusted", TypeKind::kBool),
      MakeFact("store.age", TypeKind::kDuration),
      MakeFact("now", TypeKind::kTimestamp),
  };
}

class Writer {
 public:
  explicit Writer(std::mt19937* random) : random_(*random) {}

  // Recursion is bounded by `depth`.
  std::string Write(Type type, int depth) {
    if (depth > 0 && Below(12) == 0) {
      return absl::StrCat("(", Write(TypeKind::kBool, depth - 1), " ? ",
                          Write(type, depth - 1), " : ", Write(type, depth - 1),
                          ")");
    }
    if (type.is_list()) return WriteList(type, depth);
    switch (type.kind()) {
      case TypeKind::kBool:
        return WriteBool(depth);
      case TypeKind::kInt:
        return WriteInt(depth);
      case TypeKind::kUint:
        return WriteUint(depth);
      case TypeKind::kDouble:
        return WriteDouble(depth);
      case TypeKind::kString:
        return WriteString(depth);
      case TypeKind::kBytes:
        return WriteBytes(depth);
      case TypeKind::kDuration:
        return WriteDuration(depth);
      case TypeKind::kTimestamp:
        return depth == 0 || Below(2) == 0
                   ? "now"
                   : absl::StrCat("(now ", Below(2) == 0 ? "+ " : "- ",
                                  Write(TypeKind::kDuration, depth - 1), ")");
      case TypeKind::kIp:
        return Below(2) == 0 ? "args.addr.ip" : "ip('10.1.2.3')";
      case TypeKind::kDyn:
        return absl::StrCat("dyn(", Write(AnyScalar(), depth - 1), ")");
      default:
        return "null";
    }
  }

 private:
  size_t Below(size_t n) { return random_() % n; }

  template <typename T, size_t n>
  const T& Of(const T (&array)[n]) {
    return array[Below(n)];
  }
  std::string Of(std::initializer_list<const char*> words) {
    return *(words.begin() + Below(words.size()));
  }

  Type AnyScalar() {
    const TypeKind kinds[] = {TypeKind::kBool,   TypeKind::kInt,
                              TypeKind::kUint,   TypeKind::kDouble,
                              TypeKind::kString, TypeKind::kBytes};
    return Of(kinds);
  }

  std::string Variable(TypeKind kind) {
    std::vector<std::string> fitting;
    for (const auto& [name, type] : variables_) {
      if (type == kind) fitting.push_back(name);
    }
    return fitting.empty() ? "" : fitting[Below(fitting.size())];
  }

  std::string Binary(Type a, const std::string& sign, Type b, int depth) {
    return absl::StrCat("(", Write(a, depth - 1), " ", sign, " ",
                        Write(b, depth - 1), ")");
  }

  std::string Quantifier(int depth) {
    const bool ints = Below(2) == 0;
    const std::string name = absl::StrCat("v", variables_.size());
    const std::string range = Write(ints ? kIntList : kStringList, depth - 1);
    variables_.emplace_back(name, ints ? TypeKind::kInt : TypeKind::kString);
    std::string text =
        absl::StrCat(range, ".", Of({"exists", "all", "exists_one"}), "(", name,
                     ", ", Write(TypeKind::kBool, depth - 1), ")");
    variables_.pop_back();
    return text;
  }

  std::string WriteBool(int depth) {
    if (depth <= 0) {
      return Of({"true", "false", "store.trusted", "has(args.path)",
                 "has(args.len)", "(dyn(1) == 1u)"});
    }
    const std::string relation = Of({"==", "!=", "<", "<=", ">", ">="});
    switch (Below(16)) {
      case 0:
      case 1:
      case 2:
        return absl::StrCat("(", Write(TypeKind::kBool, depth - 1),
                            Below(2) == 0 ? " && " : " || ",
                            Write(TypeKind::kBool, depth - 1), ")");
      case 3: {
        const std::string sign = Of({" && ", " || "});
        return absl::StrCat("(", Write(TypeKind::kBool, depth - 1), sign,
                            Write(TypeKind::kBool, depth - 1), sign,
                            Write(TypeKind::kBool, depth - 1), ")");
      }
      case 4:
        return absl::StrCat("!", Write(TypeKind::kBool, depth - 1));
      case 5: {
        const Type type = AnyScalar();
        return Binary(type, relation, type, depth);
      }
      case 6: {
        const TypeKind numbers[] = {TypeKind::kInt, TypeKind::kUint,
                                    TypeKind::kDouble};
        return Binary(Of(numbers), Of({"<", "<=", ">", ">="}), Of(numbers),
                      depth);
      }
      case 7: {
        const TypeKind kinds[] = {TypeKind::kDuration, TypeKind::kTimestamp,
                                  TypeKind::kInt};
        const Type type = Of(kinds);
        return Binary(type, relation, type, depth);
      }
      case 8: {
        const Type type = Below(2) == 0 ? kIntList : kStringList;
        return Below(2) == 0 ? Binary(type.element(), "in", type, depth)
                             : Binary(type, Of({"==", "!="}), type, depth);
      }
      case 9: {
        const Type type = Below(3) == 0 ? TypeKind::kBytes : TypeKind::kString;
        return absl::StrCat(Write(type, depth - 1), ".",
                            Of({"startsWith", "endsWith", "contains"}), "(",
                            Write(type, depth - 1), ")");
      }
      case 10:
        switch (Below(5)) {
          case 0:
            return absl::StrCat("(", Write(TypeKind::kString, depth - 1),
                                " in list('paths'))");
          case 1:
            return absl::StrCat(
                "(",
                Write(Below(2) == 0 ? TypeKind::kIp : TypeKind::kString,
                      depth - 1),
                " in list('nets'))");
          case 2:
            return absl::StrCat(
                Write(Below(2) == 0 ? TypeKind::kBytes : TypeKind::kString,
                      depth - 1),
                ".matches(list('tokens'))");
          case 3:
            return absl::StrCat(Write(TypeKind::kString, depth - 1),
                                ".matches('a+b|^/|é')");
          default:
            return Binary(TypeKind::kIp, "==", TypeKind::kIp, depth);
        }
      case 11:
      case 12:
        return Quantifier(depth);
      case 13:
        return Binary(TypeKind::kDyn, relation, TypeKind::kDyn, depth);
      case 14:
        return absl::StrCat("(", Write(TypeKind::kDyn, depth - 1),
                            Of({" && ", " || "}),
                            Write(TypeKind::kBool, depth - 1), ")");
      default:
        return absl::StrCat("(", Write(TypeKind::kDyn, depth - 1),
                            " in [1, 'a', ", Write(TypeKind::kBytes, depth - 1),
                            ", 2u, null])");
    }
  }

  std::string WriteInt(int depth) {
    const std::string variable = Variable(TypeKind::kInt);
    if (!variable.empty() && Below(3) == 0) return variable;
    if (depth <= 0) {
      if (Below(3) == 0) return Of({"call.depth", "args.len"});
      return absl::StrCat(Of(kInts));
    }
    switch (Below(7)) {
      case 0:
        return absl::StrCat(
            "size(",
            Write(Below(2) == 0 ? Type(TypeKind::kString) : kIntList,
                  depth - 1),
            ")");
      case 1:
        return absl::StrCat("-(", Write(TypeKind::kInt, depth - 1), ")");
      case 2:
        return absl::StrCat(Write(kIntList, depth - 1), "[",
                            Below(2) == 0 ? absl::StrCat(Below(4))
                                          : Write(TypeKind::kInt, depth - 1),
                            "]");
      case 3:
        return absl::StrCat("math.", Of({"bitAnd", "bitOr"}), "(",
                            Write(TypeKind::kInt, depth - 1), ", ",
                            Write(TypeKind::kInt, depth - 1), ")");
      default:
        return Binary(TypeKind::kInt, Of({"+", "-", "*", "/", "%"}),
                      TypeKind::kInt, depth);
    }
  }

  std::string WriteUint(int depth) {
    if (depth <= 0) {
      return Below(3) == 0 ? "args.flags" : absl::StrCat(Of(kUints), "u");
    }
    if (Below(4) == 0) {
      return absl::StrCat("math.", Of({"bitAnd", "bitOr"}), "(",
                          Write(TypeKind::kUint, depth - 1), ", ",
                          Write(TypeKind::kUint, depth - 1), ")");
    }
    return Binary(TypeKind::kUint, Of({"+", "-", "*", "/", "%"}),
                  TypeKind::kUint, depth);
  }

  std::string WriteDouble(int depth) {
    if (depth <= 0) {
      return Of({"store.ratio", "0.0", "-1.5", "1e300", "0.1", "3.0"});
    }
    return Binary(TypeKind::kDouble, Of({"+", "-", "*", "/"}),
                  TypeKind::kDouble, depth);
  }

  std::string WriteString(int depth) {
    const std::string variable = Variable(TypeKind::kString);
    if (!variable.empty() && Below(3) == 0) return variable;
    if (depth <= 0) {
      return Of({"call.import", "args.path", "''", "'a'", "'/a/b'", "\"é\"",
                 "r'\\x'", "'/config/secrets/db'", "'10.0.0.1'", "'aab'"});
    }
    if (Below(3) == 0) {
      return absl::StrCat(Write(kStringList, depth - 1), "[", Below(3), "]");
    }
    return Binary(TypeKind::kString, "+", TypeKind::kString, depth);
  }

  std::string WriteBytes(int depth) {
    if (depth <= 0) return Of({"args.data", "b''", "b'AKIA1234'", "b'\\xff'"});
    return Binary(TypeKind::kBytes, "+", TypeKind::kBytes, depth);
  }

  std::string WriteDuration(int depth) {
    if (depth <= 0) {
      return Of({"duration('30s')", "duration('-1h')", "store.age",
                 "duration('2400000h')"});
    }
    if (Below(3) == 0) {
      return Binary(TypeKind::kTimestamp, "-", TypeKind::kTimestamp, depth);
    }
    return Binary(TypeKind::kDuration, Of({"+", "-"}), TypeKind::kDuration,
                  depth);
  }

  std::string WriteList(Type type, int depth) {
    const bool ints = type == kIntList;
    if (type.list_depth() > 1) return "args.rows";
    if (depth > 0 && Below(3) == 0) return Binary(type, "+", type, depth);
    if (Below(3) == 0) {
      if (!ints) {
        return Below(2) == 0 ? "args.names"
                             : absl::StrCat(Write(TypeKind::kString, depth - 1),
                                            ".segments()");
      }
      return Below(2) == 0 ? "args.ports"
                           : absl::StrCat("args.rows[", Below(3), "]");
    }
    std::string text = "[";
    const size_t count = 1 + Below(4);
    for (size_t i = 0; i < count; ++i) {
      absl::StrAppend(&text, i > 0 ? ", " : "",
                      Write(type.element(), depth - 1));
    }
    return text + "]";
  }

  std::mt19937& random_;
  std::vector<std::pair<std::string, TypeKind>> variables_;
};

}  // namespace

TestWorld::TestWorld(uint32_t seed) : facts_(TestFacts()), random_(seed) {
  Shuffle();
}

Schema TestWorld::MakeSchema(bool constants) const {
  Schema schema;
  for (size_t i = 0; i < facts_.size(); ++i) {
    Fact fact = facts_[i];
    if (constants && fact.presence == Presence::kAlways &&
        !fact.type.is_list()) {
      fact.constant = values_[i];
    }
    CALLGATE_CHECK(schema.Declare(std::move(fact)).ok(), "facts are right");
  }
  CALLGATE_CHECK(
      schema.AddList("paths", CreateOrDie<GlobList>(Globs())).ok() &&
          schema.AddList("nets", CreateOrDie<CidrList>(Networks())).ok() &&
          schema.AddList("tokens", CreateOrDie<PatternList>(Patterns())).ok(),
      "lists are right");
  return schema;
}

std::string TestWorld::RandomText(size_t bytes_max) {
  static const char* const kWords[] = {
      "a",  "b",      "/",  "/config/secrets/", "é", "\xff", "AKIA1234",
      "10", ".0.0.1", "x.", "example:443",      "",  "\x80", "net.connect"};
  std::string text;
  while (random_() % 4 != 0) {
    const std::string word = kWords[random_() % std::size(kWords)];
    if (text.size() + word.size() > bytes_max) break;
    text += word;
  }
  return text;
}

Value TestWorld::RandomValue(Type type) {
  if (type.is_list()) {
    std::vector<Value> items(random_() % 5);
    for (Value& item : items) item = RandomValue(type.element());
    lists_.push_back(std::move(items));
    return Value::List(lists_.back());
  }
  switch (type.kind()) {
    case TypeKind::kBool:
      return Value::Bool(random_() % 2 == 0);
    case TypeKind::kInt:
      return Value::Int(kInts[random_() % std::size(kInts)]);
    case TypeKind::kUint:
      return Value::Uint(kUints[random_() % std::size(kUints)]);
    case TypeKind::kDouble: {
      const double reals[] = {
          0.0, -0.0, 1.5, std::nan(""), std::numeric_limits<double>::infinity(),
          7.0};
      return Value::Double(reals[random_() % std::size(reals)]);
    }
    case TypeKind::kDuration:
      return Value::Duration(kInts[random_() % std::size(kInts)]);
    case TypeKind::kTimestamp:
      return Value::Timestamp(random_() % 4 == 0
                                  ? std::numeric_limits<int64_t>::max() - 5
                                  : 1'700'000'000'000'000'000);
    case TypeKind::kIp: {
      static const char* const kAddresses[] = {
          "\x0a\x00\x00\x01", "\x08\x08\x08\x08",
          "\0\0\0\0\0\0\0\0\0\0\xff\xff\x0a\x01\x02\x03",
          "\xfc\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01"};
      const size_t which = random_() % 4;
      texts_.emplace_back(kAddresses[which], which < 2 ? 4 : 16);
      return Value::Ip(texts_.back());
    }
    default:
      texts_.push_back(RandomText(64));
      return type.Is(TypeKind::kBytes) ? Value::Bytes(texts_.back())
                                       : Value::String(texts_.back());
  }
}

void TestWorld::Shuffle() {
  texts_.clear();
  lists_.clear();
  values_.clear();
  for (const Fact& fact : facts_) {
    const bool absent =
        fact.presence == Presence::kOptional && random_() % 4 == 0;
    values_.push_back(absent ? Value() : RandomValue(fact.type));
  }
}

ReferenceWorld TestWorld::reference() const {
  ReferenceWorld world;
  for (size_t i = 0; i < facts_.size(); ++i) {
    world.facts[facts_[i].name] = values_[i];
  }
  world.globs["paths"] = Globs();
  world.networks["nets"] = Networks();
  world.patterns["tokens"] = Patterns();
  return world;
}

std::string RandomExpression(Type type, int depth, std::mt19937* random) {
  return Writer(random).Write(type, depth);
}

}  // namespace callgate::policy::expression
