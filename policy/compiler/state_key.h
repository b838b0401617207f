// Keys and scopes of rules that remember.

#ifndef CALLGATE_POLICY_COMPILER_STATE_KEY_H_
#define CALLGATE_POLICY_COMPILER_STATE_KEY_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "google/protobuf/repeated_field.h"
#include "policy/compiler/compilation.h"
#include "policy/condition.h"
#include "policy/state/state_shape.h"

namespace callgate::policy {

// The facts of `key` at `path`, "rate_limits[0].key"; "store" is store.id.
std::vector<Condition> ReadKey(
    const LoadedPolicyFile& file, const std::string& path,
    const google::protobuf::RepeatedPtrField<std::string>& key, Compilation& c);

// Whose a state with this key is where the file does not say: the narrowest
// that the key names, a Store's if it names none.
StateScope ScopeOfKey(const std::vector<Condition>& key);

// How many keys there can be in one scope: 1 if all facts of the key are the
// same in it, else `max_keys`, which is reported if it is out of bounds.
size_t KeysMax(const LoadedPolicyFile& file, const std::string& path,
               const std::vector<Condition>& key, StateScope scope,
               std::optional<uint64_t> max_keys, Compilation& c);

}  // namespace callgate::policy

#endif  // CALLGATE_POLICY_COMPILER_STATE_KEY_H_
