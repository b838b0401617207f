// How lines for people name an import.

#ifndef CALLGATE_SERVER_CLI_IMPORT_TEXT_H_
#define CALLGATE_SERVER_CLI_IMPORT_TEXT_H_

#include <string>

#include "absl/strings/string_view.h"

namespace callgate::cli {

// `module.name`, as a policy writes it: with quotes around both where the first
// dot would not tell them apart. The names come escaped from the daemon and
// are not escaped again.
std::string ImportText(absl::string_view module, absl::string_view name);

}  // namespace callgate::cli

#endif  // CALLGATE_SERVER_CLI_IMPORT_TEXT_H_
