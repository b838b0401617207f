// Prints the schema, for its test.

#include <cstdio>

#include "policy/file/json_schema.h"

int main() {
  std::fputs(callgate::policy::PolicyJsonSchema().c_str(), stdout);
  return 0;
}
