#include "policy/expression/expression.h"

#include <limits>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "tests/support/allocations.h"

namespace callgate::policy::expression {
namespace {

// Declared in this order, so these are their slots.
enum Slot : uint32_t { kImport, kPath, kLength, kFlags, kPorts, kNow, kIp };

Schema CallSchema(Presence path = Presence::kOptional) {
  Schema schema;
  const auto declare = [&schema](const char* name, Type type,
                                 Presence presence) {
    Fact fact;
    fact.name = name;
    fact.type = type;
    fact.presence = presence;
    EXPECT_TRUE(schema.Declare(std::move(fact)).ok());
  };
  declare("call.import", TypeKind::kString, Presence::kAlways);
  declare("args.path", TypeKind::kString, path);
  declare("args.len", TypeKind::kInt, Presence::kAlways);
  declare("args.flags", TypeKind::kUint, Presence::kAlways);
  declare("args.ports", Type::List(TypeKind::kInt), Presence::kAlways);
  declare("now", TypeKind::kTimestamp, Presence::kLazy);
  declare("args.addr.ip", TypeKind::kIp, Presence::kAlways);
  EXPECT_TRUE(schema
                  .AddList("secrets", *GlobList::Create(
                                          {"/config/secrets/**", "/run/*.key"}))
                  .ok());
  EXPECT_TRUE(
      schema.AddList("nets", *CidrList::Create({"10.0.0.0/8", "::1"})).ok());
  EXPECT_TRUE(
      schema.AddList("tokens", *PatternList::Create({"AKIA[0-9A-Z]{16}"}))
          .ok());
  return schema;
}

const int64_t kPortItems[] = {80, 443};

struct CallFacts {
  CallFacts() {
    for (const int64_t port : kPortItems) ports.push_back(Value::Int(port));
    values = {Value::String("net.send"),
              Value::String("/config/secrets/db"),
              Value::Int(5),
              Value::Uint(6),
              Value::List(ports),
              Value::Lazy(),
              Value::Ip(absl::string_view("\x0a\x01\x02\x03", 4))};
  }
  std::vector<Value> ports;
  std::vector<Value> values;
};

class Clock final : public LazyFacts {
 public:
  Value Compute(uint32_t slot) override {
    EXPECT_EQ(slot, kNow);
    ++readings;
    return Value::Timestamp(1'000'000'000);
  }
  int readings = 0;
};

std::string Outcome(const std::string& source) {
  const Schema schema = CallSchema();
  const CompileResult compiled = Compile(source, schema);
  if (!compiled.ok()) return compiled.problems[0].ToString(source);
  const CallFacts facts;
  Scratch scratch;
  Clock clock;
  const Evaluation evaluation =
      compiled.program->Evaluate(facts.values, &scratch, &clock);
  EXPECT_LE(evaluation.steps, compiled.program->cost()) << source;
  return evaluation.value.ToString();
}

struct Row {
  std::string name, source, outcome;
};

class ValueOf : public testing::TestWithParam<Row> {};
TEST_P(ValueOf, IsAsStated) {
  EXPECT_EQ(Outcome(GetParam().source), GetParam().outcome);
}

std::string NameOfRow(const testing::TestParamInfo<Row>& info) {
  return info.param.name;
}

INSTANTIATE_TEST_SUITE_P(
    Facts, ValueOf,
    testing::Values(
        Row{"fact", "args.len", "5"},
        Row{"list_fact", "args.ports", "[80, 443]"},
        Row{"equal", "call.import == 'net.send'", "true"},
        Row{"in", "call.import in ['net.connect', 'net.send']", "true"},
        Row{"bits", "math.bitAnd(args.flags, 2u) != 0u", "true"},
        Row{"has", "has(args.path) && args.path.endsWith('/db')", "true"},
        Row{"now", "now - duration('1s')", "1970-01-01T00:00:00+00:00"},
        Row{"quantifier", "args.ports.exists(p, p == 443)", "true"},
        Row{"nested",
            "args.ports.all(p, args.ports.exists_one(q, q == p && p > 0))",
            "true"}),
    NameOfRow);
INSTANTIATE_TEST_SUITE_P(
    Lists, ValueOf,
    testing::Values(
        Row{"glob", "args.path in list('secrets')", "true"},
        Row{"glob_not", "'/config/secret' in list('secrets')", "false"},
        Row{"network", "args.addr.ip in list('nets')", "true"},
        Row{"network_of_text", "'10.9.9.9' in list('nets')", "true"},
        Row{"network_mapped", "'::ffff:10.0.0.1' in list('nets')", "true"},
        Row{"duration_of_a_duration",
            "duration(duration('90s')) == duration(now - now + "
            "duration('1m30s'))",
            "true"},
        Row{"network_no_address", "'db.internal' in list('nets')",
            "error: the string is not an IP address"},
        Row{"patterns", "'xAKIA0123456789ABCDEFx'.matches(list('tokens'))",
            "true"},
        Row{"patterns_of_bytes",
            "b'\\xffAKIA0123456789ABCDEF'.matches(list('tokens'))", "true"},
        Row{"segments", "args.path.segments()",
            "[\"config\", \"secrets\", \"db\"]"},
        Row{"segment", "'..' in '/a/../b'.segments()", "true"},
        Row{"segments_none", "'//'.segments()", "[]"}),
    NameOfRow);
INSTANTIATE_TEST_SUITE_P(
    Overflow, ValueOf,
    testing::Values(
        Row{"add", "9223372036854775807 + 1", "error: integer overflow"},
        Row{"subtract", "-9223372036854775808 - 1", "error: integer overflow"},
        Row{"multiply", "5000000000 * 5000000000", "error: integer overflow"},
        Row{"divide", "-9223372036854775808 / -1", "error: integer overflow"},
        Row{"modulo", "-9223372036854775808 % -1", "error: integer overflow"},
        Row{"negate", "-(-9223372036854775808)", "error: integer overflow"},
        Row{"by_zero", "args.len / 0", "error: division by zero"},
        Row{"modulo_zero", "args.len % 0", "error: modulus by zero"},
        Row{"uint", "args.flags - 7u", "error: integer overflow"},
        Row{"time", "now + duration('2400000h') + duration('2400000h')",
            "error: integer overflow"},
        Row{"index", "args.ports[2]", "error: index out of range"},
        Row{"index_negative", "args.ports[-1]", "error: index out of range"}),
    NameOfRow);
INSTANTIATE_TEST_SUITE_P(
    Absorption, ValueOf,
    testing::Values(
        Row{"or_right", "args.len / 0 == 1 || true", "true"},
        Row{"or_left", "true || args.len / 0 == 1", "true"},
        Row{"or_undecided", "args.len / 0 == 1 || false",
            "error: division by zero"},
        Row{"or_of_facts", "args.len / 0 == 1 || args.len == 5", "true"},
        Row{"or_first_error", "args.len / 0 == 1 || args.ports[9] == 1",
            "error: division by zero"},
        Row{"and_of_facts", "args.len / 0 == 1 && args.len == 6", "false"},
        Row{"and_undecided", "args.len == 5 && args.ports[9] == 1",
            "error: index out of range"},
        Row{"nested", "(args.len / 0 == 1 && args.len == 5) || args.len == 5",
            "true"},
        Row{"earlier_errors_are_gone",
            "[true].all(b, ((args.len / 0 == 1 || !b) || b) && "
            "((args.len % 0 == 1 || !b) || !b))",
            "error: modulus by zero"},
        Row{"conditional", "args.len / 0 == 1 ? true : true",
            "error: division by zero"},
        Row{"exists", "args.ports.exists(p, 1 / (p - 80) == 0)", "true"},
        Row{"exists_undecided", "args.ports.exists(p, 1 / (p - 80) == 9)",
            "error: division by zero"},
        Row{"all", "args.ports.all(p, 1 / (p - 80) == 9)", "false"},
        Row{"exists_one", "args.ports.exists_one(p, 1 / (p - 80) == 0)",
            "error: division by zero"},
        Row{"dyn", "dyn(args.len) || args.len == 5", "true"},
        Row{"dyn_undecided", "dyn(args.len) || args.len == 6",
            "error: no such overload: the operator does not take this type of "
            "value"}),
    NameOfRow);

class ProblemOf : public testing::TestWithParam<Row> {};
TEST_P(ProblemOf, SaysWhatAndWhere) {
  EXPECT_EQ(Outcome(GetParam().source), GetParam().outcome);
}

INSTANTIATE_TEST_SUITE_P(
    Rows, ProblemOf,
    testing::Values(
        Row{"unknown_fact", "size(args.pth) > 3",
            "1:6: there is no fact \"args.pth\"; did you mean args.path? "
            "Allowed here: args.addr.ip, args.flags, args.len, args.path, "
            "args.ports, call.import, now\n"
            "  size(args.pth) > 3\n"
            "       ^"},
        Row{"second_line", "args.len > 1 &&\n  args.len = 2",
            "2:12: unexpected character \"=\"; equality is ==\n"
            "    args.len = 2\n"
            "             ^"},
        Row{"types", "args.flags == 2",
            "1:12: == does not take uint and int; a uint is written 2u, a "
            "double 2.0\n"
            "  args.flags == 2\n"
            "             ^"},
        Row{"variable_outside", "args.ports.exists(p, p == 1) && p == 1",
            "1:33: there is no fact \"p\"; allowed here: "
            "args.addr.ip, args.flags, args.len, args.path, args.ports, "
            "call.import, now\n"
            "  args.ports.exists(p, p == 1) && p == 1\n"
            "                                  ^"},
        Row{"no_field", "args.len.x == 1",
            "1:1: \"args.len\" is of type int, which has no \"x\"\n"
            "  args.len.x == 1\n"
            "  ^"},
        Row{"group", "args == 1",
            "1:1: \"args\" is a group of facts; name one of them\n"
            "  args == 1\n"
            "  ^"},
        Row{"not_bool", "args.len && true",
            "1:1: here should be a bool, and this is int\n"
            "  args.len && true\n"
            "  ^"},
        Row{"map", "{'a': 1}",
            "1:1: map: not in the subset of CEL that policies use\n"
            "  {'a': 1}\n"
            "  ^"},
        Row{"conversion", "int(args.flags) == 1",
            "1:1: type conversion: not in the subset of CEL that policies use; "
            "\"int\"\n"
            "  int(args.flags) == 1\n"
            "  ^"},
        Row{"unknown_list", "args.path in list('secret')",
            "1:19: there is no list \"secret\"; did you mean secrets? "
            "Allowed here: nets, secrets, tokens\n"
            "  args.path in list('secret')\n"
            "                    ^"},
        Row{"pattern", "args.path.matches('a(')",
            "1:19: \"a(\" is not a pattern of RE2: missing ): a(\n"
            "  args.path.matches('a(')\n"
            "                    ^"},
        Row{"run_time_pattern", "args.path.matches(args.path)",
            "1:19: pattern made at run time: not in the subset of CEL that "
            "policies use; patterns are literals or a list\n"
            "  args.path.matches(args.path)\n"
            "                    ^"},
        Row{"unclosed", "(args.len > 1",
            "1:1: this is never closed\n"
            "  (args.len > 1\n"
            "  ^"},
        Row{"ends", "args.len >",
            "1:11: the expression ends where a value should follow\n"
            "  args.len >\n"
            "            ^"},
        Row{"empty", "",
            "1:1: the expression ends where a value should follow\n"
            "  \n"
            "  ^"},
        Row{"escape", "'\\q'",
            "1:2: unknown escape \\q; a backslash is written \\\\\n"
            "  '\\q'\n"
            "   ^"},
        Row{"hidden_text", "args.len == \xe2\x80\xae'",
            "1:13: unexpected character \"\\u{202e}\"\n"
            "  args.len == \\u{202e}'\n"
            "              ^"},
        Row{"duration", "duration('30')",
            "1:10: \"30\" has no unit; write for example 30s\n"
            "  duration('30')\n"
            "           ^"},
        Row{"duration_of_a_number", "duration(30) == duration('30s')",
            "1:1: duration does not take int\n"
            "  duration(30) == duration('30s')\n"
            "  ^"},
        Row{"duration_of_a_fact", "duration(args.path) == duration('30s')",
            "1:10: duration of something other than a literal: not in the "
            "subset of CEL that policies use; write it as in "
            "duration(\"30s\")\n"
            "  duration(args.path) == duration('30s')\n"
            "           ^"},
        Row{"address_in_both_forms", "ip('::ffff:10.0.0.1') in list('nets')",
            "1:4: \"::ffff:10.0.0.1\" is an IPv4 address; write 10.0.0.1\n"
            "  ip('::ffff:10.0.0.1') in list('nets')\n"
            "     ^"},
        Row{"of_what_is_left_out", "cidr('10.0.0.0/8').ip() == args.addr.ip",
            "1:1: extension function: not in the subset of CEL that policies "
            "use; \"cidr\"\n"
            "  cidr('10.0.0.0/8').ip() == args.addr.ip\n"
            "  ^"}),
    NameOfRow);

TEST(Compile, CutsLongLinesAroundTheCaret) {
  const std::string source = absl::StrCat(
      "'", std::string(300, 'a'), "' == x && ", std::string(300, ' '), "true");
  const CompileResult compiled = Compile(source, CallSchema());
  ASSERT_EQ(compiled.problems.size(), 1u);
  const std::string text = compiled.problems[0].ToString("\n\n" + source);
  EXPECT_LT(text.size(), 400u);
}

TEST(Compile, FindsEveryMistakeOfNameAndType) {
  const CompileResult compiled =
      Compile("foo == 1 || args.len == 'a' || !args.len", CallSchema());
  ASSERT_EQ(compiled.problems.size(), 3u);
  EXPECT_EQ(compiled.problems[0].column, 1);
  EXPECT_EQ(compiled.problems[1].column, 22);
  EXPECT_EQ(compiled.problems[2].column, 32);
}

TEST(Compile, WantsTheType) {
  CompileOptions options;
  options.type = Type(TypeKind::kBool);
  EXPECT_TRUE(Compile("args.len == 5", CallSchema(), options).ok());
  const CompileResult wrong = Compile("args.len", CallSchema(), options);
  ASSERT_FALSE(wrong.ok());
  EXPECT_EQ(wrong.problems[0].message, "this is int, and bool is wanted");
}

// --- limits, each at the limit and one past it ---

bool Compiles(const std::string& source, const Limits& limits) {
  CompileOptions options;
  options.limits = limits;
  return Compile(source, CallSchema(), options).ok();
}

TEST(Limits, SourceBytes) {
  Limits limits;
  limits.source_bytes_max = 5;
  EXPECT_TRUE(Compiles("1 + 2", limits));
  EXPECT_FALSE(Compiles("1 + 22", limits));
}

TEST(Limits, Nodes) {
  Limits limits;
  limits.nodes_max = 5;
  EXPECT_TRUE(Compiles("1 + 2 + 3", limits));
  EXPECT_FALSE(Compiles("!!!!!true", limits));
}

TEST(Limits, Depth) {
  Limits limits;
  limits.depth_max = 10;
  EXPECT_TRUE(Compiles(std::string(9, '!') + "true", limits));
  EXPECT_FALSE(Compiles(std::string(10, '!') + "true", limits));
  // Brackets add no node; there may be twice as many.
  const auto parens = [](size_t n) {
    return std::string(n, '(') + "1" + std::string(n, ')');
  };
  EXPECT_TRUE(Compiles(parens(20), limits));
  EXPECT_FALSE(Compiles(parens(21), limits));
}

TEST(Limits, ListsOfLists) {
  const auto nested = [](size_t n) {
    return std::string(n, '[') + "1" + std::string(n, ']');
  };
  EXPECT_TRUE(Compiles(nested(Type::kListDepthMax), {}));
  EXPECT_FALSE(Compiles(nested(Type::kListDepthMax + 1), {}));
}

TEST(Limits, Instructions) {
  Limits limits;
  limits.instructions_max = 2;
  EXPECT_TRUE(Compiles("args.len == 1", limits));
  EXPECT_FALSE(Compiles("args.len + 1 == 1", limits));
}

TEST(Limits, Cost) {
  const CompileResult compiled =
      Compile("args.ports.exists(p, p == args.len)", CallSchema());
  ASSERT_TRUE(compiled.ok());
  Limits limits;
  limits.cost_max = compiled.program->cost();
  EXPECT_TRUE(Compiles("args.ports.exists(p, p == args.len)", limits));
  --limits.cost_max;
  EXPECT_FALSE(Compiles("args.ports.exists(p, p == args.len)", limits));
}

TEST(Limits, CostOfNestedQuantifiersIsTheirProduct) {
  std::string source = "true";
  for (int i = 0; i < 5; ++i) {
    source = absl::StrCat("args.ports.all(p", i, ", ", source, ")");
  }
  const CompileResult compiled = Compile(source, CallSchema());
  ASSERT_FALSE(compiled.ok());
  EXPECT_NE(compiled.problems[0].message.find("steps"), std::string::npos);
}

TEST(Limits, Registers) {
  const auto list = [](size_t n) {
    std::string source = "[args.len";
    for (size_t i = 1; i < n; ++i) source += ", args.len";
    return source + "] == []";
  };
  Limits limits;
  EXPECT_TRUE(Compiles(list(kRegistersMax - 4), limits));
  EXPECT_FALSE(Compiles(list(kRegistersMax + 1), limits));
}

TEST(Limits, HostileNestingIsRefusedAndNotRecursedInto) {
  for (const char* const piece :
       {"(", "[", "!", "-", "a(", "a.b(", "a[", "1?", "1?1:", "[1].all(x,",
        "a.", "1+", "a&&", "\"", "b'", "/", "has(", "{", "x in "}) {
    std::string source;
    while (source.size() < Limits().source_bytes_max - 20) source += piece;
    EXPECT_FALSE(Compiles(source, {})) << piece;
    EXPECT_FALSE(Compiles(source + "1", {})) << piece;
  }
}

TEST(Limits, LongChainsAreNoNesting) {
  std::string any = "args.len == 0";
  for (int i = 1; i < 1000; ++i) absl::StrAppend(&any, "||args.len == ", i);
  EXPECT_TRUE(Compiles(any, {}));
}

// --- evaluation ---

TEST(Evaluate, AbsentFactsAreErrorsUnlessAsked) {
  CallFacts facts;
  facts.values[kPath] = Value();
  Scratch scratch;
  const Schema schema = CallSchema();
  const CompileResult asked =
      Compile("has(args.path) && args.path == 'a'", schema);
  ASSERT_TRUE(asked.ok());
  const Evaluation no = asked.program->Evaluate(facts.values, &scratch);
  EXPECT_EQ(no.value.ToString(), "false");
  const CompileResult unasked = Compile("args.path == 'a'", schema);
  ASSERT_TRUE(unasked.ok());
  const Evaluation error = unasked.program->Evaluate(facts.values, &scratch);
  ASSERT_FALSE(error.ok());
  EXPECT_EQ(unasked.program->Describe(error.value),
            "1:1: this call does not have the fact\n"
            "  args.path == 'a'\n"
            "  ^");
}

TEST(Evaluate, FactsThatAnImportNeverHasNeedAGuard) {
  const Schema schema = CallSchema(Presence::kNever);
  EXPECT_FALSE(Compile("args.path == 'a'", schema).ok());
  EXPECT_FALSE(Compile("args.len == 1 || args.path == 'a'", schema).ok());
  const CompileResult guarded =
      Compile("has(args.path) && args.path == 'a'", schema);
  ASSERT_TRUE(guarded.ok());
  ASSERT_TRUE(guarded.program->constant().has_value());
  EXPECT_FALSE(guarded.program->constant()->as_bool());
  EXPECT_TRUE(
      Compile("has(args.path) ? args.path == 'a' : args.len == 1", schema)
          .ok());
}

TEST(Evaluate, KnownFactsAreFolded) {
  Schema schema;
  Fact import;
  import.name = "call.import";
  import.type = TypeKind::kString;
  import.constant = Value::String("net.send");
  ASSERT_TRUE(schema.Declare(import).ok());
  Fact length;
  length.name = "args.len";
  length.type = TypeKind::kInt;
  ASSERT_TRUE(schema.Declare(length).ok());
  const auto instructions = [&schema](const char* source) {
    return Compile(source, schema).program->instruction_count();
  };
  const size_t alone = instructions("args.len > 5");
  EXPECT_EQ(instructions("call.import == 'net.send' && args.len > 5"),
            alone + 1);
  const CompileResult other =
      Compile("args.len > 5 && call.import == 'net.recv'", schema);
  ASSERT_TRUE(other.ok());
  ASSERT_TRUE(other.program->constant().has_value());
  EXPECT_FALSE(other.program->constant()->as_bool());
  EXPECT_TRUE(other.program->slots_read().empty());
  EXPECT_EQ(other.program->cost(), 1u);
  // An error that a constant would cause stays one.
  EXPECT_FALSE(Compile("1 / 0 == 1", schema).program->constant().has_value());
}

TEST(Evaluate, LazyFactsAreComputedWhereTheyAreRead) {
  const Schema schema = CallSchema();
  CallFacts facts;
  Scratch scratch;
  Clock clock;
  const CompileResult compiled = Compile("args.len == 5 || now > now", schema);
  ASSERT_TRUE(compiled.ok());
  EXPECT_TRUE(compiled.program->Evaluate(facts.values, &scratch, &clock).ok());
  EXPECT_EQ(clock.readings, 0);
  facts.values[kLength] = Value::Int(6);
  EXPECT_TRUE(compiled.program->Evaluate(facts.values, &scratch, &clock).ok());
  EXPECT_EQ(clock.readings, 2);
  // Nobody to ask.
  EXPECT_FALSE(compiled.program->Evaluate(facts.values, &scratch).ok());
}

TEST(Evaluate, FactsOfAnotherKindAreErrors) {
  const Schema schema = CallSchema();
  Scratch scratch;
  const CompileResult compiled =
      Compile("call.import == 'a' || true == true && args.len == 1", schema);
  ASSERT_TRUE(compiled.ok());
  CallFacts facts;
  for (const Value& wrong : {Value(), Value::Int(1), Value::Null()}) {
    facts.values[kImport] = wrong;
    const Evaluation evaluation =
        compiled.program->Evaluate(facts.values, &scratch);
    ASSERT_FALSE(evaluation.ok());
    EXPECT_EQ(evaluation.value.error(), ErrorCode::kBadFact);
  }
  EXPECT_FALSE(compiled.program->Evaluate({}, &scratch).ok());
}

TEST(Evaluate, ScratchMemoryIsBounded) {
  const Schema schema = CallSchema();
  const CompileResult compiled =
      Compile("(args.path + args.path).size() == 36", schema);
  ASSERT_TRUE(compiled.ok());
  CallFacts facts;
  Scratch enough(36);
  EXPECT_EQ(compiled.program->Evaluate(facts.values, &enough).value.ToString(),
            "true");
  // Again, since it is used again.
  EXPECT_EQ(compiled.program->Evaluate(facts.values, &enough).value.ToString(),
            "true");
  Scratch too_small(35);
  const Evaluation evaluation =
      compiled.program->Evaluate(facts.values, &too_small);
  ASSERT_FALSE(evaluation.ok());
  EXPECT_EQ(evaluation.value.error(), ErrorCode::kScratchExhausted);
}

TEST(Evaluate, StringsThatAreNotUtf8CannotHideFromPatterns) {
  const Schema schema = CallSchema();
  const CompileResult compiled =
      Compile("args.path.matches('^/[^/]*/secret$')", schema);
  ASSERT_TRUE(compiled.ok());
  CallFacts facts;
  Scratch scratch;
  facts.values[kPath] = Value::String("/a\xff/secret");
  const Evaluation evaluation =
      compiled.program->Evaluate(facts.values, &scratch);
  ASSERT_FALSE(evaluation.ok());
  EXPECT_EQ(evaluation.value.error(), ErrorCode::kNotUtf8);
}

TEST(Evaluate, BytesThatAreNoCharactersCount) {
  const Schema schema = CallSchema();
  const CompileResult compiled = Compile("size(args.path)", schema);
  ASSERT_TRUE(compiled.ok());
  CallFacts facts;
  Scratch scratch;
  facts.values[kPath] = Value::String("a\x80\x80\xc3\xa9");
  EXPECT_EQ(compiled.program->Evaluate(facts.values, &scratch).value.as_int(),
            4);
}

TEST(Evaluate, TooManySegmentsAreAnError) {
  const Schema schema = CallSchema();
  const CompileResult compiled = Compile("size(args.path.segments())", schema);
  ASSERT_TRUE(compiled.ok());
  CallFacts facts;
  Scratch scratch;
  std::string path;
  for (int i = 0; i < 256; ++i) path += "/a";
  facts.values[kPath] = Value::String(path);
  EXPECT_EQ(compiled.program->Evaluate(facts.values, &scratch).value.as_int(),
            256);
  path += "/a";
  facts.values[kPath] = Value::String(path);
  EXPECT_FALSE(compiled.program->Evaluate(facts.values, &scratch).ok());
}

TEST(Evaluate, ProgramsOutliveSchemaAndSource) {
  CompileResult compiled;
  {
    std::string source =
        "args.path in list('secrets') && 'a' + args.path != "
        "'bc' && args.path in ['x', '/config/secrets/db']";
    const Schema schema = CallSchema();
    compiled = Compile(source, schema);
    source.assign(source.size(), '#');
  }
  ASSERT_TRUE(compiled.ok());
  const CallFacts facts;
  Scratch scratch;
  EXPECT_EQ(compiled.program->Evaluate(facts.values, &scratch).value.ToString(),
            "true");
}

TEST(Evaluate, AllocatesNothing) {
  const Schema schema = CallSchema();
  const CallFacts facts;
  Scratch scratch;
  Clock clock;
  for (const char* const source :
       {"call.import == 'net.send' && args.len > 3",
        "args.path.startsWith('/config/') && math.bitAnd(args.flags, 2u) != 0u",
        "args.path in list('secrets') || args.addr.ip in list('nets')",
        "args.path.matches(list('tokens'))",
        "args.path.matches('^/[a-z]+/secrets/')",
        "args.path.segments().exists(s, s == '..' || s == 'db')",
        "('a' + args.path + 'b').contains('secrets/dbb')",
        "[args.len, args.len + 1] + args.ports == [5, 6, 80, 443]",
        "args.len / 0 == 1 || args.ports[7] == 1 || now > now",
        "[1, 'a', args.path].exists(x, x == args.path)",
        "args.ports.all(p, args.ports.exists(q, p / (q - 80) == 1))"}) {
    const CompileResult compiled = Compile(source, schema);
    ASSERT_TRUE(compiled.ok()) << compiled.problems[0].ToString(source);
    // RE2 makes the states of its automaton when it meets them first.
    const std::string before =
        compiled.program->Evaluate(facts.values, &scratch, &clock)
            .value.ToString();
    const uint64_t allocations = AllocationCount();
    Evaluation evaluation;
    for (int i = 0; i < 100; ++i) {
      evaluation = compiled.program->Evaluate(facts.values, &scratch, &clock);
    }
    EXPECT_EQ(AllocationCount(), allocations) << source;
    EXPECT_EQ(evaluation.value.ToString(), before) << source;
  }
}

TEST(Schema, RefusesWhatNoExpressionCouldName) {
  Schema schema;
  const auto declare = [&schema](const char* name, Type type) {
    Fact fact;
    fact.name = name;
    fact.type = type;
    return schema.Declare(std::move(fact)).ok();
  };
  EXPECT_TRUE(declare("a.b", TypeKind::kInt));
  for (const char* const name :
       {"a.b", "", ".", "a.", ".a", "a..b", "1a", "a b", "true", "in.x", "é"}) {
    EXPECT_FALSE(declare(name, TypeKind::kInt)) << name;
  }
  EXPECT_FALSE(declare("c", TypeKind::kDyn));
  EXPECT_FALSE(declare("c", TypeKind::kGlobList));
  Fact constant;
  constant.name = "d";
  constant.type = TypeKind::kInt;
  constant.constant = Value::Uint(1);
  EXPECT_FALSE(schema.Declare(constant).ok());
  constant.constant = Value::Int(1);
  EXPECT_TRUE(schema.Declare(constant).ok());
}

// A fact of another event, which may have come from anywhere.
TEST(Evaluate, AFactOfUnknownTypeIsWhatItTurnsOutToBe) {
  Schema schema;
  for (const char* const name : {"past.x", "args.x"}) {
    Fact fact;
    fact.name = name;
    fact.type = TypeKind::kDyn;
    fact.presence = Presence::kOptional;
    ASSERT_TRUE(schema.Declare(std::move(fact)).ok());
  }
  const Value list[] = {Value::Int(1), Value::String("a")};
  struct Case {
    const char* source;
    Value past;
    absl::string_view want;
  };
  Scratch scratch;
  for (const Case& row : std::vector<Case>{
           {"past.x == 1", Value::Int(1), "true"},
           {"past.x == 1", Value::String("1"), "false"},
           {"past.x + 1 == 3", Value::Int(2), "true"},
           {"past.x + 1 == 3", Value::String("2"),
            ErrorText(ErrorCode::kNoSuchOverload)},
           {"args.x in past.x", Value::List(list), "true"},
           {"past.x.exists(p, p == 'a')", Value::List(list), "true"},
           {"args.x in past.x", Value::Int(1),
            ErrorText(ErrorCode::kNoSuchOverload)},
           {"past.x == 1", Value(), ErrorText(ErrorCode::kAbsentFact)},
           {"past.x == 1 || args.x == 1", Value(), "true"},
           {"has(past.x)", Value(), "false"},
           {"has(past.x)", Value::Int(1), "true"},
           {"past.x == 1", Value::Lazy(), ErrorText(ErrorCode::kBadFact)}}) {
    CompileResult compiled = Compile(row.source, schema);
    ASSERT_TRUE(compiled.ok()) << row.source;
    const std::vector<Value> facts = {row.past, Value::Int(1)};
    const Evaluation evaluation =
        compiled.program->Evaluate(facts, &scratch, nullptr);
    const std::string got =
        evaluation.ok() ? evaluation.value.ToString()
                        : std::string(ErrorText(evaluation.value.error()));
    EXPECT_EQ(got, row.want) << row.source;
    EXPECT_LE(evaluation.steps, compiled.program->cost());
  }
}

TEST(CheckTypes, NamesTheFactsAlsoOfMacros) {
  const Schema schema = CallSchema();
  MacroSet macros;
  ASSERT_TRUE(
      macros.Add("long", "args.len > 5 && has(args.path)", schema).empty());
  CompileOptions options;
  options.macros = &macros;
  NamedFacts named;
  EXPECT_TRUE(
      CheckTypes("long || args.flags == 1u", schema, options, &named).empty());
  EXPECT_EQ(named.read, (std::vector<uint32_t>{kLength, kFlags}));
  EXPECT_EQ(named.asked, (std::vector<uint32_t>{kPath}));
}

TEST(Evaluate, EmptyViewsWithoutMemoryAreEmptyTexts) {
  const Schema schema = CallSchema();
  CallFacts facts;
  Scratch scratch;
  facts.values[kPath] = Value::String(absl::string_view());
  facts.values[kPorts] = Value::List({});
  for (const char* const source :
       {"args.path == ''", "!args.path.contains('a')", "args.path.contains('')",
        "!args.path.startsWith('a')", "args.path + '' == ''",
        "args.path.segments() == []", "size(args.path) == 0",
        "args.path.matches('^$')", "!(args.path in list('secrets'))",
        "args.path <= ''", "args.ports == []", "args.ports + args.ports == []",
        "!(1 in args.ports)", "args.ports.all(p, p == 1)",
        "true || args.path in list('nets')"}) {
    const CompileResult compiled = Compile(source, schema);
    ASSERT_TRUE(compiled.ok()) << source;
    EXPECT_EQ(
        compiled.program->Evaluate(facts.values, &scratch).value.ToString(),
        "true")
        << source;
  }
}

TEST(Schema, ContainersAreLookedThroughFromInside) {
  Schema schema;
  for (const char* const name : {"a.b.x", "a.x", "x"}) {
    Fact fact;
    fact.name = name;
    fact.type = TypeKind::kInt;
    ASSERT_TRUE(schema.Declare(std::move(fact)).ok());
  }
  schema.set_container("a.b");
  const auto slot = [&schema](const char* source) {
    return Compile(source, schema).program->slots_read();
  };
  EXPECT_EQ(slot("x"), std::vector<uint32_t>{0});
  EXPECT_EQ(slot(".x"), std::vector<uint32_t>{2});
  schema.set_container("a.c");
  EXPECT_EQ(slot("x"), std::vector<uint32_t>{1});
}

}  // namespace
}  // namespace callgate::policy::expression
