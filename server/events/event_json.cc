// Written over the message's descriptor, so that a field that is added to the
// proto is in the JSON without a change here. The nesting is the schema's, not
// the data's: no message contains itself.

#include "server/events/event_json.h"

#include <cstdint>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"
#include "absl/time/time.h"
#include "google/protobuf/message.h"
#include "google/protobuf/timestamp.pb.h"
#include "runtime/check.h"
#include "server/events/escape.h"

namespace callgate::events {
namespace {

using google::protobuf::EnumDescriptor;
using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::Reflection;
using google::protobuf::Timestamp;

// "EVENT_SEVERITY_" for EventSeverity.
std::string PrefixOf(const EnumDescriptor& type) {
  std::string prefix;
  for (const char c : type.name()) {
    if (absl::ascii_isupper(static_cast<unsigned char>(c)) && !prefix.empty()) {
      prefix += '_';
    }
    prefix += absl::ascii_toupper(static_cast<unsigned char>(c));
  }
  return prefix + "_";
}

std::string TimeText(const Timestamp& time) {
  const absl::Time at =
      absl::FromUnixSeconds(time.seconds()) + absl::Nanoseconds(time.nanos());
  return absl::FormatTime("%Y-%m-%dT%H:%M:%E9SZ", at, absl::UTCTimeZone());
}

void AppendMessage(const Message& message, std::string& json);

// One value: the field's, or its element `index`.
void AppendValue(const Message& message, const FieldDescriptor& field,
                 int index, std::string& json) {
  const Reflection& at = *message.GetReflection();
  const bool repeated = field.is_repeated();
  switch (field.cpp_type()) {
    case FieldDescriptor::CPPTYPE_INT32:
      absl::StrAppend(&json, repeated
                                 ? at.GetRepeatedInt32(message, &field, index)
                                 : at.GetInt32(message, &field));
      return;
    case FieldDescriptor::CPPTYPE_INT64:
      absl::StrAppend(&json, repeated
                                 ? at.GetRepeatedInt64(message, &field, index)
                                 : at.GetInt64(message, &field));
      return;
    case FieldDescriptor::CPPTYPE_UINT32:
      absl::StrAppend(&json, repeated
                                 ? at.GetRepeatedUInt32(message, &field, index)
                                 : at.GetUInt32(message, &field));
      return;
    case FieldDescriptor::CPPTYPE_UINT64:
      absl::StrAppend(&json, repeated
                                 ? at.GetRepeatedUInt64(message, &field, index)
                                 : at.GetUInt64(message, &field));
      return;
    case FieldDescriptor::CPPTYPE_DOUBLE:
      absl::StrAppend(&json, repeated
                                 ? at.GetRepeatedDouble(message, &field, index)
                                 : at.GetDouble(message, &field));
      return;
    case FieldDescriptor::CPPTYPE_FLOAT:
      absl::StrAppend(&json, repeated
                                 ? at.GetRepeatedFloat(message, &field, index)
                                 : at.GetFloat(message, &field));
      return;
    case FieldDescriptor::CPPTYPE_BOOL:
      json += (repeated ? at.GetRepeatedBool(message, &field, index)
                        : at.GetBool(message, &field))
                  ? "true"
                  : "false";
      return;
    case FieldDescriptor::CPPTYPE_ENUM:
      json += JsonString(
          ShortWord(*field.enum_type(),
                    repeated ? at.GetRepeatedEnumValue(message, &field, index)
                             : at.GetEnumValue(message, &field)));
      return;
    case FieldDescriptor::CPPTYPE_STRING:
      json += JsonString(repeated ? at.GetRepeatedString(message, &field, index)
                                  : at.GetString(message, &field));
      return;
    case FieldDescriptor::CPPTYPE_MESSAGE: {
      const Message& part = repeated
                                ? at.GetRepeatedMessage(message, &field, index)
                                : at.GetMessage(message, &field);
      if (part.GetDescriptor() == Timestamp::descriptor()) {
        json += JsonString(TimeText(
            *google::protobuf::DynamicCastToGenerated<Timestamp>(&part)));
        return;
      }
      AppendMessage(part, json);
      return;
    }
  }
  CALLGATE_CHECK(false, "a field has one of protobuf's types");
}

void AppendMessage(const Message& message, std::string& json) {
  std::vector<const FieldDescriptor*> fields;
  message.GetReflection()->ListFields(message, &fields);
  json += '{';
  for (size_t i = 0; i < fields.size(); ++i) {
    if (i != 0) json += ',';
    const FieldDescriptor& field = *fields[i];
    absl::StrAppend(&json, "\"", field.name(), "\":");
    if (!field.is_repeated()) {
      AppendValue(message, field, 0, json);
      continue;
    }
    const int size = message.GetReflection()->FieldSize(message, &field);
    json += '[';
    for (int element = 0; element < size; ++element) {
      if (element != 0) json += ',';
      AppendValue(message, field, element, json);
    }
    json += ']';
  }
  json += '}';
}

}  // namespace

std::string EventToJson(const v1::Event& event) {
  std::string json;
  AppendMessage(event, json);
  return json;
}

std::string ShortWord(const EnumDescriptor& type, int value) {
  const google::protobuf::EnumValueDescriptor* const known =
      type.FindValueByNumber(value);
  if (known == nullptr) return absl::StrCat(value);
  absl::string_view name = known->name();
  if (absl::EndsWith(name, "_UNSPECIFIED")) return "";
  absl::ConsumePrefix(&name, PrefixOf(type));
  return absl::AsciiStrToLower(name);
}

std::string ShortWord(v1::EventKind kind) {
  return ShortWord(*v1::EventKind_descriptor(), kind);
}

std::string ShortWord(v1::EventSeverity severity) {
  return ShortWord(*v1::EventSeverity_descriptor(), severity);
}

std::string ShortWord(v1::Verdict verdict) {
  return ShortWord(*v1::Verdict_descriptor(), verdict);
}

}  // namespace callgate::events
