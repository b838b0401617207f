// Names and messages that a module chose, on their way to a terminal, a log, an
// event and the metrics page: control characters arrive as codes, or not at
// all.

#include <string>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "tests/e2e/with_daemon.h"

namespace callgate::e2e {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

// Clears the screen, begins a line that looks like ours, turns the writing
// direction around, ends strings.
constexpr char kEvil[] =
    "\x1b[2Jx\ncallgate: allowed by admin\r\xe2\x80\xae\x07\"\\\xc2\x9b";

// Bytes that would do something to a terminal or to a line-based log.
bool IsClean(absl::string_view text) {
  for (const char c : text) {
    if (absl::ascii_iscntrl(static_cast<unsigned char>(c)) && c != '\n' &&
        c != '\t') {
      return false;
    }
  }
  for (const char* sequence : {"\xe2\x80\xae", "\xc2\x9b"}) {
    if (std::string(text).find(sequence) != std::string::npos) return false;
  }
  return true;
}

// Whether some line is the one that the module made up.
bool HasForgedLine(absl::string_view text) {
  for (const absl::string_view line : absl::StrSplit(text, '\n')) {
    if (line.substr(0, 26) == "callgate: allowed by admin") return true;
  }
  return false;
}

std::string AsWatString(absl::string_view bytes) {
  std::string result;
  for (const char c : bytes) {
    absl::StrAppend(&result, "\\",
                    absl::Hex(static_cast<unsigned char>(c), absl::kZeroPad2));
  }
  return result;
}

class EscapingTest : public WithDaemon {};

TEST_F(EscapingTest, ExportsAndImportsInListings) {
  const std::string name = AsWatString(kEvil);
  const std::string file = ModuleFile(
      Assemble(absl::StrCat("(module (import \"", name, "\" \"", name,
                            "\" (func)) (func (export \"", name, "\")))")));
  const Finished verify = Client({"module", "verify", file});
  EXPECT_PRED1(IsClean, verify.out);
  EXPECT_PRED1(IsClean, verify.err);
  EXPECT_FALSE(HasForgedLine(verify.out + verify.err));

  const Finished push = Client({"module", "push", file});
  ASSERT_THAT(push, EndsWithCode(0));
  const std::string digest(absl::StripSuffix(push.out, "\n"));
  const Finished show = Client({"module", "show", digest});
  EXPECT_THAT(show, EndsWithCode(0));
  EXPECT_PRED1(IsClean, show.out);
  EXPECT_FALSE(HasForgedLine(show.out));
  EXPECT_THAT(show.out, HasSubstr("[2Jx"));

  // A missing import is named in the refusal.
  const Finished run = Client({"run", digest, "--policy", "open"});
  EXPECT_THAT(run, EndsWithCode(65));
  EXPECT_PRED1(IsClean, run.err);
  EXPECT_FALSE(HasForgedLine(run.err));
}

TEST_F(EscapingTest, FunctionNamesInBacktraces) {
  // `$name`s go into the name section; a hostile one needs the section by hand.
  std::string module = Assemble(R"((module
    (func (unreachable)) (func (export "_start") (call 0))))");
  const std::string evil(kEvil);
  std::string names;
  // Subsection 1: one function, index 0.
  names += '\1';
  names += static_cast<char>(evil.size() + 3);
  names += '\1';
  names += '\0';
  names += static_cast<char>(evil.size());
  names += evil;
  std::string section = std::string("\4name") + names;
  module += '\0';
  module += static_cast<char>(section.size());
  module += section;
  const Finished run = Client({"run", ModuleFile(module), "--policy", "open"});
  EXPECT_THAT(run, EndsWithCode(134));
  EXPECT_THAT(run.err, HasSubstr("[2Jx"));
  EXPECT_PRED1(IsClean, run.err);
  EXPECT_FALSE(HasForgedLine(run.err));
}

TEST_F(EscapingTest, DeniedImportsInVerdictsEventsAndMetrics) {
  // Stubbed by name, so that it runs into the policy and not into the linker.
  const std::string file = ModuleFile(Assemble(R"((module
    (import "m" "n\1b[2J\0acallgate: allowed by admin" (func $f))
    (func (export "_start") (call $f))))"));
  const Finished run =
      Client({"run", file, "--policy", "open", "--stub",
              R"("m"."n\u{1b}[2J\ncallgate: allowed by admin")"});
  EXPECT_THAT(run, EndsWithCode(134));
  EXPECT_PRED1(IsClean, run.err);
  EXPECT_FALSE(HasForgedLine(run.err));

  const Finished text = Client({"events"});
  EXPECT_PRED1(IsClean, text.out);
  EXPECT_FALSE(HasForgedLine(text.out));
  EXPECT_THAT(text.out, HasSubstr("[2J"));
  const Finished json = Client({"events", "-o", "json"});
  EXPECT_PRED1(IsClean, json.out);
  EXPECT_FALSE(HasForgedLine(json.out));

  // The metrics page has no word of it.
  const auto page = daemon().MetricsPage();
  ASSERT_TRUE(page.ok()) << page.status();
  EXPECT_THAT(*page, Not(HasSubstr("[2J")));
  EXPECT_THAT(*page, Not(HasSubstr("allowed by admin")));
  const auto alerts = ReadWholeFile(scratch().Path("alerts.jsonl"));
  ASSERT_TRUE(alerts.ok()) << alerts.status();
  EXPECT_PRED1(IsClean, *alerts);
  EXPECT_FALSE(HasForgedLine(*alerts));
}

// What a guest prints is its own business and passes through as it is.
TEST_F(EscapingTest, LeavesTheGuestsOutputAlone) {
  const Finished run =
      Client({"run", ModuleFile(Says(kEvil)), "--policy", "open"});
  EXPECT_THAT(run, EndsWithCode(0));
  EXPECT_EQ(run.out, kEvil);
}

// Twenty modules with names of their own make no new series.
TEST_F(EscapingTest, NamesOfModulesMakeNoSeries) {
  const auto count = [] { return daemon().Metric("callgate_metrics_series"); };
  const auto run = [&](int i) {
    Client({"run",
            ModuleFile(Assemble(absl::StrCat(
                "(module $m", i, " (import \"m", i, "\" \"n", i,
                "\" (func $f)) (func (export \"_start\") (call $f)))"))),
            "--policy", "open", "--stub", absl::StrCat("m", i, ".n", i)});
  };
  run(0);
  const double before = count();
  EXPECT_GT(before, 0);
  for (int i = 1; i <= 20; ++i) run(i);
  EXPECT_EQ(count(), before);
}

}  // namespace
}  // namespace callgate::e2e
