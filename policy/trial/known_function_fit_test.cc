#include "policy/trial/known_function_fit.h"

#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "policy/compiler/policy_compiler.h"
#include "policy/trial/fake_catalogue.h"

namespace callgate::policy::trial {
namespace {

// files.open(dir, path, path_len, flags) and files.exit(code) are known.
struct Row {
  const char* name;
  const char* policy;   // after the head
  const char* problem;  // part of the only one; null: none
  const char* warning;
};

class KnownFunctionFitTest : public testing::TestWithParam<Row> {};

TEST_P(KnownFunctionFitTest, SaysWhatNoModuleCanMend) {
  const LoadResult loaded = LoadPolicyYaml(
      absl::StrCat("api_version: callgate.policy/v1\nkind: Policy\n"
                   "metadata: {name: sample}\n",
                   GetParam().policy),
      "sample.yaml");
  ASSERT_TRUE(loaded.ok());
  const CompileResult compiled = CompilePolicy(
      *loaded.file,
      [](absl::string_view) -> const LoadedPolicyFile* { return nullptr; });
  ASSERT_TRUE(compiled.ok()) << compiled.problems[0].ToString();

  const LinkFindings found =
      FitToKnownFunctions(*compiled.policy, FakeCatalogue());
  const auto check = [](const std::vector<Problem>& problems,
                        const char* expected) {
    ASSERT_EQ(problems.size(), expected == nullptr ? 0u : 1u);
    if (expected == nullptr) return;
    EXPECT_THAT(problems[0].ToString(), testing::HasSubstr(expected));
    EXPECT_TRUE(absl::StartsWith(problems[0].ToString(), "sample.yaml:"));
  };
  check(found.problems, GetParam().problem);
  check(found.warnings, GetParam().warning);
}

INSTANTIATE_TEST_SUITE_P(
    , KnownFunctionFitTest,
    testing::Values(
        Row{"RightArgument",
            "rules: [{id: a, action: log, when: 'call.import == "
            "\"files.open\" && args.path == \"/x\"'}]",
            nullptr, nullptr},
        Row{"WrongArgument",
            "rules: [{id: a, action: log, when: 'call.import == "
            "\"files.open\" && args.paht == \"/x\"'}]",
            "for files.open(dir, path, path_len, flags): 1:", nullptr},
        Row{"OneOfTwoLacksIt",
            "rules: [{id: a, action: log, when: 'call.module == \"files\" && "
            "args.path == \"/x\"'}]",
            "for files.exit(code): 1:", nullptr},
        Row{"Guarded",
            "rules: [{id: a, action: log, when: 'call.module == \"files\" && "
            "has(args.path) && args.path == \"/x\"'}]",
            nullptr, nullptr},
        Row{"AboutEverything",
            "rules: [{id: a, action: log, when: 'args.path == \"/x\"'}]",
            nullptr, "a module that imports files.exit will be refused"},
        Row{"NobodyHasIt",
            "rules: [{id: a, action: log, when: 'args.paht == \"/x\"'}]",
            nullptr,
            "imports files.open or one of 1 other functions will be refused"},
        Row{"OfAFunctionThatIsNotKnown",
            "rules: [{id: a, action: log, when: 'call.import == "
            "\"net.send\" && args.anything == 1'}]",
            nullptr, nullptr},
        Row{"Entry",
            "imports: [{id: a, import: files.exit, action: allow, when: "
            "'args.status == 0'}]",
            "for files.exit(code): 1:", nullptr},
        Row{"Described",
            "imports: [{import: files.exit, action: allow, args: [{name: x, "
            "index: 7, type: u32}]}]",
            "argument \"x\" of files.exit", nullptr},
        Row{"RateLimit",
            "rate_limits: [{id: r, when: 'call.import == \"files.open\"', "
            "key: [args.paht], refill_per_second: 1, burst: 1, action: deny}]",
            "files.open", nullptr},
        Row{"StepOfATemporalRule",
            "temporal: [{id: t, action: alert, count: {when: 'call.import == "
            "\"files.open\" && args.paht == \"/x\"', within: 1s, gte: 3}}]",
            "files.open", nullptr}),
    [](const auto& row) { return std::string(row.param.name); });

}  // namespace
}  // namespace callgate::policy::trial
