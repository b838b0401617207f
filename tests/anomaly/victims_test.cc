// Programs with a bug, under the hook, and input that takes them over: the odd
// call site of an exploit is found and honest work is left alone.

#include "tests/anomaly/victims.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "policy/anomaly/profile_book.h"
#include "policy/compiler/policy_compiler.h"
#include "policy/hook/policy_hook.h"
#include "tests/anomaly/evaluation.h"
#include "tests/anomaly/report.h"

namespace callgate::anomaly_test {
namespace {

using policy::anomaly::ProfileBook;
using policy::anomaly::ProfileId;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

// Where the tests run.
constexpr char kFolder[] = "tests/anomaly";

std::string Folder(const std::string& name) {
  return absl::StrCat(testing::TempDir(), "/", name);
}

TEST(VictimsTest, InputChoosesTheFunctionThatIsCalled) {
  for (const Program& victim : Victims()) {
    GuestRunner runner(victim, kFolder, Folder("recon"));
    // Dies if one cannot be reached.
    const TableIndices hidden = FindHiddenFunctions(runner);
    EXPECT_GE(hidden.size(), 4u) << victim.name;
    // And none by what clients send.
    const std::string said =
        runner.OutputOf(victim.make_job(1, JobSize::kUsual));
    EXPECT_THAT(said, Not(IsEmpty()));
    for (const auto& [word, index] : hidden) {
      EXPECT_THAT(said, Not(HasSubstr(absl::StrCat(word, "\n"))));
    }
  }
}

TEST(VictimsTest, ExploitsAreTheSameForTheSameSeedAndTheirTwinsHonest) {
  const TableIndices hidden = {{"purged", 1},    {"retired", 2}, {"drawn", 4},
                               {"published", 3}, {"cut", 5},     {"dropped", 6},
                               {"told", 7},      {"made", 8},    {"looked", 9}};
  for (const Program& victim : Victims()) {
    const std::vector<Exploit> one = MakeExploits(victim, hidden, 5, 2);
    const std::vector<Exploit> same = MakeExploits(victim, hidden, 5, 2);
    const std::vector<Exploit> other = MakeExploits(victim, hidden, 6, 2);
    ASSERT_EQ(one.size(), kAttackKinds * 2);
    for (size_t i = 0; i < one.size(); ++i) {
      EXPECT_EQ(one[i].job.stdin_bytes, same[i].job.stdin_bytes);
      EXPECT_NE(one[i].job.stdin_bytes, other[i].job.stdin_bytes);
      // Only the input differs.
      EXPECT_NE(one[i].job.stdin_bytes, one[i].twin.stdin_bytes);
      EXPECT_EQ(one[i].job.files, one[i].twin.files);
    }
  }
}

// The whole way: profiles learned through the policy hook, a policy from its
// text, and a guest that is taken over under it.
class Guarded {
 public:
  Guarded(const Program& victim, const char* action)
      : runner_(victim, kFolder, Folder(victim.name)), book_(nullptr) {
    policy::CompileResult compiled = policy::CompilePolicyText(
        absl::StrCat("api_version: callgate.policy/v1\nkind: Policy\n"
                     "metadata: {name: p}\n"
                     "defaults: {unlisted_import: allow}\n"
                     "anomaly:\n"
                     "  - id: odd-site\n"
                     "    learning: { min_calls: 2000, min_runs: 20, "
                     "stable_novelty: 0.01 }\n"
                     "    thresholds:\n"
                     "      - { when: 'score.strange >= 1', action: ",
                     action, " }\n"),
        "p.yaml");
    for (const policy::Problem& problem : compiled.problems) {
      ADD_FAILURE() << problem.ToString();
    }
    policy_ = std::move(compiled.policy);
  }

  // What the guest wrote; what was decided is in `decisions`.
  std::string Run(Job job,
                  std::map<std::string, std::string>* files = nullptr) {
    decisions.clear();
    // A verdict may end it.
    job.may_trap = true;
    Sink sink(decisions);
    policy::PolicyHook::Options options;
    options.profiles = &book_;
    policy::PolicyHook hook(
        {policy_}, policy::StoreFacts{"s", "acme", "sha256:00", "victim"},
        [] { return absl::Now(); }, sink, options);
    const std::string said = runner_.OutputOf(job, &hook, files);
    hook.FinishLearning();
    return said;
  }

  void Learn(uint64_t runs) {
    for (uint64_t i = 0; i < runs; ++i) {
      Run(runner_.program().make_job(1000 + i, JobSize::kUsual));
      EXPECT_THAT(decisions, IsEmpty());
    }
    const std::vector<ProfileId> ids = book_.List("acme");
    ASSERT_EQ(ids.size(), 1u);
    const absl::Status approved = book_.Edit(
        ids[0],
        [](policy::anomaly::Profile& profile) { return profile.Approve(); });
    ASSERT_TRUE(approved.ok()) << approved;
  }

  GuestRunner& runner() { return runner_; }
  std::vector<std::string> decisions;

 private:
  class Sink final : public policy::DecisionSink {
   public:
    explicit Sink(std::vector<std::string>& lines) : lines_(lines) {}
    void OnDecision(const policy::DecisionRecord& record) override {
      lines_.push_back(absl::StrCat(policy::VerdictName(record.verdict), " ",
                                    record.rule, " ", record.import_name));
    }
    void OnEngineFault(const policy::StoreFacts&,
                       absl::string_view message) override {
      lines_.push_back(std::string(message));
    }

   private:
    std::vector<std::string>& lines_;
  };

  GuestRunner runner_;
  ProfileBook book_;
  std::shared_ptr<const policy::Policy> policy_;
};

TEST(VictimsTest, TheOddCallSiteIsDeniedAndHasNoEffect) {
  for (const Program& victim : Victims()) {
    SCOPED_TRACE(victim.name);
    Guarded guarded(victim, "deny");
    const TableIndices hidden = FindHiddenFunctions(guarded.runner());
    guarded.Learn(100);
    for (const Exploit& exploit : MakeExploits(victim, hidden, 77, 3)) {
      if (exploit.kind != AttackKind::kCallSite) continue;
      SCOPED_TRACE(exploit.what);
      // Honest work first.
      guarded.Run(exploit.twin);
      EXPECT_THAT(guarded.decisions, IsEmpty());
      guarded.Run(exploit.job);
      ASSERT_THAT(guarded.decisions, Not(IsEmpty()));
      EXPECT_THAT(guarded.decisions[0], HasSubstr("deny odd-site "));
    }
  }
}

// The verdict comes before the effect: what the exploit would have removed is
// still there.
TEST(VictimsTest, WhatTheExploitWouldHaveRemovedIsStillThere) {
  const Program& victim = Victims()[1];
  ASSERT_EQ(victim.name, "ledger");
  Guarded guarded(victim, "deny");
  const TableIndices hidden = FindHiddenFunctions(guarded.runner());
  Job job;
  job.files = {{"total.txt", "4711"}};
  job.stdin_bytes = absl::StrCat("clock\nform hex\nlet 8 ",
                                 hidden.at("dropped"), "\nshow 0\n");
  std::map<std::string, std::string> files;
  EXPECT_THAT(guarded.runner().OutputOf(job, nullptr, &files),
              HasSubstr("dropped\n"));
  EXPECT_THAT(files, IsEmpty());
  guarded.Learn(100);
  EXPECT_EQ(guarded.Run(job, &files), "goes\n");
  EXPECT_THAT(guarded.decisions,
              testing::Contains("deny odd-site path_unlink_file"));
  EXPECT_THAT(files, testing::ElementsAre(testing::Pair("total.txt", "4711")));
}

// A small version of what evaluate does with them.
TEST(VictimsTest, ExploitsAreFoundAndCleanRunsAreNot) {
  Sizes sizes;
  sizes.training_runs = 110;
  sizes.training_long_runs = 1;
  sizes.validation_runs = 50;
  sizes.validation_calls = 10'000;
  sizes.test_runs = 40;
  sizes.test_calls = 10'000;
  sizes.attacks = 2;
  policy::anomaly::Shape shape;
  shape.share_weight = 3277;
  const Evaluation e =
      EvaluateVictims(shape, sizes, /*seed=*/4, kFolder, testing::TempDir());
  EXPECT_EQ(e.attacks.size(), Victims().size() * kAttackKinds * 2);
  EXPECT_LE(e.chosen_false_alerts, 3u);
  uint64_t taken_over = 0;
  uint64_t found = 0;
  for (const AttackResult& attack : e.attacks) {
    if (attack.kind == AttackKind::kCallSite) {
      EXPECT_TRUE(attack.takes_over);
      EXPECT_TRUE(attack.found) << attack.program << ": " << attack.what;
      EXPECT_GE(attack.strange, 1u);
      EXPECT_EQ(attack.twin_strange, 0u);
    }
    taken_over += attack.takes_over ? 1 : 0;
    found += attack.takes_over && attack.found ? 1 : 0;
  }
  EXPECT_GE(taken_over, 12u);
  EXPECT_GE(found * 10, taken_over * 9);
  const std::string text = ReportText(e, e);
  EXPECT_THAT(text, HasSubstr("really taken over"));
  EXPECT_THAT(text, HasSubstr("| record_server | odd call site | one record"));
}

}  // namespace
}  // namespace callgate::anomaly_test
