// Any bytes are loaded or refused, and what is loaded holds together. With
// Clang's libFuzzer this is a fuzz target as it stands (-fsanitize=fuzzer);
// object_loader_fuzz_test.cc drives it without one.
//
// The input is one object, or two of one module, after a byte that says how
// many and what is expected of them. No loaded code is run.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "runtime/check.h"
#include "runtime/native/loader/object_loader.h"

namespace callgate::native {
namespace {

constexpr uint32_t kTypes[] = {0, 0, 0, 1, 1, 1, 0, 1, 1, 0, 0};
constexpr uint64_t kBytesMax = uint64_t{1} << 20;

bool IsWithin(const LoadedCode& code, const void* address) {
  const auto at = reinterpret_cast<uintptr_t>(address);
  return code.begin() <= at && at < code.end();
}

void CheckCode(const LoadedCode& code, const ExpectedSymbols& expected,
               absl::Span<const Redirect> redirects) {
  CALLGATE_CHECK(code.code_bytes() <= kBytesMax, "the limit holds");
  CALLGATE_CHECK(code.end() - code.begin() <= code.code_bytes(),
                 "the code is part of the whole");
  for (uint32_t i = 0; i < expected.functions; ++i) {
    const void* const function = code.Function(i);
    CALLGATE_CHECK((function == nullptr) == (i < expected.imported_functions),
                   "the module's own functions are defined");
    if (function == nullptr) continue;
    CALLGATE_CHECK(IsWithin(code, function), "functions are code");
    const std::optional<CodePlace> place = code.Find(function);
    CALLGATE_CHECK(place.has_value() && place->function == i && !place->body &&
                       place->offset_in_symbol == 0,
                   "a function is found by its address");
    const void* const body = code.Body(i);
    if (body == nullptr) continue;
    const std::optional<CodePlace> body_place = code.Find(body);
    CALLGATE_CHECK(body_place.has_value() && body_place->function == i &&
                       body_place->body && body_place->offset_in_symbol == 0,
                   "a body is found by its address");
  }
  for (uint32_t i = 0; i < expected.types; ++i) {
    CALLGATE_CHECK(IsWithin(code, code.EntryTrampoline(i)) &&
                       IsWithin(code, code.HostThunk(i)),
                   "every type has a trampoline and a thunk");
  }
  for (const Redirect& redirect : redirects) {
    CALLGATE_CHECK(IsWithin(code, code.Redirected(redirect.function)),
                   "a redirected function has a stub");
  }
  // Every byte can be read, up to the guards.
  uint8_t all = 0;
  const auto* const last = reinterpret_cast<const uint8_t*>(code.end());
  for (const uint8_t* at = last - code.code_bytes(); at < last; at += 64) {
    all = static_cast<uint8_t>(all | *at);
  }
  const volatile uint8_t read = all;
  static_cast<void>(read);
}

void CheckLoad(absl::Span<const absl::string_view> objects,
               const ExpectedSymbols& expected,
               absl::Span<const Redirect> redirects) {
  LoadOptions options;
  options.code_bytes_max = kBytesMax;
  options.redirects = redirects;
  const absl::StatusOr<std::unique_ptr<const LoadedCode>> code =
      LoadObjects(objects, expected, options);
  if (code.ok()) {
    CheckCode(**code, expected, redirects);
    return;
  }
  CALLGATE_CHECK(absl::IsInvalidArgument(code.status()) ||
                     absl::IsResourceExhausted(code.status()),
                 "bytes are refused for what they are");
  CALLGATE_CHECK(
      !code.status().message().empty() && code.status().message().size() < 1000,
      "a refusal says why, and briefly");
  for (const char c : code.status().message()) {
    CALLGATE_CHECK(c >= 0x20 && c < 0x7f,
                   "nothing of the object reaches a message unescaped");
  }
}

}  // namespace
}  // namespace callgate::native

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using callgate::native::CheckLoad;
  using callgate::native::ExpectedSymbols;
  using callgate::native::kTypes;
  using callgate::native::Redirect;
  if (size == 0) return 0;
  const bool is_two = (data[0] & 1) != 0;
  const bool is_llvm = (data[0] & 2) != 0;
  // Copies of their exact sizes, so that a sanitizer sees each byte too many.
  // The second begins with the second ELF header.
  const std::string whole(data + 1, data + size);
  constexpr absl::string_view kMagic("\x7f\x45\x4c\x46");
  const size_t found =
      is_two ? whole.find(kMagic.data(), 1, kMagic.size()) : std::string::npos;
  const size_t end = std::min(found, whole.size());
  const std::vector<char> first(data + 1, data + 1 + end);
  const std::vector<char> second(data + 1 + end, data + size);
  std::vector<absl::string_view> objects;
  objects.emplace_back(first.data(), first.size());
  if (is_two) objects.emplace_back(second.data(), second.size());

  ExpectedSymbols expected;
  expected.imported_functions = is_two ? 1 : 0;
  expected.functions = is_two ? 11 : is_llvm ? 2 : 1;
  expected.types = is_two ? 2 : 1;
  expected.function_types =
      absl::MakeConstSpan(kTypes).first(expected.functions);
  CheckLoad(objects, expected, {});
  const Redirect redirects[] = {{is_two ? 9u : 0u, 0x1234'5678'9abc'def0}};
  CheckLoad(objects, expected, redirects);
  const Redirect of_body[] = {
      {is_two ? 9u : 0u, 0x1234'5678'9abc'def0, /*body=*/true}};
  CheckLoad(objects, expected, of_body);
  return 0;
}
