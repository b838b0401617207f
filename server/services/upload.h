// A module that comes in chunks: a client-streaming RPC with a header, bounded
// in size, in the size of each chunk, and in time.
//
// Progress: from its beginning an upload has upload_stall, and one second more
// for each 16 KiB that have come. One that falls behind is ended. At most
// kUploadsMax are under way, shared by the tenants as upload_slots.h says; each
// holds at most the bytes that its header announces, which are checked before
// any comes.
//
// The reactor deletes itself when gRPC is done with it.

#ifndef CALLGATE_SERVER_SERVICES_UPLOAD_H_
#define CALLGATE_SERVER_SERVICES_UPLOAD_H_

#include <atomic>
#include <functional>
#include <string>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/clock.h"
#include "grpcpp/server_context.h"
#include "grpcpp/support/server_callback.h"
#include "server/error_reason.h"
#include "server/services/resource_name.h"
#include "server/services/rpc_record.h"
#include "server/services/service_parts.h"
#include "server/services/upload_slots.h"
#include "server/timer.h"

namespace callgate {

inline constexpr size_t kUploadsMax = 16;
inline constexpr size_t kUploadChunkBytesMax = 65'536;
inline constexpr double kUploadBytesPerSecondMin = 16 * 1024;

// The bytes of one upload, and what can be wrong with them.
class UploadBuffer {
 public:
  // MODULE_OVER_LIMIT, BAD_ARGUMENT.
  absl::Status Begin(int64_t announced, uint64_t bytes_max);
  // BAD_CHUNK, SIZE_MISMATCH.
  absl::Status Add(absl::string_view chunk);
  // SIZE_MISMATCH.
  absl::Status End() const;

  size_t size() const { return bytes_.size(); }
  std::string Take() { return std::move(bytes_); }

 private:
  uint64_t announced_ = 0;
  std::string bytes_;
};

// Request has `header` (with size_bytes) and `chunk`.
template <typename Request, typename Response>
class Upload final : public grpc::ServerReadReactor<Request> {
 public:
  using Header = typename Request::Header;

  struct Method {
    const char* service;
    const char* name;
    // Looks at the header, without waiting for long. True: `response` is the
    // answer already.
    std::function<absl::StatusOr<bool>(const Header& header,
                                       Response* response)>
        on_header;
    // On a worker thread, when all bytes are there.
    std::function<absl::Status(const Header& header, std::string bytes,
                               Response* response)>
        on_bytes;
    // The upload ended before on_bytes, with this status.
    std::function<void(const absl::Status& status)> on_given_up;
  };

  // `slots` are those of all methods together.
  static Upload* Start(const ServiceParts& parts, UploadSlots& slots,
                       grpc::CallbackServerContext* context, Response* response,
                       Method method) {
    static_cast<void>(context);
    auto* upload = new Upload(parts, slots, response, std::move(method));
    upload->Begin();
    return upload;
  }

 private:
  Upload(const ServiceParts& parts, UploadSlots& slots, Response* response,
         Method method)
      : parts_(parts),
        slots_(slots),
        response_(response),
        method_(std::move(method)),
        record_(parts.metrics, method_.service, method_.name),
        start_(absl::Now()) {}

  void Begin() {
    absl::Status status = slots_.Begin();
    has_slot_ = status.ok();
    if (status.ok()) status = CheckNotDraining(parts_);
    if (!status.ok()) {
      Conclude(status);
      return;
    }
    const absl::MutexLock lock(&mu_);
    ReadMore();
  }

  // When the next chunk must be there.
  void ReadMore() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    const absl::Time due = start_ + parts_.config.upload_stall +
                           absl::Seconds(static_cast<double>(buffer_.size()) /
                                         kUploadBytesPerSecondMin);
    stall_ = parts_.timer.Schedule(due, [this] {
      Conclude(ErrorWithReason(
          absl::StatusCode::kDeadlineExceeded, reason::kUploadStalled,
          "the module comes too slowly: more than --upload-stall behind 16 KiB "
          "a second"));
    });
    this->StartRead(&request_);
  }

  void OnReadDone(bool ok) override {
    Timer::Id stall = 0;
    {
      const absl::MutexLock lock(&mu_);
      stall = std::exchange(stall_, 0);
    }
    if (stall != 0) parts_.timer.Cancel(stall);
    if (!ok) {
      OnEnd();
      return;
    }
    const absl::StatusOr<bool> answered = Take();
    if (!answered.ok() || *answered) {
      Conclude(answered.status());
      return;
    }
    const absl::MutexLock lock(&mu_);
    if (!concluded_) ReadMore();
  }

  absl::StatusOr<bool> Take() {
    if (!has_header_) {
      if (!request_.has_header()) {
        return ErrorWithReason(absl::StatusCode::kInvalidArgument,
                               reason::kBadArgument,
                               "the first message must be the header");
      }
      has_header_ = true;
      header_ = std::move(*request_.mutable_header());
      absl::StatusOr<bool> answered = method_.on_header(header_, response_);
      if (!answered.ok() || *answered) return answered;
      const absl::StatusOr<std::string> tenant = ParseTenant(header_.parent());
      if (!tenant.ok()) return tenant.status();
      {
        const absl::MutexLock lock(&mu_);
        // By the timer: nobody asks for the answer any more.
        if (concluded_) return true;
        const absl::Status assigned = slots_.Assign(*tenant);
        if (!assigned.ok()) return assigned;
        tenant_ = *tenant;
      }
      const absl::Status status = buffer_.Begin(
          header_.size_bytes(), parts_.modules.UploadLimits().bytes);
      if (!status.ok()) return status;
      return false;
    }
    if (request_.payload_case() != Request::kChunk) {
      return ErrorWithReason(absl::StatusCode::kInvalidArgument,
                             reason::kBadChunk,
                             "after the header come chunks only");
    }
    const absl::Status status = buffer_.Add(request_.chunk());
    if (!status.ok()) return status;
    return false;
  }

  void OnEnd() {
    {
      const absl::MutexLock lock(&mu_);
      if (concluded_) return;
    }
    const absl::Status status =
        has_header_ ? buffer_.End()
                    : ErrorWithReason(absl::StatusCode::kInvalidArgument,
                                      reason::kBadArgument,
                                      "the stream ended before its header");
    if (!status.ok()) {
      Conclude(status);
      return;
    }
    complete_ = true;
    if (!parts_.compiles.TryRun([this] {
          Conclude(method_.on_bytes(header_, buffer_.Take(), response_));
        })) {
      Conclude(ErrorWithReason(
          absl::StatusCode::kResourceExhausted, reason::kTooManyUploads,
          "too many modules are being compiled; try again later"));
    }
  }

  void Conclude(const absl::Status& status) {
    std::string tenant;
    {
      const absl::MutexLock lock(&mu_);
      if (concluded_) return;
      concluded_ = true;
      tenant = tenant_;
    }
    if (!status.ok() && !complete_) method_.on_given_up(status);
    const grpc::Status answer = StatusToGrpc(status);
    record_.Count(answer.error_code());
    // Before the answer goes out: who has it may begin another.
    if (has_slot_) slots_.End(tenant);
    // Nothing of this may be touched after it: OnDone may have come already.
    this->Finish(answer);
  }

  void OnDone() override {
    Timer::Id stall = 0;
    {
      const absl::MutexLock lock(&mu_);
      stall = stall_;
    }
    if (stall != 0) parts_.timer.Cancel(stall);
    delete this;
  }

  const ServiceParts parts_;
  UploadSlots& slots_;
  Response* const response_;
  const Method method_;
  RpcRecord record_;
  const absl::Time start_;

  // Of slots_; set before anything is read.
  bool has_slot_ = false;

  // Of the reading side.
  Request request_;
  bool has_header_ = false;
  Header header_;
  UploadBuffer buffer_;
  // All bytes came. Set before on_bytes, after which no other thread concludes.
  std::atomic<bool> complete_{false};

  absl::Mutex mu_;
  Timer::Id stall_ ABSL_GUARDED_BY(mu_) = 0;
  bool concluded_ ABSL_GUARDED_BY(mu_) = false;
  // That it has a slot of; empty until it is known.
  std::string tenant_ ABSL_GUARDED_BY(mu_);
};

}  // namespace callgate

#endif  // CALLGATE_SERVER_SERVICES_UPLOAD_H_
