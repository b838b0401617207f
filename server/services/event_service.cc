#include "server/services/event_service.h"

#include <algorithm>
#include <memory>
#include <optional>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/clock.h"
#include "server/error_reason.h"
#include "server/services/messages.h"
#include "server/services/rpc_record.h"

namespace callgate {
namespace {

constexpr absl::Duration kHeartbeatEvery = absl::Seconds(15);
// A reader that takes nothing for so long is sent away.
constexpr absl::Duration kReaderStall = absl::Seconds(30);
constexpr size_t kFilterBytesMax = 256;

absl::Status BadArgument(absl::string_view message) {
  return ErrorWithReason(absl::StatusCode::kInvalidArgument,
                         reason::kBadArgument, message);
}

// Waits for events on a worker thread (Work), which alone writes and finishes.
class WatchReactor final
    : public grpc::ServerWriteReactor<v1::WatchEventsResponse> {
 public:
  WatchReactor(const ServiceParts& parts, const ResumeTokens& tokens,
               grpc::CallbackServerContext* context,
               const v1::WatchEventsRequest& request)
      : parts_(parts),
        tokens_(tokens),
        context_(context),
        request_(request),
        record_(parts.metrics, "callgate.v1.EventService", "WatchEvents") {}

  void Begin() {
    if (!parts_.watchers.TryRun([this] { Conclude(Watch()); })) {
      Conclude(ErrorWithReason(
          absl::StatusCode::kResourceExhausted, reason::kTooManyWatchers,
          absl::StrCat(parts_.watchers.capacity(),
                       " readers of events are connected, the maximum; end one "
                       "or try again later")));
    }
  }

 private:
  absl::StatusOr<std::unique_ptr<events::Subscription>> Subscribe();
  absl::Status Watch();
  absl::Status Send(v1::WatchEventsResponse response);

  void OnWriteDone(bool ok) override {
    const absl::MutexLock lock(&mu_);
    writing_ = false;
    if (!ok) broken_ = true;
  }

  void OnCancel() override {
    const absl::MutexLock lock(&mu_);
    cancelled_ = true;
    if (subscription_ != nullptr) subscription_->Close();
  }

  void OnDone() override { delete this; }

  void Conclude(const absl::Status& status) {
    {
      const absl::MutexLock lock(&mu_);
      subscription_ = nullptr;
    }
    const grpc::Status answer = StatusToGrpc(status);
    record_.Count(answer.error_code());
    // Nothing of this may be touched after it: OnDone may have come already.
    Finish(answer);
  }

  const ServiceParts parts_;
  const ResumeTokens& tokens_;
  grpc::CallbackServerContext* const context_;
  const v1::WatchEventsRequest request_;
  RpcRecord record_;
  v1::WatchEventsResponse response_;  // of the write that is under way

  absl::Mutex mu_;
  bool writing_ ABSL_GUARDED_BY(mu_) = false;
  bool broken_ ABSL_GUARDED_BY(mu_) = false;
  bool cancelled_ ABSL_GUARDED_BY(mu_) = false;
  std::unique_ptr<events::Subscription> subscription_ ABSL_GUARDED_BY(mu_);
};

absl::StatusOr<std::unique_ptr<events::Subscription>>
WatchReactor::Subscribe() {
  events::EventFilter filter;
  if (request_.tenant().size() > kFilterBytesMax ||
      request_.store().size() > kFilterBytesMax) {
    return BadArgument(absl::StrCat("tenant and store have at most ",
                                    kFilterBytesMax, " bytes"));
  }
  filter.tenant = request_.tenant();
  filter.store = request_.store();
  for (const int kind : request_.kinds()) {
    if (!v1::EventKind_IsValid(kind) || kind == v1::EVENT_KIND_UNSPECIFIED) {
      return BadArgument(
          absl::StrCat("kinds: ", kind, " is no kind of event known here"));
    }
    filter.kinds.insert(static_cast<v1::EventKind>(kind));
  }
  if (!v1::EventSeverity_IsValid(request_.min_severity())) {
    return BadArgument(absl::StrCat(
        "min_severity: ", static_cast<int>(request_.min_severity()),
        " is no severity known here"));
  }
  filter.min_severity = request_.min_severity();
  events::EventLog::Start start;
  start.include_kept = request_.include_kept();
  if (!request_.resume_token().empty()) {
    absl::StatusOr<events::Position> position =
        tokens_.Read(request_.resume_token(), request_);
    if (!position.ok()) return position.status();
    start.after = *position;
  }
  if (request_.stop_at_end() && !start.include_kept && !start.after) {
    return BadArgument(
        "stop_at_end asks for include_kept or a resume_token: otherwise there "
        "is nothing before the end");
  }
  absl::StatusOr<std::unique_ptr<events::Subscription>> subscription =
      parts_.events.Subscribe(filter, start, events::kSinkWatch);
  if (absl::IsOutOfRange(subscription.status())) {
    return WithReason(subscription.status(), reason::kCompacted,
                      {{"oldest", absl::StrCat(parts_.events.oldest().seq)}});
  }
  if (absl::IsInvalidArgument(subscription.status())) {
    return WithReason(subscription.status(), reason::kBadResumeToken);
  }
  if (absl::IsResourceExhausted(subscription.status())) {
    return WithReason(subscription.status(), reason::kTooManyWatchers);
  }
  return subscription;
}

absl::Status WatchReactor::Send(v1::WatchEventsResponse response) {
  const auto over =
      +[](WatchReactor* watch) ABSL_EXCLUSIVE_LOCKS_REQUIRED(watch->mu_) {
        return !watch->writing_ || watch->broken_ || watch->cancelled_;
      };
  const absl::MutexLock lock(&mu_);
  if (!mu_.AwaitWithTimeout(absl::Condition(over, this), kReaderStall)) {
    // What was written may lie in front of the status for ever.
    context_->TryCancel();
    return ErrorWithReason(absl::StatusCode::kResourceExhausted,
                           reason::kSlowConsumer,
                           absl::StrCat("the reader took no event for ",
                                        absl::FormatDuration(kReaderStall),
                                        "; resume with the last token"));
  }
  if (broken_ || cancelled_) return absl::CancelledError("the reader left");
  response_ = std::move(response);
  writing_ = true;
  StartWrite(&response_);
  return absl::OkStatus();
}

absl::Status WatchReactor::Watch() {
  const absl::Status draining = CheckNotDraining(parts_);
  if (!draining.ok()) return draining;
  absl::StatusOr<std::unique_ptr<events::Subscription>> subscribed =
      Subscribe();
  if (!subscribed.ok()) return subscribed.status();
  events::Subscription* subscription = subscribed->get();
  {
    const absl::MutexLock lock(&mu_);
    subscription_ = *std::move(subscribed);
    if (cancelled_) subscription_->Close();
  }
  const events::Position end = parts_.events.newest();
  for (;;) {
    std::optional<events::Subscription::Item> item = subscription->Next(
        request_.stop_at_end() ? absl::InfinitePast()
                               : absl::Now() + kHeartbeatEvery);
    v1::WatchEventsResponse response;
    if (item.has_value()) {
      if (item->event != nullptr) {
        *response.mutable_event() = *item->event;
      } else {
        *response.mutable_gap() = *item->gap;
      }
      response.set_resume_token(tokens_.Make(item->position, request_));
    } else if (subscription->closed()) {
      return CheckNotDraining(parts_);
    } else if (request_.stop_at_end()) {
      return absl::OkStatus();
    } else {
      *response.mutable_heartbeat()->mutable_time() = ToProto(absl::Now());
      response.set_resume_token(
          tokens_.Make(subscription->position(), request_));
    }
    const absl::Status sent = Send(std::move(response));
    if (!sent.ok()) {
      if (item.has_value() && item->event != nullptr) {
        subscription->CountUndelivered(ReasonOf(sent) == reason::kSlowConsumer
                                           ? events::kDropQueueFull
                                           : events::kDropClosed);
      }
      return sent;
    }
    // A stream that stops at its end does not chase the newest event.
    if (request_.stop_at_end() && item->position.seq >= end.seq) {
      return absl::OkStatus();
    }
  }
}

}  // namespace

grpc::ServerWriteReactor<v1::WatchEventsResponse>* EventService::WatchEvents(
    grpc::CallbackServerContext* context,
    const v1::WatchEventsRequest* request) {
  auto* watch = new WatchReactor(parts_, tokens_, context, *request);
  watch->Begin();
  return watch;
}

}  // namespace callgate
