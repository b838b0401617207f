// Runs that wait hold no thread of the daemon.

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "grpcpp/grpcpp.h"
#include "proto/callgate/v1/store_service.grpc.pb.h"
#include "tests/e2e/with_daemon.h"

namespace callgate::e2e {
namespace {

using ::testing::HasSubstr;

constexpr int kRuns = 50;

class WaitingRunsTest : public testing::Test {
 protected:
  void SetUp() override {
    scratch_.Write("policies/open.yaml", kOpenPolicy);
    DaemonSetup setup;
    setup.data = scratch_.Path("data");
    setup.policy_dir = scratch_.Path("policies");
    setup.more_flags = {"--threads=2", "--wall-per-call=10m",
                        "--drain-timeout=100ms"};
    auto daemon = DaemonUnderTest::Start(setup);
    ASSERT_TRUE(daemon.ok()) << daemon.status();
    daemon_ = *std::move(daemon);
    stores_ = v1::StoreService::NewStub(daemon_->channel());
  }

  // Of the daemon, as the kernel counts them.
  int Threads() const {
    const auto status = ReadWholeFile(
        absl::StrCat("/proc/", daemon_->process().pid(), "/status"));
    EXPECT_TRUE(status.ok()) << status.status();
    for (const absl::string_view line :
         absl::StrSplit(absl::string_view(*status), '\n')) {
      absl::string_view rest = line;
      int count = 0;
      if (absl::ConsumePrefix(&rest, "Threads:") &&
          absl::SimpleAtoi(absl::StripAsciiWhitespace(rest), &count)) {
        return count;
      }
    }
    ADD_FAILURE() << "the kernel does not say how many threads there are";
    return 0;
  }

  // A run that waits for its input.
  struct Run {
    grpc::ClientContext context;
    std::unique_ptr<
        grpc::ClientReaderWriter<v1::RunStreamRequest, v1::RunStreamResponse>>
        stream;
    std::string store;

    void Send(const std::string& bytes) const {
      v1::RunStreamRequest request;
      request.set_stdin_chunk(bytes);
      EXPECT_TRUE(stream->Write(request));
    }
    // Everything until the end; what it wrote, and then how it ended.
    std::string Finish() const {
      std::string said;
      v1::RunStreamResponse response;
      while (stream->Read(&response)) {
        said += response.stdout_chunk();
        if (response.has_outcome()) {
          absl::StrAppend(&said, " ",
                          v1::OutcomeKind_Name(response.outcome().kind()));
        }
      }
      const grpc::Status status = stream->Finish();
      if (!status.ok()) absl::StrAppend(&said, " ", status.error_message());
      return said;
    }
  };

  std::unique_ptr<Run> Begin(const std::string& digest) {
    auto run = std::make_unique<Run>();
    run->stream = stores_->RunStream(&run->context);
    v1::RunStreamRequest request;
    request.mutable_config()->mutable_config()->set_module(digest);
    request.mutable_config()->mutable_config()->set_policy("open");
    EXPECT_TRUE(run->stream->Write(request));
    v1::RunStreamResponse started;
    EXPECT_TRUE(run->stream->Read(&started));
    run->store = started.started().store();
    EXPECT_NE(run->store, "");
    return run;
  }

  std::string Push(const std::string& bytes) {
    const std::string file = scratch_.Write("pushed.wasm", bytes);
    const Finished push = daemon_->Client({"module", "push", file});
    EXPECT_THAT(push, EndsWithCode(0));
    return std::string(absl::StripSuffix(push.out, "\n"));
  }

  void AwaitRunning(int count) {
    EXPECT_TRUE(Eventually(kPatience, [&] {
      return daemon_->Metric(R"(callgate_stores{state="running"})") == count;
    }));
  }

  ScratchDir scratch_;
  std::unique_ptr<DaemonUnderTest> daemon_;
  std::unique_ptr<v1::StoreService::Stub> stores_;
};

TEST_F(WaitingRunsTest, FiftyThatWaitForInputOnTwoThreads) {
  const std::string copies = Push(CopiesStdin());
  // Whatever gRPC starts for a first call is there afterwards.
  std::vector<std::unique_ptr<Run>> runs;
  runs.push_back(Begin(copies));
  const int threads_before = Threads();
  while (runs.size() < kRuns) runs.push_back(Begin(copies));
  AwaitRunning(kRuns);
  EXPECT_LT(Threads() - threads_before, kRuns / 2);

  // The daemon still answers.
  const std::string says = scratch_.Write("says.wasm", Says("still here"));
  const Finished another = daemon_->Client({"run", says, "--policy", "open"});
  EXPECT_THAT(another, EndsWithCode(0));
  EXPECT_EQ(another.out, "still here");

  // One is killed, one is cancelled, and both are gone at once.
  v1::KillStoreRequest kill;
  kill.set_name(runs[0]->store);
  v1::Store killed;
  grpc::ClientContext kill_context;
  EXPECT_TRUE(stores_->KillStore(&kill_context, kill, &killed).ok());
  EXPECT_THAT(runs[0]->Finish(), HasSubstr("KILLED"));
  runs[1]->context.TryCancel();
  AwaitRunning(kRuns - 2);
  runs[1]->Finish();

  // The others go on where they were.
  for (size_t i = 2; i < runs.size(); ++i) {
    runs[i]->Send(absl::StrCat("run ", i));
    EXPECT_TRUE(runs[i]->stream->WritesDone());
  }
  for (size_t i = 2; i < runs.size(); ++i) {
    EXPECT_EQ(runs[i]->Finish(),
              absl::StrCat("run ", i, " OUTCOME_KIND_RETURNED"));
  }
  AwaitRunning(0);
}

TEST_F(WaitingRunsTest, Point15ThrottledStoresHoldNoThread) {
  // Each call of random_get waits for as long as a delay can be.
  scratch_.Write("policies/open.yaml",
                 absl::StrCat(kOpenPolicy,
                              "rules: [{id: slow, when: 'call.name == "
                              "\"random_get\"', action: throttle, throttle: "
                              "{base_delay: 1m}}]\n"));
  ASSERT_TRUE(Eventually(kPatience, [&] {
    return absl::StrContains(daemon_->Client({"policy", "show", "open"}).out,
                             "slow");
  }));
  const std::string asks = Push(AsksForRandomUntilDenied());
  std::vector<std::unique_ptr<Run>> runs;
  while (runs.size() < kRuns / 2) {
    runs.push_back(Begin(asks));
    v1::RunStreamResponse said;
    EXPECT_TRUE(runs.back()->stream->Read(&said));
    EXPECT_EQ(said.stdout_chunk(), "begun\n");
  }
  AwaitRunning(kRuns / 2);
  // There are two threads, and neither is one of theirs.
  const std::string says = scratch_.Write("says.wasm", Says("my turn"));
  const Finished another = daemon_->Client({"run", says, "--policy", "open"});
  EXPECT_THAT(another, EndsWithCode(0));
  EXPECT_EQ(another.out, "my turn");
  for (const auto& run : runs) {
    run->context.TryCancel();
    run->Finish();
  }
  AwaitRunning(0);
}

TEST_F(WaitingRunsTest, GuestsThatSpinLeaveRoomForOthers) {
  const std::string spins = Push(Spins());
  std::vector<std::unique_ptr<Run>> runs;
  while (runs.size() < 4) {
    runs.push_back(Begin(spins));
    v1::RunStreamResponse said;
    EXPECT_TRUE(runs.back()->stream->Read(&said));
    EXPECT_EQ(said.stdout_chunk(), "spinning\n");
  }
  const std::string says = scratch_.Write("says.wasm", Says("my turn"));
  const Finished another = daemon_->Client({"run", says, "--policy", "open"});
  EXPECT_THAT(another, EndsWithCode(0));
  EXPECT_EQ(another.out, "my turn");
  for (const auto& run : runs) {
    run->context.TryCancel();
    run->Finish();
  }
  AwaitRunning(0);
}

TEST_F(WaitingRunsTest, ADrainEndsWhatWaits) {
  const std::string copies = Push(CopiesStdin());
  std::vector<std::unique_ptr<Run>> runs;
  while (runs.size() < 5) runs.push_back(Begin(copies));
  AwaitRunning(5);
  daemon_->process().Signal(SIGTERM);
  const auto ended = daemon_->process().Wait(kPatience);
  ASSERT_TRUE(ended.ok()) << ended.status();
  EXPECT_EQ(ended->code, 0);
  for (const auto& run : runs) {
    EXPECT_THAT(run->Finish(), HasSubstr("KILLED"));
  }
}

}  // namespace
}  // namespace callgate::e2e
