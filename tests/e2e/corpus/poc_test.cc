// Files that crashed other engines, and modules that a validator must refuse.
// Whatever they are, the daemon refuses them, or runs every export under fuel
// to a trap or an end, and goes on.

#include <chrono>
#include <iostream>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "google/protobuf/util/json_util.h"
#include "grpcpp/client_context.h"
#include "proto/callgate/v1/module_service.grpc.pb.h"
#include "proto/callgate/v1/store_service.grpc.pb.h"
#include "tests/e2e/corpus/corpus.h"
#include "tests/e2e/with_daemon.h"

namespace callgate::e2e {
namespace {

using ::testing::AnyOf;
using ::testing::HasSubstr;

// Every import may be called; the stubs do nothing.
constexpr char kPolicy[] = R"yaml(
api_version: callgate.policy/v1
kind: Policy
metadata: { name: poc }
defaults: { unlisted_import: allow }
budgets: { memory_bytes_total: 268435456, table_elements_total: 1000000 }
)yaml";

class PocTest : public WithDaemon,
                public testing::WithParamInterface<CorpusItem> {
 protected:
  static void SetUpTestSuite() {
    WithDaemon::SetUpTestSuite();
    scratch().Write("poc.yaml", kPolicy);
    scratch().Write("honest.wasm", Says("honest\n"));
  }

  static void SetDeadline(grpc::ClientContext& context) {
    context.set_deadline(std::chrono::system_clock::now() +
                         std::chrono::seconds(60));
  }

  static void ExpectToBeWell() {
    EXPECT_TRUE(daemon().Healthy());
    const Finished honest =
        Client({"run", scratch().Path("honest.wasm"), "--policy", "open"});
    EXPECT_THAT(honest, EndsWithCode(0));
    EXPECT_EQ(honest.out, "honest\n");
  }

  void CallEveryExport(const std::string& digest);
};

v1::Value Zero(v1::ValueType type) {
  v1::Value value;
  switch (type) {
    case v1::VALUE_TYPE_I64:
      value.set_i64(0);
      break;
    case v1::VALUE_TYPE_F32:
      value.set_f32_bits(0);
      break;
    case v1::VALUE_TYPE_F64:
      value.set_f64_bits(0);
      break;
    case v1::VALUE_TYPE_V128:
      value.set_v128(std::string(16, '\0'));
      break;
    case v1::VALUE_TYPE_FUNCREF:
      value.mutable_funcref();
      break;
    case v1::VALUE_TYPE_EXTERNREF:
      value.mutable_externref();
      break;
    default:
      value.set_i32(0);
      break;
  }
  return value;
}

void PocTest::CallEveryExport(const std::string& digest) {
  const auto modules = v1::ModuleService::NewStub(daemon().channel());
  const auto stores = v1::StoreService::NewStub(daemon().channel());
  v1::GetModuleRequest get;
  get.set_name(digest);
  v1::Module module;
  grpc::ClientContext get_context;
  SetDeadline(get_context);
  const grpc::Status got = modules->GetModule(&get_context, get, &module);
  ASSERT_TRUE(got.ok()) << got.error_message();

  v1::CreateStoreRequest create;
  create.mutable_config()->set_module(digest);
  create.mutable_config()->set_inline_policy(kPolicy);
  create.mutable_config()->set_fuel(2'000'000);
  create.mutable_config()->mutable_timeout()->set_seconds(5);
  for (const v1::ModuleImport& import : module.imports()) {
    if (import.kind() != v1::EXTERN_KIND_FUNC ||
        absl::StartsWith(import.module(), "wasi_")) {
      continue;
    }
    v1::StubImport& stub = *create.mutable_config()->add_stubs();
    stub.set_module(import.module());
    stub.set_name(import.name());
  }
  v1::Store store;
  grpc::ClientContext create_context;
  SetDeadline(create_context);
  const grpc::Status created =
      stores->CreateStore(&create_context, create, &store);
  if (!created.ok()) {
    // Something it wants that nobody has, or a start function that trapped.
    EXPECT_EQ(created.error_code(), grpc::StatusCode::FAILED_PRECONDITION)
        << created.error_message();
    EXPECT_FALSE(created.error_message().empty());
    return;
  }
  for (const v1::ModuleExport& exported : module.exports()) {
    if (exported.kind() != v1::EXTERN_KIND_FUNC) continue;
    v1::InvokeRequest invoke;
    invoke.set_name(store.name());
    invoke.set_export_(exported.name());
    for (const int type : exported.func_type().params()) {
      *invoke.add_args() = Zero(static_cast<v1::ValueType>(type));
    }
    v1::InvokeResponse response;
    grpc::ClientContext context;
    SetDeadline(context);
    const grpc::Status invoked = stores->Invoke(&context, invoke, &response);
    if (!invoked.ok()) {
      // It ended itself earlier (proc_exit).
      EXPECT_EQ(invoked.error_code(), grpc::StatusCode::FAILED_PRECONDITION)
          << absl::CHexEscape(exported.name()) << ": "
          << invoked.error_message();
      continue;
    }
    EXPECT_NE(response.outcome().kind(), v1::OUTCOME_KIND_UNSPECIFIED);
  }
  v1::KillStoreRequest kill;
  kill.set_name(store.name());
  grpc::ClientContext kill_context;
  SetDeadline(kill_context);
  EXPECT_TRUE(stores->KillStore(&kill_context, kill, &store).ok());
}

TEST_P(PocTest, IsRefusedOrEnds) {
  const CorpusItem& item = GetParam();
  const Finished push = Client({"module", "push", item.path()});
  const bool must_be_refused =
      Member(item.Get("expect"), "load").string_value() == "reject";
  if (must_be_refused) {
    EXPECT_THAT(push, EndsWithCode(65));
  }
  ASSERT_THAT(push, AnyOf(EndsWithCode(0), EndsWithCode(65)));
  // The daemon's word and the client's are the same.
  EXPECT_EQ(Client({"module", "verify", item.path()}).exit_code,
            push.exit_code);
  if (push.exit_code == 65) {
    EXPECT_FALSE(push.err.empty());
    std::cout << item.name() << ": " << push.err;
    // A limit may refuse what the specification allows; it says which.
    if (!must_be_refused) {
      EXPECT_THAT(push.err,
                  testing::ContainsRegex("max|at most|limit|support"));
    }
  } else {
    CallEveryExport(std::string(absl::StripSuffix(push.out, "\n")));
  }
  ExpectToBeWell();
}

INSTANTIATE_TEST_SUITE_P(Corpus, PocTest, testing::ValuesIn(CorpusItems("poc")),
                         [](const auto& row) { return row.param.TestName(); });
GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(PocTest);

// Thousands of small modules that the specification's own tests call malformed
// or invalid: one connection for all, since it is the daemon that is tested.
class InvalidSetTest : public PocTest {};

TEST_F(InvalidSetTest, IsRefusedToTheLastOne) {
  const std::vector<CorpusItem> items = CorpusItems("invalid-set");
  if (items.empty()) GTEST_SKIP() << kNoCorpus;
  const auto modules = v1::ModuleService::NewStub(daemon().channel());
  int count = 0;
  int admitted = 0;
  for (const CorpusItem& item : items) {
    const auto lines = ReadWholeFile(item.path());
    ASSERT_TRUE(lines.ok()) << lines.status();
    for (const absl::string_view line :
         absl::StrSplit(*lines, '\n', absl::SkipWhitespace())) {
      google::protobuf::Value row;
      ASSERT_TRUE(google::protobuf::util::JsonStringToMessage(
                      std::string(line), row.mutable_struct_value())
                      .ok());
      const std::string bytes =
          absl::HexStringToBytes(Member(row, "hex").string_value());
      ++count;
      grpc::ClientContext context;
      SetDeadline(context);
      v1::UploadModuleResponse response;
      const auto upload = modules->UploadModule(&context, &response);
      v1::UploadModuleRequest request;
      request.mutable_header()->set_size_bytes(
          static_cast<int64_t>(bytes.size()));
      bool open = upload->Write(request);
      for (size_t at = 0; open && at < bytes.size(); at += 65536) {
        request.set_chunk(bytes.substr(at, 65536));
        open = upload->Write(request);
      }
      upload->WritesDone();
      const grpc::Status status = upload->Finish();
      if (status.ok()) {
        ++admitted;
        ADD_FAILURE() << "admitted: " << Member(row, "src").string_value()
                      << ":" << Member(row, "line").number_value() << " "
                      << Member(row, "text").string_value();
      } else {
        EXPECT_THAT(status.error_code(),
                    AnyOf(grpc::StatusCode::INVALID_ARGUMENT,
                          grpc::StatusCode::FAILED_PRECONDITION))
            << status.error_message();
        EXPECT_FALSE(status.error_message().empty());
      }
      // The client's word for it, now and then.
      if (count % 200 == 1) {
        const Finished push = Client({"module", "push", ModuleFile(bytes)});
        EXPECT_THAT(push, EndsWithCode(65));
        EXPECT_FALSE(push.err.empty());
      }
      if (count % 500 == 0) ExpectToBeWell();
    }
  }
  std::cout << count << " modules, " << admitted << " admitted\n";
  EXPECT_GT(count, 0);
  ExpectToBeWell();
}

TEST(Corpus, IsThere) {
  if (CorpusDir().empty()) GTEST_SKIP() << kNoCorpus;
  EXPECT_FALSE(CorpusItems("poc").empty());
}

}  // namespace
}  // namespace callgate::e2e
