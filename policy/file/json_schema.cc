// The compiled descriptor has lost its comments, so there is another one here,
// with them.

#include "policy/file/json_schema.h"

#include <map>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "google/protobuf/descriptor.h"
#include "google/protobuf/descriptor.pb.h"
#include "google/protobuf/duration.pb.h"
#include "policy/file/policy_file.h"
#include "policy/file/yaml_to_message.h"
#include "proto/callgate/v1/policy.pb.h"
#include "runtime/check.h"

namespace callgate::policy {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::EnumDescriptor;
using google::protobuf::FieldDescriptor;
using google::protobuf::FileDescriptorProto;

constexpr unsigned char kFormat[] = {
#include "policy/file/policy_descriptor.inc"
};

std::string JsonString(absl::string_view text) {
  std::string json = "\"";
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte == '"' || byte == '\\') {
      json += '\\';
      json += c;
    } else if (byte == '\n') {
      json += "\\n";
    } else if (byte < 0x20) {
      absl::StrAppend(&json, "\\u00", absl::Hex(byte, absl::kZeroPad2));
    } else {
      json += c;
    }
  }
  json += '"';
  return json;
}

// Members of a JSON object, in order.
class Object {
 public:
  Object& Add(absl::string_view name, const std::string& json) {
    members_.push_back(absl::StrCat(JsonString(name), ": ", json));
    return *this;
  }
  bool empty() const { return members_.empty(); }
  std::string ToString() const {
    return absl::StrCat("{", absl::StrJoin(members_, ", "), "}");
  }
  // One member a line.
  std::string ToLines(absl::string_view indent) const {
    return absl::StrCat(
        "{\n", indent, "  ",
        absl::StrJoin(members_, absl::StrCat(",\n", indent, "  ")), "\n",
        indent, "}");
  }

 private:
  std::vector<std::string> members_;
};

// The format's descriptors, with their comments.
class Format {
 public:
  Format() {
    google::protobuf::FileDescriptorSet set;
    CALLGATE_CHECK(
        set.ParseFromArray(kFormat, sizeof(kFormat)) && set.file_size() == 1,
        "protoc wrote it");
    FileDescriptorProto duration;
    google::protobuf::Duration::descriptor()->file()->CopyTo(&duration);
    CALLGATE_CHECK(pool_.BuildFile(duration) != nullptr &&
                       pool_.BuildFile(set.file(0)) != nullptr,
                   "protoc compiled it before");
  }

  const Descriptor& root() const {
    return *pool_.FindMessageTypeByName(
        v1::PolicyFile::descriptor()->full_name());
  }

  // Of a message, field or value: without the margin, and with lines that
  // belong together joined.
  template <typename D>
  static std::string CommentOf(const D& descriptor) {
    google::protobuf::SourceLocation location;
    if (!descriptor.GetSourceLocation(&location)) return "";
    std::string text;
    for (absl::string_view line :
         absl::StrSplit(location.leading_comments, '\n')) {
      const bool indented = absl::StartsWith(line, "   ");
      line = absl::StripAsciiWhitespace(line);
      if (line.empty() || indented) {
        absl::StrAppend(&text, "\n", line);
      } else {
        const bool new_line = text.empty() || text.back() == '\n';
        absl::StrAppend(&text, new_line ? "" : " ", line);
      }
    }
    return std::string(absl::StripAsciiWhitespace(text));
  }

 private:
  google::protobuf::DescriptorPool pool_;
};

// A comment says so in a sentence of one word.
bool IsRequired(absl::string_view comment) {
  size_t at = 0;
  while ((at = comment.find("Required", at)) != absl::string_view::npos) {
    const size_t end = at + 8;
    const bool begins = at == 0 || comment[at - 1] == ' ';
    if (begins && end < comment.size() &&
        (comment[end] == '.' || comment[end] == ';')) {
      return true;
    }
    at = end;
  }
  return false;
}

// "Always `x`.": x.
std::string ConstantOf(absl::string_view comment) {
  constexpr absl::string_view kAlways = "Always `";
  if (!absl::StartsWith(comment, kAlways)) return "";
  comment.remove_prefix(kAlways.size());
  return std::string(comment.substr(0, comment.find('`')));
}

class Writer {
 public:
  std::string Run() {
    const Descriptor& root = format_.root();
    pending_ = {&root};
    std::map<std::string, std::string> definitions;
    while (!pending_.empty()) {
      const Descriptor& type = *pending_.back();
      pending_.pop_back();
      if (definitions.count(NameOf(type)) != 0) continue;
      definitions[NameOf(type)] = DefinitionOf(type);
    }
    Object all;
    for (const auto& [name, definition] : definitions) {
      all.Add(name, definition);
    }
    Object schema;
    schema.Add("$schema",
               JsonString("http://json-schema.org/draft-07/schema#"));
    schema.Add("title", JsonString("Callgate policy"));
    schema.Add("$ref", JsonString("#/definitions/" + NameOf(root)));
    schema.Add("definitions", all.ToLines("  "));
    return absl::StrCat(schema.ToLines(""), "\n");
  }

 private:
  // "TemporalRule.Step".
  static std::string NameOf(const Descriptor& type) {
    return type.full_name().substr(type.file()->package().size() + 1);
  }

  std::string DefinitionOf(const Descriptor& type) {
    Object properties;
    std::vector<std::string> required;
    for (int f = 0; f < type.field_count(); ++f) {
      const FieldDescriptor& field = *type.field(f);
      const std::string comment = Format::CommentOf(field);
      properties.Add(field.name(), ValueOf(field, comment).ToString());
      if (IsRequired(comment) || !ConstantOf(comment).empty()) {
        required.push_back(JsonString(field.name()));
      }
    }
    Object definition;
    const std::string comment = Format::CommentOf(type);
    if (!comment.empty()) definition.Add("description", JsonString(comment));
    definition.Add("type", JsonString("object"));
    definition.Add("additionalProperties", "false");
    if (!required.empty()) {
      definition.Add("required",
                     absl::StrCat("[", absl::StrJoin(required, ", "), "]"));
    }
    AddAlternatives(type, &definition);
    definition.Add("properties", properties.ToLines("      "));
    return definition.ToLines("    ");
  }

  // At most one field of a oneof.
  static void AddAlternatives(const Descriptor& type, Object* definition) {
    std::vector<std::string> pairs;
    for (int o = 0; o < type.real_oneof_decl_count(); ++o) {
      const auto& oneof = *type.oneof_decl(o);
      for (int a = 0; a < oneof.field_count(); ++a) {
        for (int b = a + 1; b < oneof.field_count(); ++b) {
          pairs.push_back(absl::StrCat(
              "{\"not\": {\"required\": [", JsonString(oneof.field(a)->name()),
              ", ", JsonString(oneof.field(b)->name()), "]}}"));
        }
      }
    }
    if (!pairs.empty()) {
      definition->Add("allOf",
                      absl::StrCat("[", absl::StrJoin(pairs, ", "), "]"));
    }
  }

  Object ValueOf(const FieldDescriptor& field, const std::string& comment) {
    Object value;
    if (!comment.empty()) value.Add("description", JsonString(comment));
    if (field.is_map()) {
      value.Add("type", JsonString("object"));
      Object text;
      AddText("", &text);
      value.Add("additionalProperties", text.ToString());
    } else if (field.is_repeated()) {
      value.Add("type", JsonString("array"));
      Object item;
      AddSingle(field, "", &item);
      value.Add("items", item.ToString());
    } else {
      AddSingle(field, comment, &value);
    }
    return value;
  }

  void AddSingle(const FieldDescriptor& field, const std::string& comment,
                 Object* value) {
    switch (field.cpp_type()) {
      case FieldDescriptor::CPPTYPE_STRING:
        AddText(ConstantOf(comment), value);
        return;
      case FieldDescriptor::CPPTYPE_BOOL:
        value->Add("type", JsonString("boolean"));
        return;
      case FieldDescriptor::CPPTYPE_UINT32:
        value->Add("type", JsonString("integer"))
            .Add("minimum", "0")
            .Add("maximum", "4294967295");
        return;
      case FieldDescriptor::CPPTYPE_UINT64:
        value->Add("type", JsonString("integer"))
            .Add("minimum", "0")
            .Add("maximum", "18446744073709551615");
        return;
      case FieldDescriptor::CPPTYPE_DOUBLE:
        value->Add("type", JsonString("number"));
        return;
      case FieldDescriptor::CPPTYPE_ENUM:
        AddWords(*field.enum_type(), value);
        return;
      case FieldDescriptor::CPPTYPE_MESSAGE:
        if (field.message_type()->full_name() == "google.protobuf.Duration") {
          value->Add("type", JsonString("string"))
              .Add("pattern",
                   JsonString("^([0-9]+(\\.[0-9]*)?|\\.[0-9]+)(ns|us|ms|s|m|h)"
                              "(([0-9]+(\\.[0-9]*)?|\\.[0-9]+)"
                              "(ns|us|ms|s|m|h))*$|^0$"));
          return;
        }
        pending_.push_back(field.message_type());
        // Beside a $ref other members say nothing in this draft.
        value->Add("allOf",
                   absl::StrCat("[{\"$ref\": ",
                                JsonString("#/definitions/" +
                                           NameOf(*field.message_type())),
                                "}]"));
        return;
      default:
        CALLGATE_CHECK(false, "the format uses no other kinds of fields");
    }
  }

  // What is written without quotes is text, too, whatever it looks like.
  static void AddText(const std::string& constant, Object* value) {
    if (!constant.empty()) {
      value->Add("const", JsonString(constant));
      return;
    }
    value->Add("type", "[\"string\", \"number\", \"boolean\"]")
        .Add("minLength", "1");
  }

  static void AddWords(const EnumDescriptor& type, Object* value) {
    std::vector<std::string> words;
    for (int v = 0; v < type.value_count(); ++v) {
      const auto& word = *type.value(v);
      if (word.number() == 0) continue;
      Object alternative;
      alternative.Add("const", JsonString(ShortEnumName(word)));
      const std::string comment = Format::CommentOf(word);
      if (!comment.empty()) {
        alternative.Add("description", JsonString(comment));
      }
      words.push_back(alternative.ToString());
    }
    value->Add("oneOf", absl::StrCat("[", absl::StrJoin(words, ", "), "]"));
  }

  const Format format_;
  std::vector<const Descriptor*> pending_;
};

}  // namespace

std::string PolicyJsonSchema() { return Writer().Run(); }

}  // namespace callgate::policy
