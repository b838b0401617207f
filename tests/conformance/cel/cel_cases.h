// Runs the cases of cel-spec's conformance files.
//
// A case passes if its expression gives the value, or the error, that the file
// states; an error may be said when it is compiled already, if it is one of a
// literal's value. It is refused if it does not compile and every problem is of
// a feature of CEL that the subset leaves out, or of a name that the file's
// environment has from such a feature: an enum, a message, a host's function.
// Everything else is a failure: a wrong value, an error instead of a value or a
// value instead of an error, and an expression that is refused as wrong or
// although it uses nothing but what the subset promises.

#ifndef CALLGATE_TESTS_CONFORMANCE_CEL_CEL_CASES_H_
#define CALLGATE_TESTS_CONFORMANCE_CEL_CEL_CASES_H_

#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace callgate {

struct CelResult {
  int passed = 0;
  int refused = 0;
  int failed = 0;
  std::map<std::string, std::vector<std::string>> refused_by_feature;
  std::vector<std::string> failures;

  void Add(const CelResult& other);
};

// The cases of one file, in the text format of cel.expr.conformance.test's
// SimpleTestFile.
absl::StatusOr<CelResult> RunCelFile(absl::string_view textproto);
// All *.textproto files of a folder. NotFound if there are none.
absl::StatusOr<CelResult> RunCelFolder(const std::string& folder);

// Whether an expression is made of nothing but what the subset promises,
// `names` being the variables that it is given. Looks at its words and signs
// alone, and not through the parser that is under test.
bool UsesOnlyPromisedFeatures(absl::string_view expression,
                              const std::vector<std::string>& names);

}  // namespace callgate

#endif  // CALLGATE_TESTS_CONFORMANCE_CEL_CEL_CASES_H_
