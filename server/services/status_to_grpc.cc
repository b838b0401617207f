#include "server/services/status_to_grpc.h"

#include <iterator>

#include "absl/strings/cord.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "proto/google/rpc/error_details.pb.h"
#include "server/error_reason.h"
#include "server/events/escape.h"
#include "server/status_code_name.h"

namespace callgate {
namespace {

// gRPC clients refuse trailers over 8 KiB by default, and the message is in
// them twice: once percent-encoded, once inside the details in base64.
constexpr size_t kMessageBytesMax = 1024;
constexpr size_t kViolationsBytesMax = 1536;
constexpr size_t kDetailBytesMax = 2048;

constexpr char kBadRequestUrl[] = "type.googleapis.com/google.rpc.BadRequest";

template <typename Detail>
void AddDetail(const Detail& detail, google::rpc::Status* status) {
  status->add_details()->PackFrom(detail);
}

}  // namespace

const char* GrpcCodeName(grpc::StatusCode code) {
  const auto index = static_cast<size_t>(code);
  return index < std::size(kStatusCodeNames) ? kStatusCodeNames[index]
                                             : "UNKNOWN";
}

absl::Status WithViolations(
    absl::Status status,
    const std::vector<std::pair<std::string, std::string>>& violations) {
  google::rpc::BadRequest bad;
  size_t bytes = 0;
  size_t shown = 0;
  for (const auto& [field, description] : violations) {
    bytes += field.size() + description.size();
    if (bytes > kViolationsBytesMax && shown > 0) break;
    auto* violation = bad.add_field_violations();
    violation->set_field(events::EscapeText(field, 256));
    violation->set_description(events::EscapeText(description, 1024));
    ++shown;
  }
  if (shown < violations.size()) {
    auto* rest = bad.add_field_violations();
    rest->set_field("…");
    rest->set_description(
        absl::StrCat("and ", violations.size() - shown, " more"));
  }
  status.SetPayload(kBadRequestUrl, absl::Cord(bad.SerializeAsString()));
  return status;
}

grpc::Status StatusToGrpc(const absl::Status& status) {
  if (status.ok()) return grpc::Status::OK;
  // The numbers of the two enums are the same on purpose.
  const auto code = static_cast<grpc::StatusCode>(status.code());
  const std::string message =
      events::EscapeText(status.message(), kMessageBytesMax);

  google::rpc::Status sent;
  sent.set_code(static_cast<int32_t>(code));
  sent.set_message(message);
  const std::string why = ReasonOf(status);
  if (why.empty()) {
    google::rpc::ErrorInfo info;
    info.set_reason(GrpcCodeName(code));
    info.set_domain(kErrorDomain);
    AddDetail(info, &sent);
  }
  status.ForEachPayload(
      [&sent](absl::string_view url, const absl::Cord& payload) {
        if (!absl::StartsWith(url, "type.googleapis.com/google.rpc.") ||
            payload.size() > kDetailBytesMax) {
          return;
        }
        auto* detail = sent.add_details();
        detail->set_type_url(std::string(url));
        detail->set_value(std::string(payload));
      });
  if (code == grpc::StatusCode::RESOURCE_EXHAUSTED) {
    google::rpc::QuotaFailure quota;
    auto* violation = quota.add_violations();
    violation->set_subject(why);
    violation->set_description(message);
    AddDetail(quota, &sent);
  }
  if (code == grpc::StatusCode::RESOURCE_EXHAUSTED ||
      code == grpc::StatusCode::UNAVAILABLE) {
    google::rpc::RetryInfo retry;
    retry.mutable_retry_delay()->set_seconds(1);
    AddDetail(retry, &sent);
  }
  return grpc::Status(code, message, sent.SerializeAsString());
}

}  // namespace callgate
