// Reads protobuf's text format without a schema, as far as cel-spec's test
// files use it. For tests: files are trusted to be of sane size.

#ifndef CALLGATE_TESTS_CONFORMANCE_CEL_TEXTPROTO_H_
#define CALLGATE_TESTS_CONFORMANCE_CEL_TEXTPROTO_H_

#include <cstddef>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace callgate {

// One field; a message if `is_message`, otherwise a scalar as it is written,
// strings decoded.
struct TextField {
  std::string name;
  bool is_message = false;
  bool is_string = false;
  std::string scalar;
  std::vector<size_t> fields;  // numbers of a message's fields
};

class TextProto {
 public:
  // InvalidArgument says at which byte it stopped.
  static absl::StatusOr<TextProto> Parse(absl::string_view text);

  // The whole file, a message without a name.
  const TextField& root() const { return fields_[0]; }
  // Of a message, by name; null if there is none.
  const TextField* Find(const TextField& message, absl::string_view name) const;
  std::vector<const TextField*> All(const TextField& message,
                                    absl::string_view name) const;
  // The first field of a message; null if it is empty.
  const TextField* First(const TextField& message) const;
  // "" if there is none.
  std::string Scalar(const TextField& message, absl::string_view name) const;

 private:
  std::vector<TextField> fields_;
};

}  // namespace callgate

#endif  // CALLGATE_TESTS_CONFORMANCE_CEL_TEXTPROTO_H_
