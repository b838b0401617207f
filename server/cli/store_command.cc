#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/string_view.h"
#include "proto/callgate/v1/store_service.grpc.pb.h"
#include "server/cli/commands.h"
#include "server/cli/connection.h"
#include "server/cli/console.h"
#include "server/cli/duration_message.h"
#include "server/cli/exit_codes.h"
#include "server/cli/interrupts.h"
#include "server/cli/message_json.h"
#include "server/cli/module_upload.h"
#include "server/cli/outcome_message.h"
#include "server/cli/outcome_report.h"
#include "server/cli/run_options.h"
#include "server/cli/run_request.h"
#include "server/cli/text_table.h"
#include "server/cli/values.h"
#include "server/events/escape.h"
#include "server/services/messages.h"

namespace callgate::cli {
namespace {

using events::EscapeText;

std::unique_ptr<v1::StoreService::Stub> Stores(const Connection& connection) {
  return v1::StoreService::NewStub(connection.channel());
}

// The module of a Store, for the types of its exports.
OrFailure<v1::Module> ModuleOfStore(const Connection& connection,
                                    const std::string& id) {
  grpc::ClientContext context;
  SetCallDeadline(context);
  v1::GetStoreRequest request;
  request.set_name(id);
  v1::Store store;
  const grpc::Status status =
      Stores(connection)->GetStore(&context, request, &store);
  if (!status.ok()) return connection.Explain(status);
  return ModuleOnDaemon(connection, store.module_digest());
}

// The arguments of a call. The daemon is asked for the function's type only
// where an argument does not say its own: one call less for programs that do.
OrFailure<std::vector<Value>> CallArguments(
    const Connection& connection, const std::string& id,
    const std::string& function, const std::vector<std::string>& texts) {
  bool typed = true;
  for (const std::string& text : texts) typed = typed && HasTypePrefix(text);
  std::optional<std::vector<ValType>> params;
  if (!typed) {
    OrFailure<v1::Module> module = ModuleOfStore(connection, id);
    if (!module.ok()) return module.failure();
    const std::optional<FuncType> type = ExportedFunction(*module, function);
    if (!type.has_value()) {
      return NoSuchExport(function, ExportedFunctions(*module));
    }
    params = type->params;
  }
  absl::StatusOr<std::vector<Value>> values = ParseValues(texts, params);
  if (!values.ok()) return WrongUsage(values.status().message());
  return *std::move(values);
}

// One Invoke, to its outcome or to why there is none.
RunResult Call(const Arguments& arguments) {
  // Before the first thread of gRPC.
  Interrupts interrupts;
  RunFacts facts;
  const std::string& id = arguments.operands()[0];
  const std::string& function = arguments.operands()[1];
  facts.store = id;
  const auto failed = [&](const Failure& failure) {
    return RunResult::Failed(failure, facts);
  };
  OrFailure<std::optional<uint64_t>> fuel = ParseFuel(arguments);
  if (!fuel.ok()) return failed(fuel.failure());
  OrFailure<std::optional<absl::Duration>> timeout = ParseTimeout(arguments);
  if (!timeout.ok()) return failed(timeout.failure());
  OrFailure<Connection> connection = Connection::Open(arguments);
  if (!connection.ok()) return failed(connection.failure());

  std::vector<std::string> texts(arguments.operands().begin() + 2,
                                 arguments.operands().end());
  texts.insert(texts.end(), arguments.rest().begin(), arguments.rest().end());
  OrFailure<std::vector<Value>> values =
      CallArguments(*connection, id, function, texts);
  if (!values.ok()) return failed(values.failure());

  v1::InvokeRequest request;
  request.set_name(id);
  request.set_export_(function);
  for (const Value& value : *values) *request.add_args() = ToProto(value);
  if (fuel->has_value()) request.set_fuel(**fuel);
  if (timeout->has_value()) {
    *request.mutable_timeout() = ToProto(**timeout);
  }
  // No deadline: the policies' budgets end a call, and so does a signal.
  grpc::ClientContext context;
  v1::InvokeResponse response;
  interrupts.OnInterrupt([&] { context.TryCancel(); });
  const grpc::Status status =
      Stores(*connection)->Invoke(&context, request, &response);
  interrupts.OnInterrupt(nullptr);
  if (interrupts.signal_number() != 0) {
    Failure failure;
    failure.exit_code = interrupts.exit_code();
    failure.message = "interrupted; the call was ended";
    return failed(failure);
  }
  if (!status.ok()) return failed(connection->Explain(status));
  RunResult result;
  result.facts = facts;
  result.outcome = OutcomeOf(response.outcome());
  if (!result.outcome.has_value()) {
    Failure failure;
    failure.exit_code = kExitFailure;
    failure.message = absl::StrCat(
        "callgated at ", connection->address(),
        " answers in words that this client does not know; use a client of "
        "its release");
    return failed(failure);
  }
  return result;
}

absl::string_view StateText(v1::StoreState state) {
  switch (state) {
    case v1::STORE_STATE_IDLE:
      return "idle";
    case v1::STORE_STATE_RUNNING:
      return "running";
    case v1::STORE_STATE_KILLED:
      return "killed";
    case v1::STORE_STATE_POLICY_KILLED:
      return "policy_killed";
    case v1::STORE_STATE_EXITED:
      return "exited";
    default:
      return "unknown";
  }
}

}  // namespace

int StoreCreate(const Arguments& arguments) {
  OrFailure<RunOptions> options = ParseRunOptions(arguments);
  if (!options.ok()) return Report(options.failure());
  OrFailure<Connection> connection = Connection::Open(arguments);
  if (!connection.ok()) return Report(connection.failure());
  const std::string& operand = arguments.operands()[0];
  OrFailure<v1::Module> module = ModuleOnDaemon(*connection, operand);
  if (!module.ok()) return Report(module.failure());

  // Making a Store runs the module's start function, under the policies' own
  // budgets: no deadline here.
  grpc::ClientContext context;
  v1::CreateStoreRequest request;
  *request.mutable_config() =
      StoreConfigOf(*options, module->digest(), operand, arguments.rest());
  v1::Store store;
  const grpc::Status status =
      Stores(*connection)->CreateStore(&context, request, &store);
  if (!status.ok()) return Report(connection->Explain(status));
  for (const std::string& warning : store.warnings()) {
    Say(absl::StrCat("warning: ", warning));
  }
  return Print(absl::StrCat(EscapeText(store.id()), "\n"));
}

int StoreCall(const Arguments& arguments) {
  const RunResult result = Call(arguments);
  const bool json = arguments.Has("json");
  if (result.failure.has_value()) {
    Report(*result.failure);
    if (json) Print(FailureJson(*result.failure, result.facts));
    return result.failure->exit_code;
  }
  const Outcome& outcome = *result.outcome;
  int printed = kExitOk;
  if (json) {
    SayOutcome(outcome);
    printed = Print(OutcomeJson(outcome, result.facts));
  } else {
    // What the guest wrote, and behind it what it returned.
    printed = Print(outcome.stdout_bytes);
    WriteAll(2, outcome.stderr_bytes).IgnoreError();
    SayOutcome(outcome);
    std::string lines;
    for (const Value& value : outcome.results) {
      absl::StrAppend(&lines, PlainText(value), "\n");
    }
    if (printed == kExitOk) printed = Print(lines);
  }
  return printed == kExitOk ? outcome.exit_code : printed;
}

int StoreRead(const Arguments& arguments) {
  const absl::StatusOr<uint64_t> address =
      ParseUnsigned(arguments.operands()[1], "ADDR");
  if (!address.ok()) return Report(WrongUsage(address.status().message()));
  const absl::StatusOr<uint64_t> length =
      ParseUnsigned(arguments.operands()[2], "LEN");
  if (!length.ok()) return Report(WrongUsage(length.status().message()));
  OrFailure<Connection> connection = Connection::Open(arguments);
  if (!connection.ok()) return Report(connection.failure());
  grpc::ClientContext context;
  SetCallDeadline(context);
  v1::ReadMemoryRequest request;
  request.set_name(arguments.operands()[0]);
  request.set_address(*address);
  request.set_length(*length);
  v1::ReadMemoryResponse response;
  const grpc::Status status =
      Stores(*connection)->ReadMemory(&context, request, &response);
  if (!status.ok()) return Report(connection->Explain(status));
  return Print(absl::BytesToHexString(response.data()) + "\n");
}

int StoreWrite(const Arguments& arguments) {
  const absl::StatusOr<uint64_t> address =
      ParseUnsigned(arguments.operands()[1], "ADDR");
  if (!address.ok()) return Report(WrongUsage(address.status().message()));
  std::string digits = arguments.operands()[2];
  if (digits == "-") {
    // Two digits a byte, and blanks between them.
    constexpr uint64_t kDigitsMax = 8 << 20;
    absl::StatusOr<std::string> read = ReadFile("/dev/stdin", kDigitsMax);
    if (!read.ok()) return Report(FailureOf(kExitNoInput, read.status()));
    digits = *std::move(read);
  }
  absl::StatusOr<std::string> bytes = ParseHex(digits);
  if (!bytes.ok()) {
    return Report(WrongUsage(absl::StrCat("HEX: ", bytes.status().message())));
  }
  OrFailure<Connection> connection = Connection::Open(arguments);
  if (!connection.ok()) return Report(connection.failure());
  grpc::ClientContext context;
  SetCallDeadline(context);
  v1::WriteMemoryRequest request;
  request.set_name(arguments.operands()[0]);
  request.set_address(*address);
  request.set_data(*std::move(bytes));
  v1::WriteMemoryResponse response;
  const grpc::Status status =
      Stores(*connection)->WriteMemory(&context, request, &response);
  if (!status.ok()) return Report(connection->Explain(status));
  return kExitOk;
}

int StoreLs(const Arguments& arguments) {
  OrFailure<Connection> connection = Connection::Open(arguments);
  if (!connection.ok()) return Report(connection.failure());
  const std::unique_ptr<v1::StoreService::Stub> stub = Stores(*connection);
  const bool json = arguments.Has("json");
  std::vector<std::vector<std::string>> rows = {
      {"ID", "STATE", "CALLS", "CREATED", "POLICIES", "MODULE", "ENDED BY"}};
  std::string lines;
  v1::ListStoresRequest request;
  do {
    grpc::ClientContext context;
    SetCallDeadline(context);
    v1::ListStoresResponse response;
    const grpc::Status status = stub->ListStores(&context, request, &response);
    if (!status.ok()) return Report(connection->Explain(status));
    for (const v1::Store& store : response.stores()) {
      if (json) {
        absl::StrAppend(&lines, MessageJson(store), "\n");
        continue;
      }
      std::vector<std::string> policies;
      for (const std::string& policy : store.policies()) {
        // The version in full is in --json.
        policies.push_back(EscapeText(policy.substr(0, policy.find('@'))));
      }
      rows.push_back(
          {EscapeText(store.id()), std::string(StateText(store.state())),
           absl::StrCat(store.calls()), TimeText(store.create_time()),
           absl::StrJoin(policies, ","), store.module_digest(),
           EscapeText(store.end_reason())});
    }
    request.set_page_token(response.next_page_token());
  } while (!request.page_token().empty());
  return Print(json ? lines : TextTable(rows));
}

int StoreKill(const Arguments& arguments) {
  OrFailure<Connection> connection = Connection::Open(arguments);
  if (!connection.ok()) return Report(connection.failure());
  grpc::ClientContext context;
  SetCallDeadline(context);
  v1::KillStoreRequest request;
  request.set_name(arguments.operands()[0]);
  request.set_reason(arguments.Get("reason").value_or("callgate store kill"));
  v1::Store store;
  const grpc::Status status =
      Stores(*connection)->KillStore(&context, request, &store);
  if (!status.ok()) return Report(connection->Explain(status));
  return kExitOk;
}

}  // namespace callgate::cli
