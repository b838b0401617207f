#include "server/services/run_stream.h"

#include <algorithm>
#include <memory>
#include <mutex>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "runtime/parking_condition.h"
#include "server/error_reason.h"
#include "server/services/messages.h"
#include "server/services/resource_name.h"
#include "server/services/rpc_record.h"
#include "server/services/stdin_pipe.h"
#include "server/services/store_maker.h"
#include "server/session.h"

namespace callgate {
namespace {

constexpr size_t kChunkBytesMax = 65'536;
// A caller that takes nothing of the guest's output for so long is given up.
constexpr absl::Duration kOutputStall = absl::Seconds(30);

absl::Status BadArgument(absl::string_view message) {
  return ErrorWithReason(absl::StatusCode::kInvalidArgument,
                         reason::kBadArgument, message);
}

// The guest runs on a fiber (Work), which alone writes to the stream and
// finishes it; where it waits for its reader, it parks. Requests come on gRPC's
// threads and go into the pipe.
class RunReactor final : public grpc::ServerBidiReactor<v1::RunStreamRequest,
                                                        v1::RunStreamResponse>,
                         public OutputSink {
 public:
  RunReactor(const ServiceParts& parts, grpc::CallbackServerContext* context)
      : parts_(parts),
        context_(context),
        deadline_(DeadlineOf(*context)),
        record_(parts.metrics, "callgate.v1.StoreService", "RunStream") {
    StartRead(&request_);
  }

  bool OnOutput(OutputStream stream, absl::string_view bytes) override;
  void OnSessionEnded() override;

 private:
  using Lock = std::unique_lock<std::mutex>;

  void OnReadDone(bool ok) override;
  void OnWriteDone(bool ok) override;
  void OnCancel() override;
  void OnDone() override { delete this; }

  void Begin();
  void ReadMore();
  void Work();
  absl::StatusOr<Outcome> RunGuest();
  // Whose wait ends when the Session does.
  enum class Of : uint8_t { kGuest, kRun };
  bool Send(v1::RunStreamResponse response, Of whose, absl::Time until);
  // Whether the last write is over and another one may follow.
  bool WaitForWrite(Lock& lock, Of whose, absl::Time until);
  void Conclude(const absl::Status& status, const v1::RunStreamResponse* last);

  const ServiceParts parts_;
  grpc::CallbackServerContext* const context_;
  const absl::Time deadline_;
  RpcRecord record_;

  v1::RunStreamRequest request_;    // of the read that is under way
  v1::RunStreamResponse response_;  // of the write that is under way
  v1::RunStreamRequest::Config config_;
  bool begun_ = false;  // of the reading side

  std::mutex mu_;
  // Guarded by mu_.
  ParkingCondition changed_;  // the five that follow
  bool writing_ = false;
  bool broken_ = false;  // a write failed
  bool slow_ = false;
  bool cancelled_ = false;
  bool ended_ = false;  // the Session, or it was told to
  bool concluded_ = false;
  bool bad_chunk_ = false;
  std::unique_ptr<StdinPipe> stdin_;
  std::shared_ptr<StoreEntry> entry_;
  std::shared_ptr<Session> session_;
};

void RunReactor::ReadMore() {
  const Lock lock(mu_);
  // Under the lock, so that it cannot come after the end.
  if (!concluded_) StartRead(&request_);
}

void RunReactor::OnReadDone(bool ok) {
  if (!begun_) {
    begun_ = true;
    if (!ok || !request_.has_config()) {
      Conclude(BadArgument("the first message must be the config"), nullptr);
      return;
    }
    config_ = std::move(*request_.mutable_config());
    Begin();
    return;
  }
  std::shared_ptr<Session> refused;
  {
    const Lock lock(mu_);
    if (concluded_ || stdin_ == nullptr) return;
    if (!ok) {
      stdin_->End();
      return;
    }
    if (request_.payload_case() == v1::RunStreamRequest::kStdinChunk &&
        request_.stdin_chunk().size() <= kChunkBytesMax) {
      if (stdin_->Give(std::move(*request_.mutable_stdin_chunk()))) {
        StartRead(&request_);
      }
      return;
    }
    bad_chunk_ = true;
    refused = session_;
  }
  if (refused != nullptr) {
    refused->Kill("the caller sent a message that is no chunk of stdin");
  }
}

void RunReactor::Begin() {
  absl::StatusOr<std::unique_ptr<StdinPipe>> pipe =
      StdinPipe::Open(parts_.runs.executor().poller(), [this] { ReadMore(); });
  if (!pipe.ok()) {
    Conclude(pipe.status(), nullptr);
    return;
  }
  {
    const Lock lock(mu_);
    stdin_ = *std::move(pipe);
    StartRead(&request_);
  }
  if (!parts_.runs.TryRun([this] { Work(); })) {
    Conclude(ErrorWithReason(absl::StatusCode::kResourceExhausted,
                             reason::kTooManyRuns,
                             absl::StrCat(parts_.runs.capacity(),
                                          " calls are in progress, the maximum "
                                          "(--max-runs); try again later")),
             nullptr);
  }
}

void RunReactor::OnCancel() {
  std::shared_ptr<StoreEntry> entry;
  {
    const Lock lock(mu_);
    cancelled_ = true;
    changed_.NotifyAll();
    entry = entry_;
  }
  if (entry != nullptr) {
    parts_.stores.End(entry, EndReason::kKilled, "its caller went away");
  }
}

void RunReactor::OnWriteDone(bool ok) {
  const Lock lock(mu_);
  writing_ = false;
  if (!ok) broken_ = true;
  changed_.NotifyAll();
}

void RunReactor::OnSessionEnded() {
  const Lock lock(mu_);
  ended_ = true;
  changed_.NotifyAll();
}

bool RunReactor::WaitForWrite(Lock& lock, Of whose, absl::Time until) {
  const absl::Time stalled = absl::Now() + kOutputStall;
  const auto given_up = [&] {
    return cancelled_ || broken_ || (whose == Of::kGuest && ended_);
  };
  while (writing_ && !given_up()) {
    const absl::Time now = absl::Now();
    if (now >= stalled) slow_ = true;
    if (now >= std::min(until, stalled)) return false;
    changed_.WaitUntil(lock, std::min(until, stalled));
  }
  return !given_up();
}

bool RunReactor::Send(v1::RunStreamResponse response, Of whose,
                      absl::Time until) {
  Lock lock(mu_);
  if (slow_ || !WaitForWrite(lock, whose, until)) return false;
  response_ = std::move(response);
  writing_ = true;
  // The write goes on while the guest does; the next one waits for it.
  StartWrite(&response_);
  return true;
}

bool RunReactor::OnOutput(OutputStream stream, absl::string_view bytes) {
  absl::Time until = absl::InfiniteFuture();
  std::shared_ptr<Session> session;
  {
    const Lock lock(mu_);
    session = session_;
  }
  // A guest that waits for its reader waits on its own time.
  if (session != nullptr) until = session->running_until();
  while (!bytes.empty()) {
    const absl::string_view chunk = bytes.substr(0, kChunkBytesMax);
    bytes.remove_prefix(chunk.size());
    v1::RunStreamResponse response;
    (stream == OutputStream::kStdout ? response.mutable_stdout_chunk()
                                     : response.mutable_stderr_chunk())
        ->assign(chunk.data(), chunk.size());
    if (Send(std::move(response), Of::kGuest, until)) continue;
    bool slow = false;
    {
      const Lock lock(mu_);
      slow = slow_;
    }
    if (slow && session != nullptr) {
      session->Kill("its caller took no output for too long");
    }
    return false;
  }
  return true;
}

absl::StatusOr<Outcome> RunReactor::RunGuest() {
  const absl::StatusOr<std::string> tenant = ParseTenant(config_.parent());
  if (!tenant.ok()) return tenant.status();
  CallRequest call;
  call.export_name = config_.export_().empty() ? "_start" : config_.export_();
  absl::StatusOr<std::vector<Value>> args = ValuesFromProto(config_.args());
  if (!args.ok()) return args.status();
  call.args = *std::move(args);
  call.deadline = deadline_;

  StoreStreams streams;
  streams.transient = true;
  streams.output = this;
  {
    const Lock lock(mu_);
    streams.stdin_fd = stdin_->read_fd();
  }
  const absl::StatusOr<std::shared_ptr<StoreEntry>> entry =
      MakeStore(parts_, *tenant, config_.config(), streams);
  if (!entry.ok()) return entry.status();
  const std::shared_ptr<Session> session = (*entry)->session();
  if (session == nullptr) return (*entry)->EndedStatus();
  bool gone = false;
  bool refused = false;
  {
    const Lock lock(mu_);
    entry_ = *entry;
    session_ = session;
    gone = cancelled_;
    refused = bad_chunk_;
  }
  if (refused) session->Kill("the caller sent no chunk of stdin");
  if (gone) {
    parts_.stores.End(*entry, EndReason::kKilled, "its caller went away");
  }
  v1::RunStreamResponse started;
  started.mutable_started()->set_store(
      TenantResourceName(*tenant, "stores", (*entry)->facts().id));
  for (const std::string& policy : (*entry)->policies()) {
    started.mutable_started()->add_policies(policy);
  }
  for (const std::string& warning : (*entry)->facts().warnings) {
    started.mutable_started()->add_warnings(warning);
  }
  Send(std::move(started), Of::kRun, absl::InfiniteFuture());

  absl::StatusOr<Outcome> outcome = session->Instantiate(deadline_);
  if (outcome.ok() && outcome->kind == OutcomeKind::kReturned) {
    outcome = session->Call(call);
  }
  if (!outcome.ok() && ReasonOf(outcome.status()) == reason::kStoreEnded) {
    // Killed before the guest began: what its caller learns must not depend on
    // how far it had come.
    Outcome killed;
    killed.kind = OutcomeKind::kKilled;
    killed.exit_code = kExitCodeTrapped;
    killed.store_usable = false;
    outcome = std::move(killed);
  }
  parts_.stores.End(
      *entry, outcome.ok() ? EndReason::kFinished : EndReason::kFailed,
      outcome.ok() ? "its run is over" : outcome.status().message());
  parts_.stores.Settle(*entry);
  if (outcome.ok()) {
    const absl::Status in_time = CheckDeadline(*outcome, deadline_);
    if (!in_time.ok()) return in_time;
  }
  return outcome;
}

void RunReactor::Work() {
  const absl::StatusOr<Outcome> outcome = RunGuest();
  bool bad_chunk = false;
  {
    const Lock lock(mu_);
    bad_chunk = bad_chunk_;
    entry_ = nullptr;
    session_ = nullptr;
  }
  if (bad_chunk) {
    Conclude(BadArgument(absl::StrCat(
                 "after the config come chunks of stdin, of at most ",
                 kChunkBytesMax, " bytes")),
             nullptr);
  } else if (!outcome.ok()) {
    Conclude(outcome.status(), nullptr);
  } else {
    v1::RunStreamResponse last;
    *last.mutable_outcome() = ToProto(*outcome);
    Conclude(absl::OkStatus(), &last);
  }
}

void RunReactor::Conclude(const absl::Status& status,
                          const v1::RunStreamResponse* last) {
  absl::Status answer = status;
  std::unique_ptr<StdinPipe> pipe;
  {
    Lock lock(mu_);
    const bool written =
        !slow_ && WaitForWrite(lock, Of::kRun, absl::InfiniteFuture());
    if (slow_) {
      // What was written may lie in front of the status for ever.
      context_->TryCancel();
      answer = ErrorWithReason(
          absl::StatusCode::kResourceExhausted, reason::kSlowConsumer,
          absl::StrCat("the caller took no output for ",
                       absl::FormatDuration(kOutputStall)));
    }
    if (cancelled_) answer = absl::CancelledError("the caller went away");
    if (!written) last = nullptr;
    if (last != nullptr) {
      response_ = *last;
      writing_ = true;
    }
    concluded_ = true;
    pipe = std::move(stdin_);
  }
  // The poller may be in ReadMore, which takes the lock.
  pipe = nullptr;
  const grpc::Status sent = StatusToGrpc(answer);
  record_.Count(sent.error_code());
  // Nothing of this may be touched after these: OnDone may have come already.
  if (last != nullptr) {
    StartWriteAndFinish(&response_, grpc::WriteOptions(), sent);
  } else {
    Finish(sent);
  }
}

}  // namespace

grpc::ServerBidiReactor<v1::RunStreamRequest, v1::RunStreamResponse>*
StartRunStream(const ServiceParts& parts,
               grpc::CallbackServerContext* context) {
  return new RunReactor(parts, context);
}

}  // namespace callgate
