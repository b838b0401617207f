// Getting a module that a command line names, FILE or DIGEST, onto the daemon.

#ifndef CALLGATE_SERVER_CLI_MODULE_UPLOAD_H_
#define CALLGATE_SERVER_CLI_MODULE_UPLOAD_H_

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "proto/callgate/v1/module_service.pb.h"
#include "runtime/value.h"
#include "server/cli/connection.h"
#include "server/cli/failure.h"

namespace callgate::cli {

// The largest file that is read at all. What a module may be is the daemon's
// and the policies' decision; this only bounds the client's own memory.
inline constexpr uint64_t kModuleFileBytesMax = uint64_t{256} << 20;

// "sha256:…" names what the daemon has; everything else is a file.
bool IsDigest(absl::string_view operand);

// The bytes of a module file.
OrFailure<std::string> ReadModuleFile(const std::string& path);

// Streams the bytes, unless the daemon has them already.
OrFailure<v1::Module> UploadModule(
    const Connection& connection, absl::string_view bytes,
    const std::map<std::string, std::string>& labels);

// The module that `operand` names, uploaded if it is a file.
OrFailure<v1::Module> ModuleOnDaemon(const Connection& connection,
                                     const std::string& operand);

// The type of an exported function, or nullopt if there is none of that name.
std::optional<FuncType> ExportedFunction(const v1::Module& module,
                                         absl::string_view name);

// The names of all of them.
std::vector<std::string> ExportedFunctions(const v1::Module& module);

}  // namespace callgate::cli

#endif  // CALLGATE_SERVER_CLI_MODULE_UPLOAD_H_
