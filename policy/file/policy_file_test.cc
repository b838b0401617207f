#include "policy/file/policy_file.h"

#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "gmock/gmock.h"
#include "google/protobuf/descriptor.h"
#include "google/protobuf/duration.pb.h"
#include "gtest/gtest.h"
#include "policy/file/duration_text.h"
#include "policy/file/nearest_name.h"

namespace callgate::policy {
namespace {

using google::protobuf::FieldDescriptor;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

std::vector<std::string> Lines(const std::vector<Problem>& problems) {
  std::vector<std::string> lines;
  for (const Problem& p : problems) lines.push_back(p.ToString());
  return lines;
}

std::string ReadTestFile(absl::string_view name) {
  std::ifstream file(absl::StrCat("policy/file/testdata/", name));
  std::stringstream text;
  text << file.rdbuf();
  EXPECT_FALSE(text.str().empty()) << name;
  return text.str();
}

// --- What is refused, with its place -----------------------------------------

struct Row {
  std::string name;
  std::string text;
  // Each problem begins so; all of them, in order.
  std::vector<std::string> want;
};

class RefusedYamlTest : public testing::TestWithParam<Row> {};

TEST_P(RefusedYamlTest, SaysWhereAndWhy) {
  const LoadResult loaded = LoadPolicyYaml(GetParam().text, "p.yaml");
  EXPECT_FALSE(loaded.ok());
  std::vector<testing::Matcher<std::string>> want;
  for (const std::string& line : GetParam().want) {
    want.push_back(testing::StartsWith(line));
  }
  EXPECT_THAT(Lines(loaded.problems), testing::ElementsAreArray(want));
}

INSTANTIATE_TEST_SUITE_P(
    Fields, RefusedYamlTest,
    testing::ValuesIn<Row>({
        {"unknown_field",
         "budgets:\n  fuel_per_cal: 5\n",
         {"p.yaml:2:3: budgets: unknown field \"fuel_per_cal\"; did you mean "
          "fuel_per_call? Allowed here: fuel_per_call, fuel_per_store, "}},
        {"unknown_field_in_a_list",
         "imports:\n- {import: a.b, acton: deny}\n",
         {"p.yaml:2:17: imports[0]: unknown field \"acton\"; did you mean "
          "action? Allowed here: import, action, "}},
        {"unknown_field_without_likeness",
         "colour: red\n",
         {"p.yaml:1:1: unknown field \"colour\"; allowed here: api_version, "}},
        {"unknown_value",
         "imports:\n- {import: a.b, action: forbid}\n",
         {"p.yaml:2:25: imports[0].action: unknown value \"forbid\"; allowed "
          "here: allow, log, alert, throttle, deny, trap, kill_store, "
          "quarantine_module"}},
        {"nearly_a_value",
         "defaults: {mode: enforced}\n",
         {"p.yaml:1:18: defaults.mode: unknown value \"enforced\"; did you "
          "mean enforce? Allowed here: audit, enforce"}},
        {"the_schema_s_spelling",
         "defaults: {mode: MODE_AUDIT}\n",
         {"p.yaml:1:18: defaults.mode: unknown value \"MODE_AUDIT\""}},
        {"unspecified",
         "defaults: {mode: unspecified}\n",
         {"p.yaml:1:18: defaults.mode: unknown value \"unspecified\""}},
        {"number_with_unit",
         "budgets: {memory_bytes_total: 64MiB}\n",
         {"p.yaml:1:31: budgets.memory_bytes_total: expected a whole number in "
          "decimal digits, without sign, unit or quotes, found \"64MiB\""}},
        {"number_in_quotes",
         "budgets: {fuel_per_call: \"5\"}\n",
         {"p.yaml:1:26: budgets.fuel_per_call: expected a whole number in "
          "decimal digits, without sign, unit or quotes, found the text "
          "\"5\""}},
        {"negative_number",
         "budgets: {fuel_per_call: -5}\n",
         {"p.yaml:1:26: budgets.fuel_per_call: expected a whole number"}},
        {"leading_zero",
         "budgets: {fuel_per_call: 017}\n",
         {"p.yaml:1:26: budgets.fuel_per_call: \"017\" begins with a zero, "
          "which some take for octal; write it without"}},
        {"hexadecimal_number",
         "budgets: {fuel_per_call: 0x10}\n",
         {"p.yaml:1:26: budgets.fuel_per_call: expected a whole number"}},
        {"number_past_64_bits",
         "budgets: {fuel_per_call: 18446744073709551616}\n",
         {"p.yaml:1:26: budgets.fuel_per_call: \"18446744073709551616\" is too "
          "large; at most 18446744073709551615"}},
        {"number_past_32_bits",
         "imports: [{guest_errno: 4294967296}]\n",
         {"p.yaml:1:25: imports[0].guest_errno: \"4294967296\" is too large; "
          "at most 4294967295"}},
        {"not_a_fraction",
         "rate_limits: [{refill_per_second: nan}]\n",
         {"p.yaml:1:35: rate_limits[0].refill_per_second: expected a number, "
          "e.g. 20 or 0.5, found \"nan\""}},
        {"infinite_fraction",
         "rate_limits: [{refill_per_second: 1e999}]\n",
         {"p.yaml:1:35: rate_limits[0].refill_per_second: expected a number"}},
        {"not_a_bool",
         "rules: [{enabled: yes}]\n",
         {"p.yaml:1:19: rules[0].enabled: expected true or false, found "
          "\"yes\""}},
        {"duration_without_unit",
         "budgets: {wall_per_call: 5}\n",
         {"p.yaml:1:26: budgets.wall_per_call: \"5\" has no unit; write for "
          "example 5s"}},
        {"duration_in_days",
         "budgets: {wall_per_call: 1d}\n",
         {"p.yaml:1:26: budgets.wall_per_call: \"1d\" is not a duration; write "
          "a number and a unit (ns, us, ms, s, m, h), e.g. 30s, 0.5s, 10m"}},
        {"text_for_a_list",
         "include: wasi-preview1-base\n",
         {"p.yaml:1:10: include: expected a list, found "
          "\"wasi-preview1-base\""}},
        {"list_for_text",
         "kind: [Policy]\n",
         {"p.yaml:1:7: kind: expected text, found a list"}},
        {"text_for_a_map",
         "metadata: name\n",
         {"p.yaml:1:11: metadata: expected a map, found \"name\""}},
        {"map_for_text_in_labels",
         "metadata: {labels: {a: {b: c}}}\n",
         {"p.yaml:1:24: metadata.labels[\"a\"]: expected text, found a map"}},
        {"no_value",
         "kind:\nmetadata: ~\n",
         {"p.yaml:1:1: kind: has no value; give it one or remove the line",
          "p.yaml:2:1: metadata: has no value; give it one or remove the "
          "line"}},
        {"empty_text",
         "imports: [{when: \"\"}]\n",
         {"p.yaml:1:18: imports[0].when: is empty; give it a value or remove "
          "the line"}},
        {"two_patterns",
         "temporal:\n- count: {gte: 1}\n  sum: {gte: 2}\n",
         {"p.yaml:3:3: temporal[0].sum: cannot stand beside count; use two "
          "entries"}},
        {"root_is_a_list",
         "- a\n",
         {"p.yaml:1:1: expected a map, found a list"}},
        {"root_is_text",
         "hello\n",
         {"p.yaml:1:1: expected a map, found \"hel"}},
        {"every_problem_in_order",
         "knd: a\nbudgets: {x: 1}\ndefaults: {mode: x}\n",
         {"p.yaml:1:1: unknown field \"knd\"; did you mean kind?",
          "p.yaml:2:11: budgets: unknown field \"x\"",
          "p.yaml:3:18: defaults.mode: unknown value \"x\""}},
        {"guest_text_is_escaped",
         "kind: Policy\n\"a\\e[31m\": 1\n",
         {"p.yaml:2:1: unknown field \"a\\u{1b}[31m\"; allowed here: "}},
    }),
    [](const auto& test) { return test.param.name; });

INSTANTIATE_TEST_SUITE_P(
    Yaml, RefusedYamlTest,
    testing::ValuesIn<Row>({
        {"repeated_key",
         "kind: Policy\nmetadata: {}\nkind: Policy\n",
         {"p.yaml:3:1: key \"kind\" is repeated; it is on line 1 already"}},
        {"repeated_key_in_flow",
         "metadata: {name: a, name: b}\n",
         {"p.yaml:1:21: key \"name\" is repeated; it is on line 1 already"}},
        {"repeated_key_differently_written",
         "kind: Policy\n\"kind\": Policy\n",
         {"p.yaml:2:1: key \"kind\" is repeated"}},
        {"alias",
         "metadata: &m {name: a}\napplies_to: *m\n",
         {"p.yaml:1:11: anchors (&name) are not allowed; repeat the value",
          "p.yaml:2:13: aliases (*name) are not allowed; write the value "
          "out"}},
        {"anchor_on_a_key",
         "&k kind: Policy\n",
         {"p.yaml:1:1: anchors (&name) are not allowed"}},
        {"billion_laughs",
         "a: &a [x,x]\nb: &b [*a,*a]\nc: [*b,*b]\n",
         {"p.yaml:1:4: anchors", "p.yaml:2:4: anchors", "p.yaml:2:8: aliases"}},
        {"tag",
         "kind: !!str Policy\n",
         {"p.yaml:1:7: tags (!name) are not allowed; remove it"}},
        {"local_tag",
         "kind: !policy Policy\n",
         {"p.yaml:1:7: tags (!name) are not allowed"}},
        {"non_specific_tag",
         "kind: ! Policy\n",
         {"p.yaml:1:7: tags (!name) are not allowed"}},
        {"tag_on_a_map",
         "metadata: !!map {name: a}\n",
         {"p.yaml:1:11: tags (!name) are not allowed"}},
        {"merge_key",
         "metadata:\n  <<: {name: a}\n",
         {"p.yaml:2:3: merge keys (<<) are not allowed; use `include`"}},
        {"two_documents",
         "kind: Policy\n---\nkind: Policy\n",
         {"p.yaml:2:1: a second YAML document; a policy file has one"}},
        {"map_as_a_key",
         "? {a: b}\n: c\n",
         {"p.yaml:1:3: a map or list stands where a key must; keys are text"}},
        {"missing_key", ": a\n", {"p.yaml:1:1: a key is missing before"}},
        {"empty", "", {"p.yaml: the file is empty; it needs api_version"}},
        {"comments_only", "# nothing\n", {"p.yaml: the file is empty"}},
        {"syntax",
         "metadata: {name: a\n",
         {"p.yaml:2:1: not YAML: end of map"}},
        {"tab",
         "metadata:\n\tname: a\n",
         {"p.yaml:2:6: not YAML: illegal map value"}},
        {"not_utf8",
         "kind: Policy\nmetadata: {name: a\xff}\n",
         {"p.yaml:2:19: a byte that is not UTF-8; policy files are UTF-8"}},
        {"utf16",
         std::string("\xff\xfek\0i\0", 6),
         {"p.yaml:1:1: a byte that is not UTF-8"}},
        {"nul",
         std::string("kind: a\0b\n", 10),
         {"p.yaml:1:8: a control character, code 0; write it as an escape"}},
        {"escape_character",
         "kind: a\x1b[2J\n",
         {"p.yaml:1:8: a control character, code 27"}},
    }),
    [](const auto& test) { return test.param.name; });

// --- Bounds: at each, and one past it ----------------------------------------

std::string Padded(size_t bytes) {
  std::string text = "kind: Policy\n";
  while (text.size() + 1000 < bytes) {
    text += std::string(999, '#') + "\n";
  }
  return text + std::string(bytes - text.size() - 1, '#') + "\n";
}

TEST(LoaderBoundsTest, Bytes) {
  EXPECT_TRUE(LoadPolicyYaml(Padded(kPolicyFileBytesMax), "p").ok());
  EXPECT_THAT(
      Lines(LoadPolicyYaml(Padded(kPolicyFileBytesMax + 1), "p").problems),
      ElementsAre("p: the file has 1048577 bytes; a policy file has at "
                  "most 1048576"));
  const std::string text = "kind: \"Policy\"\n#";
  const std::string large =
      text + std::string(kPolicyFileBytesMax - text.size(), 'x');
  EXPECT_TRUE(LoadPolicyTextproto(large, "p").ok());
  EXPECT_THAT(Lines(LoadPolicyTextproto(large + "x", "p").problems),
              ElementsAre("p: the file has 1048577 bytes; a policy file has at "
                          "most 1048576"));
}

TEST(LoaderBoundsTest, BytesOfAMessage) {
  v1::PolicyFile message;
  message.set_kind(std::string(kPolicyFileBytesMax, 'x'));
  EXPECT_THAT(Lines(LoadPolicyMessage(message, "m").problems),
              ElementsAre(HasSubstr("a policy file has at most 1048576")));
}

TEST(LoaderBoundsTest, Depth) {
  // Lists in flow, as deep as can be: the map is one level.
  const auto nested = [](size_t depth) {
    return absl::StrCat("include:\n", std::string(2, ' '),
                        std::string(depth - 1, '['), "a",
                        std::string(depth - 1, ']'), "\n");
  };
  // Too deep for the schema but not for the loader.
  EXPECT_THAT(Lines(LoadPolicyYaml(nested(kPolicyFileDepthMax), "p").problems),
              ElementsAre(HasSubstr("expected text, found a list")));
  EXPECT_THAT(
      Lines(LoadPolicyYaml(nested(kPolicyFileDepthMax + 1), "p").problems),
      ElementsAre("p:2:34: nested deeper than 32 levels, the most that a "
                  "policy file has"));
  EXPECT_THAT(Lines(LoadPolicyYaml(nested(5000), "p").problems),
              ElementsAre(HasSubstr("nested deeper than 32 levels")));
}

TEST(LoaderBoundsTest, DepthOfBlocks) {
  std::string text;
  for (int i = 0; i < 200; ++i) {
    text += std::string(static_cast<size_t>(i), ' ') + "a:\n";
  }
  EXPECT_THAT(Lines(LoadPolicyYaml(text, "p").problems),
              ElementsAre("p:33:33: nested deeper than 32 levels, the most "
                          "that a policy file has"));
}

TEST(LoaderBoundsTest, Nodes) {
  // The map, the key, the list, and its items.
  const auto items = [](size_t count) {
    std::string text = "include:\n";
    for (size_t i = 0; i < count; ++i) text += "- a\n";
    return text;
  };
  EXPECT_TRUE(LoadPolicyYaml(items(kPolicyFileNodesMax - 3), "p").ok());
  EXPECT_THAT(
      Lines(LoadPolicyYaml(items(kPolicyFileNodesMax - 2), "p").problems),
      ElementsAre("p:99999:3: more than 100000 values; a policy file "
                  "has at most that many"));
}

TEST(LoaderBoundsTest, NodesOfTextproto) {
  std::string text;
  for (size_t i = 0; i < kPolicyFileNodesMax; ++i) text += "rules{}";
  EXPECT_THAT(Lines(LoadPolicyTextproto(text, "p").problems),
              ElementsAre(HasSubstr("more than 100000 values")));
}

TEST(LoaderBoundsTest, Lines) {
  const std::string head = "kind: ";
  const auto line = [&](size_t bytes) {
    return head + std::string(bytes - head.size(), 'x') + "\n";
  };
  EXPECT_TRUE(LoadPolicyYaml(line(kPolicyFileLineBytesMax), "p").ok());
  EXPECT_THAT(
      Lines(LoadPolicyYaml(line(kPolicyFileLineBytesMax + 1), "p").problems),
      ElementsAre("p:1:65537: a line of more than 65536 bytes; break it up"));
}

TEST(LoaderBoundsTest, Problems) {
  std::string text;
  for (int i = 0; i < 1000; ++i) absl::StrAppend(&text, "x", i, ": 1\n");
  EXPECT_EQ(LoadPolicyYaml(text, "p").problems.size(), kProblemsMax);
}

// --- What is accepted --------------------------------------------------------

TEST(LoadPolicyYamlTest, AByteOrderMarkIsNoContent) {
  const LoadResult loaded = LoadPolicyYaml("\xef\xbb\xbfkind: Policy\n", "p");
  ASSERT_TRUE(loaded.ok()) << absl::StrJoin(Lines(loaded.problems), "\n");
  EXPECT_EQ(loaded.file->proto.kind(), "Policy");
}

TEST(LoadPolicyYamlTest, TextIsTextWhateverItLooksLike) {
  const LoadResult loaded = LoadPolicyYaml(
      "metadata: {name: no, owner: 123, labels: {on: 1e3, a: \"~\"}}\n", "p");
  ASSERT_TRUE(loaded.ok()) << absl::StrJoin(Lines(loaded.problems), "\n");
  const v1::Metadata& metadata = loaded.file->proto.metadata();
  EXPECT_EQ(metadata.name(), "no");
  EXPECT_EQ(metadata.owner(), "123");
  EXPECT_EQ(metadata.labels().at("on"), "1e3");
  EXPECT_EQ(metadata.labels().at("a"), "~");
}

TEST(LoadPolicyYamlTest, AbsentIsNotZero) {
  const LoadResult loaded =
      LoadPolicyYaml("budgets: {fuel_per_call: 0}\napplies_to: {}\n", "p");
  ASSERT_TRUE(loaded.ok());
  EXPECT_TRUE(loaded.file->proto.budgets().has_fuel_per_call());
  EXPECT_FALSE(loaded.file->proto.budgets().has_fuel_per_store());
  EXPECT_TRUE(loaded.file->proto.has_applies_to());
  EXPECT_FALSE(loaded.file->proto.has_defaults());
}

TEST(LoadPolicyYamlTest, KnowsWhereEverythingStands) {
  const LoadResult loaded = LoadPolicyYaml(
      "kind: Policy\n"
      "imports:\n"
      "- import: a.b\n"
      "  action: deny\n"
      "- { import: c.d, action: allow }\n",
      "p");
  ASSERT_TRUE(loaded.ok());
  const auto at = [&](absl::string_view path) {
    const SourcePosition p = loaded.file->PositionOf(path);
    return absl::StrCat(p.line, ":", p.column);
  };
  EXPECT_EQ(at("imports"), "2:1");
  EXPECT_EQ(at("imports[0]"), "3:3");
  EXPECT_EQ(at("imports[0].action"), "4:3");
  EXPECT_EQ(at("imports[1].action"), "5:18");
  // The nearest place for what is not there.
  EXPECT_EQ(at("imports[1].guest_errno"), "5:3");
  EXPECT_EQ(at("imports[9].action"), "2:1");
  EXPECT_EQ(at("budgets.module"), "0:0");
}

TEST(LoadPolicyYamlTest, LoadsTheWholeFormat) {
  const LoadResult loaded =
      LoadPolicyYaml(ReadTestFile("whole_format.yaml"), "whole_format.yaml");
  ASSERT_TRUE(loaded.ok()) << absl::StrJoin(Lines(loaded.problems), "\n");
  const v1::PolicyFile& p = loaded.file->proto;
  EXPECT_EQ(p.defaults().mode(), v1::MODE_ENFORCE);
  EXPECT_EQ(p.defaults().suppression().period().seconds(), 60);
  EXPECT_EQ(p.budgets().cpu_per_call().nanos(), 500'000'000);
  EXPECT_EQ(p.budgets().host_call_price(1).per_byte(), 1.5);
  EXPECT_EQ(p.budgets().module().name_bytes(), 256u);
  EXPECT_EQ(p.lists(1).kind(), v1::LIST_KIND_CIDR);
  EXPECT_EQ(p.imports(2).args(1).type(), v1::ARGUMENT_TYPE_BYTES);
  EXPECT_TRUE(p.imports(2).args(1).redact());
  EXPECT_EQ(p.rules(0).event(), v1::RULE_EVENT_MEMORY_GROW);
  EXPECT_TRUE(p.rules(0).has_enabled());
  EXPECT_FALSE(p.rules(0).enabled());
  EXPECT_EQ(p.temporal(0).sequence().unless(0).when(), "result.errno == 0");
  EXPECT_EQ(p.temporal(1).require().formerly().as(), "lookup");
  EXPECT_EQ(p.temporal(3).scope(), v1::RULE_SCOPE_TENANT);
  EXPECT_EQ(p.anomaly(0).learning().state(), v1::LEARNING_STATE_AUTO);
  EXPECT_EQ(p.exceptions(0).values(0).v_size(), 2);
  EXPECT_EQ(p.tests(0).events(0).args().at("rights"), "2");
  EXPECT_EQ(p.tests(0).events(2).score().frame(), 3u);
  EXPECT_TRUE(p.tests(0).events(3).engine_error());
  EXPECT_EQ(p.tests(0).events(4).index(), 12u);
  EXPECT_EQ(p.tests(0).events(4).depth(), 3u);
  EXPECT_EQ(p.tests(0).events(4).memory_bytes(), 65536u);
  EXPECT_EQ(p.tests(0).events(4).fuel_used(), 1000u);
}

// --- The other encodings -----------------------------------------------------

TEST(LoadPolicyTextprotoTest, SaysTheSameAsYaml) {
  const LoadResult yaml = LoadPolicy(
      "api_version: callgate.policy/v1\nkind: Policy\n"
      "metadata: {name: a, labels: {x: y, b: c}}\n"
      "budgets: {wall_per_call: 1.5s, fuel_per_call: 7}\n"
      "imports: [{import: a.b, action: deny}]\n",
      "p.yaml");
  const LoadResult text = LoadPolicy(
      "imports { import: 'a.b' action: ACTION_DENY }\n"
      "kind: 'Policy' api_version: 'callgate.policy/v1'\n"
      "metadata { labels { key: 'b' value: 'c' } name: 'a'\n"
      "  labels { key: 'x' value: 'y' } }\n"
      "budgets { fuel_per_call: 7\n"
      "  wall_per_call { seconds: 1 nanos: 500000000 } }\n",
      "p.textproto");
  ASSERT_TRUE(yaml.ok()) << absl::StrJoin(Lines(yaml.problems), "\n");
  ASSERT_TRUE(text.ok()) << absl::StrJoin(Lines(text.problems), "\n");
  EXPECT_EQ(CanonicalBytes(yaml.file->proto), CanonicalBytes(text.file->proto));
  EXPECT_EQ(text.file->PositionOf("imports[0].action").line, 1);
  EXPECT_EQ(text.file->PositionOf("imports[0].action").column, 25);
  EXPECT_EQ(text.file->PositionOf("budgets.fuel_per_call").line, 5);
}

struct TextRow {
  std::string name;
  std::string text;
  std::string want;
};

class RefusedTextprotoTest : public testing::TestWithParam<TextRow> {};

TEST_P(RefusedTextprotoTest, SaysWhereAndWhy) {
  const LoadResult loaded = LoadPolicyTextproto(GetParam().text, "p.txtpb");
  EXPECT_FALSE(loaded.ok());
  EXPECT_THAT(Lines(loaded.problems),
              ElementsAre(testing::StartsWith(GetParam().want)));
}

INSTANTIATE_TEST_SUITE_P(
    Texts, RefusedTextprotoTest,
    testing::ValuesIn<TextRow>({
        {"unknown_field", "kind: 'Policy'\n  colour: 'red'",
         "p.txtpb:2:9: Message type \\\"callgate.v1.PolicyFile\\\" has no "
         "field named \\\"colour\\\"."},
        {"repeated_field", "kind: 'a'\nkind: 'b'", "p.txtpb:2:"},
        {"repeated_map_key",
         "metadata {\n labels { key: 'a' value: 'b' }\n"
         " labels { key: 'a' value: 'c' } }",
         "p.txtpb:3:2: metadata.labels: key \"a\" is repeated"},
        {"unknown_enum_number", "defaults { mode: 77 }",
         "p.txtpb:1:12: defaults.mode: unknown value number 77"},
        {"negative_duration", "budgets {\n wall_per_call { seconds: -1 } }",
         "p.txtpb:2:2: budgets.wall_per_call: is not a duration from 0 to "
         "10000 years"},
        {"infinite_number", "rate_limits { refill_per_second: inf }",
         "p.txtpb:1:15: rate_limits[0].refill_per_second: is not a finite "
         "number"},
        {"not_utf8", "kind: '\\xff'", "p.txtpb:1:"},
        {"nonsense", "}", "p.txtpb:1:1: "},
    }),
    [](const auto& test) { return test.param.name; });

TEST(LoadPolicyMessageTest, RefusesFieldsOfALaterVersion) {
  v1::PolicyFile message;
  // Field 1000 of imports[0].
  message.add_imports()
      ->GetReflection()
      ->MutableUnknownFields(message.mutable_imports(0))
      ->AddVarint(1000, 1);
  EXPECT_THAT(Lines(LoadPolicyMessage(message, "m").problems),
              ElementsAre("m: imports[0]: has fields that this version of "
                          "callgate does not know"));
}

TEST(LoadPolicyMessageTest, RefusesTextThatIsNotUtf8) {
  v1::PolicyFile message;
  message.mutable_metadata()->set_name("a\xff");
  (*message.mutable_metadata()->mutable_labels())["k"] = "\xff";
  EXPECT_THAT(Lines(LoadPolicyMessage(message, "m").problems),
              testing::UnorderedElementsAre(
                  "m: metadata.name: \"a\\u{fffd}\" is not UTF-8",
                  "m: metadata.labels: \"\\u{fffd}\" is not UTF-8"));
}

// --- The schema is what the loader can fill ----------------------------------

TEST(SchemaTest, UsesOnlyKindsThatTheLoaderFills) {
  std::vector<const google::protobuf::Descriptor*> pending = {
      v1::PolicyFile::descriptor()};
  std::vector<std::string> seen;
  while (!pending.empty()) {
    const auto* type = pending.back();
    pending.pop_back();
    if (std::count(seen.begin(), seen.end(), type->full_name()) > 0) continue;
    seen.push_back(type->full_name());
    for (int i = 0; i < type->field_count(); ++i) {
      const FieldDescriptor& f = *type->field(i);
      if (f.is_map()) {
        EXPECT_EQ(f.message_type()->map_key()->type(),
                  FieldDescriptor::TYPE_STRING)
            << f.full_name();
        EXPECT_EQ(f.message_type()->map_value()->type(),
                  FieldDescriptor::TYPE_STRING)
            << f.full_name();
        continue;
      }
      switch (f.type()) {
        case FieldDescriptor::TYPE_STRING:
          break;
        case FieldDescriptor::TYPE_BOOL:
        case FieldDescriptor::TYPE_UINT32:
        case FieldDescriptor::TYPE_UINT64:
        case FieldDescriptor::TYPE_DOUBLE:
          EXPECT_FALSE(f.is_repeated()) << f.full_name();
          break;
        case FieldDescriptor::TYPE_ENUM:
          EXPECT_FALSE(f.is_repeated()) << f.full_name();
          EXPECT_EQ(f.enum_type()->value(0)->number(), 0);
          EXPECT_THAT(f.enum_type()->value(0)->name(),
                      testing::EndsWith("_UNSPECIFIED"));
          break;
        case FieldDescriptor::TYPE_MESSAGE:
          if (f.message_type() != google::protobuf::Duration::descriptor()) {
            pending.push_back(f.message_type());
          } else {
            EXPECT_FALSE(f.is_repeated()) << f.full_name();
          }
          break;
        default:
          ADD_FAILURE() << f.full_name() << " is of a kind that YAML files "
                        << "cannot say: " << f.type_name();
      }
    }
  }
  EXPECT_GT(seen.size(), 20u);
}

// --- Words -------------------------------------------------------------------

TEST(ParseDurationTextTest, ReadsNumbersWithUnits) {
  const struct {
    absl::string_view text;
    int64_t seconds;
    int32_t nanos;
  } rows[] = {
      {"30s", 30, 0},         {"0.5s", 0, 500'000'000},
      {"10m", 600, 0},        {"24h", 86400, 0},
      {"1h30m", 5400, 0},     {"20ms", 0, 20'000'000},
      {"1.000000001s", 1, 1}, {"7ns", 0, 7},
      {"0s", 0, 0},           {"315576000000s", 315'576'000'000, 0},
  };
  for (const auto& row : rows) {
    const auto parsed = ParseDurationText(row.text);
    ASSERT_TRUE(parsed.ok()) << parsed.status();
    EXPECT_EQ(parsed->seconds, row.seconds) << row.text;
    EXPECT_EQ(parsed->nanos, row.nanos) << row.text;
  }
}

TEST(ParseDurationTextTest, RefusesTheRest) {
  for (const absl::string_view text :
       {"", "s", "5", "5.5", "-5s", "+5s", "inf", "-inf", "5 s", "5S", "5d",
        "1e3s", "0.5ns", "315576000001s", "99999999999999999999h", "5s5"}) {
    EXPECT_FALSE(ParseDurationText(text).ok()) << text;
  }
}

TEST(NearestNameTest, FindsTypingErrorsOnly) {
  const std::vector<std::string> names = {"fuel_per_call", "kind", "include"};
  EXPECT_EQ(NearestName("fuel_per_cal", names), "fuel_per_call");
  EXPECT_EQ(NearestName("knd", names), "kind");
  EXPECT_EQ(NearestName("includes", names), "include");
  EXPECT_EQ(NearestName("x", names), "");
  EXPECT_EQ(NearestName("", names), "");
  EXPECT_EQ(NearestName("wall_per_call", names), "fuel_per_call");
  EXPECT_EQ(NearestName(std::string(100000, 'k'), names), "");
}

}  // namespace
}  // namespace callgate::policy
