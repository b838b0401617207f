// What conditions cost.
//
//   BM_Evaluate/NAME   one evaluation of a typical condition
//   BM_Compile/NAME    reading, checking and compiling it
//
//   bazel run -c opt //policy/expression:expression_benchmark

#include <benchmark/benchmark.h>

#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "policy/expression/expression.h"
#include "runtime/check.h"

namespace callgate::policy::expression {
namespace {

struct Row {
  const char* name;
  const char* source;
};

constexpr Row kRows[] = {
    {"constant", "true"},
    {"int", "args.len > 65536"},
    {"two_arguments", "args.len > 3 && args.flags != 0u"},
    {"import", "call.import == 'net.send'"},
    {"import_in_3", "call.import in ['net.connect', 'http.fetch', 'net.send']"},
    {"prefixes",
     "!(args.path.startsWith('/scratch/') || "
     "args.path.startsWith('/config/'))"},
    {"bits", "math.bitAnd(args.flags, 2u) != 0u"},
    {"optional", "has(args.path) && args.path == '/a'"},
    {"globs_prefix", "args.path in list('secrets')"},
    {"globs_pattern", "args.host in list('hosts')"},
    {"networks", "args.ip in list('nets')"},
    {"patterns_1KiB", "args.data.matches(list('tokens'))"},
    {"regex", "args.path.matches('^/config/[a-z]+/db$')"},
    {"exists", "args.ports.exists(p, p == 443)"},
    {"segments", "'..' in args.path.segments()"},
    {"concatenation", "('/root' + args.path).endsWith('/secrets/db')"},
    {"error_absorbed", "args.len / 0 == 1 || args.len == 5"},
    {"example",
     "call.import == 'net.send' && args.path in list('secrets') && "
     "math.bitAnd(args.flags, 2u) != 0u"},
};

struct World {
  World() {
    const auto declare = [this](const char* name, Type type, Value value,
                                Presence presence = Presence::kAlways) {
      Fact fact;
      fact.name = name;
      fact.type = type;
      fact.presence = presence;
      CALLGATE_CHECK(schema.Declare(std::move(fact)).ok(), "facts are right");
      values.push_back(value);
    };
    for (int port = 1; port <= 4; ++port) ports.push_back(Value::Int(port));
    ports.push_back(Value::Int(443));
    data = std::string(1024, 'x');
    declare("call.import", TypeKind::kString, Value::String("net.send"));
    declare("args.len", TypeKind::kInt, Value::Int(5));
    declare("args.flags", TypeKind::kUint, Value::Uint(6));
    declare("args.path", TypeKind::kString, Value::String("/config/secrets/db"),
            Presence::kOptional);
    declare("args.host", TypeKind::kString,
            Value::String("a.objects.example:443"));
    declare("args.ip", TypeKind::kIp,
            Value::Ip(absl::string_view("\xc0\xa8\x01\x02", 4)));
    declare("args.data", TypeKind::kBytes, Value::Bytes(data));
    declare("args.ports", Type::List(TypeKind::kInt), Value::List(ports));
    const bool added =
        schema
            .AddList("secrets", *GlobList::Create({"/config/secrets/**",
                                                   "/run/credentials/**"}))
            .ok() &&
        schema
            .AddList("hosts", *GlobList::Create({"api.acme.example:443",
                                                 "*.objects.example:443"}))
            .ok() &&
        schema
            .AddList("nets",
                     *CidrList::Create({"10.0.0.0/8", "172.16.0.0/12",
                                        "192.168.0.0/16", "169.254.0.0/16",
                                        "127.0.0.0/8", "::1/128", "fc00::/7"}))
            .ok() &&
        schema
            .AddList("tokens", *PatternList::Create(
                                   {"AKIA[0-9A-Z]{16}",
                                    "-----BEGIN [A-Z ]*PRIVATE KEY-----"}))
            .ok();
    CALLGATE_CHECK(added, "lists are right");
  }

  Schema schema;
  std::vector<Value> values;
  std::vector<Value> ports;
  std::string data;
};

void Evaluate(benchmark::State& state, const char* source) {
  const World world;
  const CompileResult compiled = Compile(source, world.schema);
  CALLGATE_CHECK(compiled.ok(), source);
  Scratch scratch;
  for (auto _ : state) {
    benchmark::DoNotOptimize(
        compiled.program->Evaluate(world.values, &scratch));
  }
  state.counters["cost"] = static_cast<double>(compiled.program->cost());
}

void CompileOne(benchmark::State& state, const char* source) {
  const World world;
  for (auto _ : state) {
    benchmark::DoNotOptimize(Compile(source, world.schema));
  }
}

}  // namespace
}  // namespace callgate::policy::expression

int main(int argc, char** argv) {
  namespace ex = callgate::policy::expression;
  for (const ex::Row& row : ex::kRows) {
    benchmark::RegisterBenchmark(absl::StrCat("BM_Evaluate/", row.name).c_str(),
                                 ex::Evaluate, row.source);
  }
  for (const ex::Row& row : ex::kRows) {
    benchmark::RegisterBenchmark(absl::StrCat("BM_Compile/", row.name).c_str(),
                                 ex::CompileOne, row.source);
  }
  benchmark::Initialize(&argc, argv);
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}
