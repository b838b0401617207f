#include "server/cli/message_json.h"

#include "google/protobuf/util/json_util.h"
#include "runtime/check.h"

namespace callgate::cli {

std::string MessageJson(const google::protobuf::Message& message) {
  google::protobuf::util::JsonPrintOptions options;
  options.preserve_proto_field_names = true;
  options.always_print_primitive_fields = true;
  std::string json;
  const bool written =
      google::protobuf::util::MessageToJsonString(message, &json, options).ok();
  CALLGATE_CHECK(written, "a message without Any has a JSON form");
  return json;
}

}  // namespace callgate::cli
