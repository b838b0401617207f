// What a daemon does when its disk is full, seen from outside: over its real
// services and its real files.

#include <cstdlib>
#include <fstream>
#include <memory>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "gmock/gmock.h"
#include "grpcpp/grpcpp.h"
#include "gtest/gtest.h"
#include "proto/callgate/v1/event_service.grpc.pb.h"
#include "proto/callgate/v1/module_service.grpc.pb.h"
#include "proto/callgate/v1/policy_service.grpc.pb.h"
#include "proto/callgate/v1/store_service.grpc.pb.h"
#include "proto/callgate/v1/trial_service.grpc.pb.h"
#include "server/daemon.h"
#include "server/full_disk.h"
#include "tests/support/wat.h"

namespace callgate {
namespace {

using testing::HasSubstr;

constexpr char kRandom[] = R"((module
  (import "wasi_snapshot_preview1" "random_get"
    (func $random (param i32 i32) (result i32)))
  (memory (export "memory") 1)
  (func (export "random") (result i32)
    (call $random (i32.const 0) (i32.const 8)))))";

constexpr char kQuarantines[] =
    "api_version: callgate.policy/v1\nkind: Policy\nmetadata: { name: web }\n"
    "imports: [{ import: wasi_snapshot_preview1.random_get, action: "
    "quarantine_module, id: r, severity: critical }]\n";

class FaultsTest : public testing::Test {
 protected:
  FaultsTest() {
    std::string path =
        std::string(std::getenv("TEST_TMPDIR")) + "/faults.XXXXXX";
    scratch_ = mkdtemp(&path[0]);
    config_.compiler =
        absl::StrCat(getenv("TEST_SRCDIR"), "/", getenv("TEST_WORKSPACE"),
                     "/server/callgate-compile");
    config_.listen = "127.0.0.1:0";
    config_.metrics = "127.0.0.1:0";
    config_.data = scratch_ + "/data";
    config_.alerts = scratch_ + "/alerts.jsonl";
    config_.trace_mib = 1;
    config_.drain_timeout = absl::Seconds(5);
    // Which is also how often the daemon tries again what failed.
    config_.store_idle = absl::Seconds(8);
  }

  void Start() {
    absl::StatusOr<std::unique_ptr<Daemon>> daemon = Daemon::Start(config_);
    ASSERT_TRUE(daemon.ok()) << daemon.status();
    daemon_ = *std::move(daemon);
    grpc::ChannelArguments arguments;
    arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
    arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
    const auto channel = grpc::CreateCustomChannel(
        daemon_->listen_address(), grpc::InsecureChannelCredentials(),
        arguments);
    policies_ = v1::PolicyService::NewStub(channel);
    stores_ = v1::StoreService::NewStub(channel);
    modules_ = v1::ModuleService::NewStub(channel);
    events_ = v1::EventService::NewStub(channel);
    trials_ = v1::TrialService::NewStub(channel);
  }

  grpc::Status Apply(const std::string& text) {
    grpc::ClientContext context;
    v1::ApplyPolicyRequest request;
    request.set_source(text);
    request.set_file_name("test.yaml");
    v1::ApplyPolicyResponse response;
    return policies_->ApplyPolicy(&context, request, &response);
  }
  std::string Push() {
    const auto bytes = AssembleWat(kRandom);
    EXPECT_TRUE(bytes.ok());
    grpc::ClientContext context;
    v1::UploadModuleResponse response;
    const auto writer = modules_->UploadModule(&context, &response);
    v1::UploadModuleRequest request;
    request.mutable_header()->set_size_bytes(
        static_cast<int64_t>(bytes->size()));
    writer->Write(request);
    request.set_chunk(std::string(bytes->begin(), bytes->end()));
    writer->Write(request);
    writer->WritesDone();
    const grpc::Status status = writer->Finish();
    EXPECT_TRUE(status.ok()) << status.error_message();
    return response.module().digest();
  }
  grpc::Status Create(const std::string& digest, v1::Store* store) {
    grpc::ClientContext context;
    v1::CreateStoreRequest request;
    request.mutable_config()->set_module(digest);
    return stores_->CreateStore(&context, request, store);
  }
  void Random(const v1::Store& store) {
    grpc::ClientContext context;
    v1::InvokeRequest request;
    request.set_name(store.name());
    request.set_export_("random");
    v1::InvokeResponse response;
    stores_->Invoke(&context, request, &response).ok();
  }

  // Kept events of this action.
  std::vector<v1::Event> Events(const std::string& action) {
    grpc::ClientContext context;
    v1::WatchEventsRequest request;
    request.set_include_kept(true);
    request.set_stop_at_end(true);
    const auto reader = events_->WatchEvents(&context, request);
    std::vector<v1::Event> found;
    v1::WatchEventsResponse response;
    while (reader->Read(&response)) {
      if (response.event().action() == action) {
        found.push_back(response.event());
      }
    }
    EXPECT_TRUE(reader->Finish().ok());
    return found;
  }
  // Waits for the first one, which has to come.
  bool WaitFor(const std::string& action) {
    grpc::ClientContext context;
    context.set_deadline(absl::ToChronoTime(absl::Now() + absl::Seconds(60)));
    v1::WatchEventsRequest request;
    request.set_include_kept(true);
    const auto reader = events_->WatchEvents(&context, request);
    v1::WatchEventsResponse response;
    bool found = false;
    while (!found && reader->Read(&response)) {
      found = response.event().action() == action;
    }
    context.TryCancel();
    reader->Finish();
    return found;
  }

  std::string scratch_;
  Config config_;
  std::unique_ptr<Daemon> daemon_;
  std::unique_ptr<v1::PolicyService::Stub> policies_;
  std::unique_ptr<v1::StoreService::Stub> stores_;
  std::unique_ptr<v1::ModuleService::Stub> modules_;
  std::unique_ptr<v1::EventService::Stub> events_;
  std::unique_ptr<v1::TrialService::Stub> trials_;
};

TEST_F(FaultsTest, AQuarantineHoldsOnAFullDiskAndIsStoredWhenThereIsRoom) {
  Start();
  ASSERT_TRUE(Apply(kQuarantines).ok());
  const std::string digest = Push();
  v1::Store store;
  v1::Store other;
  ASSERT_TRUE(Create(digest, &store).ok());
  ASSERT_TRUE(Create(digest, &other).ok());
  grpc::Status refused;
  {
    const FullDisk full;
    Random(store);
    v1::Store late;
    refused = Create(digest, &late);
  }
  EXPECT_EQ(refused.error_code(), grpc::StatusCode::FAILED_PRECONDITION);
  EXPECT_THAT(refused.error_message(), HasSubstr("is in quarantine"));
  EXPECT_EQ(Events("module_quarantine_not_stored").size(), 1u);
  EXPECT_EQ(Events("module_quarantined").size(), 0u);
  // Its other Store is gone, too.
  grpc::ClientContext context;
  v1::GetStoreRequest which;
  which.set_name(other.name());
  v1::Store now;
  ASSERT_TRUE(stores_->GetStore(&context, which, &now).ok());
  EXPECT_EQ(now.state(), v1::STORE_STATE_KILLED);

  EXPECT_TRUE(WaitFor("module_quarantine_stored"));
  daemon_.reset();
  Start();
  v1::Store late;
  EXPECT_THAT(Create(digest, &late).error_message(),
              HasSubstr("is in quarantine"));
}

TEST_F(FaultsTest, AlertsThatAreNotWrittenAreCountedAndMarked) {
  Start();
  ASSERT_TRUE(Apply(kQuarantines).ok());
  const std::string digest = Push();
  v1::Store store;
  ASSERT_TRUE(Create(digest, &store).ok());
  {
    const FullDisk full;
    Random(store);
    EXPECT_TRUE(WaitFor("alert_file_not_written"));
  }
  EXPECT_TRUE(WaitFor("module_quarantine_stored"));
  EXPECT_TRUE(WaitFor("alert_file_written_again"));
  EXPECT_EQ(Events("alert_file_not_written").size(), 1u);
  // Flushes.
  daemon_.reset();
  std::stringstream alerts;
  alerts << std::ifstream(config_.alerts).rdbuf();
  EXPECT_THAT(alerts.str(), HasSubstr("\"reason\":\"write_error\""));
  EXPECT_THAT(alerts.str(), HasSubstr("module_quarantine_stored"));
}

TEST_F(FaultsTest, ATraceThatIsNotWrittenIsTold) {
  Start();
  ASSERT_TRUE(
      Apply("api_version: callgate.policy/v1\nkind: Policy\n"
            "metadata: { name: open }\ndefaults: { unlisted_import: allow }\n")
          .ok());
  v1::Store store;
  ASSERT_TRUE(Create(Push(), &store).ok());
  v1::StartTraceRequest start;
  start.mutable_duration()->set_seconds(60);
  v1::Trace trace;
  {
    // One that cannot begin does not.
    grpc::ClientContext early;
    grpc::Status refused;
    {
      const FullDisk full;
      refused = trials_->StartTrace(&early, start, &trace);
    }
    EXPECT_EQ(refused.error_code(), grpc::StatusCode::UNAVAILABLE);
  }
  grpc::ClientContext begin;
  ASSERT_TRUE(trials_->StartTrace(&begin, start, &trace).ok());
  // What it has to say of this waits for the end.
  Random(store);
  grpc::ClientContext end;
  grpc::Status stopped;
  {
    const FullDisk full;
    stopped = trials_->StopTrace(&end, v1::StopTraceRequest(), &trace);
  }
  EXPECT_EQ(stopped.error_code(), grpc::StatusCode::UNAVAILABLE);
  const std::vector<v1::Event> told = Events("trace_not_written");
  ASSERT_EQ(told.size(), 1u);
  EXPECT_THAT(told[0].message(), HasSubstr("File too large"));
  // The next one is recorded as ever.
  grpc::ClientContext again;
  ASSERT_TRUE(trials_->StartTrace(&again, start, &trace).ok());
  grpc::ClientContext ends;
  EXPECT_TRUE(trials_->StopTrace(&ends, v1::StopTraceRequest(), &trace).ok());
}

}  // namespace
}  // namespace callgate
