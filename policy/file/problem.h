// What is wrong with a policy file, and where.

#ifndef CALLGATE_POLICY_FILE_PROBLEM_H_
#define CALLGATE_POLICY_FILE_PROBLEM_H_

#include <string>

namespace callgate::policy {

// A place in a file, from 1; columns count bytes. Zero: no place is known, as
// in a policy that came as a message.
struct SourcePosition {
  int line = 0;
  int column = 0;
};

struct Problem {
  // As its loader was told.
  std::string file;
  int line = 0;
  int column = 0;
  // What was found and what is allowed. Text from the file is escaped. Of an
  // expression it goes on with its line and a caret, on lines of their own.
  std::string message;

  // "web.yaml:12:3: budgets.stack_bytes: is 1; allowed: ..."; without a place
  // "web.yaml: …".
  std::string ToString() const;
};

}  // namespace callgate::policy

#endif  // CALLGATE_POLICY_FILE_PROBLEM_H_
