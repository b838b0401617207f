#include "policy/policy.h"

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "policy/compiler/policy_compiler.h"

namespace callgate::policy {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

std::vector<std::string> Lines(const std::vector<Problem>& problems) {
  std::vector<std::string> lines;
  for (const Problem& p : problems) lines.push_back(p.ToString());
  return lines;
}

std::shared_ptr<const Policy> Compile(absl::string_view body) {
  CompileResult result = CompilePolicyText(
      absl::StrCat("api_version: callgate.policy/v1\nkind: Policy\nmetadata: "
                   "{name: web}\n",
                   body),
      "p.yaml");
  EXPECT_TRUE(result.ok()) << absl::StrJoin(Lines(result.problems), "\n");
  return result.policy;
}

// net.send: (sock, address, length) -> errno; env.tick: () -> ().
const FuncType kSendType = {{ValType::kI32, ValType::kI32, ValType::kI32},
                            {ValType::kI32}};
const HostFunctionSpec kSendSpec = {
    {{"sock", 0, ArgKind::kHandle},
     {"data", 1, ArgKind::kBytes, 2, kNoIndex, 1000}},
    true};
const HostFunctionSpec kFloatSpec = {{{"x", 0, ArgKind::kF64}}, false};
const HostFunctionSpec kHandleSpec = {{{"data", 0, ArgKind::kHandle}}, true};
const FuncType kTickType = {{}, {}};
const HostFunctionSpec kTickSpec = {{}, false};
const FuncType kFloatType = {{ValType::kF64, ValType::kI64}, {ValType::kI32}};

// --- CheckAgainst ------------------------------------------------------------

TEST(CheckAgainstTest, WarnsOfDenialsThatBecomeTraps) {
  const auto policy = Compile(
      "imports:\n"
      "- {import: env.tick, action: deny}\n"
      "- {import: net.send, action: deny}\n"
      "- {import: env.other, action: trap}\n"
      "rate_limits:\n"
      "- {import: env.tick, refill_per_second: 1, burst: 1}\n");
  const std::vector<LinkedImport> imports = {
      {"env", "tick", &kTickType, &kTickSpec},
      {"net", "send", &kSendType, &kSendSpec},
      {"env", "other", &kTickType, nullptr},
      {"env", "tick", &kTickType, &kTickSpec},  // imported twice, told once
      {"env", "unlisted", &kTickType, nullptr},
      // Says errno, but returns none.
      {"env", "lies", &kTickType, &kSendSpec},
  };
  const LinkFindings findings = policy->CheckAgainst(imports);
  EXPECT_THAT(findings.problems, IsEmpty());
  EXPECT_THAT(
      Lines(findings.warnings),
      ElementsAre(
          "p.yaml:5:3: rule import:env.tick denies env.tick, which returns no "
          "errno: the call traps instead; write `action: trap` to say so",
          "p.yaml:9:3: rule rate:env.tick denies env.tick, which returns no "
          "errno: the call traps instead; write `action: trap` to say so",
          "p.yaml: rule default:unlisted_import denies the unlisted "
          "env.unlisted, which returns no errno: the call traps instead; write "
          "`action: trap` to say so",
          "p.yaml: rule default:unlisted_import denies the unlisted env.lies, "
          "which returns no errno: the call traps instead; write `action: "
          "trap` to say so"));
}

// Point 12: of every rule that may deny it.
TEST(CheckAgainstTest, Point12WarnsOfConditionsThatTrapWhereNoErrnoIs) {
  const auto policy = Compile(
      "imports: [{import: env.tick, action: allow}, {import: net.send, action: "
      "allow}]\n"
      "rules: [{id: r, action: deny, when: 'call.name == \"tick\"'}, {id: s, "
      "action: deny, when: 'call.name == \"send\"'}, {id: t, action: deny, "
      "when: 'store.calls > 9'}, {id: u, action: trap, when: 'store.calls > "
      "9'}]\n");
  const std::vector<LinkedImport> imports = {
      {"env", "tick", &kTickType, &kTickSpec},
      {"net", "send", &kSendType, &kSendSpec}};
  EXPECT_THAT(
      Lines(policy->CheckAgainst(imports).warnings),
      ElementsAre("p.yaml:5:9: rule r denies env.tick, which returns no errno: "
                  "the call traps instead; write `action: trap` to say so",
                  "p.yaml:5:113: rule t denies env.tick, which returns no "
                  "errno: the call traps instead; write `action: trap` to say "
                  "so"));
}

struct Row {
  std::string name;
  std::string args;
  const FuncType* type;
  const HostFunctionSpec* spec;
  std::string want;  // empty: fine
};

class ArgumentCheckTest : public testing::TestWithParam<Row> {};

TEST_P(ArgumentCheckTest, FindsWhatCannotBe) {
  const auto policy =
      Compile(absl::StrCat("imports:\n- import: net.send\n  action: allow\n"
                           "  args: [",
                           GetParam().args, "]\n"));
  const std::vector<LinkedImport> imports = {
      {"net", "send", GetParam().type, GetParam().spec}};
  const LinkFindings findings = policy->CheckAgainst(imports);
  if (GetParam().want.empty()) {
    EXPECT_THAT(Lines(findings.problems), IsEmpty());
  } else {
    EXPECT_THAT(Lines(findings.problems),
                ElementsAre(absl::StrCat("p.yaml:5:3: argument \"data\" of "
                                         "net.send: ",
                                         GetParam().want)));
  }
}

INSTANTIATE_TEST_SUITE_P(
    Arguments, ArgumentCheckTest,
    testing::ValuesIn<Row>({
        {"described_by_the_file",
         "{name: data, index: 1, type: bytes, len_index: 2}", &kSendType,
         nullptr, ""},
        {"described_by_the_host", "{name: data}", &kSendType, &kSendSpec, ""},
        {"narrowed", "{name: data, max_bytes: 10}", &kSendType, &kSendSpec, ""},
        {"not_described", "{name: data}", &kSendType, nullptr,
         "the host names no argument \"data\" of this function; give index "
         "and type"},
        {"described_otherwise", "{name: data}", &kFloatType, &kFloatSpec,
         "the host names no argument \"data\" of this function; give index "
         "and type, or use one that it names: x"},
        {"no_such_parameter", "{name: data, index: 3, type: u32}", &kSendType,
         nullptr,
         "index is 3, and the function has 3 parameters, counted from 0: (i32, "
         "i32, i32) -> (i32)"},
        {"no_such_length", "{name: data, index: 1, type: bytes, len_index: 9}",
         &kSendType, nullptr,
         "len_index is 9, and the function has 3 parameters, counted from 0: "
         "(i32, i32, i32) -> (i32)"},
        {"length_is_address",
         "{name: data, index: 1, type: bytes, len_index: 1}", &kSendType,
         nullptr, "len_index 1 is no length: (i32, i32, i32) -> (i32)"},
        {"float_as_address",
         "{name: data, index: 0, type: bytes, len_index: 1}", &kFloatType,
         nullptr,
         "type bytes does not fit parameter 0, which is f64: (f64, i64) -> "
         "(i32)"},
        {"float_as_length", "{name: data, index: 1, type: bytes, len_index: 0}",
         &kFloatType, nullptr, "len_index 0 is no length: (f64, i64) -> (i32)"},
        {"wrong_width", "{name: data, index: 1, type: u32}", &kFloatType,
         nullptr,
         "type u32 does not fit parameter 1, which is i64: (f64, i64) -> "
         "(i32)"},
        {"right_width", "{name: data, index: 1, type: s64}", &kFloatType,
         nullptr, ""},
        {"length_of_a_handle", "{name: data, max_bytes: 5}", &kSendType,
         &kHandleSpec, "max_bytes and len_index do not go with type handle"},
        {"no_such_directory",
         "{name: data, index: 1, type: path, len_index: 2, dir_index: 3}",
         &kSendType, nullptr,
         "dir_index is 3, and the function has 3 parameters, counted from 0: "
         "(i32, i32, i32) -> (i32)"},
    }),
    [](const auto& test) { return test.param.name; });

TEST(PolicyTest, EndsStoresOnlyIfSomethingSaysSo) {
  EXPECT_FALSE(
      Compile("imports: [{import: a.b, action: trap}]\n")->CanEndStore());
  for (const absl::string_view body :
       {"imports: [{import: a.b, action: kill_store}]\n",
        "imports: [{import: a.b, action: quarantine_module}]\n",
        "rate_limits: [{import: a.b, refill_per_second: 1, burst: 1, action: "
        "kill_store}]\n",
        "defaults: {unlisted_import: kill_store}\n",
        "defaults: {on_engine_error: kill_store}\n",
        "budgets: {on_exceed: kill_store}\n"}) {
    EXPECT_TRUE(Compile(body)->CanEndStore()) << body;
  }
}

}  // namespace
}  // namespace callgate::policy
