// From a module's bytes to its first result, as a caller of the real daemon
// sees it: UploadModule, CreateStore, Invoke, one after the other on one
// connection.
//
//   bazel run -c opt //tests/e2e:first_result -- [ROUNDS]
//
// Each round makes a module of about 10 KB that no daemon has seen ("cold"),
// takes it away again, and brings the same bytes once more ("cached": its
// machine code is on disk). Between them a GetModule shows what an RPC costs
// here. Prints medians and extremes in milliseconds.

#include <grpcpp/grpcpp.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "proto/callgate/v1/module_service.grpc.pb.h"
#include "proto/callgate/v1/store_service.grpc.pb.h"
#include "tests/e2e/daemon_under_test.h"
#include "tests/e2e/guests.h"
#include "tests/e2e/scratch_dir.h"

namespace callgate::e2e {
namespace {

constexpr int kFunctions = 60;

[[noreturn]] void Die(const std::string& why) {
  std::fprintf(stderr, "first_result: %s\n", why.c_str());
  std::exit(1);
}

void Check(const grpc::Status& status, const char* what) {
  if (!status.ok()) Die(absl::StrCat(what, ": ", status.error_message()));
}

// Functions with a loop, memory and calls; `salt` makes it one of its kind.
std::string Guest(uint32_t salt) {
  std::string wat = "(module (memory (export \"memory\") 1)\n";
  for (int i = 0; i < kFunctions; ++i) {
    absl::StrAppend(
        &wat, "(func $f", i, R"( (param $n i32) (result i32)
      (local $sum i32) (local $i i32)
      (loop $more
        (local.set $sum (i32.xor (i32.mul (local.get $sum) (i32.const )",
        salt + 31 * static_cast<uint32_t>(i), R"())
          (i32.load8_u (i32.and (local.get $i) (i32.const 65535)))))
        (if (i32.and (local.get $sum) (i32.const 64))
          (then (i32.store16 (i32.and (local.get $sum) (i32.const 32766))
                             (i32.rotl (local.get $sum) (local.get $i))))
          (else (local.set $sum (i32.add (local.get $sum) (i32.const 77777)))))
        (i64.store offset=1024 (i32.and (local.get $i) (i32.const 1016))
          (i64.mul (i64.extend_i32_u (local.get $sum)) (i64.const 1099511628211)))
        (br_if $more (i32.lt_u
          (local.tee $i (i32.add (local.get $i) (i32.const 1)))
          (local.get $n))))
      (local.get $sum)
      )",
        i == 0 ? ""
               : absl::StrCat("(i32.add (call $f", i - 1, " (i32.const 1)))"),
        ")\n");
  }
  absl::StrAppend(&wat, "(export \"run\" (func $f", kFunctions - 1, ")))");
  return Assemble(wat);
}

class Caller {
 public:
  explicit Caller(const DaemonUnderTest& daemon)
      : modules_(v1::ModuleService::NewStub(daemon.channel())),
        stores_(v1::StoreService::NewStub(daemon.channel())) {}

  // How long it took; leaves neither Store nor module.
  absl::Duration FirstResult(const std::string& bytes) {
    const absl::Time begin = absl::Now();
    v1::UploadModuleResponse uploaded;
    {
      grpc::ClientContext context;
      auto writer = modules_->UploadModule(&context, &uploaded);
      v1::UploadModuleRequest request;
      request.mutable_header()->set_size_bytes(
          static_cast<int64_t>(bytes.size()));
      writer->Write(request);
      request.set_chunk(bytes);
      writer->Write(request);
      writer->WritesDone();
      Check(writer->Finish(), "UploadModule");
    }
    v1::CreateStoreRequest create;
    create.mutable_config()->set_module(uploaded.module().digest());
    create.mutable_config()->set_policy("open");
    v1::Store store;
    {
      grpc::ClientContext context;
      Check(stores_->CreateStore(&context, create, &store), "CreateStore");
    }
    v1::InvokeRequest invoke;
    invoke.set_name(store.name());
    invoke.set_export_("run");
    invoke.add_args()->set_i32(10);
    v1::InvokeResponse invoked;
    {
      grpc::ClientContext context;
      Check(stores_->Invoke(&context, invoke, &invoked), "Invoke");
    }
    const absl::Duration took = absl::Now() - begin;
    if (invoked.outcome().results_size() != 1) {
      Die(absl::StrCat("the guest did not return: ",
                       invoked.outcome().ShortDebugString()));
    }
    name_ = uploaded.module().name();
    v1::KillStoreRequest kill;
    kill.set_name(store.name());
    {
      grpc::ClientContext context;
      Check(stores_->KillStore(&context, kill, &store), "KillStore");
    }
    return took;
  }

  absl::Duration OneRpc() {
    v1::GetModuleRequest request;
    request.set_name(name_);
    v1::Module module;
    grpc::ClientContext context;
    const absl::Time begin = absl::Now();
    Check(modules_->GetModule(&context, request, &module), "GetModule");
    return absl::Now() - begin;
  }

  void Delete() {
    v1::DeleteModuleRequest request;
    request.set_name(name_);
    google::protobuf::Empty nothing;
    grpc::ClientContext context;
    Check(modules_->DeleteModule(&context, request, &nothing), "DeleteModule");
  }

 private:
  const std::unique_ptr<v1::ModuleService::Stub> modules_;
  const std::unique_ptr<v1::StoreService::Stub> stores_;
  std::string name_;  // of the module that was last
};

void Print(const char* what, std::vector<absl::Duration> times) {
  std::sort(times.begin(), times.end());
  const auto ms = [](absl::Duration d) {
    return absl::ToDoubleMilliseconds(d);
  };
  std::printf("| %s | %.2f | %.2f | %.2f |\n", what,
              ms(times[times.size() / 2]), ms(times.front()), ms(times.back()));
}

int Main(int argc, char** argv) {
  int rounds = 30;
  if (argc > 2 || (argc == 2 && (!absl::SimpleAtoi(argv[1], &rounds) ||
                                 rounds < 1 || rounds > 10'000))) {
    std::fprintf(stderr, "usage: first_result [ROUNDS, 1 to 10000]\n");
    return 64;
  }
  const ScratchDir scratch;
  scratch.Write("policies/open.yaml", kOpenPolicy);
  DaemonSetup setup;
  setup.data = scratch.Path("data");
  setup.policy_dir = scratch.Path("policies");
  const auto daemon = DaemonUnderTest::Start(setup);
  if (!daemon.ok()) Die(daemon.status().ToString());
  Caller caller(**daemon);

  const auto salt = static_cast<uint32_t>(absl::ToUnixSeconds(absl::Now()));
  std::vector<absl::Duration> cold, cached, rpc;
  size_t size = 0;
  for (int round = -1; round < rounds; ++round) {
    const std::string bytes =
        Guest(salt + 7919 * static_cast<uint32_t>(round + 1));
    size = bytes.size();
    const absl::Duration first = caller.FirstResult(bytes);
    const absl::Duration one = caller.OneRpc();
    caller.Delete();
    const absl::Duration second = caller.FirstResult(bytes);
    caller.Delete();
    if (round < 0) continue;  // the connection is new
    cold.push_back(first);
    rpc.push_back(one);
    cached.push_back(second);
  }
  std::printf("a module of %zu bytes, %d rounds\n\n", size, rounds);
  std::printf("| ms | median | least | most |\n|---|---|---|---|\n");
  Print("push to first result, cold", cold);
  Print("push to first result, cached", cached);
  Print("one RPC", rpc);
  return 0;
}

}  // namespace
}  // namespace callgate::e2e

int main(int argc, char** argv) { return callgate::e2e::Main(argc, argv); }
