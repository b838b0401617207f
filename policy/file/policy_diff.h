// What changed from one policy file to another, as its author thinks of it:
// rules that came, went, or say something else, and in which field.
//
// Entries of a list are told apart by their id or name, imports without an id
// by the import and the action, so that moving one is no difference; where the
// order means something (steps of a sequence, events of a test), by their
// place. What one entry says is compared field by field. Spelling does not
// count: both files are messages already.
//
// Pure functions; any thread.

#ifndef CALLGATE_POLICY_FILE_POLICY_DIFF_H_
#define CALLGATE_POLICY_FILE_POLICY_DIFF_H_

#include <string>
#include <vector>

#include "proto/callgate/v1/policy.pb.h"

namespace callgate::policy {

struct Difference {
  enum class Kind { kAdded, kRemoved, kChanged };
  Kind kind = Kind::kChanged;
  // "rules[token-in-payload].action", "budgets.fuel_per_call", "include". Text
  // from the files is escaped.
  std::string path;
  // As YAML has them, on one line, escaped; empty where there is none.
  std::string before;
  std::string after;
};

// In the order of the format's fields, what went before what came.
std::vector<Difference> DiffPolicies(const v1::PolicyFile& before,
                                     const v1::PolicyFile& after);

// A line each: "~ budgets.fuel_per_call: 5 -> 6", "+ rules[x]: { … }".
std::string DifferenceText(const Difference& difference);

}  // namespace callgate::policy

#endif  // CALLGATE_POLICY_FILE_POLICY_DIFF_H_
