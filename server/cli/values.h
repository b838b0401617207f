// WebAssembly values as people write and read them on a command line.
//
// Written: with a type, "i32:7", "i64:-1", "f64:0.5", "f64bits:0x3fe0…",
// "v128:0x…" (32 hex digits, most significant first), "funcref:null",
// "externref:3"; or plain, "7", where the function's type is known. Integers
// may be signed or unsigned, decimal or 0x-hexadecimal, within the width.
//
// Read: results print plain and, like wasmtime's command line does, integers as
// signed decimals and floats as the shortest decimal that reads back as the
// same number. What that leaves out (a NaN's payload, the type) is in --json.
//
// Pure functions; any thread.

#ifndef CALLGATE_SERVER_CLI_VALUES_H_
#define CALLGATE_SERVER_CLI_VALUES_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "runtime/value.h"

namespace callgate::cli {

std::optional<ValType> ValTypeFromName(absl::string_view name);

// Whether `text` says its own type.
bool HasTypePrefix(absl::string_view text);

// `type` is the type that is wanted, where it is known. InvalidArgument names
// the text, what is wrong with it and what would be right.
absl::StatusOr<Value> ParseValue(absl::string_view text,
                                 std::optional<ValType> type);

// One value per parameter. Where `params` is absent, every text must say its
// type.
absl::StatusOr<std::vector<Value>> ParseValues(
    absl::Span<const std::string> texts,
    const std::optional<std::vector<ValType>>& params);

// "-1", "0.1", "nan", "0x…" for v128, "null" or a handle's number.
std::string PlainText(const Value& value);

// The value's bits: "0xffffffff", as wide as the type.
std::string BitsText(const Value& value);

// A number that is an address or a length: decimal or 0x-hexadecimal.
// `name` is what the message calls it.
absl::StatusOr<uint64_t> ParseUnsigned(absl::string_view text,
                                       absl::string_view name);

// "00ff…" or "0x00ff…", an even number of digits; blanks are skipped.
absl::StatusOr<std::string> ParseHex(absl::string_view text);

}  // namespace callgate::cli

#endif  // CALLGATE_SERVER_CLI_VALUES_H_
