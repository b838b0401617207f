#include "policy/compiler/policy_compiler.h"

#include <fstream>
#include <map>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "gmock/gmock.h"
#include "google/protobuf/descriptor.h"
#include "google/protobuf/message.h"
#include "gtest/gtest.h"
#include "policy/builtin/builtin_policies.h"
#include "proto/callgate/v1/policy.pb.h"

namespace callgate::policy {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr char kHead[] =
    "api_version: callgate.policy/v1\n"
    "kind: Policy\n"
    "metadata: {name: web}\n";

std::vector<std::string> Lines(const std::vector<Problem>& problems) {
  std::vector<std::string> lines;
  for (const Problem& p : problems) lines.push_back(p.ToString());
  return lines;
}

std::string ReadFile(const std::string& path) {
  std::ifstream file(path);
  std::stringstream text;
  text << file.rdbuf();
  EXPECT_FALSE(text.str().empty()) << path;
  return text.str();
}

CompileResult Compile(absl::string_view body) {
  return CompilePolicyText(absl::StrCat(kHead, body), "p.yaml");
}

std::shared_ptr<const Policy> CompileOrDie(absl::string_view body) {
  CompileResult result = Compile(body);
  EXPECT_TRUE(result.ok()) << absl::StrJoin(Lines(result.problems), "\n");
  return result.policy;
}

// --- What is refused ---------------------------------------------------------

struct Row {
  std::string name;
  // Begins on line 4.
  std::string body;
  std::vector<std::string> want;
};

class RefusedPolicyTest : public testing::TestWithParam<Row> {};

TEST_P(RefusedPolicyTest, SaysWhereAndWhy) {
  const CompileResult result = Compile(GetParam().body);
  EXPECT_FALSE(result.ok());
  EXPECT_THAT(Lines(result.problems),
              testing::ElementsAreArray(GetParam().want));
}

INSTANTIATE_TEST_SUITE_P(
    NoPatterns, RefusedPolicyTest,
    testing::ValuesIn<Row>({
        {"tenant_patterns",
         "applies_to: {tenants: [\"ac*\"]}\n",
         {"p.yaml:4:24: applies_to.tenants[0]: \"ac*\" is a pattern, and "
          "tenants are named one by one; write a name, or * alone for every "
          "tenant"}},
        {"wildcards",
         "imports: [{import: net.*, action: allow}]\n",
         {"p.yaml:4:12: imports[0].import: \"net.*\" has a wildcard, and "
          "power is given import by import: name each, or quote a name that "
          "really has a * in it; write module.name, or \"module\".\"name\" "
          "with both "
          "in double quotes"}},
    }),
    [](const auto& test) { return test.param.name; });

INSTANTIATE_TEST_SUITE_P(
    Values, RefusedPolicyTest,
    testing::ValuesIn<Row>({
        {"no_action",
         "imports: [{import: a.b}]\n",
         {"p.yaml:4:11: imports[0]: action is missing; allowed: allow, log, "
          "alert, throttle, deny, trap, kill_store, quarantine_module"}},
        {"no_import",
         "imports: [{action: deny}]\n",
         {"p.yaml:4:11: imports[0]: import is missing; name one as "
          "module.name"}},
        {"errno_of_an_allow",
         "imports: [{import: a.b, action: allow, guest_errno: 2}]\n",
         {"p.yaml:4:40: imports[0].guest_errno: goes with `action: deny` only; "
          "this one is allow"}},
        {"errno_of_a_trap",
         "imports: [{import: a.b, action: trap, guest_errno: 2}]\n",
         {"p.yaml:4:39: imports[0].guest_errno: goes with `action: deny` only; "
          "this one is trap"}},
        {"errno_of_success",
         "imports: [{import: a.b, action: deny, guest_errno: 0}]\n",
         {"p.yaml:4:39: imports[0].guest_errno: is 0; allowed: 1 to 65535 (0 "
          "would tell the guest that the call succeeded)"}},
        {"errno_too_large",
         "imports: [{import: a.b, action: deny, guest_errno: 65536}]\n",
         {"p.yaml:4:39: imports[0].guest_errno: is 65536; allowed: 1 to 65535 "
          "(0 would tell the guest that the call succeeded)"}},
        {"mode_of_an_allow",
         "imports: [{import: a.b, action: allow, mode: audit}]\n",
         {"p.yaml:4:40: imports[0].mode: means nothing with `action: allow`; "
          "set it on entries that restrict"}},
        {"bad_id",
         "imports: [{import: a.b, action: deny, id: 'a:b'}]\n",
         {"p.yaml:4:39: imports[0].id: \"a:b\" is not an id; write 1 to 63 "
          "letters, digits, '.', '_', '-' and '/', beginning with a letter or "
          "digit"}},
        {"repeated_id",
         "imports:\n- {import: a.b, action: deny, id: x}\n"
         "- {import: a.c, action: deny, id: x}\n",
         {"p.yaml:6:31: imports[1].id: \"x\" is used already by imports[0] "
          "(p.yaml:5); ids are unique in a policy and what it includes"}},
        {"id_of_two_kinds",
         "imports:\n- {import: a.b, action: deny, id: x}\n"
         "rate_limits:\n"
         "- {import: a.b, refill_per_second: 1, burst: 1, id: x}\n",
         {"p.yaml:7:49: rate_limits[0].id: \"x\" is used already by "
          "imports[0] (p.yaml:5); ids are unique in a policy and what it "
          "includes"}},
        {"unlisted_throttle",
         "defaults: {unlisted_import: throttle}\n",
         {"p.yaml:4:12: defaults.unlisted_import: cannot be throttle; allowed "
          "here: allow, log, alert, deny, trap, kill_store, "
          "quarantine_module"}},
        {"engine_error_allow",
         "defaults: {on_engine_error: allow}\n",
         {"p.yaml:4:12: defaults.on_engine_error: cannot be allow; allowed "
          "here: deny, trap, kill_store, quarantine_module"}},
        {"exceed_deny",
         "budgets: {on_exceed: deny}\n",
         {"p.yaml:4:11: budgets.on_exceed: cannot be deny; allowed here: trap, "
          "kill_store, quarantine_module"}},
        {"stack_bytes",
         "budgets: {stack_bytes: 1}\n",
         {"p.yaml:4:11: budgets.stack_bytes: is 1; allowed: 4096 to "
          "1073741824"}},
        {"cpu_zero",
         "budgets: {cpu_per_call: 0s}\n",
         {"p.yaml:4:11: budgets.cpu_per_call: must be longer than nothing and "
          "at most 100 years"}},
        {"price_twice",
         "budgets: {host_call_price: [{import: a.b, base: 1}, {import: "
         "a.b}]}\n",
         {"p.yaml:4:54: budgets.host_call_price[1].import: \"a.b\" has a price "
          "already; give each import one"}},
        {"price_of_others_twice",
         "budgets: {host_call_price: [{import: \"*\"}, {import: \"*\"}]}\n",
         {"p.yaml:4:45: budgets.host_call_price[1].import: \"*\" has a price "
          "already; give each import one"}},
        {"price_of_nothing",
         "budgets: {host_call_price: [{base: 1}]}\n",
         {"p.yaml:4:29: budgets.host_call_price[0]: import is missing; name "
          "one "
          "as module.name"}},
        {"price_below_nothing",
         "budgets: {host_call_price: [{import: a.b, per_byte: -1}]}\n",
         {"p.yaml:4:43: budgets.host_call_price[0].per_byte: is -1; allowed: 0 "
          "to 1000000"}},
        {"suppression_of_what",
         "defaults: {suppression: {burst: 1}}\n",
         {"p.yaml:4:12: defaults.suppression: period is missing; say for how "
          "long events are folded"}},
        {"suppression_by_arguments",
         "defaults: {suppression: {burst: 0, period: 10ms, group_by: [args.x, "
         "rule, rule]}}\n",
         {"p.yaml:4:26: defaults.suppression.burst: is 0; allowed: 1 to "
          "1000000",
          "p.yaml:4:36: defaults.suppression.period: must be 1s at least and "
          "24h at most",
          "p.yaml:4:61: defaults.suppression.group_by[0]: \"args.x\" does not "
          "group events; allowed: rule, verdict, severity, budget, tenant, "
          "store, module.digest, module.name, call.import, call.site",
          "p.yaml:4:75: defaults.suppression.group_by[2]: \"rule\" is there "
          "already"}},
        {"function_of_what",
         "rules: [{id: a, when: 'true', action: log, event: function}]\n",
         {"p.yaml:4:9: rules[0]: function is missing; name functions of the "
          "module, as in `function: \"parse_*\"`"}},
        {"function_without_its_event",
         "rules: [{id: a, when: 'true', action: log, function: f}]\n",
         {"p.yaml:4:44: rules[0].function: goes with `event: function` only"}},
        {"no_fact_of_a_growth",
         "rules: [{id: a, event: memory_grow, action: log, when: 'grow.size > "
         "1'}]\n",
         {"p.yaml:4:50: rules[0].when: 1:1: there is no fact \"grow.size\"; "
          "did "
          "you mean grow.from? Allowed here: call.caller, call.denied, "
          "call.depth, call.edge, call.import, call.module, call.name, "
          "call.seq, "
          "call.site, grow.allowed, grow.from, grow.index, grow.requested, "
          "grow.to, module.digest, module.name, now, result.errno, "
          "result.value, store.calls, store.fuel_used, store.id, "
          "store.memory_bytes, tenant\n  grow.size > 1\n  ^"}},
        {"a_call_s_fact_in_a_growth",
         "rules: [{id: a, event: table_grow, action: log, when: 'call.seq > "
         "1'}]\n",
         {"p.yaml:4:49: rules[0].when: 1:1: there is no call.seq; correct the "
          "name, or guard it: has(call.seq) && …\n  call.seq > 1\n  ^"}},
        {"a_growth_s_fact_in_a_call",
         "rules: [{id: a, action: log, when: 'grow.to > 1'}]\n",
         {"p.yaml:4:30: rules[0].when: 1:1: there is no fact \"grow.to\"; "
          "allowed here: call.caller, call.denied, call.depth, call.edge, "
          "call.import, "
          "call.module, call.name, call.seq, call.site, module.digest, "
          "module.name, now, result.errno, result.value, store.calls, "
          "store.fuel_used, store.id, store.memory_bytes, tenant\n  grow.to > "
          "1\n  ^"}},
        {"no_fuel",
         "budgets: {fuel_per_call: 0}\n",
         {"p.yaml:4:11: budgets.fuel_per_call: is 0; allowed: 1 to "
          "18446744073709551615"}},
        {"no_depth",
         "budgets: {call_depth: 4294967296}\n",
         {"p.yaml:4:11: budgets.call_depth: is 4294967296; allowed: 1 to "
          "4294967295"}},
        {"no_time",
         "budgets: {wall_per_call: 0s}\n",
         {"p.yaml:4:11: budgets.wall_per_call: must be longer than nothing and "
          "at most 100 years"}},
        {"all_time",
         "budgets: {wall_per_call: 900000h}\n",
         {"p.yaml:4:11: budgets.wall_per_call: must be longer than nothing and "
          "at most 100 years"}},
        {"rate_limit_incomplete",
         "rate_limits: [{import: a.b}]\n",
         {"p.yaml:4:15: rate_limits[0]: refill_per_second is missing; say how "
          "many calls a second may go on for ever",
          "p.yaml:4:15: rate_limits[0]: burst is missing; say how many calls "
          "may come at once"}},
        {"rate_limit_without_import",
         "rate_limits: [{refill_per_second: 1, burst: 1}]\n",
         {"p.yaml:4:15: rate_limits[0]: import and when are missing; say which "
          "calls are counted"}},
        {"rate_limit_values",
         "rate_limits: [{import: a.b, refill_per_second: -1, burst: 0}]\n",
         {"p.yaml:4:29: rate_limits[0].refill_per_second: is -1; allowed: 0 to "
          "1000000000",
          "p.yaml:4:52: rate_limits[0].burst: is 0; allowed: 1 to 1000000000 "
          "(to refuse every call, list the import with an action)"}},
        {"rate_limit_allow",
         "rate_limits: [{import: a.b, refill_per_second: 1, burst: 1, action: "
         "allow}]\n",
         {"p.yaml:4:61: rate_limits[0].action: cannot be allow; allowed here: "
          "log, alert, throttle, deny, trap, kill_store, "
          "quarantine_module"}},
        {"arg_without_name",
         "imports: [{import: a.b, action: allow, args: [{index: 0}]}]\n",
         {"p.yaml:4:47: imports[0].args[0]: name is missing; an argument has a "
          "name"}},
        {"arg_twice",
         "imports: [{import: a.b, action: allow, args: [{name: x, index: 0, "
         "type: u32}, {name: x, index: 1, type: u32}]}]\n",
         {"p.yaml:4:79: imports[0].args[1]: argument \"x\" of this import is "
          "described already; describe each once"}},
        {"arg_without_length",
         "imports: [{import: a.b, action: allow, args: [{name: x, index: 0, "
         "type: bytes}]}]\n",
         {"p.yaml:4:47: imports[0].args[0]: len_index is missing; an argument "
          "of type bytes has its length in another parameter"}},
        {"arg_without_index",
         "imports: [{import: a.b, action: allow, args: [{name: x, type: "
         "u32}]}]\n",
         {"p.yaml:4:47: imports[0].args[0]: index is missing; say which "
          "parameter it is, from 0"}},
        {"arg_with_superfluous_fields",
         "imports:\n- import: a.b\n  action: allow\n  args:\n"
         "  - {name: x, index: 0, type: u32, len_index: 1, max_bytes: 1, "
         "dir_index: 2}\n",
         {"p.yaml:8:36: imports[0].args[0].len_index: does not go with type "
          "u32",
          "p.yaml:8:50: imports[0].args[0].max_bytes: does not go with type "
          "u32",
          "p.yaml:8:64: imports[0].args[0].dir_index: does not go with type "
          "u32"}},
        {"arg_too_long",
         "imports: [{import: a.b, action: allow, args: [{name: x, index: 0, "
         "type: bytes, len_index: 1, max_bytes: 67108865}]}]\n",
         {"p.yaml:4:94: imports[0].args[0].max_bytes: is 67108865; at most "
          "67108864"}},
        {"unknown_include",
         "include: [no-such]\n",
         {"p.yaml:4:11: include[0]: there is no policy \"no-such\"; include "
          "one of the catalogue by its metadata.name, or one that ships with "
          "callgate: wasi-preview1-base"}},
        {"include_of_itself",
         "include: [web]\n",
         {"p.yaml:4:11: include[0]: includes form a circle: web → web"}},
    }),
    [](const auto& test) { return test.param.name; });

struct HeadRow {
  std::string name;
  std::string text;
  std::vector<std::string> want;
};

class RefusedHeadTest : public testing::TestWithParam<HeadRow> {};

TEST_P(RefusedHeadTest, SaysWhereAndWhy) {
  const CompileResult result = CompilePolicyText(GetParam().text, "p.yaml");
  EXPECT_FALSE(result.ok());
  EXPECT_THAT(Lines(result.problems),
              testing::ElementsAreArray(GetParam().want));
}

INSTANTIATE_TEST_SUITE_P(
    Heads, RefusedHeadTest,
    testing::ValuesIn<HeadRow>({
        {"nothing",
         "{}\n",
         {"p.yaml: api_version is missing; write `api_version: "
          "callgate.policy/v1`",
          "p.yaml: kind is missing; write `kind: Policy`",
          "p.yaml: metadata.name is missing; a policy has a name"}},
        {"other_version",
         "api_version: callgate.policy/v2\nkind: Policy\nmetadata: {name: "
         "a}\n",
         {"p.yaml:1:1: api_version: expected callgate.policy/v1, found "
          "\"callgate.policy/v2\""}},
        {"other_kind",
         "api_version: callgate.policy/v1\nkind: Rule\nmetadata: {name: a}\n",
         {"p.yaml:2:1: kind: expected Policy, found \"Rule\""}},
        {"no_name",
         "api_version: callgate.policy/v1\nkind: Policy\nmetadata: {owner: "
         "a}\n",
         {"p.yaml:3:1: metadata: metadata.name is missing; a policy has a "
          "name"}},
        {"bad_name",
         "api_version: callgate.policy/v1\nkind: Policy\nmetadata: {name: "
         "a/b}\n",
         {"p.yaml:3:12: metadata.name: \"a/b\" is not a name; write 1 to 63 "
          "letters, digits, '.', '_' and '-', beginning with a letter or "
          "digit"}},
        {"shipped_name",
         "api_version: callgate.policy/v1\nkind: Policy\nmetadata: {name: "
         "wasi-preview1-base}\n",
         {"p.yaml:3:12: metadata.name: \"wasi-preview1-base\" is a policy that "
          "ships with callgate; choose another name"}},
    }),
    [](const auto& test) { return test.param.name; });

// --- What an author should know
// ------------------------------------------------

TEST(CompilePolicyTest, WarnsOfImportsThatAreNeverWrittenSo) {
  const auto warnings = [](const std::string& when) {
    return Lines(Compile(absl::StrCat("rules: [{id: r, action: log, when: '",
                                      when, "'}]\n"))
                     .warnings);
  };
  EXPECT_THAT(warnings("call.import == \"net.send\""), IsEmpty());
  EXPECT_THAT(warnings("call.import == \"a.b.c\""), IsEmpty());
  EXPECT_THAT(
      warnings("call.import in [\"net.send\", \"\\\"a.b\\\".\\\"c\\\"\"]"),
      IsEmpty());
  EXPECT_THAT(warnings("call.import in [\"net.send\", \"net_send\"]"),
              ElementsAre(HasSubstr("rules[0].when: call.import is never "
                                    "\"net_send\"; it is a module's name")));
  EXPECT_THAT(warnings("\"\\\"net\\\".\\\"send\\\"\" == call.import"),
              ElementsAre(HasSubstr("; that import is \"net.send\"")));
  // What is compared with something else is nobody's business.
  EXPECT_THAT(warnings("call.name == \"net_send\""), IsEmpty());
}

// What depends on an import's arguments is found when a module brings one.
TEST(CompilePolicyTest, RefusesValuesOfTheWrongTypeAtOnce) {
  const auto problems = [](const std::string& body) {
    return Lines(Compile(body).problems);
  };
  EXPECT_THAT(
      problems("temporal: [{id: a, action: log, sum: {when: 'true', value: "
               "call.import, gte: 3, within: 1s}}]\n"),
      ElementsAre(HasSubstr("temporal[0].sum.value: what is added up is int or "
                            "uint, and this is of type string")));
  EXPECT_THAT(
      problems("temporal: [{id: a, action: log, distinct: {when: 'true', "
               "value: '[1]', gte: 3, within: 1s}}]\n"),
      ElementsAre(HasSubstr("what is compared is no list, and this is of type "
                            "list")));
  EXPECT_THAT(
      problems("rate_limits: [{id: a, when: 'true', refill_per_second: 1, "
               "burst: 1, cost: tenant}]\n"),
      ElementsAre(HasSubstr("a cost is a number, and this is of type string")));
  EXPECT_THAT(
      problems("temporal: [{id: a, action: log, sum: {when: 'has(args.x)', "
               "value: args.x, gte: 3, within: 1s}}]\n"),
      IsEmpty());
}

TEST(CompilePolicyTest, WarnsOfAnEdgeThatIsAlwaysTheSame) {
  EXPECT_THAT(
      Lines(Compile("rules: [{id: r, action: log, when: 'call.edge == "
                    "\"returning\"'}]\n")
                .warnings),
      ElementsAre(HasSubstr("rules[0].when: call.edge is always \"calling\" "
                            "here")));
  EXPECT_THAT(Compile("rules: [{id: r, action: log, when: 'call.edge == "
                      "\"returning\" && result.errno == 0'}]\n")
                  .warnings,
              IsEmpty());
}

// --- The whole format --------------------------------------------------------

using google::protobuf::FieldDescriptor;

bool HasFieldsOfOurs(const FieldDescriptor* field) {
  return field->cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE &&
         !field->is_map() &&
         field->message_type()->file() == v1::PolicyFile::descriptor()->file();
}

// "rules.action", and of words "Action.ACTION_DENY".
void AddAll(const google::protobuf::Descriptor* message,
            const std::string& path, std::set<std::string>* all) {
  for (int i = 0; i < message->field_count(); ++i) {
    const FieldDescriptor* field = message->field(i);
    const std::string at = absl::StrCat(path, field->name());
    all->insert(at);
    if (HasFieldsOfOurs(field)) {
      AddAll(field->message_type(), absl::StrCat(at, "."), all);
    }
    const google::protobuf::EnumDescriptor* const words = field->enum_type();
    // Number 0 is what is not written.
    for (int w = 1; words != nullptr && w < words->value_count(); ++w) {
      all->insert(absl::StrCat(words->name(), ".", words->value(w)->name()));
    }
  }
}

void AddUsed(const google::protobuf::Message& message, const std::string& path,
             std::set<std::string>* used) {
  const google::protobuf::Reflection& reflection = *message.GetReflection();
  std::vector<const FieldDescriptor*> fields;
  reflection.ListFields(message, &fields);
  for (const FieldDescriptor* field : fields) {
    const std::string at = absl::StrCat(path, field->name());
    used->insert(at);
    if (field->enum_type() != nullptr) {
      ASSERT_FALSE(field->is_repeated()) << at;
      used->insert(absl::StrCat(field->enum_type()->name(), ".",
                                reflection.GetEnum(message, field)->name()));
    }
    if (!HasFieldsOfOurs(field)) continue;
    const std::string below = absl::StrCat(at, ".");
    if (!field->is_repeated()) {
      AddUsed(reflection.GetMessage(message, field), below, used);
      continue;
    }
    for (int i = 0; i < reflection.FieldSize(message, field); ++i) {
      AddUsed(reflection.GetRepeatedMessage(message, field, i), below, used);
    }
  }
}

// Everything that a file can say is understood: a field or word that is added
// to the schema has to be added to the file, and compile.
TEST(CompilePolicyTest, UnderstandsTheWholeFormat) {
  const LoadResult loaded = LoadPolicyYaml(
      ReadFile("policy/file/testdata/whole_format.yaml"), "whole_format.yaml");
  ASSERT_TRUE(loaded.ok()) << absl::StrJoin(Lines(loaded.problems), "\n");
  std::set<std::string> missing;
  AddAll(v1::PolicyFile::descriptor(), "", &missing);
  EXPECT_GT(missing.size(), 300u);
  std::set<std::string> used;
  AddUsed(loaded.file->proto, "", &used);
  for (const std::string& name : used) missing.erase(name);
  EXPECT_THAT(missing, IsEmpty());
  const CompileResult result = CompilePolicy(*loaded.file);
  EXPECT_THAT(Lines(result.problems), IsEmpty());
}

// --- Includes ----------------------------------------------------------------

class Catalogue {
 public:
  void Add(const std::string& name, absl::string_view body) {
    LoadResult loaded = LoadPolicyYaml(
        absl::StrCat("api_version: callgate.policy/v1\nkind: Policy\n"
                     "metadata: {name: ",
                     name, "}\n", body),
        name + ".yaml");
    ASSERT_TRUE(loaded.ok()) << absl::StrJoin(Lines(loaded.problems), "\n");
    files_[name] = *std::move(loaded.file);
  }
  CompileResult Compile(const std::string& name) const {
    return CompilePolicy(files_.at(name), Resolver());
  }

 private:
  IncludeResolver Resolver() const {
    return [this](absl::string_view name) -> const LoadedPolicyFile* {
      const auto found = files_.find(std::string(name));
      return found == files_.end() ? nullptr : &found->second;
    };
  }
  std::map<std::string, LoadedPolicyFile> files_;
};

TEST(IncludeTest, BringsImportsBudgetsAndRateLimits) {
  Catalogue catalogue;
  catalogue.Add("base",
                "defaults: {mode: audit, unlisted_import: allow}\n"
                "applies_to: {tenants: [other]}\n"
                "budgets: {fuel_per_call: 10, call_depth: 5, "
                "module: {bytes: 7, imports: 9}, on_exceed: kill_store}\n"
                "imports: [{import: a.b, action: allow}]\n"
                "rate_limits: [{import: a.b, refill_per_second: 1, burst: "
                "1}]\n");
  catalogue.Add("top",
                "include: [base]\n"
                "budgets: {fuel_per_call: 20, module: {bytes: 6}}\n"
                "imports: [{import: a.b, action: deny}]\n");
  const CompileResult result = catalogue.Compile("top");
  ASSERT_TRUE(result.ok()) << absl::StrJoin(Lines(result.problems), "\n");
  const Policy& policy = *result.policy;
  EXPECT_EQ(policy.mode(), Mode::kEnforce);
  EXPECT_EQ(policy.unlisted_import().verdict, Verdict::kDeny);
  EXPECT_TRUE(policy.applies_to().on_offer_only);
  EXPECT_EQ(policy.budgets()[Budget::kFuelPerCall], 10u);
  EXPECT_EQ(policy.budgets()[Budget::kCallDepth], 5u);
  EXPECT_EQ(policy.budgets().on_exceed, Verdict::kKillStore);
  ASSERT_EQ(policy.budgets().module.size(), 2u);
  EXPECT_EQ(policy.budgets().module[0].name, "bytes");
  EXPECT_EQ(policy.budgets().module[0].max, 6u);
  EXPECT_EQ(policy.budgets().module[1].max, 9u);
  const ImportPolicy* import = policy.FindImport("a", "b");
  ASSERT_NE(import, nullptr);
  EXPECT_TRUE(import->allowed);
  EXPECT_EQ(import->restrictions.size(), 1u);
  ASSERT_EQ(policy.rate_limits().size(), 1u);
  EXPECT_EQ(policy.rate_limits()[0].rule.file, "base.yaml");
}

TEST(IncludeTest, TakesEachPolicyOnce) {
  Catalogue catalogue;
  catalogue.Add("base", "imports: [{import: a.b, action: log, id: x}]\n");
  catalogue.Add("left", "include: [base]\n");
  catalogue.Add("right", "include: [base, left]\n");
  catalogue.Add("top", "include: [left, right, base]\n");
  const CompileResult result = catalogue.Compile("top");
  ASSERT_TRUE(result.ok()) << absl::StrJoin(Lines(result.problems), "\n");
  EXPECT_EQ(result.policy->rules().size(), 1u);
}

TEST(IncludeTest, RefusesCircles) {
  Catalogue catalogue;
  catalogue.Add("a", "include: [b]\n");
  catalogue.Add("b", "include: [c]\n");
  catalogue.Add("c", "include: [b]\n");
  EXPECT_THAT(Lines(catalogue.Compile("a").problems),
              ElementsAre("c.yaml:4:11: include[0]: includes form a circle: b "
                          "→ c → b"));
}

TEST(IncludeTest, ReportsProblemsOfIncludedFiles) {
  Catalogue catalogue;
  catalogue.Add("base", "anomaly: [{id: x, ngram: 9}]\n");
  catalogue.Add("top", "include: [base]\nanomaly: [{id: y, ngram: 1}]\n");
  EXPECT_THAT(
      Lines(catalogue.Compile("top").problems),
      ElementsAre("top.yaml:5:19: anomaly[0].ngram: is 1; allowed: 2 to 8",
                  "base.yaml:4:19: anomaly[0].ngram: is 9; allowed: 2 to 8"));
}

TEST(IncludeTest, IsBounded) {
  Catalogue at_limit, over;
  std::string names;
  for (size_t i = 0; i <= kIncludesMax; ++i) {
    const std::string name = absl::StrCat("p", i);
    at_limit.Add(name, "");
    over.Add(name, "");
    if (i == kIncludesMax) {
      at_limit.Add("top", absl::StrCat("include: [", names, "]\n"));
    }
    absl::StrAppend(&names, i == 0 ? "" : ", ", name);
  }
  over.Add("top", absl::StrCat("include: [", names, "]\n"));
  EXPECT_TRUE(at_limit.Compile("top").ok());
  EXPECT_THAT(Lines(over.Compile("top").problems),
              ElementsAre(HasSubstr("include[64]: more than 64 policies")));
}

TEST(IncludeTest, IdsAreUniqueOverAllFiles) {
  Catalogue catalogue;
  catalogue.Add("base", "imports: [{import: a.b, action: deny, id: x}]\n");
  catalogue.Add("top",
                "include: [base]\nimports: [{import: a.c, action: deny, id: "
                "x}]\n");
  EXPECT_THAT(Lines(catalogue.Compile("top").problems),
              ElementsAre("base.yaml:4:39: imports[0].id: \"x\" is used "
                          "already by imports[0] (top.yaml:5); ids are unique "
                          "in a policy and what it includes"));
}

// --- Versions ----------------------------------------------------------------

TEST(VersionTest, IsTheSameForTheSamePolicy) {
  const auto a = CompileOrDie(
      "budgets: {wall_per_call: 1.5s}\nimports: [{import: a.b, action: "
      "deny}]\n");
  const auto b = CompileOrDie(
      "# a comment\nimports:\n  - action: \"deny\"\n    import: a.b\n"
      "budgets:\n  wall_per_call: 1500ms\n");
  EXPECT_EQ(a->version(), b->version());
  EXPECT_THAT(a->version(), testing::MatchesRegex("[0-9a-f]{64}"));
  EXPECT_EQ(a->short_version(), a->version().substr(0, 12));
}

TEST(VersionTest, IsKnown) {
  // Fixed, so that versions do not change between releases by accident.
  EXPECT_EQ(CompileOrDie("")->version(),
            "fd70c3238eec9e5b1f977c49767c6d04d092c089c6412a17422da566cdbb6803");
}

TEST(VersionTest, ChangesWithContentAndIncludedContent) {
  Catalogue one, two;
  one.Add("base", "imports: [{import: a.b, action: allow}]\n");
  two.Add("base", "imports: [{import: a.b, action: deny}]\n");
  one.Add("top", "include: [base]\n");
  two.Add("top", "include: [base]\n");
  EXPECT_NE(one.Compile("top").policy->version(),
            two.Compile("top").policy->version());
  EXPECT_EQ(one.Compile("top").policy->version(),
            one.Compile("top").policy->version());
  EXPECT_NE(CompileOrDie("")->version(),
            CompileOrDie("defaults: {mode: audit}\n")->version());
}

// --- What a policy says ------------------------------------------------------

TEST(CompilePolicyTest, GivesRulesTheirDefaults) {
  const auto policy = CompileOrDie(
      "imports:\n"
      "- {import: a.b, action: deny}\n"
      "- {import: a.b, action: trap}\n"
      "- {import: a.b, action: log, id: mine, severity: critical, mode: audit, "
      "tags: [T1], message: why}\n"
      "- {import: '\"x.y\".\"z\"', action: kill_store}\n"
      "rate_limits:\n"
      "- {import: a.b, refill_per_second: 0.5, burst: 3}\n"
      "- {import: a.b, refill_per_second: 0, burst: 1, key: [store], action: "
      "trap}\n");
  ASSERT_EQ(policy->rules().size(), 4u);
  const Rule& deny = policy->rules()[0];
  EXPECT_EQ(deny.id, "import:a.b");
  EXPECT_EQ(deny.guest_errno, kErrnoNotCapable);
  EXPECT_EQ(deny.severity, Severity::kWarning);
  EXPECT_EQ(deny.mode, Mode::kEnforce);
  EXPECT_EQ(deny.position.line, 5);
  EXPECT_EQ(policy->rules()[1].id, "import:a.b#2");
  EXPECT_EQ(policy->rules()[1].severity, Severity::kError);
  const Rule& mine = policy->rules()[2];
  EXPECT_EQ(mine.id, "mine");
  EXPECT_EQ(mine.severity, Severity::kCritical);
  EXPECT_EQ(mine.mode, Mode::kAudit);
  EXPECT_THAT(mine.tags, ElementsAre("T1"));
  EXPECT_EQ(mine.message, "why");
  EXPECT_EQ(policy->rules()[3].id, "import:\"x.y\".\"z\"");
  EXPECT_EQ(policy->rules()[3].severity, Severity::kCritical);
  EXPECT_NE(policy->FindImport("x.y", "z"), nullptr);
  EXPECT_EQ(policy->FindImport("x", "y.z"), nullptr);

  ASSERT_EQ(policy->rate_limits().size(), 2u);
  EXPECT_EQ(policy->rate_limits()[0].rule.id, "rate:a.b");
  EXPECT_EQ(policy->rate_limits()[0].rule.verdict, Verdict::kDeny);
  EXPECT_EQ(policy->rate_limits()[0].rule.guest_errno, kErrnoAgain);
  EXPECT_EQ(policy->rate_limits()[0].rule.severity, Severity::kWarning);
  EXPECT_EQ(policy->rate_limits()[0].state.bucket.refill_per_second, 0.5);
  EXPECT_EQ(policy->rate_limits()[0].state.bucket.burst, 3);
  EXPECT_EQ(policy->rate_limits()[1].rule.id, "rate:a.b#2");
  EXPECT_TRUE(policy->CanEndStore());
}

TEST(CompilePolicyTest, EscapesMessages) {
  const auto policy = CompileOrDie(
      "imports: [{import: a.b, action: trap, message: \"a\\nb\\e[2J\"}]\n");
  EXPECT_EQ(policy->rules()[0].message, "a\\nb\\u{1b}[2J");
}

TEST(CompilePolicyTest, WarnsOfWhatItsAuthorMayNotMean) {
  const struct {
    absl::string_view body;
    absl::string_view want;
  } rows[] = {
      {"imports: [{import: a.b, action: log}]\n",
       "p.yaml:4:11: imports[0]: a.b is listed and no entry allows it, so it "
       "is denied; add an entry with `action: allow` beside this one"},
      {"rate_limits: [{import: a.b, refill_per_second: 1, burst: 1}]\n",
       "p.yaml:4:15: rate_limits[0]: a.b is not listed under imports, so its "
       "calls are refused anyway; list it with `action: allow`"},
      {"imports: [{import: a.b, action: allow, severity: error}]\n",
       "p.yaml:4:40: imports[0].severity: has no effect: an entry that allows "
       "and has no args is never reported"},
      {"imports: [{import: a.b, action: allow, tags: [x]}]\n",
       "p.yaml:4:40: imports[0].tags: has no effect: an entry that allows and "
       "has no args is never reported"},
  };
  for (const auto& row : rows) {
    const CompileResult result = Compile(row.body);
    EXPECT_TRUE(result.ok()) << row.body;
    EXPECT_THAT(Lines(result.warnings), ElementsAre(std::string(row.want)));
  }
  EXPECT_THAT(Compile("defaults: {unlisted_import: allow}\n"
                      "rate_limits: [{import: a.b, refill_per_second: 1, "
                      "burst: 1}]\n")
                  .warnings,
              IsEmpty());
}

// --- What ships --------------------------------------------------------------

TEST(BuiltinPoliciesTest, AllCompile) {
  for (const BuiltinPolicy& builtin : BuiltinPolicies()) {
    const LoadedPolicyFile* file = FindBuiltinPolicy(builtin.name);
    ASSERT_NE(file, nullptr) << builtin.name;
    const CompileResult result = CompilePolicy(*file);
    EXPECT_TRUE(result.ok()) << absl::StrJoin(Lines(result.problems), "\n");
    EXPECT_THAT(result.warnings, IsEmpty());
  }
  EXPECT_EQ(FindBuiltinPolicy("no-such"), nullptr);
}

TEST(BuiltinPoliciesTest, WasiBaseHasNoSocketsAndNoSignals) {
  const auto policy = CompileOrDie("include: [wasi-preview1-base]\n");
  const auto allows = [&](absl::string_view name) {
    const ImportPolicy* import =
        policy->FindImport("wasi_snapshot_preview1", name);
    return import != nullptr && import->allowed && import->restrictions.empty();
  };
  for (const absl::string_view name :
       {"args_get", "environ_get", "clock_time_get", "random_get", "fd_read",
        "fd_write", "fd_prestat_get", "path_open", "poll_oneoff",
        "proc_exit"}) {
    EXPECT_TRUE(allows(name)) << name;
  }
  for (const absl::string_view name : {"sock_accept", "sock_recv", "sock_send",
                                       "sock_shutdown", "proc_raise", "x"}) {
    EXPECT_FALSE(allows(name)) << name;
  }
}

class ExampleTest : public testing::TestWithParam<std::string> {};

TEST_P(ExampleTest, CompilesWithoutWarnings) {
  const std::string path =
      absl::StrCat("deploy/policies/", GetParam(), ".yaml");
  const CompileResult result = CompilePolicyText(ReadFile(path), path);
  EXPECT_TRUE(result.ok()) << absl::StrJoin(Lines(result.problems), "\n");
  EXPECT_THAT(Lines(result.warnings), IsEmpty());
  ASSERT_TRUE(result.ok());
  EXPECT_EQ(result.policy->name(), GetParam());
}

INSTANTIATE_TEST_SUITE_P(Files, ExampleTest,
                         testing::Values("wasi-command", "connector",
                                         "audit-trial", "confined-paths"),
                         [](const auto& test) {
                           std::string name = test.param;
                           for (char& c : name) {
                             if (c == '-') c = '_';
                           }
                           return name;
                         });

}  // namespace
}  // namespace callgate::policy
