#include "policy/file/yaml_to_message.h"

#include <cmath>
#include <cstdint>
#include <limits>
#include <optional>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "google/protobuf/duration.pb.h"
#include "policy/file/duration_text.h"
#include "policy/file/nearest_name.h"
#include "policy/file/policy_file.h"
#include "policy/quote.h"
#include "runtime/check.h"

namespace callgate::policy {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::Duration;
using google::protobuf::EnumDescriptor;
using google::protobuf::EnumValueDescriptor;
using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::Reflection;

std::string JoinPath(absl::string_view parent, absl::string_view name) {
  return parent.empty() ? std::string(name) : absl::StrCat(parent, ".", name);
}

bool IsDuration(const FieldDescriptor& field) {
  return field.cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE &&
         field.message_type() == Duration::descriptor();
}

bool IsDigits(absl::string_view text) {
  for (const char c : text) {
    if (!absl::ascii_isdigit(static_cast<unsigned char>(c))) return false;
  }
  return !text.empty();
}

// Walks the tree with a stack of its own: the nesting is the file's.
class Filler {
 public:
  Filler(const YamlTree& tree, absl::string_view filename,
         absl::flat_hash_map<std::string, SourcePosition>* positions)
      : tree_(tree), filename_(filename), positions_(*positions) {}

  std::vector<Problem> Run(Message* root) {
    pending_.push_back({0, root, ""});
    while (!pending_.empty() && problems_.size() < kProblemsMax) {
      const Pending next = std::move(pending_.back());
      pending_.pop_back();
      Fill(next);
    }
    return std::move(problems_);
  }

 private:
  // A map node that has yet to become a message.
  struct Pending {
    uint32_t node;
    Message* message;
    std::string path;
  };

  void Report(SourcePosition at, absl::string_view path,
              absl::string_view message) {
    if (problems_.size() >= kProblemsMax) return;
    problems_.push_back({std::string(filename_), at.line, at.column,
                         path.empty() ? std::string(message)
                                      : absl::StrCat(path, ": ", message)});
  }

  void Expected(const YamlNode& node, absl::string_view path,
                absl::string_view what) {
    Report(node.position, path,
           absl::StrCat("expected ", what, ", found ", DescribeYamlNode(node)));
  }

  void Fill(const Pending& at) {
    const YamlNode& map = tree_.nodes[at.node];
    if (map.kind != YamlNode::Kind::kMap) {
      Expected(map, at.path, "a map");
      return;
    }
    const Descriptor& type = *at.message->GetDescriptor();
    for (uint32_t i = map.first_child; i != kNoYamlNode;
         i = tree_.nodes[i].next_sibling) {
      const YamlNode& child = tree_.nodes[i];
      const FieldDescriptor* field = type.FindFieldByName(child.key);
      if (field == nullptr) {
        std::vector<std::string> names;
        for (int f = 0; f < type.field_count(); ++f) {
          names.push_back(type.field(f)->name());
        }
        Report(child.key_position, at.path,
               absl::StrCat("unknown field ", Quote(child.key),
                            SuggestName(child.key, names)));
        continue;
      }
      FillField(*field, i, at.message, JoinPath(at.path, field->name()));
    }
  }

  void FillField(const FieldDescriptor& field, uint32_t index, Message* message,
                 std::string path) {
    const YamlNode& node = tree_.nodes[index];
    if (node.kind == YamlNode::Kind::kNull) {
      Report(node.key_position, path,
             "has no value; give it one or remove the line");
      return;
    }
    if (const auto* oneof = field.real_containing_oneof();
        oneof != nullptr &&
        message->GetReflection()->HasOneof(*message, oneof)) {
      const FieldDescriptor* other =
          message->GetReflection()->GetOneofFieldDescriptor(*message, oneof);
      Report(node.key_position, path,
             absl::StrCat("cannot stand beside ", other->name(),
                          "; use two entries"));
      return;
    }
    positions_[path] = node.key_position;
    if (field.is_map()) {
      FillMap(field, node, message, path);
    } else if (field.is_repeated()) {
      if (node.kind != YamlNode::Kind::kSequence) {
        Expected(node, path, "a list");
        return;
      }
      size_t position = 0;
      for (uint32_t i = node.first_child; i != kNoYamlNode;
           i = tree_.nodes[i].next_sibling) {
        FillValue(field, i, message, absl::StrCat(path, "[", position++, "]"));
      }
    } else {
      FillValue(field, index, message, std::move(path));
    }
  }

  // A map from strings to strings.
  void FillMap(const FieldDescriptor& field, const YamlNode& node,
               Message* message, const std::string& path) {
    if (node.kind != YamlNode::Kind::kMap) {
      Expected(node, path, "a map");
      return;
    }
    const FieldDescriptor* key = field.message_type()->map_key();
    const FieldDescriptor* value = field.message_type()->map_value();
    CALLGATE_CHECK(key->cpp_type() == FieldDescriptor::CPPTYPE_STRING &&
                       value->cpp_type() == FieldDescriptor::CPPTYPE_STRING,
                   "the schema's maps are from strings to strings");
    for (uint32_t i = node.first_child; i != kNoYamlNode;
         i = tree_.nodes[i].next_sibling) {
      const YamlNode& child = tree_.nodes[i];
      const std::string at = absl::StrCat(path, "[", Quote(child.key), "]");
      if (child.kind != YamlNode::Kind::kScalar) {
        Expected(child, at, "text");
        continue;
      }
      positions_[at] = child.key_position;
      Message* entry = message->GetReflection()->AddMessage(message, &field);
      entry->GetReflection()->SetString(entry, key, child.key);
      entry->GetReflection()->SetString(entry, value, child.text);
    }
  }

  // One value of a field, or one item of a repeated one.
  void FillValue(const FieldDescriptor& field, uint32_t index, Message* message,
                 std::string path) {
    const YamlNode& node = tree_.nodes[index];
    const Reflection& reflection = *message->GetReflection();
    if (field.is_repeated()) positions_[path] = node.position;
    if (field.cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE &&
        !IsDuration(field)) {
      Message* child = field.is_repeated()
                           ? reflection.AddMessage(message, &field)
                           : reflection.MutableMessage(message, &field);
      pending_.push_back({index, child, std::move(path)});
      return;
    }
    switch (field.cpp_type()) {
      case FieldDescriptor::CPPTYPE_STRING:
        if (node.kind != YamlNode::Kind::kScalar) {
          Expected(node, path, "text");
        } else if (node.text.empty()) {
          // Nothing in the message would tell it from an absent field.
          Report(node.position, path,
                 "is empty; give it a value or remove the line");
        } else if (field.is_repeated()) {
          reflection.AddString(message, &field, node.text);
        } else {
          reflection.SetString(message, &field, node.text);
        }
        return;
      case FieldDescriptor::CPPTYPE_BOOL:
        if (!IsPlain(node) || (node.text != "true" && node.text != "false")) {
          Expected(node, path, "true or false");
        } else {
          reflection.SetBool(message, &field, node.text == "true");
        }
        return;
      case FieldDescriptor::CPPTYPE_UINT64:
        if (const auto n =
                Unsigned(node, path, std::numeric_limits<uint64_t>::max())) {
          reflection.SetUInt64(message, &field, *n);
        }
        return;
      case FieldDescriptor::CPPTYPE_UINT32:
        if (const auto n =
                Unsigned(node, path, std::numeric_limits<uint32_t>::max())) {
          reflection.SetUInt32(message, &field, static_cast<uint32_t>(*n));
        }
        return;
      case FieldDescriptor::CPPTYPE_DOUBLE:
        FillDouble(field, node, message, path);
        return;
      case FieldDescriptor::CPPTYPE_ENUM:
        FillEnum(field, node, message, path);
        return;
      case FieldDescriptor::CPPTYPE_MESSAGE:
        FillDuration(field, node, message, path);
        return;
      default:
        CALLGATE_CHECK(false, "the schema uses no other kinds of fields");
    }
  }

  static bool IsPlain(const YamlNode& node) {
    return node.kind == YamlNode::Kind::kScalar && !node.quoted;
  }

  std::optional<uint64_t> Unsigned(const YamlNode& node, absl::string_view path,
                                   uint64_t max) {
    if (!IsPlain(node) || !IsDigits(node.text)) {
      Expected(
          node, path,
          "a whole number in decimal digits, without sign, unit or quotes");
      return std::nullopt;
    }
    if (node.text.size() > 1 && node.text.front() == '0') {
      Report(node.position, path,
             absl::StrCat(Quote(node.text),
                          " begins with a zero, which some take for octal; "
                          "write it without"));
      return std::nullopt;
    }
    uint64_t value = 0;
    if (!absl::SimpleAtoi(node.text, &value) || value > max) {
      Report(node.position, path,
             absl::StrCat(Quote(node.text), " is too large; at most ", max));
      return std::nullopt;
    }
    return value;
  }

  void FillDouble(const FieldDescriptor& field, const YamlNode& node,
                  Message* message, absl::string_view path) {
    double value = 0;
    bool ok = IsPlain(node);
    for (const char c : node.text) {
      // The conversion would take "inf", "nan" and hexadecimal too.
      ok = ok && (absl::ascii_isdigit(static_cast<unsigned char>(c)) ||
                  c == '.' || c == 'e' || c == 'E' || c == '+' || c == '-');
    }
    if (!ok || !absl::SimpleAtod(node.text, &value) || !std::isfinite(value)) {
      Expected(node, path, "a number, e.g. 20 or 0.5");
      return;
    }
    message->GetReflection()->SetDouble(message, &field, value);
  }

  void FillEnum(const FieldDescriptor& field, const YamlNode& node,
                Message* message, absl::string_view path) {
    const EnumDescriptor& type = *field.enum_type();
    if (node.kind == YamlNode::Kind::kScalar) {
      for (int i = 0; i < type.value_count(); ++i) {
        const EnumValueDescriptor& value = *type.value(i);
        if (value.number() == 0 || ShortEnumName(value) != node.text) continue;
        message->GetReflection()->SetEnum(message, &field, &value);
        return;
      }
      Report(node.position, path,
             absl::StrCat("unknown value ", Quote(node.text),
                          SuggestName(node.text, ShortEnumNames(type))));
      return;
    }
    Expected(node, path, "one word");
  }

  void FillDuration(const FieldDescriptor& field, const YamlNode& node,
                    Message* message, absl::string_view path) {
    if (node.kind != YamlNode::Kind::kScalar) {
      Expected(node, path, "a duration, e.g. 30s");
      return;
    }
    const absl::StatusOr<ParsedDuration> parsed = ParseDurationText(node.text);
    if (!parsed.ok()) {
      Report(node.position, path, parsed.status().message());
      return;
    }
    Message* duration =
        message->GetReflection()->MutableMessage(message, &field);
    const Descriptor& type = *duration->GetDescriptor();
    const Reflection& reflection = *duration->GetReflection();
    reflection.SetInt64(duration, type.FindFieldByName("seconds"),
                        parsed->seconds);
    reflection.SetInt32(duration, type.FindFieldByName("nanos"), parsed->nanos);
  }

  const YamlTree& tree_;
  const absl::string_view filename_;
  absl::flat_hash_map<std::string, SourcePosition>& positions_;
  std::vector<Pending> pending_;
  std::vector<Problem> problems_;
};

}  // namespace

std::vector<Problem> FillMessageFromYaml(
    const YamlTree& tree, absl::string_view filename, Message* message,
    absl::flat_hash_map<std::string, SourcePosition>* positions) {
  CALLGATE_CHECK(!tree.nodes.empty(), "a tree without problems has a root");
  return Filler(tree, filename, positions).Run(message);
}

std::string ShortEnumName(const EnumValueDescriptor& value) {
  // The prefix is the type's name in capitals: RuleScope → RULE_SCOPE_.
  size_t prefix = 0;
  for (const char c : value.type()->name()) {
    prefix += absl::ascii_isupper(static_cast<unsigned char>(c)) ? 2u : 1u;
  }
  return absl::AsciiStrToLower(absl::string_view(value.name()).substr(prefix));
}

std::vector<std::string> ShortEnumNames(const EnumDescriptor& type) {
  std::vector<std::string> names;
  for (int i = 0; i < type.value_count(); ++i) {
    if (type.value(i)->number() != 0) {
      names.push_back(ShortEnumName(*type.value(i)));
    }
  }
  return names;
}

}  // namespace callgate::policy
