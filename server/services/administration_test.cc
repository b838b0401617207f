// Running a daemon, over its real services: what an operator does to policies,
// and what becomes of them when the disk is full.

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <memory>
#include <set>
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
#include "proto/google/rpc/error_details.pb.h"
#include "server/daemon.h"
#include "tests/support/wat.h"

namespace callgate {
namespace {

using grpc::StatusCode;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr char kRandom[] = R"((module
  (import "wasi_snapshot_preview1" "random_get"
    (func $random (param i32 i32) (result i32)))
  (memory (export "memory") 1)
  (func (export "random") (result i32)
    (call $random (i32.const 0) (i32.const 8)))))";

// The reason that a status carries, or an empty string.
std::string Reason(const grpc::Status& status) {
  google::rpc::Status sent;
  if (!sent.ParseFromString(status.error_details())) return "";
  for (const google::protobuf::Any& any : sent.details()) {
    google::rpc::ErrorInfo info;
    if (any.UnpackTo(&info)) return info.reason();
  }
  return "";
}

// Denies random_get, or as `body` says.
std::string PolicyText(absl::string_view name, absl::string_view body = "") {
  constexpr char kDenies[] =
      "imports: [{ import: wasi_snapshot_preview1.random_get, action: deny, "
      "guest_errno: 63, id: r }]\n";
  return absl::StrCat(
      "api_version: callgate.policy/v1\nkind: Policy\nmetadata: { name: ", name,
      " }\n", body.empty() ? kDenies : body);
}
// That of the guest above.
constexpr int32_t kDenied = 63;

class AdministrationTest : public testing::Test {
 protected:
  AdministrationTest() {
    std::string path =
        std::string(std::getenv("TEST_TMPDIR")) + "/admin.XXXXXX";
    scratch_ = mkdtemp(&path[0]);
    config_.compiler =
        absl::StrCat(getenv("TEST_SRCDIR"), "/", getenv("TEST_WORKSPACE"),
                     "/server/callgate-compile");
    config_.listen = "127.0.0.1:0";
    config_.metrics = "127.0.0.1:0";
    config_.data = scratch_ + "/data";
    config_.drain_timeout = absl::Seconds(5);
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
  }
  void Restart() {
    daemon_.reset();
    Start();
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
  // What the guest got of its call: 0, or an errno; -1 where it was stopped, -2
  // where there was no call.
  int32_t Random(const v1::Store& store) {
    grpc::ClientContext context;
    v1::InvokeRequest request;
    request.set_name(store.name());
    request.set_export_("random");
    v1::InvokeResponse response;
    if (!stores_->Invoke(&context, request, &response).ok()) return -2;
    if (response.outcome().results_size() != 1) return -1;
    return response.outcome().results(0).i32();
  }

  grpc::Status Apply(const std::string& text,
                     v1::PolicyMode mode = v1::POLICY_MODE_UNSPECIFIED) {
    grpc::ClientContext context;
    v1::ApplyPolicyRequest request;
    request.set_source(text);
    request.set_file_name("test.yaml");
    request.set_mode(mode);
    v1::ApplyPolicyResponse response;
    return policies_->ApplyPolicy(&context, request, &response);
  }
  grpc::Status Delete(const std::string& name, bool force = false) {
    grpc::ClientContext context;
    v1::DeletePolicyRequest request;
    request.set_name(name);
    request.set_force(force);
    v1::DeletePolicyResponse response;
    const grpc::Status status =
        policies_->DeletePolicy(&context, request, &response);
    taken_from_.assign(response.stores().begin(), response.stores().end());
    return status;
  }
  grpc::Status Deactivate(const std::string& name, bool force = false) {
    grpc::ClientContext context;
    v1::DeactivatePolicyRequest request;
    request.set_name(name);
    request.set_force(force);
    v1::DeactivatePolicyResponse response;
    const grpc::Status status =
        policies_->DeactivatePolicy(&context, request, &response);
    taken_from_.assign(response.stores().begin(), response.stores().end());
    return status;
  }
  grpc::Status Activate(const std::string& name) {
    grpc::ClientContext context;
    v1::ActivatePolicyRequest request;
    request.set_name(name);
    v1::ActivatePolicyResponse response;
    return policies_->ActivatePolicy(&context, request, &response);
  }
  grpc::Status SetMode(const std::string& name, v1::PolicyMode mode) {
    grpc::ClientContext context;
    v1::SetPolicyModeRequest request;
    request.set_name(name);
    request.set_mode(mode);
    v1::Policy policy;
    return policies_->SetPolicyMode(&context, request, &policy);
  }
  v1::Policy Get(const std::string& name) {
    grpc::ClientContext context;
    v1::GetPolicyRequest request;
    request.set_name(name);
    v1::Policy policy;
    policies_->GetPolicy(&context, request, &policy).ok();
    return policy;
  }
  // Those that are not the daemon's own: "web", "old (inactive)".
  std::vector<std::string> List() {
    grpc::ClientContext context;
    v1::ListPoliciesResponse response;
    EXPECT_TRUE(
        policies_->ListPolicies(&context, v1::ListPoliciesRequest(), &response)
            .ok());
    std::vector<std::string> names;
    for (const v1::Policy& policy : response.policies()) {
      if (policy.origin() == v1::POLICY_ORIGIN_BUILT_IN) continue;
      names.push_back(absl::StrCat(policy.name().substr(9),
                                   policy.inactive() ? " (inactive)" : ""));
    }
    return names;
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

  std::string scratch_;
  Config config_;
  std::unique_ptr<Daemon> daemon_;
  std::unique_ptr<v1::PolicyService::Stub> policies_;
  std::unique_ptr<v1::StoreService::Stub> stores_;
  std::unique_ptr<v1::ModuleService::Stub> modules_;
  std::unique_ptr<v1::EventService::Stub> events_;
  std::vector<std::string> taken_from_;
};

// --- The five levels of mode, each by itself ---------------------------------

TEST_F(AdministrationTest, TheLowestOfTheModesCounts) {
  Start();
  ASSERT_TRUE(Apply(PolicyText("web")).ok());
  v1::Store store;
  ASSERT_TRUE(Create(Push(), &store).ok());
  EXPECT_EQ(Random(store), kDenied);

  // Of the file.
  ASSERT_TRUE(Apply(PolicyText("web",
                               "defaults: { mode: audit }\n"
                               "imports: [{ import: "
                               "wasi_snapshot_preview1.random_get, action: "
                               "deny, guest_errno: 63 }]\n"))
                  .ok());
  EXPECT_EQ(Random(store), 0);
  EXPECT_EQ(Get("web").mode(), "audit");
  EXPECT_EQ(Get("web").file_mode(), "audit");
  // None of the others can raise it.
  ASSERT_TRUE(SetMode("web", v1::POLICY_MODE_ENFORCE).ok());
  EXPECT_EQ(Random(store), 0);

  // Of a rule.
  ASSERT_TRUE(Apply(PolicyText("web",
                               "imports: [{ import: "
                               "wasi_snapshot_preview1.random_get, action: "
                               "allow }]\n"
                               "rules: [{ id: r, when: 'true', action: deny, "
                               "guest_errno: 63, mode: audit }]\n"))
                  .ok());
  EXPECT_EQ(Random(store), 0);
  EXPECT_EQ(Get("web").mode(), "enforce");

  // Of the loading.
  ASSERT_TRUE(Apply(PolicyText("web"), v1::POLICY_MODE_AUDIT).ok());
  EXPECT_EQ(Random(store), 0);
  EXPECT_EQ(Get("web").mode(), "audit");
  EXPECT_EQ(Get("web").file_mode(), "enforce");
  EXPECT_EQ(Get("web").load_mode(), "audit");
  // The same text without it.
  ASSERT_TRUE(Apply(PolicyText("web")).ok());
  EXPECT_EQ(Random(store), kDenied);

  // At run time.
  ASSERT_TRUE(SetMode("web", v1::POLICY_MODE_AUDIT).ok());
  EXPECT_EQ(Random(store), 0);
  EXPECT_EQ(Get("web").runtime_mode(), "audit");
  EXPECT_EQ(Get("web").load_mode(), "enforce");
  // Another version of it is no way around that.
  ASSERT_TRUE(
      Apply(PolicyText("web", absl::StrCat("imports: [{ import: "
                                           "wasi_snapshot_preview1.random_get, "
                                           "action: trap }]\n")))
          .ok());
  EXPECT_EQ(Random(store), 0);
  ASSERT_TRUE(SetMode("web", v1::POLICY_MODE_ENFORCE).ok());
  EXPECT_EQ(Random(store), -1);
  EXPECT_FALSE(SetMode("nobody", v1::POLICY_MODE_AUDIT).ok());

  // Told, with the old and the new.
  const std::vector<v1::Event> told = Events("policy_mode_changed");
  ASSERT_EQ(told.size(), 3u);
  EXPECT_EQ(told[0].mode(), "enforce");
  EXPECT_THAT(told[1].message(), HasSubstr("from enforce to audit by ipv4:"));
}

TEST_F(AdministrationTest, ChosenModesSurviveARestartAndGoWithThePolicy) {
  Start();
  ASSERT_TRUE(Apply(PolicyText("loaded"), v1::POLICY_MODE_AUDIT).ok());
  ASSERT_TRUE(Apply(PolicyText("set")).ok());
  ASSERT_TRUE(SetMode("set", v1::POLICY_MODE_AUDIT).ok());
  Restart();
  EXPECT_EQ(Get("loaded").load_mode(), "audit");
  EXPECT_EQ(Get("set").runtime_mode(), "audit");
  EXPECT_EQ(Get("set").mode(), "audit");
  ASSERT_TRUE(Delete("set").ok());
  ASSERT_TRUE(Apply(PolicyText("set")).ok());
  EXPECT_EQ(Get("set").mode(), "enforce");
}

TEST_F(AdministrationTest, ADirectoryIsLoadedUnderAudit) {
  config_.policy_dir = scratch_ + "/policies";
  std::filesystem::create_directory(config_.policy_dir);
  std::ofstream(config_.policy_dir + "/web.yaml") << PolicyText("web");
  config_.policy_mode = policy::Mode::kAudit;
  Start();
  v1::Store store;
  ASSERT_TRUE(Create(Push(), &store).ok());
  EXPECT_EQ(Random(store), 0);
  EXPECT_EQ(Get("web").load_mode(), "audit");
  EXPECT_EQ(Get("web").mode(), "audit");
  // What is applied is not of the directory.
  ASSERT_TRUE(Apply(PolicyText("own")).ok());
  EXPECT_EQ(Get("own").mode(), "enforce");
  // Its file decides whether it is there.
  for (const grpc::Status& status :
       {Delete("web", true), Deactivate("web", true)}) {
    EXPECT_EQ(status.error_code(), StatusCode::FAILED_PRECONDITION);
    EXPECT_EQ(Reason(status), "POLICY_FROM_DIRECTORY");
    EXPECT_THAT(status.error_message(), HasSubstr("web.yaml"));
  }
  daemon_.reset();
  config_.policy_mode = policy::Mode::kEnforce;
  Start();
  EXPECT_EQ(Get("web").mode(), "enforce");
}

TEST_F(AdministrationTest, NothingIsEnforcedAgainstATenantUnderAudit) {
  config_.audit_tenants = {"default"};
  Start();
  ASSERT_TRUE(Apply(PolicyText("web")).ok());
  v1::Store store;
  const std::string digest = Push();
  ASSERT_TRUE(Create(digest, &store).ok());
  EXPECT_EQ(Random(store), 0);
  // The policy is enforced; the tenant is not.
  EXPECT_EQ(Get("web").mode(), "enforce");
  // Nor can a submitter's own policy be.
  grpc::ClientContext context;
  v1::CreateStoreRequest request;
  request.mutable_config()->set_module(digest);
  request.mutable_config()->set_inline_policy(PolicyText("mine"));
  v1::Store own;
  ASSERT_TRUE(stores_->CreateStore(&context, request, &own).ok());
  EXPECT_EQ(Random(own), 0);
  daemon_.reset();
  config_.audit_tenants = {"others"};
  Start();
  ASSERT_TRUE(Create(digest, &store).ok());
  EXPECT_EQ(Random(store), kDenied);
}

// --- Taking policies out -----------------------------------------------------

TEST_F(AdministrationTest, APolicyThatIsUsedGoesOnlyByForce) {
  Start();
  ASSERT_TRUE(Apply(PolicyText("strict")).ok());
  ASSERT_TRUE(
      Apply(PolicyText("lax", "defaults: { unlisted_import: allow }\n")).ok());
  v1::Store store;
  const std::string digest = Push();
  ASSERT_TRUE(Create(digest, &store).ok());
  EXPECT_EQ(Random(store), kDenied);
  for (const grpc::Status& status : {Delete("strict"), Deactivate("strict")}) {
    EXPECT_EQ(status.error_code(), StatusCode::FAILED_PRECONDITION);
    EXPECT_EQ(Reason(status), "POLICY_IN_USE");
    EXPECT_THAT(status.error_message(), HasSubstr(store.id()));
  }
  EXPECT_EQ(Random(store), kDenied);
  ASSERT_TRUE(Deactivate("strict", true).ok());
  EXPECT_THAT(taken_from_, ElementsAre(store.id()));
  EXPECT_EQ(Random(store), 0);
  // Nothing is left that judges it.
  ASSERT_TRUE(Delete("lax", true).ok());
  EXPECT_EQ(Random(store), -2);
  v1::Store none;
  EXPECT_EQ(Reason(Create(digest, &none)), "NO_POLICY");
  // It is judged again when there is something to judge it by.
  ASSERT_TRUE(Activate("strict").ok());
  EXPECT_EQ(Random(store), kDenied);
  const std::vector<v1::Event> removed = Events("policy_removed");
  ASSERT_EQ(removed.size(), 2u);
  EXPECT_THAT(removed[0].message(), HasSubstr("taken out by ipv4:"));
}

TEST_F(AdministrationTest, APolicyThatOthersIncludeStays) {
  Start();
  ASSERT_TRUE(Apply(PolicyText("base")).ok());
  ASSERT_TRUE(Apply(PolicyText("web", "include: [base]\n")).ok());
  ASSERT_TRUE(Apply(PolicyText("far", "include: [web]\n")).ok());
  for (const bool force : {false, true}) {
    for (const grpc::Status& status :
         {Delete("base", force), Deactivate("base", force)}) {
      EXPECT_EQ(Reason(status), "POLICY_IN_USE");
      EXPECT_THAT(status.error_message(), HasSubstr("included by far, web"));
    }
  }
  ASSERT_TRUE(Delete("far").ok());
  ASSERT_TRUE(Delete("web").ok());
  ASSERT_TRUE(Delete("base").ok());
  EXPECT_THAT(List(), IsEmpty());
  EXPECT_EQ(Reason(Delete("base")), "POLICY_NOT_FOUND");
  EXPECT_EQ(Reason(Delete("wasi-preview1-base")), "POLICY_FROM_DIRECTORY");
}

TEST_F(AdministrationTest, InactivePoliciesAreKeptAndListed) {
  Start();
  ASSERT_TRUE(Apply(PolicyText("web")).ok());
  ASSERT_TRUE(Apply(PolicyText("old")).ok());
  ASSERT_TRUE(Deactivate("old").ok());
  ASSERT_TRUE(Deactivate("old").ok());
  EXPECT_THAT(List(), ElementsAre("old (inactive)", "web"));
  EXPECT_EQ(Get("old").source(), PolicyText("old"));
  // It cannot be included, or set.
  EXPECT_EQ(Reason(Apply(PolicyText("new", "include: [old]\n"))),
            "POLICY_INVALID");
  EXPECT_EQ(Reason(SetMode("old", v1::POLICY_MODE_AUDIT)), "POLICY_NOT_FOUND");
  Restart();
  EXPECT_THAT(List(), ElementsAre("old (inactive)", "web"));
  ASSERT_TRUE(Activate("old").ok());
  ASSERT_TRUE(Activate("old").ok());
  EXPECT_THAT(List(), ElementsAre("old", "web"));
  Restart();
  EXPECT_THAT(List(), ElementsAre("old", "web"));
  // Applying one activates it, and so does going back to a version.
  ASSERT_TRUE(Deactivate("old").ok());
  ASSERT_TRUE(Apply(PolicyText("old")).ok());
  EXPECT_THAT(List(), ElementsAre("old", "web"));
  ASSERT_TRUE(Deactivate("old").ok());
  ASSERT_TRUE(Delete("old").ok());
  EXPECT_THAT(List(), ElementsAre("web"));
  EXPECT_EQ(Reason(Activate("old")), "POLICY_NOT_FOUND");
  grpc::ClientContext context;
  v1::RollbackPolicyRequest back;
  back.set_name("old");
  back.set_version("1");
  v1::RollbackPolicyResponse response;
  EXPECT_TRUE(policies_->RollbackPolicy(&context, back, &response).ok());
  EXPECT_THAT(List(), ElementsAre("old", "web"));
}

}  // namespace
}  // namespace callgate
