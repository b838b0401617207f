// Words that an expression cannot use as names.

#ifndef CALLGATE_POLICY_EXPRESSION_RESERVED_WORDS_H_
#define CALLGATE_POLICY_EXPRESSION_RESERVED_WORDS_H_

#include "absl/strings/string_view.h"

namespace callgate::policy::expression {

// true, false, null, in.
bool IsLiteralWord(absl::string_view word);
// Words that CEL keeps for later. They may follow a dot.
bool IsReservedWord(absl::string_view word);
// Functions, macros, types and namespaces of CEL and its extensions that this
// subset does not have; empty if the word is none. The answer names the
// feature.
absl::string_view UnsupportedFunction(absl::string_view word);

}  // namespace callgate::policy::expression

#endif  // CALLGATE_POLICY_EXPRESSION_RESERVED_WORDS_H_
