#include "server/policy_replay.h"

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "policy/compiler/policy_compiler.h"
#include "policy/trial/trace_writer.h"
#include "server/error_reason.h"

namespace callgate {
namespace {

using policy::trial::TraceRecord;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

std::shared_ptr<const policy::Policy> Compile(const std::string& name,
                                              const std::string& body) {
  policy::CompileResult compiled = policy::CompilePolicyText(
      absl::StrCat("api_version: callgate.policy/v1\nkind: Policy\nmetadata: "
                   "{ name: ",
                   name, " }\n", body),
      name);
  EXPECT_TRUE(compiled.ok()) << compiled.problems.front().ToString();
  return compiled.policy;
}

// For everybody's modules of class web.
std::string For(const std::string& label) {
  return absl::StrCat("applies_to: { tenants: ['*'], module_labels: { class: ",
                      label, " } }\n");
}

constexpr char kAllow[] = "imports: [ { import: net.send, action: allow } ]\n";
constexpr char kDeny[] =
    "imports: [ { id: no, import: net.send, action: deny } ]\n";
constexpr char kEverywhere[] = "applies_to: { tenants: ['*'] }\n";

std::shared_ptr<const policy::PolicySet> SetOf(
    std::vector<std::shared_ptr<const policy::Policy>> policies) {
  auto set = policy::PolicySet::Make(std::move(policies));
  EXPECT_TRUE(set.ok()) << set.status();
  return *set;
}

// What judges a Store of acme's that these judged before, by name; "+" if it is
// only a part of what did.
std::vector<std::string> Names(const policy::trial::ReplayJudges& judges) {
  std::vector<std::string> names;
  for (const auto& policy : judges.policies) names.push_back(policy->name());
  if (judges.incomplete) names.emplace_back("+");
  return names;
}

class Selection : public testing::Test {
 protected:
  policy::trial::ReplayedStore Store() { return {facts_, labels_, before_}; }
  std::vector<std::string> After(
      std::vector<std::shared_ptr<const policy::Policy>> was,
      std::vector<std::shared_ptr<const policy::Policy>> is) {
    return Names(
        JudgesAfter(*SetOf(std::move(was)), *SetOf(std::move(is)), Store()));
  }

  policy::StoreFacts facts_{"s", "acme", "sha256:00", "m"};
  policy::trial::ReplayedStore::Labels labels_{{"class", "web"}};
  std::vector<std::string> before_{"web@1"};
};

TEST_F(Selection, OnlyStoresThatTheChangeIsAboutAreReplayed) {
  const auto old = Compile("web", kAllow);
  const auto next = Compile("web", kDeny);
  const auto other = Compile("other", kAllow);
  EXPECT_THAT(After({old}, {next}), ElementsAre("web"));
  EXPECT_THAT(After({old}, {old}), IsEmpty());
  EXPECT_THAT(After({old}, {old, other}), IsEmpty());
  // One that is new, and for it.
  const auto more = Compile("more", For("web") + kDeny);
  EXPECT_THAT(After({old}, {old, more}), ElementsAre("web", "more"));
  EXPECT_THAT(After({old, more}, {old, more}), IsEmpty());
  EXPECT_THAT(After({old}, {old, Compile("more", For("mail") + kDeny)}),
              IsEmpty());
}

TEST_F(Selection, AStoreThatIsLeftWithoutAPolicyIsStopped) {
  const auto old = Compile("web", kEverywhere + std::string(kAllow));
  EXPECT_THAT(After({old}, {}), ElementsAre("no-policy-applies-any-more"));
  // One that is for others now; one that was asked for stays on offer.
  EXPECT_THAT(After({old}, {Compile("web", For("mail") + kAllow)}),
              ElementsAre("no-policy-applies-any-more"));
  EXPECT_THAT(After({Compile("web", kAllow)}, {Compile("web", kDeny)}),
              ElementsAre("web"));
}

TEST_F(Selection, WhatNobodyKnowsAnyMoreIsNotGuessedAt) {
  before_ = {"inline@9", "web@1"};
  const auto old = Compile("web", kAllow);
  const auto next = Compile("web", kDeny);
  EXPECT_THAT(After({old}, {next}), IsEmpty());
  // Whoever only looks is told.
  EXPECT_THAT(Names(JudgesWith(*SetOf({old}), next, false, Store())),
              ElementsAre("web", "+"));
  EXPECT_THAT(Names(JudgesWith(*SetOf({old}), next, true, Store())),
              ElementsAre("web"));
  const auto more = Compile("more", For("web") + kDeny);
  EXPECT_THAT(Names(JudgesWith(*SetOf({old}), more, false, Store())),
              ElementsAre("web", "more", "+"));
  EXPECT_THAT(
      Names(JudgesWith(*SetOf({old}), Compile("new", kDeny), false, Store())),
      IsEmpty());
}

// --- Changes -----------------------------------------------------------------

class ReplayChangeTest : public testing::Test {
 protected:
  void SetUp() override {
    static int tests = 0;
    traces::TraceLibrary::Options options;
    options.directory = absl::StrCat(testing::TempDir(), "/replays", ++tests,
                                     "_", absl::ToUnixNanos(absl::Now()));
    options.bytes_max = 8 << 20;
    options.age_max = absl::Hours(1);
    auto library = traces::TraceLibrary::Open(options);
    ASSERT_TRUE(library.ok()) << library.status();
    library_ = *std::move(library);
  }

  // A trace in which a Store that `policy` judged sends so often, and is always
  // let.
  std::string Record(const std::string& policy, int sends) {
    const auto trace = library_->Start(absl::Minutes(10));
    EXPECT_TRUE(trace.ok()) << trace.status();
    const auto sink = library_->recorder().Stop();
    std::string bytes;
    policy::trial::TraceWriter writer(&bytes);
    bytes.clear();  // the magic is there already
    const auto write = [&](const TraceRecord& record) {
      EXPECT_TRUE(writer.Write(record).ok());
    };
    TraceRecord record;
    record.at = {absl::Now(), absl::Now()};
    record.kind = TraceRecord::Kind::kStore;
    record.facts = {"s-1", "acme", "sha256:00", "m"};
    record.policies = {policy + "@1"};
    write(record);
    record.kind = TraceRecord::Kind::kFunction;
    record.module = "net";
    record.name = "send";
    record.type.results = {ValType::kI32};
    record.spec.emplace().errno_result = true;
    write(record);
    for (int i = 0; i < sends; ++i) {
      record.kind = TraceRecord::Kind::kEnterHost;
      write(record);
      record.kind = TraceRecord::Kind::kLeaveHost;
      record.ending = Ending::kValue;
      record.results = {RawValue::I32(0)};
      write(record);
    }
    EXPECT_TRUE(sink->Append(bytes).ok());
    EXPECT_TRUE(library_->Stop().ok());
    return trace->name;
  }
  absl::StatusOr<policies::ReplayFindings> Change(
      const policies::ReplayDemand& demand, const ReplayBounds& bounds = {},
      const char* to = kDeny) {
    return ReplayChange(library_.get(), bounds,
                        *SetOf({Compile("web", kAllow)}),
                        *SetOf({Compile("web", to)}), demand);
  }
  static policies::ReplayDemand Of(const std::string& trace,
                                   uint64_t changed_max = 0) {
    policies::ReplayDemand demand;
    demand.trace = trace;
    demand.changed_max = changed_max;
    return demand;
  }

  std::unique_ptr<traces::TraceLibrary> library_;
};

TEST_F(ReplayChangeTest, PassesWithAsManyChangesAsAreAllowed) {
  const std::string trace = Record("web", 3);
  auto findings = Change(Of(trace), {}, kAllow);
  ASSERT_TRUE(findings.ok()) << findings.status();
  // Versions are equal: the change is about nothing.
  EXPECT_THAT(findings->refusal, HasSubstr("nothing in trace " + trace));
  findings = Change(Of(trace, 2));
  ASSERT_TRUE(findings.ok()) << findings.status();
  EXPECT_EQ(findings->changed, 3u);
  EXPECT_THAT(findings->refusal,
              HasSubstr("3 of 6 recorded events would be judged otherwise, and "
                        "2 may be; the first: trace " +
                        trace + ", event 0 "));
  EXPECT_THAT(findings->refusal,
              HasSubstr("net.send: was allow, would be deny(76) by web/no"));
  EXPECT_EQ(findings->changes.size(), 3u);
  findings = Change(Of(trace, 3));
  ASSERT_TRUE(findings.ok()) << findings.status();
  EXPECT_EQ(findings->refusal, "");
  EXPECT_EQ(findings->events, 6u);
  EXPECT_EQ(findings->stores, 1u);
}

TEST_F(ReplayChangeTest, AllTracesOfATimeCountEachByItsName) {
  const std::string first = Record("web", 1);
  const std::string second = Record("web", 2);
  const std::string other = Record("mail", 5);
  policies::ReplayDemand demand;
  demand.since = absl::Minutes(5);
  const auto findings = Change(demand);
  ASSERT_TRUE(findings.ok()) << findings.status();
  EXPECT_EQ(findings->changed, 3u);
  EXPECT_EQ(findings->stores, 2u);
  EXPECT_EQ(findings->stores_left_out, 1u);
  ASSERT_EQ(findings->changes.size(), 3u);
  EXPECT_THAT(findings->changes[0],
              HasSubstr(absl::StrCat("trace ", first, ", event 0 ")));
  EXPECT_THAT(findings->changes[1],
              HasSubstr(absl::StrCat("trace ", second, ", event 0 ")));
}

TEST_F(ReplayChangeTest, WhereNothingWasRecordedItIsTheCallersChoice) {
  policies::ReplayDemand demand;
  demand.since = absl::Hours(1);
  auto findings = Change(demand);
  ASSERT_TRUE(findings.ok()) << findings.status();
  EXPECT_THAT(findings->refusal,
              HasSubstr("nothing that was recorded in the last 1h is about "
                        "these policies"));
  demand.may_be_empty = true;
  findings = Change(demand);
  ASSERT_TRUE(findings.ok()) << findings.status();
  EXPECT_EQ(findings->refusal, "");
}

TEST_F(ReplayChangeTest, WhatIsTooLongIsRefusedByName) {
  const std::string trace = Record("web", 300);
  ReplayBounds bounds;
  bounds.events_max = 599;
  auto findings = Change(Of(trace, 1000), bounds);
  EXPECT_EQ(findings.status().code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(ReasonOf(findings.status()), reason::kReplayTooLong);
  EXPECT_THAT(std::string(findings.status().message()),
              HasSubstr("more than 599 events"));
  bounds.events_max = 600;
  EXPECT_TRUE(Change(Of(trace, 1000), bounds).ok());
  bounds.time_max = absl::ZeroDuration();
  findings = Change(Of(trace, 1000), bounds);
  EXPECT_EQ(ReasonOf(findings.status()), reason::kReplayTooLong);
  policies::ReplayDemand demand = Of(trace, 1000);
  demand.keep_going = [] { return false; };
  EXPECT_EQ(Change(demand).status().code(), absl::StatusCode::kCancelled);
}

TEST_F(ReplayChangeTest, WhatCannotBeReplayedIsAnErrorWithItsReason) {
  EXPECT_EQ(ReasonOf(Change(Of("20200101T000000-1")).status()),
            reason::kTraceNotFound);
  const auto none = ReplayChange(nullptr, {}, *SetOf({}), *SetOf({}), Of("x"));
  EXPECT_EQ(ReasonOf(none.status()), reason::kTracingOff);
  const auto trace = library_->Start(absl::Minutes(1));
  ASSERT_TRUE(trace.ok());
  ASSERT_TRUE(library_->recorder().Stop()->Append("\x05this is none").ok());
  ASSERT_TRUE(library_->Stop().ok());
  const absl::Status damaged = Change(Of(trace->name)).status();
  EXPECT_EQ(ReasonOf(damaged), reason::kTraceDamaged);
  EXPECT_THAT(std::string(damaged.message()),
              HasSubstr(absl::StrCat("trace ", trace->name, ": ")));
}

}  // namespace
}  // namespace callgate
