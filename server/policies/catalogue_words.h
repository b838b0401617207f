// Small things that the catalogue's sources share.

#ifndef CALLGATE_SERVER_POLICIES_CATALOGUE_WORDS_H_
#define CALLGATE_SERVER_POLICIES_CATALOGUE_WORDS_H_

#include <string>

#include "absl/strings/string_view.h"
#include "policy/file/problem.h"
#include "server/policies/policy_bundle.h"
#include "server/policies/policy_catalogue.h"
#include "server/storage/catalogue.h"

namespace callgate::policies {

// In quotes, escaped and cut.
std::string Quoted(absl::string_view text);

policy::Problem ProblemOf(absl::string_view file, absl::string_view message);

PolicyView ViewOf(const CompiledPolicy& compiled, bool with_source);

// By the suffix, as policy::LoadPolicy has it.
storage::PolicyRecord::Encoding EncodingOf(absl::string_view file_name);
// The suffix that says so.
absl::string_view SuffixOf(storage::PolicyRecord::Encoding encoding);

}  // namespace callgate::policies

#endif  // CALLGATE_SERVER_POLICIES_CATALOGUE_WORDS_H_
