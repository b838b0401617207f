// The facts of a host call, as expressions name them, and their slots.
//
//   call.import call.module call.name      string, known at link time
//   call.site call.depth call.seq          int: the calling function's index
//                                          (-1: none), activations, the number
//                                          of this host call in the Store
//   call.caller                            string: the calling function's name,
//                                          which is the guest's word
//   store.id tenant module.digest module.name   string
//   store.calls                            int: host calls of the Store before
//   store.memory_bytes                     int: of all memories and tables
//   store.fuel_used                        int: by all calls so far
//   now                                    timestamp, one reading for a call
//   args.<name>                            by the argument's kind
//   call.edge                              "calling"; "returning" for what is
//                                          judged when the call is over
//   call.denied                            bool: the call does not happen
//   result.errno                           int, of a function that returns one;
//                                          -1 if it ended otherwise
//   result.value                           by the type of the first result
//   result.<name>                          what the host wrote to an argument
//
// The last four are known when a call is over: those of result.* after the host
// function, or when the call has been refused. A result of type i32 or i64 is
// an int. What the host wrote is there if the call succeeded: bytes of a
// bytes_out, a list of addresses of an addrs_out that has no more than
// kResultItemsMax.
//
// An argument of kind u32, s32, s64, and a handle or pointer, is an int; u64 a
// uint; f32 and f64 doubles; bytes and iovec_in bytes; string, path and
// sockaddr strings. A path is that of the guest: of its directory, then its
// own, without "." and "..". A handle has `.path`, what it was opened as. A
// sockaddr has `.host`, and, where it has them, `.port` and `.ip`.

#ifndef CALLGATE_POLICY_CALL_FACTS_H_
#define CALLGATE_POLICY_CALL_FACTS_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "policy/condition.h"
#include "policy/expression/macro_set.h"
#include "policy/expression/schema.h"
#include "policy/expression/value.h"
#include "policy/file/problem.h"
#include "runtime/host_function_spec.h"

namespace callgate::policy {

// Slots of the facts that every call has. Arguments follow.
enum class CallFact : uint32_t {
  kImport,
  kModule,
  kName,
  kSite,
  kCaller,
  kDepth,
  kSeq,
  kStoreId,
  kStoreCalls,
  kTenant,
  kModuleDigest,
  kModuleName,
  kNow,
  kStoreMemoryBytes,
  kStoreFuelUsed,
  kEdge,
  kDenied,
  kErrno,
  kResultValue,
};
inline constexpr uint32_t kCallFactCount =
    static_cast<uint32_t>(CallFact::kResultValue) + 1;
absl::string_view CallFactName(CallFact fact);
constexpr uint32_t SlotOf(CallFact fact) { return static_cast<uint32_t>(fact); }

// Addresses of one addrs_out. With more it is absent.
inline constexpr uint32_t kResultItemsMax = 64;

// What a path fact, directory and all, is at most. A longer one is absent.
inline constexpr uint32_t kPathFactBytesMax = 8192;

// Which part of an argument a fact is.
enum class ArgumentPart : uint8_t { kValue, kHost, kPort, kIp, kPath };

// "args.addr.ip" is "addr" and kIp; "result.addrs" what was written to "addrs".
struct ArgumentFactName {
  std::string argument;
  ArgumentPart part = ArgumentPart::kValue;
  bool is_result = false;
};
ArgumentFactName SplitArgumentFact(absl::string_view fact);
std::string FormatArgumentFact(absl::string_view argument, ArgumentPart part);

// Whether a call of some import may have a fact of this name.
bool IsFactName(absl::string_view name);

// Adds what `source` may mean by "args.…" and "result.…" to `names`. Finds too
// much rather than too little.
void FindArgumentFacts(absl::string_view source,
                       std::vector<std::string>* names);
// Adds the facts F that `source` may mean by "<event>.F", for any F of a call.
void FindFactsOf(absl::string_view event, absl::string_view source,
                 std::vector<std::string>* facts);

// The type of an argument's part; nothing if it has no such part.
std::optional<expression::Type> TypeOfArgument(const ArgSpec& arg,
                                               ArgumentPart part,
                                               bool is_64_bit);

// Of what the host writes to an argument; nothing if it writes to none.
std::optional<expression::Type> TypeOfResult(const ArgSpec& arg);

// What is known of an import before it is called. Must outlive the schema. Null
// for all imports at once.
struct ImportNames {
  std::string import;
  std::string module;
  std::string name;
  bool answers_errno = false;
  std::optional<expression::Type> result;  // of result.value
};
void DeclareCallFacts(const ImportNames* names, expression::Schema* schema);
// An argument that this import does not have.
void DeclareMissingArgument(absl::string_view fact, expression::Schema* schema);
// An argument of which nothing is known.
void DeclareUnknownArgument(absl::string_view fact, expression::Schema* schema);
// `fact` of another event, as `name`: "secret.args.path". It may be absent.
// `bytes_max` as in expression::Fact.
void DeclareFactOf(absl::string_view name, absl::string_view fact,
                   uint32_t bytes_max, expression::Schema* schema);
void DeclareLists(const Vocabulary& vocabulary, expression::Schema* schema);
// Problems only if an import has a type that a macro cannot take.
void AddMacros(const Vocabulary& vocabulary, const expression::Schema& schema,
               expression::MacroSet* macros, std::vector<Problem>* problems);

// What an expression's problem is in its file: with its own line, column and
// caret.
Problem AtCondition(const Condition& condition, const std::string& described);

// What `exception` says as a condition; literals are of the facts' types.
// Nothing, and `*why`, if a value is none of its fact's type.
std::optional<std::string> SourceOfException(const RuleException& exception,
                                             const expression::Schema& schema,
                                             std::string* why);

}  // namespace callgate::policy

#endif  // CALLGATE_POLICY_CALL_FACTS_H_
