// The policy file's format as a JSON Schema, for editors that complete and
// check what is typed.
//
// It says what the loader says: names, words, kinds of values, what is
// required. What fields mean together only the compiler knows.

#ifndef CALLGATE_POLICY_FILE_JSON_SCHEMA_H_
#define CALLGATE_POLICY_FILE_JSON_SCHEMA_H_

#include <string>

namespace callgate::policy {

// Draft 7, which editors understand best. The fields' comments in the schema of
// the format are its descriptions. The same text each time.
std::string PolicyJsonSchema();

}  // namespace callgate::policy

#endif  // CALLGATE_POLICY_FILE_JSON_SCHEMA_H_
