// YAML as a tree of nodes, each with its place in the text.
//
// The text is hostile. Its bounds hold while the parser's events come in, so
// that nothing large is ever built; and what makes YAML surprising (aliases,
// anchors, tags, merge keys, repeated keys, further documents) is refused here.

#ifndef CALLGATE_POLICY_FILE_YAML_TREE_H_
#define CALLGATE_POLICY_FILE_YAML_TREE_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "policy/file/problem.h"

namespace callgate::policy {

inline constexpr uint32_t kNoYamlNode = ~uint32_t{0};

struct YamlNode {
  enum class Kind : uint8_t { kNull, kScalar, kSequence, kMap };

  Kind kind = Kind::kNull;
  // A scalar that was written in quotes or as a block: text, whatever it looks
  // like.
  bool quoted = false;
  SourcePosition position;
  // Of a scalar.
  std::string text;
  // In a map, the key that leads here.
  std::string key;
  SourcePosition key_position;
  // Index of the first child and of the next child of the same parent.
  uint32_t first_child = kNoYamlNode;
  uint32_t next_sibling = kNoYamlNode;
};

struct YamlTree {
  // The root is first. Empty if there are problems.
  std::vector<YamlNode> nodes;
  std::vector<Problem> problems;
};

YamlTree ParseYaml(absl::string_view text, absl::string_view filename);

// "a map", "a list", "nothing", `"text"`: for messages.
std::string DescribeYamlNode(const YamlNode& node);

}  // namespace callgate::policy

#endif  // CALLGATE_POLICY_FILE_YAML_TREE_H_
