#include "policy/file/policy_file.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <tuple>
#include <utility>

#include "absl/container/flat_hash_set.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "google/protobuf/descriptor.h"
#include "google/protobuf/duration.pb.h"
#include "google/protobuf/io/coded_stream.h"
#include "google/protobuf/io/tokenizer.h"
#include "google/protobuf/io/zero_copy_stream_impl_lite.h"
#include "google/protobuf/message.h"
#include "google/protobuf/text_format.h"
#include "google/protobuf/unknown_field_set.h"
#include "policy/file/duration_text.h"
#include "policy/file/yaml_to_message.h"
#include "policy/file/yaml_tree.h"
#include "policy/quote.h"

namespace callgate::policy {
namespace {

using google::protobuf::Duration;
using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::Reflection;
using google::protobuf::TextFormat;
using Positions = absl::flat_hash_map<std::string, SourcePosition>;

void SortByPlace(std::vector<Problem>* problems) {
  std::stable_sort(problems->begin(), problems->end(),
                   [](const Problem& a, const Problem& b) {
                     return std::tie(a.line, a.column) <
                            std::tie(b.line, b.column);
                   });
}

// Calls `visit(message, path)` for `root` and every message in it, except
// durations and map entries, until it returns false.
template <typename Visit>
void VisitMessages(const Message& root, const Visit& visit) {
  struct Pending {
    const Message* message;
    std::string path;
  };
  std::vector<Pending> pending = {{&root, ""}};
  while (!pending.empty()) {
    const Pending next = std::move(pending.back());
    pending.pop_back();
    if (!visit(*next.message, next.path)) return;
    const Reflection& reflection = *next.message->GetReflection();
    std::vector<const FieldDescriptor*> fields;
    reflection.ListFields(*next.message, &fields);
    for (const FieldDescriptor* field : fields) {
      if (field->cpp_type() != FieldDescriptor::CPPTYPE_MESSAGE) continue;
      if (field->is_map() || field->message_type() == Duration::descriptor()) {
        continue;
      }
      const std::string path =
          next.path.empty() ? field->name()
                            : absl::StrCat(next.path, ".", field->name());
      if (!field->is_repeated()) {
        pending.push_back({&reflection.GetMessage(*next.message, field), path});
        continue;
      }
      for (int i = 0; i < reflection.FieldSize(*next.message, field); ++i) {
        pending.push_back(
            {&reflection.GetRepeatedMessage(*next.message, field, i),
             absl::StrCat(path, "[", i, "]")});
      }
    }
  }
}

// Finds what a field must not hold whatever it means, and what YAML cannot
// say: the other encodings can.
class ValueChecker {
 public:
  explicit ValueChecker(LoadedPolicyFile& file) : file_(file) {}

  std::vector<Problem> Run() {
    VisitMessages(file_.proto, [this](const Message& message,
                                      const std::string& path) {
      if (!message.GetReflection()->GetUnknownFields(message).empty()) {
        Report(path, "has fields that this version of callgate does not know");
      }
      std::vector<const FieldDescriptor*> fields;
      message.GetReflection()->ListFields(message, &fields);
      for (const FieldDescriptor* field : fields) {
        Check(message, *field,
              path.empty() ? field->name()
                           : absl::StrCat(path, ".", field->name()));
      }
      return problems_.size() < kProblemsMax && nodes_ <= kPolicyFileNodesMax;
    });
    if (nodes_ > kPolicyFileNodesMax) {
      Report("", absl::StrCat("more than ", kPolicyFileNodesMax,
                              " values; a policy file has at most that many"));
    }
    return std::move(problems_);
  }

 private:
  void Report(absl::string_view path, absl::string_view message) {
    if (problems_.size() >= kProblemsMax) return;
    const SourcePosition at = file_.PositionOf(path);
    problems_.push_back({file_.filename, at.line, at.column,
                         path.empty() ? std::string(message)
                                      : absl::StrCat(path, ": ", message)});
  }

  void CheckText(absl::string_view text, absl::string_view path) {
    if (ValidUtf8Prefix(text) != text.size()) {
      Report(path, absl::StrCat(Quote(text), " is not UTF-8"));
    }
  }

  void CheckEnum(const FieldDescriptor& field, int value,
                 absl::string_view path) {
    if (field.enum_type()->FindValueByNumber(value) == nullptr) {
      Report(path, absl::StrCat("unknown value number ", value));
    }
  }

  void Check(const Message& message, const FieldDescriptor& field,
             const std::string& path) {
    const Reflection& r = *message.GetReflection();
    const int size = field.is_repeated() ? r.FieldSize(message, &field) : 1;
    nodes_ += static_cast<size_t>(size) + 1;
    if (field.is_map()) {
      for (int i = 0; i < size; ++i) {
        const Message& entry = r.GetRepeatedMessage(message, &field, i);
        for (const FieldDescriptor* part :
             {field.message_type()->map_key(),
              field.message_type()->map_value()}) {
          CheckText(entry.GetReflection()->GetString(entry, part), path);
        }
      }
      return;
    }
    switch (field.cpp_type()) {
      case FieldDescriptor::CPPTYPE_STRING:
        for (int i = 0; i < size; ++i) {
          if (field.is_repeated()) {
            CheckText(r.GetRepeatedString(message, &field, i),
                      absl::StrCat(path, "[", i, "]"));
          } else {
            CheckText(r.GetString(message, &field), path);
          }
        }
        return;
      case FieldDescriptor::CPPTYPE_ENUM:
        CheckEnum(field, r.GetEnumValue(message, &field), path);
        return;
      case FieldDescriptor::CPPTYPE_DOUBLE:
        if (!std::isfinite(r.GetDouble(message, &field))) {
          Report(path, "is not a finite number");
        }
        return;
      case FieldDescriptor::CPPTYPE_MESSAGE:
        if (field.message_type() == Duration::descriptor()) {
          CheckDuration(
              static_cast<const Duration&>(r.GetMessage(message, &field)),
              path);
        }
        return;
      default:
        return;
    }
  }

  void CheckDuration(const Duration& d, absl::string_view path) {
    if (d.seconds() < 0 || d.seconds() > kDurationSecondsMax || d.nanos() < 0 ||
        d.nanos() > 999'999'999) {
      Report(path, "is not a duration from 0 to 10000 years");
    }
  }

  LoadedPolicyFile& file_;
  std::vector<Problem> problems_;
  size_t nodes_ = 0;
};

LoadResult Failed(std::vector<Problem> problems) {
  SortByPlace(&problems);
  return {std::nullopt, std::move(problems)};
}

LoadResult CheckValues(LoadedPolicyFile file) {
  std::vector<Problem> problems = ValueChecker(file).Run();
  if (!problems.empty()) return Failed(std::move(problems));
  return {std::move(file), {}};
}

class ErrorCollector final : public google::protobuf::io::ErrorCollector {
 public:
  explicit ErrorCollector(absl::string_view filename) : filename_(filename) {}

  void AddError(int line, google::protobuf::io::ColumnNumber column,
                const std::string& message) override {
    if (problems.size() < kProblemsMax) {
      problems.push_back(
          {std::string(filename_), line + 1, column + 1, EscapeText(message)});
    }
  }

  std::vector<Problem> problems;

 private:
  const absl::string_view filename_;
};

// Says where each field stands that the text has, and finds map keys that are
// there twice, which the parser lets pass.
void ReadPlaces(const Message& root, const TextFormat::ParseInfoTree& info,
                LoadedPolicyFile* file, std::vector<Problem>* problems) {
  struct Pending {
    const Message* message;
    const TextFormat::ParseInfoTree* info;
    std::string path;
  };
  std::vector<Pending> pending = {{&root, &info, ""}};
  const auto place = [&](const Pending& at, const FieldDescriptor* field,
                         int index) {
    const auto location = at.info->GetLocation(field, index);
    return SourcePosition{location.line + 1, location.column + 1};
  };
  while (!pending.empty()) {
    const Pending at = std::move(pending.back());
    pending.pop_back();
    const Reflection& reflection = *at.message->GetReflection();
    std::vector<const FieldDescriptor*> fields;
    reflection.ListFields(*at.message, &fields);
    for (const FieldDescriptor* field : fields) {
      const std::string path = at.path.empty()
                                   ? field->name()
                                   : absl::StrCat(at.path, ".", field->name());
      const bool nested =
          field->cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE &&
          field->message_type() != Duration::descriptor();
      if (!field->is_repeated()) {
        file->positions[path] = place(at, field, -1);
        const auto* child = at.info->GetTreeForNested(field, -1);
        if (nested && child != nullptr) {
          pending.push_back(
              {&reflection.GetMessage(*at.message, field), child, path});
        }
        continue;
      }
      const int size = reflection.FieldSize(*at.message, field);
      file->positions[path] = place(at, field, 0);
      if (field->is_map()) {
        const FieldDescriptor* key = field->message_type()->map_key();
        absl::flat_hash_set<std::string> keys;
        for (int i = 0; i < size; ++i) {
          const Message& entry =
              reflection.GetRepeatedMessage(*at.message, field, i);
          const std::string& name =
              entry.GetReflection()->GetString(entry, key);
          if (keys.insert(name).second) continue;
          const SourcePosition where = place(at, field, i);
          problems->push_back(
              {file->filename, where.line, where.column,
               absl::StrCat(path, ": key ", Quote(name), " is repeated")});
        }
        continue;
      }
      for (int i = 0; i < size; ++i) {
        const std::string item = absl::StrCat(path, "[", i, "]");
        file->positions[item] = place(at, field, i);
        const auto* child = at.info->GetTreeForNested(field, i);
        if (nested && child != nullptr) {
          pending.push_back(
              {&reflection.GetRepeatedMessage(*at.message, field, i), child,
               item});
        }
      }
    }
  }
}

std::optional<Problem> CheckSize(size_t bytes, absl::string_view filename) {
  if (bytes <= kPolicyFileBytesMax) return std::nullopt;
  return Problem{
      std::string(filename), 0, 0,
      absl::StrCat("the file has ", bytes, " bytes; a policy file has at most ",
                   kPolicyFileBytesMax)};
}

}  // namespace

SourcePosition LoadedPolicyFile::PositionOf(absl::string_view path) const {
  while (!path.empty()) {
    const auto found = positions.find(path);
    if (found != positions.end()) return found->second;
    const size_t cut = path.find_last_of(".[");
    path = cut == absl::string_view::npos ? "" : path.substr(0, cut);
  }
  return {};
}

LoadResult LoadPolicyYaml(absl::string_view text, absl::string_view filename) {
  YamlTree tree = ParseYaml(text, filename);
  if (!tree.problems.empty()) return Failed(std::move(tree.problems));
  LoadedPolicyFile file;
  file.filename = std::string(filename);
  std::vector<Problem> problems =
      FillMessageFromYaml(tree, filename, &file.proto, &file.positions);
  if (!problems.empty()) return Failed(std::move(problems));
  return CheckValues(std::move(file));
}

LoadResult LoadPolicyTextproto(absl::string_view text,
                               absl::string_view filename) {
  if (auto problem = CheckSize(text.size(), filename)) {
    return Failed({*std::move(problem)});
  }
  LoadedPolicyFile file;
  file.filename = std::string(filename);
  ErrorCollector errors(filename);
  TextFormat::ParseInfoTree info;
  TextFormat::Parser parser;
  parser.RecordErrorsTo(&errors);
  parser.WriteLocationsTo(&info);
  parser.SetRecursionLimit(kPolicyFileDepthMax);
  google::protobuf::io::ArrayInputStream stream(text.data(),
                                                static_cast<int>(text.size()));
  const bool parsed = parser.Parse(&stream, &file.proto);
  if (!parsed || !errors.problems.empty()) {
    if (errors.problems.empty()) {
      errors.problems.push_back(
          {file.filename, 0, 0, "not protobuf text format"});
    }
    return Failed(std::move(errors.problems));
  }
  std::vector<Problem> problems;
  ReadPlaces(file.proto, info, &file, &problems);
  if (!problems.empty()) return Failed(std::move(problems));
  return CheckValues(std::move(file));
}

LoadResult LoadPolicy(absl::string_view text, absl::string_view filename) {
  if (absl::EndsWith(filename, ".textproto") ||
      absl::EndsWith(filename, ".txtpb")) {
    return LoadPolicyTextproto(text, filename);
  }
  return LoadPolicyYaml(text, filename);
}

LoadResult LoadPolicyMessage(const v1::PolicyFile& message,
                             absl::string_view filename) {
  if (auto problem = CheckSize(message.ByteSizeLong(), filename)) {
    return Failed({*std::move(problem)});
  }
  LoadedPolicyFile file;
  file.filename = std::string(filename);
  file.proto = message;
  return CheckValues(std::move(file));
}

std::string CanonicalBytes(const v1::PolicyFile& message) {
  std::string bytes;
  google::protobuf::io::StringOutputStream stream(&bytes);
  google::protobuf::io::CodedOutputStream coded(&stream);
  coded.SetSerializationDeterministic(true);
  message.SerializeToCodedStream(&coded);
  coded.Trim();
  return bytes;
}

}  // namespace callgate::policy
