#include "tests/e2e/corpus/corpus.h"

#include <google/protobuf/util/json_util.h>
#include <stdlib.h>

#include <cstdio>
#include <filesystem>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "tests/e2e/scratch_dir.h"

namespace callgate::e2e {

std::string CorpusDir() {
  const char* dir = getenv("CALLGATE_CORPUS");
  if (dir == nullptr || *dir == '\0') return "";
  return std::filesystem::is_regular_file(absl::StrCat(dir, "/manifest.jsonl"))
             ? dir
             : "";
}

const google::protobuf::Value& Member(const google::protobuf::Value& json,
                                      absl::string_view key) {
  static const auto* const kNull = [] {
    auto* value = new google::protobuf::Value;
    value->set_null_value(google::protobuf::NULL_VALUE);
    return value;
  }();
  if (!json.has_struct_value()) return *kNull;
  const auto& fields = json.struct_value().fields();
  const auto found = fields.find(std::string(key));
  return found == fields.end() ? *kNull : found->second;
}

bool IsNull(const google::protobuf::Value& json) {
  return json.kind_case() == google::protobuf::Value::kNullValue ||
         json.kind_case() == google::protobuf::Value::KIND_NOT_SET;
}

const google::protobuf::Value& CorpusItem::Get(absl::string_view key) const {
  const auto found = json_.fields().find(std::string(key));
  return found == json_.fields().end() ? Member(google::protobuf::Value(), key)
                                       : found->second;
}

std::string CorpusItem::String(absl::string_view key) const {
  return Get(key).string_value();
}

std::string CorpusItem::path() const {
  return absl::StrCat(CorpusDir(), "/", String("path"));
}

std::string CorpusItem::TestName() const {
  std::string result = name();
  for (char& c : result) {
    if (!absl::ascii_isalnum(static_cast<unsigned char>(c))) c = '_';
  }
  return result;
}

std::vector<CorpusItem> CorpusItems(absl::string_view item_class) {
  std::vector<CorpusItem> items;
  const std::string dir = CorpusDir();
  if (dir.empty()) return items;
  const auto manifest = ReadWholeFile(dir + "/manifest.jsonl");
  if (!manifest.ok()) {
    fprintf(stderr, "%s\n", manifest.status().ToString().c_str());
    abort();
  }
  for (const absl::string_view line :
       absl::StrSplit(*manifest, '\n', absl::SkipWhitespace())) {
    google::protobuf::Struct json;
    const auto parsed = google::protobuf::util::JsonStringToMessage(
        google::protobuf::StringPiece(line.data(), line.size()), &json);
    if (!parsed.ok()) {
      fprintf(stderr, "manifest.jsonl: %s\n", parsed.ToString().c_str());
      abort();
    }
    CorpusItem item(std::move(json));
    if (item.String("class") == std::string(item_class)) {
      items.push_back(std::move(item));
    }
  }
  return items;
}

void PrintTo(const CorpusItem& item, std::ostream* out) { *out << item.name(); }

}  // namespace callgate::e2e
