// What is wrong with an expression, and where.

#ifndef CALLGATE_POLICY_EXPRESSION_PROBLEM_H_
#define CALLGATE_POLICY_EXPRESSION_PROBLEM_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"

namespace callgate::policy::expression {

struct Problem {
  // From 1; columns count bytes.
  int line = 1;
  int column = 1;
  // What was found and what is allowed. Text from the source is escaped.
  std::string message;
  // What of CEL was used that this subset does not have ("map literal"); empty
  // if the expression is wrong in CEL too.
  std::string feature;
  // It is no mistake in CEL before it is evaluated, and then always an error:
  // duration("1x").
  bool is_value_error = false;

  // The message, and below it the line with a caret:
  //
  //   1:8: there is no fact "args.pth"; did you mean "args.path"?
  //     size(args.pth) > 3
  //          ^
  //
  // `source` is the whole expression. Long lines are cut around the caret.
  std::string ToString(absl::string_view source) const;
};

struct Position {
  int line = 1;
  int column = 1;
};
// `offset` may be the end of `source`, and no more.
Position PositionAt(absl::string_view source, size_t offset);

// Collects problems up to a number; the rest is dropped.
class ProblemList {
 public:
  ProblemList(absl::string_view source, size_t problems_max)
      : source_(source), problems_max_(problems_max) {}

  void Add(uint32_t offset, std::string message);
  void AddFeature(uint32_t offset, absl::string_view feature,
                  absl::string_view hint = "");
  void AddValueError(uint32_t offset, std::string message);

  bool empty() const { return problems_.empty(); }
  // By place.
  std::vector<Problem> Take();

 private:
  absl::string_view source_;
  size_t problems_max_;
  std::vector<Problem> problems_;
};

}  // namespace callgate::policy::expression

#endif  // CALLGATE_POLICY_EXPRESSION_PROBLEM_H_
