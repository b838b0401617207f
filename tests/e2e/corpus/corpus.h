// Real and hostile modules that the project did not write.
//
// They live outside the tree, in the folder that CALLGATE_CORPUS names: a
// manifest.jsonl with one JSON object for each item, and the files it points
// at. Without the folder the tests over it skip, saying so.

#ifndef CALLGATE_TESTS_E2E_CORPUS_CORPUS_H_
#define CALLGATE_TESTS_E2E_CORPUS_CORPUS_H_

#include <google/protobuf/struct.pb.h>

#include <ostream>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace callgate::e2e {

// What a test that finds no corpus says.
inline constexpr char kNoCorpus[] = "skipped: no corpus";

// The folder, or empty if there is none.
std::string CorpusDir();

// One line of the manifest.
class CorpusItem {
 public:
  explicit CorpusItem(google::protobuf::Struct json) : json_(std::move(json)) {}

  std::string name() const { return String("name"); }
  // Absolute path of its file.
  std::string path() const;
  std::string String(absl::string_view key) const;
  // The member, or a null value.
  const google::protobuf::Value& Get(absl::string_view key) const;
  // Letters, digits and underscores of the name, for gtest.
  std::string TestName() const;

 private:
  google::protobuf::Struct json_;
};

// The member of a JSON object, or a null value where `json` is no object or
// has none.
const google::protobuf::Value& Member(const google::protobuf::Value& json,
                                      absl::string_view key);
bool IsNull(const google::protobuf::Value& json);

// The items of a class, in the manifest's order; empty without a corpus.
// Aborts on a manifest that cannot be read.
std::vector<CorpusItem> CorpusItems(absl::string_view item_class);

// For gtest's messages.
void PrintTo(const CorpusItem& item, std::ostream* out);

}  // namespace callgate::e2e

#endif  // CALLGATE_TESTS_E2E_CORPUS_CORPUS_H_
