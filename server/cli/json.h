// JSON as the client prints it: one object on one line, keys in the order they
// were set.
//
// Strings may hold any bytes: control characters, quotes and bidirectional
// marks are escaped, and what is not UTF-8 becomes U+FFFD, so that the result
// is JSON whatever a guest wrote.

#ifndef CALLGATE_SERVER_CLI_JSON_H_
#define CALLGATE_SERVER_CLI_JSON_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"

namespace callgate::cli {

// With the quotes around it.
std::string JsonString(absl::string_view bytes);

// Whether `bytes` survives JsonString unchanged.
bool IsUtf8(absl::string_view bytes);

class JsonObject {
 public:
  JsonObject& Text(absl::string_view key, absl::string_view value);
  JsonObject& Number(absl::string_view key, int64_t value);
  JsonObject& Unsigned(absl::string_view key, uint64_t value);
  JsonObject& Real(absl::string_view key, double value);
  JsonObject& Bool(absl::string_view key, bool value);
  // `json` is JSON already: an object, an array.
  JsonObject& Raw(absl::string_view key, absl::string_view json);

  std::string ToString() const;

 private:
  std::string members_;
};

// Of values that are JSON already.
std::string JsonArray(const std::vector<std::string>& values);

}  // namespace callgate::cli

#endif  // CALLGATE_SERVER_CLI_JSON_H_
