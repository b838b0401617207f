// Real programs for WASI run through the daemon with the output, exit code and
// files that they should have.

#include <iostream>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "tests/e2e/corpus/corpus.h"
#include "tests/e2e/with_daemon.h"

namespace callgate::e2e {
namespace {

using google::protobuf::Value;

// How long one program may take.
absl::Duration Limit() { return absl::Seconds(120); }

constexpr char kPolicy[] = R"yaml(
api_version: callgate.policy/v1
kind: Policy
metadata: { name: commands }
include: [wasi-preview1-base]
imports:
  - { import: bench.start, action: allow }
  - { import: bench.end, action: allow }
budgets: { memory_bytes_total: 1073741824 }
)yaml";

class CommandsTest : public WithDaemon,
                     public testing::WithParamInterface<CorpusItem> {
 protected:
  static void SetUpTestSuite() {
    WithDaemon::SetUpTestSuite();
    scratch().Write("commands.yaml", kPolicy);
  }
};

// Both streams are compared as a whole where the manifest has them, else by
// their digest.
void ExpectStream(const Value& expect, const std::string& stream,
                  const std::string& got) {
  const Value& text = Member(expect, stream);
  if (text.has_string_value()) {
    EXPECT_EQ(got, text.string_value()) << stream;
    return;
  }
  const Value& digest = Member(expect, stream + "_sha256");
  if (digest.has_string_value()) {
    EXPECT_EQ(Sha256Hex(got), digest.string_value())
        << stream << " has " << got.size() << " bytes";
  }
}

TEST_P(CommandsTest, DoesItsJob) {
  const CorpusItem& item = GetParam();
  const Value& run = item.Get("run");
  const Value& expect = item.Get("expect");

  // The manifest's programs were recorded under this name, and some print it.
  const std::string work = absl::StrCat("run-", item.TestName());
  const std::string module =
      scratch().Copy(item.path(), absl::StrCat(work, "/prog.wasm"));
  std::vector<std::string> arguments = {
      "run",       module, "--policy", scratch().Path("commands.yaml"),
      "--timeout", "1800s"};
  std::vector<std::string> directories;
  for (const auto& [guest, host] :
       Member(run, "preopens").struct_value().fields()) {
    directories.push_back(scratch().Copy(
        absl::StrCat(CorpusDir(), "/", host.string_value()),
        absl::StrCat("allowed/", work, "-", directories.size())));
    arguments.insert(arguments.end(),
                     {"--dir", absl::StrCat(directories.back(), "::", guest)});
  }
  for (const auto& [name, value] : Member(run, "env").struct_value().fields()) {
    arguments.insert(arguments.end(),
                     {"--env", absl::StrCat(name, "=", value.string_value())});
  }
  for (const auto& entry :
       Member(run, "host_functions").struct_value().fields()) {
    arguments.insert(arguments.end(), {"--stub", entry.first});
  }
  arguments.push_back("--");
  for (const Value& argument : Member(run, "args").list_value().values()) {
    arguments.push_back(argument.string_value());
  }
  std::string input;
  if (Member(run, "stdin_file").has_string_value()) {
    const auto read = ReadWholeFile(absl::StrCat(
        CorpusDir(), "/", Member(run, "stdin_file").string_value()));
    ASSERT_TRUE(read.ok()) << read.status();
    input = *read;
  }

  const Finished finished = daemon().Client(arguments, Limit(), input);
  std::cout << item.name() << ": " << absl::ToDoubleSeconds(finished.wall)
            << " s\n";
  EXPECT_FALSE(finished.timed_out);
  EXPECT_THAT(finished, EndsWithCode(static_cast<int>(
                            Member(expect, "exit_code").number_value())));
  ExpectStream(expect, "stdout", finished.out);
  ExpectStream(expect, "stderr", finished.err);
  for (const auto& [name, digest] :
       Member(expect, "files_created_sha256").struct_value().fields()) {
    ASSERT_EQ(directories.size(), 1u);
    const auto made = ReadWholeFile(absl::StrCat(directories[0], "/", name));
    ASSERT_TRUE(made.ok()) << made.status();
    EXPECT_EQ(Sha256Hex(*made), digest.string_value()) << name;
  }
}

INSTANTIATE_TEST_SUITE_P(Corpus, CommandsTest,
                         testing::ValuesIn(CorpusItems("wasi-command")),
                         [](const auto& row) { return row.param.TestName(); });
GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(CommandsTest);

TEST(Corpus, IsThere) {
  if (CorpusDir().empty()) GTEST_SKIP() << kNoCorpus;
  EXPECT_FALSE(CorpusItems("wasi-command").empty());
}

}  // namespace
}  // namespace callgate::e2e
