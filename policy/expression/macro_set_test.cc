#include "policy/expression/macro_set.h"

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "policy/expression/expression.h"

namespace callgate::policy::expression {
namespace {

Schema MakeSchema() {
  Schema schema;
  for (const char* const name : {"n", "args.len"}) {
    Fact fact;
    fact.name = name;
    fact.type = TypeKind::kInt;
    fact.presence = fact.name == "n" ? Presence::kAlways : Presence::kOptional;
    EXPECT_TRUE(schema.Declare(std::move(fact)).ok());
  }
  return schema;
}

std::string Why(const std::vector<Problem>& problems) {
  return problems.empty() ? "" : problems[0].message;
}

// With n = 1 and args.len = 7.
std::string Outcome(const std::string& source, const MacroSet& macros) {
  CompileOptions options;
  options.macros = &macros;
  const CompileResult compiled = Compile(source, MakeSchema(), options);
  if (!compiled.ok()) return compiled.problems[0].ToString(source);
  Scratch scratch;
  const std::vector<Value> facts = {Value::Int(1), Value::Int(7)};
  const Evaluation evaluation = compiled.program->Evaluate(facts, &scratch);
  return evaluation.ok() ? evaluation.value.ToString()
                         : compiled.program->Describe(evaluation.value);
}

TEST(MacroSetTest, StandsForItsConditionInParentheses) {
  const Schema schema = MakeSchema();
  MacroSet macros;
  EXPECT_EQ(Why(macros.Add("is_one", "n == 0 || n == 1", schema)), "");
  EXPECT_EQ(Why(macros.Add("sum", "n + args.len", schema)), "");
  EXPECT_EQ(Why(macros.Add("both", "is_one && sum == 8", schema)), "");
  EXPECT_EQ(Outcome("is_one && n == 0", macros), "false");
  EXPECT_EQ(Outcome("!is_one", macros), "false");
  EXPECT_EQ(Outcome("sum * 2", macros), "16");
  EXPECT_EQ(Outcome("both ? 'yes' : 'no'", macros), "\"yes\"");
  EXPECT_EQ(Outcome("[1, 2].exists(x, sum == x + 7)", macros), "true");
  EXPECT_EQ(Outcome("['a'].exists(s, both && s == 'a')", macros), "true");
}

TEST(MacroSetTest, MeansTheSameUnderVariablesOfItsFactsNames) {
  const Schema schema = MakeSchema();
  MacroSet macros;
  EXPECT_EQ(Why(macros.Add("is_one", "n == 1", schema)), "");
  EXPECT_EQ(
      Why(macros.Add("has_length", "has(args.len) && args.len == 7", schema)),
      "");
  EXPECT_EQ(Why(macros.Add("own", "[5].exists(n, n == 5)", schema)), "");
  EXPECT_EQ(Outcome("[3].exists(n, is_one && n == 3)", macros), "true");
  EXPECT_EQ(Outcome("[3].exists(args, has_length && args == 3)", macros),
            "true");
  EXPECT_EQ(Outcome("own && n == 1", macros), "true");
}

TEST(MacroSetTest, VariablesComeFirst) {
  const Schema schema = MakeSchema();
  MacroSet macros;
  EXPECT_EQ(Why(macros.Add("m", "n == 2", schema)), "");
  EXPECT_EQ(Outcome("[true].exists(m, m)", macros), "true");
  EXPECT_EQ(Outcome("[true].exists(m, m) && m", macros), "false");
}

TEST(MacroSetTest, ErrorsPointAtTheUse) {
  const Schema schema = MakeSchema();
  MacroSet macros;
  EXPECT_EQ(Why(macros.Add("broken", "args.len / 0", schema)), "");
  EXPECT_EQ(Outcome("n == 1 && broken == 1", macros),
            "1:11: division by zero\n"
            "  n == 1 && broken == 1\n"
            "            ^");
  EXPECT_EQ(Outcome("broken == 'a'", macros),
            "1:8: == does not take int and string\n"
            "  broken == 'a'\n"
            "         ^");
}

TEST(MacroSetTest, CannotUseItselfOrWhatComesLater) {
  const Schema schema = MakeSchema();
  MacroSet macros;
  EXPECT_NE(Why(macros.Add("a", "a", schema)), "");
  EXPECT_NE(Why(macros.Add("a", "b", schema)), "");
  EXPECT_EQ(Why(macros.Add("b", "n == 1", schema)), "");
  EXPECT_EQ(Why(macros.Add("a", "b", schema)), "");
}

TEST(MacroSetTest, RefusesNamesThatMeanSomethingElse) {
  const Schema schema = MakeSchema();
  MacroSet macros;
  EXPECT_EQ(Why(macros.Add("m", "true", schema)), "");
  for (const char* const name :
       {"", "1a", "a.b", "a b", "true", "in", "if", "n", "args", "math", "m"}) {
    EXPECT_NE(Why(macros.Add(name, "true", schema)), "") << name;
  }
  EXPECT_NE(Why(macros.Add("wrong", "n == 'a'", schema)), "");
  EXPECT_NE(Why(macros.Add("unfinished", "n ==", schema)), "");
}

TEST(MacroSetTest, DoublingIsBounded) {
  const Schema schema = MakeSchema();
  MacroSet macros;
  EXPECT_EQ(Why(macros.Add("m0", "n == 1", schema)), "");
  int added = 0;
  std::string why;
  for (; added < 64 && why.empty(); ++added) {
    why = Why(macros.Add(absl::StrCat("m", added + 1),
                         absl::StrCat("m", added, " && m", added, " || n == 2"),
                         schema));
  }
  EXPECT_LT(added, 16);
  EXPECT_NE(why.find("too large with its macros"), std::string::npos) << why;
}

TEST(MacroSetTest, DepthIsBounded) {
  const Schema schema = MakeSchema();
  MacroSet macros;
  Limits limits;
  limits.depth_max = 10;
  EXPECT_EQ(Why(macros.Add("m", "!!!!(n == 1)", schema, limits)), "");
  EXPECT_EQ(Why(macros.Add("fits", "!!!!m", schema, limits)), "");
  const std::string why = Why(macros.Add("deep", "!!!!!m", schema, limits));
  EXPECT_NE(why.find("nested too deeply with its macros"), std::string::npos)
      << why;
}

// What rules of a whole policy ask, as they would be written.
TEST(MacroSetTest, ConditionsOfAPolicyCompileAndHold) {
  Schema schema;
  std::vector<Value> facts;
  const auto declare = [&](const char* name, Type type, Value value,
                           Presence presence = Presence::kAlways) {
    Fact fact;
    fact.name = name;
    fact.type = type;
    fact.presence = presence;
    ASSERT_TRUE(schema.Declare(std::move(fact)).ok());
    facts.push_back(value);
  };
  const Value address = Value::Ip(absl::string_view("\x0a\x00\x09\x09", 4));
  const std::vector<Value> addresses = {address};
  declare("call.import", TypeKind::kString,
          Value::String("wasi_snapshot_preview1.path_open"));
  declare("args.path", TypeKind::kString, Value::String("/config/secrets/db"),
          Presence::kOptional);
  declare("args.rights", TypeKind::kUint, Value::Uint(6), Presence::kOptional);
  declare("args.len", TypeKind::kInt, Value::Int(70'000), Presence::kOptional);
  declare("args.addr", TypeKind::kString, Value::String("10.0.9.9:443"),
          Presence::kOptional);
  declare("args.addr.ip", TypeKind::kIp, address, Presence::kOptional);
  declare("args.data", TypeKind::kBytes, Value::Bytes("AKIA0123456789ABCDEF"),
          Presence::kOptional);
  declare("result.errno", TypeKind::kInt, Value::Int(0));
  declare("result.addrs", Type::List(TypeKind::kIp), Value::List(addresses));
  declare("store.calls", TypeKind::kInt, Value::Int(5));
  declare("store.memory_bytes", TypeKind::kInt, Value::Int(64 << 20));
  declare("score.frame", TypeKind::kInt, Value::Int(6));
  declare("secret.now", TypeKind::kTimestamp, Value::Timestamp(0));
  declare("send.now", TypeKind::kTimestamp, Value::Timestamp(5'000'000'000));
  const auto globs = [](const std::vector<std::string>& items) {
    return *GlobList::Create(items);
  };
  ASSERT_TRUE(schema
                  .AddList("secret_paths",
                           globs({"/config/secrets/**", "/run/credentials/**"}))
                  .ok());
  ASSERT_TRUE(schema
                  .AddList("egress_hosts",
                           globs({"api.acme.example:443",
                                  "*.objects.example:443", "10.0.9.9:443"}))
                  .ok());
  ASSERT_TRUE(
      schema
          .AddList("private_nets", *CidrList::Create({"10.0.0.0/8", "::1/128"}))
          .ok());
  ASSERT_TRUE(
      schema.AddList("token_shapes", *PatternList::Create({"AKIA[0-9A-Z]{16}"}))
          .ok());
  MacroSet macros;
  EXPECT_EQ(Why(macros.Add("reads_secret",
                           "call.import == "
                           "\"wasi_snapshot_preview1.path_open\" && args.path "
                           "in list(\"secret_paths\") && "
                           "math.bitAnd(args.rights, 2u) != 0u",
                           schema)),
            "");
  EXPECT_EQ(Why(macros.Add("is_egress",
                           "call.import in [\"net.connect\", \"net.send\", "
                           "\"http.fetch\"]",
                           schema)),
            "");
  CompileOptions options;
  options.type = Type(TypeKind::kBool);
  options.macros = &macros;
  Scratch scratch;
  for (const char* const source :
       {"reads_secret", "!is_egress", "store.calls < 200", "args.len > 65536",
        "!(args.path.startsWith('/scratch/') || "
        "args.path.startsWith('/proc/'))",
        "args.addr in list(\"egress_hosts\")",
        "args.addr.ip in list(\"private_nets\")",
        "args.addr.ip in result.addrs",
        "args.data.matches(list(\"token_shapes\"))",
        "store.memory_bytes > 50 * 1024 * 1024", "result.errno == 0",
        "size(args.data) >= 20", "score.frame >= 3 && score.frame < 10",
        "send.now - secret.now < duration('30s')",
        "has(args.path) && !('..' in args.path.segments())"}) {
    const CompileResult compiled = Compile(source, schema, options);
    ASSERT_TRUE(compiled.ok()) << compiled.problems[0].ToString(source);
    const Evaluation evaluation = compiled.program->Evaluate(facts, &scratch);
    EXPECT_EQ(evaluation.value.ToString(), "true") << source;
  }
}

}  // namespace
}  // namespace callgate::policy::expression
