// The services, over a real daemon in this process and real sockets.

#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <thread>
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
#include "proto/google/rpc/error_details.pb.h"
#include "server/daemon.h"
#include "server/storage/digest.h"
#include "tests/support/wat.h"

namespace callgate {
namespace {

using grpc::StatusCode;
using testing::HasSubstr;

std::string Scratch() {
  std::string path =
      std::string(std::getenv("TEST_TMPDIR")) + "/services.XXXXXX";
  return mkdtemp(&path[0]);
}

Config TestConfig() {
  Config config;
  config.compiler =
      absl::StrCat(getenv("TEST_SRCDIR"), "/", getenv("TEST_WORKSPACE"),
                   "/server/callgate-compile");
  config.listen = "127.0.0.1:0";
  config.metrics = "127.0.0.1:0";
  config.data = Scratch() + "/data";
  config.drain_timeout = absl::Seconds(5);
  return config;
}

std::string Assemble(absl::string_view wat) {
  const absl::StatusOr<std::vector<uint8_t>> bytes = AssembleWat(wat);
  EXPECT_TRUE(bytes.ok()) << bytes.status();
  return std::string(bytes->begin(), bytes->end());
}

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

// The code's number and the reason: "9 STORE_ENDED".
std::string Show(const grpc::Status& status) {
  return absl::StrCat(static_cast<int>(status.error_code()), " ",
                      Reason(status));
}

// A client of one daemon.
class Client {
 public:
  explicit Client(const std::string& address)
      : channel_(Connect(address)),
        modules_(v1::ModuleService::NewStub(channel_)),
        stores_(v1::StoreService::NewStub(channel_)),
        policies_(v1::PolicyService::NewStub(channel_)),
        events_(v1::EventService::NewStub(channel_)) {}

  v1::ModuleService::Stub& modules() { return *modules_; }
  v1::StoreService::Stub& stores() { return *stores_; }
  v1::PolicyService::Stub& policies() { return *policies_; }
  v1::EventService::Stub& events() { return *events_; }

  struct UploadOptions {
    std::string parent;
    std::string expected_digest;
    std::optional<int64_t> size;  // absent: the true one
    size_t chunk_bytes = 65'536;
    std::map<std::string, std::string> labels;
    bool send_chunks = true;
  };
  grpc::Status Upload(absl::string_view bytes, const UploadOptions& options,
                      v1::UploadModuleResponse* response) {
    grpc::ClientContext context;
    const auto writer = modules_->UploadModule(&context, response);
    v1::UploadModuleRequest request;
    auto* header = request.mutable_header();
    header->set_parent(options.parent);
    header->set_expected_digest(options.expected_digest);
    header->set_size_bytes(
        options.size.value_or(static_cast<int64_t>(bytes.size())));
    header->mutable_labels()->insert(options.labels.begin(),
                                     options.labels.end());
    bool open = writer->Write(request);
    while (open && options.send_chunks && !bytes.empty()) {
      const absl::string_view chunk = bytes.substr(0, options.chunk_bytes);
      request.set_chunk(std::string(chunk));
      bytes.remove_prefix(chunk.size());
      open = writer->Write(request);
    }
    if (options.send_chunks) writer->WritesDone();
    return writer->Finish();
  }

  // The digest of a module that is there afterwards.
  std::string Push(absl::string_view wat,
                   std::map<std::string, std::string> labels = {}) {
    UploadOptions options;
    options.labels = std::move(labels);
    v1::UploadModuleResponse response;
    const grpc::Status status = Upload(Assemble(wat), options, &response);
    EXPECT_TRUE(status.ok()) << status.error_message();
    return response.module().digest();
  }

  grpc::Status Create(const v1::CreateStoreRequest& request, v1::Store* store) {
    grpc::ClientContext context;
    return stores_->CreateStore(&context, request, store);
  }

  grpc::Status Invoke(const std::string& store, const std::string& name,
                      const std::vector<int32_t>& args,
                      v1::InvokeResponse* response,
                      absl::Time deadline = absl::InfiniteFuture()) {
    grpc::ClientContext context;
    if (deadline != absl::InfiniteFuture()) {
      context.set_deadline(absl::ToChronoTime(deadline));
    }
    v1::InvokeRequest request;
    request.set_name(store);
    request.set_export_(name);
    for (const int32_t arg : args) request.add_args()->set_i32(arg);
    return stores_->Invoke(&context, request, response);
  }

  grpc::Status Kill(const std::string& store, v1::Store* response) {
    grpc::ClientContext context;
    v1::KillStoreRequest request;
    request.set_name(store);
    return stores_->KillStore(&context, request, response);
  }

  grpc::Status Apply(const std::string& yaml, v1::ApplyPolicyResponse* response,
                     const std::string& etag = "") {
    grpc::ClientContext context;
    v1::ApplyPolicyRequest request;
    request.set_source(yaml);
    request.set_file_name("test.yaml");
    request.set_etag(etag);
    return policies_->ApplyPolicy(&context, request, response);
  }

  // What is kept of the events that `request` asks for.
  std::vector<v1::WatchEventsResponse> KeptEvents(
      v1::WatchEventsRequest request, grpc::Status* status = nullptr) {
    grpc::ClientContext context;
    request.set_stop_at_end(true);
    if (request.resume_token().empty()) request.set_include_kept(true);
    const auto reader = events_->WatchEvents(&context, request);
    std::vector<v1::WatchEventsResponse> all;
    v1::WatchEventsResponse response;
    while (reader->Read(&response)) all.push_back(response);
    const grpc::Status end = reader->Finish();
    if (status != nullptr) {
      *status = end;
    } else {
      EXPECT_TRUE(end.ok()) << end.error_message();
    }
    return all;
  }

  static std::shared_ptr<grpc::Channel> Connect(const std::string& address) {
    grpc::ChannelArguments arguments;
    arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
    arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
    return grpc::CreateCustomChannel(
        address, grpc::InsecureChannelCredentials(), arguments);
  }

 private:
  const std::shared_ptr<grpc::Channel> channel_;
  const std::unique_ptr<v1::ModuleService::Stub> modules_;
  const std::unique_ptr<v1::StoreService::Stub> stores_;
  const std::unique_ptr<v1::PolicyService::Stub> policies_;
  const std::unique_ptr<v1::EventService::Stub> events_;
};

constexpr char kOpenPolicy[] =
    "api_version: callgate.policy/v1\n"
    "kind: Policy\n"
    "metadata: { name: open }\n"
    "defaults: { unlisted_import: allow }\n";

constexpr char kGuest[] = R"((module
  (import "wasi_snapshot_preview1" "random_get"
    (func $random (param i32 i32) (result i32)))
  (memory (export "memory") 1)
  (func (export "add") (param i32 i32) (result i32)
    (i32.add (local.get 0) (local.get 1)))
  (func (export "random") (result i32)
    (call $random (i32.const 0) (i32.const 8)))
  (func (export "spin") (loop (br 0)))
  (func (export "crash") unreachable)))";

// Copies stdin to stdout and exits with 7.
constexpr char kCat[] = R"((module
  (import "wasi_snapshot_preview1" "fd_read"
    (func $read (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write"
    (func $write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
  (memory (export "memory") 2)
  (func (export "_start")
    (loop $more
      (i32.store (i32.const 0) (i32.const 1024))
      (i32.store (i32.const 4) (i32.const 65536))
      (drop (call $read (i32.const 0) (i32.const 0) (i32.const 1)
                        (i32.const 8)))
      (i32.store (i32.const 4) (i32.load (i32.const 8)))
      (if (i32.eqz (i32.load (i32.const 8))) (then (call $exit (i32.const 7))))
      (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1)
                         (i32.const 12)))
      (br $more)))
  (func (export "spin") (loop (br 0)))))";

// One daemon for all tests that can share it: stopping its metrics page takes
// seconds.
class ServicesTest : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    Config config = TestConfig();
    config.upload_stall = absl::Milliseconds(300);
    config.max_stores = 64;
    config.allow_dirs = {Scratch()};
    allowed_ = config.allow_dirs[0];
    absl::StatusOr<std::unique_ptr<Daemon>> daemon = Daemon::Start(config);
    ASSERT_TRUE(daemon.ok()) << daemon.status();
    daemon_ = daemon->release();
    client_ = new Client(daemon_->listen_address());
    v1::ApplyPolicyResponse response;
    const grpc::Status status = client_->Apply(kOpenPolicy, &response);
    ASSERT_TRUE(status.ok()) << status.error_message();
  }
  static void TearDownTestSuite() {
    delete client_;
    delete daemon_;
  }

  Client& client() { return *client_; }

  // A request for a Store of this module.
  static v1::CreateStoreRequest StoreOf(const std::string& digest) {
    v1::CreateStoreRequest request;
    request.mutable_config()->set_module(digest);
    return request;
  }
  std::string NewStore(const std::string& digest) {
    v1::Store store;
    const grpc::Status status = client().Create(StoreOf(digest), &store);
    EXPECT_TRUE(status.ok()) << status.error_message();
    return store.name();
  }

  static Daemon* daemon_;
  static Client* client_;
  static std::string allowed_;
};

Daemon* ServicesTest::daemon_ = nullptr;
Client* ServicesTest::client_ = nullptr;
std::string ServicesTest::allowed_;

// --- Modules -----------------------------------------------------------------

TEST_F(ServicesTest, AModuleIsStoredOnceAndAnsweredAtOnceAfterwards) {
  const std::string bytes = Assemble("(module (func (export \"once\")))");
  Client::UploadOptions options;
  options.expected_digest = storage::DigestOf(bytes).ToString();
  options.chunk_bytes = 3;
  options.labels = {{"class", "test"}};
  v1::UploadModuleResponse response;
  grpc::Status status = client().Upload(bytes, options, &response);
  ASSERT_TRUE(status.ok()) << status.error_message();
  EXPECT_FALSE(response.already_present());
  const v1::Module& module = response.module();
  EXPECT_EQ(module.digest(), options.expected_digest);
  EXPECT_EQ(module.name(),
            absl::StrCat("tenants/default/modules/", options.expected_digest));
  EXPECT_EQ(module.size_bytes(), static_cast<int64_t>(bytes.size()));
  EXPECT_EQ(module.labels().at("class"), "test");
  ASSERT_EQ(module.exports_size(), 1);
  EXPECT_EQ(module.exports(0).name(), "once");
  EXPECT_EQ(module.exports(0).kind(), v1::EXTERN_KIND_FUNC);
  EXPECT_GT(module.admission().measures_size(), 10);

  // No chunk is sent, and the stream is left open: only the header counts.
  options.send_chunks = false;
  status = client().Upload(bytes, options, &response);
  ASSERT_TRUE(status.ok()) << status.error_message();
  EXPECT_TRUE(response.already_present());
  EXPECT_EQ(response.module().exports_size(), 1);

  options.send_chunks = true;
  options.expected_digest.clear();
  options.labels.clear();
  status = client().Upload(bytes, options, &response);
  ASSERT_TRUE(status.ok()) << status.error_message();
  EXPECT_TRUE(response.already_present());
  options.labels = {{"class", "other"}};
  EXPECT_EQ(Show(client().Upload(bytes, options, &response)),
            "6 LABELS_DIFFER");
}

TEST_F(ServicesTest, UploadsThatAreWrongAreRefusedWithTheirReason) {
  const std::string good = Assemble("(module)");
  struct Row {
    std::string what;
    std::string bytes;
    Client::UploadOptions options;
    std::string want;
  };
  std::vector<Row> rows;
  const auto add = [&rows](std::string what, std::string bytes,
                           std::string want) -> Client::UploadOptions& {
    rows.push_back({std::move(what), std::move(bytes), {}, std::move(want)});
    return rows.back().options;
  };
  add("empty", "", "3 MODULE_MALFORMED");
  add("text", "hello, world", "3 MODULE_MALFORMED");
  add("cut", good.substr(0, 7), "3 MODULE_MALFORMED");
  // (func (result i32)) without a value: the scan passes it, the validator not.
  add("invalid",
      std::string("\0asm\1\0\0\0\1\5\1\x60\0\1\x7f\3\2\1\0\xa\4\1\2\0\xb", 25),
      "3 MODULE_INVALID");
  add("threads", std::string("\0asm\1\0\0\0\5\4\1\3\1\1", 14),
      "3 MODULE_UNSUPPORTED");
  add("over_limit", Assemble("(module (memory 2000))"), "9 MODULE_OVER_LIMIT");
  add("size_over_limit", good, "9 MODULE_OVER_LIMIT").size = 1 << 30;
  add("size_negative", good, "3 BAD_ARGUMENT").size = -2;
  add("size_too_small", good, "3 SIZE_MISMATCH").size = 7;
  add("size_too_large", good, "3 SIZE_MISMATCH").size = 9;
  add("digest", good, "3 DIGEST_MISMATCH").expected_digest =
      absl::StrCat("sha256:", std::string(64, '0'));
  add("no_digest", good, "3 BAD_ARGUMENT").expected_digest = "sha256:x";
  add("parent", good, "3 BAD_ARGUMENT").parent = "acme";
  add("labels", good, "3 BAD_ARGUMENT").labels = {{"", "x"}};
  add("chunk", std::string(65'537, 'x'), "3 BAD_CHUNK").chunk_bytes = 65'537;
  for (const Row& row : rows) {
    v1::UploadModuleResponse response;
    const grpc::Status status =
        client().Upload(row.bytes, row.options, &response);
    EXPECT_EQ(Show(status), row.want)
        << row.what << ": " << status.error_message();
    EXPECT_FALSE(status.error_message().empty()) << row.what;
  }
}

TEST_F(ServicesTest, TheFirstMessageMustBeTheHeaderAndOnlyTheFirst) {
  for (const bool header_first : {false, true}) {
    grpc::ClientContext context;
    v1::UploadModuleResponse response;
    const auto writer = client().modules().UploadModule(&context, &response);
    v1::UploadModuleRequest request;
    if (header_first) {
      request.mutable_header()->set_size_bytes(8);
      writer->Write(request);
      writer->Write(request);
    } else {
      request.set_chunk("x");
      writer->Write(request);
    }
    writer->WritesDone();
    EXPECT_EQ(Show(writer->Finish()),
              header_first ? "3 BAD_CHUNK" : "3 BAD_ARGUMENT");
  }
}

TEST_F(ServicesTest, AnUploadThatStallsIsEnded) {
  grpc::ClientContext context;
  v1::UploadModuleResponse response;
  const auto writer = client().modules().UploadModule(&context, &response);
  v1::UploadModuleRequest request;
  request.mutable_header()->set_size_bytes(8);
  ASSERT_TRUE(writer->Write(request));
  // Nothing more is sent; the daemon ends it.
  EXPECT_EQ(Show(writer->Finish()), "4 UPLOAD_STALLED");
}

TEST_F(ServicesTest, ModulesAreListedInPagesAndDeleted) {
  const std::string a = client().Push("(module (func (export \"list-a\")))");
  const std::string b = client().Push("(module (func (export \"list-b\")))");
  std::vector<std::string> digests;
  std::string token;
  do {
    grpc::ClientContext context;
    v1::ListModulesRequest request;
    request.set_page_size(1);
    request.set_page_token(token);
    v1::ListModulesResponse response;
    ASSERT_TRUE(
        client().modules().ListModules(&context, request, &response).ok());
    ASSERT_LE(response.modules_size(), 1);
    for (const v1::Module& module : response.modules()) {
      digests.push_back(module.digest());
      EXPECT_EQ(module.exports_size(), 0);
    }
    token = response.next_page_token();
  } while (!token.empty());
  EXPECT_TRUE(std::is_sorted(digests.begin(), digests.end()));
  EXPECT_EQ(std::count(digests.begin(), digests.end(), a), 1);
  EXPECT_EQ(std::count(digests.begin(), digests.end(), b), 1);

  const std::string store = NewStore(a);
  const auto remove = [this](const std::string& name) {
    grpc::ClientContext context;
    v1::DeleteModuleRequest request;
    request.set_name(name);
    google::protobuf::Empty response;
    return client().modules().DeleteModule(&context, request, &response);
  };
  EXPECT_EQ(Show(remove(a)), "9 MODULE_IN_USE");
  v1::Store killed;
  ASSERT_TRUE(client().Kill(store, &killed).ok());
  EXPECT_TRUE(remove(a).ok());
  EXPECT_EQ(Show(remove(a)), "5 MODULE_NOT_FOUND");
  EXPECT_EQ(Show(remove("x")), "3 BAD_ARGUMENT");
  grpc::ClientContext context;
  v1::GetModuleRequest request;
  request.set_name(a);
  v1::Module module;
  EXPECT_EQ(Show(client().modules().GetModule(&context, request, &module)),
            "5 MODULE_NOT_FOUND");
}

TEST_F(ServicesTest, VerifyKeepsNothingAndSaysWhatWouldBecomeOfIt) {
  const auto verify = [this](const std::string& bytes) {
    grpc::ClientContext context;
    v1::VerifyModuleResponse response;
    const auto writer = client().modules().VerifyModule(&context, &response);
    v1::VerifyModuleRequest request;
    request.mutable_header()->set_size_bytes(
        static_cast<int64_t>(bytes.size()));
    writer->Write(request);
    request.set_chunk(bytes);
    writer->Write(request);
    writer->WritesDone();
    const grpc::Status status = writer->Finish();
    EXPECT_TRUE(status.ok()) << status.error_message();
    return response;
  };
  const std::string bytes =
      Assemble(R"((module (import "net" "send" (func))))");
  const v1::VerifyModuleResponse good = verify(bytes);
  EXPECT_TRUE(good.admitted());
  ASSERT_EQ(good.missing_imports_size(), 1);
  EXPECT_EQ(good.missing_imports(0).name(), "send");
  const v1::VerifyModuleResponse bad = verify("hello");
  EXPECT_FALSE(bad.admitted());
  EXPECT_EQ(bad.refusal().reason(), "MODULE_MALFORMED");
  EXPECT_FALSE(bad.refusal().message().empty());
  const v1::VerifyModuleResponse large =
      verify(Assemble("(module (memory 2000))"));
  EXPECT_EQ(large.refusal().limit(), "memory_pages_initial");
  EXPECT_EQ(large.refusal().value(), 2000u);
  EXPECT_EQ(large.refusal().max(), 1024u);
  EXPECT_TRUE(large.refusal().has_offset());
  grpc::ClientContext context;
  v1::GetModuleRequest request;
  request.set_name(storage::DigestOf(bytes).ToString());
  v1::Module module;
  EXPECT_EQ(Show(client().modules().GetModule(&context, request, &module)),
            "5 MODULE_NOT_FOUND");
}

// --- Stores ------------------------------------------------------------------

TEST_F(ServicesTest, AStoreTakesCallsUntilItIsKilled) {
  const std::string digest = client().Push(kGuest);
  v1::CreateStoreRequest wanted = StoreOf(digest);
  (*wanted.mutable_config()->mutable_labels())["a"] = "b";
  v1::Store store;
  ASSERT_TRUE(client().Create(wanted, &store).ok());
  EXPECT_EQ(store.state(), v1::STORE_STATE_IDLE);
  EXPECT_EQ(store.module_digest(), digest);
  EXPECT_EQ(store.labels().at("a"), "b");
  ASSERT_EQ(store.policies_size(), 1);
  EXPECT_THAT(store.policies(0), testing::StartsWith("open@"));

  v1::InvokeResponse response;
  grpc::Status status =
      client().Invoke(store.name(), "add", {40, 2}, &response);
  ASSERT_TRUE(status.ok()) << status.error_message();
  EXPECT_EQ(response.outcome().kind(), v1::OUTCOME_KIND_RETURNED);
  EXPECT_EQ(response.outcome().results(0).i32(), 42);
  EXPECT_GT(response.outcome().usage().fuel(), 0u);
  // The short form of its name.
  ASSERT_TRUE(client().Invoke(store.id(), "crash", {}, &response).ok());
  EXPECT_EQ(response.outcome().kind(), v1::OUTCOME_KIND_TRAPPED);
  EXPECT_EQ(response.outcome().exit_code(), 134);
  EXPECT_EQ(response.outcome().trap().code(), "unreachable");
  EXPECT_TRUE(response.outcome().store_usable());

  EXPECT_EQ(Show(client().Invoke(store.name(), "nope", {}, &response)),
            "5 EXPORT_NOT_FOUND");
  EXPECT_EQ(Show(client().Invoke(store.name(), "_start", {}, &response)),
            "9 NO_START");
  EXPECT_EQ(Show(client().Invoke(store.name(), "add", {1}, &response)),
            "3 BAD_ARGUMENT");

  v1::Store killed;
  ASSERT_TRUE(client().Kill(store.name(), &killed).ok());
  EXPECT_EQ(killed.state(), v1::STORE_STATE_KILLED);
  EXPECT_THAT(killed.end_reason(), HasSubstr("killed by request"));
  EXPECT_EQ(killed.calls(), 3);
  ASSERT_TRUE(client().Kill(store.name(), &killed).ok());  // again is fine
  EXPECT_EQ(Show(client().Invoke(store.name(), "add", {1, 2}, &response)),
            "9 STORE_ENDED");
  EXPECT_EQ(Show(client().Invoke("s-nothing", "add", {1, 2}, &response)),
            "5 STORE_NOT_FOUND");
}

TEST_F(ServicesTest, StoresThatCannotBeMadeSayWhy) {
  const std::string guest = client().Push(kGuest);
  struct Row {
    std::string what;
    v1::StoreConfig config;
    std::string want;
  };
  std::vector<Row> rows;
  const auto add = [&rows](std::string what, const std::string& module,
                           std::string want) -> v1::StoreConfig& {
    rows.push_back({std::move(what), {}, std::move(want)});
    rows.back().config.set_module(module);
    return rows.back().config;
  };
  add("no module", absl::StrCat("sha256:", std::string(64, '0')),
      "5 MODULE_NOT_FOUND");
  add("no digest", "x", "3 BAD_ARGUMENT");
  add("missing import",
      client().Push(R"((module (import "no" "such" (func))))"),
      "9 MISSING_IMPORT");
  add("import type", client().Push(R"((module
        (import "wasi_snapshot_preview1" "sched_yield" (func))))"),
      "9 IMPORT_TYPE");
  add("start traps", client().Push("(module (func $s unreachable) (start $s))"),
      "9 INSTANTIATION_TRAPPED");
  add("policy", guest, "9 POLICY_NOT_FOUND").set_policy("nope");
  add("inline policy", guest, "3 POLICY_INVALID")
      .set_inline_policy(
          "api_version: callgate.policy/v1\nkind: Policy\n"
          "metadata: { name: p }\nbudgetz: {}\n");
  add("inline policy over limit", guest, "9 MODULE_OVER_LIMIT")
      .set_inline_policy(
          "api_version: callgate.policy/v1\nkind: Policy\n"
          "metadata: { name: p }\n"
          "budgets: { module: { functions: 1 } }\n");
  auto* dir = add("directory", guest, "9 DIR_NOT_ALLOWED").add_dirs();
  dir->set_host_path("/etc");
  dir->set_guest_path("/etc");
  dir = add("directory above", guest, "9 DIR_NOT_ALLOWED").add_dirs();
  dir->set_host_path(allowed_ + "/..");
  dir->set_guest_path("/x");
  dir = add("relative directory", guest, "3 BAD_ARGUMENT").add_dirs();
  dir->set_host_path("etc");
  dir->set_guest_path("/etc");
  dir = add("missing directory", guest, "3 BAD_ARGUMENT").add_dirs();
  dir->set_host_path(allowed_ + "/none");
  dir->set_guest_path("/x");
  auto* stub = add("stub of WASI", guest, "3 BAD_ARGUMENT").add_stubs();
  stub->set_module("wasi_snapshot_preview1");
  stub->set_name("random_get");
  add("timeout", guest, "3 BAD_ARGUMENT").mutable_timeout();
  add("environment", guest, "3 BAD_ARGUMENT").add_env("novalue");
  v1::StoreConfig& args = add("arguments", guest, "3 BAD_ARGUMENT");
  for (int i = 0; i < 4'097; ++i) args.add_args("x");
  for (const Row& row : rows) {
    v1::CreateStoreRequest request;
    *request.mutable_config() = row.config;
    v1::Store store;
    const grpc::Status status = client().Create(request, &store);
    EXPECT_EQ(Show(status), row.want)
        << row.what << ": " << status.error_message();
  }
  // None of them has left anything behind.
  grpc::ClientContext context;
  v1::GetModuleRequest request;
  request.set_name(guest);
  v1::Module module;
  ASSERT_TRUE(client().modules().GetModule(&context, request, &module).ok());
}

TEST_F(ServicesTest, ARepeatedRequestIsDoneOnce) {
  v1::CreateStoreRequest request = StoreOf(client().Push(kGuest));
  request.set_request_id("the-one");
  v1::Store first;
  v1::Store second;
  ASSERT_TRUE(client().Create(request, &first).ok());
  ASSERT_TRUE(client().Create(request, &second).ok());
  EXPECT_EQ(first.id(), second.id());
  request.mutable_config()->set_fuel(5);
  EXPECT_EQ(Show(client().Create(request, &second)), "3 BAD_ARGUMENT");
  request.set_request_id(std::string(65, 'x'));
  EXPECT_EQ(Show(client().Create(request, &second)), "3 BAD_ARGUMENT");
}

TEST_F(ServicesTest, MemoryIsReadAndWrittenInsideBounds) {
  const std::string store = NewStore(client().Push(kGuest));
  const auto write = [&](uint64_t address, const std::string& data) {
    grpc::ClientContext context;
    v1::WriteMemoryRequest request;
    request.set_name(store);
    request.set_address(address);
    request.set_data(data);
    v1::WriteMemoryResponse response;
    return client().stores().WriteMemory(&context, request, &response);
  };
  const auto read = [&](uint64_t address, uint64_t length,
                        v1::ReadMemoryResponse* response) {
    grpc::ClientContext context;
    v1::ReadMemoryRequest request;
    request.set_name(store);
    request.set_address(address);
    request.set_length(length);
    return client().stores().ReadMemory(&context, request, response);
  };
  EXPECT_TRUE(write(65'531, "hello").ok());
  v1::ReadMemoryResponse response;
  ASSERT_TRUE(read(65'531, 5, &response).ok());
  EXPECT_EQ(response.data(), "hello");
  EXPECT_EQ(response.memory_bytes(), 65'536u);
  EXPECT_EQ(Show(read(65'531, 6, &response)), "11 OUT_OF_BOUNDS");
  EXPECT_EQ(Show(read(~uint64_t{0}, 1, &response)), "11 OUT_OF_BOUNDS");
  EXPECT_EQ(Show(write(65'532, "hello")), "11 OUT_OF_BOUNDS");
  EXPECT_EQ(Show(read(0, (1 << 20) + 1, &response)), "3 BAD_ARGUMENT");
  EXPECT_EQ(Show(write(0, std::string((1 << 20) + 1, 'x'))), "3 BAD_ARGUMENT");
}

TEST_F(ServicesTest, ADeadlineInterruptsTheGuestAndTheStoreLivesOn) {
  const std::string store = NewStore(client().Push(kGuest));
  v1::InvokeResponse response;
  const grpc::Status status = client().Invoke(
      store, "spin", {}, &response, absl::Now() + absl::Milliseconds(100));
  EXPECT_EQ(status.error_code(), StatusCode::DEADLINE_EXCEEDED);
  // Its turn comes when the guest has been interrupted.
  ASSERT_TRUE(client().Invoke(store, "add", {1, 2}, &response).ok());
  EXPECT_EQ(response.outcome().results(0).i32(), 3);
}

TEST_F(ServicesTest, ACancelledCallInterruptsTheGuest) {
  const std::string store = NewStore(client().Push(kGuest));
  grpc::ClientContext context;
  std::thread caller([&] {
    v1::InvokeRequest request;
    request.set_name(store);
    request.set_export_("spin");
    v1::InvokeResponse response;
    EXPECT_EQ(
        client().stores().Invoke(&context, request, &response).error_code(),
        StatusCode::CANCELLED);
  });
  v1::Store seen;
  const absl::Time patience = absl::Now() + absl::Seconds(30);
  do {
    grpc::ClientContext get;
    v1::GetStoreRequest request;
    request.set_name(store);
    ASSERT_TRUE(client().stores().GetStore(&get, request, &seen).ok());
  } while (seen.state() != v1::STORE_STATE_RUNNING && absl::Now() < patience);
  EXPECT_EQ(seen.state(), v1::STORE_STATE_RUNNING);
  context.TryCancel();
  caller.join();
  v1::InvokeResponse response;
  ASSERT_TRUE(client().Invoke(store, "add", {1, 2}, &response).ok());
  EXPECT_EQ(response.outcome().results(0).i32(), 3);
}

TEST_F(ServicesTest, KillReachesAGuestThatRuns) {
  const std::string store = NewStore(client().Push(kGuest));
  v1::InvokeResponse response;
  grpc::Status status;
  std::thread caller(
      [&] { status = client().Invoke(store, "spin", {}, &response); });
  v1::Store seen;
  const absl::Time patience = absl::Now() + absl::Seconds(30);
  do {
    grpc::ClientContext get;
    v1::GetStoreRequest request;
    request.set_name(store);
    ASSERT_TRUE(client().stores().GetStore(&get, request, &seen).ok());
  } while (seen.state() != v1::STORE_STATE_RUNNING && absl::Now() < patience);
  EXPECT_EQ(seen.state(), v1::STORE_STATE_RUNNING);
  v1::Store killed;
  ASSERT_TRUE(client().Kill(store, &killed).ok());
  caller.join();
  ASSERT_TRUE(status.ok()) << status.error_message();
  EXPECT_EQ(response.outcome().kind(), v1::OUTCOME_KIND_KILLED);
  EXPECT_FALSE(response.outcome().store_usable());
}

TEST_F(ServicesTest, OtherTenantsStoresAreNotThere) {
  const std::string id = NewStore(client().Push(kGuest));
  const std::string foreign =
      absl::StrCat("tenants/other/stores/", id.substr(id.rfind('/') + 1));
  v1::InvokeResponse response;
  const grpc::Status theirs = client().Invoke(foreign, "add", {}, &response);
  const grpc::Status absent =
      client().Invoke("tenants/other/stores/s-0", "add", {}, &response);
  EXPECT_EQ(Show(theirs), "5 STORE_NOT_FOUND");
  EXPECT_EQ(theirs.error_message(), absent.error_message());
  v1::Store store;
  EXPECT_EQ(Show(client().Kill(foreign, &store)), "5 STORE_NOT_FOUND");
  grpc::ClientContext context;
  v1::ListStoresRequest request;
  request.set_parent("tenants/other");
  v1::ListStoresResponse list;
  ASSERT_TRUE(client().stores().ListStores(&context, request, &list).ok());
  EXPECT_EQ(list.stores_size(), 0);
}

TEST_F(ServicesTest, StoresAreListedInPages) {
  const std::string store = NewStore(client().Push(kGuest));
  std::vector<std::string> names;
  std::string token;
  do {
    grpc::ClientContext context;
    v1::ListStoresRequest request;
    request.set_page_size(2);
    request.set_page_token(token);
    v1::ListStoresResponse response;
    ASSERT_TRUE(
        client().stores().ListStores(&context, request, &response).ok());
    for (const v1::Store& each : response.stores()) {
      names.push_back(each.name());
    }
    token = response.next_page_token();
  } while (!token.empty());
  EXPECT_TRUE(std::is_sorted(names.begin(), names.end()));
  EXPECT_EQ(std::count(names.begin(), names.end(), store), 1);
}

// --- Verdicts ----------------------------------------------------------------

TEST_F(ServicesTest, AnInlinePolicyTightens) {
  v1::CreateStoreRequest request = StoreOf(client().Push(kGuest));
  request.mutable_config()->set_inline_policy(
      "api_version: callgate.policy/v1\nkind: Policy\n"
      "metadata: { name: strict }\n"
      "imports: [{ id: no-random, import: wasi_snapshot_preview1.random_get, "
      "action: deny }]\n");
  v1::Store store;
  ASSERT_TRUE(client().Create(request, &store).ok());
  v1::InvokeResponse response;
  ASSERT_TRUE(client().Invoke(store.name(), "random", {}, &response).ok());
  EXPECT_EQ(response.outcome().results(0).i32(), 76);
  ASSERT_EQ(response.outcome().verdicts_size(), 1);
  const v1::VerdictCount& verdict = response.outcome().verdicts(0);
  EXPECT_EQ(verdict.rule(), "no-random");
  EXPECT_EQ(verdict.policy(), "strict");
  EXPECT_EQ(verdict.verdict(), v1::VERDICT_DENY);
  EXPECT_EQ(verdict.import_name(), "random_get");

  // The event of it, with the same words.
  v1::WatchEventsRequest watch;
  watch.set_store(store.id());
  watch.add_kinds(v1::EVENT_KIND_DECISION);
  const auto events = client().KeptEvents(watch);
  ASSERT_EQ(events.size(), 1u);
  const v1::Event& event = events[0].event();
  EXPECT_EQ(event.verdict(), v1::VERDICT_DENY);
  EXPECT_EQ(event.rules(0).id(), "no-random");
  EXPECT_EQ(event.call().import_name(), "random_get");
  EXPECT_EQ(event.module_digest(), store.module_digest());
  EXPECT_FALSE(event.decision_id().empty());
}

TEST_F(ServicesTest, AnInlinePolicyHasToPassItsTests) {
  v1::CreateStoreRequest request = StoreOf(client().Push(kGuest));
  const auto policy = [](const std::string& verdict) {
    return absl::StrCat(
        "api_version: callgate.policy/v1\nkind: Policy\n"
        "metadata: { name: tested }\n"
        "imports: [{ id: no-random, import: "
        "wasi_snapshot_preview1.random_get, action: deny }]\n"
        "tests:\n"
        "  - name: dice are out\n"
        "    events: [ { import: wasi_snapshot_preview1.random_get } ]\n"
        "    expect: [ { event: 0, verdict: ",
        verdict, " } ]\n");
  };
  request.mutable_config()->set_inline_policy(policy("allow"));
  request.mutable_config()->set_inline_policy_file_name("mine.yaml");
  v1::Store store;
  const grpc::Status failed = client().Create(request, &store);
  EXPECT_EQ(Show(failed), "3 POLICY_INVALID");
  EXPECT_THAT(failed.error_message(),
              testing::AllOf(HasSubstr("mine.yaml:8:"),
                             HasSubstr("expected allow; it was deny")));
  request.mutable_config()->set_inline_policy(policy("deny"));
  const grpc::Status passed = client().Create(request, &store);
  EXPECT_TRUE(passed.ok()) << passed.error_message();
}

TEST_F(ServicesTest, QuarantineEndsEveryStoreOfTheModule) {
  // A module of its own: its quarantine is for good.
  const std::string digest = client().Push(R"((module
    (import "wasi_snapshot_preview1" "sched_yield" (func $y (result i32)))
    (func (export "run") (result i32) (call $y))
    (func (export "wait")) (func (export "quarantine-me"))))");
  const std::string bystander = NewStore(digest);
  v1::CreateStoreRequest request = StoreOf(digest);
  request.mutable_config()->set_inline_policy(
      "api_version: callgate.policy/v1\nkind: Policy\n"
      "metadata: { name: jail }\n"
      "imports: [{ import: wasi_snapshot_preview1.sched_yield, action: "
      "quarantine_module }]\n");
  v1::Store store;
  ASSERT_TRUE(client().Create(request, &store).ok());
  v1::InvokeResponse response;
  ASSERT_TRUE(client().Invoke(store.name(), "run", {}, &response).ok());
  EXPECT_EQ(response.outcome().kind(), v1::OUTCOME_KIND_POLICY_QUARANTINED);
  EXPECT_FALSE(response.outcome().store_usable());
  EXPECT_EQ(Show(client().Invoke(bystander, "wait", {}, &response)),
            "9 STORE_ENDED");
  EXPECT_EQ(Show(client().Create(StoreOf(digest), &store)),
            "9 MODULE_QUARANTINED");
  grpc::ClientContext context;
  v1::GetModuleRequest get;
  get.set_name(digest);
  v1::Module module;
  ASSERT_TRUE(client().modules().GetModule(&context, get, &module).ok());
  EXPECT_EQ(module.quarantine().policy(), "jail");
  EXPECT_EQ(module.live_stores(), 0);
}

// --- Runs --------------------------------------------------------------------

struct RunAnswers {
  grpc::Status status;
  std::string store;
  std::string output;
  std::string errors;
  v1::Outcome outcome;
  bool has_outcome = false;
};

// Reads all that a run answers.
template <typename Stream>
RunAnswers Collect(Stream& stream) {
  RunAnswers run;
  v1::RunStreamResponse response;
  while (stream.Read(&response)) {
    switch (response.payload_case()) {
      case v1::RunStreamResponse::kStarted:
        run.store = response.started().store();
        break;
      case v1::RunStreamResponse::kStdoutChunk:
        run.output += response.stdout_chunk();
        break;
      case v1::RunStreamResponse::kStderrChunk:
        run.errors += response.stderr_chunk();
        break;
      case v1::RunStreamResponse::kOutcome:
        run.outcome = response.outcome();
        run.has_outcome = true;
        break;
      case v1::RunStreamResponse::PAYLOAD_NOT_SET:
        ADD_FAILURE() << "an empty message";
    }
  }
  run.status = stream.Finish();
  return run;
}

TEST_F(ServicesTest, ARunHasLiveStreams) {
  grpc::ClientContext context;
  const auto stream = client().stores().RunStream(&context);
  v1::RunStreamRequest request;
  request.mutable_config()->mutable_config()->set_module(client().Push(kCat));
  ASSERT_TRUE(stream->Write(request));
  std::string sent;
  std::thread writer([&] {
    for (int i = 0; i < 64; ++i) {
      const std::string chunk(static_cast<size_t>(i) * 1'000 + 1,
                              static_cast<char>('a' + i % 26));
      sent += chunk;
      request.set_stdin_chunk(chunk);
      stream->Write(request);
    }
    stream->WritesDone();
  });
  const RunAnswers run = Collect(*stream);
  writer.join();
  ASSERT_TRUE(run.status.ok()) << run.status.error_message();
  EXPECT_EQ(run.output, sent);
  ASSERT_TRUE(run.has_outcome);
  EXPECT_EQ(run.outcome.kind(), v1::OUTCOME_KIND_EXITED);
  EXPECT_EQ(run.outcome.exit_code(), 7);
  // It is gone when it is over.
  v1::InvokeResponse response;
  EXPECT_EQ(Show(client().Invoke(run.store, "spin", {}, &response)),
            "5 STORE_NOT_FOUND");
}

TEST_F(ServicesTest, ARunThatDoesNotReadEndsWithItsInputOpen) {
  grpc::ClientContext context;
  const auto stream = client().stores().RunStream(&context);
  v1::RunStreamRequest request;
  auto* config = request.mutable_config();
  config->mutable_config()->set_module(client().Push(kGuest));
  config->set_export_("add");
  config->add_args()->set_i32(1);
  config->add_args()->set_i32(2);
  ASSERT_TRUE(stream->Write(request));
  // The stream is not half-closed by us.
  const RunAnswers run = Collect(*stream);
  ASSERT_TRUE(run.status.ok()) << run.status.error_message();
  EXPECT_EQ(run.outcome.results(0).i32(), 3);
}

TEST_F(ServicesTest, ARunWithAWrongFirstMessageIsRefused) {
  grpc::ClientContext context;
  const auto stream = client().stores().RunStream(&context);
  v1::RunStreamRequest request;
  request.set_stdin_chunk("x");
  stream->Write(request);
  EXPECT_EQ(Show(Collect(*stream).status), "3 BAD_ARGUMENT");
  grpc::ClientContext empty;
  const auto nothing = client().stores().RunStream(&empty);
  nothing->WritesDone();
  EXPECT_EQ(Show(Collect(*nothing).status), "3 BAD_ARGUMENT");
}

TEST_F(ServicesTest, ARunWithAnOversizedChunkIsEnded) {
  grpc::ClientContext context;
  const auto stream = client().stores().RunStream(&context);
  v1::RunStreamRequest request;
  request.mutable_config()->mutable_config()->set_module(client().Push(kCat));
  request.mutable_config()->set_export_("spin");
  stream->Write(request);
  request.set_stdin_chunk(std::string(65'537, 'x'));
  stream->Write(request);
  EXPECT_EQ(Show(Collect(*stream).status), "3 BAD_ARGUMENT");
}

TEST_F(ServicesTest, ARunCanBeKilledByItsName) {
  grpc::ClientContext context;
  const auto stream = client().stores().RunStream(&context);
  v1::RunStreamRequest request;
  request.mutable_config()->mutable_config()->set_module(client().Push(kCat));
  request.mutable_config()->set_export_("spin");
  ASSERT_TRUE(stream->Write(request));
  v1::RunStreamResponse started;
  ASSERT_TRUE(stream->Read(&started));
  v1::Store killed;
  ASSERT_TRUE(client().Kill(started.started().store(), &killed).ok());
  const RunAnswers run = Collect(*stream);
  ASSERT_TRUE(run.status.ok()) << run.status.error_message();
  EXPECT_EQ(run.outcome.kind(), v1::OUTCOME_KIND_KILLED);
}

TEST_F(ServicesTest, ACancelledRunEndsItsStore) {
  grpc::ClientContext context;
  const auto stream = client().stores().RunStream(&context);
  v1::RunStreamRequest request;
  request.mutable_config()->mutable_config()->set_module(client().Push(kCat));
  request.mutable_config()->set_export_("spin");
  ASSERT_TRUE(stream->Write(request));
  v1::RunStreamResponse started;
  ASSERT_TRUE(stream->Read(&started));
  context.TryCancel();
  EXPECT_EQ(Collect(*stream).status.error_code(), StatusCode::CANCELLED);
  grpc::Status status;
  do {
    grpc::ClientContext get;
    v1::GetStoreRequest wanted;
    wanted.set_name(started.started().store());
    v1::Store store;
    status = client().stores().GetStore(&get, wanted, &store);
  } while (status.ok());
  EXPECT_EQ(Show(status), "5 STORE_NOT_FOUND");
}

TEST_F(ServicesTest, ARunThatCannotBeginSaysWhy) {
  struct Row {
    std::string module;
    std::string want;
  };
  for (const Row& row : std::vector<Row>{
           {client().Push(kGuest), "9 NO_START"},
           {client().Push(R"((module (import "a" "b" (func))))"),
            "9 MISSING_IMPORT"},
           {"sha256:1", "3 BAD_ARGUMENT"},
       }) {
    grpc::ClientContext context;
    const auto stream = client().stores().RunStream(&context);
    v1::RunStreamRequest request;
    request.mutable_config()->mutable_config()->set_module(row.module);
    stream->Write(request);
    EXPECT_EQ(Show(Collect(*stream).status), row.want);
  }
  // A start function that traps is the guest's doing, and an outcome.
  grpc::ClientContext context;
  const auto stream = client().stores().RunStream(&context);
  v1::RunStreamRequest request;
  request.mutable_config()->mutable_config()->set_module(
      client().Push("(module (func $s unreachable) (start $s))"));
  stream->Write(request);
  const RunAnswers run = Collect(*stream);
  ASSERT_TRUE(run.status.ok()) << run.status.error_message();
  EXPECT_EQ(run.outcome.kind(), v1::OUTCOME_KIND_TRAPPED);
}

// --- Policies ----------------------------------------------------------------

TEST_F(ServicesTest, PoliciesAreValidatedAppliedAndListed) {
  const std::string yaml =
      "api_version: callgate.policy/v1\nkind: Policy\n"
      "metadata: { name: extra, description: For a test. }\n"
      "applies_to: { tenants: [nobody] }\n";
  v1::ApplyPolicyResponse applied;
  ASSERT_TRUE(client().Apply(yaml, &applied, "-").ok());
  EXPECT_EQ(applied.policy().name(), "policies/extra");
  EXPECT_EQ(applied.policy().origin(), v1::POLICY_ORIGIN_APPLIED);
  EXPECT_EQ(applied.policy().version().size(), 64u);
  EXPECT_EQ(Show(client().Apply(yaml, &applied, "-")), "10 ETAG_MISMATCH");
  const std::string etag = applied.policy().etag();
  ASSERT_TRUE(client().Apply(yaml, &applied, etag).ok());
  EXPECT_TRUE(applied.unchanged());

  grpc::ClientContext get_context;
  v1::GetPolicyRequest get;
  get.set_name("extra");
  v1::Policy policy;
  ASSERT_TRUE(client().policies().GetPolicy(&get_context, get, &policy).ok());
  EXPECT_EQ(policy.source(), yaml);
  EXPECT_EQ(policy.description(), "For a test.");
  grpc::ClientContext missing_context;
  get.set_name("policies/none");
  EXPECT_EQ(Show(client().policies().GetPolicy(&missing_context, get, &policy)),
            "5 POLICY_NOT_FOUND");

  grpc::ClientContext list_context;
  v1::ListPoliciesRequest list;
  v1::ListPoliciesResponse listed;
  ASSERT_TRUE(
      client().policies().ListPolicies(&list_context, list, &listed).ok());
  EXPECT_GE(listed.policies_size(), 2);
}

TEST_F(ServicesTest, AWrongPolicyIsRefusedWithItsLine) {
  const std::string yaml =
      "api_version: callgate.policy/v1\nkind: Policy\n"
      "metadata: { name: wrong }\n"
      "budgets:\n"
      "  fuel_per_cal: 5\n";
  v1::ApplyPolicyResponse applied;
  const grpc::Status status = client().Apply(yaml, &applied);
  EXPECT_EQ(Show(status), "3 POLICY_INVALID");
  google::rpc::Status sent;
  ASSERT_TRUE(sent.ParseFromString(status.error_details()));
  std::string field;
  for (const google::protobuf::Any& any : sent.details()) {
    google::rpc::BadRequest bad;
    if (any.UnpackTo(&bad)) field = bad.field_violations(0).field();
  }
  EXPECT_EQ(field, "test.yaml:5:3");
  grpc::ClientContext context;
  v1::ValidatePolicyRequest request;
  request.set_source(yaml);
  request.set_file_name("a.yaml");
  v1::ValidatePolicyResponse response;
  ASSERT_TRUE(
      client().policies().ValidatePolicy(&context, request, &response).ok());
  ASSERT_EQ(response.problems_size(), 1);
  EXPECT_EQ(response.problems(0).line(), 5);
  EXPECT_EQ(response.problems(0).column(), 3);
  EXPECT_THAT(response.problems(0).message(), HasSubstr("fuel_per_cal"));
}

// --- Events ------------------------------------------------------------------

TEST_F(ServicesTest, EventsResumeWhereTheyStopped) {
  const std::string digest = client().Push(kGuest);
  const std::string store = NewStore(digest);
  v1::Store killed;
  ASSERT_TRUE(client().Kill(store, &killed).ok());
  v1::WatchEventsRequest watch;
  watch.set_store(killed.id());
  const auto all = client().KeptEvents(watch);
  ASSERT_EQ(all.size(), 2u);
  EXPECT_EQ(all[0].event().action(), "store_created");
  EXPECT_EQ(all[1].event().action(), "store_ended");
  EXPECT_THAT(all[1].event().message(), HasSubstr("killed"));
  EXPECT_LT(all[0].event().seq(), all[1].event().seq());
  watch.set_resume_token(all[0].resume_token());
  const auto rest = client().KeptEvents(watch);
  ASSERT_EQ(rest.size(), 1u);
  EXPECT_EQ(rest[0].event().action(), "store_ended");
  grpc::Status status;
  watch.set_store("another");
  client().KeptEvents(watch, &status);
  EXPECT_EQ(Show(status), "3 BAD_RESUME_TOKEN");
  watch.set_resume_token(std::string(32, '\0'));  // of another run
  client().KeptEvents(watch, &status);
  EXPECT_EQ(Show(status), "11 COMPACTED");
}

TEST_F(ServicesTest, EventsComeAsTheyHappen) {
  grpc::ClientContext context;
  v1::WatchEventsRequest watch;
  watch.add_kinds(v1::EVENT_KIND_LIFECYCLE);
  watch.set_include_kept(true);
  const auto reader = client().events().WatchEvents(&context, watch);
  v1::WatchEventsResponse response;
  ASSERT_TRUE(reader->Read(&response));  // the daemon's own beginning
  const std::string digest =
      client().Push("(module (func (export \"happens\")))");
  bool seen = false;
  while (!seen && reader->Read(&response)) {
    seen = response.event().action() == "module_stored" &&
           response.event().module_digest() == digest;
  }
  EXPECT_TRUE(seen);
  context.TryCancel();
  EXPECT_EQ(reader->Finish().error_code(), StatusCode::CANCELLED);
}

TEST_F(ServicesTest, WrongFiltersAreRefused) {
  grpc::Status status;
  v1::WatchEventsRequest watch;
  watch.add_kinds(static_cast<v1::EventKind>(99));
  client().KeptEvents(watch, &status);
  EXPECT_EQ(Show(status), "3 BAD_ARGUMENT");
  watch.clear_kinds();
  watch.set_store(std::string(257, 'x'));
  client().KeptEvents(watch, &status);
  EXPECT_EQ(Show(status), "3 BAD_ARGUMENT");
}

// --- The server's own limits -------------------------------------------------

TEST_F(ServicesTest, MessagesOverFourMebibytesAreRefused) {
  v1::WriteMemoryRequest request;
  request.set_name("x");
  v1::WriteMemoryResponse response;
  request.set_data(std::string((4 << 20) - 100, 'x'));
  {
    grpc::ClientContext context;
    // It arrives, and is then too large for one write.
    EXPECT_EQ(Show(client().stores().WriteMemory(&context, request, &response)),
              "5 STORE_NOT_FOUND");
  }
  request.set_data(std::string((4 << 20) + 1, 'x'));
  grpc::ClientContext context;
  const grpc::Status status =
      client().stores().WriteMemory(&context, request, &response);
  EXPECT_EQ(status.error_code(), StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_EQ(Reason(status), "");  // it was the transport that spoke
}

TEST_F(ServicesTest, MetadataOverEightKibibytesIsRefused) {
  for (const size_t size : {size_t{6'000}, size_t{9'000}}) {
    grpc::ClientContext context;
    context.AddMetadata("x-large", std::string(size, 'x'));
    v1::ListStoresResponse response;
    const grpc::Status status =
        client().stores().ListStores(&context, {}, &response);
    EXPECT_EQ(status.error_code(),
              size < 8'192 ? StatusCode::OK : StatusCode::RESOURCE_EXHAUSTED)
        << size;
  }
}

// --- Daemons of their own ----------------------------------------------------

TEST(DaemonTest, WithoutAPolicyNothingRuns) {
  absl::StatusOr<std::unique_ptr<Daemon>> daemon = Daemon::Start(TestConfig());
  ASSERT_TRUE(daemon.ok()) << daemon.status();
  Client client((*daemon)->listen_address());
  v1::CreateStoreRequest request;
  request.mutable_config()->set_module(client.Push("(module)"));
  v1::Store store;
  EXPECT_EQ(Show(client.Create(request, &store)), "9 NO_POLICY");
}

TEST(DaemonTest, WhatWasAcknowledgedIsThereAfterARestart) {
  const Config config = TestConfig();
  std::string digest;
  {
    absl::StatusOr<std::unique_ptr<Daemon>> daemon = Daemon::Start(config);
    ASSERT_TRUE(daemon.ok()) << daemon.status();
    Client client((*daemon)->listen_address());
    digest = client.Push(kGuest, {{"class", "kept"}});
    v1::ApplyPolicyResponse applied;
    ASSERT_TRUE(client.Apply(kOpenPolicy, &applied).ok());
  }
  absl::StatusOr<std::unique_ptr<Daemon>> daemon = Daemon::Start(config);
  ASSERT_TRUE(daemon.ok()) << daemon.status();
  Client client((*daemon)->listen_address());
  v1::CreateStoreRequest request;
  request.mutable_config()->set_module(digest);
  v1::Store store;
  const grpc::Status status = client.Create(request, &store);
  ASSERT_TRUE(status.ok()) << status.error_message();
  v1::InvokeResponse response;
  ASSERT_TRUE(client.Invoke(store.name(), "add", {1, 2}, &response).ok());
  EXPECT_EQ(response.outcome().results(0).i32(), 3);
}

// --- Replays -----------------------------------------------------------------

TEST(DaemonTest, AnApplyMayAskForAReplay) {
  Config config = TestConfig();
  config.trace_mib = 8;
  absl::StatusOr<std::unique_ptr<Daemon>> daemon = Daemon::Start(config);
  ASSERT_TRUE(daemon.ok()) << daemon.status();
  const std::string address = (*daemon)->listen_address();
  Client client(address);
  v1::ApplyPolicyResponse applied;
  ASSERT_TRUE(client.Apply(kOpenPolicy, &applied).ok());
  EXPECT_FALSE(applied.has_replay());

  const auto trials = v1::TrialService::NewStub(Client::Connect(address));
  v1::Trace trace;
  {
    grpc::ClientContext context;
    ASSERT_TRUE(trials->StartTrace(&context, {}, &trace).ok());
  }
  v1::CreateStoreRequest request;
  request.mutable_config()->set_module(client.Push(kGuest));
  v1::Store store;
  ASSERT_TRUE(client.Create(request, &store).ok());
  v1::InvokeResponse response;
  for (int i = 0; i < 3; ++i) {
    ASSERT_TRUE(client.Invoke(store.name(), "random", {}, &response).ok());
    EXPECT_EQ(response.outcome().results(0).i32(), 0);
  }
  {
    grpc::ClientContext context;
    ASSERT_TRUE(trials->StopTrace(&context, {}, &trace).ok());
  }

  v1::ApplyPolicyRequest apply;
  apply.set_source(
      absl::StrCat(kOpenPolicy,
                   "imports: [{ id: no-random, import: "
                   "wasi_snapshot_preview1.random_get, action: deny }]\n"));
  apply.set_file_name("test.yaml");
  const auto send = [&] {
    grpc::ClientContext context;
    applied.Clear();
    return v1::PolicyService::NewStub(Client::Connect(address))
        ->ApplyPolicy(&context, apply, &applied);
  };
  const auto random = [&] {
    EXPECT_TRUE(client.Invoke(store.name(), "random", {}, &response).ok());
    return response.outcome().results(0).i32();
  };
  apply.mutable_replay();
  EXPECT_EQ(Show(send()), "3 BAD_ARGUMENT");
  apply.mutable_replay()->mutable_since()->set_seconds(-1);
  EXPECT_EQ(Show(send()), "3 BAD_ARGUMENT");
  apply.mutable_replay()->set_trace("traces/20200101T000000-1");
  EXPECT_EQ(Show(send()), "5 TRACE_NOT_FOUND");
  apply.mutable_replay()->set_trace(trace.name());
  apply.mutable_replay()->set_max_changed(2);
  const grpc::Status refused = send();
  EXPECT_EQ(Show(refused), "9 REPLAY_REFUSED");
  EXPECT_THAT(refused.error_message(),
              HasSubstr("the policy was not applied: 3 of "));
  google::rpc::Status sent;
  ASSERT_TRUE(sent.ParseFromString(refused.error_details()));
  google::rpc::BadRequest bad;
  for (const google::protobuf::Any& any : sent.details()) any.UnpackTo(&bad);
  ASSERT_EQ(bad.field_violations_size(), 3);
  EXPECT_THAT(bad.field_violations(2).description(),
              HasSubstr("wasi_snapshot_preview1.random_get: was allow, would "
                        "be deny(76) by open/no-random"));
  EXPECT_EQ(random(), 0);
  // Looking at it changes nothing either.
  apply.mutable_replay()->set_max_changed(3);
  apply.set_validate_only(true);
  EXPECT_TRUE(send().ok());
  EXPECT_EQ(random(), 0);
  apply.set_validate_only(false);
  EXPECT_TRUE(send().ok());
  EXPECT_EQ(applied.replay().changed(), 3u);
  // Since the first call went another way, nobody knows what the guest would
  // have done then.
  EXPECT_EQ(applied.replay().uncertain(), 2u);
  EXPECT_EQ(applied.replay().stores(), 1u);
  EXPECT_EQ(applied.replay().changes_size(), 3);
  EXPECT_EQ(random(), 76);
}

TEST(DaemonTest, WithoutTracesNoReplayIsPassed) {
  absl::StatusOr<std::unique_ptr<Daemon>> daemon = Daemon::Start(TestConfig());
  ASSERT_TRUE(daemon.ok()) << daemon.status();
  v1::ApplyPolicyRequest apply;
  apply.set_source(kOpenPolicy);
  apply.mutable_replay()->mutable_since()->set_seconds(60);
  grpc::ClientContext context;
  v1::ApplyPolicyResponse applied;
  EXPECT_EQ(Show(v1::PolicyService::NewStub(
                     Client::Connect((*daemon)->listen_address()))
                     ->ApplyPolicy(&context, apply, &applied)),
            "9 TRACING_OFF");
}

TEST(DaemonTest, BoundsAreHeldAndSecondDaemonsRefused) {
  Config config = TestConfig();
  config.max_stores = 1;
  config.max_runs = 1;
  config.announce = Scratch() + "/announce";
  absl::StatusOr<std::unique_ptr<Daemon>> daemon = Daemon::Start(config);
  ASSERT_TRUE(daemon.ok()) << daemon.status();
  std::ifstream announced(config.announce);
  std::string line;
  std::getline(announced, line);
  EXPECT_EQ(line, "listen=" + (*daemon)->listen_address());
  std::getline(announced, line);
  EXPECT_EQ(line, "metrics=" + (*daemon)->metrics_address());

  // The same data directory.
  Config second = TestConfig();
  second.data = config.data;
  absl::Status refused = Daemon::Start(second).status();
  EXPECT_FALSE(refused.ok());
  EXPECT_THAT(std::string(refused.message()), HasSubstr(config.data));
  // The same port.
  second = TestConfig();
  second.listen = (*daemon)->listen_address();
  refused = Daemon::Start(second).status();
  EXPECT_THAT(std::string(refused.message()), HasSubstr("the port is in use"));
  second = TestConfig();
  second.listen = "0.0.0.0:0";
  EXPECT_FALSE(Daemon::Start(second).ok());

  Client client((*daemon)->listen_address());
  v1::ApplyPolicyResponse applied;
  ASSERT_TRUE(client.Apply(kOpenPolicy, &applied).ok());
  v1::CreateStoreRequest request;
  request.mutable_config()->set_module(client.Push(kGuest));
  v1::Store store;
  ASSERT_TRUE(client.Create(request, &store).ok());
  v1::Store more;
  EXPECT_EQ(Show(client.Create(request, &more)), "8 TOO_MANY_STORES");

  // The one thread for guests is taken: others are refused at once, and the
  // drain ends what does not end by itself.
  v1::InvokeResponse spun;
  grpc::Status status;
  std::thread caller(
      [&] { status = client.Invoke(store.name(), "spin", {}, &spun); });
  v1::Store seen;
  const absl::Time patience = absl::Now() + absl::Seconds(30);
  do {
    grpc::ClientContext get;
    v1::GetStoreRequest wanted;
    wanted.set_name(store.name());
    ASSERT_TRUE(client.stores().GetStore(&get, wanted, &seen).ok());
  } while (seen.state() != v1::STORE_STATE_RUNNING && absl::Now() < patience);
  EXPECT_EQ(seen.state(), v1::STORE_STATE_RUNNING);
  v1::InvokeResponse response;
  EXPECT_EQ(Show(client.Invoke(store.name(), "add", {1, 2}, &response)),
            "8 TOO_MANY_RUNS");
  v1::Store killed;
  ASSERT_TRUE(client.Kill(store.name(), &killed).ok());
  caller.join();
  EXPECT_TRUE(status.ok());
}

TEST(DaemonTest, ATenantsCompileTimeIsItsOwn) {
  Config config = TestConfig();
  config.compile_time = absl::Milliseconds(1);
  config.compile_window = absl::Hours(24);
  absl::StatusOr<std::unique_ptr<Daemon>> daemon = Daemon::Start(config);
  ASSERT_TRUE(daemon.ok()) << daemon.status();
  Client client((*daemon)->listen_address());
  const std::string first = Assemble("(module (func (export \"first\")))");
  const std::string second = Assemble("(module (func (export \"second\")))");
  Client::UploadOptions spender;
  spender.parent = "tenants/spender";
  v1::UploadModuleResponse response;
  EXPECT_EQ(Show(client.Upload(first, spender, &response)), "0 ");
  const grpc::Status refused = client.Upload(second, spender, &response);
  EXPECT_EQ(Show(refused), "8 COMPILE_BUDGET");
  EXPECT_THAT(refused.error_message(),
              testing::AllOf(HasSubstr("spender has used "),
                             HasSubstr("the budget is 1 s in 86400 s")));
  // Another tenant has its own.
  Client::UploadOptions other;
  other.parent = "tenants/other";
  EXPECT_EQ(Show(client.Upload(second, other, &response)), "0 ");
  // What is compiled already costs nothing.
  EXPECT_EQ(Show(client.Upload(second, spender, &response)), "0 ");
}

TEST(DaemonTest, DrainingRefusesWhatIsNewAndEndsWhatRuns) {
  Config config = TestConfig();
  config.drain_timeout = absl::Milliseconds(50);
  absl::StatusOr<std::unique_ptr<Daemon>> daemon = Daemon::Start(config);
  ASSERT_TRUE(daemon.ok()) << daemon.status();
  Client client((*daemon)->listen_address());
  v1::ApplyPolicyResponse applied;
  ASSERT_TRUE(client.Apply(kOpenPolicy, &applied).ok());
  v1::CreateStoreRequest request;
  request.mutable_config()->set_module(client.Push(kGuest));
  v1::Store store;
  ASSERT_TRUE(client.Create(request, &store).ok());
  v1::InvokeResponse response;
  grpc::Status status;
  std::thread caller(
      [&] { status = client.Invoke(store.name(), "spin", {}, &response); });
  v1::Store seen;
  do {
    grpc::ClientContext get;
    v1::GetStoreRequest wanted;
    wanted.set_name(store.name());
    ASSERT_TRUE(client.stores().GetStore(&get, wanted, &seen).ok());
  } while (seen.state() != v1::STORE_STATE_RUNNING);
  (*daemon)->Drain();
  caller.join();
  ASSERT_TRUE(status.ok()) << status.error_message();
  EXPECT_EQ(response.outcome().kind(), v1::OUTCOME_KIND_KILLED);
  EXPECT_EQ(Show(client.Create(request, &store)), "14 DRAINING");
}

TEST(DaemonTest, IdleStoresAreEnded) {
  Config config = TestConfig();
  config.store_idle = absl::Milliseconds(50);
  absl::StatusOr<std::unique_ptr<Daemon>> daemon = Daemon::Start(config);
  ASSERT_TRUE(daemon.ok()) << daemon.status();
  Client client((*daemon)->listen_address());
  v1::ApplyPolicyResponse applied;
  ASSERT_TRUE(client.Apply(kOpenPolicy, &applied).ok());
  v1::CreateStoreRequest request;
  request.mutable_config()->set_module(client.Push(kGuest));
  v1::Store store;
  ASSERT_TRUE(client.Create(request, &store).ok());
  v1::Store seen;
  do {
    grpc::ClientContext get;
    v1::GetStoreRequest wanted;
    wanted.set_name(store.name());
    ASSERT_TRUE(client.stores().GetStore(&get, wanted, &seen).ok());
  } while (seen.state() == v1::STORE_STATE_IDLE);
  EXPECT_EQ(seen.state(), v1::STORE_STATE_KILLED);
  EXPECT_THAT(seen.end_reason(), HasSubstr("nobody called it"));
}

}  // namespace
}  // namespace callgate
