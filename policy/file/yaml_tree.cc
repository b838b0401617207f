#include "policy/file/yaml_tree.h"

#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/exceptions.h>
#include <yaml-cpp/mark.h>
#include <yaml-cpp/parser.h>

#include <exception>
#include <sstream>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/str_cat.h"
#include "policy/file/policy_file.h"
#include "policy/quote.h"

namespace callgate::policy {
namespace {

constexpr absl::string_view kByteOrderMark = "\xef\xbb\xbf";

// Thrown by our handler through the parser, which has no other way to be
// stopped. Caught in ParseYaml; the problem is in the tree by then.
struct StopParsing {};

class TreeBuilder final : public YAML::EventHandler {
 public:
  TreeBuilder(absl::string_view text, absl::string_view filename,
              YamlTree* tree)
      : text_(text), filename_(filename), tree_(*tree) {}

  void OnDocumentStart(const YAML::Mark& mark) override {
    if (++documents_ > 1) {
      Stop(At(mark), "a second YAML document; a policy file has one");
    }
  }
  void OnDocumentEnd() override {}

  void OnNull(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    CheckProperties(mark, "", anchor);
    if (TakeKey(At(mark), nullptr)) return;
    Add(YamlNode::Kind::kNull, At(mark));
  }

  void OnAlias(const YAML::Mark& mark, YAML::anchor_t) override {
    Stop(At(mark), "aliases (*name) are not allowed; write the value out");
  }

  void OnScalar(const YAML::Mark& mark, const std::string& tag,
                YAML::anchor_t anchor, const std::string& value) override {
    CheckProperties(mark, tag, anchor);
    const bool quoted = tag != "?";
    if (TakeKey(At(mark), &value, quoted)) return;
    YamlNode& node = Add(YamlNode::Kind::kScalar, At(mark));
    node.text = value;
    node.quoted = quoted;
  }

  void OnSequenceStart(const YAML::Mark& mark, const std::string& tag,
                       YAML::anchor_t anchor,
                       YAML::EmitterStyle::value) override {
    Open(YamlNode::Kind::kSequence, mark, tag, anchor);
  }
  void OnSequenceEnd() override { open_.pop_back(); }

  void OnMapStart(const YAML::Mark& mark, const std::string& tag,
                  YAML::anchor_t anchor, YAML::EmitterStyle::value) override {
    Open(YamlNode::Kind::kMap, mark, tag, anchor);
  }
  void OnMapEnd() override { open_.pop_back(); }

  int documents() const { return documents_; }

 private:
  // A collection whose end has not come yet.
  struct OpenCollection {
    uint32_t node;
    uint32_t last_child = kNoYamlNode;
    // Of a map: the key that waits for its value, and all keys with their
    // lines.
    bool has_key = false;
    std::string key;
    SourcePosition key_position;
    absl::flat_hash_map<std::string, int> keys;
  };

  static SourcePosition At(const YAML::Mark& mark) {
    return {mark.line + 1, mark.column + 1};
  }

  void Report(SourcePosition at, std::string message) {
    tree_.problems.push_back(
        {std::string(filename_), at.line, at.column, std::move(message)});
    if (tree_.problems.size() >= kProblemsMax) throw StopParsing();
  }
  [[noreturn]] void Stop(SourcePosition at, std::string message) {
    tree_.problems.push_back(
        {std::string(filename_), at.line, at.column, std::move(message)});
    throw StopParsing();
  }

  void CountNode(SourcePosition at) {
    if (++nodes_ > kPolicyFileNodesMax) {
      Stop(at, absl::StrCat("more than ", kPolicyFileNodesMax,
                            " values; a policy file has at most that many"));
    }
  }

  void CheckProperties(const YAML::Mark& mark, const std::string& tag,
                       YAML::anchor_t anchor) {
    CountNode(At(mark));
    if (anchor != 0) {
      Report(At(mark), "anchors (&name) are not allowed; repeat the value");
    }
    // "?" and "!" are what the parser says of plain and of quoted scalars. A
    // written "!" looks the same, but the node then begins with it.
    const bool written = mark.pos >= 0 &&
                         static_cast<size_t>(mark.pos) < text_.size() &&
                         text_[static_cast<size_t>(mark.pos)] == '!';
    if (written || (!tag.empty() && tag != "?" && tag != "!")) {
      Report(At(mark), "tags (!name) are not allowed; remove it");
    }
  }

  // Takes a scalar (or null, without `value`) that stands where a map's key
  // does.
  bool TakeKey(SourcePosition at, const std::string* value,
               bool quoted = false) {
    if (open_.empty()) return false;
    OpenCollection& parent = open_.back();
    if (tree_.nodes[parent.node].kind != YamlNode::Kind::kMap) return false;
    if (parent.has_key) return false;
    if (value == nullptr) Stop(at, "a key is missing before the colon");
    if (*value == "<<" && !quoted) {
      Report(at, "merge keys (<<) are not allowed; use `include`");
    }
    const auto [entry, is_new] = parent.keys.emplace(*value, at.line);
    if (!is_new) {
      Report(at,
             absl::StrCat("key ", Quote(*value), " is repeated; it is on line ",
                          entry->second, " already"));
    }
    parent.has_key = true;
    parent.key = *value;
    parent.key_position = at;
    return true;
  }

  YamlNode& Add(YamlNode::Kind kind, SourcePosition at) {
    const uint32_t index = static_cast<uint32_t>(tree_.nodes.size());
    YamlNode& node = tree_.nodes.emplace_back();
    node.kind = kind;
    node.position = at;
    if (open_.empty()) return node;
    OpenCollection& parent = open_.back();
    if (parent.last_child == kNoYamlNode) {
      tree_.nodes[parent.node].first_child = index;
    } else {
      tree_.nodes[parent.last_child].next_sibling = index;
    }
    parent.last_child = index;
    if (parent.has_key) {
      node.key = std::move(parent.key);
      node.key_position = parent.key_position;
      parent.has_key = false;
    }
    return node;
  }

  void Open(YamlNode::Kind kind, const YAML::Mark& mark, const std::string& tag,
            YAML::anchor_t anchor) {
    CheckProperties(mark, tag, anchor);
    if (open_.size() >= kPolicyFileDepthMax) {
      Stop(At(mark), absl::StrCat("nested deeper than ", kPolicyFileDepthMax,
                                  " levels, the most that a policy file has"));
    }
    if (!open_.empty() && !open_.back().has_key &&
        tree_.nodes[open_.back().node].kind == YamlNode::Kind::kMap) {
      Stop(At(mark), "a map or list stands where a key must; keys are text");
    }
    Add(kind, At(mark));
    OpenCollection& open = open_.emplace_back();
    open.node = static_cast<uint32_t>(tree_.nodes.size() - 1);
  }

  const absl::string_view text_;
  const absl::string_view filename_;
  YamlTree& tree_;
  std::vector<OpenCollection> open_;
  size_t nodes_ = 0;
  int documents_ = 0;
};

// What must hold of the bytes before the parser sees them. The parser would
// otherwise guess at encodings, and look ahead as far as a line is long.
std::vector<Problem> CheckBytes(absl::string_view text,
                                absl::string_view filename) {
  if (text.size() > kPolicyFileBytesMax) {
    return {{std::string(filename), 0, 0,
             absl::StrCat("the file has ", text.size(),
                          " bytes; a policy file has at most ",
                          kPolicyFileBytesMax)}};
  }
  int line = 1;
  size_t line_start = 0;
  for (size_t at = 0; at < text.size();) {
    const int column = static_cast<int>(at - line_start) + 1;
    const auto problem = [&](std::string message) -> std::vector<Problem> {
      return {{std::string(filename), line, column, std::move(message)}};
    };
    const auto c = FirstUtf8Character(text.substr(at));
    if (!c) {
      return problem("a byte that is not UTF-8; policy files are UTF-8");
    }
    if ((c->code < 0x20 && c->code != '\t' && c->code != '\n' &&
         c->code != '\r') ||
        c->code == 0x7f) {
      return problem(absl::StrCat("a control character, code ",
                                  static_cast<uint32_t>(c->code),
                                  "; write it as an escape in double quotes"));
    }
    at += c->bytes;
    if (c->code == '\n') {
      ++line;
      line_start = at;
    } else if (at - line_start > kPolicyFileLineBytesMax) {
      return problem(absl::StrCat("a line of more than ",
                                  kPolicyFileLineBytesMax,
                                  " bytes; break it up"));
    }
  }
  return {};
}

}  // namespace

YamlTree ParseYaml(absl::string_view text, absl::string_view filename) {
  YamlTree tree;
  if (absl::string_view rest = text;
      rest.substr(0, kByteOrderMark.size()) == kByteOrderMark) {
    text.remove_prefix(kByteOrderMark.size());
  }
  tree.problems = CheckBytes(text, filename);
  if (!tree.problems.empty()) return tree;

  TreeBuilder builder(text, filename, &tree);
  try {
    std::istringstream stream(std::string(text.data(), text.size()));
    YAML::Parser parser(stream);
    while (parser.HandleNextDocument(builder)) {
    }
    if (builder.documents() == 0) {
      tree.problems.push_back({std::string(filename), 0, 0,
                               "the file is empty; it needs api_version, kind "
                               "and metadata at least"});
    }
  } catch (const StopParsing&) {
    // The problem is noted.
  } catch (const YAML::Exception& e) {
    tree.problems.push_back({std::string(filename), e.mark.line + 1,
                             e.mark.column + 1,
                             absl::StrCat("not YAML: ", EscapeText(e.msg))});
  } catch (const std::exception& e) {
    tree.problems.push_back(
        {std::string(filename), 0, 0,
         absl::StrCat("cannot be read as YAML: ", EscapeText(e.what()))});
  }
  if (!tree.problems.empty()) tree.nodes.clear();
  return tree;
}

std::string DescribeYamlNode(const YamlNode& node) {
  switch (node.kind) {
    case YamlNode::Kind::kNull:
      return "nothing";
    case YamlNode::Kind::kScalar:
      return node.quoted ? absl::StrCat("the text ", Quote(node.text))
                         : Quote(node.text);
    case YamlNode::Kind::kSequence:
      return "a list";
    case YamlNode::Kind::kMap:
      return "a map";
  }
  return "something else";
}

}  // namespace callgate::policy
