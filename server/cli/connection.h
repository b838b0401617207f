// The client's side of a connection to callgated.
//
// Opening makes no network call: the first RPC connects, and its error says
// that no daemon answers. Any thread may use the stubs.

#ifndef CALLGATE_SERVER_CLI_CONNECTION_H_
#define CALLGATE_SERVER_CLI_CONNECTION_H_

#include <memory>
#include <string>

#include "absl/time/time.h"
#include "grpcpp/channel.h"
#include "grpcpp/client_context.h"
#include "grpcpp/support/status.h"
#include "server/cli/arguments.h"
#include "server/cli/failure.h"

namespace callgate::cli {

class Connection {
 public:
  // How long a call may take that runs no guest.
  static constexpr absl::Duration kCallDeadline = absl::Seconds(30);

  // To --server, CALLGATE_SERVER or the default address; a usage failure if it
  // is not HOST:PORT, or if a word of the command line is not UTF-8 and could
  // not be sent.
  static OrFailure<Connection> Open(const Arguments& arguments);

  const std::shared_ptr<grpc::Channel>& channel() const { return channel_; }
  const std::string& address() const { return address_; }

  // What a failed RPC means to whoever ran the client. `status` must not be OK.
  Failure Explain(const grpc::Status& status) const;

 private:
  Connection(std::string address, std::shared_ptr<grpc::Channel> channel);

  std::string address_;
  std::shared_ptr<grpc::Channel> channel_;
};

// Gives `context` the deadline of a call that runs no guest.
void SetCallDeadline(grpc::ClientContext& context);

}  // namespace callgate::cli

#endif  // CALLGATE_SERVER_CLI_CONNECTION_H_
