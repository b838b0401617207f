// Regular expressions: RE2 only, whose time is linear in the text.
//
// A pattern is compiled when the policy is loaded, with a cap on its program.
// Strings are matched as UTF-8 and one that is not UTF-8 is an error for the
// caller to make: RE2 takes no invalid byte for `.`, so a guest could hide
// behind one. Bytes are matched as bytes.

#ifndef CALLGATE_POLICY_EXPRESSION_PATTERN_LIST_H_
#define CALLGATE_POLICY_EXPRESSION_PATTERN_LIST_H_

#include <cstddef>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace re2 {
class RE2;
}

namespace callgate::policy::expression {

// Immutable; any thread.
class PatternList {
 public:
  static constexpr size_t kItemsMax = 1024;
  static constexpr size_t kBytesMax = 4096;     // of one pattern
  static constexpr int kProgramSizeMax = 8192;  // RE2 instructions of one

  // InvalidArgument names the item.
  static absl::StatusOr<std::shared_ptr<const PatternList>> Create(
      const std::vector<std::string>& items);
  ~PatternList();

  // Whether one of them is found anywhere in the text.
  bool FoundIn(absl::string_view text, bool text_is_bytes) const;

  size_t size() const { return of_strings_.size(); }

 private:
  PatternList();

  std::vector<std::unique_ptr<re2::RE2>> of_strings_;
  std::vector<std::unique_ptr<re2::RE2>> of_bytes_;
};

}  // namespace callgate::policy::expression

#endif  // CALLGATE_POLICY_EXPRESSION_PATTERN_LIST_H_
