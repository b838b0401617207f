// An Outcome as it arrives from the daemon.

#ifndef CALLGATE_SERVER_CLI_OUTCOME_MESSAGE_H_
#define CALLGATE_SERVER_CLI_OUTCOME_MESSAGE_H_

#include <optional>

#include "proto/callgate/v1/outcome.pb.h"
#include "server/outcome.h"

namespace callgate::cli {

// Nullopt for a message of a kind, or with a value, that this release does not
// know: showing half of it could show the opposite.
std::optional<Outcome> OutcomeOf(const v1::Outcome& message);

}  // namespace callgate::cli

#endif  // CALLGATE_SERVER_CLI_OUTCOME_MESSAGE_H_
