// Fills a protobuf message from a YAML tree: keys are field names, and every
// value must be what its field asks for.

#ifndef CALLGATE_POLICY_FILE_YAML_TO_MESSAGE_H_
#define CALLGATE_POLICY_FILE_YAML_TO_MESSAGE_H_

#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/string_view.h"
#include "google/protobuf/descriptor.h"
#include "google/protobuf/message.h"
#include "policy/file/problem.h"
#include "policy/file/yaml_tree.h"

namespace callgate::policy {

// `message` is empty and of a kind that the policy schema is made of: strings,
// bools, unsigned integers, doubles, enums, durations, messages, lists of
// those, and maps from strings to strings. `positions` gets the place of every
// field that is set, as LoadedPolicyFile::positions.
std::vector<Problem> FillMessageFromYaml(
    const YamlTree& tree, absl::string_view filename,
    google::protobuf::Message* message,
    absl::flat_hash_map<std::string, SourcePosition>* positions);

// ACTION_KILL_STORE → "kill_store".
std::string ShortEnumName(const google::protobuf::EnumValueDescriptor& value);
// Of all values but the unspecified one.
std::vector<std::string> ShortEnumNames(
    const google::protobuf::EnumDescriptor& type);

}  // namespace callgate::policy

#endif  // CALLGATE_POLICY_FILE_YAML_TO_MESSAGE_H_
