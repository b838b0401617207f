#include "policy/file/policy_diff.h"

#include <algorithm>
#include <map>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/time/time.h"
#include "google/protobuf/descriptor.h"
#include "google/protobuf/duration.pb.h"
#include "google/protobuf/message.h"
#include "policy/file/yaml_to_message.h"
#include "policy/quote.h"

namespace callgate::policy {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::Reflection;

// The functions here go into messages as deep as the schema is, which is not
// recursive.

bool IsDuration(const FieldDescriptor& field) {
  return field.cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE &&
         field.message_type()->full_name() == "google.protobuf.Duration";
}

std::string ShowMessage(const Message& message);

// `index` -1: the field is no list.
std::string ShowValue(const Message& message, const FieldDescriptor& field,
                      int index) {
  const Reflection& r = *message.GetReflection();
  const bool one = index < 0;
  switch (field.cpp_type()) {
    case FieldDescriptor::CPPTYPE_STRING:
      return Quote(one ? r.GetString(message, &field)
                       : r.GetRepeatedString(message, &field, index));
    case FieldDescriptor::CPPTYPE_BOOL:
      return (one ? r.GetBool(message, &field)
                  : r.GetRepeatedBool(message, &field, index))
                 ? "true"
                 : "false";
    case FieldDescriptor::CPPTYPE_UINT32:
      return absl::StrCat(one ? r.GetUInt32(message, &field)
                              : r.GetRepeatedUInt32(message, &field, index));
    case FieldDescriptor::CPPTYPE_UINT64:
      return absl::StrCat(one ? r.GetUInt64(message, &field)
                              : r.GetRepeatedUInt64(message, &field, index));
    case FieldDescriptor::CPPTYPE_INT32:
      return absl::StrCat(one ? r.GetInt32(message, &field)
                              : r.GetRepeatedInt32(message, &field, index));
    case FieldDescriptor::CPPTYPE_INT64:
      return absl::StrCat(one ? r.GetInt64(message, &field)
                              : r.GetRepeatedInt64(message, &field, index));
    case FieldDescriptor::CPPTYPE_DOUBLE:
      return absl::StrCat(one ? r.GetDouble(message, &field)
                              : r.GetRepeatedDouble(message, &field, index));
    case FieldDescriptor::CPPTYPE_FLOAT:
      return absl::StrCat(one ? r.GetFloat(message, &field)
                              : r.GetRepeatedFloat(message, &field, index));
    case FieldDescriptor::CPPTYPE_ENUM:
      return ShortEnumName(*(one ? r.GetEnum(message, &field)
                                 : r.GetRepeatedEnum(message, &field, index)));
    case FieldDescriptor::CPPTYPE_MESSAGE: {
      const Message& value = one ? r.GetMessage(message, &field)
                                 : r.GetRepeatedMessage(message, &field, index);
      if (!IsDuration(field)) return ShowMessage(value);
      google::protobuf::Duration duration;
      duration.CopyFrom(value);
      return absl::FormatDuration(absl::Seconds(duration.seconds()) +
                                  absl::Nanoseconds(duration.nanos()));
    }
  }
  return "";
}

std::vector<std::string> ShowItems(const Message& message,
                                   const FieldDescriptor& field) {
  std::vector<std::string> items;
  const int size = message.GetReflection()->FieldSize(message, &field);
  for (int i = 0; i < size; ++i) items.push_back(ShowValue(message, field, i));
  return items;
}

std::string ShowField(const Message& message, const FieldDescriptor& field) {
  if (!field.is_repeated()) return ShowValue(message, field, -1);
  if (!field.is_map()) {
    return absl::StrCat("[", absl::StrJoin(ShowItems(message, field), ", "),
                        "]");
  }
  // Entries of a map come in no order.
  std::vector<std::string> items = ShowItems(message, field);
  std::sort(items.begin(), items.end());
  return absl::StrCat("[", absl::StrJoin(items, ", "), "]");
}

std::string ShowMessage(const Message& message) {
  std::vector<const FieldDescriptor*> fields;
  message.GetReflection()->ListFields(message, &fields);
  std::string text;
  for (const FieldDescriptor* field : fields) {
    absl::StrAppend(&text, text.empty() ? "{ " : ", ", field->name(), ": ",
                    ShowField(message, *field));
  }
  return text.empty() ? "{}" : absl::StrCat(text, " }");
}

// Whether entries of the list are told apart by their place.
bool IsOrdered(const FieldDescriptor& field) {
  static const auto* const kOrdered = new std::set<std::string>{
      "steps", "unless", "events", "expect", "thresholds", "values"};
  return kOrdered->count(field.name()) != 0;
}

// The value of a field that has one and is text or an enum; else empty.
std::string Word(const Message& message, const char* name) {
  const FieldDescriptor* field = message.GetDescriptor()->FindFieldByName(name);
  if (field == nullptr || field->is_repeated()) return "";
  const Reflection& r = *message.GetReflection();
  if (field->cpp_type() == FieldDescriptor::CPPTYPE_ENUM) {
    return r.GetEnum(message, field)->number() == 0
               ? ""
               : ShortEnumName(*r.GetEnum(message, field));
  }
  if (field->cpp_type() != FieldDescriptor::CPPTYPE_STRING) return "";
  return EscapeText(r.GetString(message, field));
}

// What an entry is called, within its list.
std::string NameOf(const Message& entry) {
  std::string name = Word(entry, "id");
  if (!name.empty()) return name;
  // Maps.
  name = Word(entry, "key");
  if (!name.empty()) return name;
  for (const auto& [first, second] :
       {std::pair<const char*, const char*>("rule", "name"),
        std::pair<const char*, const char*>("import", "action")}) {
    name = Word(entry, first);
    if (name.empty()) continue;
    const std::string more = Word(entry, second);
    return more.empty() ? name : absl::StrCat(name, " ", more);
  }
  return Word(entry, "name");
}

// Entries by name, in order; of those with one name the later have a number.
std::vector<std::pair<std::string, const Message*>> EntriesOf(
    const Message& message, const FieldDescriptor& field) {
  std::vector<std::pair<std::string, const Message*>> entries;
  std::map<std::string, int> seen;
  const Reflection& r = *message.GetReflection();
  for (int i = 0; i < r.FieldSize(message, &field); ++i) {
    const Message& entry = r.GetRepeatedMessage(message, &field, i);
    std::string name = IsOrdered(field) ? "" : NameOf(entry);
    if (name.empty()) {
      name = absl::StrCat("#", i);
    } else if (const int nth = ++seen[name]; nth > 1) {
      absl::StrAppend(&name, " (", nth, ")");
    }
    entries.emplace_back(std::move(name), &entry);
  }
  if (field.is_map()) std::sort(entries.begin(), entries.end());
  return entries;
}

class Comparison {
 public:
  std::vector<Difference> Take() { return std::move(differences_); }

  void Compare(const Message& before, const Message& after,
               const std::string& path) {
    const auto* descriptor = before.GetDescriptor();
    for (int i = 0; i < descriptor->field_count(); ++i) {
      const FieldDescriptor& field = *descriptor->field(i);
      const std::string at =
          path.empty() ? field.name() : absl::StrCat(path, ".", field.name());
      if (!field.is_repeated()) {
        CompareOne(before, after, field, at);
      } else if (field.cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE) {
        CompareEntries(before, after, field, at);
      } else {
        CompareItems(before, after, field, at);
      }
    }
  }

 private:
  void Add(Difference::Kind kind, const std::string& path, std::string before,
           std::string after) {
    differences_.push_back({kind, path, std::move(before), std::move(after)});
  }

  void CompareOne(const Message& before, const Message& after,
                  const FieldDescriptor& field, const std::string& path) {
    const bool had = before.GetReflection()->HasField(before, &field);
    const bool has = after.GetReflection()->HasField(after, &field);
    if (!had && !has) return;
    const bool is_message =
        field.cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE &&
        !IsDuration(field);
    if (is_message) {
      // One that is not there differs from an empty one, and in its fields from
      // any other.
      const Message& old = before.GetReflection()->GetMessage(before, &field);
      const Message& now = after.GetReflection()->GetMessage(after, &field);
      const size_t found = differences_.size();
      Compare(old, now, path);
      if (had != has && differences_.size() == found) {
        Add(has ? Difference::Kind::kAdded : Difference::Kind::kRemoved, path,
            had ? "{}" : "", has ? "{}" : "");
      }
      return;
    }
    std::string old = had ? ShowValue(before, field, -1) : "";
    std::string now = has ? ShowValue(after, field, -1) : "";
    if (old == now) return;
    Add(!had   ? Difference::Kind::kAdded
        : !has ? Difference::Kind::kRemoved
               : Difference::Kind::kChanged,
        path, std::move(old), std::move(now));
  }

  void CompareEntries(const Message& before, const Message& after,
                      const FieldDescriptor& field, const std::string& path) {
    const auto old = EntriesOf(before, field);
    const auto now = EntriesOf(after, field);
    std::map<std::string, const Message*> by_name(now.begin(), now.end());
    for (const auto& [name, entry] : old) {
      const std::string at = absl::StrCat(path, "[", name, "]");
      const auto found = by_name.find(name);
      if (found == by_name.end()) {
        Add(Difference::Kind::kRemoved, at, ShowMessage(*entry), "");
        continue;
      }
      Compare(*entry, *found->second, at);
      by_name.erase(found);
    }
    for (const auto& [name, entry] : now) {
      if (by_name.count(name) == 0) continue;
      Add(Difference::Kind::kAdded, absl::StrCat(path, "[", name, "]"), "",
          ShowMessage(*entry));
    }
  }

  void CompareItems(const Message& before, const Message& after,
                    const FieldDescriptor& field, const std::string& path) {
    const std::vector<std::string> old = ShowItems(before, field);
    const std::vector<std::string> now = ShowItems(after, field);
    if (old == now) return;
    std::multiset<std::string> gone(old.begin(), old.end());
    std::vector<std::string> came;
    for (const std::string& item : now) {
      const auto found = gone.find(item);
      if (found == gone.end()) {
        came.push_back(item);
      } else {
        gone.erase(found);
      }
    }
    if (gone.empty() && came.empty()) {
      Add(Difference::Kind::kChanged, path,
          absl::StrCat("[", absl::StrJoin(old, ", "), "]"),
          absl::StrCat("[", absl::StrJoin(now, ", "), "]"));
      return;
    }
    for (const std::string& item : gone) {
      Add(Difference::Kind::kRemoved, path, item, "");
    }
    for (std::string& item : came) {
      Add(Difference::Kind::kAdded, path, "", std::move(item));
    }
  }

  std::vector<Difference> differences_;
};

}  // namespace

std::vector<Difference> DiffPolicies(const v1::PolicyFile& before,
                                     const v1::PolicyFile& after) {
  Comparison comparison;
  comparison.Compare(before, after, "");
  return comparison.Take();
}

std::string DifferenceText(const Difference& difference) {
  switch (difference.kind) {
    case Difference::Kind::kAdded:
      return absl::StrCat("+ ", difference.path, ": ", difference.after);
    case Difference::Kind::kRemoved:
      return absl::StrCat("- ", difference.path, ": ", difference.before);
    case Difference::Kind::kChanged:
      return absl::StrCat("~ ", difference.path, ": ", difference.before,
                          " -> ", difference.after);
  }
  return "";
}

}  // namespace callgate::policy
