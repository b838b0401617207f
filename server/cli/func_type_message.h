// Function types as they arrive from the daemon. Pure functions; any thread.

#ifndef CALLGATE_SERVER_CLI_FUNC_TYPE_MESSAGE_H_
#define CALLGATE_SERVER_CLI_FUNC_TYPE_MESSAGE_H_

#include <optional>

#include "proto/callgate/v1/module_service.pb.h"
#include "runtime/value.h"

namespace callgate::cli {

// Nullopt if a type is unknown to this release.
std::optional<FuncType> FuncTypeOf(const v1::FuncType& message);

}  // namespace callgate::cli

#endif  // CALLGATE_SERVER_CLI_FUNC_TYPE_MESSAGE_H_
