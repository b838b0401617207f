#include "server/cli/remote_run.h"

#include <unistd.h>

#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "proto/callgate/v1/store_service.grpc.pb.h"
#include "server/cli/exit_codes.h"
#include "server/cli/module_upload.h"
#include "server/cli/outcome_message.h"
#include "server/cli/stdin_pump.h"
#include "server/cli/values.h"
#include "server/services/messages.h"

namespace callgate::cli {
namespace {

using RunStream = grpc::ClientReaderWriterInterface<v1::RunStreamRequest,
                                                    v1::RunStreamResponse>;

// The first message of the stream.
OrFailure<v1::RunStreamRequest> FirstMessage(const RunRequest& request,
                                             const v1::Module& module) {
  v1::RunStreamRequest message;
  v1::RunStreamRequest::Config& config = *message.mutable_config();
  *config.mutable_config() = StoreConfigOf(
      request.options, module.digest(), request.operand,
      request.invoke.has_value() ? std::vector<std::string>() : request.args);
  if (!request.invoke.has_value()) return message;

  const std::optional<FuncType> type =
      ExportedFunction(module, *request.invoke);
  if (!type.has_value()) {
    return NoSuchExport(*request.invoke, ExportedFunctions(module));
  }
  const absl::StatusOr<std::vector<Value>> values =
      ParseValues(request.args, type->params);
  if (!values.ok()) return WrongUsage(values.status().message());
  config.set_export_(*request.invoke);
  for (const Value& value : *values) *config.add_args() = ToProto(value);
  return message;
}

// Reads the stream to its end. The outcome, if one came.
std::optional<v1::Outcome> ReadAnswers(RunStream& stream, GuestOutput& output,
                                       RunFacts& facts) {
  std::optional<v1::Outcome> outcome;
  v1::RunStreamResponse response;
  while (stream.Read(&response)) {
    switch (response.payload_case()) {
      case v1::RunStreamResponse::kStarted:
        facts.store = response.started().store();
        facts.policies.assign(response.started().policies().begin(),
                              response.started().policies().end());
        facts.warnings.assign(response.started().warnings().begin(),
                              response.started().warnings().end());
        break;
      case v1::RunStreamResponse::kStdoutChunk:
        output.OnOutput(OutputStream::kStdout, response.stdout_chunk());
        break;
      case v1::RunStreamResponse::kStderrChunk:
        output.OnOutput(OutputStream::kStderr, response.stderr_chunk());
        break;
      case v1::RunStreamResponse::kOutcome:
        outcome = std::move(*response.mutable_outcome());
        break;
      case v1::RunStreamResponse::PAYLOAD_NOT_SET:
        break;
    }
  }
  return outcome;
}

}  // namespace

RunResult RunOnDaemon(const Connection& connection, const RunRequest& request,
                      Interrupts& interrupts) {
  RunFacts facts;
  OrFailure<v1::Module> module = ModuleOnDaemon(connection, request.operand);
  if (!module.ok()) return RunResult::Failed(module.failure());
  facts.module_digest = module->digest();
  OrFailure<v1::RunStreamRequest> first = FirstMessage(request, *module);
  if (!first.ok()) return RunResult::Failed(first.failure(), facts);

  grpc::ClientContext context;
  GuestOutput output(request.keep_output, [&] { context.TryCancel(); });
  const std::unique_ptr<v1::StoreService::Stub> stub =
      v1::StoreService::NewStub(connection.channel());
  const std::unique_ptr<RunStream> stream = stub->RunStream(&context);
  interrupts.OnInterrupt([&] { context.TryCancel(); });
  std::optional<v1::Outcome> message;
  if (stream->Write(*first)) {
    const StdinPump pump(
        STDIN_FILENO,
        [&](absl::string_view bytes) {
          v1::RunStreamRequest chunk;
          chunk.set_stdin_chunk(bytes.data(), bytes.size());
          return stream->Write(chunk);
        },
        [&] { stream->WritesDone(); });
    message = ReadAnswers(*stream, output, facts);
  }
  const grpc::Status status = stream->Finish();
  interrupts.OnInterrupt(nullptr);

  RunResult result;
  result.facts = std::move(facts);
  result.stderr_mid_line = output.stderr_mid_line();
  result.failure = EndedFromHere(interrupts, output);
  if (result.failure.has_value()) return result;
  if (!status.ok()) {
    result.failure = connection.Explain(status);
    return result;
  }
  if (message.has_value()) result.outcome = OutcomeOf(*message);
  if (result.outcome.has_value()) {
    output.MoveInto(*result.outcome);
    return result;
  }
  Failure& failure = result.failure.emplace();
  failure.exit_code = kExitFailure;
  failure.message =
      absl::StrCat("callgated at ", connection.address(),
                   " did not say how the run ended, or in words that this "
                   "client does not know; use a client of its release");
  return result;
}

}  // namespace callgate::cli
