// Real libraries: calls with typed values and buffers through memory, in the
// order that the manifest gives.

#include <cstring>
#include <map>
#include <string>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "google/protobuf/util/json_util.h"
#include "tests/e2e/corpus/corpus.h"
#include "tests/e2e/with_daemon.h"

namespace callgate::e2e {
namespace {

using google::protobuf::Value;
using ::testing::HasSubstr;

// Any import may be called, and is recorded, so that the order of host calls
// can be read back from the events.
constexpr char kPolicy[] = R"yaml(
api_version: callgate.policy/v1
kind: Policy
metadata: { name: libraries }
defaults: { unlisted_import: log }
)yaml";

class ExportsTest : public WithDaemon,
                    public testing::WithParamInterface<CorpusItem> {
 protected:
  // "$p" is what was saved as p.
  std::string Filled(const std::string& text) const {
    if (!absl::StartsWith(text, "$")) return text;
    const auto found = saved_.find(text.substr(1));
    EXPECT_NE(found, saved_.end()) << text;
    return found == saved_.end() ? text : found->second;
  }

  void Call(const Value& step);
  void Write(const Value& step);
  void Read(const Value& step);

  std::string id_;
  // Values as the client takes them, "i32:7".
  std::map<std::string, std::string> saved_;
};

// The manifest says "i64:14398862414735836711", the client prints signed
// decimals; bits decide.
uint64_t Bits(absl::string_view type, absl::string_view text) {
  if (type == "f64bits") {
    uint64_t bits = 0;
    EXPECT_TRUE(absl::SimpleHexAtoi(absl::StripPrefix(text, "0x"), &bits));
    return bits;
  }
  if (type == "f64") {
    double number = 0;
    EXPECT_TRUE(absl::SimpleAtod(text, &number)) << text;
    uint64_t bits = 0;
    std::memcpy(&bits, &number, sizeof(bits));
    return bits;
  }
  int64_t number = 0;
  uint64_t bits = 0;
  if (absl::SimpleAtoi(text, &number)) {
    bits = static_cast<uint64_t>(number);
  } else {
    EXPECT_TRUE(absl::SimpleAtoi(text, &bits)) << text;
  }
  return type == "i32" ? bits & 0xffffffff : bits;
}

// What follows "i32:", or all of it.
std::string WithoutType(const std::string& value) {
  return value.substr(
      value.find(':') == std::string::npos ? 0 : value.find(':') + 1);
}

void ExportsTest::Call(const Value& step) {
  std::vector<std::string> arguments = {"store", "call", id_,
                                        Member(step, "call").string_value()};
  for (const Value& argument : Member(step, "args").list_value().values()) {
    arguments.push_back(Filled(argument.string_value()));
  }
  const Finished call = Client(arguments);
  if (Member(step, "expect_trap").has_string_value()) {
    EXPECT_THAT(call, EndsWithCode(134));
    EXPECT_THAT(call.err, HasSubstr("out of bounds"));
    return;
  }
  ASSERT_THAT(call, EndsWithCode(0)) << Member(step, "call").string_value();
  const std::string type = Member(step, "result").string_value();
  const std::string printed(absl::StripSuffix(call.out, "\n"));
  if (Member(step, "expect").has_string_value()) {
    const std::vector<std::string> want = absl::StrSplit(
        Member(step, "expect").string_value(), absl::MaxSplits(':', 1));
    ASSERT_EQ(want.size(), 2u);
    EXPECT_EQ(Bits(type, printed), Bits(want[0], want[1]))
        << Member(step, "call").string_value() << " printed " << printed;
  }
  if (Member(step, "save").has_string_value()) {
    saved_[Member(step, "save").string_value()] =
        absl::StrCat(type, ":", printed);
  }
}

void ExportsTest::Write(const Value& step) {
  std::string bytes = Member(step, "text").string_value();
  if (Member(step, "file").has_string_value()) {
    const auto read = ReadWholeFile(
        absl::StrCat(CorpusDir(), "/", Member(step, "file").string_value()));
    ASSERT_TRUE(read.ok()) << read.status();
    bytes = *read;
  }
  if (Member(step, "hex").has_string_value()) {
    bytes = absl::HexStringToBytes(Member(step, "hex").string_value());
  }
  ASSERT_FALSE(bytes.empty()) << "a write of nothing";
  EXPECT_THAT(Client({"store", "write", id_,
                      WithoutType(Filled(Member(step, "write").string_value())),
                      absl::BytesToHexString(bytes)}),
              EndsWithCode(0));
}

void ExportsTest::Read(const Value& step) {
  const Finished read =
      Client({"store", "read", id_,
              WithoutType(Filled(Member(step, "read").string_value())),
              absl::StrCat(
                  static_cast<uint64_t>(Member(step, "len").number_value()))});
  ASSERT_THAT(read, EndsWithCode(0));
  EXPECT_EQ(absl::StripSuffix(read.out, "\n"),
            Member(step, "expect_hex").string_value());
}

TEST_P(ExportsTest, AnswersAsRecorded) {
  const CorpusItem& item = GetParam();
  std::vector<std::string> create = {
      "store", "create", item.path(), "--policy",
      scratch().Write("libraries.yaml", kPolicy)};
  for (const Value& import : item.Get("imports").list_value().values()) {
    create.insert(create.end(), {"--stub", import.string_value()});
  }
  const Finished created = Client(create);
  ASSERT_THAT(created, EndsWithCode(0));
  id_ = std::string(absl::StripSuffix(created.out, "\n"));

  int steps = 0;
  for (const Value& step : item.Get("steps").list_value().values()) {
    if (!IsNull(Member(step, "call"))) {
      Call(step);
    } else if (!IsNull(Member(step, "write"))) {
      Write(step);
    } else if (!IsNull(Member(step, "read"))) {
      Read(step);
    } else {
      ADD_FAILURE() << "a step that this test does not know: "
                    << step.ShortDebugString();
    }
    ++steps;
  }
  EXPECT_GT(steps, 0);

  // The exact order of host calls, where it is stated. Arguments are not in the
  // events.
  std::string want;
  for (const Value& call :
       item.Get("expected_host_calls").list_value().values()) {
    absl::StrAppend(
        &want, call.string_value().substr(0, call.string_value().find('(')),
        "\n");
  }
  if (!want.empty()) {
    const Finished events = Client({"events", "-o", "json", "--store", id_});
    ASSERT_THAT(events, EndsWithCode(0));
    std::string got;
    for (const absl::string_view line :
         absl::StrSplit(events.out, '\n', absl::SkipEmpty())) {
      google::protobuf::Struct parsed;
      ASSERT_TRUE(google::protobuf::util::JsonStringToMessage(std::string(line),
                                                              &parsed)
                      .ok())
          << line;
      Value event;
      *event.mutable_struct_value() = parsed;
      const Value& call = Member(event, "call");
      if (IsNull(call)) continue;
      absl::StrAppend(&got, Member(call, "import_module").string_value(), ".",
                      Member(call, "import_name").string_value(), "\n");
    }
    EXPECT_EQ(got, want);
  }
  EXPECT_THAT(Client({"store", "kill", id_}), EndsWithCode(0));
}

INSTANTIATE_TEST_SUITE_P(Corpus, ExportsTest,
                         testing::ValuesIn(CorpusItems("export-calls")),
                         [](const auto& row) { return row.param.TestName(); });
GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(ExportsTest);

TEST(Corpus, IsThere) {
  if (CorpusDir().empty()) GTEST_SKIP() << kNoCorpus;
  EXPECT_FALSE(CorpusItems("export-calls").empty());
}

}  // namespace
}  // namespace callgate::e2e
