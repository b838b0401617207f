#include "server/cli/connection.h"

#include <chrono>
#include <cstdlib>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "grpcpp/create_channel.h"
#include "grpcpp/security/credentials.h"
#include "grpcpp/support/channel_arguments.h"
#include "proto/google/rpc/error_details.pb.h"
#include "server/cli/exit_codes.h"
#include "server/cli/json.h"
#include "server/cli/quoted.h"
#include "server/error_reason.h"

namespace callgate::cli {
namespace {

constexpr absl::string_view kDefaultAddress = "127.0.0.1:50051";

// "HOST:PORT", "[::1]:PORT".
bool IsAddress(absl::string_view address) {
  const size_t colon = address.rfind(':');
  if (colon == absl::string_view::npos || colon == 0) return false;
  int port = 0;
  return absl::SimpleAtoi(address.substr(colon + 1), &port) && port > 0 &&
         port < 65536;
}

}  // namespace

Connection::Connection(std::string address,
                       std::shared_ptr<grpc::Channel> channel)
    : address_(std::move(address)), channel_(std::move(channel)) {}

OrFailure<Connection> Connection::Open(const Arguments& arguments) {
  std::string address(kDefaultAddress);
  absl::string_view source = "--server";
  if (const auto flag = arguments.Get("server"); flag.has_value()) {
    address = *flag;
  } else if (const char* variable = std::getenv("CALLGATE_SERVER");
             variable != nullptr && *variable != '\0') {
    address = variable;
    source = "CALLGATE_SERVER";
  }
  if (!IsAddress(address)) {
    return WrongUsage(absl::StrCat(
        source, " ", Quoted(address),
        " is not an address; write HOST:PORT, such as ", kDefaultAddress));
  }
  for (const std::string& word : arguments.AllWords()) {
    if (!IsUtf8(word)) {
      return WrongUsage(absl::StrCat(
          Quoted(word), " is not UTF-8, and the daemon takes nothing else"));
    }
  }
  grpc::ChannelArguments options;
  // A proxy named in the environment is meant for the web, not for a daemon.
  options.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  return Connection(address,
                    grpc::CreateCustomChannel(
                        address, grpc::InsecureChannelCredentials(), options));
}

Failure Connection::Explain(const grpc::Status& status) const {
  std::string reason;
  std::vector<std::string> details;
  google::rpc::Status sent;
  if (sent.ParseFromString(status.error_details())) {
    for (const google::protobuf::Any& any : sent.details()) {
      google::rpc::ErrorInfo info;
      google::rpc::BadRequest bad;
      if (any.UnpackTo(&info)) {
        reason = info.reason();
      } else if (any.UnpackTo(&bad)) {
        for (const auto& violation : bad.field_violations()) {
          details.push_back(
              absl::StrCat(violation.field(), ": ", violation.description()));
        }
      }
    }
  }
  Failure failure = FailureOf(
      ErrorWithReason(static_cast<absl::StatusCode>(status.error_code()),
                      reason, status.error_message()));
  failure.reason = reason;
  failure.details = std::move(details);
  // Without a reason it was the transport that spoke, not the daemon.
  if (reason.empty()) {
    if (status.error_code() == grpc::StatusCode::UNAVAILABLE) {
      failure.exit_code = kExitNoDaemon;
      failure.message = absl::StrCat(
          "cannot reach callgated at ", address_, ": ", status.error_message(),
          "; start it with `callgated --data DIR`, or say where it is with "
          "--server or CALLGATE_SERVER");
    } else if (status.error_code() == grpc::StatusCode::DEADLINE_EXCEEDED) {
      failure.exit_code = kExitNoDaemon;
      failure.message =
          absl::StrCat("callgated at ", address_,
                       " did not answer in time: ", status.error_message());
    } else if (status.error_code() == grpc::StatusCode::UNIMPLEMENTED) {
      failure.message =
          absl::StrCat("what answers at ", address_,
                       " does not know this call; it is no callgated, or an "
                       "older one");
    }
  }
  if (failure.message.empty()) {
    failure.message = absl::StrCat(
        "callgated at ", address_, " failed with status code ",
        static_cast<int>(status.error_code()), " and without a message");
  }
  return failure;
}

void SetCallDeadline(grpc::ClientContext& context) {
  context.set_deadline(std::chrono::system_clock::now() +
                       absl::ToChronoMilliseconds(Connection::kCallDeadline));
}

}  // namespace callgate::cli
